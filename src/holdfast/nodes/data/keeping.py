"""What the node keeps of what it said: admissions in its write-ahead log, bodies beside it (``bodies``).

Rules: an admission is durable before it is answered. It goes after the time that the settings give it, no earlier than
the log has it.

Not covered: handing statements to the log (``delivery``).
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections import OrderedDict, deque
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.admissions import Admission, Presented, parse_admission, parse_presented
from holdfast.core.statements import parse_envelope
from holdfast.errors import HoldfastError, RefusedError
from holdfast.nodes.data.bodies import Bodies
from holdfast.ports.clock import Clock
from holdfast.ports.storage import RECORD_OVERHEAD_BYTES, Committer, RecordLog

ADMISSION = 1
"""Kind of a record: the workspace that asked, and the presented admission, as JSON."""
RECENT = 500
"""Admissions of one source that are remembered for showing how it does."""


@dataclass(frozen=True, slots=True)
class Glance:
    """One admission as a source's page shows it: no parameters, no salt."""

    digest: str
    at: dt.datetime
    outcome: str
    """``admitted`` or the code of the refusal."""
    value: str | None
    age_s: float | None
    """How old the value was when it was admitted."""


class Kept:
    """Everything by digest. One event loop owns it."""

    def __init__(self, records: RecordLog, committer: Committer, bodies: Bodies, clock: Clock, *, days: int) -> None:
        self._records = records
        self._committer = committer
        self._clock = clock
        self._time = dt.timedelta(days=days)
        self.bodies = bodies
        self._starts: OrderedDict[str, tuple[int, int, dt.datetime]] = OrderedDict()
        """Statement digest to where its record begins and ends, and when it was made; oldest first."""
        self._askers: dict[str, str] = {}
        """Statement digest to the workspace that had it admitted."""
        self.recent: dict[str, deque[Glance]] = {}
        start = records.begin
        for record in records.records(start):
            asker, shown = parse_record(record.payload)
            digest = parse_envelope(shown.envelope).digest
            self._note(parse_admission(shown.document), digest, asker, start, record.position)
            start = record.position

    def __len__(self) -> int:
        return len(self._starts)

    async def keep(self, shown: Presented, document: Admission, digest: str, asker: str, body: bytes) -> None:
        """Make an admission durable that a workspace asked for. ``document`` and ``digest`` are what ``shown`` holds:
        whoever made it has both."""
        if body:
            self.bodies.put(body)
        payload = canonical.encode_known({"asker": asker, "presented": shown.to_json()})
        end = await self._committer.commit(ADMISSION, payload)
        self._note(document, digest, asker, end - len(payload) - _OVERHEAD, end)

    def _note(self, document: Admission, digest: str, asker: str, start: int, end: int) -> None:
        self._starts[digest] = (start, end, document.at)
        self._askers[digest] = asker
        seen = document.observation
        if seen is not None:
            outcome = "admitted" if document.refusal is None else document.refusal.code
            value = None if document.value is None else document.value.text
            age = document.age(document.at)
            glance = Glance(digest, document.at, outcome, value, None if age is None else age.total_seconds())
            self.recent.setdefault(seen.source.id, deque(maxlen=RECENT)).append(glance)

    def find(self, digest: str, salt: bytes) -> Presented:
        """An admission for whoever shows its salt; raises ``admission.unknown``, and the same for a wrong salt."""
        shown = self._read(digest)
        if shown is None or not hmac.compare_digest(shown.salt, salt):
            raise RefusedError("admission.unknown", "there is no such admission for this capability", status=404)
        return shown

    def find_of(self, asker: str, digest: str) -> Presented:
        """An admission for the workspace that asked for it, which was told the salt when it did; raises
        ``admission.unknown``, and the same for what others asked for."""
        shown = self._read(digest) if self._askers.get(digest) == asker else None
        if shown is None:
            raise RefusedError("admission.unknown", "this workspace had no such admission", status=404)
        return shown

    def _read(self, digest: str) -> Presented | None:
        place = self._starts.get(digest)
        return None if place is None else parse_record(self._records.record_at(place[0]).payload)[1]

    def tidy(self, delivered: int) -> None:
        """Let go of what is older than the settings say; ``delivered`` is how far the log has the records."""
        now = self._clock.now()
        self.bodies.tidy()
        while self._starts:
            digest, (_, end, at) = next(iter(self._starts.items()))
            if now - at <= self._time or end > delivered:
                break
            del self._starts[digest], self._askers[digest]
            self._committer.drop_before(end)


def parse_record(payload: bytes) -> tuple[str, Presented]:
    """A record to the workspace that asked and what was presented to it."""
    value = canonical.decode(payload)
    return value["asker"], parse_presented(value["presented"])


_OVERHEAD = RECORD_OVERHEAD_BYTES
"""Beside a payload."""


def document_of(shown: Presented) -> Admission:
    """The document of what this node itself made and kept."""
    try:
        return parse_admission(shown.document)
    except HoldfastError as error:
        raise RefusedError("admission.unknown", "what is kept of this admission does not parse", status=500) from error
