"""Whatever body, header or query arrives, the gateway answers with its one shape and never with a bug, and a refused
request opens no run. In memory, through the whole HTTP shape of the node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.core import canonical, opengradient
from holdfast.core.encoding import hex_decode
from holdfast.core.parts import verify_document
from holdfast.core.statements import Route, parse_envelope, parse_statement
from tests.helpers import asgi
from tests.helpers.gateway_world import KEY, OTHER_KEY, World, rsa_signer
from tests.helpers.upstreams import MODEL

AUTHORIZED = [("authorization", f"Bearer {KEY}")]
OTHER = [("authorization", f"Bearer {OTHER_KEY}")]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["", "\x00", "a|b", "~1/", "é\u0301", "\U0001f600", MODEL, "user"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)
NAMES = (
    st.sampled_from(["model", "messages", "prompt", "stream", "holdfast", "n", "tools", "tee_x", "usage"]) | st.text()
)
HOLDFAST = st.dictionaries(
    st.sampled_from(["nonce", "parent_run", "settlement", "other"]),
    VALUES
    | st.sampled_from(["a" * 16, "a" * 65, "batch", "private", "individual", "01900000-0000-7000-8000-000000000001"]),
)
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.text() | VALUES}, optional={"content": VALUES}), max_size=3)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "model": st.just(MODEL) | VALUES,
        "messages": MESSAGES | VALUES,
        "prompt": st.text() | VALUES,
        "stream": st.none() | st.booleans() | VALUES,
        "holdfast": HOLDFAST | VALUES,
        "temperature": VALUES,
    },
).flatmap(lambda body: st.dictionaries(NAMES, VALUES, max_size=2).map(lambda more: {**more, **body}))
ENDPOINTS = st.sampled_from(["/v1/chat/completions", "/v1/completions"])


class Served:
    """One gateway in one loop for all examples of a property."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.world = self.runner.run(self._start())
        self.app = self.world.app(request_bytes=1 << 16)

    @staticmethod
    async def _start() -> World:
        world = await World().start()
        world.signs = "asked"
        return world

    def request(self, method: str, target: str, body: bytes = b"", headers: Any = AUTHORIZED) -> asgi.Reply:
        async def one() -> asgi.Reply:
            async with asyncio.timeout(5):
                return await asgi.request(self.app, method, target, body, headers)

        return self.runner.run(one())

    def opened(self) -> int:
        return self.world.ledger.end

    def close(self) -> None:
        self.runner.run(self.world.stop())
        self.runner.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    found = Served()
    yield found
    assert found.world.gateway.under_way == 0
    found.close()


def judge(served: Served, path: str, body: bytes, headers: Any = AUTHORIZED) -> asgi.Reply:
    """Send it; whatever comes back keeps the rules."""
    before = served.opened()
    reply = served.request("POST", path, body, headers)
    if reply.status == 200:
        assert served.opened() > before
        assert reply.header("x-holdfast-run")
    else:
        assert reply.status in {400, 404, 413}, reply.body
        assert reply.code.split(".")[0] in {"json", "request", "parts", "opengradient"}
        assert served.opened() == before, "a refused request opened a run"
        assert reply.header("x-holdfast-run") is None
    assert served.world.gateway.under_way == 0
    return reply


@given(path=ENDPOINTS, body=st.binary(max_size=300))
@example(path="/v1/completions", body=b"[" * 60_000)
@example(path="/v1/completions", body=b'{"a":' * 10_000)
@example(path="/v1/completions", body=b'{"prompt":"\xed\xa0\x80"}')
@example(path="/v1/completions", body=b'{"prompt":' + b"9" * 60_000 + b"}")
@example(path="/v1/completions", body=b'{"model":"' + MODEL.encode() + b'","prompt":"' + b"\\u0000" * 9000 + b'"}')
@example(path="/v1/completions", body=b"\x00" * 70_000)
def test_arbitrary_bytes_are_answered_or_refused(served: Served, path: str, body: bytes) -> None:
    judge(served, path, body)


@given(path=ENDPOINTS, body=BODIES)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_json_of_every_wrong_type_is_answered_or_refused(served: Served, path: str, body: dict[str, Any]) -> None:
    judge(served, path, json.dumps(body).encode())


@given(body=BODIES, extra=VALUES)
def test_a_request_that_is_answered_is_bound_byte_for_byte(served: Served, body: dict[str, Any], extra: Any) -> None:
    body = {**body, "model": MODEL, "messages": [{"role": "user", "content": extra}], "stream": False}
    body.pop("holdfast", None)
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    reply = judge(served, "/v1/chat/completions", text)
    if reply.status != 200:
        assert reply.code.startswith(("json.", "parts.")) or reply.code == "request.carrier"
        return
    run, secret = reply.header("x-holdfast-run"), hex_decode(reply.header("x-holdfast-capability"), 32)
    assert run is not None
    served.runner.run(served.world.deliver())
    route = parse_statement(parse_envelope(served.world.log.entries[-2]))
    assert route.run == run
    assert isinstance(route.body, Route)
    verify_document("request", text, run, secret, route.body.request)


@given(
    path=ENDPOINTS,
    body=BODIES,
    more=st.fixed_dictionaries(
        {},
        optional={
            "max_tokens": VALUES,
            "stop": VALUES,
            "tools": VALUES,
            "response_format": VALUES,
            "web_search": VALUES,
            "stream_options": VALUES,
        },
    ),
    settlement=st.sampled_from(["batch", "private", "individual", "pivate", "x"]),
)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_what_opengradients_clients_may_send_is_signed_as_sent_or_refused(
    served: Served, path: str, body: dict[str, Any], more: dict[str, Any], settlement: str
) -> None:
    if "completions" in path.split("/")[2]:
        body = {**body, "prompt": "x"}
    text = json.dumps({**body, **more, "model": MODEL}).encode()
    reply = judge(served, path, text, [*AUTHORIZED, ("x-settlement-type", settlement)])
    if reply.status == 200 and reply.header("content-type") == "application/json":
        endpoint = "chat.completions" if "chat" in path else "completions"
        answer, key = canonical.decode_exact(reply.body), rsa_signer().key.public
        opengradient.verify_answer(endpoint, canonical.decode_exact(text), answer, key)


@given(position=st.integers(0, 200), replacement=st.binary(min_size=1, max_size=3))
def test_a_good_request_with_damaged_bytes_is_answered_or_refused(
    served: Served, position: int, replacement: bytes
) -> None:
    good = json.dumps(
        {"model": MODEL, "messages": [{"role": "user", "content": "hi \\ud83d"}], "holdfast": {"nonce": "n" * 16}}
    ).encode()
    at = position % len(good)
    judge(served, "/v1/chat/completions", good[:at] + replacement + good[at + len(replacement) :])


@given(st.lists(st.tuples(st.text(max_size=5), VALUES), min_size=1, max_size=4), st.data())
def test_a_key_that_appears_twice_is_refused_wherever_it_is(
    served: Served, members: list[tuple[str, Any]], data: st.DataObject
) -> None:
    name, value = data.draw(st.sampled_from(members))
    pairs = [*members, (name, value)]
    inner = "{" + ",".join(f"{json.dumps(key)}:{json.dumps(item)}" for key, item in pairs) + "}"
    body = f'{{"model":"{MODEL}","prompt":"x","deep":[{inner}]}}'.encode()
    assert judge(served, "/v1/completions", body).code in {"json.duplicate_key", "json.surrogate"}


@given(
    st.dictionaries(
        st.sampled_from(["x-holdfast-nonce", "x-holdfast-parent", "x-holdfast-settlement", "x-other"]),
        st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF), max_size=40)
        | st.sampled_from(["batch", "private", "n" * 16]),
    ),
    HOLDFAST,
)
def test_options_in_headers_are_parsed_as_strictly_as_in_the_body(
    served: Served, headers: dict[str, str], holdfast: dict[str, Any]
) -> None:
    body = json.dumps({"model": MODEL, "prompt": "x", "holdfast": holdfast}).encode()
    reply = judge(served, "/v1/completions", body, [*AUTHORIZED, *headers.items()])
    if reply.status == 200:
        settlement = headers.get("x-holdfast-settlement", holdfast.get("settlement", "batch"))
        assert canonical.decode_object(reply.body)["holdfast"]["settlement"] == settlement


@given(st.text(max_size=60).map(lambda text: "/" + text), st.sampled_from(["GET", "POST", "PUT", "BREW", ""]))
def test_every_other_path_is_refused_in_the_one_shape(served: Served, path: str, method: str) -> None:
    async def one() -> asgi.Reply:
        return await asgi.request(served.app, method, path.replace("?", "/"), b"", AUTHORIZED)

    reply = served.runner.run(one())
    assert reply.status in {400, 404, 405}
    assert reply.code in {"request.not_found", "request.method", "run.id"}


@given(st.text(st.characters(min_codepoint=1, max_codepoint=0x7F), max_size=40))
def test_a_query_gives_a_list_or_is_refused(served: Served, query: str) -> None:
    async def one() -> asgi.Reply:
        return await asgi.request(served.app, "GET", "/v1/runs?" + query, b"", OTHER)

    reply = served.runner.run(one())
    assert reply.status == 200 or reply.code == "request.limit"


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=80))
def test_no_authorization_header_but_a_key_opens_anything(served: Served, value: str) -> None:
    for path in ("/v1/models", "/v1/runs", "/v1/runs/01900000-0000-7000-8000-000000000001"):
        reply = served.request("GET", path, headers=[("authorization", value)])
        assert reply.status == 401
        assert reply.code in {"auth.missing", "auth.wrong"}
