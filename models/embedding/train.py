"""Train the text embedding on pairs of questions that mean the same: ``python models/embedding/train.py``.

A text is the mean of its words' vectors, of length one. The words are read by operators inside of the ONNX file
(split at blanks, look up), so the model takes plain text. Vectors are trained so that each question is nearer to its
own topic than to every other; topics are those of the chat model's corpus, all written by this project. Two questions
of each topic are held out.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "chat"))
from corpus import load
from onnx_file import FLOAT, STRING, model, node
from shipping import run, ship

WIDTH = 48
SIGNS = ("", "?", ".", ",", "!")
"""A word is looked up with each of these behind it and with a capital, for the operators take it as it stands. (The one that
makes letters small wants a language pack of the machine.)"""
STEPS, BATCH, SHARPNESS = 2500, 64, 12.0


def words(text: str) -> list[str]:
    """As the operators of the file see a text."""
    return [word.rstrip("?.,!") for word in text.lower().split()]


def bag(texts: list[str], ids: dict[str, int]) -> np.ndarray:
    """Counts of known words (texts, words + 1); place 0 is all unknown ones, and stays empty."""
    counts = np.zeros((len(texts), len(ids) + 1), np.float32)
    for row, text in enumerate(texts):
        for word in words(text):
            if word in ids:
                counts[row, ids[word]] += 1
    return counts


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6)


def train(counts: np.ndarray, topics: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Vectors (words + 1, WIDTH), by Adam on the cross entropy of the topic under cosines; one word in five is left out."""
    number = int(topics.max()) + 1
    weights = [random.normal(0, 0.3, (counts.shape[1], WIDTH)), random.normal(0, 0.3, (number, WIDTH))]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    for step in range(1, STEPS + 1):
        rows = random.integers(0, len(counts), BATCH)
        x = counts[rows] * (random.random((BATCH, counts.shape[1])) > 0.2)
        raw = x @ weights[0]
        length = np.linalg.norm(raw, axis=1, keepdims=True) + 1e-6
        text = raw / length
        size = np.linalg.norm(weights[1], axis=1, keepdims=True) + 1e-6
        middle = weights[1] / size
        scores = SHARPNESS * text @ middle.T
        chances = np.exp(scores - scores.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        chances[np.arange(BATCH), topics[rows]] -= 1
        chances *= SHARPNESS / BATCH
        of_text, of_middle = chances @ middle, chances.T @ text
        of_raw = (of_text - text * (of_text * text).sum(1, keepdims=True)) / length
        of_weights = (of_middle - middle * (of_middle * middle).sum(1, keepdims=True)) / size
        for index, gradient in enumerate((x.T @ of_raw, of_weights)):
            first[index] += 0.1 * (gradient - first[index])
            second[index] += 0.001 * (gradient**2 - second[index])
            fair = first[index] / (1 - 0.9**step), second[index] / (1 - 0.999**step)
            weights[index] = weights[index] - 0.02 * (1 - step / (STEPS + 1)) * fair[0] / (np.sqrt(fair[1]) + 1e-8)
    vectors = weights[0].astype(np.float32)
    vectors[0] = 0
    return vectors


def build(vectors: np.ndarray, ids: dict[str, int]) -> bytes:
    """The ONNX file: text (n) to embedding (n, WIDTH)."""
    spelled = {
        first + sign: number for word, number in ids.items() for first in (word, word.capitalize()) for sign in SIGNS
    }
    return model(
        "embedding",
        [
            node("StringSplit", ["text"], ["words", "count"]),
            node(
                "LabelEncoder",
                ["words"],
                ["ids"],
                "ai.onnx.ml",
                keys_strings=list(spelled),
                values_int64s=list(spelled.values()),
                default_int64=0,
            ),
            node("Gather", ["vectors", "ids"], ["each"]),
            node("ReduceSum", ["each", "axis"], ["sum"], keepdims=0),
            node("Mul", ["sum", "sum"], ["squares"]),
            node("ReduceSum", ["squares", "axis"], ["square"], keepdims=1),
            node("Sqrt", ["square"], ["length"]),
            node("Add", ["length", "little"], ["divisor"]),
            node("Div", ["sum", "divisor"], ["embedding"]),
        ],
        {"vectors": vectors, "axis": np.array([1], np.int64), "little": np.array(1e-6, np.float32)},
        {"text": (STRING, ["n"])},
        {"embedding": (FLOAT, ["n", WIDTH])},
        opset=20,
        opset_ml=4,
    )


def main() -> None:
    """Train, measure on held-out questions, write."""
    training, held_out = ([pair for pair in pairs if pair.kind == "topic"] for pairs in load())
    answers = list(dict.fromkeys(pair.answer for pair in training))
    counted = Counter(word for pair in training for word in words(pair.question))
    ids = {word: number for number, word in enumerate(sorted(counted), 1)}
    topics = np.array([answers.index(pair.answer) for pair in training])
    vectors = train(bag([pair.question for pair in training], ids), topics, np.random.default_rng(1))
    raw = build(vectors, ids)

    def embed(questions: list[str]) -> np.ndarray:
        return run(raw, text=np.array(questions, dtype=object))[0]

    known, asked = embed([pair.question for pair in training]), embed([pair.question + "?" for pair in held_out])
    wanted = np.array([answers.index(pair.answer) for pair in held_out])
    order = np.argsort(-(asked @ known.T), axis=1, kind="stable")
    plain = (
        unit(bag([pair.question for pair in held_out], ids)) @ unit(bag([pair.question for pair in training], ids)).T
    )
    figures = {
        "parameters": int(vectors.size),
        "words": len(ids),
        "topics": len(answers),
        "held_out": len(held_out),
        "nearest_question_has_the_topic": round(float((topics[order[:, 0]] == wanted).mean()), 4),
        "one_of_five_nearest_has_the_topic": round(float((topics[order[:, :5]] == wanted[:, None]).any(1).mean()), 4),
        "nearest_by_shared_words_alone": round(float((topics[plain.argmax(1)] == wanted).mean()), 4),
    }
    card = {
        "name": "embedding",
        "says": f"Where a short English question about Holdfast stands among {len(answers)} topics: a vector of {WIDTH} numbers, of length one.",
        "does_not_say": "Anything about words it has never seen, which count for nothing, or about the order of words, which it does not read.",
        "task": "embeddings",
        "input": "text",
        "output": "embedding",
        "made_by": "models/embedding/train.py",
        "licence": "Apache-2.0",
        "figures": figures,
    }
    ship("embedding", {"model.onnx": raw}, card)


if __name__ == "__main__":
    main()
