"""An S3 server on loopback, from an environment apart (``HOLDFAST_S3`` names its Python), and what lies in a bucket."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from holdfast.adapters.blobs_s3 import make_client
from holdfast.ports.settings import Secret

PYTHON = os.environ.get("HOLDFAST_S3", "")
WHY_NOT = "HOLDFAST_S3 names no Python with moto's server"
BUCKET = "models"
_START_S = 30.0


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Serve until the test is over; the URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PYTHON, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the S3 server did not start")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def client(url: str) -> Any:
    """A client of the server, with keys that it takes."""
    return make_client(url, "us-east-1", "test", Secret("test", "test"))


class Bucket:
    """A bucket as the contract of blobs looks into a store: some of :class:`holdfast.ports.storage.Storage`."""

    def __init__(self, url: str, name: str = BUCKET) -> None:
        self._client = client(url)
        self._name = name

    def list_names(self, folder: str = "") -> list[str]:
        listed = self._client.list_objects_v2(Bucket=self._name, Prefix=f"{folder}/").get("Contents", [])
        return [item["Key"].removeprefix(f"{folder}/") for item in listed]

    def all_names(self) -> list[str]:
        """Every object."""
        return [item["Key"] for item in self._client.list_objects_v2(Bucket=self._name).get("Contents", [])]

    def load(self, name: str) -> bytes | None:
        data: bytes = self._client.get_object(Bucket=self._name, Key=name)["Body"].read()
        return data

    def save(self, name: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._name, Key=name, Body=data)
