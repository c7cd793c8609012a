"""A workflow contract's calls, answers and events, word by word (onchain.md §3, §12)."""

from __future__ import annotations

from typing import Any

from .signing import keccak256

GAS = 2_500_000
WORDS = {
    "run": [], "stop": [], "due": [], "result": [], "getInferenceResult": [], "inference": [], "owner": [], "artifact": [],
    "node": [], "fee": [], "every": [], "period": [], "document": [], "stopped": [], "open_request": [], "asked_at": [],
    "results": [], "withdraw": ["uint256"], "result_before": ["uint256"], "getLastInferenceResults": ["uint256"],
    "value": ["bytes"], "on_inference": ["bytes32", "bytes", "bytes32", "uint8", "uint8"],
}  # fmt: skip
CONSTRUCTOR = ["address", "bytes", "bytes32", "address", "uint256", "uint256", "uint256"]
ASK = "(uint256,address,address,bytes32,address,uint256,uint256,uint256,bytes32)"
REQUESTED = keccak256(f"Requested(bytes32,address,address,{ASK},bytes)".encode())
ASKED = keccak256(b"Asked(bytes32,address)")
KEPT = keccak256(b"Kept(bytes32,uint256,uint8)")
STOPPED = keccak256(b"Stopped()")


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def address(text: str) -> bytes:
    return bytes(12) + bytes.fromhex(text[2:])


def tail(data: bytes) -> bytes:
    """Bytes as they stand behind the heads: their length, and zeros to a whole word."""
    return word(len(data)) + data + bytes(-len(data) % 32)


def arguments(kinds: list[str], values: list[str]) -> bytes:
    heads, tails = [], b""
    for kind, text in zip(kinds, values, strict=True):
        if kind == "bytes":
            heads.append(word(32 * len(kinds) + len(tails)))
            tails += tail(bytes.fromhex(text))
        elif kind == "address":
            heads.append(address(text))
        else:
            heads.append(bytes.fromhex(text) if kind == "bytes32" else word(int(text)))
    return b"".join(heads) + tails


def call(function: str, values: list[str]) -> bytes:
    if function == "constructor":
        return arguments(CONSTRUCTOR, values)
    kinds = WORDS[function]
    return keccak256(f"{function}({','.join(kinds)})".encode())[:4] + arguments(kinds, values)


def packed(rows: list[tuple[bytes, bytes]]) -> bytes:
    """Parts as they stand on chain (§2(1))."""
    return b"".join(len(piece).to_bytes(2, "big") + piece for row in rows for piece in row)


def result(value: dict[str, Any]) -> bytes:
    """The answer of ``result_before``."""
    heads = [value["id"], value["statement"], value["response_hash"]]
    heads += [word(value[name]) for name in ("round", "at", "mode", "state")]
    return word(64) + word(value["stands"]) + b"".join(heads) + word(256) + tail(value["response"])


def value(data: bytes, stands: int, number: int, at: int) -> bytes:
    """The answer of ``value``."""
    return word(128) + word(stands) + word(number) + word(at) + tail(data)


def ask_words(ask: dict[str, Any]) -> bytes:
    """An ask, which has nine words."""
    return (
        word(ask["number"]) + address(ask["asker"]) + address(ask["node"]) + ask["artifact"] + address(ask["target"])
        + word(ask["gas_limit"]) + word(ask["fee"]) + word(ask["deadline"]) + ask["document"]
    )  # fmt: skip


def identity(chain_id: int, contract: str, ask: dict[str, Any]) -> bytes:
    """The id of a request (§3(3))."""
    return keccak256(word(chain_id) + address(contract) + ask_words(ask))


def nonce(request: bytes, payee: str) -> str:
    """The nonce of its run (§4(1))."""
    return keccak256(request + address(payee)).hex()


def log(contract: str, topics: list[bytes], data: bytes) -> dict[str, Any]:
    return {"address": contract, "topics": [topic.hex() for topic in topics], "data": data.hex()}


def requested(contract: str, request: bytes, ask: dict[str, Any], document: bytes) -> dict[str, Any]:
    topics = [REQUESTED, request, address(ask["asker"]), address(ask["node"])]
    return log(contract, topics, ask_words(ask) + word(320) + tail(document))
