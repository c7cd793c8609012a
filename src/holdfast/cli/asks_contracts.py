"""The contracts of a development network that take requests for runs (``spec/onchain.md``): ``holdfast up`` deploys
them once beside ``Rounds``.
"""

from __future__ import annotations

from holdfast.adapters.asks_evm import deploy_alpha, deploy_asks
from holdfast.adapters.evm_rpc import EvmAccount, EvmConnection
from holdfast.adapters.signer_secp256k1 import load_or_create_signer
from holdfast.cli.development import ASKS_FILE, GATEWAY_COIN, Keys, Layout, write_private
from holdfast.core import canonical
from holdfast.core.rounds import ChainDomain


async def make_asks(layout: Layout, keys: Keys, rounds: ChainDomain) -> None:
    """Deploy what takes requests for runs beside ``rounds``, in both layouts, and give the account that fulfils them
    coin."""
    deployer = load_or_create_signer(layout.key("deployer.key"), "account")
    connection = EvmConnection(layout.url("chain"))
    try:
        contract, block = await deploy_asks(connection, deployer, rounds, layout.origin)
        alpha = await deploy_alpha(connection, deployer, contract, keys.asks_account)
        await EvmAccount(connection, deployer, rounds.chain_id).transact(keys.asks_account, b"", value=GATEWAY_COIN)
        where: dict[str, canonical.JSON] = {
            "contract": contract.contract,
            "alpha": alpha,
            "node": keys.asks_account,
            "block": block,
        }
        write_private(layout.state / ASKS_FILE, canonical.encode(where) + b"\n")
    finally:
        await connection.close()
