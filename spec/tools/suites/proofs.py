"""proof: numbers and settings of circuits, proof documents, and what they are held against (inference.md §5)."""

from __future__ import annotations

import json
from typing import Any

from reference import proofs
from reference.cases import Writer
from reference.text import jcs, named
from reference.world import Turn

from .inferences import executed, turn_of

REQUEST = '{"model":"scores","inputs":{"x":[[0.5,-1.25]]},"mode":"ZKML"}'
OUTPUT = -4097
"""What the circuit gave: a multiple of 2^-14."""
SETTINGS = json.dumps(proofs.settings()).encode()
SALT = named("proof salt", 32)


def response(output: int = OUTPUT, **change: Any) -> str:
    """The response document of the run."""
    value = {
        "object": "inference",
        "model": "scores",
        "artifact": named("artifact", 32).hex(),
        "mode": "ZKML",
        "outputs": {"y": {"dtype": "float64", "shape": [1, 1], "data": [output / 2**14]}},
    }
    return json.dumps({**value, **change}, separators=(",", ":"))


def turn(request: str = REQUEST, answer: str | None = None) -> Turn:
    """The run."""
    return Turn("good", request=request, sent=request, response=answer or response())


def instances(first: float = 0.5, second: float = -1.25, output: int = OUTPUT) -> list[str]:
    """Its circuit's public numbers."""
    return [proofs.element(number) for number in (proofs.nearest(first, 7), proofs.nearest(second, 7), output)]


def write(out: Writer) -> None:
    """Write the suite."""
    numbers(out)
    circuits(out)
    documents(out)
    held_against(out)


def numbers(out: Writer) -> None:
    """§5(2)."""

    def case(name: str, why: str, texts: str, scale: int = 7, code: str | None = None) -> None:
        found = None
        if code is None:
            found = {"instances": [proofs.element(proofs.nearest(float(item), scale)) for item in json.loads(texts)]}
        out.case(
            f"proof/{name}",
            why,
            spec="inference.md §5",
            run=["circuit-numbers", "--scale", str(scale), "numbers.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_PROOF" if code else None,
            result=found,
            files={"numbers.json": texts},
        )

    case("numbers", "Multiples of 2^-7, and what lies between them.", "[0,0.5,-1.25,0.3,-0.3,1000.007]")
    case("halves", "Halves go away from zero, on both sides.", "[0.00390625,-0.00390625,0.01171875,-0.01171875]")
    case("below-a-half", "The greatest double below a half goes down.", "[0.003906249999999999]")
    case("scale-zero", "At scale 0 a number is rounded to an integer.", "[2.5,-2.5,0.49]", 0)
    case("too-large", "A number that no integer of the circuit stands for.", "[1e30]", 7, "circuit.number")


def circuits(out: Writer) -> None:
    """Settings (§5(2), §5(5))."""

    def same(name: str, why: str, answer: bool, **change: Any) -> None:
        out.case(
            f"proof/{name}",
            why,
            spec="inference.md §5",
            run=["same-circuit", "--other", "other.json", "settings.json"],
            result={"same": answer},
            files={"settings.json": SETTINGS, "other.json": json.dumps(proofs.settings(**change))},
        )

    made = proofs.settings()
    equations = made["einsum_params"]["equations"]
    same(
        "same-in-another-order",
        "Lists without an order, and the time, differ.",
        True,
        timestamp=1,
        required_range_checks=[[0, 255], [-1, 1]],
        einsum_params={**made["einsum_params"], "equations": equations[::-1]},
    )
    same("scales-differ", "An answer would be read at twice its size.", False, model_output_scales=[13])
    same("a-check-is-missing", "A range that is not checked.", False, required_range_checks=[[-1, 1]])


def documents(out: Writer) -> None:
    """The proof document (§5(3))."""

    def case(
        name: str,
        why: str,
        code: str | None = None,
        made: bytes = SETTINGS,
        raw: bytes | None = None,
        expect: str = "malformed",
        **change: Any,
    ) -> None:
        value = {**proofs.document(turn(), REQUEST, response(), instances(), made), **change}
        out.case(
            f"proof/document-{name}",
            why,
            spec="inference.md §5",
            run=["decode", "proof-document", "document.json"],
            expect=expect if code else "accept",
            code=code,
            bug="MALFORMED_PROOF" if code else None,
            files={"document.json": jcs(value) if raw is None else raw},
        )

    def settings(name: str, why: str, code: str, expect: str = "malformed", **change: Any) -> None:
        case(name, why, code, json.dumps(proofs.settings(**change)).encode(), expect=expect)

    case("whole", "A proof, its circuit, and the documents that it is about.")
    case("of-another-system", "Nobody here could verify it.", "proof.fields", system="groth16")
    case("with-a-member-more", "Exactly its members.", "proof.fields", trusted=True)
    case("of-no-run", "A proof of nothing.", "proof.fields", run="run")
    case("name-missing", "An output that nobody could look up.", "proof.fields", outputs=[])
    case("name-twice", "Two inputs of one name.", "proof.fields", inputs=["x", "x"])
    case("instance-missing", "The circuit has three public numbers.", "circuit.instances", instances=instances()[:2])
    case(
        "instance-beyond-the-field",
        "The order of the field would be a second spelling of zero.",
        "circuit.number",
        instances=[*instances()[:2], proofs.ORDER.to_bytes(32, "little").hex()],
    )
    case("instance-short", "An element has 32 bytes.", "encoding.hex", instances=[*instances()[:2], "00"])
    case("spaced", "One spelling: canonical JSON.", "json.spelling", raw=json.dumps(
        proofs.document(turn(), REQUEST, response(), instances(), SETTINGS)).encode())  # fmt: skip
    case("settings-no-object", "No settings at all.", "circuit.settings", made=b"[]")
    settings("settings-without-scales", "Nobody could read its numbers.", "circuit.settings", model_input_scales=[])
    settings("settings-with-a-fraction", "A scale is an integer.", "circuit.settings", model_input_scales=[7.5])
    settings(
        "input-hidden",
        "A circuit with a private input proves that some input gives this output.",
        "circuit.visibility",
        "reject",
        run_args={"input_visibility": "Private"},
    )
    settings(
        "weights-open",
        "A circuit whose weights are not fixed proves that some model gives this output.",
        "circuit.visibility",
        "reject",
        run_args={"param_visibility": "Private"},
    )
    settings(
        "ranges-ignored",
        "Numbers beyond their range wrap around the field.",
        "circuit.visibility",
        "reject",
        run_args={"ignore_range_check_inputs_outputs": True},
    )
    settings("integers", "Only float32 goes through a scale.", "circuit.type", "reject", input_types=["Int"])


def held_against(out: Writer) -> None:
    """What a proof document is held against (§5(5))."""

    def case(
        name: str,
        why: str,
        code: str | None = None,
        *,
        of: Turn | None = None,
        claimed: dict[str, Any] | None = None,
        shown: bytes | None = None,
        expect: str = "reject",
        **change: Any,
    ) -> None:
        run = of or turn()
        value = {
            **proofs.document(run, run.texts["sent"], run.texts["response"], instances(), SETTINGS),
            **change,
        }
        raw = proofs.raw_of(value)
        circuit = claimed or proofs.circuit(SETTINGS)
        computed = executed(run, mode="ZKML", circuit=circuit)
        proved = executed(
            run,
            event="proved",
            parents=(computed.digest,),
            mode="ZKML",
            circuit=circuit,
            more={"proof": proofs.record(raw, SALT)},
        )
        out.case(
            f"proof/{name}",
            why,
            spec="inference.md §5(5)",
            run=[
                "verify-proof",
                "--computed",
                "computed.json",
                "--proved",
                "proved.json",
                "--salt",
                SALT.hex(),
                "document.json",
            ],
            expect=expect if code else "accept",
            code=code,
            bug="SUBSTITUTION" if code else None,
            result=None if code else {"instances": 3, "inputs": ["x"]},
            files={
                "computed.json": computed.entry,
                "proved.json": proved.entry,
                "document.json": shown or raw,
            },
        )

    case("whole", "What was asked and answered is what the circuit's public numbers say.")
    case(
        "record-swapped",
        "Another document than the one that was signed.",
        "proof.record",
        shown=proofs.raw_of(proofs.document(turn(), REQUEST, response(), instances(), SETTINGS, srs="ab" * 32)),
    )
    case(
        "circuit-swapped",
        "The run named another circuit: an easier one could be proved instead.",
        "proof.circuit",
        claimed={**proofs.circuit(SETTINGS), "verification_key": "ab" * 32},
    )
    case("request-swapped", "The text is not what was asked.", "proof.request", request=REQUEST.replace("0.5", "0.25"))
    case("response-swapped", "The text is not what was answered.", "proof.response", response=response(7))
    case("key-swapped", "The texts do not open under this key.", "proof.request", key="ab" * 32)
    case("another-run", "A proof of another run.", "proof.statement", run=turn_of("other").run)
    case("input-differs", "A proof about another input.", "proof.inputs", instances=instances(first=0.5078125))
    case(
        "output-differs-by-one-bit",
        "A proof about an output that differs in its lowest bit.",
        "proof.outputs",
        instances=instances(output=OUTPUT + 1),
    )
    case(
        "answer-differs-by-one-bit",
        "The node signed and bound an answer that its circuit did not give.",
        "proof.outputs",
        of=turn(answer=response(OUTPUT + 1)),
    )
    case(
        "answer-of-another-artifact",
        "The answer names other bytes than the computation.",
        "proof.outputs",
        of=turn(answer=response(artifact="ab" * 32)),
    )
    case(
        "request-of-another-mode",
        "Nobody asked for a proof of this request.",
        "proof.inputs",
        of=turn(request=REQUEST.replace("ZKML", "VANILLA")),
    )
    case(
        "two-items",
        "One proof is about one item.",
        "proof.inputs",
        of=turn(request='{"model":"scores","inputs":[{"x":[[0.5,-1.25]]},{"x":[[0,0]]}],"mode":"ZKML"}'),
    )
    case("name-swapped", "The circuit's output is called otherwise.", "proof.outputs", outputs=["z"])
