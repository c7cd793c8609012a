"""Heads of a panel's journals in the log, and what they show about the journals (``spec/statement.md`` §4.4).

:class:`HeadSigner` makes the statement that stands for a head. :func:`compare_heads` goes through every head that a log
holds of a panel, in order, and says whether each is an event of the journal. As every event names the digest of the one
before it, a head stands for all that went before: whoever changes, removes, puts in or moves an event has to make every
later digest anew, and cannot make those that the log holds.

Pure: fetching the log, and judging who signed, is the caller's. Not covered: what a journal says after its newest head;
how much that is, is said.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.core.encoding import sha256_hex
from holdfast.core.statements import (
    JournalHead,
    Statement,
    build_envelope,
    build_payload,
    journal_body,
    journal_run,
    pre_authentication_encoding,
)
from holdfast.ports.signer import Signer
from holdfast.review.audit import Fault

ANCHORED = {"cases": "anchored", "people": "chain.anchored"}
"""The kind of the events that heads are made of, by journal: they hold a nonce, so their digests tell nothing."""
NONCE_BYTES = 32
"""Random bytes in such an event."""


@dataclass(frozen=True, slots=True)
class Link:
    """One event of a journal, as far as a head of it goes."""

    seq: int
    digest: str
    kind: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head's statement: its digest (hex) and the envelope that the log gets."""

    digest: str
    envelope: bytes


class HeadSigner:
    """Signs heads as one panel. The statement follows from the event alone, so signing it again makes no second one."""

    def __init__(self, signer: Signer, attester: str) -> None:
        self._signer = signer
        self._attester = attester

    def sign(self, journal: str, link: Link) -> SignedHead:
        """The statement that this event was written by the time it names."""
        payload = build_payload(
            "journal",
            run=journal_run(self._attester),
            attester=self._attester,
            claimed_at=link.at,
            parents=(),
            subject=("head", bytes.fromhex(link.digest)),
            body=journal_body(JournalHead(journal, link.seq)),
        )
        signature = self._signer.sign(pre_authentication_encoding(payload))
        return SignedHead(sha256_hex(payload), build_envelope(payload, self._signer.key.key_id, signature))


@dataclass(frozen=True, slots=True)
class HeadComparison:
    """What the log's heads of one journal show."""

    journal: str
    heads: int
    """Heads in the log, all that this panel signed."""
    standing: int
    """Those that are events of the journal with that number and digest."""
    newest: int
    """The number in the newest of these; 0 when there is none."""
    after: int
    """Events after it: what they say, the log does not show yet."""
    faults: tuple[Fault, ...]


def heads_of(statements: Iterable[Statement], journal: str, panels: Iterable[str]) -> list[Statement]:
    """The statements about one journal by one of these attesters, in the order in which they come."""
    mine = set(panels)
    return [
        item
        for item in statements
        if isinstance(item.body, JournalHead) and item.body.journal == journal and item.attester in mine
    ]


def compare_heads(journal: str, events: Iterable[tuple[int, str]], heads: Sequence[Statement]) -> HeadComparison:
    """Compare a journal with the heads that a log holds of it.

    ``events`` are number and digest (hex, computed from the bytes) of each event in turn; ``heads`` are statements that
    were checked to be this panel's, in log order. The first head that does not hold is named with the last one before
    it that does: what was done to the journal, was done between the two. Later ones that do not hold are counted.
    """
    wanted = {item.body.seq for item in heads if isinstance(item.body, JournalHead)}
    found: dict[int, set[str]] = {}
    last = 0
    for seq, digest in events:
        last = max(last, seq)
        if seq in wanted:
            found.setdefault(seq, set()).add(digest)
    told = sorted(_told(item) for item in heads)
    good = [seq for seq, digest in told if digest in found.get(seq, ())]
    bad = [seq for seq, digest in told if digest not in found.get(seq, ())]
    newest = max(good, default=0)
    faults = []
    if bad:
        first = bad[0]
        before = max((seq for seq in good if seq < first), default=0)
        since = f"after event {before}, which the log confirms," if before else "from its first event on"
        if first not in found:
            shows = f"the journal of {journal} ends at event {last}: events {since} are gone"
        elif len({digest for seq, digest in told if seq == first}) > 1:
            shows = f"the panel told the log of two different events {first} of the journal of {journal}"
        else:
            shows = (
                f"event {first} of the journal of {journal} is not the one that the log holds: {since} up to there,"
                " something was changed, removed, put in or moved"
            )
        more = f"; later heads that do not hold either: {len(bad) - 1}" if len(bad) > 1 else ""
        faults.append(Fault("audit.anchor", first, None, shows + more))
    return HeadComparison(journal, len(heads), len(good), newest, max(0, last - newest), tuple(faults))


def _told(statement: Statement) -> tuple[int, str]:
    body = statement.body
    return (body.seq if isinstance(body, JournalHead) else 0), statement.subject_root.hex()
