"""A simulated enclave never looks real: every switch of trust and policy is tried, together with the others.

``spec/attestation.md`` §10.1 and ``spec/lanes.md`` §3. The gateway's settings are tried in
``tests/unit/nodes/gateway/test_attestations.py``.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.adapters.enclave_insecure import make_insecure_root
from holdfast.core import canonical
from holdfast.core.attestation.binding import build_binding
from holdfast.core.attestation.nitro import parse_nitro
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.core.trust import ENCLAVE_KINDS, parse_trust_chain, verify_trust
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.lanes import BASES, LANES, STATES
from holdfast.verifier.policy import parse_policy
from tests.helpers.attestations import VECTORS
from tests.helpers.clock import FakeClock
from tests.helpers.enclaves import make_enclave
from tests.helpers.network import ASKED, FROM, UNTIL, Network, at, bundle_of

NO_BETTER = {"unknown", "refuted", "expired", "not_applicable"}
"""States that are no better than unknown: nothing is proven, and nothing is expected to be."""
TOUCHED = ("enclave", "privacy", "inputs", "computation")
SPAN = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL)}
ROOT = make_insecure_root(ASKED - dt.timedelta(days=1))
NETWORK = Network(development=False)
DOCUMENT = make_enclave(FakeClock(ASKED - dt.timedelta(minutes=1)), ROOT).attest(
    build_binding(NETWORK.gateway_document.digest), None
)
PARSED = parse_nitro(DOCUMENT)
REGISTERS = {f"pcr{index}": value.hex() for index, value in PARSED.pcrs.items() if index < 3}


def measured(debug: bool, kind: str = "aws-nitro", value: dict[str, Any] | None = None) -> dict[str, Any]:
    """One reference value."""
    return {"kind": kind, "role": "gateway", "value": value or REGISTERS, "debug": debug, **SPAN}


ROOTS = {
    "none": [],
    "real": [("aws-nitro", PARSED.authorities[-1], False)],
    "development": [("aws-nitro", PARSED.authorities[-1], True)],
    "instance": [("aws-nitro", PARSED.authorities[0], False)],
    "every kind": [(kind, PARSED.authorities[-1], False) for kind in ENCLAVE_KINDS if kind != "insecure-dev"],
    "twice": [("aws-nitro", PARSED.authorities[-1], flag) for flag in (True, False)],
}
"""What a trust document could call the root of the simulated enclave."""
MEASUREMENTS = {
    "none": [],
    "exact": [measured(False)],
    "debug": [measured(True)],
    "both": [measured(True), measured(False, value={"pcr0": REGISTERS["pcr0"]})],
}
REVOKED = {
    "never": None,
    "later": {"at": time_encode(at(99)), "suspect_since": time_encode(at(99)), "reason": "lost"},
    "before": {"at": time_encode(at(99)), "suspect_since": time_encode(at(-99)), "reason": "stolen"},
}


def policies() -> Iterator[dict[str, Any]]:
    """Every policy that asks for less, or asks for what cannot be."""
    base: dict[str, Any] = {"type": "urn:holdfast:policy:v1", "name": "any", "max_span_s": 600, "max_skew_s": 30}
    for states, bases in (
        ([], []),
        (["proven"], ["hardware"]),
        (["proven"], ["development"]),
        (list(STATES), list(BASES)),
        (["unknown"], ["development"]),
    ):
        require = {lane: {"states": states, "bases": bases} for lane in TOUCHED} if states else {}
        yield base | {"require": require}
    yield base | {"require": {}, "max_span_s": 10**9, "max_skew_s": 10**6}


POLICIES = [parse_policy(canonical.encode(value)) for value in policies()]


def trusted(roots: str, measurements: str, revoked: str, development: bool) -> Any:
    """A trust document with these switches."""
    network = Network(development=development)
    nodes = json.loads(network.trust_version())["nodes"]
    for item in nodes:
        if item["key_document"] == b64_encode(network.gateway_document.raw):
            item["revoked"] = REVOKED[revoked]
    return network.trust(
        nodes=nodes,
        measurements=MEASUREMENTS[measurements],
        enclave_roots=[
            {"kind": kind, "certificate": b64_encode(raw), "development": flag} for kind, raw, flag in ROOTS[roots]
        ],
    )


def presented(*formats: str, settled: bool = True) -> bytes:
    """The story of a run with the simulated enclave's document, under each of these names."""
    journal = [item for item in NETWORK.journal() if item["kind"] != "attestation"]
    if not settled:
        journal = [item for item in journal if item["kind"] not in ("checkpoint", "finality", "inclusion", "verdict")]
    for form in formats:
        item = {"node": NETWORK.gateway_document.digest, "format": form, "evidence": b64_encode(DOCUMENT)}
        journal.insert(1, {"kind": "attestation", "at": time_encode(ASKED), **item})
    return bundle_of(journal)


BUNDLES = {
    name: parse_bundle(raw)
    for name, raw in {
        "settled": presented("aws-nitro"),
        "unsettled": presented("aws-nitro", settled=False),
        "twice": presented("aws-nitro", "aws-nitro"),
        "renamed": presented("amd-sev-snp"),
        "both": presented("aws-nitro", "intel-dcap"),
    }.items()
}


@pytest.mark.parametrize("roots", ROOTS)
@pytest.mark.parametrize("measurements", MEASUREMENTS)
@pytest.mark.parametrize("development", [False, True])
def test_no_trust_and_no_policy_makes_it_look_real(roots: str, measurements: str, development: bool) -> None:
    told = 0
    for revoked in REVOKED:
        trust = trusted(roots, measurements, revoked, development)
        for bundle, policy in itertools.product(BUNDLES.values(), POLICIES):
            for moment in (at(10), at(3600), at(4 * 3600)):
                found = appraise(bundle, trust, policy, moment)
                assert list(found.lanes) == list(LANES)
                for name in TOUCHED:
                    lane = found.lanes[name]
                    assert lane.state in NO_BETTER, (name, revoked, policy.name, moment, lane)
                    assert lane.basis != "hardware"
                told += found.lanes["enclave"].basis == "development"
    admitted = roots not in ("none", "instance") and measurements in ("exact", "both", "debug")
    assert bool(told) == admitted


def test_where_everything_admits_it_the_lane_says_that_it_is_simulated() -> None:
    lane = appraise(BUNDLES["settled"], trusted("real", "exact", "never", False), POLICIES[0], at(10)).lanes["enclave"]
    assert (lane.state, lane.basis) == ("unknown", "development")
    assert "simulated" in lane.says
    assert "anybody can make" in lane.says


@pytest.mark.parametrize("name", ["privacy-simulated", "privacy-simulated-and-called-real"])
def test_what_was_sealed_to_a_simulated_enclave_is_not_proven_private(name: str) -> None:
    """The vectors' sealed turns, by every policy and at several times."""
    folder = VECTORS / "lanes" / name
    bundle = parse_bundle((folder / "bundle.json").read_bytes())
    trust = verify_trust(parse_trust_chain((folder / "trust.json").read_bytes()))
    start = bundle.exported_at
    for policy, later in itertools.product(POLICIES, (0, 600, 4 * 3600)):
        lane = appraise(bundle, trust, policy, start + dt.timedelta(seconds=later)).lanes["privacy"]
        assert (lane.state, lane.basis) == ("unknown", "development")
        assert "no real enclave" in lane.says
