"""Rows of memory from memory.md alone: histories as chains of bytes, and a standing computed by going through them."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

from reference import text

ORDER = {"imported": 0, "model_inferred": 1, "tool_returned": 2, "data_admitted": 3, "user_said": 4}
DAYS = {
    "identity": (365, 1095),
    "career": (180, 365),
    "interests": (180, 540),
    "relationships": (180, 540),
    "learning": (90, 270),
    "private": (90, 270),
    "travel": (30, 120),
    "health": (30, 90),
    "finance": (30, 90),
    "productivity": (14, 60),
}


def chain(events: list[dict[str, Any]]) -> list[str]:
    """Events as strings, each with the digest of the one before; what names another ``previous`` keeps it."""
    lines: list[str] = []
    for event in events:
        before = hashlib.sha256(lines[-1].encode()).hexdigest() if lines else None
        lines.append(text.jcs({"previous": before, **event}).decode())
    return lines


def moment(value: str) -> dt.datetime:
    """A time of the specification."""
    return dt.datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%f%z")


def shown(value: dt.datetime | None) -> str | None:
    """The same as text."""
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"


def standing(lines: list[str], events: list[dict[str, Any]], at: str) -> dict[str, Any]:
    """§5, for a history that is well formed."""
    first, now = events[0], moment(at)
    authority = min([first["writer"], *(source["lane"] for source in first["sources"])], key=ORDER.__getitem__)
    earned = moment(first["at"]) if ORDER[authority] >= 3 else None
    against: dict[str, str] = {}
    over = False
    for event in events[1:]:
        match event["type"]:
            case "confirmed":
                earned, against = moment(event["at"]), {}
            case "agreed":
                earned = moment(event["at"])
            case "contradicted":
                against[event["other"]] = event["authority"]
            case "reconciled":
                against.pop(event["other"], None)
            case "superseded" | "withdrawn":
                over = True
    spans = [DAYS[name] for name in first["categories"]] or [(90, 270)]
    if first["kind"] == "episodic":
        spans.append((7, 30))
    fresh, lapse = min(span[0] for span in spans), min(span[1] for span in spans)
    until = None
    if earned is not None:
        until = earned + dt.timedelta(days=lapse)
        if first["expires"] is not None:
            until = min(until, moment(first["expires"]))
    if over:
        stands = "withdrawn"
    elif any(ORDER[other] >= ORDER[authority] for other in against.values()):
        stands = "contradicted"
    elif earned is None or until is None or now >= until:
        stands = "background"
    else:
        stands = "aging" if now >= earned + dt.timedelta(days=fresh) else "earned"
    return {
        "standing": stands,
        "authority": authority,
        "digest": hashlib.sha256(lines[0].encode()).hexdigest(),
        "head": hashlib.sha256(lines[-1].encode()).hexdigest(),
        "earned": shown(earned),
        "valid_until": shown(until),
    }
