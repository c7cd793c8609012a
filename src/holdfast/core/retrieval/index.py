"""An index over one owner's rows: words (BM25) and vectors, together (``spec/recall.md`` §2).

It is made of what is unlocked and lives in memory alone; :meth:`RowIndex.close` drops it. Rows come and go one by one,
and what a search finds does not depend on the order in which they did. Its *version* names the model of its vectors and
exactly the rows that are in it.

Small sets are searched with every vector. In large ones the nearest by the signs of random projections (Charikar 2002)
are looked at with their whole vectors; how many of the true nearest that finds is measured in ``bench/memory.py``.

Not covered: making vectors (``ports.embedder``), standing and time (``ranking``), and keeping anything on disk.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.core.encoding import hex_decode
from holdfast.core.retrieval.words import words_of
from holdfast.errors import UsageError

VERSION_DOMAIN = b"urn:holdfast:row-index:v1\x00"
"""What the preimage of an index version begins with (``recall.md`` §2(2))."""
K1, B = 1.2, 0.75
"""BM25's saturation of a word's count and its share of a text's length (Robertson and Zaragoza 2009, §3)."""
EXACT_ELEMENTS = 1_000_000
"""So many numbers of vectors are multiplied in half a millisecond; more are sketched first."""
SKETCH_WORDS = 8
"""64-bit words of a sketch: 512 signs."""
SKETCHED = 1024
"""Rows whose whole vectors are looked at after the sketch."""
CANDIDATES = 100
"""Rows that each of the two ways puts forward."""
MOST_NAMED = 2000
"""A word that more rows have names none of them."""
_BUCKETS = 256
_Floats = NDArray[np.float32]
_Slots = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Entry:
    """A row as the index takes it: its id, the digest (hex) of what it says, and its text."""

    id: str
    digest: str
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that a search found. Scores are from 0 to 1."""

    id: str
    vector: float
    """Cosine of its vector and the question's; 0 where it points away."""
    words: float
    """Its BM25 score as a share of what each of the question's words, once in a text of usual length, would give; at
    most 1."""


class RowIndex:
    """Rows in memory. Not for use by several threads at once."""

    def __init__(self, model: str, dimensions: int) -> None:
        """``model`` is the digest (hex) of what makes the vectors, ``dimensions`` how long they are."""
        self.model = hex_decode(model, 32).hex()
        self.dimensions = dimensions
        self._planes: _Floats | None = None
        self._begin()

    def _begin(self) -> None:
        """No rows."""
        self._slots: dict[str, int] = {}
        self._ids: list[str] = []
        self._leaves: list[bytes] = []
        self._lengths = array("f")
        self._alive = np.zeros(0, bool)
        self._vectors: _Floats = np.zeros((0, self.dimensions), np.float32)
        self._sketches: NDArray[np.uint64] = np.zeros((SKETCH_WORDS, 0), np.uint64)
        self._words: dict[str, tuple[array[int], array[float]]] = {}
        self._total_length = 0.0
        self._buckets: list[set[bytes]] = [set() for _ in range(_BUCKETS)]
        self._bucket_digests: list[bytes | None] = [None] * _BUCKETS
        self._version: str | None = None

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, row: object) -> bool:
        return row in self._slots

    @property
    def version(self) -> str:
        """The digest (hex) of the model and the set of rows (``recall.md`` §2(2))."""
        if self._version is None:
            for number, bucket in enumerate(self._buckets):
                if self._bucket_digests[number] is None:
                    self._bucket_digests[number] = hashlib.sha256(b"".join(sorted(bucket))).digest()
            digests = b"".join(item for item in self._bucket_digests if item is not None)
            self._version = hashlib.sha256(VERSION_DOMAIN + bytes.fromhex(self.model) + digests).hexdigest()
        return self._version

    # Rows

    def add(self, entries: Sequence[Entry], vectors: Any) -> None:
        """Take rows in; one that is there already is replaced. ``vectors`` has a row for each (floats, any length);
        raises ``recall.vector`` where it has another shape or holds what is no number."""
        given: _Floats = np.asarray(vectors, np.float32)
        if given.shape != (len(entries), self.dimensions) or not np.isfinite(given).all():
            raise UsageError("recall.vector", f"each row has a vector of {self.dimensions} finite numbers")
        last = {entry.id: place for place, entry in enumerate(entries)}
        kept = [place for place, entry in enumerate(entries) if last[entry.id] == place]
        self.remove(entry.id for entry in entries)
        self._reserve(len(self._ids) + len(kept))
        start = len(self._ids)
        for place in kept:
            self._take(entries[place])
        sizes = np.linalg.norm(given[kept], axis=1, keepdims=True)
        units: _Floats = np.asarray(given[kept] / np.where(sizes > 0, sizes, 1), np.float32)
        self._vectors[start : start + len(kept)] = units
        if self._planes is not None:
            self._sketches[:, start : start + len(kept)] = self._sketch(units)

    def _take(self, entry: Entry) -> None:
        slot = len(self._ids)
        counts = Counter(words_of(entry.text))
        for word, count in counts.items():
            slots, often = self._words.setdefault(word, (array("q"), array("f")))
            slots.append(slot)
            often.append(count)
        length = float(counts.total())
        leaf = hashlib.sha256(entry.id.encode() + b"\x00" + hex_decode(entry.digest, 32)).digest()
        self._slots[entry.id] = slot
        self._ids.append(entry.id)
        self._leaves.append(leaf)
        self._lengths.append(length)
        self._alive[slot] = True
        self._total_length += length
        self._buckets[leaf[0]].add(leaf)
        self._changed(leaf)

    def remove(self, rows: Iterable[str]) -> None:
        """Let rows go; those that are not there are passed over."""
        for row in rows:
            slot = self._slots.pop(row, None)
            if slot is None:
                continue
            leaf = self._leaves[slot]
            self._alive[slot] = False
            self._vectors[slot] = 0
            self._total_length -= self._lengths[slot]
            self._buckets[leaf[0]].discard(leaf)
            self._changed(leaf)
        if len(self._ids) > 1024 and len(self._slots) * 2 < len(self._ids):
            self._compact()

    def _changed(self, leaf: bytes) -> None:
        self._bucket_digests[leaf[0]] = None
        self._version = None

    def _reserve(self, count: int) -> None:
        room = len(self._alive)
        if count <= room:
            return
        more = max(count, 2 * room, 64) - room
        self._alive = np.concatenate([self._alive, np.zeros(more, bool)])
        self._vectors = np.concatenate([self._vectors, np.zeros((more, self.dimensions), np.float32)])
        self._sketches = np.concatenate([self._sketches, np.zeros((SKETCH_WORDS, more), np.uint64)], axis=1)

    def _compact(self) -> None:
        """Give up the places of rows that are gone."""
        old = np.flatnonzero(self._alive[: len(self._ids)])
        place = np.full(len(self._ids), -1)
        place[old] = np.arange(len(old))
        for word, (slots, often) in list(self._words.items()):
            moved, counts = place[np.asarray(slots)], np.asarray(often)
            kept = moved >= 0
            if kept.any():
                self._words[word] = (array("q", moved[kept].tolist()), array("f", counts[kept].tolist()))
            else:
                del self._words[word]
        self._ids = [self._ids[slot] for slot in old]
        self._leaves = [self._leaves[slot] for slot in old]
        self._lengths = array("f", [self._lengths[slot] for slot in old])
        self._slots = {row: slot for slot, row in enumerate(self._ids)}
        self._vectors, self._sketches = self._vectors[old], self._sketches[:, old]
        self._alive = np.ones(len(old), bool)

    def close(self) -> None:
        """Drop everything that rows said."""
        self._vectors[:] = 0
        self._begin()

    # Search

    def search(self, question: str, vector: Any, *, most: int = CANDIDATES) -> list[Hit]:
        """Rows that a question may be about, by words or by vector, at most twice ``most``; in no order that means
        anything. Raises ``recall.vector``."""
        wanted: _Floats = np.asarray(vector, np.float32)
        if wanted.shape != (self.dimensions,) or not np.isfinite(wanted).all():
            raise UsageError("recall.vector", f"a question has a vector of {self.dimensions} finite numbers")
        if not self._slots:
            return []
        by_words = self._by_words(words_of(question))
        size = float(np.linalg.norm(wanted))
        near = self._nearest(wanted / size, most) if size > 0 else np.zeros(0, np.int64)
        said = np.flatnonzero(by_words)
        slots = np.union1d(near, said[_largest(by_words[said], most)])
        return self._hits(slots, wanted, by_words[slots])

    def search_naming(self, named: Sequence[str], words: Sequence[str], vector: Any, *, most: int) -> list[Hit]:
        """Rows that have one of the words ``named`` at least, by these and ``words`` (both as :func:`words_of` gives
        them), at most ``most``; how near they are is told too. Words that many rows have name nothing."""
        postings = [np.frombuffer(self._words[word][0], np.int64) for word in named if word in self._words]
        rare = [slots for slots in postings if len(slots) <= MOST_NAMED]
        if not rare:
            return []
        slots = np.unique(np.concatenate(rare))
        scores = self._by_words([*named, *words], slots)
        best = _largest(scores, most)
        return self._hits(slots[best], np.asarray(vector, np.float32), scores[best])

    def _hits(self, slots: _Slots, wanted: _Floats, by_words: _Floats) -> list[Hit]:
        cosines = np.clip(_products(self._vectors[slots], wanted / (np.linalg.norm(wanted) or 1)), 0, 1)
        found = zip(slots.tolist(), cosines.tolist(), by_words.tolist(), strict=True)
        return [Hit(self._ids[slot], cosine, score) for slot, cosine, score in found if self._alive[slot]]

    def rarity(self, word: str) -> float:
        """BM25's weight of a word, as :func:`words_of` gives it: how rare it is among the rows; 0 where none has it."""
        posting = self._words.get(word)
        return 0.0 if posting is None else self._rarity(self._having(posting[0]))

    def _having(self, slots: array[int]) -> int:
        return int(np.count_nonzero(self._alive[np.frombuffer(slots, np.int64)]))

    def _rarity(self, having: int) -> float:
        return math.log(1 + (len(self._slots) - having + 0.5) / (having + 0.5))

    def _by_words(self, words: Iterable[str], among: _Slots | None = None) -> _Floats:
        """The words' score (:attr:`Hit.words`) of every place, or of those ``among`` which it is asked, ascending."""
        count = len(self._ids)
        scores: _Floats = np.zeros(count if among is None else len(among), np.float32)
        lengths = np.frombuffer(self._lengths, np.float32) if count else scores
        average = self._total_length / max(1, len(self._slots)) or 1.0
        most = 0.0
        for word in sorted(set(words)):
            posting = self._words.get(word)
            if posting is None:
                most += self._rarity(0)
                continue
            slots: _Slots = np.frombuffer(posting[0], np.int64)
            often: _Floats = np.frombuffer(posting[1], np.float32)
            rare = self._rarity(self._having(posting[0]))
            most += rare
            places = slots
            if among is not None:  # places in a posting ascend
                at = np.minimum(np.searchsorted(slots, among), len(slots) - 1)
                places = np.flatnonzero(slots[at] == among)
                slots, often = among[places], often[at[places]]
            full = np.float32(rare * (K1 + 1))
            scores[places] += full * often / (often + np.float32(K1) * (1 - B + B * lengths[slots] / average))
        if among is None:
            scores[~self._alive[:count]] = 0
        return np.minimum(scores / np.float32(most), 1) if most else scores

    def _nearest(self, wanted: _Floats, most: int) -> _Slots:
        count = len(self._ids)
        if count * self.dimensions <= EXACT_ELEMENTS:
            return _largest(_products(self._vectors[:count], wanted), most)
        if self._planes is None:
            self._planes = _planes(self.dimensions)
            self._sketches[:, :count] = self._sketch(self._vectors[:count])
        sketch = self._sketch(wanted[np.newaxis, :])[:, 0]
        apart = np.zeros(count, np.uint16)
        for part, signs in zip(self._sketches, sketch, strict=True):
            apart += np.bitwise_count(part[:count] ^ signs)
        apart[~self._alive[:count]] = np.iinfo(np.uint16).max
        near = np.argpartition(apart, SKETCHED)[:SKETCHED]
        return near[_largest(_products(self._vectors[near], wanted), most)]

    def _sketch(self, units: _Floats) -> NDArray[np.uint64]:
        """The signs of projections, as words (words, rows)."""
        planes = self._planes if self._planes is not None else _planes(self.dimensions)
        found = np.zeros((SKETCH_WORDS, len(units)), np.uint64)
        for start in range(0, len(units), 8192):
            bits = np.packbits(units[start : start + 8192] @ planes > 0, axis=1)
            found[:, start : start + 8192] = bits.view(np.uint64).T
        return found


def _planes(dimensions: int) -> _Floats:
    """Directions to project on: the same for each length of vectors."""
    return np.random.default_rng(dimensions).standard_normal((dimensions, 64 * SKETCH_WORDS), np.float32)


def _products(vectors: _Floats, wanted: _Floats) -> _Floats:
    """The product of each vector with one, on one core: what a linear algebra library starts threads for takes longer
    than the sum where other work shares the machine."""
    found: _Floats = np.einsum("ij,j->i", vectors, wanted)
    return found


def _largest(scores: _Floats, most: int) -> _Slots:
    """Places of the largest scores."""
    if len(scores) <= most:
        return np.arange(len(scores))
    return np.argpartition(scores, len(scores) - most)[len(scores) - most :]
