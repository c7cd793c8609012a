"""Ethereum transactions as bytes: RLP, the three envelope forms in use, and who signed them.

Rules: RLP is decoded in its one canonical form; integers have no leading zeros; a signature's ``s`` is low (EIP-2); the
sender is recovered, never stated. Built are EIP-1559 transactions only; parsed are legacy with a chain id (EIP-155),
EIP-2930 and EIP-1559. An access list is parsed as far as its shape and carried along.
Not covered: blob (EIP-4844) and delegation (EIP-7702) transactions (``transaction.type``), execution, nonces, fees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from holdfast.core import evm
from holdfast.errors import MalformedError

Item: TypeAlias = "bytes | list[Item]"
"""What RLP holds: byte strings and lists of them."""
MAX_TRANSACTION_BYTES = 128 * 1024
"""Larger ones are refused unread, as common clients do."""
_MAX_DEPTH = 8
_LEGACY, _ACCESS_LIST, _DYNAMIC_FEE = 0, 1, 2


def rlp_encode(item: Item) -> bytes:
    """RLP (Ethereum yellow paper, appendix B)."""
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return _length(len(item), 0x80) + item
    payload = b"".join(rlp_encode(part) for part in item)
    return _length(len(payload), 0xC0) + payload


def _length(size: int, offset: int) -> bytes:
    if size < 56:
        return bytes([offset + size])
    digits = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([offset + 55 + len(digits)]) + digits


def rlp_decode(data: bytes) -> Item:
    """The one item that ``data`` is; raises ``transaction.rlp`` for any other spelling or for bytes left over."""
    item, end = _decode(data, 0, len(data), 0)
    if end != len(data):
        raise MalformedError("transaction.rlp", "bytes follow the item")
    return item


def _decode(data: bytes, at: int, limit: int, depth: int) -> tuple[Item, int]:
    if at >= limit or depth > _MAX_DEPTH:
        raise MalformedError("transaction.rlp", "an item is missing or nested too deep")
    first = data[at]
    if first < 0x80:
        return data[at : at + 1], at + 1
    is_list = first >= 0xC0
    short = first - (0xC0 if is_list else 0x80)
    start = at + 1
    if short >= 56:
        digits = data[start : start + short - 55]
        start += short - 55
        size = int.from_bytes(digits)
        if len(digits) != short - 55 or digits[0] == 0 or size < 56:
            raise MalformedError("transaction.rlp", "a length is not in its shortest form")
    else:
        size = short
    end = start + size
    if end > limit:
        raise MalformedError("transaction.rlp", "an item is longer than the bytes at hand")
    if not is_list:
        if size == 1 and data[start] < 0x80:
            raise MalformedError("transaction.rlp", "a small byte is written as itself")
        return data[start:end], end
    items: list[Item] = []
    while start < end:
        item, start = _decode(data, start, end, depth + 1)
        items.append(item)
    return items, end


def integer_bytes(value: int) -> bytes:
    """An unsigned integer as RLP wants it: big-endian, no leading zeros, zero is empty."""
    return value.to_bytes((value.bit_length() + 7) // 8)


def _integer(item: Item, name: str, size_bytes: int = 32) -> int:
    if not isinstance(item, bytes) or len(item) > size_bytes or item[:1] == b"\x00":
        raise MalformedError("transaction.fields", f"{name} is an unsigned integer without leading zeros", param=name)
    return int.from_bytes(item)


def _bytes(item: Item, name: str) -> bytes:
    if not isinstance(item, bytes):
        raise MalformedError("transaction.fields", f"{name} is a byte string", param=name)
    return item


@dataclass(frozen=True, slots=True)
class Transaction:
    """A signed transaction. Amounts are base units, fees base units per gas."""

    chain_id: int
    nonce: int
    max_priority_fee: int
    max_fee: int
    gas: int
    to: str | None
    """Lower-case address, or ``None`` to create a contract."""
    value: int
    data: bytes
    sender: str
    """Recovered from the signature."""
    hash: bytes
    """Keccak-256 of ``raw``."""
    raw: bytes
    type: int
    signature: tuple[int, int, int]
    """``y parity, r, s``."""


@dataclass(frozen=True, slots=True)
class UnsignedTransaction:
    """An EIP-1559 transaction before it is signed."""

    chain_id: int
    nonce: int
    max_priority_fee: int
    max_fee: int
    gas: int
    to: str | None
    value: int
    data: bytes

    def _fields(self) -> list[Item]:
        fees = [integer_bytes(number) for number in (self.max_priority_fee, self.max_fee, self.gas)]
        target = b"" if self.to is None else evm.address_bytes(self.to)
        nonce = integer_bytes(self.nonce)
        return [integer_bytes(self.chain_id), nonce, *fees, target, integer_bytes(self.value), self.data, []]

    def digest(self) -> bytes:
        """What is signed, 32 bytes."""
        return evm.keccak256(b"\x02" + rlp_encode(self._fields()))

    def signed(self, signature: bytes) -> bytes:
        """The raw transaction with a 65-byte ``r ‖ s ‖ v`` signature over :meth:`digest`."""
        evm.check_signature_form(signature)
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64])
        tail: list[Item] = [integer_bytes(signature[64] - 27), integer_bytes(r), integer_bytes(s)]
        return b"\x02" + rlp_encode([*self._fields(), *tail])


def parse_transaction(raw: bytes, *, known_sender: str | None = None) -> Transaction:
    """Raw bytes to a transaction with its recovered sender; raises ``transaction.*`` or ``evm.signature``.

    ``known_sender`` skips the recovery: for bytes that were parsed here before and come back from one's own log.
    """
    if not raw or len(raw) > MAX_TRANSACTION_BYTES:
        raise MalformedError("transaction.size", f"a transaction has 1 to {MAX_TRANSACTION_BYTES} bytes")
    if raw[0] >= 0xC0:
        return _parse_legacy(raw, known_sender)
    if raw[0] not in (_ACCESS_LIST, _DYNAMIC_FEE):
        raise MalformedError("transaction.type", f"transactions of type {raw[0]} are not taken here")
    return _parse_typed(raw, raw[0], known_sender)


def _list(raw: bytes, count: int) -> list[Item]:
    item = rlp_decode(raw)
    if not isinstance(item, list) or len(item) != count:
        raise MalformedError("transaction.fields", f"expected a list of {count} fields")
    return item


def _parse_legacy(raw: bytes, known_sender: str | None) -> Transaction:
    fields = _list(raw, 9)
    v = _integer(fields[6], "v", 8)
    if v < 35:
        raise MalformedError("transaction.chain_id", "a transaction names its chain (EIP-155)")
    chain_id, parity = (v - 35) // 2, (v - 35) % 2
    digest = evm.keccak256(rlp_encode([*fields[:6], integer_bytes(chain_id), b"", b""]))
    price = _integer(fields[1], "gas_price")
    return _finish(
        raw,
        kind=_LEGACY,
        digest=digest,
        chain_id=chain_id,
        priority_fee=price,
        max_fee=price,
        common=[fields[0], *fields[2:6]],
        parity=parity,
        point=fields[7:9],
        known_sender=known_sender,
    )


def _parse_typed(raw: bytes, kind: int, known_sender: str | None) -> Transaction:
    fields = _list(raw[1:], 11 if kind == _ACCESS_LIST else 12)
    digest = evm.keccak256(raw[:1] + rlp_encode(fields[:-3]))
    chain_id = _integer(fields[0], "chain_id", 8)
    if not isinstance(fields[-4], list):
        raise MalformedError("transaction.fields", "the access list is a list", param="access_list")
    priority = _integer(fields[2], "max_priority_fee")
    fee = priority if kind == _ACCESS_LIST else _integer(fields[3], "max_fee")
    rest = fields[3:7] if kind == _ACCESS_LIST else fields[4:8]
    parity = _integer(fields[-3], "y_parity", 1)
    if parity > 1:
        raise MalformedError("transaction.fields", "y parity is 0 or 1", param="y_parity")
    return _finish(
        raw,
        kind=kind,
        digest=digest,
        chain_id=chain_id,
        priority_fee=priority,
        max_fee=fee,
        common=[fields[1], *rest],
        parity=parity,
        point=fields[-2:],
        known_sender=known_sender,
    )


def _finish(
    raw: bytes,
    *,
    kind: int,
    digest: bytes,
    chain_id: int,
    priority_fee: int,
    max_fee: int,
    common: list[Item],
    parity: int,
    point: list[Item],
    known_sender: str | None,
) -> Transaction:
    nonce, gas, to, value, data = common
    r, s = _integer(point[0], "r"), _integer(point[1], "s")
    target = _bytes(to, "to")
    signature = evm.word(r) + evm.word(s) + bytes([27 + parity])
    if priority_fee > max_fee:
        raise MalformedError("transaction.fields", "the priority fee is above the maximum fee", param="max_fee")
    return Transaction(
        chain_id,
        _integer(nonce, "nonce", 8),
        priority_fee,
        max_fee,
        _integer(gas, "gas", 8),
        evm.address_from_bytes(target) if target else None,
        _integer(value, "value"),
        _bytes(data, "data"),
        evm.recover(digest, signature) if known_sender is None else known_sender,
        evm.keccak256(raw),
        raw,
        kind,
        (parity, r, s),
    )


def contract_address(sender: str, nonce: int) -> str:
    """Where a contract created by ``sender`` at ``nonce`` lands: Keccak-256 of RLP (sender, nonce), last 20 bytes."""
    return "0x" + evm.keccak256(rlp_encode([evm.address_bytes(sender), integer_bytes(nonce)]))[12:].hex()
