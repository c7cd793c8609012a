"""Times as people write them on a command line."""

from __future__ import annotations

import datetime as dt

from holdfast.core.encoding import time_decode
from holdfast.errors import MalformedError, UsageError


def parse_moment(text: str) -> dt.datetime:
    """An RFC 3339 time in any of its spellings, with a zone; raises ``usage.time``."""
    try:
        return time_decode(text)
    except MalformedError:
        pass
    try:
        moment = dt.datetime.fromisoformat(text)
        if moment.tzinfo is not None and "T" in text.upper():
            return moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        pass
    raise UsageError("usage.time", f"{text!r} is not an RFC 3339 time", param="at", hint="like 2026-01-01T00:00:00Z")
