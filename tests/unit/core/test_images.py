"""Images by their containers, and the sizes for which no vector is small enough."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import canonical
from holdfast.core.images import MAX_IMAGE_BYTES, MAX_IMAGES_BYTES, parse_answer, parse_data_url, parse_image
from holdfast.errors import MalformedError
from tests.helpers.images import data_url, image_answer, png

ROOM = MAX_IMAGE_BYTES - len(png(noise=1)) + 1


def test_an_image_of_more_than_the_most_is_refused_and_one_of_exactly_the_most_is_not():
    assert parse_image(png(noise=ROOM)).size_bytes == MAX_IMAGE_BYTES
    with pytest.raises(MalformedError) as caught:
        parse_image(png(noise=ROOM + 1))
    assert caught.value.code == "image.size"


def test_base64_that_is_too_long_for_any_image_is_refused_before_it_is_decoded():
    text = "data:image/png;base64," + "!" * (4 * MAX_IMAGE_BYTES)
    with pytest.raises(MalformedError) as caught:
        parse_data_url(text)
    assert caught.value.code == "image.size"


def test_all_images_of_an_answer_have_a_limit_together():
    half = png(noise=MAX_IMAGES_BYTES // 2)
    with pytest.raises(MalformedError) as caught:
        parse_answer(canonical.decode_exact(image_answer(half, half)), 2)
    assert caught.value.code == "image.size"
    assert len(parse_answer(canonical.decode_exact(image_answer(half, png())), 2)) == 2


@given(st.integers(0, len(png()) - 1), st.integers(1, 255))
def test_a_changed_byte_of_a_png_is_noticed(place: int, change: int):
    data = bytearray(png())
    data[place] ^= change
    with pytest.raises(MalformedError):
        parse_image(bytes(data))


@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X"]),
    st.binary(max_size=80),
)
def test_whatever_follows_a_magic_number_is_read_or_refused(magic: bytes, rest: bytes):
    try:
        found = parse_image(magic + rest)
    except MalformedError:
        return
    assert found.width > 0
    assert found.height > 0


def test_a_data_url_gives_the_bytes_that_stand_in_it():
    found, data = parse_data_url(data_url(png(3, 2)))
    assert (found.kind, found.width, found.height, data) == ("png", 3, 2, png(3, 2))


def test_what_is_no_list_of_objects_has_no_images():
    for value in ({"data": {}}, {"data": [[]]}, {"data": None}):
        with pytest.raises(MalformedError) as caught:
            parse_answer(canonical.decode_exact(json.dumps(value).encode()), 1)
        assert caught.value.code == "image.count"
