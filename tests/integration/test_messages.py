"""``POST /v1/messages`` of a real gateway before a scripted upstream: what is sent on, what comes back, what is bound.

What Anthropic's own client makes of it, and LangChain of the chats, is asked in ``test_other_clients.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.client.sync import SyncGatewayClient
from holdfast.core import canonical
from holdfast.core.encoding import hex_decode
from holdfast.core.messages.fold import MessagesFold
from holdfast.core.parts import verify_document
from holdfast.core.statements import parse_tree
from tests.helpers.live_gateway import KEY, MODEL, LiveGateway, Reply, head, make_state, serving
from tests.helpers.processes import holdfast
from tests.helpers.proxies import proxying

pytestmark = pytest.mark.enable_socket
ASK: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 4096,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "What is a lane?"}]}],
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with serving(tmp_path_factory.mktemp("state"), request_bytes=1 << 20) as found:
        yield found


def post(gateway: LiveGateway, *headers: str, key: str | None = KEY, path: str = "/v1/messages", **more: Any) -> Reply:
    body = json.dumps({**ASK, **more}).encode()
    return gateway.send(head("POST", path, [f"content-length: {len(body)}", *headers], key) + body)


def error_of(reply: Reply) -> tuple[int, str, str]:
    value = reply.json()
    assert value["type"] == "error"
    assert {"message", "type", "param", "code", "hint", "kind"} <= value["error"].keys()
    return reply.status, value["error"]["type"], value["error"]["code"]


def events_of(reply: Reply) -> list[tuple[str, dict[str, Any]]]:
    """Names and payloads; chunks of the transfer are joined by their own lines."""
    text = reply.body.decode()
    found = []
    for block in text.split("event: ")[1:]:
        name, _, rest = block.partition("\n")
        found.append((name, json.loads(rest.partition("data: ")[2].partition("\n")[0])))
    return found


@pytest.mark.parametrize(
    ("headers", "more", "expected"),
    [
        ([], {"container": "c"}, (400, "invalid_request_error", "messages.parameter")),
        ([], {"messages": []}, (400, "invalid_request_error", "request.messages")),
        ([], {"model": "none"}, (404, "not_found_error", "request.unknown_model")),
        ([], {"holdfast": {"memory": {"user": "u", "recall": True}}}, (400, "invalid_request_error", "request.memory")),
        ([], {"holdfast": {"admit": {"sources": ["x"]}}}, (400, "invalid_request_error", "request.admit")),
        (["anthropic-version: 2030-01-01"], {}, (400, "invalid_request_error", "messages.version")),
    ],
)
def test_what_is_refused_is_refused_as_anthropics_clients_read_it(
    gateway: LiveGateway, headers: list[str], more: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    assert error_of(post(gateway, *headers, **more)) == expected


def test_a_wrong_key_a_strange_path_and_a_large_body_are_refused_in_the_same_shape(gateway: LiveGateway) -> None:
    assert error_of(post(gateway, "x-api-key: wrong", key=None)) == (401, "authentication_error", "auth.wrong")
    assert error_of(post(gateway, key=None)) == (401, "authentication_error", "auth.missing")
    counted = post(gateway, path="/v1/messages/count_tokens")
    assert error_of(counted) == (404, "not_found_error", "request.not_offered")
    assert error_of(post(gateway, system="x" * (2 << 20))) == (413, "request_too_large", "request.too_large")
    assert gateway.send(head("GET", "/v1/messages")).status == 405


def test_responses_are_not_offered_and_it_is_said_what_is(gateway: LiveGateway) -> None:
    reply = post(gateway, path="/v1/responses")
    assert (reply.status, reply.code) == (404, "request.not_offered")
    assert "/v1/chat/completions" in reply.json()["error"]["hint"]


def test_a_message_is_bound_as_its_caller_gets_it(gateway: LiveGateway) -> None:
    reply = post(gateway, f"x-api-key: {KEY}", "anthropic-version: 2023-06-01", key=None)
    assert reply.status == 200
    value = reply.json()
    assert (value["type"], value["role"], value["stop_reason"]) == ("message", "assistant", "end_turn")
    assert value["content"][0]["text"]
    assert value["usage"]["output_tokens"] > 0
    assert reply.headers["x-holdfast-ignored"] == "cache_control"
    assert value["holdfast"]["ignored"] == ["cache_control"]
    run, secret = reply.headers["x-holdfast-run"], hex_decode(reply.headers["x-holdfast-capability"], 32)
    route, execution = (item["predicate"] for item in gateway.statements(run))
    assert (route["endpoint"], "messages-translated" in route["rewrites"]) == ("messages", True)
    assert route["ignored"] == ["cache_control"]
    verify_document("request", json.dumps(ASK).encode(), run, secret, parse_tree(route["request"]))
    verify_document("response", reply.body, run, secret, parse_tree(execution["response"]))


def test_a_failed_call_that_is_not_told_as_one_is_named_in_the_route(gateway: LiveGateway) -> None:
    called = {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "look", "input": {}}]}
    failed = {"type": "tool_result", "tool_use_id": "c", "content": "no", "is_error": True}
    messages = [*ASK["messages"], called, {"role": "user", "content": [failed]}]
    reply = post(gateway, messages=messages)
    told = ["cache_control", "messages.content.is_error"]
    assert reply.json()["holdfast"]["ignored"] == told
    assert gateway.statements(reply.headers["x-holdfast-run"])[0]["predicate"]["ignored"] == told
    needy = post(gateway, messages=messages, holdfast={"require_parameters": True})
    assert error_of(needy) == (400, "invalid_request_error", "request.parameters")


def test_a_streamed_message_folds_into_what_is_signed(gateway: LiveGateway) -> None:
    reply = post(gateway, stream=True)
    found = events_of(reply)
    assert [name for name, _ in found] == [event["type"] for _, event in found]
    assert (found[0][0], found[-1][0]) == ("message_start", "message_stop")
    assert b"[DONE]" not in reply.body
    fold = MessagesFold()
    for _, event in found:
        fold.add(canonical.decode_exact(json.dumps(event).encode()))
    assert next(event["holdfast"]["mark"]["seq"] for _, event in found if "holdfast" in event) == 1
    run, secret = reply.headers["x-holdfast-run"], hex_decode(reply.headers["x-holdfast-capability"], 32)
    execution = gateway.statements(run)[1]["predicate"]
    document = canonical.encode_exact(fold.document())
    verify_document("response", document, run, secret, parse_tree(execution["response"]))
    assert found[-1][1]["holdfast"]["outcome"] == execution["outcome"] == "complete"


def test_a_run_of_messages_verifies_offline_like_any_other(gateway: LiveGateway, tmp_path: Path) -> None:
    reply = post(gateway, stream=True)
    run, capability = reply.headers["x-holdfast-run"], reply.headers["x-holdfast-capability"]
    bundle = tmp_path / "bundle.json"
    exported = holdfast(
        "run", "export", run, "--gateway", gateway.url, "--capability", capability, "-o", str(bundle), "--json"
    )
    assert json.loads(exported.stdout)["discloses"] == ["request", "response"]
    trust = str(make_state(gateway.state).trust)
    shown = json.loads(holdfast("verify", str(bundle), "--trust", trust, "--json").stdout)
    assert shown["lanes"]["bytes"]["state"] == "proven"
    assert shown["lanes"]["route"]["state"] != "refuted"


def test_our_client_checks_messages_whole_and_window_by_window(gateway: LiveGateway) -> None:
    with SyncGatewayClient(gateway.url, KEY) as client:
        bound = client.ask(ASK, endpoint="messages")
        assert bound.turn.text
        with client.stream(ASK, endpoint="messages") as answer:
            assert "".join(marked.text for marked in answer) == bound.turn.text
        assert answer.bound is not None


def test_the_proxy_hands_on_messages_as_it_does_chats(gateway: LiveGateway) -> None:
    options = ("--gateway", gateway.tls_url, "--trust", str(make_state(gateway.state).trust))
    with proxying(KEY, *options) as said:
        proxy = LiveGateway(said["url"].removesuffix("/v1"), gateway.state)
        body = json.dumps({**ASK, "stream": True}).encode()
        lines = ["host: 127.0.0.1", "content-type: application/json", f"content-length: {len(body)}"]
        request = ("POST /v1/messages HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode()
        reply = proxy.send(request + body)
        found = events_of(reply)
        assert (found[0][0], found[-1][0]) == ("message_start", "message_stop")
        assert [item["kind"] for item in found[-1][1]["holdfast"]["statements"]] == ["route", "execution"]
        bad = json.dumps({**ASK, "container": "c"}).encode()
        refused = proxy.send(request.replace(str(len(body)).encode(), str(len(bad)).encode()) + bad)
        assert error_of(refused) == (400, "invalid_request_error", "messages.parameter")
