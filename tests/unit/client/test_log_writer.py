"""Handing entries to a log: what counts as logged, and what a log that answers oddly costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from holdfast.client.log_writer import Accepted, HTTPLogWriter
from holdfast.core.encoding import b64_encode, sha256_hex
from holdfast.errors import HoldfastError
from holdfast.ports.http import Answer
from holdfast.ports.settings import Secret

DIGEST = "ab" * 32


class OneAnswer:
    """A network on which everybody says the same."""

    def __init__(self, status: int, body: Any) -> None:
        self._answer = Answer(status, body if isinstance(body, bytes) else json.dumps(body).encode(), {})
        self.asked: list[tuple[str, str, bytes, Mapping[str, str]]] = []

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
        assert timeout_s > 0
        assert max_bytes > 0
        self.asked.append((method, url, body, headers or {}))
        return self._answer


def append(status: int, body: Any, entries: int = 1) -> list[Accepted]:
    writer = HTTPLogWriter(OneAnswer(status, body), "http://log/", None)
    return asyncio.run(writer.append([b"entry"] * entries))


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"", "json.syntax"),
        (200, [], "json.object"),
        (200, {}, "log.answer"),
        (200, {"results": {}}, "log.answer"),
        (200, {"results": []}, "log.answer"),
        (200, {"results": [{"digest": DIGEST, "index": 0}] * 2}, "log.answer"),
        (200, {"results": [1]}, "log.answer"),
        (200, {"results": [{"index": 0}]}, "log.answer"),
        (200, {"results": [{"digest": 1, "index": 0}]}, "log.answer"),
        (429, {}, "log.unavailable"),
        (500, b"<html>", "log.unavailable"),
        (503, {"error": {"code": "log.busy"}}, "log.unavailable"),
        (302, b"", "log.refused"),
        (401, {"error": {"code": "auth.wrong"}}, "log.refused"),
        (400, {"error": "no"}, "log.refused"),
    ],
)
def test_an_odd_answer_logs_nothing(status: int, body: Any, code: str) -> None:
    with pytest.raises(HoldfastError) as refused:
        append(status, body)
    assert refused.value.code == code


@pytest.mark.parametrize("index", [-1, True, "0", None, 0.0])
def test_an_entry_without_an_index_is_not_logged(index: Any) -> None:
    assert append(200, {"results": [{"digest": DIGEST, "index": index}]}) == [Accepted(DIGEST, None, "log.refused")]


def test_each_entry_is_logged_or_refused_by_itself() -> None:
    results = [{"digest": DIGEST, "index": 7}, {"digest": DIGEST, "error": {"code": "log.entry", "message": "no"}}]
    assert append(200, {"results": results}, 2) == [Accepted(DIGEST, 7, None), Accepted(DIGEST, None, "log.entry")]


def test_entries_go_out_as_base64_with_the_token() -> None:
    http = OneAnswer(200, {"results": [{"digest": DIGEST, "index": 0}]})
    asyncio.run(HTTPLogWriter(http, "http://log/", Secret("token", "test")).append([b"\x00entry"]))
    [(method, url, body, headers)] = http.asked
    assert (method, url) == ("POST", "http://log/v1/entries")
    assert json.loads(body) == {"entries": [b64_encode(b"\x00entry")]}
    assert headers["authorization"] == "Bearer token"


def test_a_blob_is_stored_when_the_log_names_its_bytes() -> None:
    http = OneAnswer(200, {"blob": sha256_hex(b"data")})
    assert asyncio.run(HTTPLogWriter(http, "http://log", None).put_blob(b"data")) == sha256_hex(b"data")
    assert http.asked[0][:3] == ("PUT", "http://log/v1/blobs", b"data")
    assert "authorization" not in http.asked[0][3]
    for said in ({"blob": DIGEST}, {"blob": None}, {}):
        with pytest.raises(HoldfastError) as refused:
            asyncio.run(HTTPLogWriter(OneAnswer(200, said), "http://log", None).put_blob(b"data"))
        assert refused.value.code == "log.answer"
