"""The first program of a Holdfast node in an enclave: keys, ports, then the node itself.

An enclave has no network and no disk. Its keys are made here, when it starts, in memory that nobody else reads, and are
gone with it: a node that starts again is a new node, which trust has to admit. Ports of the outside come and go through
vsock: whatever listens here is forwarded from there, and the few places that the node may reach are forwarded to the
host. The host sees ciphertext where the protocol on top is TLS, and everything where it is not.

What the operator gives out anyway (keys of workspaces, of providers) comes from the host when the enclave starts: an
image holds no secret, since whoever has it reads it. Nothing that the operator must not know comes this way.

Whichever of the two ends, the node or its ports, ends the enclave.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

CONFIGURATION = Path("/etc/holdfast/enclave.json")
SETTINGS = Path("/etc/holdfast/node.toml")
KEYS = Path("/run/holdfast")
SITE = "/holdfast/lib"
HOST_CID = 3
"""The parent instance, as every enclave knows it."""
_PIECE, _MOST_SECRETS = 65536, 1 << 20
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
"""``SIOCGIFFLAGS``, ``SIOCSIFFLAGS`` and ``IFF_UP`` of Linux."""

Connect = Callable[[], Awaitable[socket.socket]]


def raise_loopback() -> None:
    """Bring ``lo`` up: nobody else does in an enclave."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        flags = struct.unpack("16sH", fcntl.ioctl(asked, _GET_FLAGS, struct.pack("16sH14x", b"lo", 0))[:18])[1]
        fcntl.ioctl(asked, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags | _UP))


def make_keys(name: str, role: str, folder: Path = KEYS) -> str:
    """Keys and their key document, below ``folder``; returns the document's digest.

    A gateway gets a key for TLS, one that requests are sealed to, and OpenGradient's, besides the one it signs with; a
    data node one that credentials are sealed to.
    """
    from holdfast import __version__
    from holdfast.adapters.clock_system import SystemClock
    from holdfast.adapters.key_files import create_secret
    from holdfast.adapters.ohttp_key_files import load_or_create_gateway_key
    from holdfast.adapters.signer_files import load_or_create_signer
    from holdfast.adapters.signer_rsa import load_or_create_rsa_signer
    from holdfast.adapters.tls_files import load_or_create_certificate, spki_digest
    from holdfast.adapters.wraps_hpke import load_or_create_recipient
    from holdfast.core.keys import build_key_document, parse_key_document

    keys = [load_or_create_signer(folder / "node.statement.pem", "statement").key]
    more: dict[str, Any] = {}
    if role == "gateway":
        keys.append(load_or_create_rsa_signer(folder / "node.opengradient.pem").key)
        files = folder / "node.tls.key", folder / "node.tls.pem"
        more["tls"] = spki_digest(load_or_create_certificate(*files, [name], SystemClock().now()))
        more["ohttp"] = (load_or_create_gateway_key(folder / "node.ohttp.pem").configuration.encoded,)
    if role == "data":
        keys.append(load_or_create_recipient(folder / "node.hpke.pem").key)
    path = folder / "node.json"
    create_secret(path, build_key_document(name, [role], f"holdfast/{__version__}", keys, **more).raw)
    return parse_key_document(path.read_bytes()).digest


def receive_secrets(source: socket.socket, folder: Path) -> list[str]:
    """Read JSON of names and texts up to its end, and keep each as a file for its owner alone; returns the names.

    Raises :class:`ValueError` for anything else: the node would start without what its settings name.
    """
    raw = b""
    while piece := source.recv(_PIECE):
        raw += piece
        if len(raw) > _MOST_SECRETS:
            raise ValueError("secrets are larger than they can be")
    value = json.loads(raw)
    if not isinstance(value, dict) or not all(
        re.fullmatch(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", name) and isinstance(text, str) for name, text in value.items()
    ):
        raise ValueError("secrets are one JSON object of names and texts")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in value.items():
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
    return sorted(value)


async def _copy(source: socket.socket, target: socket.socket) -> None:
    """Bytes one way, and the end of them."""
    loop = asyncio.get_running_loop()
    while piece := await loop.sock_recv(source, _PIECE):
        await loop.sock_sendall(target, piece)
    target.shutdown(socket.SHUT_WR)


async def _serve(one: socket.socket, connect: Connect) -> None:
    """One connection, until both ends are done or one breaks."""
    other: socket.socket | None = None
    try:
        other = await connect()
        await asyncio.gather(_copy(one, other), _copy(other, one))
    except OSError:
        pass  # whoever is left reads the end of the stream
    finally:
        one.close()
        if other is not None:
            other.close()


async def forward(listener: socket.socket, connect: Connect) -> None:
    """Accept for ever; each connection goes on to where ``connect`` leads."""
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    under_way: set[asyncio.Task[None]] = set()
    while True:
        one, _ = await loop.sock_accept(listener)
        one.setblocking(False)
        task = asyncio.create_task(_serve(one, connect))
        under_way.add(task)
        task.add_done_callback(under_way.discard)


def listen(family: int, address: Any) -> socket.socket:
    """A listening socket."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(128)
    return listener


def connector(family: int, address: Any) -> Connect:
    """How to reach one address."""

    async def connect() -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(made, address)
        except OSError:
            made.close()
            raise
        return made

    return connect


async def forward_all(inbound: list[dict[str, Any]], outbound: list[dict[str, Any]]) -> None:
    """Every port of a configuration: from vsock to the node, and from the node to the host."""
    vsock = socket.AF_VSOCK
    ways = [
        (listen(vsock, (socket.VMADDR_CID_ANY, item["vsock"])), connector(socket.AF_INET, ("127.0.0.1", item["port"])))
        for item in inbound
    ]
    ways += [
        (listen(socket.AF_INET, (item["address"], item["port"])), connector(vsock, (HOST_CID, item["vsock"])))
        for item in outbound
    ]
    await asyncio.gather(*(forward(listener, connect) for listener, connect in ways))


def supervise(*commands: list[str]) -> int:
    """Start programs; when one ends, end the others, and with the first one's code (1 where it says it did well)."""
    started = [subprocess.Popen(command) for command in commands]
    try:
        while True:
            for process in started:
                try:
                    return process.wait(0.5) or 1
                except subprocess.TimeoutExpired:
                    continue
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def main(arguments: list[str]) -> int:
    """Without arguments, everything; with ``ports``, the forwarding alone; with ``node``, the node alone."""
    sys.path.insert(0, SITE)
    configuration = json.loads(CONFIGURATION.read_text("utf-8"))
    if arguments == ["ports"]:
        asyncio.run(forward_all(configuration["inbound"], configuration["outbound"]))
        return 1
    if arguments == ["node"]:
        import runpy

        sys.argv = [configuration["module"], str(SETTINGS)]
        runpy.run_module(configuration["module"], run_name="__main__", alter_sys=True)
        return 1
    raise_loopback()
    if configuration["secrets"]:
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as source:
            source.connect((HOST_CID, configuration["secrets"]))
            names = receive_secrets(source, KEYS / "secrets")
        print(f"secrets {' '.join(names)}", flush=True)
    digest = make_keys(configuration["name"], configuration["role"])
    print(f"key document {digest}", flush=True)
    program = [sys.executable, "-I", __file__]
    return supervise([*program, "ports"], [*program, "node"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
