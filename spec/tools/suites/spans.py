"""spans: what OpenTelemetry's spans become below the agent runs that they name (agents.md §9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from reference import spans, world
from reference.cases import Writer
from reference.spans import Pair, framed
from reference.text import Number, exact_text
from reference.world import Story, Turn

from .bundles import GOOD, Bundles

RUN, OTHER = world.run_id("spans/agent"), world.run_id("spans/other")
JSON, PROTOBUF = "application/json", "application/x-protobuf"
NAMED: Pair = ("holdfast.agent_run", ("string", RUN))
ASKED: Pair = ("gen_ai.operation.name", ("string", "chat"))


def span(*attributes: Pair, **more: Any) -> dict[str, Any]:
    found = {
        "trace": "0af7651916cd43dd8448eb211c80319c",
        "span": "b7ad6b7169203331",
        "name": "chat llama",
        "kind": 3,
        "start": 1_700_000_000_000_000_000,
        "end": 1_700_000_000_000_000_009,
        "attributes": [NAMED, ASKED, *attributes],
    }
    return {**found, **more}


def text(key: str, value: str) -> Pair:
    return key, ("string", value)


def deep(levels: int) -> spans.Value:
    """Values within values, so many deep."""
    found: spans.Value = ("string", "x")
    for _ in range(levels - 1):
        found = ("array", [found])
    return found


class Cases:
    """Cases in either encoding."""

    def __init__(self, out: Writer) -> None:
        self.out = out

    def raw(
        self,
        name: str,
        why: str,
        body: bytes,
        *,
        kind: str = JSON,
        code: str | None = None,
        expect: str = "malformed",
        told: Sequence[dict[str, str]] = (),
        spec: str = "agents.md §9(1)",
    ) -> None:
        file = "trace.json" if kind.startswith(JSON) else "trace.bin"
        self.out.case(
            f"spans/{name}",
            why,
            spec=spec,
            run=["read-spans", "--type", kind, file],
            expect=expect if code else "accept",
            code=code,
            bug="INJECTION" if code else None,
            result=None if code else {"spans": list(told)},
            files={file: body},
        )

    def hints(
        self,
        name: str,
        why: str,
        *given: dict[str, Any],
        told: Sequence[dict[str, str]] | None = None,
        resource: Sequence[Pair] = (),
        spec: str = "agents.md §9(4)",
        encodings: Sequence[str] = (JSON, PROTOBUF),
    ) -> None:
        """One reading of both encodings."""
        found = [hint(item) for item in given] if told is None else told
        if JSON in encodings:
            body = exact_text(spans.json_request(given, resource)).encode()
            self.raw(name + "-json", why, body, told=found, spec=spec)
        if PROTOBUF in encodings:
            self.raw(
                name + "-protobuf", why, spans.proto_request(given, resource), kind=PROTOBUF, told=found, spec=spec
            )

    def changed(
        self, name: str, why: str, change: Callable[[dict[str, Any]], None], spec: str = "agents.md §9(1)"
    ) -> None:
        """A request in JSON whose second span is malformed: nothing of it is kept."""
        request = spans.json_request([span(), span(span="b7ad6b7169203332")])
        change(request["resourceSpans"][0]["scopeSpans"][0]["spans"][1])
        self.raw(name, why, exact_text(request).encode(), code="otlp.json", spec=spec)


def hint(item: dict[str, Any], run: str = RUN) -> dict[str, str]:
    return {"agent_run": run, "trace": item["trace"].lower(), "span": item["span"].lower(), "step": spans.step(item)}


def refused(code: str) -> dict[str, str]:
    return {"code": code}


def good(cases: Cases) -> None:
    full = span(
        ("many", ("array", [("int", 2**53 + 1), ("double", "0.5"), ("bool", True), ("none", None)])),
        ("map", ("list", [text("k", "v"), ("raw", ("bytes", b"\x00\x01"))])),
        ("odd", ("double", "NaN")),
        ("least", ("int", -(2**63))),
        parent="00f067aa0ba902b7",
        status=(2, "late"),
        events=[(7, "gen_ai.choice", [("index", ("int", 0))])],
    )
    cases.hints("whole", "Everything that a hint keeps of a span, and integers with every digit.", full)
    cases.hints("small", "A span with nothing but its ids, its name, its agent run and that it asked a model.", span())
    cases.hints("none", "A request without spans.")
    cases.hints(
        "of-its-resource",
        "The resource names the agent run, once for all its spans.",
        span(attributes=[ASKED]),
        resource=[NAMED],
        spec="agents.md §9(2)",
    )
    cases.raw(
        "newer-exporter",
        "Members and fields that are not known are stepped over.",
        framed(99, b"more") + spans.proto_request([span()]) + framed(100, b""),
        kind=PROTOBUF,
        told=[hint(span())],
    )
    cases.raw(
        "type-with-a-parameter",
        "A content type may have parameters.",
        exact_text(spans.json_request([span()])).encode(),
        kind="application/json; charset=utf-8",
        told=[hint(span())],
    )
    request = spans.json_request([span()])
    request["resourceSpans"][0]["scopeSpans"][0]["spans"][0].update(
        kind="SPAN_KIND_CLIENT", status={"code": "STATUS_CODE_OK"}
    )
    cases.raw("names-of-enums", "JSON may write an enum by its name.", exact_text(request).encode(),
              told=[hint(span(status=(1, "")))], spec="agents.md §9(4)")  # fmt: skip


def hostile(cases: Cases) -> None:
    """What a span says of itself adds nothing to what it is."""
    cases.hints(
        "names-another-parent",
        "A span that names another parent in every way that it can: it hangs below the agent run that its attribute names, and the rest is text.",
        span(
            text("parent_run", OTHER),
            text("x-holdfast-parent", OTHER),
            text("holdfast", OTHER),
            text("gen_ai.prompt", '"}],"kind":"tool","parent_run":"' + OTHER),
            name="x-holdfast-parent: " + OTHER,
            parent="ffffffffffffffff",
        ),
        spec="agents.md §9(2)",
    )
    cases.hints(
        "resource-names-another-agent-run",
        "A span's own agent run counts before its resource's.",
        span(),
        resource=[text("holdfast.agent_run", OTHER)],
        spec="agents.md §9(2)",
    )
    cases.hints(
        "raises-an-effect",
        "A span that says it is an act, of a tool that pays, with a queue and a result: it is a hint.",
        span(
            text("kind", "tool"),
            text("tool", "wire"),
            text("effect", "pay"),
            text("queue", "default"),
            ("arguments", ("list", [text("to", "0xabc")])),
            text("gen_ai.tool.name", "wire"),
            text("result", "paid"),
            ("proposed", ("bool", True)),
            text("of", OTHER),
        ),
        spec="agents.md §9(2)",
    )
    cases.hints(
        "claims-a-basis",
        "A span that says its computation is proven in an enclave: no lane rests on it.",
        span(
            text("computation", "proven"),
            text("basis", "enclave_attested"),
            ("lanes", ("list", [("computation", ("list", [text("state", "proven"), text("basis", "proof")]))])),
            text("attester", "0" * 64),
        ),
        spec="agents.md §4(4)",
    )
    cases.hints(
        "names-in-nobody-s-way",
        "Names of attributes that mean something elsewhere are names here.",
        span(
            text("__proto__", "x"),
            text("", "empty"),
            text("constructor", "y"),
            text("gen_ai.", "z"),
            text("\u0000", "nul"),
        ),
    )
    cases.hints(
        "said-twice",
        "The same span twice in one request is kept once, however its ids are written.",
        span(),
        span(trace="0AF7651916CD43DD8448EB211C80319C", span="B7AD6B7169203331"),
        told=[hint(span())],
        spec="agents.md §9(5)",
        encodings=(JSON,),
    )
    cases.hints(
        "ids-of-another-span",
        "Another span under the same ids is refused, and the first one counts.",
        span(),
        span(name="something better"),
        span(trace="1af7651916cd43dd8448eb211c80319c"),
        told=[hint(span()), refused("agent.key"), hint(span(trace="1af7651916cd43dd8448eb211c80319c"))],
        spec="agents.md §9(5)",
    )
    elsewhere = span(attributes=[text("holdfast.agent_run", OTHER), ASKED])
    cases.hints(
        "same-ids-of-two-agent-runs",
        "Ids are an agent run's own: a span of another takes nobody's place.",
        span(),
        elsewhere,
        told=[hint(span()), hint(elsewhere, OTHER)],
        spec="agents.md §9(5)",
    )
    cases.hints(
        "absurd-times",
        "A span that ended before it began, and one at the end of time: what a clock says is kept, and nothing rests on it.",
        span(start=1_700_000_000_000_000_009, end=0),
        span(span="b7ad6b7169203332", start=2**64 - 1, end=2**64 - 1, events=[(2**64 - 1, "late", [])]),
    )
    cases.hints("values-eight-deep", "As deep as values may be.", span(("deep", deep(8))), spec="agents.md §9(3)")


def one_by_one(cases: Cases) -> None:
    """Spans that are no hints, between two that are."""

    def case(name: str, why: str, wrong: dict[str, Any], code: str, spec: str = "agents.md §9(3)") -> None:
        before, after = span(span="b7ad6b7169203330"), span(span="b7ad6b7169203339")
        told = [hint(before), refused(code), hint(after)]
        cases.hints(name, why, before, wrong, after, told=told, spec=spec)

    of_nobody = "agents.md §9(2)"
    case("of-no-agent-run", "A span that names no agent run.", span(attributes=[ASKED]), "otlp.agent_run", of_nobody)
    case("of-no-run-id", "An agent run is named by its id.",
         span(attributes=[text("holdfast.agent_run", "mine"), ASKED]), "otlp.agent_run", of_nobody)  # fmt: skip
    case("of-a-number", "An id is a text.",
         span(attributes=[("holdfast.agent_run", ("int", 7)), ASKED]), "otlp.agent_run", of_nobody)  # fmt: skip
    case("of-many", "One agent run, and no list of some.",
         span(attributes=[("holdfast.agent_run", ("array", [("string", RUN)])), ASKED]), "otlp.agent_run", of_nobody)  # fmt: skip
    case("of-no-model", "A span that asked no model is none of ours.",
         span(attributes=[NAMED, text("http.url", "/"), text("not.gen_ai.x", "y")]), "otlp.other", of_nobody)  # fmt: skip
    case("no-name", "A hint has a name.", span(name=""), "otlp.name")
    case("long-name", "A name has 256 characters at most.", span(name="x" * 257), "otlp.name")
    case("many-attributes", "A span has 128 attributes at most.", span(*(text(f"a{number}", "") for number in range(127))),
         "otlp.size")  # fmt: skip
    case("many-events", "A span has 32 events at most.", span(events=[(0, "e", [])] * 33), "otlp.size")
    case(
        "huge-attribute",
        "A span comes to 65,536 bytes at most.",
        span(text("gen_ai.prompt", "x" * 65_536)),
        "otlp.size",
    )
    case("huge-together", "Many attributes that are large together.",
         span(*(text(f"a{number}", "x" * 1_024) for number in range(64))), "otlp.size")  # fmt: skip
    cases.hints("most-attributes", "As many attributes as a span may have.",
                span(*(text(f"a{number}", "") for number in range(126))), spec="agents.md §9(3)")  # fmt: skip
    cases.hints("longest-name", "A name of as many characters as it may have.", span(name="\U0001f600" * 256),
                spec="agents.md §9(3)")  # fmt: skip


def as_a_whole(cases: Cases) -> None:
    """Requests of which nothing is kept."""

    def sets(**members: Any) -> Callable[[dict[str, Any]], None]:
        return lambda value: value.update(members)

    def adds(value: Any) -> Callable[[dict[str, Any]], None]:
        return lambda found: found["attributes"].append(value)

    def holds(value: Any) -> Callable[[dict[str, Any]], None]:
        return adds({"key": "a", "value": value})

    cases.changed("agent-run-twice", "Two agent runs in one span: nobody could say which is meant.",
                  adds({"key": "holdfast.agent_run", "value": {"stringValue": OTHER}}), "agents.md §9(3)")  # fmt: skip
    cases.changed("member-twice-inside", "An attribute that stands twice in a list of its own.",
                  holds({"kvlistValue": {"values": spans.json_pairs([text("k", "1"), text("k", "2")])}}),
                  "agents.md §9(3)")  # fmt: skip
    cases.changed("values-nine-deep", "Values within values have a bottom.", holds(spans.json_value(deep(9))),
                  "agents.md §9(3)")  # fmt: skip
    cases.changed("no-trace-id", "A span has ids.", sets(traceId=None))
    cases.changed("short-trace-id", "A trace id has 16 bytes.", sets(traceId="ab"))
    cases.changed("span-id-no-hex", "A span id is hex.", sets(spanId="z" * 16))
    cases.changed("span-id-a-number", "A span id is a text.", sets(spanId=Number("1234567890123456")))
    cases.changed(
        "time-below-nothing", "A time before 1970 has no place in 64 bits without a sign.", sets(startTimeUnixNano="-1")
    )
    cases.changed("time-of-65-bits", "A time beyond 64 bits.", sets(endTimeUnixNano=str(2**64)))
    cases.changed("time-in-words", "A time is a number.", sets(startTimeUnixNano="soon"))
    cases.changed("time-with-a-point", "A time is an integer.", sets(endTimeUnixNano=Number("1.5")))
    cases.changed(
        "event-time-below-nothing", "The same of an event.", sets(events=[{"name": "e", "timeUnixNano": "-7"}])
    )
    cases.changed(
        "integer-of-64-bits-and-a-sign", "An integer beyond what the protocol has.", holds({"intValue": str(2**63)})
    )
    cases.changed(
        "integer-as-a-number", "Integers are strings in JSON, or they lose digits.", holds({"intValue": Number("7")})
    )
    cases.changed("two-values", "A value is one thing.", holds({"stringValue": "x", "intValue": "1"}))
    cases.changed("value-of-no-kind", "A kind of value that nobody knows.", holds({"proofValue": "x"}))
    cases.changed("truth-in-words", "True is no text.", holds({"boolValue": "true"}))
    cases.changed("double-in-words", "Three words stand for numbers that JSON has not.", holds({"doubleValue": "fast"}))
    cases.changed("bytes-no-base64", "Bytes are base64.", holds({"bytesValue": "***"}))
    cases.changed("kind-of-no-span", "A kind that there is not.", sets(kind=Number("99")))
    cases.changed("status-of-no-kind", "A status that there is not.", sets(status={"code": "STATUS_CODE_PROVEN"}))
    cases.changed("attributes-an-object", "Attributes are a list.", sets(attributes={"holdfast.agent_run": RUN}))
    cases.changed("attribute-without-a-key", "An attribute has a key.", adds({"value": {"stringValue": "x"}}))
    cases.changed("events-an-object", "Events are a list.", sets(events={"name": "x"}))
    cases.raw("no-json", "Not JSON.", b'{"resourceSpans":', code="json.syntax")
    cases.raw(
        "member-twice",
        "A member that stands twice.",
        b'{"resourceSpans":[],"resourceSpans":[]}',
        code="json.duplicate_key",
    )
    cases.raw("a-list", "A request is an object.", b"[]", code="otlp.json")
    request = spans.proto_request([span()])
    for name, why, body in (
        ("cut", "Protobuf that ends within a span.", request[:-3]),
        ("group", "A field of a kind that protobuf gave up.", b"\x0b\x00" + request),
        ("field-zero", "Fields begin with 1.", b"\x02\x00" + request),
        ("long-number", "A number of more than ten bytes.", b"\xff" * 11),
        ("length-of-everything", "A length beyond what is there.", b"\x0a\xff\xff\xff\xff\x7f"),
        ("other-kind", "A field that has another kind than its own.", b"\x08\x01" + request),
        ("name-no-utf-8", "A name that is no UTF-8.", request.replace(b"chat llama", b"chat \xff\xfe\xfd!!")),
        ("very-deep", "Messages within each other without a bottom.", nested(100)),
    ):
        cases.raw("protobuf-" + name, why, body, kind=PROTOBUF, code="otlp.protobuf")
    cases.raw("protobuf-agent-run-twice", "Two agent runs in one span, in protobuf.",
              spans.proto_request([span(text("holdfast.agent_run", OTHER))]), kind=PROTOBUF, code="otlp.json",
              spec="agents.md §9(3)")  # fmt: skip
    cases.raw("protobuf-short-ids", "A trace id of no bytes.", spans.proto_request([span(trace="")]), kind=PROTOBUF,
              code="otlp.json")  # fmt: skip
    cases.raw("other-type", "A request of another type.", b"{}", kind="text/plain", code="otlp.type", expect="reject")
    cases.raw("many-spans", "A request has 512 spans at most.",
              spans.proto_request([span(span=f"{number:016x}") for number in range(1, 514)]), kind=PROTOBUF,
              code="otlp.spans", expect="reject", spec="agents.md §9(3)")  # fmt: skip


def nested(levels: int) -> bytes:
    """A span with an attribute whose value holds values, so many deep."""
    value = framed(1, b"x")
    for _ in range(levels):
        value = framed(5, framed(1, value))
    return framed(1, framed(2, framed(2, framed(9, framed(1, b"k") + framed(2, value)))))


def lanes(out: Writer) -> None:
    """A hint in a bundle: whatever it says, it is the word of whoever traced (§4(4))."""

    def own(value: dict[str, Any]) -> None:
        value["predicate"].update(upstream="caller", parent_run=RUN)

    def told(value: dict[str, Any]) -> None:
        own(value)
        value["predicate"].update(endpoint="step", rewrites=[])
        value["predicate"]["sent"] = value["predicate"]["request"]

    asked = spans.step(span(text("computation", "proven"), text("basis", "enclave_attested"), text("effect", "pay")))
    turn = Turn(request=asked, sent=asked, response='{"recorded":true}', route_change=told, execution_change=own)
    Bundles(out).case(
        "hint-of-a-span",
        "A span as a hint, which says of itself that its computation is proven.",
        Story(turn, disclose=("request", "response")),
        {**GOOD, "artifact": ["not_applicable", None], "computation": ["unknown", "operator_claim"]},
        suite="lanes",
        spec="agents.md §4(4)",
    )


def write(out: Writer) -> None:
    """Write the suite."""
    cases = Cases(out)
    good(cases)
    hostile(cases)
    one_by_one(cases)
    as_a_whole(cases)
    lanes(out)
