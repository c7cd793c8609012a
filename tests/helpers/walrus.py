"""A blob store that speaks Walrus' HTTP API, and a network whose only aggregator and publisher it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.adapters.walrus_http import WalrusAddress, WalrusNetwork
from holdfast.core.walrus import blob_id
from holdfast.nodes.blobs.app import create_app
from holdfast.nodes.blobs.config import BlobsConfig
from holdfast.nodes.blobs.service import BlobStore
from holdfast.nodes.edge import Edge
from holdfast.ports.http import Answer
from holdfast.ports.settings import Secret
from holdfast.ports.storage import Storage
from tests.helpers.log import AppHTTP

URL = "http://store.example"
TOKEN = Secret("store token", "test")
SHARDS = 10


async def identify(data: bytes, shards: int) -> bytes:
    return blob_id(data, shards)


def make_store(storage: Storage | None = None, **more: Any) -> Edge:
    """The store's app."""
    config = BlobsConfig(**{"token": TOKEN, "shards": SHARDS, **more})
    return create_app(BlobStore(config, storage or SimulatedDisk().mount(), identify))


class LyingHTTP(AppHTTP):
    """Changes what comes back of one method."""

    def __init__(self, app: Edge, method: str, change: Callable[[Answer], Answer]) -> None:
        super().__init__({URL: app})
        self._lie = method, change

    async def request(self, method: str, url: str, **options: Any) -> Answer:
        answer = await super().request(method, url, **options)
        lying, change = self._lie
        return change(answer) if method == lying else answer


def make_network(http: AppHTTP | None = None, **more: Any) -> WalrusNetwork:
    """A network of one store."""
    address = {"aggregator": URL, "publisher": URL + "/", "shards": SHARDS, "token": TOKEN, **more}
    return WalrusNetwork(http or AppHTTP({URL: make_store()}), WalrusAddress(**address))
