"""onchain: a workflow contract's calls, answers and events, and whose a request is (onchain.md §12)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from reference import flows, parts
from reference.cases import Writer
from reference.flows import word
from reference.signing import keccak256
from reference.text import named, parse, sha

WORKFLOW, INFERENCE, OTHER = "0x" + "f1" * 20, "0x" + "1e" * 20, "0x" + "0a" * 20
NODE, PAYEE, OWNER = "0x" + "a0" * 20, "0x" + "a0" * 20, "0x" + "b1" * 20
NOBODY = "0x" + "00" * 20
CHAIN = 31337
REQUEST = '{"model":"risk","inputs":{"x":{"dtype":"float32","shape":[2],"data":[1,2.5]}}}'
REQUEST_TEXT = '{"inputs":{"x":{"data":[1,2.5],"dtype":"float32","shape":[2]}},"model":"risk"}'
"""The same as a reader writes it again: members in the order of their names."""
RESPONSE = (
    '{"object":"inference","model":"risk","artifact":"sha256:' + "ab" * 32 + '","mode":"VANILLA",'
    '"outputs":{"y":{"dtype":"float32","shape":[1],"data":[0.25]}}}'
)


def packed(text: str, document: str) -> bytes:
    rows = parts.map_document(parse(text.encode()), document)
    return flows.packed([(label.encode(), data) for label, data in rows])


DOCUMENT, ANSWER = packed(REQUEST, "request"), packed(RESPONSE, "response")
RESPONSE_PARTS = parts.map_document(parse(RESPONSE.encode()), "response")
ID, STATEMENT = named("onchain/request"), sha(b"the closing statement's payload")
GOOD: dict[str, Any] = {
    "id": ID, "statement": STATEMENT, "response_hash": keccak256(ANSWER), "round": 7, "at": 1_767_225_600, "mode": 0,
    "state": 1, "stands": 1, "response": ANSWER,
}  # fmt: skip
NOTHING: dict[str, Any] = {
    "id": bytes(32), "statement": bytes(32), "response_hash": bytes(32), "round": 0, "at": 0, "mode": 0, "state": 0,
    "stands": 0, "response": b"",
}  # fmt: skip
BUG = "SUBSTITUTION"


def calls(out: Writer) -> None:
    """§12(8)."""

    def case(name: str, why: str, function: str, given: list[str], code: str | None = None) -> None:
        out.case(
            f"onchain/call-{name}",
            why,
            spec="onchain.md §12(8)",
            run=["flow-call", "call.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED" if code else None,
            result=None if code else {"data": flows.call(function, given).hex()},
            files={"call.json": {"function": function, "arguments": given}},
        )

    for function, kinds in flows.WORDS.items():
        if not kinds:
            case(function.replace("_", "-").lower(), f"`{function}` takes nothing: four bytes.", function, [])
    terms = [INFERENCE, DOCUMENT.hex(), bytes(32).hex(), NODE, "5", "60", "3600"]
    handed = [ID.hex(), ANSWER.hex(), STATEMENT.hex(), "0", "1"]
    case("constructor", "What stands behind the code of a workflow that is made.", "constructor", terms)
    case("withdraw", "All that 256 bits hold.", "withdraw", [str(2**256 - 1)])
    case("result-before", "The oldest that is kept.", "result_before", ["15"])
    case("last-results", "OpenGradient's, under their selector.", "getLastInferenceResults", ["16"])
    case("value", "A label that is longer than a word.", "value", [b"output|-|0|n|/outputs/y/data/0".hex() + "2f" * 9])
    case("value-of-nothing", "An empty label has no words behind its length.", "value", [""])
    case("on-inference", "A result as it is handed over.", "on_inference", handed)
    case("of-no-function", "The contract has no such function.", "fulfil", [], "flow.function")
    case("of-another-case", "Names are compared letter by letter.", "Run", [], "flow.function")
    case("too-few", "An argument is missing.", "withdraw", [], "evm.abi")
    case("too-many", "An argument that nobody takes.", "run", ["1"], "evm.abi")
    case("below-nothing", "Numbers have no sign.", "withdraw", ["-1"], "evm.word")
    case("of-257-bits", "A number that no word holds.", "withdraw", [str(2**256)], "evm.word")
    case("state-of-9-bits", "A state has eight bits.", "on_inference", [*handed[:4], "256"], "evm.word")
    case("digest-of-31-bytes", "A digest has 32 bytes.", "on_inference", [ID.hex()[2:], *handed[1:]], "evm.abi")
    case("short-address", "An address has 20 bytes.", "constructor", [INFERENCE[:-2], *terms[1:]], "evm.address")
    case("address-in-capitals", "An address has one spelling.", "constructor", [INFERENCE.upper().replace("X", "x"), *terms[1:]],
         "evm.address")  # fmt: skip


def results(out: Writer) -> None:
    """§12(9)."""

    def case(
        name: str,
        why: str,
        data: bytes,
        told: dict[str, Any] | None = None,
        code: str | None = None,
        *,
        label: str | None = None,
        expect: str = "reject",
    ) -> None:
        out.case(
            f"onchain/result-{name}",
            why,
            spec="onchain.md §12(9)",
            run=["flow-result", "result.json"],
            expect=expect if code else "accept",
            code=code,
            bug=BUG if code else None,
            result=told,
            files={"result.json": {"data": data.hex(), "label": label}},
        )

    def answer(**changes: Any) -> bytes:
        return flows.result({**GOOD, **changes})

    def told(stands: str, mode: str = "VANILLA", **more: Any) -> dict[str, Any]:
        return {
            "stands": stands, "id": ID.hex(), "statement": STATEMENT.hex(), "response_hash": keccak256(ANSWER).hex(),
            "round": "7", "at": str(GOOD["at"]), "mode": mode,
            "parts": [[label, data.decode()] for label, data in RESPONSE_PARTS], "value": None, **more,
        }  # fmt: skip

    label = next(label for label, _ in RESPONSE_PARTS if label.endswith("/data/0"))
    case("final", "A result that final rounds call ok.", answer(), told("final"))
    case("proved", "One whose proof they call ok too.", answer(state=2, stands=2, mode=1), told("proved", "ZKML"))
    case("recalled", "One of whose statements a later round refuted: it is told, and how it stands.", answer(stands=3),
         told("recalled"))  # fmt: skip
    case("none", "There is none.", flows.result(NOTHING), {"stands": "none"})
    long = keccak256(b"x" * 2049)
    case("not-kept-whole", "Of a long response the hash alone is kept.", answer(response=b"", response_hash=long),
         told("final", response_hash=long.hex(), parts=None))  # fmt: skip
    case("value", "One part, found by its whole label.", answer(), told("final", value="0.25"), label=label)

    case("of-another-response", "A response that is not the one that was handed over.",
         answer(response=ANSWER.replace(b"0.25", b"0.99")), code="flow.response")  # fmt: skip
    case("longer-than-any", "A response that the contract would not have kept.",
         answer(response=b"x" * 2049, response_hash=long), code="flow.response")  # fmt: skip
    packed_astray = ANSWER + b"\x00"
    case("of-no-parts", "A response that ends within a part.",
         answer(response=packed_astray, response_hash=keccak256(packed_astray)), code="ask.document", expect="malformed")  # fmt: skip
    case("of-no-state", "How it stands is a number that nobody knows.", answer(stands=4), code="flow.stands")
    case("better-than-it-came", "A final result that is told as proved.", answer(stands=2), code="flow.stands")
    case("worse-than-it-came", "A proved result that is told as final.", answer(state=2), code="flow.stands")
    case("never-handed-over", "A state that no result has when it is handed over.", answer(state=3, stands=3),
         code="flow.stands")  # fmt: skip
    case("none-and-one", "A result, and that there is none.", answer(stands=0), code="flow.stands")
    case("of-no-mode", "A mode that there is not.", answer(mode=3), code="flow.stands")
    case("part-of-another", "A part that it has not.", answer(), code="flow.part", label=label + "0")
    case("part-of-none-kept", "A part of a response of which the hash alone is kept.",
         answer(response=b"", response_hash=long), code="flow.part", label=label)  # fmt: skip
    good = answer()
    for name, why, data in (
        ("cut", "An answer that ends early.", good[:-32]),
        ("longer", "Bytes behind the end.", good + bytes(32)),
        ("empty", "No contract answers there.", b""),
        ("padded-with-something", "Padding is zeros.", good[:-1] + b"\x01"),
        (
            "offset-astray",
            "The result begins elsewhere than behind the heads.",
            word(96) + good[32:64] + bytes(32) + good[64:],
        ),
        ("offset-of-everything", "An offset beyond what is there.", word(2**256 - 1) + good[32:]),
        ("offset-into-itself", "A response that stands within the heads.", good[:288] + word(0) + good[320:]),
        ("length-of-everything", "A length beyond what is there.", good[:320] + word(2**255) + good[352:]),
        ("stands-in-nine-bits", "How it stands has eight bits.", good[:32] + word(257) + good[64:]),
        ("mode-in-nine-bits", "A mode has eight bits.", good[:224] + word(256) + good[256:]),
    ):
        assert data != good
        case("answer-" + name, why, data, code="evm.abi", expect="malformed")


def values(out: Writer) -> None:
    """§12(9)."""

    def case(name: str, why: str, data: bytes, told: dict[str, Any] | None = None, code: str | None = None,
             expect: str = "reject") -> None:  # fmt: skip
        out.case(f"onchain/value-{name}", why, spec="onchain.md §12(9)", run=["flow-value", "value.json"],
                 expect=expect if code else "accept", code=code, bug=BUG if code else None, result=told,
                 files={"value.json": {"data": data.hex()}})  # fmt: skip

    good = flows.value(b"0.25", 1, 7, GOOD["at"])
    told = {"value": "0.25", "stands": "final", "round": "7", "at": str(GOOD["at"])}
    case("final", "One part's bytes, with how the result stands.", good, told)
    case("recalled", "The same of what was recalled since.", flows.value(b"0.25", 3, 7, GOOD["at"]),
         {**told, "stands": "recalled"})  # fmt: skip
    case("of-none", "A value of no result.", flows.value(b"0.25", 0, 7, 0), code="flow.stands")
    case("of-no-state", "A state that nobody knows.", flows.value(b"0.25", 9, 7, 0), code="flow.stands")
    case("without-how-it-stands", "Bytes alone, as an oracle would answer.", word(32) + flows.tail(b"0.25"), code="evm.abi",
         expect="malformed")  # fmt: skip


def events(out: Writer) -> None:
    """§12(10)."""

    def case(name: str, why: str, log: dict[str, Any], told: dict[str, Any] | None = None, code: str | None = None,
             expect: str = "malformed") -> None:  # fmt: skip
        out.case(f"onchain/event-{name}", why, spec="onchain.md §12(10)", run=["flow-event", "event.json"],
                 expect=expect if code else "accept", code=code, bug=BUG if code else None, result=told,
                 files={"event.json": {"workflow": WORKFLOW, "log": log}})  # fmt: skip

    asked = flows.log(WORKFLOW, [flows.ASKED, ID, flows.address(OWNER)], b"")
    kept = flows.log(WORKFLOW, [flows.KEPT, ID], word(7) + word(1))
    case("asked", "Somebody had it ask.", asked, {"event": "Asked", "id": ID.hex(), "by": OWNER})
    case("kept", "A result is kept.", kept, {"event": "Kept", "id": ID.hex(), "round": "7", "state": "1"})
    case("stopped", "It asks no more.", flows.log(WORKFLOW, [flows.STOPPED], b""), {"event": "Stopped"})
    case("of-another-contract", "Another contract says so, which anybody can deploy.", {**kept, "address": OTHER},
         code="flow.event", expect="reject")  # fmt: skip
    case("of-no-topic", "An event without a name.", {**kept, "topics": []}, code="flow.event")
    case("of-another-name", "An event of another name.", {**kept, "topics": [keccak256(b"Final(bytes32)").hex(), ID.hex()]},
         code="flow.event")  # fmt: skip
    case("without-its-id", "A key is missing.", {**kept, "topics": kept["topics"][:1]}, code="flow.event")
    case("with-another-key", "A key too many.", {**kept, "topics": [*kept["topics"], ID.hex()]}, code="flow.event")
    case("with-more-data", "Data behind the end.", {**kept, "data": kept["data"] + "00" * 32}, code="evm.abi")
    case("with-less-data", "Data that ends early.", {**kept, "data": kept["data"][:64]}, code="evm.abi")
    case("with-data", "Data where there is none.", {**asked, "data": "00" * 32}, code="evm.abi")
    case("by-more-than-an-address", "A key with something before its address.",
         {**asked, "topics": [*asked["topics"][:2], "01" + asked["topics"][2][2:]]}, code="evm.abi")  # fmt: skip
    case("kept-as-recalled", "No result is handed over in a state that nobody hands over.",
         {**kept, "data": (word(7) + word(3)).hex()}, code="flow.stands", expect="reject")  # fmt: skip


def requests(out: Writer) -> None:
    """§12(11)."""
    ask: dict[str, Any] = {
        "number": 3, "asker": WORKFLOW, "node": NODE, "artifact": bytes(32), "target": WORKFLOW, "gas_limit": flows.GAS,
        "fee": 5, "deadline": 1_767_229_200, "document": keccak256(DOCUMENT),
    }  # fmt: skip
    workflow = {"address": WORKFLOW, "artifact": bytes(32).hex(), "node": NODE, "fee": "5", "document": DOCUMENT.hex()}

    def case(
        name: str,
        why: str,
        code: str | None = None,
        *,
        ask_of: dict[str, Any] | None = None,
        document: bytes = DOCUMENT,
        change: Callable[[dict[str, Any]], None] | None = None,
        expect: str = "reject",
        payee: str = PAYEE,
    ) -> None:
        made = {**ask, **(ask_of or {})}
        request = flows.identity(CHAIN, INFERENCE, made)
        value = copy.deepcopy(
            {
                "chain_id": CHAIN,
                "inference": INFERENCE,
                "workflow": workflow,
                "log": flows.requested(INFERENCE, request, made, document),
                "payee": payee,
            }
        )
        if change is not None:
            change(value)
        told = {
            "id": request.hex(), "nonce": flows.nonce(request, payee), "deadline": str(made["deadline"]), "document": REQUEST_TEXT,
        }  # fmt: skip
        out.case(f"onchain/request-{name}", why, spec="onchain.md §12(11)", run=["flow-request", "request.json"],
                 expect=expect if code else "accept", code=code, bug=BUG if code else None, result=None if code else told,
                 files={"request.json": value})  # fmt: skip

    case("whole", "A workflow's request: its id, and the nonce that a run for this payee has.")
    case("of-another-payee", "Whoever else is paid needs another run: its nonce is another.", payee=OTHER)
    case(
        "next", "The next request of the same workflow has another id.", ask_of={"number": 4, "deadline": 1_767_232_800}
    )
    case("on-another-chain", "The same event on another chain is of no request there.", "ask.open",
         change=lambda value: value.update(chain_id=1))  # fmt: skip
    case("of-another-contract", "The event of another contract.", "flow.event",
         change=lambda value: value["log"].update(address=OTHER))  # fmt: skip
    case("of-another-inference", "An event that another contract could have told.", "ask.open",
         change=lambda value: (value.update(inference=OTHER), value["log"].update(address=OTHER)))  # fmt: skip

    def spoil(place: int) -> Callable[[dict[str, Any]], None]:
        """Another byte in one word of the data."""

        def change(value: dict[str, Any]) -> None:
            data = bytearray.fromhex(value["log"]["data"])
            data[32 * place + 31] ^= 1
            value["log"]["data"] = bytes(data).hex()

        return change

    for place, member in enumerate(ask):
        case("changed-" + member.replace("_", "-"), f"The ask's {member} was changed: it is no request.", "ask.open",
             change=spoil(place))  # fmt: skip

    def topic(place: int, data: bytes) -> Callable[[dict[str, Any]], None]:
        return lambda value: value["log"]["topics"].__setitem__(place, data.hex())

    case("another-id", "An id that does not follow from the ask.", "ask.open", change=topic(1, ID))
    case(
        "another-asker-told",
        "The key names another asker than the ask.",
        "ask.open",
        change=topic(2, flows.address(OTHER)),
    )
    case(
        "another-node-told",
        "The key names another node than the ask.",
        "ask.open",
        change=topic(3, flows.address(OTHER)),
    )
    case(
        "another-event",
        "Another event with the same values.",
        "flow.event",
        change=topic(0, flows.KEPT),
        expect="malformed",
    )
    case(
        "without-a-key",
        "A key is missing.",
        "flow.event",
        change=lambda value: value["log"]["topics"].pop(),
        expect="malformed",
    )
    case("another-document", "A document that is not the one that was asked.", "ask.document",
         document=packed(REQUEST.replace("2.5", "2.6"), "request"))  # fmt: skip
    case("longer-data", "Data behind the end.", "evm.abi", expect="malformed",
         change=lambda value: value["log"].update(data=value["log"]["data"] + "00" * 32))  # fmt: skip
    other = packed(REQUEST.replace("2.5", "2.6"), "request")
    case("of-other-terms-document", "A request of the workflow's account for something else than it asks.", "flow.request",
         ask_of={"document": keccak256(other)}, document=other)  # fmt: skip
    for member, changed in (
        ("asker", OTHER), ("target", OTHER), ("target", NOBODY), ("node", NOBODY), ("artifact", named("another artifact")),
        ("fee", 4), ("gas_limit", 10_000_000),
    ):  # fmt: skip
        name = f"of-other-terms-{member.replace('_', '-')}" + (
            "-nobody" if (member, changed) == ("target", NOBODY) else ""
        )
        case(name, f"A request with another {member} than the workflow's is somebody else's, though it hashes to its id.",
             "flow.request", ask_of={member: changed})  # fmt: skip


def write(out: Writer) -> None:
    """Write the suite."""
    calls(out)
    results(out)
    values(out)
    events(out)
    requests(out)
