"""What a hub says of artifacts, and the commitments to it in the log (``spec/artifacts.md`` §4, §5).

A *change* is published, declared, labelled or revoked. Its document says which artifact, by whom and why;
``change_record`` commits to its bytes, and ``verify_change`` opens the record of an ``artifact`` statement.
``label_id`` is the number under which full nodes keep the changes of one label in one order without learning its name.
``verify_history`` checks that the changes of one label follow each other, without a gap or a fork.

Rules: names, people and reasons never go into the log. A label that moves says how far the two artifacts are one, and
never more than can be said: identical bytes are found here, not believed, and of a model that nobody shows the bytes of
there is only a provider's claim.

Not covered: who may make such a statement (``verifier.checks``), and what follows from it (``review.labels``).
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.artifacts import declared_artifact
from holdfast.core.encoding import hex_decode, sha256, sha256_hex, time_decode, time_encode
from holdfast.core.statements import ARTIFACT_EVENTS, CONTINUITIES, ArtifactBody, Statement, is_code
from holdfast.errors import MalformedError, RefusedError, UsageError

CHANGE_TYPE = "urn:holdfast:artifact-change:v1"
"""``type`` of a change's document (``artifacts.md`` §4(1))."""
RECORD_DOMAIN = b"urn:holdfast:artifact-record:v1\x00"
"""What the preimage of a record begins with (``artifacts.md`` §4(2))."""
LABEL_DOMAIN = b"urn:holdfast:label:v1\x00"
"""What the preimage of a label's id begins with (``artifacts.md`` §4(3))."""
SALT_BYTES = 32
"""Size of a record's and of a label's salt."""
MAX_DOCUMENT_BYTES = 65_536
"""Larger documents are refused unread."""
MAX_REASON = 2_000
"""Longest reason, in characters."""
MAX_PERSON = 128
"""Longest name of who made a change, in characters."""
MAX_DECLARED = 256
"""Longest name that a provider gives, in characters."""
DERIVATIONS = ("converted", "distilled", "fine_tuned", "merged", "pruned", "quantised")
"""How one artifact can be made of another."""
WITH_BYTES = ("byte_identical", "derivative", "compared")
"""Kinds of continuity that nobody can know of a model whose bytes are not shown."""
LABEL = re.compile(
    r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?/[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?:[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?\Z"
)
"""A label's whole name: ``organisation/model:label``, each lower-case letters, digits, dots, hyphens, underscores."""
_MEMBERS = frozenset(
    {
        "type",
        "event",
        "at",
        "artifact",
        "manifest",
        "version",
        "declared",
        "label",
        "before",
        "continuity",
        "by",
        "reason",
    }
)


@dataclass(frozen=True, slots=True)
class Declared:
    """What a provider says of a model whose bytes it keeps, and when it was seen saying so."""

    upstream: str
    model: str
    """The provider's own version string."""
    fingerprint: str | None
    first_seen: dt.datetime
    last_seen: dt.datetime

    @property
    def artifact(self) -> str:
        """The digest (hex) that stands for it."""
        return declared_artifact(self.upstream, self.model, self.fingerprint)

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "upstream": self.upstream,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "first_seen": time_encode(self.first_seen),
            "last_seen": time_encode(self.last_seen),
        }


@dataclass(frozen=True, slots=True)
class Label:
    """A label by its whole name, and the salt (32 bytes) that its id is made with, the same for all its changes."""

    name: str
    salt: bytes

    @property
    def id(self) -> str:
        return label_id(self.name, self.salt)

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"name": self.name, "salt": self.salt.hex()}


@dataclass(frozen=True, slots=True)
class Continuity:
    """How far what a label means now is what it meant before (``artifacts.md`` §4(5))."""

    kind: str
    of: str | None = None
    """Of a ``derivative``: digest (hex) of the artifact that it was made of."""
    how: str | None = None
    """Of a ``derivative``: one of :data:`DERIVATIONS`."""
    evaluation: str | None = None
    """Of ``compared``: SHA-256 (hex) of the evaluation that is attached."""

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"kind": self.kind, "of": self.of, "how": self.how, "evaluation": self.evaluation}


@dataclass(frozen=True, slots=True)
class ArtifactChange:
    """One change as its document tells it. Digests are hex; None where there is nothing to say."""

    event: str
    at: dt.datetime
    artifact: str
    by: str
    reason: str
    manifest: str | None = None
    """Of ``published``: SHA-256 of the statement that was signed as the artifact's manifest."""
    version: str | None = None
    """Of ``published``: ``organisation/model@version``."""
    declared: Declared | None = None
    label: Label | None = None
    before: str | None = None
    """Of ``labelled``: what the label meant before; None for the first."""
    continuity: Continuity | None = None

    @property
    def raw(self) -> bytes:
        """The document's canonical bytes: what a record commits to."""
        return canonical.encode(self.to_json())

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "type": CHANGE_TYPE,
            "event": self.event,
            "at": time_encode(self.at),
            "artifact": self.artifact,
            "manifest": self.manifest,
            "version": self.version,
            "declared": self.declared.to_json() if self.declared else None,
            "label": self.label.to_json() if self.label else None,
            "before": self.before,
            "continuity": self.continuity.to_json() if self.continuity else None,
            "by": self.by,
            "reason": self.reason,
        }

    def body(self, salt: bytes) -> ArtifactBody:
        """What the log holds of it: the event, the label's id, the kind of continuity, and the commitment."""
        kind = self.continuity.kind if self.continuity else None
        return ArtifactBody(self.event, self.label.id if self.label else None, kind, change_record(self.raw, salt))


def label_id(name: str, salt: bytes) -> str:
    """The number (hex) of a label in the log: names can be guessed, so it is salted (``artifacts.md`` §4(3))."""
    if len(salt) != SALT_BYTES:
        raise UsageError("artifact_change.salt", f"the salt of a label has {SALT_BYTES} bytes")
    return sha256_hex(LABEL_DOMAIN + salt + name.encode())


def change_record(document: bytes, salt: bytes) -> bytes:
    """The commitment to a document's exact bytes (``artifacts.md`` §4(2)), 32 bytes."""
    if len(salt) != SALT_BYTES:
        raise UsageError("artifact_change.salt", f"the salt of a record has {SALT_BYTES} bytes")
    return sha256(RECORD_DOMAIN + salt + document)


def is_label(name: object) -> bool:
    """Whether a value is a label's whole name."""
    return isinstance(name, str) and LABEL.match(name) is not None


# --- parsing ----------------------------------------------------------------------------------------------------------


def parse_change(raw: bytes) -> ArtifactChange:
    """Bytes to an :class:`ArtifactChange`; what it says is consistent in form. Raises ``artifact_change.*``, ``json.*``
    or ``encoding.*``."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise MalformedError("artifact_change.size", f"a change has at most {MAX_DOCUMENT_BYTES} bytes")
    value = canonical.decode_signed(raw)
    if value.keys() != _MEMBERS or value["type"] != CHANGE_TYPE or value["event"] not in ARTIFACT_EVENTS:
        raise MalformedError("artifact_change.fields", f"not the members of a {CHANGE_TYPE}")
    change = ArtifactChange(
        event=value["event"],
        at=time_decode(value["at"]),
        artifact=hex_decode(value["artifact"], 32).hex(),
        by=_text(value["by"], "by", MAX_PERSON),
        reason=_text(value["reason"], "reason", MAX_REASON),
        manifest=_digest(value["manifest"]),
        version=None if value["version"] is None else _text(value["version"], "version", MAX_DECLARED),
        declared=None if value["declared"] is None else _declared(value["declared"]),
        label=None if value["label"] is None else _label(value["label"]),
        before=_digest(value["before"]),
        continuity=None if value["continuity"] is None else _continuity(value["continuity"]),
    )
    _check_event(change)
    _check_continuity(change)
    return change


def build_change(change: ArtifactChange) -> ArtifactChange:
    """The same change, once it is found to parse. Raises what :func:`parse_change` raises."""
    return parse_change(change.raw)


def _text(value: object, name: str, most: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
        raise MalformedError("artifact_change.text", f"{name} has 1 to {most} printable characters")
    return value


def _digest(value: object) -> str | None:
    return None if value is None else hex_decode(value, 32).hex()


def _declared(value: object) -> Declared:
    members = {"upstream", "model", "system_fingerprint", "first_seen", "last_seen"}
    if not isinstance(value, dict) or value.keys() != members or not is_code(value["upstream"]):
        raise MalformedError("artifact_change.declared", f"expected {', '.join(sorted(members))}; upstream is a code")
    fingerprint = value["system_fingerprint"]
    found = Declared(
        value["upstream"],
        _text(value["model"], "model", MAX_DECLARED),
        None if fingerprint is None else _text(fingerprint, "system_fingerprint", MAX_DECLARED),
        time_decode(value["first_seen"]),
        time_decode(value["last_seen"]),
    )
    if found.last_seen < found.first_seen:
        raise MalformedError("artifact_change.declared", "it was last seen before it was first seen")
    return found


def _label(value: object) -> Label:
    if not isinstance(value, dict) or value.keys() != {"name", "salt"} or not is_label(value["name"]):
        raise MalformedError("artifact_change.label", "a label is organisation/model:label, and has a salt")
    return Label(value["name"], hex_decode(value["salt"], SALT_BYTES))


def _continuity(value: object) -> Continuity:
    if not isinstance(value, dict) or value.keys() != {"kind", "of", "how", "evaluation"}:
        raise MalformedError("artifact_change.continuity", "a continuity has exactly kind, of, how and evaluation")
    found = Continuity(value["kind"], _digest(value["of"]), value["how"], _digest(value["evaluation"]))
    derived, compared = found.kind == "derivative", found.kind == "compared"
    if found.kind not in CONTINUITIES or (found.of is not None) != derived or (found.how in DERIVATIONS) != derived:
        raise MalformedError("artifact_change.continuity", "exactly a derivative says of what it was made, and how")
    if (found.how is not None) != derived or (found.evaluation is not None) != compared:
        raise MalformedError("artifact_change.continuity", "exactly what was compared names an evaluation")
    return found


def _check_event(change: ArtifactChange) -> None:
    """§4(4): which members an event has."""
    published, labelled = change.event == "published", change.event == "labelled"
    if any((item is not None) != published for item in (change.manifest, change.version)):
        raise MalformedError("artifact_change.event", "exactly what is published has a manifest and a version")
    if any((item is not None) != labelled for item in (change.label, change.continuity)):
        raise MalformedError("artifact_change.event", "exactly a label that is set has a name and a continuity")
    if change.before is not None and not labelled:
        raise MalformedError("artifact_change.event", "only a label meant something before")
    if change.event == "declared" and change.declared is None:
        raise MalformedError("artifact_change.event", "what is declared says what a provider calls it")
    if change.declared is not None and (published or change.declared.artifact != change.artifact):
        raise MalformedError("artifact_change.declared", "what is declared names another artifact, or has a manifest")


def _check_continuity(change: ArtifactChange) -> None:
    """§4(5): no more continuity than there can be."""
    if change.continuity is None:
        return
    kind = change.continuity.kind
    if (kind == "first") != (change.before is None):
        raise MalformedError("artifact_change.continuity", "exactly a label's first change follows nothing")
    same = change.before == change.artifact
    if change.declared is None and (kind == "byte_identical") != same:
        raise MalformedError("artifact_change.continuity", "bytes are identical exactly where the artifact is the same")
    if change.declared is not None and kind in WITH_BYTES:
        raise MalformedError(
            "artifact_change.continuity", "of a model whose bytes are not shown there is only its provider's claim"
        )
    if kind == "provider_claim" and change.declared is None:
        raise MalformedError("artifact_change.continuity", "nothing was claimed by a provider")


# --- what the log says of it ------------------------------------------------------------------------------------------


def verify_change(statement: Statement, document: bytes, salt: bytes) -> ArtifactChange:
    """Open the record of an ``artifact`` statement with the document and salt that are shown for it.

    Raises ``artifact_change.record`` when the record commits to something else, and ``artifact_change.said`` when the
    document tells of something else than the statement.
    """
    body = statement.body
    if not isinstance(body, ArtifactBody):
        raise RefusedError("artifact_change.record", f"a {statement.kind} statement commits to no change")
    if change_record(document, salt) != body.record:
        raise RefusedError("artifact_change.record", "the record does not commit to this document with this salt")
    found = parse_change(document)
    if found.body(salt) != body or statement.claimed_at < found.at:
        raise RefusedError("artifact_change.said", "statement and document differ in event, label, continuity or time")
    return found


def verify_history(changes: Sequence[tuple[Statement, ArtifactChange]]) -> None:
    """Check that these are all changes of one label from the first of them on, in their order: each names the one
    before it and says what the label meant by then. Raises ``artifact_change.history``."""
    for (earlier, before), (statement, change) in itertools.pairwise(changes):
        if statement.parents != (earlier.digest,) or statement.attester != earlier.attester:
            raise RefusedError("artifact_change.history", "a change of the label follows another than the one shown")
        if change.label != before.label or change.before != before.artifact or change.at < before.at:
            raise RefusedError("artifact_change.history", "a change says of the label what the one before did not say")
    if any(change.event != "labelled" for _, change in changes):
        raise RefusedError("artifact_change.history", "a label's history is made of its own changes")


def meant_at(changes: Sequence[ArtifactChange], at: dt.datetime) -> ArtifactChange | None:
    """The change that was in force at a time, of a label's changes in order; None before the first."""
    found = [change for change in changes if change.at <= at]
    return found[-1] if found else None


def explain_continuity(change: ArtifactChange) -> str:
    """One sentence about how far a label's artifact is the one before. Pure."""
    continuity = change.continuity
    if continuity is None:
        return "Nothing is said about what came before."
    how = (continuity.how or "").replace("_", "-")
    of, evaluation = (continuity.of or "")[:12], (continuity.evaluation or "")[:12]
    said: Mapping[str, str] = {
        "first": "It is the first that the label means.",
        "byte_identical": "It is the same bytes as before.",
        "derivative": f"It is declared to be {how} from {of}…; nobody checked that.",
        "compared": f"Its behaviour was compared with what was before: evaluation {evaluation}….",
        "same_name": "It has the name of what came before, and nothing else is known of how the two are related.",
        "provider_claim": "That it continues what came before is only its provider's claim.",
    }
    return said[continuity.kind]
