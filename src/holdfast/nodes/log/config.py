"""Settings of the log node. Nothing here is a secret: keys and tokens are references."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.ports.settings import Secret, setting


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """One witness that is asked for cosignatures."""

    url: str = setting(help="Submission prefix of the witness, for example http://127.0.0.1:8610")
    key: str = setting(help="Its cosignature verifier key: name+id+base64, signature type 4")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Where the log listens, what it keeps and how much it takes on."""

    listen: str = setting("127.0.0.1:8600", "Address and port to listen on")
    state: Path = setting(Path(".holdfast/log"), "Folder for tiles, checkpoints, the write-ahead log and blobs")
    origin: str = setting("holdfast.local/log/1", "Origin: the name of the log in every checkpoint and round")
    key: Path = setting(Path(".holdfast/keys/log.pem"), "The log's Ed25519 key, made when missing")
    token: Secret | None = setting(None, "Bearer token of writers, as file:… or env:…; without one nobody may write")
    window_ms: int = setting(200, "Longest wait of a sequenced entry for a checkpoint", minimum=1, maximum=10_000)
    batch_entries: int = setting(4096, "So many waiting entries end the window early", minimum=1, maximum=100_000)
    backlog_entries: int = setting(
        65_536, "So many entries without a checkpoint make writers wait", minimum=1, maximum=10_000_000
    )
    request_entries: int = setting(1024, "Most entries in one request", minimum=1, maximum=100_000)
    request_bytes: int = setting(8 << 20, "Largest request with entries", minimum=1_024, maximum=256 << 20)
    blob_bytes: int = setting(8 << 20, "Largest blob", minimum=1_024, maximum=256 << 20)
    walrus_publisher: str = setting("", "Walrus publisher that blobs go to besides the folder")
    walrus_aggregator: str = setting("", "Aggregator that they are read from; the publisher's address when empty")
    walrus_token: Secret | None = setting(None, "Bearer token of the publisher, as file:… or env:…")
    walrus_shards: int = setting(1000, "Shards of that Walrus network", minimum=4, maximum=1000)
    walrus_epochs: int = setting(10, "Epochs for which it keeps a blob", minimum=1, maximum=1_000)
    segment_bytes: int = setting(16 << 20, "Size of a write-ahead log segment", minimum=1 << 18, maximum=1 << 30)
    witnesses: tuple[WitnessAddress, ...] = setting((), "Witnesses whose cosignatures are collected")
    witness_timeout_ms: int = setting(5_000, "Longest wait for a witness", minimum=50, maximum=60_000)
    witness_retry_ms: int = setting(1_000, "Pause after a witness did not answer", minimum=10, maximum=600_000)
