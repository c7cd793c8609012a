"""Decision documents, the records that commit to them, and the cases of one recall (statement.md §4.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from . import tree
from .signing import Node
from .text import jcs, named, when
from .world import PANEL, START, Statement, Turn, admit, private_run_id, statement, trust_value, usual_trust

CASE = private_run_id("case")
OTHER_CASE = private_run_id("another case")
LANES = named("lane vector").hex()
QUEUE_POLICY = named("queue policy").hex()
DECIDED_AT = when(START, plus_ms=2_200)


def document(turn: Turn, **change: Any) -> dict[str, Any]:
    """What a reviewer decided about a turn."""
    value = {
        "type": "urn:holdfast:decision:v1",
        "case": CASE,
        "queue": "claims",
        "run": turn.run,
        "person": "Ann Example",
        "role": "reviewer",
        "act": "approve",
        "reason": "The quote is in the file.",
        "until": None,
        "rule": "Two people read the quoted source.",
        "threshold": "0.70",
        "framing": "The model was told to be brief.",
        "at": DECIDED_AT,
    }
    return {**value, **change}


def record(raw: bytes, salt: bytes) -> str:
    """§4.3(2)."""
    return hashlib.sha256(b"urn:holdfast:decision-record:v1" + b"\x00" + salt + raw).hexdigest()


def batch(cases: Sequence[str]) -> dict[str, Any]:
    """§4.3(3)."""
    leaves = [tree.leaf(case.encode()) for case in sorted(cases)]
    return {"root": tree.head(leaves).hex(), "size": len(leaves)}


def path(cases: Sequence[str], case: str) -> dict[str, Any]:
    """What leads from one case to the root."""
    listed = sorted(cases)
    index = listed.index(case)
    proof = tree.inclusion([tree.leaf(item.encode()) for item in listed], index)
    return {"index": index, "proof": [step.hex() for step in proof]}


class Decision:
    """A decision statement and what opens it. Every argument changes one thing."""

    def __init__(
        self,
        turn: Turn,
        name: str = "decision",
        *,
        node: Node = PANEL,
        signer: Any = None,
        parents: Sequence[str] | None = None,
        claimed_at: str | None = None,
        cases: Sequence[str] | None = None,
        told_of: str | None = None,
        nonce: str | None = None,
        predicate: dict[str, Any] | None = None,
        **change: Any,
    ) -> None:
        self.value = document(turn, **{"run": told_of or turn.run, **change})
        self.raw = jcs(self.value)
        self.salt = named("decision salt/" + name)
        self.cases = cases
        digest = record(self.raw, self.salt)
        body = {
            "act": self.value["act"],
            "case": self.value["case"],
            "lanes": LANES,
            "policy": QUEUE_POLICY,
            "record": digest,
            "cases": batch(cases) if cases else None,
        }
        self.statement: Statement = statement(
            "decision",
            node,
            run=turn.run,
            claimed_at=claimed_at or self.value["at"],
            parents=[turn.execution.digest] if parents is None else parents,
            subject=("decision", bytes.fromhex(digest)),
            body={**body, **(predicate or {})},
            nonce=nonce,
            signer=signer,
        )

    def opening(self, **change: Any) -> dict[str, Any]:
        """Members of the bundle item that opens it."""
        found = path(self.cases, self.value["case"]) if self.cases else None
        item = {
            "digest": self.statement.digest,
            "document": self.raw.decode(),
            "salt": self.salt.hex(),
            "path": found,
        }
        return {**item, **change}


def trust_with_panel(**change: Any) -> dict[str, Any]:
    """The usual trust, and a panel. ``change`` is of the panel's admission."""
    return usual_trust(nodes=[*trust_value(2)["nodes"], admit(PANEL, **change)])
