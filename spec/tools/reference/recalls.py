"""Recall documents, what salts and commits to them, and runs into which rows were carried (recall.md)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from . import parts
from .contexts import block, context
from .signing import Node
from .text import exact_text, jcs, named, parse, when
from .world import REQUEST, SENT, START, Statement, Turn, admit, run_id, statement, trust_value, usual_trust

MEMORY = Node("memory.example", ["memory"], ["statement"])
SEARCHED_AT = when(START, plus_ms=40)
NOT_EVIDENCE_OF = ["artifact", "computation", "enclave", "inputs", "judgement", "payment", "settlement"]
MODEL = named("embedding model").hex()
DAY = 86_400
QUESTION = "Does it hold?"


class Claim:
    """A row as a case needs it: what it says and how it stands."""

    def __init__(
        self, name: str, text: str, standing: str = "earned", authority: str = "user_said", days: int = 12
    ) -> None:
        self.id = f"mem_{named('row/' + name, 16).hex()}"
        self.text, self.standing, self.authority, self.age_s = text, standing, authority, days * DAY + 5
        self.head = named("head/" + name)


CELLO = Claim("cello", "Plays the cello on Tuesdays.")
LISBON = Claim("lisbon", "Lives in Lisbon & likes it.", "aging", "data_admitted", 212)
STALE = Claim("stale", "Lives in Porto.", "contradicted")
RUMOUR = Claim("rumour", "May like jazz.", "background", "model_inferred")
ROWS, KEPT = (CELLO, LISBON), ((STALE, "standing"), (RUMOUR, "standing"))


def expand(key: bytes, name: str) -> bytes:
    """HKDF-Expand of one block."""
    return hmac.new(key, b"holdfast/salt/v1/" + name.encode() + b"\x01", hashlib.sha256).digest()


def key_of(run: str, secret: bytes) -> bytes:
    """§3(1)."""
    return expand(parts.pseudo_random_key(run, secret), "recall")


def salted(key: bytes, name: str, what: str, data: bytes) -> str:
    """§3(1)."""
    return hashlib.sha256(f"urn:holdfast:recall-{what}:v1\0".encode() + expand(key, name) + data).hexdigest()


def row(key: bytes, claim: Claim, rank: int, **change: Any) -> dict[str, Any]:
    """One row of `rows`."""
    return {
        "row": claim.id,
        "claim": salted(key, f"row/{claim.id}", "claim", claim.text.encode()),
        "head": salted(key, f"row/{claim.id}", "head", claim.head),
        "standing": claim.standing,
        "authority": claim.authority,
        "sources": ["run"],
        "age_s": claim.age_s,
        "earned_s": claim.age_s,
        "rank": rank,
        "scores": {
            "vector": 700_000,
            "words": 300_000,
            "time": 1_000_000,
            "standing": 1_000_000,
            "total": 900_000 - rank,
        },
        "path": ["vector", "words"],
        **change,
    }


def kept(claim: Claim, rank: int, why: str) -> dict[str, Any]:
    """One row of `kept_out`."""
    return {"row": claim.id, "standing": claim.standing, "age_s": claim.age_s, "rank": rank, "why": why}


def document(
    run: str, key: bytes, rows: Sequence[Claim] = ROWS, out: Sequence[tuple[Claim, str]] = KEPT, **change: Any
) -> dict[str, Any]:
    """A recall document: rows that were carried in, and behind them in rank rows that were not."""
    value = {
        "type": "urn:holdfast:recall:v1",
        "run": run,
        "at": SEARCHED_AT,
        "query": salted(key, "query", "query", QUESTION.encode()),
        "index": {"version": named("index").hex(), "model": MODEL, "rows": 41},
        "policy": {"standings": ["aging", "earned"], "most": 8, "most_bytes": 8192},
        "found": len(rows) + len(out),
        "rows": [row(key, claim, place) for place, claim in enumerate(rows, 1)],
        "kept_out": [kept(claim, place, why) for place, (claim, why) in enumerate(out, len(rows) + 1)],
        "not_evidence_of": NOT_EVIDENCE_OF,
    }
    return {**value, **change}


def blocks(*claims: Claim) -> str:
    """The context message of some rows (§4(1))."""
    marks = [
        {"age_days": str(one.age_s // DAY), "authority": one.authority, "row": one.id, "standing": one.standing}
        for one in claims
    ]
    return context(*(block("memory", mark, one.text) for mark, one in zip(marks, claims, strict=True)))


def with_context(text: str, content: str | None) -> str:
    """A sent document with a context message behind its system prompt."""
    value = parse(text.encode())
    if content is not None:
        value["messages"].insert(1, {"role": "user", "content": content})
    return exact_text(value)


class Recall:
    """A recall of a run, and the run that names it. Every argument changes one thing."""

    def __init__(
        self,
        name: str = "good",
        *,
        rows: Sequence[Claim] = ROWS,
        carried: Sequence[Claim] | None = None,
        content: str | None = None,
        node: Node = MEMORY,
        signer: Any = None,
        request: str = REQUEST,
        names_it: bool = True,
        rewrites: Sequence[str] | None = None,
        claimed_at: str = when(START, plus_ms=60),
        predicate: dict[str, Any] | None = None,
        told_of: str | None = None,
        nonce: str | None = "nonce-of-a-client-1",
        **change: Any,
    ) -> None:
        run = run_id(name)
        key = key_of(run, named("secret/" + name))
        self.value = document(told_of or run, key, rows, **change)
        self.raw, self.salt = jcs(self.value), named("recall salt/" + name)
        record = hashlib.sha256(b"urn:holdfast:recall-record:v1\0" + self.salt + self.raw).digest()
        self.statement: Statement = statement(
            "recall",
            node,
            run=run,
            claimed_at=claimed_at,
            parents=[],
            subject=("recall", record),
            body={"model": MODEL, "record": record.hex(), **(predicate or {})},
            nonce=nonce,
            signer=signer,
        )
        carried = rows if carried is None else carried
        shown = content if content is not None else blocks(*carried) if carried else None
        usual = ["context", "holdfast-removed"] if shown is not None else ["holdfast-removed"]
        codes = usual if rewrites is None else list(rewrites)
        self.turn = Turn(
            name,
            request=request,
            sent=with_context(SENT, shown),
            parents=[self.statement.digest] if names_it else [],
            route_change=lambda value: value["predicate"].__setitem__("rewrites", codes),
        )

    def opening(self, **change: Any) -> dict[str, Any]:
        """Members of the bundle item that opens it."""
        return {"digest": self.statement.digest, "document": self.raw.decode(), "salt": self.salt.hex(), **change}


def trust_with_memory(**change: Any) -> dict[str, Any]:
    """The usual trust, and a memory node. ``change`` is of its admission."""
    return usual_trust(nodes=[*trust_value(2)["nodes"], admit(MEMORY, **change)])
