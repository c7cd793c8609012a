"""How many statements a second one core of a full node takes in, and what each costs in memory.

Run: ``python bench/full_node.py [runs]`` (two statements a run). Prints, each per core:

* checking alone (``verifier.checks`` on parsed entries, with history),
* the whole way: entries from a log in memory, tree, check, ledger, journal on disk with fdatasync,
* the longest time the event loop was held,
* starting again: reading the journal back,
* proposing and judging a round over all of it,
* memory per statement.

Wanted: the whole way at no less than 2,000 statements a second. Peer in the same run: securesystemslib, which reads an
envelope and checks its signature; a full node also checks who may say it, what it says, and that it fits its run.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import peers  # beside this file
from figures import at_least, figure, no_peer, ratio

from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.core import merkle, rounds
from holdfast.core.merkle import leaf_hash
from holdfast.core.statements import parse_envelope
from holdfast.core.trust import Trust, parse_trust_chain, verify_trust
from holdfast.nodes.full.decide import NOTHING_SETTLED, build_proposal
from holdfast.nodes.full.follow import Follower
from holdfast.nodes.full.journal import Journal
from holdfast.nodes.full.ledger import Ledger, row
from holdfast.verifier.checks import CheckPolicy, check_entry
from tests.helpers.full_network import ORIGIN, FakeClock, Gateway, Network, SimulatedLog

PER_CORE = "/s/core"


def make_log(network: Network, runs: int) -> SimulatedLog:
    gateway, log = Gateway(FakeClock()), SimulatedLog(network.log_signer)
    for number in range(runs):
        log.append(gateway.run(number))
    return log


async def longest_hold(done: asyncio.Event) -> float:
    """The longest the loop let another task wait, in seconds."""
    longest, before = 0.0, time.perf_counter()
    while not done.is_set():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    return longest


async def take_in(network: Network, log: SimulatedLog, trust: Trust, folder: Path) -> tuple[float, float, Journal]:
    storage = FileStorage(folder)
    wal = WriteAheadLog(storage, "journal")
    committer = GroupCommit(wal)
    journal = Journal([ORIGIN], committer, network.seats[0].vote)
    journal.replay(wal.records())
    follower = Follower(ORIGIN, log=log, journal=journal, clock=network.clock, trust=lambda: trust)
    done = asyncio.Event()
    watcher = asyncio.create_task(longest_hold(done))
    log_note = log.note()

    async def checkpoint() -> bytes:
        return log_note

    log.checkpoint = checkpoint  # type: ignore[method-assign]
    trees = [log.leaves()]

    async def hashes(ranges: list[tuple[int, int]], _: int) -> list[bytes]:
        return [merkle.root(trees[0][begin:end]) for begin, end in ranges]

    log.hashes = hashes  # type: ignore[method-assign,assignment]
    started = time.process_time()
    while await follower.step():
        pass
    seconds = time.process_time() - started
    done.set()
    if follower.problem:
        raise SystemExit(follower.problem)
    hold = await watcher
    await committer.close()
    return seconds, hold, journal


def check_alone(log: SimulatedLog, trust: Trust, network: Network) -> float:
    ledger = Ledger(ORIGIN)
    policy = CheckPolicy()
    now = network.clock.now()
    entries = log.entries_held
    seconds = 0.0
    for index, entry in enumerate(entries):
        started = time.process_time()
        found = check_entry(entry, index=index, seen_at=now, trust=trust, policy=policy, history=ledger)
        seconds += time.process_time() - started
        if found.code != "ok":
            raise SystemExit(found.code)
        ledger.append(row(leaf_hash(entry), found, (), 0))
    return seconds


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    network = Network()
    trust = verify_trust(parse_trust_chain(network.trust_file()))
    log = make_log(network, runs)
    count = len(log.entries_held)
    alone = check_alone(log, trust, network)
    figure("statements checked, alone", count / alone, PER_CORE)
    with tempfile.TemporaryDirectory() as folder:
        seconds, hold, journal = asyncio.run(take_in(network, log, trust, Path(folder)))
        rate = count / seconds
        figure("statements taken in, the whole way", rate, PER_CORE, at_least(2_000))
        figure("longest hold of the loop", hold * 1000, "ms")
        started = time.process_time()
        again = Journal(
            [ORIGIN], GroupCommit(WriteAheadLog(FileStorage(Path(folder)), "journal")), network.seats[0].vote
        )
        again.replay(WriteAheadLog(FileStorage(Path(folder)), "journal").records())
        figure("statements read back when starting again", count / (time.process_time() - started), PER_CORE)
    peer = "securesystemslib, DSSE: envelopes checked"
    try:
        size = len(parse_envelope(log.entries_held[0]).payload)
        peer_us = peers.run("securesystemslib", "peer_dsse.py", str(size))
    except peers.MissingError as error:
        no_peer(peer, str(error))
    else:
        ratio(f"{peer} (checking alone)", count / alone, 1e6 / peer_us["check_us"])
        ratio(f"{peer} (the whole way)", rate, 1e6 / peer_us["check_us"])
    ledger = journal.origins[ORIGIN].ledger
    started = time.process_time()
    size = min(4096, ledger.size)
    proposal = build_proposal(ledger, NOTHING_SETTLED, origin=ORIGIN, epoch=1, attempt=0, size=size)
    building = time.process_time() - started
    if proposal is None:
        raise SystemExit("nothing to propose")
    started = time.process_time()
    rounds.verify_verdicts(proposal.candidate, 0, proposal.blob)
    judging = time.process_time() - started
    figure(f"building a round of {size:,} entries", building * 1000, "ms")
    figure(f"reading a round of {size:,} entries", judging * 1000, "ms")
    tracemalloc.start()
    small = Ledger(ORIGIN)
    before = tracemalloc.get_traced_memory()[0]
    now = network.clock.now()
    for index, entry in enumerate(log.entries_held):
        found = check_entry(entry, index=index, seen_at=now, trust=trust, policy=CheckPolicy(), history=small)
        small.append(row(leaf_hash(entry), found, (), 0))
    small.adopt((), small.size)
    used = tracemalloc.get_traced_memory()[0] - before
    figure("memory of a statement whose round is final", used / count, "bytes")


if __name__ == "__main__":
    main()
