"""The tiny chat model as it runs: a decoder in numpy with a cache of keys and values, one token at a time.

The network is the one that ``models/chat/network.py`` describes and trains. Weights are float32 here, whatever the
file holds.

Rules: a conversation owns its :class:`Cache`; :class:`Network` is never changed and may be shared between threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import MalformedError, UsageError

EPSILON = 1e-5
"""Added under the root of each norm."""
ROTARY_BASE = 10_000.0
"""Angles of place t are t / base^(2i / head width)."""
HEADS = 4
"""Heads of each layer; the only size that weights do not show."""
Array = NDArray[np.float32]


class Cache:
    """Keys and values of the places seen so far, for each layer."""

    def __init__(self, layers: int, width: int, places: int) -> None:
        head = width // HEADS
        self.keys = np.zeros((layers, HEADS, places, head), np.float32)
        self.values = np.zeros_like(self.keys)
        self.used = 0


class Network:
    """The decoder over given weights, by name as ``models/chat/network.py`` names them. Raises ``model.weights``."""

    def __init__(self, weights: Mapping[str, NDArray[np.generic]], places: int = 160) -> None:
        found = {name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()}
        layers = sum(name.endswith(".feed_in") for name in found)
        try:
            vocabulary, width = found["embedding"].shape
        except (KeyError, ValueError):
            raise MalformedError("model.weights", "the file has no matrix named embedding") from None
        wanted = {"embedding": (vocabulary, width), "norm": (width,)}
        for layer in range(layers):
            wanted |= {f"{layer}.{name}": shape for name, shape in _layer_shapes(width).items()}
        if {name: value.shape for name, value in found.items()} != wanted or not layers or width % (2 * HEADS):
            raise MalformedError("model.weights", "the file holds other weights than a decoder of this kind has")
        self.vocabulary = vocabulary
        self.places = places
        self._width = width
        self._layers = layers
        self._weights = found
        head = width // HEADS
        angles = np.outer(np.arange(places), ROTARY_BASE ** (-np.arange(0, head, 2) / head))
        self._cosine = np.cos(angles).astype(np.float32)
        self._sine = np.sin(angles).astype(np.float32)

    def cache(self) -> Cache:
        """An empty cache."""
        return Cache(self._layers, self._width, self.places)

    def logits(self, tokens: Sequence[int], cache: Cache) -> Array:
        """Scores (V) of the token after these, which follow what the cache has seen. Raises ``model.places``."""
        begin, end = cache.used, cache.used + len(tokens)
        if not tokens or end > self.places:
            raise UsageError("model.places", f"this model has {self.places} places")
        cosine, sine = self._cosine[begin:end], self._sine[begin:end]
        mask = np.triu(np.full((len(tokens), end), -1e9, np.float32), begin + 1)
        stream: Array = self._weights["embedding"][list(tokens)]
        for layer in range(self._layers):
            stream = stream + self._attend(layer, stream, cache, cosine, sine, mask)
            hidden = np.maximum(self._norm(stream, f"{layer}.feed_norm") @ self._weights[f"{layer}.feed_in"], 0)
            stream = stream + (hidden * hidden) @ self._weights[f"{layer}.feed_out"]
        cache.used = end
        scores: Array = self._weights["embedding"] @ self._norm(stream[-1], "norm")
        return scores

    def _attend(self, layer: int, stream: Array, cache: Cache, cosine: Array, sine: Array, mask: Array) -> Array:
        """What attention adds to the stream (T, D); keys and values go into the cache."""
        count = len(stream)
        end = cache.used + count
        joined = self._norm(stream, f"{layer}.attention_norm") @ self._weights[f"{layer}.query_key_value"]
        query, key, value = joined.reshape(count, 3, HEADS, -1).transpose(1, 2, 0, 3)
        cache.keys[layer, :, cache.used : end] = _rotate(key, cosine, sine)
        cache.values[layer, :, cache.used : end] = value
        keys, values = cache.keys[layer, :, :end], cache.values[layer, :, :end]
        scores = _rotate(query, cosine, sine) @ keys.transpose(0, 2, 1) / np.sqrt(np.float32(keys.shape[-1])) + mask
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = (scores @ values).transpose(1, 0, 2).reshape(count, self._width)
        added: Array = mixed @ self._weights[f"{layer}.attention_out"]
        return added

    def _norm(self, stream: Array, name: str) -> Array:
        scale = 1 / np.sqrt(np.mean(stream * stream, axis=-1, keepdims=True) + np.float32(EPSILON))
        normed: Array = stream * scale * self._weights[name]
        return normed


def _layer_shapes(width: int) -> dict[str, tuple[int, ...]]:
    return {
        "attention_norm": (width,),
        "query_key_value": (width, 3 * width),
        "attention_out": (width, width),
        "feed_norm": (width,),
        "feed_in": (width, 4 * width),
        "feed_out": (4 * width, width),
    }


def _rotate(heads: Array, cosine: Array, sine: Array) -> Array:
    """Turn the two halves of each head (H, T, width) by the angles of its place."""
    left, right = np.split(heads, 2, axis=-1)
    turned: Array = np.concatenate([left * cosine - right * sine, left * sine + right * cosine], axis=-1)
    return turned
