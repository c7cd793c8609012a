"""Keeping a second sequencer from forking the log (``spec/log.md`` §5).

Two guards, because one of them is only as good as the file system under it:

* an exclusive lock, held for as long as the process lives;
* an *epoch*, a number in the same storage that every sequencer raises before it reads anything else. A sequencer looks
  at it again after each durable write and before it answers or publishes. If it has moved, somebody else has taken
  over: what was just written is not acknowledged, nothing is signed any more, and the process stops.
"""

from __future__ import annotations

import re

from holdfast.errors import ConflictError, MalformedError
from holdfast.ports.storage import Lock, Storage

_LOCK = "lock"
_EPOCH = "epoch"
_NUMBER = re.compile(rb"(0|[1-9][0-9]{0,17})\n\Z")


class Fence:
    """The right to sequence, taken by :meth:`take` and lost for good when somebody else takes it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock: Lock | None = None
        self.epoch = 0
        """This sequencer's number."""

    def take(self) -> None:
        """Lock the storage and raise the epoch; ``storage.locked`` when another process is at work."""
        self._lock = self._storage.lock(_LOCK)
        self.epoch = self._read() + 1
        self._storage.save(_EPOCH, b"%d\n" % self.epoch)

    def check(self) -> None:
        """Raise ``log.fenced`` when another sequencer has taken over."""
        if self._read() != self.epoch:
            raise ConflictError(
                "log.fenced", "another sequencer has taken over this log", hint="stop this process", status=503
            )

    def release(self) -> None:
        """Let the next sequencer in."""
        if self._lock is not None:
            self._lock.release()

    def _read(self) -> int:
        raw = self._storage.load(_EPOCH)
        if raw is None:
            return 0
        match = _NUMBER.match(raw)
        if match is None:
            raise MalformedError("log.state", "the epoch file is damaged", hint="restore the log's state from a copy")
        return int(match[1])
