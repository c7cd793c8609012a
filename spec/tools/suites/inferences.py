"""inference: requests and values, what an inference node says, and how it fits into a trace (inference.md, trace.md §2(12))."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from reference import inference, world
from reference.cases import Writer
from reference.signing import Node, envelope
from reference.text import SpecError, exact_text, jcs, named, parse, when
from reference.world import FULL, GATEWAY, START, Statement, Turn, admit, statement

SEEN = when(START, plus_ms=3000)
INFERENCE = Node("inference.example", ["inference"], ["statement"])
OTHER = Node("other-inference.example", ["inference"], ["statement"])
REQUEST = '{"model":"scores","inputs":{"x":[[1,0.5]]},"mode":"VANILLA"}'
RESPONSE = (
    '{"object":"inference","model":"scores","artifact":"' + named("artifact", 32).hex() + '","mode":"VANILLA",'
    '"outputs":{"y":{"dtype":"float32","shape":[1,1],"data":[0.25]}}}'
)


def write(out: Writer) -> None:
    """Write the suite."""
    requests(out)
    payloads(out)
    traces(out)


def requests(out: Writer) -> None:
    """Requests (§1, §2)."""

    def case(name: str, why: str, text: str, code: str | None = None, section: str = "§1", **declared: str) -> None:
        types = declared or {"x": "float32"}
        result = None
        try:
            result = inference.read_request(parse(text.encode()), types)
            found = None
        except SpecError as error:
            found = error.code
        if found != code:
            raise SystemExit(f"inference/{name}: the reference says {found}, the case {code}")
        out.case(
            f"inference/{name}",
            why,
            spec=f"inference.md {section}",
            run=[
                "read-inference",
                *(w for key, kind in types.items() for w in ("--input", f"{key}={kind}")),
                "request.json",
            ],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_INFERENCE" if code else None,
            result=result,
            files={"request.json": text},
        )

    def value(item: str) -> str:
        return '{"model":"m","inputs":{"x":' + item + "}}"

    case("request", "Plain nested lists, of the type that the model declares.", REQUEST)
    case("default-mode", "A mode that is left out is VANILLA.", value("[1]"))
    case("zkml", "A mode is what was asked for.", '{"model":"m","inputs":{"x":1},"mode":"ZKML"}')
    case("batch", "Two items, each by itself.", '{"model":"m","inputs":[{"x":[1]},{"x":[2]}]}')
    case("scalar", "A scalar has the empty shape.", value("2.5"), section="§2")
    case(
        "tensor", "A typed tensor with data.", value('{"dtype":"float32","shape":[2,1],"data":[1,-0.0]}'), section="§2"
    )
    case(
        "tensor-bytes",
        "The same as bytes.",
        value('{"dtype":"float32","shape":[2],"base64":"AACAPwAAAIA="}'),
        section="§2",
    )
    case(
        "empty-tensor",
        "No elements are elements too.",
        value('{"dtype":"float32","shape":[0,4],"data":[]}'),
        section="§2",
    )
    case(
        "ties-to-even",
        "Halfway between two floats: the even one.",
        value("[16777217,1.00000005960464477539]"),
        section="§2",
    )
    case("not-finite", "What JSON has no number for.", value('["NaN","Infinity","-Infinity"]'), section="§2")
    case("strings", "Strings, not normalised.", value('["a","é"]'), section="§2", x="string")
    case("booleans", "true and false.", value("[true,false]"), section="§2", x="bool")
    case("widest-integer", "An integer that no double holds.", value("18446744073709551615"), section="§2", x="uint64")

    case("not-an-object", "A request is an object.", "[]", "infer.object")
    case(
        "unknown-member",
        "What nobody reads must not look as if it counted.",
        '{"model":"m","inputs":{"x":1},"temperature":1}',
        "infer.member",
    )
    case("no-model", "Nobody knows what to run.", '{"inputs":{"x":1}}', "infer.model")
    case("model-as-number", "A label is a string.", '{"model":7,"inputs":{"x":1}}', "infer.model")
    case(
        "unknown-mode",
        "A mode that does not exist is not served as another.",
        '{"model":"m","inputs":{"x":1},"mode":"tee"}',
        "infer.mode",
    )
    case("unknown-encoding", "Two encodings.", '{"model":"m","inputs":{"x":1},"encoding":"hex"}', "infer.encoding")
    case("no-inputs", "There is nothing to run on.", '{"model":"m"}', "infer.inputs")
    case("empty-batch", "A batch of nothing.", '{"model":"m","inputs":[]}', "infer.batch")
    case(
        "large-batch",
        "At most 256 items.",
        '{"model":"m","inputs":[' + ",".join(['{"x":1}'] * 257) + "]}",
        "infer.batch",
    )
    case(
        "output-twice",
        "An output is named once.",
        '{"model":"m","inputs":{"x":1},"outputs":["y","y"]}',
        "infer.outputs",
    )
    case("ragged", "Lists of two lengths have no shape.", value("[[1,2],[3]]"), "infer.shape", "§2")
    case("mixed-depth", "An element beside a list.", value("[[1],2]"), "infer.shape", "§2")
    case("too-deep", "Nine dimensions.", value("[[[[[[[[[1]]]]]]]]]"), "infer.shape", "§2")
    case(
        "object-in-list",
        "An object is no element.",
        value('[{"dtype":"float32","shape":[],"data":[1]}]'),
        "infer.element",
        "§2",
    )
    case(
        "other-dtype",
        "A tensor of another type than the declared one is not converted.",
        value('{"dtype":"float64","shape":[],"data":[1]}'),
        "infer.dtype",
        "§2",
    )
    case(
        "unknown-dtype",
        "Types are a closed list.",
        value('{"dtype":"bfloat16","shape":[],"data":[1]}'),
        "infer.dtype",
        "§2",
    )
    case(
        "shape-and-data",
        "Three elements for a shape of four.",
        value('{"dtype":"float32","shape":[2,2],"data":[1,2,3]}'),
        "infer.shape",
        "§2",
    )
    case(
        "negative-dimension",
        "A dimension is at least 0.",
        value('{"dtype":"float32","shape":[-1],"data":[]}'),
        "infer.shape",
        "§2",
    )
    case(
        "huge-shape",
        "A shape that no memory holds is refused before anything is made of it.",
        value('{"dtype":"float32","shape":[999999999,999999999],"base64":""}'),
        "infer.shape",
        "§2",
    )
    case(
        "short-bytes",
        "Three bytes are no float.",
        value('{"dtype":"float32","shape":[1],"base64":"AAAA"}'),
        "infer.shape",
        "§2",
    )
    case(
        "loose-base64",
        "Base64 has one spelling.",
        value('{"dtype":"uint8","shape":[1],"base64":"AB=="}'),
        "encoding.base64",
        "§2",
        x="uint8",
    )
    case(
        "string-bytes",
        "Strings have no bytes of their own here.",
        value('{"dtype":"string","shape":[],"base64":""}'),
        "infer.tensor",
        "§2",
        x="string",
    )
    case(
        "both-forms",
        "Data and base64 could disagree.",
        value('{"dtype":"float32","shape":[],"data":[1],"base64":""}'),
        "infer.tensor",
        "§2",
    )
    case(
        "bool-byte",
        "A bool is a byte 0 or 1.",
        value('{"dtype":"bool","shape":[1],"base64":"Ag=="}'),
        "infer.element",
        "§2",
        x="bool",
    )
    case("number-for-string", "A number is not its text.", value("[7]"), "infer.element", "§2", x="string")
    case("text-for-number", "A text is not a number.", value('["1.0"]'), "infer.element", "§2")
    case("fraction-for-integer", "1.0 is not written as an integer.", value("[1.0]"), "infer.element", "§2", x="int32")
    case("integer-too-large", "256 is no uint8, and is not 0.", value("[256]"), "infer.element", "§2", x="uint8")
    case("float-too-large", "1e39 is no float32, and is not infinity.", value("[1e39]"), "infer.element", "§2")
    case("beyond-doubles", "1e400 is no double either.", value("[1e400]"), "infer.element", "§2", x="float64")
    case("one-for-true", "1 is not true.", value("[1]"), "infer.element", "§2", x="bool")
    case("null-element", "null is no number.", value("[null]"), "infer.element", "§2")


def computation(turn: Turn, **change: Any) -> dict[str, Any]:
    """Member ``computation`` (§4)."""
    value = {
        "artifact": named("artifact", 32).hex(),
        "mode": "VANILLA",
        "runtime": "onnxruntime",
        "version": "1.32.0",
        "optimisation": "basic",
        "threads": 1,
        "instructions": "x86-64-v3",
        "batch": 1,
        "request": turn.bound["sent"].named(),
        "circuit": None,
    }
    return {**value, **change}


CIRCUIT = {
    "settings": named("settings", 32).hex(),
    "verification_key": named("verification key", 32).hex(),
    "srs": "development",
}


def executed(
    turn: Turn,
    node: Node = INFERENCE,
    event: str = "computed",
    parents: tuple[str, ...] = (),
    response: Any = None,
    more: dict[str, Any] | None = None,
    change: Callable[[dict[str, Any]], None] | None = None,
    at_ms: int = 100,
    **computed: Any,
) -> Statement:
    """An execution by an inference node."""
    bound = response or turn.bound["response"]
    return statement(
        "execution",
        node,
        run=turn.run,
        claimed_at=when(START, plus_ms=at_ms),
        parents=parents,
        subject=("response", bound.root),
        body={
            "event": event,
            "outcome": "complete",
            "response": bound.named(),
            "marks": None,
            "upstream": "onnxruntime",
            "computation": computation(turn, **computed),
            **(more or {}),
        },
        change=change,
    )


def turn_of(name: str = "good", **change: Any) -> Turn:
    """A run of a model; its route names the computation."""
    return Turn(name, request=REQUEST, sent=REQUEST, response=change.pop("response", RESPONSE), **change)


def payloads(out: Writer) -> None:
    """Shapes of what an inference node says (§4 to §6)."""
    turn = turn_of()
    computed = executed(turn)
    proved = executed(
        turn, event="proved", parents=(computed.digest,), mode="ZKML", circuit=CIRCUIT, more={"proof": "ab" * 32}
    )
    recomputed = executed(turn, OTHER, "recomputed", (computed.digest,), more={"comparison": "equal"})

    def case(name: str, why: str, of: Statement, code: str | None = None, section: str = "§4", **change: Any) -> None:
        value = copy.deepcopy(of.value)
        for path, to in change.items():
            place = value["predicate"]
            *above, last = path.split("__")
            for step in above:
                place = place[step]
            if to is DROP:
                del place[last]
            else:
                place[last] = to
        made = envelope(jcs(value), [INFERENCE.statement_key])
        out.case(
            f"inference/{name}",
            why,
            spec=f"inference.md {section}",
            run=["parse-statement", "envelope.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_STATEMENT" if code else None,
            files={"envelope.json": jcs(made)},
        )

    case("computed", "What ran on what, and what came of it.", computed)
    case("proved", "A proof follows, by its commitment.", proved, section="§5")
    case("recomputed", "Another node ran it again.", recomputed, section="§6")
    case(
        "computed-without-computation", "A run of nobody knows what.", computed, "statement.predicate", computation=DROP
    )
    case(
        "generated-with-computation",
        "A gateway that closes a run computed nothing itself.",
        computed,
        "statement.predicate",
        event="generated",
    )
    case("computed-with-comparison", "Nothing was compared yet.", computed, "statement.predicate", comparison="equal")
    case("computed-without-response", "A run that gave nothing.", computed, "statement.response", response=None)
    case(
        "computed-with-marks",
        "What is computed is not streamed.",
        computed,
        "statement.marks",
        marks={"seq": 1, "parts": "11" * 32},
    )
    case(
        "computation-with-a-device",
        "How it ran has ten members.",
        computed,
        "statement.computation",
        computation__device="gpu",
    )
    case(
        "mode-in-lower-case", "Modes are a closed list.", computed, "statement.computation", computation__mode="vanilla"
    )
    case(
        "zkml-without-circuit",
        "A proof of no circuit proves nothing.",
        computed,
        "statement.computation",
        computation__mode="ZKML",
    )
    case(
        "circuit-without-zkml",
        "A circuit would claim more than the mode.",
        computed,
        "statement.computation",
        computation__circuit=CIRCUIT,
    )
    case(
        "srs-of-nobody",
        "Where the reference string is from must be said.",
        proved,
        "statement.computation",
        "§5",
        computation__circuit={**CIRCUIT, "srs": "mine"},
    )
    case(
        "proved-vanilla",
        "Only what was asked to be proved is.",
        proved,
        "statement.computation",
        "§5",
        computation__mode="VANILLA",
        computation__circuit=None,
    )
    case("proof-not-a-digest", "The proof itself does not stand in the log.", proved, "encoding.hex", "§5", proof="ab")
    case("no-threads", "At least one thread ran.", computed, "statement.computation", computation__threads=0)
    case("threads-as-boolean", "true is not 1.", computed, "statement.computation", computation__threads=True)
    case("large-batch-computed", "At most 256 items.", computed, "statement.computation", computation__batch=257)
    case(
        "runtime-is-a-sentence",
        "A runtime is a code.",
        computed,
        "statement.computation",
        computation__runtime="ONNX Runtime",
    )
    case("unknown-optimisation", "Four levels.", computed, "statement.computation", computation__optimisation="O3")
    case(
        "artifact-in-upper-case",
        "A digest has one spelling.",
        computed,
        "encoding.hex",
        computation__artifact="AB" * 32,
    )
    case("unknown-comparison", "Three outcomes.", recomputed, "statement.comparison", "§6", comparison="close")


DROP = object()


def traces(out: Writer) -> None:
    """How it fits (trace.md §2(12))."""
    nodes = [admit(node) for node in (GATEWAY, world.LOG, *FULL, INFERENCE, OTHER)]
    out.shared("inference-trust.json", exact_text(world.usual_trust(nodes=nodes)) + "\n")

    def case(name: str, why: str, entries: list[Statement], verdicts: list[str], bug: str = "BROKEN_TRACE") -> None:
        refuted = [code.removeprefix("refuted:") for code in verdicts if code.startswith("refuted:")]
        out.case(
            f"inference/{name}",
            why,
            spec="trace.md §2(12)",
            run=[
                "verify-entries",
                "--policy",
                "../../shared/policy.json",
                "--at",
                SEEN,
                "--trust",
                "../../shared/inference-trust.json",
                "entries.jsonl",
            ],
            expect="reject" if refuted else "accept",
            code=f"statement.{refuted[0]}" if refuted else None,
            at=SEEN,
            bug=bug if refuted else None,
            result={"verdicts": verdicts},
            files={"entries.jsonl": b"".join(item.entry + b"\n" for item in entries)},
        )

    plain = turn_of()
    made = executed(plain)
    turn = turn_of(parents=[made.digest])
    closing = Turn(
        "good", request=REQUEST, sent=REQUEST, response=RESPONSE, parents=[made.digest],
        execution_parents=[turn.route.digest, made.digest],
    )  # fmt: skip
    whole = [made, turn.route, closing.execution]
    case("trace", "A computation, the route that names it, and the closing statement.", whole, ["ok"] * 3)
    proved = executed(
        plain,
        event="proved",
        parents=(made.digest,),
        mode="ZKML",
        circuit=CIRCUIT,
        more={"proof": "ab" * 32},
        at_ms=2500,
    )
    case(
        "trace-proved",
        "A proof that nobody verified here is neither refused nor taken for good.",
        [*whole, proved],
        [*["ok"] * 3, "cannot_tell"],
    )
    again = executed(plain, OTHER, "recomputed", (made.digest,), more={"comparison": "equal"}, at_ms=2500)
    case("trace-recomputed", "Another node agrees.", [*whole, again], ["ok"] * 4)
    case(
        "proof-by-another-node",
        "Who did not compute it does not prove it.",
        [*whole, _by(OTHER, proved)],
        [*["ok"] * 3, "refuted:trace"],
    )
    case(
        "recomputed-by-itself",
        "A node agrees with itself.",
        [*whole, _by(INFERENCE, again)],
        [*["ok"] * 3, "refuted:trace"],
    )
    unlike = executed(
        plain,
        OTHER,
        "recomputed",
        (made.digest,),
        response=plain.bound["request"],
        more={"comparison": "equal"},
        at_ms=2500,
    )
    case(
        "recomputed-unlike",
        "Called equal, and bound to another answer.",
        [*whole, unlike],
        [*["ok"] * 3, "refuted:trace"],
        "SUBSTITUTION",
    )
    case("computed-by-a-gateway", "A gateway runs no model.", [executed(plain, GATEWAY)], ["refuted:role"])
    wrong = Turn("good", request=REQUEST, sent=REQUEST, response=RESPONSE, node=INFERENCE)
    case(
        "closed-by-an-inference-node",
        "An inference node closes no run.",
        [wrong.route, wrong.execution],
        ["refuted:role", "refuted:role"],
    )
    other = RESPONSE.replace("0.25", "0.75")
    swapped = turn_of(response=other, parents=[made.digest], execution_parents=[turn.route.digest, made.digest])
    case(
        "answer-swapped",
        "The gateway answered something else than was computed.",
        [made, turn.route, swapped.execution],
        ["ok", "ok", "refuted:trace"],
        "SUBSTITUTION",
    )
    asked = Turn("good", request=REQUEST, sent=REQUEST.replace("0.5", "0.6"), response=RESPONSE, parents=[made.digest])
    case(
        "request-swapped",
        "The computation is of another input than the gateway says it sent.",
        [made, asked.route],
        ["ok", "refuted:trace"],
        "SUBSTITUTION",
    )
    following = executed(plain, parents=(turn.route.digest,))
    case(
        "computed-after-a-route",
        "A computation follows nothing.",
        [made, turn.route, following],
        ["ok", "ok", "refuted:trace"],
    )
    second = executed(plain, OTHER)
    both = turn_of(parents=[made.digest, second.digest])
    case(
        "two-computations", "Which of the two was answered?", [made, second, both.route], ["ok", "ok", "refuted:trace"]
    )


def _by(node: Node, of: Statement) -> Statement:
    value = copy.deepcopy(of.value)
    value["predicate"]["attester"] = node.id
    return Statement(value, node.statement_key)
