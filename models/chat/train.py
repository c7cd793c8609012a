"""Train the tiny chat model from nothing, on one core, and say how good it is: ``python models/chat/train.py``.

Writes ``tokenizer.json`` and ``model.safetensors`` (float16), then ships them with a card. Every figure is measured on
the weights as they are written, with temperature zero; held-out questions were seen neither by the tokenizer nor in
training.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from corpus import Pair, load, spoken
from network import Adam, Shape, Weights, initial, loss_and_gradients
from shipping import ship

from holdfast.adapters.tiny.network import Network
from holdfast.adapters.tiny.tokenizer import ANSWER, END, FIRST_MERGE, USER, WORD, Tokenizer, parse_tokenizer

VOCABULARY = 768
"""Ids in all, signs and bytes included."""
BATCH = 32
LONGEST = 96
"""Longest example in tokens; longer ones are left out, and counted."""
WARM_UP = 100
QUESTION_SHARE = 0.1
"""What a token of a question counts, against one of an answer."""


def train_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """Join the most frequent pair within words, again and again; ties go to the smaller ids."""
    words = Counter(match[0] for text in texts for match in WORD.finditer(text))
    spelled = {word: [3 + value for value in word.encode()] for word in words}
    merges: list[tuple[int, int]] = []
    while FIRST_MERGE + len(merges) < VOCABULARY:
        pairs: Counter[tuple[int, int]] = Counter()
        for word, tokens in spelled.items():
            for pair in itertools.pairwise(tokens):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for tokens in spelled.values():
            at = 0
            while at < len(tokens) - 1:
                if (tokens[at], tokens[at + 1]) == best:
                    tokens[at : at + 2] = [FIRST_MERGE + len(merges) - 1]
                at += 1
    return Tokenizer(merges)


def example(tokenizer: Tokenizer, question: str, answer: str) -> tuple[list[int], int]:
    """The ids of one turn, and where its answer begins."""
    asked = [USER, *tokenizer.encode(question), ANSWER]
    return [*asked, *tokenizer.encode(answer), END], len(asked)


def batch_of(tokenizer: Tokenizer, pairs: Sequence[Pair], chance: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """Ids (B, T) and what each next token counts (B, T - 1)."""
    turns = [example(tokenizer, spoken(pair.question, chance), pair.answer) for pair in pairs]
    width = min(LONGEST, max(len(tokens) for tokens, _ in turns))
    ids = np.full((len(turns), width), END)
    counted = np.zeros((len(turns), width - 1), np.float32)
    for row, (tokens, begin) in enumerate(turns):
        kept = tokens[:width]
        ids[row, : len(kept)] = kept
        counted[row, : begin - 1] = QUESTION_SHARE
        counted[row, begin - 1 : len(kept) - 1] = 1
    return ids, counted


def rate_at(step: int, steps: int, highest: float) -> float:
    """Up in a line, down along a cosine to a twentieth."""
    if step < WARM_UP:
        return highest * (step + 1) / WARM_UP
    return highest * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / max(1, steps - WARM_UP))))


def train(tokenizer: Tokenizer, pairs: Sequence[Pair], seconds: float, highest: float) -> tuple[Weights, int]:
    """Weights after so many seconds of this process's own time; the number of steps is settled by the first of them."""
    shape = Shape(tokenizer.size)
    weights = initial(shape)
    adam = Adam(weights)
    chance = random.Random(2)
    steps, step, began, order = 10**6, 0, time.process_time(), []
    average = 0.0
    while step < steps:
        if len(order) < BATCH:
            order = list(pairs)
            chance.shuffle(order)
        chosen, order = order[:BATCH], order[BATCH:]
        loss, gradients = loss_and_gradients(weights, shape, *batch_of(tokenizer, chosen, chance))
        adam.step(weights, gradients, rate_at(step, steps, highest))
        step += 1
        average = loss if step == 1 else 0.98 * average + 0.02 * loss
        if step in {20, 200}:
            steps = int(seconds / (time.process_time() - began) * step)
        if step % 100 == 0:
            print(f"step {step} of {steps}: loss {average:.3f}, {time.process_time() - began:.0f} s", flush=True)
    return weights, step


def answer_of(network: Network, tokenizer: Tokenizer, question: str) -> str:
    """The greedy answer."""
    cache = network.cache()
    scores = network.logits([USER, *tokenizer.encode(question), ANSWER], cache)
    said: list[int] = []
    while (token := int(scores.argmax())) != END and cache.used < network.places:
        said.append(token)
        scores = network.logits([token], cache)
    return tokenizer.decode(said)


def measure(network: Network, tokenizer: Tokenizer, pairs: Sequence[Pair]) -> dict[str, dict[str, int]]:
    """How many answers of each kind are right to the letter."""
    found: dict[str, Counter[str]] = {}
    for pair in pairs:
        counts = found.setdefault(pair.kind, Counter())
        counts["asked"] += 1
        counts["exact"] += answer_of(network, tokenizer, pair.question) == pair.answer
    return {kind: dict(counts) for kind, counts in sorted(found.items())}


def save_safetensors(path: Path, weights: Weights) -> None:
    """float16, names in order, as the safetensors format lays them out."""
    header: dict[str, object] = {}
    blobs: list[bytes] = []
    at = 0
    for name in sorted(weights):
        raw = weights[name].astype("<f2").tobytes()
        header[name] = {"dtype": "F16", "shape": list(weights[name].shape), "data_offsets": [at, at + len(raw)]}
        blobs.append(raw)
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def ship_chat(folder: Path, figures: dict[str, object]) -> None:
    """Put the model where the gateway finds it, with its card and manifest."""
    card = {
        "name": "chat",
        "says": "A short answer to a question about Holdfast, or a sum of two numbers up to 20.",
        "does_not_say": "That the answer is right. It reads the last message only, and knows nothing but its corpus.",
        "architecture": "decoder, 4 layers, width 128, 4 heads, rotary positions, squared ReLU, 768 byte pairs",
        "made_by": "models/chat/train.py",
        "licence": "Apache-2.0",
        "held_out_is": "two ways to ask each topic, and a tenth of the generated questions, whose subjects or sums were mostly "
        "seen in other words; an answer counts as exact when every letter is right",
        "figures": figures,
    }
    ship("chat", {name: (folder / name).read_bytes() for name in ("model.safetensors", "tokenizer.json")}, card)


def main() -> None:
    """Train, write, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "out", help="folder for the files while they are made")
    parser.add_argument("--seconds", type=float, default=600, help="own time of the process, about")
    parser.add_argument("--rate", type=float, default=3e-3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    training, held_out = load()
    tokenizer = train_tokenizer([text for pair in training for text in (pair.question, pair.answer)])
    merges = [list(pair) for pair in tokenizer.merges]
    (options.out / "tokenizer.json").write_text(json.dumps({"merges": merges}, separators=(",", ":")))
    tokenizer = parse_tokenizer((options.out / "tokenizer.json").read_bytes())
    short = [pair for pair in training if len(example(tokenizer, pair.question, pair.answer)[0]) <= LONGEST - 6]
    print(f"{len(short)} of {len(training)} examples, {len(held_out)} held out, {tokenizer.size} ids", flush=True)
    weights, steps = train(tokenizer, short, options.seconds, options.rate)
    save_safetensors(options.out / "model.safetensors", weights)
    network = Network({name: value.astype("<f2") for name, value in weights.items()})
    chance = random.Random(3)
    figures = {
        "parameters": int(sum(value.size for value in weights.values())),
        "steps": steps,
        "trained_on": len(short),
        "seen": measure(network, tokenizer, chance.sample(short, 200)),
        "held_out": measure(network, tokenizer, held_out),
    }
    ship_chat(options.out, figures)


if __name__ == "__main__":
    main()
