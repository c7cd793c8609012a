"""What an executor did with each act, durable before it does the next thing (``spec/acts.md`` §4).

One file of lines, appended and synced one by one, behind an exclusive lock. An :class:`ActState` is the fold of the
lines of one act, and a word that cannot follow on the last one is refused, when it is written and when it is read.

Rules: a torn last line is cut; damage before a good line is an error and nothing is carried out. Reading alone
(:func:`read_journal`) changes nothing, so that a list can be made while an executor works.

Not covered: making a long file shorter. Nothing is ever removed: what was begun is never begun again.
"""

from __future__ import annotations

import datetime as dt
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, hex_decode, sha256_hex, time_encode
from holdfast.core.statements import is_run_id
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from holdfast.ports.storage import Storage

FILE, LOCK, ID = "acts.log", "acts.lock", "acts.id"
WORDS: Mapping[str, tuple[str, ...]] = {
    "taken": ("", "dropped"),
    "prepared": ("taken",),
    "begun": ("prepared",),
    "ended": ("begun", "taken"),
    "unknown": ("begun",),
    "told": ("ended", "unknown"),
    "over": ("told",),
    "dropped": ("taken", "prepared"),
}
"""Each word, and what it may follow on (``acts.md`` §4(2)); the empty one stands for nothing."""
_MEMBERS: Mapping[str, frozenset[str]] = {
    "taken": frozenset({"case", "queue", "key", "capability", "agent"}),
    "prepared": frozenset({"reserved", "tool", "effect", "digest", "arguments", "bytes"}),
    "begun": frozenset(),
    "unknown": frozenset({"why"}),
    "told": frozenset({"run"}),
    "over": frozenset({"state"}),
    "dropped": frozenset({"code", "says"}),
}
_MAY = frozenset({"amends"})
"""What `taken` may have besides: of an amended act."""
OPEN = ("taken", "prepared", "begun", "ended", "unknown", "told")
"""Words after which something is still to be done."""


@dataclass(frozen=True, slots=True)
class ActState:
    """One act, as its lines leave it."""

    act: str
    word: str = ""
    at: str = ""
    """When the last word was written."""
    first: str = ""
    """When the first one was."""
    case: str = ""
    queue: str = ""
    key: str = ""
    """Of the hand-out (hex)."""
    capability: str = field(default="", repr=False)
    """Of the act."""
    agent: str = ""
    """The agent run."""
    amends: str = ""
    """Of an amended act, the first one (``acts.md`` §1(5))."""
    tool: str = ""
    effect: str = ""
    digest: str = ""
    arguments: str = field(default="", repr=False)
    """Their JSON text."""
    prepared: bytes = field(default=b"", repr=False)
    reserved: str | None = None
    """The run of the step that says that nobody else carries it out."""
    begun: bool = False
    """Whether it may have happened."""
    came: Mapping[str, str] = field(default_factory=dict)
    """``result`` or ``error``, as JSON text."""
    why: str | None = None
    """Why it cannot be known whether it happened."""
    outcome: str | None = None
    """The run of the outcome."""
    stands: str | None = None
    """How the case stood when the hand-out was acknowledged."""
    dropped: Mapping[str, str] = field(default_factory=dict)

    @property
    def proposed(self) -> str:
        """The act of the agent's own with which it began: itself, where nobody amended."""
        return self.amends or self.act

    @property
    def to_take_back(self) -> bool:
        """Whether it was carried out, as far as is known, and its case does not let it through any more."""
        return self.stands in ("RECALLED", "REJECTED") and (self.why is not None or "result" in self.came)

    def to_json(self) -> dict[str, canonical.JSON]:
        """As a list shows it: without the prepared bytes and what came of it."""
        return {
            "act": self.act,
            "word": self.word,
            "at": self.at,
            "case": self.case,
            "queue": self.queue,
            "agent": self.agent,
            "amends": self.amends or None,
            "tool": self.tool,
            "effect": self.effect,
            "outcome": self.outcome,
            "stands": self.stands,
            "came": next(iter(self.came), None),
            "not_known": self.why,
            "dropped": dict(self.dropped) or None,
            "to_take_back": self.to_take_back,
        }


def follow(state: ActState, word: str, at: str, body: Mapping[str, Any]) -> ActState:
    """One word further; raises ``acts.history`` for one that cannot follow."""
    if word not in WORDS or state.word not in WORDS[word] or not _fits(state, word, body):
        raise RefusedError("acts.history", f"an act that is {state.word or 'new'} does not become {word!r}")
    said = {**body}
    if word == "taken":
        return ActState(state.act, word, at, state.first or at, **said)
    if word == "prepared":
        return replace(state, word=word, at=at, prepared=b64_decode(said.pop("bytes")), **said)
    if word == "ended":
        return replace(state, word=word, at=at, came=said)
    if word == "dropped":
        return replace(state, word=word, at=at, dropped=said)
    if word == "begun":
        return replace(state, word=word, at=at, begun=True)
    names = {"unknown": "why", "told": "outcome", "over": "stands"}
    [value] = said.values()
    return replace(state, word=word, at=at, **{names[word]: value})


def _fits(state: ActState, word: str, body: Mapping[str, Any]) -> bool:
    if word == "ended":
        may = ("result", "error") if state.word == "begun" else ("error",)
        return [*body] in [[name] for name in may] and all(isinstance(value, str) for value in body.values())
    if body.keys() - (_MAY if word == "taken" else set()) != _MEMBERS[word]:
        return False
    return all(isinstance(value, str) or (word == "told" and value is None) for value in body.values())


@dataclass(slots=True)
class _Read:
    """What a file holds."""

    acts: dict[str, ActState] = field(default_factory=dict)
    lines: int = 0
    end: int = 0
    """Bytes up to which it is whole."""


def _line(text: bytes) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parse(line: bytes) -> dict[str, Any] | None:
    """The entry of one whole line, None where it does not check."""
    if line[8:9] != b" " or line[:8] != b"%08x" % zlib.crc32(line[9:]):
        return None
    try:
        return canonical.decode_signed(line[9:])
    except HoldfastError:
        return None


def _read(raw: bytes) -> _Read:
    """Every whole line; raises ``acts.corrupt`` and ``acts.history``."""
    found = _Read()
    lines = raw.split(b"\n")
    for line in lines[:-1]:
        entry = _parse(line)
        if entry is None or entry.keys() != {"n", "at", "act", "word", "body"} or entry["n"] != found.lines + 1:
            break
        _apply(found.acts, entry)
        found.lines += 1
        found.end += len(line) + 1
    rest = raw[found.end :]
    if any(_parse(line) is not None for line in rest.split(b"\n")[1:]):
        raise MalformedError("acts.corrupt", f"the journal is damaged behind entry {found.lines}")
    return found


def _apply(acts: dict[str, ActState], entry: Mapping[str, Any]) -> None:
    act, word, body = entry["act"], entry["word"], entry["body"]
    if not is_run_id(act) or not isinstance(word, str) or not isinstance(body, dict):
        raise RefusedError("acts.history", "an entry is about a run, with a word and a body")
    acts[act] = follow(acts.get(act, ActState(act)), word, str(entry["at"]), body)


def _own_id(storage: Storage, random_bytes: Callable[[int], bytes]) -> str:
    """The journal's id, made durable with its first opening."""
    kept = storage.load(ID)
    if kept is None:
        kept = random_bytes(32).hex().encode()
        storage.save(ID, kept)
    return hex_decode(kept.decode("ascii", "replace"), 32).hex()


def read_journal(storage: Storage) -> dict[str, ActState]:
    """Acts by run, as a journal has them, without touching it: also while an executor writes to it."""
    return _read(storage.load(FILE) or b"").acts


class ActJournal:
    """The journal of one executor, open for writing. Raises ``storage.locked`` while another one is."""

    def __init__(self, storage: Storage, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._lock = storage.lock(LOCK)
        try:
            self.id = _own_id(storage, random_bytes)
            raw = storage.load(FILE)
            found = _read(raw or b"")
            self._file = storage.create(FILE) if raw is None else storage.open(FILE)
            if found.end < len(raw or b""):
                self._file.truncate(found.end)
            self._file.sync()
            storage.sync_folder()
        except BaseException:
            self._lock.release()
            raise
        self._acts, self._lines, self._end = found.acts, found.lines, found.end
        self._broken = False

    def key(self, what: str, act: str) -> str:
        """The idempotency key under which this journal tells ``what`` (``reserved``, ``outcome``) of an act that it has
        (§6(3)): another one than a copy of it would, that does not know the act yet."""
        return sha256_hex(f"urn:holdfast:act-{what}:v1\0{self.id}/{act}/{self._acts[act].first}".encode())

    def state(self, act: str) -> ActState:
        """What was done with an act so far."""
        return self._acts.get(act, ActState(act))

    def acts(self) -> Iterable[ActState]:
        """Every act, in the order in which it was first taken."""
        return tuple(self._acts.values())

    def open_acts(self) -> list[ActState]:
        """Those with which something is still to be done."""
        return [state for state in self._acts.values() if state.word in OPEN]

    def write(self, act: str, word: str, at: dt.datetime, body: Mapping[str, Any]) -> ActState:
        """Say a word of an act; durable on return. Raises ``acts.history`` and ``storage.failed``; after the latter
        nothing is written any more (``acts.stopped``)."""
        self.require_whole()
        told = time_encode(at)
        state = follow(self.state(act), word, told, body)
        text = canonical.encode({"n": self._lines + 1, "at": told, "act": act, "word": word, "body": dict(body)})
        line = _line(text)
        self._broken = True  # until it is known to be on the disk
        self._file.write(self._end, line)
        self._file.sync()
        self._broken = False
        self._acts[act], self._lines, self._end = state, self._lines + 1, self._end + len(line)
        return state

    def require_whole(self) -> None:
        """Raises ``acts.stopped`` once a line could not be written."""
        if self._broken:
            raise RefusedError("acts.stopped", "the journal could not be written: look at the disk and start again")

    def close(self) -> None:
        """Let go of the file and the lock."""
        self._file.close()
        self._lock.release()
