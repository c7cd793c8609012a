"""Run a data node: ``python -m holdfast.nodes.data [FILE]``. The only place in it that picks adapters."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.enclaves import open_enclave
from holdfast.adapters.fetch_dns import DNSFetcher
from holdfast.adapters.fetch_https import HTTPSFetcher
from holdfast.adapters.fetch_sql import SQLFetcher
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.signer_files import load_signer
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.adapters.wraps_hpke import load_recipient
from holdfast.client.log_writer import HTTPLogWriter
from holdfast.core.encoding import b64_decode
from holdfast.core.keys import KeyDocument, PublicKey, parse_key_document
from holdfast.core.sources import Registry, parse_signing_key, verify_registry
from holdfast.errors import HoldfastError, UsageError
from holdfast.nodes.data.app import Caller, create_app
from holdfast.nodes.data.bodies import Bodies
from holdfast.nodes.data.config import DataConfig
from holdfast.nodes.data.delivery import Delivery
from holdfast.nodes.data.fetchers import FetcherByKind
from holdfast.nodes.data.keeping import Kept
from holdfast.nodes.data.limits import Windows
from holdfast.nodes.data.metrics import METRICS
from holdfast.nodes.data.peers import Peer, Peers
from holdfast.nodes.data.service import DataService
from holdfast.nodes.edge import App
from holdfast.nodes.process import run_node
from holdfast.nodes.witness import EnclaveWitness
from holdfast.ports.fetch import Fetcher
from holdfast.ports.settings import Secret
from holdfast.ports.storage import Storage

LOCK = "writer.lock"
"""Held while a process owns the write-ahead log."""
VERSION = "sources.version"
"""The newest version of the registry that this node has had in force."""


def build(config: DataConfig) -> App:
    """The node on this machine's disk, clock and network; everything starts with the app's lifespan."""
    clock, metrics = SystemClock(), PrometheusMetrics(METRICS)
    document = _load_document(config.key_document, "data")
    signer = load_signer(config.signing_key, "statement")
    if document.key_for("statement") != signer.key:
        raise UsageError("data.key_document", f"{config.key_document} does not name the key in {config.signing_key}")
    storage = FileStorage(config.state)
    registry = load_registry(config, storage)
    enclave = open_enclave(
        config.enclave, clock, config.state, root=config.enclave_root, collateral=config.enclave_collateral
    )
    credentials = load_credentials(config, document)
    witness = EnclaveWitness(document, enclave, clock, reattest_s=config.reattest_s)
    peers = {item.name: Peer(item.url, item.key, _load_document(item.key_document, "data")) for item in config.peers}
    lock = storage.lock(LOCK)
    try:
        records = WriteAheadLog(storage, "wal", config.segment_bytes)
        committer = GroupCommit(records)
        bodies = Bodies(storage, clock, config.body_hours)
        kept = Kept(records, committer, bodies, clock, days=config.admission_days)
    except HoldfastError:
        lock.release()
        raise
    others: dict[str, Fetcher] = {"dns": DNSFetcher(clock), "sql": SQLFetcher(clock)}
    http, fetcher = AiohttpHTTP(), FetcherByKind(HTTPSFetcher(clock), others)
    writer = None if config.log is None else HTTPLogWriter(http, config.log, config.log_token)
    delivery = Delivery(records, storage, kept, writer, clock, metrics)
    service = DataService(
        document.digest,
        signer,
        registry,
        fetcher,
        kept,
        Peers(http, peers),
        Windows(clock, config.workspace_requests),
        witness,
        clock,
        metrics,
        credentials=credentials,
        random=secrets.token_bytes,
        at_once=config.at_once,
        on_kept=delivery.wake,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        await witness.start()
        tasks = [
            asyncio.create_task(witness.work(), name="data-enclave"),
            asyncio.create_task(delivery.work(), name="data-delivery"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await fetcher.close()
            await http.close()
            await committer.close()
            bodies.close()
            lock.release()

    return create_app(
        service,
        identity=witness.introduction,
        callers=[Caller(item.name, item.key, item.reads_for_others) for item in config.workspaces],
        readiness=dict,
        lifespan=lifespan,
        metrics=metrics.render,
    )


def load_registry(config: DataConfig, storage: Storage) -> Registry:
    """The signed registry, no older than the newest this node has had. Raises ``data.sources`` and ``sources.*``."""
    try:
        raw = config.sources.read_bytes()
    except OSError as error:
        raise UsageError(
            "data.sources",
            f"cannot read {config.sources}: {error.strerror}",
            hint="'holdfast data sign' makes it from TOML",
        ) from error
    keys: list[PublicKey] = [parse_signing_key(text) for text in config.sources_keys]
    newest = storage.load(VERSION)
    registry = verify_registry(raw, keys, int(newest) if newest else 1)
    storage.save(VERSION, str(registry.version).encode())
    return registry


def load_credentials(config: DataConfig, document: KeyDocument) -> dict[str, Secret]:
    """Credentials by name, sealed ones opened. Raises ``data.credential``, ``credential.*``, ``signer.*``."""
    recipient = None if config.hpke_key is None else load_recipient(config.hpke_key)
    if recipient is not None and document.key_for("hpke") != recipient.key:
        raise UsageError("data.key_document", f"{config.key_document} does not name the key in {config.hpke_key}")
    found = {}
    for item in config.credentials:
        if (item.value is None) == (item.sealed is None):
            raise UsageError("data.credential", f"credential {item.name!r} has either value or sealed")
        if item.value is not None:
            found[item.name] = item.value
            continue
        if recipient is None or item.sealed is None:
            raise UsageError("data.credential", f"credential {item.name!r} is sealed, and no hpke_key opens it")
        try:
            sealed = b64_decode(item.sealed.read_text("ascii").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError("data.credential", f"cannot read {item.sealed}") from error
        secret = recipient.open_credential(item.name, sealed).decode("utf-8", "replace").strip()
        found[item.name] = Secret(secret, f"sealed:{item.sealed}")
    return found


def _load_document(path: Path, role: str) -> KeyDocument:
    try:
        document = parse_key_document(path.read_bytes())
    except OSError as error:
        raise UsageError("data.key_document", f"cannot read {path}: {error.strerror}") from error
    if role not in document.roles:
        raise UsageError("data.key_document", f"{path} is not the key document of a data node")
    return document


def main() -> None:
    """``python -m holdfast.nodes.data [FILE]``."""
    sys.exit(run_node("data", DataConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
