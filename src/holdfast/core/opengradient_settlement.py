"""Batches of OpenGradient's answers: rows, their Merkle tree, the call that names its root (``opengradient.md`` §11).

The tree is OpenZeppelin's "standard-v1": leaves hashed twice, sorted, laid out as an array with the root first, and
pairs hashed in their order by value. Its published form names every row, so anybody can check that a row is under the
root. A row says that somebody handed these values in; neither the tree nor the chain checks the signature in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.captures import Call, Event, selector
from holdfast.core.encoding import b64_decode, sha256
from holdfast.core.evm import keccak256
from holdfast.errors import MalformedError, UsageError

LEAF_TYPES = ("bytes32", "bytes32", "bytes32", "bytes", "uint256")
"""tee id, request hash, output hash, signature, time."""
MAX_ROWS = 256
MAX_SIGNATURE_BYTES = 1024
MAX_HEADER_CHARACTERS = 16 << 10
BATCH_SETTLE = selector("batchSettle(bytes32,uint256,bytes)")
BATCH_SETTLED = keccak256(b"BatchSettlement(bytes32,uint256,bytes)")
_HASH = re.compile(r"(?:0x)?([0-9a-fA-F]{64})\Z")


@dataclass(frozen=True, slots=True)
class Row:
    """One answer: hashes of 32 bytes, the signature, unix seconds."""

    tee_id: bytes
    request_hash: bytes
    output_hash: bytes
    signature: bytes
    timestamp: int

    @property
    def encoded(self) -> bytes:
        """Its ABI encoding as a tuple of :data:`LEAF_TYPES`."""
        head = self.tee_id + self.request_hash + self.output_hash + (160).to_bytes(32) + self.timestamp.to_bytes(32)
        return head + len(self.signature).to_bytes(32) + self.signature + bytes(-len(self.signature) % 32)

    @property
    def leaf(self) -> bytes:
        """Its leaf, 32 bytes."""
        return keccak256(keccak256(self.encoded))

    @property
    def value(self) -> list[str]:
        """As the published tree has it."""
        hashes = (self.tee_id, self.request_hash, self.output_hash, self.signature)
        return [*("0x" + each.hex() for each in hashes), str(self.timestamp)]


def _hash(value: Mapping[str, Any], name: str) -> bytes:
    found = value.get(name)
    match = _HASH.match(found) if isinstance(found, str) else None
    if match is None:
        raise MalformedError("settlement.row", f"{name} is 32 bytes of hex", param=name)
    return bytes.fromhex(match[1])


def parse_row(header: str) -> Row:
    """The value of ``x-settlement-data``; raises ``settlement.row``, ``encoding.base64`` or ``json.*``.

    A row without a time is refused: the placeholder that some gateways send for answers they did not sign has none.
    """
    if len(header) > MAX_HEADER_CHARACTERS:
        raise MalformedError("settlement.row", f"settlement data has at most {MAX_HEADER_CHARACTERS} characters")
    value = canonical.decode_object(b64_decode(header))
    time = value.get("tee_timestamp")
    if type(time) is not int or not 0 <= time < 2**63:
        raise MalformedError("settlement.row", "tee_timestamp is unix seconds", param="tee_timestamp")
    signature = b64_decode(value.get("tee_signature"))
    if not 1 < len(signature) <= MAX_SIGNATURE_BYTES:
        raise MalformedError("settlement.row", "tee_signature is a signature", param="tee_signature")
    tee_id, request_hash, output_hash = (_hash(value, name) for name in ("tee_id", "input_hash", "output_hash"))
    return Row(tee_id, request_hash, output_hash, signature, time)


def row_id(row: Row) -> str:
    """The id of a row's one job: ``batch-`` and a UUID of version 8 made of the SHA-256 of its encoding."""
    digits = bytearray(sha256(row.encoded)[:16])
    digits[6], digits[8] = 0x80 | digits[6] & 0x0F, 0x80 | digits[8] & 0x3F
    text = digits.hex()
    return f"batch-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True, slots=True)
class Batch:
    """A tree over rows."""

    rows: tuple[Row, ...]
    tree: tuple[bytes, ...]

    @property
    def root(self) -> bytes:
        """Its root, 32 bytes."""
        return self.tree[0]

    @property
    def document(self) -> bytes:
        """What is published, as JSON: the format, the tree, and every row with its place in it."""
        places = {leaf: place for place, leaf in enumerate(self.tree)}
        values = [{"value": row.value, "treeIndex": places[row.leaf]} for row in self.rows]
        whole = {
            "format": "standard-v1",
            "leafEncoding": list(LEAF_TYPES),
            "tree": ["0x" + node.hex() for node in self.tree],
            "values": values,
        }
        return json.dumps(whole, separators=(",", ":")).encode()

    def proof(self, row: Row) -> list[bytes]:
        """Siblings from a row's leaf to the root."""
        place, found = self.tree.index(row.leaf), []
        while place:
            found.append(self.tree[place + 1 if place % 2 else place - 1])
            place = (place - 1) // 2
        return found


def build_batch(rows: Sequence[Row]) -> Batch:
    """The tree over rows, each once; raises ``settlement.batch``."""
    if not 0 < len(rows) <= MAX_ROWS or len(set(rows)) != len(rows):
        raise UsageError("settlement.batch", f"a batch has 1 to {MAX_ROWS} different rows")
    leaves = sorted(row.leaf for row in rows)
    tree = [b""] * (2 * len(leaves) - 1)
    for number, leaf in enumerate(leaves):
        tree[len(tree) - 1 - number] = leaf
    for place in range(len(tree) - 1 - len(leaves), -1, -1):
        tree[place] = keccak256(b"".join(sorted((tree[2 * place + 1], tree[2 * place + 2]))))
    return Batch(tuple(rows), tuple(tree))


def settle_call(contract: str, batch: Batch, blob_id: str) -> Call:
    """The call that names a root, its size and where the rows are published."""
    blob = blob_id.encode()
    data = BATCH_SETTLE + batch.root + len(batch.rows).to_bytes(32) + (96).to_bytes(32)
    return Call(contract, data + len(blob).to_bytes(32) + blob + bytes(-len(blob) % 32))


def settled_root(contract: str, events: Sequence[Event]) -> bytes | None:
    """The root that a transaction's event names, if the contract's event is among them."""
    for event in events:
        if event.address == contract and len(event.topics) == 2 and event.topics[0] == BATCH_SETTLED:
            return event.topics[1]
    return None
