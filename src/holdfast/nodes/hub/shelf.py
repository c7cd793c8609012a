"""What the hub knows: models, versions, artifacts and labels, in memory and in its write-ahead log.

Reading the log again gives the same. A change is written down before the log of the network hears of it, and counts
once that log has it: what is on its way is :attr:`Shelf.pending`, one at a time, so that changes have one order.

Not covered: the files (``nodes/hub/files.py``) and who may change what (``nodes/hub/service.py``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import canonical
from holdfast.core.artifact_changes import ArtifactChange, parse_change
from holdfast.core.artifacts import Manifest, parse_model_signature
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode, time_decode, time_encode
from holdfast.core.statements import Statement, parse_envelope, parse_statement
from holdfast.errors import MalformedError, UsageError
from holdfast.ports.storage import Committer, RecordLog

CHANGE, LOGGED, DROPPED, CARD, SEEN, SIGNED = 1, 2, 3, 4, 5, 6
"""Kinds of records."""


@dataclass(slots=True)
class Entry:
    """A change, its statement, what opens it, and where the log has it."""

    envelope: bytes
    statement: Statement
    change: ArtifactChange
    salt: bytes
    signature: bytes | None = None
    """Of ``published``: the signed manifest."""
    sizes: tuple[int, ...] = ()
    """Of ``published``: bytes of each file, in the manifest's order."""
    number: int = 0
    """Which change it is, from 1, once it counts."""
    index: int | None = None
    """Where the log has it; None where there is no log."""

    @property
    def digest(self) -> str:
        return self.statement.digest

    def to_json(self) -> dict[str, Any]:
        """As whoever follows the hub reads it."""
        return {
            "number": self.number,
            "statement": self.digest,
            "envelope": b64_encode(self.envelope),
            "document": self.change.raw.decode(),
            "salt": self.salt.hex(),
            "log_index": self.index,
        }


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What people are told of a model. Nothing of it is checked."""

    text: str
    tags: tuple[str, ...]
    licence: str | None
    by: str
    at: dt.datetime

    def to_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "tags": list(self.tags),
            "licence": self.licence,
            "by": self.by,
            "at": time_encode(self.at),
        }


@dataclass(slots=True)
class Model:
    """One model of an organisation."""

    name: str
    """``organisation/model``."""
    card: ModelCard | None = None
    versions: list[Entry] = field(default_factory=list)
    """Published, oldest first: version 1 is the first."""
    declared: dict[str, Entry] = field(default_factory=dict)
    """Declared artifacts by digest."""
    labels: dict[str, list[Entry]] = field(default_factory=dict)
    """By the label's own name: its changes, in order."""


@dataclass(frozen=True, slots=True)
class PublisherSignature:
    """A signed manifest of a publisher's (``artifacts.md`` §2(5)), the key in PEM, and who brought both. Nobody here
    knows whose key it is."""

    signature: bytes
    key: bytes
    by: str
    at: dt.datetime


@dataclass(slots=True)
class Artifact:
    """One artifact and where it came in."""

    digest: str
    first: Entry
    """The change that brought it: published or declared."""
    manifest: Manifest | None
    model: str
    revoked: Entry | None = None
    last_seen: dt.datetime | None = None
    """Of a declared one."""
    signatures: dict[str, PublisherSignature] = field(default_factory=dict)
    """By the hint of the key: manifests of it that publishers signed."""

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.first.sizes


class Shelf:
    """Everything by name. One event loop owns it."""

    def __init__(self, records: RecordLog, committer: Committer) -> None:
        """Reads everything; raises ``hub.state`` or ``wal.corrupt``."""
        self._committer = committer
        self.entries: list[Entry] = []
        self.models: dict[str, Model] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.pending: Entry | None = None
        self._signatures: dict[str, bytes] = {}
        for record in records.records(records.begin):
            self._recover(record.kind, record.payload)

    def _recover(self, kind: int, payload: bytes) -> None:
        value = canonical.decode_object(payload)
        if kind == CHANGE:
            self.pending = _entry(value)
        elif kind == LOGGED and self.pending is not None:
            self._apply(self.pending, value["index"])
        elif kind == DROPPED:
            self.pending = None
        elif kind == CARD:
            self.model(value["model"]).card = _card(value)
        elif kind == SEEN:
            self.artifacts[value["artifact"]].last_seen = time_decode(value["at"])
        elif kind == SIGNED:
            kept = PublisherSignature(
                b64_decode(value["signature"]), value["key"].encode(), value["by"], time_decode(value["at"])
            )
            self.artifacts[value["artifact"]].signatures[value["hint"]] = kept
        else:
            raise MalformedError("hub.state", f"unknown record of kind {kind} in the write-ahead log")

    def model(self, name: str) -> Model:
        """The model of a name, made where there is none."""
        return self.models.setdefault(name, Model(name))

    def find_model(self, name: str) -> Model:
        """The model of a name; raises ``hub.unknown``."""
        found = self.models.get(name)
        if found is None:
            raise UsageError("hub.unknown", f"there is no model {name!r} here", hint="holdfast hub ls", status=404)
        return found

    def find_artifact(self, digest: str) -> Artifact:
        """The artifact of a digest (hex); raises ``hub.unknown``."""
        found = self.artifacts.get(digest)
        if found is None:
            raise UsageError("hub.unknown", f"there is no artifact {digest[:12]}… here", status=404)
        return found

    def history(self, label: str) -> list[Entry]:
        """The changes of a label by its whole name, in order; empty where there is none."""
        model, _, name = label.partition(":")
        found = self.models.get(model)
        return [] if found is None else found.labels.get(name, [])

    async def propose(self, entry: Entry) -> None:
        """Write a change down; durable when this returns. It does not count yet."""
        await self._committer.commit(CHANGE, canonical.encode(_record(entry)))
        self.pending = entry

    async def accept(self, index: int | None) -> Entry:
        """The log has the pending change, or there is none: it counts from here on."""
        entry = self.pending
        if entry is None:
            raise MalformedError("hub.state", "no change is on its way")
        await self._committer.commit(LOGGED, canonical.encode({"digest": entry.digest, "index": index}))
        self._apply(entry, index)
        return entry

    async def drop(self) -> None:
        """The log never had the pending change, and would not take it any more."""
        if self.pending is not None:
            await self._committer.commit(DROPPED, canonical.encode({"digest": self.pending.digest}))
        self.pending = None

    async def write_card(self, name: str, card: ModelCard) -> None:
        """Keep a model's card; durable when this returns."""
        await self._committer.commit(CARD, canonical.encode({"model": name, **card.to_json()}))
        self.model(name).card = card

    async def sign(self, artifact: str, hint: str, kept: PublisherSignature) -> None:
        """Keep a publisher's signature; durable when this returns."""
        value: dict[str, canonical.JSON] = {
            "artifact": artifact, "hint": hint, "signature": b64_encode(kept.signature), "key": kept.key.decode(),
            "by": kept.by, "at": time_encode(kept.at),
        }  # fmt: skip
        await self._committer.commit(SIGNED, canonical.encode(value))
        self.artifacts[artifact].signatures[hint] = kept

    async def see(self, artifact: str, at: dt.datetime) -> None:
        """A provider was seen to declare the same again."""
        await self._committer.commit(SEEN, canonical.encode({"artifact": artifact, "at": time_encode(at)}))
        self.artifacts[artifact].last_seen = at

    def _apply(self, entry: Entry, index: int | None) -> None:
        change = entry.change
        entry.index, entry.number = index, len(self.entries) + 1
        self.entries.append(entry)
        self.pending = None
        if change.event == "published":
            name = (change.version or "").partition("@")[0]
            self.model(name).versions.append(entry)
            manifest = parse_model_signature(entry.signature or b"").manifest
            self.artifacts.setdefault(change.artifact, Artifact(change.artifact, entry, manifest, name))
        elif change.event == "declared" and change.declared is not None:
            name = change.declared.model
            home = self.model(_home(change))
            home.declared[change.artifact] = entry
            kept = Artifact(change.artifact, entry, None, home.name, last_seen=change.declared.last_seen)
            self.artifacts.setdefault(change.artifact, kept)
        elif change.event == "labelled" and change.label is not None:
            model, _, name = change.label.name.partition(":")
            self.model(model).labels.setdefault(name, []).append(entry)
        elif change.event == "revoked":
            self.artifacts[change.artifact].revoked = entry


def _home(change: ArtifactChange) -> str:
    """The model that a declared artifact lies under: its provider's code is the organisation."""
    declared = change.declared
    return "" if declared is None else f"{declared.upstream}/{slug(declared.model)}"


def slug(name: str) -> str:
    """A provider's name for a model as the name of a model here: what is no letter or digit becomes a hyphen."""
    text = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower())
    return "-".join(part for part in text.split("-") if part)[:64].strip("-") or "model"


def _record(entry: Entry) -> dict[str, canonical.JSON]:
    return {
        "envelope": b64_encode(entry.envelope),
        "document": entry.change.raw.decode(),
        "salt": entry.salt.hex(),
        "signature": None if entry.signature is None else b64_encode(entry.signature),
        "sizes": list(entry.sizes),
    }


def _entry(value: Mapping[str, Any]) -> Entry:
    envelope = b64_decode(value["envelope"])
    return Entry(
        envelope,
        parse_statement(parse_envelope(envelope)),
        parse_change(value["document"].encode()),
        hex_decode(value["salt"]),
        None if value["signature"] is None else b64_decode(value["signature"]),
        tuple(value["sizes"]),
    )


def _card(value: Mapping[str, Any]) -> ModelCard:
    return ModelCard(value["text"], tuple(value["tags"]), value["licence"], value["by"], time_decode(value["at"]))
