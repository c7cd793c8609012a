"""What a file is by its bytes (``spec/files.md`` §2)."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.file_bytes import data_of, decode_text, image_size, kind_of, text_type
from holdfast.errors import HoldfastError

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def png(width, height):
    return PNG + struct.pack(">II", width, height)


def jpeg(width, height, before=b""):
    return b"\xff\xd8" + before + b"\xff\xc0\x00\x0b\x08" + struct.pack(">HH", height, width) + b"\x01"


def refused(call, *arguments):
    with pytest.raises(HoldfastError) as caught:
        call(*arguments)
    return caught.value.code


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"hello", "text"),
        ("h\u00e9".encode("latin-1"), "text"),
        ("h\u00e9".encode("utf-16"), "text"),
        (b"%PDF-1.7\n", "pdf"),
        (b"PK\x03\x04...", "office"),
        (b"junk before it %PDF-1.4", "pdf"),
        (png(1, 1), "image"),
        (b"GIF89a\x01\x00\x01\x00", "image"),
        (png(1, 1) + b"%PDF-1.7", "image"),
    ],
)
def test_bytes_say_what_a_file_is(data, kind):
    assert kind_of(data) == kind


@pytest.mark.parametrize("data", [b"\x7fELF\x02\x01\x01\x00", b"MZ\x90\x00\x03", b"\x01\x02\x03", b"a\x00b"])
def test_what_is_no_kind_is_refused(data):
    assert refused(kind_of, data) == "file.type"


def test_a_file_of_nothing_is_refused():
    assert refused(kind_of, b"") == "file.empty"
    assert refused(decode_text, b" \n\t") == "file.empty"


def test_a_text_is_read_strictly_or_says_how_it_was_read():
    assert decode_text(b"\xef\xbb\xbfa\r\nb\rc\n") == ("a\nb\nc\n", ())
    assert decode_text(b"caf\xe9") == ("caf\u00e9", ("latin-1",))
    assert decode_text("caf\u00e9".encode("utf-16-be").join([b"\xfe\xff", b""])) == ("caf\u00e9", ("utf-16",))
    assert refused(decode_text, b"\xff\xfe\x00\xd8") == "file.malformed"


def outcome(data):
    """What reading comes to: a kind, or a code."""
    try:
        kind = kind_of(data)
        return str(image_size(data)) if kind == "image" else kind
    except HoldfastError as error:
        return error.code


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda rest: b"\xff\xd8\xff" + rest))
def test_whatever_comes_is_of_a_kind_or_refused(data):
    assert outcome(data).startswith(("file.", "office", "pdf", "text", "Size("))


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png(640, 480), (640, 480)),
        (b"GIF87a" + struct.pack("<HH", 3, 4), (3, 4)),
        (jpeg(30, 20), (30, 20)),
        (jpeg(30, 20, b"\xff\xe0\x00\x04ab\xff\xff\xff\xd0"), (30, 20)),
        (b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 7, 8), (7, 8)),
        (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 9 | 4 << 14), (10, 5)),
        (b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + b"\x09\0\0\x04\0\0", (10, 5)),
    ],
)
def test_an_images_size_is_read_in_its_header(data, size):
    assert image_size(data) == size


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (png(60_000, 60_000), "file.too_large"),
        (png(16_384, 16_384), "file.too_large"),
        (png(16_385, 1), "file.too_large"),
        (png(0, 5), "file.too_large"),
        (PNG, "file.malformed"),
        (png(1, 1).replace(b"IHDR", b"IDAT"), "file.malformed"),
        (b"\xff\xd8\xff", "file.malformed"),
        (b"\xff\xd8\xff\xe0\x00\x01", "file.malformed"),
        (b"\xff\xd8\xff\xe0" + b"\x00\x02\xff\xe0" * 50, "file.malformed"),
        (b"\xff\xd8\xff\xe0\x00\x02junk", "file.malformed"),
        (b"RIFF\0\0\0\0WEBPVP9 \0\0", "file.malformed"),
    ],
)
def test_an_image_that_would_not_fit_or_is_none_is_refused(data, code):
    assert refused(image_size, data) == code


def test_data_comes_as_a_data_url_or_as_base64():
    assert data_of("data:text/plain;charset=utf-8;base64,aGk=") == b"hi"
    assert data_of("aGk=") == b"hi"
    for text in ("data:text/plain,hi", "aGk", "aG k=", "https://x.test/a", "\u00e9"):
        assert data_of(text) is None


def test_a_texts_type_is_by_its_name():
    assert [text_type(name) for name in ("a.CSV", "b.json", "c", "d.md")] == [
        "text/csv",
        "application/json",
        "text/plain",
        "text/markdown",
    ]
