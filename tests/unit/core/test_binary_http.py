"""Binary HTTP: what is refused and why, and the examples of RFC 9292 byte for byte."""

from dataclasses import replace

import pytest

from holdfast.core import binary_http
from holdfast.core.binary_http import (
    CONTENT_END,
    Request,
    Response,
    ResponseReader,
    build_content,
    build_request,
    build_response,
    build_response_head,
    pad,
    parse_request,
    parse_response,
)
from holdfast.core.varint import encode_varint
from holdfast.errors import MalformedError, UsageError

GET = Request("GET", "https", "example.com", "/")
OK = Response(200)


def refused(code, call, *arguments):
    with pytest.raises(MalformedError) as caught:
        call(*arguments)
    assert caught.value.code == code


def lines(*pairs):
    """Field lines without any check."""
    return b"".join(encode_varint(len(part)) + part for pair in pairs for part in pair)


def known(raw):
    """A known-length response with this header section."""
    return b"\x01\x40\xc8" + encode_varint(len(raw)) + raw


def unknown(raw):
    """An indeterminate-length response with this header section."""
    return b"\x03\x40\xc8" + raw + b"\x00"


def control(*texts):
    """A known-length request with this control data and nothing else."""
    return b"\x00" + b"".join(encode_varint(len(text)) + text for text in texts)


FRAMES = pytest.mark.parametrize("frame", [known, unknown])


@FRAMES
@pytest.mark.parametrize(
    "line",
    [
        (b"Content-Type", b"text/plain"),
        (b"a b", b""),
        (b"na\xefve", b""),
        (b":status", b"200"),
        (b":protocol", b"x"),
        (b"a:", b"x"),
        (b"a", b"x\r\ny: z"),
        (b"a", b"x\n"),
        (b"a", b"x\x00"),
        (b"a", b" x"),
        (b"a", b"x\t"),
        (b"connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"close"),
        (b"upgrade", b"websocket"),
        (b"te", b"gzip"),
    ],
    ids=str,
)
def test_a_field_that_http_2_would_refuse_is_refused(frame, line):
    refused("bhttp.field", parse_response, frame(lines(line)))
    name, value = (part.decode("latin-1") for part in line)
    for indeterminate in (False, True):
        with pytest.raises(MalformedError) as caught:
            build_response(Response(200, ((name, value),)), indeterminate=indeterminate)
        assert caught.value.code == "bhttp.field"


def test_an_empty_name_is_refused():
    refused("bhttp.field", parse_response, known(lines((b"", b"x"))))


@FRAMES
def test_values_may_be_empty_and_hold_any_other_byte(frame):
    found = parse_response(frame(lines((b"a", b""), (b"te", b"trailers"), (b"b", b"x \xff\t y"))))
    assert found.fields == (("a", ""), ("te", "trailers"), ("b", "x \xff\t y"))


@pytest.mark.parametrize(
    "texts",
    [
        (b"", b"https", b"a", b"/"),
        (b"GE T", b"https", b"a", b"/"),
        (b"GET", b"", b"a", b"/"),
        (b"GET", b"HTTPS", b"a", b"/"),
        (b"GET", b"https", b"user@a", b"/"),
        (b"GET", b"https", b"a/b", b"/"),
        (b"GET", b"https", b"a\r\n", b"/"),
        (b"GET", b"https", b"a", b""),
        (b"GET", b"https", b"a", b"*"),
        (b"GET", b"https", b"a", b"v1"),
        (b"GET", b"https", b"a", b"/ "),
        (b"GET", b"https", b"a", b"/#x"),
        (b"GET", b"https", b"a", b"/\xff"),
        (b"GET", b"https", b"a", b"/\n"),
    ],
    ids=str,
)
def test_control_data_of_another_shape_is_refused(texts):
    refused("bhttp.control", parse_request, control(*texts))
    refused("bhttp.control", build_request, Request(*(text.decode("latin-1") for text in texts)))


def test_the_asterisk_is_for_options():
    assert parse_request(control(b"OPTIONS", b"https", b"a", b"*")).path == "*"


@pytest.mark.parametrize("hosts", [("other.com",), ("example.com", "example.com")])
def test_a_host_that_is_another_or_stands_twice_is_refused(hosts):
    fields = tuple(("host", host) for host in hosts)
    refused("bhttp.control", build_request, replace(GET, fields=fields))
    section = lines(*((b"host", host.encode()) for host in hosts))
    head = build_request(GET)[:-3]
    refused("bhttp.control", parse_request, head + encode_varint(len(section)) + section)


def test_a_host_of_the_same_name_is_no_other():
    request = replace(GET, fields=(("host", "Example.com"),))
    assert parse_request(build_request(request)) == request


@pytest.mark.parametrize("first", [4, 5, 63, 0x40])
def test_a_framing_of_another_kind_is_refused(first):
    refused("bhttp.framing", parse_request, encode_varint(first) + build_request(GET)[1:])
    refused("bhttp.framing", parse_response, encode_varint(first) + build_response(OK)[1:])


def test_a_response_is_no_request():
    refused("bhttp.framing", parse_request, build_response(OK))
    refused("bhttp.framing", parse_response, build_request(GET))


@pytest.mark.parametrize("status", [0, 99, 600, 16383])
def test_a_status_of_no_response_is_refused(status):
    refused("bhttp.status", parse_response, b"\x01" + encode_varint(status))
    refused("bhttp.status", build_response, Response(status))
    refused("bhttp.status", build_response, Response(200, informational=((status, ()),)))


def test_informational_responses_end():
    early = (encode_varint(102) + b"\x00") * (binary_http.MAX_INFORMATIONAL + 1)
    refused("bhttp.size", parse_response, b"\x01" + early + b"\x40\xc8")
    refused("bhttp.truncated", parse_response, b"\x01" + encode_varint(102))
    assert len(parse_response(b"\x01" + early[3:] + b"\x40\xc8").informational) == binary_http.MAX_INFORMATIONAL


@pytest.mark.parametrize("value", ["2", "4", "03", "+3", "3, 3", ""])
@pytest.mark.parametrize("indeterminate", [False, True])
def test_a_length_that_is_not_the_contents_is_refused(value, indeterminate):
    fields = (("content-length", value),)
    request = build_request(replace(GET, fields=fields, content=b"abc"), indeterminate=indeterminate)
    response = build_response(Response(200, fields, b"abc"), indeterminate=indeterminate)
    refused("bhttp.content_length", parse_request, request)
    refused("bhttp.content_length", parse_response, response)
    refused("bhttp.content_length", parse_request, build_request(replace(GET, fields=fields)))


def test_an_answer_to_head_gives_a_length_and_has_no_content():
    assert parse_response(build_response(Response(200, (("content-length", "3"),)))).content == b""


@pytest.mark.parametrize("indeterminate", [False, True])
def test_padding_is_zeros(indeterminate):
    request, response = build_request(GET, indeterminate=indeterminate), build_response(OK, indeterminate=indeterminate)
    assert parse_request(request + bytes(100)) == GET
    assert parse_response(response + bytes(100)) == OK
    for padding in (b"\x01", bytes(50) + b"\x01", b"\xff" + bytes(50)):
        refused("bhttp.padding", parse_request, request + padding)
        refused("bhttp.padding", parse_response, response + padding)


@pytest.mark.parametrize("bucket", [0, -1])
def test_a_bucket_holds_something(bucket):
    with pytest.raises(UsageError) as caught:
        pad(b"", bucket)
    assert caught.value.code == "bhttp.bucket"


@pytest.mark.parametrize("content", range(0, 300, 7))
@pytest.mark.parametrize("indeterminate", [False, True])
def test_a_padded_message_is_the_same_message_of_another_size(content, indeterminate):
    request = replace(GET, content=b"x" * content)
    raw = build_request(request, indeterminate=indeterminate)
    padded = pad(raw, 64)
    assert len(padded) % 64 == 0
    assert 0 <= len(padded) - len(raw) < 64
    assert parse_request(padded) == request
    assert pad(padded, 64) == padded


MESSAGES = [
    build_request(Request("POST", "https", "a", "/v1", (("a", "1"),), b"body", (("t", "2"),)), indeterminate=way)
    for way in (False, True)
] + [
    build_response(Response(200, (("a", "1"),), b"body", (("t", "2"),), ((103, (("l", "3"),)),)), indeterminate=way)
    for way in (False, True)
]


@pytest.mark.parametrize("message", MESSAGES, ids=["request", "request-open", "response", "response-open"])
def test_a_message_cut_anywhere_but_before_an_empty_section_is_refused(message):
    parse = parse_request if message[0] in (0, 2) else parse_response
    whole = parse(message)
    end_of_control = b"\x03/v1" if parse is parse_request else b"\x40\xc8"
    whole_without = {
        message.index(end_of_control) + len(end_of_control): replace(whole, fields=(), content=b"", trailers=()),
        message.index(b"\x04body"): replace(whole, content=b"", trailers=()),
        message.rindex(b"\x01t") - (message[0] < 2): replace(whole, trailers=()),
    }
    for size in range(len(message)):
        if size in whole_without:
            assert parse(message[:size]) == whole_without[size]
        else:
            refused("bhttp.truncated", parse, message[:size])


@FRAMES
def test_sections_are_bounded(frame):
    refused("bhttp.size", parse_response, frame(lines((b"a", b"x" * binary_http.MAX_SECTION_BYTES))))
    refused("bhttp.size", parse_response, frame(lines(*[(b"a", b"")] * (binary_http.MAX_FIELDS + 1))))
    assert len(parse_response(frame(lines(*[(b"a", b"")] * binary_http.MAX_FIELDS))).fields) == binary_http.MAX_FIELDS


def test_a_size_is_refused_before_its_bytes_are_there():
    huge = encode_varint((1 << 62) - 1)
    refused("bhttp.size", parse_request, b"\x00" + huge)
    refused("bhttp.size", parse_response, b"\x01\x40\xc8" + huge)
    refused("bhttp.size", parse_response, b"\x01\x40\xc8\x00" + huge)
    refused("bhttp.size", parse_response, b"\x03\x40\xc8\x00" + huge)
    refused("bhttp.size", ResponseReader().feed, b"\x03\x40\xc8\x00" + huge)


def test_content_is_bounded_also_in_pieces():
    pieces = build_response_head(200) + build_content(b"123") + build_content(b"45") + CONTENT_END
    assert parse_response(pieces, 5).content == b"12345"
    refused("bhttp.size", parse_response, pieces, 4)
    refused("bhttp.size", parse_request, build_request(replace(GET, content=b"12345")), 4)


def test_a_request_in_very_many_pieces_is_refused():
    """Each piece costs its reader a step, whatever its size: a million of one byte would hold it for seconds."""
    head = build_request(GET, indeterminate=True)[:-2]
    most = head + b"\x01a" * binary_http.MAX_PIECES + b"\x00"
    assert parse_request(most).content == b"a" * binary_http.MAX_PIECES
    refused("bhttp.size", parse_request, head + b"\x01a" * (binary_http.MAX_PIECES + 1) + b"\x00")


def test_a_text_that_is_no_bytes_cannot_be_written():
    with pytest.raises(UsageError) as caught:
        build_request(replace(GET, fields=(("a", "€"),)))
    assert caught.value.code == "bhttp.text"


# --- reading as it arrives ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", MESSAGES[2:], ids=["known", "indeterminate"])
@pytest.mark.parametrize("step", [1, 2, 5, 1000])
def test_a_response_is_handed_out_as_it_arrives(message, step):
    reader = ResponseReader()
    content = b""
    padded = message + bytes(9)
    for at in range(0, len(padded), step):
        content += reader.feed(padded[at : at + step])
        if content:
            assert reader.head is not None
            assert reader.head.fields == (("a", "1"),)
    whole = reader.finish()
    assert replace(whole, content=content + whole.content) == parse_response(message)


def test_content_comes_before_its_chunk_is_whole():
    reader = ResponseReader()
    assert reader.feed(build_response_head(200, (("a", "1"),))) == b""
    assert reader.head == Response(200, (("a", "1"),))
    assert reader.feed(b"\x05da") == b"da"
    assert reader.feed(b"ta") == b"ta"
    with pytest.raises(MalformedError) as caught:
        reader.finish()
    assert caught.value.code == "bhttp.truncated"


def test_a_response_without_its_fields_has_no_head():
    reader = ResponseReader()
    assert reader.feed(b"\x03\x40\xc8\x01a\x011") == b""
    assert reader.head is None
    assert reader.feed(b"\x00") == b""
    assert reader.head == Response(200, (("a", "1"),))
    assert reader.finish() == Response(200, (("a", "1"),))


def test_nothing_is_read_after_an_error():
    reader = ResponseReader()
    refused("bhttp.framing", reader.feed, b"\x07")
    assert reader.feed(build_response(Response(200, (), b"content"))) == b""
    refused("bhttp.truncated", reader.finish)


# --- the examples of RFC 9292 ---------------------------------------------------------------------------------------

HELLO = Request(
    "GET",
    "https",
    "",
    "/hello.txt",
    (
        ("user-agent", "curl/7.16.3 libcurl/7.16.3 OpenSSL/0.9.7l zlib/1.2.3"),
        ("host", "www.example.com"),
        ("accept-language", "en, mi"),
    ),
)
HELLO_KNOWN = (
    "0003474554056874747073000a2f68656c6c6f2e747874406c0a757365722d6167656e74346375726c2f372e31362e33206c69626375726c2f37"
    "2e31362e33204f70656e53534c2f302e392e376c207a6c69622f312e322e3304686f73740f7777772e6578616d706c652e636f6d0f6163636570"
    "742d6c616e677561676506656e2c206d690000"
)
HELLO_INDETERMINATE = (
    "0203474554056874747073000a2f68656c6c6f2e7478740a757365722d6167656e74346375726c2f372e31362e33206c69626375726c2f372e31"
    "362e33204f70656e53534c2f302e392e376c207a6c69622f312e322e3304686f73740f7777772e6578616d706c652e636f6d0f6163636570742d"
    "6c616e677561676506656e2c206d6900" + "00" * 12
)
INTERIM = Response(
    200,
    (
        ("date", "Mon, 27 Jul 2009 12:28:53 GMT"),
        ("server", "Apache"),
        ("last-modified", "Wed, 22 Jul 2009 19:15:56 GMT"),
        ("etag", '"34aa387-d-1568eb00"'),
        ("accept-ranges", "bytes"),
        ("content-length", "51"),
        ("vary", "Accept-Encoding"),
        ("content-type", "text/plain"),
    ),
    b"Hello World! My content includes a trailing CRLF.\r\n",
    (),
    (
        (102, (("running", '"sleep 15"'),)),
        (103, (("link", "</style.css>; rel=preload; as=style"), ("link", "</script.js>; rel=preload; as=script"))),
    ),
)
INTERIM_BYTES = (
    "0340660772756e6e696e670a22736c65657020313522004067046c696e6b233c2f7374796c652e6373733e3b2072656c3d7072656c6f6164"
    "3b2061733d7374796c65046c696e6b243c2f7363726970742e6a733e3b2072656c3d7072656c6f61643b2061733d7363726970740040c804"
    "646174651d4d6f6e2c203237204a756c20323030392031323a32383a353320474d5406736572766572064170616368650d6c6173742d6d6f"
    "6469666965641d5765642c203232204a756c20323030392031393a31353a353620474d5404657461671422333461613338372d642d313536"
    "3865623030220d6163636570742d72616e6765730562797465730e636f6e74656e742d6c656e67746802353104766172790f416363657074"
    "2d456e636f64696e670c636f6e74656e742d747970650a746578742f706c61696e003348656c6c6f20576f726c6421204d7920636f6e7465"
    "6e7420696e636c75646573206120747261696c696e672043524c462e0d0a0000"
)
CHUNKED = Response(200, (), b"This content contains CRLF.\r\n", (("trailer", "text"),))
CHUNKED_BYTES = "0140c8001d5468697320636f6e74656e7420636f6e7461696e732043524c462e0d0a0d07747261696c65720474657874"


def test_the_request_of_known_length():
    data = bytes.fromhex(HELLO_KNOWN)
    assert build_request(HELLO) == data
    assert [parse_request(data[: len(data) - cut]) for cut in range(3)] == [HELLO] * 3


def test_the_request_of_indeterminate_length_with_its_padding():
    data = bytes.fromhex(HELLO_INDETERMINATE)
    assert build_request(HELLO, indeterminate=True) + bytes(10) == data
    assert [parse_request(data[: len(data) - cut]) for cut in range(13)] == [HELLO] * 13


def test_the_response_with_interim_responses():
    data = bytes.fromhex(INTERIM_BYTES)
    assert parse_response(data) == INTERIM
    assert build_response(INTERIM, indeterminate=True) == data


def test_the_response_with_a_trailer():
    data = bytes.fromhex(CHUNKED_BYTES)
    assert parse_response(data) == CHUNKED
    assert build_response(CHUNKED) == data
