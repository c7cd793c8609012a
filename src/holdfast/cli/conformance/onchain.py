"""Commands of workflow contracts: calls, answers, events and requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from holdfast.cli.conformance.arguments import Answer, Arguments, fields_of
from holdfast.core import abi, canonical, flows
from holdfast.core.agents import in_order
from holdfast.core.asks import ask_nonce, document_of, unpack_parts
from holdfast.core.encoding import hex_decode
from holdfast.core.evm import parse_address


def _flow_call(arguments: Arguments) -> Answer:
    """``onchain.md`` §12(8)."""
    value = fields_of(arguments.file(), "function", "arguments")
    name, given = value["function"], value["arguments"]
    kinds = flows.CONSTRUCTOR if name == "constructor" else flows.FUNCTIONS.get(name, ())
    read = [_argument(kind, text) for kind, text in zip(kinds, given, strict=False)]
    return {"data": flows.call_data(name, [*read, *given[len(kinds) :]]).hex()}


def _argument(kind: abi.Kind, text: str) -> Any:
    if kind == "address":
        return parse_address(text)
    return hex_decode(text) if kind in ("bytes", "bytes32") else int(text)


def _flow_result(arguments: Arguments) -> Answer:
    """``onchain.md`` §12(9): what ``result_before`` answers, and one part of it."""
    value = fields_of(arguments.file(), "data", "label")
    kept = flows.parse_result(hex_decode(value["data"]))
    if kept is None:
        return {"stands": "none"}
    parts = None if kept.parts is None else [[part.label.decode(), part.data.decode()] for part in kept.parts]
    return {
        "stands": kept.stands,
        "id": kept.identity.hex(),
        "statement": kept.statement.hex(),
        "response_hash": kept.response_hash.hex(),
        "round": str(kept.round),
        "at": str(kept.at),
        "mode": flows.MODES[kept.mode],
        "parts": parts,
        "value": None if value["label"] is None else flows.part_of(kept, value["label"].encode()).decode(),
    }


def _flow_value(arguments: Arguments) -> Answer:
    """``onchain.md`` §12(9): what ``value`` answers."""
    value, stands, number, at = flows.parse_value(hex_decode(fields_of(arguments.file(), "data")["data"]))
    return {"value": value.decode(), "stands": stands, "round": str(number), "at": str(at)}


def _log(value: Mapping[str, Any]) -> dict[str, Any]:
    topics = [hex_decode(topic, abi.WORD) for topic in value["topics"]]
    return {"address": parse_address(value["address"]), "topics": topics, "data": hex_decode(value["data"])}


def _flow_event(arguments: Arguments) -> Answer:
    """``onchain.md`` §12(10)."""
    value = fields_of(arguments.file(), "workflow", "log")
    name, told = flows.parse_event(parse_address(value["workflow"]), _log(value["log"]))
    return {"event": name, **{key: _shown(item) for key, item in told.items()}}


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _flow_request(arguments: Arguments) -> Answer:
    """``onchain.md`` §3(3), §4(1), §12(11)."""
    value = fields_of(arguments.file(), "chain_id", "inference", "workflow", "log", "payee")
    given = value["workflow"]
    asking = flows.Asking(
        parse_address(given["address"]),
        hex_decode(given["artifact"], abi.WORD),
        parse_address(given["node"]),
        int(given["fee"]),
        hex_decode(given["document"]),
    )
    found = flows.read_request(value["chain_id"], parse_address(value["inference"]), asking, _log(value["log"]))
    document = canonical.decode_exact(document_of(unpack_parts(found.packed)))
    return {
        "id": found.identity.hex(),
        "nonce": ask_nonce(found.identity, parse_address(value["payee"])),
        "deadline": str(found.ask.deadline),
        "document": canonical.encode_exact(in_order(document)).decode(),
    }


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "flow-call": _flow_call,
    "flow-result": _flow_result,
    "flow-value": _flow_value,
    "flow-event": _flow_event,
    "flow-request": _flow_request,
}
