"""A node's app behind a real HTTP server on loopback, in a thread of the test's process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from holdfast.adapters.signer_files import FileSigner
from holdfast.nodes.edge import App
from holdfast.nodes.server import make_server


@contextlib.contextmanager
def served(app: App) -> Iterator[str]:
    """Its URL, until the test is over."""
    server = make_server(app)
    server.install_signal_handlers = lambda: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


def write_key(path: Path, signer: FileSigner) -> None:
    """A signer's private key as its node reads it."""
    path.write_bytes(
        signer._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.chmod(0o600)
