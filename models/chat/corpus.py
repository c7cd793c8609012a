"""The corpus of the tiny chat model: pairs of a question and a short answer, all written by this project.

Topics are those of the built-in responder, cut to their first sentences, and those of ``talk.toml``; small sums are
generated. Two ways to ask each topic, and a tenth of everything generated, are held out: no training example has
them.
"""

from __future__ import annotations

import random
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from holdfast.adapters.builtin.corpus import load_topics

HERE = Path(__file__).parent
MAX_ANSWER = 150
"""Letters of the longest answer that is made of more than one sentence."""
MAX_SENTENCE = 192
"""Topics whose first sentence is longer are left out."""
LARGEST_TERM = 20
"""Sums go up to 20 + 20."""
OPENINGS = ("", "", "", "", "please ", "so ", "ok, ", "hi, ", "and ", "now ")
SUM_PATTERNS = (
    "what is {} + {}",
    "{} + {}",
    "{} plus {}",
    "how much is {} and {}",
    "add {} and {}",
    "what is {} plus {}",
)


@dataclass(frozen=True)
class Pair:
    """One question and what should be answered."""

    question: str
    answer: str
    kind: str
    """``topic``, ``unknown`` or ``sum``."""


def sentences(text: str) -> str | None:
    """The first sentences of an answer as far as they are short; ``None`` where the first is not, or is no prose."""
    kept = ""
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        longer = f"{kept} {sentence}".strip()
        if kept and len(longer) > MAX_ANSWER:
            break
        kept = longer
    usable = kept and len(kept) <= MAX_SENTENCE and "\n" not in kept and kept[-1] in ".!?"
    return kept if usable else None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


def load() -> tuple[list[Pair], list[Pair]]:
    """Pairs to train on, and pairs held out."""
    own = tomllib.loads((HERE / "talk.toml").read_text(encoding="utf-8"))
    topics = [(topic["answer"], _lines(topic["ask"])) for topic in own["topic"]]
    for topic in load_topics():
        answer = sentences(topic.answer)
        if topic.id not in own["replaces"] and answer is not None:
            topics.append((answer, list(topic.ask)))
    training: list[Pair] = []
    held_out: list[Pair] = []
    chance = random.Random(1)
    taken: set[str] = set()
    for answer, asks in topics:
        fresh = [ask for ask in dict.fromkeys(asks) if ask not in taken]
        taken.update(fresh)
        chance.shuffle(fresh)
        held_out += [Pair(ask, answer, "topic") for ask in fresh[:2]]
        training += [Pair(ask, answer, "topic") for ask in fresh[2:]]
    generated = [Pair(ask, own["unknown"]["answer"], "unknown") for ask in _lines(own["unknown"]["ask"])]
    for subject in re.split(r",\s*", own["unknown"]["subjects"].strip()):
        generated += [
            Pair(pattern.format(subject), own["unknown"]["answer"], "unknown")
            for pattern in _lines(own["unknown"]["patterns"])
        ]
    for left in range(LARGEST_TERM + 1):
        for right in range(LARGEST_TERM + 1):
            text = f"{left} + {right} = {left + right}."
            generated += [Pair(pattern.format(left, right), text, "sum") for pattern in chance.sample(SUM_PATTERNS, 2)]
    for pair in generated:
        (held_out if chance.random() < 0.1 else training).append(pair)
    return training, held_out


def spoken(question: str, chance: random.Random) -> str:
    """A question as somebody might type it: with or without a capital, a sign at the end, a word before it, a slip."""
    text = chance.choice(OPENINGS) + question
    if chance.random() < 0.5:
        text = text[:1].upper() + text[1:]
    if chance.random() < 0.5:
        text += "?" if not text.endswith("?") else ""
    if chance.random() < 0.1 and len(text) > 12:
        at = chance.randrange(len(text) - 1)
        text = text[:at] + text[at + 1 :]
    return text
