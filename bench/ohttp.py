"""The private path as bytes: requests that a client seals and a gateway opens, chunks of a streamed answer, a second.

One core, its own time, best of several runs; each suite. A request holds a binary HTTP message of 1 KiB, a chunk 100
bytes, an answer 200 chunks. The peer is ``pyhpke``, HPKE alone, in the same run: it frames nothing, so ours does more
for each.

Figures wanted: client encapsulations >= 5,000/s, gateway opens >= 7,000/s, streamed chunks >= 300,000/s.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import peers  # beside this file
from figures import at_least, figure, no_peer, ratio

from holdfast.core.binary_http import Request, build_request, parse_request
from holdfast.core.hpke import AEAD
from holdfast.core.ohttp import SUITES, GatewayContext, GatewayKey, decapsulate, encapsulate, nonce_bytes

CHUNK_BYTES = 100
CHUNKS = 200
QUESTION = Request(
    "POST",
    "https",
    "gateway.example",
    "/v1/chat/completions",
    (("content-type", "application/json"), ("accept", "text/event-stream")),
    b"x" * 900,
)
KEY = GatewayKey(1, bytes(range(32)))


def rate(call: Callable[[], object], seconds: float, each: int = 1) -> float:
    """Things a second of one core, ``each`` in a call; best of five."""
    call()
    best = 0.0
    for _ in range(5):
        count, began = 0, time.process_time()
        while time.process_time() - began < seconds / 5:
            call()
            count += each
        best = max(best, count / (time.process_time() - began))
    return best


def measure(suite: AEAD, seconds: float) -> None:
    """Print the figures of one suite."""
    message = build_request(QUESTION)
    sealed, client = encapsulate(KEY.configuration, suite, os.urandom(32), message)
    _, gateway = decapsulate({1: KEY}, sealed)
    schedule = gateway._schedule  # noqa: SLF001 - one request is answered many times here
    chunk = bytes(CHUNK_BYTES)

    def answer() -> list[bytes]:
        context = GatewayContext(1, suite, gateway.enc, schedule)
        sealer = context.chunks(os.urandom(nonce_bytes(suite)))
        return [sealer.start(), *[sealer.seal(chunk) for _ in range(CHUNKS - 1)], sealer.finish(chunk)]

    pieces = answer()

    def read() -> None:
        opener = client.chunk_opener()
        for piece in pieces:
            opener.feed(piece)
        opener.finish()

    sends = rate(lambda: encapsulate(KEY.configuration, suite, os.urandom(32), message), seconds)
    opens = rate(lambda: decapsulate({1: KEY}, sealed), seconds)
    whole = rate(lambda: parse_request(decapsulate({1: KEY}, sealed)[0]), seconds)
    seals, reads = rate(answer, seconds, CHUNKS), rate(read, seconds, CHUNKS)
    figure(f"{suite.name}: client encapsulations", sends, "/s", at_least(5_000))
    figure(f"{suite.name}: gateway opens", opens, "/s", at_least(7_000))
    figure(f"{suite.name}: gateway opens, and reads the message", whole, "/s")
    figure(f"{suite.name}: chunks sealed, one after the other", seals, "/s", at_least(300_000))
    figure(f"{suite.name}: chunks opened, as they arrive", reads, "/s", at_least(300_000))
    peer = f"pyhpke, {suite.name}"
    try:
        theirs = peers.run("pyhpke", "peer_pyhpke.py", suite.name, str(len(message)), str(CHUNK_BYTES))
    except peers.MissingError as error:
        no_peer(peer, str(error))
        return
    ratio(f"{peer}: requests sealed", sends, 1e6 / theirs["seal_us"])
    ratio(f"{peer}: requests opened", opens, 1e6 / theirs["open_us"])
    ratio(f"{peer}: chunks sealed", seals, 1e6 / theirs["seal_chunk_us"])
    ratio(f"{peer}: chunks opened", reads, 1e6 / theirs["open_chunk_us"])


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each figure is measured")
    seconds = parser.parse_args().seconds
    for suite in SUITES:
        measure(suite, seconds)


if __name__ == "__main__":
    main()
