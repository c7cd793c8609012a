"""A hub behind a real HTTP server on loopback, in a thread of the test's process, built by the node's own ``build``."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from holdfast.core.artifacts import key_pem
from holdfast.nodes.hub.__main__ import build
from holdfast.nodes.hub.config import HubConfig, PublisherConfig
from holdfast.nodes.server import make_server
from holdfast.ports.settings import Secret
from tests.helpers.artifacts import DOCUMENT, SIGNER


class LiveHub:
    """Where it answers, and the files that a command line names."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self.folder = folder
        self.key_file = folder / "publisher.key"
        self.key_file.write_text("ada\n")
        self.pem = folder / "hub.pem"
        self.pem.write_bytes(key_pem(SIGNER.key))

    @property
    def options(self) -> list[str]:
        return ["--hub", self.url, "--key", f"file:{self.key_file}", "--hub-key", str(self.pem)]


@contextlib.contextmanager
def live_hub(folder: Path, **settings: Any) -> Iterator[LiveHub]:
    """Serve until the test is over."""
    key, document = folder / "hub.statement.pem", folder / "hub.json"
    private = SIGNER._private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key.write_bytes(private)
    key.chmod(0o600)
    document.write_bytes(DOCUMENT.raw)
    publishers = (PublisherConfig("Ada", Secret("ada", "test"), ("*",)),)
    config = HubConfig(
        state=folder / "state", signing_key=key, key_document=document, publishers=publishers, **settings
    )
    server = make_server(build(config))
    server.install_signal_handlers = lambda: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield LiveHub(folder, f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join(10)
