"""Every error Holdfast raises on purpose.

::

    HoldfastError
    ├── MalformedError      the bytes are not what they claim to be (nothing was checked)
    ├── RefusedError        well formed, but a check said no
    │   └── ConflictError   somebody else was first: fencing, idempotency, equivocation
    ├── UndecidedError      cannot tell: trust, evidence or time is missing
    ├── UnavailableError    the world is silent: network, disk, chain, upstream
    └── UsageError          the caller asked for something that makes no sense here

Each carries a stable dotted ``code`` (listed in ``spec/conventions.md`` §6), a message for a person, a ``hint`` that
says what to do next, and an HTTP ``status`` hint for the edge. Messages may change; codes may not.
"""

from __future__ import annotations

from typing import ClassVar


class DevelopmentModeWarning(UserWarning):
    """No error: something that only stands in for the real thing was started. Tests that mean it expect it."""


class HoldfastError(Exception):
    """Base of every deliberate error. ``code`` is stable; the message is for people."""

    kind: ClassVar[str] = "error"
    """The word in the ``type`` field of the JSON error shape."""
    default_status: ClassVar[int] = 500
    """The HTTP status used when the raiser gives none."""

    def __init__(self, code: str, message: str, *, hint: str = "", param: str | None = None, status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.param = param
        self.status = status or self.default_status

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text

    def to_json(self) -> dict[str, dict[str, str | None]]:
        """Return the one JSON error shape (``spec/conventions.md`` §6)."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
                "hint": self.hint,
            }
        }


class MalformedError(HoldfastError):
    """The bytes do not parse; no check was made."""

    kind = "malformed"
    default_status = 400


class RefusedError(HoldfastError):
    """A check was made and failed."""

    kind = "refused"
    default_status = 403


class ConflictError(RefusedError):
    """Somebody else holds the lease, sent it first, or said something else before."""

    kind = "conflict"
    default_status = 409


class UndecidedError(HoldfastError):
    """The check could not be made with what is at hand. Never a pass, never a refusal."""

    kind = "undecided"
    default_status = 422


class UnavailableError(HoldfastError):
    """The world did not answer. Trying again may help."""

    kind = "unavailable"
    default_status = 503


class UsageError(HoldfastError):
    """The caller's mistake: wrong argument, wrong order, unknown name."""

    kind = "usage"
    default_status = 400
