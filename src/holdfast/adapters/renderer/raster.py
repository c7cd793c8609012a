"""Scenes as pixels: each form is a signed distance, so that edges are smooth at every size.

Distances are in halves of a shape's extent: below zero is inside. Every operation is one that IEEE 754 fixes to the
last bit, or is rounded to eight bits afterwards; the artifact's name is the code's digest all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from holdfast.adapters.renderer.scene import Scene, Shape

Field = NDArray[np.float32]


def paint(scene: Scene, width: int, height: int) -> NDArray[np.uint8]:
    """Pixels, height by width by 3."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    top, bottom = (np.array(colour, np.float32) for colour in (scene.top, scene.bottom))
    canvas = np.broadcast_to(top + (bottom - top) * down, (height, width, 3)).copy()
    for shape in scene.shapes:
        _draw(canvas, shape)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


def _draw(canvas: Field, shape: Shape) -> None:
    """Blend one shape in, within the box that it and its soft shadow can reach."""
    height, width, _ = canvas.shape
    half = shape.size * min(width, height)
    x, y, reach = shape.x * width, shape.y * height, half * 1.7 + 2
    left, right = max(0, int(x - reach)), min(width, int(x + reach) + 1)
    above, below = max(0, int(y - reach)), min(height, int(y + reach) + 1)
    if left >= right or above >= below:
        return
    box = canvas[above:below, left:right]
    across = (np.arange(left, right, dtype=np.float32) + 0.5 - x)[None, :] / half
    down = (np.arange(above, below, dtype=np.float32) + 0.5 - y)[:, None] / half
    turned = _turned(across, down, shape.turn)
    distance = FORMS[shape.form](*turned)
    shadow = np.clip(0.5 - FORMS[shape.form](*_turned(across - 0.04, down - 0.09, shape.turn)) / 0.24, 0, 1) * 0.22
    box *= (1 - shadow)[:, :, None]
    cover = np.clip(0.5 - distance * half, 0, 1)[:, :, None]
    light = 1.06 - 0.14 * np.clip((down + 1) / 2, 0, 1)
    colour = np.clip(np.array(shape.colour, np.float32) * (light + across * 0)[:, :, None], 0, 255)
    box += (colour - box) * cover


def _turned(x: Field, y: Field, by: float) -> tuple[Field, Field]:
    cosine, sine = math.cos(by), math.sin(by)
    return x * cosine + y * sine, y * cosine - x * sine


def _circle(x: Field, y: Field, radius: float = 1.0) -> Field:
    return np.sqrt(x * x + y * y) - np.float32(radius)


def _ring(x: Field, y: Field) -> Field:
    return np.abs(_circle(x, y, 0.8)) - np.float32(0.2)


def _box(x: Field, y: Field, wide: float = 0.86, high: float = 0.86) -> Field:
    across, down = np.abs(x) - np.float32(wide), np.abs(y) - np.float32(high)
    outside = np.sqrt(np.maximum(across, 0) ** 2 + np.maximum(down, 0) ** 2)
    found: Field = outside + np.minimum(np.maximum(across, down), 0)
    return found


def _rectangle(x: Field, y: Field) -> Field:
    return _box(x, y, 1.0, 0.55)


def _polygon(corners: int, first: float, inner: float = 0.0) -> Callable[[Field, Field], Field]:
    """A polygon of so many corners on the unit circle; with ``inner`` a star, whose other corners are so far out."""
    count = corners * 2 if inner else corners
    points = []
    for number in range(count):
        angle, radius = first + number * 2 * math.pi / count, inner if inner and number % 2 else 1.0
        points.append((radius * math.cos(angle), radius * math.sin(angle)))

    def distance(x: Field, y: Field) -> Field:
        nearest = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf, np.float32)
        inside = np.zeros(nearest.shape, bool)
        for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
            ex, ey = np.float32(bx - ax), np.float32(by - ay)
            along = np.clip(((x - np.float32(ax)) * ex + (y - np.float32(ay)) * ey) / (ex * ex + ey * ey), 0, 1)
            gap = (x - np.float32(ax) - ex * along) ** 2 + (y - np.float32(ay) - ey * along) ** 2
            nearest = np.minimum(nearest, gap)
            if by != ay:
                crossing = (y < np.float32(ay)) != (y < np.float32(by))
                inside ^= crossing & (x < (y - np.float32(ay)) * ex / ey + np.float32(ax))
        return np.where(inside, -1, 1).astype(np.float32) * np.sqrt(nearest)

    return distance


def _heart(x: Field, y: Field) -> Field:
    """A square on its corner, and half circles over its two upper edges."""
    side = 0.58
    lift, out = np.float32(0.22), np.float32(side / math.sqrt(2))
    square = _box(*_turned(x, y - lift, math.pi / 4), side, side)
    lobes = (_circle(x - sign * out, y - lift + out, side) for sign in (-1, 1))
    return np.minimum(square, np.minimum(*lobes))


def _cross(x: Field, y: Field) -> Field:
    return np.minimum(_box(x, y, 0.95, 0.32), _box(x, y, 0.32, 0.95))


def _sun(x: Field, y: Field) -> Field:
    return np.minimum(_circle(x, y, 0.62), _RAYS(x, y))


_RAYS = _polygon(12, 0.0, 0.6)
FORMS: dict[str, Callable[[Field, Field], Field]] = {
    "circle": _circle,
    "sun": _sun,
    "ring": _ring,
    "square": _box,
    "rectangle": _rectangle,
    "triangle": _polygon(3, -math.pi / 2),
    "hexagon": _polygon(6, 0.0),
    "diamond": _polygon(4, -math.pi / 2),
    "star": _polygon(5, -math.pi / 2, 0.42),
    "heart": _heart,
    "cross": _cross,
}
"""Every form that ``scene`` names."""
