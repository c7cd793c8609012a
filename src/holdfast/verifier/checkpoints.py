"""Whether a log signed a checkpoint, and when a quorum of full nodes had cosigned it (``spec/statement.md`` §8)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from functools import lru_cache

from holdfast.core.bundles import CheckpointItem
from holdfast.core.encoding import sha256_hex
from holdfast.core.notes import (
    COSIGNATURE,
    ED25519,
    VerifiedCheckpoint,
    VerifierKey,
    parse_checkpoint_text,
    parse_note,
    verify_checkpoint,
    verify_cosignatures,
)
from holdfast.core.trust import Admission, Trust, TrustedLog
from holdfast.errors import HoldfastError, RefusedError
from holdfast.verifier.attesters import open_end
from holdfast.verifier.evidence import CheckedCheckpoint, Evidence, refuse_settlement
from holdfast.verifier.transcript import Transcript

_LAST_SECOND = 253_402_300_799
"""9999-12-31T23:59:59Z: a cosignature's 63-bit time is cut to what a calendar can show."""


def check_checkpoints(
    items: Iterable[CheckpointItem], evidence: Evidence, trust: Trust, at: dt.datetime, record: Transcript
) -> None:
    seen: dict[tuple[str, int], bytes] = {}
    for item in dict.fromkeys(items):
        try:
            origin, read = read_checkpoint(item.note, trust)
        except HoldfastError as error:
            evidence.refuse("settlement", error.code, "A checkpoint is not signed by its log.")
            record.error(("settlement",), "checkpoint.md", error)
            continue
        if read is None:
            says = f"No log {origin} in trust."
            record.note(("settlement",), "trust.md §1", "cannot_tell", says, "trust.unknown_log")
            continue
        trusted, admission, verified = read
        checkpoint = verified.checkpoint
        try:
            checked = cosign_times(verified, trust)
        except RefusedError as error:
            refuse_settlement(evidence, record, error.code, "A cosignature on a checkpoint does not verify.")
            continue
        if not _speaks_at(trusted, admission, checked.quorum_at or open_end(admission, at)):
            says = f"Trust admits no log {origin} at that time."
            record.note(("settlement",), "trust.md §3", "cannot_tell", says, "trust.unknown_log")
            continue
        if seen.setdefault((checkpoint.origin, checkpoint.size), checkpoint.root) != checkpoint.root:
            evidence.refuse(
                "settlement", "log.equivocation", f"The log signed two different trees of size {checkpoint.size}."
            )
            says = "Two checkpoints of one size differ: a split view."
            record.note(("settlement",), "checkpoint.md", "no", says, "log.equivocation")
        evidence.checkpoints.append(checked)
        record.note(
            ("settlement",),
            "checkpoint.md",
            "yes",
            f"Checkpoint of size {checkpoint.size} is signed by {checkpoint.origin} and cosigned by "
            f"{len(checked.cosigners)} full nodes{'' if checked.quorum_at is None else ', a quorum'}.",
        )


@lru_cache(maxsize=256)
def read_checkpoint(note: str, trust: Trust) -> tuple[str, tuple[TrustedLog, Admission, VerifiedCheckpoint] | None]:
    """A checkpoint's origin, and, where trust names its log, the checkpoint with a good log signature. Kept, because
    every run that a checkpoint covers brings it."""
    raw = note.encode("utf-8", "surrogatepass")
    origin = parse_checkpoint_text(parse_note(raw).text).origin
    trusted = trust.log(origin)
    admission = trust.admission(trusted.node) if trusted else None
    key = admission.key_document.key_for("log") if admission else None
    if trusted is None or admission is None or key is None:
        return origin, None
    return origin, (trusted, admission, verify_checkpoint(raw, origin, [VerifierKey(origin, ED25519, key.public)]))


def _speaks_at(log: TrustedLog, admission: Admission, moment: dt.datetime) -> bool:
    """Whether the log's key counts at the moment when a quorum cosigned, or else at the one asked about."""
    return log.valid_from <= moment < log.valid_until and admission.refusal(moment, moment) is None


@lru_cache(maxsize=256)
def cosign_times(verified: VerifiedCheckpoint, trust: Trust) -> CheckedCheckpoint:
    """When cosignatures by members of the epoch reached a quorum (``statement.md`` §8)."""
    witnesses: dict[VerifierKey, Admission] = {}
    for admission in trust.current.nodes:
        key = admission.key_document.key_for("cosignature")
        if key is not None and "full" in admission.key_document.roles:
            witnesses[VerifierKey(admission.key_document.name, COSIGNATURE, key.public)] = admission
    stamps: list[tuple[dt.datetime, str]] = []
    for signed in verify_cosignatures(verified.note, witnesses):
        moment = dt.datetime.fromtimestamp(min(signed.time or 0, _LAST_SECOND), dt.UTC)
        admission = witnesses[signed.key]
        if admission.refusal(moment, moment) is None:
            stamps.append((moment, admission.key_document.digest))
    stamps.sort()
    spoken: set[str] = set()
    quorum_at = None
    for moment, node in stamps:
        spoken.add(node)
        epoch = trust.epoch_at(verified.origin, moment)
        if quorum_at is None and epoch is not None and epoch.is_quorum(spoken):
            quorum_at = moment
    return CheckedCheckpoint(verified.checkpoint, sha256_hex(verified.raw), tuple(sorted(spoken)), quorum_at)
