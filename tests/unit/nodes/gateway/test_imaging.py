"""Runs whose answers are images: refused where they cannot be bound, bound to the last byte where they can."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core import canonical
from holdfast.core.images import MAX_IMAGES_BYTES
from holdfast.core.parts import verify_document
from holdfast.core.sealing import open_document
from holdfast.core.statements import Execution, Route
from holdfast.errors import HoldfastError
from holdfast.nodes.gateway.ledger import parse_closing
from holdfast.nodes.gateway.request import IMAGES, Ask, parse_ask
from holdfast.nodes.gateway.service import Run
from holdfast.nodes.gateway.till import usage_of
from tests.helpers.clock import FakeClock
from tests.helpers.gateway import MemoryLog, assemble
from tests.helpers.images import data_url, image_answer, png
from tests.helpers.upstreams import MODEL, ScriptedUpstream


def ask(**more: Any) -> Ask:
    value = {"model": MODEL, "prompt": "a red circle", "seed": 7, **more}
    return parse_ask(IMAGES, json.dumps(value).encode(), {}, default_model=None, settlement="batch")


async def answered(answer: bytes, log: MemoryLog, request: Ask, **more: Any) -> tuple[Run, bytes, bytes]:
    """The run, its answer, and the response as it is stored."""
    storage = SimulatedDisk(1).mount()
    parts = assemble(storage, log, [ScriptedUpstream(answers=[answer])], FakeClock(), **more)
    await parts.start()
    run = await parts.gateway.open(request, "tests")
    try:
        body = await parts.gateway.answer(run)
        await parts.indexer.flush()
        row = await parts.indexer.run(run.id)
        assert row is not None
        assert row.close_place is not None
        return run, body, parse_closing(parts.ledger.read(row.close_place).record).sealed
    finally:
        await parts.deliver()
        await parts.indexer.close()


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"prompt": ""}, "image.prompt", "prompt"),
        ({"n": 0}, "image.count", "n"),
        ({"size": "large"}, "image.sides", "size"),
        ({"response_format": "url"}, "image.url", "response_format"),
        ({"output_format": "svg"}, "image.format", "output_format"),
        ({"stream": True}, "request.stream", "stream"),
        ({"holdfast": {"memory": {"user": "a", "recall": True}}}, "request.memory", "holdfast.memory"),
        ({"holdfast": {"admissions": ["ab" * 32]}}, "request.admissions", "holdfast.admissions"),
        ({"tee_prompt": "x"}, "request.carrier", "tee_prompt"),
    ],
)
def test_what_cannot_be_asked_of_images_is_refused_and_named(change: dict[str, Any], code: str, param: str):
    with pytest.raises(HoldfastError) as caught:
        ask(**change)
    assert (caught.value.code, caught.value.param, caught.value.status) == (code, param, 400)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b'{"data":[{"url":"https://images.example/1.png"}]}', "upstream.image_url"),
        (b'{"data":[]}', "upstream.image"),
        (b'{"created":1}', "upstream.image"),
        (image_answer(png()[:-1]), "upstream.image"),
        (image_answer(b"<svg/>"), "upstream.image"),
        (image_answer(png(), png()), "upstream.image"),
        (image_answer(png(), output_format="jpeg"), "upstream.image"),
    ],
)
def test_an_answer_that_is_no_image_is_closed_as_failed_and_nothing_of_it_is_delivered(answer: bytes, code: str):
    log = MemoryLog()
    with pytest.raises(HoldfastError) as caught:
        asyncio.run(answered(answer, log, ask()))
    assert (caught.value.code, caught.value.status) == (code, 502)
    [closing] = [item.body for item in log.statements() if isinstance(item.body, Execution)]
    assert (closing.event, closing.outcome, closing.response) == ("failed", code, None)


def test_images_are_parts_of_what_was_signed_and_every_parameter_went_on():
    log = MemoryLog()
    text = image_answer(png(), png(3), output_format="png")
    run, body, _ = asyncio.run(answered(text, log, ask(n=2, quality="high")))
    [route] = [item.body for item in log.statements() if isinstance(item.body, Route)]
    [closing] = [item.body for item in log.statements() if isinstance(item.body, Execution)]
    assert (route.endpoint, route.streamed, route.rewrites) == (IMAGES, False, ())
    assert b'"quality": "high"' in run.bound.sent_text
    assert closing.response is not None
    found = verify_document("response", body, run.id, run.secret, closing.response)
    labels = [part.label.decode() for part in found.parts]
    assert "image|-|0|s|/data/0/b64_json" in labels
    assert json.loads(body)["holdfast"]["outcome"] == "complete"
    other = body.replace(b"iVBOR", b"iVBOS", 1)
    with pytest.raises(HoldfastError):
        verify_document("response", other, run.id, run.secret, closing.response)


def test_the_heaviest_answer_of_images_is_kept_whole():
    """It fits into one record of the write-ahead log, as its size is by default, and opens again."""
    room = MAX_IMAGES_BYTES // 2 - 200
    text = image_answer(png(noise=room), png(noise=room))
    run, body, kept = asyncio.run(answered(text, MemoryLog(), ask(n=2), segment_bytes=16 << 20))
    assert len(body) > 14 << 20
    assert open_document(run.bound.key, "response", kept) == text


def test_images_are_counted_in_the_answer_and_tokens_where_they_are_reported():
    made = canonical.decode_exact(image_answer(png(), png(), usage={"input_tokens": 9, "output_tokens": 272}))
    assert usage_of(made) == {"input_tokens": 9, "output_tokens": 272, "images": 2}
    assert usage_of(canonical.decode_exact(image_answer(png()))) == {"images": 1}
    chat = {"choices": [{"message": {"content": "", "images": [{"image_url": {"url": data_url(png())}}]}}]}
    assert usage_of(chat) == {"images": 1}
    assert usage_of({"choices": [{"message": {"content": "a"}}]}) is None
