"""The blob store itself: bytes by their Walrus id, and patches out of quilts, over a storage.

Rules: the id is computed from the bytes, never taken from the caller. A blob is durable before its id is answered.
What is read from disk is hashed again, so damage is an error and never content.

Not covered: epochs, payment, deletion: a store of one's own keeps what it has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from holdfast.core import quilt, walrus
from holdfast.core.encoding import sha256
from holdfast.core.quilt import PlacedPatch
from holdfast.errors import UnavailableError, UsageError
from holdfast.nodes.blobs.config import BlobsConfig
from holdfast.ports.storage import Storage

FOLDER = "blobs"
"""Where blobs lie in the storage: a file each, SHA-256 before the bytes."""
Identify = Callable[[bytes, int], Awaitable[bytes]]
"""Computes an id away from the event loop."""


class BlobStore:
    """Keeps blobs for whoever has the token, and gives them to everybody."""

    def __init__(self, config: BlobsConfig, storage: Storage, identify: Identify) -> None:
        walrus.encoding_of(config.shards)
        self.config = config
        self._storage = storage
        self._identify = identify

    def _name(self, identifier: str) -> str:
        return f"{FOLDER}/{identifier[:2]}/{identifier[2:]}"

    async def put(self, data: bytes) -> tuple[str, bool]:
        """Keep a blob; its id, and whether it is new. Raises ``walrus.size``."""
        identifier = walrus.encode_id(await self._identify(data, self.config.shards))
        name = self._name(identifier)
        kept = sha256(data) + data
        new = self._storage.load(name) != kept
        if new:
            self._storage.save(name, kept)
        return identifier, new

    def get(self, identifier: str) -> bytes:
        """A blob. Raises ``walrus.id``, ``blob.missing`` (404), ``blob.corrupt``."""
        walrus.parse_id(identifier)
        kept = self._storage.load(self._name(identifier))
        if kept is None:
            raise UsageError("blob.missing", "there is no blob with this id", status=404)
        data = kept[32:]
        if sha256(data) != kept[:32]:
            raise UnavailableError("blob.corrupt", f"the blob {identifier} is damaged", hint="restore it from a copy")
        return data

    def patch(self, patch_id: str) -> PlacedPatch:
        """A patch by its own id. Raises ``walrus.patch_id``, ``walrus.quilt``, and as :meth:`get`."""
        identifier, start, end = quilt.parse_patch_id(patch_id)
        return self._find(walrus.encode_id(identifier), lambda item: (item.start, item.end) == (start, end))

    def patch_named(self, quilt_id: str, name: str) -> PlacedPatch:
        """A patch by its quilt and its identifier. Raises ``walrus.quilt``, and as :meth:`get`."""
        return self._find(quilt_id, lambda item: item.patch.identifier == name)

    def _find(self, quilt_id: str, wanted: Callable[[PlacedPatch], bool]) -> PlacedPatch:
        for item in quilt.parse_quilt(self.get(quilt_id), self.config.shards):
            if wanted(item):
                return item
        raise UsageError("blob.missing", "this quilt has no such patch", status=404)
