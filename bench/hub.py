"""Pushing a model to a hub and pulling it, beside what the disk and loopback do with as many bytes in the same round.

Run: ``python bench/hub.py [MEGABYTES] [FOLDER]``. The hub is a process of its own. A push writes durably what it
hashes; its peer is a sequential write of the same bytes with one sync at the end, or a bare transfer over a loopback
socket, whichever is slower. A pull hashes and writes too, and its peer is the same.

A disk that is shared, and memory that its pages are new to, make one write several times as slow as the next. So all
of it is done in several rounds, each on bytes of its own, and what counts is the median of the rounds' ratios.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import statistics
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
ROUNDS = 7
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


async def connect(url: str, key: Secret) -> tuple[HubClient, AiohttpHTTP, AiohttpEvents]:
    """A client of the hub, once it answers."""
    http, events = AiohttpHTTP(), AiohttpEvents()
    hub = HubClient(http, events, url, key)
    for _ in range(200):
        with contextlib.suppress(HoldfastError):
            await hub.models()
            break
        await asyncio.sleep(0.05)
    return hub, http, events


async def exchange(hub: HubClient, signer: object, folder: Path, size: int) -> dict[str, float]:
    """One round in an empty folder: bytes a second of disk, loopback, a push and a pull."""
    model, data = folder / "model", os.urandom(size)
    model.mkdir(parents=True)
    (model / "weights.dat").write_bytes(data)
    local = read_folder(model, "bench")
    os.sync()
    rates = {"disk": write_rate(folder, data), "loopback": loopback_rate(data)}
    del data
    os.sync()
    began = time.perf_counter()
    made = await hub.push("bench/model", local, "measured")
    rates["push"] = size / (time.perf_counter() - began)
    os.sync()
    began = time.perf_counter()
    await hub.pull(made["artifact"], folder / "pulled", [signer])  # type: ignore[list-item]
    rates["pull"] = size / (time.perf_counter() - began)
    shutil.rmtree(folder)
    return rates


async def measure(url: str, key: Secret, signer: object, folder: Path, size: int) -> list[dict[str, float]]:
    """All rounds."""
    hub, http, events = await connect(url, key)
    try:
        return [await exchange(hub, signer, folder / "round", size) for _ in range(ROUNDS)]
    finally:
        await http.close()
        await events.close()


def main() -> None:
    size = int(sys.argv[1]) * 1_000_000 if len(sys.argv) > 1 else 256_000_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        folder, port = Path(name), free_port()
        process, key, signer = start_hub(folder, port)
        try:
            found = asyncio.run(measure(f"http://127.0.0.1:{port}", key, signer, folder, size))
        finally:
            process.terminate()
            process.wait()
    for what, label in (
        ("disk", "disk, written and synced"),
        ("loopback", "loopback, a bare socket"),
        ("push", "push"),
        ("pull", "pull"),
    ):
        rates = sorted(each[what] / 1e6 for each in found)
        figures.figure(label, statistics.median(rates), "MB/s", note=f"{rates[0]:,.0f} to {rates[-1]:,.0f}")
    for what in ("push", "pull"):
        shares = sorted(each[what] / min(each["disk"], each["loopback"]) for each in found)
        note = f"{shares[0]:.2f} to {shares[-1]:.2f} in {ROUNDS} rounds"
        figures.figure(f"{what} of the slower of both", statistics.median(shares), "x", figures.at_least(WANTED), note)


if __name__ == "__main__":
    main()
