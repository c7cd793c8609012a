"""What OpenGradient's hashes cover is what ``json.dumps`` of a Python server would write, for every request."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import canonical
from holdfast.core import opengradient as og
from holdfast.core.evm import keccak256
from holdfast.core.fold import Fold
from holdfast.errors import HoldfastError
from holdfast.nodes.gateway.opengradient import shape_stream

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
NUMBER_TEXTS = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


def written(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


@given(VALUES)
def test_any_value_is_written_as_python_writes_it(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, separators=(",", ":"))):
        assert og.dump(og.plain(canonical.decode_exact(text.encode()))).encode() == written(json.loads(text))


@given(NUMBER_TEXTS)
def test_any_number_is_read_as_python_reads_it_or_refused(text: str) -> None:
    value = canonical.decode_exact(text.encode())
    meant = json.loads(text)
    if meant in (float("inf"), float("-inf")):
        with pytest.raises(HoldfastError, match="larger than a double"):
            og.plain(value)
    else:
        assert og.dump(og.plain(value)).encode() == written(meant)


@given(
    st.fixed_dictionaries(
        {"model": TEXT.filter(bool), "messages": st.just([{"role": "user", "content": "a"}])},
        optional={
            "temperature": st.integers(-9, 9) | st.floats(0, 2) | st.none(),
            "max_tokens": SCALARS,
            "stop": VALUES,
            "tools": st.lists(VALUES, max_size=3),
            "response_format": VALUES,
            "web_search": VALUES,
            "seed": VALUES,
        },
    )
)
def test_a_request_has_the_hash_that_their_server_computes(request: dict[str, Any]) -> None:
    temperature = request.get("temperature")
    expected = {
        "model": request["model"],
        "messages": request["messages"],
        "temperature": 0.0 if temperature is None else float(temperature),
    }
    if request.get("max_tokens") is not None:
        expected["max_tokens"] = request["max_tokens"]
    expected |= {name: request[name] for name in ("stop", "tools", "response_format") if request.get(name)}
    if request.get("web_search"):
        expected["web_search"] = True
    value = canonical.decode_exact(json.dumps(request).encode())
    made = og.canonical_request("chat.completions", value)
    assert (made, keccak256(made)) == (written(expected), keccak256(written(expected)))


@given(VALUES, st.sampled_from(og.ENDPOINTS))
def test_only_our_errors_come_out(value: Any, endpoint: str) -> None:
    read = canonical.decode_exact(json.dumps(value).encode())
    for shape in (read, [read], [{"role": "user", "content": read}], [{"role": "assistant", "tool_calls": read}]):
        request = {"model": "m", "prompt": read, "messages": shape, "temperature": read, "tools": read}
        message = {"content": read, "tool_calls": shape}
        answer = {
            "choices": [{"finish_reason": "tool_calls", "message": message, "text": read}],
            **dict.fromkeys(og.FIELDS, read),
        }
        for check in (
            lambda request=request: og.canonical_request(endpoint, request),
            lambda answer=answer: og.output_text(endpoint, answer),
            lambda answer=answer: og.parse_answer_signature(answer),
        ):
            with contextlib.suppress(HoldfastError):
                check()


# Streams (§9(3)): shaping moves, and loses nothing.

CHOICES = st.fixed_dictionaries(
    {
        "index": st.sampled_from([0, 1]),
        "delta": st.sampled_from([{}, {"content": "a"}, {"content": ""}, {"content": "b", "refusal": "no"}]),
        "finish_reason": st.sampled_from([None, None, "stop", "length"]),
    },
    optional={
        "logprobs": st.none() | st.just({"content": [{"token": "a", "logprob": -0.5}]}),
        "content_filter_results": st.sampled_from([{}, {"hate": {"filtered": False}}]),
    },
)
EVENTS = st.lists(
    st.fixed_dictionaries(
        {"id": st.just("x"), "choices": st.lists(CHOICES, max_size=2)},
        optional={
            "usage": st.none() | st.just({"total_tokens": 3}),
            "prompt_filter_results": st.lists(st.integers(0, 3), max_size=1),
            "system_fingerprint": st.sampled_from(["p", "q"]),
        },
    ),
    min_size=1,
    max_size=8,
)


async def shaped(events: list[bytes]) -> list[bytes]:
    async def given_events() -> AsyncIterator[bytes]:
        for event in events:
            yield event

    return [event async for event in shape_stream("chat.completions", given_events())]


def folded(events: list[bytes]) -> dict[str, Any]:
    fold = Fold()
    for event in events:
        fold.add(canonical.decode_exact(event))
    document = fold.document()
    return {name: item for name, item in document.items() if name != "usage" or item is not None}


@given(EVENTS)
def test_a_shaped_stream_folds_to_the_same_document_and_ends_in_its_only_last_frame(
    values: list[dict[str, Any]],
) -> None:
    events = [json.dumps(value).encode() for value in values]
    changed = asyncio.run(shaped(events))
    theirs, ours = folded(changed) if changed else {}, folded(events)
    theirs.setdefault("choices", [])
    assert theirs == ours
    for event in map(json.loads, changed[:-1]):
        assert "usage" not in event
        assert not [choice for choice in event["choices"] if choice["finish_reason"]]
