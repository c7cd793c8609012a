"""Memory: keeping a row, finding rows, and finding the right ones, against Mem0's local mode.

Both sides get the same rows and the same vectors in the same run. Figures wanted: a search among 100,000 rows of one
owner in at most 10 ms, half of the time. Quality is measured on conversations that a script makes
(``memory_conversations.py``): every question names the turns that answer it, so nobody judges. It is printed for the
seed that was looked at while weights were chosen and for one that was held out; what counts is the second.

* *keeping* is one row, from the call until it is durable: ours is sealed and in its owner's history, theirs is in
  Qdrant's folder and in a history of its own. Making vectors is left out on both sides.
* *finding* is a search for ten rows. Ours orders by words, vectors, time and standing; *signed* is a whole recall:
  search, choice, document, signature, and the note on each row that it was used, durable.
* *found* are the questions of which every answering turn is among the first k; *junk* is how much of the first five
  answers nothing; *stale* is how often a turn that a newer one corrects is among the first five. Mem0 takes the turns
  as they are (``infer=False``): with a language model it may merge what contradicts, which is not measured here.

Mem0's own store is filled through its batch insert, past ``Memory.add``, which takes one row at a time; where that
takes longer than :data:`BULK_S` its searches are measured over what it has by then, and the line says so.

``python bench/memory.py [--rows 1000 10000 100000] [--probes 200] [--quality-only]``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import figures
import memory_conversations
import numpy as np
import peers

from holdfast.core.encoding import sha256_hex
from holdfast.core.parts import pseudo_random_key
from holdfast.core.recall_orders import RecallOrder
from holdfast.core.recalls import recall_key
from holdfast.core.retrieval.index import Entry, RowIndex
from holdfast.core.retrieval.ranking import Facts, choose
from holdfast.core.retrieval.search import find_rows
from tests.helpers.memory import RUNS, MemoryWorld

DIMENSIONS, MOST = 384, 10
SEEN, HELD_OUT = 2, 41
"""Seeds of conversations: the one was looked at while weights were chosen, the other came later and is only told."""
KEY = recall_key(pseudo_random_key(RUNS[0], bytes(32)))
PEER_S = 1200
BULK_S, SEARCHES_S = 420, 240
"""How long Mem0 may take to fill its store, and for all of its searches; what it came to by then is told."""
KINDS = ("single", "temporal", "hop", "update")


class Given:
    """An embedder that looks vectors up, so that both sides have the same."""

    def __init__(self, table: dict[str, np.ndarray]) -> None:
        self.table = table
        self.model = "77" * 32
        self.share = 600_000

    async def embed(self, texts: Sequence[str]) -> list[Any]:
        return [self.table[text] for text in texts]

    async def close(self) -> None:
        """Nothing is held."""


def synthetic(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Texts of a dozen words, by Zipf's law, and vectors that lie in clusters as those of sentences do."""
    chance = np.random.default_rng(seed)
    share = 1 / np.arange(1, 20_001)
    words = chance.choice(20_000, (count, 12), p=share / share.sum())
    texts = [f"{' '.join(f'w{word}' for word in row)} r{seed}x{number}" for number, row in enumerate(words)]
    basis = chance.standard_normal((64, DIMENSIONS), np.float32) * np.linspace(3, 0.3, 64, dtype=np.float32)[:, None]
    vectors = chance.standard_normal((count, 64), np.float32) @ basis
    return texts, vectors + 0.3 * chance.standard_normal((count, DIMENSIONS), np.float32)


def timed(
    call: Callable[[Any], Any], given: Sequence[Any], clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """How long each call takes by a clock, seconds."""
    found = []
    for item in given:
        began = clock()
        call(item)
        found.append(clock() - began)
    return found


def middle(values: Sequence[float], share: float) -> float:
    """A quantile, in milliseconds."""
    return float(np.quantile(values, share)) * 1000


async def ours(rows: int, probes: int) -> dict[str, list[float]]:
    """Keep and find with a memory node of our own: SQLite on disk, sealed."""
    texts, vectors = synthetic(rows + probes, rows)
    table = dict(zip(texts, vectors, strict=True))
    asked = texts[:: max(1, rows // probes)][:probes]
    questions = [" ".join(text.split()[:6]) for text in asked]
    table |= {question: table[text] + 0.2 for question, text in zip(questions, asked, strict=True)}
    found: dict[str, list[float]] = {"add": [], "recall": []}
    with tempfile.TemporaryDirectory() as folder:
        world = MemoryWorld(Path(folder), rows_per_user=2 * (rows + probes))
        world.embedder.__class__ = Given  # type: ignore[assignment]
        world.embedder.__init__(table)  # type: ignore[misc]
        user = await world.user()
        principal = await world.service.open(user.key, None)
        for start in range(0, rows, 5000):
            part = texts[start : min(start + 5000, rows)]
            print(f"  holdfast: {start + len(part):,} of {rows:,} rows", end="\r", flush=True)
            await world.vaults.change(principal, lambda draft, part=part: [_row(draft, text) for text in part] and None)
        print()
        order = RecallOrder(RUNS[0], user.id, questions[0], KEY, coarse=False, nonce=None, parent_run=None)
        await world.recalls.recall(principal, order)
        vault = await world.service.vault(principal)
        index = vault.index
        assert index is not None
        known = {row.id: Facts("earned", row.created.timestamp(), row.claim) for row in vault.rows.values()}
        now = world.clock.now()
        found["search"] = timed(lambda text: find_rows(index, known.get, text, table[text], at=now), questions)
        found["processor"] = timed(
            lambda text: find_rows(index, known.get, text, table[text], at=now), questions, time.process_time
        )
        found["exact"] = [_nearest_found(index, table[text]) for text in questions[:50]]
        for text in questions[: probes // 4]:
            began = time.perf_counter()
            await world.recalls.recall(principal, RecallOrder(RUNS[1], user.id, text, KEY, False, None, None))
            found["recall"].append(time.perf_counter() - began)
        for text in texts[rows:]:
            began = time.perf_counter()
            row = await world.service.write(principal, text, {"categories": ()})
            index.add([Entry(row.id, row.digest, row.claim)], table[text][np.newaxis])
            found["add"].append(time.perf_counter() - began)
        world.close()
    return found


def _row(draft: Any, text: str) -> None:
    from holdfast.core.memory import Source  # noqa: PLC0415 - beside its one use

    draft.add(text, writer="user_said", sources=[Source("owner", None, "user_said")])


def _nearest_found(index: RowIndex, vector: np.ndarray) -> float:
    """How many of the ten nearest rows a search looks at, as a share."""
    unit = vector / np.linalg.norm(vector)
    cosines = index._vectors[: len(index)] @ unit  # noqa: SLF001 - what is true, to compare with
    true = {index._ids[slot] for slot in np.argsort(-cosines)[:10]}  # noqa: SLF001
    best = sorted(index.search("", vector), key=lambda hit: -hit.vector)[:10]
    return len(true & {hit.id for hit in best}) / 10


def theirs(task: dict[str, Any], vectors: np.ndarray) -> dict[str, Any]:
    """The same with Mem0, in its own environment. Raises :class:`peers.MissingError`."""
    python = peers.python_of("mem0ai")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "task.json").write_text(json.dumps(task), "utf-8")
        np.save(Path(folder, "vectors.npy"), vectors)
        script = str(Path(__file__).parent / "apart" / "mem0_peer.py")
        try:
            subprocess.run([str(python), script, folder], check=True, capture_output=True, timeout=PEER_S)
        except subprocess.TimeoutExpired as error:
            raise peers.MissingError(f"it took longer than {PEER_S} s") from error
        except subprocess.CalledProcessError as error:
            raise peers.MissingError(f"it failed: {error.stderr.decode(errors='replace')[-400:]}") from error
        found: dict[str, Any] = json.loads(Path(folder, "answer.json").read_text("utf-8"))
        return found


def speed(rows: int, probes: int) -> None:
    """One size: both sides, one after the other."""
    print(f"\n{rows:,} rows of one owner, {DIMENSIONS} dimensions, {probes} probes", flush=True)
    found = asyncio.run(ours(rows, probes))
    wanted = figures.at_most(10) if rows == 100_000 else None
    for name, what in (("add", "keep a row"), ("search", "find rows"), ("recall", "find, sign and note")):
        figures.figure(f"holdfast: {what}, p50", middle(found[name], 0.5), "ms", wanted if name == "search" else None)
        figures.figure(f"holdfast: {what}, p99", middle(found[name], 0.99), "ms")
    figures.figure("holdfast: find rows, processor time, p50", middle(found["processor"], 0.5), "ms")
    figures.figure("holdfast: of the ten nearest vectors, looked at", float(np.mean(found["exact"])), "")
    texts, vectors = synthetic(rows + probes, rows)
    asked = texts[:: max(1, rows // probes)][:probes]
    questions = [" ".join(text.split()[:6]) for text in asked]
    more = np.array([vectors[texts.index(text)] + 0.2 for text in asked])
    task = {
        "texts": [*texts, *questions],
        "bulk": texts[:rows],
        "adds": texts[rows:],
        "questions": questions,
        "most": MOST,
        "bulk_s": BULK_S,
        "searches_s": SEARCHES_S,
    }
    try:
        peer = theirs(task, np.concatenate([vectors, more]))
    except peers.MissingError as missing:
        figures.no_peer("Mem0", str(missing))
        return
    came = f"{peer['bulk']:,} of {rows:,} rows in {peer['bulk_s']:.0f} s"
    short = "" if peer["bulk"] == rows else f"; NOT THE SAME SIZE: measured over {peer['bulk']:,} rows"
    searched = f"; {len(peer['searches'])} of {len(questions)} searches"
    print(f"  Mem0: its batch insert came to {came}{searched}{short}", flush=True)
    for name, key, what in (("add", "adds", "keep a row"), ("search", "searches", "find rows")):
        for share in (0.5, 0.99):
            mine, other = middle(found[name], share), middle(peer[key], share)
            figures.figure(f"Mem0: {what}, p{share * 100:.0f}", other, "ms")
            figures.ratio(f"Mem0, {what}, p{share * 100:.0f}", 1 / mine, 1 / other)


def quality(seed: int) -> None:
    """Who finds the right rows, on the conversations of a seed."""
    made = memory_conversations.make(seed)
    texts = sorted({turn.text for turn in made.turns} | {question.text for question in made.questions})
    print(f"\nconversations of seed {seed}, {'looked at before' if seed == SEEN else 'held out'}:", flush=True)
    print(f"{len(made.turns)} turns, of them {len(made.junk)} small talk; {len(made.questions)} questions", flush=True)
    try:
        vectors = _minilm(texts)
    except peers.MissingError as missing:
        figures.no_peer("all-MiniLM-L6-v2, and with it Mem0", str(missing))
        return
    table = dict(zip(texts, vectors, strict=True))
    places = {turn.id: f"mem_{turn.id:032x}" for turn in made.turns}
    index = RowIndex("88" * 32, vectors.shape[1])
    entries = [Entry(places[turn.id], sha256_hex(turn.text.encode()), turn.text) for turn in made.turns]
    index.add(entries, np.array([table[turn.text] for turn in made.turns]))
    gone = set(made.corrected.values())
    as_said = {places[turn.id]: Facts("earned", turn.at.timestamp(), turn.text) for turn in made.turns}
    as_corrected = {
        places[turn.id]: Facts("withdrawn" if turn.id in gone else "earned", turn.at.timestamp(), turn.text)
        for turn in made.turns
    }

    def ranked(text: str, known: dict[str, Facts]) -> list[int]:
        found = find_rows(index, known.get, text, table[text], at=made.end)
        return [int(row.id[4:], 16) for _, row in choose(found, most=MOST, most_bytes=1 << 18).rows]

    mine = [ranked(question.text, as_said) for question in made.questions]
    _tell("holdfast", made, mine)
    corrected = [ranked(question.text, as_corrected) for question in made.questions]
    _tell("holdfast, owner corrected", made, corrected, only=("update",))
    task = {
        "texts": texts,
        "bulk": [],
        "adds": [turn.text for turn in made.turns],
        "questions": [question.text for question in made.questions],
        "most": MOST,
        "bulk_s": BULK_S,
        "searches_s": PEER_S,
    }
    try:
        peer = theirs(task, vectors)
    except peers.MissingError as missing:
        figures.no_peer("Mem0", str(missing))
        return
    by_text: dict[str, int] = {turn.text: turn.id for turn in made.turns}
    others = [[by_text[text] for text in found] for found in peer["found"]]
    _tell("Mem0", made, others)
    for k in (5, 10):
        wanted = figures.at_least(1) if k == 10 else None
        figures.ratio(f"Mem0, found among {k}", _found(made, mine, k), _found(made, others, k), wanted)
        ratio = _evidence(made, mine, k), _evidence(made, others, k)
        figures.ratio(f"Mem0, evidence among {k}", *ratio, figures.at_least(1) if k == 10 else None)


def _minilm(texts: list[str]) -> np.ndarray:
    python = peers.python_of("mem0ai")
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "texts.json"), Path(folder, "vectors.npy")
        given.write_text(json.dumps(texts), "utf-8")
        script = str(Path(__file__).parent / "apart" / "minilm_vectors.py")
        try:
            subprocess.run([str(python), script, str(given), str(made)], check=True, capture_output=True, timeout=600)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise peers.MissingError(f"no vectors: {error}") from error
        found: np.ndarray = np.load(made)
        return found


def _found(made: memory_conversations.Conversations, ranked: list[list[int]], k: int, kind: str = "") -> float:
    asked = [
        set(question.gold) <= set(row[:k])
        for question, row in zip(made.questions, ranked, strict=True)
        if kind in ("", question.kind)
    ]
    return sum(asked) / len(asked)


def _evidence(made: memory_conversations.Conversations, ranked: list[list[int]], k: int) -> float:
    """Recall at k: which share of the answering turns is among the first k, question by question."""
    shares = [
        len(set(question.gold) & set(row[:k])) / len(set(question.gold))
        for question, row in zip(made.questions, ranked, strict=True)
    ]
    return sum(shares) / len(shares)


def _tell(
    who: str, made: memory_conversations.Conversations, ranked: list[list[int]], only: Sequence[str] = KINDS
) -> None:
    for kind in (*only, *(("",) if only == KINDS else ())):
        for k in (5, 10):
            figures.figure(f"{who}: {kind or 'all'} found among {k}", _found(made, ranked, k, kind), "")
    shown = [turn for row in ranked for turn in row[:5]]
    stale = [
        bool(set(question.stale) & set(row[:5]))
        for question, row in zip(made.questions, ranked, strict=True)
        if question.stale
    ]
    if only == KINDS:
        for k in (5, 10):
            figures.figure(f"{who}: evidence among {k}, recall", _evidence(made, ranked, k), "")
        figures.figure(f"{who}: junk among the first five", sum(turn in made.junk for turn in shown) / len(shown), "")
    wanted = None if only == KINDS else figures.at_most(0)
    changed = f"{who}: stale among the first five, where something changed"
    figures.figure(changed, sum(stale) / len(stale), "", wanted)


def main() -> None:
    """Quality, then each size."""
    parser = argparse.ArgumentParser(description="memory against Mem0")
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--quality-only", action="store_true")
    chosen = parser.parse_args()
    for seed in (SEEN, HELD_OUT):
        quality(seed)
    for rows in [] if chosen.quality_only else chosen.rows:
        speed(rows, chosen.probes)


if __name__ == "__main__":
    main()
