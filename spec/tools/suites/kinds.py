"""What the suites of single kinds of statements share: a payload and its changes, and who may sign one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from reference.cases import Writer
from reference.signing import Node, envelope
from reference.text import exact_text, jcs, when
from reference.world import START, Statement

SEEN = when(START, plus_ms=3000)
"""When statements are first seen unless a case says otherwise."""
Change = Callable[[dict[str, Any]], None]
"""Edits the value of a payload before it is signed."""


def put(member: str, to: Any) -> Change:
    """Another value of one member of the predicate."""
    return lambda value: value["predicate"].__setitem__(member, to)


class Payloads:
    """Cases about the predicate of one kind: a good one, and changes of it that its node signs all the same."""

    def __init__(self, out: Writer, good: Statement, node: Node, *, spec: str) -> None:
        self._out, self._good, self._node, self._spec = out, good, node, spec
        self._kind = good.value["predicateType"].split(":")[2]

    def __call__(self, name: str, why: str, change: Change | None = None, code: str | None = None) -> None:
        """One case; without a name, the good one."""
        value = copy.deepcopy(self._good.value)
        if change:
            change(value)
        told = {"digest": self._good.digest, "kind": self._kind, "run": value["predicate"]["run"]}
        self._out.case(
            f"statement/{self._kind}-{name}" if name else f"statement/{self._kind}",
            why,
            spec=self._spec,
            run=["parse-statement", "envelope.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_STATEMENT" if code else None,
            result=None if code or change else told | {"attester": self._node.id},
            files={"envelope.json": jcs(envelope(jcs(value), [self._node.statement_key]))},
        )


class Attesters:
    """Cases about who may sign one kind (statement.md §6), under a shared trust document or one of the case."""

    def __init__(self, out: Writer, kind: str, shared_trust: str) -> None:
        self._out, self._kind, self._shared = out, kind, shared_trust

    def __call__(
        self,
        name: str,
        why: str,
        made: Statement,
        code: str | None = None,
        *,
        at: str = SEEN,
        trust: dict[str, Any] | None = None,
    ) -> None:
        """One case."""
        given = "trust.json" if trust else f"../../shared/{self._shared}"
        self._out.case(
            f"statement/{self._kind}-{name}",
            why,
            spec="statement.md §6",
            run=[
                "verify-statement",
                "--policy",
                "../../shared/policy.json",
                "--at",
                at,
                "--trust",
                given,
                "envelope.json",
            ],
            expect="reject" if code else "accept",
            code=code,
            at=at,
            bug="WRONG_ATTESTER" if code else None,
            files={"envelope.json": made.entry} | ({"trust.json": exact_text(trust) + "\n"} if trust else {}),
        )


class Traces:
    """Cases about where statements of one kind stand in a log (trace.md), under a shared trust document."""

    def __init__(self, out: Writer, kind: str, shared_trust: str, *, spec: str) -> None:
        self._out, self._kind, self._trust, self._spec = out, kind, shared_trust, spec

    def __call__(self, name: str, why: str, entries: list[bytes], verdicts: list[str], spec: str | None = None) -> None:
        """One case: entries in their order, and the verdict on each."""
        refuted = [code.removeprefix("refuted:") for code in verdicts if code.startswith("refuted:")]
        run = ["verify-entries", "--policy", "../../shared/policy.json", "--at", SEEN]
        self._out.case(
            f"trace/{self._kind}-{name}",
            why,
            spec=spec or self._spec,
            run=[*run, "--trust", f"../../shared/{self._trust}", "entries.jsonl"],
            expect="reject" if refuted else "accept",
            code=f"statement.{refuted[0]}" if refuted else None,
            at=SEEN,
            bug="BROKEN_TRACE" if refuted else None,
            result={"verdicts": verdicts},
            files={"entries.jsonl": b"".join(entry + b"\n" for entry in entries)},
        )
