"""A circuit's verifier contract on an EVM chain: created, and asked about proofs (``spec/inference.md`` §5(8)).

The contract is EZKL's, made where it is used; of its interface this knows ``verifyProof(bytes,uint256[])``. It answers
for the key and the reference string that are in its code, and for nothing else: whoever did not create it compares its
code. A no takes gas as a yes does.

Not covered: making its Solidity (``prover_ezkl``) and its code (``compiler_solc``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from eth_abi.abi import encode

from holdfast.adapters.compiler_solc import Compiled
from holdfast.adapters.evm_rpc import (
    DEPLOY_GAS_MARGIN_PERCENT,
    EvmAccount,
    EvmConnection,
    RPCError,
    TransactionSigner,
)
from holdfast.core import evm
from holdfast.core.circuits import field_elements
from holdfast.core.encoding import hex_decode
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UndecidedError
from holdfast.ports.chain import Inclusion

MAX_CODE_BYTES = 24_576
"""Largest code of a contract (EIP-170)."""
CALL_GAS = 15_000_000
"""Gas of a question: some twenty times what EZKL's contracts were measured to use for a proof that holds."""
_USED_UP = re.compile(r"out ?of ?gas", re.IGNORECASE)
"""How chains say that a call used up its gas."""
_SELECTOR = evm.keccak256(b"verifyProof(bytes,uint256[])")[:4]


def call_data(proof: bytes, instances: Sequence[str]) -> bytes:
    """A call of ``verifyProof`` with a proof document's ``instances``; raises ``circuit.number``."""
    return _SELECTOR + encode(["bytes", "uint256[]"], [proof, field_elements(instances)])


def refuse_large(code: bytes) -> None:
    """Raises ``onchain.verifier_size`` of code that no chain takes."""
    if len(code) > MAX_CODE_BYTES:
        raise RefusedError(
            "onchain.verifier_size",
            f"the contract's code would have {len(code)} bytes; chains take at most {MAX_CODE_BYTES} (EIP-170)",
            hint="a model of fewer kinds of operators has a smaller one; so may a newer solc make",
        )


async def deploy_verifier(
    connection: EvmConnection, signer: TransactionSigner, made: Compiled
) -> tuple[str, Inclusion]:
    """Create the contract; its address, and the block. Raises ``onchain.verifier_size`` before anything is sent."""
    refuse_large(made.code)
    account = EvmAccount(connection, signer, int(await connection.request("eth_chainId"), 16))
    included, address = await account.transact(None, made.init_code, margin=DEPLOY_GAS_MARGIN_PERCENT)
    if address is None or await read_code(connection, address) != made.code:
        raise UnavailableError("chain.rpc", "the chain created the contract and does not show its code")
    return address, included


async def read_code(connection: EvmConnection, address: str) -> bytes:
    """What lies at an address; raises ``chain.contract`` where nothing does."""
    answer = await connection.request("eth_getCode", evm.parse_address(address), "latest")
    try:
        code = hex_decode(str(answer).lower().removeprefix("0x"))
    except HoldfastError as error:
        raise UnavailableError("chain.rpc", "the chain's code of a contract is not hex") from error
    if not code:
        raise _no_verifier(address)
    return code


async def ask_verifier(connection: EvmConnection, address: str, proof: bytes, instances: Sequence[str]) -> bool:
    """Whether the contract accepts a proof of these public numbers: anything but its ``true`` is a no, as it would be
    to a contract that asks it. Raises ``chain.contract`` where none answers."""
    call = {"to": evm.parse_address(address), "data": "0x" + call_data(proof, instances).hex(), "gas": hex(CALL_GAS)}
    try:
        answer = await connection.request("eth_call", call, "latest")
    except RPCError as error:
        if error.revert_reason() is not None or _USED_UP.search(error.text):
            return False
        raise
    if answer == "0x" + evm.word(1).hex():
        return True
    if answer == "0x" + evm.word(0).hex():
        return False
    raise _no_verifier(address)


def _no_verifier(address: str) -> UndecidedError:
    return UndecidedError("chain.contract", f"no verifier answers at {address}", hint="check its address and the chain")
