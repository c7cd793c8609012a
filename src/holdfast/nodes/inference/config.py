"""Settings of the inference node. Every limit is here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.ports.settings import Secret, setting


@dataclass(frozen=True, slots=True)
class InferenceConfig:
    """Where the node listens, whose orders it takes, where its models are, and what a model may take."""

    listen: str = setting("127.0.0.1:8750", "Address and port to listen on")
    state: Path = setting(Path(".holdfast/inference"), "Folder for artifacts that came from the hub")
    signing_key: Path = setting(Path(".holdfast/keys/inference.statement.pem"), "Statement key (PEM, mode 0600)")
    key_document: Path = setting(Path(".holdfast/keys/inference.json"), "Key document of this node")
    token: Secret | None = setting(None, "Bearer token of the gateways that may order, as file:… or env:…")
    models: Path = setting(Path(".holdfast/models"), "Folder of models: LABEL/model.onnx, with card.json beside it")
    hub: str | None = setting(None, "Base URL of a hub whose models are run too")
    hub_key: Secret | None = setting(None, "Key of a reader at the hub, as file:… or env:…, where it asks for one")
    model_key: Path | None = setting(
        None, "Key that opens models that were sealed for this node (X25519, PEM, mode 0600), made if missing"
    )
    trust: Path = setting(Path(".holdfast/trust/trust.json"), "Trust file: which hubs' manifests are believed")
    loaded: int = setting(4, "Most models in memory at once, each in a process of its own", minimum=1, maximum=256)
    optimisation: str = setting(
        "basic", "Graph optimisation level; it decides bits", choices=("none", "basic", "extended", "all")
    )
    threads: int = setting(1, "Threads of one operation", minimum=1, maximum=1024)
    model_bytes: int = setting(512 << 20, "Largest model file", minimum=1024)
    memory_bytes: int = setting(
        1 << 30, "Memory of a model's process beyond four times its file", minimum=64 << 20, maximum=1 << 40
    )
    run_seconds: int = setting(30, "Longest time for one order", minimum=1, maximum=3600)
    orders_at_once: int = setting(64, "Orders under way at once; beyond that callers are told to wait", minimum=1)
    request_bytes: int = setting(16 << 20, "Largest order", minimum=1024, maximum=256 << 20)
    request_seconds: int = setting(30, "Longest time for an order to arrive", minimum=1, maximum=600)
    enclave: str = setting(
        "none",
        "What attests this node's key document, without which mode TEE is refused; insecure simulates it",
        choices=("none", "insecure", "nitro", "tdx", "snp"),
    )
    enclave_root: Path | None = setting(
        None, "Throw-away root of the simulated enclave (PEM, mode 0600), made if missing; default: in the state folder"
    )
    enclave_collateral: Path | None = setting(
        None, "What stands beside a report: Intel's collateral (tdx), certificates that the host lacks (snp)"
    )
    reattest_s: int = setting(3600, "Longest time between two attestations, seconds", minimum=60, maximum=9000)
    ezkl: Path | None = setting(
        None,
        "Python that has EZKL, which proves mode ZKML; default: this one, if it has. You install it, it is no part",
    )
    proof_token: Secret | None = setting(None, "Bearer token of full nodes that read proofs, as file:… or env:…")
    ceremony: Path | None = setting(
        None, "Folder of a ceremony's reference strings, kzg<log rows>.srs; default: made here, and called development"
    )
    circuit_log_rows: int = setting(
        16, "Largest circuit that is proved: binary logarithm of its rows", minimum=6, maximum=26
    )
    prover_bytes: int = setting(8 << 30, "Memory of a prover's process", minimum=256 << 20, maximum=1 << 44)
    prover_seconds: int = setting(900, "Longest time for one step of a prover", minimum=5, maximum=86_400)
    prover_threads: int = setting(2, "Threads of a prover", minimum=1, maximum=1024)
    proof_days: int = setting(30, "Days that proofs are kept for full nodes", minimum=1, maximum=3650)
