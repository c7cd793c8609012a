"""The models of a hub as an inference node takes them (``ports/models.py``).

Rules: a manifest counts once a hub that trust admits signed it; every file is compared with it before it is used, and a
revoked artifact is not handed out. What a label means is asked again after :data:`FRESH_S`, so that a label that moves
is followed within a second and a run costs no question of its own. Artifacts never change: their files are kept.

Not covered: artifacts without a ``model.onnx``, which the node refuses, and what the label meant before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from holdfast.client.hub import HubClient
from holdfast.core.keys import PublicKey
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.models import Card, ModelEntry, ModelSource, parse_card

FRESH_S = 1.0
"""How long what a label means is taken as known (``artifacts.md`` §5(2) gives a label's followers a second)."""
CARD_FILE = "card.json"
_LOG = logging.getLogger("holdfast.client.hub_models")


def hub_keys(trust: Trust, clock: Clock) -> list[PublicKey]:
    """The keys of the hubs that a trust document admits now."""
    now = clock.now()
    found = []
    for admission in trust.current.nodes:
        document = admission.key_document
        key = document.key_for("statement")
        if (
            "hub" in document.roles
            and key is not None
            and key.algorithm == "p256"
            and admission.refusal(now, now) is None
        ):
            found.append(key)
    return found


class HubModels:
    """Implements :class:`holdfast.ports.models.ModelSource`."""

    def __init__(self, hub: HubClient, trust: Callable[[], Trust], folder: Path, clock: Clock) -> None:
        self._hub = hub
        self._trust = trust
        self._folder = folder
        self._clock = clock
        self._known: dict[str, tuple[float, ModelEntry]] = {}
        self._cards: dict[str, Card] = {}
        self._fetching = asyncio.Lock()

    async def models(self) -> list[ModelEntry]:
        found: list[tuple[str, Mapping[str, str]]] = []
        more = True
        while more:
            page = await self._hub.models(after=found[-1][0], limit="100") if found else await self._hub.models()
            listed = [(item["model"], item["labels"]) for item in page["models"]]
            found += listed
            more = bool(page["more"]) and bool(listed)
        entries = []
        for model, labels in found:
            for name, artifact in labels.items():
                entries.append(ModelEntry(f"{model}:{name}", artifact, await self._card(artifact)))
        return sorted(entries, key=lambda entry: entry.label)

    async def find(self, label: str) -> ModelEntry:
        known = self._known.get(label)
        now = self._clock.monotonic()
        if known is not None and now - known[0] < FRESH_S:
            return known[1]
        try:
            found = await self._hub.resolve(label)
        except HoldfastError as error:
            if error.code != "hub.unknown":
                raise
            raise UsageError(
                "models.unknown", f"the hub has nothing that is called {label[:64]!r}", status=404
            ) from error
        if found["revoked"]:
            self._known.pop(label, None)
            raise RefusedError("models.revoked", f"the artifact that {label[:64]!r} means was revoked")
        entry = ModelEntry(label, found["artifact"], await self._card(found["artifact"]))
        self._known[label] = (now, entry)
        return entry

    async def fetch(self, artifact: str, label: str) -> Mapping[str, bytes]:
        keys = hub_keys(self._trust(), self._clock)
        async with self._fetching:
            manifest = await self._hub.pull(artifact, self._folder / artifact, keys)
        names = [file.name for file in manifest.files]
        try:
            return await asyncio.to_thread(
                lambda: {name: (self._folder / artifact / name).read_bytes() for name in names}
            )
        except OSError as error:
            raise UnavailableError("models.moved", f"the files of {label[:64]!r} are gone", hint="try again") from error

    async def _card(self, artifact: str) -> Card:
        """The card among an artifact's files; it decides nothing before the files are checked."""
        if artifact not in self._cards:
            raw = await self._hub.small_file(artifact, CARD_FILE)
            self._cards[artifact] = Card() if raw is None else parse_card(raw)
        return self._cards[artifact]


class ManyModels:
    """Several sources in order of preference: a label is the first one's that has it."""

    def __init__(self, sources: Sequence[ModelSource]) -> None:
        self._sources = sources
        self._owners: dict[str, ModelSource] = {}
        """By artifact: the source that named it last."""

    async def models(self) -> list[ModelEntry]:
        found: dict[str, ModelEntry] = {}
        for source in self._sources:
            try:
                listed = await source.models()
            except UnavailableError as error:
                _LOG.warning("a source of models is silent: %s", error.message, extra={"code": error.code})
                continue
            for entry in listed:
                found.setdefault(entry.label, entry)
        return [found[label] for label in sorted(found)]

    async def find(self, label: str) -> ModelEntry:
        unknown: UsageError | None = None
        for source in self._sources:
            try:
                entry = await source.find(label)
            except UsageError as error:
                if error.code != "models.unknown":
                    raise
                unknown = error
                continue
            self._owners[entry.artifact] = source
            return entry
        raise unknown or UsageError("models.unknown", f"there is no model {label[:64]!r} here", status=404)

    async def fetch(self, artifact: str, label: str) -> Mapping[str, bytes]:
        first = self._owners.get(artifact)
        sources = [source for source in self._sources if first is None or source is first]
        for source in sources[:-1]:
            try:
                return await source.fetch(artifact, label)
            except (UsageError, UnavailableError):
                continue
        return await sources[-1].fetch(artifact, label)
