"""A registry in memory: the rules of ``contracts/Registry.vy`` in Python, beside a simulated chain.

For simulations and tests, also where no virtual machine runs; no node picks it. One :class:`SimulatedRegistry` is the
world; each node gets its own view of it with :meth:`SimulatedRegistry.client`. Epochs, stakes and slashing are those of
the chain it stands beside.

Faithful: every rule, reason and the order in which the contract checks; tests/contracts runs the same suite against it
and against the real contract. Not simulated: gas, OpenGradient's reads, and reorganisations, which undo rounds only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from holdfast.adapters.chain_simulated import SimulatedChain
from holdfast.core import evm, opengradient
from holdfast.core.encoding import sha256
from holdfast.core.registry import Submission, verdict_digest
from holdfast.core.rounds import ChainDomain
from holdfast.errors import HoldfastError, UnavailableError, UsageError
from holdfast.ports.chain import Inclusion, refusal
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

SIMULATED_REGISTRY = "0x" + "7e" * 20
"""Address of the simulated contract."""
MAX_NODES = 100
"""Of one kind in force, and of one account (``registry.md`` §2(5))."""
MAX_INTERVAL_S = 366 * 86_400
ANCHOR_BLOCKS = 256
"""How old a challenge may be (``registry.md`` §4(3))."""
_NOTHING = bytes(32)


class _Reverted(Exception):  # noqa: N818 (the chain's own word)
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise _Reverted(reason)


@dataclass
class _Attestation:
    record: AttestationRecord
    evidence: SubmittedEvidence
    voted_for: dict[str, int] = field(default_factory=dict)
    voted_against: dict[str, int] = field(default_factory=dict)


@dataclass
class _Key:
    node: int
    submission: Submission
    retired: bool = False
    heartbeat_at: int = 0
    spans: list[tuple[int, int, bytes]] = field(default_factory=list)
    """Start, end, measurement."""


@dataclass
class _Node:
    owner: str
    kind: int
    endpoint: str
    attestation: int = 0
    pending: int = 0
    registered_at: int = 0
    disabled_at: int = 0
    disabled_by_owner: bool = False
    revoked_at: int = 0
    suspect_since: int = 0
    withdrawn_at: int = 0


class SimulatedRegistry:
    """The world: one registry beside one chain. Not thread-safe; one event loop."""

    def __init__(self, chain: SimulatedChain, *, admin: str, guardian: str, heartbeat_max_age_s: int) -> None:
        self.chain = chain
        self.domain = ChainDomain(chain.domain.chain_id, SIMULATED_REGISTRY)
        self.roles = {ADMIN: admin, GUARDIAN: guardian}
        self.offered: dict[str, str] = {}
        self.max_age_s = heartbeat_max_age_s
        self.kinds: dict[int, RegisteredKind] = {}
        self.measurements: dict[tuple[int, bytes], Measurement] = {}
        self.nodes: list[_Node] = []
        self.attestations: list[_Attestation] = []
        self.keys: dict[bytes, _Key] = {}
        self.in_force: dict[int, list[int]] = {}

    def client(self, account: str) -> SimulatedRegistryClient:
        """A node's view."""
        return SimulatedRegistryClient(self, account)

    @property
    def now(self) -> int:
        """The time that a call sees."""
        return self.chain.view_time()

    # Roles and settings

    def require_role(self, sender: str, *roles: str) -> None:
        _require(sender in {self.roles[role] for role in roles}, "registry.role")

    def may_have(self, kind: int, digest: bytes) -> bool:
        """Whether nodes of a kind may have a measurement now."""
        known = self.measurements.get((kind, digest))
        if known is None or known.effective_at > self.now:
            return False
        return known.suspect_since == 0 or known.suspect_since > self.now

    def set_kind(self, sender: str, kind: RegisteredKind) -> None:
        self.require_role(sender, ADMIN)
        _require(bool(kind.name) and 0 < kind.interval_s <= MAX_INTERVAL_S, "registry.kind")
        self.kinds[kind.kind] = kind

    def approve(self, sender: str, kind: int, digest: bytes, version: str, effective_at: int) -> None:
        self.require_role(sender, ADMIN)
        _require(kind in self.kinds, "registry.kind")
        _require(digest != _NOTHING, "registry.measurement")
        start = max(effective_at, self.now)
        known = self.measurements.get((kind, digest))
        _require(known is None or known.revoked_at == 0, "registry.revoked")
        if known is not None:
            start = min(start, known.effective_at)
        self.measurements[kind, digest] = Measurement(kind, digest, version, start, 0, 0)

    def disapprove(self, sender: str, kind: int, digest: bytes, effective_at: int, suspect_since: int) -> None:
        self.require_role(sender, ADMIN, GUARDIAN)
        known = self.measurements.get((kind, digest))
        if known is None:
            raise _Reverted("registry.measurement")
        end = min(max(effective_at, self.now), known.revoked_at or max(effective_at, self.now))
        suspect = min(item for item in (end, suspect_since or end, known.suspect_since or end))
        self.measurements[kind, digest] = replace(known, revoked_at=end, suspect_since=suspect)

    # Submissions

    def nonce(self, account: str, document: bytes, anchor: int) -> bytes:
        """The challenge at a block."""
        digest = (self.chain.block_hash(anchor) or "").encode()
        return evm.keccak256(SIMULATED_REGISTRY.encode() + account.encode() + document + evm.word(anchor) + digest)

    def register(self, sender: str, kind: int, endpoint: str, submission: Submission) -> None:
        _require(kind in self.kinds, "registry.kind")
        _require(bool(endpoint), "registry.endpoint")
        _require(sum(node.owner == sender for node in self.nodes) < MAX_NODES, "registry.full")
        self.nodes.append(_Node(sender, kind, endpoint))
        try:
            self.submit(sender, len(self.nodes), submission)
        except _Reverted:
            self.nodes.pop()
            raise

    def submit(self, sender: str, number: int, given: Submission) -> None:
        node = self.nodes[number - 1]
        block = self.chain.head.number + 1
        _require(bool(given.document), "registry.document")
        _require(bool(given.evidence) and bool(given.form), "registry.evidence")
        _require(bool(given.certificate), "registry.certificate")
        _require(_is_rsa_key(given.signing_key), "registry.signing_key")
        _require(len(given.statement_key) in (0, 64), "registry.statement_key")
        _require(self.may_have(node.kind, given.measurement), "registry.measurement")
        _require(given.anchor < block <= given.anchor + ANCHOR_BLOCKS, "registry.anchor")
        held = self.keys.get(given.tee_id)
        _require(held is None or held.node == number, "registry.key_taken")
        _require(held is None or not held.retired, "registry.key_retired")
        document = sha256(given.document)
        self._replace_pending(node)
        record = AttestationRecord(
            number=len(self.attestations) + 1,
            node=number,
            document=document,
            evidence=sha256(given.evidence),
            measurement=given.measurement,
            tee_id=given.tee_id,
            predecessor=self.attestations[node.attestation - 1].record.document if node.attestation else _NOTHING,
            nonce=self.nonce(sender, document, given.anchor),
            submitted_at=self.now,
            block=block,
            state=PENDING,
            epoch=0,
            stake_for=0,
            stake_against=0,
        )
        shown = SubmittedEvidence(record, sender, node.kind, node.endpoint, given)
        self.attestations.append(_Attestation(record, shown))
        node.pending = record.number

    def _replace_pending(self, node: _Node) -> None:
        if node.pending:
            waiting = self.attestations[node.pending - 1]
            waiting.record = replace(waiting.record, state=REPLACED)
            node.pending = 0

    # Votes

    def vote(self, number: int, evidence: bytes, signatures: Sequence[bytes], *, accepted: bool) -> None:
        _require(1 <= number <= len(self.attestations), "registry.unknown")
        item = self.attestations[number - 1]
        _require(item.record.state == PENDING, "registry.decided")
        _require(item.record.evidence == evidence, "registry.evidence")
        state = self.chain.state
        current = state.current_epoch(self.now)
        _require(current != 0, "registry.epoch")
        epoch = state.epochs[current - 1]
        again = item.record.epoch != current
        voted_for = {} if again else dict(item.voted_for)
        voted_against = {} if again else dict(item.voted_against)
        digest = verdict_digest(self.domain, number, evidence, accepted=accepted)
        for signature in signatures:
            try:
                signer = evm.recover(digest, signature)
            except HoldfastError:
                raise _Reverted("registry.signature") from None
            _require(signer in epoch.stakes, "registry.member")
            bond = state.bonds.get(signer)
            if signer not in voted_for and signer not in voted_against and not (bond is not None and bond.slashed):
                (voted_for if accepted else voted_against)[signer] = epoch.stakes[signer]
        item.voted_for, item.voted_against = voted_for, voted_against
        stake_for, stake_against = sum(voted_for.values()), sum(voted_against.values())
        item.record = replace(
            item.record,
            epoch=current,
            stake_for=stake_for,
            stake_against=stake_against,
            voters=frozenset((*voted_for, *voted_against)),
        )
        if 3 * stake_for > 2 * epoch.total:
            self._decide(item, self._put_into_force(item))
        elif 3 * stake_against > epoch.total:
            self._decide(item, REFUSED)

    def _decide(self, item: _Attestation, state: str) -> None:
        item.record = replace(item.record, state=state)
        self.nodes[item.record.node - 1].pending = 0

    def _put_into_force(self, item: _Attestation) -> str:
        record = item.record
        node, key = self.nodes[record.node - 1], self.keys.get(record.tee_id)
        listed = self.in_force.setdefault(node.kind, [])
        if key is not None and (key.node != record.node or key.retired):
            return REFUSED
        if not node.attestation and len(listed) == MAX_NODES:
            return REFUSED
        if key is None:
            key = self.keys[record.tee_id] = _Key(record.node, item.evidence.submission)
        start, end = record.submitted_at, record.submitted_at + self.kinds[node.kind].interval_s
        last = key.spans[-1] if key.spans else None
        if last is not None and last[2] == record.measurement and last[1] >= start:
            key.spans[-1] = (last[0], max(last[1], end), last[2])
        else:
            key.spans.append((start, end, record.measurement))
        key.submission = item.evidence.submission
        before, node.attestation = node.attestation, record.number
        if not before:
            listed.append(record.node)
            node.registered_at = self.now
        elif (old := self.attestations[before - 1].record.tee_id) != record.tee_id:
            self._retire(old)
        return ACCEPTED

    def _retire(self, tee_id: bytes) -> None:
        key = self.keys[tee_id]
        key.retired = True
        key.spans = [(start, min(end, self.now), measurement) for start, end, measurement in key.spans]

    # A node's life

    def living(self, number: int) -> _Node:
        _require(1 <= number <= len(self.nodes), "registry.unknown")
        node = self.nodes[number - 1]
        _require(node.revoked_at == 0, "registry.revoked")
        _require(node.withdrawn_at == 0, "registry.withdrawn")
        return node

    def owned(self, sender: str, number: int) -> _Node:
        node = self.living(number)
        _require(sender == node.owner, "registry.owner")
        return node

    def heartbeat(self, tee_id: bytes, timestamp: int, signature: bytes) -> None:
        key = self.keys.get(tee_id)
        if key is None or key.retired:
            raise _Reverted("heartbeat.unknown")
        self.living(key.node)
        _require(timestamp <= self.now, "heartbeat.future")
        _require(timestamp + self.max_age_s > self.now, "heartbeat.old")
        _require(timestamp > key.heartbeat_at, "heartbeat.replayed")
        digest = opengradient.heartbeat_hash(tee_id, timestamp)
        _require(_is_signed(key.submission.signing_key, digest, signature), "heartbeat.signature")
        key.heartbeat_at = timestamp

    def _as_owner_or_role(self, sender: str, number: int) -> tuple[_Node, bool]:
        """The node, and whether its owner asks; who is neither is refused."""
        node = self.living(number)
        if sender in self.roles.values():
            return node, False
        _require(sender == node.owner, "registry.owner")
        _require(node.disabled_at == 0 or node.disabled_by_owner, "registry.role")
        return node, True

    def disable(self, sender: str, number: int, effective_at: int) -> None:
        node, by_owner = self._as_owner_or_role(sender, number)
        node.disabled_at, node.disabled_by_owner = max(effective_at, self.now), by_owner

    def enable(self, sender: str, number: int) -> None:
        node, _ = self._as_owner_or_role(sender, number)
        node.disabled_at, node.disabled_by_owner = 0, False

    def withdraw(self, sender: str, number: int) -> None:
        node = self.owned(sender, number)
        node.withdrawn_at = self.now
        self._remove(number)

    def revoke(self, sender: str, number: int, suspect_since: int) -> None:
        self.require_role(sender, ADMIN, GUARDIAN)
        _require(1 <= number <= len(self.nodes), "registry.unknown")
        node = self.nodes[number - 1]
        node.suspect_since = min(item for item in (self.now, suspect_since, node.suspect_since) if item)
        if not node.revoked_at:
            node.revoked_at = self.now
            if not node.withdrawn_at:
                self._remove(number)

    def _remove(self, number: int) -> None:
        node = self.nodes[number - 1]
        self._replace_pending(node)
        if node.attestation:
            self._retire(self.attestations[node.attestation - 1].record.tee_id)
            self.in_force[node.kind].remove(number)

    # Reading

    def show(self, number: int) -> RegisteredNode:
        """One node as it is now."""
        node, now = self.nodes[number - 1], self.now
        record = self.attestations[node.attestation - 1].record if node.attestation else None
        key = self.keys[record.tee_id] if record is not None else None
        until = record.submitted_at + self.kinds[node.kind].interval_s if record is not None else 0
        heartbeat_at = key.heartbeat_at if key is not None else 0
        active = (
            record is not None
            and not node.revoked_at
            and not node.withdrawn_at
            and (node.disabled_at == 0 or node.disabled_at > now)
            and until > now
            and self.may_have(node.kind, record.measurement)
            and max(record.submitted_at, heartbeat_at) + self.max_age_s > now
        )
        return RegisteredNode(
            number=number,
            owner=node.owner,
            kind=node.kind,
            endpoint=node.endpoint,
            tee_id=record.tee_id if record is not None else _NOTHING,
            document=record.document if record is not None else _NOTHING,
            attestation=node.attestation,
            pending=node.pending,
            attested_at=record.submitted_at if record is not None else 0,
            attested_until=until,
            registered_at=node.registered_at,
            heartbeat_at=heartbeat_at,
            disabled_at=node.disabled_at,
            disabled_by_owner=node.disabled_by_owner,
            revoked_at=node.revoked_at,
            suspect_since=node.suspect_since,
            withdrawn_at=node.withdrawn_at,
            active=active,
        )

    def valid_at(self, tee_id: bytes, at: int) -> bool:
        """``registry.md`` §6(2)."""
        key = self.keys.get(tee_id)
        if key is None or at > self.now:
            return False
        node = self.nodes[key.node - 1]
        if node.suspect_since and at >= node.suspect_since:
            return False
        for start, end, digest in key.spans:
            if start <= at < end:
                suspect = self.measurements[node.kind, digest].suspect_since
                return suspect == 0 or at < suspect
        return False


def _is_rsa_key(spki: bytes) -> bool:
    try:
        opengradient.parse_signing_key(spki)
    except HoldfastError:
        return False
    return True


def _is_signed(signing_key: bytes, digest: bytes, signature: bytes) -> bool:
    try:
        opengradient.verify_hash(signing_key, digest, signature)
    except HoldfastError:
        return False
    return True


class SimulatedRegistryClient(Registry):
    """One account's view of a :class:`SimulatedRegistry`; implements ``ports.registry.Registry``."""

    def __init__(self, world: SimulatedRegistry, account: str) -> None:
        self._world = world
        self._account = evm.parse_address(account)

    @property
    def domain(self) -> ChainDomain:
        return self._world.domain

    @property
    def account(self) -> str:
        return self._account

    async def close(self) -> None:
        """Nothing to let go of."""

    async def _reach(self) -> SimulatedRegistry:
        await asyncio.sleep(0)
        if self._world.chain.lost(self._account):
            raise UnavailableError("chain.unreachable", "the chain does not answer", hint="it is tried again")
        return self._world

    async def _submit(self, act: Callable[[SimulatedRegistry], None]) -> Inclusion:
        """One call and its block; a refused call leaves none."""
        world = await self._reach()
        try:
            act(world)
        except _Reverted as error:
            raise refusal(error.reason) from None
        world.chain.mine()
        return Inclusion(world.chain.head.hash, world.chain.head.number)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def heartbeat_max_age_s(self) -> int:
        return (await self._reach()).max_age_s

    async def kind(self, kind: int) -> RegisteredKind | None:
        return (await self._reach()).kinds.get(kind)

    async def measurement(self, kind: int, digest: bytes) -> Measurement | None:
        return (await self._reach()).measurements.get((kind, digest))

    async def role(self, role: str) -> str:
        world = await self._reach()
        return world.roles[_role(role)]

    async def nodes(self, kind: int) -> tuple[RegisteredNode, ...]:
        world = await self._reach()
        return tuple(world.show(number) for number in world.in_force.get(kind, ()))

    async def nodes_of(self, owner: str) -> tuple[RegisteredNode, ...]:
        world = await self._reach()
        return tuple(world.show(place + 1) for place, node in enumerate(world.nodes) if node.owner == owner)

    async def node(self, number: int) -> RegisteredNode | None:
        world = await self._reach()
        return world.show(number) if 1 <= number <= len(world.nodes) else None

    async def node_by_key(self, tee_id: bytes) -> RegisteredNode | None:
        world = await self._reach()
        key = world.keys.get(tee_id)
        return world.show(key.node) if key is not None else None

    async def challenge(self, document: bytes) -> Challenge:
        world = await self._reach()
        anchor = world.chain.head.number
        return Challenge(anchor, world.nonce(self._account, document, anchor))

    async def attestations(self) -> int:
        return len((await self._reach()).attestations)

    async def attestation(self, number: int) -> AttestationRecord | None:
        world = await self._reach()
        return world.attestations[number - 1].record if 1 <= number <= len(world.attestations) else None

    async def evidence(self, number: int) -> SubmittedEvidence:
        world = await self._reach()
        if not 1 <= number <= len(world.attestations):
            raise UsageError("registry.unknown", f"there is no attestation {number}")
        item = world.attestations[number - 1]
        return replace(item.evidence, record=item.record)

    async def valid_at(self, tee_id: bytes, at: int) -> bool:
        return (await self._reach()).valid_at(tee_id, at)

    async def verify_signature(
        self, tee_id: bytes, input_hash: bytes, output_hash: bytes, timestamp: int, signature: bytes
    ) -> bool:
        world = await self._reach()
        if not world.valid_at(tee_id, timestamp):
            return False
        digest = opengradient.message_hash(input_hash, output_hash, timestamp)
        return _is_signed(world.keys[tee_id].submission.signing_key, digest, signature)

    async def verify_statement(self, tee_id: bytes, digest: bytes, signature: bytes, at: int) -> bool:
        world = await self._reach()
        key = world.keys.get(tee_id)
        if key is None or not key.submission.statement_key:
            raise refusal("registry.statement_key")
        if len(signature) != 64 or not world.valid_at(tee_id, at):
            return False
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + key.submission.statement_key)
            der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
            point.verify(der, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        except (InvalidSignature, ValueError):
            return False
        return True

    # --- writing ------------------------------------------------------------------------------------------------------

    async def register(self, kind: int, endpoint: str, submission: Submission) -> Inclusion:
        return await self._submit(lambda world: world.register(self._account, kind, endpoint, submission))

    async def attest(self, node: int, submission: Submission) -> Inclusion:
        def act(world: SimulatedRegistry) -> None:
            world.owned(self._account, node)
            world.submit(self._account, node, submission)

        return await self._submit(act)

    async def submit_verdicts(
        self, number: int, evidence: bytes, signatures: Sequence[bytes], *, accepted: bool
    ) -> Inclusion:
        return await self._submit(lambda world: world.vote(number, evidence, signatures, accepted=accepted))

    async def heartbeat(self, tee_id: bytes, timestamp: int, signature: bytes) -> Inclusion:
        return await self._submit(lambda world: world.heartbeat(tee_id, timestamp, signature))

    async def set_endpoint(self, node: int, endpoint: str) -> Inclusion:
        def act(world: SimulatedRegistry) -> None:
            found = world.owned(self._account, node)
            _require(bool(endpoint), "registry.endpoint")
            found.endpoint = endpoint

        return await self._submit(act)

    async def disable(self, node: int, effective_at: int = 0) -> Inclusion:
        return await self._submit(lambda world: world.disable(self._account, node, effective_at))

    async def enable(self, node: int) -> Inclusion:
        return await self._submit(lambda world: world.enable(self._account, node))

    async def withdraw(self, node: int) -> Inclusion:
        return await self._submit(lambda world: world.withdraw(self._account, node))

    async def revoke(self, node: int, suspect_since: int = 0) -> Inclusion:
        return await self._submit(lambda world: world.revoke(self._account, node, suspect_since))

    async def set_kind(self, kind: RegisteredKind) -> Inclusion:
        return await self._submit(lambda world: world.set_kind(self._account, kind))

    async def approve_measurement(self, kind: int, digest: bytes, version: str, effective_at: int = 0) -> Inclusion:
        return await self._submit(lambda world: world.approve(self._account, kind, digest, version, effective_at))

    async def revoke_measurement(
        self, kind: int, digest: bytes, effective_at: int = 0, suspect_since: int = 0
    ) -> Inclusion:
        return await self._submit(
            lambda world: world.disapprove(self._account, kind, digest, effective_at, suspect_since)
        )

    async def set_heartbeat_max_age(self, seconds: int) -> Inclusion:
        def act(world: SimulatedRegistry) -> None:
            world.require_role(self._account, ADMIN)
            _require(0 < seconds <= MAX_INTERVAL_S, "registry.max_age")
            world.max_age_s = seconds

        return await self._submit(act)

    async def offer_role(self, role: str, candidate: str) -> Inclusion:
        offered = _role(role)

        def act(world: SimulatedRegistry) -> None:
            world.require_role(self._account, offered, ADMIN)
            world.offered[offered] = evm.parse_address(candidate)

        return await self._submit(act)

    async def accept_role(self, role: str) -> Inclusion:
        accepted = _role(role)

        def act(world: SimulatedRegistry) -> None:
            _require(world.offered.get(accepted) == self._account, "registry.role")
            world.roles[accepted] = world.offered.pop(accepted)

        return await self._submit(act)


def _role(role: str) -> str:
    if role not in (ADMIN, GUARDIAN):
        raise UsageError("registry.role", f"roles are {ADMIN}, {GUARDIAN}", param="role")
    return role
