"""A log in memory for tests: entries, keys, a service on any storage, and an HTTP client that goes to an ASGI app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ed25519

from holdfast.adapters.blobs_files import FileBlobs
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.signer_files import FileSigner
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.core import notes, statements
from holdfast.core.encoding import sha256
from holdfast.errors import UnavailableError
from holdfast.nodes.edge import App
from holdfast.nodes.log.config import LogConfig
from holdfast.nodes.log.service import LogService, Offload, run_inline
from holdfast.ports.clock import Clock
from holdfast.ports.http import HTTP, Answer
from holdfast.ports.settings import Secret
from holdfast.ports.storage import Committer, RecordLog, Storage
from tests.helpers import asgi

ORIGIN = "holdfast.local/log/1"
TOKEN = "write-token"
LOG_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(sha256(b"log"))


def entry(number: int, size_bytes: int = 0) -> bytes:
    """A well-formed envelope whose statement digest depends on ``number``; its signature proves nothing."""
    payload = b'{"number":%d,"padding":"%s"}' % (number, b"x" * size_bytes)
    return statements.build_envelope(payload, sha256(b"key").hex(), sha256(payload) * 2)


def digest(number: int, size_bytes: int = 0) -> str:
    """The digest that names :func:`entry` of the same arguments."""
    return statements.parse_envelope(entry(number, size_bytes)).digest


def commitment(number: int) -> bytes:
    """A private entry."""
    return statements.build_commitment(sha256(b"%d" % number).hex(), bytes(32))


def config(**more: object) -> LogConfig:
    """Settings of a log for tests."""
    values: dict[str, object] = {
        "state": Path("unused"),
        "origin": ORIGIN,
        "token": Secret(TOKEN, "test"),
        "segment_bytes": 1 << 18,
        **more,
    }
    return LogConfig(**values)  # type: ignore[arg-type]


class NoHTTP:
    """A network on which nobody answers."""

    async def request(self, method: str, url: str, **_: object) -> Answer:
        """Never called in tests that use this."""
        raise AssertionError(f"{method} {url}")


def make_service(
    storage: Storage,
    clock: Clock,
    settings: LogConfig | None = None,
    http: HTTP | None = None,
    offload: Offload = run_inline,
) -> LogService:
    """A log on ``storage``; every life of it has the same key."""
    chosen = settings or config()

    def open_records() -> tuple[RecordLog, Committer]:
        log = WriteAheadLog(storage, "wal", chosen.segment_bytes)
        return log, GroupCommit(log, mode="inline")

    return LogService(
        chosen,
        storage=storage,
        open_records=open_records,
        signer=FileSigner(LOG_KEY, "log"),
        clock=clock,
        blobs=FileBlobs(storage),
        http=http or NoHTTP(),
        metrics=MemoryMetrics(),
        offload=offload,
    )


def log_keys() -> Sequence[notes.VerifierKey]:
    """What a reader trusts."""
    return [notes.VerifierKey(ORIGIN, notes.ED25519, LOG_KEY.public_key().public_bytes_raw())]


class AppHTTP:
    """An HTTP client (``ports/http.py``) whose network is a set of ASGI apps by base URL."""

    def __init__(self, apps: Mapping[str, App]) -> None:
        self.apps = dict(apps)
        self.requests: list[tuple[str, str]] = []
        """Every request: method and URL."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> Answer:
        """Call the app that serves the URL's origin."""
        assert timeout_s > 0
        self.requests.append((method, url))
        parts = urlsplit(url)
        app = self.apps.get(f"{parts.scheme}://{parts.netloc}")
        if app is None:
            raise UnavailableError("http.unreachable", f"nobody answers at {url}")
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        reply = await asgi.request(app, method, target, body, list((headers or {}).items()))
        if len(reply.body) > max_bytes:
            raise UnavailableError("http.too_large", f"{url} answered with more than {max_bytes} bytes")
        return Answer(reply.status, reply.body, {name.lower(): value for name, value in reply.headers})
