"""Keep one node registered and active (``spec/registry.md`` §8).

A :class:`Registrar` looks at the registry and does the one next thing that its node needs: register, renew the
attestation in time, put a new key document or certificate into force, tell a new endpoint, beat. Call
:meth:`Registrar.step` at a start and then again and again: a step that fails raises and has changed nothing here, and
the next one looks again.

Rules: evidence answers the chain's own challenge and is made anew for each submission. What waits for votes is never
submitted twice, and what was refused is submitted again after :attr:`Timing.retry_s` at the earliest. Heartbeats are
signed for a moment that has passed, since a chain's clock lags, and their times only rise.

Not covered: making keys and evidence (the caller's functions), and voting (``nodes/full/registry.py``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from holdfast.core import opengradient
from holdfast.core.keys import KeyDocument
from holdfast.core.registry import build_submission, challenge_nonce, claimed_measurement
from holdfast.errors import HoldfastError, RefusedError, UndecidedError, UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.registry import GATEWAY_KIND, RegisteredNode, Registry

Attest = Callable[[bytes], Awaitable[bytes]]
"""The nonce of a challenge (67 bytes) to evidence as it travels (``attestation.md`` §2): it binds the key document and
answers."""
Sign = Callable[[bytes], Awaitable[bytes]]
"""A 32-byte hash to RSASSA-PSS by the node's key, 256 bytes (``opengradient.md`` §4)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a node registers as."""

    document: KeyDocument
    certificate: bytes
    """DER of its TLS certificate: a leaf for the key whose digest the document has as ``tls``."""
    endpoint: str
    """Where clients reach it, for example ``https://gateway.example``."""
    form: str
    """Format of its evidence."""
    attest: Attest
    sign: Sign
    kind: int = GATEWAY_KIND


@dataclass(frozen=True, slots=True)
class Timing:
    """When a registrar acts."""

    retry_s: float = 600.0
    """Shortest time between two submissions."""
    beats_in_age: int = 2
    """How many heartbeats fit into their greatest age."""
    behind_in_age: int = 6
    """Which part of that age a heartbeat's time lies back."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a step found and did."""

    did: str
    """``nothing``, ``registered``, ``attested``, ``endpoint`` or ``heartbeat``."""
    node: RegisteredNode | None
    """The node before that; None when it was not registered yet."""
    waits_for: str
    """Why it is not active, in words; empty when it is."""


class Registrar:
    """See the module. One for each node; its account owns the node and pays."""

    def __init__(self, registry: Registry, identity: Identity, clock: Clock, timing: Timing | None = None) -> None:
        self._registry = registry
        self._identity = identity
        self._clock = clock
        self._timing = timing or Timing()
        key = identity.document.key_for("opengradient")
        if key is None:
            raise UsageError("registry.no_key", f"{identity.document.name} has no key to be registered by")
        self.tee_id = opengradient.tee_id_of(key.public)
        """The id of the node's key."""
        self._submitted_at: float | None = None
        self._certificates: dict[int, bytes] = {}
        self.total_sent = 0
        """Heartbeats that landed."""
        self.last_heartbeat = 0
        """Time of the newest that landed, unix seconds; 0 for none."""
        self.last_transaction = ""
        """The transaction that brought it, hex."""

    async def step(self) -> Status:
        """Look, and do the one next thing. Raises ``registry.*``, ``heartbeat.*``, ``chain.*``, or what making evidence
        or a signature raises."""
        node = await self._find()
        if await self._is_due(node):
            return await self._submit(node)
        if node is None:
            return Status("nothing", None, "it is not registered, and was submitted a moment ago")
        if node.endpoint != self._identity.endpoint:
            await self._registry.set_endpoint(node.number, self._identity.endpoint)
            return Status("endpoint", node, _waits_for(node))
        if node.tee_id == self.tee_id and await self._beat(node):
            return Status("heartbeat", node, _waits_for(node))
        return Status("nothing", node, _waits_for(node))

    async def _find(self) -> RegisteredNode | None:
        """The account's node that this identity is, takes over, or may try again as."""
        owned = await self._registry.nodes_of(self._registry.account)
        living = [
            node for node in owned if node.kind == self._identity.kind and not node.revoked_at and not node.withdrawn_at
        ]
        document = self._identity.document
        predecessor = bytes.fromhex(document.predecessor) if document.predecessor else None
        for node in living:
            if node.tee_id == self.tee_id or (predecessor is not None and node.document == predecessor):
                return node
        for node in living:
            if await self._waits_as(node):
                return node
        return next((node for node in living if not node.attestation and not node.pending), None)

    async def _waits_as(self, node: RegisteredNode) -> bool:
        record = await self._registry.attestation(node.pending) if node.pending else None
        return record is not None and record.tee_id == self.tee_id

    async def _is_due(self, node: RegisteredNode | None) -> bool:
        """Whether to submit now: nothing is in force or waits, something else is, or half of the interval is over."""
        if node is not None and node.pending:
            return False
        now = self._clock.now().timestamp()
        if self._submitted_at is not None and now < self._submitted_at + self._timing.retry_s:
            return False
        if node is None or not node.attestation or node.document.hex() != self._identity.document.digest:
            return True
        if now >= node.attested_at + (node.attested_until - node.attested_at) / 2:
            return True
        return await self._certificate(node.attestation) != self._identity.certificate

    async def _certificate(self, attestation: int) -> bytes:
        """The certificate in force; the own one where the chain has forgotten what was submitted."""
        if attestation not in self._certificates:
            try:
                found = await self._registry.evidence(attestation)
            except UndecidedError:
                return self._identity.certificate
            self._certificates = {attestation: found.submission.certificate}
        return self._certificates[attestation]

    async def _submit(self, node: RegisteredNode | None) -> Status:
        identity = self._identity
        challenge = await self._registry.challenge(bytes.fromhex(identity.document.digest))
        evidence = await identity.attest(challenge_nonce(challenge.nonce))
        submission = build_submission(
            identity.document,
            identity.certificate,
            form=identity.form,
            evidence=evidence,
            measurement=claimed_measurement(identity.form, evidence),
            anchor=challenge.anchor,
        )
        try:
            if node is None:
                await self._registry.register(identity.kind, identity.endpoint, submission)
            else:
                await self._registry.attest(node.number, submission)
        except RefusedError:
            raise  # nothing landed: the next step tries again
        except HoldfastError:
            self._submitted_at = self._clock.now().timestamp()  # it may have landed, whatever came back
            raise
        self._submitted_at = self._clock.now().timestamp()
        if node is None:
            return Status("registered", None, "full nodes vote on it")
        return Status("attested", node, _waits_for(node))

    async def _beat(self, node: RegisteredNode) -> bool:
        """A heartbeat, if it is time for one."""
        age_s = await self._registry.heartbeat_max_age_s()
        now = int(self._clock.now().timestamp())
        newest = max(node.heartbeat_at, self.last_heartbeat)
        timestamp = now - age_s // self._timing.behind_in_age
        if timestamp < newest + age_s // self._timing.beats_in_age:
            return False
        signature = await self._identity.sign(opengradient.heartbeat_hash(self.tee_id, timestamp))
        landed = await self._registry.heartbeat(self.tee_id, timestamp, signature)
        self.total_sent += 1
        self.last_heartbeat, self.last_transaction = timestamp, landed.transaction
        return True


def _waits_for(node: RegisteredNode) -> str:
    """Why a node is not active, in words."""
    if node.active:
        return ""
    if node.pending:
        return f"full nodes vote on attestation {node.pending}"
    if not node.attestation:
        return "no attestation of it was accepted"
    if node.disabled_at:
        return "it is disabled"
    return "its attestation or heartbeat ran out, or its measurement is not approved any more"
