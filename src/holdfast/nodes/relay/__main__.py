"""Run a relay: ``python -m holdfast.nodes.relay [FILE]``. The only place in this node that picks adapters."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.forward_direct import DirectForwarder, ForwardConfig
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.trust_file import TrustFile
from holdfast.client.log import LogReader
from holdfast.core.encoding import b64_encode
from holdfast.core.keys import KeyDocument, parse_key_document
from holdfast.core.pricing import parse_decimal
from holdfast.errors import UsageError
from holdfast.nodes.edge import App
from holdfast.nodes.process import run_node
from holdfast.nodes.relay.admission import AccountAdmission, Quota
from holdfast.nodes.relay.app import RelayApp, create_app
from holdfast.nodes.relay.batches import Batch, Tick
from holdfast.nodes.relay.config import RelayConfig, RelayGateway
from holdfast.nodes.relay.credit import Credit
from holdfast.nodes.relay.metrics import METRICS
from holdfast.nodes.relay.service import Passages
from holdfast.nodes.relay.targets import Target, Targets


def build(config: RelayConfig) -> App:
    """The relay on this machine's clock and network; everything starts with the app's lifespan."""
    document = _load_key_document(config.key_document)
    clock, http = SystemClock(), AiohttpHTTP()
    trust = TrustFile(config.trust, FileStorage(config.state))
    found = [Target(item.url.rstrip("/"), _forwarder(item, config), item.billing_frames) for item in config.gateways]
    targets = Targets(found, http, LogReader(http, config.log), trust, clock, every_s=config.keys_seconds)
    credit = Credit(
        {item.url.rstrip("/"): item.key for item in config.gateways},
        http,
        clock,
        floor=parse_decimal(config.credit_floor),
        every_s=config.credit_seconds,
    )
    quota = Quota(config.window_s, config.window_requests, config.window_bytes, config.at_once, config.day_requests)
    passages = Passages(
        Batch(Tick(clock, config.batch_ms / 1000), random.SystemRandom().shuffle),
        Tick(clock, config.tick_ms / 1000),
        timeout_s=config.answer_seconds,
        idle_timeout_s=config.idle_seconds,
        at_once=config.requests_at_once,
    )

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        asking = asyncio.create_task(targets.work(), name="relay-targets")
        paying = asyncio.create_task(credit.work(), name="relay-credit")
        try:
            yield
        finally:
            for task in (asking, paying):
                task.cancel()
            await asyncio.gather(asking, paying, return_exceptions=True)
            await asyncio.gather(*(target.forwarder.close() for target in found))
            await http.close()

    app = RelayApp(
        targets,
        AccountAdmission(config.accounts, quota, clock.monotonic),
        passages,
        PrometheusMetrics(METRICS),
        credit,
        identity={"node": document.digest, "key_document": b64_encode(document.raw)},
        readiness=targets.readiness,
        lifespan=lifespan,
    )
    return create_app(app, request_bytes=config.request_bytes, request_seconds=config.request_seconds)


def _forwarder(gateway: RelayGateway, config: RelayConfig) -> DirectForwarder:
    return DirectForwarder(
        ForwardConfig(
            base_url=gateway.url,
            token=gateway.key.reveal(),
            tls_ca_file=str(gateway.tls_ca_file or ""),
            max_bytes=config.answer_bytes,
            insecure_plain_http=gateway.insecure_plain_http,
        )
    )


def _load_key_document(path: Path) -> KeyDocument:
    try:
        document = parse_key_document(path.read_bytes())
    except OSError as error:
        raise UsageError("relay.key_document", f"cannot read {path}: {error.strerror}") from error
    if "relay" not in document.roles:
        raise UsageError("relay.key_document", f"{path} is not the key document of a relay")
    return document


def main() -> None:
    """``python -m holdfast.nodes.relay [FILE]``."""
    sys.exit(run_node("relay", RelayConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
