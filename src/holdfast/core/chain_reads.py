"""Reads of an EVM chain: the batch that is sent, and the document that its answer means (``spec/sources.md`` §4(1)).

The block is asked for before and after the read. Where it is the same both times, what was read in between is of that
block; where it is not, nothing is taken from the answer.

Not covered: whether what the endpoint says is what the chain says. Whoever runs it is believed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from holdfast.core import canonical
from holdfast.core.sources import EvmQuery, fill
from holdfast.errors import MalformedError

_QUANTITY = re.compile(r"0x(?:0|[1-9a-f][0-9a-f]{0,63})\Z")
_HASH = re.compile(r"0x[0-9a-f]{64}\Z")


def build_batch(query: EvmQuery, places: Mapping[str, str]) -> bytes:
    """JSON-RPC: chain id, block, the read, the block again."""
    block = fill(query.block, places)
    calls: list[tuple[str, list[canonical.JSON]]] = [
        ("eth_chainId", []),
        ("eth_getBlockByNumber", [block, False]),
        _read(query, places, block),
        ("eth_getBlockByNumber", [block, False]),
    ]
    batch: canonical.JSON = [
        {"jsonrpc": "2.0", "id": number, "method": method, "params": list(parameters)}
        for number, (method, parameters) in enumerate(calls)
    ]
    return canonical.encode(batch)


def _read(query: EvmQuery, places: Mapping[str, str], block: str) -> tuple[str, list[canonical.JSON]]:
    address = None if query.address is None else fill(query.address, places)
    match query.call:
        case "balance":
            return "eth_getBalance", [address, block]
        case "call":
            return "eth_call", [{"to": address, "data": fill(query.data or "0x", places)}, block]
        case "logs":
            topics: list[canonical.JSON] = [fill(item, places) for item in query.topics]
            return "eth_getLogs", [{"address": address, "topics": topics, "fromBlock": block, "toBlock": block}]
        case _:
            return "eth_getBlockByNumber", [block, False]


def read_batch(query: EvmQuery, body: bytes) -> dict[str, Any]:
    """``{"chain_id","block","result"}`` of an answer; of a block ``number``, ``hash`` and ``timestamp``. Raises
    ``source.schema``."""
    answers = canonical.decode(body)
    if not isinstance(answers, list) or not all(isinstance(item, dict) for item in answers):
        raise MalformedError("source.schema", "the endpoint does not answer a batch")
    results = {item.get("id"): item["result"] for item in answers if "result" in item and "error" not in item}
    if len(answers) != 4 or results.keys() != {0, 1, 2, 3}:
        raise MalformedError("source.schema", "the endpoint did not answer every call")
    chain_id = _number(results[0])
    if chain_id != query.chain_id:
        raise MalformedError("source.schema", f"the endpoint is of chain {chain_id}, not {query.chain_id}")
    before, after = _block(results[1]), _block(results[3])
    if before != after:
        raise MalformedError("source.schema", "the chain moved on while it was read; ask again")
    result = before if query.call == "block" else results[2]
    return {"chain_id": str(chain_id), "block": before, "result": result}


def _block(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not _HASH.match(str(value.get("hash"))):
        raise MalformedError("source.schema", "there is no such block")
    return {
        "number": str(_number(value.get("number"))),
        "hash": value["hash"],
        "timestamp": str(_number(value.get("timestamp"))),
    }


def _number(value: Any) -> int:
    if not isinstance(value, str) or not _QUANTITY.match(value):
        raise MalformedError("source.schema", "a quantity is 0x and hex without leading zeroes")
    return int(value, 16)
