"""The renderer: refusals as a provider's, pictures that are what they say, the same for the same words."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import Any

import numpy as np
import pytest
from openai.types import ImagesResponse

from holdfast.adapters.renderer.png import write_png
from holdfast.adapters.renderer.raster import FORMS, paint
from holdfast.adapters.renderer.scene import COLOURS, MOST_SHAPES, OWN_COLOURS, SHAPES, Shape, read_scene
from holdfast.adapters.upstream_renderer import MODEL_ID, RendererUpstream
from holdfast.core.encoding import b64_decode
from holdfast.core.images import parse_data_url, parse_image
from holdfast.ports.upstream import UpstreamStatusError, UpstreamUnreachableError
from tests.helpers.clock import FakeClock


def body(prompt: Any = "a red circle", **fields: Any) -> bytes:
    return json.dumps({"model": MODEL_ID, "prompt": prompt, "size": "64x64", **fields}).encode()


def ask(data: bytes, path: str = "/images/generations") -> Any:
    upstream = RendererUpstream(FakeClock(), lambda: "1")
    return json.loads(asyncio.run(upstream.complete(path, data, timeout_s=5)).body)


@pytest.mark.parametrize(
    ("data", "param"),
    [
        (b"{", None),
        (body(7), "prompt"),
        (body(""), "prompt"),
        (body(model="other"), "model"),
        (body(n=0), "n"),
        (body(n=11), "n"),
        (body(size="32x64"), "size"),
        (body(size="64x1025"), "size"),
        (body(size="64"), "size"),
        (body(seed="x"), "seed"),
        (body(response_format="url"), "response_format"),
        (body(output_format="webp"), "output_format"),
    ],
)
def test_a_request_that_it_cannot_do_is_refused_as_a_provider_would(data: bytes, param: str | None):
    with pytest.raises(UpstreamStatusError) as caught:
        ask(data)
    assert json.loads(caught.value.body)["error"]["param"] == param


def test_it_answers_at_no_other_path_and_streams_no_images():
    with pytest.raises(UpstreamStatusError):
        ask(body(), "/completions")

    async def stream() -> None:
        upstream = RendererUpstream(FakeClock(), lambda: "1")
        async for _ in upstream.stream("/images/generations", body(), timeout_s=5, idle_timeout_s=5):
            pytest.fail("images do not stream")

    with pytest.raises(UpstreamStatusError):
        asyncio.run(stream())


def test_a_closed_renderer_answers_nothing():
    async def closed() -> None:
        upstream = RendererUpstream(FakeClock(), lambda: "1")
        await upstream.close()
        await upstream.complete("/images/generations", body(), timeout_s=5)

    with pytest.raises(UpstreamUnreachableError):
        asyncio.run(closed())


def test_an_answer_is_openai_shaped_and_its_pictures_are_of_the_size_that_was_asked():
    answer = ask(body(n=2, size="128x64"))
    ImagesResponse.model_validate(answer)
    for item in answer["data"]:
        found = parse_image(b64_decode(item["b64_json"]))
        assert (found.kind, found.width, found.height) == ("png", 128, 64)


def test_it_says_that_no_model_made_the_picture_and_which_words_meant_nothing():
    said = ask(body("a red circle and a zeppelin"))["data"][0]["revised_prompt"]
    assert "not by a model" in said
    assert said.endswith("Not understood: zeppelin.")


def test_the_same_words_and_seed_make_the_same_bytes_and_another_seed_others():
    first, second = ask(body("five stars", n=2))["data"]
    assert ask(body("five stars"))["data"][0] == first
    assert ask(body("five stars", seed=1))["data"][0] == second
    assert first["b64_json"] != second["b64_json"]


def test_a_chat_gets_its_picture_as_an_image_of_the_message():
    messages = [{"role": "user", "content": "a square"}, {"role": "assistant", "content": "x"}]
    messages.append({"role": "user", "content": "a red circle"})
    data = json.dumps({"model": MODEL_ID, "messages": messages, "size": "64x64"}).encode()
    [image] = ask(data, "/chat/completions")["choices"][0]["message"]["images"]
    _, found = parse_data_url(image["image_url"]["url"])
    assert found == b64_decode(ask(body())["data"][0]["b64_json"])


def pixel(prompt: str, x: float, y: float) -> tuple[int, ...]:
    pixels = paint(read_scene(prompt, 0), 100, 100)
    return tuple(int(part) for part in pixels[int(y * 100), int(x * 100)])


def is_like(found: tuple[int, ...], colour: str) -> bool:
    return max(abs(one - other) for one, other in zip(found, COLOURS[colour], strict=True)) < 40


def test_colours_places_and_backgrounds_are_where_the_words_say():
    assert is_like(pixel("a red circle on a blue background", 0.5, 0.5), "red")
    assert is_like(pixel("a red circle on a blue background", 0.05, 0.05), "blue")
    two = "a big green square left and a big yellow square right"
    places = [(shape.colour, shape.x) for shape in read_scene(two, 0).shapes]
    assert sorted(x for _, x in places) == [0.25, 0.75]
    [left] = [colour for colour, x in places if x == 0.25]
    assert is_like(left, "green")


def test_a_number_is_how_many_there_are_and_has_an_end():
    assert len(read_scene("seven dots", 0).shapes) == 7
    assert len(read_scene("999 stars and 999 dots", 0).shapes) == MOST_SHAPES


def test_words_that_name_no_shape_still_make_a_picture():
    assert read_scene("", 0).shapes
    assert read_scene("what is a lane?", 0) != read_scene("what is a gate?", 0)


def test_every_word_for_a_shape_can_be_drawn_and_every_own_colour_is_one():
    assert set(SHAPES.values()) == FORMS.keys()
    assert set(OWN_COLOURS.values()) <= COLOURS.keys()
    assert set(OWN_COLOURS) <= SHAPES.keys()


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_form_is_inside_its_extent_and_outside_around_it(form: str):
    scene = read_scene("white background", 0)
    shape = Shape(form, (10, 20, 30), 0.5, 0.5, 0.25, 0.0)
    shown = paint(type(scene)((255, 255, 255), (255, 255, 255), (shape,), ()), 200, 200)
    dark = (shown < 60).all(axis=2)
    rows, columns = np.nonzero(dark)
    assert 500 < len(rows) <= np.pi * 50**2 * 1.4
    assert min(rows.min(), columns.min()) >= 48
    assert max(rows.max(), columns.max()) <= 152


def test_a_png_unpacks_to_the_pixels_that_were_written():
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    data = write_png(pixels)
    assert parse_image(data).width == 7
    length = int.from_bytes(data[33:37])
    rows = zlib.decompress(data[41 : 41 + length])
    above, found = bytes(21), []
    for at in range(0, len(rows), 22):
        assert rows[at] == 2
        above = bytes((up + difference) & 255 for up, difference in zip(above, rows[at + 1 : at + 22], strict=True))
        found.append(above)
    assert b"".join(found) == pixels.tobytes()
