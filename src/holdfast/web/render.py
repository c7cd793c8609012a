"""Templates and the words they need. Escaping is on everywhere; a name that a template misspells is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from holdfast.nodes.panel.views import BLANK_MOMENT_AT, QUESTIONS, WORDS, LaneView, Moment
from holdfast.review.roles import may
from holdfast.verifier.lanes import LANES
from holdfast.web.typeset import typeset

FOLDER = Path(__file__).parent / "templates"
LEGEND = (
    ("proven", "The evidence is here and it checks. Look at the basis for what it rests on."),
    ("pending", "Evidence is expected and not here yet."),
    ("unknown", "Nothing will come by itself that could decide it."),
    ("refuted", "A check was made and it failed."),
    ("expired", "It was proven, under a key or trust that has since run out."),
    ("not_applicable", "The question does not arise for this turn."),
)
"""The six states in words (``lanes.md`` §1)."""
BLANK_LANES = tuple(
    LaneView(name, QUESTIONS[name], "pending", None, "Nothing yet: the turn has only begun.", "", ()) for name in LANES
)
"""A turn's lanes before the gateway has said anything."""
BLANK_MOMENT = Moment(BLANK_MOMENT_AT, 0, 0, "", "", None, "step", ahead=False, final=False, time="")
"""The empty line of the time axis that scripts clone."""


def short(text: str) -> str:
    """A digest or address with its middle left out."""
    return f"{text[:8]}…{text[-6:]}" if len(text) > 20 else text


def offset(value_ms: int) -> str:
    """A distance in time, to the millisecond below a minute."""
    if value_ms < 60_000:
        return f"+{value_ms / 1000:.3f} s"
    return f"+{value_ms // 60_000} min {value_ms % 60_000 // 1000} s"


def pause(value_ms: int) -> int:
    """How much room a wait gets on the time axis: 0 to 4, by orders of magnitude."""
    return sum(value_ms >= step for step in (100, 1_000, 5_000, 30_000))


def phrase(code: str) -> str:
    """A code as words: ``upstream.timeout`` is *upstream timeout*."""
    return code.replace(".", " ").replace("_", " ").replace("-", " ")


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    if not text:
        return text
    closed = text if text[-1] in ".!?…" else f"{text}."
    return closed[0].upper() + closed[1:]


def minutes(span: int) -> str:
    """A number of minutes in the largest whole unit."""
    for size, unit in ((1_440, "day"), (60, "hour"), (1, "minute")):
        if span % size == 0:
            return f"{span // size} {unit}{'' if span == size else 's'}"
    return ""


def pretty(value: object) -> str:
    """JSON to read, a member a line. Only for looking at: digests are over other bytes."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def clock(time: str) -> str:
    """An RFC 3339 time as date and minute; scripts turn it into a distance."""
    return f"{time[:10]} {time[11:16]} UTC"


class Pages:
    """Renders the templates; ``static`` is the assets' path."""

    def __init__(self, static: str) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, auto_reload=False
        )
        self._templates.filters.update(
            short=short,
            short_run=lambda run: f"{run[:8]}…{run[-6:]}",
            short_file=lambda name: f"{name[:17]}…{name[-11:]}",
            offset=offset,
            pause=pause,
            phrase=phrase,
            sentence=sentence,
            clock=clock,
            minutes=minutes,
            typeset=typeset,
            word=WORDS.__getitem__,
            may=may,
            pretty=pretty,
        )
        self._templates.globals.update(
            static=static, blank=BLANK_LANES, blank_moment=BLANK_MOMENT, legend=LEGEND, trouble=None
        )

    def compile(self) -> None:
        """Every template, so that nobody who opens a page waits for that."""
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    def render(self, template: str, **values: Any) -> str:
        """One page as HTML text."""
        return self._templates.get_template(template).render(**values)
