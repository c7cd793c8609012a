"""Rows of memory: memory.md."""

from __future__ import annotations

from typing import Any

from reference import memory
from reference.cases import Writer

ROW, OTHER = "mem_" + "0a" * 16, "mem_" + "0b" * 16
RUN, LATER_RUN = "01970000-0000-7000-8000-000000000001", "01970000-0000-7000-8000-000000000002"
SPAN, ADMISSION = "5a" * 32, "ad" * 32
BEGAN = "2026-01-01T00:00:00.000Z"
SAID = {"kind": "run", "id": RUN, "lane": "user_said", "spans": [SPAN]}
GUESSED = {"kind": "run", "id": RUN, "lane": "model_inferred", "spans": [SPAN]}
RETURNED = {"kind": "run", "id": RUN, "lane": "tool_returned", "spans": [SPAN]}
ADMITTED = {"kind": "admission", "id": ADMISSION, "lane": "data_admitted", "spans": []}
IMPORTED = {"kind": "import", "id": "1f" * 32, "lane": "imported", "spans": []}
AGREES = {"kind": "run", "id": LATER_RUN, "lane": "user_said", "spans": [SPAN]}


def day(number: int) -> str:
    """Midnight of the day that many days after the first."""
    moment = memory.moment(BEGAN) + memory.dt.timedelta(days=number)
    return str(memory.shown(moment))


def added(**change: Any) -> dict[str, Any]:
    """The first event of a row."""
    usual = {
        "type": "added",
        "row": ROW,
        "at": BEGAN,
        "claim": "Takes the night train to Berlin.",
        "kind": "semantic",
        "categories": ["travel"],
        "slot": None,
        "writer": "user_said",
        "authority": "user_said",
        "sources": [SAID],
        "agent": None,
        "thread": None,
        "origin": None,
        "expires": None,
        "supersedes": None,
    }
    return usual | change


def event(kind: str, at: str, **members: Any) -> dict[str, Any]:
    """A later event."""
    return {"type": kind, "row": ROW, "at": at, **members}


def weaker(writer: str, *sources: dict[str, Any], **change: Any) -> dict[str, Any]:
    """A row whose writer is that one, with the authority it has."""
    return added(writer=writer, authority=writer, sources=list(sources), **change)


CONFIRMED = event("confirmed", day(40), by="user")


def write(out: Writer) -> None:
    """Write the suite."""
    ages(out)
    renewals(out)
    contradictions(out)
    launderings(out)
    forms(out)


def _stands(out: Writer, name: str, why: str, section: str, at: str, *events: dict[str, Any]) -> None:
    lines = memory.chain(list(events))
    out.case(
        f"memory/{name}",
        why,
        spec=f"memory.md {section}",
        run=["memory-standing", "--at", at, "history.json"],
        at=at,
        result=memory.standing(lines, list(events), at),
        files={"history.json": {"history": lines}},
    )


def _refused(
    out: Writer, name: str, why: str, section: str, code: str, *events: dict[str, Any], expect: str = "reject"
) -> None:
    out.case(
        f"memory/{name}",
        why,
        spec=f"memory.md {section}",
        run=["memory-standing", "--at", day(50), "history.json"],
        expect=expect,
        code=code,
        at=day(50),
        bug="LAUNDERING" if expect == "reject" else "SECOND_SPELLING",
        files={"history.json": {"history": memory.chain(list(events))}},
    )


def ages(out: Writer) -> None:
    """§4 and §5."""
    first = added()
    _stands(out, "earned-when-said", "What its owner says is earned at once.", "§5", day(0), first)
    _stands(out, "earned-to-the-end", "The last whole day of a fresh row.", "§4", day(29), first)
    _stands(out, "aging-at-its-day", "A row ages exactly when its days are over.", "§4", day(30), first)
    _stands(out, "lapsed-at-its-day", "Nobody renewed it: it drops to background at its day.", "§5", day(120), first)
    _stands(
        out,
        "shortest-category",
        "Of several categories the shortest holds.",
        "§4",
        day(14),
        added(categories=["identity", "productivity"]),
    )
    _stands(out, "no-category", "A row without a category has days too.", "§4", day(90), added(categories=[]))
    _stands(
        out,
        "episodic",
        "What goes on now is old in a week, whatever its category.",
        "§4",
        day(7),
        added(kind="episodic"),
    )
    _stands(out, "expires", "An end of its own comes before its category's.", "§5", day(3), added(expires=day(3)))
    for writer, source in (("imported", IMPORTED), ("model_inferred", GUESSED), ("tool_returned", RETURNED)):
        _stands(
            out,
            f"background-{writer.replace('_', '-')}",
            "What nobody earned is background from its first moment: it can be found, and is no fact.",
            "§5",
            day(0),
            weaker(writer, source),
        )
    _stands(out, "earned-when-admitted", "Admitted data is earned.", "§5", day(1), weaker("data_admitted", ADMITTED))


def renewals(out: Writer) -> None:
    """§6."""
    first = added()
    _stands(out, "confirmed", "A person renews it; its days begin anew.", "§6", day(60), first, CONFIRMED)
    _stands(
        out,
        "confirmed-import",
        "A confirmed import is earned, and its authority is that of an import still.",
        "§1(2)",
        day(41),
        weaker("imported", IMPORTED),
        CONFIRMED,
    )
    _stands(
        out,
        "agreed",
        "Its owner says it in another run.",
        "§6",
        day(60),
        first,
        event("agreed", day(40), source=AGREES),
    )
    _stands(
        out,
        "agreed-by-data",
        "Admitted data renews what a model inferred, and lends it no authority.",
        "§6",
        day(60),
        weaker("model_inferred", GUESSED),
        event("agreed", day(40), source=ADMITTED),
    )
    _stands(
        out,
        "recalled-is-not-renewed",
        "It was recalled every week until it lapsed: being used is not being true.",
        "§6(1)",
        day(125),
        first,
        *[event("used", day(week * 7), run=None) for week in range(1, 18)],
    )
    _stands(
        out,
        "withdrawn",
        "What its owner took back stands so for ever, however fresh.",
        "§5",
        day(1),
        first,
        event("withdrawn", day(0), by="user"),
    )
    _stands(
        out,
        "superseded",
        "A corrected row is withdrawn; its correction is another row.",
        "§5",
        day(1),
        first,
        event("superseded", day(1), other=OTHER),
        event("used", day(1), run=RUN),
    )


def contradictions(out: Writer) -> None:
    """§5(2) and §7."""
    first = added(slot="home")
    against = event("contradicted", day(2), other=OTHER, authority="user_said")
    _stands(out, "contradicted", "Another row of the same authority says otherwise.", "§5(2)", day(3), first, against)
    _stands(
        out,
        "challenged-by-a-weaker-one",
        "A poisoned page wrote a row that says otherwise: it is shown, and silences nobody.",
        "§5(2)",
        day(3),
        first,
        against | {"authority": "tool_returned"},
    )
    _stands(
        out,
        "reconciled",
        "The other one is gone.",
        "§5(2)",
        day(3),
        first,
        against,
        event("reconciled", day(3), other=OTHER),
    )
    _stands(
        out,
        "reconciled-with-another",
        "Another than the one that contradicts it is gone.",
        "§5(2)",
        day(3),
        first,
        against,
        event("reconciled", day(3), other="mem_" + "0c" * 16),
    )
    _stands(
        out,
        "settled-by-a-person",
        "Confirming settles what contradicted it.",
        "§6(4)",
        day(41),
        first,
        against,
        CONFIRMED,
    )
    _stands(
        out,
        "contradicted-anew",
        "The other one was confirmed after it: one at most stands.",
        "§6(4)",
        day(50),
        first,
        against,
        CONFIRMED,
        against | {"at": day(45)},
    )
    _stands(
        out,
        "agreement-settles-nothing",
        "More of the same evidence renews a row and leaves a contradiction open.",
        "§5(2)",
        day(50),
        first,
        against,
        event("agreed", day(45), source=AGREES),
    )


def launderings(out: Writer) -> None:
    """§1, §2 and §6: what would raise a row."""
    first = added()
    derived = {"kind": "row", "id": OTHER, "lane": "model_inferred", "spans": [SPAN]}
    _refused(
        out,
        "authority-above-its-source",
        "A summary of what a model inferred passes for its owner's word.",
        "§1(2)",
        "memory.authority",
        added(sources=[SAID, derived]),
    )
    _refused(
        out,
        "authority-above-its-writer",
        "A model's words with the authority of the span they were drawn from.",
        "§1(2)",
        "memory.authority",
        added(writer="model_inferred", authority="user_said"),
    )
    _refused(
        out,
        "authority-below",
        "One spelling: a row has exactly the authority that follows.",
        "§1(2)",
        "memory.authority",
        added(authority="imported"),
    )
    for name, source in (
        ("a-model", AGREES | {"lane": "model_inferred"}),
        ("a-tool", AGREES | {"lane": "tool_returned"}),
    ):
        _refused(
            out,
            f"renewed-by-{name}",
            "A model or tool repeats what it was told, and the row is fresh again.",
            "§6(2)",
            "memory.not_evidence",
            first,
            event("agreed", day(40), source=source),
        )
    for name, source in (
        ("its-summary", {"kind": "row", "id": OTHER, "lane": "user_said", "spans": [SPAN]}),
        ("an-import", IMPORTED),
        ("an-unnamed-run", {"kind": "messages", "id": None, "lane": "user_said", "spans": [SPAN]}),
        ("its-owner-without-a-mark", {"kind": "owner", "id": None, "lane": "user_said", "spans": []}),
    ):
        _refused(
            out,
            f"renewed-by-{name}",
            "Nothing but another run, an admission or a person renews a row.",
            "§6(2)",
            "memory.not_evidence",
            first,
            event("agreed", day(40), source=source),
        )
    _refused(
        out,
        "renewed-by-its-own-run",
        "The same run twice is one piece of evidence.",
        "§6(2)",
        "memory.not_fresh",
        first,
        event("agreed", day(40), source=AGREES | {"id": RUN}),
    )
    _refused(
        out,
        "renewed-by-the-same-twice",
        "What renewed it before is not fresh.",
        "§6(2)",
        "memory.not_fresh",
        first,
        event("agreed", day(40), source=AGREES),
        event("agreed", day(41), source=AGREES),
    )
    _refused(
        out,
        "renewed-by-a-run-that-recalled-it",
        "The row was in the prompt when that run said the same.",
        "§6(3)",
        "memory.self_citation",
        first,
        event("used", day(39), run=LATER_RUN),
        event("agreed", day(40), source=AGREES),
    )
    for name, later in (
        ("confirmed", CONFIRMED),
        ("contradicted", event("contradicted", day(40), other=OTHER, authority="user_said")),
    ):
        _refused(
            out,
            f"{name}-after-its-end",
            "What was withdrawn does not come back by the side door.",
            "§3(4)",
            "memory.ended",
            first,
            event("withdrawn", day(1), by="user"),
            later,
        )


def forms(out: Writer) -> None:
    """§2 and §3."""

    def malformed(name: str, why: str, code: str, *events: dict[str, Any]) -> None:
        _refused(out, name, why, "§3", code, *events, expect="malformed")

    first = added()
    malformed("no-history", "A row without a history.", "memory.history")
    malformed("begins-later", "A history whose beginning is gone.", "memory.event", CONFIRMED)
    malformed("begins-twice", "Two first events.", "memory.event", first, added())
    malformed("of-another-row", "An event of another row.", "memory.history", first, CONFIRMED | {"row": OTHER})
    malformed(
        "event-left-out",
        "An event between was left out: the chain shows it.",
        "memory.history",
        first,
        CONFIRMED | {"previous": "00" * 32},
    )
    malformed(
        "time-goes-back", "An event before the last one.", "memory.order", first, CONFIRMED, CONFIRMED | {"at": day(39)}
    )
    for name, change in (
        ("claim-empty", {"claim": ""}),
        ("claim-too-long", {"claim": "x" * 4097}),
        ("kind-unknown", {"kind": "eternal"}),
        ("category-unknown", {"categories": ["secrets"]}),
        ("categories-unsorted", {"categories": ["travel", "career"]}),
        ("category-twice", {"categories": ["travel", "travel"]}),
        ("slot-words", {"slot": "Where I live"}),
        ("writer-unknown", {"writer": "everybody"}),
        ("authority-unknown", {"authority": "absolute"}),
        ("no-sources", {"sources": []}),
        ("agent-empty", {"agent": ""}),
        ("supersedes-nothing", {"supersedes": "mem_1"}),
        ("row-id-upper-case", {"row": "mem_" + "0A" * 16}),
        ("member-more", {"standing": "earned"}),
    ):
        malformed(name, "An event that is none: two readers would keep two rows.", "memory.event", added(**change))
    malformed(
        "expires-spelling", "A time with a second spelling.", "encoding.time", added(expires="2026-01-03T00:00:00Z")
    )
    malformed("confirmed-by-a-model", "Only people confirm.", "memory.event", first, CONFIRMED | {"by": "model"})
    for name, change in (
        ("run-without-a-span", SAID | {"spans": []}),
        ("run-without-an-id", SAID | {"id": None}),
        ("run-of-an-import", SAID | {"lane": "imported"}),
        ("messages-with-an-id", SAID | {"kind": "messages"}),
        ("owner-by-a-model", {"kind": "owner", "id": None, "lane": "model_inferred", "spans": []}),
        ("row-without-a-digest", {"kind": "row", "id": OTHER, "lane": "user_said", "spans": []}),
        ("import-by-its-owner", IMPORTED | {"lane": "user_said"}),
        ("admission-by-a-tool", ADMITTED | {"lane": "tool_returned"}),
        ("hearsay", SAID | {"kind": "hearsay"}),
        ("member-more", SAID | {"certain": True}),
    ):
        malformed(
            f"source-{name}",
            "A source that is none gives a row an origin it never had.",
            "memory.source",
            added(sources=[change]),
        )
    malformed(
        "source-span-upper-case",
        "A digest with a second spelling.",
        "encoding.hex",
        added(sources=[SAID | {"spans": ["5A" * 32]}]),
    )
