"""Models in memory: found by label, fetched by artifact, checked, loaded, and lent for one run at a time.

Rules:

* A label is looked up for every run. What runs is the artifact that the label meant at that moment, and the loan says
  which it is; a label that moves meanwhile changes nothing about it.
* Every file is compared with its digest before any of them is used (``inference.md`` §4(4)).
* One process an artifact. The one that was not used for longest goes when there are too many; a loan that is out ends
  first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from holdfast.core.artifacts import build_manifest
from holdfast.core.encoding import sha256_hex
from holdfast.core.sealed_models import is_sealed
from holdfast.errors import RefusedError, UnavailableError
from holdfast.ports.metrics import Metrics
from holdfast.ports.models import Card, ModelEntry, ModelSource, parse_card
from holdfast.ports.runtime import LoadedModel, Runtime

MODEL_FILE, CARD_FILE = "model.onnx", "card.json"
"""The file of an artifact that is run, and the one that says as what."""
_TRIES = 5
"""How often a label that moves while its files are read is looked up again."""


@dataclass(frozen=True, slots=True)
class Loan:
    """A model for one run."""

    model: LoadedModel
    card: Card


@dataclass(slots=True)
class _Slot:
    """One artifact: being loaded, or in memory."""

    ready: asyncio.Future[LoadedModel]
    card: Card = field(default_factory=Card)
    """The card among the artifact's own files: what was checked, not what a list says."""
    users: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class Models:
    """See the module."""

    def __init__(
        self,
        source: ModelSource,
        runtime: Runtime,
        metrics: Metrics,
        *,
        most: int,
        opener: Callable[[Mapping[str, bytes]], Mapping[str, bytes]] | None = None,
    ) -> None:
        """``opener`` opens the files of a model that is sealed for this node."""
        self._opener = opener
        self._source = source
        self._runtime = runtime
        self._metrics = metrics
        self._most = most
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def lend(self, label: str) -> AsyncIterator[Loan]:
        """The model that a label means now. Raises ``models.*``, ``model.*`` and ``infer.limits``."""
        entry, slot = await self._find(label)
        async with self._using(entry.artifact, slot) as model:
            yield Loan(model, slot.card)

    async def _find(self, label: str) -> tuple[ModelEntry, _Slot]:
        """What a label means, loaded; looked up again where it moved while its files were read."""
        for _ in range(_TRIES):
            entry = await self._source.find(label)
            try:
                return entry, await self._slot(entry)
            except UnavailableError as error:
                if error.code != "models.moved":
                    raise
        raise UnavailableError("models.moved", f"{label[:64]!r} moves too often to be read", hint="try again")

    @contextlib.asynccontextmanager
    async def lend_artifact(self, artifact: str, label: str) -> AsyncIterator[Loan]:
        """One artifact, whatever the label means now; raises as :meth:`lend`."""
        slot = await self._slot(ModelEntry(label, artifact, Card()))
        async with self._using(artifact, slot) as model:
            yield Loan(model, slot.card)

    @contextlib.asynccontextmanager
    async def _using(self, artifact: str, slot: _Slot) -> AsyncIterator[LoadedModel]:
        try:
            yield slot.ready.result()
        finally:
            slot.users -= 1
            if not slot.users:
                slot.idle.set()
            if not slot.ready.result().alive:
                self._drop(artifact, slot)

    async def _slot(self, entry: ModelEntry) -> _Slot:
        """The slot of an artifact, loaded, with one more user."""
        slot = self._slots.get(entry.artifact)
        if slot is None:
            slot = self._slots[entry.artifact] = _Slot(asyncio.get_running_loop().create_future())
            try:
                loaded, slot.card = await self._load(entry)
                slot.ready.set_result(loaded)
            except BaseException as error:
                self._slots.pop(entry.artifact, None)
                if isinstance(error, asyncio.CancelledError):
                    slot.ready.cancel()
                else:
                    slot.ready.set_exception(error)
                    slot.ready.exception()  # whoever waits gets it too; nobody has to
                raise
            self._make_room()
        else:
            try:
                await asyncio.shield(slot.ready)
            except asyncio.CancelledError as error:
                if slot.ready.cancelled():
                    raise UnavailableError(
                        "models.moved", "the model was not loaded to the end", hint="ask again"
                    ) from error
                raise
        slot.users += 1
        slot.idle.clear()
        self._slots.move_to_end(entry.artifact)
        return slot

    async def _load(self, entry: ModelEntry) -> tuple[LoadedModel, Card]:
        files = await fetch_checked(self._source, entry)
        if is_sealed(files):
            if self._opener is None:
                raise RefusedError(
                    "models.sealed", "the model is sealed, and this node has no key to open any", status=403
                )
            files = await asyncio.to_thread(self._opener, files)
        if MODEL_FILE not in files:
            raise RefusedError("model.file", f"the artifact has no {MODEL_FILE}", hint="only ONNX models are run here")
        loaded = await self._runtime.load(entry.artifact, files[MODEL_FILE])
        self._metrics.count("holdfast_inference_loads_total")
        self._metrics.level("holdfast_inference_loaded", len(self._slots))
        return loaded, parse_card(files[CARD_FILE]) if CARD_FILE in files else Card()

    def _make_room(self) -> None:
        for artifact in list(self._slots):
            if len(self._slots) <= self._most:
                return
            slot = self._slots[artifact]
            if not slot.users and slot.ready.done():
                self._drop(artifact, slot)

    def _drop(self, artifact: str, slot: _Slot) -> None:
        if self._slots.get(artifact) is slot:
            del self._slots[artifact]
            task = asyncio.create_task(_close(slot))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._metrics.level("holdfast_inference_loaded", len(self._slots))

    async def close(self) -> None:
        """End every process."""
        for artifact, slot in list(self._slots.items()):
            if slot.ready.done() and not slot.ready.cancelled() and slot.ready.exception() is None:
                self._drop(artifact, slot)
        await asyncio.gather(*self._closing, return_exceptions=True)


async def fetch_checked(source: ModelSource, entry: ModelEntry) -> Mapping[str, bytes]:
    """The files of an artifact, compared with its digest; raises ``model.artifact`` and what the source raises."""
    files = await source.fetch(entry.artifact, entry.label)
    found = build_manifest("model", {name: sha256_hex(data) for name, data in files.items()}).artifact
    if found != entry.artifact:
        raise RefusedError(
            "model.artifact",
            f"what came for artifact {entry.artifact[:12]} is another one ({found[:12]})",
            status=502,
        )
    return files


async def _close(slot: _Slot) -> None:
    """End a slot's process once nobody uses it."""
    if slot.users:
        await slot.idle.wait()
    await slot.ready.result().close()
