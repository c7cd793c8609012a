"""A data node behind an HTTP port: it signs real statements, and answers what a test put in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.core.encoding import b64_encode
from holdfast.errors import UnavailableError
from holdfast.ports.http import Answer
from tests.helpers.admissions import DataNode, Signed

Admits = Callable[[Mapping[str, Any]], Signed]


class ScriptedDataNode:
    """Implements :class:`holdfast.ports.http.HTTP` for the base URL of one data node."""

    def __init__(self, node: DataNode | None = None) -> None:
        self.node = node or DataNode()
        self.admissions: dict[str, Signed] = {}
        self.admits: Admits | None = None
        self.evidence: tuple[str, bytes] | None = None
        """Format and bytes of what it presents of its key."""
        self.workspace: str | None = None
        """Who may have what it knows by digest alone."""
        self.silent = False
        self.asked: list[tuple[str, str, Any]] = []
        """Method, path and body of every request."""

    def keep(self, *signed: Signed) -> None:
        """Have it know these."""
        self.admissions |= {item.digest: item for item in signed}

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> Answer:
        """One request to it."""
        assert timeout_s > 0
        assert max_bytes > 0
        path = url.removeprefix("http://data.test")
        self.asked.append((method, path, json.loads(body) if body else None))
        given = headers or {}
        assert given["authorization"] == "Bearer data-key"
        if self.silent:
            raise UnavailableError("http.unreachable", "nobody answers")
        if path == "/v1/identity":
            return _json(200, {"node": self.node.document.digest, "attestation": self._attestation()})
        if path == "/v1/admit" and self.admits is not None:
            made = self.admits(json.loads(body))
            self.keep(made)
            return _json(200, {"digest": made.digest, **made.presented.to_json()})
        found = self.admissions.get(path.removeprefix("/v1/admissions/"))
        asker = given.get("x-holdfast-workspace")
        entitled = found is not None and given.get("x-holdfast-capability") == found.salt.hex()
        if found is None or not (entitled or (asker is not None and asker == self.workspace)):
            return _json(404, {"error": {"code": "admission.unknown", "message": "no such admission", "hint": ""}})
        return _json(200, {"digest": found.digest, **found.presented.to_json()})

    def _attestation(self) -> dict[str, str] | None:
        if self.evidence is None:
            return None
        return {"format": self.evidence[0], "evidence": b64_encode(self.evidence[1])}


def _json(status: int, value: object) -> Answer:
    return Answer(status, json.dumps(value).encode())
