"""Run a hub: ``python -m holdfast.nodes.hub [FILE]``.

The only place in this node that picks adapters.
"""

from __future__ import annotations

import os
import secrets
import sys

from holdfast.adapters.blobs_files import FileBlobs
from holdfast.adapters.blobs_s3 import S3Blobs, make_client
from holdfast.adapters.blobs_walrus import WalrusBlobs
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.signer_files import load_signer
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.adapters.walrus_http import open_network
from holdfast.client.log import LogReader
from holdfast.client.log_writer import HTTPLogWriter
from holdfast.core.artifacts import key_pem
from holdfast.core.encoding import hex_decode
from holdfast.core.keys import KeyDocument, parse_key_document
from holdfast.errors import HoldfastError, UsageError
from holdfast.nodes.edge import App
from holdfast.nodes.hub.app import create_app
from holdfast.nodes.hub.clerk import Clerk
from holdfast.nodes.hub.config import HubConfig
from holdfast.nodes.hub.files import ModelFiles
from holdfast.nodes.hub.metrics import METRICS
from holdfast.nodes.hub.parts import PART_BYTES, FileParts, check_secret
from holdfast.nodes.hub.service import HubService
from holdfast.nodes.hub.shelf import Shelf
from holdfast.nodes.process import run_node

LOCK = "writer.lock"
"""Held while a process owns the write-ahead log: two would give labels two orders."""


def build(config: HubConfig) -> App:
    """The hub on this machine's disk, clock and network."""
    document, signer = load_document(config), load_signer(config.signing_key, "statement")
    if document.key_for("statement") != signer.key:
        raise UsageError("hub.key_document", f"{config.key_document} does not name the key in {config.signing_key}")
    key_pem(signer.key)  # a hub whose key cannot sign manifests does not start
    storage = FileStorage(config.state)
    lock = storage.lock(LOCK)
    try:
        records = WriteAheadLog(storage, "wal", config.segment_bytes)
        committer = GroupCommit(records)
        shelf = Shelf(records, committer)
    except HoldfastError:
        lock.release()
        raise
    clock, metrics, http = SystemClock(), PrometheusMetrics(METRICS), AiohttpHTTP()
    log = None if config.log is None else HTTPLogWriter(http, config.log, config.log_token)
    positions = None if config.log is None else LogReader(http, config.log)
    clerk = Clerk(shelf, signer, document.digest, clock, secrets.token_bytes, log, positions)
    parts = make_parts(config, storage, http)
    files = ModelFiles(storage, config.file_bytes, parts)
    service = HubService(config, shelf=shelf, files=files, clerk=clerk, signer=signer, clock=clock, metrics=metrics)

    async def close() -> None:
        files.close()
        await http.close()
        await committer.close()
        lock.release()

    return create_app(service, metrics.render, close)


def make_parts(config: HubConfig, storage: FileStorage, http: AiohttpHTTP) -> FileParts | None:
    """Where whole files are kept, where that is not the hub's own folder in the clear. Raises ``hub.store``,
    ``blob.secret`` or ``encoding.hex``."""
    secret = None if config.store_secret is None else check_secret(hex_decode(config.store_secret.reveal()))
    if config.store == "folder":
        return None if secret is None else FileParts(storage, FileBlobs(storage, "sealed"), secret)
    if config.store == "s3":
        if not config.s3_bucket:
            raise UsageError("hub.store", "files are to be kept in S3, and no bucket is named", param="s3_bucket")
        client = make_client(config.s3_endpoint, config.s3_region, config.s3_access_key, config.s3_secret_key)
        return FileParts(storage, S3Blobs(client, config.s3_bucket, config.s3_prefix), secret)
    if not config.walrus_publisher:
        raise UsageError(
            "hub.store", "files are to be kept on Walrus, and no publisher is named", param="walrus_publisher"
        )
    return FileParts(storage, WalrusBlobs(open_network(http, config, 2 * PART_BYTES), storage), secret)


def load_document(config: HubConfig) -> KeyDocument:
    """The hub's key document; raises ``hub.key_document``."""
    try:
        document = parse_key_document(config.key_document.read_bytes())
    except OSError as error:
        raise UsageError("hub.key_document", f"cannot read {config.key_document}: {error.strerror}") from error
    if "hub" not in document.roles:
        raise UsageError("hub.key_document", f"{config.key_document} is not the key document of a hub")
    return document


def main() -> None:
    """``python -m holdfast.nodes.hub [FILE]``."""
    sys.exit(run_node("hub", HubConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
