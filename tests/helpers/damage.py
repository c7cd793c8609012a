"""What can be done to the events of a bound answer on their way: cut, corrupted, reordered, repeated, unmarked."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

Events = list[bytes]
Damage = Callable[[Events, Random], Events]


def _without(text: bytes, *names: str) -> bytes:
    value = json.loads(text)
    for name in names:
        value["holdfast"].pop(name, None)
    return json.dumps(value).encode()


def cut(events: Events, source: Random) -> Events:
    """Ended before its last event."""
    return events[: source.randrange(1, len(events))]


def corrupted(events: Events, source: Random) -> Events:
    """One letter or digit of what one event shows is another."""
    found = list(events)
    at = source.randrange(1, len(found) - 1)
    value = json.loads(found[at])
    delta = value["choices"][0]["delta"]
    place = source.randrange(len(delta["content"]))
    letter = delta["content"][place]
    delta["content"] = delta["content"][:place] + chr(ord(letter) ^ 1) + delta["content"][place + 1 :]
    found[at] = json.dumps(value).encode()
    return found


def reordered(events: Events, source: Random) -> Events:
    """Two neighbours change places."""
    at = source.randrange(1, len(events) - 1)
    found = list(events)
    found[at], found[at + 1] = found[at + 1], found[at]
    return found


def repeated(events: Events, source: Random) -> Events:
    """One event comes twice."""
    at = source.randrange(len(events))
    return [*events[: at + 1], events[at], *events[at + 1 :]]


def missing(events: Events, source: Random) -> Events:
    """One event does not come."""
    at = source.randrange(len(events) - 1)
    return [*events[:at], *events[at + 1 :]]


def mark_dropped(events: Events, source: Random) -> Events:
    """One mark is taken out."""
    marked = [at for at, text in enumerate(events) if b'"mark"' in text]
    at = source.choice(marked)
    return [*events[:at], _without(events[at], "mark"), *events[at + 1 :]]


def no_marks(events: Events, source: Random) -> Events:
    """Every mark is taken out."""
    return [_without(text, "mark") if b'"mark"' in text else text for text in events]


def mark_forged(events: Events, source: Random) -> Events:
    """The signature of one mark is another's."""
    marked = [at for at, text in enumerate(events) if b'"mark"' in text]
    one, other = source.sample(marked, 2)
    value = json.loads(events[one])
    value["holdfast"]["mark"]["signature"] = json.loads(events[other])["holdfast"]["mark"]["signature"]
    return [*events[:one], json.dumps(value).encode(), *events[one + 1 :]]


def model_renamed(events: Events, source: Random) -> Events:
    """One event names another model."""
    at = source.randrange(len(events))
    return [*events[:at], events[at].replace(b"holdfast-responder", b"other-responder"), *events[at + 1 :]]


def finished_otherwise(events: Events, source: Random) -> Events:
    """The last event says that the answer was cut at its length."""
    return [*events[:-1], events[-1].replace(b'"stop"', b'"length"')]


def went_on(events: Events, source: Random) -> Events:
    """More text comes after the last mark."""
    value = json.loads(events[1])
    del value["holdfast"]
    value["choices"][0]["delta"]["content"] = " and more"
    return [*events, json.dumps(value).encode()]


def said_twice(events: Events, source: Random) -> Events:
    """One event says its content twice, once under a second member of the same name."""
    at = source.randrange(1, len(events) - 1)
    return [*events[:at], events[at].replace(b'"delta": {', b'"delta": {"content": "not this", '), *events[at + 1 :]]


def other_statements(events: Events, source: Random) -> Events:
    """The last event names other statements than those that close the run."""
    value = json.loads(events[-1])
    value["holdfast"]["statements"][1]["digest"] = "0" * 64
    return [*events[:-1], json.dumps(value).encode()]


DAMAGES: dict[str, Damage] = {
    "cut": cut,
    "corrupted": corrupted,
    "reordered": reordered,
    "repeated": repeated,
    "missing": missing,
    "mark-dropped": mark_dropped,
    "marks-dropped": no_marks,
    "mark-forged": mark_forged,
    "model-renamed": model_renamed,
    "finished-otherwise": finished_otherwise,
    "continued-without-a-mark": went_on,
    "said-twice": said_twice,
    "other-statements": other_statements,
}
"""By name."""


def damaged(events: Events, source: Random) -> Events:
    """One of these, at random."""
    return DAMAGES[source.choice(sorted(DAMAGES))](events, source)
