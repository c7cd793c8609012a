"""Do these OHTTP keys belong to a gateway that trust admits, and is everybody shown them? (``spec/relay.md`` §4)

The plan, in this order; the first step that fails raises:

1. Trust admits the key document, and it names keys (§4(2)).
2. The statement is the document's ``identity``, signed by its key, and says what the document says (§4(3)).
3. Its log signed the checkpoint, and a quorum of full nodes cosigned it (§4(4)).
4. The inclusion proof leads from the statement to the checkpoint (§4(5)).

Not covered: what the attestation is worth, which the caller still owes (``verifier.enclaves``), and whether another
identity is in force beside this one: only a reader of the whole log can say that.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from holdfast.core import merkle
from holdfast.core.keys import KeyDocument
from holdfast.core.keys_proof import KeysProof, ShownAttestation
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError, UndecidedError
from holdfast.verifier.checkpoints import cosign_times, read_checkpoint
from holdfast.verifier.checks import refuse_attester, refuse_identity


@dataclass(frozen=True, slots=True)
class VerifiedKeys:
    """Keys that everybody is shown; made by :func:`verify_keys_proof` alone."""

    document: KeyDocument
    attestation: ShownAttestation | None
    """As it was shown; nobody looked at it here."""
    logged_by: dt.datetime
    """When a quorum had seen the statement in the log."""

    @property
    def ohttp(self) -> tuple[bytes, ...]:
        """The key configurations (RFC 9458 §3.1)."""
        return self.document.ohttp


def verify_keys_proof(proof: KeysProof, trust: Trust, at: dt.datetime) -> VerifiedKeys:
    """Check a keys proof (``relay.md`` §4(2) to §4(5)). Raises ``keys_proof.*``."""
    document, statement = proof.document, proof.statement
    admission = trust.admission(document.digest)
    why = "unknown-key" if admission is None else admission.refusal(at, at)
    if trust.current.expires_at <= at:
        why = "the trust document has run out"
    if why is not None:
        raise RefusedError("keys_proof.attester", f"trust does not admit the gateway {document.name}: {why}")
    if not document.ohttp:
        raise RefusedError("keys_proof.no_keys", f"the gateway {document.name} has no private path")
    if statement.kind != "identity" or statement.attester != document.digest:
        raise RefusedError("keys_proof.statement", "the statement is not this key document's identity")
    logged_by = _logged_by(proof, trust)
    refusal = refuse_attester(statement, trust, until=logged_by) or refuse_identity(statement, trust)
    if refusal is not None:
        raise RefusedError("keys_proof.statement", f"the identity statement is refused: {refusal}")
    return VerifiedKeys(document, proof.attestation, logged_by)


def _logged_by(proof: KeysProof, trust: Trust) -> dt.datetime:
    """When a quorum had cosigned a tree that the statement is in."""
    try:
        origin, read = read_checkpoint(proof.checkpoint, trust)
        found = None if read is None else cosign_times(read[2], trust)
    except HoldfastError as error:
        raise RefusedError("keys_proof.log", f"the checkpoint does not verify: {error.message}") from error
    if read is None or found is None:
        raise RefusedError("keys_proof.log", f"trust names no log {origin}")
    if found.checkpoint.size != proof.size:
        raise RefusedError("keys_proof.log", "the checkpoint is of another size than the proof")
    if found.quorum_at is None:
        raise UndecidedError(
            "keys_proof.quorum",
            f"only {len(found.cosigners)} full nodes have cosigned the log since the gateway's keys stand in it",
            hint="full nodes cosign within seconds; ask again",
        )
    try:
        leaf = merkle.leaf_hash(proof.statement.envelope.raw)
        merkle.verify_inclusion(leaf, proof.index, proof.size, list(proof.proof), found.checkpoint.root)
    except RefusedError as error:
        raise RefusedError("keys_proof.inclusion", "the log does not hold the identity statement there") from error
    return found.quorum_at
