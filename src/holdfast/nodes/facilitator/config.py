"""Settings of the facilitator. Keys are references; whose payments it pays gas for is a list, empty until somebody
fills it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.ports.settings import Secret, setting


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """One chain that payments are captured on."""

    network: str = setting(help="Network as x402 writes it, like eip155:8453")
    rpc: str = setting(help="URL of a JSON-RPC endpoint of that chain")
    key: Secret = setting(help="Private key that pays for captures, 64 hex digits, as file:… or env:…")
    assets: tuple[str, ...] = setting((), "Tokens that are taken, by address; * for any; without one none is")
    payees: tuple[str, ...] = setting((), "Receivers whose captures are paid for; * for any; without one nobody's are")
    captures: str | None = setting(None, "Address of Captures.vy; without one each payment is a transaction of its own")
    settlement: str | None = setting(None, "Address of the contract that names roots of OpenGradient's batches")
    registry: str | None = setting(None, "Address of the registry that heartbeats are relayed to")
    depth: int = setting(2, "Blocks that must lie on top of a capture before it counts", minimum=0, maximum=10_000)
    simulate: bool = setting(True, "Ask the chain at every verification whether the capture would work")
    batch: int = setting(200, "Most payments in one transaction", minimum=1, maximum=220)
    batch_wait_ms: int = setting(50, "Longest wait of a payment for others", minimum=0, maximum=60_000)
    transactions_at_once: int = setting(8, "Transactions on their way at a time", minimum=1, maximum=64)
    poll_ms: int = setting(250, "Pause between looks at the chain while something is on its way", minimum=5)
    rebroadcast_s: float = setting(10.0, "A transaction that is in no block is sent again so often", minimum=0.01)
    bump_s: float = setting(45.0, "After so long it is replaced with a higher fee", minimum=0.01)
    max_fee_per_gas: int | None = setting(None, "Most base units per gas that are ever offered", minimum=1)


@dataclass(frozen=True, slots=True)
class FacilitatorConfig:
    """Where the facilitator listens, what it keeps, and the chains it serves."""

    listen: str = setting("127.0.0.1:4022", "Address and port to listen on")
    state: Path = setting(Path(".holdfast/facilitator"), "Folder of the write-ahead log")
    token: Secret | None = setting(None, "Bearer token of callers, as file:… or env:…; without one anybody may ask")
    networks: tuple[NetworkConfig, ...] = setting((), "Chains; without one no payment is taken")
    body_bytes: int = setting(64 << 10, "Largest request", minimum=1_024, maximum=1 << 20)
    jobs_waiting: int = setting(100_000, "Payments that may wait for their capture", minimum=1, maximum=10_000_000)
    settle_wait_s: float = setting(60.0, "Longest wait of /x402/settle for the end of a capture", minimum=0.1)
    data_rows: int = setting(20, "Most answers in one of OpenGradient's batches", minimum=1, maximum=256)
    data_idle_s: float = setting(300.0, "A batch is closed when so long nothing was added", minimum=0)
    data_age_s: float = setting(900.0, "A batch is closed when its oldest answer is so old", minimum=0)
    heartbeat_wait_s: float = setting(15.0, "Longest wait for a relayed heartbeat to be in a block", minimum=0.1)
    segment_bytes: int = setting(16 << 20, "Size of a write-ahead log segment", minimum=1 << 18, maximum=1 << 30)
