"""A numbered list of three-valued checks, each citing the specification (``spec/lanes.md`` §2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from holdfast.core.canonical import JSON
from holdfast.errors import HoldfastError, UndecidedError

Answer: TypeAlias = Literal["yes", "no", "cannot_tell"]
"""The three answers (``conventions.md`` §5)."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its number, the section it comes from, the answer, and a sentence."""

    number: int
    spec: str
    answer: Answer
    says: str
    code: str | None = None

    def to_json(self) -> dict[str, JSON]:
        return {
            "number": self.number,
            "spec": self.spec,
            "answer": self.answer,
            "says": self.says,
            "code": self.code,
        }


@dataclass(slots=True)
class Transcript:
    """Collects checks in the order in which they were made."""

    checks: list[Check] = field(default_factory=list)

    def note(self, spec: str, answer: Answer, says: str, code: str | None = None) -> None:
        self.checks.append(Check(len(self.checks) + 1, spec, answer, says, code))

    def error(self, spec: str, error: HoldfastError) -> None:
        """Record a raised error: *cannot tell* for :class:`UndecidedError`, *no* for the rest."""
        answer: Answer = "cannot_tell" if isinstance(error, UndecidedError) else "no"
        self.note(spec, answer, error.message, error.code)
