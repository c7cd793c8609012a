"""Which keys is each node reached under, by its own word in the log, and does any show two? (``statement.md`` §4.5)

A gateway that gave each caller a key of its own could tell callers apart by it, however well they seal (RFC 9458 §6.3).
It has to tell the log the keys that it shows, since callers ask for proof; so two that are in force at once show.

Pure: statements, trust and a time in; what is in force, and what is wrong, out. Not covered: whether the statements are
all that the log holds (``client.log`` verifies that they are in it).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from holdfast.core.statements import IdentityBody, Statement
from holdfast.core.trust import Trust
from holdfast.verifier.checks import refuse_attester, refuse_identity


@dataclass(frozen=True, slots=True)
class ToldIdentity:
    """One node's keys as it told them."""

    index: int
    digest: str
    """Of the statement, hex."""
    attester: str
    name: str | None
    """Of the node, where trust knows its key document."""
    body: IdentityBody
    since: dt.datetime
    until: dt.datetime | None
    """When it stopped to be in force; None while it is."""
    refusal: str | None
    """Why it counts for nothing (``statement.md`` §7), or None."""

    def overlaps(self, other: ToldIdentity) -> bool:
        """Whether both were in force at one time."""
        return (other.until is None or self.since < other.until) and (self.until is None or other.since < self.until)


@dataclass(frozen=True, slots=True)
class SplitKeys:
    """Two identities of one name that were in force at once under different keys."""

    name: str
    first: ToldIdentity
    second: ToldIdentity


def read_identities(found: Iterable[tuple[int, Statement]], trust: Trust) -> tuple[ToldIdentity, ...]:
    """What the ``identity`` statements of a log say, each with its span; in log order. A node that tells the same again
    is told once, from its first time on."""
    told: dict[str, ToldIdentity] = {}
    for index, statement in found:
        body = statement.body
        known = told.get(statement.attester)
        if not isinstance(body, IdentityBody) or (known is not None and known.refusal is None):
            continue
        admission = trust.admission(statement.attester)
        refusal = refuse_attester(statement, trust, until=statement.claimed_at) or refuse_identity(statement, trust)
        one = ToldIdentity(
            index=index,
            digest=statement.digest,
            attester=statement.attester,
            name=admission.key_document.name if admission else None,
            body=body,
            since=statement.claimed_at,
            until=None,
            refusal=refusal,
        )
        told[statement.attester] = one
    return tuple(_with_ends(told, trust))


def _with_ends(told: Mapping[str, ToldIdentity], trust: Trust) -> Iterable[ToldIdentity]:
    for one in told.values():
        if one.refusal is not None:
            yield one
            continue
        ends = [
            other.since
            for other in told.values()
            if other.refusal is None and other.name == one.name and other.body.predecessor == one.attester
        ]
        admission = trust.admission(one.attester)
        if admission is not None and admission.revoked is not None:
            ends.append(admission.revoked.suspect_since)
        yield replace(one, until=min(ends, default=None))


def find_split_keys(identities: Sequence[ToldIdentity]) -> tuple[SplitKeys, ...]:
    """Pairs of one name, in force at once, with different OHTTP keys (``statement.md`` §4.5(2))."""
    counted = [one for one in identities if one.refusal is None and one.body.ohttp is not None]
    return tuple(
        SplitKeys(first.name or first.attester, first, second)
        for place, first in enumerate(counted)
        for second in counted[place + 1 :]
        if first.name == second.name and first.body.ohttp != second.body.ohttp and first.overlaps(second)
    )
