"""The on-chain registry of attested nodes as nodes, full nodes and commands need it (``spec/registry.md``).

A *node* is a number that its owner keeps while endpoint, keys and attestations change. An *attestation* is one
submission of a key document with evidence for it: pending until members with more than 2/3 of the current epoch's stake
accept it. A *key* is named by its ``tee_id``, the Keccak-256 of its DER SubjectPublicKeyInfo.

Rules for every implementation:

* A call that writes returns when the transaction is in a block, and raises the contract's reason (``registry.pending``,
  ``heartbeat.replayed`` …) when it said no. Such a block can still be undone, so callers look again and repeat.
* Silence of the chain is :class:`UnavailableError` (``chain.unreachable``, ``chain.timeout``).
* Addresses are lower-case ``0x`` hex, digests and key ids 32 raw bytes, times unix seconds, where 0 means never.

Not covered: whether evidence is good (``verifier/attestation``), and whom a verifier trusts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast.core.registry import Submission
from holdfast.core.rounds import ChainDomain
from holdfast.ports.chain import Inclusion

GATEWAY_KIND = 0
"""The kind of node that OpenGradient's clients ask for: an LLM proxy (``registry.md`` §2)."""
PENDING, ACCEPTED, REFUSED, REPLACED = "pending", "accepted", "refused", "replaced"
"""States of an attestation. ``replaced``: its owner submitted another one before votes had decided."""
ADMIN, GUARDIAN = "admin", "guardian"
"""The registry's two roles (``registry.md`` §7)."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What evidence of an account about a key document has to answer, for 256 blocks."""

    anchor: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class RegisteredKind:
    """A kind of node."""

    kind: int
    name: str
    interval_s: int
    """How long an accepted attestation keeps a node active."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """An approved measurement of a kind."""

    kind: int
    digest: bytes
    version: str
    effective_at: int
    """From when nodes may have it."""
    revoked_at: int
    suspect_since: int
    """What was signed from then on is not believed; never later than ``revoked_at``."""


@dataclass(frozen=True, slots=True)
class AttestationRecord:
    """One submission and what became of it."""

    number: int
    node: int
    document: bytes
    """SHA-256 of the key document."""
    evidence: bytes
    """SHA-256 of the evidence: what votes name."""
    measurement: bytes
    tee_id: bytes
    predecessor: bytes
    """SHA-256 of the node's key document in force when this was submitted; zeros for a first one."""
    nonce: bytes
    """What the evidence has to answer."""
    submitted_at: int
    block: int
    state: str
    epoch: int
    """Epoch whose stake the tally counts; 0 before the first vote."""
    stake_for: int
    stake_against: int
    voters: frozenset[str] = frozenset()
    """Members whose vote is counted in the tally."""


@dataclass(frozen=True, slots=True)
class SubmittedEvidence:
    """What the event of a submission carries: everything that anyone needs to judge it again."""

    record: AttestationRecord
    owner: str
    kind: int
    endpoint: str
    submission: Submission


@dataclass(frozen=True, slots=True)
class RegisteredNode:
    """One node as the newest block shows it."""

    number: int
    owner: str
    kind: int
    endpoint: str
    tee_id: bytes
    """Of the key in force; zeros before the first accepted attestation."""
    document: bytes
    attestation: int
    """Number of the accepted attestation in force; 0 for none."""
    pending: int
    """Number of the attestation that waits for votes; 0 for none."""
    attested_at: int
    """When the attestation in force was submitted."""
    attested_until: int
    """When it has to have been renewed."""
    registered_at: int
    heartbeat_at: int
    """Time of the newest heartbeat."""
    disabled_at: int
    """From then on nobody is sent to it; 0 while it is enabled."""
    disabled_by_owner: bool
    revoked_at: int
    suspect_since: int
    withdrawn_at: int
    active: bool
    """Enabled, attested in time, measured as approved, and its heart beats."""


class Registry(Protocol):
    """One registry contract on one chain, seen by one account."""

    @property
    def domain(self) -> ChainDomain:
        """Chain id and contract: what verdicts are signed for."""
        ...

    @property
    def account(self) -> str:
        """The address that pays, and owns the nodes that it registers."""
        ...

    async def heartbeat_max_age_s(self) -> int:
        """How long a heartbeat keeps a node active."""
        ...

    async def kind(self, kind: int) -> RegisteredKind | None:
        """A kind of node, if there is one."""
        ...

    async def measurement(self, kind: int, digest: bytes) -> Measurement | None:
        """A measurement of a kind, if it was ever approved."""
        ...

    async def role(self, role: str) -> str:
        """The address that holds a role."""
        ...

    async def nodes(self, kind: int) -> tuple[RegisteredNode, ...]:
        """Nodes of a kind with an accepted attestation, active or not."""
        ...

    async def node(self, number: int) -> RegisteredNode | None:
        """One node."""
        ...

    async def node_by_key(self, tee_id: bytes) -> RegisteredNode | None:
        """The node that a key belongs or belonged to."""
        ...

    async def nodes_of(self, owner: str) -> tuple[RegisteredNode, ...]:
        """Every node that an address has registered."""
        ...

    async def challenge(self, document: bytes) -> Challenge:
        """What evidence about a key document (its digest, 32 bytes) that this account submits now has to answer."""
        ...

    async def register(self, kind: int, endpoint: str, submission: Submission) -> Inclusion:
        """Ask for a place as a new node that this account owns."""
        ...

    async def attest(self, node: int, submission: Submission) -> Inclusion:
        """Renew a node's attestation, or put a new key document into force (which names the one before)."""
        ...

    async def attestations(self) -> int:
        """How many attestations were submitted; they are numbered from 1."""
        ...

    async def attestation(self, number: int) -> AttestationRecord | None:
        """One submission's state."""
        ...

    async def evidence(self, number: int) -> SubmittedEvidence:
        """What was submitted; raises ``registry.evidence`` (:class:`UndecidedError`) when the chain does not tell."""
        ...

    async def submit_verdicts(
        self, number: int, evidence: bytes, signatures: Sequence[bytes], *, accepted: bool
    ) -> Inclusion:
        """Relay members' verdicts; a verdict counted before is skipped, a stranger's is refused."""
        ...

    async def heartbeat(self, tee_id: bytes, timestamp: int, signature: bytes) -> Inclusion:
        """Relay a heartbeat: RSASSA-PSS (256 bytes) over the id and the time."""
        ...

    async def set_endpoint(self, node: int, endpoint: str) -> Inclusion:
        """Say where an own node is reached now."""
        ...

    async def disable(self, node: int, effective_at: int = 0) -> Inclusion:
        """Send nobody to a node from a time on (0: now); by its owner or a role."""
        ...

    async def enable(self, node: int) -> Inclusion:
        """Take :meth:`disable` back; what a role disabled, a role enables."""
        ...

    async def withdraw(self, node: int) -> Inclusion:
        """Take an own node out for good; its keys stay known with their validity."""
        ...

    async def revoke(self, node: int, suspect_since: int = 0) -> Inclusion:
        """Take a node out for good, and believe nothing it signed since (0: now); admin or guardian."""
        ...

    async def set_kind(self, kind: RegisteredKind) -> Inclusion:
        """Add or change a kind of node; admin."""
        ...

    async def approve_measurement(self, kind: int, digest: bytes, version: str, effective_at: int = 0) -> Inclusion:
        """Let nodes of a kind have a measurement; admin."""
        ...

    async def revoke_measurement(
        self, kind: int, digest: bytes, effective_at: int = 0, suspect_since: int = 0
    ) -> Inclusion:
        """Let no node have it any more; admin or guardian."""
        ...

    async def set_heartbeat_max_age(self, seconds: int) -> Inclusion:
        """Change how long a heartbeat keeps a node active; admin."""
        ...

    async def offer_role(self, role: str, candidate: str) -> Inclusion:
        """First step of handing a role over; its holder, or the admin for the guardian."""
        ...

    async def accept_role(self, role: str) -> Inclusion:
        """Second step, by whom it was offered to."""
        ...

    async def valid_at(self, tee_id: bytes, at: int) -> bool:
        """Whether a key was good at a time: attested then, and not suspect since."""
        ...

    async def verify_signature(
        self, tee_id: bytes, input_hash: bytes, output_hash: bytes, timestamp: int, signature: bytes
    ) -> bool:
        """Whether a key that was good then signed an answer, in OpenGradient's format; checked on chain."""
        ...

    async def verify_statement(self, tee_id: bytes, digest: bytes, signature: bytes, at: int) -> bool:
        """Whether the P-256 statement key beside a key that was good then signed a SHA-256 digest; checked on chain.

        Raises ``signature.p256_absent`` where the chain has no such precompile.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
