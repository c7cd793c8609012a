"""The registry contract on any EVM chain by its JSON-RPC endpoint, behind ``ports/registry.py``.

Rules: reads are of the newest block, since a registry answers "whom may I ask now"; who needs depth waits for it. What
was submitted is read from the event of its block, whose number the contract keeps, so no endpoint has to search.
Heartbeats are not tried first: the newest state's clock may be an old block's.
Not covered: light-client proofs; the endpoint is trusted for what the contract holds, not for what evidence says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.adapters.evm_rpc import (
    DEPLOY_GAS_MARGIN_PERCENT,
    EvmAccount,
    EvmConnection,
    SendSettings,
    TransactionSigner,
    call_contract,
    contract_interface,
)
from holdfast.core import evm
from holdfast.core.encoding import sha256
from holdfast.core.registry import OhttpConfig, Submission
from holdfast.core.rounds import ChainDomain
from holdfast.errors import UnavailableError, UndecidedError, UsageError
from holdfast.ports.chain import Inclusion
from holdfast.ports.registry import (
    ACCEPTED,
    ADMIN,
    GUARDIAN,
    PENDING,
    REFUSED,
    REPLACED,
    AttestationRecord,
    Challenge,
    Measurement,
    RegisteredKind,
    RegisteredNode,
    Registry,
    SubmittedEvidence,
)

HEARTBEAT_GAS = 300_000
"""Gas of a heartbeat: about 130,000 where modular exponentiation costs most (EIP-7883), with room."""
HEARTBEAT_MAX_AGE_S = 1800
"""How long a heartbeat keeps a node active where nobody says otherwise; as in OpenGradient's registry."""
_STATES = {1: PENDING, 2: ACCEPTED, 3: REFUSED, 4: REPLACED}
_ROLES = {ADMIN: 0, GUARDIAN: 1}


@dataclass(frozen=True, slots=True)
class RegistryDeployment:
    """Where the registry and what belongs to it are."""

    registry: ChainDomain
    views: str
    signatures: str
    block: int
    """Number of the block that created the registry."""


async def deploy_registry(
    connection: EvmConnection,
    signer: TransactionSigner,
    rounds: ChainDomain,
    *,
    admin: str | None = None,
    guardian: str | None = None,
    heartbeat_max_age_s: int = HEARTBEAT_MAX_AGE_S,
) -> RegistryDeployment:
    """Create ``Signatures``, ``Registry`` and ``Views``; the roles are the signer's unless given."""
    account = EvmAccount(connection, signer, rounds.chain_id)

    async def create(name: str, *arguments: Any) -> tuple[Inclusion, str]:
        init_code = contract_interface(name).init_code(arguments)
        included, contract = await account.transact(None, init_code, margin=DEPLOY_GAS_MARGIN_PERCENT)
        if contract is None:
            raise UnavailableError("chain.rpc", "the chain created the contract and did not say where")
        return included, contract

    _, signatures = await create("Signatures")
    holders = (admin or signer.address, guardian or signer.address)
    included, registry = await create("Registry", rounds.contract, signatures, *holders, heartbeat_max_age_s)
    _, views = await create("Views", registry)
    return RegistryDeployment(ChainDomain(rounds.chain_id, registry), views, signatures, included.block)


class EvmRegistry(Registry):
    """``ports.registry.Registry`` over a deployed contract.

    ``signer`` pays; an account that already sends for the same key is shared. ``views`` is needed for disputes about
    signatures alone.
    """

    def __init__(
        self,
        connection: EvmConnection,
        domain: ChainDomain,
        signer: TransactionSigner | EvmAccount,
        *,
        views: str | None = None,
        send: SendSettings | None = None,
    ) -> None:
        self._connection = connection
        self._domain = domain
        if not isinstance(signer, EvmAccount):
            signer = EvmAccount(connection, signer, domain.chain_id, send)
        self._account = signer
        self._views = views

    @property
    def domain(self) -> ChainDomain:
        return self._domain

    @property
    def account(self) -> str:
        return self._account.address

    async def close(self) -> None:
        await self._connection.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _call(self, function: str, *arguments: Any) -> Any:
        return await call_contract(self._connection, self._domain.contract, "Registry", function, *arguments)

    async def _ask_views(self, function: str, *arguments: Any) -> Any:
        if self._views is None:
            raise UsageError("registry.views", "the address of the registry's views is not configured", param="views")
        return await call_contract(self._connection, self._views, "Views", function, *arguments)

    async def heartbeat_max_age_s(self) -> int:
        return int(await self._call("heartbeatMaxAge"))

    async def kind(self, kind: int) -> RegisteredKind | None:
        name, interval = await self._call("kind", kind)
        return RegisteredKind(kind, name, interval) if interval else None

    async def measurement(self, kind: int, digest: bytes) -> Measurement | None:
        version, effective_at, revoked_at, suspect_since = await self._call("measurement", kind, digest)
        if not effective_at:
            return None
        return Measurement(kind, digest, version, effective_at, revoked_at, suspect_since)

    async def role(self, role: str) -> str:
        return str(await self._call("role", _role(role))).lower()

    async def nodes(self, kind: int) -> tuple[RegisteredNode, ...]:
        return await self._nodes(await self._call("nodes_in_force", kind))

    async def nodes_of(self, owner: str) -> tuple[RegisteredNode, ...]:
        return await self._nodes(await self._call("nodes_of", evm.parse_address(owner)))

    async def _nodes(self, numbers: Sequence[int]) -> tuple[RegisteredNode, ...]:
        found = await asyncio.gather(*(self.node(number) for number in numbers))
        return tuple(node for node in found if node is not None)

    async def node(self, number: int) -> RegisteredNode | None:
        shown = await self._call("node", number)
        if shown[0].lower() == evm.ZERO_ADDRESS:
            return None
        return RegisteredNode(number, shown[0].lower(), *shown[1:])

    async def node_by_key(self, tee_id: bytes) -> RegisteredNode | None:
        number = await self._call("node_of_key", tee_id)
        return await self.node(number) if number else None

    async def challenge(self, document: bytes) -> Challenge:
        anchor, nonce = await self._call("challenge", self._account.address, document)
        return Challenge(anchor, nonce)

    async def attestations(self) -> int:
        return int(await self._call("attestation_count"))

    async def attestation(self, number: int) -> AttestationRecord | None:
        shown = await self._call("attestation", number)
        node, document, evidence, _, measurement, tee_id, predecessor, nonce, submitted_at, block, state = shown[:11]
        epoch, voted_for, voted_against, stake_for, stake_against = shown[11:]
        if not node:
            return None
        return AttestationRecord(
            number=number,
            node=node,
            document=document,
            evidence=evidence,
            measurement=measurement,
            tee_id=tee_id,
            predecessor=predecessor,
            nonce=nonce,
            submitted_at=submitted_at,
            block=block,
            state=_STATES[state],
            epoch=epoch,
            stake_for=stake_for,
            stake_against=stake_against,
            voters=await self._voters(epoch, voted_for | voted_against),
        )

    async def _voters(self, epoch: int, bits: int) -> frozenset[str]:
        """Whose bits are set: places in the epoch's list of members."""
        if not bits:
            return frozenset()
        rounds = await self._call("rounds")
        _, members, _ = await call_contract(self._connection, rounds.lower(), "Rounds", "epoch", epoch)
        return frozenset(member.lower() for place, member in enumerate(members) if bits >> place & 1)

    async def evidence(self, number: int) -> SubmittedEvidence:
        record = await self.attestation(number)
        if record is None:
            raise UsageError("registry.unknown", f"there is no attestation {number}")
        query = {
            "address": self._domain.contract,
            "fromBlock": hex(record.block),
            "toBlock": hex(record.block),
            "topics": [contract_interface("Registry").topic("AttestationSubmitted"), "0x" + evm.word(number).hex()],
        }
        entries = await self._connection.request("eth_getLogs", query)
        for entry in entries or ():
            found = contract_interface("Registry").decode_event(entry)
            if found is not None:
                _, keys, (kind, endpoint, values) = found
                return _checked(record, str(keys[2]).lower(), kind, endpoint, _submission(values))
        raise UndecidedError("registry.evidence", f"the chain does not tell what attestation {number} submitted")

    async def valid_at(self, tee_id: bytes, at: int) -> bool:
        return bool(await self._call("validAt", tee_id, at))

    async def verify_signature(
        self, tee_id: bytes, input_hash: bytes, output_hash: bytes, timestamp: int, signature: bytes
    ) -> bool:
        asked = (tee_id, input_hash, output_hash, timestamp, signature)
        return bool(await self._ask_views("verifySignatureNoTimestamp", *asked))

    async def verify_statement(self, tee_id: bytes, digest: bytes, signature: bytes, at: int) -> bool:
        return bool(await self._ask_views("verify_statement", tee_id, digest, signature, at))

    # --- writing ------------------------------------------------------------------------------------------------------

    async def transact(self, function: str, *arguments: Any, gas: int | None = None) -> Inclusion:
        """Call a function of the contract by its name; the methods below are its typed forms."""
        data = contract_interface("Registry").call_data(function, arguments)
        included, _ = await self._account.transact(self._domain.contract, data, gas=gas)
        return included

    async def register(self, kind: int, endpoint: str, submission: Submission) -> Inclusion:
        return await self.transact("register", kind, endpoint, _tuple(submission))

    async def attest(self, node: int, submission: Submission) -> Inclusion:
        return await self.transact("attest", node, _tuple(submission))

    async def submit_verdicts(
        self, number: int, evidence: bytes, signatures: Sequence[bytes], *, accepted: bool
    ) -> Inclusion:
        return await self.transact("vote", number, evidence, accepted, list(signatures))

    async def heartbeat(self, tee_id: bytes, timestamp: int, signature: bytes) -> Inclusion:
        return await self.transact("heartbeat", tee_id, timestamp, signature, gas=HEARTBEAT_GAS)

    async def set_endpoint(self, node: int, endpoint: str) -> Inclusion:
        return await self.transact("set_endpoint", node, endpoint)

    async def disable(self, node: int, effective_at: int = 0) -> Inclusion:
        return await self.transact("disable", node, effective_at)

    async def enable(self, node: int) -> Inclusion:
        return await self.transact("enable", node)

    async def withdraw(self, node: int) -> Inclusion:
        return await self.transact("withdraw", node)

    async def revoke(self, node: int, suspect_since: int = 0) -> Inclusion:
        return await self.transact("revoke", node, suspect_since)

    async def set_kind(self, kind: RegisteredKind) -> Inclusion:
        return await self.transact("set_kind", kind.kind, kind.name, kind.interval_s)

    async def approve_measurement(self, kind: int, digest: bytes, version: str, effective_at: int = 0) -> Inclusion:
        return await self.transact("approve_measurement", kind, digest, version, effective_at)

    async def revoke_measurement(
        self, kind: int, digest: bytes, effective_at: int = 0, suspect_since: int = 0
    ) -> Inclusion:
        return await self.transact("revoke_measurement", kind, digest, effective_at, suspect_since)

    async def set_heartbeat_max_age(self, seconds: int) -> Inclusion:
        return await self.transact("set_heartbeat_max_age", seconds)

    async def offer_role(self, role: str, candidate: str) -> Inclusion:
        return await self.transact("offer_role", _role(role), evm.parse_address(candidate))

    async def accept_role(self, role: str) -> Inclusion:
        return await self.transact("accept_role", _role(role))


def _role(role: str) -> int:
    if role not in _ROLES:
        raise UsageError("registry.role", f"roles are {', '.join(_ROLES)}", param="role")
    return _ROLES[role]


def _tuple(submission: Submission) -> tuple[Any, ...]:
    """A submission in the order of the contract's struct."""
    ohttp = submission.ohttp or OhttpConfig(0, 0, 0, 0, b"", b"")
    return (
        submission.document,
        submission.signing_key,
        submission.certificate,
        submission.payment,
        submission.measurement,
        submission.form,
        submission.evidence,
        submission.anchor,
        (ohttp.key_id, ohttp.kem_id, ohttp.kdf_id, ohttp.aead_id, ohttp.public_key, ohttp.key_config),
        submission.statement_key,
    )


def _submission(values: Sequence[Any]) -> Submission:
    document, signing_key, certificate, payment, measurement, form, evidence, anchor, ohttp, statement_key = values
    return Submission(
        document=document,
        signing_key=signing_key,
        certificate=certificate,
        payment=str(payment).lower(),
        measurement=measurement,
        form=form,
        evidence=evidence,
        anchor=anchor,
        ohttp=OhttpConfig(*ohttp) if ohttp[4] else None,
        statement_key=statement_key,
    )


def _checked(
    record: AttestationRecord, owner: str, kind: int, endpoint: str, submission: Submission
) -> SubmittedEvidence:
    """What an event carries must be what the contract counts votes for; the endpoint could tell us anything else."""
    if (
        sha256(submission.document) != record.document
        or sha256(submission.evidence) != record.evidence
        or submission.tee_id != record.tee_id
        or submission.measurement != record.measurement
    ):
        raise UnavailableError("chain.rpc", "the chain's event is not of the attestation that it was asked for")
    return SubmittedEvidence(record, owner, kind, endpoint, submission)
