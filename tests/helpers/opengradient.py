"""What the tests of OpenGradient's own clients share: where the clients are, and a model that talks.

The clients live in an environment of their own, for they want a fork of a payment library; ``HOLDFAST_OPENGRADIENT``
names its interpreter. ``python3 dev.py opengradient`` and ``CI=true python3 dev.py test`` make it. Sockets on loopback:
for ``tests/integration`` alone.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import ssl
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from eth_abi import decode, encode

from tests.helpers import upstreams as fake
from tests.helpers.between import Change, InThread, Passed
from tests.helpers.upstreams import FaultyServer

PYTHON = os.environ.get("HOLDFAST_OPENGRADIENT", "")
NEEDS_CLIENTS = pytest.mark.skipif(
    not PYTHON, reason="OpenGradient's packages are not here: CI=true or python3 dev.py opengradient fetches them"
)
"""For tests that run them."""
DRIVERS = Path(__file__).parents[1] / "integration" / "opengradient"
TOKEN = "0x1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef"
"""What their direct client sends as its bearer token, whoever calls."""
TEXT = "Ein Streifen \u2014 a lane says one thing, \U0001f30d and what it does not."
"""What the model of these tests answers; not ASCII, for their hashes spell such text in their own way."""
ARGUMENTS = '{"city": "Oslo",  "unit":"celsius"}'
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}
ROWS = (
    "(address,address,string,bytes,bytes,bytes32,uint8,bool,uint256,uint256,"
    "(uint8,uint16,uint16,uint16,bytes,bytes,uint256))[]"
)
"""The layout of ``getActiveTEEs(uint8)`` that their Python packages read, eleven fields."""
ACTIVE = "0x4b6014da"
"""Its selector."""


def run_driver(name: str, wanted: Mapping[str, Any], *, timeout_s: float = 120) -> dict[str, Any]:
    """One of the scripts in ``tests/integration/opengradient`` with the clients' interpreter; what it prints."""
    done = subprocess.run(
        [PYTHON, str(DRIVERS / f"{name}.py")],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


async def talking(request: fake.Request, writer: asyncio.StreamWriter) -> bool:
    """A model: calls the tool it is offered, answers in the shape it is asked for, otherwise says :data:`TEXT`."""
    if request.method == "GET":
        return await fake.chat_server(request, writer)
    asked = request.json()
    base: dict[str, Any] = {"id": "chatcmpl-1", "created": 1_767_225_600, "model": asked["model"]}
    usage = {"prompt_tokens": 3, "completion_tokens": 14, "total_tokens": 17}
    if request.path == "/v1/completions":
        choice = {"index": 0, "text": " one of eleven.", "finish_reason": "stop", "logprobs": None}
        return await fake.answer({**base, "object": "text_completion", "choices": [choice], "usage": usage})(
            request, writer
        )
    message: dict[str, Any] = {"role": "assistant", "content": TEXT}
    if asked.get("tools") and asked["messages"][-1]["role"] != "tool":
        message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    elif asked.get("response_format"):
        message["content"] = '{"lane":"bytes"}'
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    if not asked.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return await fake.answer({**base, "object": "chat.completion", "choices": [choice], "usage": usage})(
            request, writer
        )
    if message.get("tool_calls"):
        head = {"index": 0, **CALL, "function": {"name": "weather", "arguments": ""}}
        halves = (ARGUMENTS[:9], ARGUMENTS[9:])
        deltas: list[Any] = [{"role": "assistant", "content": None, "tool_calls": [head]}]
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": half}}]} for half in halves]
    else:
        words = message["content"].split(" ")
        deltas = [{"role": "assistant", "content": ""}]
        deltas += [{"content": word if place == 0 else f" {word}"} for place, word in enumerate(words)]
    base["object"] = "chat.completion.chunk"
    frames: list[Any] = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    frames.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if (asked.get("stream_options") or {}).get("include_usage"):
        frames.append({**base, "choices": [], "usage": usage})
    return await fake.events([json.dumps(frame).encode() for frame in frames])(request, writer)


class TalkingUpstream(InThread):
    """:func:`talking` on loopback."""

    base_url = ""
    port = 0

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self._tls = tls
        self.requests = 0
        """How many whole requests arrived."""

    async def _main(self) -> None:
        async with FaultyServer(self._talk, tls=self._tls) as server:
            self.base_url, self.port = server.base_url, server.port
            await self._until_stopped()

    async def _talk(self, request: fake.Request, writer: asyncio.StreamWriter) -> bool:
        self.requests += 1
        return await talking(request, writer)


def rewritten(**members: Any) -> Change:
    """An answer of the chain's RPC whose list of active gateways names other things: ``endpoint``, ``certificate``."""
    places = {"endpoint": 2, "public_key": 3, "certificate": 4}

    def change(passed: Passed) -> bytes:
        value = json.loads(passed.body)
        try:
            [rows] = decode([ROWS], bytes.fromhex(value["result"][2:]))
        except Exception:
            return passed.body  # another method's answer
        changed = [
            tuple(
                members.get({at: name for name, at in places.items()}.get(place, ""), item)
                for place, item in enumerate(row)
            )
            for row in rows
        ]
        value["result"] = "0x" + encode([ROWS], [changed]).hex()
        return json.dumps(value).encode()

    return change


def active_gateways(rpc: str, registry: str) -> list[Any]:
    """The rows of ``getActiveTEEs(0)``, as a client of theirs asks for them."""
    call = {"to": registry, "data": ACTIVE + "00" * 32}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [call, "latest"]}
    request = urllib.request.Request(rpc, json.dumps(asked).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        value = json.load(answer)
    [rows] = decode([ROWS], bytes.fromhex(value["result"][2:]))
    return list(rows)


def write_certificate(path: Path) -> bytes:
    """A key and a self-signed certificate of now in one PEM file; the certificate's DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    path.write_bytes(pem)
    return certificate.public_bytes(Encoding.DER)


def rsa_public_key() -> bytes:
    """The DER SubjectPublicKeyInfo of a new RSA key."""
    key = rsa.generate_private_key(65537, 2048)
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
