"""Run a memory node: ``python -m holdfast.nodes.memory [FILE]``. The only place in it that picks adapters."""

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
from holdfast.adapters.embedder_minilm import MiniLMEmbedder
from holdfast.adapters.embedder_onnx import shipped_embedder
from holdfast.adapters.embedder_openai import OpenAIEmbedder
from holdfast.adapters.embedder_sentences import SentenceEmbedder
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.memory_store_sql import SQLMemoryStore
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.passwords_argon2 import derive_key
from holdfast.adapters.runtime_onnx import OnnxRuntime
from holdfast.adapters.signer_files import load_signer
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.trust_file import TrustFile
from holdfast.core.encoding import b64_encode
from holdfast.core.keys import KeyDocument, parse_key_document
from holdfast.core.recalls import RecallPolicy
from holdfast.errors import UsageError
from holdfast.nodes.edge import App, Limits
from holdfast.nodes.memory.app import create_app
from holdfast.nodes.memory.config import MemoryConfig
from holdfast.nodes.memory.extraction import Extraction, ModelExtraction, RuleExtraction
from holdfast.nodes.memory.keyring import Keyring
from holdfast.nodes.memory.metrics import METRICS
from holdfast.nodes.memory.portability import Portability
from holdfast.nodes.memory.recalling import Recalls
from holdfast.nodes.memory.search import Retrieval
from holdfast.nodes.memory.service import MemoryService
from holdfast.nodes.memory.transfer import Cost
from holdfast.nodes.memory.unlocking import Unlocking
from holdfast.nodes.memory.vault import Vaults
from holdfast.nodes.process import run_node
from holdfast.ports.embedder import Embedder


def build(config: MemoryConfig) -> App:
    """The node on this machine's disk, clock and network; everything starts with the app's lifespan."""
    clock, metrics, http = SystemClock(), PrometheusMetrics(METRICS), AiohttpHTTP()
    document = _load_key_document(config.key_document)
    signer = load_signer(config.signing_key, "statement")
    if document.key_by_id(signer.key.key_id) is None:
        raise UsageError("memory.key_document", f"{config.key_document} does not name the key in {config.signing_key}")
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = SQLMemoryStore(config.database or f"sqlite:///{config.state / 'memory.sqlite'}")
    vaults = Vaults(
        store,
        clock,
        metrics,
        secrets.token_bytes,
        unlock_seconds=config.unlock_seconds,
        most=config.unlocked_users,
        rows_per_user=config.rows_per_user,
    )
    embedder = _embedder(config, http)
    retrieval = Retrieval(vaults, embedder)
    keyring = Keyring(store, config, clock, metrics, secrets.token_bytes)
    unlocking = Unlocking(keyring, vaults.run, derive_key, config.unlocking_at_once)
    extraction = _extraction(config, http)
    service = MemoryService(vaults, keyring, unlocking, extraction, retrieval, clock, metrics, secrets.token_bytes)
    trust = None if config.trust is None else TrustFile(config.trust, FileStorage(config.state))
    portability = Portability(
        service,
        document,
        signer,
        Cost(config.passphrase_memory_kib, config.passphrase_passes, config.passphrase_threads),
        clock=clock,
        derive_key=derive_key,
        random_bytes=secrets.token_bytes,
        trust=trust,
    )

    standings = ("aging", "earned") if config.recall_aging else ("earned",)
    recalls = Recalls(
        service,
        retrieval,
        document,
        signer,
        clock,
        secrets.token_bytes,
        RecallPolicy(standings, config.recall_rows, config.recall_bytes),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        working = asyncio.create_task(service.work(), name="memory-housekeeping")
        try:
            yield
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            unlocking.close()
            vaults.close()
            store.close()
            await embedder.close()
            await http.close()

    return create_app(
        service,
        portability,
        recalls,
        identity=lambda: {"node": document.digest, "key_document": b64_encode(document.raw), "attestation": None},
        registration=config.registration,
        limits=Limits(config.request_bytes, config.request_seconds),
        lifespan=lifespan,
        metrics=metrics.render,
    )


def _extraction(config: MemoryConfig, http: AiohttpHTTP) -> Extraction:
    if config.model_url is None:
        return RuleExtraction()
    return ModelExtraction(http, config.model_url, config.model, config.model_key, config.model_seconds)


def _embedder(config: MemoryConfig, http: AiohttpHTTP) -> Embedder:
    if config.embedding_folder is not None:
        large = OnnxRuntime(optimisation="basic", threads=1, memory_bytes=1 << 31, model_bytes=1 << 29, run_s=60)
        return SentenceEmbedder.of_folder(large, config.embedding_folder)
    if config.embedding_minilm:
        return MiniLMEmbedder()
    if config.embedding_url is not None:
        key = config.embedding_key.reveal() if config.embedding_key else ""
        return OpenAIEmbedder(http, config.embedding_url, config.embedding_model, key)
    runtime = OnnxRuntime(optimisation="basic", threads=1, memory_bytes=1 << 28, model_bytes=1 << 24, run_s=30)
    return shipped_embedder(runtime)


def _load_key_document(path: Path) -> KeyDocument:
    try:
        document = parse_key_document(path.read_bytes())
    except OSError as error:
        raise UsageError("memory.key_document", f"cannot read {path}: {error.strerror}") from error
    if "memory" not in document.roles:
        raise UsageError("memory.key_document", f"{path} is not the key document of a memory node")
    return document


def main() -> None:
    """``python -m holdfast.nodes.memory [FILE]``."""
    sys.exit(run_node("memory", MemoryConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
