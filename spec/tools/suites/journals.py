"""Heads of a panel's journals in all suites they touch: their form, who may sign them, their order (statement.md §4.4)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

from reference.cases import Writer
from reference.decisions import trust_with_panel
from reference.signing import Node, envelope
from reference.text import jcs, named, when
from reference.world import AT, GATEWAY, PANEL, START, STRANGER, Statement, Story, Turn, private_run_id, statement

from .bundles import GOOD, Bundles
from .decisions import PANEL_TRUST
from .kinds import SEEN, Attesters, Payloads, put

SIGNED_AT = when(START, plus_ms=2500)


def journal_run(attester: str) -> str:
    """§4.4(1)."""
    digest = hashlib.sha256(b"urn:holdfast:journal-run:v1" + b"\x00" + bytes.fromhex(attester)).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def head(
    seq: Any = 41,
    event: str = "an anchored event",
    *,
    journal: Any = "cases",
    node: Node = PANEL,
    at: str = SIGNED_AT,
    signer: Any = None,
    change: Callable[[dict[str, Any]], None] | None = None,
) -> Statement:
    """A journal that had come to event ``seq``."""
    return statement(
        "journal",
        node,
        run=journal_run(node.id),
        claimed_at=at,
        parents=[],
        subject=("head", named(event)),
        body={"journal": journal, "seq": seq},
        nonce=None,
        signer=signer,
        change=change,
    )


def write(out: Writer) -> None:
    """Write all of them."""
    payloads(out)
    attesters(out)
    orders(out)
    bundles(Bundles(out))


# --- payloads -------------------------------------------------------------------------------------------------------


def payloads(out: Writer) -> None:
    """The predicate (§4.4)."""
    good = head()

    case = Payloads(out, good, PANEL, spec="statement.md §4.4")

    case("", "How far a panel's journal of cases had come: a number and a digest, and nothing of what happened.")
    case("of-people", "The chain of people is a journal like the other.", put("journal", "people"))
    case("unknown-journal", "A panel keeps two journals.", put("journal", "webhooks"), "statement.journal")
    case("without-journal", "Whose head?", lambda value: value["predicate"].pop("journal"), "statement.predicate")
    case("seq-zero", "Events are numbered from 1: there is no head of nothing.", put("seq", 0), "statement.journal")
    case("seq-is-true", "True is no number.", put("seq", True), "statement.journal")
    case("seq-as-text", "A number, not its spelling.", put("seq", "41"), "statement.journal")
    case("names-an-actor", "Who did it is no word for the log.", put("actor", "ann"), "statement.predicate")
    case(
        "under-a-runs-id",
        "It would stand in the trace of somebody's run.",
        put("run", Turn().run),
        "statement.run",
    )
    case(
        "under-another-panels-id",
        "Its run id is made of its own attester.",
        put("run", journal_run(STRANGER.id)),
        "statement.run",
    )
    case(
        "random-run",
        "A random run id is nobody's journal.",
        put("run", private_run_id("panel")),
        "statement.run",
    )
    case("with-a-parent", "It follows from nothing.", put("parents", ["11" * 32]), "statement.predicate")
    case("with-a-nonce", "It answers to no client.", put("nonce", "nonce-of-a-client-1"), "statement.predicate")
    case("with-a-parent-run", "No run began it.", put("parent_run", Turn().run), "statement.predicate")
    case(
        "subject-as-parts",
        "An event is no tree of parts.",
        lambda value: value["subject"][0].update(digest={"holdfast-parts-v1": "11" * 32}),
        "statement.subject",
    )
    case(
        "subject-as-record",
        "An event is no decision's record.",
        lambda value: value["subject"][0].update(digest={"holdfast-record-v1": "11" * 32}),
        "statement.subject",
    )
    case(
        "subject-with-another-name",
        "The subject of a journal statement is called head.",
        lambda value: value["subject"][0].update(name="journal"),
        "statement.subject",
    )
    case(
        "short-digest",
        "A digest has 32 bytes.",
        lambda value: value["subject"][0].update(digest={"holdfast-journal-v1": "11" * 31}),
        "encoding.hex",
    )


# --- attesters ------------------------------------------------------------------------------------------------------


def attesters(out: Writer) -> None:
    """Who may sign one (§6, §7)."""

    case = Attesters(out, "journal", PANEL_TRUST)
    case("by-a-panel", "Signed by an admitted panel.", head())
    case("by-a-gateway", "A gateway keeps no journal of cases.", head(node=GATEWAY), "statement.role")
    case("by-a-stranger", "Trust does not know this panel.", head(node=STRANGER), "statement.unknown-key")
    case(
        "in-the-panels-name",
        "The panel is named, the signature is a stranger's.",
        head(signer=STRANGER.statement_key),
        "statement.signature",
    )
    case(
        "by-a-suspect-panel",
        "The panel's key is suspect since before: a thief may anchor what he likes.",
        head(),
        "statement.key-revoked",
        trust=trust_with_panel(revoked={"at": AT, "suspect_since": START, "reason": "key-stolen"}),
    )
    case(
        "backdated",
        "First seen an hour after it claims: the journal may have been written anew since.",
        head(),
        "statement.backdated",
        at=when(START, plus_ms=3_600_000),
    )


# --- order ----------------------------------------------------------------------------------------------------------


def orders(out: Writer) -> None:
    """A journal only grows (§7(9))."""

    def case(name: str, why: str, entries: list[bytes], verdicts: list[str]) -> None:
        refuted = [code.removeprefix("refuted:") for code in verdicts if code.startswith("refuted:")]
        out.case(
            f"trace/journal-{name}",
            why,
            spec="statement.md §7",
            run=[
                "verify-entries",
                "--policy",
                "../../shared/policy.json",
                "--at",
                SEEN,
                "--trust",
                f"../../shared/{PANEL_TRUST}",
                "entries.jsonl",
            ],
            expect="reject" if refuted else "accept",
            code=f"statement.{refuted[0]}" if refuted else None,
            at=SEEN,
            bug="EQUIVOCATION" if refuted else None,
            result={"verdicts": verdicts},
            files={"entries.jsonl": b"".join(entry + b"\n" for entry in entries)},
        )

    first, second, third = head(3, "third"), head(9, "ninth"), head(20, "twentieth")
    case("rising-heads", "Heads whose numbers rise.", [first.entry, second.entry, third.entry], ["ok"] * 3)
    people = head(3, "third of people", journal="people")
    case(
        "two-journals",
        "Each journal counts for itself.",
        [second.entry, people.entry, third.entry],
        ["ok"] * 3,
    )
    case(
        "falling-seq",
        "A head of fewer events after one of more: the journal was cut off.",
        [second.entry, first.entry],
        ["ok", "refuted:head-order"],
    )
    rewritten = head(9, "another ninth")
    case(
        "two-heads-for-one-seq",
        "Two events under one number: the journal was written anew.",
        [second.entry, rewritten.entry],
        ["ok", "refuted:head-order"],
    )
    case(
        "after-a-refuted-one",
        "What is refuted sets no mark: the journal goes on from its last good head.",
        [third.entry, second.entry, head(21, "next").entry],
        ["ok", "refuted:head-order", "ok"],
    )
    forged = head(1_000_000, "far ahead", signer=STRANGER.statement_key)
    case(
        "after-a-forged-one",
        "A stranger cannot stop a panel by a high number in its name.",
        [forged.entry, first.entry],
        ["refuted:signature", "ok"],
    )
    resigned = envelope(second.payload, [PANEL.statement_key])
    case(
        "same-head-twice",
        "The same payload again is the same statement, also after a later one.",
        [second.entry, jcs(resigned), third.entry, second.entry],
        ["ok"] * 4,
    )
    later = head(9, "ninth", at=when(START, plus_ms=2600))
    case(
        "same-head-claimed-later",
        "Another statement about an event that has one: a number is told once.",
        [second.entry, later.entry],
        ["ok", "refuted:head-order"],
    )


# --- the lanes of runs ----------------------------------------------------------------------------------------------


def bundles(b: Bundles) -> None:
    """It says nothing about any run (lanes.md §3(11))."""

    def case(name: str, why: str, made: Statement) -> None:
        story = Story()
        story.add("statement", 9000, envelope=made.envelope)
        b.case(f"journal-{name}", why, story, GOOD, spec="lanes.md §3(11)", trust=PANEL_TRUST)

    case("head-in-a-runs-evidence", "Whoever adds one to a bundle unsays nothing of the run.", head())
    case("forged-head-in-a-runs-evidence", "Not even with a bad signature.", head(signer=STRANGER.statement_key))
