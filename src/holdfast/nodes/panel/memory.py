"""``POST /memory/acts/{act}``: what a page asks a memory's node, passed on with the key that came with it.

Rules:

* The key comes in a header of each request, goes into one request to the node, and is kept nowhere: in no session,
  journal, log line or error. Which rows are meant stands in bodies, never in a path of this panel.
* What can be asked is the closed table :data:`ACTS`; whoever reaches the panel reaches no other path of the node.
* A request comes from a page of ours and carries the session's token, as every change does (``access.py``).

Not covered: what a key may do, which the node says (``spec/memory.md`` §9), and that a panel which lies about its own
code could keep a key: whoever does not trust a panel uses ``holdfast memory``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from holdfast.client.memory import MemoryClient
from holdfast.core.memory import STANDINGS
from holdfast.errors import MalformedError, RefusedError, UsageError
from holdfast.nodes.edge import read_json

KEY_HEADER = "x-holdfast-memory-key"
ACTS = {
    "unlock": ("POST", "/unlock"),
    "lock": ("POST", "/lock"),
    "me": ("GET", "/me"),
    "search": ("POST", "/memories/search"),
    "remember": ("POST", "/memories"),
    "list": ("GET", "/memories?page={page}"),
    "standing": ("GET", "/memories?standing={standing}&page={page}"),
    "history": ("GET", "/memories/{row}/history"),
    "confirm": ("POST", "/memories/{row}/confirm"),
    "correct": ("POST", "/memories/{row}/correct"),
    "withdraw": ("POST", "/memories/{row}/withdraw"),
    "contradictions": ("GET", "/contradictions"),
    "export": ("POST", "/export"),
    "passkey": ("POST", "/api-keys"),
    "keys": ("GET", "/api-keys"),
    "end-key": ("DELETE", "/api-keys/{wrap}"),
    "erase": ("DELETE", "/memories/{row}"),
    "erase-everything": ("POST", "/erase"),
}
"""By act: method and path at the node; what stands in braces are members of the body that came."""
_ROW = re.compile(r"mem_[0-9a-f]{32}\Z")
_WRAP = re.compile(r"[0-9a-f]{16}\Z")
_KEY = re.compile(r"[\x21-\x7e]{1,512}\Z")
_MOST_PAGES = 10**6
_MOST_USER = 256


async def pass_on(memory: MemoryClient | None, request: Request) -> Response:
    """Answer the request with the node's own bytes. Raises ``panel.memory``, ``panel.memory_key`` and what the node
    answers."""
    if memory is None:
        raise UsageError(
            "panel.memory", "this panel knows no memory node", hint="set memory in its settings", status=404
        )
    act = ACTS.get(request.path_params["act"])
    if act is None:
        raise UsageError("panel.memory", "there is no such act of a memory", status=404)
    method, path = act
    body = await read_json(request)
    for name, read in _IN_PATHS.items():
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", read(body.pop(name, None)))
    answer = await memory.send(method, path, _key(request.headers), body if method == "POST" else None)
    return Response(answer, headers={"cache-control": "no-store"}, media_type="application/json")


def carrying(user: Any, headers: Mapping[str, str]) -> dict[str, str]:
    """The header of a question into which this user's rows are to be recalled: the key that came with it, which the
    gateway passes on and keeps nowhere (``spec/recall.md`` §6). Raises ``panel.memory`` and ``panel.memory_key``."""
    if user is None:
        return {}
    if not isinstance(user, str) or not 1 <= len(user) <= _MOST_USER:
        raise MalformedError("panel.memory", f"a user has 1 to {_MOST_USER} characters", param="memory")
    key = _key(headers)
    if key is None:
        raise RefusedError("panel.memory_key", "a key is needed to carry rows in", hint="unlock them first", status=401)
    return {KEY_HEADER: key}


def _key(headers: Mapping[str, str]) -> str | None:
    key = headers.get(KEY_HEADER)
    if key is not None and not _KEY.match(key):
        raise MalformedError("panel.memory_key", "a key has 1 to 512 visible characters and no space")
    return key


def _row(value: Any) -> str:
    if not isinstance(value, str) or not _ROW.match(value):
        raise MalformedError("panel.memory", "a row is named by mem_ and 32 hex digits", param="row")
    return value


def _page(value: Any) -> str:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_PAGES:
        raise MalformedError("panel.memory", "a page is a number from 1", param="page")
    return str(value)


def _standing(value: Any) -> str:
    if value not in STANDINGS:
        raise MalformedError("panel.memory", f"a standing is one of {', '.join(STANDINGS)}", param="standing")
    return str(value)


def _wrap(value: Any) -> str:
    if not isinstance(value, str) or not _WRAP.match(value):
        raise MalformedError("panel.memory", "a key is named by 16 hex digits", param="wrap")
    return value


_IN_PATHS = {"row": _row, "wrap": _wrap, "page": _page, "standing": _standing}
