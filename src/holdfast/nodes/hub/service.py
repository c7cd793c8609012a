"""What a hub does: takes files in, publishes versions, sets labels, revokes, and tells of it (``spec/artifacts.md``).

Rules: nothing is published whose files are not here and were not looked into; a label is set by whoever names the
change that they have seen last; a revoked artifact gets no label any more. What people write (cards, tags, licences,
reasons) is shown and never believed.

Not covered: HTTP (``app.py``), files (``files.py``), the log (``clerk.py``).
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.client.intake import take_behind
from holdfast.core.artifact_changes import (
    ArtifactChange,
    Continuity,
    Declared,
    Label,
    explain_continuity,
    is_label,
)
from holdfast.core.artifacts import (
    MAX_FILES,
    build_manifest,
    build_model_signature,
    check_name,
    declared_artifact,
    key_pem,
    manifest_payload,
    parse_model_signature,
    read_key_pem,
    verify_model_signature,
)
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode, sha256_hex, time_encode
from holdfast.core.ml_bom import build_bom
from holdfast.core.sealed_models import is_sealed
from holdfast.core.statements import is_code, pre_authentication_encoding
from holdfast.errors import ConflictError, HoldfastError, MalformedError, RefusedError, UsageError
from holdfast.nodes.edge import bearer_token
from holdfast.nodes.hub.clerk import Clerk
from holdfast.nodes.hub.config import HubConfig, PublisherConfig
from holdfast.nodes.hub.files import ModelFiles
from holdfast.nodes.hub.inspection import Comparison, inspect_file
from holdfast.nodes.hub.shelf import Artifact, Entry, Model, ModelCard, PublisherSignature, Shelf
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics
from holdfast.ports.signer import Signer

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?\Z")
"""An organisation, a model, a label (``artifacts.md`` §4(1))."""
MAX_TAGS, MAX_TAG = 32, 64
MAX_LICENCE = 128
MAX_SIGNATURES = 8
"""Publishers' signatures of one artifact."""
SWEEP_S = 3600.0
"""How often uploads are looked through."""
_LOG = logging.getLogger("holdfast.hub")
MAX_PAGE = 200
"""Most models or changes of one page."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for a change."""

    name: str
    organisations: tuple[str, ...]

    def check(self, organisation: str) -> None:
        """Raises ``hub.organisation`` unless they publish for it."""
        if organisation not in self.organisations and "*" not in self.organisations:
            raise RefusedError(
                "hub.organisation", f"{self.name} does not publish for {organisation!r}",
                hint="whoever runs the hub lists organisations of publishers in its settings",
            )  # fmt: skip


class HubService:
    """One hub."""

    def __init__(
        self,
        config: HubConfig,
        *,
        shelf: Shelf,
        files: ModelFiles,
        clerk: Clerk,
        signer: Signer,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.config = config
        self.shelf = shelf
        self.files = files
        self._clerk = clerk
        self._signer = signer
        self._clock = clock
        self.metrics = metrics

    # Who asks

    def reader(self, authorization: str | None) -> None:
        """Let a reader through; raises ``auth.*``. Publishers read too."""
        if self.config.reader is None:
            return
        token = bearer_token(authorization).encode()
        keys = [self.config.reader, *(each.key for each in self.config.publishers)]
        matches = [hmac.compare_digest(token, key.reveal().encode()) for key in keys]
        if not any(matches):
            raise RefusedError("auth.wrong", "this key is not known here", status=401)

    def publisher(self, authorization: str | None) -> Caller:
        """Who publishes; raises ``auth.*``."""
        token = bearer_token(authorization).encode()
        found: PublisherConfig | None = None
        for each in self.config.publishers:
            if hmac.compare_digest(token, each.key.reveal().encode()):
                found = each
        if found is None:
            raise RefusedError("auth.wrong", "this key publishes nothing here", status=401)
        return Caller(found.name, found.organisations)

    # Files

    async def begin_upload(self, digest: str, size: int) -> dict[str, Any]:
        """How much of a file is here."""
        offset = await asyncio.to_thread(self.files.begin, digest, size)
        return {"digest": digest, "offset": offset, "complete": offset == size}

    async def write_upload(self, digest: str, offset: int, size: int, pieces: AsyncIterable[bytes]) -> dict[str, Any]:
        """Take what comes in from ``offset`` on, and keep it as it comes: what broke off stays as far as it came."""
        place = reached = offset

        def write(piece: bytes) -> None:
            nonlocal place, reached
            reached = self.files.write(digest, place, piece, size)
            place += len(piece)

        try:
            await take_behind(pieces, write)
        except RefusedError as error:
            self.metrics.count("holdfast_hub_refused_files_total", error.code)
            raise
        self.metrics.count("holdfast_hub_received_bytes_total", amount=place - offset)
        return {"digest": digest, "offset": reached, "complete": reached == size}

    # Publishing

    async def publish(self, caller: Caller, model: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Publish files that are here as the next version of a model. Raises ``hub.*``, ``artifact.*``, ``model.*``."""
        check_model(model)
        caller.check(model.partition("/")[0])
        digests = _digests(asked.get("files"))
        manifest = build_manifest(model.partition("/")[2], digests)
        sizes = []
        for file in manifest.files:
            size = await asyncio.to_thread(self.files.size, file.digest)
            if size is None:
                raise RefusedError(
                    "hub.missing", f"{file.name!r} is not here yet", hint="send it first", param=file.name
                )
            sizes.append(size)
        for file, size in zip(manifest.files, sizes, strict=True):
            try:
                await asyncio.to_thread(inspect_file, self.files, file.name, file.digest, size, self.config.onnx_bytes)
            except (MalformedError, RefusedError) as error:
                self.metrics.count("holdfast_hub_refused_files_total", error.code)
                raise
        payload = manifest_payload(manifest)
        signature = build_model_signature(
            payload, self._signer.key, self._signer.sign(pre_authentication_encoding(payload))
        )
        async with self._clerk.begin():
            number = len(self.shelf.models[model].versions) + 1 if model in self.shelf.models else 1
            change = ArtifactChange(
                "published",
                self._clock.now(),
                manifest.artifact,
                caller.name,
                reason_of(asked),
                manifest=sha256_hex(payload),
                version=f"{model}@{number}",
            )
            entry = await self._clerk.change(change, (), signature=signature, sizes=tuple(sizes))
        self.metrics.count("holdfast_hub_changes_total", "published")
        return {"version": change.version, "artifact": manifest.artifact, "statement": entry.digest}

    async def declare(self, caller: Caller, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Note what a provider says of a model whose bytes it keeps, or that it still says so."""
        upstream, model = asked.get("upstream"), asked.get("model")
        fingerprint = asked.get("system_fingerprint")
        if not is_code(upstream) or not isinstance(model, str):
            raise UsageError("hub.declared", "upstream is a code, model the provider's own name", param="upstream")
        if fingerprint is not None and not isinstance(fingerprint, str):
            raise UsageError("hub.declared", "system_fingerprint is a string, or null", param="system_fingerprint")
        caller.check(str(upstream))
        artifact = declared_artifact(str(upstream), model, fingerprint)
        async with self._clerk.begin():
            now = self._clock.now()
            known = self.shelf.artifacts.get(artifact)
            if known is not None:
                await self.shelf.see(artifact, now)
                return self.artifact_json(known)
            declared = Declared(str(upstream), model, fingerprint, now, now)
            change = ArtifactChange("declared", now, artifact, caller.name, reason_of(asked), declared=declared)
            await self._clerk.change(change, ())
        self.metrics.count("holdfast_hub_changes_total", "declared")
        return self.artifact_json(self.shelf.artifacts[artifact])

    async def label(self, caller: Caller, name: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Let a label mean an artifact from now on. Raises ``hub.label``, ``hub.label_moved``, ``hub.revoked`` and
        ``artifact_change.continuity``."""
        if not is_label(name):
            raise UsageError("hub.label", "a label is organisation/model:label, in lower case", param="label")
        caller.check(name.partition("/")[0])
        async with self._clerk.begin():
            artifact = self.shelf.find_artifact(self._artifact_of(asked))
            if artifact.revoked is not None:
                raise RefusedError(
                    "hub.revoked", f"artifact {artifact.digest[:12]}… was revoked, so nothing may mean it"
                )
            history = self.shelf.history(name)
            seen = asked.get("predecessor")
            if seen != (history[-1].digest if history else None):
                self.metrics.count("holdfast_hub_conflicts_total")
                raise _moved(name, history)
            before = history[-1].change if history else None
            change = ArtifactChange(
                "labelled",
                self._clock.now(),
                artifact.digest,
                caller.name,
                reason_of(asked),
                declared=artifact.first.change.declared,
                label=before.label if before is not None else Label(name, self._clerk.salt()),
                before=before.artifact if before is not None else None,
                continuity=self._continuity(asked, artifact, before),
            )
            parents = (history[-1].digest,) if history else ()
            entry = await self._clerk.change(change, parents)
        self.metrics.count("holdfast_hub_changes_total", "labelled")
        return self.change_json(entry)

    def _artifact_of(self, asked: Mapping[str, Any]) -> str:
        if isinstance(asked.get("artifact"), str):
            return hex_decode(asked["artifact"], 32).hex()
        version = asked.get("version")
        if not isinstance(version, str):
            raise UsageError("hub.artifact", "name an artifact by its digest, or a version as organisation/model@1")
        return self.version(version).change.artifact

    def version(self, name: str) -> Entry:
        """The publication of ``organisation/model@number``; raises ``hub.unknown``."""
        model, _, number = name.partition("@")
        versions = self.shelf.find_model(model).versions
        if not number.isascii() or not number.isdigit() or not 1 <= int(number[:9]) <= len(versions):
            raise UsageError("hub.unknown", f"there is no version {name!r} here", status=404)
        return versions[int(number) - 1]

    def _continuity(self, asked: Mapping[str, Any], artifact: Artifact, before: ArtifactChange | None) -> Continuity:
        if before is None:
            return Continuity("first")
        if before.artifact == artifact.digest and artifact.manifest is not None:
            return Continuity("byte_identical")
        given = asked.get("continuity")
        if given is None:
            return Continuity("same_name")
        if not isinstance(given, Mapping) or not isinstance(given.get("kind"), str):
            raise UsageError("hub.continuity", "a continuity has a kind", param="continuity")
        strings = {name: given.get(name) for name in ("of", "how", "evaluation")}
        if any(value is not None and not isinstance(value, str) for value in strings.values()):
            raise UsageError("hub.continuity", "of, how and evaluation are strings", param="continuity")
        if strings["evaluation"] is not None and self.files.size(strings["evaluation"]) is None:
            raise RefusedError(
                "hub.missing", "the evaluation is not here yet", hint="send it first", param="evaluation"
            )
        return Continuity(given["kind"], **strings)

    async def revoke(self, caller: Caller, digest: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Say that nobody should rely on an artifact any more; for good. Raises ``hub.revoked``."""
        async with self._clerk.begin():
            artifact = self.shelf.find_artifact(hex_decode(digest, 32).hex())
            caller.check(artifact.model.partition("/")[0])
            if artifact.revoked is not None:
                raise ConflictError("hub.revoked", f"artifact {digest[:12]}… is revoked already")
            declared = artifact.first.change.declared
            change = ArtifactChange(
                "revoked", self._clock.now(), artifact.digest, caller.name, reason_of(asked), declared=declared
            )
            entry = await self._clerk.change(change, (artifact.first.digest,))
        self.metrics.count("holdfast_hub_changes_total", "revoked")
        return self.change_json(entry)

    async def sign(self, caller: Caller, digest: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a manifest of an artifact that a publisher signed, with the key. Raises ``artifact.*``,
        ``signature.invalid``, ``hub.signatures`` or ``encoding.base64``."""
        artifact = self.shelf.find_artifact(hex_decode(digest, 32).hex())
        caller.check(artifact.model.partition("/")[0])
        pem = asked.get("key")
        if not isinstance(pem, str):
            raise UsageError("hub.signatures", "key is a P-256 key in PEM", param="key")
        key = read_key_pem(pem.encode())
        signed = parse_model_signature(b64_decode(asked.get("signature")))
        if verify_model_signature(signed, key).artifact != artifact.digest:
            raise RefusedError("artifact.digest", "what was signed is the manifest of another artifact")
        if len(artifact.signatures) >= MAX_SIGNATURES and signed.hint not in artifact.signatures:
            raise RefusedError("hub.signatures", f"at most {MAX_SIGNATURES} publishers' signatures are kept")
        kept = PublisherSignature(signed.raw, key_pem(key), caller.name, self._clock.now())
        await self.shelf.sign(artifact.digest, signed.hint, kept)
        return self.signatures_json(artifact)

    def signatures_json(self, artifact: Artifact) -> dict[str, Any]:
        """What publishers signed of an artifact, by the hints of their keys."""
        return {
            "artifact": artifact.digest,
            "signatures": [
                {
                    "hint": hint,
                    "signature": b64_encode(kept.signature),
                    "key": kept.key.decode(),
                    "by": kept.by,
                    "at": time_encode(kept.at),
                }
                for hint, kept in sorted(artifact.signatures.items())
            ],
        }

    async def write_card(self, caller: Caller, model: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What people are told of a model; what is left out stays."""
        check_model(model)
        caller.check(model.partition("/")[0])
        before = self.shelf.models[model].card if model in self.shelf.models else None
        text = asked.get("text", before.text if before else "")
        tags = asked.get("tags", list(before.tags) if before else [])
        licence = asked.get("licence", before.licence if before else None)
        if not isinstance(text, str) or len(text.encode()) > self.config.card_bytes:
            raise UsageError("hub.card", f"a card is text of at most {self.config.card_bytes} bytes", param="text")
        if (
            not isinstance(tags, list)
            or len(tags) > MAX_TAGS
            or not all(isinstance(tag, str) and NAME.match(tag) for tag in tags)
        ):
            raise UsageError("hub.card", f"tags are at most {MAX_TAGS} words in lower case", param="tags")
        if licence is not None and (
            not isinstance(licence, str) or not 0 < len(licence) <= MAX_LICENCE or not licence.isprintable()
        ):
            raise UsageError("hub.card", f"a licence has 1 to {MAX_LICENCE} characters, or is null", param="licence")
        card = ModelCard(text, tuple(sorted(set(tags))), licence, caller.name, self._clock.now())
        await self.shelf.write_card(model, card)
        return self.model_json(self.shelf.models[model])

    # Reading

    def models(self, query: Mapping[str, str]) -> dict[str, Any]:
        """A page of models: ``q`` words that all occur in name, card or tags; ``tag``, ``licence``, ``organisation``;
        ``after`` a name, ``limit``."""
        words = query.get("q", "").lower().split()
        limit = _number(query.get("limit"), MAX_PAGE, MAX_PAGE)
        found = []
        for name in sorted(self.shelf.models):
            model = self.shelf.models[name]
            if name <= query.get("after", "") or not _matches(model, words, query):
                continue
            found.append(self._summary(model))
            if len(found) > limit:
                break
        return {"models": found[:limit], "more": len(found) > limit}

    def _summary(self, model: Model) -> dict[str, Any]:
        card = model.card
        return {
            "model": model.name,
            "tags": list(card.tags) if card else [],
            "licence": card.licence if card else None,
            "versions": len(model.versions),
            "declared": len(model.declared),
            "labels": {name: history[-1].change.artifact for name, history in sorted(model.labels.items())},
        }

    def model_json(self, model: Model) -> dict[str, Any]:
        """One model with everything that is known of it."""
        return {
            **self._summary(model),
            "card": model.card.to_json() if model.card else None,
            "published": [self.version_json(entry) for entry in model.versions],
            "declared_artifacts": [self.artifact_json(self.shelf.artifacts[digest]) for digest in model.declared],
            "label_changes": {
                name: [self.change_json(entry) for entry in history] for name, history in sorted(model.labels.items())
            },
        }

    def version_json(self, entry: Entry) -> dict[str, Any]:
        """One version."""
        artifact = self.shelf.artifacts[entry.change.artifact]
        return {
            "version": entry.change.version,
            "artifact": entry.change.artifact,
            "at": time_encode(entry.change.at),
            "by": entry.change.by,
            "reason": entry.change.reason,
            "files": len(entry.sizes),
            "bytes": sum(entry.sizes),
            "statement": entry.digest,
            "log_index": entry.index,
            "revoked": artifact.revoked is not None,
        }

    def change_json(self, entry: Entry) -> dict[str, Any]:
        """One change for people and programs; what proves it stands in ``/v1/hub/changes``."""
        change = entry.change
        return {
            "event": change.event,
            "at": time_encode(change.at),
            "label": change.label.name if change.label else None,
            "artifact": change.artifact,
            "before": change.before,
            "continuity": change.continuity.to_json() if change.continuity else None,
            "says": explain_continuity(change),
            "by": change.by,
            "reason": change.reason,
            "statement": entry.digest,
            "log_index": entry.index,
        }

    def artifact_json(self, artifact: Artifact) -> dict[str, Any]:
        """One artifact: its files, the versions that are it, the labels that mean it, whether it was revoked."""
        declared = artifact.first.change.declared
        manifest = artifact.manifest
        versions = [
            entry.change.version
            for model in self.shelf.models.values()
            for entry in model.versions
            if entry.change.artifact == artifact.digest
        ]
        labels = [
            f"{model.name}:{name}"
            for model in self.shelf.models.values()
            for name, history in model.labels.items()
            if history[-1].change.artifact == artifact.digest
        ]
        shown = None
        if declared is not None:
            seen = artifact.last_seen or declared.last_seen
            shown = {**declared.to_json(), "last_seen": time_encode(seen), "basis": "provider_claim"}
        return {
            "artifact": artifact.digest,
            "root": manifest.root if manifest else None,
            "model": artifact.model,
            "versions": versions,
            "labels": sorted(labels),
            "signed_by": sorted(artifact.signatures),
            "sealed": manifest is not None and is_sealed(file.name for file in manifest.files),
            "declared": shown,
            "files": [
                {"name": file.name, "sha256": file.digest, "bytes": size}
                for file, size in zip(manifest.files, artifact.sizes, strict=True)
            ]
            if manifest
            else [],
            "revoked": self.change_json(artifact.revoked) if artifact.revoked else None,
        }

    def resolve(self, name: str) -> dict[str, Any]:
        """What a label means now. ``organisation/model`` is its label ``latest``. Raises ``hub.unknown``."""
        label = name if ":" in name else f"{name}:latest"
        history = self.shelf.history(label)
        if not history:
            raise UsageError("hub.unknown", f"nothing is called {label!r} here", status=404)
        artifact = self.shelf.artifacts[history[-1].change.artifact]
        return {**self.change_json(history[-1]), "revoked": artifact.revoked is not None}

    def lineage(self, digest: str) -> dict[str, Any]:
        """What an artifact was declared to be made of, at any remove, and what was made of it."""
        start = self.shelf.find_artifact(digest).digest
        made = [
            (entry.change.artifact, entry.change.continuity, entry)
            for entry in self.shelf.entries
            if entry.change.continuity is not None and entry.change.continuity.kind == "derivative"
        ]
        edges: list[dict[str, Any]] = []
        for forward in (False, True):
            waiting, seen = [start], {start}
            while waiting:
                here = waiting.pop(0)
                for artifact, continuity, entry in made:
                    one, other = (continuity.of, artifact) if forward else (artifact, continuity.of)
                    if one == here and other is not None and other not in seen:
                        seen.add(other)
                        waiting.append(other)
                        edges.append(
                            {
                                "artifact": artifact,
                                "of": continuity.of,
                                "how": continuity.how,
                                "label": entry.change.label.name if entry.change.label else None,
                                "by": entry.change.by,
                                "at": time_encode(entry.change.at),
                                "statement": entry.digest,
                            }
                        )
        return {
            "artifact": start,
            "derivations": edges,
            "says": "Declared by whoever set the label; nobody checked it.",
        }

    async def diff(self, before: str, after: str) -> dict[str, Any]:
        """What differs between two artifacts."""
        one, other = self.shelf.find_artifact(before), self.shelf.find_artifact(after)
        found: dict[str, Any] = {"files": [], "tensors": [], "graphs": []}
        if one.manifest is not None and other.manifest is not None:
            comparison = Comparison(self.files, self.config.compare_bytes)
            found = await asyncio.to_thread(comparison.run, one.manifest, one.sizes, other.manifest, other.sizes)
        return {
            "before": one.digest,
            "after": other.digest,
            "comparable": one.manifest is not None and other.manifest is not None,
            **found,
        }

    def signature(self, artifact: Artifact) -> bytes:
        """The signed manifest; raises ``hub.declared``."""
        if artifact.first.signature is None:
            raise UsageError("hub.declared", "nobody shows the bytes of a declared artifact", status=404)
        return artifact.first.signature

    def bom(self, artifact: Artifact) -> bytes:
        """CycloneDX beside the artifact; raises ``hub.declared``."""
        if artifact.manifest is None:
            raise UsageError("hub.declared", "nobody shows the bytes of a declared artifact", status=404)
        card = self.shelf.models[artifact.model].card
        of = [
            item["of"] for item in self.lineage(artifact.digest)["derivations"] if item["artifact"] == artifact.digest
        ]
        return build_bom(
            artifact.manifest,
            artifact.sizes,
            version=artifact.first.change.version or artifact.model,
            at=artifact.first.change.at,
            licence=card.licence if card else None,
            tags=card.tags if card else (),
            derived_from=sorted(set(of)),
        )

    def key(self) -> bytes:
        """The key that manifests are signed with, as PEM."""
        return key_pem(self._signer.key)

    async def changes(self, after: int, limit: int, wait_s: float) -> dict[str, Any]:
        """Changes after a number, in order, with what opens them; waits for the next where there is none yet."""
        if after >= len(self.shelf.entries) and wait_s > 0:
            try:
                async with asyncio.timeout(wait_s), self._clerk.told:
                    await self._clerk.told.wait_for(lambda: len(self.shelf.entries) > after)
            except TimeoutError:
                pass
        found = self.shelf.entries[after : after + min(limit, MAX_PAGE)]
        return {"node": self._clerk.node, "changes": [entry.to_json() for entry in found]}

    def find_change(self, statement: str) -> Entry:
        """The change that a statement's digest (hex) names; raises ``hub.unknown``."""
        for entry in self.shelf.entries:
            if entry.digest == statement:
                return entry
        raise UsageError("hub.unknown", f"there is no change {statement[:12]}… here", status=404)

    def history(self, label: str) -> dict[str, Any]:
        """The changes of a label with what opens them; raises ``hub.unknown``."""
        found = self.shelf.history(label)
        if not found:
            raise UsageError("hub.unknown", f"nothing is called {label!r} here", status=404)
        return {"label": label, "changes": [{**self.change_json(each), **each.to_json()} for each in found]}

    def waiting_for(self) -> Mapping[str, str]:
        """What keeps the hub from its work."""
        self.metrics.level("holdfast_hub_waiting", 1 if self.shelf.pending else 0)
        return {}

    async def run(self) -> None:
        """What goes on in the background."""
        await asyncio.gather(self._clerk.run(), self._sweep())

    async def _sweep(self) -> None:
        """Throw away uploads that nobody goes on with, every hour."""
        while True:
            try:
                gone = await asyncio.to_thread(self.files.sweep, self._clock.now(), self.config.upload_days)
                self.metrics.count("holdfast_hub_uploads_dropped_total", amount=gone)
            except HoldfastError as error:
                _LOG.warning("uploads are not looked through: %s", error.message, extra={"code": error.code})
            await self._clock.sleep(SWEEP_S)


def check_model(name: str) -> None:
    """Raises ``hub.name`` unless it is ``organisation/model``."""
    organisation, slash, model = name.partition("/")
    if not slash or NAME.match(organisation) is None or NAME.match(model) is None:
        raise UsageError(
            "hub.name", "a model is organisation/model: lower-case letters, digits, dots, hyphens and underscores",
            param="model",
        )  # fmt: skip


def reason_of(asked: Mapping[str, Any]) -> str:
    """Why; raises ``hub.reason``."""
    reason = asked.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError("hub.reason", "say why", hint="--why TEXT", param="reason")
    return reason.strip()


def _digests(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not 1 <= len(value) <= MAX_FILES:
        raise UsageError("hub.files", "files is an object from names to SHA-256", param="files")
    return {check_name(name): hex_decode(digest, 32).hex() for name, digest in value.items()}


def _moved(name: str, history: list[Entry]) -> ConflictError:
    """Somebody else changed the label, or nobody ever did."""
    if not history:
        return ConflictError("hub.label_moved", f"{name} means nothing yet, so nothing comes before")
    last = history[-1]
    return ConflictError(
        "hub.label_moved",
        f"{name} means {last.change.artifact[:12]}… since {time_encode(last.change.at)}, by {last.change.by}: "
        f"{last.change.reason}",
        hint=f"look at it, then name {last.digest} as what you saw last",
        param="predecessor",
    )


def _matches(model: Model, words: list[str], query: Mapping[str, str]) -> bool:
    card = model.card
    tags = card.tags if card else ()
    if "tag" in query and query["tag"] not in tags:
        return False
    if "licence" in query and query["licence"] != (card.licence if card else None):
        return False
    if "organisation" in query and query["organisation"] != model.name.partition("/")[0]:
        return False
    text = f"{model.name} {' '.join(tags)} {card.text if card else ''}".lower()
    return all(word in text for word in words)


def _number(text: str | None, default: int, most: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit():
        raise UsageError("request.number", "expected a number")
    return min(int(text[:9]), most)
