"""A folder of models in the place of a hub: each subfolder that holds ``model.onnx`` is a label.

``FOLDER/scores/model.onnx`` is the label ``scores``, ``FOLDER/acme/scores/…`` is ``acme/scores``; ``card.json`` beside
it may say what the model is for. A label means the artifact of the files that lie there now: replacing them moves it.
Digests are taken anew when a file's size or time of change is another.

Not covered: history, signatures, licences and whoever else may read: those are a hub's.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from pathlib import Path

from holdfast.core.artifacts import build_manifest
from holdfast.core.encoding import sha256_hex
from holdfast.errors import MalformedError, UnavailableError, UsageError
from holdfast.ports.models import Card, ModelEntry, parse_card

MODEL_FILE, CARD_FILE = "model.onnx", "card.json"
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?(?:/[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?)?\Z")
_MAX_CARD_BYTES = 64 << 10
_Mark = tuple[int, int, int]
"""Time of change, size and number of a file: when one of them is another, so may its bytes be."""


class FolderModels:
    """Implements :class:`holdfast.ports.models.ModelSource`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[Path, tuple[_Mark, str]] = {}
        self._entries: dict[str, tuple[tuple[tuple[str, _Mark], ...], ModelEntry]] = {}
        """By label: the files that an entry was made of, as they were."""

    async def models(self) -> list[ModelEntry]:
        return await asyncio.to_thread(self._list)

    async def find(self, label: str) -> ModelEntry:
        known = self._entries.get(label)
        if known is not None and _marks(self._folder / label) == known[0]:
            return known[1]  # some microseconds, where a thread would cost a run's tenth
        return await asyncio.to_thread(self._find, label)

    async def fetch(self, artifact: str, label: str) -> Mapping[str, bytes]:
        return await asyncio.to_thread(self._fetch, artifact, label)

    def _list(self) -> list[ModelEntry]:
        found = []
        for path in sorted(self._folder.glob(f"*/{MODEL_FILE}")) + sorted(self._folder.glob(f"*/*/{MODEL_FILE}")):
            label = path.parent.relative_to(self._folder).as_posix()
            if _LABEL.match(label) is not None:
                found.append(self._find(label))
        return sorted(found, key=lambda entry: entry.label)

    def _find(self, label: str) -> ModelEntry:
        folder = self._home(label)
        before = _marks(folder)
        try:
            digests = {path.name: self._digest(path) for path in _files(folder)}
            card = _read_card(folder / CARD_FILE)
        except OSError as error:
            raise _moved(label) from error
        entry = ModelEntry(label, build_manifest("model", digests).artifact, card)
        if before is not None and _marks(folder) == before:
            self._entries[label] = (before, entry)
        return entry

    def _fetch(self, artifact: str, label: str) -> Mapping[str, bytes]:
        folder = self._home(label)
        try:
            files = {path.name: path.read_bytes() for path in _files(folder)}
        except OSError as error:
            raise _moved(label) from error
        if build_manifest("model", {name: sha256_hex(data) for name, data in files.items()}).artifact != artifact:
            raise _moved(label)
        return files

    def _home(self, label: str) -> Path:
        if _LABEL.match(label) is None or not (self._folder / label / MODEL_FILE).is_file():
            raise UsageError(
                "models.unknown", f"there is no model {label[:64]!r} here", hint="GET /v1/models lists them", status=404
            )
        return self._folder / label

    def _digest(self, path: Path) -> str:
        mark = _mark(path.stat())
        kept = self._digests.get(path)
        if kept is None or kept[0] != mark:
            kept = self._digests[path] = (mark, sha256_hex(path.read_bytes()))
        return kept[1]


def _mark(state: os.stat_result) -> _Mark:
    return state.st_mtime_ns, state.st_size, state.st_ino


def _marks(folder: Path) -> tuple[tuple[str, _Mark], ...] | None:
    """Names and marks of the files of a model as they are now; None where it cannot be looked at."""
    try:
        with os.scandir(folder) as found:
            files = [item for item in found if item.is_file(follow_symlinks=False)]
            return tuple(sorted((item.name, _mark(item.stat(follow_symlinks=False))) for item in files))
    except OSError:
        return None


def _files(folder: Path) -> list[Path]:
    """The regular files of a model; a link could lead anywhere."""
    return [path for path in sorted(folder.iterdir()) if path.is_file() and not path.is_symlink()]


def _moved(label: str) -> UnavailableError:
    return UnavailableError("models.moved", f"the files of {label!r} changed while they were read", hint="try again")


def _read_card(path: Path) -> Card:
    """A card's members that say how a model may be asked; anything else in it is for people."""
    if not path.is_file():
        return Card()
    raw = path.read_bytes()
    if len(raw) > _MAX_CARD_BYTES:
        raise MalformedError("models.card", f"{path} is larger than a card")
    return parse_card(raw)
