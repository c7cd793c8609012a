"""bundle and lanes: bundle.md, lanes.md. The good story of ``reference.world``, and one change in each case."""

from __future__ import annotations

import copy
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any

from reference import notes, parts, rounds, tree, world
from reference.cases import Writer
from reference.signing import Ed25519, envelope
from reference.text import b64, exact_text, jcs, parse, posix_ms, sha, unb64, when
from reference.world import (
    AT,
    DATA,
    FULL,
    GATEWAY,
    HARDWARE_GATEWAY,
    LOG,
    ORIGIN,
    OTHER_LOG,
    OUTSIDER,
    ROOTS,
    SEPARATOR,
    START,
    STRANGER,
    Ledger,
    Statement,
    Story,
    Turn,
    bundle_text,
    run_id,
    statement,
)

GOOD = {
    "enclave": ["unknown", None],
    "bytes": ["proven", "signature"],
    "artifact": ["unknown", "provider_claim"],
    "inputs": ["not_applicable", None],
    "memory": ["not_applicable", None],
    "route": ["proven", "signature"],
    "payment": ["not_applicable", None],
    "settlement": ["proven", "proof"],
    "judgement": ["not_applicable", None],
}
"""The lanes of the good story whose state and basis lanes.md §3 fixes."""
PENDING = ["pending", None]
REFUTED = ["refuted", None]
BYTES = {"bytes": REFUTED}
BOTH = {"bytes": REFUTED, "route": REFUTED}
SETTLEMENT = {"bytes": GOOD["bytes"], "settlement": REFUTED}
LAB_ROOT = Ed25519("insecure-dev/root")


class Bundles:
    """Writes cases that run ``verify-bundle``."""

    def __init__(self, out: Writer) -> None:
        self.out = out

    def case(
        self,
        name: str,
        why: str,
        story: Story | dict[str, Any] | str | bytes,
        lanes: dict[str, Any] | None = None,
        code: str | None = None,
        *,
        expect: str = "",
        at: str = AT,
        known: int | None = None,
        require: Sequence[str] = (),
        trust: dict[str, Any] | str | bool = True,
        policy: dict[str, Any] | None = None,
        spec: str = "bundle.md §3",
        bug: str = "SUBSTITUTION",
        suite: str = "bundle",
    ) -> None:
        if isinstance(story, Story):
            story = story.bundle()
        content = bundle_text(story) if isinstance(story, dict) else story
        files: dict[str, Any] = {"bundle.json": content}
        run = ["verify-bundle", "--policy", "../../shared/policy.json", "--at", at]
        if policy is not None:
            files["policy.json"] = jcs(policy)
            run[2] = "policy.json"
        if trust is True:
            run += ["--trust", "../../shared/trust.json"]
        elif isinstance(trust, str):
            run += ["--trust", f"../../shared/{trust}"]
        elif trust:
            files["trust.json"] = exact_text(trust) + "\n"
            run += ["--trust", "trust.json"]
        if known is not None:
            run += ["--known", str(known)]
        for requirement in require:
            run += ["--require", requirement]
        self.out.case(
            f"{suite}/{name}",
            why,
            spec=spec,
            run=[*run, "bundle.json"],
            expect=expect or ("reject" if code else "accept"),
            code=code,
            at=at,
            bug=bug if code else None,
            result={"lanes": lanes} if lanes else None,
            files=files,
        )


def write(out: Writer) -> None:
    """Write both suites."""
    bundles = Bundles(out)
    outcomes(bundles)
    knowledge(bundles)
    earlier(bundles)
    attempts(bundles)
    requirements(bundles)
    altered_bytes(bundles)
    bad_statements(bundles)
    bad_traces(bundles)
    bad_settlement(bundles)
    private(bundles)
    shapes(bundles)
    policies(out)


def edited(story: Story, kind: str, change: Callable[[dict[str, Any]], None], which: int = 0) -> Story:
    """The story with one journal item changed."""
    change(story.items(kind)[which])
    return story


def member(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set one member of an item."""
    return lambda item: item.__setitem__(name, value)


# --- good and honest outcomes ---------------------------------------------------------------------------------------


def outcomes(b: Bundles) -> None:
    """Accepted bundles and the lanes they must have."""
    b.case(
        "settled",
        "The whole story: both statements in a final round with verdict ok, every document disclosed.",
        Story(),
        GOOD,
        require=["bytes=proven:signature", "route=proven", "settlement=proven:proof"],
        suite="lanes",
        spec="lanes.md §3",
    )
    b.case(
        "settled-by-a-p256-gateway",
        "The same by a gateway with a hardware-style key.",
        Story(Turn(node=HARDWARE_GATEWAY)),
        GOOD,
        suite="lanes",
        spec="lanes.md §3",
    )
    chain = {**world.trust_value(2)["chains"][0], "development": True}
    b.case(
        "settled-on-a-development-chain",
        "Trust marks the chain as a development stand-in: proven, and its basis says so.",
        Story(),
        {"settlement": ["proven", "development"]},
        trust=world.usual_trust(chains=[chain]),
        suite="lanes",
        spec="lanes.md §3(3)",
    )
    b.case(
        "nothing-disclosed",
        "Bytes are bound whether or not they are shown.",
        Story(disclose=()),
        {"bytes": GOOD["bytes"], "settlement": GOOD["settlement"]},
        suite="lanes",
        spec="lanes.md §3(1)",
    )
    shown = Story(disclose=())
    turn = shown.turn
    shown.add(
        "parts",
        2000,
        parts=[
            turn.bound["response"].disclose("/choices/0/message/content"),
            turn.bound["request"].disclose("/messages/1/content"),
            turn.bound["response"].disclose("/usage/total_tokens"),
        ],
    )
    b.case(
        "single-parts-disclosed",
        "Question, answer and one number are shown; the system prompt stays hidden.",
        shown,
        {"bytes": GOOD["bytes"]},
        suite="lanes",
        spec="parts.md §8",
    )
    b.case(
        "three-of-four-final",
        "One full node is silent: three quarters of the stake are enough.",
        Story(finality_by=FULL[:3]),
        {"settlement": GOOD["settlement"]},
        suite="lanes",
        spec="trust.md §4",
    )
    b.case(
        "two-of-four-final",
        "Half the stake decides nothing: the lane waits.",
        Story(finality_by=FULL[:2]),
        {"settlement": PENDING, "bytes": GOOD["bytes"]},
        suite="lanes",
        spec="trust.md §4",
    )
    doubled = Story(finality_by=FULL[:2])
    edited(doubled, "finality", lambda item: item["messages"].append(copy.deepcopy(item["messages"][0])))
    b.case(
        "double-counted-voter",
        "Two members, one of them twice: still half the stake.",
        doubled,
        {"settlement": PENDING},
        require=["settlement=proven"],
        expect="undecided",
        suite="lanes",
        spec="round.md §4.3",
    )
    b.case(
        "without-trust",
        "Nobody to judge the attester by: undecided, whatever else is in the bundle.",
        Story(),
        {"bytes": ["unknown", None], "route": ["unknown", None], "settlement": ["unknown", None]},
        trust=False,
        expect="undecided",
        suite="lanes",
        spec="trust.md §5",
    )
    b.case(
        "trust-has-run-out",
        "Trust expired before the time asked about: what stood on it is expired, what never applied stays so.",
        Story(),
        {
            "bytes": ["expired", "signature"],
            "route": ["expired", "signature"],
            "settlement": ["expired", "proof"],
            "payment": GOOD["payment"],
        },
        at="2027-06-01T00:00:00.000Z",
        suite="lanes",
        spec="trust.md §2(6)",
    )
    b.case(
        "trust-issued-later",
        "A version issued after `at` is still used: later knowledge is knowledge about the past.",
        Story(),
        GOOD,
        trust=world.usual_trust(issued_at="2026-05-01T00:00:00.000Z"),
        suite="lanes",
        spec="trust.md §2(6)",
    )
    late = {"at": "2026-06-01T00:00:00.000Z", "suspect_since": "2026-05-01T00:00:00.000Z", "reason": "key-stolen"}
    nodes = world.trust_value(2)["nodes"]
    b.case(
        "key-revoked-later",
        "The gateway's key is suspect since May; a quorum had dated its statements in January.",
        Story(),
        GOOD,
        at="2026-07-01T00:00:00.000Z",
        trust=world.usual_trust(nodes=[{**nodes[0], "revoked": late}, *nodes[1:]]),
        suite="lanes",
        spec="statement.md §8",
    )
    b.case(
        "key-expired-later",
        "The gateway's admission ended in May; a quorum had dated its statements in January.",
        Story(),
        GOOD,
        at="2026-07-01T00:00:00.000Z",
        trust=world.usual_trust(nodes=[{**nodes[0], "valid_until": "2026-05-01T00:00:00.000Z"}, *nodes[1:]]),
        suite="lanes",
        spec="statement.md §8",
    )
    ended = world.usual_trust(nodes=[{**nodes[0], "valid_until": when(START, plus_ms=300_000)}, *nodes[1:]])
    b.case(
        "key-ran-out-undated",
        "The key was good when the statements claim to be made, has run out by `at`, and no quorum dated them in time: expired, neither proven nor refuted.",
        Story(cosigned_by=[]).without("finality"),
        {"bytes": ["expired", None], "route": ["expired", None], "settlement": PENDING},
        trust=ended,
        suite="lanes",
        spec="lanes.md §3",
    )
    stranger_cosigned = Story(cosigned_by=[OUTSIDER])
    b.case(
        "cosigned-by-a-stranger",
        "A cosignature by a node that trust does not know counts for nothing: nobody has dated the statements, and finality stands on its own.",
        stranger_cosigned,
        {"bytes": GOOD["bytes"], "settlement": GOOD["settlement"]},
        suite="lanes",
        spec="statement.md §8",
    )
    failed = Turn("failed", response=None, event="failed", outcome="upstream.timeout")
    b.case(
        "failed-run",
        "No answer: the request is bound and the failure is signed.",
        Story(failed),
        {"bytes": GOOD["bytes"], "settlement": GOOD["settlement"]},
        suite="lanes",
        spec="statement.md §4.2",
    )
    crashed = Turn(
        "crashed", response=None, event="interrupted", outcome="gateway.crash", marks={"seq": 2, "parts": "ab" * 32}
    )
    b.case(
        "interrupted-run",
        "The gateway died mid-answer and said so when it came back.",
        Story(crashed),
        {"bytes": GOOD["bytes"]},
        suite="lanes",
        spec="statement.md §4.2",
    )
    base = Turn()
    gone = left(base, base.execution.digest)
    b.case(
        "disconnected",
        "A follow-up does not reopen the closure.",
        Story(base, extra=[gone]),
        GOOD,
        suite="lanes",
        spec="trace.md §3",
    )
    streamed = stream_story()
    b.case(
        "streamed",
        "A streamed turn: the last mark is the one that the closing statement names.",
        streamed,
        {"bytes": GOOD["bytes"], "settlement": GOOD["settlement"]},
        suite="lanes",
        spec="parts.md §7",
    )
    b.case(
        "cannot-tell",
        "A final round could not tell: the lane does not move by itself any more.",
        Story(codes={3: "cannot_tell"}),
        {"settlement": ["unknown", None]},
        suite="lanes",
        spec="lanes.md §3(3)",
    )
    b.case(
        "cannot-tell-is-not-proven",
        "The same, when a proof is required: no answer, and no refusal either.",
        Story(codes={3: "cannot_tell"}),
        None,
        require=["settlement=proven"],
        expect="undecided",
        suite="lanes",
        spec="lanes.md §5",
    )
    b.case(
        "superseded-refutation",
        "Round 2 refuted the execution by mistake; round 3 says ok of the same entry. The newer verdict counts.",
        superseded("refuted:signature", "ok"),
        {"settlement": GOOD["settlement"]},
        suite="lanes",
        spec="round.md §5",
    )
    b.case(
        "later-refutation",
        "Round 2 said ok; round 3 refutes. What was proven is refuted now.",
        superseded("ok", "refuted:key-revoked"),
        {"settlement": ["refuted", "proof"]},
        "round.refuted",
        suite="lanes",
        spec="round.md §5",
        bug="REFUTED_LATER",
    )
    b.case(
        "later-refutation-not-known-yet",
        "The same bundle, known only up to round 2: the same answer as then, for ever.",
        superseded("ok", "refuted:key-revoked"),
        {"settlement": GOOD["settlement"]},
        known=superseded("ok", "ok").position("finality", 0),
        suite="lanes",
        spec="bundle.md §4",
    )
    repeated = Story()
    repeated.journal = repeated.journal + copy.deepcopy(repeated.journal)
    b.case("repeated-items", "Items that repeat are harmless.", repeated, GOOD, suite="lanes", spec="bundle.md §2")
    reversed_order = Story()
    reversed_order.journal.reverse()
    b.case(
        "items-in-another-order",
        "Items are judged by what they prove, never by their order.",
        reversed_order,
        GOOD,
        suite="lanes",
        spec="bundle.md §2",
    )
    twice = Story()
    bad_copy = copy.deepcopy(twice.turn.route.envelope)
    bad_copy["signatures"][0]["sig"] = b64(bytes(64))
    twice.add("statement", 9000, envelope=bad_copy)
    b.case(
        "badly-signed-copy",
        "Somebody adds a copy of the route with a broken signature. It is the same statement, and the good signature is there: the copy proves nothing and harms nothing.",
        twice,
        GOOD,
        suite="lanes",
        spec="statement.md §1",
    )
    twice_first = Story()
    twice_first.journal.insert(0, {"kind": "statement", "at": when(START, plus_ms=100), "envelope": bad_copy})
    b.case(
        "badly-signed-copy-first",
        "The same copy at the front: order decides nothing.",
        twice_first,
        GOOD,
        suite="lanes",
        spec="bundle.md §2",
    )
    development = {"kind": "insecure-dev", "certificate": b64(LAB_ROOT.public), "development": True}
    attested = Story()
    attested.add(
        "attestation",
        100,
        node=GATEWAY.id,
        format="insecure-dev",
        evidence=b64(LAB_ROOT.sign(b"urn:holdfast:insecure-dev:v1\x00" + bytes.fromhex(GATEWAY.id))),
    )
    b.case(
        "insecure-enclave",
        "A throw-away root vouches for a software key: the lane stays unknown and says development, whatever is configured.",
        attested,
        {**GOOD, "enclave": ["unknown", "development"]},
        trust=world.usual_trust(enclave_roots=[development]),
        suite="lanes",
        spec="lanes.md §3(4)",
    )
    wrong = Story()
    wrong.add(
        "attestation",
        100,
        node=GATEWAY.id,
        format="insecure-dev",
        evidence=b64(LAB_ROOT.sign(b"urn:holdfast:insecure-dev:v1\x00" + bytes.fromhex(STRANGER.id))),
    )
    b.case(
        "attestation-of-another-key",
        "The evidence is about another key document.",
        wrong,
        {"enclave": REFUTED, "bytes": GOOD["bytes"]},
        "enclave.attestation",
        trust=world.usual_trust(enclave_roots=[development]),
        suite="lanes",
        spec="lanes.md §3(4)",
    )
    unread = Story()
    unread.add(
        "attestation", 100, node=GATEWAY.id, format="aws-nitro", evidence=b64(b"evidence that nobody here can read")
    )
    b.case(
        "attestation-not-read",
        "Evidence that trust admits no root for is not judged and proves nothing: unknown, never proven.",
        unread,
        {"enclave": ["unknown", None]},
        suite="lanes",
        spec="lanes.md §3(4)",
    )


def left(turn: Turn, parent: str, **more: Any) -> Statement:
    """The client of a turn went away."""
    body = {"event": "disconnected", "outcome": "client.disconnected", "response": None, "marks": None}
    return statement(
        "execution",
        GATEWAY,
        run=turn.run,
        claimed_at=when(START, plus_ms=1900),
        parents=[parent],
        subject=("request", turn.bound["request"].root),
        body={**body, "upstream": "small.provider"},
        **more,
    )


def stream_story(change: Callable[[dict[str, Any]], None] | None = None, marks: Any = None) -> Story:
    """A streamed run with its last mark."""
    run, secret = run_id("streamed"), world.named("secret/streamed")
    texts = (
        '{"id":"c","object":"chat.completion.chunk","model":"small-1","choices":[{"index":0,"delta":{"role":"assistant","content":"It "}}]}',
        '{"id":"c","object":"chat.completion.chunk","model":"small-1","choices":[{"index":0,"delta":{"content":"holds."},"finish_reason":"stop"}]}',
    )
    events = [parse(text.encode()) for text in texts]
    marker = parts.Marker(run, secret, GATEWAY.statement_key.sign)
    marker.mark(events[:1])
    last = marker.mark(events[1:])
    turn = Turn(
        "streamed",
        response=exact_text(parts.fold(events)),
        streamed=True,
        marks=marks or {"seq": last["seq"], "parts": last["parts"]},
    )
    story = Story(turn)
    mark = copy.deepcopy(last)
    if change:
        change(mark)
    story.add("mark", 1800, mark=mark)
    return story


def superseded(first: str, second: str) -> Story:
    """Round 2 gives the execution one verdict, round 3 another."""
    story = Story(codes={3: first})
    log = story.ledger
    entries = [*log.entries, *world.neighbour("third")]
    leaves = [tree.leaf(entry) for entry in entries]
    digest = story.turn.execution.digest
    rows = [(3, digest, second), *((index, world.entry_digest(entries[index]), "ok") for index in (6, 7))]
    found = rounds.Verdicts(rows)
    candidate = rounds.candidate(
        ORIGIN, 3, previous=rounds.content(log.candidate), size=8, root=tree.head(leaves), verdicts=found
    )
    messages = [rounds.finality(SEPARATOR, node.keys["vote"], candidate) for node in FULL]
    story.add("finality", 18000, round=candidate, messages=messages)
    story.add("verdict", 18000, number=3, index=3, digest=digest, code=second, **found.path(3))
    return story


def knowledge(b: Bundles) -> None:
    """One bundle, read up to different positions (bundle.md §4)."""
    story = Story()

    def at(kind: str, which: int, name: str, why: str, lanes: dict[str, Any], before: bool = False) -> None:
        b.case(
            f"known-{name}",
            why,
            story,
            lanes,
            known=story.position(kind, which) - before,
            suite="lanes",
            spec="bundle.md §4",
        )

    b.case(
        "known-nothing",
        "Nothing is read: every lane that could move waits.",
        story,
        {"bytes": PENDING, "route": PENDING, "settlement": PENDING},
        known=0,
        suite="lanes",
        spec="bundle.md §4",
    )
    at(
        "statement",
        0,
        "route",
        "Asked, not answered.",
        {"bytes": PENDING, "route": GOOD["route"], "settlement": PENDING, "inputs": GOOD["inputs"]},
    )
    at("statement", 1, "execution", "Answered, not logged.", {"bytes": GOOD["bytes"], "settlement": PENDING})
    at(
        "checkpoint",
        0,
        "checkpoint",
        "Logged and cosigned, in no round.",
        {"bytes": GOOD["bytes"], "settlement": PENDING},
    )
    at("votes", 0, "votes", "Voted on: votes are information, not proof.", {"settlement": PENDING})
    at("finality", 0, "all-but-finality", "Everything but the finality messages.", {"settlement": PENDING}, before=True)
    at("finality", 0, "all", "Everything.", {"settlement": GOOD["settlement"]})


def earlier(b: Bundles) -> None:
    """Asked about a time at which statements had not been made (lanes.md §2.1)."""
    unmade = {
        "bytes": PENDING,
        "route": PENDING,
        "inputs": PENDING,
        "memory": PENDING,
        "settlement": PENDING,
        "payment": GOOD["payment"],
        "judgement": GOOD["judgement"],
    }

    def case(name: str, why: str, story: Story, lanes: dict[str, Any], code: str | None = None, **more: Any) -> None:
        b.case(name, why, story, lanes, code, **{"suite": "lanes", "spec": "lanes.md §2.1", **more})

    before = when(START, plus_ms=-60_000)
    case(
        "asked-about-a-time-before",
        "Everything is final, and the question is about the minute before: nothing of this run had been made. Whoever "
        "answers proven here can be shown any late run as if it had stood at any early time.",
        Story(),
        unmade,
        at=before,
    )
    case(
        "asked-about-a-time-before-is-not-proven",
        "The same, with a requirement: no answer yet, since at that time the evidence was still to come.",
        Story(),
        unmade,
        at=before,
        require=["bytes=proven", "settlement=proven"],
        expect="undecided",
    )
    case(
        "asked-about-a-moment-before",
        "Clocks differ by up to the policy's max_skew_s: twenty seconds before the claim the statements count.",
        Story(),
        GOOD,
        at=when(START, plus_ms=-20_000),
    )
    case(
        "asked-between-question-and-answer",
        "The route was signed ten minutes before the answer; at half time the question was bound and not answered.",
        Story(Turn(execution_at=when(START, plus_ms=600_000)), cosigned_at=when(START, plus_ms=601_000), extra=()),
        {"route": GOOD["route"], "inputs": GOOD["inputs"], "bytes": PENDING, "settlement": PENDING},
        at=when(START, plus_ms=300_000),
        policy={**world.POLICY, "max_span_s": 3600},
    )
    case(
        "settled-after-the-time-asked-about",
        "The statements had been made at that time and their round became final later: what is known now about then.",
        Story(cosigned_at=when(START, plus_ms=120_000)),
        GOOD,
        at=when(START, plus_ms=2_000),
    )
    changed = edited(Story(), "document", lambda item: item.update(text=item["text"].replace("Does", "Did")))
    case(
        "altered-and-asked-about-a-time-before",
        "A changed word stays refuted whatever time is asked about: an attacker who chooses the time would otherwise turn "
        "a refutation into a wait.",
        changed,
        {"bytes": REFUTED, "route": PENDING},
        "parts.root",
        at=before,
    )
    case(
        "from-the-future-and-asked-about-a-time-before",
        "A quorum saw the statements a minute before the time they claim. Asked about that minute they are not merely "
        "to come: they are false.",
        Story(cosigned_at=before),
        {"settlement": REFUTED, "bytes": PENDING},
        "statement.future",
        at=before,
        bug="BACKDATED",
    )
    case(
        "refuted-and-asked-about-a-time-before",
        "A final round refuted the execution: so it stays for every time.",
        Story(codes={3: "refuted:signature"}),
        {"settlement": ["refuted", "proof"]},
        "round.refuted",
        at=before,
        bug="REFUTED_LATER",
    )


def attempts(b: Bundles) -> None:
    """A proposer that stalls, a sequencer that withholds, full nodes that do not answer (round.md §1, lanes.md §3(3))."""

    def case(name: str, why: str, story: Any, lanes: dict[str, Any], code: str | None = None, **more: Any) -> None:
        b.case(name, why, story, lanes, code, **{"suite": "lanes", "spec": "lanes.md §3(3)", **more})

    def waiting(*without: str) -> Story:
        return Story(disclose=()).without("finality", "verdict", *without)

    withheld = waiting("inclusion", "checkpoint", "candidate", "votes")
    case(
        "logged-and-withheld",
        "Attack: a sequencer confirms the entries and withholds them; no checkpoint that covers them ever appears. It gains "
        "a delay and nothing else: its word on an index is no inclusion, so the lane waits, and says what for.",
        withheld,
        {"bytes": GOOD["bytes"], "route": GOOD["route"], "settlement": PENDING},
        spec="bundle.md §2",
    )
    case(
        "logged-and-withheld-is-not-proven",
        "The same, when settlement is asked for: the sequencer's word must not pass for proof.",
        withheld,
        {"settlement": PENDING},
        require=["settlement=proven"],
        expect="undecided",
        spec="bundle.md §2",
    )
    story = Story(disclose=())
    covers_less = Ledger(story.ledger.entries[:2], number=2)
    story.without("checkpoint", "candidate", "votes", "finality", "verdict", "inclusion")
    story.add("checkpoint", 3100, note=covers_less.note)
    story.add("candidate", 5000, round=covers_less.candidate)
    story.add("finality", 8000, round=covers_less.candidate, messages=covers_less.finality(FULL))
    case(
        "withheld-from-a-final-round",
        "Attack: the sequencer shows full nodes a log that ends before the run's entries, and they settle that. The round "
        "is final and says nothing about this run.",
        story,
        {"bytes": GOOD["bytes"], "settlement": PENDING},
        spec="bundle.md §3",
    )
    log = Story(disclose=()).ledger
    shown = Story(disclose=()).without("checkpoint", "candidate", "votes", "finality", "verdict", "inclusion")
    shown.add("checkpoint", 3100, note=covers_less.note)
    for item in (shown.turn.route, shown.turn.execution):
        place = log.index(item.digest)
        shown.add("inclusion", 2600, digest=item.digest, index=place - 2, size=2, proof=[log.leaves[3 - place].hex()])
    case(
        "withheld-and-said-to-be-included",
        "Attack: the sequencer withholds the entries and hands out paths into the smaller tree that it did sign. They do "
        "not lead to its root: what is presented and does not verify refutes.",
        shown,
        {"bytes": GOOD["bytes"], "settlement": REFUTED},
        "log.inclusion",
        spec="bundle.md §3",
    )
    later = Ledger(log.entries, attempt=1)
    silent = Story(disclose=(), attempt=1)
    place = silent.position("candidate") - 1
    first = {**silent.items("candidate")[0], "at": when(START, plus_ms=4000), "round": log.candidate}
    votes = {"number": 2, "attempt": 0, "voters": [FULL[0].keys["vote"].address]}
    silent.journal[place:place] = [first, {"kind": "votes", "at": when(START, plus_ms=4500), **votes}]
    case(
        "stalled-attempt-and-a-later-one-final",
        "Attack: the proposer of attempt 0 publishes a candidate and nothing moves; after the timeout the next proposer's "
        "attempt 1 becomes final. The staller gains one timeout: its silent attempt takes nothing from the final one.",
        silent,
        GOOD,
        spec="round.md §1",
        require=["settlement=proven:proof"],
    )
    case(
        "stalled-attempt",
        "Attempt 0 stalls and no later one is final yet: the lane waits and names who is not said to have voted.",
        waiting(),
        {"bytes": GOOD["bytes"], "settlement": PENDING},
        spec="round.md §1",
    )
    forged = Story(disclose=(), finality_by=())
    forged.add("finality", 8000, round=log.candidate, messages=[])
    case(
        "stalled-attempt-called-final",
        "Attack: the staller shows its candidate as final with nobody's message. No stake is no quorum.",
        forged,
        {"settlement": PENDING},
        require=["settlement=proven"],
        expect="undecided",
        spec="round.md §4.3",
    )
    mixed = Story(disclose=(), attempt=1, finality_by=())
    other = Ledger(log.entries, codes={3: "refuted:signature"})
    mixed.add("finality", 8000, round=later.candidate, messages=other.finality(FULL))
    case(
        "messages-of-the-stalled-attempt",
        "Attack: finality messages about another content, the stalled attempt's, are put beside the later candidate. A "
        "message counts for the content it signs.",
        mixed,
        SETTLEMENT,
        "round.mixed",
        spec="round.md §4.3",
    )
    names = ["full-3", "full-4"]
    quiet = waiting("votes")
    quiet.add("votes", 6000, number=2, attempt=0, voters=[node.keys["vote"].address for node in FULL[:2]])
    quiet.add("silence", 6500, silent=names, asked=4)
    case(
        "two-full-nodes-silent",
        "Half the stake does not answer: the lane stays pending and says why. It is the exporter's word and changes no state.",
        quiet,
        {"bytes": GOOD["bytes"], "settlement": PENDING},
    )
    over = Story(disclose=(), finality_by=())
    over.add("silence", 6500, silent=names, asked=4)
    over.add("silence", 7500, silent=[], asked=4)
    over.add("finality", 8000, round=over.ledger.candidate, messages=over.ledger.finality(FULL))
    case("silent-full-nodes-came-back", "They answered again and the round became final.", over, GOOD)
    lied = Story(disclose=())
    lied.add("silence", 8500, silent=names, asked=4)
    case(
        "silence-after-finality",
        "An exporter that calls members silent after they have signed takes nothing from what they signed.",
        lied,
        GOOD,
    )
    for name, why, code, change in (
        ("silence-with-a-sentence", "Names are codes: no free text.", "bundle.fields", {"silent": ["full 3!"]}),
        ("silence-twice", "Each name once.", "bundle.fields", {"silent": ["full-3", "full-3"]}),
        ("silence-out-of-order", "Names ascend: one spelling.", "bundle.fields", {"silent": ["full-4", "full-3"]}),
        ("silence-with-a-verdict", "Exactly its members.", "bundle.fields", {"final": True}),
        ("silence-of-more-than-were-asked", "No more than were asked.", "bundle.count", {"asked": 1}),
        ("silence-of-too-many", "An epoch has at most 64 members.", "bundle.count", {"asked": 65}),
        ("silence-of-nobody-asked", "Somebody was asked.", "bundle.number", {"asked": 0}),
    ):
        bad = waiting()
        bad.add("silence", 6500, **{"silent": names, "asked": 4, **change})
        b.case(
            name, why, bad, None, code, expect="malformed", suite="bundle", spec="bundle.md §2", bug="MALFORMED_BUNDLE"
        )


def requirements(b: Bundles) -> None:
    """--require (lanes.md §5)."""
    more = {"suite": "lanes", "spec": "lanes.md §5"}
    b.case(
        "require-other-basis",
        "Proven, but by proof and not on a development chain: the basis was asked for.",
        Story(),
        None,
        "require.settlement",
        require=["settlement=proven:development"],
        bug="BORROWED_PROOF",
        **more,
    )
    b.case(
        "require-hardware-bytes",
        "Bytes proven by signature are not bytes proven by hardware.",
        Story(),
        None,
        "require.bytes",
        require=["bytes=proven:hardware"],
        bug="BORROWED_PROOF",
        **more,
    )
    b.case(
        "require-enclave",
        "The lane is unknown: nobody said no.",
        Story(),
        None,
        expect="undecided",
        require=["enclave=proven"],
        **more,
    )
    b.case(
        "require-payment",
        "What does not apply is not proven.",
        Story(),
        None,
        "require.payment",
        require=["payment=proven"],
        bug="BORROWED_PROOF",
        **more,
    )
    b.case(
        "require-not-applicable",
        "A requirement may ask for that, too.",
        Story(),
        None,
        require=["payment=not_applicable", "settlement=proven"],
        **more,
    )
    b.case(
        "require-settlement-too-early",
        "Pending is neither yes nor no.",
        Story().without("finality"),
        None,
        expect="undecided",
        require=["settlement=proven"],
        **more,
    )
    b.case(
        "require-after-trust-ran-out",
        "Expired is not proven.",
        Story(),
        None,
        "require.bytes",
        at="2027-06-01T00:00:00.000Z",
        require=["bytes=proven"],
        bug="EXPIRED",
        **more,
    )
    b.case(
        "require-pending",
        "Asking for pending holds while it is.",
        Story().without("finality"),
        None,
        require=["settlement=pending"],
        **more,
    )


# --- altered bytes --------------------------------------------------------------------------------------------------


def altered_bytes(b: Bundles) -> None:
    """Every visible byte is bound."""

    def document(name: str, why: str, which: str, old: str, new: str) -> None:
        story = Story()
        item = next(item for item in story.items("document") if item["document"] == which)
        if old not in item["text"]:
            raise SystemExit(f"{name}: nothing to change")
        item["text"] = item["text"].replace(old, new)
        b.case(name, why, story, BYTES, "parts.root", spec="parts.md §4")

    document("altered-text", "The answer says the opposite.", "response", "It holds.", "It folds.")
    document("altered-model", "A larger model is said to have served.", "response", "small-1", "large-1")
    document(
        "altered-usage",
        "More tokens are charged than were used.",
        "response",
        '"total_tokens":20',
        '"total_tokens":2000',
    )
    document(
        "altered-finish-reason",
        "A cut answer passes for a whole one, or the other way round.",
        "response",
        '"stop"',
        '"length"',
    )
    document("altered-role", "Who said it.", "response", '"assistant"', '"system"')
    document(
        "altered-number-spelling",
        "0.70 and 0.7 are one number and two texts: bound is the text.",
        "request",
        "0.70",
        "0.7",
    )
    document("altered-question", "Another question to the same answer.", "request", "Does it hold?", "Does it fold?")
    document(
        "altered-system-prompt",
        "Another instruction than the one that was in force.",
        "request",
        "Be brief.",
        "Be false.",
    )
    document("removed-member", "A member left out.", "response", ',"model":"small-1"', "")
    document(
        "added-member",
        "A member nobody signed, such as a friendly note.",
        "response",
        '"model":',
        '"note":"verified","model":',
    )
    document(
        "null-instead-of-absent",
        "Null is a part, absence is none.",
        "response",
        '"model":',
        '"system_fingerprint":null,"model":',
    )
    document(
        "altered-sent", "What went to the provider was something else.", "sent", "Does it hold?", "Ignore all that."
    )
    reordered = Story()
    item = reordered.items("document")[2]
    item["text"] = exact_text(dict(reversed(parse(item["text"].encode()).items())))
    b.case(
        "members-in-another-order",
        "The order of members carries no meaning and changes no part.",
        reordered,
        GOOD,
        spec="parts.md §3(8)",
    )
    carried = Story()
    item = carried.items("document")[2]
    item["text"] = item["text"].replace('"model":', '"holdfast":{"run":"x"},"tee_signature":"y","model":')
    b.case(
        "carriers-in-the-answer",
        "Carrier fields transport evidence and are outside of what is bound, by a closed list.",
        carried,
        GOOD,
        spec="parts.md §2",
    )
    secret = Story()
    for item in secret.items("document"):
        item["secret"] = "00" * 32
    b.case(
        "other-run-secret",
        "The right text with salts from another secret.",
        secret,
        BYTES,
        "parts.root",
        spec="parts.md §4",
    )
    swapped = Story()
    first, second, _ = swapped.items("document")
    first["text"], second["text"] = second["text"], first["text"]
    b.case(
        "request-and-sent-swapped",
        "What was asked and what was sent are two documents.",
        swapped,
        BYTES,
        "parts.root",
        spec="parts.md §1",
    )
    duplicate = Story()
    item = duplicate.items("document")[2]
    item["text"] = item["text"][:-1] + ',"model":"large-1"}'
    b.case(
        "duplicate-key-in-a-document",
        "A document with two models: whichever a reader shows, it was not bound.",
        duplicate,
        BYTES,
        "json.duplicate_key",
        spec="parts.md §1",
        bug="PARSER_DIFFERENCE",
    )

    def part(name: str, why: str, code: str, expect: str = "reject", **change: Any) -> None:
        story = Story(disclose=())
        shown = story.turn.bound["response"].disclose("/choices/0/message/content")
        story.add("parts", 2000, parts=[{**shown, **change}])
        b.case(name, why, story, BYTES if expect == "reject" else None, code, expect=expect, spec="parts.md §8")

    part("altered-part", "A single disclosed part with other words.", "parts.root", bytes=b64(b"It folds."))
    part(
        "altered-salt",
        "Another salt: whoever may choose it may look for another text.",
        "parts.root",
        salt=b64(bytes(16)),
    )
    part(
        "altered-label",
        "The answer's text passed off as another choice's, label and path together.",
        "parts.root",
        label="text|1|-|s|/choices/1/message/content",
    )
    part(
        "answer-shown-as-question",
        "A part of the response shown as one of the request.",
        "parts.root",
        document="request",
    )
    b.case(
        "mark-not-the-signed-one",
        "The bundle's mark is not the one that the closing statement names: some of what was shown is not in the answer, or the other way round.",
        stream_story(member("parts", "cd" * 32)),
        BYTES,
        "mark.chain",
        spec="parts.md §7",
    )
    b.case(
        "mark-with-forged-signature",
        "A mark that the gateway never signed.",
        stream_story(member("signature", b64(bytes(64)))),
        BYTES,
        "mark.signature",
        spec="parts.md §7",
    )


# --- statements -----------------------------------------------------------------------------------------------------


def bad_statements(b: Bundles) -> None:
    """Statements that may not be believed."""
    nodes = world.trust_value(2)["nodes"]

    def gateway(**change: Any) -> dict[str, Any]:
        return world.usual_trust(nodes=[{**nodes[0], **change}, *nodes[1:]])

    more = {"bug": "WRONG_ATTESTER", "spec": "statement.md §7"}
    b.case(
        "unknown-key", "The gateway is not in trust.", Story(Turn(node=STRANGER)), BOTH, "statement.unknown-key", **more
    )
    b.case(
        "stolen-name",
        "Signed by a stranger in the gateway's name.",
        Story(Turn(route_signer=STRANGER.statement_key, execution_signer=STRANGER.statement_key)),
        BOTH,
        "statement.signature",
        **more,
    )
    b.case(
        "execution-by-another-key",
        "A good route; the execution in the gateway's name by somebody else.",
        Story(Turn(execution_signer=STRANGER.statement_key)),
        {"bytes": REFUTED, "route": GOOD["route"]},
        "statement.signature",
        **more,
    )
    b.case(
        "execution-by-another-gateway",
        "Two admitted gateways: one routed, the other claims to have answered.",
        Story(Turn(execution_node=HARDWARE_GATEWAY)),
        BOTH,
        "trace.rules",
        **{**more, "spec": "trace.md §2(4)"},
    )
    altered = Story()
    item = altered.items("statement")[1]
    item["envelope"]["payload"] = b64(
        unb64(item["envelope"]["payload"]).replace(b'"outcome":"complete"', b'"outcome":"no.answer"')
    )
    b.case("altered-statement", "One word of a signed statement.", altered, BYTES, "statement.signature", **more)
    b.case("wrong-role", "A data node speaks as a gateway.", Story(Turn(node=DATA)), BOTH, "statement.role", **more)
    b.case(
        "revoked-key",
        "The key was suspect before the run.",
        Story(),
        BOTH,
        "statement.key-revoked",
        trust=gateway(revoked={"at": AT, "suspect_since": when(START, plus_ms=-60_000), "reason": "key-stolen"}),
        **more,
    )
    b.case(
        "key-suspect-between-claim-and-cosignatures",
        "Claimed before the theft, dated by a quorum after it: a thief can claim any time, so this supports nothing.",
        Story(),
        BOTH,
        "statement.key-revoked",
        trust=gateway(revoked={"at": AT, "suspect_since": when(START, plus_ms=2000), "reason": "key-stolen"}),
        bug="BACKDATED",
        spec="statement.md §8",
    )
    undated = Story(cosigned_by=[])
    b.case(
        "revoked-key-undated",
        "Without a quorum's date the span reaches up to `at`: the revocation lies in it.",
        undated,
        BOTH,
        "statement.key-revoked",
        trust=gateway(revoked={"at": AT, "suspect_since": when(START, plus_ms=300_000), "reason": "key-stolen"}),
        bug="BACKDATED",
        spec="statement.md §8",
    )
    b.case(
        "revoked-key-undated-and-asked-about-an-earlier-time",
        "A thief hands over a bundle whose own time lies before the theft: nothing but claims says that it was made then.",
        undated,
        BOTH,
        "statement.key-revoked",
        trust=gateway(
            revoked={
                "at": "2026-06-01T00:00:00.000Z",
                "suspect_since": "2026-05-01T00:00:00.000Z",
                "reason": "key-stolen",
            }
        ),
        bug="BACKDATED",
        spec="lanes.md §3",
    )
    b.case(
        "two-cosignatures-date-nothing",
        "Half the stake's cosignatures are no trusted time: the span reaches up to `at`, where the key is suspect.",
        Story(cosigned_by=FULL[:2]),
        BOTH,
        "statement.key-revoked",
        trust=gateway(revoked={"at": AT, "suspect_since": when(START, plus_ms=300_000), "reason": "key-stolen"}),
        bug="BACKDATED",
        spec="statement.md §8",
    )
    b.case(
        "key-not-yet-valid",
        "The admission begins after the run.",
        Story(),
        BOTH,
        "statement.key-not-yet-valid",
        trust=gateway(valid_from=when(START, plus_ms=60_000)),
        **more,
    )
    b.case(
        "key-expired",
        "The admission ended before the run.",
        Story(),
        BOTH,
        "statement.key-expired",
        trust=gateway(valid_until=START),
        **more,
    )
    b.case(
        "key-expired-before-the-claim-undated",
        "Nobody dated the statements, and by their own claim the key had run out already.",
        Story(cosigned_by=[]).without("finality"),
        BOTH,
        "statement.key-expired",
        trust=gateway(valid_until=START),
        **more,
    )
    b.case(
        "backdated",
        "A quorum first saw the statements eleven minutes after the time they claim.",
        Story(cosigned_at=when(START, plus_ms=660_000)),
        {"settlement": REFUTED},
        "statement.backdated",
        at="2026-01-01T01:00:00.000Z",
        bug="BACKDATED",
        spec="statement.md §8",
    )
    strict = {**world.POLICY, "name": "strict", "max_span_s": 2}
    b.case(
        "backdated-by-a-stricter-policy",
        "The same good bundle under a policy with a bound of two seconds.",
        Story(),
        {"settlement": REFUTED},
        "statement.backdated",
        policy=strict,
        bug="BACKDATED",
        spec="lanes.md §4",
    )
    b.case(
        "from-the-future",
        "A quorum saw the statements a minute before the time they claim.",
        Story(cosigned_at=when(START, plus_ms=-60_000)),
        {"settlement": REFUTED},
        "statement.future",
        bug="BACKDATED",
        spec="statement.md §8",
    )
    b.case(
        "trust-below-threshold",
        "The trust file itself is not signed by enough roots.",
        Story(),
        None,
        "trust.threshold",
        trust=world.trust_file(world.sign_trust(world.first_version(), ROOTS[:1])),
        bug="TRUST",
        spec="trust.md §2",
    )


def bad_traces(b: Bundles) -> None:
    """Traces that contradict themselves."""
    good = Turn()
    more = {"bug": "BROKEN_TRACE", "spec": "trace.md §2"}
    b.case(
        "reordered-in-the-log",
        "The execution stands before its route in the log.",
        Story(order=lambda entries: entries[::-1]),
        SETTLEMENT,
        "trace.order",
        bug="BROKEN_TRACE",
        spec="trace.md §4",
    )
    b.case(
        "missing-parent",
        "The closing statement names a route that is not here: nobody can tell what was asked.",
        drop_statement(Story(), 0),
        {"bytes": ["unknown", None]},
        expect="undecided",
        require=["bytes=proven"],
        **more,
    )
    b.case(
        "missing-parent-is-not-proven",
        "The same without a requirement: unknown is the honest state, not a refusal.",
        drop_statement(Story(), 0),
        {"bytes": ["unknown", None], "settlement": PENDING},
        **more,
    )
    other = Turn("other")
    mixed = Story()
    mixed.add("statement", 1900, envelope=other.execution.envelope)
    b.case(
        "statement-of-another-run", "An execution of another run among the evidence.", mixed, BOTH, "trace.run", **more
    )
    moved = Story().bundle()
    moved["run"] = run_id("other")
    b.case("bundle-of-another-run", "Good evidence under another run's id.", moved, BYTES, "trace.run", **more)
    again = Turn("good", execution_at=when(START, plus_ms=1900), outcome="upstream.cut")
    b.case(
        "duplicate-closure",
        "Two closing statements of one run, both well signed: which answer did the caller get?",
        Story(good, extra=[again.execution]),
        BOTH,
        "trace.closures",
        bug="EQUIVOCATION",
        spec="trace.md §2(7)",
    )
    second = Turn("good", route_at=when(START, plus_ms=130))
    b.case(
        "two-routes",
        "Two route statements of one run.",
        Story(good, extra=[second.route]),
        BOTH,
        "trace.routes",
        **more,
    )
    swapped = Turn(execution_change=lambda value: value["predicate"].__setitem__("upstream", "large.provider"))
    b.case(
        "another-upstream",
        "The execution names another upstream than the route.",
        Story(swapped),
        BOTH,
        "trace.rules",
        bug="SUBSTITUTION",
        spec="trace.md §2(4)",
    )
    nonced = Turn(execution_change=lambda value: value["predicate"].__setitem__("nonce", "nonce-of-a-client-2"))
    b.case(
        "another-nonce",
        "Route and execution carry different nonces of the client.",
        Story(nonced),
        BOTH,
        "trace.rules",
        **more,
    )
    asked = Turn("good", route_at=when(START, plus_ms=130))
    asked.execution = good.execution
    b.case(
        "closing-of-another-route",
        "The closing statement follows from another route of the run than the one that is shown: what this one tells is not what was done.",
        Story(asked),
        BOTH,
        "trace.rules",
        bug="SUBSTITUTION",
        spec="trace.md §2(4)",
    )
    stranger = left(good, "ab" * 32, nonce="nonce-of-a-client-2")
    b.case(
        "two-nonces",
        "A statement that answers to another nonce, and whose parent is not here: somebody else's question under this run's id.",
        Story(good, extra=[stranger]),
        BOTH,
        "trace.rules",
        bug="BROKEN_TRACE",
        spec="trace.md §2(1)",
    )


def drop_statement(story: Story, which: int) -> Story:
    """Leave one statement item out."""
    item = story.items("statement")[which]
    story.journal.remove(item)
    return story


# --- settlement -----------------------------------------------------------------------------------------------------


def bad_settlement(b: Bundles) -> None:
    """Log, rounds and finality that do not hold."""
    b.case(
        "forged-inclusion",
        "One hash of the inclusion path is made up: the statement was never in the log.",
        edited(Story(), "inclusion", lambda item: item["proof"].__setitem__(0, "11" * 32)),
        SETTLEMENT,
        "log.inclusion",
        bug="FORGED_PROOF",
    )
    b.case(
        "inclusion-of-another-entry",
        "The neighbour's path and index.",
        edited(
            Story(),
            "inclusion",
            lambda item: item.update({k: v for k, v in Story().items("inclusion")[1].items() if k != "digest"}),
        ),
        SETTLEMENT,
        "log.inclusion",
        bug="FORGED_PROOF",
    )
    story = Story()
    other = Ledger([*story.ledger.entries[:5], world.neighbour("forked")[1]])
    story.add("checkpoint", 3200, note=other.note)
    b.case(
        "split-view",
        "The log signed two trees of one size: it shows different histories to different people. Both notes together convict it.",
        story,
        SETTLEMENT,
        "log.equivocation",
        bug="SPLIT_VIEW",
        spec="checkpoint.md §2(3)",
    )
    b.case(
        "checkpoint-by-another-key",
        "The checkpoint is signed in the log's name by another log's key.",
        Story(signed_by=OTHER_LOG),
        SETTLEMENT,
        "note.unsigned",
        bug="FORGED_CHECKPOINT",
        spec="checkpoint.md §2",
    )
    broken = Story()
    text = broken.ledger.text
    line = notes.line(ORIGIN, notes.LOG_SIGNATURE, LOG.keys["log"].public, OTHER_LOG.keys["log"].sign(text.encode()))
    broken.items("checkpoint")[0]["note"] = notes.note(text, line)
    b.case(
        "checkpoint-with-forged-signature",
        "The right key id, the wrong signature.",
        broken,
        SETTLEMENT,
        "note.signature",
        bug="FORGED_CHECKPOINT",
        spec="checkpoint.md §2",
    )
    cosigned = Story()
    key = FULL[0].keys["cosignature"]
    seconds = posix_ms(when(START, plus_ms=3000)) // 1000
    forged = notes.line(
        FULL[0].name,
        notes.COSIGNATURE,
        key.public,
        seconds.to_bytes(8, "big") + OUTSIDER.keys["cosignature"].sign(b"x"),
    )
    cosigned.items("checkpoint")[0]["note"] = notes.note(
        text, notes.log_line(ORIGIN, LOG.keys["log"], text), forged, *cosigned.ledger.cosignatures[1:]
    )
    b.case(
        "forged-cosignature",
        "A full node's name and key id over a signature it never made: somebody tried to date this.",
        cosigned,
        SETTLEMENT,
        "note.signature",
        bug="FORGED_COSIGNATURE",
        spec="checkpoint.md §3",
    )
    unknown = Story(origin="log.example/2")
    b.case(
        "log-not-in-trust",
        "A log that trust does not name settles nothing: nobody can tell.",
        unknown,
        {"settlement": PENDING, "bytes": GOOD["bytes"]},
        require=["settlement=proven"],
        expect="undecided",
        spec="trust.md §1",
    )
    beside = Story()
    beside.add("checkpoint", 3200, note=Story(origin="log.example/2").ledger.note)
    b.case(
        "checkpoint-of-an-unknown-log-beside",
        "Somebody added the checkpoint of a log that trust does not name. It is not used, so it takes nothing away.",
        beside,
        GOOD,
        spec="bundle.md §3",
    )
    beside = Story()
    beside.add("checkpoint", 3200, note="all is well")
    b.case(
        "checkpoint-that-is-no-note",
        "What is shown as a checkpoint is no signed note: whatever it was, it was damaged.",
        beside,
        SETTLEMENT,
        "note.structure",
        bug="FORGED_CHECKPOINT",
        spec="bundle.md §3",
    )
    beside = Story()
    beside.add("candidate", 3200, round={**beside.items("candidate")[0]["round"], "origin": "log.example/2"})
    b.case(
        "round-of-another-log",
        "A candidate of a second log stands beside: what is said of one tree must not answer for another.",
        beside,
        SETTLEMENT,
        "bundle.origins",
        bug="SPLIT_VIEW",
        spec="bundle.md §3",
    )
    beside = Story()
    grown = Ledger([*beside.ledger.entries, world.neighbour("grown")[1]])
    beside.add("checkpoint", 3200, note=grown.note)
    path = [step.hex() for step in tree.inclusion(grown.leaves, 2)]
    beside.items("inclusion")[0].update(size=grown.size, proof=path)
    b.case(
        "included-beside-the-round",
        "A path leads from the route to a checkpoint, and none to the tree of the final round that speaks of it.",
        beside,
        {"bytes": GOOD["bytes"], "settlement": PENDING},
        require=["settlement=proven"],
        expect="undecided",
        bug="FORGED_PROOF",
        spec="lanes.md §3(3)",
    )

    more = {"bug": "FORGED_VERDICT", "spec": "round.md §5"}
    b.case(
        "refuted-by-a-quorum",
        "Full nodes found that the execution does not hold, and more than two thirds said so for ever.",
        Story(codes={3: "refuted:signature"}),
        {"settlement": ["refuted", "proof"]},
        "round.refuted",
        bug="REFUTED",
        spec="round.md §5",
    )
    b.case(
        "refuted-route",
        "A refuted ancestor refutes the closure.",
        Story(codes={2: "refuted:role"}),
        {"settlement": ["refuted", "proof"]},
        "round.refuted",
        bug="REFUTED",
        spec="lanes.md §3(3)",
    )
    lied = Story(codes={3: "refuted:signature"})
    for item in lied.items("verdict"):
        item["code"] = "ok"
    b.case(
        "false-ok",
        "The round refuted the execution; the bundle shows `ok` with the refutation's path.",
        lied,
        SETTLEMENT,
        "round.verdict_inclusion",
        **more,
    )
    alone = Story(finality_by=FULL[:1])
    b.case(
        "proposers-lie",
        "A proposer's candidate full of `ok`, called final by the proposer alone: a lie without a quorum settles nothing.",
        alone,
        {"settlement": PENDING},
        require=["settlement=proven"],
        expect="undecided",
        spec="round.md §4.3",
    )
    unsaid = Story().without("finality")
    b.case(
        "candidate-is-no-finality",
        "A candidate and all votes without finality messages.",
        unsaid,
        {"settlement": PENDING},
        spec="bundle.md §2",
    )
    b.case(
        "forged-verdict-path",
        "A made-up step in a verdict's path.",
        edited(Story(), "verdict", lambda item: item["proof"].__setitem__(0, "11" * 32), 1),
        SETTLEMENT,
        "round.verdict_inclusion",
        **more,
    )
    b.case(
        "verdict-of-another-statement",
        "The neighbour's good verdict under this statement's digest.",
        edited(Story(), "verdict", lambda item: item.update(digest=Story().turn.route.digest), 1),
        SETTLEMENT,
        "round.verdict_inclusion",
        **more,
    )
    shifted = Story(digests={4: Turn().execution.digest})
    item = copy.deepcopy(shifted.items("verdict")[1])
    item.update({"index": 4, "digest": Turn().execution.digest, "code": "ok", **shifted.ledger.verdicts.path(4)})
    shifted.journal[shifted.journal.index(shifted.items("verdict")[1])] = item
    b.case(
        "verdict-at-another-index",
        "A round that gives this statement's digest a verdict at an entry where something else stands.",
        shifted,
        SETTLEMENT,
        "round.verdict_index",
        **more,
    )
    missing = Story()
    missing.journal.remove(missing.items("verdict")[1])
    b.case(
        "verdict-missing",
        "Final, but no verdict on the execution is shown: silence is no ok.",
        missing,
        {"settlement": PENDING},
        require=["settlement=proven"],
        expect="undecided",
        spec="lanes.md §3(3)",
    )
    uninclusive = Story()
    uninclusive.journal.remove(uninclusive.items("inclusion")[1])
    b.case(
        "inclusion-missing",
        "Final with verdict ok, but nothing shows that the statement is the one at that place.",
        uninclusive,
        {"settlement": PENDING},
        require=["settlement=proven"],
        expect="undecided",
        spec="lanes.md §3(3)",
    )

    false = {"bug": "FALSE_FINALITY", "spec": "round.md §4.3"}
    outsider = rounds.finality(SEPARATOR, OUTSIDER.keys["vote"], Story().ledger.candidate)
    b.case(
        "finality-with-an-outsider",
        "A message by somebody without stake fills the set.",
        edited(Story(finality_by=FULL[:2]), "finality", lambda item: item["messages"].append(outsider)),
        SETTLEMENT,
        "round.signer",
        **false,
    )
    b.case(
        "finality-of-another-content",
        "Good messages of a quorum, shown with another candidate: its verdicts are not what they signed.",
        edited(Story(), "finality", lambda item: item["round"].update(verdict_root="11" * 32)),
        SETTLEMENT,
        "round.mixed",
        **false,
    )
    b.case(
        "finality-for-another-chain",
        "Messages for the same round on another chain.",
        edited(
            Story(),
            "finality",
            lambda item: item.update(
                messages=[
                    rounds.finality(rounds.domain(1, world.CONTRACT), node.keys["vote"], item["round"]) for node in FULL
                ]
            ),
        ),
        SETTLEMENT,
        "round.signer",
        **false,
    )
    b.case(
        "finality-of-another-epoch",
        "The candidate names an epoch that trust does not give this round.",
        Story(epoch=2),
        SETTLEMENT,
        "trust.epoch",
        **false,
    )
    forked = Story()
    rival = Ledger(forked.ledger.entries, codes={3: "refuted:signature"})
    forked.add("finality", 9000, round=rival.candidate, messages=rival.finality(FULL))
    b.case(
        "two-final-contents",
        "More than two thirds called two contents of one round final: at least a third signed twice. Neither settles anything.",
        forked,
        SETTLEMENT,
        "round.equivocation",
        bug="EQUIVOCATION",
        spec="round.md §6",
    )
    rooted = Story()
    fake = Ledger([*rooted.ledger.entries[:5], world.neighbour("forked")[1]])
    b.case(
        "round-over-another-tree",
        "A final round whose root is not the checkpoint's at that size: log and full nodes disagree about history, and no path leads to both.",
        replace_checkpoint(rooted, fake.note),
        SETTLEMENT,
        "log.inclusion",
        bug="SPLIT_VIEW",
        spec="bundle.md §3",
    )


def replace_checkpoint(story: Story, note: str) -> Story:
    """Another checkpoint in the place of the first."""
    story.items("checkpoint")[0]["note"] = note
    return story


# --- private mode ---------------------------------------------------------------------------------------------------


def private(b: Bundles) -> None:
    """Only commitments are logged (statement.md §9)."""

    def story(change: Callable[[list[dict[str, Any]]], None] | None = None, *, show: bool = True) -> Story:
        turn = Turn(
            "private", run=world.private_run_id("private"), settlement="private", route_at=START, execution_at=START
        )
        prk = parts.pseudo_random_key(turn.run, turn.secret)
        made = [commitment(prk, item) for item in (turn.route, turn.execution)]
        told = Story(turn)
        opened = [
            {"kind": "commitment", "at": when(START, plus_ms=2000), "entry": b64(entry), "salt": salt.hex()}
            for entry, salt in made
        ]
        if change:
            change(opened)
        log = Ledger([*world.neighbour("before"), *(entry for entry, _ in made), *world.neighbour("after")])
        kept = [item for item in told.journal if item["kind"] in ("statement", "note", "document")]
        told.journal = kept + (opened if show else [])
        for index, (entry, _) in enumerate(made, start=2):
            digest = sha(entry).hex()
            told.add("entry", 2200, digest=digest, index=index)
            told.add(
                "inclusion",
                2600,
                digest=digest,
                index=index,
                size=log.size,
                proof=[step.hex() for step in tree.inclusion(log.leaves, index)],
            )
        told.add("checkpoint", 3100, note=log.note)
        for index, (entry, _) in enumerate(made, start=2):
            told.add(
                "verdict",
                7000,
                number=2,
                index=index,
                digest=sha(entry).hex(),
                code="cannot_tell",
                **log.verdicts.path(index),
            )
        told.add("finality", 8000, round=log.candidate, messages=log.finality(FULL))
        return told

    more = {"spec": "statement.md §9", "suite": "lanes"}
    b.case(
        "private-logged",
        "Existence logged, never checked: unknown, for ever, and bytes are proven to whoever holds the envelopes.",
        story(),
        {"bytes": GOOD["bytes"], "settlement": ["unknown", None]},
        **more,
    )
    b.case(
        "private-is-not-proven",
        "No finality makes a commitment's content checked.",
        story(),
        None,
        require=["settlement=proven"],
        expect="undecided",
        **more,
    )
    b.case(
        "private-not-opened",
        "Commitments that nobody opens could be anybody's.",
        story(show=False),
        {"bytes": GOOD["bytes"], "settlement": PENDING},
        **more,
    )
    b.case(
        "private-other-salt",
        "A commitment that does not open with the salt shown.",
        story(lambda opened: opened[0].update(salt="00" * 32)),
        SETTLEMENT,
        "commitment.opening",
        spec="statement.md §9",
    )
    stranger = jcs({"commitment": sha(b"something else").hex(), "type": "urn:holdfast:commitment:v1"})
    b.case(
        "private-other-commitment",
        "A commitment to something else, shown for this run.",
        story(lambda opened: opened[1].update(entry=b64(stranger))),
        SETTLEMENT,
        "commitment.opening",
        spec="statement.md §9",
    )


def commitment(prk: bytes, item: Statement) -> tuple[bytes, bytes]:
    """The entry that stands for a private statement, and the salt that opens it."""
    info = b"holdfast/salt/v1/commitment/" + item.digest.encode()
    salt = hmac.new(prk, info + b"\x01", hashlib.sha256).digest()
    value = sha(salt + bytes.fromhex(item.digest)).hex()
    return jcs({"commitment": value, "type": "urn:holdfast:commitment:v1"}), salt


# --- shapes ---------------------------------------------------------------------------------------------------------


def shapes(b: Bundles) -> None:
    """Bundles that do not parse."""
    good = bundle_text(Story().bundle())

    def case(
        name: str, why: str, content: str | bytes | Story | dict[str, Any], code: str, spec: str = "bundle.md §1"
    ) -> None:
        b.case(name, why, content, None, code, expect="malformed", spec=spec, bug="MALFORMED_BUNDLE")

    crowd = Story()
    for _ in range(17):
        crowd.add("document", 1, document="request", text="{}", secret="00" * 32)
    case(
        "too-many-documents",
        "A run has three documents: whoever sends seventeen wants to keep the reader busy.",
        crowd,
        "bundle.count",
        "bundle.md §2",
    )
    unknown = Story()
    unknown.add("screenshot", 1, image="AA==")
    case(
        "unknown-kind",
        "Evidence of a kind nobody knows: a verifier that skips it would say less than the bundle claims.",
        unknown,
        "bundle.kind",
        "bundle.md §2",
    )
    case("duplicate-key", "Two journals in one file.", good.rstrip()[:-1] + ',"journal":[]}', "json.duplicate_key")
    case("not-json", "Not JSON.", good[:-10], "json.syntax")
    case("byte-order-mark", "UTF-8 without a byte-order mark.", "\ufeff" + good, "json.syntax")
    case(
        "deep-nesting",
        "An evidence item that nests deeper than any reader should follow.",
        good.replace('"journal":[', '"journal":[' + "[" * 70 + "]" * 70 + ","),
        "json.depth",
        "conventions.md §3(1)",
    )
    case(
        "unknown-member",
        "A bundle has exactly four members; a summary is none of them.",
        {**Story().bundle(), "verified": True},
        "bundle.fields",
    )
    case(
        "other-type",
        "A bundle of another version.",
        {**Story().bundle(), "type": "urn:holdfast:bundle:v2"},
        "bundle.fields",
    )
    case("run-not-an-id", "The run is a run id.", {**Story().bundle(), "run": "run-1"}, "bundle.run")
    case(
        "item-with-more",
        "An item has exactly its members.",
        edited(Story(), "checkpoint", member("verified", True)),
        "bundle.fields",
        "bundle.md §2",
    )
    case(
        "item-without-time",
        "Every item says when the exporter came to know it.",
        edited(Story(), "note", lambda item: item.pop("at")),
        "bundle.fields",
        "bundle.md §2",
    )
    case(
        "note-is-a-sentence",
        "A note is a code.",
        edited(Story(), "note", member("code", "Everything went fine")),
        "bundle.fields",
        "bundle.md §2",
    )
    case(
        "index-as-text",
        "Integers are JSON integers.",
        edited(Story(), "entry", member("index", "2")),
        "bundle.number",
        "bundle.md §2",
    )
    case(
        "proof-too-long",
        "No tree is higher than 64.",
        edited(Story(), "inclusion", member("proof", ["11" * 32] * 65)),
        "bundle.proof",
        "bundle.md §2",
    )
    case(
        "digest-upper-case",
        "One spelling of a digest.",
        edited(Story(), "entry", lambda item: item.update(digest=item["digest"].upper())),
        "encoding.hex",
        "conventions.md §2",
    )

    def payload(name: str, why: str, change: Callable[[bytes], bytes], code: str) -> None:
        story = Story()
        item = story.items("statement")[1]
        item["envelope"] = envelope(change(unb64(item["envelope"]["payload"])), [GATEWAY.statement_key])
        case(name, why, story, code, "statement.md §2")

    payload(
        "float-in-a-statement",
        "A float in signed JSON.",
        lambda raw: raw.replace(b'"size":', b'"size":1.5,"x":', 1),
        "json.float",
    )
    payload(
        "white-space-in-a-statement",
        "Signed JSON has one spelling.",
        lambda raw: raw.replace(b",", b", "),
        "json.spelling",
    )
    payload(
        "duplicate-key-in-a-statement",
        "Two outcomes in one statement, well signed.",
        lambda raw: raw.replace(b'"outcome":', b'"outcome":"failed","outcome":'),
        "json.duplicate_key",
    )
    payload(
        "lone-surrogate-in-a-statement",
        "A string without bytes.",
        lambda raw: raw.replace(b'"complete"', b'"\\udfff"'),
        "json.surrogate",
    )
    payload(
        "text-in-a-statement",
        "Free text in a logged statement.",
        lambda raw: raw.replace(b'"complete"', b'"complete, as Ann asked"'),
        "statement.code",
    )
    typed = Story()
    typed.items("statement")[0]["envelope"]["payloadType"] = "application/json"
    case("other-payload-type", "An envelope that is no in-toto statement.", typed, "envelope.fields", "statement.md §1")
    high = edited(Story(), "finality", lambda item: item["messages"][0].update(signature="00" * 65))
    case("signature-of-zeros", "A signature that no key can make.", high, "evm.signature", "round.md §4")


def policies(out: Writer) -> None:
    """Policies (lanes.md §4)."""
    good = world.POLICY
    full = {
        **good,
        "require": {
            "bytes": {"states": ["proven"], "bases": ["signature", "hardware"]},
            "settlement": {"states": ["proven"], "bases": ["proof"]},
        },
    }

    def case(name: str, why: str, content: Any, code: str | None = None) -> None:
        raw = content if isinstance(content, bytes) else jcs(content)
        out.case(
            f"lanes/policy-{name}",
            why,
            spec="lanes.md §4",
            run=["check-policy", "policy.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="POLICY" if code else None,
            result=None if code else {"digest": sha(raw).hex()},
            files={"policy.json": raw},
        )

    case("with-requirements", "States and bases by lane; its digest is that of its bytes.", full)
    case(
        "unknown-lane",
        "Eleven lanes: a misspelt one would never be asked.",
        {**good, "require": {"byte": {"states": ["proven"], "bases": []}}},
        "policy.require",
    )
    case(
        "unknown-state",
        "A state that no lane can have.",
        {**good, "require": {"bytes": {"states": ["verified"], "bases": []}}},
        "policy.require",
    )
    case(
        "overall",
        "There is no lane for everything.",
        {**good, "require": {"overall": {"states": ["proven"], "bases": []}}},
        "policy.require",
    )
    case("negative-bound", "Bounds are whole seconds from 0.", {**good, "max_span_s": -1}, "policy.fields")
    case(
        "white-space",
        "A policy has one spelling, since its digest names it.",
        exact_text(good).replace(",", ", ").encode(),
        "json.spelling",
    )
    case("unknown-member", "A policy has exactly its members.", {**good, "verified": True}, "policy.fields")
