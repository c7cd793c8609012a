"""A prompt as a scene: which shapes, how many, in which colours and sizes, and where.

Fixed rules over English words. What is not understood changes nothing but the seed, and :attr:`Scene.unread` says
what that was. The same prompt and seed make the same scene.

Not covered: grammar. A colour, size or number belongs to the shape that comes after it; a place to the one before it.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

COLOURS = {
    "red": (214, 48, 49),
    "orange": (238, 130, 44),
    "yellow": (247, 208, 70),
    "green": (46, 160, 92),
    "teal": (26, 148, 148),
    "cyan": (72, 202, 228),
    "blue": (46, 98, 206),
    "navy": (24, 40, 92),
    "purple": (120, 72, 176),
    "violet": (148, 98, 214),
    "pink": (240, 128, 170),
    "magenta": (206, 48, 150),
    "brown": (128, 82, 48),
    "beige": (232, 218, 190),
    "gold": (214, 168, 50),
    "silver": (184, 190, 200),
    "black": (22, 24, 28),
    "white": (248, 248, 246),
    "grey": (128, 132, 138),
    "gray": (128, 132, 138),
}
SHAPES = {
    "circle": "circle", "circles": "circle", "ball": "circle", "balls": "circle", "dot": "circle", "dots": "circle",
    "moon": "circle", "moons": "circle", "planet": "circle", "planets": "circle",
    "sun": "sun", "suns": "sun",
    "ring": "ring", "rings": "ring",
    "square": "square", "squares": "square", "box": "square", "boxes": "square", "cube": "square", "cubes": "square",
    "rectangle": "rectangle", "rectangles": "rectangle", "bar": "rectangle", "bars": "rectangle",
    "triangle": "triangle", "triangles": "triangle", "mountain": "triangle", "mountains": "triangle",
    "hexagon": "hexagon", "hexagons": "hexagon",
    "diamond": "diamond", "diamonds": "diamond",
    "star": "star", "stars": "star",
    "heart": "heart", "hearts": "heart",
    "cross": "cross", "crosses": "cross", "plus": "cross",
}  # fmt: skip
"""Words to the forms that ``raster`` draws."""
OWN_COLOURS = {"sun": "gold", "moon": "silver", "heart": "red", "mountain": "grey", "star": "gold"}
"""What a word means where no colour is told."""
SIZES = {"tiny": 0.07, "small": 0.12, "little": 0.12, "large": 0.3, "big": 0.3, "huge": 0.4, "giant": 0.4}
USUAL_SIZE = 0.2
"""Half of a shape's extent, of the shorter side."""
NUMBERS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "pair": 2, "dozen": 12, "many": 14,
}  # fmt: skip
PLACES = {
    "left": (0.25, None), "right": (0.75, None), "top": (None, 0.25), "above": (None, 0.25), "bottom": (None, 0.75),
    "below": (None, 0.75), "centre": (0.5, 0.5), "center": (0.5, 0.5), "middle": (0.5, 0.5),
}  # fmt: skip
BACKGROUNDS = {
    "sky": ((120, 178, 236), (224, 238, 250)),
    "night": ((12, 16, 40), (46, 52, 96)),
    "sunset": ((66, 48, 110), (246, 150, 84)),
    "sea": ((150, 206, 232), (20, 84, 140)),
    "ocean": ((150, 206, 232), (20, 84, 140)),
    "grass": ((150, 206, 236), (70, 148, 74)),
    "desert": ((170, 212, 240), (226, 186, 120)),
    "snow": ((206, 222, 238), (250, 252, 255)),
}
"""Words for a whole scene: colours at its top and bottom."""
_GROUND = frozenset({"background", "backdrop", "ground"})
_WORD = re.compile(r"[a-z]+|[0-9]{1,3}")
_FILLERS = frozenset(
    {
        "and",
        "with",
        "on",
        "in",
        "of",
        "the",
        "at",
        "to",
        "by",
        "over",
        "under",
        "is",
        "are",
        "there",
        "draw",
        "paint",
        "picture",
        "image",
        "render",
        "please",
        "show",
        "me",
        "make",
        "side",
        "corner",
        "some",
        "it",
        "its",
        "from",
        "near",
        "next",
        "beside",
        "scene",
        "shape",
        "shapes",
        "coloured",
        "colored",
        "this",
        "that",
        "for",
        "into",
    }
)
MOST_SHAPES = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """One thing to draw. ``x``, ``y`` are of the sides, ``size`` of the shorter one; ``turn`` is in radians."""

    form: str
    colour: tuple[int, int, int]
    x: float
    y: float
    size: float
    turn: float


@dataclass(frozen=True, slots=True)
class Scene:
    """What to draw, from the back to the front."""

    top: tuple[int, int, int]
    bottom: tuple[int, int, int]
    shapes: tuple[Shape, ...]
    unread: tuple[str, ...]
    """Words of the prompt that meant nothing here."""

    def words(self) -> str:
        """The scene in a sentence: what the renderer made of the prompt."""
        counted: dict[str, int] = {}
        for shape in self.shapes:
            counted[shape.form] = counted.get(shape.form, 0) + 1
        drawn = ", ".join(f"{form} ({count})" for form, count in counted.items())
        missed = f" Not understood: {', '.join(self.unread[:12])}." if self.unread else ""
        return f"Drawn by fixed rules, not by a model: {drawn}.{missed}"


@dataclass
class _Group:
    """Shapes that one phrase names."""

    form: str
    word: str
    count: int
    colour: str | None
    size: float | None
    x: float | None = None
    y: float | None = None


def read_scene(prompt: str, seed: int) -> Scene:
    """The scene of a prompt. Where it names no shape there are some, drawn by lot from the prompt and the seed."""
    chance = random.Random(hashlib.sha256(f"{seed}\0{prompt}".encode()).digest())  # noqa: S311 - a picture, no secret
    groups, sides, unread = _read(prompt)
    if not groups:
        forms = sorted(set(SHAPES.values()))
        groups = [
            _Group(chance.choice(forms), "", chance.randint(1, 3), chance.choice(sorted(COLOURS)), None)
            for _ in range(chance.randint(2, 4))
        ]
    if sides is None:
        base = chance.uniform(0.86, 1.0)
        sides = (_shade((238, 240, 244), base), _shade((214, 220, 230), base))
    shapes: list[Shape] = []
    for group in groups:
        shapes += _placed(group, chance, alone=len(groups) == 1)
    shapes.sort(key=lambda shape: -shape.size)  # so that no large one hides a small one
    return Scene(*sides, tuple(shapes[:MOST_SHAPES]), tuple(dict.fromkeys(unread)))


Sides = tuple[tuple[int, int, int], tuple[int, int, int]]


def _read(prompt: str) -> tuple[list[_Group], Sides | None, list[str]]:
    groups: list[_Group] = []
    sides: Sides | None = None
    unread: list[str] = []
    count, colour, size = 1, None, None
    for word in _WORD.findall(prompt.lower()):
        if word in COLOURS:
            colour = word
        elif word in SIZES:
            size = SIZES[word]
        elif word in NUMBERS or word.isdigit():
            count = min(max(NUMBERS.get(word) or int(word), 1), MOST_SHAPES)
        elif word in SHAPES:
            groups.append(_Group(SHAPES[word], word.removesuffix("s"), count, colour, size))
            count, colour, size = 1, None, None
        elif word in _GROUND and colour is not None:
            sides, colour = (_shade(COLOURS[colour], 1.08), _shade(COLOURS[colour], 0.9)), None
        elif word in BACKGROUNDS:
            sides = BACKGROUNDS[word]
        elif word in PLACES:
            if groups:
                x, y = PLACES[word]
                groups[-1].x, groups[-1].y = x if x is not None else groups[-1].x, y if y is not None else groups[-1].y
        elif word not in _FILLERS and word not in _GROUND:
            unread.append(word)
    return groups, sides, unread


def _placed(group: _Group, chance: random.Random, *, alone: bool) -> list[Shape]:
    """A group's shapes: one stands where it is told, several are strewn around that place."""
    usual = USUAL_SIZE if group.count == 1 else USUAL_SIZE / max(1.5, group.count**0.5)
    if alone and group.count == 1:
        usual *= 1.4
    found = []
    for _ in range(group.count):
        colour = COLOURS[group.colour or OWN_COLOURS.get(group.word) or chance.choice(sorted(COLOURS))]
        size = group.size if group.size is not None else usual
        if group.count > 1:
            size *= chance.uniform(0.75, 1.1)
        spread = 0.0 if group.count == 1 else 0.18
        x = _lot(group.x, spread, chance, centred=alone and group.count == 1)
        y = _lot(group.y, spread, chance, centred=alone and group.count == 1)
        turn = 0.0 if group.count == 1 else chance.uniform(-0.35, 0.35)
        found.append(Shape(group.form, _shade(colour, chance.uniform(0.94, 1.05)), x, y, size, turn))
    return found


def _lot(told: float | None, spread: float, chance: random.Random, *, centred: bool) -> float:
    if told is None:
        return 0.5 if centred else chance.uniform(0.18, 0.82)
    return told + chance.uniform(-spread, spread)


def _shade(colour: tuple[int, int, int], by: float) -> tuple[int, int, int]:
    first, second, third = (max(0, min(255, round(part * by))) for part in colour)
    return first, second, third
