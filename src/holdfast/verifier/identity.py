"""Who answers, before anything is asked of it: trust, attestation, TLS and OHTTP keys (``spec/client.md`` §1 to §3).

The plan, in this order; the first step that fails raises, and nothing has been sent by then:

1. Trust admits the key document now (``gateway.trust``). Without trust its key is taken on first use, and the result
   says so.
2. The attestation verifies, binds the key document, answers the nonce that was sent, and is of what the caller requires
   (``identity.attestation``, ``identity.stale``, or the code of the step of ``attestation.md`` that failed).
3. What it binds besides is what the key document says: the TLS key (``identity.tls``), the OHTTP configurations
   (``identity.ohttp``).
4. The connection ends at the TLS key that the key document names (``identity.tls``).

What was not required is still looked at, and stands in the transcript with its answer.

Not covered: how the bytes were fetched, and that a connection really ends where its :class:`Channel` says
(``client.channels``).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal, TypeAlias

from holdfast.core.bundles import AttestationItem
from holdfast.core.canonical import JSON
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.keys import KeyDocument
from holdfast.core.statements import SealedPath
from holdfast.core.trust import Trust
from holdfast.errors import RefusedError, UndecidedError
from holdfast.verifier.enclaves import CheckedAttestation, EnclaveAnswer, Moment, check_attestation
from holdfast.verifier.keys_proof import VerifiedKeys
from holdfast.verifier.transcript import ENCLAVE, Check, Transcript

Attested: TypeAlias = Literal["hardware", "development", "none"]
"""What an attestation must come to; each is content with what stands before it (``client.md`` §2)."""
ATTESTED: tuple[Attested, ...] = ("hardware", "development", "none")
ChannelKind: TypeAlias = Literal["pinned", "web", "plain", "sealed"]
"""How bytes travel to the gateway (``client.md`` §3): TLS that ends at one known key; TLS that the web's authorities
vouch for; no TLS; sealed to an OHTTP key of the gateway."""
_ABOUT_KEYS = ("bytes", "route")
_ABOUT_WAY = ("privacy",)


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a caller asks of a gateway before anything is sent to it (``client.md`` §2)."""

    attested: Attested | None = None
    """None: ``hardware`` under trust, ``development`` under development trust, ``none`` without trust."""
    fresh: bool | None = None
    """Whether the attestation must answer the nonce of this client. None: where hardware is required."""

    def under(self, trust: Trust | None) -> Requirements:
        """These with nothing left open."""
        least: Attested = "none" if trust is None else "development" if trust.development else "hardware"
        attested = least if self.attested is None else self.attested
        return Requirements(attested, attested == "hardware" if self.fresh is None else self.fresh)


@dataclass(frozen=True, slots=True)
class Channel:
    """How bytes travel to the gateway."""

    kind: ChannelKind
    spki: str | None = None
    """Of ``pinned``: SHA-256 (hex) of the DER SubjectPublicKeyInfo that every connection ends at."""
    path: SealedPath | None = None
    """Of ``sealed``: what every request is sealed with, and the relay that hands it on, as far as it said who it is."""
    keys: VerifiedKeys | None = None
    """Of ``sealed``: the keys that were shown with proof (``relay.md`` §4)."""


PLAIN = Channel("plain")
"""No TLS: between processes of one machine, or where the caller said so."""


@dataclass(frozen=True, slots=True)
class CheckedIdentity:
    """What was checked of a gateway, and what it came to; made by :func:`check_identity` alone."""

    document: KeyDocument
    admitted: bool
    """Whether trust admits it; otherwise its key was taken on first use."""
    enclave: EnclaveAnswer | None
    """What its attestation comes to; None where it shows none, or nobody said which are admitted."""
    form: str | None
    """Format of the attestation."""
    fresh: bool
    """Whether the attestation answers the nonce that this client drew."""
    channel: Channel
    required: Requirements
    at: dt.datetime
    transcript: tuple[Check, ...]

    @property
    def says(self) -> str:
        """What was checked, in one line of words."""
        who = "admitted by trust" if self.admitted else "taken on its own word: there is no trust document"
        return f"{self.document.name}: {who}; {self._says_enclave()}; {self._says_way()}"

    def _says_enclave(self) -> str:
        when = "made now, for this client" if self.fresh else "made for nobody in particular"
        if self.enclave == "hardware":
            return f"its keys are held by an enclave with admitted measurements ({self.form}, {when})"
        if self.enclave == "development":
            return f"its attestation is a development stand-in ({self.form}), no enclave"
        if self.form is None:
            return "it shows no attestation"
        return f"its attestation ({self.form}) counts for nothing here"

    def _says_way(self) -> str:
        if self.channel.kind == "pinned":
            return "TLS ends at the key that its key document names"
        if self.channel.kind == "web":
            return "TLS ends at a certificate of the web's authorities, and wherever its operator put it"
        if self.channel.kind == "sealed":
            return "every request is sealed to a key that its key document names and the log shows to everybody"
        return "no TLS: whoever sees the network between reads along"

    def to_json(self) -> dict[str, JSON]:
        """For programs, and for ``--json``."""
        return {
            "node": self.document.digest,
            "name": self.document.name,
            "admitted": self.admitted,
            "enclave": self.enclave,
            "format": self.form,
            "fresh": self.fresh,
            "channel": self.channel.kind,
            "required": {"attested": self.required.attested, "fresh": self.required.fresh},
            "at": time_encode(self.at),
            "says": self.says,
            "transcript": [check.to_json() for check in self.transcript],
        }


def check_identity(
    document: KeyDocument,
    attestation: AttestationItem | None,
    *,
    trust: Trust | None,
    requirements: Requirements,
    channel: Channel,
    at: dt.datetime,
    nonce: bytes | None = None,
) -> CheckedIdentity:
    """Judge a gateway by its key document and attestation (``client.md`` §1 to §3).

    ``nonce`` is what the attestation was asked to answer; None when it was made before anybody asked. Raises
    ``gateway.trust``, ``identity.*`` or the code of what is wrong with the attestation.
    """
    record, required = Transcript(), requirements.under(trust)
    _admit(document, trust, at, record)
    found = _attest(document, attestation, trust, at, nonce, record)
    _require_attested(found, required, record)
    if found is not None and found.answer in ("hardware", "development"):
        _require_bound(found, document, required, record)
    _require_channel(document, channel, required, record, known=trust is not None)
    return CheckedIdentity(
        document=document,
        admitted=trust is not None,
        enclave=None if found is None else found.answer,
        form=None if attestation is None else attestation.format,
        fresh=found is not None and found.fresh,
        channel=channel,
        required=required,
        at=at,
        transcript=tuple(record.checks),
    )


def refuse_document(document: KeyDocument, trust: Trust, at: dt.datetime) -> str | None:
    """Why trust does not admit a key document at a time (``trust.md`` §3), or None when it does."""
    if trust.current.expires_at <= at:
        return "the trust document has run out"
    admission = trust.admission(document.digest)
    return "unknown-key" if admission is None else admission.refusal(at, at)


def _admit(document: KeyDocument, trust: Trust | None, at: dt.datetime, record: Transcript) -> None:
    spec = "client.md §1"
    if trust is None:
        says = "There is no trust document: the gateway's key is taken on its own word."
        record.note(_ABOUT_KEYS, spec, "cannot_tell", says, "trust.missing")
        return
    why = refuse_document(document, trust, at)
    if why is not None:
        raise RefusedError(
            "gateway.trust", f"trust does not admit the gateway {document.name}: {why}", hint="nothing was asked"
        )
    record.note(_ABOUT_KEYS, spec, "yes", f"Trust admits the key document {document.digest[:12]} of {document.name}.")


def _attest(
    document: KeyDocument,
    attestation: AttestationItem | None,
    trust: Trust | None,
    at: dt.datetime,
    nonce: bytes | None,
    record: Transcript,
) -> CheckedAttestation | None:
    """Judge what is shown, for this very moment."""
    spec = "client.md §2"
    if attestation is None:
        record.note(ENCLAVE, spec, "cannot_tell", "The gateway shows no attestation.", "identity.attestation")
        return None
    if trust is None:
        says = "Without a trust document nobody says which enclaves are admitted."
        record.note(ENCLAVE, spec, "cannot_tell", says, "trust.missing")
        return None
    item = AttestationItem(document.digest, attestation.format, attestation.evidence)
    return check_attestation(item, Moment(at, at), trust, record, nonce)


def _require_attested(found: CheckedAttestation | None, required: Requirements, record: Transcript) -> None:
    """Whether it is as much as the caller asks for (``client.md`` §2)."""
    if required.attested == "none":
        return
    hint = "nothing was asked; whoever accepts less says so: attested 'development' or 'none'"
    if found is None:
        says = f"{required.attested} attestation is required, and there is none that could be judged"
        raise UndecidedError("identity.attestation", says, hint=hint)
    if found.answer == "bad":
        raise RefusedError(found.code, found.says, hint=hint)
    if found.answer not in ("hardware", "development"):
        raise UndecidedError(found.code, found.says, hint=hint)
    if required.attested == "hardware" and found.answer != "hardware":
        raise RefusedError("identity.attestation", f"hardware is required: {found.says}", hint=hint)
    if found.fresh:
        record.note(ENCLAVE, "client.md §2", "yes", "The attestation was made for this client, now.")
        return
    says = "the attestation answers no nonce of this client: it may be an old one"
    if required.fresh:
        raise UndecidedError(
            "identity.stale",
            says,
            hint=f"the gateway makes none for a nonce, or was busy and can be asked again; {hint}",
        )
    record.note(ENCLAVE, "client.md §2", "cannot_tell", f"{says[0].upper()}{says[1:]}.", "identity.stale")


def _require_bound(
    found: CheckedAttestation, document: KeyDocument, required: Requirements, record: Transcript
) -> None:
    """What hardware binds besides the key document is what the document says (``client.md`` §2(4))."""
    if found.form == "insecure-dev":
        says = "TLS and OHTTP keys are bound by the key document that the development root signed."
        record.note(_ABOUT_WAY, "client.md §2", "cannot_tell", says, "enclave.development")
        return
    ohttp = None if document.ohttp_digest is None else document.ohttp_digest.hex()
    if found.bound.tls_spki != document.tls:
        says = "the attestation binds another TLS key than the key document names"
        record.note(_ABOUT_WAY, "client.md §2", "no", f"{says[0].upper()}{says[1:]}.", "identity.tls")
        if required.attested != "none":
            raise RefusedError("identity.tls", says, hint="nothing was asked")
    elif document.tls is not None:
        record.note(_ABOUT_WAY, "client.md §2", "yes", "The attestation binds the TLS key that the document names.")
    if found.bound.hpke != ohttp:
        says = "the attestation binds other OHTTP key configurations than the key document names"
        record.note(_ABOUT_WAY, "client.md §2", "no", f"{says[0].upper()}{says[1:]}.", "identity.ohttp")
        if required.attested != "none":
            raise RefusedError("identity.ohttp", says, hint="nothing was asked")
    elif ohttp is not None:
        says = "The attestation binds the OHTTP key configurations that the document names."
        record.note(_ABOUT_WAY, "client.md §2", "yes", says)


def _require_channel(
    document: KeyDocument, channel: Channel, required: Requirements, record: Transcript, *, known: bool
) -> None:
    """Whether the connection ends at the gateway's own key (``client.md`` §3).

    ``known``: trust admits the document; what another one names proves nothing.
    """
    spec = "client.md §3"
    if channel.kind == "pinned":
        if channel.spki is None or channel.spki != document.tls:
            raise RefusedError(
                "identity.tls",
                "the connection ends at another TLS key than the key document names",
                hint="somebody stands between, or the gateway's certificate is not its own: nothing was asked",
            )
        says = f"Every connection ends at the TLS key {channel.spki[:12]}, which the key document names."
        record.note(_ABOUT_WAY, spec, "yes", says)
    elif channel.kind == "web":
        if (known and document.tls is not None) or required.attested == "hardware":
            raise RefusedError(
                "identity.tls",
                "the connection ends at a TLS key that the key document does not name",
                hint="whoever ends TLS reads every prompt: use the gateway's own listener",
            )
        says = "TLS ends at a certificate of the web's authorities; no admitted key document names its key."
        record.note(_ABOUT_WAY, spec, "cannot_tell", says, "identity.tls")
    elif channel.kind == "plain":
        says = "There is no TLS: whoever sees the network between reads prompts and answers."
        record.note(_ABOUT_WAY, spec, "cannot_tell", says, "identity.plain")
    else:
        _require_sealed(document, channel, record)


def _require_sealed(document: KeyDocument, channel: Channel, record: Transcript) -> None:
    """Whether what requests are sealed to is the gateway's, and shown to everybody (``client.md`` §4)."""
    spec = "client.md §4"
    path, keys = channel.path, channel.keys
    if path is None or keys is None or document.digest != keys.document.digest:
        raise RefusedError(
            "identity.ohttp",
            "the gateway that opens the requests is another one than the keys were proven for",
            hint="nothing was asked; the relay may have passed on to somebody else",
        )
    if path.config not in {sha256_hex(item) for item in document.ohttp}:
        raise RefusedError("identity.ohttp", "requests are sealed to a key that the key document does not name")
    record.note(_ABOUT_WAY, spec, "yes", f"Every request is sealed ({path.suite}) to a key that the document names.")
    when = time_encode(keys.logged_by)
    says = f"The log holds the gateway's statement of these keys, and a quorum had cosigned it by {when}."
    record.note(_ABOUT_WAY, "relay.md §4", "yes", says)
    if path.relay is None:
        says = "The relay did not say who it is: it sees this client's address, and hides it from the gateway."
        record.note(_ABOUT_WAY, spec, "cannot_tell", says, "identity.relay")
    else:
        says = (
            f"The relay {path.relay[:12]} sees this client's address and no text; the gateway sees text and no address."
        )
        record.note(_ABOUT_WAY, spec, "yes", says)
