"""The gateway's HTTP surface under attack, over real sockets: whatever arrives gets the one error shape and opens no
run, whatever breaks leaves the right signed statement, and nobody reads what is not theirs."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from holdfast.core import canonical, parts
from holdfast.core.encoding import hex_decode
from holdfast.core.parts import verify_document
from holdfast.core.statements import parse_tree
from holdfast.nodes import server as server_module
from tests.helpers import upstreams as fake
from tests.helpers.live_gateway import (
    KEY,
    MODEL,
    OTHER_KEY,
    LiveGateway,
    Reply,
    head,
    question,
    read_head,
    read_reply,
    serving,
    sse,
    upstream,
)
from tests.helpers.processes import wait_for
from tests.helpers.upstreams import Behaviour, Server

pytestmark = pytest.mark.enable_socket
LIMIT = 64 << 10
"""Largest body of the gateway under test."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    """One gateway with small limits that all tests attack in turn, and that must be unharmed at the end."""
    with serving(tmp_path_factory.mktemp("gateway"), request_bytes=LIMIT, request_seconds=1) as live:
        yield live
        assert live.post(question()).status == 200


@pytest.fixture(scope="module")
def upstream_server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def shared_behind(tmp_path_factory: pytest.TempPathFactory, upstream_server: Server) -> Iterator[LiveGateway]:
    addresses = (upstream(upstream_server.base_url),)
    limits = {"upstream_seconds": 1, "idle_seconds": 1, "answer_bytes": 1 << 20, "mark_ms": 10}
    with serving(tmp_path_factory.mktemp("behind"), upstreams=addresses, builtin=False, **limits) as live:
        yield live


class Behind:
    """One gateway for all tests that only need an upstream to misbehave: ``behind(behaviour)``."""

    def __init__(self, live: LiveGateway, server: Server) -> None:
        self.live = live
        self._server = server

    def __call__(self, behaviour: Behaviour) -> LiveGateway:
        self._server.behaviour = behaviour
        return self.live


@pytest.fixture
def behind(shared_behind: LiveGateway, upstream_server: Server) -> Iterator[Behind]:
    yield Behind(shared_behind, upstream_server)
    wait_for(lambda: all(row["outcome"] for row in shared_behind.runs(limit=4)), 30, "the close of every run")


@pytest.fixture(autouse=True)
def no_run_is_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test on the shared gateway nothing is under way."""
    yield
    if "gateway" in request.fixturenames:
        live: LiveGateway = request.getfixturevalue("gateway")
        wait_for(lambda: all(row["outcome"] for row in live.runs(limit=4)), 30, "the close of every run")


def newest(gateway: LiveGateway) -> list[str]:
    return [row["run"] for row in gateway.runs(limit=1)]


def refused(gateway: LiveGateway, send: Callable[[], Reply]) -> tuple[int, str]:
    """Status and code of a reply that must be an error and must not have opened a run."""
    before = newest(gateway)
    reply = send()
    code = reply.code
    assert newest(gateway) == before, "a refused request opened a run"
    assert "x-holdfast-run" not in reply.headers
    return reply.status, code


# Bodies that are refused.

DEEP = b'{"model":"' + MODEL.encode() + b'","messages":' + b"[" * 5000 + b"]" * 5000 + b"}"


def with_body(member: str) -> bytes:
    return f'{{"model":"{MODEL}","messages":[{{"role":"user","content":"x"}}],{member}}}'.encode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "json.syntax"),
        (b"null", "request.object"),
        (b"[]", "request.object"),
        (b"\xff\xfe", "json.utf8"),
        (b"\xef\xbb\xbf{}", "json.syntax"),
        (b"{} {}", "json.syntax"),
        (b'{"a":NaN}', "json.number"),
        (b'{"a":-Infinity}', "json.number"),
        (b'{"a":1,"a":2}', "json.duplicate_key"),
        (b'{"a":"\\ud800"}', "json.surrogate"),
        (b'{"\\udfff":1}', "json.surrogate"),
        (b'{"a":"\n"}', "json.syntax"),
        (DEEP, "json.depth"),
        (b"[" * 60_000, "json.depth"),
        (with_body('"\\u0000":1'), "parts.label"),
        (with_body('"deep":{"a\\u0000b":1}'), "parts.label"),
        (with_body('"stream":"yes"'), "request.stream"),
        (with_body('"stream":1'), "request.stream"),
        (with_body('"holdfast":null'), "request.holdfast"),
        (with_body('"holdfast":{"nonce":1}'), "request.nonce"),
        (with_body('"holdfast":{"settlement":null}'), "request.settlement"),
        (with_body('"holdfast":{"settlement":["batch"]}'), "request.settlement"),
        (with_body('"holdfast":{"settlement":{}}'), "request.settlement"),
        (with_body('"holdfast":{"parent_run":"../../etc/passwd"}'), "request.parent_run"),
        (with_body('"holdfast":{"queue":"The Desk"}'), "request.queue"),
        (b'{"model":1,"messages":[{"role":"user"}]}', "request.model"),
        (b'{"model":"","messages":[{"role":"user"}]}', "request.model"),
        (b'{"messages":[{"role":"user"}]}', "request.model"),
        (b'{"model":"x","messages":{}}', "request.messages"),
        (b'{"model":"x","messages":["user"]}', "request.messages"),
        (b'{"model":"x","messages":[{"role":1}]}', "request.messages"),
        (b'{"model":"x\\u0000","messages":[{"role":"user"}]}', "request.unknown_model"),
    ],
)
def test_a_body_that_cannot_be_taken_is_refused_and_opens_no_run(gateway: LiveGateway, body: bytes, code: str) -> None:
    status, found = refused(gateway, lambda: gateway.post(body))
    assert found == code
    assert status == (404 if code == "request.unknown_model" else 400)


@pytest.mark.parametrize("prompt", ["1", "{}", "[]", "null", "true"])
def test_a_prompt_is_a_text_or_some_texts(gateway: LiveGateway, prompt: str) -> None:
    body = f'{{"model":"{MODEL}","prompt":{prompt}}}'.encode()
    assert refused(gateway, lambda: gateway.post(body, "/v1/completions")) == (400, "request.prompt")


def test_a_document_of_too_many_parts_is_refused(gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_PARTS", 500)
    for count, status in ((501, 400), (400, 200)):
        reply = gateway.post(with_body(f'"many":[{",".join(["1"] * count)}]'))
        assert reply.status == status
        assert status == 200 or reply.code == "parts.count"


def test_numbers_keep_the_text_they_were_written_in_however_large(behind: Behind) -> None:
    body = upstream_question().replace(b"{", b'{"a":1e999,"b":-0.0,"c":' + b"9" * 5000 + b',"d":1E+2,"e":0.10,', 1)
    gateway = behind(fake.answer())
    reply = gateway.post(body)
    assert reply.status == 200
    run, secret = reply.headers["x-holdfast-run"], hex_decode(reply.headers["x-holdfast-capability"], 32)
    route = gateway.statements(run)[0]["predicate"]
    assert route["rewrites"] == []
    verify_document("request", body, run, secret, parse_tree(route["request"]))


# Sizes and times.


def test_a_body_announced_as_too_large_is_refused_before_it_is_sent(gateway: LiveGateway) -> None:
    announced = head("POST", "/v1/chat/completions", [f"content-length: {LIMIT + 1}"])
    assert refused(gateway, lambda: gateway.send(announced)) == (413, "request.too_large")


def test_a_chunked_body_is_refused_where_it_gets_too_large(gateway: LiveGateway) -> None:
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    start = head("POST", "/v1/chat/completions", ["transfer-encoding: chunked"])
    assert refused(gateway, lambda: gateway.send(start, *[chunk] * 5)) == (413, "request.too_large")


def test_a_chunked_body_in_single_bytes_is_answered(gateway: LiveGateway) -> None:
    start = head("POST", "/v1/chat/completions", ["transfer-encoding: chunked"])
    pieces = [b"1\r\n" + bytes([byte]) + b"\r\n" for byte in question()]
    assert gateway.send(start, *pieces, b"0\r\n\r\n").status == 200


def test_a_body_that_never_ends_is_refused_in_time(gateway: LiveGateway) -> None:
    start = head("POST", "/v1/chat/completions", ["content-length: 1000"])
    assert refused(gateway, lambda: gateway.send(start, b'{"model"')) == (408, "request.slow")


def test_headers_that_never_end_are_refused_in_time(gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEADER_SECONDS", 0.3)
    reply = gateway.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow:")
    assert (reply.status, reply.code) == (408, "request.slow")


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx: a\x00b\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_refused_in_the_one_shape(gateway: LiveGateway, raw: bytes) -> None:
    reply = gateway.send(raw)
    assert reply.status in {400, 401}
    assert reply.code in {"request.http", "auth.missing"}


# Paths, methods, headers.


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v1/models/",
        "/v1/audio/speech",
        "/v1/chat/completions/",
        "/v1//models",
        "/v1/runs/",
        "/v1/runs/x/y",
        "/../../etc/passwd",
        "/v1/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/runs/%2e%2e%2f%2e%2e%2fwal",
        "/.env",
        "/static/..%5c..%5cx",
        "/%00",
        "/v1/models%00",
        "/V1/MODELS",
        "//v1/models",
        "*",
    ],
)
def test_a_path_that_is_not_served_is_not_found(gateway: LiveGateway, path: str) -> None:
    for method in ("GET", "POST"):
        assert refused(gateway, lambda method=method: gateway.send(head(method, path, ["content-length: 0"]))) == (  # type: ignore[misc]
            404,
            "request.not_found",
        )


@pytest.mark.parametrize("run", ["x", "..", "%2e%2e", "0" * 36, "01900000-0000-1000-8000-000000000001", "a" * 4000])
def test_a_run_id_that_is_none_is_refused(gateway: LiveGateway, run: str) -> None:
    for tail in ("", "/bundle", "/events"):
        reply = gateway.send(head("GET", f"/v1/runs/{run}{tail}"))
        assert (reply.status, reply.code) == (400, "run.id")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_asking_takes_post_only_and_says_so(gateway: LiveGateway, method: str, path: str) -> None:
    reply = gateway.send(head(method, path))
    assert (reply.status, reply.code) == (405, "request.method")
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/runs/x", "/healthz", "/metrics", "/openapi.json"])
def test_reading_takes_get_only_and_says_so(gateway: LiveGateway, method: str, path: str) -> None:
    reply = gateway.send(head(method, path, ["content-length: 0"]))
    assert (reply.status, reply.code) == (405, "request.method")
    assert reply.headers["allow"] == "GET"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS"])
def test_runs_are_listed_and_agent_runs_opened_and_nothing_else(gateway: LiveGateway, method: str) -> None:
    reply = gateway.send(head(method, "/v1/runs", ["content-length: 0"]))
    assert (reply.status, reply.code) == (405, "request.method")
    assert reply.headers["allow"] == "GET, POST"


def test_a_method_that_does_not_exist_is_refused(gateway: LiveGateway) -> None:
    reply = gateway.send(head("BREW", "/v1/models"))
    assert (reply.status, reply.code) == (400, "request.http")


@pytest.mark.parametrize(
    "limit", ["0", "-1", "201", "0001009999", "1e2", "x", "", "1&limit=2", "%00", "9" * 5000, "1.0"]
)
def test_a_limit_outside_its_bounds_is_refused(gateway: LiveGateway, limit: str) -> None:
    reply = gateway.send(head("GET", f"/v1/runs?limit={limit}"))
    assert (reply.status, reply.code) == (400, "request.limit")


def test_a_header_cannot_be_injected_through_what_is_echoed(gateway: LiveGateway) -> None:
    evil = "x\r\nset-cookie: a=b\r\n\r\n<html>"
    reply = gateway.post(question(model=evil))
    assert (reply.status, reply.code) == (404, "request.unknown_model")
    assert "set-cookie" not in reply.headers
    reply = gateway.post(
        question(), headers=["x-holdfast-nonce: \xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9"]
    )
    assert (reply.status, reply.code) == (400, "request.nonce")


def test_header_and_body_that_disagree_are_refused(gateway: LiveGateway) -> None:
    body = question(holdfast={"nonce": "a" * 16})
    send = lambda: gateway.post(body, headers=[f"x-holdfast-nonce: {'b' * 16}"])  # noqa: E731
    assert refused(gateway, send) == (400, "request.conflict")


@pytest.mark.parametrize("queue", ["", "The Desk", "a/b", "\xe9", "a" * 65])
def test_a_header_that_names_no_queue_is_refused_and_opens_no_run(gateway: LiveGateway, queue: str) -> None:
    send = lambda: gateway.post(question(), headers=[f"x-holdfast-queue: {queue}"])  # noqa: E731
    assert refused(gateway, send) == (400, "request.queue")


def test_a_run_that_names_a_queue_is_among_the_openings_of_its_workspace(gateway: LiveGateway) -> None:
    before = gateway.get("/v1/openings")["end"]
    reply = gateway.post(question(), headers=["x-holdfast-queue: desk"])
    assert (reply.status, reply.headers["x-holdfast-queue"]) == (200, "desk")
    assert reply.json()["holdfast"]["queue"] == "desk"
    assert "x-holdfast-queue" not in gateway.post(question()).headers
    value = gateway.get(f"/v1/openings?after={before}")
    assert [(item["run"], item["queue"]) for item in value["openings"]] == [(reply.headers["x-holdfast-run"], "desk")]
    rest = {"openings": [], "end": value["end"], "round": 0, "superseded": 0}
    assert gateway.get(f"/v1/openings?after={value['end']}") == rest
    assert gateway.get(f"/v1/openings?after={before}", OTHER_KEY)["openings"] == []


# Who may.


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "auth.missing"),
        ("", "auth.missing"),
        (KEY, "auth.missing"),
        ("Basic " + KEY, "auth.missing"),
        ("Bearer", "auth.missing"),
        ("Bearer  ", "auth.missing"),
        ("Bearer " + KEY + "x", "auth.wrong"),
        ("Bearer " + KEY[:-1], "auth.wrong"),
        ("Bearer " + KEY.upper(), "auth.wrong"),
        ("Bearer \xff\xfe", "auth.wrong"),
    ],
)
def test_without_a_known_key_nobody_asks_or_reads(gateway: LiveGateway, authorization: str | None, code: str) -> None:
    headers = [] if authorization is None else [f"authorization: {authorization}"]
    body = question()
    for method, path, extra in (
        ("POST", "/v1/chat/completions", body),
        ("POST", "/v1/completions", body),
        ("GET", "/v1/models", b""),
        ("GET", "/v1/runs", b""),
        ("GET", "/v1/runs/01900000-0000-7000-8000-000000000001", b""),
        ("GET", "/v1/runs/01900000-0000-7000-8000-000000000001/events", b""),
        ("GET", "/v1/runs/01900000-0000-7000-8000-000000000001/bundle", b""),
    ):
        raw = head(method, path, [*headers, f"content-length: {len(extra)}"], key=None) + extra
        reply = gateway.send(raw)
        assert (reply.status, reply.code) == (401, code), path
        assert reply.headers["www-authenticate"] == "Bearer"


def test_a_run_of_another_workspace_looks_like_none(gateway: LiveGateway) -> None:
    run = gateway.post(question()).headers["x-holdfast-run"]
    missing = "01900000-0000-7000-8000-00000000ffff"
    for tail in ("", "/bundle", "/events"):
        theirs = gateway.send(head("GET", f"/v1/runs/{run}{tail}", key=OTHER_KEY))
        none = gateway.send(head("GET", f"/v1/runs/{missing}{tail}", key=OTHER_KEY))
        assert (theirs.status, theirs.code) == (none.status, none.code) == (404, "run.unknown")
        assert theirs.body == none.body
    assert run not in [row["run"] for row in gateway.runs(OTHER_KEY)]
    assert gateway.get(f"/v1/runs/{run}")["run"] == run


def test_a_capability_opens_its_own_run_and_no_other(gateway: LiveGateway) -> None:
    first, second = (gateway.post(question()).headers for _ in range(2))
    own = [f"x-holdfast-capability: {first['x-holdfast-capability']}"]
    for tail in ("", "/bundle"):
        assert gateway.send(head("GET", f"/v1/runs/{first['x-holdfast-run']}{tail}", own, key=None)).status == 200
        reply = gateway.send(head("GET", f"/v1/runs/{second['x-holdfast-run']}{tail}", own, key=None))
        assert (reply.status, reply.code) == (404, "run.unknown")
    for path in ("/v1/runs", "/v1/models"):
        assert gateway.send(head("GET", path, own, key=None)).status == 401


@pytest.mark.parametrize("capability", ["x", "00", "ABCDEF" * 11, "0" * 63, "0" * 65, "é" * 64, "0x" + "0" * 62])
def test_a_capability_of_another_form_is_refused(gateway: LiveGateway, capability: str) -> None:
    run = gateway.post(question()).headers["x-holdfast-run"]
    for tail in ("", "/bundle", "/events"):
        reply = gateway.send(head("GET", f"/v1/runs/{run}{tail}", [f"x-holdfast-capability: {capability}"]))
        assert (reply.status, reply.code) == (400, "encoding.hex")


def test_only_the_capability_discloses_what_was_asked_and_answered(gateway: LiveGateway) -> None:
    headers = gateway.post(question("my secret plan")).headers
    run, capability = headers["x-holdfast-run"], headers["x-holdfast-capability"]
    by_key = gateway.send(head("GET", f"/v1/runs/{run}/bundle"))
    assert b"secret plan" not in by_key.body
    assert capability.encode() not in by_key.body
    by_capability = gateway.send(
        head("GET", f"/v1/runs/{run}/bundle", [f"x-holdfast-capability: {capability}"], key=None)
    )
    assert b"secret plan" in by_capability.body
    opened, shut = by_capability.json()["journal"], by_key.json()["journal"]
    assert opened[: len(shut)] == shut, "a position means another thing to whoever holds the capability"


def test_nothing_that_was_asked_lies_readable_on_the_disk(gateway: LiveGateway) -> None:
    gateway.post(question("xylophone-quartz"))
    gateway.post(question("xylophone-quartz", stream=True))
    stored = [path for path in (gateway.state / "gateway").rglob("*") if path.is_file()]
    assert stored
    assert not [path for path in stored if b"xylophone-quartz" in path.read_bytes()]


# Clients that go away.


@contextlib.contextmanager
def asking(gateway: LiveGateway, body: bytes) -> Iterator[socket.socket]:
    """A connection on which a question was sent."""
    with gateway.connect() as connection:
        connection.sendall(head("POST", "/v1/chat/completions", [f"content-length: {len(body)}"]) + body)
        yield connection


def closed_run(gateway: LiveGateway, known: set[str]) -> str:
    """The one run that is not known, once it is closed."""

    def found() -> str:
        fresh = [row for row in gateway.runs(limit=5) if row["run"] not in known]
        assert len(fresh) <= 1
        return str(fresh[0]["run"]) if fresh and fresh[0]["outcome"] else ""

    return str(wait_for(found, 30, "the run's close"))


def known_runs(gateway: LiveGateway) -> set[str]:
    return {row["run"] for row in gateway.runs(limit=5)}


def upstream_question(**more: Any) -> bytes:
    return question(**{"model": fake.MODEL, **more})


@contextlib.contextmanager
def alone_behind(tmp_path_factory: pytest.TempPathFactory, behaviour: Behaviour, **more: Any) -> Iterator[LiveGateway]:
    """A gateway whose only upstream does this."""
    with (
        Server(behaviour) as server,
        serving(
            tmp_path_factory.mktemp("behind"), upstreams=(upstream(server.base_url),), builtin=False, **more
        ) as gateway,
    ):
        yield gateway


def test_a_client_that_leaves_before_its_body_is_whole_opens_no_run(gateway: LiveGateway) -> None:
    before = known_runs(gateway)
    with gateway.connect() as connection:
        connection.sendall(head("POST", "/v1/chat/completions", ["content-length: 1000"]) + b'{"model":')
    time.sleep(0.1)
    assert known_runs(gateway) == before


@pytest.mark.parametrize("way", ["close", "reset", "half-close"])
def test_a_client_that_leaves_while_a_whole_answer_is_made_is_signed_for(behind: Behind, way: str) -> None:
    gateway = behind(fake.hang())
    before = known_runs(gateway)
    with asking(gateway, upstream_question()) as connection:
        time.sleep(0.5)
        _leave(connection, way)
        run = closed_run(gateway, before)
    [closing] = gateway.executions(run)
    assert (closing["event"], closing["outcome"], closing["response"]) == ("failed", "client.disconnected", None)


def _leave(connection: socket.socket, way: str) -> None:
    if way == "half-close":
        connection.shutdown(socket.SHUT_WR)
        return
    if way == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_client_that_leaves_before_a_quick_answer_gets_a_follow_up(behind: Behind) -> None:
    gateway = behind(fake.answer(delay_s=0.15))
    before = known_runs(gateway)
    with asking(gateway, upstream_question()) as connection:
        time.sleep(0.05)
        connection.close()
        run = closed_run(gateway, before)
    wait_for(lambda: len(gateway.executions(run)) == 2, 30, "the follow-up")
    closing, follow = gateway.executions(run)
    assert (closing["event"], closing["outcome"]) == ("generated", "complete")
    assert (follow["event"], follow["outcome"]) == ("disconnected", "client.disconnected")


def test_a_client_that_leaves_within_a_stream_is_signed_for_as_far_as_it_came(
    behind: Behind,
) -> None:
    words = fake.chat_chunks(" ".join(["word"] * 500))
    gateway = behind(fake.events(words, pace_s=0.02))
    before = known_runs(gateway)
    with asking(gateway, upstream_question(stream=True)) as connection:
        status, headers, _ = read_head(connection)
        assert status == 200
        connection.recv(4096)
        time.sleep(0.1)
        connection.close()
        run = closed_run(gateway, before)
    assert run == headers["x-holdfast-run"]
    [closing] = gateway.executions(run)
    assert (closing["event"], closing["outcome"]) == ("generated", "client.disconnected")
    assert closing["marks"]["seq"] >= 1
    assert closing["response"]["size"] > 1


def test_a_client_that_leaves_before_the_first_event_of_a_stream_is_signed_for(
    behind: Behind,
) -> None:
    gateway = behind(fake.hang())
    before = known_runs(gateway)
    with asking(gateway, upstream_question(stream=True)) as connection:
        time.sleep(0.2)
        connection.close()
        run = closed_run(gateway, before)
    [closing] = gateway.executions(run)
    assert (closing["event"], closing["outcome"], closing["marks"]) == ("failed", "client.disconnected", None)


def test_a_client_that_leaves_after_its_answer_adds_nothing(gateway: LiveGateway) -> None:
    for stream in (False, True):
        reply = gateway.post(question(stream=stream))
        run = reply.headers["x-holdfast-run"]
        time.sleep(0.1)
        [closing] = gateway.executions(run)
        assert (closing["event"], closing["outcome"]) == ("generated", "complete")


def test_a_client_that_never_reads_does_not_hold_up_others(tmp_path_factory: pytest.TempPathFactory) -> None:
    sent: list[None] = []
    endless = fake.endless(fake.chat_chunk({"content": "x" * 4096}), sent)
    with alone_behind(tmp_path_factory, endless, answer_bytes=64 << 20) as gateway:
        with asking(gateway, upstream_question(stream=True)):
            wait_for(lambda: _stands_still(sent), 30, "a gateway that reads no more than it can pass on")
            assert gateway.get("/healthz") == {"alive": True}
            assert gateway.post(b"{").status == 400
        run = closed_run(gateway, set())
        [closing] = gateway.executions(run)
    assert (closing["event"], closing["outcome"]) == ("generated", "client.disconnected")


def _stands_still(sent: list[None]) -> bool:
    before = len(sent)
    time.sleep(0.2)
    return 0 < before == len(sent)


# Connections.


def test_pipelined_requests_are_answered_in_order(gateway: LiveGateway) -> None:
    bodies = [question(f"question {number}") for number in range(4)]
    raw = b"".join(head("POST", "/v1/chat/completions", [f"content-length: {len(body)}"]) + body for body in bodies)
    with gateway.connect() as connection:
        connection.sendall(raw + head("GET", "/v1/models", ["connection: close"]))
        data = b""
        while more := connection.recv(65_536):
            data += more
    assert re.findall(rb"HTTP/1\.1 (\d+) ", data) == [b"200"] * 5
    assert len(set(re.findall(rb"x-holdfast-run: (\S+)", data))) == 4
    assert b'"object":"list"' in data.rpartition(b"\r\n\r\n")[2]


def test_an_error_leaves_the_connection_usable(gateway: LiveGateway) -> None:
    with gateway.connect() as connection:
        for body, status in ((b"{", 400), (question(), 200), (b"[]", 400), (question(model="none"), 404)):
            connection.sendall(head("POST", "/v1/chat/completions", [f"content-length: {len(body)}"]) + body)
            assert read_reply(connection).status == status


def test_a_head_request_gets_no_body(gateway: LiveGateway) -> None:
    with gateway.connect() as connection:
        connection.sendall(head("HEAD", "/healthz") + head("GET", "/healthz"))
        status, headers, rest = read_head(connection)
        assert status == 405
        assert int(headers["content-length"]) > 0
        while b"alive" not in rest:
            more = connection.recv(4096)
            assert more
            rest += more
        assert rest.startswith(b"HTTP/1.1 200")


def test_two_hundred_streams_at_once_all_end_and_are_all_closed(gateway: LiveGateway) -> None:
    def one(_: int) -> str:
        reply = gateway.post(question("hi", stream=True), timeout_s=60)
        assert reply.status == 200
        assert b"data: [DONE]" in reply.body
        return reply.headers["x-holdfast-run"]

    with ThreadPoolExecutor(200) as pool:
        runs = set(pool.map(one, range(200)))
    assert len(runs) == 200
    outcomes = {row["run"]: row["outcome"] for row in gateway.runs(limit=200)}
    assert outcomes.keys() == runs
    assert set(outcomes.values()) == {"complete"}


# Limits.


def test_more_runs_than_allowed_are_told_to_wait(tmp_path_factory: pytest.TempPathFactory) -> None:
    with alone_behind(tmp_path_factory, fake.hang(), runs_at_once=2) as gateway:
        with asking(gateway, upstream_question()), asking(gateway, upstream_question(stream=True)):
            wait_for(lambda: len(gateway.runs()) == 2, 30, "two runs")
            reply = gateway.post(upstream_question())
            assert (reply.status, reply.code) == (503, "gateway.busy")
            assert "x-holdfast-run" not in reply.headers
        wait_for(lambda: all(row["outcome"] for row in gateway.runs()), 30, "the close of both")
        with asking(gateway, upstream_question()):
            wait_for(lambda: len(gateway.runs()) == 3, 30, "room for another")


def test_more_watchers_than_allowed_are_told_to_poll(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("watchers"), watchers=2) as gateway:
        run = gateway.post(question()).headers["x-holdfast-run"]
        raw = head("GET", f"/v1/runs/{run}/events")
        with gateway.connect() as first, gateway.connect() as second:
            for connection in (first, second):
                connection.sendall(raw)
                status, headers, _ = read_head(connection)
                assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
            reply = gateway.send(raw)
            assert (reply.status, reply.code) == (503, "gateway.watchers")

        def room() -> bool:
            with gateway.connect() as connection:
                connection.sendall(raw)
                return read_head(connection)[0] == 200

        wait_for(room, 30, "room after the watchers left")


def test_live_events_show_the_run_and_need_its_key(gateway: LiveGateway) -> None:
    headers = gateway.post(question()).headers
    run, capability = headers["x-holdfast-run"], headers["x-holdfast-capability"]
    assert gateway.send(head("GET", f"/v1/runs/{run}/events", key=OTHER_KEY)).status == 404
    assert gateway.send(head("GET", f"/v1/runs/{run}/events", key=None)).status == 401
    for raw in (
        head("GET", f"/v1/runs/{run}/events"),
        head("GET", f"/v1/runs/{run}/events", [f"x-holdfast-capability: {capability}"], key=None),
    ):
        with gateway.connect() as connection:
            connection.sendall(raw)
            status, _, data = read_head(connection)
            assert status == 200
            while b"\n\n" not in data:
                data += connection.recv(65_536)
        line = next(line for line in data.split(b"\n") if line.startswith(b"data: "))
        assert b"event: run\n" in data
        shown = json.loads(line.removeprefix(b"data: "))
        assert shown["run"] == run
        assert shown["lanes"].keys() == gateway.get(f"/v1/runs/{run}")["lanes"].keys()


# Upstreams that fail.


@pytest.mark.parametrize(
    ("behaviour", "status", "outcome"),
    [
        (fake.hang(), 504, "upstream.timeout"),
        (fake.hang_up(), 502, "upstream.unreachable"),
        (fake.reset(), 502, "upstream.unreachable"),
        (fake.cut_body(), 502, "upstream.protocol"),
        (fake.garbage(), 502, "upstream.protocol"),
        (fake.refuse(429, retry_after="7"), 429, "upstream.status"),
        (fake.refuse(400), 400, "upstream.status"),
        (fake.refuse(401), 502, "upstream.status"),
        (fake.refuse(500), 502, "upstream.status"),
        (fake.refuse(503, b"<html>down</html>"), 502, "upstream.status"),
        (fake.redirect(), 502, "upstream.status"),
        (fake.compressed(), 502, "upstream.protocol"),
        (fake.answer(b"[]"), 502, "upstream.protocol"),
        (fake.answer(b'{"a":1,"a":2}'), 502, "upstream.protocol"),
        (fake.answer(b'{"a":"\\ud800"}'), 502, "upstream.protocol"),
        (fake.answer(b'{"a\\u0000":1}'), 502, "upstream.protocol"),
        (fake.answer(b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"), 502, "upstream.protocol"),
        (fake.answer(b'{"a":[' + b"1," * 70_000 + b"1]}"), 502, "upstream.protocol"),
        (fake.answer(b'{"a":"' + b"x" * (2 << 20) + b'"}'), 502, "upstream.too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_failing_upstream_gets_its_status_and_its_statement(
    behind: Behind, behaviour: Behaviour, status: int, outcome: str
) -> None:
    gateway = behind(behaviour)
    for more in ({}, {"stream": True}):
        reply = gateway.post(upstream_question(**more))
        run = reply.headers["x-holdfast-run"]
        [closing] = gateway.executions(run)
        assert (closing["event"], closing["response"], closing["marks"]) == ("failed", None, None)
        if not more:
            assert (reply.status, reply.code, closing["outcome"]) == (status, outcome, outcome)
        else:
            assert reply.status >= 400
            assert reply.code == closing["outcome"]


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (fake.cut_stream(how="close"), "upstream.protocol"),
        (fake.cut_stream(how="reset"), "upstream.protocol"),
        (fake.cut_stream(how="hang"), "upstream.timeout"),
        (fake.cut_stream(how="clean"), "upstream.protocol"),
        (fake.garbage_event(), "upstream.protocol"),
        (fake.giant_event(9 << 20), "upstream."),
        (fake.error_event(), "upstream.status"),
        (fake.error_event(named=True), "upstream.status"),
        (
            fake.events([*fake.chat_chunks()[:2], b'{"choices":[{"index":5000,"delta":{"content":"x"}}]}']),
            "upstream.protocol",
        ),
        (
            fake.events([*fake.chat_chunks()[:2], b'{"choices":[{"index":' + b"1" * 5000 + b',"delta":{}}]}']),
            "upstream.protocol",
        ),
        (
            fake.events([*fake.chat_chunks()[:2], b'{"choices":[{"index":0,"delta":{"content":{}}}]}']),
            "upstream.protocol",
        ),
        (fake.events([*fake.chat_chunks()[:2], b'{"choices":[],"a\\u0000":1}']), "upstream.protocol"),
        (fake.endless(), "upstream.too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_stream_that_breaks_says_so_in_its_last_event_and_in_its_statement(
    behind: Behind, behaviour: Behaviour, outcome: str
) -> None:
    gateway = behind(behaviour)
    reply = gateway.post(upstream_question(stream=True))
    assert reply.status == 200
    run = reply.headers["x-holdfast-run"]
    payloads = sse(reply)
    assert payloads[-1] != "[DONE]", "a broken stream must not look whole"
    last = json.loads(payloads[-1])
    assert last["error"]["code"].startswith(outcome)
    assert last["error"].keys() == {"message", "type", "param", "code", "hint"}
    assert last["holdfast"]["outcome"] == last["error"]["code"]
    [closing] = gateway.executions(run)
    assert (closing["event"], closing["outcome"]) == ("generated", last["error"]["code"])
    assert (closing["marks"] is not None) == any("mark" in json.loads(item).get("holdfast", {}) for item in payloads)
    assert closing["response"]["size"] > 1


def test_an_event_over_several_lines_stays_one_event(behind: Behind) -> None:
    first = b'data: {"choices":\ndata: [{"index":0,\ndata: "delta":{"content":"hi"},"finish_reason":null}]}\n\n'
    last = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    gateway = behind(fake.raw_stream([first, last]))
    reply = gateway.post(upstream_question(stream=True))
    payloads = sse(reply)
    assert payloads[-1] == "[DONE]"
    assert json.loads(payloads[0])["choices"][0]["delta"]["content"] == "hi"


def test_what_an_upstream_says_of_holdfast_is_taken_out(behind: Behind) -> None:
    forged = fake.chat_completion(holdfast={"run": "forged"}, tee_signature="forged")
    gateway = behind(fake.answer(forged, headers=[("x-holdfast-run", "forged")]))
    reply = gateway.post(upstream_question())
    value = canonical.decode_object(reply.body)
    assert value["holdfast"]["run"] == reply.headers["x-holdfast-run"] != "forged"
    assert "tee_signature" not in value


def test_an_upstream_that_is_gone_is_replaced_by_its_fallback_and_the_route_says_so(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with Server(fake.hang_up()) as broken, Server(fake.chat_server) as good:
        first = upstream(broken.base_url, code="first", fallback="second")
        second = upstream(good.base_url, code="second")
        with serving(tmp_path_factory.mktemp("fallback"), upstreams=(first, second), builtin=False) as gateway:
            for more in ({}, {"stream": True}):
                reply = gateway.post(upstream_question(**more))
                assert reply.status == 200
                route = gateway.statements(reply.headers["x-holdfast-run"])[0]["predicate"]
                assert (route["upstream"], route["fallback_from"]) == ("second", ["first"])


def test_a_restart_closes_nothing_twice_and_finds_every_run_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    state = tmp_path_factory.mktemp("restart")
    with serving(state) as gateway:
        runs = [gateway.post(question(stream=stream)).headers["x-holdfast-run"] for stream in (False, True)]
        before = {run: gateway.get(f"/v1/runs/{run}/bundle")["journal"] for run in runs}
    with serving(state) as gateway:
        for run in runs:
            assert gateway.get(f"/v1/runs/{run}/bundle")["journal"] == before[run]


def test_an_answer_whose_events_are_fine_but_whose_whole_is_not_is_bound_by_its_marks(
    behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MAX_PARTS", 500)
    payloads = [fake.chat_chunk({"content": "hi"})]
    payloads += [fake.chat_chunk({"annotations": [{"type": "x"}] * 90}) for _ in range(8)]
    payloads.append(fake.chat_chunk({}, finish_reason="stop"))
    gateway = behind(fake.events(payloads))
    reply = gateway.post(upstream_question(stream=True))
    last = json.loads(sse(reply)[-1])
    assert last["error"]["code"] == "upstream.protocol"
    [closing] = gateway.executions(reply.headers["x-holdfast-run"])
    assert (closing["event"], closing["outcome"], closing["response"]) == ("interrupted", "upstream.protocol", None)
    assert closing["marks"]["seq"] >= 1
