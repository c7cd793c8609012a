"""Settings of a full node. Keys and secrets are references to files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.ports.settings import Secret, setting


@dataclass(frozen=True, slots=True)
class FollowedLog:
    """One log that is followed, checked, cosigned and settled."""

    origin: str = setting(help="The log's origin, as trust names it")
    url: str = setting(help="Base URL of the log, for example http://127.0.0.1:8600")


@dataclass(frozen=True, slots=True)
class FullConfig:
    """Where a full node listens, what it follows, with which keys, and how much it takes on."""

    listen: str = setting("127.0.0.1:8610", "Address and port to listen on")
    state: Path = setting(Path(".holdfast/full"), "Folder for the journal, verdict blobs and rounds; one process each")
    trust: Path = setting(Path(".holdfast/trust/trust.json"), "Trust file; read again when it changes")
    trust_pin: str | None = setting(None, "Digest of trust version 1; default: taken on first use")
    key_document: Path = setting(Path(".holdfast/keys/full.json"), "Key document of this node")
    vote_key: Path = setting(Path(".holdfast/keys/full.vote.key"), "Vote key (secp256k1), as the key document names it")
    cosignature_key: Path = setting(
        Path(".holdfast/keys/full.cosignature.pem"), "Cosignature key (Ed25519, PEM, mode 0600)"
    )
    account_key: Path | None = setting(None, "Key that pays for transactions (secp256k1); default: the vote key")
    logs: tuple[FollowedLog, ...] = setting((), "Logs to follow; with none there is nothing to do")
    chain: str = setting("http://127.0.0.1:8545", "JSON-RPC URL of the settlement chain; trust names the contract")
    registry: str | None = setting(
        None, "Address of the registry of attested nodes, on the same chain; its submissions are voted on"
    )
    peers: tuple[str, ...] = setting((), "Base URLs of the other full nodes")
    poll_ms: int = setting(250, "Pause between two looks at a log", minimum=10, maximum=600_000)
    chain_poll_ms: int = setting(400, "Pause between two looks at the chain", minimum=10, maximum=600_000)
    peers_poll_ms: int = setting(1_000, "Pause between two rounds of questions to the peers", minimum=50)
    trust_poll_ms: int = setting(2_000, "Pause between two looks at the trust file", minimum=50)
    round_ms: int = setting(2_000, "How long a proposer gathers entries before it proposes", minimum=0)
    round_entries: int = setting(4_096, "Entries in one round at most", minimum=1, maximum=100_000)
    max_span_s: int = setting(600, "Most seconds from claimed time to first sight (statement.md §8)", minimum=1)
    max_skew_s: int = setting(30, "Most seconds a claimed time may lie ahead (statement.md §8)", minimum=0)
    provers: tuple[str, ...] = setting((), "Base URLs of inference nodes that show their proofs; none: none is checked")
    prover_token: Secret | None = setting(None, "Bearer token that they ask for, as file:… or env:…")
    ezkl: Path | None = setting(
        None, "Python that has EZKL, which checks proofs; default: this one, if it has. You install it, it is no part"
    )
    ceremony: Path | None = setting(
        None, "Folder of a ceremony's reference strings; a proof under one counts only with the same file here"
    )
    prover_bytes: int = setting(8 << 30, "Memory of a verifier's process", minimum=256 << 20, maximum=1 << 44)
    prover_seconds: int = setting(900, "Longest time for one step of a verifier", minimum=5, maximum=86_400)
    prover_threads: int = setting(1, "Threads of a verifier", minimum=1, maximum=1024)
    request_ms: int = setting(5_000, "Longest wait for an answer of a log or peer", minimum=50, maximum=600_000)
