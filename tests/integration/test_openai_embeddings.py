"""The official ``openai`` client's embeddings, unchanged, of a hosted upstream behind a real gateway
(``spec/embeddings.md``)."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from holdfast.core.parts import verify_document
from holdfast.core.statements import parse_tree
from tests.helpers import upstreams as fake
from tests.helpers.javascript import run_javascript
from tests.helpers.live_gateway import KEY, LiveGateway, make_state, serving, upstream
from tests.helpers.proxies import proxying
from tests.helpers.upstreams import MODEL, Request, Server

pytestmark = pytest.mark.enable_socket
VECTOR = [0.5, -1.0, 2.0]


def vectors(**change: Any) -> fake.Behaviour:
    """A provider that answers with one vector for each input, in the encoding that it is asked for."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> bool:
        asked = request.json()
        given = asked["input"]
        count = len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1
        packed = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()
        one = packed if asked.get("encoding_format") == "base64" else VECTOR
        value = {
            "object": "list",
            "data": [{"object": "embedding", "index": place, "embedding": one} for place in range(count)],
            "model": asked["model"],
            "usage": {"prompt_tokens": 5, "total_tokens": 5},
        }
        return await fake.answer({**value, **change})(request, writer)

    return behave


@pytest.fixture(scope="module")
def provider() -> Iterator[Server]:
    with Server(vectors()) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(provider: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    hosted = (upstream(provider.base_url, code="hosted", profile="mistral"),)
    with serving(tmp_path_factory.mktemp("gateway"), upstreams=hosted) as live:
        yield live


@pytest.fixture
def client(gateway: LiveGateway, provider: Server) -> Iterator[openai.OpenAI]:
    provider.behaviour = vectors()
    provider.requests.clear()
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0) as made:
        yield made


@pytest.mark.parametrize(
    "change",
    [
        {"data": []},
        {"data": [{"object": "embedding", "index": 0, "embedding": VECTOR}]},
        {"data": [{"object": "embedding", "index": 0, "embedding": VECTOR}] * 2},
        {"data": [{"index": 0, "embedding": VECTOR}, {"index": 1, "embedding": VECTOR[:2]}]},
        {"data": [{"index": 0, "embedding": VECTOR}, {"index": 1, "embedding": "AAA"}]},
        {"data": None},
    ],
    ids=["none", "one of two", "one twice", "two lengths", "no base64", "null"],
)
def test_vectors_that_are_not_those_that_were_asked_for_are_not_delivered(
    client: openai.OpenAI, provider: Server, gateway: LiveGateway, change: dict[str, Any]
) -> None:
    provider.behaviour = vectors(**change)
    with pytest.raises(openai.APIStatusError) as refused:
        client.embeddings.create(model=MODEL, input=["a", "b"], encoding_format="float")
    assert (refused.value.status_code, refused.value.code) == (502, "upstream.embeddings")
    run = refused.value.response.headers["x-holdfast-run"]
    [closing] = gateway.executions(run)
    assert (closing["event"], closing["outcome"], closing["response"]) == ("failed", "upstream.embeddings", None)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"input": []}, "infer.inputs"),
        ({"input": "a", "dimensions": 0}, "infer.dimensions"),
        ({"input": "a", "extra_body": {"mode": "VANILLA"}}, "infer.mode"),
        ({"input": "a", "extra_body": {"holdfast": {"route": {"providers": {"allow": []}}}}}, "route.policy"),
        ({"input": "a", "extra_body": {"holdfast": {"require_parameters": True}}, "user": "x"}, "request.parameters"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_provider_is(
    client: openai.OpenAI, provider: Server, more: dict[str, Any], code: str
) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        client.embeddings.create(model=MODEL, **more)
    assert refused.value.code == code
    assert provider.requests == []


def test_the_client_as_it_is_gets_its_vectors_and_they_are_bound(
    client: openai.OpenAI, provider: Server, gateway: LiveGateway
) -> None:
    raw = client.embeddings.with_raw_response.create(model=MODEL, input=["a text", "another"])
    found = raw.parse()
    assert [item.embedding for item in found.data] == [VECTOR, VECTOR]
    assert found.usage.prompt_tokens == 5
    [sent] = provider.requests
    assert sent.path == "/v1/embeddings"
    assert sent.json() == {"model": MODEL, "input": ["a text", "another"], "encoding_format": "base64"}
    told = json.loads(raw.text)
    run, capability = told["holdfast"]["run"], told["holdfast"]["capability"]
    route, execution = (item["predicate"] for item in gateway.statements(run))
    assert (route["endpoint"], route["upstream"], execution["upstream"]) == ("embeddings", "hosted", "hosted")
    tree = parse_tree(execution["response"])
    parts = verify_document("response", raw.text.encode(), run, bytes.fromhex(capability), tree)
    assert any(b"/data/1/embedding" in part.label for part in parts.parts)
    lanes = gateway.get_with(run, capability)["lanes"]
    assert (lanes["artifact"]["state"], lanes["artifact"]["basis"]) == ("unknown", "provider_claim")
    assert lanes["computation"]["state"] == "unknown"


def test_floats_tokens_and_dimensions_go_as_they_are(client: openai.OpenAI, provider: Server) -> None:
    found = client.embeddings.create(model=MODEL, input=[[1, 2], [3]], encoding_format="float", dimensions=3)
    assert [item.embedding for item in found.data] == [VECTOR, VECTOR]
    assert provider.requests[-1].json()["dimensions"] == 3
    alone = client.embeddings.create(model=MODEL, input=[1, 2, 3], encoding_format="float")
    assert len(alone.data) == 1


def test_a_parameter_that_the_provider_does_not_heed_is_told(client: openai.OpenAI, provider: Server) -> None:
    raw = client.embeddings.with_raw_response.create(model=MODEL, input="a", user="somebody")
    assert json.loads(raw.text)["holdfast"]["ignored"] == ["user"]
    assert "user" not in provider.requests[-1].json()


def test_what_the_provider_refuses_is_its_refusal(client: openai.OpenAI, provider: Server) -> None:
    provider.behaviour = fake.answer(fake.error_body("no such model"), status=404)
    with pytest.raises(openai.APIStatusError) as refused:
        client.embeddings.create(model=MODEL, input="a")
    assert str(refused.value.code).startswith("upstream.status")


JAVASCRIPT = """
const { default: OpenAI } = require("openai");
const [url, key, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url + "/v1", apiKey: key, maxRetries: 0 });
(async () => {
  const ask = { model, input: ["a text", "another"] };
  const { data, response } = await client.embeddings.create(ask).withResponse();
  const floats = await client.embeddings.create({ ...ask, encoding_format: "float" });
  const refused = await client.embeddings.create({ model, input: [] }).catch((error) => error.code);
  const vectors = (found) => found.data.map((item) => [...item.embedding]);
  const run = response.headers.get("x-holdfast-run");
  console.log(JSON.stringify({ packed: vectors(data), floats: vectors(floats), refused, run }));
})();
"""


def test_the_javascript_client_as_it_is_gets_the_same_vectors(
    client: openai.OpenAI, gateway: LiveGateway, tmp_path: Path
) -> None:
    found = run_javascript(tmp_path, JAVASCRIPT, gateway.url, KEY, MODEL)
    assert found["packed"] == found["floats"] == [VECTOR, VECTOR]
    assert found["refused"] == "infer.inputs"
    [closing] = gateway.executions(found["run"])
    assert closing["outcome"] == "complete"


def test_a_proxy_hands_vectors_on_once_they_are_bound(
    client: openai.OpenAI, provider: Server, gateway: LiveGateway
) -> None:
    options = ["--gateway", gateway.tls_url, "--trust", str(make_state(gateway.state).trust)]
    with (
        proxying(KEY, *options, "--require", "bytes=proven") as said,
        openai.OpenAI(base_url=said["url"], api_key="x", max_retries=0) as proxied,
    ):
        raw = proxied.embeddings.with_raw_response.create(model=MODEL, input=["a text", "another"])
        assert [item.embedding for item in raw.parse().data] == [VECTOR, VECTOR]
        provider.behaviour = vectors(data=[])
        with pytest.raises(openai.APIStatusError) as refused:
            proxied.embeddings.create(model=MODEL, input=["a", "b"])
        assert refused.value.code == "upstream.embeddings"
    assert gateway.executions(raw.headers["x-holdfast-run"])[0]["outcome"] == "complete"
