"""Where models come from: labels, and the files of artifacts (``adapters/models_folder.py``).

Nothing that comes from here is believed: whoever fetches an artifact compares every file with its digest.

Errors: ``models.unknown`` (usage: no such label or artifact), ``models.moved`` (unavailable: the files are not what
they were when the label was looked up; look it up again), ``models.revoked`` (refused), and what a hub raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from holdfast.core import canonical
from holdfast.errors import MalformedError

TASKS = ("embeddings", "classification")
"""What a model's card can declare it to be, beside a plain model (``inference.md`` §8)."""


@dataclass(frozen=True, slots=True)
class Card:
    """What of a model's card decides how it may be asked."""

    task: str | None = None
    """One of :data:`TASKS`."""
    input: str = ""
    """Name of the input that takes the text."""
    output: str = ""
    """Name of the output that holds the vector, or the scores of the labels."""
    labels: tuple[str, ...] = ()
    """Of a classifier: what its scores are of, in order."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What a label means now."""

    label: str
    artifact: str
    """Digest of the artifact (``artifacts.md`` §1(3)), hex."""
    card: Card


class ModelSource(Protocol):
    """A hub, or a folder that stands in for one."""

    async def models(self) -> list[ModelEntry]:
        """Every label, in the order of labels."""
        ...

    async def find(self, label: str) -> ModelEntry:
        """What a label means at this moment; raises ``models.unknown``."""
        ...

    async def fetch(self, artifact: str, label: str) -> Mapping[str, bytes]:
        """The files of an artifact by name, as they came. ``label`` is the one that led to it, for sources that keep
        files by label."""
        ...


def parse_card(raw: bytes) -> Card:
    """``card.json`` to a :class:`Card`; raises ``models.card`` and ``json.*``."""
    value = canonical.decode_object(raw)
    task = value.get("task")
    if task is None:
        return Card()
    source, target, labels = value.get("input"), value.get("output"), value.get("labels", [])
    if (
        not isinstance(source, str)
        or not isinstance(target, str)
        or task not in TASKS
        or not isinstance(labels, list)
        or not all(isinstance(label, str) for label in labels)
    ):
        raise MalformedError("models.card", f"a card with a task ({' or '.join(TASKS)}) names input, output and labels")
    return Card(task, source, target, tuple(labels))
