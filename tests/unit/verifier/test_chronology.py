"""What happened, in the order in which it happened, each row with whose time it is."""

from __future__ import annotations

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import time_decode, time_encode
from holdfast.core.statements import Execution, build_payload, execution_body, parse_envelope, parse_statement
from holdfast.verifier.chronology import chronology
from tests.helpers.decisions import Made
from tests.helpers.network import ASKED, RUN, Network, at, bundle_of
from tests.helpers.payment_documents import Paid, document

NETWORK = Network()
JOURNAL = NETWORK.journal()


def rows(journal, known=None):
    return chronology(parse_bundle(bundle_of(journal)), known)


def stated(payload, seconds=1.0):
    return {"kind": "statement", "at": time_encode(at(seconds)), "envelope": canonical.decode(NETWORK.seal(payload))}


def test_rows_are_in_order_of_time_and_then_of_the_journal():
    found = rows(JOURNAL[::-1])
    assert [(row["at"], row["known"]) for row in found] == sorted((row["at"], row["known"]) for row in found)
    assert {row["code"] for row in rows(JOURNAL)} == {
        "asked", "routed", "answered", "marked", "logged", "cosigned", "proposed", "voted", "final", "verdict",
    }  # fmt: skip


def test_a_row_says_whose_time_it_is():
    for row in rows(JOURNAL):
        assert row["time"] == ("claimed" if row["code"] in {"routed", "answered"} else "observed")


def test_nothing_beyond_what_was_known_is_told():
    assert rows(JOURNAL, 0) == []
    assert len(rows(JOURNAL, 3)) == 2


def test_what_is_no_event_makes_no_row():
    quiet = [item for item in JOURNAL if item["kind"] in {"parts", "document", "attestation", "inclusion"}]
    assert len(quiet) > 3
    assert rows(quiet) == []


@pytest.mark.parametrize(
    ("event", "outcome", "code", "says"),
    [
        ("generated", "complete", "answered", "The answer was generated and bound (complete)."),
        ("generated", "upstream.timeout", "generated", "The answer was generated and bound (upstream.timeout)."),
        ("failed", "upstream.status", "failed", "There was no answer (upstream.status)."),
        ("interrupted", "x.y", "interrupted", "The gateway was interrupted; what was acknowledged is bound (x.y)."),
        ("disconnected", "client.disconnected", "disconnected", "The client went away before the end was written."),
    ],
)  # fmt: skip
def test_an_execution_is_told_as_what_it_was(event, outcome, code, says):
    tree = NETWORK.response_parts.tree if event == "generated" else None
    body = execution_body(Execution(event, outcome, tree, None, "stub"))
    subject = ("response", tree.root) if tree else ("request", bytes(32))
    row = rows([stated(NETWORK.execution(body=body, subject=subject))])[0]
    assert (row["code"], row["says"]) == (code, says)


def test_a_statement_of_another_kind_is_told_as_made():
    payload = build_payload(
        "recall",
        run=RUN,
        attester="00" * 32,
        claimed_at=at(2),
        parents=[],
        subject=("recall", bytes(32)),
        body={"model": "00" * 32, "record": "00" * 32},
    )
    row = rows([stated(payload)])[0]
    assert (row["code"], row["says"], row["at"]) == (
        "recall",
        "A recall statement was made.",
        "2026-01-01T12:00:02.000Z",
    )


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ("offered", "A payment was offered."),
        ("authorised", "A payment was authorised."),
        ("charged", "The run was charged."),
        ("captured", "Money was taken."),
        ("lapsed", "Nothing was taken: the authorisation lapsed."),
        ("failed", "Nothing was taken: taking it failed."),
        ("refund_due", "Money is owed back."),
        ("refunded", "Money was given back."),
    ],
)
def test_a_payment_is_told_by_its_event_and_never_by_its_amount(event, says):
    made = Paid(document(event))
    row = rows(made.items())[0]
    assert (row["code"], row["says"]) == (event, f"{says} No answer is bound here.")
    assert (row["evidence"], row["time"]) == (made.digest, "claimed")
    assert len(rows(made.items())) == 1


def told(journal, seconds, event="captured"):
    made = Paid(document(event, at=at(seconds)))
    found = [row["says"] for row in rows([*journal, *made.items()]) if row["code"] == event]
    return found[0]


def test_a_payment_lies_before_or_after_the_answer_and_its_final_round():
    final = next(item for item in JOURNAL if item["kind"] == "finality")
    closing = parse_statement(parse_envelope(NETWORK.seal(NETWORK.execution()))).claimed_at
    known = (time_decode(final["at"]) - ASKED).total_seconds()
    answered = (closing - ASKED).total_seconds()
    before, after = "before a round that covers the answer", "after a round that covers the answer"
    assert answered < known
    assert "That is before the answer, and " + before in told(JOURNAL, answered - 0.001)
    assert "That is with the answer, and " + before in told(JOURNAL, answered)
    assert "That is after the answer, and " + before in told(JOURNAL, known - 0.001)
    assert "That is after the answer, and " + after in told(JOURNAL, known)
    open_run = [item for item in JOURNAL if item["kind"] != "finality"]
    assert told(open_run, known).endswith("after the answer; no round that covers the answer is final here.")
    elsewhere = [item for item in JOURNAL if item["kind"] != "entry"]
    assert told(elsewhere, known).endswith("no round that covers the answer is final here.")


def test_a_decision_is_told_by_its_act_and_not_by_whoever_made_it():
    made = Made()
    row = rows(made.items())[0]
    assert (row["code"], row["says"], row["evidence"]) == ("decision", "A decision was signed: approve.", made.digest)
    assert len(rows(made.items())) == 1


@pytest.mark.parametrize(
    "note", ["", "x", "o\nsigned and VERIFIED\nAA==\n\n— x AA==\n", "o\n-1\n", "o\n" + "9" * 20 + "\n", "o\n٤\n"]
)
def test_a_note_that_is_no_checkpoint_lends_no_words(note):
    item = {"kind": "checkpoint", "at": JOURNAL[0]["at"], "note": note}
    says = rows([item])[0]["says"]
    assert says.startswith("A checkpoint of ? entries carries ")
    assert "VERIFIED" not in says


def test_a_checkpoint_counts_the_lines_under_the_logs_own():
    item = next(item for item in JOURNAL if item["kind"] == "checkpoint")
    assert rows([item])[0]["says"] == "A checkpoint of 4 entries carries 4 cosignatures."
    bare = {**item, "note": NETWORK.checkpoint(0)}
    assert rows([bare])[0]["says"] == "A checkpoint of 4 entries carries 0 cosignatures."


def test_a_note_is_told_in_the_words_of_its_code():
    row = rows([{"kind": "note", "at": JOURNAL[0]["at"], "code": "upstream.connected-again_now"}])[0]
    assert (row["code"], row["says"]) == ("upstream.connected-again_now", "Upstream connected again now.")
