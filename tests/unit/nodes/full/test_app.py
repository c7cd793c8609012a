"""What a full node shows, and the one error shape for everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import pytest

from holdfast.client import full
from holdfast.core import rounds
from holdfast.nodes.edge import Edge
from holdfast.nodes.full.app import create_app
from tests.helpers import asgi
from tests.helpers.full_network import ORIGIN, Network, through_json

QUERY = f"origin={quote(ORIGIN, safe='')}"


def scene(play: Callable[[Network, Edge], Awaitable[None]], *, settle: bool = True) -> None:
    async def run() -> None:
        network = Network()
        await network.open()
        if settle:
            network.answer(2)
            await network.until(network.all_final)
            await network.steps(2)
        await play(network, create_app(network.seats[0].up))

    asyncio.run(run())


async def get(app: Edge, target: str) -> asgi.Reply:
    return await asgi.request(app, "GET", target)


def test_a_final_round_is_shown_with_votes_and_the_own_finality_message():
    async def play(network: Network, app: Edge) -> None:
        view = full.parse_round((await get(app, f"/v1/rounds/1?{QUERY}")).json())
        assert (view.state, view.number, view.attempt) == ("final", 1, 0)
        assert view.finality is not None
        signer = rounds.verify_finality_message(
            network.chain.domain, view.finality, [seat.address for seat in network.seats]
        ).signer
        assert signer == network.seats[0].address
        assert len(view.voters) >= 3
        assert view.candidate == network.final_rounds()[0].candidate

    scene(play)


def test_all_finality_messages_are_served_together_and_make_a_quorum():
    async def play(network: Network, app: Edge) -> None:
        view = full.parse_finality((await get(app, f"/v1/finality/1?{QUERY}")).json())
        stakes = {seat.address: 100 for seat in network.seats}
        assert rounds.verify_finality(network.chain.domain, view.messages, stakes).content == view.candidate.content

    scene(play)


def test_a_verdict_blob_is_served_under_its_digest():
    async def play(network: Network, app: Edge) -> None:
        final = network.final_rounds()[0].candidate
        reply = await get(app, f"/v1/verdicts/{final.blob_id.hex()}")
        assert reply.status == 200
        assert rounds.blob_id(reply.body) == final.blob_id
        assert len(rounds.verify_verdicts(final, 0, reply.body)) == 4

    scene(play)


def test_rounds_are_listed_from_a_number_on_or_newest_with_the_open_one():
    async def play(network: Network, app: Edge) -> None:
        network.answer()
        await network.until(network.all_final)
        later = full.parse_rounds((await get(app, f"/v1/rounds?{QUERY}&after=1")).json())
        assert [view.number for view in later] == [2]
        newest = full.parse_rounds((await get(app, f"/v1/rounds?{QUERY}&limit=1")).json())
        assert [(view.number, view.state) for view in newest] == [(2, "final"), (3, "open")]
        assert full.parse_rounds((await get(app, f"/v1/rounds?{QUERY}&after=9")).json()) == ()

    scene(play)


def test_the_origin_may_be_left_out_when_there_is_one():
    async def play(network: Network, app: Edge) -> None:
        assert network.final_rounds()
        assert (await get(app, "/v1/rounds/1")).json()["origin"] == ORIGIN

    scene(play)


def test_the_status_says_who_the_node_is_and_what_it_does():
    async def play(network: Network, app: Edge) -> None:
        value = (await get(app, "/v1/status")).json()
        view = full.parse_status(value)
        assert (view.node, view.address) == (network.seats[0].document.digest, network.seats[0].address)
        assert view.logs[0].size == 4
        assert value["rounds"][0]["doing"] == "nothing to settle"
        assert value["rounds"][0]["final"] == 1
        assert value["development"] is True
        assert (await get(app, "/readyz")).status == 200

    scene(play)


def test_a_node_that_has_seen_neither_log_nor_chain_is_not_ready():
    async def play(network: Network, app: Edge) -> None:
        reply = await get(app, "/readyz")
        assert (reply.status, reply.code) == (503, "node.not_ready")
        await network.steps(1)
        assert (await get(app, "/readyz")).status == 200

    scene(play, settle=False)


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/v1/rounds/99", 404, "full.round"),
        ("/v1/rounds/0", 404, "full.round"),
        ("/v1/rounds/01", 400, "request.number"),
        ("/v1/rounds/-1", 400, "request.number"),
        ("/v1/rounds/x", 400, "request.number"),
        ("/v1/rounds/" + "9" * 400, 400, "request.number"),
        ("/v1/rounds?after=%00", 400, "request.number"),
        ("/v1/rounds?limit=%D9%A3", 400, "request.number"),
        ("/v1/rounds?origin=nobody", 404, "full.origin"),
        ("/v1/finality/2", 404, "full.round"),
        ("/v1/verdicts/" + "00" * 32, 404, "full.blob"),
        ("/v1/verdicts/zz", 400, "encoding.hex"),
        ("/v1/verdicts/" + "AA" * 32, 400, "encoding.hex"),
        ("/v1/nothing", 404, "request.not_found"),
        ("/add-checkpoint", 405, "request.method"),
    ],
)
def test_what_is_not_there_or_not_well_asked_gets_the_one_error_shape(target, status, code):
    async def play(_: Network, app: Edge) -> None:
        reply = await get(app, target)
        assert (reply.status, reply.code) == (status, code)

    scene(play)


def test_the_open_round_shows_its_candidate_and_whose_votes_are_missing():
    async def play(network: Network, app: Edge) -> None:
        for seat in network.seats[2:]:
            network.stop(seat)
        network.answer()
        for _ in range(80):
            await network.steps(1)
            view = full.parse_round((await get(app, "/v1/rounds/2")).json())
            if view.state == "proposed":
                break
        assert view.state == "proposed"
        assert view.candidate is not None
        waits = (await get(app, "/v1/status")).json()["rounds"][0]["waits_for"]
        assert set(waits) == {seat.address for seat in network.seats} - set(view.voters)

    scene(play)


def test_the_lifespan_does_the_work_and_stops_it():
    async def run() -> None:
        network = Network(1)
        await network.open()
        closed: list[bool] = []

        async def close() -> None:
            closed.append(True)
            await asyncio.sleep(0)

        app = create_app(network.seats[0].up, close)
        network.answer(1)
        async with asgi.running(app):
            for _ in range(400):
                await asyncio.sleep(0)
                network.clock.advance(0.05)
                network.chain.mine()
                if network.all_final():
                    break
        assert network.all_final()
        assert closed == [True]
        assert b"holdfast_full" in network.seats[0].up.metrics() or network.seats[0].up.metrics() is not None

    asyncio.run(run())


def test_a_failing_disk_ends_the_work_and_the_node_goes_on_answering():
    async def run() -> None:
        network = Network(1)
        await network.open()
        seat = network.seats[0]
        app = create_app(seat.up)
        network.answer(1)
        seat.disk.fail_after(1, for_good=True)
        await asyncio.wait_for(seat.up.run(), 5)
        assert seat.up.failure
        reply = await get(app, "/readyz")
        assert reply.status == 503
        assert (await get(app, "/v1/status")).json()["failure"] == seat.up.failure

    asyncio.run(run())


def test_what_is_shown_survives_the_strict_reader():
    async def play(network: Network, _: Edge) -> None:
        node = network.seats[0].up
        full.parse_status(through_json(node.status()))
        full.parse_rounds(through_json(node.rounds(ORIGIN, None, 100)))

    scene(play)
