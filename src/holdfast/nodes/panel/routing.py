"""A conversation's route policy on its way from a page to the gateway, which alone reads it (``routes.md`` §2)."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.errors import MalformedError

HEADER = "x-holdfast-route"
MOST_CHARACTERS = 8_192


def routing(headers: Mapping[str, str]) -> dict[str, str]:
    """The header, where there is one. Raises ``panel.route`` for what is no header of a policy."""
    value = headers.get(HEADER)
    if value is None:
        return {}
    if len(value) > MOST_CHARACTERS or not value.isascii():
        raise MalformedError("panel.route", f"{HEADER} has at most {MOST_CHARACTERS} characters of ASCII")
    return {HEADER: value}
