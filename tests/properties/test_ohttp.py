"""Oblivious HTTP: what is written is read, whatever arrives only our errors come out, nothing damaged is accepted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.binary_http import (
    Request,
    Response,
    ResponseReader,
    build_request,
    build_response,
    parse_request,
    parse_response,
)
from holdfast.core.hpke import AEAD
from holdfast.core.ohttp import (
    SUITES,
    GatewayKey,
    decapsulate,
    decapsulate_chunked,
    encapsulate,
    encapsulate_chunked,
    nonce_bytes,
    parse_key_configuration,
    parse_key_configurations,
)
from holdfast.core.varint import encode_varint, read_varint
from holdfast.errors import HoldfastError

KEYS = {7: GatewayKey(7, bytes(range(32)))}
CONFIGURATION = KEYS[7].configuration
suites = st.sampled_from(SUITES)
secrets = st.binary(min_size=32, max_size=32)
names = st.from_regex(r"[a-z][a-z0-9-]{0,11}", fullmatch=True).filter(
    lambda name: name not in {"connection", "keep-alive", "upgrade", "te", "host", "content-length"}
)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=20).map(lambda text: text.strip(" \t"))
fields = st.lists(st.tuples(names, values), max_size=4).map(tuple)
requests = st.builds(
    Request,
    st.sampled_from(["GET", "POST", "OPTIONS"]),
    st.sampled_from(["http", "https"]),
    st.sampled_from(["", "example.com", "[::1]:8080"]),
    st.from_regex(r"/[a-z0-9/?=%]{0,12}", fullmatch=True),
    fields,
    st.binary(max_size=100),
    fields,
)
responses = st.builds(
    Response,
    st.integers(200, 599),
    fields,
    st.binary(max_size=100),
    fields,
    st.lists(st.tuples(st.integers(100, 199), fields), max_size=2).map(tuple),
)


def damage(data: st.DataObject, whole: bytes) -> bytes:
    """Another message: a changed byte, a cut, an insertion or a repetition."""
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, len(whole)))
    way = data.draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
    match way:
        case "flip":
            return whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
        case "cut":
            return whole[:place]
        case "insert":
            return whole[:other] + data.draw(st.binary(min_size=1, max_size=20)) + whole[other:]
        case _:
            return whole + whole[place:]


@given(st.integers(0, (1 << 62) - 1), st.binary(max_size=4))
def test_integers_come_back(number: int, more: bytes) -> None:
    text = encode_varint(number)
    assert read_varint(text + more, 0) == (number, len(text))


@given(suites, secrets, secrets, st.binary(max_size=300), st.binary(max_size=300))
def test_a_question_and_its_answer_come_back(
    suite: AEAD, ephemeral: bytes, nonce: bytes, question: bytes, answer: bytes
) -> None:
    message, client = encapsulate(CONFIGURATION, suite, ephemeral, question)
    opened, gateway = decapsulate(KEYS, message)
    assert opened == question
    assert client.open(gateway.seal(nonce[: nonce_bytes(suite)], answer)) == answer


@given(suites, secrets, secrets, st.lists(st.binary(max_size=80), min_size=1, max_size=6), st.integers(1, 60))
def test_chunks_come_back_in_order(suite: AEAD, ephemeral: bytes, nonce: bytes, chunks: list[bytes], step: int) -> None:
    sealer, client = encapsulate_chunked(CONFIGURATION, suite, ephemeral)
    request = sealer.start() + b"".join(map(sealer.seal, chunks[:-1])) + sealer.finish(chunks[-1])
    opened, gateway = decapsulate_chunked(KEYS, request)
    assert opened == b"".join(chunks)
    answer = gateway.chunks(nonce[: nonce_bytes(suite)])
    stream = answer.start() + b"".join(map(answer.seal, chunks[:-1])) + answer.finish(chunks[-1])
    opener = client.chunk_opener()
    found = [chunk for at in range(0, len(stream), step) for chunk in opener.feed(stream[at : at + step])]
    assert [*found, opener.finish()] == chunks


@given(suites, st.data())
def test_a_damaged_request_or_response_is_refused(suite: AEAD, data: st.DataObject) -> None:
    message, client = encapsulate(CONFIGURATION, suite, bytes(range(32)), b"a question")
    _, gateway = decapsulate(KEYS, message)
    with pytest.raises(HoldfastError):
        decapsulate(KEYS, damage(data, message))
    response = gateway.seal(bytes(nonce_bytes(suite)), b"an answer")
    with pytest.raises(HoldfastError):
        client.open(damage(data, response))


@given(suites, st.data())
def test_a_damaged_stream_gives_out_nothing_but_its_beginning(suite: AEAD, data: st.DataObject) -> None:
    message, client = encapsulate(CONFIGURATION, suite, bytes(range(32)), b"a question")
    sealer = decapsulate(KEYS, message)[1].chunks(bytes(nonce_bytes(suite)))
    chunks = [b"one", b"two", b"three", b"four"]
    stream = sealer.start() + b"".join(map(sealer.seal, chunks[:-1])) + sealer.finish(chunks[-1])
    opener, found = client.chunk_opener(), []
    damaged = damage(data, stream)
    try:
        for place in range(len(damaged)):
            found += opener.feed(damaged[place : place + 1])
        found.append(opener.finish())
    except HoldfastError:
        assert found == chunks[: len(found)]
    else:  # a length may be spelled in more bytes than it needs; nothing else can change
        assert found == chunks
        assert len(damaged) > len(stream)


@given(st.binary(max_size=200))
def test_whatever_arrives_only_our_errors_come_out(raw: bytes) -> None:
    _, client = encapsulate(CONFIGURATION, SUITES[0], bytes(range(32)), b"")
    opener = client.chunk_opener()
    calls = [
        lambda: parse_key_configuration(raw),
        lambda: parse_key_configurations(raw),
        lambda: decapsulate(KEYS, raw),
        lambda: decapsulate(KEYS, bytes.fromhex("07002000010001") + raw),
        lambda: decapsulate_chunked(KEYS, raw),
        lambda: decapsulate_chunked(KEYS, bytes.fromhex("07002000010003") + raw),
        lambda: client.open(raw),
        lambda: (opener.feed(raw), opener.finish()),
        lambda: parse_request(raw),
        lambda: parse_response(raw),
        lambda: (reader := ResponseReader(), reader.feed(raw), reader.finish()),
    ]
    for call in calls:
        try:
            call()
        except HoldfastError as error:
            assert error.code.startswith(("ohttp.", "bhttp."))  # noqa: PT017 (it may also be accepted)


@given(requests, st.booleans(), st.integers(0, 50))
def test_requests_come_back(request: Request, indeterminate: bool, padding: int) -> None:
    assert parse_request(build_request(request, indeterminate=indeterminate) + bytes(padding)) == request


@given(responses, st.booleans(), st.integers(0, 50), st.integers(1, 40))
def test_responses_come_back(response: Response, indeterminate: bool, padding: int, step: int) -> None:
    raw = build_response(response, indeterminate=indeterminate) + bytes(padding)
    assert parse_response(raw) == response
    reader = ResponseReader()
    content = b"".join([reader.feed(raw[at : at + step]) for at in range(0, len(raw), step)])
    whole = reader.finish()
    assert replace(whole, content=content + whole.content) == response


@given(st.one_of(requests.map(build_request), responses.map(build_response)), st.data())
def test_damaged_messages_raise_only_our_errors(raw: bytes, data: st.DataObject) -> None:
    damaged = damage(data, raw)
    for call in (parse_request, parse_response):
        try:
            call(damaged)
        except HoldfastError as error:
            assert error.code.startswith("bhttp.")  # noqa: PT017
