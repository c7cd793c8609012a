"""RSS 2.0 and Atom to entries (``spec/sources.md`` §6(4)).

Reads with the standard library's expat and refuses any document type declaration before it, so that no entity is ever
declared, expanded or fetched. Taken are title, link, id, time and a plain summary; markup inside is dropped.
"""

from __future__ import annotations

import datetime as dt
import re
from email.utils import parsedate_to_datetime
from typing import Any
from xml.etree import ElementTree as ET

from holdfast.core.encoding import time_encode
from holdfast.core.pages import plain_text
from holdfast.errors import MalformedError

_ATOM = "{http://www.w3.org/2005/Atom}"
_DC_DATE = "{http://purl.org/dc/elements/1.1/}date"
MOST_SUMMARY = 2000
"""Characters of a summary that are taken."""


def read_feed(body: bytes, most: int) -> tuple[list[dict[str, Any]], dt.datetime | None]:
    """The first ``most`` entries in the feed's order, and the newest time of all that are dated. Raises
    ``source.schema``."""
    if re.search(rb"<!(?:DOCTYPE|ENTITY)", body, re.IGNORECASE) or b"\x00" in body:
        raise MalformedError("source.schema", "a feed has no document type declaration")
    try:
        root = ET.fromstring(body)  # noqa: S314 (declarations, and with them entities, were refused above)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise MalformedError("source.schema", "the feed is not well-formed XML") from error
    if root.tag == f"{_ATOM}feed":
        entries = [_atom(item) for item in root.findall(f"{_ATOM}entry")[:most]]
    elif root.tag == "rss":
        entries = [_rss(item) for item in root.findall("channel/item")[:most]]
    else:
        raise MalformedError("source.schema", "the feed is neither RSS 2.0 nor Atom")
    dated = [entry.pop("_at") for entry in entries]
    times = [item for item in dated if item is not None]
    return entries, max(times, default=None)


def _entry(title: str, link: str, name: str, at: dt.datetime | None, summary: str) -> dict[str, Any]:
    return {
        "title": plain_text(title)[:500],
        "link": link.strip()[:2048],
        "id": name.strip()[:2048],
        "time": "" if at is None else time_encode(at),
        "summary": plain_text(summary)[:MOST_SUMMARY],
        "_at": at,
    }


def _rss(item: ET.Element) -> dict[str, Any]:
    link = item.findtext("link") or ""
    at = _date(item.findtext("pubDate")) or _iso(item.findtext(_DC_DATE))
    return _entry(
        item.findtext("title") or "", link, item.findtext("guid") or link, at, item.findtext("description") or ""
    )


def _atom(item: ET.Element) -> dict[str, Any]:
    links = {one.get("rel", "alternate"): one.get("href", "") for one in item.findall(f"{_ATOM}link")}
    at = _iso(item.findtext(f"{_ATOM}updated") or item.findtext(f"{_ATOM}published"))
    summary = item.find(f"{_ATOM}summary")
    content = item.find(f"{_ATOM}content") if summary is None else summary
    text = "" if content is None else "".join(content.itertext())
    title = item.find(f"{_ATOM}title")
    shown = "" if title is None else "".join(title.itertext())
    return _entry(shown, links.get("alternate", ""), item.findtext(f"{_ATOM}id") or "", at, text)


def _date(text: str | None) -> dt.datetime | None:
    """RFC 822's dates, which RSS uses; None for what is none."""
    if not text:
        return None
    try:
        found = parsedate_to_datetime(text.strip())
        return found.replace(tzinfo=found.tzinfo or dt.UTC, microsecond=0).astimezone(dt.UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _iso(text: str | None) -> dt.datetime | None:
    if not text:
        return None
    try:
        found = dt.datetime.fromisoformat(text.strip())
        return found.astimezone(dt.UTC) if found.tzinfo else found.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        return None
