"""Settings of the blob store. Nothing here is a secret: the token is a reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.ports.settings import Secret, setting


@dataclass(frozen=True, slots=True)
class BlobsConfig:
    """Where the store listens, what it keeps and for how many shards it computes ids."""

    listen: str = setting("127.0.0.1:8690", "Address and port to listen on")
    state: Path = setting(Path(".holdfast/blobs"), "Folder of the blobs")
    shards: int = setting(10, "Shards that ids are computed for; Walrus itself has 1000", minimum=4, maximum=1000)
    token: Secret | None = setting(None, "Bearer token of writers, as file:… or env:…; without one nobody may write")
    blob_bytes: int = setting(64 << 20, "Largest blob", minimum=1_024, maximum=1 << 30)
