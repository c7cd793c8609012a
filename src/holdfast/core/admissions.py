"""Admission documents: which fact from outside a data node took in, from where, when and how (``spec/admission.md``).

``parse_admission`` reads one, ``Admission.to_json`` writes one; neither lets a malformed one exist.
``admission_record`` commits to its bytes and ``verify_admission`` opens the record of an ``admission`` statement.
``verify_observation`` and ``verify_quorum`` hold a document against itself and against what it combines: stale, out of
range, led elsewhere, or disagreeing shows in these bytes alone, and nothing is fetched again.

Rules: what was asked and answered never goes into the log; the salt that opens a record is kept with its document.
Nothing stands in a document that was not observed. A refusal is a document like any other.

Not covered: who signed the statement (``verifier.checks``), how a prompt holds one (``core.blocks``), and fetching.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from holdfast.core import canonical
from holdfast.core.admission_body import ADMISSION_EVENTS, AdmissionBody
from holdfast.core.encoding import hex_decode, sha256, sha256_hex, time_decode, time_encode
from holdfast.core.exchanges import Exchange, parse_exchange
from holdfast.core.quantities import (
    MAX_OBSERVATIONS,
    Outcome,
    Rule,
    Value,
    apply_rule,
    in_range,
    parse_decimal,
    parse_rule,
    parse_value,
)
from holdfast.core.statements import Statement, is_code, is_run_id
from holdfast.errors import MalformedError, RefusedError, UsageError

ADMISSION_TYPE = "urn:holdfast:admission:v1"
"""``type`` of an admission document (``admission.md`` §2)."""
RECORD_DOMAIN = b"urn:holdfast:admission-record:v1\x00"
"""What the preimage of a record begins with (``admission.md`` §1(2))."""
SALT_BYTES = 32
"""Size of a record's salt."""
MAX_DOCUMENT_BYTES = 262_144
"""Larger documents are refused unread."""
PROTOCOLS = ("TLSv1.2", "TLSv1.3")
"""Versions of TLS, as they are written (``admission.md`` §3(1))."""
METHODS = ("GET", "POST")
HEADERS = ("age", "cache-control", "content-type", "date", "etag", "last-modified")
"""Headers of an answer that an observation may repeat."""
FAMILIES = ("ipv4", "ipv6")
MAX_PARAMETERS, MAX_PARAMETER, MAX_HEADER, MAX_PATH, MAX_SAYS = 32, 2048, 1024, 1024, 1024
"""Most parameters, and most characters of one, of a header, of an extraction's path and of a refusal's sentence."""
MAX_CHAIN, MAX_HOSTS, MAX_PINS = 16, 8, 32
MAX_SECONDS = 31_622_400
"""A year: the longest limit."""

_HOST = re.compile(
    r"(?=[^:]{1,253}(?::|\Z))[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?(?::[1-9][0-9]{0,4})?\Z|\[[0-9a-f:.]{2,45}\](?::[1-9][0-9]{0,4})?\Z"
)
_AGE = re.compile(r"[0-9]{1,10}\Z")


# --- the parts of a document ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """Which source, by which definition: its id (a code), the definition's number and the SHA-256 (hex) of its
    bytes."""

    id: str
    version: int
    definition: str

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"id": self.id, "version": self.version, "definition": self.definition}


@dataclass(frozen=True, slots=True)
class SentRequest:
    """What was sent: the host, and digests (hex) of the template and of the exact bytes, credentials replaced."""

    method: str
    host: str
    template: str
    digest: str
    size: int

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "method": self.method,
            "host": self.host,
            "template": self.template,
            "digest": self.digest,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True)
class Roots:
    """Which set of roots the peer was verified against, and the root (SHA-256 of its certificate, hex) it led to."""

    store: str
    anchor: str | None

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"store": self.store, "anchor": self.anchor}


@dataclass(frozen=True, slots=True)
class TLSFacts:
    """What was observed of a session (``admission.md`` §3(1)). Digests are SHA-256 of DER, hex."""

    protocol: str
    cipher: str
    chain: tuple[str, ...] | None
    """The certificates that the peer sent, its own first; None where only that one was seen."""
    certificate: str
    spki: str
    roots: Roots | None
    sni: str | None
    family: str

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "protocol": self.protocol,
            "cipher": self.cipher,
            "chain": None if self.chain is None else list(self.chain),
            "certificate": self.certificate,
            "spki": self.spki,
            "roots": self.roots.to_json() if self.roots else None,
            "sni": self.sni,
            "family": self.family,
        }


@dataclass(frozen=True, slots=True)
class HTTPFacts:
    """What came back (``admission.md`` §3(2)): the status, some headers as received, and the body's digest (hex)."""

    status: int
    headers: Mapping[str, str]
    hosts: tuple[str, ...]
    """Where redirects led to, in order."""
    body_digest: str
    body_size: int

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "status": self.status,
            "headers": dict(self.headers),
            "hosts": list(self.hosts),
            "body": {"digest": self.body_digest, "size": self.body_size},
        }


@dataclass(frozen=True, slots=True)
class Extraction:
    """How the value was taken from the body, and the value (``admission.md`` §3(3))."""

    kind: str
    path: str
    value: Value

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"kind": self.kind, "path": self.path, "value": self.value.to_json()}


@dataclass(frozen=True, slots=True)
class Times:
    """When it was asked, when the first byte came, and the source's own time of the value."""

    requested: dt.datetime
    first_byte: dt.datetime | None
    source: dt.datetime | None

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "requested": time_encode(self.requested),
            "first_byte": _time(self.first_byte),
            "source": _time(self.source),
        }


@dataclass(frozen=True, slots=True)
class Limits:
    """What a source's definition asks of an answer (``admission.md`` §3(4)). ``least`` and ``most`` are decimals."""

    max_age_s: int
    skew_s: int
    range: tuple[str | None, str | None] | None
    pins: tuple[str, ...]

    def to_json(self) -> dict[str, canonical.JSON]:
        bounds: dict[str, canonical.JSON] | None = None
        if self.range is not None:
            bounds = {"least": self.range[0], "most": self.range[1]}
        return {"max_age_s": self.max_age_s, "skew_s": self.skew_s, "range": bounds, "pins": list(self.pins)}


@dataclass(frozen=True, slots=True)
class Observation:
    """One question to one source (``admission.md`` §3). None is what was not observed."""

    source: Source
    parameters: Mapping[str, str]
    request: SentRequest | None
    credential: str | None
    tls: TLSFacts | None
    http: HTTPFacts | None
    extraction: Extraction | None
    times: Times
    limits: Limits
    exchange: Exchange | None = None
    """What was observed over something else than HTTP; then ``request``, ``tls`` and ``http`` are None."""

    @property
    def template(self) -> str | None:
        """Digest (hex) of the definition's request template; None where nothing was sent."""
        if self.exchange is not None:
            return self.exchange.template
        return self.request.template if self.request else None

    @property
    def body_digest(self) -> str | None:
        """SHA-256 (hex) of the body that came, over whatever; None where none did."""
        if self.exchange is not None:
            return self.exchange.answer[0] if self.exchange.answer else None
        return self.http.body_digest if self.http and self.request else None

    @property
    def as_of(self) -> dt.datetime:
        """What time the value is of (``admission.md`` §4(2)): never later than it can be."""
        if self.times.source is not None:
            return self.times.source
        age = self.http.headers.get("age", "") if self.http else ""
        return self.times.requested - dt.timedelta(seconds=int(age) if _AGE.match(age) else 0)

    @property
    def fresh_until(self) -> dt.datetime:
        return self.as_of + dt.timedelta(seconds=self.limits.max_age_s)

    @property
    def pinned(self) -> bool:
        """Whether the peer's key is one that the definition names (``admission.md`` §3(5))."""
        return self.tls is not None and self.tls.spki in self.limits.pins

    def to_json(self) -> dict[str, canonical.JSON]:
        besides: dict[str, canonical.JSON] = {"exchange": self.exchange.to_json()} if self.exchange else {}
        return besides | {
            "source": self.source.to_json(),
            "parameters": dict(self.parameters),
            "request": self.request.to_json() if self.request else None,
            "credential": self.credential,
            "tls": self.tls.to_json() if self.tls else None,
            "http": self.http.to_json() if self.http else None,
            "extraction": self.extraction.to_json() if self.extraction else None,
            "times": self.times.to_json(),
            "limits": self.limits.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Combined:
    """One observation of a quorum: the statement (digest, hex) that admitted it, and what it says."""

    statement: str
    node: str
    """Its attester: digest (hex) of a key document."""
    source: str
    definition: str
    as_of: dt.datetime | None
    until: dt.datetime | None
    """When its value is fresh no longer, exactly."""
    value: Value | None
    refusal: str | None

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "statement": self.statement,
            "node": self.node,
            "source": self.source,
            "definition": self.definition,
            "as_of": _time(self.as_of),
            "until": _time(self.until),
            "value": self.value.to_json() if self.value else None,
            "refusal": self.refusal,
        }


@dataclass(frozen=True, slots=True)
class Quorum:
    """Several observations of one quantity, and what a rule makes of them (``admission.md`` §5)."""

    rule: Rule
    observations: tuple[Combined, ...]
    outcome: Outcome

    @property
    def counting(self) -> tuple[Combined, ...]:
        """The observations that were not refused."""
        return tuple(item for item in self.observations if item.value is not None)

    @property
    def as_of(self) -> dt.datetime | None:
        return min((item.as_of for item in self.counting if item.as_of is not None), default=None)

    @property
    def fresh_until(self) -> dt.datetime | None:
        return min((item.until for item in self.counting if item.until is not None), default=None)

    def to_json(self) -> dict[str, canonical.JSON]:
        value = self.outcome.value
        return {
            "rule": self.rule.to_json(),
            "observations": [item.to_json() for item in self.observations],
            "agreed": self.outcome.agreed,
            "spread": self.outcome.spread,
            "value": value.to_json() if value else None,
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing was admitted: a code, and a sentence for a person."""

    code: str
    says: str

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"code": self.code, "says": self.says}


@dataclass(frozen=True, slots=True)
class Admission:
    """An admission document (``admission.md`` §2)."""

    run: str
    event: str
    at: dt.datetime
    attestation: str | None
    observation: Observation | None = None
    quorum: Quorum | None = None
    refusal: Refusal | None = None

    @property
    def raw(self) -> bytes:
        """The document's canonical bytes: what a record commits to."""
        return canonical.encode(self.to_json())

    @property
    def value(self) -> Value | None:
        """What was admitted; None of a refusal, and where sources disagree."""
        if self.quorum is not None:
            return self.quorum.outcome.value
        found = self.observation.extraction if self.observation else None
        return found.value if found else None

    @property
    def as_of(self) -> dt.datetime | None:
        """What time it is of; None of a refusal."""
        if self.quorum is not None:
            return self.quorum.as_of
        return self.observation.as_of if self.observation and self.event == "admitted" else None

    @property
    def fresh_until(self) -> dt.datetime | None:
        """When it is fresh no longer; None of a refusal (``admission.md`` §4(3))."""
        if self.quorum is not None:
            return self.quorum.fresh_until
        return self.observation.fresh_until if self.observation and self.event == "admitted" else None

    def age(self, at: dt.datetime) -> dt.timedelta | None:
        """How old it is at a time; None of a refusal."""
        return None if self.as_of is None else max(at - self.as_of, dt.timedelta())

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "type": ADMISSION_TYPE,
            "run": self.run,
            "event": self.event,
            "at": time_encode(self.at),
            "attestation": self.attestation,
            "observation": self.observation.to_json() if self.observation else None,
            "quorum": self.quorum.to_json() if self.quorum else None,
            "refusal": self.refusal.to_json() if self.refusal else None,
        }


def combine(presented: Sequence[tuple[Statement, Admission]], rule: Rule) -> Quorum:
    """What a rule makes of admissions that are shown with their statements (``admission.md`` §5). Raises
    ``admission.twice`` and ``admission.observation``."""
    rows = sorted(
        (combined_of(statement, document) for statement, document in presented), key=lambda row: row.statement
    )
    if not 1 <= len(rows) <= MAX_OBSERVATIONS:
        raise UsageError("admission.observation", f"a quorum has 1 to {MAX_OBSERVATIONS} observations")
    if len({(row.node, row.source, row.definition) for row in rows}) != len(rows):
        raise RefusedError("admission.twice", "a source is asked once through one node")
    return Quorum(rule, tuple(rows), apply_rule(rule, [row.value for row in rows if row.value is not None]))


def combined_of(statement: Statement, document: Admission) -> Combined:
    """How a quorum names one admission. Raises ``admission.observation`` for what is none of a single source."""
    seen = document.observation
    if seen is None:
        raise RefusedError("admission.observation", "a quorum combines answers of sources, and no other quorum")
    return Combined(
        statement=statement.digest,
        node=statement.attester,
        source=seen.source.id,
        definition=seen.source.definition,
        as_of=document.as_of,
        until=document.fresh_until,
        value=document.value,
        refusal=document.refusal.code if document.refusal else None,
    )


def _time(value: dt.datetime | None) -> str | None:
    return None if value is None else time_encode(value)


# --- parsing ----------------------------------------------------------------------------------------------------------

_MEMBERS = frozenset({"type"} | {item.name for item in fields(Admission)})
_OBSERVATION = frozenset(item.name for item in fields(Observation)) - {"exchange"}
_COMBINED = frozenset(item.name for item in fields(Combined))
_TLS = frozenset(item.name for item in fields(TLSFacts))


def parse_admission(raw: bytes) -> Admission:
    """Bytes to an :class:`Admission`. What it says is consistent in form; whether it holds asks
    :func:`verify_observation`. Raises ``admission.*``, ``json.*`` or ``encoding.*``."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise MalformedError("admission.size", f"an admission document has at most {MAX_DOCUMENT_BYTES} bytes")
    value = canonical.decode_signed(raw)
    if value.keys() != _MEMBERS or value["type"] != ADMISSION_TYPE:
        raise MalformedError("admission.fields", f"not the members of a {ADMISSION_TYPE}")
    if not is_run_id(value["run"]) or value["event"] not in ADMISSION_EVENTS:
        raise MalformedError("admission.fields", f"run is a run id, and event one of {', '.join(ADMISSION_EVENTS)}")
    document = Admission(
        run=value["run"],
        event=value["event"],
        at=time_decode(value["at"]),
        attestation=_digest(value["attestation"]),
        observation=None if value["observation"] is None else parse_observation(value["observation"]),
        quorum=None if value["quorum"] is None else parse_quorum(value["quorum"]),
        refusal=None if value["refusal"] is None else _refusal(value["refusal"]),
    )
    _check_event(document)
    return document


def _check_event(document: Admission) -> None:
    """§2(1): which members an event has."""
    seen, combined = document.observation, document.event == "combined"
    if combined != (document.quorum is not None) or combined != (seen is None):
        raise MalformedError("admission.event", "exactly what is combined has a quorum, and no observation of its own")
    if (document.event == "refused") != (document.refusal is not None):
        raise MalformedError("admission.event", "exactly what is refused has a refusal")
    if seen is None:
        return
    whole = seen.body_digest is not None and seen.times.first_byte is not None
    if document.event == "admitted" and (not whole or seen.extraction is None):
        raise MalformedError("admission.event", "what is admitted was asked, came, and was taken from somewhere")
    if document.event == "refused" and seen.extraction is not None:
        raise MalformedError("admission.event", "what is refused is not shown as if it were admitted")


def parse_observation(value: object) -> Observation:
    """An observation from its JSON object (``admission.md`` §3); raises ``admission.*`` or ``encoding.*``."""
    over = isinstance(value, dict) and "exchange" in value
    item = _object(value, _OBSERVATION | {"exchange"} if over else _OBSERVATION, "an observation")
    if over and any(item[name] is not None for name in ("request", "tls", "http")):
        raise MalformedError("admission.exchange", "what went over something else than HTTP has no facts of HTTP")
    return Observation(
        source=_source(item["source"]),
        parameters=_parameters(item["parameters"]),
        request=None if item["request"] is None else _request(item["request"]),
        credential=None if item["credential"] is None else _code(item["credential"], "a credential"),
        tls=None if item["tls"] is None else parse_tls(item["tls"]),
        http=None if item["http"] is None else _http(item["http"]),
        extraction=None if item["extraction"] is None else _extraction(item["extraction"]),
        times=_times(item["times"]),
        limits=_limits(item["limits"]),
        exchange=parse_exchange(item["exchange"]) if over else None,
    )


def parse_tls(value: object) -> TLSFacts:
    """Facts of a session from their JSON object (``admission.md`` §3(1)); raises ``admission.tls`` or
    ``encoding.hex``."""
    item = _object(value, _TLS, "tls")
    chain, sni, roots = item["chain"], item["sni"], item["roots"]
    if item["protocol"] not in PROTOCOLS or item["family"] not in FAMILIES:
        raise MalformedError("admission.tls", f"a protocol is {' or '.join(PROTOCOLS)}, a family ipv4 or ipv6")
    if chain is not None and (not isinstance(chain, list) or not 1 <= len(chain) <= MAX_CHAIN):
        raise MalformedError("admission.tls", f"a chain has 1 to {MAX_CHAIN} certificates, or is null")
    if sni is not None and (not _is_host(sni) or ":" in sni):
        raise MalformedError("admission.tls", "sni is a host name, or null")
    if roots is not None:
        roots = _object(roots, {"store", "anchor"}, "roots")
        roots = Roots(_code(roots["store"], "a set of roots"), _digest(roots["anchor"]))
    return TLSFacts(
        protocol=item["protocol"],
        cipher=_text(item["cipher"], 64, "a cipher"),
        chain=None if chain is None else tuple(hex_decode(each, 32).hex() for each in chain),
        certificate=hex_decode(item["certificate"], 32).hex(),
        spki=hex_decode(item["spki"], 32).hex(),
        roots=roots,
        sni=sni,
        family=item["family"],
    )


def _source(value: object) -> Source:
    item = _object(value, {"id", "version", "definition"}, "a source")
    return Source(_code(item["id"], "a source"), _count(item["version"], 1), hex_decode(item["definition"], 32).hex())


def _parameters(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or len(value) > MAX_PARAMETERS or not all(is_code(name) for name in value):
        raise MalformedError("admission.parameters", f"parameters are at most {MAX_PARAMETERS} codes and texts")
    return {name: _text(text, MAX_PARAMETER, "a parameter", least=0) for name, text in value.items()}


def _request(value: object) -> SentRequest:
    item = _object(value, {"method", "host", "template", "digest", "size"}, "a request")
    if item["method"] not in METHODS or not _is_host(item["host"]):
        raise MalformedError("admission.request", f"a request is {' or '.join(METHODS)} to a host, in lower case")
    return SentRequest(
        method=item["method"],
        host=item["host"],
        template=hex_decode(item["template"], 32).hex(),
        digest=hex_decode(item["digest"], 32).hex(),
        size=_count(item["size"], 1),
    )


def _http(value: object) -> HTTPFacts:
    item = _object(value, {"status", "headers", "hosts", "body"}, "http")
    status, headers, hosts = item["status"], item["headers"], item["hosts"]
    if type(status) is not int or not 100 <= status <= 599:
        raise MalformedError("admission.http", "a status is from 100 to 599")
    if not isinstance(headers, dict) or not headers.keys() <= set(HEADERS):
        raise MalformedError("admission.http", f"headers are any of {', '.join(HEADERS)}")
    if not isinstance(hosts, list) or len(hosts) > MAX_HOSTS or not all(_is_host(host) for host in hosts):
        raise MalformedError("admission.http", f"hosts are at most {MAX_HOSTS}, in lower case")
    body = _object(item["body"], {"digest", "size"}, "a body")
    return HTTPFacts(
        status=status,
        headers={name: _text(text, MAX_HEADER, "a header", least=0) for name, text in headers.items()},
        hosts=tuple(hosts),
        body_digest=hex_decode(body["digest"], 32).hex(),
        body_size=_count(body["size"], 0),
    )


def _extraction(value: object) -> Extraction:
    item = _object(value, {"kind", "path", "value"}, "an extraction")
    path = _text(item["path"], MAX_PATH, "a path", least=0)
    return Extraction(_code(item["kind"], "an extraction"), path, parse_value(item["value"]))


def _times(value: object) -> Times:
    item = _object(value, {"requested", "first_byte", "source"}, "times")
    first, source = item["first_byte"], item["source"]
    return Times(
        requested=time_decode(item["requested"]),
        first_byte=None if first is None else time_decode(first),
        source=None if source is None else time_decode(source),
    )


def _limits(value: object) -> Limits:
    item = _object(value, {"max_age_s", "skew_s", "range", "pins"}, "limits")
    bounds, pins = item["range"], item["pins"]
    if bounds is not None:
        bounds = _object(bounds, {"least", "most"}, "a range")
        ends = [None if bounds[name] is None else parse_decimal(bounds[name]) for name in ("least", "most")]
        if ends[0] is not None and ends[1] is not None and ends[0] > ends[1]:
            raise MalformedError("admission.limits", "a range begins before it ends")
    if not isinstance(pins, list) or len(pins) > MAX_PINS:
        raise MalformedError("admission.limits", f"pins are at most {MAX_PINS}")
    if [hex_decode(pin, 32).hex() for pin in pins] != sorted(set(pins)):
        raise MalformedError("admission.limits", "pins are sorted and distinct")
    return Limits(
        max_age_s=_count(item["max_age_s"], 0, MAX_SECONDS),
        skew_s=_count(item["skew_s"], 0, MAX_SECONDS),
        range=None if bounds is None else (bounds["least"], bounds["most"]),
        pins=tuple(pins),
    )


def parse_quorum(value: object) -> Quorum:
    """A quorum from its JSON object (``admission.md`` §5); raises ``admission.*`` or ``encoding.*``. Whether it holds
    is :func:`verify_quorum`'s question."""
    item = _object(value, {"rule", "observations", "agreed", "spread", "value"}, "a quorum")
    listed = item["observations"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_OBSERVATIONS:
        raise MalformedError("admission.quorum", f"a quorum has 1 to {MAX_OBSERVATIONS} observations")
    rows = tuple(_combined(each) for each in listed)
    if [row.statement for row in rows] != sorted({row.statement for row in rows}):
        raise MalformedError("admission.quorum", "observations are sorted by their statements, each once")
    if len({(row.node, row.source, row.definition) for row in rows}) != len(rows):
        raise MalformedError("admission.twice", "a source is asked once through one node")
    agreed, spread, found = item["agreed"], item["spread"], item["value"]
    if not isinstance(agreed, bool) or agreed != (found is not None):
        raise MalformedError("admission.quorum", "exactly those who agree have a value")
    if spread is not None:
        parse_decimal(spread)
    outcome = Outcome(agreed=agreed, spread=spread, value=None if found is None else parse_value(found))
    return Quorum(parse_rule(item["rule"]), rows, outcome)


def _combined(value: object) -> Combined:
    item = _object(value, _COMBINED, "an observation of a quorum")
    told = [item[name] is not None for name in ("as_of", "until", "value")]
    if any(told) != all(told) or all(told) != (item["refusal"] is None):
        raise MalformedError("admission.quorum", "an observation has a value and its times, or a refusal")
    return Combined(
        statement=hex_decode(item["statement"], 32).hex(),
        node=hex_decode(item["node"], 32).hex(),
        source=_code(item["source"], "a source"),
        definition=hex_decode(item["definition"], 32).hex(),
        as_of=None if item["as_of"] is None else time_decode(item["as_of"]),
        until=None if item["until"] is None else time_decode(item["until"]),
        value=None if item["value"] is None else parse_value(item["value"]),
        refusal=None if item["refusal"] is None else _code(item["refusal"], "a refusal"),
    )


def _refusal(value: object) -> Refusal:
    item = _object(value, {"code", "says"}, "a refusal")
    return Refusal(_code(item["code"], "a refusal"), _text(item["says"], MAX_SAYS, "what a refusal says"))


def _object(value: object, members: frozenset[str] | set[str], name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != members:
        raise MalformedError("admission.fields", f"{name} has exactly {', '.join(sorted(members))}")
    return value


def _code(value: object, name: str) -> str:
    if not is_code(value):
        raise MalformedError("admission.fields", f"{name} is a code")
    return str(value)


def _text(value: object, most: int, name: str, *, least: int = 1) -> str:
    if not isinstance(value, str) or not least <= len(value) <= most:
        raise MalformedError("admission.fields", f"{name} has {least} to {most} characters")
    return value


def _count(value: object, least: int, most: int = canonical.MAX_INTEGER) -> int:
    if type(value) is not int or not least <= value <= most:
        raise MalformedError("admission.fields", f"expected an integer from {least} to {most}")
    return value


def _digest(value: object) -> str | None:
    return None if value is None else hex_decode(value, 32).hex()


def _is_host(value: object) -> bool:
    return isinstance(value, str) and _HOST.match(value) is not None


# --- the record -------------------------------------------------------------------------------------------------------


def admission_record(document: bytes, salt: bytes) -> bytes:
    """The commitment to a document's exact bytes (``admission.md`` §1(2)), 32 bytes."""
    if len(salt) != SALT_BYTES:
        raise UsageError("admission.salt", f"the salt of a record has {SALT_BYTES} bytes")
    return sha256(RECORD_DOMAIN + salt + document)


def claimed_time(at: dt.datetime) -> dt.datetime:
    """``claimed_at`` of the statement: the minute (``admission.md`` §1(3))."""
    return at.replace(second=0, microsecond=0)


def coarse_until(document: Admission) -> dt.datetime | None:
    """``until`` of the statement: rounded up to the minute (``admission.md`` §1)."""
    fresh = document.fresh_until
    if fresh is None:
        return None
    minute = claimed_time(fresh)
    return minute if minute == fresh else minute + dt.timedelta(minutes=1)


def admission_body_of(document: Admission, salt: bytes) -> AdmissionBody:
    """The predicate of the statement on a document (``admission.md`` §1)."""
    return AdmissionBody(
        document.event, admission_record(document.raw, salt), coarse_until(document), document.attestation
    )


def parents_of(document: Admission) -> list[str]:
    """The statements that the statement on a document follows (``admission.md`` §1(4))."""
    return [item.statement for item in document.quorum.observations] if document.quorum else []


def verify_admission(statement: Statement, document: bytes, salt: bytes) -> Admission:
    """Open the record of an ``admission`` statement with the document and salt that are shown for it.

    Raises ``admission.record`` when the record commits to something else, ``admission.run``, ``.event``,
    ``.attestation``, ``.until`` or ``.at`` when the document tells of something else than the statement, and
    ``admission.parents`` when a quorum combines other statements than it follows.
    """
    body = statement.body
    if not isinstance(body, AdmissionBody):
        raise RefusedError("admission.record", f"a {statement.kind} statement commits to no admission document")
    if admission_record(document, salt) != body.record:
        raise RefusedError("admission.record", "the record does not commit to this document with this salt")
    found = parse_admission(document)
    for name, same in (
        ("run", found.run == statement.run),
        ("event", found.event == body.event),
        ("attestation", found.attestation == body.attestation),
        ("until", coarse_until(found) == body.until),
        ("at", claimed_time(found.at) == statement.claimed_at),
        ("parents", sorted(parents_of(found)) == list(statement.parents)),
    ):
        if not same:
            raise RefusedError(f"admission.{name}", f"statement and document differ in {name}")
    return found


# --- does it hold? ----------------------------------------------------------------------------------------------------


def verify_observation(document: Admission, definition: bytes | None = None) -> None:
    """Hold what was admitted against what its own document asks of it (``admission.md`` §3(6)).

    ``definition``, where it is shown, is the source's definition as bytes. Raises ``admission.definition``,
    ``.status``, ``.redirected``, ``.certificate``, ``.times``, ``.clock_skew``, ``.range`` or ``.stale``: what a node
    admitted against its own rules. A refusal and a quorum hold here.
    """
    seen = document.observation
    if seen is None:
        return
    if definition is not None and sha256_hex(definition) != seen.source.definition:
        raise RefusedError("admission.definition", "the definition that is shown is not the one that was used")
    if document.event != "admitted" or seen.extraction is None:
        return
    if seen.http is not None and seen.request is not None:
        _verify_answer(seen, seen.http, seen.request)
    elif seen.limits.pins:
        raise RefusedError("admission.certificate", "there is no session that could be of a key that is asked for")
    _verify_times(document, seen)
    _verify_range(seen.extraction.value, seen.limits)


def _verify_answer(seen: Observation, http: HTTPFacts, request: SentRequest) -> None:
    if not 200 <= http.status <= 299:
        raise RefusedError("admission.status", f"the source answered with status {http.status}")
    if any(host != request.host for host in http.hosts):
        raise RefusedError("admission.redirected", "the answer came from another host than was asked")
    if seen.tls is not None or seen.limits.pins:
        _verify_session(seen.tls, request, seen.limits)


def _verify_session(tls: TLSFacts | None, request: SentRequest, limits: Limits) -> None:
    if tls is None or tls.roots is None or tls.sni != host_name(request.host):
        raise RefusedError("admission.certificate", "nothing vouches for the peer as the host that was asked")
    if tls.chain is not None and tls.chain[0] != tls.certificate:
        raise RefusedError("admission.certificate", "the peer's chain begins with another certificate than its own")
    if limits.pins and tls.spki not in limits.pins:
        raise RefusedError("admission.certificate", "the peer's key is none of those that the definition names")


def host_name(host: str) -> str | None:
    """A host without its port, as TLS names it; None for an address, which it does not name."""
    if host.startswith("[") or re.fullmatch(r"[0-9.]+(?::[0-9]+)?", host):
        return None
    return host.partition(":")[0]


def _verify_times(document: Admission, seen: Observation) -> None:
    times = seen.times
    first = times.first_byte or document.at
    if not times.requested <= first <= document.at:
        raise RefusedError("admission.times", "what was asked, what came and what was decided are out of order")
    if times.source is not None and times.source - first > dt.timedelta(seconds=seen.limits.skew_s):
        raise RefusedError("admission.clock_skew", "the source's time lies in the future")
    if document.at > seen.fresh_until:
        raise RefusedError("admission.stale", "the value was too old when it was admitted")


def _verify_range(value: Value, limits: Limits) -> None:
    if limits.range is None:
        return
    least, most = limits.range
    if value.type != "decimal" or not in_range(value.number, {"least": least, "most": most}):
        raise RefusedError("admission.range", "the value is no number in the range that the definition allows")


def verify_quorum(document: Admission, shown: Mapping[str, tuple[Statement, Admission]]) -> bool:
    """Hold a quorum against its rule, and against its observations as far as they are shown (``admission.md`` §5(4)).

    ``shown`` has them by statement digest. Raises ``admission.rule`` and ``admission.observation``. True when all of
    them were shown; False when some were not, and only the rule was checked.
    """
    quorum = document.quorum
    if quorum is None:
        return True
    values = [item.value for item in quorum.counting if item.value is not None]
    if apply_rule(quorum.rule, values) != quorum.outcome:
        raise RefusedError("admission.rule", "the observations do not come to this by the rule")
    for item in quorum.observations:
        if item.statement in shown and combined_of(*shown[item.statement]) != item:
            raise RefusedError("admission.observation", "an observation is not what its own admission says")
    return all(item.statement in shown for item in quorum.observations)


def require_fresh(document: Admission, at: dt.datetime) -> None:
    """Raises ``admission.stale`` for what is fresh no longer at ``at``; a refusal is of no age."""
    fresh = document.fresh_until
    if fresh is not None and at > fresh:
        raise RefusedError(
            "admission.stale",
            f"it was fresh until {time_encode(fresh)}",
            hint="admit it again",
            status=409,
        )


# --- presented --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Presented:
    """An admission with everything that opens it (``admission.md`` §7(2)). Nothing in it is verified yet."""

    envelope: bytes
    document: bytes
    salt: bytes
    definition: bytes | None
    members: tuple[Presented, ...] = ()

    def to_json(self) -> dict[str, canonical.JSON]:
        """The members but ``digest``, which whoever parsed the envelope adds."""
        return {
            "envelope": canonical.decode_signed(self.envelope),
            "document": self.document.decode(),
            "salt": self.salt.hex(),
            "definition": None if self.definition is None else self.definition.decode(),
            "members": [item.to_json() for item in self.members],
        }


_PRESENTED = frozenset({"envelope", "document", "salt", "definition", "members"})
_BESIDE = frozenset({"digest", "value", "statement", "lane"})
"""What may stand beside it for people; it follows from the rest, and is not believed."""
MAX_DEFINITION_BYTES = 65_536
"""Larger definitions of sources are refused unread."""


def parse_presented(value: object, *, within: bool = False) -> Presented:
    """A presented admission from its JSON object; ``digest``, ``value``, ``statement`` and ``lane`` may stand beside it
    and are not believed. Raises ``admission.presented``, ``encoding.*`` or ``json.*``."""
    if not isinstance(value, dict) or value.keys() - _BESIDE != _PRESENTED:
        raise MalformedError("admission.presented", f"an admission is shown as {', '.join(sorted(_PRESENTED))}")
    document, definition, members = value["document"], value["definition"], value["members"]
    if not isinstance(value["envelope"], dict) or not isinstance(document, str) or not isinstance(members, list):
        raise MalformedError("admission.presented", "envelope is an object, document a text, members a list")
    if definition is not None and not isinstance(definition, str):
        raise MalformedError("admission.presented", "a definition is a text, or null")
    if len(members) > (0 if within else MAX_OBSERVATIONS):
        raise MalformedError("admission.presented", f"a quorum has at most {MAX_OBSERVATIONS} members, which have none")
    try:
        shown = None if definition is None else definition.encode()
        return Presented(
            envelope=canonical.encode(value["envelope"]),
            document=document.encode(),
            salt=hex_decode(value["salt"], SALT_BYTES),
            definition=shown if shown is None or len(shown) <= MAX_DEFINITION_BYTES else _too_large(),
            members=tuple(parse_presented(item, within=True) for item in members),
        )
    except UnicodeEncodeError as error:
        raise MalformedError("json.surrogate", "a string holds a lone surrogate") from error


def _too_large() -> bytes:
    raise MalformedError("admission.presented", f"a definition has at most {MAX_DEFINITION_BYTES} bytes")
