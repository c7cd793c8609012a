"""Every text encoding has one spelling; another one of the same bytes is refused, never normalised."""

from __future__ import annotations

import datetime as dt

import pytest

from holdfast.core import encoding
from holdfast.errors import MalformedError


@pytest.mark.parametrize("text", ["A0", "0", "0x00", "a0\n", " a0", "gg", "٠٠", None, 7, b"a0"])
def test_hex_is_lower_case_pairs_and_nothing_else(text):
    with pytest.raises(MalformedError) as refused:
        encoding.hex_decode(text)
    assert refused.value.code == "encoding.hex"


def test_hex_of_another_length_is_refused():
    with pytest.raises(MalformedError, match="expected 32 bytes of hex, got 31"):
        encoding.hex_decode("00" * 31, 32)
    assert encoding.hex_decode("") == b""
    assert encoding.hex_decode("00" * 32, 32) == bytes(32)


@pytest.mark.parametrize("text", ["AA", "AA=", "AB==", "-_8=", "AA ==", "AA==\n", "AAA=AAAA", "é===", None, 3, b"AA=="])
def test_base64_is_standard_padded_and_without_trailing_bits(text):
    with pytest.raises(MalformedError) as refused:
        encoding.b64_decode(text)
    assert refused.value.code == "encoding.base64"


def test_base64_of_another_length_is_refused():
    with pytest.raises(MalformedError, match="expected 2 bytes, got 1"):
        encoding.b64_decode("AA==", 2)
    assert encoding.b64_decode(encoding.b64_encode(b"\x00\xff"), 2) == b"\x00\xff"


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.0000Z",
        "2026-01-01T00:00:00.000+00:00",
        "2026-01-01t00:00:00.000z",
        "2026-01-01T00:00:00.000Z\n",
        "2026-02-29T00:00:00.000Z",
        "2026-01-01T24:00:00.000Z",
        "2026-12-31T23:59:61.000Z",
        "0000-01-01T00:00:00.000Z",
        "٢٠٢٦-01-01T00:00:00.000Z",
        None,
        20260101,
    ],
)
def test_a_time_is_utc_with_milliseconds_and_a_moment_that_exists(text):
    with pytest.raises(MalformedError) as refused:
        encoding.time_decode(text)
    assert refused.value.code == "encoding.time"


def test_a_time_without_a_zone_is_not_written():
    with pytest.raises(MalformedError) as refused:
        encoding.time_encode(dt.datetime(2026, 1, 1))
    assert refused.value.code == "encoding.time"


def test_a_time_in_another_zone_is_written_in_utc_and_cut_to_milliseconds():
    moment = dt.datetime(2026, 1, 1, 1, 0, 0, 1999, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert encoding.time_encode(moment) == "2025-12-31T23:00:00.001Z"


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"])
def test_the_ends_of_the_calendar_survive(text):
    assert encoding.time_encode(encoding.time_decode(text)) == text


def test_sha256_of_nothing_is_what_the_standard_says():
    assert encoding.sha256(b"").hex() == encoding.sha256_hex(b"")
    assert encoding.sha256_hex(b"").startswith("e3b0c44298fc1c14")
