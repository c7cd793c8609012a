"""Settings of the data node. What may be fetched stands in the registry of sources, which somebody signs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.ports.settings import Secret, setting


@dataclass(frozen=True, slots=True)
class WorkspaceConfig:
    """Somebody who may ask."""

    name: str = setting(help="The workspace, as sources name it")
    key: Secret = setting(help="Its key, as file:… or env:…")
    reads_for_others: bool = setting(
        False, "It is a gateway, which may read what the workspaces that it names had admitted, by digest alone"
    )


@dataclass(frozen=True, slots=True)
class CredentialConfig:
    """A secret that sources name."""

    name: str = setting(help="The name that definitions use")
    value: Secret | None = setting(None, "The secret, as file:… or env:…")
    sealed: Path | None = setting(None, "Instead: a file that 'holdfast data seal' made for this node")


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """Another data node, for quorums."""

    name: str = setting(help="The name that quorums use")
    url: str = setting(help="Its base URL")
    key: Secret = setting(help="This node's key there, as file:… or env:…")
    key_document: Path = setting(help="Its key document: what it answers has to be signed by the key in it")


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Where the node listens, who may ask it, what it may fetch, and what it keeps."""

    listen: str = setting("127.0.0.1:8770", "Address and port to listen on")
    state: Path = setting(Path(".holdfast/data"), "Folder of admissions and of the bodies that were fetched")
    signing_key: Path = setting(Path(".holdfast/keys/data.statement.pem"), "Statement key (PEM, mode 0600)")
    key_document: Path = setting(Path(".holdfast/keys/data.json"), "Key document of this node")
    sources: Path = setting(Path(".holdfast/sources.json"), "Signed registry of sources")
    sources_keys: tuple[str, ...] = setting(
        (), "Keys of who may sign it, as ed25519:HEX or p256:HEX; without one no registry is taken"
    )
    hpke_key: Path | None = setting(None, "Key that sealed credentials open with (PEM, mode 0600)")
    workspaces: tuple[WorkspaceConfig, ...] = setting((), "Who may ask; without one nobody may")
    credentials: tuple[CredentialConfig, ...] = setting((), "Secrets that sources name")
    peers: tuple[PeerConfig, ...] = setting((), "Other data nodes, for quorums")
    log: str | None = setting(None, "Base URL of the log; without one admissions stand in no log")
    log_token: Secret | None = setting(None, "Bearer token of the log's writers, as file:… or env:…")
    at_once: int = setting(64, "Questions under way at once; beyond that callers are told to wait", minimum=1)
    workspace_requests: int = setting(600, "Most questions of one workspace in a minute", minimum=1)
    body_hours: int = setting(72, "How long fetched bodies are kept, for replaying", minimum=0, maximum=87_600)
    admission_days: int = setting(30, "How long admissions are kept, once the log has them", minimum=1, maximum=3650)
    segment_bytes: int = setting(16 << 20, "Size of a write-ahead log segment", minimum=1 << 20, maximum=1 << 30)
    enclave: str = setting(
        "none",
        "What attests this node's key document; insecure simulates it",
        choices=("none", "insecure", "nitro", "tdx", "snp"),
    )
    enclave_root: Path | None = setting(
        None, "Throw-away root of the simulated enclave (PEM, mode 0600), made if missing; default: in the state folder"
    )
    enclave_collateral: Path | None = setting(
        None, "What stands beside a report: Intel's collateral (tdx), certificates that the host lacks (snp)"
    )
    reattest_s: int = setting(3600, "Longest time between two attestations, seconds", minimum=60, maximum=9000)
