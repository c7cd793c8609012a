"""Whatever a stranger submits, a full node answers with an error of ours or takes it whole."""

from __future__ import annotations

import datetime as dt
from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.attestation.evidence import FORMATS
from holdfast.core.encoding import b64_encode
from holdfast.core.registry import INSECURE_MEASUREMENT, Submission, build_submission, claimed_measurement
from holdfast.errors import HoldfastError
from holdfast.verifier.registration import Circumstances, appraise_registration
from holdfast.verifier.transcript import Transcript
from tests.helpers.network import Network
from tests.helpers.registry import ROOT, insecure_evidence, node_keys

AT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
KEYS = node_keys()
GOOD = build_submission(
    KEYS.document,
    KEYS.certificate,
    form="insecure-dev",
    evidence=insecure_evidence(KEYS.document),
    measurement=INSECURE_MEASUREMENT,
    anchor=1,
)
ROOTS = [{"kind": "insecure-dev", "certificate": b64_encode(ROOT.public_key().public_bytes_raw()), "development": True}]
TRUST = Network().trust(enclave_roots=ROOTS)
BYTES = [item.name for item in fields(Submission) if isinstance(getattr(GOOD, item.name), bytes)]


def code_of(given_: Submission) -> str:
    """``ok``, or the code of what was raised; anything but our errors travels."""
    try:
        appraise_registration(given_, Circumstances(0, bytes(32), bytes(32), AT), TRUST, Transcript())
    except HoldfastError as error:
        return error.code
    return "ok"


def test_the_submission_that_is_changed_here_holds() -> None:
    assert code_of(GOOD) == "ok"
    assert len(BYTES) == 6


@given(st.sampled_from(BYTES), st.binary(max_size=300))
def test_any_bytes_in_any_place_are_refused(name: str, value: bytes) -> None:
    if value != getattr(GOOD, name):
        assert code_of(replace(GOOD, **{name: value})) != "ok"


@given(st.sampled_from(BYTES), st.integers(0, 10_000), st.integers(1, 255))
def test_no_byte_can_be_changed(name: str, place: int, change: int) -> None:
    raw = bytearray(getattr(GOOD, name))
    raw[place % len(raw)] ^= change
    # A certificate's own signature is nobody's business: whoever pins it pins its key (registry.md §5(5)).
    if name != "certificate":
        assert code_of(replace(GOOD, **{name: bytes(raw)})) != "ok"


@given(st.sampled_from(FORMATS), st.binary(max_size=400))
def test_evidence_of_any_bytes_claims_a_measurement_or_is_refused(form: str, evidence: bytes) -> None:
    try:
        found = claimed_measurement(form, evidence)
    except HoldfastError:
        return
    assert len(found) == 32
