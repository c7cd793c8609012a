"""The little of Ethereum's contract ABI that calls, answers and events of our contracts need, in one spelling.

Kinds are ``uint256``, ``uint8``, ``bool``, ``address``, ``bytes32``, ``bytes``, and tuples of kinds. What is decoded is
encoded again and compared: an answer with bytes astray, behind the end, or in another order is none.

Not covered: lists, strings and signed numbers (``adapters.evm_rpc`` has them).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from holdfast.core import evm
from holdfast.errors import MalformedError

Kind: TypeAlias = "str | tuple[Kind, ...]"
WORD = 32
"""Bytes of a word."""
_BITS = {"uint256": 256, "uint8": 8, "bool": 1}


def signature(name: str, kinds: Sequence[Kind]) -> str:
    """A function or an event as its selector or topic is made of it."""
    return f"{name}({','.join(map(_spelled, kinds))})"


def selector(name: str, kinds: Sequence[Kind]) -> bytes:
    """The first four bytes of a call."""
    return evm.keccak256(signature(name, kinds).encode())[:4]


def encode(kinds: Sequence[Kind], values: Sequence[Any]) -> bytes:
    """Values in a row, as arguments and answers have them. Raises ``evm.abi``, ``evm.word`` and ``evm.address``."""
    if len(kinds) != len(values):
        raise MalformedError("evm.abi", f"{len(kinds)} values are expected, and {len(values)} are there")
    heads, tails = b"", b""
    begin = sum(map(_head_bytes, kinds))
    for kind, value in zip(kinds, values, strict=True):
        encoded = _encode(kind, value)
        if _is_dynamic(kind):
            heads += evm.word(begin + len(tails))
            tails += encoded
        else:
            heads += encoded
    return heads + tails


def decode(kinds: Sequence[Kind], data: bytes) -> tuple[Any, ...]:
    """The way back; raises ``evm.abi`` for whatever :func:`encode` would not have written."""
    found = _decode(kinds, data)
    try:
        same = encode(kinds, found) == data
    except MalformedError:
        same = False
    if not same:
        raise MalformedError("evm.abi", "these bytes are no values of these kinds, in the one spelling that they have")
    return found


def _spelled(kind: Kind) -> str:
    return kind if isinstance(kind, str) else f"({','.join(map(_spelled, kind))})"


def _is_dynamic(kind: Kind) -> bool:
    return kind == "bytes" if isinstance(kind, str) else any(map(_is_dynamic, kind))


def _head_bytes(kind: Kind) -> int:
    return WORD if isinstance(kind, str) or _is_dynamic(kind) else sum(map(_head_bytes, kind))


def _encode(kind: Kind, value: Any) -> bytes:
    if not isinstance(kind, str):
        return encode(kind, value)
    if kind == "address":
        return bytes(12) + evm.address_bytes(value)
    if kind == "bytes" and isinstance(value, bytes):
        return evm.word(len(value)) + value + bytes(-len(value) % WORD)
    if kind == "bytes32" and isinstance(value, bytes) and len(value) == WORD:
        return value
    if kind in _BITS and isinstance(value, int) and (kind == "bool") == isinstance(value, bool):
        if value >> _BITS[kind] != 0:
            raise MalformedError("evm.word", f"{kind} has {_BITS[kind]} bits and no sign")
        return evm.word(value)
    raise MalformedError("evm.abi", f"this is no {kind}")


def _decode(kinds: Sequence[Kind], data: bytes) -> tuple[Any, ...]:
    found, at = [], 0
    for kind in kinds:
        if _is_dynamic(kind):
            begin = min(int.from_bytes(data[at : at + WORD]), len(data))
            found.append(_bytes(data[begin:]) if kind == "bytes" else _decode(tuple(kind), data[begin:]))
        elif isinstance(kind, str):
            found.append(_single(kind, data[at : at + WORD]))
        else:
            found.append(_decode(kind, data[at:]))
        at += _head_bytes(kind)
    return tuple(found)


def _bytes(data: bytes) -> bytes:
    size = min(int.from_bytes(data[:WORD]), len(data))
    return data[WORD : WORD + size]


def _single(kind: str, word: bytes) -> Any:
    if kind == "address":
        return evm.address_from_bytes(word[12:].rjust(20, b"\0"))
    if kind == "bytes32":
        return word
    return bool(int.from_bytes(word)) if kind == "bool" else int.from_bytes(word)
