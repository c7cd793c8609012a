"""The suite of the contract ``Workflow`` once more, on the real anvil (``tests/unit/adapters/test_workflow_evm.py``):
its round comes out of transient storage, which each implementation keeps in its own way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.helpers.anvil import NEEDS_ANVIL, AnvilWorld
from tests.unit.adapters import test_workflow_evm as suite
from tests.unit.adapters.test_workflow_evm import WorkflowWorld

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow, NEEDS_ANVIL]
SHARED = {
    name: vars(suite)[name]
    for name in (
        "test_it_is_run_when_it_is_due_and_not_while_a_request_is_open",
        "test_nobody_but_the_contract_that_looked_at_final_rounds_hands_over_a_result",
        "test_a_result_is_told_with_how_it_stands_and_the_round_it_rests_on",
        "test_a_proved_result_says_so_and_a_recalled_one_is_none_in_their_layout",
    )
}
globals().update(SHARED)


class OnAnvil(WorkflowWorld):
    """The same world, with anvil below it."""

    __init__ = AnvilWorld.__init__
    client = AnvilWorld.client
    mine = AnvilWorld.mine
    close = AnvilWorld.close
    _answers = AnvilWorld._answers

    async def open(self) -> None:
        await AnvilWorld.open(self)
        await self.set_up()


@pytest.fixture(autouse=True)
def on_anvil(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the suite's own chain."""

    def in_world(scenario: Callable[[WorkflowWorld], Awaitable[None]]) -> None:
        async def main() -> None:
            world = OnAnvil()
            await world.open()
            try:
                await scenario(world)
            finally:
                await world.close()

        asyncio.run(main())

    monkeypatch.setattr(suite, "in_world", in_world)
