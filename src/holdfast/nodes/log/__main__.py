"""Run a log: ``python -m holdfast.nodes.log [FILE]``. The only place in this node that picks adapters."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

from holdfast.adapters.blobs_files import FileBlobs
from holdfast.adapters.blobs_walrus import WalrusBlobs
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.signer_files import load_or_create_signer
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.adapters.walrus_http import open_network
from holdfast.nodes.edge import App
from holdfast.nodes.log.app import create_app
from holdfast.nodes.log.config import LogConfig
from holdfast.nodes.log.service import METRICS, LogService
from holdfast.nodes.process import run_node
from holdfast.ports.blobs import Blobs
from holdfast.ports.storage import Committer, RecordLog


def build(config: LogConfig) -> App:
    """The log on this machine's disk, clock and network."""
    storage = FileStorage(config.state)
    http = AiohttpHTTP()
    metrics = PrometheusMetrics(METRICS)

    def open_records() -> tuple[RecordLog, Committer]:
        log = WriteAheadLog(storage, "wal", config.segment_bytes)
        return log, GroupCommit(log)

    async def offload(call: Callable[[], None]) -> None:
        await asyncio.to_thread(call)

    service = LogService(
        config,
        storage=storage,
        open_records=open_records,
        signer=load_or_create_signer(config.key, "log"),
        clock=SystemClock(),
        blobs=_blobs(config, storage, http),
        http=http,
        metrics=metrics,
        offload=offload,
    )
    return create_app(service, metrics.render, http.close)


def _blobs(config: LogConfig, storage: FileStorage, http: AiohttpHTTP) -> Blobs:
    """Where blobs are kept: the log's own folder, and Walrus where it has a publisher."""
    if not config.walrus_publisher:
        return FileBlobs(storage)
    return WalrusBlobs(open_network(http, config, config.blob_bytes), storage, near=FileBlobs(storage))


def main() -> None:
    """``python -m holdfast.nodes.log [FILE]``."""
    sys.exit(run_node("log", LogConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
