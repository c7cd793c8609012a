"""A journal that was written anew is found out from the log alone, whatever was changed, however well it is chained."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
from holdfast.core.statements import Statement, parse_envelope, parse_statement
from holdfast.review.anchors import HeadSigner, Link, compare_heads, heads_of
from holdfast.review.audit import audit_journal
from holdfast.review.events import parse_event
from holdfast.review.roles import OPERATOR
from tests.helpers.decisions import PANEL, PANEL_DOCUMENT
from tests.helpers.people import House
from tests.helpers.review import APPROVER, CONSUMER, OWNER, REVIEWER, SYSTEM, Clinic, policy_text

SIGNER = HeadSigner(PANEL, PANEL_DOCUMENT.digest)
Values = list[dict[str, Any]]


def signed(journal: str, link: Link) -> Statement:
    return parse_statement(parse_envelope(SIGNER.sign(journal, link).envelope))


@functools.cache
def cases_story() -> tuple[tuple[bytes, ...], tuple[Statement, ...]]:
    """A journal with every kind of event that a desk writes in a day, anchored now and then, and the log's heads."""
    clinic = Clinic()
    heads: list[Statement] = []

    def anchor() -> None:
        event = clinic.desk.anchor(len(heads).to_bytes(32, "big"))
        heads.append(signed("cases", Link(event.seq, event.digest, event.kind, event.at)))

    clinic.queue()
    case = clinic.case(stage="answered")
    anchor()
    desk = clinic.desk
    desk.claim(REVIEWER, case)
    desk.view(REVIEWER, case)
    desk.comment(REVIEWER, case, "waiting for the round")
    desk.let_go(REVIEWER, case)
    clinic.release(case)
    anchor()
    (waiting,) = desk.waiting()
    desk.note_statement(waiting.seq, "ab" * 32)
    handed = desk.hand_out(CONSUMER, "default", "worker").handed
    assert handed is not None
    desk.give_back(CONSUMER, case, "worker", handed.key)
    desk.add_dependant(REVIEWER, case, reference="ticket 7")
    anchor()
    desk.change_policy(OWNER, "default", policy_text(reviewers=1))
    named = next(lane.evidence[0] for lane in desk.case(SYSTEM, case).view.lanes.values() if lane.evidence)
    desk.recall(APPROVER, named, "key-stolen")
    desk.view(APPROVER, case)
    desk.reopen(APPROVER, case, reason="looked at again")
    anchor()
    with clinic.store.read() as reader:
        return tuple(event.raw for event in reader.events(0, 1000)), tuple(heads)


@functools.cache
def people_story() -> tuple[tuple[bytes, ...], tuple[Statement, ...]]:
    """A chain of people with most kinds of links."""
    house = House()
    heads: list[Statement] = []

    def anchor() -> None:
        event = house.people.anchor(len(heads).to_bytes(32, "big"))
        heads.append(signed("people", Link(event.seq, event.digest, event.kind, event.at)))

    people = house.people
    house.first()
    anchor()
    house.person("ben", "viewer")
    house.sign_in("ben")
    people.set_roles(OPERATOR, "ben", ["reviewer"])
    key, _ = people.add_key(OPERATOR, "w", "a machine", ["queue:read"])
    people.new_code(OPERATOR, "ben")
    anchor()
    people.revoke_key(OPERATOR, key.id)
    people.disable(OPERATOR, "ben")
    people.enable(OPERATOR, "ben")
    anchor()
    with house.store.reading() as tables:
        return tuple(stored.document for stored in tables.events(0, 1000)), tuple(heads)


def chained(values: Values) -> list[bytes]:
    """The events with numbers and chain made anew, as somebody who owns the database would."""
    previous, made = "0" * 64, []
    for seq, value in enumerate(values, 1):
        raw = canonical.encode({**value, "seq": seq, "previous": previous})
        made.append(raw)
        previous = sha256_hex(raw)
    return made


def numbered(raws: Sequence[bytes]) -> list[tuple[int, str]]:
    return [(seq, sha256_hex(raw)) for seq, raw in enumerate(raws, 1)]


@st.composite
def tampered(draw: st.DrawFn, story: Callable[[], tuple[tuple[bytes, ...], tuple[Statement, ...]]]) -> list[bytes]:
    """The journal after one thing was done to an event before the newest anchor, well chained again."""
    raws, heads = story()
    newest = max(head.body.seq for head in heads)  # type: ignore[union-attr]
    values = [dict(canonical.decode_signed(raw)) for raw in raws]
    place = draw(st.integers(0, newest - 1))
    what = draw(st.sampled_from(("actor", "kind", "body", "at", "remove", "insert", "move", "cut off")))
    if what == "actor":
        actor = values[place]["actor"]
        values[place]["actor"] = {**actor, "id": actor["id"] + draw(st.text("abc", min_size=1, max_size=3))}
    elif what == "kind":
        values[place]["kind"] = draw(
            st.sampled_from(["commented", "viewed", "key.made", "account.roles"]).filter(
                lambda kind: kind != values[place]["kind"]
            )
        )
    elif what == "body":
        values[place]["body"] = {**values[place]["body"], "note": draw(st.text("xyz", min_size=1, max_size=5))}
    elif what == "at":
        values[place]["at"] = "2031-01-01T00:00:00.000Z"
    elif what == "remove":
        del values[place]
    elif what == "insert":
        values.insert(place, dict(values[draw(st.integers(0, len(values) - 1))]))
    elif what == "move":
        other = draw(st.integers(0, newest - 1).filter(lambda other: other != place))
        values.insert(other, values.pop(place))
    else:
        del values[place:]
    made = chained(values)
    assume(made[:newest] != list(raws[:newest]))  # the newest event twice changes nothing before it
    return made


@given(tampered(cases_story))
@settings(max_examples=300)
def test_a_journal_of_cases_that_was_written_anew_is_found_out_from_the_log_alone(raws: list[bytes]) -> None:
    found = compare_heads("cases", numbered(raws), cases_story()[1])
    assert [fault.code for fault in found.faults] == ["audit.anchor"]
    assert found.standing < found.heads


@given(tampered(people_story))
@settings(max_examples=300)
def test_a_chain_of_people_that_was_written_anew_is_found_out_from_the_log_alone(raws: list[bytes]) -> None:
    found = compare_heads("people", numbered(raws), people_story()[1])
    assert [fault.code for fault in found.faults] == ["audit.anchor"]


@given(st.integers(0, 1000), st.text("abc", min_size=1, max_size=4))
def test_a_well_chained_forgery_is_whole_in_itself_so_only_the_log_tells(place: int, word: str) -> None:
    """What heads are for: the audit of events alone finds nothing here."""
    raws, heads = cases_story()
    values = [dict(canonical.decode_signed(raw)) for raw in raws]
    spoken = [value for value in values if value["kind"] == "commented"]
    spoken[place % len(spoken)]["body"] = {"text": word}
    forged = chained(values)
    assert audit_journal([parse_event(raw).stored for raw in forged]).faults == ()
    assert [fault.code for fault in compare_heads("cases", numbered(forged), heads).faults] == ["audit.anchor"]


def test_what_was_left_alone_is_confirmed_up_to_the_newest_head() -> None:
    for journal, story in (("cases", cases_story), ("people", people_story)):
        raws, heads = story()
        found = compare_heads(journal, numbered(raws), heads)
        assert (found.faults, found.standing, found.newest, found.after) == ((), len(heads), len(raws), 0)
        short = compare_heads(journal, numbered(raws), heads[:-1])
        assert (short.faults, short.after) == ((), len(raws) - short.newest)


def test_the_fault_says_between_which_events_it_was_done() -> None:
    raws, heads = cases_story()
    values = [dict(canonical.decode_signed(raw)) for raw in raws]
    first, second = (head.body.seq for head in heads[:2])  # type: ignore[union-attr]
    values[second - 2]["at"] = "2031-01-01T00:00:00.000Z"
    (fault,) = compare_heads("cases", numbered(chained(values)), heads).faults
    assert fault.seq == second
    assert f"after event {first}, which the log confirms" in fault.says


def test_two_heads_of_one_number_are_told_even_when_one_of_them_holds() -> None:
    """A panel that signs for the journal as it was and as it is now: one of the two does not hold."""
    raws, heads = cases_story()
    event = parse_event(raws[heads[1].body.seq - 1])  # type: ignore[union-attr]
    rival = signed("cases", Link(event.seq, "cd" * 32, event.kind, event.at))
    (fault,) = compare_heads("cases", numbered(raws), [*heads, rival]).faults
    assert fault.seq == event.seq
    assert "two different events" in fault.says


def test_heads_of_another_panel_say_nothing() -> None:
    _, heads = cases_story()
    assert heads_of(heads, "cases", ["ab" * 32]) == []
    assert heads_of(heads, "people", [PANEL_DOCUMENT.digest]) == []


def test_a_head_is_made_of_an_event_that_nobody_can_guess() -> None:
    """Each names an event that holds a nonce, and nothing of what happened."""
    for (raws, heads), kind in ((cases_story(), "anchored"), (people_story(), "chain.anchored")):
        for head in heads:
            value = canonical.decode_signed(raws[head.body.seq - 1])  # type: ignore[union-attr]
            assert value["kind"] == kind
            assert len(value["body"]["nonce"]) == 64


def test_the_stories_hold_every_kind_of_event_that_people_and_machines_cause() -> None:
    kinds = {parse_event(raw).kind for raw in cases_story()[0]}
    assert kinds >= {
        "opened", "appraised", "claimed", "let_go", "viewed", "commented", "decided", "released", "provisional",
        "recalled", "recall_ordered", "policy_changed", "handed_out", "handed_back", "dependant_added",
        "statement_logged", "anchored",
    }  # fmt: skip
