"""A data node's work: take a question, ask the source, judge the answer, sign what was seen.

Order of things (``spec/admission.md`` §7): the definition is found and the workspace let in; the windows count; the
parameters are put in their places; the source is asked, with everything observed written down as it happens; the body
is read under the definition; times are compared; the document and its statement are made, made durable, and answered;
the log hears of it afterwards. A refusal by what the source did is signed like an admission.

Not covered: HTTP (``app``), connections (``ports.fetch``), and what a gateway makes of an admission.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.admission_body import AdmissionBody
from holdfast.core.admissions import (
    Admission,
    Observation,
    Presented,
    Refusal,
    Source,
    Times,
    admission_record,
    claimed_time,
    coarse_until,
    combine,
    parents_of,
    parse_admission,
    verify_observation,
)
from holdfast.core.encoding import sha256_hex
from holdfast.core.expectations import check_times
from holdfast.core.quantities import Rule
from holdfast.core.readings import Reading, date_of, limits_of, read_body, refusal_code
from holdfast.core.sources import Definition, Registry, parse_source, resolve
from holdfast.core.statements import (
    build_envelope,
    build_payload,
    is_code,
    parse_envelope,
    parse_statement,
    pre_authentication_encoding,
)
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from holdfast.nodes.data.keeping import Kept, document_of
from holdfast.nodes.data.limits import Windows
from holdfast.nodes.data.peers import Peers
from holdfast.nodes.witness import EnclaveWitness
from holdfast.ports.clock import Clock
from holdfast.ports.fetch import Fetcher, Observed
from holdfast.ports.metrics import Metrics
from holdfast.ports.settings import Secret
from holdfast.ports.signer import Signer

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
_THREAD_BYTES = 256 << 10
"""Bodies from here on are read off the event loop."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question of a quorum; ``node`` None is this one."""

    source: str
    parameters: Mapping[str, Any]
    node: str | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A document that nobody has signed yet, with what belongs beside it."""

    document: Admission
    definition: bytes | None
    body: bytes = b""
    members: tuple[Presented, ...] = ()


class DataService:
    """See the module."""

    def __init__(
        self,
        attester: str,
        signer: Signer,
        registry: Registry,
        fetcher: Fetcher,
        kept: Kept,
        peers: Peers,
        windows: Windows,
        witness: EnclaveWitness,
        clock: Clock,
        metrics: Metrics,
        *,
        credentials: Mapping[str, Secret],
        random: Callable[[int], bytes],
        at_once: int,
        on_kept: Callable[[], None],
    ) -> None:
        self.attester = attester
        self.registry = registry
        self.kept = kept
        self._signer = signer
        self._fetcher = fetcher
        self._peers = peers
        self._windows = windows
        self._witness = witness
        self._clock = clock
        self._metrics = metrics
        self._credentials = credentials
        self._random = random
        self._at_once = at_once
        self._under_way = 0
        self._on_kept = on_kept

    def definition(self, workspace: str, name: str) -> Definition:
        """The definition that a workspace may use; raises ``sources.unknown``, also for one that it may not."""
        found = self.registry.find(name)
        if not found.may(workspace):
            raise UsageError("sources.unknown", f"there is no source {name[:64]!r}", hint="GET /v1/sources", status=404)
        return found

    async def admit(self, workspace: str, name: str, parameters: Mapping[str, Any]) -> Presented:
        """Ask a source and sign what came of it. Raises ``sources.*``, ``source.rate``, ``source.busy``."""
        return await self._sign(await self.judge(workspace, name, parameters), workspace)

    async def judge(self, workspace: str, name: str, parameters: Mapping[str, Any]) -> Judged:
        """Ask a source; what came of it, unsigned. Raises as :meth:`admit`."""
        definition = self.definition(workspace, name)
        texts = _texts(parameters)
        self._windows.take(definition, workspace)
        if self._under_way >= self._at_once:
            raise UnavailableError("source.busy", "too many questions are under way", hint="try again in a moment")
        self._under_way += 1
        try:
            return await self._ask(definition, texts)
        finally:
            self._under_way -= 1

    async def _ask(self, definition: Definition, texts: Mapping[str, str]) -> Judged:
        seen, reading = Observed(), None
        began = self._clock.monotonic()
        refusal: Refusal | None = None
        try:
            try:
                asked = resolve(definition, texts)
            except UsageError as error:
                raise RefusedError("source.parameters", error.message) from error
            credential = self._credentials.get(definition.secret_name or "")
            await self._fetcher.fetch(asked, credential, seen)
            texts = asked.places
            self._metrics.observe("holdfast_data_fetch_seconds", self._clock.monotonic() - began)
            reading = await self._read(definition, seen)
            check_times(definition.expect, reading.observed_at, _date(seen), seen.first_byte or self._clock.now())
        except HoldfastError as error:
            if not error.code.startswith("source."):
                raise
            refusal = Refusal(refusal_code(error), error.message[:1024])
        document = self._document(definition, texts, seen, reading if refusal is None else None, refusal)
        try:
            verify_observation(document, definition.raw)
            parse_admission(document.raw)
        except HoldfastError as error:  # what would not hold for a reader, or could not be read, is not admitted
            refusal = Refusal(error.code.removeprefix("admission."), error.message)
            document = self._document(definition, texts, seen, None, refusal)
            parse_admission(document.raw)
        self._metrics.count("holdfast_data_admissions_total", definition.id, refusal.code if refusal else "admitted")
        return Judged(document, definition.raw, b"" if refusal else seen.body)

    async def _read(self, definition: Definition, seen: Observed) -> Reading:
        if len(seen.body) > _THREAD_BYTES:
            return await asyncio.to_thread(read_body, definition, seen.body, _date(seen))
        return read_body(definition, seen.body, _date(seen))

    def _document(
        self,
        definition: Definition,
        texts: Mapping[str, str],
        seen: Observed,
        reading: Reading | None,
        refusal: Refusal | None,
    ) -> Admission:
        now = self._now()
        requested = _whole(seen.requested) or now
        observation = Observation(
            source=Source(definition.id, definition.version, definition.digest),
            parameters=texts,
            request=seen.request,
            credential=definition.secret_name,
            tls=seen.tls,
            http=seen.http,
            extraction=reading.extraction if reading else None,
            times=Times(requested, _whole(seen.first_byte), reading.observed_at if reading else None),
            limits=limits_of(definition),
            exchange=seen.exchange,
        )
        event = "refused" if refusal else "admitted"
        return Admission(self._run(), event, now, self._evidence(), observation=observation, refusal=refusal)

    def _now(self) -> dt.datetime:
        """The moment, to the millisecond, as documents write it."""
        now = self._clock.now()
        return _whole(now) or now

    def _run(self) -> str:
        return str(uuid.UUID(bytes=self._random(16), version=4))

    def _evidence(self) -> str | None:
        evidence = self._witness.current
        return None if evidence is None else sha256_hex(evidence.evidence)

    # signing

    async def _sign(self, judged: Judged, workspace: str) -> Presented:
        """The statement on a document, durable."""
        document, salt = judged.document, self._random(32)
        raw = document.raw
        body = AdmissionBody(document.event, admission_record(raw, salt), coarse_until(document), document.attestation)
        payload = build_payload(
            "admission",
            run=document.run,
            attester=self.attester,
            claimed_at=claimed_time(document.at),
            parents=parents_of(document),
            subject=("admission", body.record),
            body=body.to_json(),
        )
        signature = self._signer.sign(pre_authentication_encoding(payload))
        envelope = build_envelope(payload, self._signer.key.key_id, signature)
        shown = Presented(envelope, raw, salt, judged.definition, judged.members)
        await self.kept.keep(shown, document, sha256_hex(payload), workspace, judged.body)
        self._metrics.level("holdfast_data_bodies", len(self.kept.bodies))
        self._on_kept()
        return shown

    # quorums

    async def admit_quorum(self, workspace: str, queries: Sequence[Query], rule: Rule) -> Presented:
        """Ask several sources, through this node and others, and sign what a rule makes of it. Raises ``sources.*``,
        ``admission.*``, also where the answers are more than a document holds, and ``source.peer`` where nobody
        answers."""
        for query in queries:
            if query.node is None:
                self.definition(workspace, query.source)
            elif query.node not in self._peers:
                raise UsageError("source.peer", f"no data node {query.node[:64]!r} is configured here")
        found = await asyncio.gather(*(self._one(workspace, query) for query in queries), return_exceptions=True)
        members = [item for item in found if isinstance(item, Presented)]
        failures = [item for item in found if isinstance(item, BaseException)]
        odd = next((item for item in failures if not isinstance(item, HoldfastError)), None)
        if odd is not None:
            raise odd
        if not members:
            raise UnavailableError("source.peer", f"nobody answers: {failures[0] if failures else 'nobody was asked'}")
        quorum = combine(
            [(parse_statement(parse_envelope(item.envelope)), document_of(item)) for item in members], rule
        )
        document = Admission(self._run(), "combined", self._now(), self._evidence(), quorum=quorum)
        parse_admission(document.raw)
        return await self._sign(Judged(document, None, members=tuple(members)), workspace)

    async def _one(self, workspace: str, query: Query) -> Presented:
        if query.node is None:
            return await self.admit(workspace, query.source, query.parameters)
        return await self._peers.admit(query.node, query.source, query.parameters)

    # replaying

    def replay(self, digest: str, salt: bytes) -> dict[str, Any]:
        """Read a kept body again under the kept definition (``sources.md`` §8). Raises ``admission.unknown``,
        ``source.body_gone``, ``source.replay``."""
        shown = self.kept.find(digest, salt)
        try:
            value = replay(shown, self.kept.bodies.get)
        except HoldfastError as error:
            self._metrics.count("holdfast_data_replays_total", error.code)
            raise
        self._metrics.count("holdfast_data_replays_total", "equal")
        return {"equal": True, "value": value}


def replay(shown: Presented, body_of: Callable[[str], bytes]) -> dict[str, Any]:
    """The value of an admission, read again out of the body that it names. Raises as :meth:`DataService.replay`."""
    document = document_of(shown)
    seen = document.observation
    if seen is None or seen.extraction is None or seen.body_digest is None or shown.definition is None:
        raise UsageError("source.replay", "only what was admitted from one source is replayed", status=409)
    body = body_of(seen.body_digest)
    reading = read_body(parse_source(shown.definition), body, date_of(seen.http.headers) if seen.http else None)
    if reading.extraction != seen.extraction or reading.observed_at != seen.times.source:
        raise RefusedError("source.replay", "the kept body gives another value than was signed", status=409)
    return dict(seen.extraction.value.to_json())


def _whole(moment: dt.datetime | None) -> dt.datetime | None:
    """A moment to the millisecond."""
    return None if moment is None else moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _date(seen: Observed) -> dt.datetime | None:
    return None if seen.http is None else date_of(seen.http.headers)


def _texts(parameters: Mapping[str, Any]) -> dict[str, str]:
    """A caller's parameters as texts; raises ``sources.value`` for what no admission could hold."""
    found = {}
    for name, value in parameters.items():
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        named = _NAME.match(name) and is_code(name)
        if not named or not isinstance(text, str) or len(text) > 2048 or len(parameters) > 32:
            raise UsageError("sources.value", "parameters are at most 32 names with a text or whole number each")
        found[name] = text
    return found
