"""What every storage adapter shares: the rule for names and the one way to replace files atomically."""

from __future__ import annotations

import re
from collections.abc import Mapping

from holdfast.errors import UsageError
from holdfast.ports.storage import Storage

_NAME = re.compile(r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+)*\Z")
TEMPORARY_SUFFIX = ".tmp"
"""Files being written by :func:`save_all`; left over ones mean nothing and are overwritten."""


def check_name(name: str) -> str:
    """Return ``name`` if it cannot leave the root; raises ``storage.name``."""
    if _NAME.match(name) is None:
        raise UsageError("storage.name", f"{name!r} is not a name inside the storage root")
    return name


def folder_of(name: str) -> str:
    """The folder part of a name, empty at the root."""
    return name.rpartition("/")[0]


def save_all(storage: Storage, files: Mapping[str, bytes]) -> None:
    """Replace each file by way of a synced temporary beside it, then make the new names durable.

    The order matters: bytes are durable before the name points at them, so a reader after a crash sees old or new bytes
    and never a mixture. One folder sync then covers every rename in that folder.
    """
    for name, data in files.items():
        temporary = check_name(name) + TEMPORARY_SUFFIX
        storage.remove(temporary)
        file = storage.create(temporary)
        try:
            file.write(0, data)
            file.sync()
        finally:
            file.close()
        storage.rename(temporary, name)
    for folder in dict.fromkeys(folder_of(name) for name in files):
        storage.sync_folder(folder)
