"""Run a full node: ``python -m holdfast.nodes.full [FILE]``. The only place in this node that picks adapters."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from holdfast.adapters.chain_evm import EvmChain
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.evm_rpc import EvmConnection
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.prover_ezkl import ReferenceStrings, open_checker
from holdfast.adapters.registry_evm import EvmRegistry
from holdfast.adapters.signer_files import load_signer
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.adapters.signer_secp256k1 import load_signer as load_vote_signer
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.client.full import HTTPFullNode
from holdfast.client.log import LogReader
from holdfast.client.prover import ProverClient
from holdfast.core.keys import MAX_KEY_DOCUMENT_BYTES, KeyDocument, parse_key_document
from holdfast.core.rounds import ChainDomain
from holdfast.core.trust import TrustedChain, parse_trust_chain, verify_trust
from holdfast.errors import HoldfastError, UnavailableError, UsageError
from holdfast.nodes.edge import App
from holdfast.nodes.full.app import create_app
from holdfast.nodes.full.config import FullConfig
from holdfast.nodes.full.metrics import METRICS
from holdfast.nodes.full.service import FullNode, Intervals, ProofSettings
from holdfast.nodes.full.settle import SettleLimits
from holdfast.nodes.process import run_node
from holdfast.ports.storage import Lock
from holdfast.verifier.checks import CheckPolicy

LOCK = "writer.lock"
"""Held while a process owns the journal: two that vote with one key would be slashed."""


def build(config: FullConfig) -> App:
    """The full node on this machine's disk, clock and network; its work starts with the app's lifespan."""
    document = _load_key_document(config.key_document)
    vote_signer = load_vote_signer(config.vote_key, "vote")
    payer = load_vote_signer(config.account_key) if config.account_key is not None else vote_signer
    trusted = _trusted_chain(config)
    storage = FileStorage(config.state)
    lock = storage.lock(LOCK)
    try:
        return _build(config, document, vote_signer, payer, trusted, storage, lock)
    except HoldfastError:
        lock.release()
        raise


def _build(
    config: FullConfig,
    document: KeyDocument,
    vote_signer: Secp256k1Signer,
    payer: Secp256k1Signer,
    trusted: TrustedChain,
    storage: FileStorage,
    lock: Lock,
) -> App:
    wal = WriteAheadLog(storage, "journal")
    committer = GroupCommit(wal)
    http = AiohttpHTTP()
    chain = EvmChain(
        EvmConnection(config.chain),
        ChainDomain(trusted.chain_id, trusted.contract),
        payer,
        finality_depth=trusted.finality_depth,
    )
    registry = None
    if config.registry is not None:
        domain = ChainDomain(trusted.chain_id, config.registry)
        registry = EvmRegistry(chain.sender.connection, domain, chain.sender)
    timeout_s = config.request_ms / 1000
    node = FullNode(
        document,
        vote_signer=vote_signer,
        cosignature_signer=load_signer(config.cosignature_key, "cosignature"),
        logs={log.origin: LogReader(http, log.url, timeout_s=timeout_s) for log in config.logs},
        chain=chain,
        storage=storage,
        committer=committer,
        records=wal.records,
        peers=[HTTPFullNode(http, url, timeout_s=timeout_s) for url in config.peers],
        clock=SystemClock(),
        trust_file=lambda: _read(config.trust),
        trust_pin=config.trust_pin,
        metrics=PrometheusMetrics(METRICS),
        policy=CheckPolicy(config.max_span_s, config.max_skew_s),
        limits=SettleLimits(config.round_ms / 1000, config.round_entries),
        intervals=Intervals(
            config.poll_ms / 1000,
            config.chain_poll_ms / 1000,
            config.peers_poll_ms / 1000,
            config.trust_poll_ms / 1000,
        ),
        registry=registry,
        proofs=_proofs(config, http),
    )

    async def close() -> None:
        await committer.close()
        await chain.close()
        await http.close()
        lock.release()

    return create_app(node, close)


def _proofs(config: FullConfig, http: AiohttpHTTP) -> ProofSettings | None:
    """What proofs are checked with. A node that is told of no prover checks none; one without EZKL says so in its
    status, and ``cannot_tell`` of every proof."""
    if not config.provers:
        return None
    timeout_s = config.request_ms / 1000 + 30
    provers = [ProverClient(http, url, config.prover_token, timeout_s=timeout_s) for url in config.provers]
    checker = open_checker(
        config.ezkl, memory_bytes=config.prover_bytes, run_s=config.prover_seconds, threads=config.prover_threads
    )
    ceremony = ReferenceStrings(config.ceremony) if config.ceremony is not None else None
    return ProofSettings(provers, checker, ceremony.load if ceremony is not None else lambda _: None)


def _read(path: Path) -> bytes | None:
    """A file's bytes, or None when there is none; raises ``full.file``."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnavailableError("full.file", f"cannot read {path}: {error.strerror}") from error


def _load_key_document(path: Path) -> KeyDocument:
    raw = _read(path)
    if raw is None or len(raw) > MAX_KEY_DOCUMENT_BYTES:
        raise UsageError("full.key_document", f"there is no key document at {path}", param="key_document")
    return parse_key_document(raw.strip())


def _trusted_chain(config: FullConfig) -> TrustedChain:
    """The contract that trust names for every followed log: one node settles on one chain."""
    raw = _read(config.trust)
    if raw is None:
        raise UsageError("full.trust", f"there is no trust file at {config.trust}", param="trust")
    trust = verify_trust(parse_trust_chain(raw), pin=config.trust_pin)
    found = {log.origin: trust.chain(log.origin) for log in config.logs}
    chains = {(item.chain_id, item.contract): item for item in found.values() if item is not None}
    if len(chains) != 1 or None in found.values():
        raise UsageError(
            "full.chain",
            "trust must name one and the same contract for every followed log",
            hint="follow at least one log; run one full node for each chain",
        )
    return next(iter(chains.values()))


def main() -> None:
    """``python -m holdfast.nodes.full [FILE]``."""
    sys.exit(run_node("full", FullConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
