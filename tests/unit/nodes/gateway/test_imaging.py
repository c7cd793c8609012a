"""Runs whose answers are images: refused where they cannot be bound, bound to the last byte where they can."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.c2pa_files import create_chain, load_credentials
from holdfast.adapters.credentials_c2pa import installed, read_credentials
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core import canonical
from holdfast.core.content_credentials import ImageClaim
from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.core.images import MAX_IMAGES_BYTES
from holdfast.core.parts import verify_document
from holdfast.core.sealing import open_document
from holdfast.core.statements import Execution, Route
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.gateway.imaging import Crediting, Embed
from holdfast.nodes.gateway.ledger import parse_closing
from holdfast.nodes.gateway.request import IMAGES, Ask, parse_ask
from holdfast.nodes.gateway.service import Run
from holdfast.nodes.gateway.till import usage_of
from holdfast.verifier.routes import describe_route, deviations
from tests.helpers.clock import FakeClock
from tests.helpers.gateway import MemoryLog, assemble
from tests.helpers.images import data_url, image_answer, png, png_chunk
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


# --- content credentials (images.md §6) -----------------------------------------------------------------------------


async def named(kind: str, data: bytes, claim: ImageClaim, *, ruled: bool) -> bytes:
    """A stand-in for the library: the image with a chunk that says what it would."""
    assert (kind, ruled) == ("png", False)
    return data[:33] + png_chunk(b"noIz", json.dumps(claim.to_json()).encode()) + data[33:]


async def unable(kind: str, data: bytes, claim: ImageClaim, *, ruled: bool) -> bytes:
    raise UnavailableError("gateway.credentials", "it cannot", status=502)


async def broken(kind: str, data: bytes, claim: ImageClaim, *, ruled: bool) -> bytes:
    return data[:-1]


def credited(embed: Embed) -> dict[str, Any]:
    return {"crediting": Crediting(embed)}


def test_credentials_are_in_the_bytes_that_are_signed_and_the_route_says_so():
    log = MemoryLog()
    text = image_answer(png(), png(3))
    run, body, _ = asyncio.run(answered(text, log, ask(n=2), **credited(named)))
    [route] = [item.body for item in log.statements() if isinstance(item.body, Route)]
    [closing] = [item.body for item in log.statements() if isinstance(item.body, Execution)]
    assert route.rewrites == ("image-credentials",)
    assert closing.response is not None
    verify_document("response", body, run.id, run.secret, closing.response)
    for number, item in enumerate(json.loads(body)["data"]):
        attester = closing_attester(log)
        said = json.dumps(ImageClaim(run.id, attester, number).to_json()).encode()
        assert said in b64_decode(item["b64_json"])
    assert "put content credentials into the images" in describe_route(route)
    assert "rewrite" not in deviations(route)


def closing_attester(log: MemoryLog) -> str:
    [found] = {item.attester for item in log.statements()}
    return found


@pytest.mark.parametrize(("embed", "outcome"), [(unable, "gateway.credentials"), (broken, "upstream.image")])
def test_images_that_get_no_credentials_though_the_gateway_says_so_are_not_delivered(embed: Embed, outcome: str):
    log = MemoryLog()
    with pytest.raises(HoldfastError) as caught:
        asyncio.run(answered(image_answer(png()), log, ask(), **credited(embed)))
    assert caught.value.code == outcome
    [closing] = [item.body for item in log.statements() if isinstance(item.body, Execution)]
    assert (closing.event, closing.outcome, closing.response) == ("failed", outcome, None)


@pytest.mark.parametrize("options", [{"credentials": False}, {"settlement": "private"}], ids=["not wanted", "private"])
def test_who_does_not_want_to_be_named_by_an_image_is_not(options: dict[str, Any]):
    log = MemoryLog()
    _, body, _ = asyncio.run(answered(image_answer(png()), log, ask(holdfast=options), **credited(named)))
    assert json.loads(body)["data"][0]["b64_json"] == b64_encode(png())


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        (ask(holdfast={"credentials": True}), {}),
        (ask(holdfast={"credentials": True, "settlement": "private"}), credited(named)),
    ],
    ids=["a gateway without a key", "a private run"],
)
def test_credentials_that_cannot_be_had_are_refused_before_anything_is_sent(request_: Ask, more: dict[str, Any]):
    log = MemoryLog()
    with pytest.raises(HoldfastError) as caught:
        asyncio.run(answered(image_answer(png()), log, request_, **more))
    assert (caught.value.code, caught.value.param) == ("request.credentials", "holdfast.credentials")
    assert log.statements() == []


def test_credentials_is_true_or_false():
    with pytest.raises(HoldfastError) as caught:
        ask(holdfast={"credentials": "yes"})
    assert caught.value.code == "request.credentials"


@pytest.mark.skipif(not installed(), reason="c2pa-python is not installed")
def test_an_image_of_a_gateway_with_the_real_library_names_its_run_after_it_was_saved(tmp_path: Path):
    key, chain, anchor = create_chain(tmp_path, "gateway", 36500, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    log = MemoryLog()
    signs = load_credentials(key, chain)
    run, body, _ = asyncio.run(answered(image_answer(png()), log, ask(), **credited(signs.embed)))
    saved = b64_decode(json.loads(body)["data"][0]["b64_json"])
    found = asyncio.run(read_credentials("png", saved, anchor.read_text()))
    assert found is not None
    assert (found.holds, found.anchored) == (True, True)
    assert found.claim == ImageClaim(run.id, closing_attester(log), 0)
