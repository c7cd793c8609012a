"""Decisions in all suites they touch: their form, who may make them, what opens them, the lane they feed (statement.md §4.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reference import tree, world
from reference.cases import Writer
from reference.decisions import CASE, DECIDED_AT, OTHER_CASE, Decision, document, trust_with_panel
from reference.text import exact_text, jcs, when
from reference.world import (
    AT,
    GATEWAY,
    HARDWARE_GATEWAY,
    PANEL,
    START,
    STRANGER,
    Ledger,
    Story,
    Turn,
    private_run_id,
)

from .bundles import GOOD, Bundles
from .kinds import Attesters, Payloads, Traces, put

PROVEN = {**GOOD, "judgement": ["proven", "human"]}
UNKNOWN = {**GOOD, "judgement": ["unknown", None]}
REFUTED = {**GOOD, "judgement": ["refuted", None]}
"""Only the lane of decisions moves: nothing that is wrong with one takes anything from the run."""
PANEL_TRUST = "trust-with-panel.json"
"""A shared file: the usual trust, and a panel."""
REQUEST_WITH_RULE = world.REQUEST.replace(
    '"nonce":', '"decision_rule":{"framing":"Claims below 100 are paid.","threshold":"100"},"nonce":'
)
MANY = sorted([CASE, *(private_run_id(f"dependant {number}") for number in range(6))])


def write(out: Writer) -> None:
    """Write all of them."""
    out.shared(PANEL_TRUST, exact_text(trust_with_panel()) + "\n")
    documents(out)
    payloads(out)
    attesters(out)
    traces(out)
    bundles = Bundles(out)
    lanes(bundles)
    refused(bundles)
    shapes(bundles)


# --- documents ------------------------------------------------------------------------------------------------------


def documents(out: Writer) -> None:
    """The decision document (§4.3(1))."""
    good = document(Turn())

    def case(name: str, why: str, code: str | None = None, raw: bytes | None = None, **change: Any) -> None:
        out.case(
            f"statement/decision-document-{name}",
            why,
            spec="statement.md §4.3",
            run=["decode", "decision-document", "document.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_DECISION" if code else None,
            files={"document.json": jcs({**good, **change}) if raw is None else raw},
        )

    later = when(START, plus_ms=3_600_000)
    nobody = {"person": None, "role": None}
    case("approve", "A reviewer approves: who, what, why, and by which rule, threshold and framing.")
    case("nothing-recorded", "Nothing was recorded of what it was made by.", rule=None, threshold=None, framing=None)
    case("without-words", "A reason may be empty; whether a queue accepts that is the queue's business.", reason="")
    case("release", "A release has an end.", act="release", until=later)
    case("recall-by-the-panel", "A recall that no person made: nobody is named.", act="recall", **nobody)
    case("release-without-end", "An early release without an end is a clearance.", "decision.until", act="release")
    case("approve-with-end", "Only a release ends.", "decision.until", until=later)
    case("release-ends-before-it-begins", "No time at all.", "decision.until", act="release", until=DECIDED_AT)
    case("nobody-approves", "Only a person approves.", "decision.person", **nobody)
    case("nobody-with-a-role", "Nobody has a role.", "decision.person", act="recall", person=None)
    case("person-without-role", "In which role?", "decision.person", role=None)
    case("person-without-name", "A name of no characters is nobody's.", "decision.person", person="")
    case("long-name", "A name has at most 256 characters.", "decision.person", person="a" * 257)
    case("role-is-a-sentence", "A role is a code.", "decision.person", role="Head of claims")
    case("empty-rule", "Empty is not absent: null says that nothing was recorded.", "decision.text", rule="")
    case("long-reason", "A reason has at most 8,192 characters.", "decision.text", reason="a" * 8193)
    case("reason-is-null", "A reason is a text.", "decision.text", reason=None)
    case("unknown-act", "Five acts.", "decision.fields", act="bless")
    case("queue-is-a-sentence", "A queue's name is a code.", "decision.fields", queue="My claims")
    case("case-not-a-uuid", "A case is a UUID.", "decision.fields", case="case-1")
    case("unknown-member", "A score is none of its members.", "decision.fields", score="0.97")
    case("at-with-offset", "One spelling of a time.", "encoding.time", at="2026-01-01T01:00:02.200+01:00")
    case(
        "white-space",
        "The record commits to bytes, so a document has one spelling.",
        "json.spelling",
        exact_text(good).replace(",", ", ").encode(),
    )
    case("too-large", "At most 262,144 bytes are read.", "decision.size", jcs(good) + b" " * 262_144)


# --- payloads -------------------------------------------------------------------------------------------------------


def payloads(out: Writer) -> None:
    """The predicate (§4.3)."""
    turn = Turn()
    good = Decision(turn).statement

    case = Payloads(out, good, PANEL, spec="statement.md §4.3")

    case("", "A decision: which case, which act, having seen which lanes under which policy. Not who, not why.")
    case("unknown-act", "Five acts.", put("act", "bless"), "statement.act")
    case("case-not-a-uuid", "A case is a UUID.", put("case", "case-1"), "statement.case")
    case("names-a-person", "Who decided is no word for the log.", put("person", "Ann Example"), "statement.predicate")
    case("without-policy", "Under which policy?", lambda value: value["predicate"].pop("policy"), "statement.predicate")
    case("short-lanes-digest", "A digest has 32 bytes.", put("lanes", "11" * 31), "encoding.hex")
    case(
        "approve-of-many",
        "Only a recall is of many cases.",
        put("cases", {"root": "11" * 32, "size": 2}),
        "statement.cases",
    )

    def recall(size: Any) -> Callable[[dict[str, Any]], None]:
        return lambda value: value["predicate"].update(act="recall", cases={"root": "11" * 32, "size": size})

    case("recall-of-many", "A recall may name many cases by one root.", recall(7))
    case("recall-of-none", "A batch has at least one case.", recall(0), "statement.tree")
    case(
        "subject-is-not-the-record",
        "in-toto tools would show another record than the predicate.",
        lambda value: value["subject"][0].update(digest={"holdfast-record-v1": "11" * 32}),
        "statement.subject",
    )
    case(
        "subject-as-parts",
        "A record is no tree of parts.",
        lambda value: value["subject"][0].update(digest={"holdfast-parts-v1": good.value["predicate"]["record"]}),
        "statement.subject",
    )
    case(
        "subject-with-another-name",
        "The subject of a decision is called decision.",
        lambda value: value["subject"][0].update(name="lanes"),
        "statement.subject",
    )


# --- attesters and traces -------------------------------------------------------------------------------------------


def attesters(out: Writer) -> None:
    """Who may decide (§6, §7)."""
    turn = Turn()

    case = Attesters(out, "decision", PANEL_TRUST)
    case("by-a-panel", "Signed by an admitted panel.", Decision(turn).statement)
    case("by-a-gateway", "The gateway judges its own answer.", Decision(turn, node=GATEWAY).statement, "statement.role")
    case(
        "in-the-panels-name",
        "The panel is named, the signature is a stranger's.",
        Decision(turn, signer=STRANGER.statement_key).statement,
        "statement.signature",
    )
    case(
        "by-a-suspect-panel",
        "The panel's key is suspect since before the decision.",
        Decision(turn).statement,
        "statement.key-revoked",
        trust=trust_with_panel(revoked={"at": AT, "suspect_since": START, "reason": "key-stolen"}),
    )


def traces(out: Writer) -> None:
    """Where a decision stands (trace.md §2(6), §4)."""
    turn = Turn()
    route, execution = turn.route, turn.execution

    case = Traces(out, "decision", PANEL_TRUST, spec="trace.md §2(6)")

    def entry(name: str = "decision", **change: Any) -> bytes:
        return Decision(turn, name, **change).statement.entry

    both = [route.entry, execution.entry]
    case("after-execution", "A decision follows the closing statement.", [*both, entry()], ["ok"] * 3)
    case(
        "and-another",
        "A second decision follows the same closing statement and may name the first: neither reopens the run.",
        [
            *both,
            entry(),
            entry(
                "second",
                act="reject",
                reason="The quote is from another file.",
                parents=[execution.digest, Decision(turn).statement.digest],
                at=when(START, plus_ms=2500),
            ),
        ],
        ["ok"] * 4,
        "trace.md §3",
    )
    case(
        "on-a-route",
        "What was judged, before it was answered?",
        [*both, entry(parents=[route.digest])],
        ["ok", "ok", "refuted:trace"],
    )
    case("on-nothing", "A decision about nothing.", [*both, entry(parents=[])], ["ok", "ok", "refuted:trace"])
    rival = Turn("good", node=HARDWARE_GATEWAY)
    case(
        "on-two-closures",
        "Two gateways closed a run of this id: which of the answers was judged?",
        [*both, rival.route.entry, rival.execution.entry, entry(parents=[execution.digest, rival.execution.digest])],
        ["ok", "ok", "ok", "ok", "refuted:trace"],
    )
    case(
        "before-execution",
        "A decision that stands in the log before what it judges.",
        [route.entry, entry(), execution.entry],
        ["ok", "refuted:parent", "ok"],
        "trace.md §4",
    )
    other = Turn("other")
    case(
        "of-another-run",
        "A decision about another run's answer, under this run's id.",
        [*both, other.route.entry, other.execution.entry, entry(parents=[other.execution.digest])],
        ["ok", "ok", "ok", "ok", "refuted:trace"],
        "trace.md §2(1)",
    )
    liar = Turn("good", execution_signer=STRANGER.statement_key)
    case(
        "on-a-refuted-execution",
        "The execution is refuted, and the decision about it is not: rejecting and recalling is what decisions are for.",
        [liar.route.entry, liar.execution.entry, entry(act="reject", parents=[liar.execution.digest])],
        ["ok", "refuted:signature", "ok"],
        "statement.md §7(7)",
    )
    case(
        "by-a-gateway",
        "A gateway decides about its own answer.",
        [*both, entry(node=GATEWAY)],
        ["ok", "ok", "refuted:role"],
        "statement.md §6",
    )


# --- bundles --------------------------------------------------------------------------------------------------------


def told(*decisions: Decision, turn: Turn | None = None, shown: bool = True, **more: Any) -> Story:
    """The good story and decisions about it, logged and opened."""
    story = Story(turn or Turn(), extra=[item.statement for item in decisions], disclose=(), **more)
    if shown:
        for item in decisions:
            story.add("decision", 2300, **item.opening())
    return story


def late(decision: Decision, cosigned_at: str) -> Story:
    """The good story, and a decision that was logged after it, under a checkpoint of its own."""
    story = Story(disclose=())
    log = Ledger([*story.ledger.entries, decision.statement.entry], first=6, cosigned_at=cosigned_at, number=3)
    index = log.index(decision.statement.digest)
    story.add("statement", 9000, envelope=decision.statement.envelope)
    story.add("decision", 9000, **decision.opening())
    story.add("entry", 9000, digest=decision.statement.digest, index=index)
    proof = [step.hex() for step in tree.inclusion(log.leaves, index)]
    story.add("inclusion", 9000, digest=decision.statement.digest, index=index, size=log.size, proof=proof)
    story.add("checkpoint", 9000, note=log.note)
    return story


def lanes(b: Bundles) -> None:
    """What the lane says (lanes.md §3(10))."""
    turn = Turn()

    def case(name: str, why: str, story: Story, expected: dict[str, Any], code: str | None = None, **more: Any) -> None:
        more = {"trust": PANEL_TRUST, "spec": "lanes.md §3(10)", "suite": "lanes", **more}
        b.case(f"decision-{name}", why, story, expected, code, **more)

    case(
        "approved",
        "A reviewer approved: the statement checks, and its document is shown. The lane says who decided on what.",
        told(Decision(turn)),
        PROVEN,
        require=["judgement=proven:human"],
    )
    night = Decision(turn, at=when(START, plus_ms=500_000))
    case(
        "not-made-yet",
        "Asked about a time before the decision: nobody had decided then, and whoever shows the later decision as an "
        "earlier one is not believed.",
        told(night, cosigned_at=when(START, plus_ms=501_000)),
        {"judgement": ["not_applicable", None]},
        at=when(START, plus_ms=300_000),
        spec="lanes.md §2.1",
    )
    case("not-shown", "Somebody decided; who and why is not shown.", told(Decision(turn), shown=False), UNKNOWN)
    case(
        "not-shown-is-not-proven",
        "The same, when a person's judgement is asked for: no answer yet.",
        told(Decision(turn), shown=False),
        UNKNOWN,
        require=["judgement=proven:human"],
        expect="undecided",
        spec="lanes.md §5",
    )
    case(
        "without-rule",
        "No rule was recorded; the lane says so.",
        told(Decision(turn, rule=None, threshold=None)),
        PROVEN,
    )
    case(
        "without-framing",
        "Nobody recorded how the question was framed: who decided is known, on what is not.",
        told(Decision(turn, framing=None)),
        {**GOOD, "judgement": ["unknown", "human"]},
    )
    ruled = Turn("ruled", request=REQUEST_WITH_RULE)
    unframed = Decision(ruled, rule=None, threshold=None, framing=None)
    story = Story(ruled, extra=[unframed.statement], disclose=("request",))
    story.add("decision", 2300, **unframed.opening())
    case(
        "framed-by-the-request",
        "The queue recorded nothing; the request itself says by what its answer is to be judged, and is disclosed.",
        story,
        PROVEN,
        spec="statement.md §4.3",
    )
    parts = Story(ruled, extra=[unframed.statement], disclose=())
    shown = [ruled.bound["request"].disclose(f"/holdfast/decision_rule/{name}") for name in ("framing", "threshold")]
    parts.add(
        "parts", 2200, parts=[{"document": "request", **part} if "document" not in part else part for part in shown]
    )
    parts.add("decision", 2300, **unframed.opening())
    case(
        "framed-by-parts-of-the-request",
        "Only the parts that say how to judge are disclosed, and nothing of what was asked: that is enough.",
        parts,
        PROVEN,
        spec="statement.md §4.3",
    )
    case(
        "framed-by-a-hidden-request",
        "The same, and nobody shows the request: what was recorded there is not known here.",
        told(unframed, turn=ruled),
        {**GOOD, "judgement": ["unknown", "human"]},
        spec="statement.md §4.3",
    )
    case(
        "by-the-panel-itself",
        "The panel recalled by its own rule: no person judged anything.",
        told(Decision(turn, act="recall", person=None, role=None)),
        {**GOOD, "judgement": ["unknown", "operator_claim"]},
    )
    case(
        "by-a-person-and-by-the-panel",
        "A person approved, and the panel recalled: the lane tells both, and a person did decide.",
        told(Decision(turn), Decision(turn, "second", act="recall", person=None, role=None, framing=None)),
        PROVEN,
    )
    rejected = Decision(turn, "second", act="reject", person="Ben Example", at=when(START, plus_ms=2500))
    case(
        "approved-and-rejected",
        "Two people differ. Both decided, and the lane tells both; which of them counts is for a gate to say.",
        told(Decision(turn), rejected),
        PROVEN,
    )
    half = told(Decision(turn), rejected)
    half.journal.pop()
    case("one-of-two-not-shown", "Of two decisions one is shown: the other is not hidden behind it.", half, UNKNOWN)
    case(
        "recall-of-many",
        "One recall of seven cases, and the path that leads from this one to their root.",
        told(Decision(turn, act="recall", cases=MANY)),
        PROVEN,
    )
    case(
        "recall-of-one-in-a-batch",
        "A batch of one case: its path is empty.",
        told(Decision(turn, act="recall", cases=[CASE])),
        PROVEN,
    )
    pathless = Decision(turn, act="recall", cases=MANY)
    story = told(pathless, shown=False)
    story.add("decision", 2300, **pathless.opening(path=None))
    case("recall-without-path", "Nothing shows that this case is among those recalled.", story, UNKNOWN)
    case(
        "not-logged-yet",
        "Signed and shown, in no log yet: proven by the panel's signature, at a time that only the panel claims.",
        story_with_unlogged(Decision(turn)),
        PROVEN,
    )
    case(
        "logged-later",
        "Decided an hour later and logged then: the closure stays as settled as it was.",
        late(Decision(turn, at=when(START, plus_ms=3_600_000)), when(START, plus_ms=3_601_000)),
        PROVEN,
        at="2026-01-01T02:00:00.000Z",
        spec="trace.md §3",
    )
    case(
        "signed-later",
        "The panel could not log at once and signed an hour after: it says when, and claims no time at which nobody saw it.",
        late(Decision(turn, claimed_at=when(START, plus_ms=3_600_000)), when(START, plus_ms=3_601_000)),
        PROVEN,
        at="2026-01-01T02:00:00.000Z",
        spec="statement.md §4.3",
    )
    refuted = told(Decision(turn, act="reject"), codes={3: "refuted:signature"})
    case(
        "on-a-refuted-run",
        "A quorum refuted the run and a person rejected it: each lane says its own.",
        refuted,
        {**PROVEN, "settlement": ["refuted", "proof"]},
        "round.refuted",
        bug="REFUTED",
    )
    case(
        "without-trust",
        "Nobody to judge the panel by.",
        told(Decision(turn)),
        {"judgement": ["unknown", None], "bytes": ["unknown", None]},
        trust=False,
        expect="undecided",
        spec="trust.md §5",
    )
    case(
        "key-ran-out-undated",
        "The panel's key has run out and nobody dated its decision: expired. The run was the gateway's to sign, and stays.",
        told(Decision(turn), cosigned_by=[]).without("finality"),
        {"judgement": ["expired", None], "bytes": GOOD["bytes"]},
        trust=trust_with_panel(end=when(START, plus_ms=300_000)),
    )
    case(
        "closing-statement-missing",
        "A decision on something that is not here.",
        without_statement(told(Decision(turn)), 1),
        {"judgement": ["unknown", None]},
    )
    elsewhere = Turn(execution_at=when(START, plus_ms=1860))
    case(
        "on-another-answer",
        "The panel decided on another closing statement of this run than the one that is shown: on what, nobody here can tell.",
        told(Decision(elsewhere)),
        {"judgement": ["unknown", None]},
    )
    case(
        "clocks-differ",
        "By its own clock the panel decided just before the gateway closed the run: thirty seconds may lie between clocks.",
        told(Decision(turn, at=when(START, plus_ms=1850 - 30_000))),
        PROVEN,
    )
    whole = told(Decision(turn))
    case(
        "known-before-it-was-shown",
        "The same bundle, before the document was known.",
        whole,
        UNKNOWN,
        known=whole.position("decision") - 1,
        spec="bundle.md §4",
    )
    hidden = Turn("private", run=private_run_id("private"), settlement="private", route_at=START, execution_at=START)
    private = told(turn=hidden).without("entry", "inclusion", "checkpoint", "verdict", "finality", "candidate", "votes")
    decided = Decision(hidden, claimed_at=START)
    private.add("statement", 2300, envelope=decided.statement.envelope)
    private.add("decision", 2300, **decided.opening())
    case(
        "private",
        "On a private run the statement's time is rounded down to the minute; the document has the moment.",
        private,
        {"judgement": ["proven", "human"], "bytes": GOOD["bytes"], "settlement": ["pending", None]},
        spec="statement.md §4.3",
    )


def story_with_unlogged(decision: Decision) -> Story:
    """The good story and a decision that has not reached the log."""
    story = Story(disclose=())
    story.add("statement", 9000, envelope=decision.statement.envelope)
    story.add("decision", 9000, **decision.opening())
    return story


def without_statement(story: Story, which: int) -> Story:
    """Leave one statement item out."""
    story.journal.remove(story.items("statement")[which])
    return story


def refused(b: Bundles) -> None:
    """Decisions that are not what they are shown as. The run keeps every lane it had."""
    turn = Turn()

    def case(name: str, why: str, story: Story, code: str, **more: Any) -> None:
        more = {"trust": PANEL_TRUST, "spec": "statement.md §4.3", "bug": "FALSE_DECISION", **more}
        b.case(f"decision-{name}", why, story, REFUTED, code, **more)

    def signed(name: str, why: str, code: str, spec: str, more: dict[str, Any] | None = None, **change: Any) -> None:
        case(name, why, told(Decision(turn, **change)), code, spec=spec, **(more or {}))

    def shown(name: str, why: str, code: str, *, opening: dict[str, Any], **change: Any) -> None:
        made = Decision(turn, **change)
        story = told(made, shown=False)
        story.add("decision", 2300, **made.opening(**opening))
        case(name, why, story, code)

    # Who says so
    signed(
        "by-a-gateway", "The gateway decides about its own answer.", "statement.role", "statement.md §6", node=GATEWAY
    )
    signed(
        "by-an-unknown-panel",
        "A panel that trust does not admit.",
        "statement.unknown-key",
        "statement.md §7",
        {"trust": True},
    )
    signed(
        "in-the-panels-name",
        "Signed by a stranger in the panel's name.",
        "statement.signature",
        "statement.md §7",
        signer=STRANGER.statement_key,
    )
    signed(
        "by-a-suspect-panel",
        "The panel's key was suspect when the decision was dated.",
        "statement.key-revoked",
        "statement.md §8",
        {"trust": trust_with_panel(revoked={"at": AT, "suspect_since": START, "reason": "key-stolen"})},
    )
    # About what
    signed(
        "on-a-route",
        "What was judged, before it was answered?",
        "trace.rules",
        "trace.md §2",
        parents=[turn.route.digest],
    )
    signed("on-nothing", "A decision about nothing.", "trace.rules", "trace.md §2", parents=[])
    signed(
        "with-another-nonce",
        "The decision answers to another client's nonce.",
        "trace.rules",
        "trace.md §2",
        nonce="nonce-of-a-client-2",
    )
    foreign = Decision(Turn("other"))
    story = Story(disclose=())
    story.add("statement", 9000, envelope=foreign.statement.envelope)
    story.add("decision", 9000, **foreign.opening())
    case("of-another-run", "Another run was approved.", story, "trace.run", spec="trace.md §2")
    # When
    signed(
        "before-the-answer",
        "Decided before there was anything to decide about: by a minute, which no clock explains.",
        "decision.early",
        "lanes.md §3(10)",
        at=when(START, plus_ms=-58_150),
    )
    case(
        "logged-before-the-answer",
        "It stands in the log before what it judges.",
        told(Decision(turn), order=lambda entries: [entries[0], entries[2], entries[1]]),
        "trace.order",
        spec="trace.md §4",
    )
    case(
        "backdated",
        "A quorum first saw it fifty minutes after the time it claims: history was written later.",
        late(Decision(turn), when(START, plus_ms=3_000_000)),
        "statement.backdated",
        spec="statement.md §8",
        at="2026-01-01T02:00:00.000Z",
    )
    case(
        "from-the-future",
        "A quorum saw it a minute before the time it claims.",
        told(Decision(turn, at=when(START, plus_ms=63_000))),
        "statement.future",
        spec="statement.md §8",
    )
    signed(
        "signed-before-it-was-decided",
        "Signed, by its own account, before it was decided.",
        "decision.at",
        "statement.md §4.3",
        claimed_at=when(START, plus_ms=2100),
    )
    # What was decided, by whom
    good = Decision(turn)

    def altered(name: str, why: str, **change: Any) -> None:
        text = jcs({**good.value, **change}).decode()
        shown(name, why, "decision.record", opening={"document": text})

    altered("person-swapped", "Somebody else is said to have approved.", person="Ben Example")
    altered("role-raised", "The same person in a higher role.", role="approver")
    altered("reason-rewritten", "Better words, afterwards.", reason="I checked every source.")
    altered(
        "framing-rewritten",
        "Another framing than the one that was decided on.",
        framing="The model was asked to be careful.",
    )
    altered("threshold-lowered", "Another threshold, afterwards.", threshold="0.50")
    altered("moved-to-another-case", "The document names another case.", case=OTHER_CASE)
    shown("other-salt", "A salt that opens nothing.", "decision.record", opening={"salt": "00" * 32})
    shown(
        "salt-of-another",
        "The salt of another decision: whoever may choose one may look for another document.",
        "decision.record",
        opening={"salt": Decision(turn, "second").salt.hex()},
    )
    one, two = good, Decision(turn, "second", act="reject", person="Ben Example", at=when(START, plus_ms=2500))
    story = told(one, two, shown=False)
    story.add("decision", 2300, **one.opening(document=two.raw.decode(), salt=two.salt.hex()))
    story.add("decision", 2300, **two.opening(document=one.raw.decode(), salt=one.salt.hex()))
    case("documents-exchanged", "Two people's decisions, each shown as the other's.", story, "decision.record")
    story = told(good)
    story.add("decision", 2400, **good.opening(document=jcs({**good.value, "person": "Ben Example"}).decode()))
    case(
        "two-documents",
        "One document fits and one does not: whichever a reader shows, somebody lied.",
        story,
        "decision.record",
    )
    words = "The panel signed one thing and committed to a document that tells another."
    signed("signed-for-another-case", words, "decision.case", "statement.md §4.3", predicate={"case": OTHER_CASE})
    signed("signed-for-another-act", words, "decision.act", "statement.md §4.3", predicate={"act": "reject"})
    signed("signed-for-another-run", words, "decision.run", "statement.md §4.3", told_of=Turn("other").run)
    # Many at once
    outside = [item for item in MANY if item != CASE]
    made = Decision(turn, act="recall", cases=MANY)
    story = told(made, shown=False)
    story.add("decision", 2300, **made.opening(path={**made.opening()["path"], "index": 0 if MANY[0] != CASE else 1}))
    case("recall-at-another-place", "The path of another place among the cases.", story, "decision.batch")
    made = _batch_without(turn, outside)
    case("recall-does-not-hold-the-case", "The root is over other cases than this one.", made, "decision.batch")
    shown(
        "path-without-batch",
        "A path, and no cases that were recalled together.",
        "decision.batch",
        opening={"path": {"index": 0, "proof": []}},
    )
    # What the log and the full nodes say
    story = told(good)
    story.items("inclusion")[2]["proof"][0] = "11" * 32
    case("forged-inclusion", "It was never in the log.", story, "log.inclusion", spec="bundle.md §3")
    case(
        "refuted-by-a-quorum",
        "Full nodes found that it does not hold. That says nothing about the run.",
        told(good, codes={4: "refuted:role"}),
        "round.refuted",
        spec="round.md §5",
    )
    story = told(good, codes={4: "refuted:role"})
    story.items("verdict")[2]["code"] = "ok"
    case("false-ok", "Refuted, and shown as ok.", story, "round.verdict_inclusion", spec="round.md §5")


def _batch_without(turn: Turn, others: list[str]) -> Story:
    """A recall of other cases, shown with the path of one of them."""
    other = Decision(turn, act="recall", case=others[0], cases=others)
    made = Decision(turn, act="recall", predicate={"cases": other.statement.value["predicate"]["cases"]})
    story = told(made, shown=False)
    story.add("decision", 2300, **made.opening(path=other.opening()["path"]))
    return story


def shapes(b: Bundles) -> None:
    """Items that do not parse (bundle.md §2)."""
    good = Decision(Turn())

    def case(name: str, why: str, code: str, **change: Any) -> None:
        story = told(good)
        story.items("decision")[0].update(change)
        b.case(
            f"decision-item-{name}",
            why,
            story,
            None,
            code,
            expect="malformed",
            spec="bundle.md §2",
            bug="MALFORMED_BUNDLE",
            trust=PANEL_TRUST,
        )

    case("with-more", "An item has exactly its members.", "bundle.fields", person="Ann Example")
    case("short-salt", "A salt has 32 bytes.", "encoding.hex", salt="00" * 31)
    case(
        "document-as-object",
        "The document is a text: the record commits to its bytes.",
        "bundle.text",
        document=good.value,
    )
    case("another-spelling", "One spelling of a document.", "json.spelling", document=exact_text(good.value))
    case(
        "path-with-more", "A path has exactly two members.", "decision.path", path={"index": 0, "proof": [], "size": 1}
    )
    case("path-below-zero", "An index counts from 0.", "decision.path", path={"index": -1, "proof": []})
    case("path-too-long", "No tree is higher than 64.", "decision.path", path={"index": 0, "proof": ["11" * 32] * 65})
