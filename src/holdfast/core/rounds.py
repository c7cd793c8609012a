"""Rounds: candidates, votes, finality messages and verdicts, as full nodes sign them (``spec/round.md``).

A candidate names a stretch of one log and the verdicts over it; its *content* digest is what nodes vote on. A vote says
"in this attempt, this content"; a finality message says, once per round and for ever, "the chain settled this content".
Both are EIP-712 messages, so a contract and an offline verifier read the same 65 bytes.

Rules: parsing checks form only (``parse_``); ``verify_`` recovers the signer and compares. A signer is an address; that
the address is a full node, and how much stake it has, comes from the caller (trust document or contract).
Not covered: who may propose when (``contracts/Rounds.vy``), and when a node dares to sign (``nodes/full``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from holdfast.core import evm, merkle
from holdfast.core.encoding import hex_decode, sha256
from holdfast.errors import ConflictError, MalformedError, RefusedError, UndecidedError

DOMAIN_NAME = "Holdfast Rounds"
"""EIP-712 domain name (``spec/round.md`` §4)."""
DOMAIN_VERSION = "1"
"""EIP-712 domain version."""
VOTE_TYPE = b"Vote(string origin,uint64 epoch,uint64 number,uint32 attempt,bytes32 content)"
"""EIP-712 type of a vote (``spec/round.md`` §4.1)."""
FINALITY_TYPE = b"Finality(string origin,uint64 epoch,uint64 number,bytes32 content)"
"""EIP-712 type of a finality message (``spec/round.md`` §4.2)."""
CONTENT_TAG = b"urn:holdfast:round-content:v1\x00"
"""Prefix of the bytes under a content digest (``spec/round.md`` §2)."""
NO_PREVIOUS = bytes(32)
"""``previous`` of round 1: no round came before it."""
MAX_U32 = 2**32 - 1
MAX_U64 = 2**64 - 1
MAX_MEMBERS = 64
"""Full nodes in one epoch; the contract keeps who voted in 64 bits (``spec/round.md`` §3)."""
MAX_CODE_BYTES = 64
"""Length of a verdict code (``spec/round.md`` §5)."""
MAX_BLOB_BYTES = 16 * 1024 * 1024
"""A larger verdict blob is refused unread; room for about 100,000 verdicts."""

_VOTE_TYPE_HASH = evm.keccak256(VOTE_TYPE)
_FINALITY_TYPE_HASH = evm.keccak256(FINALITY_TYPE)
_ORIGIN = re.compile(r"[!-*,-~]{1,255}\Z")  # printable ASCII without space and plus: a C2SP signed-note key name
_CODE = re.compile(r"(?:ok|cannot_tell|refuted:[a-z0-9]+(?:[._-][a-z0-9]+)*)\Z")
_LINE = re.compile(r"(0|[1-9][0-9]{0,19}) ([0-9a-f]{64}) ([a-z0-9_.:-]+)\Z")


def _check_integer(value: object, maximum: int, name: str, minimum: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise MalformedError("round.fields", f"{name} is an integer from {minimum} to {maximum}", param=name)
    return value


def _check_digest(value: bytes, name: str) -> bytes:
    if len(value) != 32:
        raise MalformedError("round.fields", f"{name} has 32 bytes", param=name)
    return value


def parse_origin(value: object) -> str:
    """A log origin: 1 to 255 printable ASCII characters without space and ``+``; raises ``round.origin``."""
    if not isinstance(value, str) or _ORIGIN.match(value) is None:
        raise MalformedError("round.origin", "an origin is printable ASCII without space and plus, at most 255 bytes")
    return value


def _fields(value: object, names: set[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != names:
        raise MalformedError("round.fields", f"{what} has exactly the fields {', '.join(sorted(names))}")
    return value


@dataclass(frozen=True, slots=True)
class ChainDomain:
    """Which contract on which chain a vote or finality message is for; the EIP-712 domain."""

    chain_id: int
    contract: str

    def __post_init__(self) -> None:
        _check_integer(self.chain_id, MAX_U64, "chain_id", 1)
        evm.parse_address(self.contract)

    def separator(self) -> bytes:
        """The EIP-712 domain separator, 32 bytes."""
        return _separator(self.chain_id, self.contract)

    def to_json(self) -> dict[str, Any]:
        return {"chain_id": self.chain_id, "contract": self.contract}


@lru_cache(maxsize=64)
def _separator(chain_id: int, contract: str) -> bytes:
    return evm.domain_separator(DOMAIN_NAME, DOMAIN_VERSION, chain_id, contract)


def parse_chain_domain(value: object) -> ChainDomain:
    """``{"chain_id","contract"}`` to a :class:`ChainDomain`; raises ``round.fields`` or ``evm.address``."""
    fields = _fields(value, {"chain_id", "contract"}, "a chain domain")
    return ChainDomain(fields["chain_id"], fields["contract"])


@lru_cache(maxsize=64)
def origin_id(origin: str) -> bytes:
    """Keccak-256 of the origin: how EIP-712 hashes the string, and how the contract names the origin."""
    return evm.keccak256(parse_origin(origin).encode())


def content_digest(previous: bytes, size: int, root: bytes, verdict_root: bytes, blob_id: bytes) -> bytes:
    """SHA-256 over tag, previous, size (u64 big-endian), root, verdict root, blob id (``spec/round.md`` §2)."""
    return sha256(CONTENT_TAG + previous + size.to_bytes(8) + root + verdict_root + blob_id)


def vote_digest(domain: ChainDomain, origin: str, epoch: int, number: int, attempt: int, content: bytes) -> bytes:
    """The 32 bytes a vote signs (``spec/round.md`` §4.1)."""
    words = evm.word(epoch) + evm.word(number) + evm.word(attempt) + content
    return evm.typed_data_digest(domain.separator(), evm.keccak256(_VOTE_TYPE_HASH + origin_id(origin) + words))


@lru_cache(maxsize=1024)
def finality_digest(domain: ChainDomain, origin: str, epoch: int, number: int, content: bytes) -> bytes:
    """The 32 bytes a finality message signs (``spec/round.md`` §4.2)."""
    words = evm.word(epoch) + evm.word(number) + content
    return evm.typed_data_digest(domain.separator(), evm.keccak256(_FINALITY_TYPE_HASH + origin_id(origin) + words))


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a proposer publishes for one attempt. Digests are 32 raw bytes; ``size`` counts log entries.

    The round covers entries from the previous round's size up to ``size``.
    """

    origin: str
    epoch: int
    number: int
    attempt: int
    previous: bytes
    size: int
    root: bytes
    verdict_root: bytes
    blob_id: bytes

    def __post_init__(self) -> None:
        parse_origin(self.origin)
        _check_integer(self.epoch, MAX_U64, "epoch", 1)
        _check_integer(self.number, MAX_U64, "number", 1)
        _check_integer(self.attempt, MAX_U32, "attempt")
        _check_integer(self.size, MAX_U64, "size")
        for name in ("previous", "root", "verdict_root", "blob_id"):
            _check_digest(getattr(self, name), name)

    @property
    def content(self) -> bytes:
        """The content digest nodes vote on, 32 bytes."""
        return content_digest(self.previous, self.size, self.root, self.verdict_root, self.blob_id)

    def to_json(self) -> dict[str, Any]:
        return {
            "origin": self.origin,
            "epoch": self.epoch,
            "number": self.number,
            "attempt": self.attempt,
            "previous": self.previous.hex(),
            "size": self.size,
            "root": self.root.hex(),
            "verdict_root": self.verdict_root.hex(),
            "blob_id": self.blob_id.hex(),
        }


_CANDIDATE_FIELDS = {"origin", "epoch", "number", "attempt", "previous", "size", "root", "verdict_root", "blob_id"}


def parse_candidate(value: object) -> Candidate:
    """A decoded JSON object to a :class:`Candidate`; raises ``round.fields``, ``round.origin``, ``encoding.hex``."""
    fields = _fields(value, _CANDIDATE_FIELDS, "a candidate")
    digests = {name: hex_decode(fields[name], 32) for name in ("previous", "root", "verdict_root", "blob_id")}
    return Candidate(**{**fields, **digests})


@dataclass(frozen=True, slots=True)
class Vote:
    """One node's vote: these fields and a 65-byte signature. Parsing it believes nothing."""

    origin: str
    epoch: int
    number: int
    attempt: int
    content: bytes
    signature: bytes

    def __post_init__(self) -> None:
        parse_origin(self.origin)
        _check_integer(self.epoch, MAX_U64, "epoch", 1)
        _check_integer(self.number, MAX_U64, "number", 1)
        _check_integer(self.attempt, MAX_U32, "attempt")
        _check_digest(self.content, "content")
        evm.check_signature_form(self.signature)

    def digest(self, domain: ChainDomain) -> bytes:
        """What the signature is over, 32 bytes."""
        return vote_digest(domain, self.origin, self.epoch, self.number, self.attempt, self.content)

    def to_json(self) -> dict[str, Any]:
        return {
            "origin": self.origin,
            "epoch": self.epoch,
            "number": self.number,
            "attempt": self.attempt,
            "content": self.content.hex(),
            "signature": self.signature.hex(),
        }


@dataclass(frozen=True, slots=True)
class FinalityMessage:
    """One node's only word on a round: these fields and a 65-byte signature. Parsing it believes nothing."""

    origin: str
    epoch: int
    number: int
    content: bytes
    signature: bytes

    def __post_init__(self) -> None:
        parse_origin(self.origin)
        _check_integer(self.epoch, MAX_U64, "epoch", 1)
        _check_integer(self.number, MAX_U64, "number", 1)
        _check_digest(self.content, "content")
        evm.check_signature_form(self.signature)

    def digest(self, domain: ChainDomain) -> bytes:
        """What the signature is over, 32 bytes."""
        return finality_digest(domain, self.origin, self.epoch, self.number, self.content)

    def to_json(self) -> dict[str, Any]:
        return {
            "origin": self.origin,
            "epoch": self.epoch,
            "number": self.number,
            "content": self.content.hex(),
            "signature": self.signature.hex(),
        }


def parse_vote(value: object) -> Vote:
    """A decoded JSON object to a :class:`Vote`; raises ``round.fields``, ``round.origin``, ``evm.signature``."""
    fields = _fields(value, {"origin", "epoch", "number", "attempt", "content", "signature"}, "a vote")
    return Vote(
        fields["origin"],
        fields["epoch"],
        fields["number"],
        fields["attempt"],
        hex_decode(fields["content"], 32),
        hex_decode(fields["signature"], evm.SIGNATURE_BYTES),
    )


def parse_finality_message(value: object) -> FinalityMessage:
    """A decoded JSON object to a :class:`FinalityMessage`; raises as :func:`parse_vote`."""
    fields = _fields(value, {"origin", "epoch", "number", "content", "signature"}, "a finality message")
    return FinalityMessage(
        fields["origin"],
        fields["epoch"],
        fields["number"],
        hex_decode(fields["content"], 32),
        hex_decode(fields["signature"], evm.SIGNATURE_BYTES),
    )


_MADE_HERE = object()


@dataclass(frozen=True, slots=True)
class VerifiedVote:
    """A vote and the address that made it; only :func:`verify_vote` makes one."""

    vote: Vote
    signer: str
    _made_by: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        _only_here(self._made_by)


@dataclass(frozen=True, slots=True)
class VerifiedFinality:
    """A finality message and the address that made it; only :func:`verify_finality_message` makes one."""

    message: FinalityMessage
    signer: str
    _made_by: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        _only_here(self._made_by)


def _only_here(token: object) -> None:
    if token is not _MADE_HERE:
        raise TypeError("verified values are made by verify_ functions only")


def verify_vote(domain: ChainDomain, vote: Vote, members: Iterable[str]) -> VerifiedVote:
    """Recover the signer and require it among ``members`` (addresses). Raises ``round.signer``, ``evm.signature``."""
    signer = evm.recover(vote.digest(domain), vote.signature)
    _require_member(signer, members)
    return VerifiedVote(vote, signer, _MADE_HERE)


def verify_finality_message(domain: ChainDomain, message: FinalityMessage, members: Iterable[str]) -> VerifiedFinality:
    """As :func:`verify_vote`, for a finality message."""
    signer = evm.recover(message.digest(domain), message.signature)
    _require_member(signer, members)
    return VerifiedFinality(message, signer, _MADE_HERE)


def _require_member(signer: str, members: Iterable[str]) -> None:
    if signer not in members:
        raise RefusedError("round.signer", f"{signer} is not a full node of this epoch")


def quorum(stake_for: int, total: int) -> bool:
    """Whether ``stake_for`` is more than two thirds of ``total``; a total of nothing is never a quorum."""
    return total > 0 and 3 * stake_for > 2 * total


@dataclass(frozen=True, slots=True)
class RoundFinality:
    """A round that more than 2/3 of an epoch's stake called final."""

    origin: str
    epoch: int
    number: int
    content: bytes
    stake_for: int
    stake_total: int
    signers: tuple[str, ...]


def verify_finality(
    domain: ChainDomain, messages: Sequence[FinalityMessage], stakes: Mapping[str, int]
) -> RoundFinality:
    """Finality messages of one round and the epoch's stakes (address to units) to a :class:`RoundFinality`.

    Every message must be about the same origin, epoch, number and content (``round.mixed``) and come from a member
    (``round.signer``); a member counts once. ``round.quorum`` (:class:`UndecidedError`) when 2/3 or less has spoken.
    """
    if not messages:
        raise UndecidedError("round.quorum", "no finality message")
    first = messages[0]
    about = (first.origin, first.epoch, first.number, first.content)
    signers: set[str] = set()
    for message in messages:
        if (message.origin, message.epoch, message.number, message.content) != about:
            raise RefusedError("round.mixed", "finality messages about different rounds or contents")
        signers.add(verify_finality_message(domain, message, stakes).signer)
    stake_for, total = sum(stakes[signer] for signer in signers), sum(stakes.values())
    if not quorum(stake_for, total):
        raise UndecidedError("round.quorum", f"finality messages hold {stake_for} of {total} units of stake")
    return RoundFinality(*about, stake_for, total, tuple(sorted(signers)))


def verify_double_vote(domain: ChainDomain, first: Vote, second: Vote) -> str:
    """The address that voted for two contents in one attempt; ``round.no_offence`` if this is no such pair."""
    same = (first.origin, first.epoch, first.number, first.attempt) == (
        second.origin,
        second.epoch,
        second.number,
        second.attempt,
    )
    if not same or first.content == second.content:
        raise RefusedError("round.no_offence", "not two contents in one attempt")
    return _one_signer(evm.recover(first.digest(domain), first.signature), second.digest(domain), second.signature)


def verify_double_finality(domain: ChainDomain, first: FinalityMessage, second: FinalityMessage) -> str:
    """The address that made two different finality messages in one round; ``round.no_offence`` if not so.

    Different means another epoch or another content: a node speaks once per (origin, number).
    """
    same = (first.origin, first.number) == (second.origin, second.number)
    if not same or (first.epoch, first.content) == (second.epoch, second.content):
        raise RefusedError("round.no_offence", "not two finality messages in one round")
    return _one_signer(evm.recover(first.digest(domain), first.signature), second.digest(domain), second.signature)


def _one_signer(signer: str, digest: bytes, signature: bytes) -> str:
    if evm.recover(digest, signature) != signer:
        raise RefusedError("round.no_offence", "the two messages have different signers")
    return signer


def proposer(members: Sequence[str], number: int, attempt: int) -> str:
    """Whose turn it is: member (number + attempt) mod n of the epoch's members, sorted by address."""
    if not members or list(members) != sorted(set(members)):
        raise MalformedError("round.members", "members are sorted, distinct addresses, at least one")
    return members[(number + attempt) % len(members)]


def parse_verdict_code(value: object) -> str:
    """``ok``, ``cannot_tell`` or ``refuted:<code>``, at most 64 bytes; raises ``round.verdict_code``."""
    if not isinstance(value, str) or len(value) > MAX_CODE_BYTES or _CODE.match(value) is None:
        raise MalformedError("round.verdict_code", "a verdict is ok, cannot_tell or refuted:<reason>")
    return value


@dataclass(frozen=True, slots=True)
class VerdictEntry:
    """The verdict on one log entry: its index, its statement digest (32 bytes) and the code."""

    index: int
    statement_digest: bytes
    code: str

    def __post_init__(self) -> None:
        _check_integer(self.index, MAX_U64 - 1, "index")
        _check_digest(self.statement_digest, "statement_digest")
        parse_verdict_code(self.code)

    @property
    def leaf(self) -> bytes:
        """The leaf's bytes before hashing."""
        return self.index.to_bytes(8) + self.statement_digest + self.code.encode()

    def to_json(self) -> dict[str, Any]:
        return {"index": self.index, "digest": self.statement_digest.hex(), "code": self.code}


def verdict_leaf(index: int, statement_digest: bytes, code: str) -> bytes:
    """Verdict leaf bytes: index (u64 big-endian) ‖ statement digest ‖ code (``spec/round.md`` §5.1)."""
    return VerdictEntry(index, statement_digest, code).leaf


def _check_order(entries: Sequence[VerdictEntry]) -> None:
    if any(entries[at].index >= entries[at + 1].index for at in range(len(entries) - 1)):
        raise MalformedError("round.verdict_order", "verdicts are in strictly increasing log order")


def verdict_root(entries: Sequence[VerdictEntry]) -> bytes:
    """RFC 9162 root over the verdict leaves, in strictly increasing log order (``round.verdict_order``)."""
    _check_order(entries)
    return merkle.root([merkle.leaf_hash(entry.leaf) for entry in entries])


def verdict_blob(entries: Sequence[VerdictEntry]) -> bytes:
    """The published bytes: one line ``index digest code`` a verdict, each ended by a newline."""
    _check_order(entries)
    return "".join(f"{entry.index} {entry.statement_digest.hex()} {entry.code}\n" for entry in entries).encode()


def blob_id(blob: bytes) -> bytes:
    """SHA-256 of a verdict blob: its name in a candidate, 32 bytes."""
    return sha256(blob)


def parse_verdict_blob(blob: bytes) -> tuple[VerdictEntry, ...]:
    """The one spelling of a verdict blob to its entries; raises ``round.blob`` or ``round.verdict_*``."""
    if len(blob) > MAX_BLOB_BYTES:
        raise MalformedError("round.blob", f"a verdict blob has at most {MAX_BLOB_BYTES} bytes")
    if not blob:
        return ()
    if not blob.isascii() or blob[-1:] != b"\n":
        raise MalformedError("round.blob", "a verdict blob is ASCII lines, each ended by a newline")
    entries = []
    for line in blob[:-1].decode("ascii").split("\n"):
        match = _LINE.match(line)
        if match is None:
            raise MalformedError("round.blob", "a verdict line is: index, space, digest, space, code")
        entries.append(VerdictEntry(int(match[1]), bytes.fromhex(match[2]), match[3]))
    _check_order(entries)
    return tuple(entries)


def verify_verdicts(candidate: Candidate, previous_size: int, blob: bytes) -> tuple[VerdictEntry, ...]:
    """Check a fetched blob against its candidate: name, root, and one verdict for each new entry.

    Entries below ``previous_size`` supersede older verdicts. Raises ``round.blob_id``, ``round.verdict_root``,
    ``round.coverage`` or as :func:`parse_verdict_blob`. Says nothing about whether the verdicts are right.
    """
    if blob_id(blob) != candidate.blob_id:
        raise RefusedError("round.blob_id", "these bytes are not the candidate's verdict blob")
    entries = parse_verdict_blob(blob)
    if verdict_root(entries) != candidate.verdict_root:
        raise RefusedError("round.verdict_root", "the verdicts do not hash to the candidate's verdict root")
    fresh = [entry.index for entry in entries if entry.index >= previous_size]
    if candidate.size < previous_size or fresh != list(range(previous_size, candidate.size)):
        raise RefusedError("round.coverage", "a round has exactly one verdict for each entry it covers")
    if not entries:
        raise RefusedError("round.coverage", "a round that says nothing is not proposed")
    return entries


def verify_verdict_inclusion(
    entry: VerdictEntry, position: int, count: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that a verdict is leaf ``position`` of ``count`` under a root; raises ``round.verdict_inclusion``."""
    try:
        merkle.verify_inclusion(merkle.leaf_hash(entry.leaf), position, count, list(proof), root)
    except RefusedError as error:
        raise RefusedError("round.verdict_inclusion", "the verdict is not under this verdict root") from error


def check_never_twice(signed: bytes | None, content: bytes) -> None:
    """A node signs only where nothing, or the same content, was signed before (``spec/round.md`` §6).

    ``signed`` is what the durable record holds for this attempt or round; raises ``round.already_signed``.
    """
    if signed is not None and signed != content:
        raise ConflictError("round.already_signed", "another content was signed here before; this node stays silent")
