"""The suites of the registry once more, on the real anvil (``tests/contracts/test_registry.py`` and beside it).

anvil runs the rules of Osaka, which has the P-256 precompile, so that what the embedded chain can only call absent is
checked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.contracts import test_registry as suite
from tests.contracts.test_registry import Make
from tests.helpers.anvil import NEEDS_ANVIL, AnvilWorld
from tests.helpers.chains import ChainWorld
from tests.helpers.registry import EvmRegistryWorld, RegistryWorld
from tests.unit.adapters import test_registry_evm as reads

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow, NEEDS_ANVIL]
run = suite.run
SHARED = {name: found for name, found in vars(suite).items() if name.startswith("test_")}
globals().update(SHARED)


def on_anvil() -> tuple[ChainWorld, RegistryWorld]:
    """An anvil of its own for each scenario."""
    chain = AnvilWorld()
    return chain, EvmRegistryWorld(chain)


@pytest.fixture
def make() -> Make:
    """In place of the suite's own."""
    return on_anvil


def test_this_chain_has_the_precompile(run: Callable[..., None]) -> None:
    async def scenario(world: RegistryWorld) -> None:
        assert await world.has_p256()

    run(scenario)


def test_opengradients_reads_are_the_same_here(run: Callable[..., None]) -> None:
    tests: list[Any] = [
        reads.test_active_nodes_are_told_in_both_layouts,
        reads.test_opengradients_reads_say_what_ours_say,
    ]
    for test in tests:
        test(run)


def test_the_suite_is_here() -> None:
    """Were nothing brought over, nothing would fail."""
    assert len(SHARED) > 25
