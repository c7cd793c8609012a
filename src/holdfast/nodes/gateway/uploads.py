"""Uploads: files that a gateway keeps for a workspace's later requests (``spec/files.md`` §6).

Rules:

* An upload is durable before it is answered, and was read before it is kept: what cannot be read is not.
* File, name and document lie sealed under a key of the id's secret, which is kept nowhere. What stands beside the seal
  says whose it is, how large, and until when.
* What was deleted, or has run out, is gone from the folder before anybody is told so.

Not covered: several gateways. Each has its own uploads; an id is of the one that gave it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.encoding import time_decode, time_encode
from holdfast.core.files import parse_file_document
from holdfast.core.sealing import open_document, seal_document
from holdfast.errors import RefusedError
from holdfast.nodes.gateway.attaching import Attaching, Image, Read
from holdfast.ports.clock import Clock
from holdfast.ports.storage import Storage

FOLDER = "files"
MOST_FILES = 1000
"""Uploads of one workspace."""
_ID = re.compile(r"file-([0-9a-f]{32})-([0-9a-f]{64})\Z")
_LISTED = re.compile(r"file-([0-9a-f]{32})(?:-[0-9a-f]{64})?\Z")
_SWEEP_S = 3600.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What stands beside a sealed upload."""

    locator: str
    workspace: str
    person: str | None
    size: int
    created_at: dt.datetime
    expires_at: dt.datetime

    def to_bytes(self) -> bytes:
        return canonical.encode(
            {
                "workspace": self.workspace,
                "person": self.person,
                "size": self.size,
                "created_at": time_encode(self.created_at),
                "expires_at": time_encode(self.expires_at),
            }
        )


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that was opened: what stands beside it, its bytes, and what was read in them."""

    kept: Kept
    data: bytes
    found: Read | Image

    @property
    def name(self) -> str:
        return self.found.name if isinstance(self.found, Image) else self.found.document.name


class Uploads:
    """The uploads of one gateway; see the module."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        *,
        random_bytes: Callable[[int], bytes],
        days: int,
        workspace_bytes: int,
    ) -> None:
        """``days`` is how long an upload is kept, ``workspace_bytes`` how much of one workspace altogether."""
        self._storage = storage
        self._clock = clock
        self._random = random_bytes
        self._days = days
        self._workspace_bytes = workspace_bytes
        self._kept = {item.locator: item for item in self._load()}

    def _load(self) -> list[Kept]:
        """What is on the disk; halves of uploads that were never answered go."""
        found = []
        names = self._storage.list_names(FOLDER)
        for name in names:
            locator, _, kind = name.partition(".")
            if kind == "sealed" and f"{locator}.json" not in names:
                self._storage.remove(f"{FOLDER}/{name}")
            elif kind == "json":
                value = canonical.decode_object(self._storage.load(f"{FOLDER}/{name}") or b"")
                times = time_decode(value["created_at"]), time_decode(value["expires_at"])
                found.append(Kept(locator, value["workspace"], value["person"], value["size"], *times))
        return found

    async def keep(
        self, name: str, data: bytes, workspace: str, person: str | None, attaching: Attaching
    ) -> tuple[str, Upload]:
        """Read a file and keep it; its id. Raises ``file.*``."""
        await self.sweep()
        self._require_room(workspace, len(data))
        found = await attaching.read(name, data)
        self._require_room(workspace, len(data))  # others came while this one was read
        locator, secret = self._random(16).hex(), self._random(32)
        now = self._clock.now()
        kept = Kept(locator, workspace, person, len(data), now, now + dt.timedelta(days=self._days))
        sealed = seal_document(secret, f"file/{locator}", _pack(found, data))
        self._kept[locator] = kept  # before it is on the disk: what comes at the same time counts it
        try:
            await asyncio.to_thread(
                self._storage.save_all,
                {f"{FOLDER}/{locator}.sealed": sealed, f"{FOLDER}/{locator}.json": kept.to_bytes()},
            )
        except BaseException:
            del self._kept[locator]
            raise
        return f"file-{locator}-{secret.hex()}", Upload(kept, data, found)

    def _require_room(self, workspace: str, size: int) -> None:
        own = self.of(workspace)
        if len(own) >= MOST_FILES or sum(item.size for item in own) + size > self._workspace_bytes:
            raise RefusedError(
                "file.room",
                f"a workspace keeps at most {MOST_FILES} uploads of together {self._workspace_bytes} bytes",
                hint="delete some, or send the file inline",
                status=413,
            )

    def of(self, workspace: str) -> list[Kept]:
        """What is kept of a workspace, newest first."""
        now = self._clock.now()
        own = [item for item in self._kept.values() if item.workspace == workspace and item.expires_at > now]
        return sorted(own, key=lambda item: (item.created_at, item.locator), reverse=True)

    async def open(self, file_id: str, workspace: str) -> Upload:
        """An upload by its whole id. Raises ``file.unknown``."""
        found = _ID.match(file_id)
        kept = self._kept.get(found[1]) if found is not None else None
        if found is None or kept is None or kept.workspace != workspace or kept.expires_at <= self._clock.now():
            raise _unknown()
        sealed = await asyncio.to_thread(self._storage.load, f"{FOLDER}/{kept.locator}.sealed")
        try:
            pack = open_document(bytes.fromhex(found[2]), f"file/{kept.locator}", sealed or b"")
        except RefusedError as error:
            raise _unknown() from error
        return _unpack(kept, pack)

    async def find(self, file_id: str, workspace: str) -> Read | Image:
        """What was read in an upload. Raises ``file.unknown``."""
        return (await self.open(file_id, workspace)).found

    async def delete(self, file_id: str, workspace: str) -> None:
        """Forget an upload, by its whole id or as it is listed. Raises ``file.unknown``."""
        found = _LISTED.match(file_id)
        kept = self._kept.get(found[1]) if found is not None else None
        if kept is None or kept.workspace != workspace:
            raise _unknown()
        await asyncio.to_thread(self._remove, [kept])

    async def sweep(self) -> None:
        """Forget what has run out."""
        now = self._clock.now()
        await asyncio.to_thread(self._remove, [item for item in self._kept.values() if item.expires_at <= now])

    async def work(self) -> None:
        """Sweep for ever."""
        while True:
            await self.sweep()
            await self._clock.sleep(_SWEEP_S)

    def _remove(self, items: list[Kept]) -> None:
        for item in items:
            self._storage.remove(f"{FOLDER}/{item.locator}.json")
            self._storage.remove(f"{FOLDER}/{item.locator}.sealed")
        if items:
            self._storage.sync_folder(FOLDER)
        for item in items:
            self._kept.pop(item.locator, None)


def _pack(found: Read | Image, data: bytes) -> bytes:
    """What is sealed: a head of one line, what was read, and the file."""
    image = found.media_type if isinstance(found, Image) else ""
    name = found.name if isinstance(found, Image) else found.document.name
    read = b"" if isinstance(found, Image) else found.raw
    return canonical.encode({"name": name, "image": image, "read": len(read)}) + b"\n" + read + data


def _unpack(kept: Kept, pack: bytes) -> Upload:
    line, _, rest = pack.partition(b"\n")
    head = canonical.decode_object(line)
    read, data = rest[: head["read"]], rest[head["read"] :]
    if head["image"]:
        return Upload(kept, data, Image(head["name"], head["image"], data))
    return Upload(kept, data, Read.of(parse_file_document(read)))


def _unknown() -> RefusedError:
    return RefusedError("file.unknown", "this workspace has no such upload", hint="upload it again", status=404)
