"""The gate over any policy, lanes, acts and history: what never happens, and what stays.

``wanted`` says in the fewest words when a policy is met; it is written from ``spec/gate.md`` §4(3) alone and knows
nothing of reasons.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
from pathlib import Path

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from holdfast.core import canonical
from holdfast.core.encoding import time_encode
from holdfast.errors import MalformedError
from holdfast.verifier.gate import GATE_STATES, Decision, History, LaneVector, Release, decide
from holdfast.verifier.lanes import BASES, LANES, STATES, Lane
from holdfast.verifier.queue_policy import (
    ACCEPTABLE_STATES,
    DECIDING_ROLES,
    parse_queue_policy,
    parse_queue_policy_document,
)
from tests.helpers.network import RUN, at

TOOLS = str(Path(__file__).resolve().parents[2] / "spec" / "tools")
sys.path.insert(0, TOOLS)
from reference import gates, text  # noqa: E402

sys.path.remove(TOOLS)

ROLES = [*DECIDING_ROLES, "viewer", "auditor"]
PEOPLE = ["ada", "ben", "cay"]
MOMENTS = st.integers(0, 240).map(at)
"""Times close to each other, so that they often meet."""


def some_of(names, **bounds):
    return st.lists(st.sampled_from(names), unique=True, **bounds)


def written(value):
    """A list or a table as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {written(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


NEEDS = st.fixed_dictionaries(
    {"states": some_of(ACCEPTABLE_STATES, min_size=1), "bases": some_of(BASES, min_size=1)},
    optional={"max_age_s": st.integers(20, 200)},
)
POLICIES = st.fixed_dictionaries(
    {
        "type": st.just("urn:holdfast:queue-policy:v1"),
        "name": st.sampled_from(["default", "other"]),
        "require": st.dictionaries(st.sampled_from(LANES), NEEDS, max_size=4),
    },
    optional={
        "max_skew_s": st.integers(0, 60),
        "judgement": st.fixed_dictionaries({"reviewers": st.integers(1, 3), "role": st.sampled_from(DECIDING_ROLES)}),
        "early_release": st.fixed_dictionaries(
            {"roles": some_of(DECIDING_ROLES, min_size=1), "max_s": st.integers(20, 200)}
        ),
    },
).map(lambda value: parse_queue_policy("\n".join(f"{name} = {written(item)}" for name, item in value.items())))


@st.composite
def vectors(draw, policy, *, near):
    """Lanes, each with a date of its own. ``near``: what the policy asks for, but for one lane at times."""
    spoilt = draw(st.none() | st.sampled_from(LANES)) if near else None
    lanes, dated = {}, {}
    for name in LANES:
        need = policy.require.get(name)
        if near and need is not None and name != spoilt:
            state = draw(st.sampled_from(need.states))
            basis = None if state == "not_applicable" else draw(st.sampled_from(need.bases))
            dated[name] = at(draw(st.integers(60, 120)))
        else:
            calm = near and name != spoilt
            state = draw(st.sampled_from([item for item in STATES if not calm or item != "refuted"]))
            basis = draw(st.none() | st.sampled_from(BASES))
            dated[name] = draw(st.none() | MOMENTS)
        lanes[name] = Lane(name, state, basis, "It says so.", ())
    return LaneVector(RUN, lanes, dated)


def decisions(policy, *, near):
    role = policy.judgement.role if policy.judgement else "reviewer"
    return st.lists(
        st.builds(
            Decision,
            st.sampled_from(PEOPLE),
            st.sampled_from([role] * 9 + ROLES if near else ROLES),
            st.sampled_from(["approve"] * (20 if near else 3) + ["reject", "reopen"]),
            MOMENTS,
            st.just("0" * 64),
            st.sampled_from([policy.digest] * 4 + ["f" * 64]),
            st.sampled_from([False] * (20 if near else 4) + [True]),
        ),
        max_size=8,
    ).map(lambda found: sorted(found, key=lambda item: item.at))


@st.composite
def releases(draw, policy, now, *, near):
    """``now`` is in seconds; ``near``: mostly one that is in force then, or has just run out."""
    allowed = policy.early_release
    if near and allowed:
        begin = now - draw(st.integers(0, min(60, allowed.max_s - 1)))
        end = draw(st.integers(now - 2, begin + allowed.max_s))
    else:
        begin, end = draw(st.integers(0, 240)), draw(st.integers(0, 240))
    return Release(
        draw(st.sampled_from(PEOPLE)),
        draw(st.sampled_from([*(allowed.roles if allowed else ROLES)] * 6 + ["viewer"])),
        at(begin),
        at(end),
        draw(st.sampled_from([policy.digest] * 8 + ["f" * 64])),
        draw(st.sampled_from([False] * 8 + [True])),
    )


@st.composite
def cases(draw, kind=None):
    """Everything that :func:`decide` takes. ``near``: where little is missing, which chance alone seldom finds;
    ``released``: and somebody let it go."""
    kind = draw(st.sampled_from(["any", "near", "near", "released"])) if kind is None else kind
    near, released = kind != "any", kind == "released"
    policy = draw(POLICIES.filter(lambda policy: policy.require and policy.early_release) if released else POLICIES)
    now = draw(st.integers(90, 180) if near else st.integers(0, 240))
    recalled = draw(st.sampled_from([False] * 5 + [True]))
    return {
        "policy": policy,
        "vector": draw(vectors(policy, near=near)),
        "decisions": draw(decisions(policy, near=near)),
        "release": draw(releases(policy, now, near=near) if released else st.none() | releases(policy, now, near=near)),
        "history": History(
            draw(st.booleans()),
            ("evidence was refuted",) if recalled else (),
            draw(st.booleans()),
            draw(st.sampled_from([None] * 3 + [at(second) for second in range(0, 241, 30)])),
        ),
        "at": at(now),
    }


def standing(case):
    """Decisions that count since the last reopening (§3)."""
    counted = [
        item
        for item in case["decisions"]
        if item.at <= case["at"] and not item.requester and item.role in DECIDING_ROLES
    ]
    places = [place for place, item in enumerate(counted) if item.act == "reopen"]
    return counted[places[-1] + 1 :] if places else counted


def test_the_cases_are_of_every_kind():
    """Each state turns up among many cases, and CLEAR both with an end and without."""
    found = set()

    @seed(1)
    @settings(max_examples=600, database=None)
    @given(cases())
    def look(case):
        result = decide(**case)
        found.add((result.state, result.clear_until is not None))

    look()
    assert found == {("CLEAR", True), *((state, False) for state in GATE_STATES)}


def wanted(case):
    """Whether every requirement holds (§4(3))."""
    policy, vector, now = case["policy"], case["vector"], case["at"]
    moved_at = case["history"].label_moved_at

    def met(name, need):
        lane, dated = vector.lanes[name], vector.dated[name]
        rests = lane.basis in need.bases or (lane.basis is None and lane.state == "not_applicable")
        fresh = need.max_age_s is None or (
            dated is not None
            and dt.timedelta(seconds=-policy.bounds.max_skew_s) <= now - dated < dt.timedelta(seconds=need.max_age_s)
        )
        return lane.state in need.states and rests and fresh

    approved = {
        item.person
        for item in standing(case)
        if policy.judgement
        and item.act == "approve"
        and item.role == policy.judgement.role
        and item.policy_digest == policy.digest
        and not (moved_at is not None and item.at <= moved_at <= now)
    }
    return (
        bool(policy.require)
        and all(met(name, need) for name, need in policy.require.items())
        and all(lane.state != "refuted" for lane in vector.lanes.values())
        and (policy.judgement is None or len(approved) >= policy.judgement.reviewers)
    )


@given(cases())
def test_clear_is_exactly_what_satisfies_the_policy(case):
    result = decide(**case)
    rejected = any(item.act == "reject" for item in standing(case))
    refuted = any(lane.state == "refuted" for lane in case["vector"].lanes.values())
    recalled = bool(case["history"].recalled) or (case["history"].relied and refuted)
    assert (result.state == "CLEAR") == (wanted(case) and not rejected and not recalled)
    assert (result.state == "CLEAR") == (result.reasons == ())
    assert (result.state == "RECALLED") == recalled
    assert (result.state == "REJECTED") == (rejected and not recalled)


@given(cases(), st.sampled_from(LANES), st.none() | st.sampled_from(BASES))
def test_a_refuted_lane_never_lets_a_case_go_and_never_makes_it_better(case, name, basis):
    before = decide(**case)
    lanes = {**case["vector"].lanes, name: Lane(name, "refuted", basis, "It does not verify.")}
    after = decide(**case | {"vector": dataclasses.replace(case["vector"], lanes=lanes)})
    assert after.state not in {"CLEAR", "PROVISIONAL"}
    if case["history"].relied or before.state == "RECALLED":
        assert after.state == "RECALLED"
    if before.state == "REJECTED":
        assert after.state in {"REJECTED", "RECALLED"}
    assert ("gate.refuted", name) in {(reason.code, reason.lane) for reason in after.reasons}


@given(cases(kind="near"), MOMENTS)
def test_a_label_that_moves_never_makes_a_case_clear_and_takes_only_approvals(case, moved_at):
    """Whatever the label does, only the count of people changes, and only downwards."""
    unmoved = dataclasses.replace(case["history"], label_moved_at=None)
    before = decide(**case | {"history": unmoved})
    after = decide(**case | {"history": dataclasses.replace(unmoved, label_moved_at=moved_at)})
    assert (after.state == "CLEAR") <= (before.state == "CLEAR")
    if case["policy"].judgement is None or moved_at > case["at"]:
        assert after == before
    people = {"gate.reviewers", "gate.label_moved"}
    rest = [[reason for reason in result.reasons if reason.code not in people] for result in (before, after)]
    if before.state == after.state != "PROVISIONAL":
        assert rest[0] == rest[1]
    if any(reason.code == "gate.label_moved" for reason in after.reasons):
        assert any(item.act == "approve" and item.at <= moved_at for item in standing(case))


@given(cases(kind="released"))
def test_provisional_is_only_ever_a_release_in_force(case):
    result = decide(**case)
    if result.state == "PROVISIONAL":
        policy, release = case["policy"], case["release"]
        assert policy.require
        assert release.role in policy.early_release.roles
        assert release.policy_digest == policy.digest
        assert not release.requester
        assert release.at <= case["at"] < release.until
        assert (release.until - release.at).total_seconds() <= policy.early_release.max_s
        assert not wanted(case)


@given(cases(kind="released"))
def test_the_mark_of_an_early_release_stays(case):
    first = decide(**case)
    kept = dataclasses.replace(case["history"], released_early=first.released_early)
    assert first.released_early >= case["history"].released_early
    assert decide(**case | {"history": kept}).released_early == first.released_early
    if first.state == "PROVISIONAL":
        assert first.released_early


@given(cases(kind="released"), st.integers(0, 10_000))
def test_a_release_that_ran_out_holds_the_case(case, later):
    release = case["release"]
    if release is None or decide(**case).state != "PROVISIONAL":
        return
    acts = [item for item in case["decisions"] if item.at <= case["at"]]
    after = decide(**case | {"decisions": acts, "at": release.until + dt.timedelta(milliseconds=later)})
    assert after.state in {"HOLD", "CLEAR"}
    assert after.state == "CLEAR" or after.reasons


@given(cases(kind="near"), st.integers(0, 300_000))
def test_clear_stays_clear_until_it_said(case, later):
    first = decide(**case)
    if first.state != "CLEAR":
        return
    acts = [item for item in case["decisions"] if item.at <= case["at"]]
    moment = case["at"] + dt.timedelta(milliseconds=later)
    after = decide(**case | {"decisions": acts, "at": moment})
    if first.clear_until is None or moment < first.clear_until:
        assert after.state == "CLEAR"
        assert after.clear_until == first.clear_until
    else:
        # Only a release that was made all along can still let it go, and it says so.
        assert after.state in {"HOLD", "PROVISIONAL"}
        assert "gate.lane_age" in {reason.code for reason in after.reasons}


@given(cases())
def test_an_empty_policy_never_lets_anything_go(case):
    policy = dataclasses.replace(case["policy"], require={})
    assert decide(**case | {"policy": policy}).state not in {"CLEAR", "PROVISIONAL"}


@given(cases(), st.sampled_from(PEOPLE), st.sampled_from(ROLES))
def test_nobody_decides_what_their_own_key_asked_for(case, person, role):
    own = [
        Decision(person, role, act, case["at"], "0" * 64, case["policy"].digest, requester=True)
        for act in ("approve", "reject", "reopen")
    ]
    assert decide(**case | {"decisions": [*case["decisions"], *own]}) == decide(**case)


@given(cases(), st.sampled_from(ROLES))
def test_what_comes_later_than_the_time_asked_about_is_not_read(case, role):
    now, digest = case["at"], case["policy"].digest
    later = now + dt.timedelta(milliseconds=1)
    acts = [Decision("dee", role, act, later, "0" * 64, digest) for act in ("approve", "reject", "reopen")]
    assert decide(**case | {"decisions": [*case["decisions"], *acts]}) == decide(**case)
    release = Release("dee", role, later, later + dt.timedelta(seconds=1), digest)
    assert decide(**case | {"release": release}).state == decide(**case | {"release": None}).state


@given(cases(), st.sampled_from(PEOPLE))
def test_a_rejection_never_lets_go_and_a_reopening_never_clears_by_itself(case, person):
    no = Decision(person, "reviewer", "reject", case["at"], "0" * 64, case["policy"].digest)
    assert decide(**case | {"decisions": [*case["decisions"], no]}).state in {"REJECTED", "RECALLED"}
    again = dataclasses.replace(no, act="reopen")
    opened = decide(**case | {"decisions": [*case["decisions"], no, again]})
    assert opened == decide(**case | {"decisions": [again]})


@given(cases())
@settings(max_examples=50)
def test_a_policy_reads_back_and_answers_alike(case):
    policy = parse_queue_policy_document(case["policy"].document)
    assert policy == case["policy"]
    assert decide(**case | {"policy": policy}) == decide(**case)


@given(cases())
@settings(max_examples=50)
def test_words_and_the_order_of_evidence_move_nothing(case):
    lanes = {
        name: dataclasses.replace(lane, says="Otherwise.", evidence=("b", "a", "b"))
        for name, lane in reversed(case["vector"].lanes.items())
    }
    plain = {name: dataclasses.replace(lane, evidence=("a", "b")) for name, lane in case["vector"].lanes.items()}
    one = decide(**case | {"vector": dataclasses.replace(case["vector"], lanes=plain)})
    other = decide(**case | {"vector": dataclasses.replace(case["vector"], lanes=lanes)})
    assert (one.state, one.clear_until, one.lanes_digest) == (other.state, other.clear_until, other.lanes_digest)
    assert [item.code for item in one.reasons] == [item.code for item in other.reasons]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    """Where something stands in a JSON value."""
    yield path
    for key, item in value.items() if isinstance(value, dict) else ():
        yield from places(item, (*path, key))


@given(POLICIES, st.booleans(), st.data())
def test_both_readings_of_the_specification_take_and_refuse_the_same_policies(policy, written_form, data):
    """Anything is put anywhere in a policy; the vectors' generator says the same of it, with the same code."""
    value = canonical.decode(policy.document)
    path = data.draw(st.sampled_from([path for path in places(value) if path]))
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = data.draw(JSON | st.sampled_from([*LANES, *STATES, *BASES, *ROLES]).map(lambda name: [name]))
    if written_form:
        value = without_nulls(value)

    def ours():
        return (
            parse_queue_policy(gates.toml(value))
            if written_form
            else parse_queue_policy_document(canonical.encode(value))
        )

    try:
        expected = "read", gates.policy(value, written=written_form)
    except text.SpecError as error:
        expected = "refused", error.code
    try:
        found = "read", ours().document
    except MalformedError as error:
        found = "refused", error.code
    assert found == expected
    if found[0] == "read" and not written_form:
        assert (found[1] == policy.document) == (canonical.encode(value) == policy.document)


def without_nulls(value):
    """TOML has no null: what would be null is left out, and no table stands in a list."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value if item is not None and not isinstance(item, dict)]
    return value


@given(cases())
def test_both_readings_of_the_specification_answer_alike(case):
    policy, vector, release, history = case["policy"], case["vector"], case["release"], case["history"]
    shown = {
        "run": vector.run,
        "lanes": {
            name: {
                "state": lane.state,
                "basis": lane.basis,
                "says": lane.says,
                "evidence": list(lane.evidence),
                "dated": None if vector.dated[name] is None else time_encode(vector.dated[name]),
            }
            for name, lane in vector.lanes.items()
        },
        "decisions": [
            {
                "person": item.person,
                "role": item.role,
                "act": item.act,
                "at": time_encode(item.at),
                "policy": item.policy_digest,
                "requester": item.requester,
            }
            for item in case["decisions"]
        ],
        "release": release
        and {
            "role": release.role,
            "at": time_encode(release.at),
            "until": time_encode(release.until),
            "policy": release.policy_digest,
            "requester": release.requester,
        },
        "history": {
            "relied": history.relied,
            "recalled": list(history.recalled),
            "released_early": history.released_early,
            "label_moved_at": None if history.label_moved_at is None else time_encode(history.label_moved_at),
        },
    }
    found = decide(**case)
    assert gates.decide(canonical.decode(policy.document), policy.digest, shown, time_encode(case["at"])) == {
        "state": found.state,
        "reasons": [[reason.code, reason.lane] for reason in found.reasons],
        "clear_until": found.clear_until and time_encode(found.clear_until),
        "released_early": found.released_early,
        "policy": found.policy_digest,
        "vector": found.lanes_digest,
    }


@given(POLICIES, st.data())
def test_no_flipped_byte_of_a_policy_keeps_its_digest(policy, data):
    raw = bytearray(policy.document)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = parse_queue_policy_document(bytes(raw))
    except MalformedError:
        return
    assert found.digest != policy.digest
    assert found.document == bytes(raw)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_is_read_as_a_policy_is_refused_in_the_one_way(raw):
    for read, given_raw in ((parse_queue_policy_document, raw), (parse_queue_policy, raw.decode("utf-8", "replace"))):
        with pytest.raises(MalformedError):
            read(given_raw)
