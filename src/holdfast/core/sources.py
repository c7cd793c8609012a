"""Source definitions: what may be fetched from where, how it is read, and what is believable (``spec/sources.md``).

People write a registry as TOML (:func:`parse_registry_toml`); it means its canonical JSON form, in which every choice
that was left out stands with the value it then has. A definition's digest is the SHA-256 of its own canonical form, so
that an admission names exactly the rules it was made under. ``parse_registry`` reads the canonical form,
``verify_registry`` the signed one. ``resolve`` turns a definition and a caller's parameters into one request.

Both readers are strict: an unknown member, a parameter that no place uses, a bound that nothing can meet are refused
here, so that a node meets none of them.

Not covered: reading a value out of what came back (``core.extraction``) and looking at it (``core.expectations``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from holdfast.core import canonical
from holdfast.core.addresses import Network, parse_address, parse_network
from holdfast.core.dns_reads import TYPES, DnsRead, is_name, parse_resolver
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode, sha256_hex
from holdfast.core.expectations import Expectation, parse_decimal, parse_expectation
from holdfast.core.extraction import Extraction, parse_extraction
from holdfast.core.keys import PublicKey, verify_signature
from holdfast.core.sql_reads import DIALECTS, INTEGERS, MAX_ROWS, MAX_SELECT, SqlRead, check_select
from holdfast.core.statements import build_envelope, is_code, parse_envelope, pre_authentication_encoding
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError

REGISTRY_TYPE = "urn:holdfast:sources:v1"
"""``type`` of a registry (``sources.md`` §1)."""
SOURCE_TYPE = "urn:holdfast:source:v1"
"""``type`` of a definition (``sources.md`` §2)."""
REGISTRY_PAYLOAD_TYPE = "application/vnd.holdfast.sources+json"
"""DSSE payload type of a signed registry."""
MAX_REGISTRY_BYTES = 32_768
"""Larger registries are refused unread, in either form: signed, one is an envelope (``statement.md`` §1)."""
MAX_SOURCES = 256
MAX_TEXT = 256
"""Most characters of a title, a unit, a header's value."""
MAX_URL = 2048
"""Most characters of a URL, before and after parameters are put in."""
KINDS = ("https", "evm", "sql", "dns")
PARAMETER_TYPES = ("choice", "decimal", "hex", "integer", "path", "word")
ANY_WORKSPACE = "*"

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
_HEADER_NAME = re.compile(r"[a-z0-9-]{1,64}\Z")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?\Z")
_MEDIA = re.compile(r"[a-z0-9.+-]{1,64}/[a-z0-9.+-]{1,64}\Z")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9.-]{1,253})(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<target>/[A-Za-z0-9\-._~!$&'()*+,;=:@%/?{}\[\]]*)?\Z"
)
_PLACE = re.compile(r"\{([^{}]*)\}")
_WORD = re.compile(r"[A-Za-z0-9._~-]+\Z")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z")
_HEX_PLACES = re.compile(r"0x(?:[0-9a-f]|\{[a-z0-9_]+\})*\Z")
_BLOCK = re.compile(r"(?:finalized|safe|latest|0x[1-9a-f][0-9a-f]{0,15}|0x0|0x\{[a-z0-9_]+\})\Z")
_HEX = re.compile(r"(?:0x)?(?:[0-9a-f]{2})*\Z")
_OWN_HEADERS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "accept-encoding",
     "expect", "content-type", "accept", "user-agent", "cookie", "proxy-authorization"}
)  # fmt: skip
"""Fields that the fetcher writes itself."""

_SOURCE = (
    "type",
    "id",
    "version",
    "title",
    "kind",
    "workspaces",
    "unit",
    "parameters",
    "request",
    "extract",
    "expect",
    "rate",
)
_TRANSPORT_DEFAULTS: dict[str, Any] = {
    "headers": {},
    "secret": None,
    "content_types": ["application/json"],
    "redirects": 0,
    "seconds": 10,
    "bytes": 1_048_576,
    "addresses": [],
    "pins": [],
    "roots": [],
}
_EVM_CALLS = ("balance", "block", "call", "logs")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that a caller says (``sources.md`` §3)."""

    type: str
    choices: tuple[str, ...]
    minimum: Decimal | None
    maximum: Decimal | None
    length: int
    """Most characters of a ``word``; exact number of bytes of a ``hex``, 0 for any up to 1,024."""
    default: str | None

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "type": self.type,
            "choices": list(self.choices),
            "minimum": None if self.minimum is None else str(self.minimum),
            "maximum": None if self.maximum is None else str(self.maximum),
            "length": self.length,
            "default": self.default,
        }


@dataclass(frozen=True, slots=True)
class SecretUse:
    """Where a secret of the node goes; the definition names it and never holds it."""

    name: str
    header: str
    prefix: str

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"name": self.name, "header": self.header, "prefix": self.prefix}


@dataclass(frozen=True, slots=True)
class Transport:
    """How a source is reached over HTTP (``sources.md`` §4, §5)."""

    url: str
    headers: tuple[tuple[str, str], ...]
    secret: SecretUse | None
    content_types: tuple[str, ...]
    redirects: int
    seconds: int
    most_bytes: int
    """Of the body, as it comes and unpacked."""
    addresses: tuple[Network, ...]
    pins: tuple[str, ...]
    """SHA-256 (hex) of SubjectPublicKeyInfos of the leaf, one of which has to be shown; empty: any that verifies."""
    roots: tuple[bytes, ...]
    """DER certificates that alone are believed; empty: the machine's own."""

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "url": self.url,
            "headers": dict(self.headers),
            "secret": None if self.secret is None else self.secret.to_json(),
            "content_types": list(self.content_types),
            "redirects": self.redirects,
            "seconds": self.seconds,
            "bytes": self.most_bytes,
            "addresses": [str(item) for item in self.addresses],
            "pins": list(self.pins),
            "roots": [b64_encode(item) for item in self.roots],
        }


@dataclass(frozen=True, slots=True)
class EvmQuery:
    """One read of an EVM chain; texts may hold places for parameters."""

    chain_id: int
    call: str
    address: str | None
    data: str | None
    topics: tuple[str, ...]
    block: str
    """``finalized``, ``safe``, ``latest`` or a number as ``0x`` and hex; may be a place."""

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "chain_id": self.chain_id,
            "call": self.call,
            "address": self.address,
            "data": self.data,
            "topics": list(self.topics),
            "block": self.block,
        }


Reach = Transport | SqlRead | DnsRead
"""How a source is reached."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``requests`` in ``seconds``, all callers together; for each workspace alone too."""

    requests: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition; ``raw`` is its canonical form and ``digest`` the SHA-256 of it (hex)."""

    id: str
    version: int
    title: str
    kind: str
    workspaces: tuple[str, ...]
    unit: str
    parameters: Mapping[str, Parameter]
    reach: Reach
    query: EvmQuery | None
    extract: Extraction
    expect: Expectation
    rate: Rate
    raw: bytes
    digest: str

    @property
    def template(self) -> str:
        """SHA-256 (hex) of the request as the definition has it, places and all (``admission`` §3)."""
        return sha256_hex(canonical.encode(_request_json(self.reach, self.query)))

    @property
    def transport(self) -> Transport:
        """How it is reached over HTTP; raises ``sources.kind`` where it is not."""
        if isinstance(self.reach, Transport):
            return self.reach
        raise UsageError("sources.kind", f"a source of kind {self.kind} is not asked over HTTP")

    @property
    def secret_name(self) -> str | None:
        """The secret that it is asked with."""
        if isinstance(self.reach, Transport):
            return self.reach.secret.name if self.reach.secret else None
        return self.reach.secret if isinstance(self.reach, SqlRead) else None

    @property
    def pins(self) -> tuple[str, ...]:
        """Keys (SHA-256, hex) one of which a peer over TLS has to have; empty: any that verifies."""
        return self.reach.pins if isinstance(self.reach, Transport) else ()

    @property
    def exchange_kind(self) -> str | None:
        """The kind of exchange that an observation of it has; None of one over HTTP (``admission.md`` §3(7))."""
        return None if isinstance(self.reach, Transport) else self.kind

    def may(self, workspace: str) -> bool:
        """Whether a workspace may use it."""
        return ANY_WORKSPACE in self.workspaces or workspace in self.workspaces


@dataclass(frozen=True, slots=True)
class Registry:
    """Definitions by id; ``raw`` is the canonical form, ``digest`` its SHA-256 (hex)."""

    version: int
    sources: Mapping[str, Definition]
    raw: bytes
    digest: str

    def find(self, name: str) -> Definition:
        """The definition of an id; raises ``sources.unknown``."""
        found = self.sources.get(name)
        if found is None:
            raise UsageError("sources.unknown", f"there is no source {name[:64]!r}", hint="GET /v1/sources", status=404)
        return found


@dataclass(frozen=True, slots=True)
class Resolved:
    """One request: a definition with a caller's parameters in it. ``places`` are the parameters as texts, ``url`` is
    empty where it has none."""

    source: Definition
    places: Mapping[str, str]
    url: str

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of source digest and parameters: what was asked (``sources.md`` §3(4))."""
        asked: canonical.JSON = {"source": self.source.digest, "parameters": dict(self.places)}
        return sha256_hex(canonical.encode(asked))


# --- registries -------------------------------------------------------------------------------------------------------


def parse_registry_toml(text: str) -> Registry:
    """TOML, as people write it. Raises ``sources.*``."""
    if len(text.encode("utf-8", "replace")) > MAX_REGISTRY_BYTES:
        raise MalformedError("sources.size", f"a registry has at most {MAX_REGISTRY_BYTES} bytes")
    try:
        value: Any = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise MalformedError("sources.toml", f"not TOML: {error}"[:200]) from error
    _members(value, ("type", "version", "sources"), ("sources",))
    listed = value.get("sources", [])
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise MalformedError("sources.fields", "sources is a list of tables")
    return _registry({**value, "sources": [{"type": SOURCE_TYPE, **item} for item in listed]}, exact=None)


def parse_registry(raw: bytes) -> Registry:
    """The canonical form; any other spelling raises ``sources.spelling``. Raises ``sources.*`` and ``json.*``."""
    if len(raw) > MAX_REGISTRY_BYTES:
        raise MalformedError("sources.size", f"a registry has at most {MAX_REGISTRY_BYTES} bytes")
    value = canonical.decode_signed(raw)
    _members(value, ("type", "version", "sources"), ())
    if not isinstance(value["sources"], list) or not all(isinstance(item, dict) for item in value["sources"]):
        raise MalformedError("sources.fields", "sources is a list of objects")
    return _registry(value, exact=raw)


def _registry(value: Mapping[str, Any], *, exact: bytes | None) -> Registry:
    if value["type"] != REGISTRY_TYPE:
        raise MalformedError("sources.fields", f"type is {REGISTRY_TYPE}")
    version = _integer(value["version"], "version", 1, canonical.MAX_INTEGER)
    if len(value["sources"]) > MAX_SOURCES:
        raise MalformedError("sources.size", f"a registry has at most {MAX_SOURCES} sources")
    found = [_source(item) for item in value["sources"]]
    names = [item.id for item in found]
    if len(set(names)) != len(names):
        raise MalformedError("sources.twice", "two sources have one id")
    found.sort(key=lambda item: item.id)
    document: dict[str, canonical.JSON] = {
        "type": REGISTRY_TYPE,
        "version": version,
        "sources": [canonical.decode(item.raw) for item in found],
    }
    raw = canonical.encode(document)
    if len(raw) > MAX_REGISTRY_BYTES:
        raise MalformedError("sources.size", f"a registry has at most {MAX_REGISTRY_BYTES} bytes")
    if exact is not None and raw != exact:
        raise MalformedError("sources.spelling", "a registry stands in its canonical form, with every member")
    return Registry(version, {item.id: item for item in found}, raw, sha256_hex(raw))


def parse_source(raw: bytes) -> Definition:
    """One definition in its canonical form, as an admission carries it. Raises ``sources.*``, ``json.*``."""
    if len(raw) > MAX_REGISTRY_BYTES:
        raise MalformedError("sources.size", f"a definition has at most {MAX_REGISTRY_BYTES} bytes")
    found = _source(canonical.decode_signed(raw))
    if found.raw != raw:
        raise MalformedError("sources.spelling", "a definition stands in its canonical form, with every member")
    return found


def build_signed_registry(registry: Registry, key: PublicKey, signature: bytes) -> bytes:
    """The DSSE envelope of a registry; ``signature`` is over :func:`registry_message`."""
    return build_envelope(registry.raw, key.key_id, signature).replace(
        b"application/vnd.in-toto+json", REGISTRY_PAYLOAD_TYPE.encode(), 1
    )


def registry_message(registry: Registry) -> bytes:
    """What whoever answers for a registry signs."""
    return pre_authentication_encoding(registry.raw, REGISTRY_PAYLOAD_TYPE)


def verify_registry(raw: bytes, keys: Sequence[PublicKey], least_version: int = 1) -> Registry:
    """A signed registry, by one of ``keys``; no key accepts nothing. Raises ``sources.signature``, ``sources.version``
    where it is older than ``least_version``, and as :func:`parse_registry`."""
    envelope = parse_envelope(raw, REGISTRY_PAYLOAD_TYPE)
    key = next((item for item in keys if item.key_id == envelope.key_id), None)
    if key is None:
        raise RefusedError("sources.signature", "nobody who may sign a registry has signed this one")
    try:
        verify_signature(key, pre_authentication_encoding(envelope.payload, REGISTRY_PAYLOAD_TYPE), envelope.signature)
    except HoldfastError as error:
        raise RefusedError("sources.signature", "the signature of this registry is not good") from error
    registry = parse_registry(envelope.payload)
    if registry.version < least_version:
        raise RefusedError("sources.version", f"version {registry.version} is older than {least_version}, seen before")
    return registry


# --- definitions ------------------------------------------------------------------------------------------------------


def _members(value: Any, known: Sequence[str], optional: Sequence[str]) -> None:
    if not isinstance(value, dict):
        raise MalformedError("sources.fields", "expected a table")
    strange = sorted(value.keys() - set(known))
    if strange:
        raise MalformedError("sources.fields", f"unknown member {strange[0][:64]!r}", hint=f"known: {', '.join(known)}")
    missing = sorted(set(known) - set(optional) - value.keys())
    if missing:
        raise MalformedError("sources.fields", f"{missing[0]} is missing")


def _source(value: Mapping[str, Any]) -> Definition:
    _members(value, _SOURCE, ("unit", "parameters", "rate"))
    if value["type"] != SOURCE_TYPE:
        raise MalformedError("sources.fields", f"type is {SOURCE_TYPE}")
    name, kind = value["id"], value["kind"]
    if not is_code(name):
        raise MalformedError("sources.id", "an id is a code: lower-case letters, digits, dots and hyphens")
    if kind not in KINDS:
        raise MalformedError("sources.kind", f"a kind is one of {', '.join(KINDS)}")
    version = _integer(value["version"], "version", 1, canonical.MAX_INTEGER)
    parameters = _parameters(value.get("parameters", {}))
    reach, query = _request(kind, value["request"])
    extract = parse_extraction(value["extract"])
    if kind != "https" and extract.method != "json":
        raise MalformedError("sources.extract", "what a chain, a database or a resolver answers is read as json")
    if kind == "sql":
        _check_bound(parameters, extract)
    if kind == "dns" and extract.time_format is not None:
        raise MalformedError("sources.extract", "records have no time of their own")
    expect = parse_expectation(value["expect"])
    rate = _rate(value.get("rate", {"requests": 60, "seconds": 60}))
    workspaces = tuple(sorted(_texts(value["workspaces"], "workspaces", 256)))
    request = _request_json(reach, query)
    _check_places(request, parameters)
    document: dict[str, canonical.JSON] = {
        "type": SOURCE_TYPE,
        "id": name,
        "version": version,
        "title": _text(value["title"], "title"),
        "kind": kind,
        "workspaces": list(workspaces),
        "unit": _text(value.get("unit", ""), "unit", most=32, empty=True),
        "parameters": {key: item.to_json() for key, item in sorted(parameters.items())},
        "request": request,
        "extract": extract.to_json(),
        "expect": expect.to_json(),
        "rate": {"requests": rate.requests, "seconds": rate.seconds},
    }
    raw = canonical.encode(document)
    return Definition(
        name,
        version,
        value["title"],
        kind,
        workspaces,
        value.get("unit", ""),
        parameters,
        reach,
        query,
        extract,
        expect,
        rate,
        raw,
        sha256_hex(raw),
    )


def _request_json(reach: Reach, query: EvmQuery | None) -> dict[str, canonical.JSON]:
    return reach.to_json() | ({} if query is None else query.to_json())


def _request(kind: str, value: Any) -> tuple[Reach, EvmQuery | None]:
    if kind == "sql":
        return _sql(value), None
    if kind == "dns":
        return _dns(value), None
    own = ("chain_id", "call", "address", "data", "topics", "block") if kind == "evm" else ()
    _members(value, ("url", *_TRANSPORT_DEFAULTS, *own), (*_TRANSPORT_DEFAULTS, *own[2:]))
    transport = _transport({name: item for name, item in value.items() if name not in own})
    return transport, _evm(value) if own else None


def _transport(given: Mapping[str, Any]) -> Transport:
    value = {**_TRANSPORT_DEFAULTS, **given}
    url = _text(value["url"], "url", most=MAX_URL)
    addresses = tuple(parse_network(item) for item in _list(value["addresses"], "addresses", 32))
    _check_url(url, addresses)
    pins = tuple(_texts(value["pins"], "pins", 16))
    for pin in pins:
        hex_decode(pin, 32)
    types = tuple(_texts(value["content_types"], "content_types", 16))
    if not types or not all(_MEDIA.match(item) for item in types):
        raise MalformedError("sources.content_type", "content_types lists media types, like application/json")
    return Transport(
        url=url,
        headers=_headers(value["headers"]),
        secret=None if value["secret"] is None else _secret(value["secret"]),
        content_types=types,
        redirects=_integer(value["redirects"], "redirects", 0, 5),
        seconds=_integer(value["seconds"], "seconds", 1, 60),
        most_bytes=_integer(value["bytes"], "bytes", 1, 16 << 20),
        addresses=addresses,
        pins=tuple(sorted(pins)),
        roots=tuple(b64_decode(item) for item in _list(value["roots"], "roots", 8)),
    )


def _check_url(url: str, addresses: Sequence[Network]) -> None:
    match = _URL.match(url)
    if match is None or not _is_host(match["host"]) or int(match["port"] or 1) > 65_535:
        raise MalformedError(
            "sources.url", "a URL is https://host/path?query in ASCII, without user, fragment or place in its host"
        )
    target = match["target"] or "/"
    for piece in _PLACE.sub("x", target).partition("?")[0].split("/"):
        if piece.lower().replace("%2e", ".") in (".", ".."):
            raise MalformedError("sources.url", "a path has no dot segments")
    if any(mark in _PLACE.sub("", target) for mark in "{}"):
        raise MalformedError("sources.url", "braces stand around names of parameters only")
    if match["scheme"] == "http" and not addresses:
        raise MalformedError(
            "sources.url", "without TLS a source is reached at listed addresses only", hint="name them in addresses"
        )


def _is_host(text: str) -> bool:
    if text.startswith("["):
        return parse_address(text[1:-1]) is not None
    return len(text) <= 253 and all(_LABEL.match(label) for label in text.split("."))


def _headers(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or len(value) > 16:
        raise MalformedError("sources.header", "headers are at most 16 names with a value each")
    for name, text in value.items():
        if not _HEADER_NAME.match(name) or name in _OWN_HEADERS:
            raise MalformedError("sources.header", f"{name[:64]!r} is no header that a definition may set")
        if not isinstance(text, str) or not _HEADER_VALUE.match(text) or "{" in text:
            raise MalformedError("sources.header", "a header's value is printable ASCII without places")
    return tuple(sorted(value.items()))


def _secret(value: Any) -> SecretUse:
    _members(value, ("name", "header", "prefix"), ("prefix",))
    header, prefix = value["header"], value.get("prefix", "")
    if not is_code(value["name"]):
        raise MalformedError("sources.secret", "a secret is named by a code; what it is stays with the node")
    if not isinstance(header, str) or not _HEADER_NAME.match(header) or header in _OWN_HEADERS:
        raise MalformedError("sources.header", "a secret goes into a header that is not the fetcher's own")
    if not isinstance(prefix, str) or (prefix and not re.match(r"[\x21-\x7e][\x20-\x7e]{0,31}\Z", prefix)):
        raise MalformedError("sources.header", "a prefix is printable ASCII, at most 32 characters")
    return SecretUse(value["name"], header, prefix)


def _evm(value: Mapping[str, Any]) -> EvmQuery:
    call = value["call"]
    if call not in _EVM_CALLS:
        raise MalformedError("sources.request", f"a call is one of {', '.join(_EVM_CALLS)}")
    address, data = value.get("address"), value.get("data")
    topics = _texts(value.get("topics", []), "topics", 4)
    if (call == "block") != (address is None) or (call == "call") != (data is not None):
        raise MalformedError("sources.request", "balance, call and logs have an address, and exactly call has data")
    if topics and call != "logs":
        raise MalformedError("sources.request", "only logs have topics")
    for text in (address, data, *topics):
        if text is not None and not (isinstance(text, str) and _HEX_PLACES.match(text)):
            raise MalformedError("sources.request", "addresses, data and topics are 0x and lower-case hex or places")
    block = value.get("block", "finalized")
    if not isinstance(block, str) or not _BLOCK.match(block):
        raise MalformedError("sources.request", "a block is finalized, safe, latest or a number in hex")
    chain_id = _integer(value["chain_id"], "chain_id", 1, canonical.MAX_INTEGER)
    return EvmQuery(chain_id, call, address, data, tuple(topics), block)


def _sql(value: Any) -> SqlRead:
    _members(value, ("dialect", "secret", "select", "rows", "seconds", "bytes"), ("rows", "seconds", "bytes"))
    if value["dialect"] not in DIALECTS:
        raise MalformedError("sources.request", f"a dialect is one of {', '.join(DIALECTS)}")
    if not is_code(value["secret"]):
        raise MalformedError("sources.secret", "a secret is named by a code; what it is stays with the node")
    select = _text(value["select"], "select", most=MAX_SELECT, plain=False)
    check_select(select)
    return SqlRead(
        dialect=value["dialect"],
        secret=value["secret"],
        select=select,
        rows=_integer(value.get("rows", 1), "rows", 1, MAX_ROWS),
        seconds=_integer(value.get("seconds", 10), "seconds", 1, 60),
        most_bytes=_integer(value.get("bytes", 1_048_576), "bytes", 2, 16 << 20),
    )


def _dns(value: Any) -> DnsRead:
    _members(value, ("resolver", "name", "record", "seconds"), ("seconds",))
    parse_resolver(value["resolver"])
    if value["record"] not in TYPES:
        raise MalformedError("sources.request", f"a record is one of {', '.join(sorted(TYPES))}")
    if not is_name(_PLACE.sub("x", _text(value["name"], "name"))):
        raise MalformedError("sources.request", "a name is lower-case labels, without a dot at its end")
    return DnsRead(
        value["resolver"], value["name"], value["record"], _integer(value.get("seconds", 5), "seconds", 1, 60)
    )


def _check_bound(parameters: Mapping[str, Parameter], extract: Extraction) -> None:
    """Rules of a source of kind ``sql`` (``sources.md`` §4(2)): what can be bound, and no ``Date``."""
    for item in parameters.values():
        bounds = [end for end in (item.minimum, item.maximum) if end is not None]
        if item.type == "integer" and not all(INTEGERS[0] <= end <= INTEGERS[1] for end in bounds):
            raise MalformedError("sources.parameter", "an integer that is bound has at most 64 bits")
    if extract.time_format == "http_date":
        raise MalformedError("sources.extract", "a database has no Date: name a column")


def _rate(value: Any) -> Rate:
    _members(value, ("requests", "seconds"), ())
    return Rate(_integer(value["requests"], "requests", 1, 1_000_000), _integer(value["seconds"], "seconds", 1, 86_400))


def _parameters(value: Any) -> dict[str, Parameter]:
    if not isinstance(value, dict) or len(value) > 16 or not all(_NAME.match(name) for name in value):
        raise MalformedError("sources.parameter", "parameters are at most 16, named by lower-case letters and digits")
    return {name: _parameter(item) for name, item in value.items()}


def _parameter(value: Any) -> Parameter:
    known = ("type", "choices", "minimum", "maximum", "length", "default")
    _members(value, known, known[1:])
    kind = value["type"]
    if kind not in PARAMETER_TYPES:
        raise MalformedError("sources.parameter", f"a parameter's type is one of {', '.join(PARAMETER_TYPES)}")
    choices = tuple(_texts(value.get("choices", []), "choices", 1024))
    numeric = kind in ("integer", "decimal")
    low, high = value.get("minimum"), value.get("maximum")
    if (kind == "choice") != bool(choices):
        raise MalformedError("sources.parameter", "exactly a choice has choices")
    if numeric != (low is not None) or numeric != (high is not None):
        raise MalformedError("sources.parameter", "exactly numbers have a minimum and a maximum, as decimal strings")
    length = _integer(value.get("length", 64 if kind in ("word", "path") else 0), "length", 0, 1024)
    if kind not in ("word", "path", "hex") and length:
        raise MalformedError("sources.parameter", "only words, paths and hex have a length")
    least = parse_decimal(low) if numeric else None
    most = parse_decimal(high) if numeric else None
    if least is not None and most is not None and least > most:
        raise MalformedError("sources.parameter", "nothing lies between minimum and maximum")
    found = Parameter(kind, choices, least, most, length, None)
    if value.get("default") is None:
        return found
    try:
        default = _check_value("default", found, value["default"])
    except HoldfastError as error:
        raise MalformedError("sources.parameter", "the default is none that a caller could say") from error
    return Parameter(kind, choices, least, most, length, default)


def _check_places(request: Mapping[str, canonical.JSON], parameters: Mapping[str, Parameter]) -> None:
    """Every place has a parameter, and every parameter a place."""
    used: set[str] = set()
    for member in ("url", "address", "data", "block", "select", "name"):
        used |= set(_PLACE.findall(str(request.get(member) or "")))
    topics = request.get("topics")
    for item in topics if isinstance(topics, list) else ():
        used |= set(_PLACE.findall(str(item)))
    if used != parameters.keys():
        odd = min(used ^ parameters.keys())
        raise MalformedError("sources.place", f"{odd[:64]!r} is not both a parameter and a place that takes it")


# --- one request ------------------------------------------------------------------------------------------------------


def resolve(source: Definition, given: Mapping[str, object]) -> Resolved:
    """A caller's parameters in their places. Raises ``sources.value`` for what the definition does not allow."""
    strange = sorted(given.keys() - source.parameters.keys())
    if strange:
        hint = f"it has {', '.join(sorted(source.parameters)) or 'none'}"
        raise UsageError("sources.value", f"the source has no parameter {strange[0][:64]!r}", hint=hint)
    places = {}
    for name, parameter in sorted(source.parameters.items()):
        value = given.get(name, parameter.default)
        if value is None:
            raise UsageError("sources.value", f"the source asks for {name}", param=name)
        places[name] = _check_value(name, parameter, value)
    if isinstance(source.reach, DnsRead) and not is_name(fill(source.reach.name, places)):
        raise UsageError("sources.value", "the parameters make no name that is asked for here")
    url = _fill_url(source.reach.url, places) if isinstance(source.reach, Transport) else ""
    return Resolved(source, places, url)


def _check_value(name: str, parameter: Parameter, value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or len(text) > 2048:
        raise UsageError("sources.value", f"{name} is a text or a whole number", param=name)
    if parameter.type == "choice":
        fits = text in parameter.choices
    elif parameter.type == "word":
        fits = len(text) <= parameter.length and _is_word(text)
    elif parameter.type == "path":
        fits = len(text) <= parameter.length and all(_is_word(piece) for piece in text.split("/"))
    elif parameter.type == "hex":
        size = len(text.removeprefix("0x")) // 2
        fits = _HEX.match(text) is not None and (size == parameter.length if parameter.length else size <= 1024)
    else:
        fits = _in_range(parameter, text)
    if not fits:
        raise UsageError("sources.value", f"{name} is nothing that this source takes", param=name)
    return text.removeprefix("0x") if parameter.type == "hex" else text


def _is_word(text: str) -> bool:
    return _WORD.match(text) is not None and text.strip(".") != ""


def _in_range(parameter: Parameter, text: str) -> bool:
    try:
        number = parse_decimal(text)
    except MalformedError:
        return False
    whole = parameter.type == "decimal" or number == number.to_integral_value()
    least, most = parameter.minimum, parameter.maximum
    return whole and least is not None and most is not None and least <= number <= most


def _fill_url(template: str, places: Mapping[str, str]) -> str:
    """Values go in percent-encoded, so that none is more than a part of a segment or of a query's value."""
    url = _PLACE.sub(lambda match: _encode(places[match[1]]), template)
    if len(url) > MAX_URL:
        raise UsageError("sources.value", f"the URL would be longer than {MAX_URL} characters")
    path = url.partition("://")[2].partition("/")[2].partition("?")[0]
    if any(piece in (".", "..") for piece in path.split("/")):
        raise UsageError("sources.value", "a parameter makes no dot segment of a path")
    return url


def match_url(definitions: Iterable[Definition], url: str) -> tuple[str, dict[str, str]]:
    """The source among ``definitions`` that takes a URL, and the parameters that make it; raises ``sources.unknown``.

    Only a source of kind ``https`` whose parameters then resolve to exactly this URL takes it.
    """
    for definition in definitions:
        if definition.kind != "https":
            continue
        pieces = _PLACE.split(definition.transport.url)
        if len(pieces) > 5:  # two places: more could be filled in too many ways
            continue
        pattern = "".join(
            f"(?P<{piece}>[A-Za-z0-9._~/-]+)" if place % 2 else re.escape(piece) for place, piece in enumerate(pieces)
        )
        try:
            match = re.fullmatch(pattern, url) if len(url) <= MAX_URL else None
            if match is not None and resolve(definition, match.groupdict()).url == url:
                return definition.id, match.groupdict()
        except (re.error, UsageError):
            continue
    raise UsageError(
        "sources.unknown", "no source takes this URL", hint="GET /v1/sources lists what is allowed", status=404
    )


def parse_signing_key(text: str) -> PublicKey:
    """``ed25519:HEX`` or ``p256:HEX``, as settings name whoever may sign a registry; raises ``sources.key``."""
    algorithm, _, public = text.partition(":")
    sizes = {"ed25519": 32, "p256": 33}
    if algorithm not in sizes:
        raise UsageError("sources.key", "a key that signs registries is ed25519:HEX or p256:HEX")
    return PublicKey("statement", algorithm, hex_decode(public, sizes[algorithm]))


_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")
"""RFC 3986 §2.3, and the slash: only parameters of type ``path`` and choices can hold one."""


def _encode(text: str) -> str:
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode("utf-8"))


def fill(template: str, places: Mapping[str, str]) -> str:
    """Values in their places, as they are; for hex and names, whose parameters allow no more than that."""
    return _PLACE.sub(lambda match: places[match[1]], template)


@dataclass(frozen=True, slots=True)
class Location:
    """A URL taken apart: scheme, host (without brackets), port and request target."""

    scheme: str
    host: str
    port: int
    target: str


def locate(url: str) -> Location:
    """A resolved URL or that of a redirect, in pieces. Raises ``sources.url`` for any other than ``http(s)``, for a
    user, a fragment, and for what is not ASCII."""
    match = _URL.match(url) if len(url) <= MAX_URL else None
    if match is None or not _is_host(match["host"]):
        raise MalformedError("sources.url", "not a plain https:// URL")
    default = 443 if match["scheme"] == "https" else 80
    return Location(match["scheme"], match["host"].strip("[]"), int(match["port"] or default), match["target"] or "/")


# --- small readers ----------------------------------------------------------------------------------------------------


def _text(value: object, name: str, *, most: int = MAX_TEXT, empty: bool = False, plain: bool = True) -> str:
    if not isinstance(value, str) or len(value) > most or not (value or empty):
        raise MalformedError("sources.text", f"{name} is a text of at most {most} characters")
    if plain and not value.isprintable():
        raise MalformedError("sources.text", f"{name} is one line of printable characters")
    return value


def _list(value: object, name: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise MalformedError("sources.fields", f"{name} is a list of at most {most}")
    return value


def _texts(value: object, name: str, most: int) -> list[str]:
    found = [_text(item, name) for item in _list(value, name, most)]
    if len(set(found)) != len(found):
        raise MalformedError("sources.twice", f"{name} names something twice")
    return found


def _integer(value: object, name: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise MalformedError("sources.number", f"{name} is a whole number from {least} to {most}")
    return value
