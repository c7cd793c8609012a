"""Run the blob store: ``python -m holdfast.nodes.blobs [FILE]``, settings from the table ``[blobs]``."""

from __future__ import annotations

import asyncio
import os
import sys

from holdfast.adapters.storage_files import FileStorage
from holdfast.core.walrus import blob_id
from holdfast.nodes.blobs.app import create_app
from holdfast.nodes.blobs.config import BlobsConfig
from holdfast.nodes.blobs.service import BlobStore
from holdfast.nodes.edge import App
from holdfast.nodes.process import run_node


def build(config: BlobsConfig) -> App:
    """The store on this machine's disk."""

    async def identify(data: bytes, shards: int) -> bytes:
        return await asyncio.to_thread(blob_id, data, shards)

    return create_app(BlobStore(config, FileStorage(config.state), identify))


def main() -> None:
    """``python -m holdfast.nodes.blobs [FILE]``."""
    sys.exit(run_node("blobs", BlobsConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
