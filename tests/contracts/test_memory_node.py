"""What a :class:`holdfast.ports.memory_node.MemoryNode` keeps: in memory, and over an HTTP client of the test's."""

import asyncio
import dataclasses
import json

import pytest

from holdfast.adapters.memory_node_http import MAX_ANSWER_BYTES, HTTPMemoryNode
from holdfast.core import canonical
from holdfast.core.recall_orders import RecallOrder, parse_recall_order
from holdfast.core.said import Kept, Saying
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.ports.http import Answer
from tests.helpers.clock import FakeClock
from tests.helpers.network import RUN
from tests.helpers.recalls import USER, USER_KEY, ScriptedMemoryNode, memory_row

ORDER = RecallOrder(RUN, USER, "What do I play?", bytes(32), False, None, None)


class Answering:
    """Implements ``ports.http.HTTP``: a memory node's app without a socket."""

    def __init__(self, node):
        self.node, self.answer, self.failure, self.seen = node, None, None, []

    async def request(self, method, url, *, body=b"", headers=None, timeout_s=10.0, max_bytes=1 << 20):
        self.seen.append((method, url, dict(headers or {}), max_bytes))
        if self.failure is not None:
            raise self.failure
        if self.answer is not None:
            return self.answer
        try:
            if url.endswith("/v1/memories"):
                return await self._keep(canonical.decode_object(body), headers["x-api-key"], timeout_s)
            order = parse_recall_order(canonical.decode_object(body))
            delivery = await self.node.recall(order, headers["x-api-key"], timeout_s=timeout_s)
        except HoldfastError as error:
            return Answer(error.status, json.dumps(error.to_json()).encode())
        return Answer(200, canonical.encode(delivery.to_json()))

    async def _keep(self, body, key, timeout_s):
        assert body["source"] == "gateway"
        assert {message["role"] for message in body["messages"]} == {"user"}
        saying = Saying(body["run"], body["user"], tuple(message["content"] for message in body["messages"]))
        kept = await self.node.remember(saying, key, timeout_s=timeout_s)
        rows = {"memories": [{}] * kept.added, "renewed": ["mem"] * kept.renewed}
        return Answer(201, canonical.encode(rows))


@pytest.fixture(params=["memory", "http"])
def node(request):
    clock = FakeClock()
    own = ScriptedMemoryNode(clock)
    own.rows = [memory_row(1, "Plays the cello.", clock.now())]
    if request.param == "memory":
        return own
    return HTTPMemoryNode("https://memory.test/", Answering(own))


def over_http(answer=None, failure=None):
    http = Answering(ScriptedMemoryNode(FakeClock()))
    http.answer, http.failure = answer, failure
    return HTTPMemoryNode("https://memory.test", http), http


@pytest.mark.parametrize("change", [{"user": "bob"}])
def test_a_key_of_somebody_else_opens_nothing(node, change):
    with pytest.raises(HoldfastError) as caught:
        asyncio.run(node.recall(dataclasses.replace(ORDER, **change), USER_KEY, timeout_s=1))
    assert (caught.value.code, caught.value.status) == ("memory.key", 401)


def test_what_is_delivered_is_what_was_signed(node):
    delivery = asyncio.run(node.recall(ORDER, USER_KEY, timeout_s=1))
    assert delivery.claims == {f"mem_{1:032x}": "Plays the cello."}
    assert (len(delivery.salt), delivery.attestation) == (32, None)
    assert json.loads(delivery.document)["run"] == RUN


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"not json"),
        Answer(200, b"{}"),
        Answer(200, b'{"envelope":"","document":"","salt":"","claims":{},"attestation":null}'),
        Answer(500, b"<html>"),
        Answer(500, b'{"error":{"code":"internal.error","type":"error","message":"x"}}'),
        Answer(403, b'{"error":{"code":"auth.wrong","type":"refused","message":"x"}}'),
    ],
)
def test_an_answer_that_is_no_recall_is_a_broken_node(answer):
    with pytest.raises(UnavailableError) as caught:
        asyncio.run(over_http(answer)[0].recall(ORDER, USER_KEY, timeout_s=1))
    assert caught.value.code == "memory_node.protocol"


def test_a_silent_node_is_unreachable():
    with pytest.raises(UnavailableError) as caught:
        asyncio.run(
            over_http(failure=UnavailableError("http.unreachable", "silent"))[0].recall(ORDER, USER_KEY, timeout_s=1)
        )
    assert caught.value.code == "memory_node.unreachable"


def test_the_key_goes_in_a_header_and_the_answer_is_bounded():
    node, http = over_http()
    with pytest.raises(HoldfastError):
        asyncio.run(node.recall(ORDER, "other", timeout_s=1))
    [(method, url, headers, most)] = http.seen
    assert (method, url, headers["x-api-key"], most) == (
        "POST",
        "https://memory.test/v1/recall",
        "other",
        MAX_ANSWER_BYTES,
    )


def test_a_key_is_not_sent_in_the_clear_off_this_machine():
    with pytest.raises(HoldfastError) as caught:
        HTTPMemoryNode("http://memory.test", Answering(None))
    assert caught.value.code == "upstream.config"
    HTTPMemoryNode("http://127.0.0.1:8780", Answering(None))


SAYING = Saying(RUN, USER, ("I live in Oslo.", "I like maps."))


def test_what_was_said_is_kept_for_the_user_whose_key_it_is(node):
    assert asyncio.run(node.remember(SAYING, USER_KEY, timeout_s=1)) == Kept(2, 0)
    for saying, key in ((dataclasses.replace(SAYING, user="bob"), USER_KEY), (SAYING, "other")):
        with pytest.raises(HoldfastError) as caught:
            asyncio.run(node.remember(saying, key, timeout_s=1))
        assert (caught.value.code, caught.value.status) == ("memory.key", 401)
