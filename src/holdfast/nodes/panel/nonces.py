"""What a page draws for each question, on its way to the gateway, which signs it (``statement.md`` §3)."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.core.statements import is_nonce
from holdfast.errors import MalformedError

HEADER = "x-holdfast-nonce"


def drawn(headers: Mapping[str, str]) -> dict[str, str]:
    """The header, where there is one. Raises ``panel.nonce`` for what no statement could hold."""
    value = headers.get(HEADER)
    if value is None:
        return {}
    if not is_nonce(value):
        raise MalformedError("panel.nonce", f"{HEADER} has 16 to 64 letters, digits, - and _")
    return {HEADER: value}
