"""Payers, requirements and signed payments for tests, and one machine with every payment contract on it."""

from __future__ import annotations

import dataclasses
from typing import Any

from holdfast.adapters import vm_pyrevm
from holdfast.adapters.payment_contracts import TEST_TOKEN, TestToken, payment_accounts
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.core import evm, x402
from holdfast.core.captures import ALLOWANCE, BALANCE_OF, Event, selector
from holdfast.core.encoding import sha256
from holdfast.core.x402 import (
    PaymentPayload,
    PaymentRequirements,
    Permit2Authorization,
    TransferAuthorization,
    VerifiedPayment,
    address_word,
)
from holdfast.ports.vm import BlockContext, GenesisAccount, Message, Outcome

CHAIN_ID = 31337
NETWORK = f"eip155:{CHAIN_ID}"
START = 1_790_000_000
"""Unix seconds at which these worlds begin."""
OWNER = Secp256k1Signer(sha256(b"owner of the test token"))
FACILITATOR = Secp256k1Signer(sha256(b"facilitator"), "account")
PAYEE = "0x" + "ee" * 20
TOKEN = TestToken(OWNER.address)
DOMAIN = {"name": TOKEN.name, "version": TOKEN.version}
MINT = selector("mint(address,uint256)")
APPROVE = selector("approve(address,uint256)")
GAS = 30_000_000
EVERYTHING = 2**256 - 1


def payer(number: int) -> Secp256k1Signer:
    """The key of a payer."""
    return Secp256k1Signer(sha256(b"payer %d" % number))


def requirements(amount: int = 1000, *, scheme: str = x402.EXACT, **changes: Any) -> PaymentRequirements:
    """What is asked for."""
    asked = PaymentRequirements(scheme, NETWORK, TEST_TOKEN, amount, PAYEE, 600, DOMAIN)
    return dataclasses.replace(asked, **changes)


def nonce_of(number: int) -> bytes:
    """A nonce that no other number has."""
    return sha256(b"nonce %d" % number)


def eip3009(asked: PaymentRequirements, signer: Secp256k1Signer, nonce: int = 0, **changes: Any) -> PaymentPayload:
    """A payment by ``transferWithAuthorization``; ``changes`` are made before it is signed."""
    authorization = TransferAuthorization(signer.address, asked.pay_to, asked.amount, 0, START + 600, nonce_of(nonce))
    authorization = dataclasses.replace(authorization, **changes)
    name, version = str(asked.extra.get("name")), str(asked.extra.get("version"))
    digest = x402.transfer_digest(authorization, chain_id=asked.chain_id, token=asked.asset, name=name, version=version)
    return PaymentPayload(asked, authorization, signer.sign(digest))


def permit2(
    asked: PaymentRequirements,
    signer: Secp256k1Signer,
    nonce: int = 0,
    *,
    facilitator: str | None = None,
    **changes: Any,
) -> PaymentPayload:
    """A payment over Permit2 in the scheme that is asked for."""
    upto = asked.scheme == x402.UPTO
    authorization = Permit2Authorization(
        signer.address,
        asked.asset,
        asked.amount,
        x402.UPTO_PROXY if upto else x402.EXACT_PROXY,
        int.from_bytes(nonce_of(nonce)),
        START + 600,
        asked.pay_to,
        (facilitator or FACILITATOR.address) if upto else None,
        START - 600,
    )
    authorization = dataclasses.replace(authorization, **changes)
    return PaymentPayload(asked, authorization, signer.sign(x402.permit_digest(authorization, chain_id=asked.chain_id)))


def sponsored(payload: PaymentPayload, signer: Secp256k1Signer, nonce: int = 0, **changes: Any) -> PaymentPayload:
    """The payment with an allowance for Permit2 that its payer signed (EIP-2612)."""
    authorization = payload.authorization
    assert isinstance(authorization, Permit2Authorization)
    kind = evm.keccak256(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
    deadline = START + 600
    struct = kind + address_word(signer.address) + address_word(x402.PERMIT2)
    struct += b"".join(evm.word(number) for number in (authorization.amount, nonce, deadline))
    separator = evm.domain_separator(TOKEN.name, TOKEN.version, CHAIN_ID, authorization.token)
    signature = signer.sign(evm.typed_data_digest(separator, evm.keccak256(struct)))
    info = {
        "from": signer.address,
        "asset": authorization.token,
        "spender": x402.PERMIT2,
        "amount": str(authorization.amount),
        "nonce": str(nonce),
        "deadline": str(deadline),
        "signature": "0x" + signature.hex(),
        "version": "1",
        **changes,
    }
    return dataclasses.replace(payload, extensions={x402.SPONSORING: {"info": info}})


def verified(payload: PaymentPayload, asked: PaymentRequirements | None = None, **options: Any) -> VerifiedPayment:
    """The payment as verification sees it."""
    options = {"at": START, "facilitator": FACILITATOR.address, **options}
    return x402.verify_payment(payload, asked or payload.accepted, **options)


class Machine:
    """The payment contracts on one virtual machine, without a chain around them."""

    def __init__(self, permit2_code: bytes | None = None) -> None:
        funded = {signer.address: GenesisAccount(10**30) for signer in (OWNER, FACILITATOR)}
        accounts = {**payment_accounts(TOKEN, permit2_code), **funded}
        self.vm = vm_pyrevm.PyrevmMachine(CHAIN_ID, accounts)
        self.time = START
        self._number = 0

    def send(self, sender: str, to: str, data: bytes) -> Outcome:
        """One transaction in a block of its own."""
        self._number += 1
        self.vm.begin_block(BlockContext(self._number, self.time, 7, 60_000_000, bytes(32)))
        return self.vm.transact(Message(sender, to, data, 0, GAS, 0))

    def read(self, to: str, data: bytes) -> int:
        """A number that a contract answers with."""
        outcome = self.vm.call(Message(OWNER.address, to, data, 0, GAS, 0))
        assert outcome.success, outcome.output
        return int.from_bytes(outcome.output)

    def fund(self, address: str, amount: int = 10**6) -> None:
        """Mint."""
        assert self.send(OWNER.address, TEST_TOKEN, MINT + address_word(address) + evm.word(amount)).success

    def approve(self, signer: Secp256k1Signer, amount: int = EVERYTHING) -> None:
        """Let Permit2 move a payer's tokens."""
        data = APPROVE + address_word(x402.PERMIT2) + evm.word(amount)
        assert self.send(signer.address, TEST_TOKEN, data).success

    def balance(self, address: str) -> int:
        """Test tokens of an address."""
        return self.read(TEST_TOKEN, BALANCE_OF + address_word(address))

    def allowance(self, owner: str) -> int:
        """What Permit2 may move."""
        return self.read(TEST_TOKEN, ALLOWANCE + address_word(owner) + address_word(x402.PERMIT2))


def events(outcome: Outcome) -> list[Event]:
    """The events of a transaction as a receipt would list them."""
    return [Event(log.address, log.topics, log.data) for log in outcome.logs]
