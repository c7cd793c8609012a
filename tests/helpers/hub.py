"""A hub on a simulated disk with a log that a test can silence."""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.client.log_writer import Accepted
from holdfast.core.encoding import b64_decode, sha256_hex
from holdfast.errors import UnavailableError
from holdfast.nodes.hub.app import create_app
from holdfast.nodes.hub.clerk import Clerk
from holdfast.nodes.hub.config import HubConfig, PublisherConfig
from holdfast.nodes.hub.files import ModelFiles
from holdfast.nodes.hub.metrics import METRICS
from holdfast.nodes.hub.parts import FileParts
from holdfast.nodes.hub.service import HubService
from holdfast.nodes.hub.shelf import Shelf
from holdfast.ports.settings import Secret
from holdfast.ports.storage import Storage
from tests.helpers.artifacts import DOCUMENT, SIGNER
from tests.helpers.asgi import Reply, request
from tests.helpers.clock import FakeClock
from tests.helpers.network import at

ADA, BOB, READER = (("authorization", f"Bearer {name}") for name in ("ada", "bob", "reader"))


class FakeLog:
    """A log in memory. ``silent`` makes it take entries or not, and never answer."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.silent: str | None = None
        """``lost``: nothing arrives. ``unanswered``: entries arrive and nobody hears of it."""
        self.refusal: str | None = None

    async def append(self, entries: Any) -> list[Accepted]:
        if self.silent == "lost":
            raise UnavailableError("http.unreachable", "no answer")
        if self.refusal is not None:
            return [Accepted("", None, self.refusal) for _ in entries]
        found = []
        for entry in entries:
            if entry not in self.entries:
                self.entries.append(entry)
            found.append(Accepted("", self.entries.index(entry), None))
        if self.silent == "unanswered":
            raise UnavailableError("http.unreachable", "no answer")
        return found

    async def put_blob(self, data: bytes) -> str:
        return sha256_hex(data)

    async def index_of(self, digest: str) -> int | None:
        if self.silent is not None:
            raise UnavailableError("http.unreachable", "no answer")
        payloads = [json.loads(entry) for entry in self.entries]
        digests = [sha256_hex(b64_decode(item["payload"])) for item in payloads]
        return digests.index(digest) if digest in digests else None


class Hub:
    """One hub; :meth:`restart` gives another one on the same disk."""

    def __init__(
        self,
        folder: Path,
        *,
        log: FakeLog | None = None,
        clock: FakeClock | None = None,
        parts: Callable[[Storage], FileParts] | None = None,
        **settings: Any,
    ) -> None:
        """``parts`` makes the store that whole files go to; then it is made inside of a running loop."""
        self.make_parts = parts
        self.folder = folder
        self.log = FakeLog() if log is None else log
        self.clock = FakeClock(at(0)) if clock is None else clock
        self.settings = settings
        publishers = (
            PublisherConfig("Ada", Secret("ada", "test"), ("*",)),
            PublisherConfig("Bob", Secret("bob", "test"), ("acme",)),
        )
        self.config = HubConfig(publishers=publishers, **settings)
        storage = FileStorage(folder)
        records = WriteAheadLog(storage, "wal", self.config.segment_bytes)
        self.committer = GroupCommit(records)
        self.shelf = Shelf(records, self.committer)
        self.files = ModelFiles(storage, self.config.file_bytes, None if parts is None else parts(storage))
        if parts is not None:
            self.files.attach(asyncio.get_running_loop())
        self.metrics = PrometheusMetrics(METRICS)
        self.salts = iter(range(10**6))
        self.clerk = Clerk(
            self.shelf,
            SIGNER,
            DOCUMENT.digest,
            self.clock,
            lambda size: hashlib.sha256(f"salt {next(self.salts)}".encode()).digest()[:size],
            self.log,
            self.log,
        )
        self.service = HubService(
            self.config,
            shelf=self.shelf,
            files=self.files,
            clerk=self.clerk,
            signer=SIGNER,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.app = create_app(self.service)

    async def close(self) -> None:
        self.files.close()
        await self.committer.close()

    async def restart(self) -> Hub:
        await self.close()
        return Hub(self.folder, log=self.log, clock=self.clock, parts=self.make_parts, **self.settings)

    async def ask(self, method: str, target: str, value: Any = None, *, by: Any = ADA, headers: Any = ()) -> Reply:
        body = b"" if value is None else json.dumps(value).encode()
        return await request(self.app, method, target, body, [*headers, *([by] if by else [])])

    async def send(self, data: bytes, *, by: Any = ADA, piece: int = 1 << 20) -> str:
        """Send a file; its digest."""
        digest = sha256_hex(data)
        reply = await self.ask("POST", "/v1/hub/uploads", {"digest": digest, "size": len(data)}, by=by)
        assert reply.status == 200, reply.body
        offset = reply.json()["offset"]
        while not reply.json()["complete"]:
            target = f"/v1/hub/uploads/{digest}?offset={offset}&size={len(data)}"
            reply = await request(self.app, "PUT", target, data[offset : offset + piece], [by])
            assert reply.status == 200, reply.body
            offset = reply.json()["offset"]
        return digest

    async def push(self, files: Mapping[str, bytes], model: str = "acme/risk", *, by: Any = ADA) -> dict[str, Any]:
        """Send files and publish them."""
        digests = {name: await self.send(data, by=by) for name, data in files.items()}
        asked = {"files": digests, "reason": "a new one"}
        reply = await self.ask("POST", f"/v1/hub/models/{model}/versions", asked, by=by)
        assert reply.status == 201, reply.body
        found: dict[str, Any] = reply.json()
        return found

    async def point(self, artifact: str, predecessor: str | None, label: str = "prod", **more: Any) -> Reply:
        """Let ``acme/risk:label`` mean an artifact."""
        asked = {"artifact": artifact, "predecessor": predecessor, "reason": "it passed", **more}
        return await self.ask("POST", f"/v1/hub/models/acme/risk/labels/{label}", asked)


def safetensors(**tensors: tuple[float, ...]) -> bytes:
    """A file of F32 vectors."""
    header, data = {}, b""
    for name, values in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": [len(values)], "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data
