"""A case as one document that can be judged without the panel (``spec/case.md`` §11).

:func:`export_case` puts together what the journal says of one case: its events as they lie there, and every policy and
lane vector that they name. :func:`audit_export` reads such a document as a stranger would: that each event is whole,
of this case and in its place, that neighbours in the journal follow on each other, that the events can follow one
another, that what they name is there under its digest, and that every word of the gate that let the case through
follows from the lanes, the policy and the decisions before it.

Not covered: events that were left out together with what they changed. The numbers of the missing ones show as gaps,
which other cases' events explain; only the whole journal (``review.audit``) can tell the two apart. Ages of evidence
are taken to have been right: a lane vector does not say since when its lanes are dated.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.errors import HoldfastError, MalformedError
from holdfast.ports.case_store import CaseReader, Head
from holdfast.review.audit import Fault
from holdfast.review.cases import Case, apply_event
from holdfast.review.events import Event, is_case_id, parse_event
from holdfast.review.gate_audit import refuse_word
from holdfast.review.queues import policy_by_digest

EXPORT_TYPE = "urn:holdfast:case-export:v1"
"""``type`` of an exported case (``case.md`` §11)."""
MAX_EXPORT_BYTES = 256 << 20
"""Largest document that is read."""
_MEMBERS = ("type", "case", "exported_at", "head", "events", "policies", "lanes", "bundle")


def export_case(reader: CaseReader, case: str, at: dt.datetime) -> dict[str, Any]:
    """The document of a case, without evidence: ``bundle`` is null."""
    events = [parse_event(stored.raw) for stored in reader.events_of(case)]
    queue = str(events[0].body["queue"])
    policies = {event.policy for event in events if event.policy is not None}
    lanes = {event.lanes: reader.blob(case, event.lanes) for event in events if event.lanes is not None}
    head = reader.head()
    return {
        "type": EXPORT_TYPE,
        "case": case,
        "exported_at": time_encode(at),
        "head": {"seq": head.seq, "digest": head.digest},
        "events": [event.raw.decode() for event in events],
        "policies": {digest: policy_by_digest(reader, queue, digest).document.decode() for digest in sorted(policies)},
        "lanes": {digest: raw.decode() for digest, raw in sorted(lanes.items()) if raw is not None},
        "bundle": None,
    }


@dataclass(frozen=True, slots=True)
class Export:
    """An exported case, parsed. Nothing in it is checked yet."""

    case: str
    exported_at: str
    head: Head
    events: tuple[bytes, ...]
    policies: Mapping[str, bytes]
    lanes: Mapping[str, bytes]
    bundle: bytes | None


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was read, and everything that does not hold. ``gaps`` counts places where the journal goes on in other
    cases."""

    events: int
    first: int
    last: int
    gaps: int
    head: Head
    state: str | None
    faults: tuple[Fault, ...]


def parse_export(raw: bytes) -> Export:
    """Bytes to an :class:`Export`; raises ``case_export.fields`` or ``json.*``."""
    if len(raw) > MAX_EXPORT_BYTES:
        raise MalformedError("case_export.fields", f"an exported case has at most {MAX_EXPORT_BYTES} bytes")
    value = canonical.decode_object(raw)
    if value.keys() != set(_MEMBERS) or value["type"] != EXPORT_TYPE or not is_case_id(value["case"]):
        raise MalformedError("case_export.fields", f"not a {EXPORT_TYPE}")
    head, events, bundle = value["head"], value["events"], value["bundle"]
    if not isinstance(head, dict) or head.keys() != {"seq", "digest"} or type(head["seq"]) is not int:
        raise MalformedError("case_export.fields", "head has a seq and a digest", param="head")
    if not isinstance(events, list) or not events or not all(isinstance(item, str) for item in events):
        raise MalformedError("case_export.fields", "events is a list of texts", param="events")
    if bundle is not None and not isinstance(bundle, str):
        raise MalformedError("case_export.fields", "bundle is a text or null", param="bundle")
    return Export(
        value["case"],
        str(value["exported_at"]),
        Head(head["seq"], str(head["digest"]), ""),
        tuple(text.encode() for text in events),
        _documents(value, "policies"),
        _documents(value, "lanes"),
        None if bundle is None else bundle.encode(),
    )


def _documents(value: Mapping[str, Any], name: str) -> dict[str, bytes]:
    found = value[name]
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise MalformedError("case_export.fields", f"{name} are texts by digest", param=name)
    return {digest: text.encode() for digest, text in found.items()}


@dataclass(slots=True)
class _Reading:
    """How far an audit has come."""

    faults: list[Fault] = field(default_factory=list)
    case: Case | None = None
    broken: bool = False

    def fault(self, code: str, says: str, seq: int | None, case: str | None) -> None:
        self.faults.append(Fault(code, seq, case, says))


def audit_export(export: Export) -> ExportReport:
    """Judge an exported case; see the module."""
    reading, last, gaps, first = _Reading(), None, 0, 0
    for raw in export.events:
        try:
            event = parse_event(raw)
        except HoldfastError as error:
            reading.fault("audit.event", f"an event cannot be read: {error.message}", None, export.case)
            reading.broken, last = True, None
            continue
        first = first or event.seq
        gaps += _check_place(reading, export, event, last)
        _check_meaning(reading, export, event)
        last = event
    if last is not None and last.seq > export.head.seq:
        says = f"event {last.seq} lies beyond the journal's head, which is {export.head.seq}"
        reading.fault("audit.head", says, last.seq, export.case)
    if last is not None and last.seq == export.head.seq and last.digest != export.head.digest:
        reading.fault("audit.head", f"the head names another event {last.seq}", last.seq, export.case)
    _check_bundle(reading, export)
    stands = reading.case.state if reading.case is not None and not reading.broken else None
    ends = last.seq if last is not None else 0
    return ExportReport(len(export.events), first, ends, gaps, export.head, stands, tuple(reading.faults))


def _check_place(reading: _Reading, export: Export, event: Event, last: Event | None) -> int:
    """One event after the one before it in this case; 1 where other events of the journal lie between."""
    if event.case != export.case:
        reading.fault("audit.place", f"event {event.seq} is of another case", event.seq, export.case)
    if last is None:
        return 0
    if event.seq <= last.seq:
        says = f"event {event.seq} stands after event {last.seq}"
        reading.fault("audit.place", says, event.seq, export.case)
    elif event.seq == last.seq + 1 and event.previous != last.digest:
        says = f"event {event.seq} does not follow on the event before it"
        reading.fault("audit.chain", says, event.seq, export.case)
    if event.at < last.at:
        reading.fault("audit.time", f"event {event.seq} is earlier than the event before it", event.seq, export.case)
    return int(event.seq > last.seq + 1)


def _check_meaning(reading: _Reading, export: Export, event: Event) -> None:
    """What the event does to the case, and what it names."""
    for digest, documents, what in (
        (event.policy, export.policies, "policy"),
        (event.lanes, export.lanes, "lane vector"),
    ):
        if digest is not None and sha256_hex(documents.get(digest, b"")) != digest:
            says = f"the {what} {digest[:12]} that event {event.seq} names is not there as it was"
            reading.fault("audit.evidence", says, event.seq, export.case)
    if reading.broken:
        return
    try:
        case = apply_event(reading.case, event)
    except HoldfastError as error:
        reading.fault("audit.history", error.message, event.seq, export.case)
        reading.broken = True
        return
    says_why = refuse_word(reading.case, event, export.policies.get, export.lanes.get)
    if says_why is not None:
        reading.fault("audit.gate", says_why, event.seq, export.case)
    reading.case = case


def _check_bundle(reading: _Reading, export: Export) -> None:
    if export.bundle is None:
        return
    try:
        bundle = parse_bundle(export.bundle)
    except HoldfastError as error:
        reading.fault("audit.bundle", f"the evidence cannot be read: {error.message}", None, export.case)
        return
    if reading.case is not None and bundle.run != reading.case.run:
        says = f"the evidence is of run {bundle.run}, and the case of {reading.case.run}"
        reading.fault("audit.bundle", says, None, export.case)
