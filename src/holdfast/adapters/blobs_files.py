"""Blobs as files of a storage (:mod:`holdfast.ports.blobs`): ``blobs/ab/cdef…`` by SHA-256.

Rules: a blob is durable when ``put`` returns; what is read is hashed again, so damage is an error and never content.
"""

from __future__ import annotations

from holdfast.core.encoding import hex_decode, sha256_hex
from holdfast.errors import UnavailableError
from holdfast.ports.storage import Storage


class FileBlobs:
    """Blobs in ``folder`` of a storage."""

    def __init__(self, storage: Storage, folder: str = "blobs") -> None:
        self._storage = storage
        self._folder = folder

    def _name(self, digest: str) -> str:
        hex_decode(digest, 32)
        return f"{self._folder}/{digest[:2]}/{digest[2:]}"

    async def put(self, data: bytes) -> str:
        digest = sha256_hex(data)
        name = self._name(digest)
        if self._storage.load(name) != data:
            self._storage.save(name, data)
        return digest

    async def get(self, digest: str) -> bytes | None:
        data = self._storage.load(self._name(digest))
        if data is not None and sha256_hex(data) != digest:
            raise UnavailableError("blob.corrupt", f"the blob {digest} is damaged", hint="restore it from a copy")
        return data
