"""What every storage adapter shares: the rule for names and the one way to replace files atomically."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from holdfast.errors import UsageError
from holdfast.ports.storage import Storage

_NAME = re.compile(r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+)*\Z")
TEMPORARY_SUFFIX = ".tmp"
"""Files being written by :func:`save_all`; left over ones mean nothing and are overwritten."""


class Run(Protocol):
    """Does one action on every item and returns when all are done; raises the first failure."""

    def __call__(self, action: Callable[[str], None], items: Sequence[str], /) -> None: ...


def check_name(name: str) -> str:
    """Return ``name`` if it cannot leave the root; raises ``storage.name``."""
    if _NAME.match(name) is None:
        raise UsageError("storage.name", f"{name!r} is not a name inside the storage root")
    return name


def folder_of(name: str) -> str:
    """The folder part of a name, empty at the root."""
    return name.rpartition("/")[0]


def in_order(action: Callable[[str], None], items: Sequence[str], /) -> None:
    """Do one after the other; what :func:`save_all` does unless the adapter knows better."""
    for item in items:
        action(item)


def save_all(storage: Storage, files: Mapping[str, bytes], run: Run = in_order) -> None:
    """Replace each file by way of a synced temporary beside it, then make the new names durable.

    The order matters: all bytes are durable before any name points at them, so a reader after a crash sees old or new
    bytes and never a mixture. One folder sync then covers every rename in that folder. ``run`` may work on several
    files, and then on several folders, at once.
    """

    def write(name: str) -> None:
        temporary = name + TEMPORARY_SUFFIX
        storage.remove(temporary)
        file = storage.create(temporary)
        try:
            file.write(0, files[name])
            file.sync()
        finally:
            file.close()

    names = [check_name(name) for name in files]
    run(write, names)
    for name in names:
        storage.rename(name + TEMPORARY_SUFFIX, name)
    run(storage.sync_folder, list(dict.fromkeys(map(folder_of, names))))
