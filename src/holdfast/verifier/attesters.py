"""Whether trust admits who made each statement, and when it was made (``spec/statement.md`` §7, §8); what attests the
key (``spec/attestation.md`` §3)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from holdfast.core.bundles import AttestationItem
from holdfast.core.statements import Statement
from holdfast.core.trust import Admission, Trust
from holdfast.verifier.checks import CheckPolicy, refuse_attester, refuse_time
from holdfast.verifier.enclaves import Moment, check_attestation
from holdfast.verifier.evidence import CheckedStatement, Evidence, refuse_settlement
from holdfast.verifier.transcript import Transcript


def check_attesters(evidence: Evidence, trust: Trust, bounds: CheckPolicy, at: dt.datetime, record: Transcript) -> None:
    for checked in evidence.checked().values():
        until = checked.trusted_time or open_end(trust.admission(checked.statement.attester), at)
        refusals = [refuse_attester(copy, trust, until=until) for copy in checked.copies]
        best = refusals.index(None) if None in refusals else 0
        checked.statement, checked.refusal = checked.copies[best], refusals[best]
        statement = checked.statement
        if checked.refusal == "key-expired" and checked.trusted_time is None:
            checked.ran_out = _only_ran_out(statement, trust)
        checked.judged = True
        name = f"{statement.kind} statement {statement.digest[:12]}"
        if checked.refusal is None:
            says = f"The {name} is signed by an admitted node that may make it."
            record.note(checked.lanes, "statement.md §7", "yes", says)
        else:
            says = f"The {name} is refused: {checked.refusal}."
            record.note(checked.lanes, "statement.md §7", "no", says, f"statement.{checked.refusal}")
        if checked.trusted_time is None:
            says = f"No quorum has dated the {name} yet."
            record.note((checked.settles,), "statement.md §8", "cannot_tell", says, "statement.undated")
            continue
        checked.late = refuse_time(statement, checked.trusted_time, bounds)
        aside = statement.digest in evidence.changes
        if aside and checked.late == "backdated":
            checked.late = None  # its first checkpoint may be long before the one that is shown (lanes.md §3.1(1))
        if checked.late is None:
            says = f"The {name} was seen by a quorum{'' if aside else ' within the bound after its claimed time'}."
            record.note((checked.settles,), "statement.md §8", "yes", says)
        else:
            refuse_settlement(
                evidence,
                record,
                f"statement.{checked.late}",
                f"The {name} claims a time that its log entry contradicts.",
                checked,
            )


def open_end(admission: Admission | None, at: dt.datetime) -> dt.datetime:
    """Where the span of what no quorum dated ends: nobody has seen that it was made before the key became suspect, and
    ``at`` is often the word of whoever made the bundle (``lanes.md`` §3)."""
    revoked = admission.revoked if admission else None
    return at if revoked is None else max(at, revoked.suspect_since)


def _only_ran_out(statement: Statement, trust: Trust) -> bool:
    """Whether the key was good at the claimed time and nothing but the calendar speaks against it now."""
    admission = trust.admission(statement.attester)
    if admission is not None and admission.revoked is not None:
        return False
    return refuse_attester(statement, trust, until=statement.claimed_at) is None


def check_attestations(
    items: Iterable[AttestationItem],
    evidence: Evidence,
    trust: Trust,
    bounds: CheckPolicy,
    at: dt.datetime,
    record: Transcript,
) -> None:
    closure = evidence.closure()
    seen: set[AttestationItem] = set()
    for item in items:
        if item in seen:
            continue
        seen.add(item)
        own = [checked for checked in closure if checked.statement.attester == item.node]
        found = check_attestation(item, _moment(own, trust, bounds, at) if own else None, trust, record)
        evidence.attestations.setdefault(item.node, []).append(found)


def _moment(own: list[CheckedStatement], trust: Trust, bounds: CheckPolicy, at: dt.datetime) -> Moment:
    """When a node's statements were made (``attestation.md`` §3, ``lanes.md`` §3(4)): from the first claim to the last
    trusted time, or to the end that is open."""
    start = min(checked.statement.claimed_at for checked in own)
    undated_end = open_end(trust.admission(own[0].statement.attester), at)
    end = max([start, *(checked.trusted_time or undated_end for checked in own)])
    doubt = next(
        (f"{one.statement.kind} is refused ({one.refusal or one.late})." for one in own if one.refusal or one.late),
        None,
    )
    undated = any(checked.trusted_time is None for checked in own)
    span_us = (end - start) // dt.timedelta(microseconds=1)
    return Moment(start, end, doubt, late=undated and span_us > bounds.max_span_s * 1_000_000)
