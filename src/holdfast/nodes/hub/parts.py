"""Whole files in a store of blobs: cut into parts, sealed where the hub has a secret (``spec/artifacts.md`` §10).

A store takes blobs as a whole, and files are larger than that, so a file is a list of parts and a small list in the
hub's own folder says which (``parts/ab/cdef…``). The list is written once every part is there.

Rules: a part is hashed when it comes back, and opened where it was sealed; what does not fit is an error and never
content. With a secret, the store holds ciphertext alone: names, sizes and lists stay in the hub's folder.

Everything here blocks, in threads, while the store is asked by the event loop that :meth:`FileParts.attach` names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from holdfast.core import canonical
from holdfast.core.blob_sealing import open_blob, seal_blob
from holdfast.core.encoding import hex_decode, sha256, sha256_hex
from holdfast.errors import MalformedError, UnavailableError
from holdfast.ports.blobs import Blobs
from holdfast.ports.storage import Storage, StorageFile

PART_BYTES = 8 << 20
"""Largest part of a file."""
FOLDER = "parts"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Parts:
    """One file: its bytes in all, and for each part its SHA-256 and the name (hex) that the store has for it."""

    size: int
    part_bytes: int
    listed: tuple[tuple[str, str], ...]


class FileParts:
    """Files in a store."""

    def __init__(self, storage: Storage, store: Blobs, secret: bytes | None = None) -> None:
        """``secret`` (32 bytes) seals every part."""
        self._storage = storage
        self._store = store
        self._secret = secret
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the loop that the store is asked by. Nothing is kept or read before."""
        self._loop = loop

    def size(self, digest: str) -> int | None:
        """Bytes of a file; None where it is not here. Raises ``hub.state`` for a damaged list."""
        found = self._find(digest)
        return None if found is None else found.size

    def keep(self, digest: str, size: int, file: StorageFile) -> None:
        """Hand a file that was checked to the store. Raises what the store raises."""
        listed: list[canonical.JSON] = []
        for place in range(0, size, PART_BYTES):
            data = file.read(place, PART_BYTES)
            sealed = data if self._secret is None else seal_blob(self._secret, data)
            listed.append([sha256_hex(data), self._ask(self._store.put(sealed))])
        value: dict[str, canonical.JSON] = {"size": size, "part_bytes": PART_BYTES, "parts": listed}
        self._storage.save(_name(digest), canonical.encode(value))

    def pieces(self, digest: str, offset: int, end: int) -> Iterator[bytes]:
        """Bytes from ``offset`` up to ``end``, part by part. Raises ``blob.*``."""
        found = self._find(digest)
        if found is None:
            return
        end = min(end, found.size)
        for number in range(offset // found.part_bytes, -(-end // found.part_bytes)):
            begin = number * found.part_bytes
            yield self._part(*found.listed[number])[max(0, offset - begin) : end - begin]

    def _part(self, digest: str, stored: str) -> bytes:
        data = self._ask(self._store.get(stored))
        if data is None:
            raise UnavailableError(
                "blob.lost", f"the store no longer has the blob {stored}", hint="restore it from a copy"
            )
        opened = data if self._secret is None else open_blob(self._secret, hex_decode(digest, 32), data)
        if sha256_hex(opened) != digest:
            raise UnavailableError("blob.corrupt", f"the blob {stored} is damaged", hint="restore it from a copy")
        return opened

    def _find(self, digest: str) -> Parts | None:
        raw = self._storage.load(_name(digest))
        if raw is None:
            return None
        try:
            value = canonical.decode_object(raw)
            listed = tuple((str(one), str(other)) for one, other in value["parts"])
            return Parts(int(value["size"]), int(value["part_bytes"]), listed)
        except (KeyError, ValueError, TypeError, MalformedError) as error:
            raise MalformedError("hub.state", f"the list of parts of {digest[:12]}… is damaged") from error

    def _ask(self, work: Coroutine[Any, Any, Result]) -> Result:
        if self._loop is None:
            work.close()
            raise UnavailableError("hub.state", "the hub is not started, so its store cannot be asked")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def check_secret(secret: bytes) -> bytes:
    """A secret that seals; raises ``blob.secret``."""
    seal_blob(secret, sha256(b""))
    return secret


def _name(digest: str) -> str:
    hex_decode(digest, 32)
    return f"{FOLDER}/{digest[:2]}/{digest[2:]}"
