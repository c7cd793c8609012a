"""Full nodes read decisions: what they say of one, and what becomes of opinions from before they could."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import pytest

from holdfast.core.encoding import sha256_hex
from tests.helpers.decisions import PANEL, PANEL_DOCUMENT, Made, document
from tests.helpers.full_network import ORIGIN, START, Network, Seat, ed25519_signer, run_id

Scenario = Callable[[Network], Awaitable[None]]


def play(scenario: Scenario) -> None:
    """Run a scenario on a network whose trust admits a panel."""

    async def run() -> None:
        network = Network()
        network.guests.append(PANEL_DOCUMENT)
        network.add_trust_version()
        await network.open()
        await scenario(network)

    asyncio.run(run())


def decided(network: Network, run: int = 0, *, follows: bool = True, forged: bool = False) -> bytes:
    """A decision on an ordinary run, made now."""
    route = sha256_hex(network.gateway.route(run, at=START))
    execution = sha256_hex(network.gateway.execution(run, [route], at=START))
    found = document(run=run_id(run), at=network.clock.now())
    signer = ed25519_signer("stranger", "statement") if forged else PANEL
    return Made(found, run=run_id(run), parents=[execution if follows else route], signer=signer).envelope


def own_code(seat: Seat, index: int) -> str:
    return seat.up.journal.origins[ORIGIN].ledger.opinion(index).code


def test_a_decision_is_ok_in_a_final_round_and_a_bad_one_is_refuted() -> None:
    async def scenario(network: Network) -> None:
        network.answer()
        network.log.append([decided(network), decided(network, follows=False)])
        await network.until(network.all_final)
        assert network.codes() == {0: "ok", 1: "ok", 2: "ok", 3: "refuted:trace"}

    play(scenario)


def test_a_later_decision_leaves_the_run_as_settled_as_it_was() -> None:
    async def scenario(network: Network) -> None:
        network.answer()
        await network.until(network.all_final)
        network.clock.advance(3600)
        network.log.append([decided(network)])
        await network.until(network.all_final)
        assert network.codes() == {0: "ok", 1: "ok", 2: "ok"}
        assert [final.candidate.size for final in network.final_rounds()] == [2, 3]

    play(scenario)


def test_a_forged_decision_is_refuted_and_a_decision_on_a_refuted_answer_is_not() -> None:
    async def scenario(network: Network) -> None:
        stranger = ed25519_signer("stranger", "statement")
        route = network.gateway.route(7, at=START)
        answer = network.gateway.execution(7, [hashlib.sha256(route).hexdigest()], at=START)
        network.log.append([network.gateway.seal(route), network.gateway.seal(answer, stranger)])
        network.log.append([decided(network, 7), decided(network, 8, forged=True)])
        await network.until(network.all_final)
        assert network.codes() == {0: "ok", 1: "refuted:signature", 2: "ok", 3: "refuted:signature"}

    play(scenario)


@pytest.mark.parametrize(("before", "final"), [(1, "ok"), (3, "cannot_tell")])
def test_opinions_from_before_decisions_were_read_are_kept_and_block_nothing(before: int, final: str) -> None:
    """A journal holds ``cannot_tell`` on a decision; its node restarts as one that reads them, among others that do."""

    async def scenario(network: Network) -> None:
        network.answer()
        network.log.append([decided(network)])
        for seat in network.seats:
            while await seat.up.step_log(ORIGIN):
                pass
        for seat in network.seats[:before]:
            seat.up.journal.origins[ORIGIN].ledger.revise(2, "cannot_tell")
            await seat.up.journal.record_revised(ORIGIN, [(2, "cannot_tell")])
            network.stop(seat)
            await network.start(seat)
            assert own_code(seat, 2) == "cannot_tell"
        assert {own_code(seat, 2) for seat in network.seats[before:]} == {"ok"}
        await network.until(network.all_final)
        assert network.codes() == {0: "ok", 1: "ok", 2: final}
        network.answer()
        await network.until(network.all_final)

    play(scenario)
