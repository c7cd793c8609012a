"""Which rows of a queue a URL asks for. Everything is in the URL, so that a view can be kept and sent to a colleague.

Each filter narrows what is shown; none of them weighs lanes against each other. ``lane`` and ``is`` go together and ask
for one lane in one state.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from holdfast.core.encoding import time_encode
from holdfast.errors import MalformedError, RefusedError
from holdfast.ports.case_store import CaseFilter
from holdfast.review.events import MAX_TEXT
from holdfast.verifier.gate import GATE_STATES
from holdfast.verifier.lanes import LANES, STATES

MARKS = {
    "early": "Released early",
    "flagged": "Leaned on what is let through no more",
    "stale": "Label moved while open",
}
"""Filters that are there or not, and what they show."""
_KNOWN = ("state", "lane", "is", "claimed", *MARKS, "subject", "since")


def url_of(path: str, given: Mapping[str, str], **changes: str | int | None) -> str:
    """A URL with filters and changes to them; None leaves one out."""
    kept = {name: value for name, value in {**given, **changes}.items() if value is not None}
    return f"{path}?{urlencode(kept)}" if kept else path


@dataclass(frozen=True, slots=True)
class Asked:
    """What a URL asks for: the filters as they were written, and what they mean."""

    given: Mapping[str, str]
    which: CaseFilter

    def url(self, path: str, **changes: str | int | None) -> str:
        """The same view with changes; None leaves a filter out."""
        return url_of(path, self.given, **changes)

    @property
    def fields(self) -> dict[str, str]:
        """Every filter as a form shows it; empty where it is not used."""
        return {name: self.given.get(name, "") for name in _KNOWN}

    @property
    def narrowed(self) -> bool:
        """Whether anything but the state is asked for."""
        return any(name != "state" for name in self.given)


def parse_filters(queue: str, query: Mapping[str, str], person: str | None, now: dt.datetime, limit: int) -> Asked:
    """The filters of a URL. ``person`` is whoever is signed in. Raises ``panel.filter``, or ``people.sign_in_first``
    for one's own cases without being somebody."""
    given = {name: query[name] for name in _KNOWN if query.get(name)}
    state, after = _one_of(given, "state", GATE_STATES), query.get("after")
    lane, is_ = _one_of(given, "lane", LANES), _one_of(given, "is", STATES)
    if (lane is None) != (is_ is None):
        raise MalformedError("panel.filter", "lane and is go together: lane=settlement&is=pending", param="lane")
    if after is not None and not (after.isascii() and after.isdigit() and len(after) <= 18):
        raise MalformedError("panel.filter", "after is the position of a case", param="after")
    if _one_of(given, "claimed", ("me",)) and person is None:
        raise RefusedError("people.sign_in_first", "only somebody can have claimed cases", hint="sign in", status=401)
    marks = {name: _one_of(given, name, ("1",)) is not None for name in MARKS}
    subject = given.get("subject")
    if subject is not None and (len(subject) > MAX_TEXT or "\x00" in subject):
        raise MalformedError("panel.filter", "subject is how a subject begins", param="subject")
    return Asked(
        given,
        CaseFilter(
            queue=queue,
            stands=(state,) if state else (),
            claimed_by=person if "claimed" in given else None,
            claimed_at=time_encode(now) if "claimed" in given else None,
            lane=lane,
            lane_state=is_,
            released_early=marks["early"],
            flagged=marks["flagged"],
            stale=marks["stale"],
            subject_prefix=subject,
            opened_since=_since(given.get("since")),
            after=None if after is None else int(after),
            limit=limit,
            newest_first=True,
        ),
    )


def _one_of(given: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str | None:
    value = given.get(name)
    if value is not None and value not in allowed:
        raise MalformedError("panel.filter", f"{name} is one of {', '.join(allowed)}", param=name)
    return value


def _since(text: str | None) -> str | None:
    """A day, or a moment; without a zone it means UTC."""
    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
        return time_encode(moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC))
    except (ValueError, OverflowError) as error:
        raise MalformedError("panel.filter", "since is a day or a moment, such as 2026-01-01", param="since") from error
