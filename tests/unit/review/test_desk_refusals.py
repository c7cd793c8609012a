"""What the desk refuses. Nothing of what was refused leaves an event behind."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.errors import ConflictError, HoldfastError, MalformedError, RefusedError, UsageError
from holdfast.ports.case_store import CaseFilter
from holdfast.review.events import GATE, SYSTEM, Actor
from holdfast.review.intake import Opening
from holdfast.review.permissions import MAY
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.network import RUN, Network, at
from tests.helpers.review import (
    APPROVER,
    AUDITOR,
    CONSUMER,
    OWNER,
    REVIEWER,
    SECOND,
    VIEWER,
    Clinic,
    evidence,
    policy_text,
)

NOBODY = Actor("person", "nobody")
ADMIN = Actor("person", "adam", frozenset({"admin"}))
CASE = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def clinic() -> Clinic:
    found = Clinic()
    found.queue()
    return found


def refused(clinic: Clinic, code: str, act: Callable[[], object]) -> HoldfastError:
    """The refusal, after which the journal is what it was."""
    before = clinic.desk.head(SYSTEM)
    with pytest.raises(HoldfastError) as caught:
        act()
    assert caught.value.code == code
    assert clinic.desk.head(SYSTEM) == before
    return caught.value


# --- deny by default ------------------------------------------------------------------------------------------------


def every_act(clinic: Clinic, actor: Actor, case: str) -> dict[str, Callable[[], object]]:
    """Each command of the desk, by the act it needs."""
    desk = clinic.desk
    return {
        "open": lambda: desk.open(actor, RUN, "another"),
        "note": lambda: desk.note_bundle(actor, case, evidence("asked")),
        "view": lambda: desk.view(actor, case),
        "claim": lambda: desk.claim(actor, case),
        "let_go": lambda: desk.let_go(actor, case),
        "comment": lambda: desk.comment(actor, case, "hm"),
        "decide": lambda: desk.decide(actor, case, "approve", reason="yes"),
        "release": lambda: desk.release(actor, case, until=clinic.now, reason="yes"),
        "reopen": lambda: desk.reopen(actor, case, reason="yes"),
        "recall": lambda: desk.recall(actor, "a" * 64, "because"),
        "add_dependant": lambda: desk.add_dependant(actor, case, reference="order 7"),
        "hand_out": lambda: desk.hand_out(actor, "default", "shop"),
        "acknowledge": lambda: desk.acknowledge(actor, case, "shop", "k"),
        "give_back": lambda: desk.give_back(actor, case, "shop", "k"),
        "change_policy": lambda: desk.change_policy(actor, "default", policy_text()),
        "what_if": lambda: desk.what_if(actor, "default", policy_text()),
        "queues": lambda: desk.queues(actor),
        "cases": lambda: desk.cases(actor),
        "case": lambda: desk.case(actor, case),
        "lanes_then": lambda: desk.lanes_then(actor, case, "a" * 64),
        "head": lambda: desk.head(actor),
        "audit": lambda: desk.audit(actor),
        "tick": lambda: desk.tick(actor),
        "waiting": lambda: desk.waiting(actor),
        "note_statement": lambda: desk.note_statement(1, "a" * 64, actor),
    }


STRANGERS = [
    NOBODY,
    GATE,
    Actor("key", "key-2"),
    Actor("key", "key-3", frozenset({"reviewer", "approver", "admin"})),
    Actor("person", "kim", frozenset({"queue:take", "queue:read", "case:read", "system"})),
    Actor("stranger", "x", frozenset({"reviewer", "approver"})),
]


@pytest.mark.parametrize("actor", STRANGERS, ids=lambda actor: f"{actor.kind}-{actor.id}")
def test_whoever_holds_no_role_for_it_does_nothing_at_all(clinic: Clinic, actor: Actor) -> None:
    case = clinic.case(stage="settled")
    for act in every_act(clinic, actor, case).values():
        refused(clinic, "case.role", act)


@pytest.mark.parametrize("actor", [VIEWER, AUDITOR, OWNER, REVIEWER, ADMIN, CONSUMER], ids=lambda actor: actor.id)
def test_a_role_opens_its_own_doors_only(clinic: Clinic, actor: Actor) -> None:
    case = clinic.case(stage="asked")
    names = {"let_go": "claim", "hand_out": "take", "acknowledge": "take", "give_back": "take"}
    names |= dict.fromkeys(("what_if", "queues", "cases", "case", "lanes_then", "head"), "list")
    names |= dict.fromkeys(("tick", "waiting", "note_statement"), "system")
    for name, act in every_act(clinic, actor, case).items():
        allowed = MAY[names.get(name, name)] & {f"{actor.kind}:{role}" for role in actor.roles}
        if not allowed:
            refused(clinic, "case.role", act)


def test_an_act_after_the_role_was_revoked_is_refused() -> None:
    clinic = Clinic(roles=True)
    clinic.queue()
    case = clinic.case(stage="asked")
    clinic.held["rita"] = {"reviewer"}
    clinic.desk.view(REVIEWER, case)
    clinic.held["rita"] = set()
    refused(clinic, "case.role", lambda: clinic.desk.decide(REVIEWER, case, "approve", reason="as agreed"))


def test_roles_that_an_actor_claims_are_not_believed_when_they_can_be_asked_for() -> None:
    clinic = Clinic(roles=True)
    refused(clinic, "case.role", lambda: clinic.desk.cases(Actor("person", "mallory", frozenset({"admin"}))))


# --- four eyes ------------------------------------------------------------------------------------------------------


def test_one_person_fills_one_place(clinic: Clinic) -> None:
    clinic.queue(reviewers=2)
    case = clinic.case(stage="settled")
    assert clinic.approve(case).state == "HOLD"
    clinic.desk.view(REVIEWER, case)
    refused(clinic, "case.decided_already", lambda: clinic.desk.decide(REVIEWER, case, "approve", reason="again"))
    refused(clinic, "case.decided_already", lambda: clinic.desk.decide(REVIEWER, case, "reject", reason="no, not"))
    assert clinic.approve(case, SECOND).state == "CLEAR"


@pytest.mark.parametrize(
    "actor",
    [
        Actor("person", "rita", frozenset({"reviewer", "approver"})),
        Actor("person", "rob", frozenset({"reviewer", "approver"}), frozenset({"rita"})),
    ],
    ids=["by-name", "by-key"],
)
def test_nobody_decides_a_case_whose_run_they_asked_for(clinic: Clinic, actor: Actor) -> None:
    case = clinic.case(stage="asked", requester="rita")
    clinic.desk.view(actor, case)
    until = clinic.now + dt.timedelta(seconds=60)
    refused(clinic, "case.own_run", lambda: clinic.desk.decide(actor, case, "approve", reason="mine"))
    refused(clinic, "case.own_run", lambda: clinic.desk.decide(actor, case, "reject", reason="mine"))
    refused(clinic, "case.own_run", lambda: clinic.desk.release(actor, case, until=until, reason="mine"))
    clinic.desk.view(REVIEWER if actor.id != "rita" else SECOND, case)
    other = SECOND
    clinic.desk.view(other, case)
    clinic.desk.decide(other, case, "reject", reason="no")
    clinic.desk.view(actor, case)
    refused(clinic, "case.own_run", lambda: clinic.desk.reopen(actor, case, reason="mine"))


def test_a_case_is_decided_in_the_role_its_policy_asks_for(clinic: Clinic) -> None:
    clinic.queue(reviewers=1)
    case = clinic.case(stage="settled")
    clinic.desk.view(APPROVER, case)
    refused(clinic, "case.role", lambda: clinic.desk.decide(APPROVER, case, "approve", reason="as I say"))
    refused(
        clinic, "case.role", lambda: clinic.desk.decide(APPROVER, case, "approve", reason="as I say", role="reviewer")
    )


def test_while_a_colleague_has_a_case_nobody_else_acts_on_it(clinic: Clinic) -> None:
    case = clinic.case(stage="asked")
    clinic.desk.claim(REVIEWER, case, lease_s=60)
    clinic.desk.view(SECOND, case)
    refused(clinic, "case.claimed", lambda: clinic.desk.claim(SECOND, case))
    refused(clinic, "case.claimed", lambda: clinic.desk.decide(SECOND, case, "approve", reason="yes"))
    clinic.pass_time(60)
    assert clinic.desk.claim(SECOND, case).claimed_by == "sam"


def test_while_a_consumer_has_a_case_no_person_acts_on_it(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.desk.view(SECOND, case)
    handed = clinic.desk.hand_out(CONSUMER, "default", "shop", lease_s=60).handed
    assert handed is not None
    refused(clinic, "case.handed_out", lambda: clinic.desk.claim(SECOND, case))
    refused(clinic, "case.handed_out", lambda: clinic.desk.decide(SECOND, case, "reject", reason="no"))
    clinic.desk.give_back(CONSUMER, case, "shop", handed.key)
    assert clinic.desk.claim(SECOND, case).claimed_by == "sam"


def test_what_was_handed_out_and_went_back_to_hold_is_not_released_while_a_consumer_has_it(clinic: Clinic) -> None:
    clinic.queue("fresh", max_age_s=600)
    case = clinic.case("fresh", "settled")
    assert clinic.desk.hand_out(CONSUMER, "fresh", "shop", lease_s=3600).handed is not None
    clinic.pass_time(601)
    clinic.desk.view(APPROVER, case)
    assert clinic.state(case) == "HOLD"
    until = clinic.now + dt.timedelta(seconds=60)
    refused(clinic, "case.handed_out", lambda: clinic.desk.release(APPROVER, case, until=until, reason="hurry"))


def test_a_consumer_whose_lease_is_over_does_not_finish_what_a_person_took_on(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    handed = clinic.desk.hand_out(CONSUMER, "default", "shop", lease_s=60).handed
    assert handed is not None
    clinic.pass_time(60)
    clinic.desk.claim(SECOND, case)
    refused(clinic, "case.lease", lambda: clinic.desk.acknowledge(CONSUMER, case, "shop", handed.key))


# --- what was seen --------------------------------------------------------------------------------------------------


def test_nobody_decides_what_they_have_not_opened(clinic: Clinic) -> None:
    case = clinic.case(stage="asked")
    refused(clinic, "case.not_viewed", lambda: clinic.desk.decide(REVIEWER, case, "approve", reason="sure"))


def test_nobody_decides_on_lanes_that_have_moved_since(clinic: Clinic) -> None:
    case = clinic.case(stage="asked")
    seen = clinic.desk.view(REVIEWER, case).case.lanes
    clinic.note(case, "answered")
    refused(clinic, "case.lanes_moved", lambda: clinic.desk.decide(REVIEWER, case, "approve", reason="sure"))
    clinic.desk.view(REVIEWER, case)
    refused(
        clinic, "case.lanes_moved", lambda: clinic.desk.decide(REVIEWER, case, "approve", reason="sure", lanes=seen)
    )


def test_nobody_decides_on_lanes_that_time_alone_has_moved(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.desk.view(REVIEWER, case)
    clinic.pass_time(400 * 86_400)  # the trust document has run out
    refused(clinic, "case.lanes_moved", lambda: clinic.desk.decide(REVIEWER, case, "reject", reason="no"))


# --- early release --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, -1, 3600.001, 86_400])
def test_an_early_release_never_lasts_longer_than_the_policy_allows(clinic: Clinic, seconds: float) -> None:
    case = clinic.case(stage="asked")
    clinic.desk.view(APPROVER, case)
    until = clinic.now + dt.timedelta(seconds=seconds)
    refused(clinic, "case.release", lambda: clinic.desk.release(APPROVER, case, until=until, reason="in a hurry"))


def test_a_case_is_released_early_once(clinic: Clinic) -> None:
    case = clinic.case(stage="asked")
    clinic.release(case, 60)
    clinic.pass_time(61)
    clinic.desk.tick()
    assert clinic.state(case) == "HOLD"
    clinic.desk.view(APPROVER, case)
    until = clinic.now + dt.timedelta(seconds=60)
    refused(
        clinic, "case.released_already", lambda: clinic.desk.release(APPROVER, case, until=until, reason="once more")
    )


def test_a_queue_without_early_release_releases_nothing_early(clinic: Clinic) -> None:
    case = clinic.case("another", "asked")
    clinic.desk.view(APPROVER, case)
    until = clinic.now + dt.timedelta(seconds=60)
    refused(clinic, "case.release", lambda: clinic.desk.release(APPROVER, case, until=until, reason="in a hurry"))


def test_only_the_roles_of_the_policy_release_early(clinic: Clinic) -> None:
    case = clinic.case(stage="asked")
    clinic.desk.view(REVIEWER, case)
    until = clinic.now + dt.timedelta(seconds=60)
    refused(clinic, "case.role", lambda: clinic.desk.release(REVIEWER, case, until=until, reason="in a hurry"))


def test_what_is_refuted_is_not_released_early(clinic: Clinic) -> None:
    case = clinic.case(stage="refuted")
    clinic.desk.view(APPROVER, case)
    until = clinic.now + dt.timedelta(seconds=60)
    error = refused(clinic, "case.refuted", lambda: clinic.desk.release(APPROVER, case, until=until, reason="so what"))
    assert "settlement is refuted" in error.message


@pytest.mark.parametrize("reason", ["", "  ", "x" * 4001, "a\x00b", "a\rb", "\ud800"])
def test_an_act_gives_a_reason_in_plain_text(clinic: Clinic, reason: str) -> None:
    case = clinic.case(stage="asked")
    clinic.desk.view(REVIEWER, case)
    clinic.desk.view(APPROVER, case)
    until = clinic.now + dt.timedelta(seconds=60)
    refused(clinic, "case.text", lambda: clinic.desk.decide(REVIEWER, case, "reject", reason=reason))
    refused(clinic, "case.text", lambda: clinic.desk.release(APPROVER, case, until=until, reason=reason))
    refused(clinic, "case.text", lambda: clinic.desk.recall(APPROVER, "a" * 64, reason))
    refused(clinic, "case.text", lambda: clinic.desk.comment(REVIEWER, case, reason))


# --- states ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["clear", "CLEAR", "reopen", "release", "recall", "", "cleared"])
def test_there_is_no_act_that_clears(clinic: Clinic, act: str) -> None:
    case = clinic.case(stage="asked")
    clinic.desk.view(REVIEWER, case)
    refused(clinic, "case.act", lambda: clinic.desk.decide(REVIEWER, case, act, reason="go"))


def test_an_approval_clears_nothing_by_itself(clinic: Clinic) -> None:
    case = clinic.case(stage="logged")
    assert clinic.approve(case).state == "HOLD"
    assert clinic.approve(case, SECOND).state == "HOLD"


def test_what_stands_rejected_or_recalled_is_only_reopened(clinic: Clinic) -> None:
    rejected, recalled = clinic.case(stage="asked"), clinic.case("another", "asked")
    clinic.desk.view(REVIEWER, rejected)
    clinic.desk.decide(REVIEWER, rejected, "reject", reason="no")
    clinic.queue("another")
    clinic.note(recalled, "settled")
    clinic.pass_time(1)
    clinic.note(recalled, "refuted")
    until = clinic.now + dt.timedelta(seconds=60)
    for case in (rejected, recalled):
        for person in (SECOND, APPROVER):
            clinic.desk.view(person, case)
        for act in ("approve", "reject"):
            refused(
                clinic, "case.state", lambda act=act, case=case: clinic.desk.decide(SECOND, case, act, reason="now")
            )
        refused(
            clinic,
            "case.state",
            lambda case=case: clinic.desk.release(APPROVER, case, until=until, reason="now"),
        )
        assert clinic.desk.hand_out(CONSUMER, "default", "shop").handed is None
    refused(clinic, "case.role", lambda: clinic.desk.reopen(REVIEWER, rejected, reason="again"))


def test_what_is_not_rejected_or_recalled_is_not_reopened(clinic: Clinic) -> None:
    case = clinic.case(stage="asked")
    clinic.desk.view(APPROVER, case)
    refused(clinic, "case.state", lambda: clinic.desk.reopen(APPROVER, case, reason="again"))


def test_what_relied_on_a_recalled_case_is_not_reopened_before_it(clinic: Clinic) -> None:
    base, other = clinic.case(stage="settled"), clinic.case("another")
    clinic.desk.add_dependant(SYSTEM, base, dependant=other)
    clinic.pass_time(1)
    clinic.note(base, "refuted")
    for case in (base, other):
        clinic.desk.view(APPROVER, case)
    refused(clinic, "case.base_recalled", lambda: clinic.desk.reopen(APPROVER, other, reason="again"))
    clinic.desk.reopen(APPROVER, base, reason="the round was overturned")
    assert clinic.desk.reopen(APPROVER, other, reason="again").state == "HOLD"


def test_a_case_that_was_handed_over_is_recalled_and_not_rejected(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    handed = clinic.desk.hand_out(CONSUMER, "default", "shop").handed
    assert handed is not None
    clinic.desk.acknowledge(CONSUMER, case, "shop", handed.key)
    clinic.desk.view(REVIEWER, case)
    refused(clinic, "case.handed_over", lambda: clinic.desk.decide(REVIEWER, case, "reject", reason="too late"))


# --- evidence and arguments -----------------------------------------------------------------------------------------


def test_evidence_of_another_run_is_refused(clinic: Clinic) -> None:
    case = clinic.desk.open(SYSTEM, "01900000-0000-7000-8000-000000000001", "default").id
    refused(clinic, "case.other_run", lambda: clinic.note(case, "settled"))


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", evidence("settled")[:-1]])
def test_bytes_that_are_no_bundle_change_nothing(clinic: Clinic, raw: bytes) -> None:
    case = clinic.case()
    before = clinic.desk.head(SYSTEM)
    with pytest.raises(MalformedError):
        clinic.desk.note_bundle(SYSTEM, case, raw)
    assert clinic.desk.head(SYSTEM) == before


@pytest.mark.parametrize("case", ["", "x", CASE, "../etc", "00000000-0000-4000-8000-00000000000G", "a" * 5000])
def test_a_case_that_is_not_there_is_not_found(case: str) -> None:
    clinic = Clinic()
    for name, act in every_act(clinic, SYSTEM, case).items():
        if name in ("note", "add_dependant", "acknowledge", "give_back", "case", "lanes_then"):
            error = refused(clinic, "case.unknown", act)
            assert error.status == 404
    refused(clinic, "case.unknown", lambda: clinic.desk.view(REVIEWER, case))


@pytest.mark.parametrize(
    ("opening", "code"),
    [
        (Opening("not-a-run", "default"), "case.run"),
        (Opening(RUN, "Default"), "queue.name"),
        (Opening(RUN, "a b"), "queue.name"),
        (Opening(RUN, 'x"\nname="y'), "queue.name"),
        (Opening(RUN, "default", subject=""), "case.text"),
        (Opening(RUN, "default", requester="a\x1b[0m"), "case.text"),
    ],
)
def test_a_case_is_opened_for_a_run_in_a_queue_that_has_a_code(clinic: Clinic, opening: Opening, code: str) -> None:
    refused(clinic, code, lambda: clinic.desk.open_many(SYSTEM, [opening]))


def test_one_bad_opening_opens_none(clinic: Clinic) -> None:
    openings = [Opening(RUN, "default"), Opening("x", "default")]
    refused(clinic, "case.run", lambda: clinic.desk.open_many(SYSTEM, openings))
    assert clinic.desk.cases(SYSTEM) == []


@pytest.mark.parametrize("lease_s", [0, -1, 86_401])
def test_a_lease_has_an_end_within_a_day(clinic: Clinic, lease_s: int) -> None:
    case = clinic.case(stage="settled")
    refused(clinic, "case.lease_span", lambda: clinic.desk.claim(REVIEWER, case, lease_s=lease_s))
    refused(clinic, "case.lease_span", lambda: clinic.desk.hand_out(CONSUMER, "default", "shop", lease_s=lease_s))


def test_only_the_consumer_that_has_a_case_ends_its_lease(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    refused(clinic, "case.lease", lambda: clinic.desk.acknowledge(CONSUMER, case, "shop", "a" * 64))
    handed = clinic.desk.hand_out(CONSUMER, "default", "shop").handed
    assert handed is not None
    for consumer, key in (("other", handed.key), ("shop", "a" * 64)):
        refused(clinic, "case.lease", lambda who=consumer, key=key: clinic.desk.acknowledge(CONSUMER, case, who, key))
        refused(clinic, "case.lease", lambda who=consumer, key=key: clinic.desk.give_back(CONSUMER, case, who, key))


def test_a_dependant_is_one_case_or_one_reference(clinic: Clinic) -> None:
    case = clinic.case()
    add = clinic.desk.add_dependant
    refused(clinic, "case.dependant", lambda: add(SYSTEM, case))
    refused(clinic, "case.dependant", lambda: add(SYSTEM, case, dependant=case, reference="x"))
    refused(clinic, "case.dependant", lambda: add(SYSTEM, case, dependant=case))
    refused(clinic, "case.unknown", lambda: add(SYSTEM, case, dependant="00000000-0000-4000-8000-00000000ffff"))
    refused(clinic, "case.text", lambda: add(SYSTEM, case, reference=""))


def test_a_policy_for_another_queue_or_none_changes_nothing(clinic: Clinic) -> None:
    refused(clinic, "queue.name", lambda: clinic.desk.change_policy(OWNER, "default", policy_text("another")))
    refused(clinic, "queue_policy.toml", lambda: clinic.desk.change_policy(OWNER, "default", "= ="))
    refused(clinic, "queue.name", lambda: clinic.desk.what_if(OWNER, "default", policy_text("another")))


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_a_page_has_an_end(clinic: Clinic, limit: int) -> None:
    refused(clinic, "case.limit", lambda: clinic.desk.cases(SYSTEM, CaseFilter(limit=limit)))


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "0x" + "a" * 62])
def test_a_digest_has_one_spelling(clinic: Clinic, digest: str) -> None:
    refused(clinic, "encoding.hex", lambda: clinic.desk.recall(APPROVER, digest, "because"))
    refused(clinic, "encoding.hex", lambda: clinic.desk.note_statement(1, digest))


def test_a_consumer_has_a_name_that_is_a_code(clinic: Clinic) -> None:
    refused(clinic, "case.consumer", lambda: clinic.desk.hand_out(CONSUMER, "default", "the shop"))
    refused(clinic, "queue.name", lambda: clinic.desk.hand_out(CONSUMER, "The Queue", "shop"))


# --- what nobody can read from outside ------------------------------------------------------------------------------


def test_lists_files_and_held_hand_outs_hold_nothing_of_what_was_asked_and_answered(clinic: Clinic) -> None:
    network = Network()
    raw = evidence("logged")
    assert b"What is a lane?" in raw
    case = clinic.case(stage="logged")
    shown = [view.to_json() for view in clinic.desk.cases(REVIEWER)]
    found = clinic.desk.case(REVIEWER, case)
    shown += [found.view.to_json(), *(event.to_json() for event in found.events)]
    following = clinic.desk.hand_out(CONSUMER, "default", "shop", include_hold=True)
    shown += [view.to_json() for view in following.held]
    assert following.handed is None
    assert [view.row.stands for view in following.held] == ["HOLD"]
    assert found.bundle is None
    text = repr(shown) + repr(found) + repr(following)
    for secret in ("What is a lane?", "One question about a run.", "0.50"):
        assert secret in (network.request + network.response).decode()
        assert secret not in text


@pytest.mark.parametrize("actor", [VIEWER, REVIEWER, AUDITOR, Actor("key", "key-4", frozenset({"case:read"}))])
@pytest.mark.parametrize("stage", ["logged", "settled"])
def test_evidence_for_checks_elsewhere_is_closed(clinic: Clinic, actor: Actor, stage: str) -> None:
    case = clinic.case(stage=stage)
    raw = clinic.desk.evidence(actor, case)
    kinds = {item["kind"] for item in canonical.decode(raw)["journal"]}
    assert {"statement", "checkpoint"} <= kinds
    assert not {"parts", "document"} & kinds
    assert b"What is a lane?" not in raw
    assert "viewed" not in clinic.kinds(case)
    found = appraise(parse_bundle(raw), clinic.trusted, parse_policy(DEFAULT_POLICY), clinic.now)
    assert found.lanes["bytes"].state == "proven"


def test_errors_are_the_callers_kind(clinic: Clinic) -> None:
    assert isinstance(refused(clinic, "case.role", lambda: clinic.desk.cases(NOBODY)), RefusedError)
    case = clinic.case(stage="asked")
    clinic.desk.claim(REVIEWER, case)
    assert isinstance(refused(clinic, "case.claimed", lambda: clinic.desk.claim(SECOND, case)), ConflictError)
    assert isinstance(refused(clinic, "case.unknown", lambda: clinic.desk.case(SYSTEM, CASE[:-1] + "9")), UsageError)
    assert at(0) < clinic.now
