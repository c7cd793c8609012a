"""Queues and the policies they have had; what a change of policy would move (``spec/case.md`` §7).

A queue that nobody wrote a policy for has the empty one: it refuses every case and says so. A policy is kept for good,
by digest, because old events name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from holdfast.core.statements import is_code
from holdfast.errors import UsageError
from holdfast.ports.case_store import CaseReader
from holdfast.verifier.gate import GateResult, Reason
from holdfast.verifier.policy import Policy
from holdfast.verifier.queue_policy import (
    QUEUE_POLICY_TYPE,
    QueuePolicy,
    parse_queue_policy,
    parse_queue_policy_document,
)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, its policy, and how many cases it holds by what the gate last said. ``authored`` is False for a queue
    that only cases have named: its policy is the empty one."""

    name: str
    policy: QueuePolicy
    authored: bool
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Move:
    """A case that a policy would move: from what to what, and why it would then stand there."""

    case: str
    run: str
    before: str
    after: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What a change of policy does, or would do. ``left`` counts open cases that were not looked at yet: held ones that
    the panel's next turns look at."""

    queue: str
    digest: str
    before: str
    moves: tuple[Move, ...]
    seen: int
    left: int


@lru_cache(maxsize=256)
def empty_policy(name: str) -> QueuePolicy:
    """The policy of a queue that nobody wrote one for. It asks for nothing, and so clears nothing (``gate.md`` §2)."""
    if not is_code(name):
        raise UsageError("queue.name", "a queue's name is a code, such as default", param="queue")
    return parse_queue_policy(f'type = "{QUEUE_POLICY_TYPE}"\nname = "{name}"\n')


@lru_cache(maxsize=256)
def _parsed(document: bytes) -> QueuePolicy:
    return parse_queue_policy_document(document)


def appraisal_policy(policy: QueuePolicy) -> Policy:
    """The bounds of a queue's policy as the appraisal takes them; parsed once."""
    return _bounds_of(policy.document)


@lru_cache(maxsize=256)
def _bounds_of(document: bytes) -> Policy:
    return _parsed(document).appraisal


def policy_of_queue(reader: CaseReader, queue: str) -> QueuePolicy:
    """The policy that a queue has now."""
    digest = reader.queue(queue)
    return empty_policy(queue) if digest is None else policy_by_digest(reader, queue, digest)


def policy_by_digest(reader: CaseReader, queue: str, digest: str) -> QueuePolicy:
    """A policy that a queue has or had."""
    empty = empty_policy(queue)
    if digest == empty.digest:
        return empty
    document = reader.policy(digest)
    if document is None:
        raise UsageError("queue.policy", f"no policy {digest[:12]} was ever in force here")
    return _parsed(document)


def moved(case: str, run: str, before: str, result: GateResult) -> Move | None:
    """What a new word of the gate moves, or None."""
    return None if before == result.state else Move(case, run, before, result.state, result.reasons)
