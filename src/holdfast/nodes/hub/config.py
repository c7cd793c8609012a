"""Settings of the hub. Who may publish is a list, empty until somebody fills it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.ports.settings import Secret, setting


@dataclass(frozen=True, slots=True)
class PublisherConfig:
    """Somebody who may publish models and change labels."""

    name: str = setting(help="Who it is, as changes name them")
    key: Secret = setting(help="Their key, as file:… or env:…")
    organisations: tuple[str, ...] = setting((), "Organisations they publish for; * for any; without one none")


@dataclass(frozen=True, slots=True)
class HubConfig:
    """Where the hub listens, what it keeps, who may change it, and which log it writes to."""

    listen: str = setting("127.0.0.1:8760", "Address and port to listen on")
    state: Path = setting(Path(".holdfast/hub"), "Folder of files, manifests and the write-ahead log")
    signing_key: Path = setting(Path(".holdfast/keys/hub.statement.pem"), "Statement key, P-256 (PEM, mode 0600)")
    key_document: Path = setting(Path(".holdfast/keys/hub.json"), "Key document of this node")
    publishers: tuple[PublisherConfig, ...] = setting((), "Who may publish; without one nobody may")
    reader: Secret | None = setting(None, "Key of readers, as file:… or env:…; without one anybody may read")
    log: str | None = setting(None, "Base URL of the log; without one changes are in force and stand in no log")
    log_token: Secret | None = setting(None, "Bearer token of the log's writers, as file:… or env:…")
    file_bytes: int = setting(256 << 30, "Largest file", minimum=1_024, maximum=1 << 44)
    chunk_bytes: int = setting(64 << 20, "Largest piece of a file in one request", minimum=1 << 16, maximum=1 << 30)
    chunk_seconds: int = setting(120, "Longest time for one request to arrive", minimum=1, maximum=3600)
    card_bytes: int = setting(256 << 10, "Largest model card", minimum=1_024, maximum=4 << 20)
    onnx_bytes: int = setting(2 << 30, "Largest ONNX file, which is looked through as a whole", minimum=1_024)
    compare_bytes: int = setting(4 << 30, "Most bytes of tensors that one comparison reads", minimum=0)
    store: str = setting(
        "folder",
        "Where whole files are kept: in the hub's own folder, on Walrus, or in S3",
        choices=("folder", "walrus", "s3"),
    )
    store_secret: Secret | None = setting(
        None, "Secret of 32 bytes (hex) that seals whatever is kept, in the folder too, as file:… or env:…"
    )
    walrus_publisher: str = setting("", "Walrus publisher that files go to")
    walrus_aggregator: str = setting("", "Aggregator that they are read from; the publisher's address when empty")
    walrus_token: Secret | None = setting(None, "Bearer token of the publisher, as file:… or env:…")
    walrus_shards: int = setting(1000, "Shards of that Walrus network", minimum=4, maximum=1000)
    walrus_epochs: int = setting(10, "Epochs for which it keeps a file", minimum=1, maximum=1_000)
    s3_endpoint: str | None = setting(None, "URL of a store that speaks S3; without one AWS'")
    s3_region: str = setting("us-east-1", "Its region")
    s3_bucket: str = setting("", "Bucket that files are kept in")
    s3_prefix: str = setting("", "What names of objects begin with")
    s3_access_key: str | None = setting(None, "Access key; without one what the machine gives, as AWS' tools do")
    s3_secret_key: Secret | None = setting(None, "Its secret, as file:… or env:…")
    upload_days: int = setting(
        7, "Days after which an upload that nobody went on with is thrown away", minimum=1, maximum=3650
    )
    segment_bytes: int = setting(16 << 20, "Size of a write-ahead log segment", minimum=1 << 18, maximum=1 << 30)
