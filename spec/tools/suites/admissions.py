"""Admissions in all suites they touch: their form, whether they hold, who may say them, what a route may name (admission.md)."""

from __future__ import annotations

from typing import Any

from reference.admissions import (
    HOST,
    Admission,
    answer,
    combined,
    decimal,
    document,
    exchange,
    http,
    limits,
    observation,
    of_rows,
    quorum,
    rule,
    source,
    tls,
)
from reference.cases import Writer
from reference.signing import Node
from reference.text import exact_text, jcs, when
from reference.world import (
    DATA,
    GATEWAY,
    SENT,
    START,
    STRANGER,
    Story,
    Turn,
    admit,
    trust_value,
    usual_trust,
)

from .bundles import GOOD, Bundles
from .kinds import SEEN, Attesters, Payloads, put

SECOND = Node("data-2.example", ["data"], ["statement"])
"""Another data node."""
TRUST = "trust-with-data-nodes.json"
"""A shared file: the usual trust, which admits one data node, and another."""
OTHER_DIGEST = "11" * 32


def trust_with_data_nodes() -> dict[str, Any]:
    """The usual trust, and a second data node."""
    return usual_trust(nodes=[*trust_value(2)["nodes"], admit(SECOND)])


def write(out: Writer) -> None:
    """Write all of them."""
    out.shared(TRUST, exact_text(trust_with_data_nodes()) + "\n")
    documents(out)
    exchanges(out)
    quorums(out)
    payloads(out)
    attesters(out)
    traces(out)
    bundles = Bundles(out)
    lanes(bundles)
    refuted(bundles)


class Documents:
    """Cases that read one document and ask whether it holds."""

    def __init__(self, out: Writer, kind: str) -> None:
        self._out, self._kind = out, kind

    def __call__(
        self, name: str, why: str, value: dict[str, Any] | bytes, code: str | None = None, *, expect: str = "malformed"
    ) -> None:
        self._out.case(
            f"admission/{self._kind}-{name}",
            why,
            spec="admission.md §5" if self._kind == "quorum" else "admission.md §3",
            run=["decode", "admission-document", "document.json"],
            expect=expect if code else "accept",
            code=code,
            bug=("FALSE_ADMISSION" if expect == "reject" else "MALFORMED_ADMISSION") if code else None,
            files={"document.json": value if isinstance(value, bytes) else jcs(value)},
        )


def seen(**change: Any) -> dict[str, Any]:
    """A document of one observation, one thing changed."""
    return document(observation=observation(**change))


def asked(**change: Any) -> dict[str, Any]:
    """A document of one request, one thing changed."""
    return seen(request={**observation()["request"], **change})


def documents(out: Writer) -> None:
    """The document of one source (§2, §3), and whether it holds (§3(6))."""
    case = Documents(out, "document")
    case("admitted", "A rate: who was asked over which session, what came, and what was taken from it.", document())
    case("refused", "Asked, and not taken: the value is too old.", document(event="refused"))
    unreached = observation(
        request=None, tls=None, http=None, extraction=None,
        times={"requested": when(START, plus_ms=-5000), "first_byte": None, "source": None},
    )  # fmt: skip
    case(
        "unreached",
        "Nobody answered: nothing was observed, and nothing is told.",
        document(
            event="refused", observation=unreached, refusal={"code": "source.unreachable", "says": "Nobody answers."}
        ),
    )
    case("without-a-pin", "Whatever the roots vouch for.", seen(limits=limits(pins=[])))
    case("own-time", "The source says of when its value is.", seen(times=times(source=-7_000)))
    case("within-the-skew", "The source's clock is a little ahead.", seen(times=times(source=0)))
    case("from-a-cache", "An answer can be older than its question.", seen(http=http(headers={"age": "50"})))
    text = {"type": "text", "text": "Open until five.", "unit": None}
    case(
        "text", "A text has no range.",
        seen(extraction={"kind": "css", "path": "#hours", "value": text}, limits=limits(range=None)),
    )  # fmt: skip
    case("redirect-to-itself", "A redirect within the host.", seen(http=http(hosts=[HOST])))

    case("unknown-member", "An opinion is no observation.", document(opinion="good"), "admission.fields")
    case("unknown-event", "Three events.", document() | {"event": "believed"}, "admission.fields")
    case("without-observation", "Admitted from where?", document(observation=None), "admission.event")
    case("without-value", "Admitted what?", seen(extraction=None), "admission.event")
    case("without-answer", "Admitted, and nothing came.", seen(http=None), "admission.event")
    case(
        "refused-with-value", "What is refused is not shown as if it were admitted.",
        document(event="refused", observation=observation()), "admission.event",
    )  # fmt: skip
    case(
        "admitted-with-refusal", "Admitted and refused.",
        document(refusal={"code": "source.stale", "says": "Or is it?"}), "admission.event",
    )  # fmt: skip
    case("value-as-number", "A number in JSON is read in more than one way.",
         seen(extraction={"kind": "json-pointer", "path": "/rate", "value": decimal("1.0842") | {"text": 1}}),
         "admission.value")  # fmt: skip
    case("value-spelt-twice", "1.50 is 1.5.", seen(text="1.50"), "admission.decimal")
    case("value-minus-nothing", "There is no -0.", seen(text="-0"), "admission.decimal")
    case("host-in-capitals", "One spelling of a host.", asked(host=HOST.upper()), "admission.request")
    case("host-with-path", "A host is no URL: what was asked stands in parameters.", asked(host=HOST + "/x"),
         "admission.request")  # fmt: skip
    case("old-protocol", "TLS 1.1 is nobody's.", seen(tls=tls(protocol="TLSv1.1")), "admission.tls")
    case("cookie", "Headers that say how old a thing is, and no others.",
         seen(http=http(headers={"set-cookie": "id=1"})), "admission.http")  # fmt: skip
    case("range-backwards", "A range begins before it ends.", seen(limits=limits(range={"least": "2", "most": "1"})),
         "admission.limits")  # fmt: skip
    case("white-space", "The record commits to bytes, so a document has one spelling.",
         exact_text(document()).replace(",", ", ").encode(), "json.spelling")  # fmt: skip
    case("too-large", "At most 262,144 bytes are read.", jcs(document()) + b" " * 262_144, "admission.size")

    def refused(name: str, why: str, value: dict[str, Any], code: str) -> None:
        case(name, why, value, f"admission.{code}", expect="reject")

    refused("of-an-error", "The source answered that it could not.", seen(http=http(status=503)), "status")
    refused("redirected-away", "Another host answered.", seen(http=http(hosts=["rates.example.net"])), "redirected")
    refused("unverified", "No root vouches for the peer.", seen(tls=tls(roots=None)), "certificate")
    refused("another-name", "A certificate for somebody else.", seen(tls=tls(sni="mirror.example")), "certificate")
    refused("another-key", "The roots vouch for it, the definition does not.", seen(tls=tls(spki=OTHER_DIGEST)),
            "certificate")  # fmt: skip
    refused("another-certificate", "The chain begins with another certificate.",
            seen(tls=tls(certificate=OTHER_DIGEST)), "certificate")  # fmt: skip
    refused("pinned-without-tls", "A pin, and no session to hold it against.", seen(tls=None), "certificate")
    refused("from-the-future", "The source's clock is far ahead.", seen(times=times(source=2_000)), "clock_skew")
    refused("answered-before-it-was-asked", "The first byte came before the question.",
            seen(times=times(first_byte=-6_000)), "times")  # fmt: skip
    refused(
        "decided-before-it-came", "Decided on an answer to come.", document(at=when(START, plus_ms=-5_000)), "times"
    )
    refused("stale", "Fresh for a minute, and admitted after it.", seen(times=times(source=-70_000)), "stale")
    refused("stale-in-a-cache", "Fresh for a minute, and kept by a cache for longer.",
            seen(http=http(headers={"age": "61"})), "stale")  # fmt: skip
    refused("above-its-range", "Two dollars and a bit.", seen(text="2.0001"), "range")
    refused("below-its-range", "Less than half.", seen(text="0.4999"), "range")
    refused("text-in-a-range", "A text where a number is asked for.",
            seen(extraction={"kind": "json-pointer", "path": "/rate", "value": text}), "range")  # fmt: skip


def exchanges(out: Writer) -> None:
    """What went over something else than HTTP (§3(7))."""
    case = Documents(out, "exchange")
    text = {"type": "text", "text": "Open until five.", "unit": None}

    def rows(**change: Any) -> dict[str, Any]:
        return document(observation=of_rows(**change))

    def changed(**change: Any) -> dict[str, Any]:
        return rows(exchange=exchange(**change))

    case("rows", "A rate out of a database: over which channel, what was asked, which rows came.", rows())
    asked = {"digest": OTHER_DIGEST, "size": 42}
    facts = {"resolver": "192.0.2.53:53", "authenticated": "true", "response-code": "0"}
    names = exchange(kind="dns", channel="udp", request=asked, facts=facts)
    case("names", "An answer of a resolver, and what it says of DNSSEC.", rows(exchange=names))
    case("rows-own-time", "A column says of when the value is.", rows(times=times(source=-7_000)))
    refusal = {"code": "source.timeout", "says": "No rows within 10 s."}
    unanswered = of_rows(extraction=None, exchange=exchange(answer=None))
    case("rows-refused", "Asked, and no rows came in time.",
         document(event="refused", observation=unanswered, refusal=refusal))  # fmt: skip

    def malformed(name: str, why: str, value: dict[str, Any], code: str = "exchange") -> None:
        case(name, why, value, code if "." in code else f"admission.{code}")

    malformed("null", "A second spelling of what went over HTTP.",
              document(observation={**observation(), "exchange": None}))  # fmt: skip
    malformed(
        "and-http", "Two answers to one question.", document(observation={**observation(), "exchange": exchange()})
    )
    malformed("and-session", "A session that the rows did not come over.", rows(tls=tls()))
    malformed("unknown-kind", "A reader could not say what was observed.", changed(kind="gopher"))
    malformed("unknown-channel", "A database is not asked by pigeon.", changed(channel="pigeon"))
    malformed("names-over-tls", "No kind goes over another's channel.", rows(exchange={**names, "channel": "tls"}))
    malformed("unknown-member", "An opinion is no observation.", changed(opinion="good"))
    malformed("without-member", "Nothing is left out: null says so.",
              rows(exchange={key: item for key, item in exchange().items() if key != "answer"}))  # fmt: skip
    malformed("fact-as-number", "A number in JSON is read in more than one way.", changed(facts={"rows": 1}))
    malformed("fact-without-code", "Facts have codes.", changed(facts={"Rows": "1"}))
    malformed("many-facts", "At most sixteen.", changed(facts={f"fact-{place}": "1" for place in range(17)}))
    malformed("size-of-nothing", "No rows are still two bytes.",
              changed(answer={"digest": OTHER_DIGEST, "size": 0}))  # fmt: skip
    malformed("digest-in-capitals", "One spelling of a digest.", changed(template="AA" * 32), "encoding.hex")
    malformed("without-answer", "Admitted, and nothing came.", changed(answer=None), "event")
    malformed("without-value", "Admitted what?", rows(extraction=None), "event")

    def refused(name: str, why: str, value: dict[str, Any], code: str) -> None:
        case(name, why, value, f"admission.{code}", expect="reject")

    refused("pinned", "A pin, and no session to hold it against.", rows(limits=limits()), "certificate")
    refused("stale", "Fresh for a minute, and read after it.", rows(times=times(source=-70_000)), "stale")
    refused("from-the-future", "The column is far ahead.", rows(times=times(source=2_000)), "clock_skew")
    refused("above-its-range", "Two dollars and a bit.", rows(text="2.0001"), "range")
    refused("text-in-a-range", "A text where a number is asked for.",
            rows(extraction={"kind": "json", "path": "$[0].rate", "value": text}), "range")  # fmt: skip


def times(*, source: int | None = None, first_byte: int = -4_900) -> dict[str, Any]:
    """Times of an observation, in milliseconds from the start."""
    return {
        "requested": when(START, plus_ms=-5_000),
        "first_byte": when(START, plus_ms=first_byte),
        "source": None if source is None else when(START, plus_ms=source),
    }


def quorums(out: Writer) -> None:
    """Several observations of one quantity (§5)."""
    case = Documents(out, "quorum")
    three = [answer("1.0842", "ecb"), answer("1.085", "fed"), answer("1.0836", "boe")]
    apart = [*three[:2], answer("1.9", "boe")]
    none = Admission("boe", "refused", observation={**observation(), "extraction": None, "source": source("boe")})

    def made(members: list[Admission], given: dict[str, Any] | None = None, **change: Any) -> dict[str, Any]:
        return combined(members, given).value | {"quorum": quorum(members, given, **change)}

    case("within-a-spread", "Three sources within the bound.", made(three))
    case("exact", "Two sources say the same.", made([answer("1.0842", "ecb"), answer("1.0842", "fed")], rule("exact")))
    case("median-with-outlier", "Two are near the median, and the third is told.", made(apart, rule("median")))
    case("relative", "A bound of two thousandths of the median.", made(three, rule(spread="0.002", relative=True)))
    case("even", "The mean of the two in the middle.", made([*three, answer("1.0838", "snb")]))
    case("disagreed", "Too far apart: no value stands for it.", made(apart))
    case("too-few", "One answer where two are asked for.", made([three[0], none]))
    case("two-units", "Dollars and euros.", made([three[0], answer("1.0842", "fed", observation={
        **observation(), "source": source("fed"),
        "extraction": {"kind": "json-pointer", "path": "/rate", "value": decimal("1.0842", "EUR")},
    })]))  # fmt: skip
    case("without-one", "A source that refused counts for nothing, and is told.", made([*three[:2], none]))

    good = made(three)["quorum"]
    case("agreed-on-nothing", "Exactly those who agree have a value.", made(three, value=None), "admission.quorum")
    case("disagreed-on-something", "An average that hides it.", made(apart, value=decimal("1.085")), "admission.quorum")
    case("without-observations", "A quorum of nobody.", made(three, observations=[]), "admission.quorum")
    case("out-of-order", "Observations stand in the order of their statements.",
         made(three, observations=good["observations"][::-1]), "admission.quorum")  # fmt: skip
    case("same-twice", "One statement counted twice.",
         made(three, observations=good["observations"][:1] * 2), "admission.quorum")  # fmt: skip
    twice = [{**good["observations"][0], "statement": f"{place:064x}"} for place in (1, 2)]
    case("source-twice", "One source asked twice through one node is one source.", made(three, observations=twice),
         "admission.twice")  # fmt: skip
    case("value-and-refusal", "A value that was refused.",
         made(three, observations=[{**good["observations"][0], "refusal": "source.stale"}]), "admission.quorum")  # fmt: skip
    case("mean", "No mean: it hides who disagrees.", made(three, rule=rule("mean")), "admission.rule")
    case("negative-bound", "A bound below nothing.", made(three, rule=rule(spread="-0.01")), "admission.rule")
    case("exact-with-bound", "Exact is exact.", made(three, rule={**rule("exact"), "spread": "0.1"}), "admission.rule")

    def refused(name: str, why: str, value: dict[str, Any]) -> None:
        case(name, why, value, "admission.rule", expect="reject")

    refused(
        "called-agreement", "Too far apart, and called agreement.", made(apart, agreed=True, value=decimal("1.085"))
    )
    refused("called-disagreement", "Within the bound, and called disagreement.", made(three, agreed=False, value=None))
    refused("another-value", "Not the median.", made(three, value=decimal("1.08")))
    refused("another-spread", "They lie further apart than is told.", made(three, spread="0.0001"))
    refused("too-few-agree", "One where two are asked for, and called agreement.",
            made([three[0], none], agreed=True, value=decimal("1.0842")))  # fmt: skip


def payloads(out: Writer) -> None:
    """The predicate (§1): what the log is told."""
    good = Admission().statement
    case = Payloads(out, good, DATA, spec="admission.md §1")
    case("", "An admission: whether something was admitted, until when it is fresh, and a commitment. Not what.")
    case("unknown-event", "Three events.", put("event", "believed"), "statement.admission")
    case("names-a-source", "A source is no word for the log.", put("source", "rates"), "statement.predicate")
    case("names-a-url", "Nor is what was asked.", put("url", f"https://{HOST}/EURUSD"), "statement.predicate")
    case("names-a-value", "Nor is what was answered.", put("value", "1.0842"), "statement.predicate")
    case("short-record", "A record has 32 bytes.", put("record", "11" * 31), "encoding.hex")
    case("admitted-for-ever", "What is admitted is fresh until some time.", put("until", None), "statement.admission")
    case("until-a-second", "The log is told the minute.", put("until", when(START, plus_ms=55_000)),
         "statement.admission")  # fmt: skip
    case("at-a-second", "The log is told the minute.", put("claimed_at", when(START, plus_ms=-4_850)),
         "statement.admission")  # fmt: skip
    case("refused-until", "A refusal is fresh at no time.", put("event", "refused"), "statement.admission")
    case("run-with-a-time", "A run id that tells when.", put("run", Turn().run), "statement.admission")
    case("answers-a-client", "A nonce would tell which run it is for.", put("nonce", "nonce-of-a-client-1"),
         "statement.admission")  # fmt: skip
    case("names-a-run", "So would a parent run.", put("parent_run", Turn().run), "statement.admission")
    case("follows-something", "What is not combined follows nothing.", put("parents", [OTHER_DIGEST]),
         "statement.admission")  # fmt: skip
    case("subject-as-parts", "A record is no tree of parts.",
         lambda value: value["subject"][0].update(digest={"holdfast-parts-v1": value["predicate"]["record"]}),
         "statement.subject")  # fmt: skip
    case("subject-is-not-the-record", "in-toto tools would show another record than the predicate.",
         lambda value: value["subject"][0].update(digest={"holdfast-record-v1": OTHER_DIGEST}),
         "statement.subject")  # fmt: skip


def attesters(out: Writer) -> None:
    """Who may say it (statement.md §6)."""
    case = Attesters(out, "admission", TRUST)
    case("by-a-data-node", "Signed by an admitted data node.", Admission().statement)
    case("by-a-gateway", "A gateway fetches nothing.", Admission(node=GATEWAY).statement, "statement.role")
    case("by-an-unknown-node", "Nobody whom trust knows.",
         Admission(node=Node("data-3.example", ["data"], ["statement"])).statement, "statement.unknown-key")  # fmt: skip
    case("in-anothers-name", "The data node is named, the signature is a stranger's.",
         Admission(signer=STRANGER.statement_key).statement, "statement.signature")  # fmt: skip


def traces(out: Writer) -> None:
    """What a route may name (trace.md §2(2), §2(3))."""

    def case(name: str, why: str, entries: list[bytes], verdicts: list[str], spec: str = "trace.md §2(3)") -> None:
        refuted = [code.removeprefix("refuted:") for code in verdicts if code.startswith("refuted:")]
        run = ["verify-entries", "--policy", "../../shared/policy.json", "--at", SEEN]
        out.case(
            f"trace/admission-{name}",
            why,
            spec=spec,
            run=[*run, "--trust", f"../../shared/{TRUST}", "entries.jsonl"],
            expect="reject" if refuted else "accept",
            code=f"statement.{refuted[0]}" if refuted else None,
            at=SEEN,
            bug="BROKEN_TRACE" if refuted else None,
            result={"verdicts": verdicts},
            files={"entries.jsonl": b"".join(entry + b"\n" for entry in entries)},
        )

    def routed(*made: Admission, used: int | None = 50, at: int = 120) -> bytes:
        used_at = None if used is None else when(START, plus_ms=used)
        turn = Turn(
            parents=[item.statement.digest for item in made], admitted_at=used_at, route_at=when(START, plus_ms=at)
        )
        return turn.route.entry

    good, none = Admission(), Admission("refused", "refused")
    before, refusal = good.statement.entry, none.statement.entry
    case("before-route", "An admission of a run of its own, and the route that names it.", [before, routed(good)],
         ["ok", "ok"])  # fmt: skip
    case("shared", "Two runs name one admission.", [before, routed(good), Turn(
        "other", parents=[good.statement.digest], admitted_at=when(START, plus_ms=50)).route.entry],
         ["ok", "ok", "ok"])  # fmt: skip
    case("refusal-named", "The model was told that nothing was admitted.", [refusal, routed(none)], ["ok", "ok"])
    case("not-logged", "A route that names what the log does not hold.", [routed(good)], ["refuted:parent"])
    case("after-route", "A route that names what came after it.", [routed(good), before], ["refuted:parent", "ok"])
    case("without-a-time", "When did it go into the request?", [before, routed(good, used=None)],
         ["ok", "refuted:trace"])  # fmt: skip
    case("time-without-admission", "When what went into the request?", [before, refusal, Turn(
        parents=[], admitted_at=when(START, plus_ms=50)).route.entry], ["ok", "ok", "refuted:malformed"],
         "statement.md §4.1")  # fmt: skip
    case("admitted-after-the-route", "It went into the request after the route was signed.",
         [before, routed(good, used=121)], ["ok", "refuted:malformed"], "statement.md §4.1(4)")  # fmt: skip
    old = Admission("old", at=when(START, plus_ms=-124_850), observation=observation(plus_ms=-125_000))
    case("stale", "Fresh for a minute, and used two minutes later.", [old.statement.entry, routed(old)],
         ["ok", "refuted:stale"])  # fmt: skip
    early = Admission("early", at=when(START, plus_ms=1_150), observation=observation(plus_ms=1_000))
    case("of-the-same-minute", "Made in the minute in which it was used: the log knows no better.",
         [early.statement.entry, routed(early)], ["ok", "ok"])  # fmt: skip
    ahead = Admission("ahead", at=when(START, plus_ms=30_000), claimed_at=when(START, plus_ms=60_000),
                      observation=observation(plus_ms=1_000))  # fmt: skip
    case("made-later", "Used before it was made.", [ahead.statement.entry, routed(ahead, used=50)],
         ["refuted:future", "refuted:parent-refuted"], "statement.md §7(7)")  # fmt: skip
    forged = Admission(signer=STRANGER.statement_key)
    case("forged", "A route that names what no data node signed.", [forged.statement.entry, routed(forged)],
         ["refuted:signature", "refuted:parent-refuted"])  # fmt: skip

    members = [answer("1.0842", "ecb"), answer("1.085", "fed", node=SECOND)]
    whole = combined(members)
    logged = [item.statement.entry for item in members]
    case("combined", "Two data nodes asked two sources, one combines them, a route names that.",
         [*logged, whole.statement.entry, routed(whole)], ["ok"] * 4, "trace.md §2(2)")  # fmt: skip
    case("combined-without-one", "A quorum of what the log does not hold.",
         [logged[0], whole.statement.entry], ["ok", "refuted:parent"], "trace.md §2(2)")  # fmt: skip
    again = Admission("again", "combined", at=when(START, plus_ms=-3_000), observation=None, quorum=quorum(members),
                      parents=[whole.statement.digest])  # fmt: skip
    case("combined-again", "A quorum of a quorum.", [*logged, whole.statement.entry, again.statement.entry],
         ["ok", "ok", "ok", "refuted:trace"], "trace.md §2(2)")  # fmt: skip
    turn = Turn()
    closed = Turn(execution_parents=[turn.route.digest, good.statement.digest])
    case("by-an-execution", "A closing statement that names what the route left out.",
         [before, turn.route.entry, closed.execution.entry], ["ok", "ok", "refuted:trace"], "trace.md §2(4)")  # fmt: skip


# --- the lane -------------------------------------------------------------------------------------------------------


def given(blocks: list[str], role: str = "user") -> str:
    """What went upstream, with blocks before what was asked."""
    messages = ",".join(quote_message(role, block) for block in blocks)
    return SENT.replace('"messages":[', f'"messages":[{messages},' if messages else '"messages":[')


def quote_message(role: str, block: str) -> str:
    """A message that holds a block."""
    return exact_text({"role": role, "content": block})


def told(
    *made: Admission,
    named: list[Admission] | None = None,
    blocks: list[str] | None = None,
    members: tuple[Admission, ...] = (),
    role: str = "user",
    used: int = 50,
    open_with: dict[str, Any] | None = None,
    opened: bool = True,
    disclose: tuple[str, ...] = ("request", "sent", "response"),
) -> Story:
    """A run that was given admissions, and its bundle."""
    names = list(made) if named is None else named
    texts = [item.block() for item in made] if blocks is None else blocks

    def rewritten(value: dict[str, Any]) -> None:
        value["predicate"]["rewrites"] = ["admitted", "holdfast-removed"]

    turn = Turn(
        sent=given(texts, role),
        parents=[item.statement.digest for item in names],
        admitted_at=when(START, plus_ms=used) if names else None,
        route_at=when(START, plus_ms=max(120, used)),
        execution_at=when(START, plus_ms=max(1850, used)),
        route_change=rewritten,
    )
    before = [*members, *made]
    story = Story(
        turn,
        extra=[item.statement for item in before],
        order=lambda own: [*own[2:], *own[:2]],
        disclose=disclose,
        cosigned_at=when(START, plus_ms=max(3_000, used + 1_500)),
    )
    for item in before if opened else ():
        story.add("admission", 2000, **item.opening(**(open_with or {})))
    return story


def lane(state: str, basis: str | None) -> dict[str, Any]:
    """The good run's lanes, and this one."""
    return {**GOOD, "inputs": [state, basis]}


def lanes(b: Bundles) -> None:
    """What the lane says of what is in order (lanes.md §3(8)). No data node here has hardware behind its key."""

    def case(name: str, why: str, story: Story, state: str, basis: str | None = None) -> None:
        b.case(f"inputs-{name}", why, story, lane(state, basis), trust=TRUST, suite="lanes", spec="lanes.md §3(8)")

    good, none = Admission(), Admission("refused", "refused")
    members = (answer("1.0842", "ecb"), answer("1.085", "fed", node=SECOND))
    case("shown", "Admitted, fresh, pinned, in the prompt; the data node's key is its owner's word.", told(good),
         "unknown", "signature")  # fmt: skip
    case("not-opened", "What was admitted is not shown.", told(good, opened=False), "unknown")
    case("prompt-not-shown", "Whether the model was given it is not shown.",
         told(good, disclose=("request", "response")), "unknown")  # fmt: skip
    case("refused", "A source was asked and nothing was admitted.", told(none), "unknown", "signature")
    case("stale-when-used", "Fresh for a minute, and used a little later, within the minute that the log knows.",
         told(good, used=59_000), "expired", "signature")  # fmt: skip
    unpinned = Admission("unpinned", observation=observation(limits=limits(pins=[])))
    case("not-pinned", "Any root could vouch for the peer.", told(unpinned), "unknown", "signature")
    case("quorum", "Two sources through two data nodes agree.", told(combined(members), members=members), "unknown",
         "signature")  # fmt: skip
    case("by-the-tool", "The model asked for it.", told(good, role="tool"), "unknown", "signature")
    apart = (answer("1.0842", "ecb"), answer("1.9", "fed", node=SECOND))
    b.case("inputs-disagreeing", "Two sources do not agree, and no value stands for them.",
           told(combined(apart), members=apart), lane("refuted", "observed"), "admission.disagreement", trust=TRUST,
           suite="lanes", spec="lanes.md §3(8)", bug="DISAGREEMENT")  # fmt: skip
    search = Story(Turn(request=SEARCHED, sent=SEARCHED, route_change=unrewritten))
    case("searched-by-the-provider", "The provider was free to search by itself: nobody admitted what it found.",
         search, "unknown", "provider_claim")  # fmt: skip


SEARCHED = SENT.replace('"stream":false', '"stream":false,"tools":[{"type":"web_search"}]')
"""A request that lets its provider search."""


def unrewritten(value: dict[str, Any]) -> None:
    """Nothing was rewritten."""
    value["predicate"]["rewrites"] = []
    value["predicate"]["sent"] = value["predicate"]["request"]


def refuted(b: Bundles) -> None:
    """What is refused: nothing that is wrong with an admission's document or block takes anything from the bytes."""

    def case(name: str, why: str, story: Story, code: str = "context") -> None:
        b.case(f"inputs-{name}", why, story, lane("refuted", None), f"admission.{code}", trust=TRUST, suite="lanes",
               spec="admission.md §8(4)", bug="FALSE_CONTEXT")  # fmt: skip

    good, other = Admission(), Admission("other")
    case("block-not-named", "The model was given what the route leaves out.",
         told(good, named=[], blocks=[good.block()]))  # fmt: skip
    case("another-block", "The route names one admission and the model was given two.",
         told(good, blocks=[good.block(), other.block()]))  # fmt: skip
    case("named-without-block", "The route names what the model was not given.", told(good, blocks=[]))
    changed = good.block().replace("1.0842", "1.0843")
    case("block-changed", "The model was given another value than was admitted.", told(good, blocks=[changed]), "block")
    case("block-by-the-system", "What was admitted stands where the system speaks.", told(good, role="system"))
    case("another-salt", "The record does not open.", told(good, open_with={"salt": "22" * 32}), "record")
    case("another-definition", "The definition that is shown is another.", told(good, open_with={"definition": "{}"}),
         "definition")  # fmt: skip
    old = Admission("old", observation=observation(times=times(source=-70_000)))
    case("admitted-stale", "A node admitted what was too old by its own rules.",
         told(old), "stale")  # fmt: skip
    wide = Admission("wide", observation=observation("2.5"))
    case("admitted-out-of-range", "A node admitted what its own rules refuse.", told(wide), "range")
    moved = Admission("moved", observation=observation(http=http(hosts=["rates.example.net"])))
    case("redirected-away", "Another host answered.", told(moved), "redirected")
