"""An MCP server over pipes that answers well until it is told to flood: ``flooding_server.py HOW WHEN [PIDS]``.

``HOW``: ``line`` (one that does not end), ``messages`` (notifications without end), ``requests`` (pings without end,
each of which its client answers), ``large`` (one message of more bytes than any may have) or ``nothing``. ``WHEN``: the
method that it floods at. It writes its own process id into ``PIDS``, and that of a program that it starts and that
outlives it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TOOL = {"name": "flood", "description": "Floods.", "inputSchema": {"type": "object", "properties": {}}}
MESSAGE = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x" * 512}}


def answer(method: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a well-behaved server answers."""
    if method == "initialize":
        told = {"protocolVersion": asked["protocolVersion"], "capabilities": {"tools": {}}}
        return {"result": told | {"serverInfo": {"name": "flood", "version": "1"}}}
    if method == "tools/list":
        return {"result": {"tools": [TOOL]}}
    if method == "tools/call":
        return {"result": {"content": [{"type": "text", "text": "well"}]}}
    return {"error": {"code": -32601, "message": "no such method"}}


def write(value: Mapping[str, Any]) -> None:
    """One message."""
    os.write(1, json.dumps(value).encode() + b"\n")


def flood(how: str, identity: object) -> None:
    """Write for as long as anybody reads."""
    number = 0
    if how == "large":
        text = {"content": [{"type": "text", "text": "x" * (17 << 20)}]}
        data = memoryview(json.dumps({"jsonrpc": "2.0", "id": identity, "result": text}).encode() + b"\n")
        while data:
            data = data[os.write(1, data) :]
    while how == "line":
        os.write(1, b"x" * 65_536)
    while how == "messages":
        write(MESSAGE)
    while how == "requests":
        number += 1
        write({"jsonrpc": "2.0", "id": f"p{number}", "method": "ping", "params": {"_meta": {"more": "x" * 4_096}}})


def main(how: str, when: str, *pids: str) -> None:
    """Serve until the input ends."""
    for path in pids:
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(path).write_text(f"{os.getpid()} {other.pid}", encoding="utf-8")
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" not in asked or "method" not in asked:
            continue
        if asked["method"] == when:
            flood(how, asked["id"])
        write({"jsonrpc": "2.0", "id": asked["id"], **answer(asked["method"], asked.get("params", {}))})


if __name__ == "__main__":
    main(*sys.argv[1:])
