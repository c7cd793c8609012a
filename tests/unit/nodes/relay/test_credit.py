"""The relay pays out of its own credit, tells callers when that is used up, and asks about it because of nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.helpers.asgi import Reply, request
from tests.helpers.clock import settle
from tests.helpers.relay import SEALED, RelayWorld

GATEWAY = "http://gateway.test"


def play(story: Callable[[RelayWorld], Awaitable[None]]) -> None:
    asyncio.run(story(RelayWorld()))  # type: ignore[arg-type]


async def post(world: RelayWorld) -> Reply:
    return await request(world.app(), "POST", "/v1/ohttp", b"sealed", SEALED)


@pytest.mark.parametrize("left", ["0", "0.049"])
def test_where_the_credit_is_used_up_nothing_is_passed_on(left: str) -> None:
    async def story(world: RelayWorld) -> None:
        world.accounts.say(left)
        await world.credit.ask(GATEWAY)
        reply = await post(world)
        assert (reply.status, reply.code, world.forwarder.passed) == (503, "relay.credit", [])

    play(story)


def test_with_credit_it_is_passed_on_with_the_relays_own_key_alone() -> None:
    async def story(world: RelayWorld) -> None:
        world.accounts.say("0.05")
        await world.credit.ask(GATEWAY)
        assert (await post(world)).status == 200
        assert world.accounts.asked == [(f"GET {GATEWAY}/v1/account", {"authorization": "Bearer hf_relay"})]
        assert "hf_first" not in repr(world.forwarder.passed)

    play(story)


def test_a_gateway_that_sells_nothing_needs_no_credit() -> None:
    async def story(world: RelayWorld) -> None:
        await world.credit.ask(GATEWAY)
        assert world.credit.least is None
        assert (await post(world)).status == 200

    play(story)


@pytest.mark.parametrize("left", [None, 5, "five", "-1", "1e3", "1.0"])
def test_an_account_that_is_none_changes_nothing(left: object) -> None:
    async def story(world: RelayWorld) -> None:
        world.accounts.say("3")
        await world.credit.ask(GATEWAY)
        world.accounts.say(left)
        await world.credit.ask(GATEWAY)
        assert world.credit.least == 3.0

    play(story)


def test_a_silent_gateway_keeps_what_it_said() -> None:
    async def story(world: RelayWorld) -> None:
        world.accounts.say("0")
        await world.credit.ask(GATEWAY)
        world.accounts.silent = True
        await world.credit.ask(GATEWAY)
        assert (await post(world)).code == "relay.credit"

    play(story)


def test_gateways_are_asked_on_a_schedule_and_never_because_of_a_request() -> None:
    """Otherwise what is told could be laid beside a request, and would tell what it cost."""

    async def story(world: RelayWorld) -> None:
        world.accounts.say("3")
        task = asyncio.create_task(world.credit.work())
        await settle()
        for _ in range(5):
            await post(world)
        assert len(world.accounts.asked) == 1
        await world.clock.advance(300)
        await settle()
        assert len(world.accounts.asked) == 2
        task.cancel()

    play(story)


def test_a_gateway_that_did_not_tell_is_asked_again_soon() -> None:
    async def story(world: RelayWorld) -> None:
        world.accounts.silent = True
        task = asyncio.create_task(world.credit.work())
        await settle()
        world.accounts.silent = False
        world.accounts.say("3")
        await world.clock.advance(10)
        await settle()
        assert world.credit.least == 3.0
        task.cancel()

    play(story)


def test_credit_that_was_added_is_found_soon() -> None:
    async def story(world: RelayWorld) -> None:
        world.accounts.say("0")
        task = asyncio.create_task(world.credit.work())
        await settle()
        assert (await post(world)).code == "relay.credit"
        world.accounts.say("5")
        await world.clock.advance(10)
        await settle()
        assert (await post(world)).status == 200
        task.cancel()

    play(story)


def test_what_is_left_is_a_metric_without_a_label() -> None:
    async def story(world: RelayWorld) -> None:
        world.accounts.say("3.5")
        await world.credit.ask(GATEWAY)
        reply = await request(world.app(), "GET", "/metrics")
        assert reply.status == 200
        assert b"3.5" in world.metrics.render()

    play(story)
