"""The trust root: parse it, walk its chain of versions, look things up in it (``spec/trust.md``).

``parse_trust_chain`` checks shapes, ``verify_trust`` checks thresholds, numbers, rollback and the pin, and returns the
only :class:`Trust` there is: admissions of nodes, logs, epochs and chains, each with its validity.

Not covered: where the file came from, and who holds the root keys.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from holdfast.core import canonical
from holdfast.core.attestation.evidence import FORMATS
from holdfast.core.attestation.reference import parse_reference_value
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode, sha256_hex, time_decode
from holdfast.core.keys import ALGORITHM_SIZES, ROLES, KeyDocument, PublicKey, parse_key_document, verify_signature
from holdfast.core.rounds import parse_origin
from holdfast.core.statements import is_code, pre_authentication_encoding
from holdfast.errors import MalformedError, RefusedError

TRUST_TYPE = "urn:holdfast:trust:v1"
"""``type`` of a trust version (``trust.md`` §1)."""
CHAIN_TYPE = "urn:holdfast:trust-chain:v1"
"""``type`` of a trust file (``trust.md`` §2)."""
TRUST_PAYLOAD_TYPE = "application/vnd.holdfast.trust+json"
"""DSSE payload type of a trust version (``trust.md`` §1)."""
ENCLAVE_KINDS = FORMATS
"""Kinds of enclave roots and measurements (``trust.md`` §1)."""
MAX_TRUST_BYTES = 16 * 1024 * 1024
"""Larger trust files are refused unread."""
_MEMBERS = frozenset(
    [
        "type",
        "version",
        "issued_at",
        "expires_at",
        "development",
        "root",
        "nodes",
        "logs",
        "epochs",
        "chains",
        "enclave_roots",
        "measurements",
    ]
)


@dataclass(frozen=True, slots=True)
class Revocation:
    """When a node was revoked, since when its keys are suspect, and why (a code)."""

    at: dt.datetime
    suspect_since: dt.datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Admission:
    """A node that trust admits: its key document and the span for which it holds."""

    key_document: KeyDocument
    valid_from: dt.datetime
    valid_until: dt.datetime
    revoked: Revocation | None

    def refusal(self, start: dt.datetime, end: dt.datetime) -> str | None:
        """Why the admission does not hold for the span [start, end] (``trust.md`` §3), or None when it does."""
        if start < self.valid_from:
            return "key-not-yet-valid"
        if end >= self.valid_until:
            return "key-expired"
        if self.revoked is not None and end >= self.revoked.suspect_since:
            return "key-revoked"
        return None


@dataclass(frozen=True, slots=True)
class TrustedLog:
    """A log that trust admits: its origin and the node whose log key signs its checkpoints."""

    origin: str
    node: str
    valid_from: dt.datetime
    valid_until: dt.datetime


@dataclass(frozen=True, slots=True)
class Epoch:
    """Stake by node (attester digest) for the rounds of one origin from ``first_round`` on."""

    origin: str
    number: int
    first_round: int
    stakes: Mapping[str, int]
    valid_from: dt.datetime
    valid_until: dt.datetime

    @property
    def total(self) -> int:
        return sum(self.stakes.values())

    def is_quorum(self, nodes: Sequence[str] | set[str]) -> bool:
        """Whether distinct ``nodes`` hold more than two thirds of the stake (``trust.md`` §4)."""
        return 3 * sum(self.stakes.get(node, 0) for node in set(nodes)) > 2 * self.total


@dataclass(frozen=True, slots=True)
class TrustedChain:
    """Where the rounds of a log are recorded: EVM chain id, contract address (0x hex) and finality depth in blocks."""

    origin: str
    chain_id: int
    contract: str
    finality_depth: int
    development: bool


@dataclass(frozen=True, slots=True)
class EnclaveRoot:
    """A root that attestation may end at: DER certificate or key bytes, by kind."""

    kind: str
    certificate: bytes
    development: bool


@dataclass(frozen=True, slots=True)
class TrustVersion:
    """One parsed, unverified trust version."""

    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]
    version: int
    issued_at: dt.datetime
    expires_at: dt.datetime
    development: bool
    threshold: int
    root_keys: tuple[PublicKey, ...]
    nodes: tuple[Admission, ...]
    logs: tuple[TrustedLog, ...]
    epochs: tuple[Epoch, ...]
    chains: tuple[TrustedChain, ...]
    enclave_roots: tuple[EnclaveRoot, ...]
    measurements: tuple[Mapping[str, Any], ...]

    @property
    def digest(self) -> str:
        return sha256_hex(self.payload)


@dataclass(frozen=True)
class Trust:
    """A verified trust root: what :func:`verify_trust` and, for one that was, :func:`restore_trust` return."""

    current: TrustVersion
    first_digest: str
    pin: str
    """``digest`` when version 1 was pinned, ``first-use`` when it was taken as it came, ``journal`` when it is
    a kept one that a journal names (:func:`restore_trust`)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_nodes", {item.key_document.digest: item for item in self.current.nodes})
        object.__setattr__(self, "_digest", self.current.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def digest(self) -> str:
        """SHA-256 of the last version's payload, hex; every result names it."""
        digest: str = self._digest  # type: ignore[attr-defined]
        return digest

    @property
    def version(self) -> int:
        return self.current.version

    @property
    def development(self) -> bool:
        return self.current.development

    def admission(self, attester: str) -> Admission | None:
        """The admission of a node, by the digest of its key document."""
        nodes: dict[str, Admission] = self._nodes  # type: ignore[attr-defined]
        return nodes.get(attester)

    def log(self, origin: str) -> TrustedLog | None:
        return next((item for item in self.current.logs if item.origin == origin), None)

    def chain(self, origin: str) -> TrustedChain | None:
        return next((item for item in self.current.chains if item.origin == origin), None)

    def epoch(self, origin: str, round_number: int) -> Epoch | None:
        """The epoch that a round belongs to (``trust.md`` §4)."""
        fitting = [item for item in self.current.epochs if item.origin == origin and item.first_round <= round_number]
        return max(fitting, key=lambda item: item.first_round, default=None)

    def epoch_at(self, origin: str, moment: dt.datetime) -> Epoch | None:
        """The newest epoch of an origin whose span contains a moment: for cosignatures, which name no round."""
        fitting = [
            item
            for item in self.current.epochs
            if item.origin == origin and item.valid_from <= moment < item.valid_until
        ]
        return max(fitting, key=lambda item: item.number, default=None)


def _fields(value: object, names: str, code: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != set(names.split()):
        raise MalformedError(code, f"expected exactly: {names}")
    return value


def _list(value: object, code: str) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedError(code, "expected a list")
    return value


def _integer(value: object, least: int, code: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise MalformedError(code, f"expected an integer of at least {least}")
    return value


def _boolean(value: object, code: str) -> bool:
    if not isinstance(value, bool):
        raise MalformedError(code, "expected a boolean")
    return value


def _origin(value: object, code: str) -> str:
    try:
        return parse_origin(value)
    except MalformedError as error:
        raise MalformedError(code, error.message) from error


def _once(items: Sequence[TrustedLog] | Sequence[TrustedChain], code: str) -> None:
    """An origin stands for one log on one chain; which of two would count, nobody could say."""
    if len({item.origin for item in items}) != len(items):
        raise MalformedError(code, "an origin is listed once")


def _span(value: dict[str, Any]) -> tuple[dt.datetime, dt.datetime]:
    start, end = time_decode(value["valid_from"]), time_decode(value["valid_until"])
    if end <= start:
        raise MalformedError("trust.span", "valid_until comes after valid_from")
    return start, end


def _root_key(value: object) -> PublicKey:
    entry = _fields(value, "algorithm public", "trust.root")
    if entry["algorithm"] not in ("ed25519", "p256"):
        raise MalformedError("trust.root", "root keys are ed25519 or p256")
    return PublicKey("root", entry["algorithm"], b64_decode(entry["public"], ALGORITHM_SIZES[entry["algorithm"]]))


def _admission(value: object) -> Admission:
    entry = _fields(value, "key_document valid_from valid_until revoked", "trust.node")
    revoked = None
    if entry["revoked"] is not None:
        given = _fields(entry["revoked"], "at suspect_since reason", "trust.revocation")
        if not is_code(given["reason"]):
            raise MalformedError("trust.revocation", "the reason of a revocation is a code")
        revoked = Revocation(time_decode(given["at"]), time_decode(given["suspect_since"]), given["reason"])
    return Admission(parse_key_document(b64_decode(entry["key_document"])), *_span(entry), revoked)


def _log(value: object) -> TrustedLog:
    entry = _fields(value, "origin node valid_from valid_until", "trust.log")
    hex_decode(entry["node"], 32)
    return TrustedLog(_origin(entry["origin"], "trust.log"), entry["node"], *_span(entry))


def _epoch(value: object) -> Epoch:
    entry = _fields(value, "origin number first_round stakes valid_from valid_until", "trust.epoch")
    stakes: dict[str, int] = {}
    for item in _list(entry["stakes"], "trust.epoch"):
        stake = _fields(item, "node stake", "trust.epoch")
        hex_decode(stake["node"], 32)
        if stake["node"] in stakes:
            raise MalformedError("trust.epoch", "a node has one stake")
        stakes[stake["node"]] = _integer(stake["stake"], 1, "trust.epoch")
    return Epoch(
        _origin(entry["origin"], "trust.epoch"),
        _integer(entry["number"], 0, "trust.epoch"),
        _integer(entry["first_round"], 1, "trust.epoch"),
        stakes,
        *_span(entry),
    )


def _chain(value: object) -> TrustedChain:
    entry = _fields(value, "origin chain_id contract finality_depth development", "trust.chain")
    contract = entry["contract"]
    if not isinstance(contract, str) or not contract.startswith("0x"):
        raise MalformedError("trust.chain", "a contract address is 0x and 40 hex digits")
    hex_decode(contract[2:], 20)
    return TrustedChain(
        _origin(entry["origin"], "trust.chain"),
        _integer(entry["chain_id"], 1, "trust.chain"),
        contract,
        _integer(entry["finality_depth"], 0, "trust.chain"),
        _boolean(entry["development"], "trust.chain"),
    )


def _enclave_root(value: object) -> EnclaveRoot:
    entry = _fields(value, "kind certificate development", "trust.enclave_root")
    if entry["kind"] not in ENCLAVE_KINDS:
        raise MalformedError("trust.enclave_root", "unknown kind of enclave root")
    development = _boolean(entry["development"], "trust.enclave_root")
    if entry["kind"] == "insecure-dev" and not development:
        raise MalformedError("trust.enclave_root", "an insecure-dev root is a development root")
    return EnclaveRoot(entry["kind"], b64_decode(entry["certificate"]), development)


def _measurement(value: object) -> Mapping[str, Any]:
    entry = _fields(value, "kind role value valid_from valid_until debug", "trust.measurement")
    if entry["kind"] not in ENCLAVE_KINDS or not isinstance(entry["value"], dict):
        raise MalformedError("trust.measurement", "a measurement has a known kind and an object as value")
    if entry["role"] not in ROLES:
        raise MalformedError("trust.measurement", "a measurement is of a known role")
    try:
        parse_reference_value(entry["kind"], entry["value"])
    except MalformedError as error:
        raise MalformedError("trust.measurement", error.message) from error
    _span(entry)
    _boolean(entry["debug"], "trust.measurement")
    return entry


def parse_trust_version(envelope: object) -> TrustVersion:
    """One DSSE envelope (as a JSON object) to a :class:`TrustVersion`; raises ``trust.*``. Checks no signature."""
    outer = _fields(envelope, "payload payloadType signatures", "trust.envelope")
    if outer["payloadType"] != TRUST_PAYLOAD_TYPE:
        raise MalformedError("trust.envelope", f"expected payload type {TRUST_PAYLOAD_TYPE}")
    signatures = []
    for item in _list(outer["signatures"], "trust.envelope"):
        entry = _fields(item, "keyid sig", "trust.envelope")
        hex_decode(entry["keyid"], 32)
        signatures.append((entry["keyid"], b64_decode(entry["sig"])))
    payload = b64_decode(outer["payload"])
    value = canonical.decode_signed(payload)
    if value.keys() != _MEMBERS or value["type"] != TRUST_TYPE:
        raise MalformedError("trust.fields", f"not a {TRUST_TYPE}")
    root = _fields(value["root"], "threshold keys", "trust.root")
    keys = tuple(_root_key(item) for item in _list(root["keys"], "trust.root"))
    if len({key.key_id for key in keys}) != len(keys):
        raise MalformedError("trust.root", "root keys are distinct")
    threshold = _integer(root["threshold"], 1, "trust.root")
    if threshold > len(keys):
        raise MalformedError("trust.root", "the threshold is larger than the number of root keys")
    nodes = tuple(_admission(item) for item in _list(value["nodes"], "trust.node"))
    if len({node.key_document.digest for node in nodes}) != len(nodes):
        raise MalformedError("trust.node", "a node is admitted once")
    epochs = tuple(_epoch(item) for item in _list(value["epochs"], "trust.epoch"))
    if len({(epoch.origin, epoch.number) for epoch in epochs}) != len(epochs):
        raise MalformedError("trust.epoch", "an epoch number occurs once per origin")
    for before, after in pairwise(sorted(epochs, key=lambda epoch: (epoch.origin, epoch.number))):
        if after.origin == before.origin and after.first_round <= before.first_round:
            raise MalformedError("trust.epoch", "epochs ascend with their first round")
    logs = tuple(_log(item) for item in _list(value["logs"], "trust.log"))
    chains = tuple(_chain(item) for item in _list(value["chains"], "trust.chain"))
    _once(logs, "trust.log")
    _once(chains, "trust.chain")
    return TrustVersion(
        payload=payload,
        signatures=tuple(signatures),
        version=_integer(value["version"], 1, "trust.version"),
        issued_at=time_decode(value["issued_at"]),
        expires_at=time_decode(value["expires_at"]),
        development=_boolean(value["development"], "trust.fields"),
        threshold=threshold,
        root_keys=keys,
        nodes=nodes,
        logs=logs,
        epochs=epochs,
        chains=chains,
        enclave_roots=tuple(_enclave_root(item) for item in _list(value["enclave_roots"], "trust.enclave_root")),
        measurements=tuple(_measurement(item) for item in _list(value["measurements"], "trust.measurement")),
    )


def parse_trust_chain(raw: bytes) -> tuple[TrustVersion, ...]:
    """A trust file to its versions, in file order; raises ``trust.*`` or ``json.*``. Checks no signature."""
    if len(raw) > MAX_TRUST_BYTES:
        raise MalformedError("trust.size", f"a trust file has at most {MAX_TRUST_BYTES} bytes")
    value = _fields(canonical.decode_object(raw), "type versions", "trust.fields")
    if value["type"] != CHAIN_TYPE:
        raise MalformedError("trust.fields", f"not a {CHAIN_TYPE}")
    versions = tuple(parse_trust_version(item) for item in _list(value["versions"], "trust.fields"))
    if not versions:
        raise MalformedError("trust.fields", "a trust file has at least one version")
    return versions


def _require_threshold(version: TrustVersion, keys: tuple[PublicKey, ...], threshold: int) -> None:
    """At least ``threshold`` distinct ``keys`` signed this version (``trust.md`` §2)."""
    message = pre_authentication_encoding(version.payload, TRUST_PAYLOAD_TYPE)
    by_id = {key.key_id: key for key in keys}
    good: set[str] = set()
    for key_id, signature in version.signatures:
        key = by_id.get(key_id)
        if key is None or key_id in good:
            continue
        try:
            verify_signature(key, message, signature)
        except RefusedError:
            continue
        good.add(key_id)
    if len(good) < threshold:
        raise RefusedError(
            "trust.threshold", f"trust version {version.version} has {len(good)} of {threshold} root signatures"
        )


def verify_trust(
    versions: Sequence[TrustVersion], *, pin: str | None = None, accepted: tuple[int, str] | None = None
) -> Trust:
    """Walk the chain of versions (``trust.md`` §2).

    ``pin`` is the hex digest that version 1 must have; without it version 1 is taken on first use. ``accepted`` is the
    (number, digest) of the last version this verifier accepted before. Raises ``trust.pin``, ``trust.version``,
    ``trust.threshold``, ``trust.rollback`` or ``trust.fork``.
    """
    first = versions[0]
    if pin is not None and first.digest != pin:
        raise RefusedError("trust.pin", "the first trust version is not the pinned one")
    previous: TrustVersion | None = None
    for number, version in enumerate(versions, start=1):
        if version.version != number:
            raise RefusedError("trust.version", f"expected trust version {number}, found {version.version}")
        if previous is not None:
            _require_threshold(version, previous.root_keys, previous.threshold)
        _require_threshold(version, version.root_keys, version.threshold)
        previous = version
    if accepted is not None:
        number, digest = accepted
        if number > len(versions):
            raise RefusedError(
                "trust.rollback",
                f"version {number} was accepted before; this file ends earlier",
                hint="ask for the newest trust file: an older one does not know what was revoked since",
            )
        if versions[number - 1].digest != digest:
            raise RefusedError(
                "trust.fork",
                f"version {number} differs from the one accepted before",
                hint="this is another network's trust, or one of the two is forged: compare digests over another way",
            )
    return Trust(versions[-1], first.digest, "digest" if pin is not None else "first-use")


def restore_trust(payload: bytes, digest: str) -> Trust:
    """A trust that was verified while it was in force, from the payload that was kept under its digest (hex).

    For reading again what was appraised under it (``case.md`` §6(1)): whoever names the digest vouches for it, as a
    panel's journal does. Checks no signature. Raises ``trust.kept`` for another payload, or ``trust.*``.
    """
    if sha256_hex(payload) != digest:
        raise RefusedError("trust.kept", f"what is kept as trust {digest[:12]} is another document")
    envelope = {"payload": b64_encode(payload), "payloadType": TRUST_PAYLOAD_TYPE, "signatures": []}
    return Trust(parse_trust_version(envelope), digest, "journal")


def build_trust_chain(versions: Sequence[tuple[bytes, Sequence[tuple[str, bytes]]]]) -> bytes:
    """Make a trust file from (payload, [(key id, signature)]) pairs; the result parses."""
    value: dict[str, canonical.JSON] = {
        "type": CHAIN_TYPE,
        "versions": [
            {
                "payload": b64_encode(payload),
                "payloadType": TRUST_PAYLOAD_TYPE,
                "signatures": [{"keyid": key_id, "sig": b64_encode(signature)} for key_id, signature in signatures],
            }
            for payload, signatures in versions
        ],
    }
    raw = canonical.encode(value)
    parse_trust_chain(raw)
    return raw
