"""Settings of the development chain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.ports.settings import setting


@dataclass(frozen=True, slots=True)
class ChainConfig:
    """Which chain to run and where it keeps its blocks."""

    listen: str = setting("127.0.0.1:8545", "Address and port of the JSON-RPC endpoint")
    state: Path = setting(Path(".holdfast/chain"), "Folder of the block log")
    backend: str = setting(
        "auto",
        "What executes: embedded (pyrevm), anvil (from the PATH), or auto: the first of the two that is there",
        choices=("auto", "embedded", "anvil"),
    )
    chain_id: int = setting(31337, "Chain id; 31337 is customary for development", minimum=1, maximum=2**63 - 1)
    funded: tuple[str, ...] = setting((), "Addresses that own coin before the first block")
    funds: str = setting("1000000000000000000000000", "Base units each of them owns, as a decimal string")
    genesis: Path | None = setting(
        None, 'JSON file of accounts before the first block: {"alloc": {ADDRESS: {"balance": "…", "code": "0x…"}}}'
    )
    block_gas_limit: int = setting(60_000_000, "Gas of one block", minimum=1_000_000, maximum=2**40)
    base_fee: int = setting(7, "Base units per gas every transaction pays at least", minimum=0, maximum=10**12)
    pool_transactions: int = setting(10_000, "Transactions waiting for a block", minimum=1, maximum=1_000_000)
    pool_per_account: int = setting(1_000, "Of these, from one account", minimum=1, maximum=1_000_000)
    batch_requests: int = setting(1_000, "Requests in one JSON-RPC batch", minimum=1, maximum=100_000)
    log_results: int = setting(10_000, "Events in one eth_getLogs answer", minimum=1, maximum=1_000_000)
    body_bytes: int = setting(8 << 20, "Largest HTTP request body", minimum=1_024, maximum=1 << 30)
    test_hooks: bool = setting(
        False, "Offer evm_mine, evm_increaseTime, evm_setAutomine and holdfast_reorganise: tests only"
    )
