"""Oblivious HTTP: what is refused and why, and the examples of RFC 9458 and of the chunked draft byte for byte."""

import pytest

from holdfast.core import ohttp
from holdfast.core.hpke import AES_128_GCM, CHACHA20_POLY1305
from holdfast.core.ohttp import (
    GatewayKey,
    RequestOpener,
    build_key_configuration,
    build_key_configurations,
    decapsulate,
    decapsulate_chunked,
    encapsulate,
    encapsulate_chunked,
    nonce_bytes,
    parse_key_configuration,
    parse_key_configurations,
)
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError

KEY = GatewayKey(1, bytes.fromhex("3c168975674b2fa8e465970b79c8dcf09f1c741626480bd4c6162fc5b6a98e1a"))
KEYS = {1: KEY}
CONFIGURATION = KEY.configuration
EPHEMERAL = bytes.fromhex("bc51d5e930bda26589890ac7032f70ad12e4ecb37abb1b65b1256c9c48999c73")
SUITES = pytest.mark.parametrize("suite", ohttp.SUITES, ids=lambda suite: suite.name)


def refused(kind, code, call, *arguments):
    with pytest.raises(kind) as caught:
        call(*arguments)
    assert caught.value.code == code


def exchange(suite=AES_128_GCM, content=b"a question"):
    """Client's context, gateway's context, the encapsulated request."""
    message, client = encapsulate(CONFIGURATION, suite, EPHEMERAL, content)
    opened, gateway = decapsulate(KEYS, message)
    assert opened == content
    return client, gateway, message


def nonce(suite):
    return bytes(range(nonce_bytes(suite)))


def chunked(suite=AES_128_GCM, chunks=(b"one", b"two", b"three")):
    """Client's context, and the pieces of a chunked response: nonce, chunks, last chunk."""
    client, gateway, _ = exchange(suite)
    sealer = gateway.chunks(nonce(suite))
    return client, [sealer.start(), *map(sealer.seal, chunks[:-1]), sealer.finish(chunks[-1])]


def read(opener, data):
    return [*opener.feed(data), opener.finish()]


# --- key configurations ---------------------------------------------------------------------------------------------

RFC = "01002031e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e79815500080001000100010003"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "01",
        RFC[:-2],
        RFC + "00",
        RFC[:70] + "0000",
        RFC[:70] + "0003000100",
        RFC[:70] + "00080001000100010001",
        RFC[:72],
        RFC[:40],
    ],
    ids=["empty", "id", "cut", "longer", "no-suites", "odd", "suite-twice", "no-length", "no-key"],
)
def test_a_malformed_configuration_is_refused(text):
    refused(MalformedError, "ohttp.key_config", parse_key_configuration, bytes.fromhex(text))
    inside = len(text) // 2
    if inside:
        refused(
            MalformedError,
            "ohttp.key_config",
            parse_key_configurations,
            inside.to_bytes(2, "big") + bytes.fromhex(text),
        )


def test_an_endless_configuration_is_refused():
    refused(MalformedError, "ohttp.key_config", parse_key_configuration, bytes(ohttp.MAX_CONFIGURATION_BYTES + 1))


@pytest.mark.parametrize(
    "text",
    [
        "01001031e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e79815500080001000100010003",
        RFC[:70] + "000400010002",
        RFC[:70] + "000400020001",
        RFC[:70] + "00080003000100010004",
    ],
    ids=["another-kem", "aes-256", "another-kdf", "two-unknown"],
)
def test_unknown_suites_are_refused(text):
    data = bytes.fromhex(text)
    refused(RefusedError, "ohttp.suite", parse_key_configuration, data)
    refused(RefusedError, "ohttp.suite", parse_key_configurations, len(data).to_bytes(2, "big") + data)


def test_suites_that_are_not_known_are_left_out():
    data = bytes.fromhex(RFC[:70] + "000c" + "00010002" + "00010003" + "00020001")
    found = parse_key_configuration(data)
    assert (found.suites, found.encoded) == ((CHACHA20_POLY1305,), data)


def test_the_configuration_of_the_rfc_is_read_and_written():
    assert CONFIGURATION.encoded.hex() == RFC
    assert parse_key_configuration(bytes.fromhex(RFC)) == CONFIGURATION


def test_opengradients_form_has_41_bytes_and_one_suite():
    blob = build_key_configuration(1, bytes(range(32)), (CHACHA20_POLY1305,)).encoded
    assert blob.hex() == "010020" + bytes(range(32)).hex() + "000400010003"


def test_a_list_keeps_order_passes_over_strangers_and_has_each_id_once():
    other = GatewayKey(2, bytes(range(32))).configuration
    stranger = bytes.fromhex("090010") + bytes(65) + bytes.fromhex("000400010001")
    data = build_key_configurations([CONFIGURATION, other])
    assert data == b"\x00\x2d" + CONFIGURATION.encoded + b"\x00\x2d" + other.encoded
    assert parse_key_configurations(data) == (CONFIGURATION, other)
    assert parse_key_configurations(len(stranger).to_bytes(2, "big") + stranger + data) == (CONFIGURATION, other)
    refused(MalformedError, "ohttp.key_config", parse_key_configurations, data + data)
    for cut in (1, 46):
        refused(MalformedError, "ohttp.key_config", parse_key_configurations, data[:-cut])
    refused(RefusedError, "ohttp.suite", parse_key_configurations, b"")


@pytest.mark.parametrize(
    ("key_id", "public", "suites"), [(256, bytes(32), None), (-1, bytes(32), None), (1, b"", None), (1, bytes(32), ())]
)
def test_a_configuration_that_cannot_be_written(key_id, public, suites):
    arguments = (key_id, public) if suites is None else (key_id, public, suites)
    refused(UsageError, "ohttp.key_config", build_key_configuration, *arguments)


# --- single-shot ----------------------------------------------------------------------------------------------------


def test_the_example_of_rfc_9458_appendix_a():
    request = bytes.fromhex("00034745540568747470730b6578616d706c652e636f6d012f")
    message, client = encapsulate(CONFIGURATION, AES_128_GCM, EPHEMERAL, request)
    assert message.hex() == (
        "010020000100014b28f881333e7c164ffc499ad9796f877f4e1051ee6d31bad19dec96c208b4726374e469135906992e1268c594d2a10c"
        "695d858c40a026e7965e7d86b83dd440b2c0185204b4d63525"
    )
    opened, gateway = decapsulate(KEYS, message)
    assert opened == request
    assert client._schedule.export(b"message/bhttp response", 16).hex() == "62d87a6ba569ee81014c2641f52bea36"
    response = gateway.seal(bytes.fromhex("c789e7151fcba46158ca84b04464910d"), bytes.fromhex("0140c8"))
    assert response.hex() == "c789e7151fcba46158ca84b04464910d86f9013e404feea014e7be4a441f234f857fbd"
    assert client.open(response).hex() == "0140c8"


@SUITES
def test_any_changed_bit_of_a_request_is_refused(suite):
    _, _, message = exchange(suite)
    for place in range(len(message)):
        for bit in range(8):
            changed = bytearray(message)
            changed[place] ^= 1 << bit
            with pytest.raises(RefusedError) as caught:
                decapsulate(KEYS, bytes(changed))
            expected = "ohttp.key_id" if place == 0 else "ohttp.suite" if place < 7 else "ohttp.open"
            # the other suite is offered too: its identifier differs in one bit, and its key opens nothing
            assert caught.value.code == expected or (place == 6 and caught.value.code == "ohttp.open")


@SUITES
def test_any_changed_bit_of_a_response_is_refused(suite):
    client, gateway, _ = exchange(suite)
    response = gateway.seal(nonce(suite), b"an answer")
    assert client.open(response) == b"an answer"
    for place in range(len(response)):
        changed = bytearray(response)
        changed[place] ^= 0x10
        refused(RefusedError, "ohttp.open", client.open, bytes(changed))


@SUITES
def test_what_is_cut_short_or_longer_is_refused(suite):
    client, gateway, message = exchange(suite)
    response = gateway.seal(nonce(suite), b"")
    for size in range(39 + 16):
        refused(MalformedError, "ohttp.truncated", decapsulate, KEYS, message[:size])
    for size in range(len(response)):
        refused(MalformedError, "ohttp.truncated", client.open, response[:size])
    for wrong in (message[:-1], message + b"\x00"):
        refused(RefusedError, "ohttp.open", decapsulate, KEYS, wrong)
    refused(RefusedError, "ohttp.open", client.open, response + b"\x00")


def test_a_suite_the_key_does_not_offer_is_refused_on_both_sides():
    one = GatewayKey(1, bytes(range(32)), (CHACHA20_POLY1305,))
    refused(RefusedError, "ohttp.suite", encapsulate, one.configuration, AES_128_GCM, EPHEMERAL, b"")
    refused(RefusedError, "ohttp.suite", encapsulate_chunked, one.configuration, AES_128_GCM, EPHEMERAL)
    both = build_key_configuration(1, one.configuration.public)
    message, _ = encapsulate(both, AES_128_GCM, EPHEMERAL, b"")
    refused(RefusedError, "ohttp.suite", decapsulate, {1: one}, message)


def test_a_request_for_another_key_is_refused():
    message, _ = encapsulate(CONFIGURATION, AES_128_GCM, EPHEMERAL, b"")
    refused(RefusedError, "ohttp.open", decapsulate, {1: GatewayKey(1, bytes(range(32)))}, message)
    refused(RefusedError, "ohttp.key_id", decapsulate, {2: KEY}, message)


def test_a_key_of_small_order_is_refused():
    weak = build_key_configuration(1, bytes(32))
    refused(MalformedError, "ohttp.key_config", encapsulate, weak, AES_128_GCM, EPHEMERAL, b"")
    message, _ = encapsulate(CONFIGURATION, AES_128_GCM, EPHEMERAL, b"")
    refused(RefusedError, "ohttp.open", decapsulate, KEYS, message[:7] + bytes(32) + message[39:])


def test_a_request_over_the_bound_is_refused_unopened():
    refused(MalformedError, "ohttp.size", decapsulate, {}, bytes(101), 100)
    refused(MalformedError, "ohttp.size", decapsulate_chunked, {}, bytes(101), 100)


@SUITES
def test_a_response_opens_for_its_own_request_only(suite):
    _, gateway, _ = exchange(suite)
    _, stranger = encapsulate(CONFIGURATION, suite, bytes(range(32)), b"another question")
    refused(RefusedError, "ohttp.open", stranger.open, gateway.seal(nonce(suite), b"an answer"))


def test_one_request_gets_one_response():
    for first in ("seal", "chunks"):
        _, gateway, _ = exchange()
        getattr(gateway, first)(*((nonce(AES_128_GCM), b"")[: 2 if first == "seal" else 1]))
        refused(UsageError, "ohttp.finished", gateway.seal, nonce(AES_128_GCM), b"")
        refused(UsageError, "ohttp.finished", gateway.chunks, nonce(AES_128_GCM))


@SUITES
def test_a_nonce_has_its_size(suite):
    _, gateway, _ = exchange(suite)
    refused(UsageError, "ohttp.nonce", gateway.seal, bytes(nonce_bytes(suite) - 1), b"")
    refused(UsageError, "ohttp.nonce", gateway.chunks, bytes(nonce_bytes(suite) + 1))
    assert gateway.seal(nonce(suite), b"")


# --- chunked --------------------------------------------------------------------------------------------------------


def test_the_example_of_the_chunked_draft():
    keys = {1: GatewayKey(1, bytes.fromhex("1c190d72acdbe4dbc69e680503bb781a932c70a12c8f3754434c67d8640d8698"))}
    assert keys[1].configuration.encoded.hex() == (
        "010020668eb21aace159803974a4c67f08b4152d29bed10735fd08f98ccdd6fe09570800080001000100010003"
    )
    ephemeral = bytes.fromhex("b26d565f3f875ed480d1abced3d665159650c99174fd0b124ac4bda0c64ae324")
    request = bytes.fromhex("00034745540568747470730b6578616d706c652e636f6d012f")
    sealer, client = encapsulate_chunked(keys[1].configuration, AES_128_GCM, ephemeral)
    pieces = [sealer.start(), sealer.seal(request[:12]), sealer.seal(request[12:]), sealer.finish()]
    assert [piece.hex() for piece in pieces] == [
        "010020000100018811eb457e100811c40a0aa71340a1b81d804bb986f736f2f566a7199761a032",
        "1c2ad24942d4d692563012f2980c8fef437a336b9b2fc938ef77a5834f",
        "1d2e33d8fd25577afe31bd1c79d094f76b6250ae6549b473ecd950501311",
        "001c6c1395d0ef7c1022297966307b8a7f",
    ]
    opened, gateway = decapsulate_chunked(keys, b"".join(pieces))
    assert opened == request
    assert client._schedule.export(b"message/bhttp chunked response", 16).hex() == "1d4484834ae36102a6ac42a5523454d9"
    answer = gateway.chunks(bytes.fromhex("bcce7f4cb921309ba5d62edf1769ef09"))
    pieces = [answer.start(), answer.seal(b"\x01"), answer.seal(b"\x40\xc8"), answer.finish()]
    assert [piece.hex() for piece in pieces] == [
        "bcce7f4cb921309ba5d62edf1769ef09",
        "1179bf1cc87fa0e2c02de4546945aa3d1e48",
        "12b348b5bd4c594c16b6170b07b475845d1f32",
        "00ed9d8a796617a5b27265f4d73247f639",
    ]
    assert read(client.chunk_opener(), b"".join(pieces)) == [b"\x01", b"\x40\xc8", b""]


@SUITES
def test_chunks_come_out_whatever_the_pieces(suite):
    client, pieces = chunked(suite)
    whole = b"".join(pieces)
    for step in (1, 3, 17, len(whole)):
        opener = client.chunk_opener()
        found = [chunk for at in range(0, len(whole), step) for chunk in opener.feed(whole[at : at + step])]
        assert [*found, opener.finish()] == [b"one", b"two", b"three"]


@SUITES
def test_any_changed_bit_of_a_chunked_response_is_refused(suite):
    client, pieces = chunked(suite)
    whole = b"".join(pieces)
    for place in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            with pytest.raises(HoldfastError) as caught:
                read(client.chunk_opener(), bytes(changed))
            assert caught.value.code in {"ohttp.open", "ohttp.chunk", "ohttp.truncated", "ohttp.size"}


@pytest.mark.parametrize(
    "order",
    [
        (0, 2, 1, 3),
        (0, 1, 1, 2, 3),
        (0, 2, 3),
        (0, 1, 3),
        (0, 3),
        (0, 1, 2, 3, 3),
        (0, 3, 1, 2),
        (0, 1, 2, 3, 0),
        (0, 1, 2, 3, 1),
    ],
    ids=lambda order: "".join(map(str, order)),
)
@SUITES
def test_reordered_repeated_and_missing_chunks_are_refused(suite, order):
    client, pieces = chunked(suite)
    refused(RefusedError, "ohttp.open", read, client.chunk_opener(), b"".join(pieces[place] for place in order))


@SUITES
def test_a_message_that_ends_early_is_truncated(suite):
    client, pieces = chunked(suite)
    whole = b"".join(pieces)
    last = len(whole) - len(pieces[-1])
    for size in range(last + 1 + 16):
        refused(MalformedError, "ohttp.truncated", read, client.chunk_opener(), whole[:size])
    for size in range(last + 1 + 16, len(whole)):
        refused(RefusedError, "ohttp.open", read, client.chunk_opener(), whole[:size])


def test_bytes_after_the_last_chunk_are_refused():
    client, pieces = chunked()
    refused(RefusedError, "ohttp.open", read, client.chunk_opener(), b"".join(pieces) + b"\x00")


def test_a_chunk_that_is_marked_last_by_somebody_else_is_refused():
    client, pieces = chunked()
    refused(RefusedError, "ohttp.open", read, client.chunk_opener(), pieces[0] + b"\x00" + pieces[1][1:])
    last = pieces[3][1:]
    marked = [pieces[0], pieces[1], pieces[2], bytes([len(last)]) + last, b"\x00" + last]
    refused(RefusedError, "ohttp.open", read, client.chunk_opener(), b"".join(marked))


@pytest.mark.parametrize("size", range(1, 16))
def test_a_length_that_no_chunk_can_have_is_refused(size):
    client, pieces = chunked()
    refused(MalformedError, "ohttp.chunk", client.chunk_opener().feed, pieces[0] + bytes([size]))


def test_a_length_may_be_spelled_longer_and_a_chunk_may_be_empty():
    client, pieces = chunked(chunks=(b"", b"", b""))
    longer = b"\x40" + pieces[1]
    assert read(client.chunk_opener(), pieces[0] + longer + pieces[2] + b"\x40" + pieces[3]) == [b"", b"", b""]


@pytest.mark.parametrize("place", [1, 3])
def test_a_chunk_over_the_bound_is_refused_before_it_is_there(place):
    chunks = [b"x" * 100 if number == place else b"" for number in (1, 2, 3)]
    client, pieces = chunked(chunks=chunks)
    whole = b"".join(pieces)
    assert b"".join(read(client.chunk_opener(116), whole)) == b"x" * 100
    start = sum(map(len, pieces[:place]))
    some = whole[: start + 3] if place == 1 else whole[:-1]
    opener = client.chunk_opener(100)
    refused(MalformedError, "ohttp.size", opener.feed, some)


def test_a_message_over_the_bound_is_refused_on_both_sides(monkeypatch):
    client, pieces = chunked()
    monkeypatch.setattr(ohttp, "MAX_MESSAGE_BYTES", 40)
    refused(MalformedError, "ohttp.size", read, client.chunk_opener(), b"".join(pieces))
    _, gateway, _ = exchange()
    sealer = gateway.chunks(nonce(AES_128_GCM))
    sealer.seal(b"12345678")
    refused(UsageError, "ohttp.size", sealer.seal, b"1")


def test_nothing_is_opened_after_an_error_or_the_end():
    client, pieces = chunked()
    opener = client.chunk_opener()
    refused(RefusedError, "ohttp.open", opener.feed, pieces[0] + pieces[2])
    refused(UsageError, "ohttp.finished", opener.feed, pieces[1])
    refused(UsageError, "ohttp.finished", opener.finish)
    opener = client.chunk_opener()
    assert read(opener, b"".join(pieces)) == [b"one", b"two", b"three"]
    refused(UsageError, "ohttp.finished", opener.feed, b"")
    refused(UsageError, "ohttp.finished", opener.finish)


def test_nothing_is_sealed_after_the_last_chunk():
    _, gateway, _ = exchange()
    sealer = gateway.chunks(nonce(AES_128_GCM))
    sealer.finish()
    for call in (sealer.seal, sealer.finish):
        refused(UsageError, "ohttp.finished", call, b"")


@SUITES
def test_the_two_kinds_of_responses_do_not_open_as_each_other(suite):
    client, gateway, _ = exchange(suite)
    sealer = gateway.chunks(nonce(suite))
    stream = sealer.start() + sealer.finish(b"an answer")
    refused(RefusedError, "ohttp.open", client.open, stream[: nonce_bytes(suite)] + stream[nonce_bytes(suite) + 1 :])
    client, gateway, _ = exchange(suite)
    whole = gateway.seal(nonce(suite), b"an answer")
    refused(
        RefusedError,
        "ohttp.open",
        read,
        client.chunk_opener(),
        whole[: nonce_bytes(suite)] + b"\x00" + whole[nonce_bytes(suite) :],
    )


@SUITES
def test_the_two_kinds_of_requests_do_not_open_as_each_other(suite):
    message, _ = encapsulate(CONFIGURATION, suite, EPHEMERAL, b"a question")
    refused(RefusedError, "ohttp.open", decapsulate_chunked, KEYS, message[:39] + b"\x00" + message[39:])
    sealer, _ = encapsulate_chunked(CONFIGURATION, suite, EPHEMERAL)
    stream = sealer.start() + sealer.finish(b"a question")
    refused(RefusedError, "ohttp.open", decapsulate, KEYS, stream[:39] + stream[40:])


@SUITES
def test_a_chunked_request_that_is_changed_or_cut_is_refused(suite):
    sealer, _ = encapsulate_chunked(CONFIGURATION, suite, EPHEMERAL)
    pieces = [sealer.start(), sealer.seal(b"a "), sealer.finish(b"question")]
    whole = b"".join(pieces)
    assert decapsulate_chunked(KEYS, whole)[0] == b"a question"
    for size in range(len(whole) - len(pieces[-1]) + 17):
        refused(MalformedError, "ohttp.truncated", decapsulate_chunked, KEYS, whole[:size])
    refused(RefusedError, "ohttp.key_id", decapsulate_chunked, {2: KEY}, whole)
    refused(RefusedError, "ohttp.suite", decapsulate_chunked, KEYS, whole[:6] + b"\x02" + whole[7:])
    for place in range(7, len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        with pytest.raises(HoldfastError) as caught:
            decapsulate_chunked(KEYS, bytes(changed))
        assert caught.value.code in {"ohttp.open", "ohttp.chunk", "ohttp.truncated", "ohttp.size"}


def test_a_chunked_request_in_very_many_chunks_is_refused(monkeypatch):
    """Each chunk costs its reader a step, even an empty one: a million of them would hold it for seconds."""
    monkeypatch.setattr(ohttp, "MAX_REQUEST_CHUNKS", 3)
    for count, good in ((3, True), (4, False)):
        sealer, _ = encapsulate_chunked(CONFIGURATION, AES_128_GCM, EPHEMERAL)
        whole = b"".join((sealer.start(), *(sealer.seal(b"") for _ in range(count)), sealer.finish(b"end")))
        if good:
            assert decapsulate_chunked(KEYS, whole)[0] == b"end"
        else:
            refused(MalformedError, "ohttp.size", decapsulate_chunked, KEYS, whole)


@SUITES
def test_a_chunked_request_is_opened_as_it_arrives_and_answered(suite):
    sealer, client = encapsulate_chunked(CONFIGURATION, suite, EPHEMERAL)
    opener = RequestOpener(KEYS)
    assert opener.feed(sealer.start()[:20]) == []
    assert opener.context is None
    assert opener.feed(sealer.start()[20:] + sealer.seal(b"a ")) == [b"a "]
    assert opener.feed(sealer.finish(b"question")) == []
    assert opener.finish() == b"question"
    context = opener.context
    assert context is not None
    assert (context.key_id, context.suite, context.enc) == (1, suite, sealer.start()[7:])
    answer = context.chunks(nonce(suite))
    assert read(client.chunk_opener(), answer.start() + answer.finish(b"an answer")) == [b"an answer"]


@SUITES
def test_a_single_shot_request_may_be_answered_in_chunks(suite):
    client, pieces = chunked(suite)
    assert b"".join(read(client.chunk_opener(), b"".join(pieces))) == b"onetwothree"
