"""Train the anomaly detector on series that this script makes up: ``python models/series/train.py``.

Windows of 32 values hold a season, a trend and noise. The model is linear: it removes what ordinary windows consist
of (their mean and their principal directions) and adds up the squares of what is left. So it is a matrix of 32 by 32
and a sum, which a circuit proves easily. The threshold is the score that one ordinary window of a hundred passes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from onnx_file import FLOAT, model, node
from shipping import run, ship

WINDOW, DIRECTIONS = 32, 9
TRAINING, HELD_OUT = 20_000, 5_000
KINDS = ("spike", "step", "dropout", "noise", "faster")


def ordinary(random: np.random.Generator, count: int) -> np.ndarray:
    """Windows (count, 32): seasons of 12 to 28 values, two harmonics, a slope, and noise of a tenth."""
    t = np.arange(WINDOW)
    period, phase = random.uniform(12, 28, (count, 1)), random.uniform(0, 2 * np.pi, (count, 1))
    wave = np.sin(2 * np.pi * t / period + phase)
    wave += random.uniform(0, 0.3, (count, 1)) * np.sin(4 * np.pi * t / period + 2 * phase)
    slope = random.normal(0, 0.02, (count, 1)) * (t - WINDOW / 2)
    level = random.normal(0, 1, (count, 1))
    return (wave + slope + level + random.normal(0, 0.1, (count, WINDOW))).astype(np.float32)


def spoiled(random: np.random.Generator, count: int, kind: str) -> np.ndarray:
    """Ordinary windows to which something happened."""
    windows = ordinary(random, count)
    rows, at = np.arange(count), random.integers(4, WINDOW - 4, count)
    after = np.arange(WINDOW) >= at[:, None]
    if kind == "spike":
        windows[rows, at] += random.choice([-1, 1], count) * random.uniform(1.0, 3.0, count)
    elif kind == "step":
        windows += after * (random.choice([-1, 1], count) * random.uniform(1.5, 3.0, count))[:, None]
    elif kind == "dropout":
        windows = np.where(after & (np.arange(WINDOW) < at[:, None] + 4), windows.min(1, keepdims=True) - 1.5, windows)
    elif kind == "noise":
        windows += after * random.normal(0, 0.6, (count, WINDOW))
    else:
        windows += 0.8 * np.sin(2 * np.pi * np.arange(WINDOW) / random.uniform(2.5, 4, (count, 1)))
    return windows.astype(np.float32)


def main() -> None:
    """Find the directions, set the threshold, measure, write."""
    random = np.random.default_rng(1)
    windows = ordinary(random, TRAINING).astype(np.float64)
    windows -= windows.mean(1, keepdims=True)
    directions = np.linalg.eigh(windows.T @ windows)[1][:, -DIRECTIONS:]
    keep = np.eye(WINDOW) - directions @ directions.T
    residual = ((np.eye(WINDOW) - 1 / WINDOW) @ keep).astype(np.float32)
    left = ordinary(random, TRAINING) @ residual
    threshold = float(np.quantile((left * left).sum(1), 0.99))
    raw = model(
        "series",
        [
            node("MatMul", ["window", "residual"], ["left"]),
            node("Mul", ["left", "left"], ["squares"]),
            node("ReduceSum", ["squares", "axis"], ["score"], keepdims=0),
            node("Sub", ["score", "threshold"], ["over"]),
        ],
        {
            "residual": residual,
            "axis": np.array([1], np.int64),
            "threshold": np.array(threshold, np.float32),
        },
        {"window": (FLOAT, ["n", WINDOW])},
        {"score": (FLOAT, ["n"]), "over": (FLOAT, ["n"])},
    )
    random = np.random.default_rng(3)
    plain = run(raw, window=ordinary(random, HELD_OUT))[0]
    areas, found = {}, {}
    for kind in KINDS:
        scores = run(raw, window=spoiled(random, HELD_OUT, kind))[0]
        found[kind] = round(float((scores > threshold).mean()), 4)
        ranks = np.argsort(np.argsort(np.concatenate([plain, scores])))[HELD_OUT:]
        areas[kind] = round(float((ranks.sum() - HELD_OUT * (HELD_OUT - 1) / 2) / HELD_OUT**2), 4)
    figures = {
        "parameters": int(residual.size) + 1,
        "held_out": HELD_OUT * (1 + len(KINDS)),
        "false_alarms": round(float((plain > threshold).mean()), 4),
        "found": found,
        "area_under_curve": areas,
    }
    card = {
        "name": "series",
        "says": "How far a window of 32 values is from a season with a trend: `score`, and by how much it passes the threshold, `over`.",
        "does_not_say": "Why, or whether your series is of this kind: divide it first by the deviation of its season, so that noise is about a tenth.",
        "input": "window",
        "output": "score",
        "threshold": round(threshold, 6),
        "made_by": "models/series/train.py",
        "licence": "Apache-2.0",
        "figures": figures,
    }
    ship("series", {"model.onnx": raw}, card)


if __name__ == "__main__":
    main()
