"""The list of models and one of them, as OpenAI's and Anthropic's clients read both: one object with the members of
each.

Not covered: which models there are (``catalog``, ``computing``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.errors import UsageError

_LATEST = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)


def list_models(models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All of them, on one page."""
    data = [_shown(model) for model in models]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return {"object": "list", "data": data, "has_more": False, **ends}


def find_model(models: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """One of them; raises ``request.unknown_model`` (404)."""
    for model in models:
        if model["id"] == name:
            return _shown(model)
    raise UsageError(
        "request.unknown_model",
        f"no upstream offers {name[:128]!r}",
        status=404,
        param="model",
        hint="GET /v1/models lists them",
    )


def _shown(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model with the names that Anthropic's client looks for; when it was made is its upstream's word."""
    created = dt.datetime.fromtimestamp(min(max(int(model["created"]), 0), int(_LATEST.timestamp())), dt.UTC)
    return {**model, "type": "model", "display_name": model["id"], "created_at": created.strftime("%Y-%m-%dT%H:%M:%SZ")}
