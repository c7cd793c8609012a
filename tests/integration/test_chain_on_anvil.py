"""The whole contract suite of the chain port once more, on the real anvil (``tests/contracts/test_chain.py``).

The suite there runs over the simulated chain and the embedded one without sockets; this module brings the same tests
and another world for them.
"""

from __future__ import annotations

import asyncio

import pytest

from holdfast.ports.chain import RoundsSettings
from tests.contracts import test_chain as suite
from tests.contracts.test_chain import Run, Scenario
from tests.helpers.anvil import NEEDS_ANVIL, AnvilWorld
from tests.helpers.chains import SETTINGS, start_epoch

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow, NEEDS_ANVIL]
globals().update({name: found for name, found in vars(suite).items() if name.startswith("test_")})


@pytest.fixture
def run() -> Run:
    """Run a scenario on an anvil of its own with an epoch of four equal members (unless ``epoch=False``)."""

    def runner(scenario: Scenario, *, epoch: bool = True, settings: RoundsSettings = SETTINGS) -> None:
        async def main() -> None:
            world = AnvilWorld(settings=settings)
            await world.open()
            try:
                if epoch:
                    await start_epoch(world)
                await scenario(world)
            finally:
                await world.close()

        asyncio.run(main())

    return runner


def test_the_suite_is_here() -> None:
    """Were nothing brought over, nothing would fail."""
    assert sum(name.startswith("test_") for name in globals()) > 40
