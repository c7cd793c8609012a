"""Route policies: they only take away, what is not known refuses, and nobody outside of them is ever turned to."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import canonical
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from holdfast.verifier.route_policy import (
    Candidate,
    RoutePolicies,
    decide_route,
    parse_route_policy,
    policy_digest,
    reasons_against,
)

ONE = Candidate("one", "small", "small-1", jurisdiction="eu", most_usd=Fraction(1, 100))
TWO = Candidate("two", "small", "small-1")
INSIDE = Candidate("inside", "small", "small-1", enclave=True, artifact="ab" * 32, most_usd=Fraction(0))


def force(*policies: dict[str, Any]) -> RoutePolicies:
    return RoutePolicies(
        tuple(zip(("workspace", "conversation", "request"), map(parse_route_policy, policies), strict=False))
    )


def codes(found: RoutePolicies, *starts: Candidate, follow: tuple[Candidate, ...] = ()) -> list[str]:
    return [item.code for item in decide_route(found, starts, lambda _: follow)]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "none",
        {"provider": {}},
        {"providers": ["one"]},
        {"providers": {"only": ["one"]}},
        {"providers": {"allow": "one"}},
        {"providers": {"allow": ["https://one"]}},
        {"providers": {"allow": ["one", "one"]}},
        {"providers": {"allow": [f"u{number}" for number in range(65)]}},
        {"models": {"deny": [""]}},
        {"models": {"deny": [1]}},
        {"plaintext": "nowhere"},
        {"plaintext": None},
        {"fallback": "never"},
        {"fallback": True},
        {"retries": -1},
        {"retries": 6},
        {"retries": True},
        {"retries": "1"},
        {"retries": 1.0},
        {"same_artifact": "small"},
        {"same_artifact": None},
        {"jurisdictions": "eu"},
        {"jurisdictions": None},
        {"max_usd": 1},
        {"max_usd": "1.0"},
        {"max_usd": "-1"},
        {"show_after": {"lanes": []}},
        {"show_after": {"lanes": ["bytes"]}},
        {"show_after": {"lanes": ["bytes=proven", "bytes=proven"]}},
        {"show_after": {"within_s": 5}},
        {"show_after": {"lanes": ["bytes=proven"], "within_s": 601}},
    ],
)
def test_what_is_no_policy_is_refused(value: object) -> None:
    with pytest.raises(HoldfastError) as error:
        parse_route_policy(value)
    assert error.value.code in {"route.fields", "encoding.hex", "pricing.decimal"}


@pytest.mark.parametrize(
    ("policy", "candidate", "rule"),
    [
        ({"providers": {"allow": ["two"]}}, ONE, "providers.allow"),
        ({"providers": {"allow": []}}, ONE, "providers.allow"),
        ({"providers": {"deny": ["one"]}}, ONE, "providers.deny"),
        ({"models": {"allow": ["large", "two:small"]}}, ONE, "models.allow"),
        ({"models": {"deny": ["small"]}}, ONE, "models.deny"),
        ({"models": {"deny": ["one:small-1"]}}, ONE, "models.deny"),
        ({"plaintext": "enclave"}, ONE, "enclave"),
        ({"same_artifact": "cd" * 32}, INSIDE, "same_artifact"),
        ({"same_artifact": "cd" * 32}, ONE, "nobody knows"),
        ({"jurisdictions": ["us"]}, ONE, "declares eu"),
        ({"jurisdictions": ["eu"]}, TWO, "declares none"),
        ({"max_usd": "0.001"}, ONE, "may cost 0.01"),
        ({"max_usd": "1"}, TWO, "has no price"),
    ],
)
def test_each_rule_refuses_and_says_whose_it_is_and_what_would_have_to_change(
    policy: dict[str, Any], candidate: Candidate, rule: str
) -> None:
    with pytest.raises(RefusedError) as error:
        codes(force({}, policy), candidate)
    assert error.value.code == "route.policy"
    assert error.value.hint.startswith(f"{candidate.code}: the conversation's ")
    assert rule in error.value.hint


def test_what_a_policy_allows_is_turned_to() -> None:
    wide = {
        "providers": {"allow": ["one", "inside"]},
        "models": {"allow": ["small"]},
        "jurisdictions": ["eu"],
        "max_usd": "0.01",
    }
    assert codes(force(wide), ONE) == ["one"]
    assert codes(force({"plaintext": "enclave", "same_artifact": "ab" * 32}), ONE, INSIDE) == ["inside"]
    assert codes(force({"models": {"allow": ["one:small"]}}), TWO, ONE) == ["one"]
    assert codes(RoutePolicies(), ONE, TWO) == ["one"]


def test_nobody_can_widen_what_another_has_narrowed() -> None:
    narrow, wide = {"providers": {"allow": ["one"]}}, {"providers": {"allow": ["one", "two"]}, "fallback": "allowed"}
    assert codes(force(narrow, wide), TWO, ONE) == ["one"]
    assert codes(force(wide, narrow), TWO, ONE) == ["one"]
    both = force({"retries": 1, "fallback": ["two"]}, {"retries": 3, "fallback": "allowed"})
    assert both.retries == 1
    assert both.may_follow("two")
    assert not both.may_follow("one")


def test_no_fallback_means_that_nobody_follows() -> None:
    assert codes(force({}), ONE, follow=(TWO, INSIDE)) == ["one", "two", "inside"]
    assert codes(force({"fallback": "none"}), ONE, follow=(TWO, INSIDE)) == ["one"]
    assert codes(force({"fallback": ["inside"]}), ONE, follow=(TWO, INSIDE)) == ["one", "inside"]
    assert codes(force({"fallback": "none"}), TWO, ONE, follow=(TWO,)) == ["two"]


def test_the_document_says_whose_policy_it_is_and_is_salted() -> None:
    found = force({}, {"fallback": "none"})
    assert canonical.decode_signed(found.document()) == {
        "type": "urn:holdfast:route-policy:v1",
        "policies": [{"by": "workspace", "policy": {}}, {"by": "conversation", "policy": {"fallback": "none"}}],
    }
    assert policy_digest(bytes(32), found.document()) != policy_digest(b"\x01" * 32, found.document())


def test_a_request_is_read_with_its_numbers_as_text() -> None:
    policy = parse_route_policy(
        canonical.decode_exact(b'{"retries":2,"show_after":{"lanes":["bytes=proven"],"within_s":9}}')
    )
    assert (policy.retries, policy.within_s) == (2, 9)
    assert policy.document == {"retries": 2, "show_after": {"lanes": ["bytes=proven"], "within_s": 9}}
    with pytest.raises(MalformedError):
        parse_route_policy(canonical.decode_exact(b'{"retries":2.0}'))


NAMES = st.lists(st.sampled_from(["one", "two", "three"]), unique=True, max_size=3)
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "providers": st.fixed_dictionaries({}, optional={"allow": NAMES, "deny": NAMES}),
        "plaintext": st.sampled_from(["anywhere", "enclave"]),
        "fallback": st.sampled_from(["allowed", "none"]) | NAMES,
        "retries": st.integers(0, 5),
        "jurisdictions": st.lists(st.sampled_from(["eu", "us"]), unique=True),
        "max_usd": st.sampled_from(["0", "0.5", "1"]),
    },
)
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        st.sampled_from(["one", "two", "three"]),
        st.just("small"),
        st.just("small"),
        st.booleans(),
        st.none(),
        st.sampled_from([None, "eu", "us"]),
        st.sampled_from([None, Fraction(0), Fraction(3, 4)]),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda item: item.code,
)


@given(st.lists(POLICIES, max_size=3), CANDIDATES, CANDIDATES)
def test_no_order_ever_holds_anybody_outside_of_any_policy(
    policies: list[dict[str, Any]], starts: list[Candidate], following: list[Candidate]
) -> None:
    found = force(*policies)
    try:
        order = decide_route(found, starts, lambda _: following)
    except RefusedError:
        assert all(reasons_against(found, start) for start in starts)
        return
    assert order[0] in starts
    assert len({item.code for item in order}) == len(order)
    for place, item in enumerate(order):
        for policy in policies:
            providers = policy.get("providers", {})
            assert item.code in providers.get("allow", [item.code])
            assert item.code not in providers.get("deny", [])
            assert item.enclave or policy.get("plaintext") != "enclave"
            assert item.jurisdiction in policy.get("jurisdictions", [item.jurisdiction])
            if "max_usd" in policy:
                assert item.most_usd is not None
                assert item.most_usd <= Fraction(policy["max_usd"])
            if place:
                assert policy.get("fallback", "allowed") == "allowed" or item.code in policy["fallback"]


@given(POLICIES, POLICIES, CANDIDATES, CANDIDATES)
def test_a_further_policy_never_lets_anybody_in(
    policy: dict[str, Any], more: dict[str, Any], starts: list[Candidate], following: list[Candidate]
) -> None:
    def allowed(*policies: dict[str, Any]) -> set[str]:
        found = force(*policies)
        return {item.code for item in (*starts, *following) if not reasons_against(found, item)}

    assert allowed(policy, more) <= allowed(policy)
    assert allowed(policy, more) == allowed(more, policy)
