"""A whole gateway before Anthropic's and Google's APIs: what left is what is bound, and what is ignored is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.core import canonical
from holdfast.core.parts import commit_parts, map_parts, pseudo_random_key
from tests.helpers import providers as theirs
from tests.helpers.live_gateway import LiveGateway, Reply, head, serving, upstream
from tests.helpers.upstreams import Server, chat_server

pytestmark = pytest.mark.enable_socket


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    with (
        Server(theirs.claude_server, theirs.claude_server) as claude,
        Server(theirs.gemini_server, theirs.gemini_server) as gemini,
        Server(chat_server) as plain,
    ):
        yield {"anthropic": claude, "gemini": gemini, "ollama": plain}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, servers: dict[str, Server]) -> Iterator[LiveGateway]:
    addresses = (
        upstream(
            servers["anthropic"].base_url, code="anthropic", kind="anthropic", models=(f"sonnet={theirs.CLAUDE}",)
        ),
        upstream(servers["gemini"].base_url, code="gemini", kind="gemini"),
        upstream(servers["ollama"].base_url, code="ollama", profile="ollama"),
    )
    with serving(tmp_path_factory.mktemp("gateway"), upstreams=addresses) as live:
        yield live


def ask(gateway: LiveGateway, model: str, **more: Any) -> Reply:
    value = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **more}
    return gateway.post(json.dumps(value).encode())


def route_of(gateway: LiveGateway, run: str) -> dict[str, Any]:
    [found] = [item for item in gateway.statements(run) if item["predicateType"] == "urn:holdfast:route:v1"]
    return found["predicate"]


def root(document: str, body: bytes, reply: Reply) -> dict[str, Any]:
    """The tree of a document under the secret that a caller was given."""
    key = pseudo_random_key(reply.headers["x-holdfast-run"], bytes.fromhex(reply.headers["x-holdfast-capability"]))
    return commit_parts(document, map_parts(document, canonical.decode_exact(body)), key).tree.to_json()


MODELS = [("anthropic", "sonnet"), ("gemini", theirs.GEMINI)]


@pytest.mark.parametrize(("code", "model"), MODELS)
@pytest.mark.parametrize("streamed", [False, True])
def test_what_left_is_what_the_route_binds(gateway, servers, code, model, streamed):
    reply = ask(gateway, model, stream=streamed, temperature=0.25)
    assert reply.status == 200, reply.body
    route = route_of(gateway, reply.headers["x-holdfast-run"])
    arrived = servers[code].requests[-1].body
    assert route["sent"] == root("sent", arrived, reply)
    assert route["upstream"] == code
    assert f"dialect-{code}" in route["rewrites"]
    assert b"0.25" in arrived


@pytest.mark.parametrize(("code", "model"), MODELS)
def test_an_answer_is_shaped_and_bound_as_the_caller_gets_it(gateway, code, model):
    reply = ask(gateway, model)
    value = reply.json()
    assert value["choices"][0]["message"]["content"] == "Hello there."
    assert value["model"] == (theirs.CLAUDE if code == "anthropic" else theirs.GEMINI)
    run = value.pop("holdfast")["run"]
    [closing] = gateway.executions(run)
    assert closing["response"] == root("response", json.dumps(value).encode(), reply)
    changed = {**value, "id": value["id"] + "x"}
    assert closing["response"] != root("response", json.dumps(changed).encode(), reply)


@pytest.mark.parametrize(("code", "model"), MODELS)
def test_a_stream_is_shaped_and_its_bundle_holds(gateway, code, model):
    reply = ask(gateway, model, stream=True)
    run = reply.headers["x-holdfast-run"]
    assert gateway.executions(run)[0]["outcome"] == "complete"
    lanes = gateway.get(f"/v1/runs/{run}")["lanes"]
    assert lanes["bytes"]["state"] == "proven"
    assert lanes["artifact"]["state"] == "unknown"


def test_parameters_that_a_provider_does_not_heed_are_told_in_the_answer_and_its_headers(gateway):
    reply = ask(gateway, "sonnet", seed=1, logprobs=True, Müllers_own=1)
    assert reply.json()["holdfast"]["ignored"] == ["Müllers_own", "logprobs", "seed"]
    assert reply.headers["x-holdfast-ignored"] == "M%C3%BCllers_own,logprobs,seed"
    assert route_of(gateway, reply.headers["x-holdfast-run"])["ignored"] == ["logprobs", "seed"]
    streamed = ask(gateway, "sonnet", stream=True, seed=1)
    assert streamed.headers["x-holdfast-ignored"] == "seed"
    assert b'"ignored":["seed"]' in streamed.body


def test_a_profile_tells_what_is_ignored_and_leaves_the_bytes_alone(gateway, servers):
    reply = ask(gateway, "test-model", user="u")
    assert reply.json()["holdfast"]["ignored"] == ["user"]
    route = route_of(gateway, reply.headers["x-holdfast-run"])
    assert (route["rewrites"], route["ignored"]) == ([], ["user"])
    assert json.loads(servers["ollama"].requests[-1].body)["user"] == "u"
    renamed = ask(gateway, "test-model", max_completion_tokens=5)
    assert "ignored" not in renamed.json()["holdfast"]
    assert "x-holdfast-ignored" not in renamed.headers
    assert route_of(gateway, renamed.headers["x-holdfast-run"])["rewrites"] == ["parameters-renamed"]
    assert json.loads(servers["ollama"].requests[-1].body)["max_tokens"] == 5


def test_whoever_requires_parameters_is_refused_before_anybody_is_asked(gateway, servers):
    before = len(servers["anthropic"].requests)
    reply = ask(gateway, "sonnet", seed=1, holdfast={"require_parameters": True})
    assert (reply.status, reply.code) == (400, "request.parameters")
    assert reply.json()["error"]["param"] == "seed"
    assert len(servers["anthropic"].requests) == before
    assert ask(gateway, "sonnet", holdfast={"require_parameters": True}).status == 200
    assert ask(gateway, "sonnet", holdfast={"require_parameters": "yes"}).code == "request.parameters"


def test_what_cannot_be_asked_there_is_refused_before_anybody_is_asked(gateway, servers):
    before = len(servers["anthropic"].requests)
    reply = ask(gateway, "sonnet", tools=[{"type": "web_search"}])
    assert (reply.status, reply.code) == (400, "request.dialect")
    assert (
        gateway.post(json.dumps({"model": "sonnet", "prompt": "x"}).encode(), "/v1/completions").code
        == "request.dialect"
    )
    assert len(servers["anthropic"].requests) == before


def test_a_provider_that_lies_about_its_model_is_shown_as_its_claim_and_nothing_more(gateway, servers):
    lying = theirs.answer(theirs.claude_message(model="gpt-99-ultra"))
    servers["anthropic"].behaviour = lying
    try:
        reply = ask(gateway, "sonnet")
    finally:
        servers["anthropic"].behaviour = theirs.claude_server
    assert reply.json()["model"] == "gpt-99-ultra"
    headers = [f"x-holdfast-capability: {reply.headers['x-holdfast-capability']}"]
    shown = gateway.send(head("GET", f"/v1/runs/{reply.headers['x-holdfast-run']}", headers, key=None)).json()
    artifact = shown["lanes"]["artifact"]
    assert (artifact["state"], artifact["basis"]) == ("unknown", "provider_claim")
    assert "gpt-99-ultra" in artifact["says"]
