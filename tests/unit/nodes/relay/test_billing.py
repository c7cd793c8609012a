"""OpenGradient's plaintext frames leave a stream, and nothing else does, wherever the pieces break."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.varint import encode_varint
from holdfast.errors import MalformedError
from holdfast.nodes.relay.billing import MARKER, MAX_FRAME_BYTES, FrameStripper, nonce_bytes

FRAME = MARKER + (20).to_bytes(4) + b'{"cost_opg":"123456"'
NONCE = bytes(range(32))


def answer(chunks: list[bytes], *, frame_before: int | None = None, final: bytes = b"f" * 16) -> bytes:
    out = [NONCE]
    for place, chunk in enumerate(chunks):
        out += [FRAME] if place == frame_before else []
        out += [encode_varint(len(chunk)), chunk]
    out += [FRAME] if frame_before == len(chunks) else []
    return b"".join([*out, b"\x00", final])


def stripped(data: bytes, cuts: list[int]) -> bytes:
    stripper, out, begin = FrameStripper(32), [], 0
    for cut in [*sorted(cuts), len(data)]:
        out.append(stripper.feed(data[begin:cut]))
        begin = max(begin, cut)
    return b"".join([*out, stripper.end()])


def test_what_stands_between_chunks_and_is_no_frame_breaks_the_answer_off() -> None:
    with pytest.raises(MalformedError) as found:
        FrameStripper(32).feed(NONCE + b"\n--opengradient-ohttp-billing-v2--\n")
    assert found.value.code == "relay.billing"


def test_a_frame_larger_than_any_price_is_refused() -> None:
    with pytest.raises(MalformedError) as found:
        FrameStripper(32).feed(NONCE + MARKER + (MAX_FRAME_BYTES + 1).to_bytes(4))
    assert found.value.code == "relay.billing"


def test_the_words_of_a_frame_inside_a_chunk_are_ciphertext() -> None:
    data = answer([FRAME * 2, b"x" * 17])
    assert stripped(data, []) == data


def test_nothing_is_read_behind_the_final_chunk() -> None:
    data = answer([], final=FRAME)
    assert stripped(data, [33]) == data


@given(
    st.lists(st.binary(min_size=16, max_size=300), max_size=6),
    st.integers(0, 6),
    st.lists(st.integers(0, 2000), max_size=8),
    st.binary(min_size=16, max_size=80),
)
def test_frames_go_and_every_other_byte_stays(chunks: list[bytes], place: int, cuts: list[int], final: bytes) -> None:
    with_frame = answer(chunks, frame_before=min(place, len(chunks)), final=final)
    assert stripped(with_frame, [cut for cut in cuts if cut < len(with_frame)]) == answer(chunks, final=final)


@given(st.lists(st.binary(min_size=16, max_size=90), max_size=4), st.integers(0, 400))
def test_an_answer_that_was_cut_stays_cut_and_whole(chunks: list[bytes], at: int) -> None:
    data = answer(chunks)[:at]
    assert stripped(data, [at // 2]) == data


@pytest.mark.parametrize(
    ("request_bytes", "size"),
    [(bytes.fromhex("01002000010001") + b"x", 16), (bytes.fromhex("01002000010003"), 32), (b"\x01\x00", None)],
)
def test_the_request_says_how_long_the_answers_nonce_is(request_bytes: bytes, size: int | None) -> None:
    assert nonce_bytes(request_bytes) == size


def test_an_unknown_suite_has_no_known_nonce() -> None:
    assert nonce_bytes(bytes.fromhex("01002000010009")) is None
