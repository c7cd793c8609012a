"""Decision documents: who decided what and why, and the commitment to it in the log (``spec/statement.md`` §4.3).

``parse_decision_document`` turns bytes into a value that cannot exist malformed; ``record_of`` commits to those bytes;
``verify_decision`` opens the record of a ``decision`` statement. A recall of many cases names them by one root over
their ids: ``batch_of`` makes it, ``verify_in_batch`` checks one case against it.

Rules: the document never goes into the log; the salt that opens it is kept with it.
Not covered: who signed the statement (``verifier.checks``) and what follows from the decision (``verifier.gate``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical, merkle
from holdfast.core.encoding import hex_decode, sha256, time_decode, time_encode
from holdfast.core.statements import ACTS, DecisionBody, Statement, Tree, is_code, is_run_id
from holdfast.errors import MalformedError, RefusedError, UsageError

DECISION_TYPE = "urn:holdfast:decision:v1"
"""``type`` of a decision document (``statement.md`` §4.3(1))."""
RECORD_DOMAIN = b"urn:holdfast:decision-record:v1\x00"
"""What the preimage of a record begins with (``statement.md`` §4.3(2))."""
SALT_BYTES = 32
"""Size of a record's salt (``statement.md`` §4.3(2))."""
MAX_DOCUMENT_BYTES = 262_144
"""Larger documents are refused unread (``statement.md`` §4.3(1)). Texts within their bounds fit."""
MAX_PERSON, MAX_TEXT = 256, 8192
"""Most characters of a name, and of each text (``statement.md`` §4.3(1))."""
MAX_PATH = 64
"""Hashes in the path of one case (``bundle.md`` §2)."""
_MEMBERS = frozenset(
    {"type", "case", "queue", "run", "person", "role", "act", "reason", "until", "rule", "threshold", "framing", "at"}
)


@dataclass(frozen=True, slots=True)
class DecisionDocument:
    """Who decided what about which case, and why. ``person`` and ``role`` are None for a recall by the panel itself."""

    case: str
    queue: str
    run: str
    person: str | None
    role: str | None
    act: str
    reason: str
    until: dt.datetime | None
    rule: str | None
    threshold: str | None
    framing: str | None
    at: dt.datetime

    @property
    def raw(self) -> bytes:
        """The document's canonical bytes: what a record commits to."""
        return canonical.encode(
            {
                "type": DECISION_TYPE,
                "case": self.case,
                "queue": self.queue,
                "run": self.run,
                "person": self.person,
                "role": self.role,
                "act": self.act,
                "reason": self.reason,
                "until": time_encode(self.until) if self.until else None,
                "rule": self.rule,
                "threshold": self.threshold,
                "framing": self.framing,
                "at": time_encode(self.at),
            }
        )


@dataclass(frozen=True, slots=True)
class CasePath:
    """Where a case stands among the cases of one recall, and the hashes that lead from there to their root."""

    index: int
    proof: tuple[bytes, ...]

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"index": self.index, "proof": [step.hex() for step in self.proof]}


def parse_decision_document(raw: bytes) -> DecisionDocument:
    """Bytes to a :class:`DecisionDocument`; raises ``decision.*``, ``json.*`` or ``encoding.*``."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise MalformedError("decision.size", f"a decision document has at most {MAX_DOCUMENT_BYTES} bytes")
    value = canonical.decode_signed(raw)
    if value.keys() != _MEMBERS or value["type"] != DECISION_TYPE:
        raise MalformedError("decision.fields", f"not the members of a {DECISION_TYPE}")
    if not is_run_id(value["case"]) or not is_run_id(value["run"]):
        raise MalformedError("decision.fields", "case and run are UUIDs of version 4 or 7")
    if not is_code(value["queue"]) or value["act"] not in ACTS:
        raise MalformedError("decision.fields", "queue is a code, and act one of five")
    decided_at = time_decode(value["at"])
    return DecisionDocument(
        case=value["case"],
        queue=value["queue"],
        run=value["run"],
        person=_person(value),
        role=value["role"],
        act=value["act"],
        reason=_text(value["reason"], least=0),
        until=_until(value, decided_at),
        rule=_recorded(value["rule"]),
        threshold=_recorded(value["threshold"]),
        framing=_recorded(value["framing"]),
        at=decided_at,
    )


def _person(value: dict[str, Any]) -> str | None:
    person, role = value["person"], value["role"]
    if person is None:
        if role is not None or value["act"] != "recall":
            raise MalformedError("decision.person", "only a recall may be nobody's, and nobody has a role")
        return None
    if not isinstance(person, str) or not 1 <= len(person) <= MAX_PERSON or not is_code(role):
        raise MalformedError("decision.person", f"a person has a name of 1 to {MAX_PERSON} characters and a role")
    return person


def _until(value: dict[str, Any], decided_at: dt.datetime) -> dt.datetime | None:
    if (value["until"] is not None) != (value["act"] == "release"):
        raise MalformedError("decision.until", "exactly a release has an end")
    until = None if value["until"] is None else time_decode(value["until"])
    if until is not None and until <= decided_at:
        raise MalformedError("decision.until", "a release ends after it begins")
    return until


def _text(value: object, *, least: int) -> str:
    if not isinstance(value, str) or not least <= len(value) <= MAX_TEXT:
        raise MalformedError("decision.text", f"a text has {least} to {MAX_TEXT} characters")
    return value


def _recorded(value: object) -> str | None:
    return None if value is None else _text(value, least=1)


def record_of(document: bytes, salt: bytes) -> bytes:
    """The commitment to a document's exact bytes (``statement.md`` §4.3(2)), 32 bytes."""
    if len(salt) != SALT_BYTES:
        raise UsageError("decision.salt", f"the salt of a record has {SALT_BYTES} bytes")
    return sha256(RECORD_DOMAIN + salt + document)


def claimed_time(decided_at: dt.datetime, *, private: bool) -> dt.datetime:
    """``claimed_at`` of the statement on a decision that is signed at once (``statement.md`` §4.3(4))."""
    return decided_at.replace(second=0, microsecond=0) if private else decided_at


# The cases of one recall


def _leaves(cases: Iterable[str]) -> tuple[list[str], list[bytes]]:
    """Case ids, sorted, and their leaf hashes."""
    listed = sorted(cases)
    if not listed or len(set(listed)) != len(listed) or not all(is_run_id(case) for case in listed):
        raise UsageError("decision.cases", "a batch holds case ids, at least one and each once")
    return listed, [merkle.leaf_hash(case.encode()) for case in listed]


def batch_of(cases: Iterable[str]) -> Tree:
    """The tree over the ids of all cases that one recall recalls (``statement.md`` §4.3(3))."""
    _, leaves = _leaves(cases)
    return Tree(merkle.root(leaves), len(leaves))


def path_in_batch(cases: Sequence[str], case: str) -> CasePath:
    """What shows that ``case`` is one of ``cases``."""
    listed, leaves = _leaves(cases)
    if case not in listed:
        raise UsageError("decision.cases", "the case is not one of the batch")
    index = listed.index(case)
    return CasePath(index, tuple(merkle.inclusion_proof(leaves, index)))


def parse_case_path(value: object) -> CasePath:
    """``{"index","proof"}`` to a :class:`CasePath`; raises ``decision.path`` or ``encoding.hex``."""
    if not isinstance(value, dict) or value.keys() != {"index", "proof"}:
        raise MalformedError("decision.path", "a path has exactly index and proof")
    index, proof = value["index"], value["proof"]
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise MalformedError("decision.path", "an index counts from 0")
    if not isinstance(proof, list) or len(proof) > MAX_PATH:
        raise MalformedError("decision.path", f"a path has at most {MAX_PATH} hashes")
    return CasePath(index, tuple(hex_decode(step, 32) for step in proof))


def verify_in_batch(case: str, path: CasePath, cases: Tree) -> None:
    """Check that a recall's root covers a case; raises ``decision.batch``."""
    try:
        merkle.verify_inclusion(merkle.leaf_hash(case.encode()), path.index, cases.size, list(path.proof), cases.root)
    except RefusedError as error:
        raise RefusedError("decision.batch", "the case is not among those that were recalled together") from error


# Opening


def verify_decision(statement: Statement, document: bytes, salt: bytes, path: CasePath | None) -> DecisionDocument:
    """Open the record of a ``decision`` statement with the document and salt that are shown for it.

    Raises ``decision.record`` when the record commits to something else, ``decision.case``, ``decision.run``,
    ``decision.act`` or ``decision.at`` when the document tells of something else than the statement, and
    ``decision.batch`` when a path does not lead from the statement's case to the cases recalled. A batch without a path
    is opened, and not shown to hold the case.
    """
    body = statement.body
    if not isinstance(body, DecisionBody):
        raise RefusedError("decision.record", f"a {statement.kind} statement commits to no decision document")
    if record_of(document, salt) != body.record:
        raise RefusedError("decision.record", "the record does not commit to this document with this salt")
    found = parse_decision_document(document)
    for name, same in (
        ("case", found.case == body.case),
        ("run", found.run == statement.run),
        ("act", found.act == body.act),
        ("at", statement.claimed_at >= found.at or statement.claimed_at == claimed_time(found.at, private=True)),
    ):
        if not same:
            raise RefusedError(f"decision.{name}", f"statement and document differ in {name}")
    if path is not None:
        if body.cases is None:
            raise RefusedError("decision.batch", "the statement names no batch")
        verify_in_batch(body.case, path, body.cases)
    return found
