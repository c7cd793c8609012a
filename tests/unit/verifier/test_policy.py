"""Policies are parsed strictly; a requirement is met, not met, or cannot be told yet."""

from __future__ import annotations

import pytest

from holdfast.cli.verify import exit_of
from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import sha256_hex
from holdfast.errors import MalformedError, UsageError
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.lanes import BASES, LANES, STATES, Lane
from holdfast.verifier.policy import (
    DEFAULT_POLICY,
    LaneRequirement,
    Requirement,
    build_policy,
    parse_policy,
    parse_requirement,
)
from tests.helpers.network import Network, at, bundle_of

VALUE = canonical.decode(DEFAULT_POLICY)


def refusal(**changes):
    with pytest.raises(MalformedError) as refused:
        parse_policy(canonical.encode(VALUE | changes))
    return refused.value.code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"type": "urn:holdfast:policy:v2"}, "policy.fields"),
        ({"overall": True}, "policy.fields"),
        ({"name": "The default"}, "policy.fields"),
        ({"max_span_s": -1}, "policy.fields"),
        ({"max_span_s": True}, "policy.fields"),
        ({"max_skew_s": "30"}, "policy.fields"),
        ({"max_skew_s": None}, "policy.fields"),
        ({"require": []}, "policy.fields"),
        ({"require": {"overall": {"states": [], "bases": []}}}, "policy.require"),
        ({"require": {"bytes": []}}, "policy.require"),
        ({"require": {"bytes": {"states": []}}}, "policy.require"),
        ({"require": {"bytes": {"states": "proven", "bases": []}}}, "policy.require"),
        ({"require": {"bytes": {"states": ["verified"], "bases": []}}}, "policy.require"),
        ({"require": {"bytes": {"states": [["proven"]], "bases": []}}}, "policy.require"),
        ({"require": {"bytes": {"states": ["proven", "proven"], "bases": []}}}, "policy.require"),
        ({"require": {"bytes": {"states": ["proven"], "bases": ["hope"]}}}, "policy.require"),
        ({"require": {"bytes": {"states": ["proven"], "bases": [None]}}}, "policy.require"),
    ],
)
def test_a_policy_that_is_not_one_is_refused(changes, code):
    assert refusal(**changes) == code


def test_a_policy_has_one_spelling():
    with pytest.raises(MalformedError) as refused:
        parse_policy(DEFAULT_POLICY + b"\n")
    assert refused.value.code == "json.spelling"


def test_a_policy_names_states_and_bases_by_lane():
    raw = canonical.encode(VALUE | {"require": {"bytes": {"states": ["proven"], "bases": ["signature", "hardware"]}}})
    policy = parse_policy(raw)
    assert policy.require == {"bytes": LaneRequirement(("proven",), ("signature", "hardware"))}
    assert policy.digest == sha256_hex(raw)


def test_the_default_asks_for_nothing_and_bounds_time():
    policy = parse_policy(DEFAULT_POLICY)
    assert (policy.name, policy.bounds.max_span_s, policy.bounds.max_skew_s, policy.require) == ("default", 600, 30, {})
    assert parse_policy(build_policy("strict", max_span_s=0, max_skew_s=0)).bounds.max_span_s == 0


@pytest.mark.parametrize(
    "text",
    ["", "bytes", "bytes=", "=proven", "bytes=verified", "bytes=proven:", "bytes=proven:hope", "all=proven",
     "bytes=proven:signature:x", "bytes = proven", "Bytes=proven", "bytes=proven,route=proven"],
)  # fmt: skip
def test_a_requirement_that_is_not_one_is_a_usage_error(text):
    with pytest.raises(UsageError) as refused:
        parse_requirement(text)
    assert refused.value.code == "require.syntax"


@pytest.mark.parametrize("text", ["bytes=proven", "settlement=proven:development", "payment=not_applicable"])
def test_a_requirement_reads_back(text):
    assert str(parse_requirement(text)) == text


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("wanted", STATES)
def test_only_pending_and_unknown_cannot_be_told_yet(state, wanted):
    expected = "yes" if state == wanted else "cannot_tell" if state in {"pending", "unknown"} else "no"
    assert Requirement("bytes", wanted, None).answer(Lane("bytes", state, "signature", "")) == expected


@pytest.mark.parametrize("basis", [None, *BASES])
def test_another_basis_does_not_do(basis):
    requirement = Requirement("settlement", "proven", "proof")
    expected = "yes" if basis == "proof" else "no"
    assert requirement.answer(Lane("settlement", "proven", basis, "")) == expected


NETWORK = Network()


def leaving(journal, *requirements, trust=True):
    """How the command ends."""
    given = NETWORK.trust() if trust else None
    result = appraise(parse_bundle(bundle_of(journal)), given, parse_policy(DEFAULT_POLICY), at(10))
    return exit_of(result, given, [parse_requirement(text) for text in requirements])


SETTLED = NETWORK.journal()
OPEN = NETWORK.journal(finality=0)
REFUTED = Network(verdict="refuted:backdated").journal()


@pytest.mark.parametrize(
    ("journal", "requirements", "trust", "code"),
    [
        (SETTLED, [], True, 0),
        (SETTLED, ["bytes=proven:signature", "settlement=proven:development", "payment=not_applicable"], True, 0),
        (SETTLED, ["settlement=proven:proof"], True, 1),
        (SETTLED, ["payment=proven"], True, 1),
        (SETTLED, ["enclave=proven"], True, 3),
        (SETTLED, ["enclave=proven", "payment=proven"], True, 1),
        (SETTLED, ["enclave=unknown:development"], True, 0),
        (OPEN, ["settlement=proven"], True, 3),
        (OPEN, ["settlement=pending"], True, 0),
        (SETTLED, [], False, 3),
        (SETTLED, ["bytes=unknown"], False, 3),
        (SETTLED, ["payment=proven"], False, 3),
        (REFUTED, [], True, 1),
        (REFUTED, ["settlement=refuted"], True, 1),
    ],
)
def test_the_command_ends_as_its_requirements_and_no_summary_say(journal, requirements, trust, code):
    assert leaving(journal, *requirements, trust=trust) == code


def test_every_lane_can_be_required():
    assert [parse_requirement(f"{lane}=unknown").lane for lane in LANES] == list(LANES)
