"""The reference: a bare ASGI pass-through on uvicorn with an aiohttp client. No authentication, no evidence."""

from __future__ import annotations

import argparse
from typing import Any

import aiohttp
import uvicorn

_session: aiohttp.ClientSession | None = None
_target = ""
_EVENTS = [(b"content-type", b"text/event-stream")]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Forward the body, return the answer."""
    global _session
    if scope["type"] == "lifespan":
        await receive()
        _session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await _session.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    assert _session is not None
    headers = {"content-type": "application/json"}
    async with _session.post(_target + "/chat/completions", data=body, headers=headers) as answer:
        if answer.content_type == "text/event-stream":
            await send({"type": "http.response.start", "status": answer.status, "headers": _EVENTS})
            async for piece in answer.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        data = await answer.read()
    sent = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": sent})
    await send({"type": "http.response.body", "body": data})


def main() -> None:
    """Command line."""
    global _target
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    _target = options.upstream
    uvicorn.run(app, port=options.port, log_level="critical", loop="uvloop", http="httptools", access_log=False)


if __name__ == "__main__":
    main()
