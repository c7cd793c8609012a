"""Where flagged posts arrive: ``python3 examples/moderation/inbox.py [PORT]``.

It keeps the promise that ``idempotent = true`` in ``moderator.toml`` is about: what comes again under one
``idempotency-key`` is answered as before and done once.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

MAX_BYTES = 65_536


class Inbox(BaseHTTPRequestHandler):
    """Prints each flag once."""

    seen: ClassVar[dict[str, dict[str, str]]] = {}

    def do_POST(self) -> None:
        """Take a flag."""
        size, key = int(self.headers.get("content-length", "0")), self.headers.get("idempotency-key", "")
        if self.path != "/flags" or not key or not 0 < size <= MAX_BYTES:
            self.send_error(400)
            return
        flag = json.loads(self.rfile.read(size))
        if key not in self.seen:
            self.seen[key] = flag
            sys.stdout.write(f"{flag['post']}: {flag['why']}\n")
            sys.stdout.flush()
        body = json.dumps({"flags": len(self.seen)}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing but flags is printed."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8791), Inbox).serve_forever()
