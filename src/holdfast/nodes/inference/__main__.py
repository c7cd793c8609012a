"""Run an inference node: ``python -m holdfast.nodes.inference [FILE]``. The only place in it that picks adapters."""

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
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.http_stream_aiohttp import AiohttpEvents
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.models_folder import FolderModels
from holdfast.adapters.prover_ezkl import EzklProver
from holdfast.adapters.runtime_onnx import OnnxRuntime
from holdfast.adapters.signer_files import load_signer
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.trust_file import TrustFile
from holdfast.adapters.wraps_hpke import load_or_create_recipient
from holdfast.client.hub import HubClient
from holdfast.client.hub_models import HubModels, ManyModels
from holdfast.core.keys import KeyDocument, parse_key_document
from holdfast.core.proofs import SALT_BYTES
from holdfast.errors import HoldfastError, UsageError
from holdfast.nodes.edge import App, Limits
from holdfast.nodes.inference.app import create_app
from holdfast.nodes.inference.circuits import Circuits
from holdfast.nodes.inference.config import InferenceConfig
from holdfast.nodes.inference.identity import Identity
from holdfast.nodes.inference.metrics import METRICS
from holdfast.nodes.inference.models import Models
from holdfast.nodes.inference.proving import Proofs
from holdfast.nodes.inference.service import InferenceService
from holdfast.nodes.process import run_node
from holdfast.nodes.witness import EnclaveWitness
from holdfast.ports.models import ModelSource

LOCK = "writer.lock"
"""Held while a process proves what is owed here: two would prove everything twice."""


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
    recipient = None if config.model_key is None else load_or_create_recipient(config.model_key)
    opener = None if recipient is None else recipient.open_files
    models = Models(source, runtime, metrics, most=config.loaded, opener=opener)
    identity = Identity(document.digest, signer)
    circuits = Circuits(config.state / "circuits", source, _prover(config), clock, metrics)
    owed = FileStorage(config.state / "proofs")
    lock = owed.lock(LOCK)
    proofs = Proofs(
        owed,
        circuits,
        identity,
        clock,
        metrics,
        salt=lambda: secrets.token_bytes(SALT_BYTES),
        keep_s=config.proof_days * 86_400,
    )
    service = InferenceService(
        identity,
        models,
        runtime.conditions,
        witness,
        circuits,
        proofs,
        clock,
        metrics,
        at_once=config.orders_at_once,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        await witness.start()
        tasks = [
            asyncio.create_task(witness.work(), name="inference-enclave"),
            asyncio.create_task(proofs.work(), name="inference-proofs"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await circuits.close()
            await models.close()
            lock.release()
            await events.close()
            await http.close()

    return create_app(
        service,
        source,
        circuits,
        proofs,
        identity=witness.introduction,
        token=config.token,
        proof_token=config.proof_token,
        limits=Limits(config.request_bytes, config.request_seconds),
        readiness=dict,
        lifespan=lifespan,
        metrics=metrics.render,
    )


def _prover(config: InferenceConfig) -> EzklProver | HoldfastError:
    """Who proves, or why nobody does: a node without EZKL serves every other mode."""
    try:
        return EzklProver(
            config.ezkl,
            config.state / "srs",
            ceremony=config.ceremony,
            max_log_rows=config.circuit_log_rows,
            memory_bytes=config.prover_bytes,
            run_s=config.prover_seconds,
            threads=config.prover_threads,
        )
    except HoldfastError as error:
        return error


def _load_key_document(path: Path) -> KeyDocument:
    try:
        document = parse_key_document(path.read_bytes())
    except OSError as error:
        raise UsageError("inference.key_document", f"cannot read {path}: {error.strerror}") from error
    if "inference" not in document.roles:
        raise UsageError("inference.key_document", f"{path} is not the key document of an inference node")
    return document


def main() -> None:
    """``python -m holdfast.nodes.inference [FILE]``."""
    sys.exit(run_node("inference", InferenceConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
