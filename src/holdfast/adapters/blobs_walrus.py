"""Blobs on Walrus (:mod:`holdfast.ports.blobs`): what is named by SHA-256 here has a Walrus id there.

Rules: which id a digest has stands in a small file of a storage, written once the publisher has the blob; with a
secret, what is handed out is sealed first (``spec/walrus.md`` §6). What comes back is checked twice: by its Walrus
id, and by SHA-256.

Not covered: storing again before the paid epochs are over. What an aggregator no longer has is ``blob.lost``.
"""

from __future__ import annotations

from holdfast.adapters.walrus_http import WalrusNetwork
from holdfast.core.blob_sealing import open_blob, seal_blob
from holdfast.core.encoding import hex_decode, sha256_hex
from holdfast.core.walrus import encode_id, parse_id
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.ports.blobs import Blobs
from holdfast.ports.storage import Storage


class WalrusBlobs:
    """Blobs of a Walrus network; ``storage`` remembers their ids in ``folder``.

    ``secret`` (32 bytes) seals them; ``near`` keeps them too, and is read first.
    """

    def __init__(
        self,
        network: WalrusNetwork,
        storage: Storage,
        *,
        secret: bytes | None = None,
        near: Blobs | None = None,
        folder: str = "walrus",
    ) -> None:
        self._network = network
        self._storage = storage
        self._secret = secret
        self._near = near
        self._folder = folder

    def _name(self, digest: str) -> str:
        hex_decode(digest, 32)
        return f"{self._folder}/{digest[:2]}/{digest[2:]}"

    def walrus_id(self, digest: str) -> str | None:
        """The Walrus id under which a digest was stored. Raises ``blob.corrupt``."""
        raw = self._storage.load(self._name(digest))
        if raw is None:
            return None
        try:
            return encode_id(parse_id(raw.decode("ascii", "replace")))
        except HoldfastError as error:
            raise UnavailableError(
                "blob.corrupt", f"the record of the blob {digest} is damaged", hint="store the content again"
            ) from error

    async def put(self, data: bytes) -> str:
        digest = sha256_hex(data) if self._near is None else await self._near.put(data)
        name = self._name(digest)
        if self._storage.load(name) is None:
            sealed = data if self._secret is None else seal_blob(self._secret, data)
            self._storage.save(name, (await self._network.store(sealed)).encode())
        return digest

    async def get(self, digest: str) -> bytes | None:
        near = None if self._near is None else await self._near.get(digest)
        if near is not None:
            return near
        identifier = self.walrus_id(digest)
        if identifier is None:
            return None
        data: bytes | None = await self._network.fetch(identifier)
        if data is None:
            raise UnavailableError(
                "blob.lost",
                f"the aggregator no longer has the blob {identifier}",
                hint="ask another aggregator; blobs are kept for the epochs that were paid for",
            )
        if self._secret is not None:
            data = open_blob(self._secret, hex_decode(digest, 32), data)
        if sha256_hex(data) != digest:
            raise UnavailableError("blob.corrupt", f"the blob {digest} is damaged", hint="restore it from a copy")
        return data
