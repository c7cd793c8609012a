"""The network of the tiny chat model with its gradients, in numpy: what ``train.py`` trains.

A decoder of the usual kind: token embedding (shared with the output), per layer root-mean-square norm, causal
attention with rotary positions, norm, two matrices with a squared ReLU between them; a last norm. The same network
without gradients and with a cache of keys and values is ``holdfast.adapters.tiny.network``;
``tests/integration/test_tiny_training.py`` compares the two and checks every gradient against differences.

Arrays are float32; B is examples, T places, D width, H heads, V ids.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EPSILON = 1e-5
"""Added under the root of each norm."""
ROTARY_BASE = 10_000.0
"""Angles of place t are t / base^(2i / head width)."""
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Shape:
    """How large the network is."""

    vocabulary: int
    width: int = 128
    layers: int = 4
    heads: int = 4


def initial(shape: Shape, seed: int = 0) -> Weights:
    """Fresh weights: normal with deviation 0.02, less where a layer adds to the stream."""
    random = np.random.default_rng(seed)
    narrow = 0.02 / np.sqrt(2 * shape.layers)

    def normal(rows: int, columns: int, deviation: float = 0.02) -> np.ndarray:
        return random.normal(0, deviation, (rows, columns)).astype(np.float32)

    width = shape.width
    weights = {"embedding": normal(shape.vocabulary, width), "norm": np.ones(width, np.float32)}
    for layer in range(shape.layers):
        weights |= {
            f"{layer}.attention_norm": np.ones(width, np.float32),
            f"{layer}.query_key_value": normal(width, 3 * width),
            f"{layer}.attention_out": normal(width, width, narrow),
            f"{layer}.feed_norm": np.ones(width, np.float32),
            f"{layer}.feed_in": normal(width, 4 * width),
            f"{layer}.feed_out": normal(4 * width, width, narrow),
        }
    return weights


def rotation(places: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines (T, width / 2) for each place of a head."""
    angles = np.outer(np.arange(places), ROTARY_BASE ** (-np.arange(0, width, 2) / width))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def rotate(heads: np.ndarray, cosine: np.ndarray, sine: np.ndarray) -> np.ndarray:
    """Turn the two halves of each head (…, T, width) by the angles of its place; a negative sine turns back."""
    left, right = np.split(heads, 2, axis=-1)
    return np.concatenate([left * cosine - right * sine, left * sine + right * cosine], axis=-1)


def _norm(x: np.ndarray, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scale = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPSILON)
    unit = x * scale
    return unit * gain, unit, scale


def _norm_back(
    grad: np.ndarray, unit: np.ndarray, scale: np.ndarray, gain: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    inner = grad * gain
    to_input = scale * (inner - unit * np.mean(inner * unit, axis=-1, keepdims=True))
    return to_input, np.sum(grad * unit, axis=(0, 1))


def loss_and_gradients(
    weights: Weights, shape: Shape, tokens: np.ndarray, counted: np.ndarray
) -> tuple[float, Weights]:
    """Mean cross entropy of the next token over the places where ``counted`` (B, T - 1) is not zero, and its gradients.

    ``tokens`` is (B, T); behind the end of an example anything may stand, as long as it is not counted.
    """
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    batch, places = inputs.shape
    heads, width = shape.heads, shape.width
    cosine, sine = rotation(places, width // heads)
    mask = np.triu(np.full((places, places), -1e9, np.float32), 1)
    root = np.float32(1 / np.sqrt(width // heads))

    def split(x: np.ndarray) -> np.ndarray:
        return x.reshape(batch, places, heads, -1).transpose(0, 2, 1, 3)

    def join(x: np.ndarray) -> np.ndarray:
        return x.transpose(0, 2, 1, 3).reshape(batch, places, width)

    stream = weights["embedding"][inputs]
    kept = []
    for layer in range(shape.layers):
        w = {
            name: weights[f"{layer}.{name}"]
            for name in ("attention_norm", "query_key_value", "attention_out", "feed_norm", "feed_in", "feed_out")
        }
        first, unit_1, scale_1 = _norm(stream, w["attention_norm"])
        query, key, value = (split(part) for part in np.split(first @ w["query_key_value"], 3, axis=-1))
        query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        scores = query @ key.transpose(0, 1, 3, 2) * root + mask
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = join(scores @ value)
        stream = stream + mixed @ w["attention_out"]
        second, unit_2, scale_2 = _norm(stream, w["feed_norm"])
        positive = np.maximum(second @ w["feed_in"], 0)
        squared = positive * positive
        stream = stream + squared @ w["feed_out"]
        kept.append(
            (w, first, unit_1, scale_1, query, key, value, scores, mixed, second, unit_2, scale_2, positive, squared)
        )
    last, unit, scale = _norm(stream, weights["norm"])
    logits = last @ weights["embedding"].T
    logits -= logits.max(axis=-1, keepdims=True)
    chances = np.exp(logits)
    chances /= chances.sum(axis=-1, keepdims=True)
    rows, columns = np.indices(targets.shape)
    total = counted.sum()
    loss = float(-(np.log(chances[rows, columns, targets] + 1e-12) * counted).sum() / total)

    chances[rows, columns, targets] -= 1
    grad_logits = chances * (counted / total)[..., None].astype(np.float32)
    flat = grad_logits.reshape(-1, shape.vocabulary)
    gradients: Weights = {"embedding": flat.T @ last.reshape(-1, width)}
    grad, gradients["norm"] = _norm_back(grad_logits @ weights["embedding"], unit, scale, weights["norm"])
    for layer in reversed(range(shape.layers)):
        w, first, unit_1, scale_1, query, key, value, scores, mixed, second, unit_2, scale_2, positive, squared = kept[
            layer
        ]
        out = grad.reshape(-1, width)
        gradients[f"{layer}.feed_out"] = squared.reshape(-1, 4 * width).T @ out
        inner = (grad @ w["feed_out"].T) * (2 * positive)
        gradients[f"{layer}.feed_in"] = second.reshape(-1, width).T @ inner.reshape(-1, 4 * width)
        through, gradients[f"{layer}.feed_norm"] = _norm_back(inner @ w["feed_in"].T, unit_2, scale_2, w["feed_norm"])
        grad = grad + through
        gradients[f"{layer}.attention_out"] = mixed.reshape(-1, width).T @ grad.reshape(-1, width)
        of_mixed = split(grad @ w["attention_out"].T)
        of_scores = of_mixed @ value.transpose(0, 1, 3, 2)
        of_scores = scores * (of_scores - np.sum(of_scores * scores, axis=-1, keepdims=True)) * root
        of_query, of_key = (
            rotate(of_scores @ key, cosine, -sine),
            rotate(of_scores.transpose(0, 1, 3, 2) @ query, cosine, -sine),
        )
        of_value = scores.transpose(0, 1, 3, 2) @ of_mixed
        joined = np.concatenate([join(of_query), join(of_key), join(of_value)], axis=-1)
        gradients[f"{layer}.query_key_value"] = first.reshape(-1, width).T @ joined.reshape(-1, 3 * width)
        through, gradients[f"{layer}.attention_norm"] = _norm_back(
            joined @ w["query_key_value"].T, unit_1, scale_1, w["attention_norm"]
        )
        grad = grad + through
    np.add.at(gradients["embedding"], inputs.reshape(-1), grad.reshape(-1, width))
    return loss, gradients


class Adam:
    """Adam with decay of weights, decoupled; state is by name of the weight."""

    def __init__(self, weights: Weights, decay: float = 0.05) -> None:
        self._first = {name: np.zeros_like(value) for name, value in weights.items()}
        self._second = {name: np.zeros_like(value) for name, value in weights.items()}
        self._steps = 0
        self._decay = decay

    def step(self, weights: Weights, gradients: Weights, rate: float, largest: float = 1.0) -> None:
        """Change ``weights`` in place; gradients together are cut to the length ``largest`` first."""
        self._steps += 1
        length = float(np.sqrt(sum(float(np.sum(grad * grad)) for grad in gradients.values())))
        cut = np.float32(min(1.0, largest / (length + 1e-9)))
        for name in weights:
            grad = gradients[name] * cut
            first, second = self._first[name], self._second[name]
            first += 0.1 * (grad - first)
            second += 0.01 * (grad * grad - second)
            step = first / (1 - 0.9**self._steps) / (np.sqrt(second / (1 - 0.99**self._steps)) + 1e-8)
            if weights[name].ndim == 2:
                step += self._decay * weights[name]
            weights[name] -= np.float32(rate) * step
