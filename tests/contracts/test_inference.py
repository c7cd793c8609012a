"""What a :class:`holdfast.ports.inference.InferenceNode` keeps: over HTTP, against the real app and nonsense."""

import asyncio
import contextlib
import json
import socket

import pytest

from holdfast.adapters.inference_direct import DirectInferenceNode
from holdfast.core.orders import CheckOrder
from holdfast.core.statements import parse_envelope, parse_statement
from holdfast.errors import HoldfastError
from holdfast.nodes.edge import Limits
from holdfast.nodes.inference.app import create_app
from holdfast.nodes.server import make_server
from holdfast.ports.settings import Secret
from tests.helpers.clock import FakeClock
from tests.helpers.inference import MemoryInferenceNode, MovingSource
from tests.unit.nodes.inference.test_service import order

pytestmark = pytest.mark.enable_socket
TOKEN = "hfi_test"


@contextlib.asynccontextmanager
async def serving(app):
    """An app on a port of its own; yields its URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = make_server(app)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listener.close()


def app_of(node):
    @contextlib.asynccontextmanager
    async def lifespan(_):
        yield
        await node.close()

    return create_app(
        node.service,
        node.source,
        node.circuits,
        node.owed,
        identity=lambda: {"node": node.document.digest},
        token=Secret(TOKEN, "test"),
        proof_token=None,
        limits=Limits(1 << 16, 5),
        readiness=dict,
        lifespan=lifespan,
        metrics=lambda: b"",
    )


def play(story, token=TOKEN, app=None):
    async def main():
        node = MemoryInferenceNode(FakeClock(), MovingSource(scores=2.0))
        async with serving(app or app_of(node)) as url:
            client = DirectInferenceNode("inference", url, token, max_answer_bytes=1 << 20)
            try:
                return await story(client, node)
            finally:
                await client.close()

    return asyncio.run(main())


def refusal(value=None, **more):
    async def story(client, node):
        with pytest.raises(HoldfastError) as refused:
            await client.compute(order(value), timeout_s=5)
        return refused.value

    return play(story, **more)


@pytest.mark.parametrize(
    ("value", "code", "status"),
    [
        ({"model": "other"}, "models.unknown", 404),
        ({"inputs": {"z": [1]}}, "infer.inputs", 400),
        ({"mode": "TEE"}, "infer.mode", 403),
    ],
)
def test_what_the_node_refuses_of_a_request_keeps_its_code(value, code, status):
    error = refusal(value)
    assert (error.code, error.status) == (code, status)
    assert error.message


def test_a_wrong_token_is_the_operators_trouble_and_not_the_callers():
    error = refusal(token="hfi_other")
    assert (error.code, error.status) == ("upstream.protocol", 502)


def test_an_order_too_large_is_refused():
    assert refusal({"inputs": {"x": [0] * 40_000}}).code == "upstream.protocol"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"[]"),
        (200, b'{"text":"{}"}'),
        (200, b'{"text":1,"envelope":"","attestation":null}'),
        (200, b"not JSON"),
        (500, b'{"error":{"code":"auth.wrong","type":"refused","message":"no"}}'),
        (400, b'{"error":{"code":"infer.inputs","type":"nonsense","message":"no"}}'),
        (400, b'{"error":"no"}'),
    ],
)
def test_an_answer_that_is_none_is_a_broken_upstream(status, body):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    assert refusal(app=app).code == "upstream.protocol"


def test_nobody_there_is_unreachable():
    async def main():
        client = DirectInferenceNode("inference", "http://127.0.0.1:9", TOKEN, max_answer_bytes=1 << 20)
        with pytest.raises(HoldfastError) as refused:
            await client.compute(order(), timeout_s=5)
        await client.close()
        return refused.value.code

    assert asyncio.run(main()) == "upstream.unreachable"


def test_a_token_does_not_travel_in_the_clear():
    with pytest.raises(HoldfastError) as refused:
        DirectInferenceNode("inference", "http://models.example", TOKEN, max_answer_bytes=1)
    assert refused.value.code == "upstream.config"


def test_an_order_is_computed_listed_and_run_again():
    async def story(client, node):
        listed = await client.models()
        assert [(item.label, item.artifact, item.task) for item in listed] == [
            ("scores", node.source.labels["scores"], None)
        ]
        made = await client.compute(order(), timeout_s=5)
        assert json.loads(made.text)["outputs"]["y"]["data"] == [2.0, 4.0]
        found = parse_statement(parse_envelope(made.envelope))
        assert (client.code, found.attester) == ("inference", node.document.digest)
        again = await client.recompute(CheckOrder(order(), made.text, made.envelope), timeout_s=5)
        body = parse_statement(parse_envelope(again.envelope)).body
        assert (body.event, body.comparison) == ("recomputed", "equal")

    play(story)
