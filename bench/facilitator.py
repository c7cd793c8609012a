"""The facilitator: payments verified and captured a second, against x402's own classes in the same run.

Chain and facilitator are processes of their own (``python -m holdfast.nodes.…``), on the embedded development chain, a
disk that syncs, and real HTTP; every payment is new, signed before the clock starts. *Per core* divides by the time
that the facilitator's process spent computing, so that neither client nor chain counts; the rate on the clock stands
beside it, with everything sharing this machine's cores. A capture counts when its job has succeeded.

Wanted: verify >= 1,500/s per core by signature alone and >= 250/s with the chain asked each time; captures >= 400/s.
Peer: x402's ``ExactEvmScheme`` with its web3 signer, on the same chain, in process, so without HTTP and without a disk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import httptools
import peers  # beside this file
import uvloop
from figures import at_least, figure, no_peer, ratio

from holdfast.adapters.payment_contracts import CAPTURES, TEST_TOKEN, TestToken, payment_accounts
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.core import evm, x402
from holdfast.core.captures import selector
from holdfast.core.encoding import sha256
from holdfast.core.transactions import UnsignedTransaction
from holdfast.core.x402 import PaymentPayload, PaymentRequirements, TransferAuthorization, address_word

CHAIN_ID = 31337
NETWORK = f"eip155:{CHAIN_ID}"
PAYERS = 32
OWNER, FACILITATOR, PEER = (Secp256k1Signer(sha256(name)) for name in (b"owner", b"facilitator", b"peer"))
KEYS = [sha256(b"payer %d" % number) for number in range(PAYERS)]
SIGNERS = [Secp256k1Signer(key) for key in KEYS]
TOKEN = TestToken(OWNER.address)
PAYEE = "0x" + "ee" * 20
CONNECTIONS = 64
WANTED_SIGNATURE, WANTED_SIMULATED, WANTED_CAPTURES = 1_500, 250, 400


class Connection(asyncio.Protocol):
    """One connection that takes the next request from a list when its answer is whole."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None], statuses: list[int]) -> None:
        self._requests = requests
        self._done = done
        self._statuses = statuses

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        if b'"isValid":false' in body or b'"success":false' in body:
            self._statuses.append(0)

    def on_message_complete(self) -> None:
        self._statuses.append(self._parser.get_status_code())
        self._send()

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def post_all(port: int, path: str, bodies: Sequence[bytes], expected: int) -> float:
    """Post every body once over kept connections; returns the seconds it took. Each has to be answered as expected."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: "
    requests = iter([f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies])
    loop = asyncio.get_running_loop()
    statuses: list[int] = []
    began = time.perf_counter()
    waiting = []
    for _ in range(CONNECTIONS):
        done: asyncio.Future[None] = loop.create_future()
        made = Connection(requests, done, statuses)
        await loop.create_connection(lambda one=made: one, "127.0.0.1", port)  # type: ignore[misc]
        waiting.append(done)
    async with asyncio.timeout(300):
        await asyncio.gather(*waiting)
    took = time.perf_counter() - began
    if statuses != [expected] * len(bodies):
        wrong = [status for status in statuses if status != expected]
        raise SystemExit(f"{path}: {len(wrong)} answers were not {expected}: {wrong[:5]}")
    return took


def sign(count: int, first: int) -> list[bytes]:
    """Bodies of requests for new payments of one base unit each."""
    asked = PaymentRequirements(
        x402.EXACT, NETWORK, TEST_TOKEN, 1, PAYEE, 3600, {"name": TOKEN.name, "version": TOKEN.version}
    )
    until = int(time.time()) + 3600
    bodies = []
    for number in range(first, first + count):
        signer = SIGNERS[number % PAYERS]
        authorization = TransferAuthorization(signer.address, PAYEE, 1, 0, until, sha256(b"nonce %d" % number))
        digest = x402.transfer_digest(
            authorization, chain_id=CHAIN_ID, token=TEST_TOKEN, name=TOKEN.name, version=TOKEN.version
        )
        payload = PaymentPayload(asked, authorization, signer.sign(digest))
        body = {
            "x402Version": 2,
            "paymentPayload": payload.to_json(),
            "paymentRequirements": asked.to_json(),
        }
        bodies.append(json.dumps(body).encode())
    return bodies


# --- processes --------------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def node(name: str, settings: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A node as a process, once it answers; ended at the end."""
    environment = {**os.environ, "FACILITATOR_KEY": sha256(b"facilitator").hex()}
    command = [sys.executable, "-m", f"holdfast.nodes.{name}", str(settings)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).read()
                break
            if process.poll() is not None:
                raise SystemExit(f"the {name} node ended by itself")
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def computed(process: subprocess.Popen[bytes]) -> float:
    """Seconds that a process spent computing so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rpc(port: int, method: str, *parameters: Any) -> Any:
    """One answer of the chain."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", body, {"content-type": "application/json"})
    answer = json.loads(urllib.request.urlopen(request, timeout=30).read())
    if "error" in answer:
        raise SystemExit(f"{method}: {answer['error']}")
    return answer["result"]


def fund(port: int) -> None:
    """Mint for every payer."""
    for nonce, signer in enumerate(SIGNERS):
        data = selector("mint(address,uint256)") + address_word(signer.address) + evm.word(10**9)
        unsigned = UnsignedTransaction(CHAIN_ID, nonce, 1, 1000, 200_000, TEST_TOKEN, 0, data)
        rpc(port, "eth_sendRawTransaction", "0x" + unsigned.signed(OWNER.sign(unsigned.digest())).hex())
    while int(rpc(port, "eth_getTransactionCount", OWNER.address, "latest"), 16) < PAYERS:
        time.sleep(0.05)


def paid(port: int) -> int:
    """What the receiver has."""
    data = selector("balanceOf(address)") + address_word(PAYEE)
    return int(rpc(port, "eth_call", {"to": TEST_TOKEN, "data": "0x" + data.hex()}, "latest"), 16)


def write_settings(folder: Path, chain: int, facilitator: int, *, simulate: bool) -> tuple[Path, Path]:
    """Settings of both."""
    funded = [OWNER.address, FACILITATOR.address, PEER.address]
    accounts = payment_accounts(TOKEN).items()
    alloc: dict[str, dict[str, str]] = {address: {"code": "0x" + account.code.hex()} for address, account in accounts}
    alloc |= {address: {"balance": str(10**24)} for address in funded}
    (folder / "genesis.json").write_text(json.dumps({"alloc": alloc}))
    ours, theirs = folder / f"facilitator-{simulate}.toml", folder / "chain.toml"
    theirs.write_text(
        f'[chain]\nlisten = "127.0.0.1:{chain}"\nstate = "{folder / "chain"}"\n'
        f'genesis = "{folder / "genesis.json"}"\nbackend = "embedded"\n'
    )
    ours.write_text(
        f'[facilitator]\nlisten = "127.0.0.1:{facilitator}"\nstate = "{folder / f"facilitator-{simulate}"}"\n'
        f'[[facilitator.networks]]\nnetwork = "{NETWORK}"\nrpc = "http://127.0.0.1:{chain}"\n'
        f'key = "env:FACILITATOR_KEY"\nassets = ["*"]\npayees = ["{PAYEE}"]\ncaptures = "{CAPTURES}"\n'
        f"depth = 0\npoll_ms = 50\nsimulate = {str(simulate).lower()}\n"
    )
    return theirs, ours


# --- measuring --------------------------------------------------------------------------------------------------------


def verifying(settings: Path, port: int, bodies: Sequence[bytes]) -> tuple[float, float]:
    """Payments verified a second: per core, and on the clock."""
    with node("facilitator", settings, port) as process:
        asyncio.run(post_all(port, "/verify", bodies[:200], 200))
        before = computed(process)
        took = asyncio.run(post_all(port, "/verify", bodies[200:], 200))
        return (len(bodies) - 200) / (computed(process) - before), (len(bodies) - 200) / took


def capturing(settings: Path, port: int, chain: int, bodies: Sequence[bytes]) -> tuple[float, float]:
    """Payments captured a second: on the clock from the first request to the last success, and per core."""
    with node("facilitator", settings, port) as process:
        asyncio.run(post_all(port, "/settle", bodies[:10], 202))
        target = paid(chain)
        while _ended(port) < 10:
            time.sleep(0.02)
        target += len(bodies)
        before, began = computed(process), time.perf_counter()
        asyncio.run(post_all(port, "/settle", bodies[10:], 202))
        while _ended(port) < len(bodies):
            time.sleep(0.02)
        took, spent = time.perf_counter() - began, computed(process) - before
    if paid(chain) > target:
        raise SystemExit("more was paid than was signed for")
    return (len(bodies) - 10) / took, (len(bodies) - 10) / spent


def _ended(port: int) -> int:
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    counts = {"succeeded": 0, "failed": 0}
    for line in text.splitlines():
        if line.startswith("holdfast_facilitator_ended_total{"):
            counts[line.split('status="')[1].split('"')[0]] = int(float(line.rsplit(" ", 1)[1]))
    if counts["failed"]:
        raise SystemExit(f"{counts['failed']} captures failed")
    return counts["succeeded"]


def main() -> int:
    """All figures, then the peer."""
    parser = argparse.ArgumentParser(description="Payments verified and captured.")
    parser.add_argument("--payments", type=int, default=6_000, help="payments for each figure of ours")
    parser.add_argument("--peer", type=int, default=120, help="payments for each figure of the peer")
    parser.add_argument("--folder", help="where disk is synced")
    options = parser.parse_args()
    uvloop.install()
    count = options.payments
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder, chain, port = Path(name), free_port(), free_port()
        chain_settings, ours = write_settings(folder, chain, port, simulate=False)
        _, asking = write_settings(folder, chain, port, simulate=True)
        with node("chain", chain_settings, chain):
            fund(chain)
            signature, signature_clock = verifying(ours, port, sign(count + 200, 0))
            simulated_core, simulated = verifying(asking, port, sign(count // 3 + 200, count + 200))
            captured, captured_core = capturing(ours, port, chain, sign(count + 10, 10 * count))
            theirs = _peer(chain, options.peer)
    ok = figure("verify, signature, per core", signature, "/s", at_least(WANTED_SIGNATURE), "over HTTP")
    figure("verify, signature, on the clock", signature_clock, "/s", note=f"{CONNECTIONS} connections, one process")
    ok &= figure(
        "verify, chain asked, on the clock", simulated, "/s", at_least(WANTED_SIMULATED), "the chain's share too"
    )
    figure("verify, chain asked, per core", simulated_core, "/s", note="of the facilitator alone")
    ok &= figure("captures, durable to succeeded", captured, "/s", at_least(WANTED_CAPTURES), "batches of up to 200")
    figure("captures, per core", captured_core, "/s", note="of the facilitator alone")
    if theirs:
        figure(
            "x402 verify, simulation off, one thread",
            theirs["signature"],
            "/s",
            note="asks the chain for code all the same",
        )
        figure(
            "x402 verify, one thread / 16", theirs["verify"], "/s", note=f"16 threads: {theirs['verify_threads']:.0f}"
        )
        figure(
            "x402 settle, one thread / 16", theirs["settle"], "/s", note=f"16 threads: {theirs['settle_threads']:.0f}"
        )
        ratio("x402 verify, simulation off", signature_clock, theirs["signature"])
        ratio("x402 verify, better of both", simulated, max(theirs["verify"], theirs["verify_threads"]))
        ratio("x402 settle, better of both", captured, max(theirs["settle"], theirs["settle_threads"]))
    return 0 if ok else 1


def _peer(chain: int, count: int) -> dict[str, float]:
    keys = ",".join("0x" + key.hex() for key in KEYS)
    try:
        return peers.run(
            *("x402", "peer_x402.py", f"http://127.0.0.1:{chain}", "0x" + sha256(b"peer").hex(), TEST_TOKEN, PAYEE),
            *(TOKEN.name, TOKEN.version, keys, str(count)),
        )
    except peers.MissingError as error:
        no_peer("x402", str(error))
        return {}


if __name__ == "__main__":
    sys.exit(main())
