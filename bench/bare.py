"""The reference for what evidence costs: our own server, door, strict parsing and upstream client, and nothing bound.

It answers as the gateway does, minus parts, statements, signatures, records on disk and delivery to the log.
"""

from __future__ import annotations

import argparse
from typing import Any

from holdfast.adapters.upstream_openai import OpenAIUpstream, OpenAIUpstreamConfig
from holdfast.nodes.edge import Edge, Limits, Receive, Scope, Send
from holdfast.nodes.gateway.config import WorkspaceKey
from holdfast.nodes.gateway.keys import Workspaces
from holdfast.nodes.gateway.request import parse_ask
from holdfast.nodes.process import calm_collector, run_loop
from holdfast.nodes.server import make_server
from holdfast.ports.settings import Secret

KEY = "none"


class Bare:
    """One path, one upstream."""

    def __init__(self, upstream: str) -> None:
        self._workspaces = Workspaces([WorkspaceKey("bench", Secret(KEY, "bench"))])
        self._upstream = OpenAIUpstream(OpenAIUpstreamConfig("stub", upstream))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        headers = dict(scope["headers"])
        self._workspaces.caller(headers.get(b"authorization"))
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        ask = parse_ask("chat.completions", body, headers, default_model=None, settlement="batch")
        if ask.streamed:
            await self._stream(body, send)
            return
        answer = await self._upstream.complete("/chat/completions", body, timeout_s=30)
        sent = [(b"content-type", b"application/json"), (b"content-length", str(len(answer.body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": sent})
        await send({"type": "http.response.body", "body": answer.body})

    async def _stream(self, body: bytes, send: Send) -> None:
        events = self._upstream.stream("/chat/completions", body, timeout_s=60, idle_timeout_s=30)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        async for payload in events:
            await send({"type": "http.response.body", "body": b"data: " + payload + b"\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._upstream.close()
        await send({"type": "lifespan.shutdown.complete"})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    app: Any = Edge(Bare(options.upstream), Limits())
    server = make_server(app, port=options.port)
    calm_collector()
    run_loop(server.serve())


if __name__ == "__main__":
    main()
