"""What paying adds to a turn once it is authorised: the same question unpaid, from credit, and in an ``upto`` session.

Two whole networks, one with payments off and one with payments on, are asked over loopback in turn, question by
question, at one connection; the built-in responder answers as fast as it can. What is compared is medians of the same
run. Opening the session (a 402, a signature, the facilitator's check on the chain) happens once and is printed beside.

Figure wanted: p50 at most 3 ms more, from credit and in a session.

``python bench/payments.py [--turns 400]``
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
from figures import at_most, figure
from network import QUESTION, Network, running

from holdfast.client.paying import Payer
from holdfast.client.wallet_file import load_wallet_file, open_wallet
from holdfast.core.encoding import b64_decode
from holdfast.core.keys import parse_key_document
from holdfast.core.paying import Seller
from holdfast.nodes.process import calm_collector

UP = (sys.executable, "-m", "holdfast.cli", "up")
SESSION = "x-upto-session"
WARM_UP = 20
WANTED_MS = 3.0
BODY = json.dumps(QUESTION).encode()


@contextlib.asynccontextmanager
async def connection(network: Network) -> AsyncIterator[aiohttp.ClientSession]:
    """One connection to a network's gateway."""
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(network.ready["gateway"], connector=connector) as session:
        yield session


async def ask(session: aiohttp.ClientSession, headers: Mapping[str, str]) -> float:
    """One whole answer; milliseconds."""
    began = time.perf_counter()
    async with session.post("/v1/chat/completions", data=BODY, headers=headers) as answer:
        await answer.read()
        if answer.status != 200:
            raise SystemExit(f"the gateway answered {answer.status}")
    return (time.perf_counter() - began) * 1000


def fund(folder: Path) -> None:
    """Make a wallet with test tokens in the network's folder."""
    command = [sys.executable, "-m", "holdfast.cli", "pay", "faucet", "--state", str(folder / "state")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


async def open_session(network: Network, session: aiohttp.ClientSession, folder: Path) -> tuple[str, float]:
    """Sign once: the session's name, and the milliseconds of the signed request."""
    file = load_wallet_file(folder / "state" / "wallet" / "wallet.toml", {})
    url = network.ready["gateway"] + "/v1/chat/completions"
    async with open_wallet(file) as wallet, session.get("/v1/identity") as identity:
        document = parse_key_document(b64_decode((await identity.json())["key_document"]))
        seller = Seller("/v1/chat/completions", document.payment, document.key_for("statement"))
        attempt = Payer(wallet).attempt(url, seller)
        async with session.post("/v1/chat/completions", data=BODY) as asked:
            if not await attempt.again(asked.status, asked.headers, await asked.read()):
                raise SystemExit(f"the gateway asks for no payment: {asked.status}")
        began = time.perf_counter()
        async with session.post("/v1/chat/completions", data=BODY, headers=attempt.headers) as answer:
            await answer.read()
            return answer.headers[SESSION], (time.perf_counter() - began) * 1000


async def measure(unpaid: Network, paid: Network, folder: Path, turns: int) -> None:
    """Ask all three ways in turn and print."""
    free, key = {"authorization": f"Bearer {unpaid.ready['key']}"}, {"authorization": f"Bearer {paid.ready['key']}"}
    async with connection(unpaid) as first, connection(paid) as second:
        name, opened_ms = await open_session(paid, second, folder)
        ways = {"unpaid": (first, free), "credit": (second, key), "session": (second, {SESSION: name})}
        took: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(WARM_UP + turns):
            for way, (session, headers) in ways.items():
                spent = await ask(session, headers)
                if turn >= WARM_UP:
                    took[way].append(spent)
    medians = {way: statistics.median(times) for way, times in took.items()}
    figure("unpaid, p50", medians["unpaid"], "ms")
    for way in ("credit", "session"):
        figure(f"{way}, p50", medians[way], "ms")
        figure(f"{way}: added, p50", medians[way] - medians["unpaid"], "ms", at_most(WANTED_MS))
        figure(f"{way} / unpaid", medians[way] / medians["unpaid"], "x")
    figure("the first request of a session, signed and checked on the chain", opened_ms, "ms")


def main() -> None:
    """Start both networks, ask, and end them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=400)
    parser.add_argument("--port", type=int, default=23_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / way for way in ("unpaid", "paid")]
        for folder in folders:
            folder.mkdir()
        with (
            running([*UP, "--payments", "off"], folders[0], options.port) as unpaid,
            running([*UP, "--payments", "optional"], folders[1], options.port + 50) as paid,
        ):
            calm_collector()
            fund(folders[1])
            asyncio.run(measure(unpaid, paid, folders[1], options.turns))


if __name__ == "__main__":
    main()
