"""The payment contracts of a development chain as accounts of its genesis (``contracts/README.md``).

Code at a fixed address with nothing in storage: x402's addresses for the two proxies, Permit2's own for what stands in
for it, and a test token. Constructors do not run in a genesis, so a contract's immutables are written behind its code,
where Vyper's constructor would have put them.

Rules: for development chains alone; on a public chain the contracts are there already, and not ours. What stands at
Permit2's address is ``PermitTransfers.vy`` unless the code of the real one is handed in (``contracts/permit2.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from holdfast.core import canonical, evm, x402
from holdfast.core.encoding import hex_decode
from holdfast.errors import HoldfastError, UsageError
from holdfast.ports.vm import GenesisAccount

CAPTURES = "0x" + b"Holdfast-captures-01".hex()
"""Where ``Captures.vy`` stands on development chains; an address that nobody has a key for."""
SETTLEMENT = "0x" + b"Holdfast-settlement1".hex()
"""Where ``Settlement.vy`` stands on development chains; likewise."""
TEST_TOKEN = "0xfbc2051ae2265686a469421b2c5a2d5462fbf5eb"  # noqa: S105 (an address)
"""Where the test token stands: OpenGradient's token has this address on Base, and its clients ask there."""


@dataclass(frozen=True, slots=True)
class TestToken:
    """What the test token says of itself; ``owner`` may mint."""

    __test__ = False
    """Not a test, whatever its name looks like."""

    owner: str
    name: str = "OpenGradient"
    symbol: str = "OPG"
    version: str = "1"
    decimals: int = 18


def runtime_code(name: str) -> bytes:
    """The code of a shipped contract as it stands on a chain, without immutables."""
    text = resources.files("holdfast.adapters").joinpath("contracts", f"{name}.json").read_text("utf-8")
    return bytes.fromhex(json.loads(text)["runtime_bytecode"][2:])


def token_code(token: TestToken) -> bytes:
    """``TestToken.vy`` with its immutables: address, number, three strings of up to 32 bytes. Raises ``token.name``."""
    words = [bytes(12) + evm.address_bytes(token.owner), evm.word(token.decimals)]
    for text in (token.name, token.symbol, token.version):
        raw = text.encode()
        if len(raw) > 32:
            raise UsageError("token.name", "name, symbol and version of a token have at most 32 bytes")
        words += [evm.word(len(raw)), raw + bytes(32 - len(raw))]
    return runtime_code("TestToken") + b"".join(words)


def load_permit2(path: Path) -> bytes:
    """Permit2's code from the file that ``contracts/permit2.py`` wrote. Raises ``permit2.file`` for anything else."""
    try:
        return hex_decode(canonical.decode_object(path.read_bytes()).get("runtime_bytecode"))
    except (OSError, HoldfastError) as error:
        raise UsageError("permit2.file", f"{path} holds no code", hint="run: python contracts/permit2.py") from error


def payment_accounts(token: TestToken, permit2: bytes | None = None) -> Mapping[str, GenesisAccount]:
    """Addresses and code of everything that payments need on a development chain."""
    return {
        TEST_TOKEN: GenesisAccount(code=token_code(token)),
        CAPTURES: GenesisAccount(code=runtime_code("Captures")),
        SETTLEMENT: GenesisAccount(code=runtime_code("Settlement")),
        x402.EXACT_PROXY: GenesisAccount(code=runtime_code("ExactProxy")),
        x402.UPTO_PROXY: GenesisAccount(code=runtime_code("UptoProxy")),
        x402.PERMIT2: GenesisAccount(code=permit2 or runtime_code("PermitTransfers")),
    }
