"""Walrus through a publisher and an aggregator (``spec/walrus.md`` §7): neither is believed.

Rules: the id is computed here before anything is sent, and a publisher that answers with another one is refused; what
an aggregator sends is used once its id is the one asked for. Computing goes to a thread: for 1000 shards it takes
seconds.

Not covered: paying for storage, extending it, and Sui objects; a publisher does that for whoever may use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast.core import canonical, quilt, walrus
from holdfast.core.quilt import Patch
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.ports.http import HTTP, Answer
from holdfast.ports.settings import Secret

MAX_REPLY_BYTES = 1 << 20
"""Largest answer of a publisher that is read."""


@dataclass(frozen=True, slots=True)
class WalrusAddress:
    """Where a Walrus network is reached, and how large it is."""

    aggregator: str
    """Base URL of what is read from."""
    publisher: str = ""
    """Base URL of what is written to; without one nothing can be stored."""
    shards: int = walrus.MAINNET_SHARDS
    epochs: int = 10
    """How long blobs are stored, in epochs of the network."""
    token: Secret | None = None
    """Bearer token of the publisher, where it wants one."""
    timeout_s: float = 60.0
    max_bytes: int = 64 << 20
    """Largest blob that is fetched."""


class WalrusSettings(Protocol):
    """Settings of a node that keeps something on Walrus."""

    @property
    def walrus_publisher(self) -> str: ...
    @property
    def walrus_aggregator(self) -> str: ...
    @property
    def walrus_token(self) -> Secret | None: ...
    @property
    def walrus_shards(self) -> int: ...
    @property
    def walrus_epochs(self) -> int: ...


def open_network(http: HTTP, settings: WalrusSettings, max_bytes: int) -> WalrusNetwork:
    """The network that a node's settings name; read from the publisher's address where no aggregator is named."""
    address = WalrusAddress(
        aggregator=settings.walrus_aggregator or settings.walrus_publisher,
        publisher=settings.walrus_publisher,
        shards=settings.walrus_shards,
        epochs=settings.walrus_epochs,
        token=settings.walrus_token,
        max_bytes=max_bytes,
    )
    return WalrusNetwork(http, address)


class WalrusNetwork:
    """One network of Walrus."""

    def __init__(self, http: HTTP, address: WalrusAddress) -> None:
        walrus.encoding_of(address.shards)
        self._http = http
        self._address = address

    @property
    def shards(self) -> int:
        """Shards that ids are computed for."""
        return self._address.shards

    async def store(self, data: bytes) -> str:
        """Hand bytes to the publisher and return their id.

        Raises ``walrus.publisher``, ``walrus.refused``, ``walrus.unavailable``, ``walrus.size`` and ``http.*``.
        """
        address = self._address
        if not address.publisher:
            raise UsageError("walrus.config", "no publisher is set, so nothing can be stored")
        expected = await self._identify(data)
        headers = {"content-type": "application/octet-stream"}
        if address.token is not None:
            headers["authorization"] = f"Bearer {address.token.reveal()}"
        url = f"{address.publisher.rstrip('/')}/v1/blobs?epochs={address.epochs}"
        answer = await self._http.request(
            "PUT", url, body=data, headers=headers, timeout_s=address.timeout_s, max_bytes=MAX_REPLY_BYTES
        )
        _raise_for("publisher", answer)
        if _stored_id(answer.body) != expected:
            raise RefusedError(
                "walrus.publisher",
                f"the publisher stored something else than the blob {expected}",
                hint=f"is it a network of {address.shards} shards?",
            )
        return expected

    async def fetch(self, identifier: str) -> bytes | None:
        """The blob with this id, checked against it, or ``None``.

        Raises ``walrus.id``, ``walrus.mismatch``, ``walrus.refused``, ``walrus.unavailable`` and ``http.*``.
        """
        wanted = walrus.parse_id(identifier)
        address = self._address
        url = f"{address.aggregator.rstrip('/')}/v1/blobs/{identifier}"
        answer = await self._http.request("GET", url, timeout_s=address.timeout_s, max_bytes=address.max_bytes)
        if answer.status == 404:
            return None
        _raise_for("aggregator", answer)
        return await asyncio.to_thread(walrus.verify_blob, answer.body, wanted, address.shards)

    async def store_quilt(self, patches: Sequence[Patch]) -> dict[str, str]:
        """Store many small blobs as one; the patch id of each by its identifier. Raises as :meth:`store`."""
        raw, placed = quilt.build_quilt(patches, self._address.shards)
        identifier = walrus.parse_id(await self.store(raw))
        return {item.patch.identifier: quilt.encode_patch_id(identifier, item.start, item.end) for item in placed}

    async def fetch_patch(self, patch_id: str) -> Patch | None:
        """One patch, out of its quilt, which is fetched as a whole and checked. Raises as :meth:`fetch`."""
        identifier, start, end = quilt.parse_patch_id(patch_id)
        raw = await self.fetch(walrus.encode_id(identifier))
        if raw is None:
            return None
        for item in quilt.parse_quilt(raw, self._address.shards):
            if (item.start, item.end) == (start, end):
                return item.patch
        raise RefusedError("walrus.patch", "the quilt has no patch in these columns")

    async def _identify(self, data: bytes) -> str:
        return walrus.encode_id(await asyncio.to_thread(walrus.blob_id, data, self._address.shards))


def _stored_id(body: bytes) -> str:
    """The id in a publisher's answer."""
    try:
        value = canonical.decode_object(body)
    except HoldfastError as error:
        raise MalformedError("walrus.answer", "the publisher's answer is no JSON object") from error
    created, certified = value.get("newlyCreated"), value.get("alreadyCertified")
    named = created.get("blobObject") if isinstance(created, dict) else certified
    if not isinstance(named, dict) or not isinstance(named.get("blobId"), str):
        raise MalformedError("walrus.answer", "the publisher's answer names no blob")
    return str(named["blobId"])


def _raise_for(who: str, answer: Answer) -> None:
    if answer.status >= 500 or answer.status == 429:
        raise UnavailableError("walrus.unavailable", f"the {who} answered {answer.status}", hint="try again later")
    if answer.status != 200:
        raise RefusedError("walrus.refused", f"the {who} answered {answer.status}", hint="may this client use it?")
