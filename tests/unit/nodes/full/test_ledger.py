"""What a full node knows of one log."""

from __future__ import annotations

import hashlib

import msgspec

from holdfast.core.rounds import VerdictEntry
from holdfast.nodes.full.ledger import Ledger, Row
from tests.helpers.full_network import run_id

ATTESTER = "aa" * 32


def row(name: str, code: str = "ok", *, run: int = 0, event: str = "", possible: tuple[str, ...] = ()) -> Row:
    digest = hashlib.sha256(name.encode()).digest()
    leaf = hashlib.sha256(b"leaf" + digest).digest()
    kind = "execution" if event else "route"
    return Row(leaf, digest, code, possible, 1000, ATTESTER, run_id(run), kind, event, "", "stub", "batch")


def ledger(*rows: Row) -> Ledger:
    made = Ledger("holdfast.test/log/1")
    for item in rows:
        made.append(item)
    return made


def verdict(known: Ledger, index: int, code: str) -> VerdictEntry:
    return VerdictEntry(index, known.opinion(index).digest, code)


def test_a_statement_is_remembered_with_what_a_check_asks_for():
    known = ledger(row("route"), row("execution", event="generated"))
    found = known.known(hashlib.sha256(b"execution").hexdigest())
    assert found is not None
    assert (found.index, found.run, found.kind, found.event, found.upstream) == (
        1,
        run_id(0),
        "execution",
        "generated",
        "stub",
    )
    assert found.closing
    assert known.known("00" * 32) is None


def test_an_entry_that_is_no_statement_is_not_known_as_one():
    known = ledger(Row(bytes(32), b"\x01" * 32, "refuted:malformed", (), 0, "", "", "", "", "", "", ""))
    assert known.known("01" * 32) is None
    assert known.index_of(b"\x01" * 32) == 0


def test_the_first_good_closing_statement_closes_a_run():
    known = ledger(
        row("bad", "refuted:role", event="generated"),
        row("first", event="failed"),
        row("second", event="generated"),
        row("gone", event="disconnected", run=2),
    )
    assert known.closing(run_id(0), ATTESTER) == hashlib.sha256(b"first").hexdigest()
    assert known.closing(run_id(2), ATTESTER) is None
    assert known.closing(run_id(9), ATTESTER) is None
    assert known.closing(run_id(0), "bb" * 32) is None


def test_a_digest_that_was_refuted_first_stands_by_its_later_good_entry():
    known = ledger(row("same", "refuted:signature"), row("same", "ok"), row("same", "refuted:role"))
    found = known.known(hashlib.sha256(b"same").hexdigest())
    assert found is not None
    assert (found.index, found.code) == (1, "ok")


def test_the_final_verdict_counts_for_what_follows_even_against_the_own_opinion():
    known = ledger(row("a", "refuted:backdated", event="generated"))
    assert known.closing(run_id(0), ATTESTER) is None
    known.adopt([verdict(known, 0, "ok")], 1)
    found = known.known(hashlib.sha256(b"a").hexdigest())
    assert found is not None
    assert found.code == "ok"
    assert known.closing(run_id(0), ATTESTER) == hashlib.sha256(b"a").hexdigest()
    assert known.opinion(0).code == "refuted:backdated"
    assert known.superseding() == {}


def test_who_came_late_takes_over_what_the_round_says():
    known = ledger(row("a", "cannot_tell", possible=("ok", "refuted:backdated")))
    assert known.late_within(0, 1)
    known.adopt([verdict(known, 0, "ok")], 1)
    assert known.opinion(0).code == "ok"
    assert not known.late_within(0, 1)


def test_where_a_round_could_not_tell_and_this_node_can_it_would_add_that_once():
    known = ledger(row("a"), row("b"))
    known.adopt([verdict(known, 0, "cannot_tell"), verdict(known, 1, "cannot_tell")], 2, contested=[1])
    assert known.superseding() == {0: "ok"}
    known.give_up_adding([0])
    assert known.superseding() == {}
    assert known.final_code(0) == "cannot_tell"


def test_a_superseding_verdict_replaces_the_earlier_one():
    known = ledger(row("a"))
    known.adopt([verdict(known, 0, "cannot_tell")], 1)
    known.adopt([verdict(known, 0, "ok")], 1)
    assert known.final_code(0) == "ok"
    assert known.superseding() == {}


def test_a_changed_opinion_on_a_final_entry_is_to_be_added_and_on_an_open_one_is_just_held():
    known = ledger(row("a"), row("b"))
    known.adopt([verdict(known, 0, "ok")], 1)
    for _ in range(2):  # replaying it changes nothing
        known.revise(0, "refuted:key-revoked")
        known.revise(1, "refuted:key-revoked")
    assert known.superseding() == {0: "refuted:key-revoked"}
    assert known.final_code(0) == "ok"
    known.revise(0, "ok")
    assert known.superseding() == {}
    assert known.opinion(1).code == "refuted:key-revoked"


def test_entries_are_found_by_their_attester():
    other = row("b")._replace(attester="bb" * 32)
    known = ledger(row("a"), other, row("c"))
    assert list(known.indices_by({ATTESTER})) == [0, 2]
    assert known.attester(1) == "bb" * 32
    assert known.seen_ms(1) == 1000


def head(name: str, seq: int, code: str = "ok", **more: object) -> Row:
    given = {"journal": "cases", **more}
    return row(name, code)._replace(kind="journal", upstream="", settlement="", seq=seq, **given)  # type: ignore[arg-type]


def test_a_head_that_is_refuted_sets_no_mark():
    known = ledger(head("far", 900, "refuted:signature"), head("near", 3))
    assert known.head(ATTESTER, "cases", 1) is None
    assert known.head(ATTESTER, "cases", 2) == 3


def test_only_heads_before_an_entry_count_for_it():
    known = ledger(head("third", 3), row("between"), head("ninth", 9))
    assert [known.head(ATTESTER, "cases", before) for before in range(4)] == [None, 3, 3, 9]


def test_heads_of_another_journal_or_panel_count_for_themselves():
    known = ledger(head("people", 7, journal="people"), head("other", 9, attester="bb" * 32))
    assert known.head(ATTESTER, "cases", 2) is None
    assert known.head(ATTESTER, "people", 2) == 7
    assert known.head("bb" * 32, "cases", 2) == 9


def test_a_head_counts_by_what_the_final_round_says_of_it():
    known = ledger(head("first", 3), head("second", 9, "cannot_tell", possible=("ok", "refuted:backdated")))
    assert known.head(ATTESTER, "cases", 2) == 3
    known.adopt([verdict(known, 0, "ok"), verdict(known, 1, "ok")], 2)
    assert known.head(ATTESTER, "cases", 2) == 9


def test_a_head_whose_key_was_revoked_sets_no_mark_any_more():
    known = ledger(head("first", 3), head("second", 9))
    known.revise(1, "refuted:key-revoked")
    assert known.head(ATTESTER, "cases", 2) == 3
    known.revise(1, "ok")
    assert known.head(ATTESTER, "cases", 2) == 9


def test_rows_of_older_versions_are_read():
    old = msgspec.msgpack.encode(list(row("route"))[:12])
    assert msgspec.msgpack.decode(old, type=Row) == row("route")


def step(name: str, code: str = "ok", *, pays: str = "cc" * 32, **more: object) -> Row:
    return row(name, code)._replace(kind="payment", event="captured", pays=pays, **more)


def test_the_first_good_statement_about_a_step_of_a_payment_counts():
    known = ledger(step("bad", "refuted:trace"), step("first"), step("second"))
    assert known.paid("cc" * 32, ATTESTER) == hashlib.sha256(b"first").hexdigest()
    assert known.paid("cc" * 32, "bb" * 32) is None
    assert known.paid("dd" * 32, ATTESTER) is None
    found = known.known(hashlib.sha256(b"first").hexdigest())
    assert found is not None
    assert (found.kind, found.event, found.pays, found.closing) == ("payment", "captured", "cc" * 32, False)


def test_a_step_counts_by_what_the_final_round_says_of_it():
    known = ledger(step("first", "cannot_tell", possible=("ok", "refuted:backdated")), step("second"))
    assert known.paid("cc" * 32, ATTESTER) == hashlib.sha256(b"second").hexdigest()
    known.adopt([verdict(known, 0, "ok"), verdict(known, 1, "refuted:duplicate-payment")], 2)
    assert known.paid("cc" * 32, ATTESTER) == hashlib.sha256(b"first").hexdigest()
    known.revise(1, "refuted:role")
    assert known.paid("cc" * 32, ATTESTER) == hashlib.sha256(b"first").hexdigest()


def test_steps_of_other_statements_and_other_attesters_count_for_themselves():
    known = ledger(step("mine"), step("theirs", attester="bb" * 32), step("other", pays="dd" * 32))
    assert known.paid("cc" * 32, "bb" * 32) == hashlib.sha256(b"theirs").hexdigest()
    assert known.paid("dd" * 32, ATTESTER) == hashlib.sha256(b"other").hexdigest()


def test_rows_from_before_payments_read_back():
    old = msgspec.msgpack.encode(list(row("a"))[:-1])
    assert msgspec.msgpack.decode(old, type=Row) == row("a")
