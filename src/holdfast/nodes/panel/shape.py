"""Reading what a node said: each raises ``panel.shape`` where it is something else."""

from __future__ import annotations

from typing import Any

from holdfast.errors import MalformedError


def as_object(value: object, what: str) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise MalformedError("panel.shape", f"{what} is not an object")
    return value


def as_list(value: object, what: str) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise MalformedError("panel.shape", f"{what} is not a list")
    return value


def as_text(value: object, what: str) -> str:
    """A text."""
    if not isinstance(value, str):
        raise MalformedError("panel.shape", f"{what} is not a string")
    return value


def as_count(value: object, what: str) -> int:
    """A number that counts."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedError("panel.shape", f"{what} is not a count")
    return value
