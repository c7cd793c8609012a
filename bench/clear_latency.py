"""Evidence to CLEAR: from the moment a round is final to the webhook that tells of each run it settles.

Figure wanted: p99 < 1 s at 200 cases/s, the panel on one core. A process of its own stands in for the gateway: it opens
runs at a steady rate, calls a round final every second, and serves the bundles that a gateway would serve before and
after (made beforehand, each with statements, paths, checkpoint and finality of its own). The same process receives the
webhooks, so one clock measures. The panel is the real one below its pages: follower, desk and webhooks, every commit on
disk. What it does not measure: the chain, and a gateway that has to make its bundles.

``python bench/clear_latency.py --rate N --seconds N``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from aiohttp import web

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.webhooks_sql import SQLWebhookStore
from holdfast.core import canonical, merkle, notes, rounds
from holdfast.core.bundles import build_bundle
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.notes import Checkpoint, VerifierKey
from holdfast.nodes.panel.follower import Follower
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.webhooks import Webhooks
from holdfast.review.desk import Desk
from holdfast.review.webhooks import Limits, parse_hook
from tests.helpers.network import ORIGIN, Network, _item, at
from tests.helpers.review import policy_text, trust

ROUND_S = 1.0
"""Seconds between rounds."""
SECRET = "whsec_" + "b2xkIGtlbHAgaG9sZHMgb24gdG8gdGhlIHJvY2s="


# --- evidence, made beforehand ----------------------------------------------------------------------------------------


class Tree:
    """An RFC 9162 tree whose subtree hashes are worked out once."""

    def __init__(self, leaves: list[bytes]) -> None:
        self._leaves = leaves
        self.hash = lru_cache(maxsize=None)(self._hash)

    def _hash(self, start: int, end: int) -> bytes:
        if end - start == 1:
            return self._leaves[start]
        middle = start + (1 << ((end - start - 1).bit_length() - 1))
        return hashlib.sha256(b"\x01" + self.hash(start, middle) + self.hash(middle, end)).digest()

    def path(self, index: int, size: int, start: int = 0) -> list[bytes]:
        """From leaf ``index`` to the root of the first ``size`` leaves after ``start``."""
        if size == 1:
            return []
        half = 1 << ((size - 1).bit_length() - 1)
        if index < half:
            return [*self.path(index, half, start), self.hash(start + half, start + size)]
        return [*self.path(index - half, size - half, start + half), self.hash(start, start + half)]


@dataclass
class Story:
    """What the gateway serves: by run, its bundle before and after its round. They are exported later than the story
    lasts, so that none looks older than a case that was opened before it."""

    runs: list[str] = field(default_factory=list)
    before: dict[str, bytes] = field(default_factory=dict)
    after: dict[str, bytes] = field(default_factory=dict)
    round_of: dict[str, int] = field(default_factory=dict)


def make_story(per_round: int, count: int) -> Story:
    """So many runs in each of ``count`` rounds."""
    network, story = Network(), Story()
    envelopes: list[bytes] = []
    for number in range(1, count + 1):
        runs = [str(uuid.UUID(int=number * 2**40 + place, version=4)) for place in range(per_round)]
        signed = [_statements(network, run) for run in runs]
        begin = len(envelopes)
        envelopes += [envelope for _, pair in signed for envelope in pair]
        size = len(envelopes)
        tree = Tree([merkle.leaf_hash(envelope) for envelope in envelopes])
        digests = [digest for pair, _ in signed for digest in pair]
        told = [rounds.VerdictEntry(begin + place, bytes.fromhex(item), "ok") for place, item in enumerate(digests)]
        verdicts = Tree([merkle.leaf_hash(entry.leaf) for entry in told])
        roots = {"root": tree.hash(0, size), "verdict_root": verdicts.hash(0, len(told))}
        candidate = network.candidate(
            number=number, size=size, blob_id=hashlib.sha256(b"%d" % number).digest(), **roots
        )
        messages = [node.finality(network.domain, candidate) for node in network.full_nodes]
        final = _item("finality", 3, round=candidate.to_json(), messages=messages)
        checkpoint = _item("checkpoint", 1, note=_cosigned(network, size, roots["root"]))
        for place, (run, (pair, payloads)) in enumerate(zip(runs, signed, strict=True)):
            entries = list(enumerate(pair, begin + 2 * place))
            journal = [_item("note", 0, code="asked"), network.attestation()]
            journal += [_item("statement", 0.5, envelope=canonical.decode(envelope)) for envelope in payloads]
            journal += [_item("entry", 0.7, digest=digest, index=index) for index, digest in entries]
            story.before[run] = build_bundle(run, at(1000), journal)
            journal += [checkpoint, *(_path(digest, index, size, tree) for index, digest in entries), final]
            journal += [_verdict(number, told, verdicts, index - begin) for index, _ in entries]
            story.after[run] = build_bundle(run, at(1001), journal)
            story.round_of[run] = number
        story.runs += runs
    return story


def _statements(network: Network, run: str) -> tuple[list[str], list[bytes]]:
    """Digests and envelopes of a run's route and execution."""
    route = network.route(run=run)
    execution = network.execution(run=run, parents=[sha256_hex(route)])
    return [sha256_hex(route), sha256_hex(execution)], [network.seal(route), network.seal(execution)]


def _cosigned(network: Network, size: int, root: bytes) -> str:
    key = VerifierKey(ORIGIN, notes.ED25519, network.log.key.public)
    note = notes.parse_note(notes.sign_checkpoint(Checkpoint(ORIGIN, size, root), key, network.log.sign))
    return note.with_signatures([node.cosign(note.text, at(1)) for node in network.full_nodes]).raw.decode()


def _path(digest: str, index: int, size: int, tree: Tree) -> dict[str, Any]:
    proof = [item.hex() for item in tree.path(index, size)]
    return _item("inclusion", 1, digest=digest, index=index, size=size, proof=proof)


def _verdict(number: int, told: list[rounds.VerdictEntry], verdicts: Tree, place: int) -> dict[str, Any]:
    entry, size = told[place], len(told)
    proof = [item.hex() for item in verdicts.path(place, size)]
    about = {"index": entry.index, "digest": entry.statement_digest.hex(), "code": entry.code}
    return _item("verdict", 3, number=number, position=place, size=size, proof=proof, **about)


# --- the stand-in -----------------------------------------------------------------------------------------------------


class Gateway:
    """Opens runs at a rate, ends a round a second, and hears of what was let through."""

    def __init__(self, story: Story, rate: int) -> None:
        self._story = story
        self._rate = rate
        self._began = 0.0
        self._asked = asyncio.Event()
        self._all_heard = asyncio.Event()
        self._final_at: dict[int, float] = {}
        self.heard: dict[str, float] = {}
        self.asked = 0

    async def openings(self, request: web.Request) -> web.Response:
        """Runs opened so far, and the newest final round."""
        after = int(request.query["after"])
        self._began = self._began or time.monotonic()
        self._asked.set()
        opened = min(len(self._story.runs), int((time.monotonic() - self._began) * self._rate))
        end = max(after, min(opened, after + int(request.query["limit"])))
        fixed = {"queue": "default", "requester": None, "outcome": "complete"}
        fixed |= {"opened_at": time_encode(at(0)), "closed_at": time_encode(at(0.5))}
        listed = [{"position": place, "run": self._story.runs[place], **fixed} for place in range(after, end)]
        newest = max(self._final_at, default=0)
        return web.json_response({"openings": listed, "end": end, "round": newest, "superseded": 0})

    async def bundle(self, request: web.Request) -> web.Response:
        """A run's evidence as of now."""
        run = request.match_info["run"]
        self.asked += 1
        final = self._story.round_of[run] in self._final_at
        return web.Response(body=self._story.after[run] if final else self._story.before[run])

    async def hook(self, request: web.Request) -> web.Response:
        """A webhook."""
        told = json.loads(await request.read())
        if told["state"] == "CLEAR":
            self.heard.setdefault(told["run"], time.monotonic())
        if len(self.heard) == len(self._story.runs):
            self._all_heard.set()
        return web.Response(status=204)

    async def play(self, count: int) -> list[float]:
        """End each round half a second after its last run was opened; returns seconds by run, sorted."""
        await self._asked.wait()
        for number in range(1, count + 1):
            await asyncio.sleep(max(0.0, self._began + number * ROUND_S + 0.5 - time.monotonic()))
            self._final_at[number] = time.monotonic()
        until = time.monotonic() + 60
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._all_heard.wait(), 60)
        told = self._story.round_of.items()
        return sorted(self.heard.get(run, until) - self._final_at[number] for run, number in told)


def serve(rate: int, seconds: int, pipe: Connection) -> None:
    """The stand-in's process."""
    _pin(1)
    story = make_story(int(rate * ROUND_S), int(seconds / ROUND_S))

    async def main() -> None:
        gateway = Gateway(story, rate)
        app = web.Application()
        app.router.add_get("/v1/openings", gateway.openings)
        app.router.add_get("/v1/runs/{run}/bundle", gateway.bundle)
        app.router.add_post("/hook", gateway.hook)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        pipe.send((await gateway.play(int(seconds / ROUND_S)), gateway.asked))
        await runner.cleanup()

    asyncio.run(main())


# --- the panel --------------------------------------------------------------------------------------------------------


class ThenClock(SystemClock):
    """The machine's clock, as if the story were now: the story's times stand still, and this does not."""

    def __init__(self) -> None:
        self._shift = at(5) - super().now()

    def now(self) -> Any:
        """The story's time."""
        return super().now() + self._shift


async def nobody(_: int) -> None:
    """There are no full nodes to ask."""


async def panel(folder: Path, port: int, pipe: Connection) -> tuple[list[float], int, float]:
    """Run the panel until the stand-in is done: its latencies, bundles asked for, and this process's CPU seconds."""
    clock, metrics, http = ThenClock(), MemoryMetrics(), AiohttpHTTP(max_connections=64)
    queues = folder / "queues"
    queues.mkdir()
    (queues / "default.toml").write_text(policy_text(max_age_s=86_400))
    store, storage = SQLCaseStore(f"sqlite:///{folder / 'cases.sqlite'}"), FileStorage(folder / "panel")
    review = Review(Desk(store, clock, trust), store, storage, queues, clock, metrics)
    url = f"http://127.0.0.1:{port}"
    follower = Follower(
        review, http, url, None, clock, storage, poll_s=0.25, pending_s=2.0, at_once=32, verdicts=nobody
    )
    hook = parse_hook("default", f"{url}/hook", SECRET, ["CLEAR", "RECALLED"])
    hooks = SQLWebhookStore(f"sqlite:///{folder / 'webhooks.sqlite'}")
    webhooks = Webhooks(review, store, hooks, [hook], http, clock, Limits(), lambda: 0.5)
    for name, work in {"openings": follower.pull, "bundles": follower.fetch, "webhooks": webhooks.run}.items():
        review.add_task(name, work)
    review.at_end(webhooks.close)
    review.at_end(http.close)
    async with review.running():
        began = time.process_time()
        latencies, asked = await asyncio.to_thread(pipe.recv)
        return latencies, asked, time.process_time() - began


def _pin(core: int) -> None:
    """Stay on one core, where the machine has another for the other process."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[core]})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, default=200, help="cases a second")
    parser.add_argument("--seconds", type=int, default=15)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=serve, args=(options.rate, options.seconds, theirs))
    child.start()
    try:
        port = ours.recv()
        _pin(0)
        with tempfile.TemporaryDirectory(prefix="hf-clear-") as folder:
            latencies, asked, worked = asyncio.run(panel(Path(folder), port, ours))
    finally:
        child.terminate()
        child.join()
    count = len(latencies)
    p50, p99 = latencies[count // 2], latencies[min(count - 1, count * 99 // 100)]
    print(f"{count} cases at {options.rate}/s, {asked / count:.1f} bundles fetched for each")
    print(f"round final to webhook received, median          {p50:8.2f} s")
    print(
        f"the same, 99 of 100                              {p99:8.2f} s   wanted < 1: {'met' if p99 < 1 else 'missed'}"
    )
    print(f"the panel's own work for each case               {worked / count * 1000:8.2f} ms of one core")


if __name__ == "__main__":
    main()
