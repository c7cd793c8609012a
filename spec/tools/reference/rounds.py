"""Rounds: content digests, verdict trees, votes and finality messages (round.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import tree
from .signing import keccak256
from .text import sha

DOMAIN = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
VOTE = b"Vote(string origin,uint64 epoch,uint64 number,uint32 attempt,bytes32 content)"
FINALITY = b"Finality(string origin,uint64 epoch,uint64 number,bytes32 content)"


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def domain(chain_id: int, contract: str) -> bytes:
    """EIP-712 domain separator."""
    return keccak256(
        keccak256(DOMAIN)
        + keccak256(b"Holdfast Rounds")
        + keccak256(b"1")
        + _word(chain_id)
        + bytes(12)
        + bytes.fromhex(contract[2:])
    )


def _typed(separator: bytes, struct: bytes) -> bytes:
    return keccak256(b"\x19\x01" + separator + keccak256(struct))


def content(candidate: dict[str, Any]) -> bytes:
    """Content digest of §2."""
    return sha(
        b"urn:holdfast:round-content:v1\x00"
        + bytes.fromhex(candidate["previous"])
        + candidate["size"].to_bytes(8, "big")
        + bytes.fromhex(candidate["root"])
        + bytes.fromhex(candidate["verdict_root"])
        + bytes.fromhex(candidate["blob_id"])
    )


def vote(separator: bytes, key: Any, candidate: dict[str, Any], about: bytes | None = None) -> dict[str, Any]:
    """A signed vote (§4.1)."""
    body = {name: candidate[name] for name in ("origin", "epoch", "number", "attempt")}
    about = content(candidate) if about is None else about
    struct = (
        keccak256(VOTE)
        + keccak256(body["origin"].encode())
        + _word(body["epoch"])
        + _word(body["number"])
        + _word(body["attempt"])
        + about
    )
    return {**body, "content": about.hex(), "signature": key.sign_digest(_typed(separator, struct)).hex()}


def finality(separator: bytes, key: Any, candidate: dict[str, Any], about: bytes | None = None) -> dict[str, Any]:
    """A signed finality message (§4.2)."""
    body = {name: candidate[name] for name in ("origin", "epoch", "number")}
    about = content(candidate) if about is None else about
    struct = (
        keccak256(FINALITY) + keccak256(body["origin"].encode()) + _word(body["epoch"]) + _word(body["number"]) + about
    )
    return {**body, "content": about.hex(), "signature": key.sign_digest(_typed(separator, struct)).hex()}


class Verdicts:
    """The verdicts of one round: (index, digest hex, code) in log order (§5)."""

    def __init__(self, rows: Sequence[tuple[int, str, str]]) -> None:
        self.rows = list(rows)
        self.leaves = [
            tree.leaf(index.to_bytes(8, "big") + bytes.fromhex(digest) + code.encode()) for index, digest, code in rows
        ]
        self.root = tree.head(self.leaves)
        self.blob = "".join(f"{index} {digest} {code}\n" for index, digest, code in rows).encode()
        self.blob_id = sha(self.blob)

    def path(self, index: int) -> dict[str, Any]:
        """Position, size and proof of the verdict on one log index."""
        position = [row[0] for row in self.rows].index(index)
        return {
            "position": position,
            "size": len(self.rows),
            "proof": [step.hex() for step in tree.inclusion(self.leaves, position)],
        }


def candidate(
    origin: str,
    number: int,
    *,
    previous: bytes,
    size: int,
    root: bytes,
    verdicts: Verdicts,
    epoch: int = 1,
    attempt: int = 0,
) -> dict[str, Any]:
    """A candidate as JSON (§2)."""
    return {
        "origin": origin,
        "epoch": epoch,
        "number": number,
        "attempt": attempt,
        "previous": previous.hex(),
        "size": size,
        "root": root.hex(),
        "verdict_root": verdicts.root.hex(),
        "blob_id": verdicts.blob_id.hex(),
    }
