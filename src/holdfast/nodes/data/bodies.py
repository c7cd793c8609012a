"""Fetched bodies by their SHA-256, for some hours, so that admissions can be read again.

One file an hour, appended to and deleted as a whole once its time is over::

    bodies/<YYYYMMDDHH>   record: digest (32) | size u32 (big-endian) | body

Rules: nothing is synced, so keeping a body costs its admission nothing; a crash can lose the newest ones, and then
they cannot be replayed. What is read is compared with its digest: a body is the one that was fetched, or there is none.
"""

from __future__ import annotations

import datetime as dt
import struct

from holdfast.core.encoding import sha256
from holdfast.errors import RefusedError
from holdfast.ports.clock import Clock
from holdfast.ports.storage import Storage, StorageFile

FOLDER = "bodies"
_HEAD = struct.Struct(">32sI")
_HOUR = "%Y%m%d%H"


class Bodies:
    """See the module. One event loop owns it."""

    def __init__(self, storage: Storage, clock: Clock, hours: int) -> None:
        self._storage = storage
        self._clock = clock
        self._hours = hours
        self._files: dict[str, StorageFile] = {}
        self._ends: dict[str, int] = {}
        self._places: dict[bytes, tuple[str, int, int]] = {}
        """Digest to hour, offset and size."""
        for hour in sorted(storage.list_names(FOLDER)):
            self._read_places(hour)

    def __len__(self) -> int:
        return len(self._places)

    def _read_places(self, hour: str) -> None:
        file = self._files[hour] = self._storage.open(f"{FOLDER}/{hour}")
        place, end = 0, file.size()
        while place + _HEAD.size <= end:
            digest, size = _HEAD.unpack(file.read(place, _HEAD.size))
            if place + _HEAD.size + size > end:
                break  # a crash came between; what follows is written over
            self._places[digest] = (hour, place + _HEAD.size, size)
            place += _HEAD.size + size
        self._ends[hour] = place

    def put(self, body: bytes) -> None:
        """Keep a body from now on for as long as bodies are kept."""
        if not self._hours:
            return
        hour, digest = self._clock.now().strftime(_HOUR), sha256(body)
        known = self._places.get(digest)
        if known is not None and known[0] == hour:
            return
        if hour not in self._files:
            self._files[hour], self._ends[hour] = self._storage.create(f"{FOLDER}/{hour}"), 0
        place = self._ends[hour]
        self._files[hour].write(place, _HEAD.pack(digest, len(body)) + body)
        self._ends[hour] = place + _HEAD.size + len(body)
        self._places[digest] = (hour, place + _HEAD.size, len(body))

    def get(self, digest: str) -> bytes:
        """A body by its SHA-256 (hex); raises ``source.body_gone``."""
        raw = bytes.fromhex(digest)
        place = self._places.get(raw)
        found = None if place is None else self._files[place[0]].read(place[1], place[2])
        if found is None or sha256(found) != raw:
            raise RefusedError(
                "source.body_gone", "the body is not kept any more", hint="ask the source again", status=410
            )
        return found

    def tidy(self) -> None:
        """Delete the hours that are over."""
        oldest = (self._clock.now() - dt.timedelta(hours=self._hours + 1)).strftime(_HOUR)
        for hour in [hour for hour in self._files if hour < oldest]:
            self._files.pop(hour).close()
            self._ends.pop(hour)
            self._storage.remove(f"{FOLDER}/{hour}")
            self._places = {digest: place for digest, place in self._places.items() if place[0] != hour}

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()
