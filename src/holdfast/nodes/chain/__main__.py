"""Run the development chain: ``python -m holdfast.nodes.chain [FILE]``.

The only place in this node that picks adapters.
"""

from __future__ import annotations

import os
import sys

from holdfast.adapters import vm_pyrevm
from holdfast.adapters.anvil_process import AnvilProcess, find_anvil
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.core import evm
from holdfast.errors import HoldfastError, UsageError
from holdfast.nodes.chain.app import create_app, create_forwarding_app
from holdfast.nodes.chain.config import ChainConfig
from holdfast.nodes.chain.metrics import METRICS
from holdfast.nodes.chain.rpc import JsonRpc, RpcLimits
from holdfast.nodes.chain.service import ChainRules, DevelopmentChain, load_genesis
from holdfast.nodes.edge import App
from holdfast.nodes.process import run_node
from holdfast.ports.vm import GenesisAccount

LOCK = "writer.lock"
"""Held while a process owns the block log."""


def build(config: ChainConfig) -> App:
    """The development chain as an ASGI app. Raises ``chain.backend`` where nothing here can execute."""
    anvil = find_anvil()
    if config.backend != "anvil" and vm_pyrevm.available():
        return _build_embedded(config)
    if config.backend != "embedded" and anvil is not None:
        return _build_anvil(config, anvil)
    raise UsageError(
        "chain.backend",
        "there is no pyrevm wheel for this platform and no anvil on the PATH",
        hint="install anvil (Foundry), use CPython 3.11 or 3.12 on x86-64 Linux or arm64 macOS, "
        "or point the full nodes at any EVM chain by its RPC URL",
    )


def _genesis(config: ChainConfig) -> dict[str, GenesisAccount]:
    accounts: dict[str, GenesisAccount] = {}
    if config.genesis is not None:
        accounts = load_genesis(config.genesis.read_bytes())
    for address in config.funded:
        accounts[evm.parse_address(address)] = GenesisAccount(_funds(config))
    return accounts


def _funds(config: ChainConfig) -> int:
    if not config.funds.isascii() or not config.funds.isdigit():
        raise UsageError("chain.funds", "funds is a decimal number of base units")
    return int(config.funds)


def _build_embedded(config: ChainConfig) -> App:
    storage = FileStorage(config.state)
    lock = storage.lock(LOCK)
    try:
        log = WriteAheadLog(storage, "blocks")
        committer = GroupCommit(log)
        chain = DevelopmentChain(
            ChainRules(
                config.chain_id,
                config.block_gas_limit,
                config.base_fee,
                config.pool_transactions,
                config.pool_per_account,
            ),
            _genesis(config),
            machine=vm_pyrevm.PyrevmMachine,
            log=log,
            committer=committer,
            clock=SystemClock(),
        )
    except HoldfastError:
        lock.release()
        raise

    async def close() -> None:
        await committer.close()
        lock.release()

    rpc = JsonRpc(chain, RpcLimits(config.batch_requests, config.log_results), config.test_hooks)
    return create_app(rpc, PrometheusMetrics(METRICS), body_bytes=config.body_bytes, close=close)


def _build_anvil(config: ChainConfig, program: str) -> App:
    process = AnvilProcess(
        program,
        config.state,
        chain_id=config.chain_id,
        gas_limit=config.block_gas_limit,
        accounts=_genesis(config),
    )
    return create_forwarding_app(process, PrometheusMetrics(METRICS), body_bytes=config.body_bytes)


def main() -> None:
    """``python -m holdfast.nodes.chain [FILE]``."""
    sys.exit(run_node("chain", ChainConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
