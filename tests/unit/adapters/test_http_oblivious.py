"""The transport over a relay: what it refuses, what it never does, and what the relay gets to see."""

import asyncio
import contextlib
import datetime as dt
import json
import os

import pytest

from holdfast.adapters.http_oblivious import ObliviousEvents, ObliviousHTTP, RelayRoute
from holdfast.core.binary_http import (
    CONTENT_END,
    Response,
    build_content,
    build_response,
    build_response_head,
)
from holdfast.core.hpke import CHACHA20_POLY1305
from holdfast.core.ohttp import GatewayContext, GatewayKey
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from holdfast.ports.http import Answer
from tests.helpers.oblivious import CONFIGURATION, draw, open_request

RELAY = "https://relay.example/v1/ohttp"
URL = "https://gateway.example:8443/v1/chat/completions?x=1"
SINGLE = {"content-type": "message/ohttp-res"}
CHUNKED = {"content-type": "message/ohttp-chunked-res"}
EVENT_HEAD = build_response_head(200, (("content-type", "text/event-stream"),))
ROUTE = RelayRoute(RELAY, CONFIGURATION, headers={"authorization": "Bearer relay-key", "x-tee-id": "ab" * 32})


def ok(context, _request):
    """The gateway answers single-shot."""
    return Answer(
        200, context.seal(draw(context), build_response(Response(200, (("x-a", "1"),), b"It holds."))), SINGLE
    )


def again(context):
    """The context of the same request, as if it had not been answered."""
    return GatewayContext(context.key_id, context.suite, context.enc, context._schedule)


class Relay:
    """Implements ``ports.http.HTTP``: notes what it is sent and answers what it is told to."""

    def __init__(self, answer=ok):
        self.answer = answer
        self.sent = []
        self.opened = []
        self.contexts = []

    async def request(self, method, url, *, body=b"", headers=None, timeout_s=10.0, max_bytes=1 << 20):
        self.sent.append((method, url, body, headers, timeout_s, max_bytes))
        request, context = open_request(body)
        self.opened.append(request)
        self.contexts.append(context)
        return self.answer(context, request)


def ask(relay, route=ROUTE, method="POST", url=URL, **options):
    return asyncio.run(ObliviousHTTP(route, relay).request(method, url, **options))


def refused(kind, code, call):
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.code == code
    return caught.value


# --- single-shot ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "says"),
    [
        (
            401,
            b'{"error":{"message":"no such key","code":"auth.wrong"}}',
            RefusedError,
            "oblivious.refused",
            "no such key",
        ),
        (403, b'{"detail":"not yours"}', RefusedError, "oblivious.refused", "not yours"),
        (402, b'{"error":"payment needed"}', RefusedError, "oblivious.refused", "payment needed"),
        (404, b"no relay here\n", RefusedError, "oblivious.refused", "no relay here"),
        (400, b"<html><h1>Bad</h1></html>", RefusedError, "oblivious.refused", "answered 400"),
        (413, b'{"error":{"message":"too much","code":"ohttp.size"}}', RefusedError, "oblivious.refused", "too much"),
        (
            429,
            b'{"error":{"message":"slowly","code":"relay.quota"}}',
            UnavailableError,
            "oblivious.unavailable",
            "slowly",
        ),
        (502, b'{"detail":"the gateway is silent"}', UnavailableError, "oblivious.unavailable", "silent"),
        (500, b"\xff\xfe\x00", UnavailableError, "oblivious.unavailable", "answered 500"),
        (503, b"", UnavailableError, "oblivious.unavailable", "answered 503"),
        (500, b"[1,2]", UnavailableError, "oblivious.unavailable", "answered 500"),
        (400, b'{"error":{"message":"unknown","code":"ohttp.key_id"}}', RefusedError, "oblivious.keys", "unknown"),
        (403, b'{"error":{"message":"not opened","code":"ohttp.open"}}', RefusedError, "oblivious.keys", "not opened"),
        (
            400,
            b'{"type":"https://iana.org/assignments/http-problem-types#ohttp-key","title":"key identifier unknown"}',
            RefusedError,
            "oblivious.keys",
            "key identifier unknown",
        ),
    ],
)
def test_what_is_not_sealed_is_the_relays_error_and_no_answer(status, body, kind, code, says):
    relay = Relay(lambda *_: Answer(status, body, {"content-type": "application/json"}))
    error = refused(kind, code, lambda: ask(relay))
    assert error.status == status
    assert says in error.message
    assert RELAY in error.message
    assert error.message.isprintable()


@pytest.mark.parametrize("status", [200, 204, 302])
@pytest.mark.parametrize("headers", [{}, {"content-type": "application/json"}, {"content-type": "message/bhttp"}])
def test_a_friendly_status_does_not_make_an_answer_of_the_relays_words(status, headers):
    relay = Relay(lambda *_: Answer(status, b'{"choices":[]}', headers))
    refused(RefusedError, "oblivious.content_type", lambda: ask(relay))


@pytest.mark.parametrize("status", [201, 400, 500])
def test_a_sealed_answer_has_status_200_outside(status):
    relay = Relay(lambda context, request: Answer(status, ok(context, request).body, SINGLE))
    with pytest.raises(HoldfastError) as caught:
        ask(relay)
    assert caught.value.code.startswith("oblivious.")


def test_a_relays_words_are_cut_and_made_printable():
    relay = Relay(lambda *_: Answer(400, json.dumps({"error": "\x1b[31m" + "x" * 5000}).encode(), {}))
    error = refused(RefusedError, "oblivious.refused", lambda: ask(relay))
    assert len(error.message) < 400
    assert error.message.isprintable()


def test_an_answer_that_the_relay_changed_or_kept_from_before_is_refused():
    relay = Relay()
    first = ask(relay)
    old = ok(again(relay.contexts[0]), None)
    assert first.body == b"It holds."
    refused(RefusedError, "ohttp.open", lambda: ask(Relay(lambda *_: old)))

    def changed(context, request):
        body = ok(context, request).body
        return Answer(200, body[:-1] + bytes([body[-1] ^ 1]), SINGLE)

    refused(RefusedError, "ohttp.open", lambda: ask(Relay(changed)))


def test_a_single_shot_answer_under_the_other_media_type_does_not_open():
    relay = Relay(lambda context, request: Answer(200, ok(context, request).body, CHUNKED))
    with pytest.raises(HoldfastError) as caught:
        ask(relay)
    assert caught.value.code.startswith("ohttp.")


def test_an_answer_that_is_no_message_is_refused():
    relay = Relay(lambda context, _: Answer(200, context.seal(draw(context), b'{"choices":[]}'), SINGLE))
    refused(HoldfastError, "bhttp.framing", lambda: ask(relay))


@pytest.mark.parametrize(
    "url",
    [
        "gateway.example/x",
        "ftp://gateway.example/",
        "https://",
        "https://me:secret@gateway.example/",
        "http://a:b/",
        "/x",
    ],
)
def test_a_url_that_names_no_gateway_is_refused_and_nothing_is_sent(url):
    relay = Relay()
    refused(UsageError, "oblivious.url", lambda: ask(relay, url=url))
    assert relay.sent == []


def test_a_header_of_a_connection_is_refused_and_nothing_is_sent():
    relay = Relay()
    refused(HoldfastError, "bhttp.field", lambda: ask(relay, headers={"Connection": "close"}))
    assert relay.sent == []


def test_a_key_that_is_no_longer_the_gateways_is_told():
    stale = RelayRoute(RELAY, GatewayKey(1, bytes(range(2, 34))).configuration)

    class Gateway(Relay):
        async def request(self, method, url, *, body=b"", headers=None, timeout_s=10.0, max_bytes=1 << 20):
            with pytest.raises(RefusedError) as caught:
                open_request(body)
            return Answer(caught.value.status, json.dumps(caught.value.to_json()).encode(), {})

    error = refused(RefusedError, "oblivious.keys", lambda: ask(Gateway(), stale))
    assert error.hint


def test_the_relay_is_told_what_it_needs_and_nothing_else():
    relay = Relay()
    answer = ask(relay, body=b"a question", headers={"Authorization": "Bearer workspace", "X-Holdfast": "1"})
    [(method, url, body, headers, _, max_bytes)] = relay.sent
    assert (method, url) == ("POST", RELAY)
    assert headers == {
        "authorization": "Bearer relay-key",
        "x-tee-id": "ab" * 32,
        "content-type": "message/ohttp-req",
        "accept": "message/ohttp-res",
    }
    for secret in (b"question", b"workspace", b"gateway.example", b"chat"):
        assert secret not in body
    assert max_bytes > 1 << 20
    [request] = relay.opened
    assert (request.method, request.scheme, request.authority) == ("POST", "https", "gateway.example:8443")
    assert (request.path, request.content) == ("/v1/chat/completions?x=1", b"a question")
    assert request.fields == (("authorization", "Bearer workspace"), ("x-holdfast", "1"))
    assert answer == Answer(200, b"It holds.", {"x-a": "1"})


def test_a_url_without_a_path_asks_for_the_root():
    relay = Relay()
    ask(relay, method="GET", url="http://[::1]:8080")
    assert (relay.opened[0].authority, relay.opened[0].path) == ("[::1]:8080", "/")


def test_every_request_is_sealed_with_a_key_of_its_own():
    relay = Relay()
    ask(relay)
    ask(relay)
    first, second = relay.contexts
    assert first.enc != second.enc


def test_the_key_comes_from_the_systems_randomness():
    assert RelayRoute(RELAY, CONFIGURATION).random_bytes is os.urandom


def test_a_request_says_inside_when_it_was_made():
    relay = Relay()
    ask(relay, RelayRoute(RELAY, CONFIGURATION, now=lambda: dt.datetime(2026, 2, 3, 4, 5, 6, tzinfo=dt.UTC)))
    ask(relay)
    dates = [dict(request.fields).get("date") for request in relay.opened]
    assert dates == ["Tue, 03 Feb 2026 04:05:06 GMT", None]
    assert all("date" not in sent[3] for sent in relay.sent)


@pytest.mark.parametrize("status", [204, 401, 429, 500])
def test_a_sealed_error_is_the_gateways_own_answer(status):
    def answer(context, _request):
        message = build_response(Response(status, (), b'{"error":{}}'))
        return Answer(200, context.seal(draw(context), message), {"content-type": "Message/OHTTP-res; x=1"})

    assert ask(Relay(answer)) == Answer(status, b'{"error":{}}', {})


def test_a_gateway_may_answer_in_chunks():
    def answer(context, _request):
        sealer = context.chunks(draw(context))
        message = build_response(Response(200, (), b"It holds."))
        return Answer(200, sealer.start() + sealer.seal(message[:5]) + sealer.finish(message[5:]), CHUNKED)

    assert ask(Relay(answer)).body == b"It holds."


def test_the_suite_that_was_chosen_is_used():
    relay = Relay()
    ask(relay, RelayRoute(RELAY, CONFIGURATION, suite=CHACHA20_POLY1305))
    ask(relay)
    assert [context.suite.name for context in relay.contexts] == ["chacha20-poly1305", "aes-128-gcm"]


def test_padded_requests_have_the_sizes_of_buckets():
    relay = Relay()
    route = RelayRoute(RELAY, CONFIGURATION, bucket_bytes=1024)
    for size in (0, 10, 500, 900, 1500, 2000):
        ask(relay, route, body=b"x" * size)
    assert [len(sent[2]) - 39 - 16 for sent in relay.sent] == [1024, 1024, 1024, 1024, 2048, 3072]
    assert [len(request.content) for request in relay.opened] == [0, 10, 500, 900, 1500, 2000]


# --- streams --------------------------------------------------------------------------------------------------------


class Stream:
    """Implements ``ports.http_stream.EventHTTP`` and its answer; what arrives is put into a queue."""

    def __init__(self, status=200, headers=CHUNKED):
        self.status = status
        self.headers = headers
        self.queue = asyncio.Queue()
        self.sent = []
        self.context = None

    @contextlib.asynccontextmanager
    async def open(self, method, url, *, body=b"", headers=None, timeout_s=30.0, idle_timeout_s=120.0, max_bytes=0):
        self.sent.append((method, url, body, headers))
        request, self.context = open_request(body)
        self.sealer = self.context.chunks(draw(self.context))
        await self.started(request)
        yield self

    async def started(self, _request):
        """What the gateway does first."""

    async def put(self, *pieces):
        for piece in pieces:
            await self.queue.put(piece)

    async def end(self):
        await self.queue.put(None)

    async def pieces(self):
        while (piece := await self.queue.get()) is not None:
            yield piece

    async def body(self):
        return b"".join([piece async for piece in self.pieces()])


class Scripted(Stream):
    """Sends the same chunks to everybody, in an order that can be another one."""

    def __init__(self, order, **more):
        super().__init__(**more)
        self.order = order

    async def started(self, _request):
        sealer = self.sealer
        pieces = [
            sealer.start(),
            sealer.seal(EVENT_HEAD),
            sealer.seal(build_content(b"data: one\n\n")),
            sealer.seal(build_content(b"data: two\n\n")),
            sealer.finish(CONTENT_END),
        ]
        await self.put(*(pieces[place] for place in self.order))
        await self.end()


def stream(relay, route=ROUTE, read=None, **options):
    async def scenario():
        seen = []
        try:
            async with ObliviousEvents(route, relay).open("POST", URL, body=b"a question", **options) as answer:
                if read is not None:
                    return await read(answer)
                async for event in answer.events():
                    seen += [event]
        except HoldfastError as error:
            return seen, error.code
        return seen, None

    return asyncio.run(scenario())


ONE, TWO = ("", b"one"), ("", b"two")


def test_events_come_out_in_order_and_end_with_the_last_chunk():
    assert stream(Scripted((0, 1, 2, 3, 4))) == ([ONE, TWO], None)


@pytest.mark.parametrize(
    ("order", "seen", "code"),
    [
        ((0, 1, 3, 2, 4), [], "ohttp.open"),
        ((0, 1, 2, 2, 3, 4), [ONE], "ohttp.open"),
        ((0, 1, 2, 4), [ONE], "ohttp.open"),
        ((0, 1, 2, 3), [ONE, TWO], "http.unreachable"),
        ((0, 1, 2), [ONE], "http.unreachable"),
        ((0, 1, 2, 3, 4, 4), [ONE, TWO], "ohttp.open"),
        ((0, 1, 2, 3, 4, 2), [ONE, TWO], "ohttp.open"),
        ((0, 4), [], "ohttp.open"),
        ((0,), [], "http.unreachable"),
        ((), [], "http.unreachable"),
    ],
)
def test_a_relay_that_reorders_repeats_drops_or_stops_is_found_out(order, seen, code):
    assert stream(Scripted(order)) == (seen, code)


def test_an_answer_that_its_gateway_broke_off_is_no_end():
    class Broken(Stream):
        async def started(self, _request):
            await self.put(self.sealer.start(), self.sealer.seal(EVENT_HEAD + b"\x40\x50"), self.sealer.finish(b"data"))
            await self.end()

    assert stream(Broken()) == ([], "http.unreachable")


def test_each_event_is_handed_out_before_the_next_chunk_is_sent():
    async def scenario():
        told = asyncio.Queue()
        seen = []

        class Waiting(Stream):
            async def started(self, _request):
                self.task = asyncio.create_task(self.gateway())

            async def gateway(self):
                await self.put(self.sealer.start() + self.sealer.seal(EVENT_HEAD))
                for number in range(3):
                    await self.put(self.sealer.seal(build_content(b"data: %d\n\n" % number)))
                    await told.get()  # whoever reads has the event before the next chunk is made
                await self.put(self.sealer.finish(CONTENT_END))
                await self.end()

        relay = Waiting()
        async with asyncio.timeout(5), ObliviousEvents(ROUTE, relay).open("POST", URL) as answer:
            assert (answer.status, answer.headers) == (200, {"content-type": "text/event-stream"})
            async for _, data in answer.events():
                seen.append(data)
                told.put_nowait(data)
        await relay.task
        return seen

    assert asyncio.run(scenario()) == [b"0", b"1", b"2"]


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_chunks_need_not_fall_together_with_what_arrives(cut):
    class Cut(Stream):
        async def started(self, _request):
            sealer = self.sealer
            whole = sealer.start() + sealer.seal(EVENT_HEAD[:9]) + sealer.seal(EVENT_HEAD[9:] + b"\x0bdata: ")
            whole += sealer.seal(b"one\n\n") + sealer.finish(build_content(b"data: two\n\n") + CONTENT_END)
            await self.put(*(whole[at : at + cut] for at in range(0, len(whole), cut)))
            await self.end()

    assert stream(Cut()) == ([ONE, TWO], None)


def test_a_stream_asks_the_relay_for_chunks():
    relay = Scripted((0, 1, 2, 3, 4))
    stream(relay)
    [(method, url, body, headers)] = relay.sent
    assert (method, url) == ("POST", RELAY)
    assert headers == {
        "authorization": "Bearer relay-key",
        "x-tee-id": "ab" * 32,
        "content-type": "message/ohttp-req",
        "accept": "message/ohttp-chunked-res",
        "x-ohttp-stream": "true",
        "incremental": "?1",
    }
    assert b"question" not in body


def test_a_relays_error_is_told_before_any_event():
    class Refusing(Stream):
        async def started(self, _request):
            await self.put(b'{"detail":"over quota"}')
            await self.end()

    assert stream(Refusing(429, {"content-type": "application/json"})) == ([], "oblivious.unavailable")
    assert stream(Refusing(200, {"content-type": "text/event-stream"})) == ([], "oblivious.content_type")
    assert stream(Refusing(401, CHUNKED)) == ([], "oblivious.refused")


def test_a_sealed_refusal_is_read_whole():
    class Refusing(Stream):
        async def started(self, _request):
            await self.put(again(self.context).seal(draw(self.context), build_response(Response(401, (), b"no"))))
            await self.end()

    async def read(answer):
        return answer.status, await answer.body()

    assert stream(Refusing(headers=SINGLE), read=read) == (401, b"no")


def test_a_head_that_does_not_come_is_unreachable():
    assert stream(Stream(), timeout_s=0.05) == ([], "http.unreachable")


def test_an_event_over_the_bound_is_refused():
    assert stream(Scripted((0, 1, 2, 3, 4)), max_bytes=5) == ([], "http.too_large")
