"""Rounds of four full nodes: the happy path and everything that must be refused, outvoted, slashed or survived."""

from __future__ import annotations

import asyncio

from tests.helpers.full_network import ORIGIN, Network


def test_every_entry_becomes_final_and_every_node_speaks_once():
    async def scenario() -> None:
        network = Network()
        await network.open()
        network.answer(3)
        await network.until(network.all_final)
        assert set(network.codes().values()) == {"ok"}
        assert len(network.codes()) == 6
        messages = [seat.up.finality(ORIGIN, 1)["messages"] for seat in network.seats]
        await network.steps(2)
        messages = [seat.up.finality(ORIGIN, 1)["messages"] for seat in network.seats]
        assert all(len(found) == 4 for found in messages)

    asyncio.run(scenario())
