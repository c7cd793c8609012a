"""What every command shares: its command line, its answer, and refusals that still have something to say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from holdfast.core import canonical
from holdfast.errors import MalformedError, UsageError

Answer: TypeAlias = dict[str, Any]
"""What a command says besides verdict and code."""


class Arguments:
    """A command line: options in any number, then files. Every option takes one value."""

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        self.folder = folder
        self.options: dict[str, list[str]] = {}
        self.rest: list[str] = []
        queue = list(words)
        while queue:
            word = queue.pop(0)
            if not word.startswith("--"):
                self.rest.append(word)
            elif queue:
                self.options.setdefault(word[2:], []).append(queue.pop(0))
            else:
                raise UsageError("usage.option", f"{word} needs a value")

    def one(self, name: str) -> str:
        """The value of an option that must be there once."""
        values = self.options.pop(name, [])
        if len(values) != 1:
            raise UsageError("usage.option", f"--{name} is given once")
        return values[0]

    def maybe(self, name: str) -> str | None:
        """The value of an option that may be there."""
        return self.one(name) if name in self.options else None

    def many(self, name: str) -> list[str]:
        """All values of an option."""
        return self.options.pop(name, [])

    def file(self) -> bytes:
        """The bytes of the next file; the last argument of every command."""
        if not self.rest:
            raise UsageError("usage.file", "a file is missing")
        return self.read(self.rest.pop(0))

    def read(self, name: str) -> bytes:
        """The bytes of a named file."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise UsageError("usage.file", f"cannot read {name}") from error

    def end(self) -> None:
        """Refuse what nobody asked for."""
        if self.rest or self.options:
            raise UsageError("usage.option", "unknown arguments")


class Refused(Exception):  # noqa: N818 - carries an answer, not an error
    """A refusal that still has something to say."""

    def __init__(self, code: str, answer: Answer) -> None:
        super().__init__(code)
        self.code = code
        self.answer = answer


class Undecided(Refused):
    """As :class:`Refused`, when the answer is not there yet."""


def integer(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise UsageError("usage.number", f"{text!r} is not a number")
    return int(text)


def fields_of(raw: bytes, *names: str) -> dict[str, Any]:
    value = canonical.decode_object(raw)
    if value.keys() != set(names):
        raise UsageError("usage.file", f"expected exactly {', '.join(names)}")
    return value


def exact_object(raw: bytes) -> dict[str, Any]:
    value = canonical.decode_exact(raw)
    if not isinstance(value, dict):
        raise MalformedError("json.object", "expected a JSON object")
    return value
