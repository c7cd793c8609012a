"""Pushing a model to a hub and pulling it, beside what the disk and loopback do with the same bytes in the same run.

Run: ``python bench/hub.py [MEGABYTES] [FOLDER]``. The hub is a process of its own. A push writes durably what it
hashes; its peer is a sequential write of the same bytes with one sync at the end, or a bare transfer over a loopback
socket, whichever is slower. A pull hashes and writes too, and its peer is the same.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import figures

from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.http_stream_aiohttp import AiohttpEvents
from holdfast.adapters.signer_files import load_or_create_signer
from holdfast.client.hub import HubClient, read_folder
from holdfast.core.keys import build_key_document
from holdfast.errors import HoldfastError
from holdfast.ports.settings import Secret

PIECE = 1 << 20
WANTED = 0.8
"""Share of the slower of disk and loopback that push and pull reach."""


def write_rate(folder: Path, data: bytes) -> float:
    """Bytes a second of a sequential write with a sync at its end."""
    began = time.perf_counter()
    with (folder / "disk").open("wb") as file:
        for place in range(0, len(data), PIECE):
            file.write(data[place : place + PIECE])
        file.flush()
        os.fdatasync(file.fileno())
    return len(data) / (time.perf_counter() - began)


def loopback_rate(data: bytes) -> float:
    """Bytes a second through a bare socket."""
    server = socket.create_server(("127.0.0.1", 0))

    def take() -> None:
        peer, _ = server.accept()
        while peer.recv(PIECE):
            pass
        peer.close()

    taker = threading.Thread(target=take)
    taker.start()
    began = time.perf_counter()
    with socket.create_connection(server.getsockname()) as sender:
        sender.sendall(data)
    taker.join()
    server.close()
    return len(data) / (time.perf_counter() - began)


def start_hub(folder: Path, port: int) -> tuple[subprocess.Popen[bytes], Secret, object]:
    """A hub of its own process, without a log; its publisher's key and the key that it signs with."""
    key = load_or_create_signer(folder / "hub.pem", "statement", "p256")
    (folder / "hub.json").write_bytes(build_key_document("hub.bench", ["hub"], "bench", [key.key]).raw)
    (folder / "token").write_text("bench\n")
    settings = folder / "holdfast.toml"
    settings.write_text(
        f'[hub]\nlisten = "127.0.0.1:{port}"\nstate = "{folder / "hub"}"\nsigning_key = "{folder / "hub.pem"}"\n'
        f'key_document = "{folder / "hub.json"}"\n'
        f'publishers = [{{name = "bench", key = "file:{folder / "token"}", organisations = ["*"]}}]\n'
    )
    process = subprocess.Popen([sys.executable, "-m", "holdfast.nodes.hub", str(settings)])
    return process, Secret("bench", "bench"), key.key


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def exchange(url: str, key: Secret, signer: object, model: Path, target: Path, size: int) -> tuple[float, float]:
    """Bytes a second of a push and of a pull."""
    http, events = AiohttpHTTP(), AiohttpEvents()
    hub = HubClient(http, events, url, key)
    for _ in range(200):
        try:
            await hub.models()
            break
        except HoldfastError:
            await asyncio.sleep(0.05)
    local = read_folder(model, "bench")
    began = time.perf_counter()
    made = await hub.push("bench/model", local, "measured")
    pushed = size / (time.perf_counter() - began)
    began = time.perf_counter()
    await hub.pull(made["artifact"], target, [signer])  # type: ignore[list-item]
    pulled = size / (time.perf_counter() - began)
    await http.close()
    await events.close()
    return pushed, pulled


def main() -> None:
    size = int(sys.argv[1]) * 1_000_000 if len(sys.argv) > 1 else 512_000_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        folder = Path(name)
        (folder / "model").mkdir()
        data = os.urandom(size)
        (folder / "model" / "weights.dat").write_bytes(data)
        os.sync()
        disk, loopback = write_rate(folder, data), loopback_rate(data)
        os.sync()
        port = free_port()
        process, key, signer = start_hub(folder, port)
        try:
            url = f"http://127.0.0.1:{port}"
            pushed, pulled = asyncio.run(exchange(url, key, signer, folder / "model", folder / "pulled", size))
        finally:
            process.terminate()
            process.wait()
    figures.figure("disk, written and synced", disk / 1e6, "MB/s")
    figures.figure("loopback, a bare socket", loopback / 1e6, "MB/s")
    bound = min(disk, loopback)
    figures.figure("push", pushed / 1e6, "MB/s")
    figures.figure("pull", pulled / 1e6, "MB/s")
    for what, rate in (("push", pushed), ("pull", pulled)):
        figures.figure(f"{what} of the slower of both", rate / bound, "x", figures.at_least(WANTED))


if __name__ == "__main__":
    main()
