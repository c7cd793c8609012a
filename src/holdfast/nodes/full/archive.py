"""Verdict blobs and final rounds, as files: what a full node serves for as long as it keeps a round.

Rules: a blob is durable before any signature over a candidate that names it leaves the node. Rounds are written in
order, one small file each, rewritten when another node's finality message arrives; after a crash a file holds the old
or the new content, and messages of others can be collected again.

Not covered: what this node signed (``journal.py`` remembers that; these files may be lost without harm to anybody but
their readers).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import canonical, rounds
from holdfast.core.encoding import sha256_hex
from holdfast.core.rounds import Candidate, FinalityMessage
from holdfast.errors import MalformedError
from holdfast.ports.storage import Storage

_CACHED = 16
"""Blobs and rounds kept in memory."""


@dataclass
class RoundRecord:
    """One final round and the finality messages known here, by signer address."""

    candidate: Candidate
    block: int
    final_at: int
    """Timestamp of the block that finalised it, unix seconds."""
    messages: dict[str, FinalityMessage] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As the file holds it."""
        return {
            "round": self.candidate.to_json(),
            "block": self.block,
            "final_at": self.final_at,
            "messages": {signer: message.to_json() for signer, message in sorted(self.messages.items())},
        }


def _parse_record(raw: bytes) -> RoundRecord:
    value = canonical.decode_object(raw)
    if value.keys() != {"round", "block", "final_at", "messages"}:
        raise MalformedError("archive.round", "a round file has exactly round, block, final_at and messages")
    messages = {signer: rounds.parse_finality_message(item) for signer, item in value["messages"].items()}
    return RoundRecord(rounds.parse_candidate(value["round"]), value["block"], value["final_at"], messages)


class Archive:
    """The files of one full node. Reads and writes block for as long as a small file takes."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._blobs: OrderedDict[bytes, bytes] = OrderedDict()
        self._rounds: OrderedDict[tuple[str, int], RoundRecord] = OrderedDict()

    # Verdict blobs

    def save_blob(self, blob: bytes) -> bytes:
        """Keep a blob durably; returns its id (32 bytes)."""
        blob_id = rounds.blob_id(blob)
        if self.load_blob(blob_id) is None:
            self._storage.save(_blob_name(blob_id), blob)
            _remember(self._blobs, blob_id, blob)
        return blob_id

    def load_blob(self, blob_id: bytes) -> bytes | None:
        """A blob that was kept. Bytes that do not hash to their name are as good as lost."""
        blob = self._blobs.get(blob_id)
        if blob is None:
            blob = self._storage.load(_blob_name(blob_id))
            if blob is None or rounds.blob_id(blob) != blob_id:
                return None
            _remember(self._blobs, blob_id, blob)
        return blob

    def drop_blob(self, blob_id: bytes) -> None:
        """Forget the blob of a candidate that did not become final."""
        self._blobs.pop(blob_id, None)
        self._storage.remove(_blob_name(blob_id))

    # Rounds

    def save_round(self, record: RoundRecord) -> None:
        """Write a final round, whole."""
        key = (record.candidate.origin, record.candidate.number)
        self._storage.save(_round_name(*key), canonical.encode(record.to_json()))
        _remember(self._rounds, key, record)

    def load_round(self, origin: str, number: int) -> RoundRecord | None:
        """A final round, or None when this node has none of that number."""
        record = self._rounds.get((origin, number))
        if record is None and number > 0:
            raw = self._storage.load(_round_name(origin, number))
            if raw is None:
                return None
            record = _parse_record(raw)
            _remember(self._rounds, (origin, number), record)
        return record

    def rounds_after(self, origin: str, after: int, most: int) -> list[RoundRecord]:
        """Up to ``most`` final rounds with numbers above ``after``, in order, without a gap."""
        found = []
        for number in range(after + 1, after + 1 + most):
            record = self.load_round(origin, number)
            if record is None:
                break
            found.append(record)
        return found


def _blob_name(blob_id: bytes) -> str:
    name = blob_id.hex()
    return f"verdicts/{name[:2]}/{name}"


def _round_name(origin: str, number: int) -> str:
    """Origins hold characters that file names may not; their digest does not."""
    return f"rounds/{sha256_hex(origin.encode())[:32]}/{number // 1000:015d}/{number:020d}.json"


def _remember(cache: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > _CACHED:
        cache.popitem(last=False)
