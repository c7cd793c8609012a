"""Which topic a question is about, or none: sparse vectors over stems and character trigrams, in plain Python.

Every way of asking is one small document. A question's score against it is a weighted sum of two cosines, one over
stems and one over trigrams, each with inverse document frequency (counted over topics) as weight. Words that the
corpus does not know keep their full weight in the question's length, so that a question about something else scores
low however many small words it shares; one spelled almost like a known word counts as that word, at a discount.

Words of asking ("what", "explain", "please") weigh little. Nothing is learned or drawn at random.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast.adapters.builtin.corpus import Topic
from holdfast.adapters.builtin.words import stem, words

WORD_SHARE = 0.55
"""Weight of the stem cosine; the rest goes to trigrams. This and the figures below were chosen by measuring."""
COVER_SHARE = 0.3
"""Weight of coverage: the share of the question's telling words that occur anywhere in the topic."""
TALK_THRESHOLD = 0.6
"""For small talk, whose few words occur in questions about anything else."""
PLAIN_THRESHOLD = 0.58
"""For questions without a telling word ("what is it for"), which fit much by chance."""
PLAIN_TALK_THRESHOLD = 0.75
"""Both of the above at once."""
THRESHOLD = 0.52
"""Below this score the answer is "I don't know". Chosen so that of the off-topic list at most one in twenty passes."""
WEAK_WEIGHT = 0.65
"""What a word of asking counts, however rare it is; a word of one topic counts 4.8."""
COMMON_WEIGHT = 0.6
"""Share of its inverse document frequency that a word counts which is common in any English text."""
UNKNOWN_BOOST = 1.6
"""How much more than a word of one topic a word that the corpus does not hold counts in the question's length."""
FUZZY_MIN = 0.6
"""Dice coefficient of padded bigrams from which an unknown word counts as a known one."""

_WEAK_WORDS = """
a an the of to in on at by for from with as and or but so if then than that this these those it its there here
is are be am was do does did have has can could will would should may might must shall
what which who whom whose how when where why i you he she we they me my your our us one some any
explain describe tell define mean meaning give show please about exactly really actually just say
something anything thing things kind want need like know let get got ok okay well also more
help understand question answer ask word words short simple simply briefly quickly work works use
purpose behind role concept term definition detail details overview summary possible able exist exists there
today tomorrow now again ever still yet too very quite really then always never please hello hi hey thanks ok not no yes
"""
_COMMON_WORDS = """
holdfast first second last next new old good best better great big small large long short far near high low early late
many much few most least other another same different difference between every each all both none only even still yet
time day today tomorrow week year now then again always never often ever once first
man woman person people someone somebody anyone anybody everyone everybody friend world life place home name
make made go going come came take took put get keep start begin stop end find look see hear feel think believe
write read speak talk call say tell show use try turn move happen happening change become became exist exists
point side line list set number kind type way case example reason idea fact problem thing matter
able possible real true right wrong easy hard simple full free open whole
up down out in off over under inside outside back away around before after since until while during without within
not no yes too very quite rather together else instead maybe perhaps
sort rid order live stay sit stand leave bring buy pay play follow meet send own form purpose role meant handle
"""
WEAK = frozenset(stem(word) for word in _WEAK_WORDS.split())
"""Stems of the words of asking."""
COMMON = frozenset(stem(word) for word in _COMMON_WORDS.split()) - WEAK


@dataclass(frozen=True, slots=True)
class Match:
    """A topic and how well the question fits it, 0 to 1."""

    topic: Topic
    score: float


class Index:
    """All topics, searchable. Built once; read-only afterwards."""

    def __init__(self, topics: Sequence[Topic]) -> None:
        self._topics = topics
        self._owner: list[int] = []
        documents: list[list[str]] = []
        texts: list[list[str]] = []
        for number, topic in enumerate(topics):
            for ask in (*topic.ask, topic.title):
                spoken = words(ask)
                self._owner.append(number)
                documents.append([stem(word) for word in spoken])
                texts.append(_trigrams(spoken))
        self._vocabulary = [
            {stem(word) for text in (*topic.ask, topic.title, topic.answer, topic.more) for word in words(text)}
            for topic in topics
        ]
        self._word_idf = _idf(documents, self._owner, len(topics))
        self._gram_idf = _idf(texts, self._owner, len(topics))
        self._known_most = math.log(1 + len(topics))
        self._word_postings = self._postings(documents, self._word_weight)
        self._gram_postings = self._postings(texts, self._gram_weight)
        self._shapes = {known: _bigrams(known) for known in self._word_idf if len(known) > 3}

    def search(self, question: str, *, limit: int = 5) -> list[Match]:
        """The best topics, best first, without a threshold. Deterministic; ties go to the earlier topic."""
        spoken = words(question)
        scores: dict[int, float] = defaultdict(float)
        stems = Counter[str]()
        discount: dict[str, float] = {}
        for word in spoken:
            root = stem(word)
            if root not in self._word_idf and (near := self._nearest(root)) is not None:
                root, likeness = near
                discount[root] = likeness
            stems[root] = 1
        _add(scores, stems, self._word_weight, self._word_postings, share=WORD_SHARE, discount=discount)
        _add(
            scores,
            Counter(_trigrams(spoken)),
            self._gram_weight,
            self._gram_postings,
            share=1 - WORD_SHARE,
            discount={},
        )
        best: dict[int, float] = {}
        for document, score in scores.items():
            owner = self._owner[document]
            if score > best.get(owner, 0.0):
                best[owner] = score
        strong = {
            root: self._word_weight(root) * discount.get(root, 1.0)
            for root in stems
            if root not in WEAK and len(root) > 1
        }
        total = sum(self._word_weight(root) for root in strong)
        for owner, score in best.items():
            covered = sum(weight for root, weight in strong.items() if root in self._vocabulary[owner])
            best[owner] = (1 - COVER_SHARE) * score + COVER_SHARE * (covered / total if total else score)
        ranked = sorted(best.items(), key=lambda item: (-item[1], item[0]))[:limit]
        return [Match(self._topics[number], score) for number, score in ranked]

    def best(self, question: str) -> Match | None:
        """The best topic if it passes the threshold."""
        found = self.search(question, limit=1)
        if not found:
            return None
        return found[0] if found[0].score >= self._needed(question, found[0].topic) else None

    def _needed(self, question: str, topic: Topic) -> float:
        roots = {stem(word) for word in words(question)}
        if all(root in WEAK or root in COMMON or len(root) == 1 for root in roots):
            return PLAIN_THRESHOLD if not topic.id.startswith("talk.") else PLAIN_TALK_THRESHOLD
        return TALK_THRESHOLD if topic.id.startswith("talk.") else THRESHOLD

    def _word_weight(self, root: str) -> float:
        weight = self._word_idf.get(root)
        if root in WEAK or len(root) == 1:
            return WEAK_WEIGHT
        if weight is None:
            weight = self._known_most * UNKNOWN_BOOST
        return weight * COMMON_WEIGHT if root in COMMON else weight

    def _gram_weight(self, gram: str) -> float:
        return self._gram_idf.get(gram) or self._known_most * UNKNOWN_BOOST

    def _postings(
        self, documents: list[list[str]], weigh: Callable[[str], float]
    ) -> dict[str, list[tuple[int, float]]]:
        postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for number, terms in enumerate(documents):
            vector = {term: weigh(term) for term in terms}
            norm = math.sqrt(sum(weight * weight for weight in vector.values())) or 1.0
            for term, weight in vector.items():
                postings[term].append((number, weight / norm))
        return dict(postings)

    def _nearest(self, root: str) -> tuple[str, float] | None:
        if len(root) < 4 or any(sign.isdigit() for sign in root):
            return None
        shape = _bigrams(root)
        best, likeness = "", 0.0
        for known, other in self._shapes.items():
            if abs(len(known) - len(root)) > 2 or known[0] != root[0]:
                continue
            value = 2 * len(shape & other) / (len(shape) + len(other))
            if value > likeness:
                best, likeness = known, value
        return (best, likeness) if likeness >= FUZZY_MIN else None


def _idf(documents: list[list[str]], owners: list[int], topics: int) -> dict[str, float]:
    """Term -> log(1 + topics / topics that hold it)."""
    held: dict[str, set[int]] = defaultdict(set)
    for owner, terms in zip(owners, documents, strict=True):
        for term in terms:
            held[term].add(owner)
    return {term: math.log(1 + topics / len(holders)) for term, holders in held.items()}


def _add(
    scores: dict[int, float],
    terms: Counter[str],
    weigh: Callable[[str], float],
    postings: dict[str, list[tuple[int, float]]],
    *,
    share: float,
    discount: dict[str, float],
) -> None:
    """Add ``share`` times the cosine between the question's terms and every document."""
    vector = {term: weigh(term) for term in terms}
    norm = math.sqrt(sum(weight * weight for weight in vector.values()))
    if norm == 0.0:
        return
    for term, weight in vector.items():
        factor = share * weight * discount.get(term, 1.0) / norm
        for document, other in postings.get(term, ()):
            scores[document] += factor * other


def _trigrams(spoken: list[str]) -> list[str]:
    text = f" {' '.join(spoken)} "
    return [text[at : at + 3] for at in range(len(text) - 2)]


def _bigrams(word: str) -> frozenset[str]:
    padded = f"^{word}$"
    return frozenset(padded[at : at + 2] for at in range(len(padded) - 1))
