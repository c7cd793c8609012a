"""What starts in an enclave: keys that are made there, ports that are forwarded, and an end when either part ends."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.signer_files import load_signer
from holdfast.adapters.tls_files import load_certificate, spki_digest
from holdfast.core.keys import parse_key_document
from tests.unit.deploy.test_build_image import load

start: Any = load("start")


def sent(raw: bytes) -> socket.socket:
    """The reading end of a connection on which this was sent, and its end."""
    one, other = socket.socketpair(socket.AF_UNIX)
    one.sendall(raw)
    one.close()
    return other


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"a":1}', b'{"../a":"x"}', b'{"a/b":"x"}', b'{"":"x"}', b"x" * 70_000])
def test_secrets_of_another_shape_start_nothing(tmp_path: Path, raw: bytes) -> None:
    with sent(raw) as source, pytest.raises(ValueError, match=r"secrets|Expecting"):
        start.receive_secrets(source, tmp_path / "secrets")
    assert not (tmp_path / "secrets").exists()


def test_secrets_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    with sent(b'{"provider.key":"sk","workspace.token":"hf_1"}') as source:
        assert start.receive_secrets(source, tmp_path / "secrets") == ["provider.key", "workspace.token"]
    path = tmp_path / "secrets" / "provider.key"
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("sk", 0o600)


def test_keys_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    digest = start.make_keys("holdfast-gateway", "gateway", folder)
    document = parse_key_document((folder / "node.json").read_bytes())
    assert (document.digest, document.roles) == (digest, ("gateway",))
    assert document.key_by_id(load_signer(folder / "node.statement.pem", "statement").key.key_id) is not None
    assert document.tls == spki_digest(load_certificate(folder / "node.tls.pem"))
    assert len(document.ohttp) == 1
    assert document.key_for("opengradient") is not None
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir() if path.name != "node.tls.pem")
    assert start.make_keys("holdfast-gateway", "gateway", folder) == digest
    start.make_keys("holdfast-data", "data", tmp_path / "data")
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"node.statement.pem", "node.hpke.pem", "node.json"}


@pytest.mark.parametrize("code", [0, 3])
def test_whatever_ends_first_ends_the_enclave(code: int) -> None:
    """Never with success: an enclave that ended well would look as if nothing were wrong."""
    forever = [sys.executable, "-c", "import signal; signal.pause()"]
    ending = [sys.executable, "-c", f"raise SystemExit({code})"]
    assert start.supervise(forever, ending) == (code or 1)
    assert start.supervise(ending, forever) == (code or 1)


def test_bytes_go_both_ways_and_ends_are_passed_on(tmp_path: Path) -> None:
    """Unix sockets stand in for vsock: the code sees only families and addresses."""

    async def story() -> None:
        served = asyncio.Event()

        async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked = await reader.read()  # up to the end that the caller sent
            writer.write(b"answer to " + asked * 1000)
            await writer.drain()
            writer.close()
            served.set()

        inner = await asyncio.start_unix_server(node, tmp_path / "node")
        listener = start.listen(socket.AF_UNIX, str(tmp_path / "vsock"))
        task = asyncio.create_task(start.forward(listener, start.connector(socket.AF_UNIX, str(tmp_path / "node"))))
        answers = []
        for number in range(3):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "vsock")
            writer.write(b"question %d" % number)
            writer.write_eof()
            answers.append(await reader.read())
            writer.close()
        await served.wait()
        assert answers == [b"answer to " + b"question %d" % number * 1000 for number in range(3)]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        listener.close()
        inner.close()

    asyncio.run(story())


def test_a_place_that_nobody_serves_closes_the_connection(tmp_path: Path) -> None:
    async def story() -> None:
        listener = start.listen(socket.AF_UNIX, str(tmp_path / "vsock"))
        task = asyncio.create_task(start.forward(listener, start.connector(socket.AF_UNIX, str(tmp_path / "nobody"))))
        reader, writer = await asyncio.open_unix_connection(tmp_path / "vsock")
        assert await reader.read() == b""
        writer.close()
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        listener.close()

    asyncio.run(story())
