"""What the log is told of an admission: the predicate of an ``admission`` statement (``spec/admission.md`` §1).

``parse_admission_body`` and :meth:`AdmissionBody.to_json` are inverses. ``check_unlinked`` refuses what would tell the
log more: which run used it, or the second.

Not covered: the document that the predicate commits to (``core.admissions``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.canonical import JSON
from holdfast.core.encoding import hex_decode, time_decode, time_encode
from holdfast.errors import MalformedError

ADMISSION_EVENTS = ("admitted", "refused", "combined")
"""What a data node says of a fact from outside (``admission.md`` §1)."""
_MEMBERS = frozenset({"event", "record", "until", "attestation"})


@dataclass(frozen=True, slots=True)
class AdmissionBody:
    """Predicate of an ``admission`` statement: whether something was taken in, and the commitment (32 bytes) to the
    document that says what, from where and how."""

    event: str
    record: bytes
    until: dt.datetime | None
    """When it is fresh no longer, rounded up to the minute; None of a refusal."""
    attestation: str | None
    """SHA-256 (hex) of the attestation evidence that the node presents for its key."""

    def to_json(self) -> dict[str, JSON]:
        return {
            "event": self.event,
            "record": self.record.hex(),
            "until": None if self.until is None else time_encode(self.until),
            "attestation": self.attestation,
        }


def parse_admission_body(predicate: Mapping[str, Any], members: frozenset[str] | set[str]) -> AdmissionBody:
    """The predicate's own ``members`` to an :class:`AdmissionBody`; raises ``statement.predicate``,
    ``statement.admission`` or ``encoding.*``."""
    if members != _MEMBERS:
        raise MalformedError("statement.predicate", "not the members of an admission predicate")
    event, until = predicate["event"], predicate["until"]
    if event not in ADMISSION_EVENTS:
        raise MalformedError("statement.admission", f"an admission's event is one of {', '.join(ADMISSION_EVENTS)}")
    if (event == "refused" and until is not None) or (event == "admitted" and until is None):
        raise MalformedError("statement.admission", "what is admitted is fresh until some time, and a refusal is not")
    attestation = predicate["attestation"]
    return AdmissionBody(
        event=event,
        record=hex_decode(predicate["record"], 32),
        until=None if until is None else _minute(until),
        attestation=None if attestation is None else hex_decode(attestation, 32).hex(),
    )


def check_unlinked(predicate: Mapping[str, Any]) -> None:
    """§1(3), §1(4): an admission tells of no run that uses it, and follows only what it combines. Raises
    ``statement.admission``."""
    if predicate["run"][14] != "4" or not {"nonce", "parent_run"}.isdisjoint(predicate):
        raise MalformedError(
            "statement.admission", "an admission has a random run id of its own, and answers no client"
        )
    _minute(predicate["claimed_at"])
    parents = predicate["parents"]
    if not isinstance(parents, list) or len(parents) > 64 or (predicate["event"] == "combined") != bool(parents):
        raise MalformedError("statement.admission", "exactly what combines admissions follows them, at most 64")


def _minute(value: object) -> dt.datetime:
    moment = time_decode(value)
    if moment.second or moment.microsecond:
        raise MalformedError("statement.admission", "the log is told the minute, and no more")
    return moment
