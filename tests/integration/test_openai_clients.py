"""The official ``openai`` clients, unchanged, against a real gateway process: what they send works, what they are told
they understand, and what Holdfast adds reaches whoever asks for it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, hex_decode
from holdfast.core.fold import Fold
from holdfast.core.images import parse_data_url, parse_image
from holdfast.core.keys import PublicKey, parse_key_document
from holdfast.core.marks import MarkChain, parse_mark, verify_mark
from holdfast.core.parts import pseudo_random_key, verify_document
from holdfast.core.statements import is_run_id, parse_tree
from tests.helpers.javascript import run_javascript
from tests.helpers.live_gateway import KEY, MODEL, OTHER_KEY, LiveGateway, make_state
from tests.helpers.ports import free_ports
from tests.helpers.processes import fetch, wait_for

pytestmark = pytest.mark.enable_socket
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "What is a lane?"}]}
PARENT = "01900000-0000-7000-8000-000000000001"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    """``python -m holdfast.nodes.gateway FILE``, as an operator starts it."""
    state = tmp_path_factory.mktemp("gateway")
    layout = make_state(state)
    url = f"http://127.0.0.1:{free_ports()}"
    (state / "first.key").write_text(KEY)
    lines = [
        "[gateway]",
        f"listen = {json.dumps(url.removeprefix('http://'))}",
        f"state = {json.dumps(str(state / 'gateway'))}",
        f"signing_key = {json.dumps(str(layout.key('gateway.statement.pem')))}",
        f"key_document = {json.dumps(str(layout.key('gateway.json')))}",
        f"trust = {json.dumps(str(layout.trust))}",
        f"workspaces = [{{name = 'first', key = 'file:{state / 'first.key'}'}}]",
        "log = 'http://127.0.0.1:9'",
        "discover = false",
        "builtin_tokens_per_second = 0",
        "render = true",
    ]
    (state / "gateway.toml").write_text("\n".join(lines))
    command = [sys.executable, "-m", "holdfast.nodes.gateway", str(state / "gateway.toml")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:

        def ready() -> bool:
            assert process.poll() is None, "the gateway ended by itself"
            try:
                return "ready" in fetch(url + "/readyz", key=KEY)
            except OSError:
                return False

        wait_for(ready, 60, "the gateway's start")
        yield LiveGateway(url, state)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def client(gateway: LiveGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture
def statement_key(gateway: LiveGateway) -> PublicKey:
    key = parse_key_document((gateway.state / "keys" / "gateway.json").read_bytes()).key_for("statement")
    assert key is not None
    return key


def holdfast(model: Any) -> dict[str, Any]:
    """Our member of an answer, where the client puts members it does not know."""
    found: dict[str, Any] = model.model_extra["holdfast"]
    return found


# What must be refused, as the client's own exceptions.


def test_a_wrong_key_is_an_authentication_error(gateway: LiveGateway) -> None:
    with (
        openai.OpenAI(base_url=gateway.url + "/v1", api_key=OTHER_KEY, max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        stranger.chat.completions.create(**ASK)
    assert (refused.value.status_code, refused.value.code, refused.value.type) == (401, "auth.wrong", "refused")


def test_an_unknown_model_is_a_not_found_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(**(ASK | {"model": "gpt-nothing"}))
    assert (refused.value.code, refused.value.param) == ("request.unknown_model", "model")
    assert "gpt-nothing" in refused.value.message


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"messages": []}, "request.messages"),
        ({"extra_body": {"holdfast": {"nonce": "short"}}}, "request.nonce"),
        ({"extra_body": {"holdfast": {"settlement": "loud"}}}, "request.settlement"),
        ({"extra_body": {"holdfast": {"parent_run": "mother"}}}, "request.parent_run"),
        ({"extra_body": {"holdfast": {"colour": "green"}}}, "request.holdfast"),
        ({"extra_headers": {"x-holdfast-nonce": "short"}}, "request.nonce"),
    ],
)
def test_what_makes_no_sense_is_a_bad_request_error(client: openai.OpenAI, change: dict[str, Any], code: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**(ASK | change))
    assert refused.value.code == code


def test_a_path_that_is_not_served_is_a_not_found_error_and_a_wrong_method_a_status_error(
    client: openai.OpenAI,
) -> None:
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model=MODEL, input="text")
    with pytest.raises(openai.APIStatusError) as refused:
        client.delete("/models", cast_to=object)
    assert refused.value.status_code == 405


def test_a_refused_stream_is_an_error_and_not_an_empty_stream(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(**(ASK | {"model": "gpt-nothing"}), stream=True)


# What works.


def test_a_chat_answers_with_text_usage_and_its_evidence(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**ASK)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    ours = holdfast(answer)
    assert is_run_id(ours["run"])
    assert ours["outcome"] == "complete"
    assert [item["kind"] for item in ours["statements"]] == ["route", "execution"]


def test_a_stream_gives_the_text_and_ends_with_the_last_mark(client: openai.OpenAI) -> None:
    frames = list(client.chat.completions.create(**ASK, stream=True))
    text = "".join(frame.choices[0].delta.content or "" for frame in frames if frame.choices)
    assert "lane" in text
    assert frames[-1].choices[0].finish_reason == "stop"
    last = holdfast(frames[-1])
    assert last["outcome"] == "complete"
    assert last["mark"]["seq"] >= 1
    assert parse_mark(last["mark"])[0].seq == last["mark"]["seq"]


def test_a_stream_with_usage_ends_with_usage(client: openai.OpenAI) -> None:
    frames = list(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    assert frames[-1].choices == []
    assert frames[-1].usage is not None
    assert frames[-1].usage.completion_tokens > 0
    assert holdfast(frames[-1])["outcome"] == "complete"


def test_the_raw_bytes_of_a_stream_are_the_ones_that_were_signed(
    gateway: LiveGateway, client: openai.OpenAI, statement_key: PublicKey
) -> None:
    with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as raw:
        run, secret = raw.headers["x-holdfast-run"], hex_decode(raw.headers["x-holdfast-capability"], 32)
        lines = [line.removeprefix("data: ") for line in raw.iter_lines() if line.startswith("data: {")]
    chain, fold, seen = MarkChain(pseudo_random_key(run, secret)), Fold(), 0
    for line in lines:
        value = canonical.decode_exact(line.encode())
        fold.add(value)
        chain.add({name: item for name, item in value.items() if name != "holdfast"})
        if "mark" in value.get("holdfast", {}):
            mark, signature = parse_mark(canonical.decode_object(line.encode())["holdfast"]["mark"])
            verify_mark(mark, signature, chain=chain, run=run, key=statement_key)
            seen = mark.seq
    [closing] = gateway.executions(run)
    assert closing["marks"]["seq"] == seen >= 1
    verify_document("response", canonical.encode_exact(fold.document()), run, secret, parse_tree(closing["response"]))


def test_completions_answer_whole_and_streamed(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="What is a lane?")
    assert answer.choices[0].text
    assert holdfast(answer)["outcome"] == "complete"
    frames = list(client.completions.create(model=MODEL, prompt="What is a lane?", stream=True))
    assert "".join(frame.choices[0].text for frame in frames if frame.choices) == answer.choices[0].text
    assert holdfast(frames[-1])["outcome"] == "complete"


def test_an_image_is_made_and_its_bytes_are_what_was_signed(gateway: LiveGateway, client: openai.OpenAI) -> None:
    raw = client.images.with_raw_response.generate(model="holdfast-render", prompt="a red circle", n=2, size="128x64")
    answer = raw.parse()
    assert answer.data is not None
    sides = [parse_image(b64_decode(item.b64_json)) for item in answer.data]
    assert [(image.kind, image.width, image.height) for image in sides] == [("png", 128, 64)] * 2
    run = raw.headers["x-holdfast-run"]
    [signed] = gateway.executions(run)
    secret = hex_decode(raw.headers["x-holdfast-capability"], 32)
    verify_document("response", raw.content, run, secret, parse_tree(signed["response"]))
    assert signed["outcome"] == "complete"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"response_format": "url"}, "image.url"),
        ({"stream": True}, "request.stream"),
        ({"n": 11}, "image.count"),
        ({"prompt": ""}, "image.prompt"),
        ({"size": "10x10"}, "upstream.status"),
    ],
)
def test_an_image_that_cannot_be_made_or_bound_is_a_bad_request_error(
    client: openai.OpenAI, change: dict[str, Any], code: str
) -> None:
    asked: dict[str, Any] = {"model": "holdfast-render", "prompt": "a red circle", **change}
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(**asked)
    assert refused.value.code == code


def test_a_chat_streams_an_image_in_a_message(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "holdfast-render", "messages": [{"role": "user", "content": "a red circle"}]}
    images = []
    with client.chat.completions.create(**asked, stream=True) as stream:
        for chunk in stream:
            images += (chunk.choices[0].delta.model_extra or {}).get("images", []) if chunk.choices else []
    [image] = images
    assert parse_data_url(image["image_url"]["url"])[0].kind == "png"


def test_models_are_listed(client: openai.OpenAI) -> None:
    models = list(client.models.list())
    assert MODEL in [model.id for model in models]
    assert holdfast(models[0])["upstream"]


def test_a_nonce_a_parent_run_and_a_settlement_are_signed_for(gateway: LiveGateway, client: openai.OpenAI) -> None:
    asked = {"nonce": "nonce-of-the-client", "parent_run": PARENT, "settlement": "individual"}
    answer = client.chat.completions.create(**ASK, extra_body={"holdfast": asked})
    ours = holdfast(answer)
    assert ours["settlement"] == "individual"
    assert "permanently" in ours["warning"]
    for statement in gateway.statements(ours["run"]):
        assert statement["predicate"]["nonce"] == asked["nonce"]
        assert statement["predicate"]["parent_run"] == PARENT
    [route] = [item for item in gateway.statements(ours["run"]) if item["predicateType"].endswith("route:v1")]
    assert route["predicate"]["rewrites"] == ["holdfast-removed"]


def test_options_may_come_as_headers_and_then_nothing_is_rewritten(gateway: LiveGateway, client: openai.OpenAI) -> None:
    headers = {"x-holdfast-nonce": "nonce-in-a-header-1", "x-holdfast-settlement": "private"}
    ours = holdfast(client.chat.completions.create(**ASK, extra_headers=headers))
    assert ours["run"][14] == "4"
    route, execution = gateway.statements(ours["run"])
    assert route["predicate"]["nonce"] == execution["predicate"]["nonce"] == headers["x-holdfast-nonce"]
    assert route["predicate"]["settlement"] == "private"
    assert route["predicate"]["rewrites"] == []


def test_the_raw_response_names_the_run_and_holds_its_capability(gateway: LiveGateway, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**ASK)
    run, capability = raw.headers["x-holdfast-run"], raw.headers["x-holdfast-capability"]
    ours = holdfast(raw.parse())
    assert (ours["run"], ours["capability"]) == (run, capability)
    bundle = client.get(
        f"/runs/{run}/bundle",
        cast_to=object,
        options={"headers": {"authorization": openai.Omit(), "x-holdfast-capability": capability}},
    )
    assert isinstance(bundle, dict)
    assert [item["document"] for item in bundle["journal"] if item["kind"] == "document"] == ["request", "response"]


def test_the_helper_for_streams_rebuilds_the_answer(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(**ASK) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.content


def test_the_async_client_asks_many_times_at_once(gateway: LiveGateway) -> None:
    async def one(client: openai.AsyncOpenAI, number: int) -> str:
        if number % 2:
            return str(holdfast(await client.chat.completions.create(**ASK))["run"])
        last = None
        async for frame in await client.chat.completions.create(**ASK, stream=True):
            last = frame
        return str(holdfast(last)["run"])

    async def main() -> list[str]:
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0) as client:
            return await asyncio.gather(*(one(client, number) for number in range(12)))

    runs = asyncio.run(main())
    assert len(set(runs)) == 12
    assert {row["run"] for row in gateway.runs() if row["outcome"] == "complete"} >= set(runs)


def test_the_async_client_that_stops_reading_is_signed_for(gateway: LiveGateway) -> None:
    async def main() -> str:
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0) as client:
            response = await client.chat.completions.with_raw_response.create(**ASK, stream=True)
            await response.http_response.aclose()
            return str(response.headers["x-holdfast-run"])

    run = asyncio.run(main())
    closings = wait_for(lambda: gateway.executions(run), 30, "the closing statement")
    assert closings[0]["outcome"] in {"complete", "client.disconnected"}


JAVASCRIPT = """
const { default: OpenAI, AuthenticationError, BadRequestError, NotFoundError } = require("openai");
const [url, key, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url + "/v1", apiKey: key, maxRetries: 0 });
const ask = { model, messages: [{ role: "user", content: "What is a lane?" }] };
(async () => {
  const found = {};
  const { data, response } = await client.chat.completions.create(
    { ...ask, holdfast: { nonce: "nonce-of-javascript" } }).withResponse();
  found.text = data.choices[0].message.content;
  found.run = data.holdfast.run;
  found.header = response.headers.get("x-holdfast-run");
  found.streamed = "";
  let last;
  for await (const frame of await client.chat.completions.create(
      { ...ask, stream: true, stream_options: { include_usage: true } })) {
    found.streamed += frame.choices[0]?.delta?.content ?? "";
    last = frame;
  }
  found.outcome = last.holdfast.outcome;
  found.usage = last.usage.total_tokens;
  found.completion = (await client.completions.create({ model, prompt: "What is a lane?" })).choices[0].text;
  const image = { model: "holdfast-render", prompt: "a red circle", size: "128x64" };
  found.images = (await client.images.generate({ ...image, n: 2 })).data.map((item) => item.b64_json);
  found.refused = await client.images.generate({ ...image, response_format: "url" })
    .catch((error) => error instanceof BadRequestError && error.code);
  found.models = (await client.models.list()).data.map((item) => item.id);
  found.missing = await client.chat.completions.create({ ...ask, model: "none" })
    .catch((error) => error instanceof NotFoundError && error.code);
  const stranger = new OpenAI({ baseURL: url + "/v1", apiKey: "wrong", maxRetries: 0 });
  found.stranger = await stranger.models.list().catch((error) => error instanceof AuthenticationError && error.code);
  console.log(JSON.stringify(found));
})();
"""


def test_the_javascript_client_works_unchanged(gateway: LiveGateway, tmp_path: Path) -> None:
    found = run_javascript(tmp_path, JAVASCRIPT, gateway.url, KEY, MODEL)
    assert found["run"] == found["header"]
    assert found["streamed"] == found["text"]
    assert found["outcome"] == "complete"
    assert found["usage"] > 0
    assert found["completion"]
    assert MODEL in found["models"]
    sides = [parse_image(b64_decode(item)) for item in found["images"]]
    assert [(image.kind, image.width, image.height) for image in sides] == [("png", 128, 64)] * 2
    assert found["refused"] == "image.url"
    assert (found["missing"], found["stranger"]) == ("request.unknown_model", "auth.wrong")
    assert {item["predicate"]["nonce"] for item in gateway.statements(found["run"])} == {"nonce-of-javascript"}
