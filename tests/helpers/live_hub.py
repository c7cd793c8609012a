"""A hub behind a real HTTP server on loopback, in a thread of the test's process, built by the node's own ``build``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.core.artifacts import key_pem
from holdfast.nodes.hub.__main__ import build
from holdfast.nodes.hub.config import HubConfig, PublisherConfig
from holdfast.ports.settings import Secret
from tests.helpers.artifacts import DOCUMENT, SIGNER
from tests.helpers.served import served, write_key


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
    write_key(key, SIGNER)
    document.write_bytes(DOCUMENT.raw)
    publishers = (PublisherConfig("Ada", Secret("ada", "test"), ("*",)),)
    config = HubConfig(
        state=folder / "state", signing_key=key, key_document=document, publishers=publishers, **settings
    )
    with served(build(config)) as url:
        yield LiveHub(folder, url)
