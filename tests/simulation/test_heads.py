"""Full nodes judge heads of a panel's journals: the numbers rise, whoever restarts, and whatever trust says later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from holdfast.core.encoding import time_encode
from holdfast.review.anchors import HeadSigner, Link
from tests.helpers.decisions import PANEL, PANEL_DOCUMENT
from tests.helpers.full_network import Network


def play(scenario: Callable[[Network], Awaitable[None]]) -> None:
    """A network whose trust admits the panel."""

    async def run() -> None:
        network = Network()
        network.guests.append(PANEL_DOCUMENT)
        network.add_trust_version()
        await network.open()
        await scenario(network)

    asyncio.run(run())


def head(network: Network, seq: int, event: str = "", journal: str = "cases") -> bytes:
    """The entry of a head that was signed now."""
    digest = (event or f"{seq:02x}") * 32
    link = Link(seq, digest[:64], "anchored", network.clock.now())
    return HeadSigner(PANEL, PANEL_DOCUMENT.digest).sign(journal, link).envelope


def test_a_falling_number_and_a_second_head_for_one_are_final_as_refuted() -> None:
    async def scenario(network: Network) -> None:
        network.log.append([head(network, 9), head(network, 3), head(network, 9, "ab")])
        network.log.append([head(network, 3, journal="people"), head(network, 10)])
        await network.until(network.all_final)
        refused = "refuted:head-order"
        assert network.codes() == {0: "ok", 1: refused, 2: refused, 3: "ok", 4: "ok"}

    play(scenario)


def test_a_node_that_was_restarted_remembers_how_far_the_numbers_had_come() -> None:
    async def scenario(network: Network) -> None:
        network.log.append([head(network, 9)])
        await network.until(network.all_final)
        for seat in network.seats:
            network.stop(seat)
            await network.start(seat)
        network.log.append([head(network, 5), head(network, 9, "ab"), head(network, 11)])
        await network.until(network.all_final)
        assert network.codes() == {0: "ok", 1: "refuted:head-order", 2: "refuted:head-order", 3: "ok"}

    play(scenario)


def test_heads_of_a_key_that_was_stolen_before_set_no_mark() -> None:
    async def scenario(network: Network) -> None:
        network.log.append([head(network, 3)])
        await network.until(network.all_final)
        await network.steps(60)
        since = network.clock.now()
        await network.steps(5)
        network.log.append([head(network, 900)])
        await network.until(network.all_final)
        assert network.codes() == {0: "ok", 1: "ok"}
        network.revocations[PANEL_DOCUMENT.digest] = {
            "at": time_encode(since),
            "suspect_since": time_encode(since),
            "reason": "stolen",
        }
        network.add_trust_version()
        for seat in network.seats:
            await seat.up.step_trust()
        expected = {0: "ok", 1: "refuted:key-revoked"}
        await network.until(lambda: network.codes() == expected, most=80)
        await network.until(network.all_final)
        for seat in network.seats:
            ledger = seat.up.journal.origins[network.log.origin].ledger
            assert ledger.head(PANEL_DOCUMENT.digest, "cases", 2) == 3

    play(scenario)
