"""Run an inference node: ``python -m holdfast.nodes.inference [FILE]``. The only place in it that picks adapters."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.enclaves import open_enclave
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.http_stream_aiohttp import AiohttpEvents
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.models_folder import FolderModels
from holdfast.adapters.runtime_onnx import OnnxRuntime
from holdfast.adapters.signer_files import load_signer
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.trust_file import TrustFile
from holdfast.client.hub import HubClient
from holdfast.client.hub_models import HubModels, ManyModels
from holdfast.core.encoding import b64_encode
from holdfast.core.keys import KeyDocument, parse_key_document
from holdfast.errors import UsageError
from holdfast.nodes.edge import App, Limits
from holdfast.nodes.inference.app import create_app
from holdfast.nodes.inference.config import InferenceConfig
from holdfast.nodes.inference.metrics import METRICS
from holdfast.nodes.inference.models import Models
from holdfast.nodes.inference.service import Identity, InferenceService
from holdfast.nodes.inference.witness import EnclaveWitness
from holdfast.nodes.process import run_node
from holdfast.ports.models import ModelSource


def build(config: InferenceConfig) -> App:
    """The node on this machine's disk, clock and processors; everything starts with the app's lifespan."""
    clock, metrics = SystemClock(), PrometheusMetrics(METRICS)
    document = _load_key_document(config.key_document)
    signer = load_signer(config.signing_key, "statement")
    if document.key_by_id(signer.key.key_id) is None:
        raise UsageError("inference.key", f"{config.key_document} does not name the key in {config.signing_key}")
    enclave = open_enclave(
        config.enclave, clock, config.state, root=config.enclave_root, collateral=config.enclave_collateral
    )
    witness = EnclaveWitness(document, enclave, clock, reattest_s=config.reattest_s)
    runtime = OnnxRuntime(
        optimisation=config.optimisation,
        threads=config.threads,
        memory_bytes=config.memory_bytes,
        model_bytes=config.model_bytes,
        run_s=config.run_seconds,
    )
    sources: list[ModelSource] = [FolderModels(config.models)]
    http, events = AiohttpHTTP(), AiohttpEvents()
    if config.hub is not None:
        hub = HubClient(http, events, config.hub, config.hub_key)
        trust = TrustFile(config.trust, FileStorage(config.state))
        sources.append(HubModels(hub, trust, config.state / "artifacts", clock))
    source = ManyModels(sources)
    models = Models(source, runtime, metrics, most=config.loaded)
    identity = Identity(document.digest, signer)
    service = InferenceService(
        identity, models, runtime.conditions, witness, clock, metrics, at_once=config.orders_at_once
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        await witness.start()
        attesting = asyncio.create_task(witness.work(), name="inference-enclave")
        try:
            yield
        finally:
            attesting.cancel()
            await asyncio.gather(attesting, return_exceptions=True)
            await models.close()
            await events.close()
            await http.close()

    return create_app(
        service,
        source,
        identity=lambda: _identity(document, witness),
        token=config.token,
        limits=Limits(config.request_bytes, config.request_seconds),
        readiness=dict,
        lifespan=lifespan,
        metrics=metrics.render,
    )


def _load_key_document(path: Path) -> KeyDocument:
    try:
        document = parse_key_document(path.read_bytes())
    except OSError as error:
        raise UsageError("inference.key_document", f"cannot read {path}: {error.strerror}") from error
    if "inference" not in document.roles:
        raise UsageError("inference.key_document", f"{path} is not the key document of an inference node")
    return document


def _identity(document: KeyDocument, witness: EnclaveWitness) -> dict[str, Any]:
    """Who this node is, and by what evidence."""
    evidence = witness.current
    return {
        "node": document.digest,
        "key_document": b64_encode(document.raw),
        "attestation": evidence.to_json() if evidence is not None else None,
        "statement": None,
    }


def main() -> None:
    """``python -m holdfast.nodes.inference [FILE]``."""
    sys.exit(run_node("inference", InferenceConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
