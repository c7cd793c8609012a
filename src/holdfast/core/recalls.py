"""Recall documents: which rows of memory went before a model, and the commitment to them (``spec/recall.md``).

``build_recall`` makes one of what a search found and a policy chose, ``parse_recall_document`` reads one; neither lets
a malformed one exist, nor one that carries in what does not stand as a fact. ``verify_recall`` opens the record of a
``recall`` statement, ``verify_context`` compares a document with the blocks that stand before a model, both ways.

Rules: what was said stands in the document as salted digests alone, and in the log nothing of it does. Standings and
ages are of the time at which the node searched.

Not covered: who signed the statement (``verifier.checks``), how rows come to stand (``core.memory``), how they are
found (``core.retrieval``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.context import Block
from holdfast.core.encoding import hex_decode, sha256, time_decode, time_encode
from holdfast.core.memory import FACTS, STANDINGS, WRITERS, Row, is_row_id
from holdfast.core.parts import derive_salt
from holdfast.core.statements import RecallBody, Statement, is_run_id
from holdfast.errors import HoldfastError, MalformedError, RefusedError

RECALL_TYPE = "urn:holdfast:recall:v1"
"""``type`` of a recall document (``recall.md`` §3)."""
RECORD_DOMAIN = b"urn:holdfast:recall-record:v1\x00"
"""What the preimage of a record begins with (``recall.md`` §1)."""
SALT_BYTES = KEY_BYTES = 32
"""Sizes of a record's salt, and of the key that salts digests."""
MAX_DOCUMENT_BYTES = 262_144
MAX_ROWS, MAX_KEPT_OUT, MAX_CLAIMS_BYTES = 64, 64, 262_144
MAX_QUERY = 8_192
"""Characters of a question that are searched for (``recall.md`` §3(2))."""
MILLION = 1_000_000
SCORES = ("vector", "words", "time", "standing", "total")
"""The parts of a score (``recall.md`` §3(3))."""
PATHS = ("hop", "vector", "words")
"""How a row can be found (``recall.md`` §2(4))."""
SOURCES = ("admission", "import", "messages", "owner", "row", "run")
"""Kinds of sources (``memory.md`` §2)."""
NOT_EVIDENCE_OF = ("artifact", "computation", "enclave", "inputs", "judgement", "payment", "settlement")
"""What nobody may read a recall as."""
_MOST = 2**53 - 1
_MEMBERS = frozenset({"type", "run", "at", "query", "index", "policy", "found", "rows", "kept_out", "not_evidence_of"})
_ROW = frozenset(
    {"row", "claim", "head", "standing", "authority", "sources", "age_s", "earned_s", "rank", "scores", "path"}
)
_KEPT = frozenset({"row", "standing", "age_s", "rank", "why"})


@dataclass(frozen=True, slots=True)
class Index:
    """What was searched: its version and model (hex), and how many rows were in it."""

    version: str
    model: str
    rows: int

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"version": self.version, "model": self.model, "rows": self.rows}


@dataclass(frozen=True, slots=True)
class RecallPolicy:
    """Which rows may go before a model: their standings, how many, and bytes of their claims."""

    standings: tuple[str, ...] = tuple(sorted(FACTS))
    most: int = 8
    most_bytes: int = 8_192

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"standings": list(self.standings), "most": self.most, "most_bytes": self.most_bytes}


@dataclass(frozen=True, slots=True)
class Scores:
    """Why a row stands where it does: parts of a million each (``recall.md`` §3(3))."""

    vector: int
    words: int
    time: int
    """What it keeps for its age, or for being of another time than was asked about."""
    standing: int
    total: int

    def to_json(self) -> dict[str, canonical.JSON]:
        return {name: getattr(self, name) for name in SCORES}


@dataclass(frozen=True, slots=True)
class RecalledRow:
    """A row that was carried in (``recall.md`` §3(3)). Digests are salted, hex; ages are in seconds."""

    row: str
    claim: str
    head: str
    standing: str
    authority: str
    sources: tuple[str, ...]
    age_s: int
    earned_s: int | None
    rank: int
    scores: Scores
    path: tuple[str, ...]

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "row": self.row,
            "claim": self.claim,
            "head": self.head,
            "standing": self.standing,
            "authority": self.authority,
            "sources": list(self.sources),
            "age_s": self.age_s,
            "earned_s": self.earned_s,
            "rank": self.rank,
            "scores": self.scores.to_json(),
            "path": list(self.path),
        }

    @property
    def marks(self) -> dict[str, str]:
        """The attributes of its block (``recall.md`` §4(1))."""
        days = str(self.age_s // 86_400)
        return {"age_days": days, "authority": self.authority, "row": self.row, "standing": self.standing}


@dataclass(frozen=True, slots=True)
class KeptOut:
    """A row that was found and not carried in, and why (``recall.md`` §3(5))."""

    row: str
    standing: str
    age_s: int
    rank: int
    why: str

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "row": self.row,
            "standing": self.standing,
            "age_s": self.age_s,
            "rank": self.rank,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class RecallDocument:
    """What a memory node gave for one run."""

    run: str
    at: dt.datetime
    query: str
    index: Index
    policy: RecallPolicy
    found: int
    rows: tuple[RecalledRow, ...]
    kept_out: tuple[KeptOut, ...]

    @property
    def raw(self) -> bytes:
        """The document's canonical bytes: what a record commits to."""
        return canonical.encode(self.to_json())

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "type": RECALL_TYPE,
            "run": self.run,
            "at": time_encode(self.at),
            "query": self.query,
            "index": self.index.to_json(),
            "policy": self.policy.to_json(),
            "found": self.found,
            "rows": [row.to_json() for row in self.rows],
            "kept_out": [row.to_json() for row in self.kept_out],
            "not_evidence_of": list(NOT_EVIDENCE_OF),
        }

    @property
    def weakest(self) -> RecalledRow | None:
        """The row that stands worst, of these the one by the weakest writer, of these the oldest."""
        return max(self.rows, key=_weakness, default=None)


def _weakness(row: RecalledRow) -> tuple[int, int, int]:
    return STANDINGS.index(row.standing), -WRITERS.index(row.authority), row.age_s


# Parsing


def parse_recall_document(raw: bytes) -> RecallDocument:
    """Bytes to a :class:`RecallDocument`. Raises ``recall_document.*``, ``json.*``, ``encoding.*``."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise MalformedError("recall_document.size", f"a recall document has at most {MAX_DOCUMENT_BYTES} bytes")
    value = canonical.decode_signed(raw)
    if value.keys() != _MEMBERS or value["type"] != RECALL_TYPE or not is_run_id(value["run"]):
        raise _malformed(f"not the members of a {RECALL_TYPE}")
    if value["not_evidence_of"] != list(NOT_EVIDENCE_OF):
        raise _malformed("a recall says what it is not evidence of, all of it, sorted")
    document = RecallDocument(
        run=value["run"],
        at=time_decode(value["at"]),
        query=hex_decode(value["query"], 32).hex(),
        index=_index(value["index"]),
        policy=parse_recall_policy(value["policy"]),
        found=_count(value["found"]),
        rows=tuple(map(_row, _list(value["rows"], MAX_ROWS))),
        kept_out=tuple(map(_kept, _list(value["kept_out"], MAX_KEPT_OUT))),
    )
    _check_order(document)
    _check_policy(document)
    return document


def _index(value: object) -> Index:
    if not isinstance(value, dict) or value.keys() != {"version", "model", "rows"}:
        raise _malformed("an index has exactly version, model and rows")
    return Index(hex_decode(value["version"], 32).hex(), hex_decode(value["model"], 32).hex(), _count(value["rows"]))


def parse_recall_policy(value: object) -> RecallPolicy:
    """A policy from its JSON object; raises ``recall_document.fields`` where it would let in what is no fact."""
    if not isinstance(value, dict) or value.keys() != {"standings", "most", "most_bytes"}:
        raise _malformed("a policy has exactly standings, most and most_bytes")
    standings, most, most_bytes = value["standings"], value["most"], value["most_bytes"]
    allowed = isinstance(standings, list) and standings and all(item in FACTS for item in standings)
    if not allowed or standings != sorted(set(standings)):
        raise _malformed("what goes before a model is aging or earned")
    if not 1 <= _count(most) <= MAX_ROWS or not 1 <= _count(most_bytes) <= MAX_CLAIMS_BYTES:
        raise _malformed(f"a policy lets in 1 to {MAX_ROWS} rows and 1 to {MAX_CLAIMS_BYTES} bytes")
    return RecallPolicy(tuple(standings), most, most_bytes)


def _row(value: object) -> RecalledRow:
    if not isinstance(value, dict) or value.keys() != _ROW:
        raise _malformed("not the members of a row")
    scores, sources, path = value["scores"], value["sources"], value["path"]
    if not isinstance(scores, dict) or scores.keys() != set(SCORES):
        raise _malformed(f"scores are exactly {', '.join(SCORES)}")
    if not all(_count(score) <= MILLION for score in scores.values()):
        raise _malformed("a score is a part of a million")
    if value["authority"] not in WRITERS or not _are_some(sources, SOURCES) or not _are_some(path, PATHS):
        raise _malformed("authority is a writer, and sources and path are sorted words, each once")
    return RecalledRow(
        row=_row_id(value["row"]),
        claim=hex_decode(value["claim"], 32).hex(),
        head=hex_decode(value["head"], 32).hex(),
        standing=_standing(value["standing"]),
        authority=value["authority"],
        sources=tuple(sources),
        age_s=_count(value["age_s"]),
        earned_s=None if value["earned_s"] is None else _count(value["earned_s"]),
        rank=_count(value["rank"]),
        scores=Scores(**scores),
        path=tuple(path),
    )


def _kept(value: object) -> KeptOut:
    if not isinstance(value, dict) or value.keys() != _KEPT or value["why"] not in ("room", "standing"):
        raise _malformed("not the members of a row that was kept out")
    return KeptOut(
        _row_id(value["row"]),
        _standing(value["standing"]),
        _count(value["age_s"]),
        _count(value["rank"]),
        value["why"],
    )


def _are_some(value: object, words: Sequence[str]) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(item in words for item in value) and value == sorted(set(value))
    )


def _row_id(value: object) -> str:
    if not is_row_id(value):
        raise _malformed("row is a row's id")
    return str(value)


def _standing(value: object) -> str:
    if value not in STANDINGS:
        raise _malformed(f"a standing is one of {', '.join(STANDINGS)}")
    return str(value)


def _list(value: object, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise _malformed(f"there are at most {most} of these")
    return value


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise _malformed("a number is a whole one, and not below 0")
    return value


def _check_order(document: RecallDocument) -> None:
    """``recall.md`` §3(4): nothing between two ranks is left unsaid."""
    carried, kept_out = [row.rank for row in document.rows], [row.rank for row in document.kept_out]
    if carried != sorted(carried) or kept_out != sorted(kept_out):
        raise MalformedError("recall_document.order", "rows stand in the order of their ranks")
    ranks = sorted((*carried, *kept_out))
    rows = {*(row.row for row in document.rows), *(row.row for row in document.kept_out)}
    if ranks != list(range(1, len(ranks) + 1)) or len(rows) != len(ranks) or len(ranks) > document.found:
        raise MalformedError("recall_document.order", "each rank from 1 on is one row's, and each row has one")
    if len(ranks) < document.found and len(document.kept_out) < MAX_KEPT_OUT:
        raise MalformedError("recall_document.order", "a row that was found is told, while there is room to tell")
    totals = [row.scores.total for row in document.rows]
    if totals != sorted(totals, reverse=True):
        raise MalformedError("recall_document.order", "what scores more comes first")


def _check_policy(document: RecallDocument) -> None:
    """``recall.md`` §3(5)."""
    allowed = document.policy.standings
    if any(row.standing not in allowed for row in document.rows) or len(document.rows) > document.policy.most:
        raise MalformedError("recall_document.policy", "a row was carried in that the policy keeps out")
    if any((row.why == "room") != (row.standing in allowed) for row in document.kept_out):
        raise MalformedError("recall_document.policy", "a row is kept out by its standing or for want of room")


def _malformed(message: str) -> MalformedError:
    return MalformedError("recall_document.fields", message)


# Salted digests


def recall_key(run_key: bytes) -> bytes:
    """What salts the digests of a recall, of a run's pseudo-random key; 32 bytes (``recall.md`` §3(1))."""
    return derive_salt(run_key, "recall", KEY_BYTES)


def query_digest(key: bytes, text: str) -> str:
    """The salted digest (hex) of what was searched for."""
    return _salted(key, "query", b"urn:holdfast:recall-query:v1\x00", text.encode())


def claim_digest(key: bytes, row: str, claim: str) -> str:
    """The salted digest (hex) of what a row says."""
    return _salted(key, f"row/{row}", b"urn:holdfast:recall-claim:v1\x00", claim.encode())


def head_digest(key: bytes, row: str, head: str) -> str:
    """The salted digest (hex) of the head of a row's history."""
    return _salted(key, f"row/{row}", b"urn:holdfast:recall-head:v1\x00", hex_decode(head, 32))


def _salted(key: bytes, name: str, domain: bytes, data: bytes) -> str:
    return sha256(domain + derive_salt(key, name, 32) + data).hex()


def query_of(request: Mapping[str, Any]) -> str | None:
    """What a memory is searched for on behalf of a request (``recall.md`` §3(2)); None where it asks nothing."""
    messages = request.get("messages")
    for message in reversed(messages) if isinstance(messages, list) else ():
        if isinstance(message, Mapping) and message.get("role") == "user":
            text = _text_of(message.get("content"))
            return text[-MAX_QUERY:] or None
    return None


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


# Making


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row in its place: what :func:`build_recall` tells of it."""

    row: Row
    standing: str
    rank: int
    scores: Scores
    path: tuple[str, ...]
    why: str | None = None
    """``room`` or ``standing`` where it was kept out."""


def build_recall(
    run: str,
    at: dt.datetime,
    key: bytes,
    query: str,
    index: Index,
    policy: RecallPolicy,
    found: Iterable[FoundRow],
) -> RecallDocument:
    """The document of a search; the result parses. ``found`` is in order of rank. Raises ``recall_document.*``."""
    listed = list(found)
    kept_out = [item for item in listed if item.why is not None][:MAX_KEPT_OUT]
    last = kept_out[-1].rank if len(kept_out) == MAX_KEPT_OUT else len(listed)
    made = RecallDocument(
        run=run,
        at=at,
        query=query_digest(key, query),
        index=index,
        policy=policy,
        found=len(listed),
        rows=tuple(_tell(item, at, key) for item in listed if item.why is None and item.rank <= last),
        kept_out=tuple(
            KeptOut(item.row.id, item.standing, _age(item.row.created, at), item.rank, item.why or "")
            for item in kept_out
        ),
    )
    return parse_recall_document(made.raw)


def _tell(item: FoundRow, at: dt.datetime, key: bytes) -> RecalledRow:
    row = item.row
    return RecalledRow(
        row=row.id,
        claim=claim_digest(key, row.id, row.claim),
        head=head_digest(key, row.id, row.head),
        standing=item.standing,
        authority=row.authority,
        sources=tuple(sorted({source.kind for source in row.sources})),
        age_s=_age(row.created, at),
        earned_s=None if row.earned is None else _age(row.earned, at),
        rank=item.rank,
        scores=item.scores,
        path=item.path,
    )


def _age(since: dt.datetime, at: dt.datetime) -> int:
    return max(0, (at - since) // dt.timedelta(seconds=1))


def recall_record(document: bytes, salt: bytes) -> bytes:
    """The commitment (32 bytes) to a document's bytes (``recall.md`` §1)."""
    return sha256(RECORD_DOMAIN + salt + document)


def recall_body(document: RecallDocument, record: bytes) -> dict[str, Any]:
    """The members that a ``recall`` statement has of its own; ``record`` is that of :func:`recall_record`."""
    return {"model": document.index.model, "record": record.hex()}


def recall_blocks(document: RecallDocument, claims: Mapping[str, str]) -> list[Block]:
    """The blocks of a document's rows; ``claims`` gives what each says by its id (``recall.md`` §4(1))."""
    return [Block("memory", row.marks, claims[row.row]) for row in document.rows]


# Checking


def verify_recall(statement: Statement, raw: bytes, salt: bytes) -> RecallDocument:
    """Open the record of a ``recall`` statement: the document, once it is what was signed (``recall.md`` §3(6)). Raises
    ``recall_document.*`` as refused."""
    body = statement.body
    if not isinstance(body, RecallBody):
        raise RefusedError("recall_document.record", "the statement is no recall")
    try:
        document = parse_recall_document(raw)
    except HoldfastError as error:
        raise RefusedError(error.code, error.message) from error
    if recall_record(raw, salt) != body.record:
        raise RefusedError("recall_document.record", "the statement commits to another document")
    if document.run != statement.run:
        raise RefusedError("recall_document.run", "the document is of another run")
    if document.index.model != body.model:
        raise RefusedError("recall_document.model", "the document names another model")
    minute = document.at.replace(second=0, microsecond=0)
    coarse = not statement.claimed_at.second and not statement.claimed_at.microsecond
    if statement.claimed_at < (minute if coarse else document.at):
        raise RefusedError("recall_document.at", "the statement claims a time before the search")
    return document


def verify_context(document: RecallDocument, blocks: Sequence[Block], key: bytes | None) -> None:
    """Compare a document with what stands before a model, both ways (``recall.md`` §4(2)); with the key of
    :func:`recall_key` what each row says, too. Raises ``recall_document.context`` and ``recall_document.claim``."""
    shown = [block for block in blocks if block.kind == "memory"]
    if [block.attributes for block in shown] != [row.marks for row in document.rows]:
        raise RefusedError("recall_document.context", "the rows before the model are not those of the recall")
    for row, block in zip(document.rows, shown, strict=True):
        if key is not None and claim_digest(key, row.row, block.text) != row.claim:
            raise RefusedError("recall_document.claim", "a row before the model says something else than the recall's")


def verify_query(document: RecallDocument, request: Mapping[str, Any], key: bytes) -> None:
    """Compare what was searched for with the request. Raises ``recall_document.query``."""
    query = query_of(request)
    if query is None or query_digest(key, query) != document.query:
        raise RefusedError("recall_document.query", "memory was searched for something else than the request asks")
