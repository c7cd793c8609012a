"""Which agent runs were opened here and what they proposed, durable at the moment it happens (``spec/acts.md`` §1(2)).

A file of lines of JSON that only its owner reads: with it an executor knows its agent's acts, and a runner that starts
again knows which agent runs its last one left open. Every line is synced before anything goes on.

Rules: nothing that a model, a tool or a node says is read from here or written here but the ids that a gateway gave and
digests of what was sent to it. A line that cannot be read, as one that a crash cut off, is as if it was not there: an
act that the record does not have is carried out by nobody.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.core import canonical
from holdfast.errors import HoldfastError, UnavailableError

_MEMBERS: Mapping[str, frozenset[str]] = {
    "opened": frozenset({"word", "run", "capability", "gateway", "agent"}),
    "proposed": frozenset({"word", "run", "capability", "agent", "digest"}),
    "closed": frozenset({"word", "run"}),
}


@dataclass(frozen=True, slots=True)
class OpenedAgent:
    """An agent run that was opened here."""

    run: str
    capability: str = field(repr=False)
    gateway: str
    agent: Mapping[str, Any]
    """The member ``agent`` of its request."""


@dataclass(frozen=True, slots=True)
class ProposedAct:
    """An act that was proposed here."""

    run: str
    capability: str = field(repr=False)
    agent: str
    """The agent run."""
    digest: str
    """Of the act (``acts.md`` §1(3)), hex."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A whole record."""

    agents: Mapping[str, OpenedAgent]
    acts: Mapping[str, ProposedAct]
    closed: frozenset[str]

    @property
    def open(self) -> tuple[OpenedAgent, ...]:
        """Agent runs that were not closed here, oldest first."""
        return tuple(item for run, item in self.agents.items() if run not in self.closed)


class Record:
    """Appends to one file; makes it, and its folder, for its owner alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def opened(self, run: str, capability: str, gateway: str, agent: Mapping[str, Any]) -> None:
        """An agent run was opened; raises ``record.disk``, as all of these do."""
        self._append(word="opened", run=run, capability=capability, gateway=gateway, agent=dict(agent))

    def proposed(self, run: str, capability: str, agent: str, digest: str) -> None:
        """An act was proposed."""
        self._append(word="proposed", run=run, capability=capability, agent=agent, digest=digest)

    def closed(self, run: str) -> None:
        """An agent run was closed."""
        self._append(word="closed", run=run)

    def _append(self, **line: Any) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                left = (b"\n" if torn else b"") + canonical.encode(line) + b"\n"
                while left:  # a disk that is nearly full takes a part first
                    left = left[os.write(descriptor, left) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UnavailableError("record.disk", f"cannot write {self._path}: {error.strerror}") from error


def read_record(path: Path) -> Recorded:
    """What a file holds; nothing where there is none. Raises ``record.disk``."""
    try:
        raw = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UnavailableError("record.disk", f"cannot read {path}: {error.strerror}") from error
    agents: dict[str, OpenedAgent] = {}
    acts: dict[str, ProposedAct] = {}
    closed: set[str] = set()
    for text in raw.split(b"\n"):
        line = _line(text)
        if line is None:
            continue
        word = line.pop("word")
        if word == "opened":
            agents[line["run"]] = OpenedAgent(**line)
        elif word == "proposed":
            acts[line["run"]] = ProposedAct(**line)
        else:
            closed.add(line["run"])
    return Recorded(agents, acts, frozenset(closed))


def _line(text: bytes) -> dict[str, Any] | None:
    try:
        line = canonical.decode_object(text)
    except HoldfastError:
        return None
    word = line.get("word")
    if not isinstance(word, str) or line.keys() != _MEMBERS.get(word):
        return None
    plain = all(isinstance(item, str) or (word, name) == ("opened", "agent") for name, item in line.items())
    return line if plain else None
