"""The tiny chat model: what its files must be, that its cache changes nothing, and what it says."""

import asyncio
import importlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.builtin.responder import Turn
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.shipped import shipped_files
from holdfast.adapters.tiny.network import Network
from holdfast.adapters.tiny.tokenizer import ANSWER, END, FIRST_MERGE, USER, parse_tokenizer
from holdfast.adapters.tiny.weights import parse_safetensors
from holdfast.adapters.upstream_tiny import MODEL_ID, TinyUpstream, TinyVoice
from holdfast.errors import MalformedError, UsageError
from holdfast.ports.upstream import UpstreamStatusError

FILES = shipped_files("chat")
TOKENIZER = parse_tokenizer(FILES["tokenizer.json"])
NETWORK = Network(parse_safetensors(FILES["model.safetensors"]))
VOICE = TinyVoice()
WEIGHTS = FILES["model.safetensors"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b'{"merges":3}',
        b'{"merges":[[3]]}',
        b'{"merges":[[3,"4"]]}',
        b'{"merges":[[3,259]]}',
        b'{"merges":[[0,3]]}',
    ],
)
def test_a_tokenizer_that_joins_what_is_not_there_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_tokenizer(raw)


@pytest.mark.parametrize(
    "raw",
    [b"", WEIGHTS[:100], WEIGHTS[:-1], WEIGHTS + b"\x00", (1 << 40).to_bytes(8, "little") + WEIGHTS[8:]],
    ids=["empty", "cut-header", "cut", "longer", "huge-header"],
)
def test_weights_that_do_not_fill_the_file_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_safetensors(raw)
    assert caught.value.code == "model.weights"


def test_tensors_that_overlap_or_have_another_type_are_refused() -> None:
    for entry in (
        {"dtype": "F16", "shape": [1], "data_offsets": [1, 3]},
        {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "F16", "shape": [-1], "data_offsets": [0, 2]},
        {"dtype": "F16", "shape": [1], "data_offsets": [True, 2]},
    ):
        header = json.dumps({"a": entry}).encode()
        with pytest.raises(MalformedError) as caught:
            parse_safetensors(len(header).to_bytes(8, "little") + header + bytes(8))
        assert caught.value.code == "model.weights"


def test_other_weights_than_a_decoder_has_are_refused() -> None:
    weights = parse_safetensors(WEIGHTS)
    for wrong in ({}, {**weights, "more": np.zeros(1)}, {**weights, "norm": np.zeros(3)}):
        with pytest.raises(MalformedError):
            Network(wrong)


def test_a_conversation_longer_than_the_model_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        NETWORK.logits([ANSWER] * (NETWORK.places + 1), NETWORK.cache())
    assert caught.value.code == "model.places"


def test_another_model_than_this_one_is_refused() -> None:
    upstream = TinyUpstream(SystemClock(), lambda: "1")
    body = json.dumps({"model": "other", "messages": [{"role": "user", "content": "hi"}]}).encode()
    with pytest.raises(UpstreamStatusError) as caught:
        asyncio.run(upstream.complete("/chat/completions", body, timeout_s=5))
    assert caught.value.provider_status == 404


def test_the_cache_changes_nothing() -> None:
    tokens = [USER, *TOKENIZER.encode("what is a lane?"), ANSWER]
    whole = NETWORK.logits(tokens, NETWORK.cache())
    cache = NETWORK.cache()
    steps = [NETWORK.logits([token], cache) for token in tokens]
    assert np.allclose(steps[-1], whole, atol=1e-3)


@given(st.text(max_size=60))
def test_every_text_is_decoded_as_it_was_encoded(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text
    assert "".join(VOICE.split(text)) == text
    assert END not in TOKENIZER.encode(text)


@given(st.text(max_size=400))
def test_it_answers_whatever_is_asked(text: str) -> None:
    assert isinstance(VOICE.say([Turn("user", text)]), str)


def test_it_says_what_it_is_and_the_same_every_time() -> None:
    said = VOICE.say([Turn("system", "be brief"), Turn("user", "who are you?")])
    assert "tiny language model" in said
    assert said == TinyVoice().say([Turn("user", "who are you?")])


def test_its_fingerprint_names_its_artifact() -> None:
    assert VOICE.fingerprint() == f"hf_{VOICE.artifact[:16]}"
    other = TinyVoice({**FILES, "card.json": b"{}"})
    assert other.fingerprint() != VOICE.fingerprint()


def test_an_answer_over_the_api_is_that_of_the_model() -> None:
    upstream = TinyUpstream(SystemClock(), lambda: "1", pace_tokens_s=0)
    body = json.dumps({"model": MODEL_ID, "messages": [{"role": "user", "content": "hello"}]}).encode()
    answer = json.loads(asyncio.run(upstream.complete("/chat/completions", body, timeout_s=5)).body)
    assert answer["choices"][0]["message"]["content"] == VOICE.say([Turn("user", "hello")])
    assert answer["system_fingerprint"] == VOICE.fingerprint()
    assert FIRST_MERGE == 259


def test_the_trained_network_is_the_one_that_runs_and_its_gradients_are_right() -> None:
    network = importlib.import_module("models.chat.network")
    shape = network.Shape(20, 32, 2, 4)
    random = np.random.default_rng(1)
    weights = {name: value + random.normal(0, 0.1, value.shape) for name, value in network.initial(shape).items()}
    tokens, counted = random.integers(0, 20, (3, 9)), np.ones((3, 8))
    loss, gradients = network.loss_and_gradients(weights, shape, tokens, counted)
    for name, value in weights.items():
        place = tuple(random.integers(0, size) for size in value.shape)
        before, step = value[place], 1e-4
        losses = []
        for change in (step, -step):
            value[place] = before + change
            losses.append(network.loss_and_gradients(weights, shape, tokens, counted)[0])
        value[place] = before
        slope = (losses[0] - losses[1]) / (2 * step)
        assert abs(slope - gradients[name][place]) < 1e-4 + 0.01 * abs(slope), name
    running = Network(weights)
    total = 0.0
    for row in tokens:
        for end in range(1, 9):
            scores = running.logits([int(token) for token in row[:end]], running.cache()).astype(np.float64)
            total -= scores[row[end]] - scores.max() - np.log(np.exp(scores - scores.max()).sum())
    assert abs(total / 24 - loss) < 1e-3
