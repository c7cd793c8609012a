"""What a data node adds to a fetch: addresses, facts of the session, reading, judging, signing, and a durable record.

One source on loopback under TLS 1.3, in a process of its own, with connections kept; every variant in turns in the same
run, and the median of the calmest round counts. The peer is aiohttp as a program would use it: the same request, the
same body, verified against the same root. Then a definition's first question (a new session), and admissions verified
a second on one core.

Figures wanted: an admission at most 1.5 times a bare fetch, and at most 2 ms more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from figures import at_most, figure

sys.path.insert(0, str(Path(__file__).parents[1]))
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.fetch_https import HTTPSFetcher
from holdfast.core.admissions import parse_admission, parse_presented, verify_admission, verify_observation
from holdfast.core.keys import verify_signature
from holdfast.core.sources import parse_source, resolve
from holdfast.core.statements import parse_envelope, parse_statement, pre_authentication_encoding
from holdfast.ports.fetch import Observed
from tests.helpers.sources import (
    DataWorld,
    SourceServer,
    authority,
    data_world,
    definition_of,
    rate_body,
    registry_of,
    whole,
)
from tests.helpers.tls import certificate


def serve(folder: str, padding: int) -> None:
    """The source, until standard input ends; says what it is on standard output."""

    def answer() -> bytes:
        body = rate_body()
        return whole(body[:-1] + b',"padding":"' + b"x" * padding + b'"}')

    async def work() -> None:
        root = authority()
        source = SourceServer(certificate(issuer=root, name="localhost"), Path(folder), answer=answer)
        async with source.listening():
            pins = {"pins": [source.shows.spki]}
            definition = definition_of(source, root, request=pins, rate={"requests": 1_000_000, "seconds": 1})
            print(json.dumps({"definition": definition.raw.decode()}), flush=True)
            await asyncio.to_thread(sys.stdin.read)

    asyncio.run(work())


def best(took: list[float], each: int) -> float:
    """The median of the calmest round, in ms."""
    return 1000 * min(statistics.median(took[begin : begin + each]) for begin in range(0, len(took), each))


async def measure(definition: Any, folder: Path, rounds: int, each: int) -> None:
    """Print the figures of one source."""
    world = data_world(folder / "node", registry_of(definition))
    [root] = definition.transport.roots
    context = ssl.create_default_context(cadata=root)
    url = resolve(definition, {}).url
    took: dict[str, list[float]] = {"bare": [], "fetch": [], "admit": []}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        for _ in range(rounds):
            for _ in range(each):
                began = time.perf_counter()
                async with session.get(url, headers={"accept-encoding": "identity"}) as answer:
                    await answer.read()
                took["bare"].append(time.perf_counter() - began)
            for _ in range(each):
                began = time.perf_counter()
                await world.fetcher.fetch(resolve(definition, {}), None, Observed())
                took["fetch"].append(time.perf_counter() - began)
            for _ in range(each):
                began = time.perf_counter()
                shown = await world.service.admit("bench", "rates", {})
                took["admit"].append(time.perf_counter() - began)
    median = {name: best(values, each) for name, values in took.items()}
    figure("bare fetch by aiohttp, kept connection, p50", median["bare"], "ms")
    figure("the node's fetch alone, with everything observed, p50", median["fetch"], "ms")
    figure("an admission: fetched, read, judged, signed, durable, p50", median["admit"], "ms")
    figure("admission / bare fetch", median["admit"] / median["bare"], "x", at_most(1.5))
    figure("added by the node", median["admit"] - median["bare"], "ms", at_most(2))
    figure("of which one durable write", world.committer.average_us / 1000, "ms")
    await cold(definition)
    verify(world, shown)
    await world.close()


async def cold(definition: Any) -> None:
    """The first question by a definition: read, resolve, a session."""
    took = []
    for _ in range(20):
        fetcher = HTTPSFetcher(SystemClock())
        began = time.perf_counter()
        await fetcher.fetch(resolve(parse_source(definition.raw), {}), None, Observed())
        took.append(time.perf_counter() - began)
        await fetcher.close()
    figure("a definition's first question: parsed, resolved, TLS session, p50", best(took, 20), "ms")


def verify(world: DataWorld, shown: Any) -> None:
    """Presented admissions verified on one core, from their JSON on."""
    value, key = shown.to_json(), world.document.key_for("statement")
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < 1.5:
        presented = parse_presented(value)
        envelope = parse_envelope(presented.envelope)
        verify_signature(key, pre_authentication_encoding(envelope.payload), envelope.signature)
        verify_observation(
            verify_admission(parse_statement(envelope), presented.document, presented.salt), presented.definition
        )
        count += 1
    figure("admissions verified", count / (time.perf_counter() - began), "/s")
    if parse_admission(shown.document).event != "admitted":
        raise SystemExit("the source was refused: nothing was measured")


def main() -> None:
    """Measure small and larger answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--serve", nargs=2, metavar=("FOLDER", "BYTES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[0], int(options.serve[1]))
        return
    for padding in (200, 20_000):
        print(f"answers of about {padding} bytes")
        with tempfile.TemporaryDirectory() as name:
            command = [sys.executable, __file__, "--serve", name, str(padding)]
            source = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert source.stdin is not None
            assert source.stdout is not None
            try:
                definition = parse_source(json.loads(source.stdout.readline())["definition"].encode())
                asyncio.run(measure(definition, Path(name), options.rounds, options.each))
            finally:
                source.stdin.close()
                source.wait()


if __name__ == "__main__":
    main()
