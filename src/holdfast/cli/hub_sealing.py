"""Sealing a model before it is pushed, and opening one that was pulled (``spec/artifacts.md`` §11).

What is sealed or fetched lies in a temporary folder as ciphertext until it was sent or opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.core.artifacts import Manifest
from holdfast.core.blob_sealing import SECRET_BYTES
from holdfast.core.keys import PublicKey
from holdfast.core.sealed_models import INDEX, READERS, is_sealed
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.client.hub import HubClient, LocalModel, Progress


@contextlib.contextmanager
def sealed_for(readers: Sequence[Path], local: LocalModel, progress: Progress | None) -> Iterator[LocalModel]:
    """The folder as it is sent: sealed where there are readers, else as it is. Raises ``sealed_model.key``."""
    if not readers:
        yield local
        return
    from holdfast.adapters.wraps_hpke import read_reader, wrap_model_key  # noqa: PLC0415 - the base install seals nothing
    from holdfast.client.hub import read_folder  # noqa: PLC0415
    from holdfast.client.sealed_models import seal_folder  # noqa: PLC0415

    keys = [read_reader(path) for path in readers]
    with tempfile.TemporaryDirectory(prefix="holdfast-sealed-") as name:
        target, secret = Path(name), secrets.token_bytes(SECRET_BYTES)
        seal_folder(local, target, {key.key_id: key.public for key in keys}, secret, wrap_model_key, progress)
        yield read_folder(target, local.manifest.model)


async def pull_sealed(
    client: HubClient, artifact: str, folder: Path, keys: Sequence[PublicKey], key: Path, progress: Progress | None
) -> Manifest:
    """Fetch a sealed model, check every byte of the artifact, and write what it opens to into a new folder. Raises
    ``sealed_model.*``, ``artifact.*``, ``blob.*`` or ``hub.folder``."""
    from holdfast.adapters.wraps_hpke import load_recipient  # noqa: PLC0415
    from holdfast.client.sealed_models import open_folder  # noqa: PLC0415

    recipient = load_recipient(key)
    with tempfile.TemporaryDirectory(prefix="holdfast-sealed-") as name:
        source = Path(name) / "artifact"
        manifest = await client.pull(artifact, source, keys, progress)
        if not is_sealed(file.name for file in manifest.files):
            raise UsageError("sealed_model.open", "this model is not sealed", hint="leave --unseal out")
        readers, index = await asyncio.to_thread(lambda: [(source / part).read_bytes() for part in (READERS, INDEX)])
        opened = recipient.open_model(readers, index)
        return await asyncio.to_thread(open_folder, opened, source, folder, progress)
