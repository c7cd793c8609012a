"""A numbered list of three-valued checks, each citing the specification (``spec/lanes.md`` §2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from holdfast.core.canonical import JSON
from holdfast.errors import HoldfastError, UndecidedError
from holdfast.verifier.lanes import LANES

Answer: TypeAlias = Literal["yes", "no", "cannot_tell"]
"""The three answers (``conventions.md`` §5)."""
ENCLAVE = ("enclave",)
"""What a check of an attestation is about (``lanes.md`` §2)."""
_PLACE = LANES.index


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its number, the section it comes from, the answer, a sentence, and the lanes that it is about."""

    number: int
    spec: str
    answer: Answer
    says: str
    code: str | None = None
    lanes: tuple[str, ...] = ()
    """The lanes whose answer this check has a part in, in their fixed order. Never empty where it was made."""

    def to_json(self) -> dict[str, JSON]:
        return {
            "number": self.number,
            "spec": self.spec,
            "answer": self.answer,
            "says": self.says,
            "code": self.code,
            "lanes": [*self.lanes],
        }


@dataclass(slots=True)
class Transcript:
    """Collects checks in the order in which they were made."""

    checks: list[Check] = field(default_factory=list)

    def note(self, lanes: Iterable[str], spec: str, answer: Answer, says: str, code: str | None = None) -> None:
        """Add a check that is about these lanes."""
        self.checks.append(Check(len(self.checks) + 1, spec, answer, says, code, tuple(sorted(lanes, key=_PLACE))))

    def error(self, lanes: Iterable[str], spec: str, error: HoldfastError) -> None:
        """Record a raised error: *cannot tell* for :class:`UndecidedError`, *no* for the rest."""
        answer: Answer = "cannot_tell" if isinstance(error, UndecidedError) else "no"
        self.note(lanes, spec, answer, error.message, error.code)
