"""The whole suite of the registry port once more, on the real anvil (``tests/contracts/test_registry.py``).

anvil runs the rules of Osaka, which has the P-256 precompile, so that what the embedded chain can only call absent is
checked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast.adapters.evm_rpc import call_contract
from tests.contracts import test_registry as suite
from tests.contracts.test_registry import run  # noqa: F401 (the fixture that the suite's tests ask for)
from tests.helpers.anvil import NEEDS_ANVIL, AnvilWorld
from tests.helpers.registry import RegistryWorld

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow, NEEDS_ANVIL]
globals().update({name: found for name, found in vars(suite).items() if name.startswith("test_")})


@pytest.fixture
def make_chain() -> Callable[[], Any]:
    """An anvil of its own for each scenario."""
    return AnvilWorld


def test_this_chain_has_the_precompile(run: Callable[..., None]) -> None:  # noqa: F811
    async def scenario(world: RegistryWorld) -> None:
        assert await call_contract(world.chain.connection, world.deployment.signatures, "Signatures", "has_p256")

    run(scenario)


def test_the_suite_is_here() -> None:
    """Were nothing brought over, nothing would fail."""
    assert sum(name.startswith("test_") for name in globals()) > 30
