"""Train the risk classifier on requests that this script makes up: ``python models/risk/train.py``.

Each request has twelve numbers and one of three right answers, drawn from rules with noise, so no classifier can be
perfect: the script prints how often the rules themselves, without their noise, are right. The network is 12-16-3, 259
parameters.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from onnx_file import FLOAT, model, node
from shipping import run, ship

LABELS = ("clear", "review", "block")
FEATURES = {
    "amount_log10": "decimal logarithm of the amount in units of account, 0 to 6",
    "balance_share": "share of the balance that the amount is, 0 to 1",
    "account_age_log10": "decimal logarithm of the account's age in days, 0 to 4",
    "transfers_last_hour": "transfers of the account in the last hour, divided by 10",
    "new_recipient": "1 where the recipient was never paid before, else 0",
    "recipient_reports": "complaints about the recipient, divided by 10",
    "country_differs": "1 where the session's country is not the account's, else 0",
    "new_device": "1 where the device was never seen, else 0",
    "failed_sign_ins": "failed sign-ins of the last day, divided by 10",
    "night": "1 between midnight and six of the account's time, else 0",
    "round_amount": "1 where the amount is a multiple of a hundred, else 0",
    "limit_raised": "1 where a limit was raised in the last day, else 0",
}
HIDDEN = 16
TRAINING, HELD_OUT = 20_000, 5_000


def requests(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (count, 12), right answers, and what the rules say without noise."""
    flag = lambda chance: (random.random(count) < chance).astype(np.float64)  # noqa: E731
    amount, age = random.uniform(0, 6, count), random.uniform(0, 4, count)
    share, transfers = random.beta(1, 4, count), random.poisson(1.2, count) / 10
    reports, failed = random.poisson(0.4, count) / 10, random.poisson(0.5, count) / 10
    recipient, country, device = flag(0.3), flag(0.1), flag(0.15)
    night, rounded, raised = flag(0.2), flag(0.3), flag(0.05)
    score = 0.35 * amount + 1.6 * share - 0.5 * age + 2.0 * transfers + 0.9 * recipient + 5.0 * reports + 0.8 * country
    score += 0.7 * device + 3.0 * failed + 0.3 * night + 0.2 * rounded + 0.6 * raised
    score += 1.5 * recipient * device + 1.2 * country * night + 2.0 * raised * (share > 0.5)
    columns = [amount, share, age, transfers, recipient, reports, country, device, failed, night, rounded, raised]
    classes = lambda value: (value > 2.2).astype(int) + (value > 3.8).astype(int)  # noqa: E731
    return np.stack(columns, 1).astype(np.float32), classes(score + random.normal(0, 0.25, count)), classes(score)


def train(x: np.ndarray, y: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """Weights of the two layers, by Adam on the cross entropy."""
    weights = [
        random.normal(0, 0.3, (x.shape[1], HIDDEN)),
        np.zeros(HIDDEN),
        random.normal(0, 0.3, (HIDDEN, 3)),
        np.zeros(3),
    ]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    for step in range(1, 3001):
        rows = random.integers(0, len(x), 256)
        hidden = np.maximum(x[rows] @ weights[0] + weights[1], 0)
        scores = hidden @ weights[2] + weights[3]
        chances = np.exp(scores - scores.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        chances[np.arange(256), y[rows]] -= 1
        chances /= 256
        back = (chances @ weights[2].T) * (hidden > 0)
        gradients = [x[rows].T @ back, back.sum(0), hidden.T @ chances, chances.sum(0)]
        for index, gradient in enumerate(gradients):
            first[index] += 0.1 * (gradient - first[index])
            second[index] += 0.001 * (gradient**2 - second[index])
            fair = first[index] / (1 - 0.9**step), second[index] / (1 - 0.999**step)
            weights[index] = weights[index] - 0.01 * (1 - step / 3001) * fair[0] / (np.sqrt(fair[1]) + 1e-8)
    return [w.astype(np.float32) for w in weights]


def main() -> None:
    """Train, measure on requests of another seed, write."""
    x, y, _ = requests(np.random.default_rng(1), TRAINING)
    weights = train(x, y, np.random.default_rng(2))
    raw = model(
        "risk",
        [
            node("Gemm", ["features", "w1", "b1"], ["h"]),
            node("Relu", ["h"], ["a"]),
            node("Gemm", ["a", "w2", "b2"], ["logits"]),
            node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        dict(zip(("w1", "b1", "w2", "b2"), weights, strict=True)),
        {"features": (FLOAT, ["n", 12])},
        {"probabilities": (FLOAT, ["n", 3])},
    )
    test, right, by_rule = requests(np.random.default_rng(3), HELD_OUT)
    said = run(raw, features=test)[0].argmax(1)
    recall = {label: round(float((said[right == index] == index).mean()), 4) for index, label in enumerate(LABELS)}
    figures = {
        "parameters": int(sum(w.size for w in weights)),
        "held_out": HELD_OUT,
        "accuracy": round(float((said == right).mean()), 4),
        "accuracy_of_the_rules_without_noise": round(float((by_rule == right).mean()), 4),
        "accuracy_of_the_commonest_answer": round(float(np.bincount(right).max() / HELD_OUT), 4),
        "recall": recall,
    }
    card = {
        "name": "risk",
        "says": "How risky a transfer looks: clear, review or block, as three probabilities.",
        "does_not_say": "Anything about real transfers: its requests and its right answers are made up by a script.",
        "features": FEATURES,
        "output": "probabilities",
        "labels": list(LABELS),
        "made_by": "models/risk/train.py",
        "licence": "Apache-2.0",
        "figures": figures,
    }
    ship("risk", {"model.onnx": raw}, card)


if __name__ == "__main__":
    main()
