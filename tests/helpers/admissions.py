"""Admissions as a data node makes them: documents, signed statements and what opens them, made with the product's own
functions. Everything follows from names and fixed times."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.adapters.signer_files import FileSigner
from holdfast.core.admissions import (
    Admission,
    Extraction,
    HTTPFacts,
    Limits,
    Observation,
    Presented,
    Refusal,
    Roots,
    SentRequest,
    Source,
    Times,
    TLSFacts,
    admission_body_of,
    claimed_time,
    combine,
    parents_of,
)
from holdfast.core.bundles import admission_item
from holdfast.core.canonical import decode
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.keys import KeyDocument, build_key_document
from holdfast.core.quantities import Rule, Value
from holdfast.core.statements import (
    Statement,
    build_envelope,
    build_payload,
    parse_envelope,
    parse_statement,
    pre_authentication_encoding,
)
from tests.helpers.network import at, ed25519_signer

HOST = "rates.example"
DEFINITION = b'{"source":"rates","url":"https://rates.example/{pair}"}'
"""Stands for the definition of a source: here only its digest counts."""
EURO = Value("decimal", "1.0842", "USD")


def digest_of(name: str) -> str:
    """A digest that follows from a name."""
    return hashlib.sha256(name.encode()).hexdigest()


def run_of(name: str) -> str:
    """A random-looking run id that follows from a name."""
    raw = digest_of(f"run/{name}")
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-8{raw[17:20]}-{raw[20:32]}"


SPKI = digest_of("rates spki")
TLS = TLSFacts(
    protocol="TLSv1.3",
    cipher="TLS_AES_256_GCM_SHA384",
    chain=(digest_of("rates leaf"), digest_of("rates issuer")),
    certificate=digest_of("rates leaf"),
    spki=SPKI,
    roots=Roots("certifi", digest_of("root")),
    sni=HOST,
    family="ipv4",
)


def observation(
    value: Value | None = EURO, *, seconds: float = -5, source: str = "rates", host: str = HOST, **change: Any
) -> Observation:
    """What a source answered, ``seconds`` from the question; None for no value. ``change`` replaces members."""
    extraction = None if value is None else Extraction("json-pointer", "/rate", value)
    given = Observation(
        source=Source(source, 1, sha256_hex(DEFINITION)),
        parameters={"pair": "EURUSD"},
        request=SentRequest("GET", host, digest_of("template"), digest_of("request"), 120),
        credential=None,
        tls=replace(TLS, sni=host.partition(":")[0]),
        http=HTTPFacts(200, {"date": "Thu, 01 Jan 2026 11:59:55 GMT"}, (), digest_of("body"), 42),
        extraction=extraction,
        times=Times(at(seconds), at(seconds + 0.1), None),
        limits=Limits(60, 5, ("0.5", "2") if value is None or value.type == "decimal" else None, (SPKI,)),
    )
    return replace(given, **change)


def admitted(seen: Observation | None = None, *, name: str = "admission", **change: Any) -> Admission:
    """A document of what was admitted."""
    seen = seen or observation()
    moment = (seen.times.first_byte or seen.times.requested) + dt.timedelta(milliseconds=50)
    return replace(Admission(run_of(name), "admitted", moment, None, observation=seen), **change)


def refused(code: str = "source.stale", *, name: str = "refusal", seen: Observation | None = None) -> Admission:
    """A document of a refusal."""
    seen = seen or observation(None)
    moment = seen.times.requested + dt.timedelta(milliseconds=150)
    return Admission(run_of(name), "refused", moment, None, observation=seen, refusal=Refusal(code, "It is too old."))


@dataclass(frozen=True)
class DataNode:
    """A data node's keys, and what it signs. Trust has to admit its ``document``."""

    name: str = "data"

    @property
    def signer(self) -> FileSigner:
        return ed25519_signer(self.name, "statement")

    @property
    def document(self) -> KeyDocument:
        return build_key_document(self.name, ["data"], "test", [self.signer.key])

    def sign(self, document: Admission, **change: Any) -> Signed:
        """An admission by this node; ``change`` replaces what the statement is built of."""
        salt = hashlib.sha256(f"salt/{self.name}/{document.run}".encode()).digest()
        body = admission_body_of(document, salt)
        given: dict[str, Any] = {
            "run": document.run,
            "attester": self.document.digest,
            "claimed_at": claimed_time(document.at),
            "parents": parents_of(document),
            "subject": ("admission", body.record),
            "body": body.to_json() | change.pop("body", {}),
        }
        signer = change.pop("signer", self.signer)
        payload = build_payload("admission", **(given | change))
        envelope = build_envelope(payload, signer.key.key_id, signer.sign(pre_authentication_encoding(payload)))
        return Signed(document, salt, envelope)

    def combine(self, members: Sequence[Signed], rule: Rule, *, name: str = "quorum", seconds: float = -4) -> Signed:
        """A quorum over admissions."""
        quorum = combine([(item.statement, item.document) for item in members], rule)
        document = Admission(run_of(name), "combined", at(seconds), None, quorum=quorum)
        return replace(self.sign(document), members=tuple(members))


@dataclass(frozen=True)
class Signed:
    """A signed admission with what opens it."""

    document: Admission
    salt: bytes
    envelope: bytes
    members: tuple[Signed, ...] = ()

    @property
    def statement(self) -> Statement:
        return parse_statement(parse_envelope(self.envelope))

    @property
    def digest(self) -> str:
        return self.statement.digest

    @property
    def presented(self) -> Presented:
        """As a data node answers (``admission.md`` §7(2))."""
        definition = None if self.document.quorum else DEFINITION
        members = tuple(item.presented for item in self.members)
        return Presented(self.envelope, self.document.raw, self.salt, definition, members)

    def statement_item(self, moment: dt.datetime) -> dict[str, Any]:
        """The bundle item that holds the statement."""
        return {"kind": "statement", "at": time_encode(moment), "envelope": decode(self.envelope)}

    def opening(self, moment: dt.datetime, **change: Any) -> Mapping[str, Any]:
        """The bundle item that opens it."""
        given = self.presented
        item = admission_item(
            moment, digest=self.digest, document=given.document, salt=given.salt, definition=given.definition
        )
        return item | change
