"""Seal a folder before it is sent to a hub, and open what was fetched from one (``spec/artifacts.md`` §11).

Rules: a key is made for each model and kept nowhere but in its wraps; nothing is written outside of the folder that is
named, nor over files that are there. Randomness and wraps are handed in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from holdfast.client.hub import LocalModel, Progress
from holdfast.core.artifacts import Manifest
from holdfast.core.blob_sealing import seal_blob
from holdfast.core.encoding import sha256, sha256_hex
from holdfast.core.sealed_models import (
    FOLDER,
    INDEX,
    PIECE_BYTES,
    READERS,
    OpenedModel,
    SealedFile,
    SealedIndex,
    build_readers,
    check_file,
    piece_name,
)
from holdfast.errors import RefusedError, UsageError

Wrap = Callable[[bytes, bytes], bytes]
"""Encrypts a data key with the digest of the index to a public key (32 bytes)."""


def seal_folder(
    local: LocalModel,
    target: Path,
    readers: Mapping[str, bytes],
    secret: bytes,
    wrap: Wrap,
    progress: Progress | None = None,
) -> SealedIndex:
    """Write a sealed model below ``target``. ``readers`` are public keys by their ids; ``secret`` is 32 bytes of
    randomness that seal nothing else. Raises ``sealed_model.readers`` where there is no reader, ``artifact.digest``
    where a file changed since it was hashed."""
    if not readers:
        raise UsageError("sealed_model.readers", "a model that nobody can read is of no use: name a reader")
    (target / FOLDER).mkdir(parents=True)
    files, number = [], 0
    for file in local.manifest.files:
        pieces, running, size = [], hashlib.sha256(), 0
        with (local.folder / file.name).open("rb") as source:
            while data := source.read(PIECE_BYTES):
                (target / piece_name(number)).write_bytes(seal_blob(secret, data))
                running.update(data)
                pieces.append(sha256_hex(data))
                number, size = number + 1, size + len(data)
                if progress is not None:
                    progress(file.name, size, local.sizes[file.name])
        if running.hexdigest() != file.digest:
            raise RefusedError("artifact.digest", f"{file.name!r} changed while it was sealed", param=file.name)
        files.append(SealedFile(file.name, file.digest, size, tuple(pieces)))
    index = SealedIndex(local.manifest.model, tuple(files))
    raw = index.to_bytes()
    (target / INDEX).write_bytes(seal_blob(secret, raw))
    wraps = {key: wrap(public, secret + sha256(raw)) for key, public in readers.items()}
    (target / READERS).write_bytes(build_readers(wraps))
    return index


def open_folder(opened: OpenedModel, source: Path, target: Path, progress: Progress | None = None) -> Manifest:
    """Write the files of a sealed model in the clear into ``target``, which is new or empty, from the artifact's files
    in ``source``. Raises ``hub.folder``, ``sealed_model.*`` or ``blob.*``."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError("hub.folder", f"{target} holds something already", hint="name a new folder")
    for file, pieces in opened.numbered():
        path = target / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        running, size = hashlib.sha256(), 0
        with path.open("xb") as out:
            for name, digest in pieces:
                data = opened.piece(digest, (source / name).read_bytes())
                out.write(data)
                running.update(data)
                size += len(data)
                if progress is not None:
                    progress(file.name, size, file.size)
        check_file(file, running.hexdigest(), size)
    return opened.index.manifest
