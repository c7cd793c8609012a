"""What a page shows of a run that was asked again without rows of memory or admitted facts (``spec/recall.md`` §7).

The gateway asks and answers; here its answer is read, and each re-run compared with the original. Nothing of it is
evidence, and nothing of it is kept: not in a case, not in a journal, not in the page's address.

Not covered: who may ask (the routes), and what a difference means: nobody knows that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.differences import Piece, compare_words
from holdfast.core.memory import is_row_id
from holdfast.errors import MalformedError

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
ALL = "all"
"""What a form says for all rows."""
_TEXTS = ("original", "control", "answer", "note")


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """The original, and both re-runs beside it."""

    run: str
    without: tuple[str, ...]
    original: str
    control: str
    answer: str
    note: str
    times: int
    most: int
    control_pieces: tuple[Piece, ...]
    """The original against the run that was asked again as it was."""
    answer_pieces: tuple[Piece, ...]
    """The original against the run without the rows."""

    @property
    def kind(self) -> str:
        """What was left out, as a word."""
        return "rows" if is_row_id(self.without[0]) else "admissions"

    @property
    def control_differs(self) -> bool:
        """Whether the model answers otherwise by itself: then no difference says anything of the rows."""
        return self.control != self.original

    def to_json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "without": list(self.without),
            "original": self.original,
            "control": self.control,
            "answer": self.answer,
            "control_differs": self.control_differs,
            "differences": [
                {"original": piece.one, "answer": piece.other} for piece in self.answer_pieces if not piece.same
            ],
            "proves": "nothing",
            "note": self.note,
            "times": self.times,
            "most": self.most,
        }


def wanted(value: object) -> tuple[str, ...] | None:
    """The rows that are left out, of a form's one field or a program's list; None for all. Raises ``panel.rows``."""
    if value == ALL:
        return None
    rows = [value] if isinstance(value, str) else value
    if not isinstance(rows, list) or not rows or not all(map(_is_one, rows)) or len(set(rows)) != len(rows):
        said = f"rows are left out by their ids, admissions by their digests, each once, or {ALL}"
        raise MalformedError("panel.rows", said, param="without")
    return tuple(rows)


def _is_one(value: object) -> bool:
    return isinstance(value, str) and (is_row_id(value) or _DIGEST.match(value) is not None)


def question(without: tuple[str, ...] | None) -> bytes:
    """What the gateway is asked."""
    return canonical.encode({} if without is None else {"without": list(without)})


def parse_asked_again(raw: bytes) -> AskedAgain:
    """Read the gateway's answer and compare. Takes time with long texts: not for the event loop. Raises
    ``panel.shape`` and ``json.*``."""
    value = canonical.decode_object(raw)
    texts = {name: value.get(name) for name in ("run", *_TEXTS)}
    counts, without = (value.get("times"), value.get("most")), value.get("without")
    good = all(isinstance(text, str) for text in texts.values()) and all(type(count) is int for count in counts)
    if not good or not isinstance(without, list) or not all(map(_is_one, without)):
        raise MalformedError("panel.shape", "the gateway's answer is no run that was asked again")
    return _compared(value)


def _compared(value: Mapping[str, Any]) -> AskedAgain:
    original, control, answer = value["original"], value["control"], value["answer"]
    return AskedAgain(
        run=value["run"],
        without=tuple(value["without"]),
        original=original,
        control=control,
        answer=answer,
        note=value["note"],
        times=value["times"],
        most=value["most"],
        control_pieces=compare_words(original, control),
        answer_pieces=compare_words(original, answer),
    )
