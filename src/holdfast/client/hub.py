"""A hub as a program uses it: send models, fetch them and check every byte, set labels (``spec/artifacts.md`` §7).

Rules: what is named by a digest is hashed here before it is used; a manifest counts once one of the given keys signed
it; nothing is written outside of the folder, over other files, or under its name before it is whole. What broke off
goes on where it ended. A key goes into a header, never into a URL.

The transports are handed in (``ports/http.py``, ``ports/http_stream.py``). Not covered: which keys to believe (trust).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from holdfast.adapters.storage_files import open_file
from holdfast.client.errors import parse_error
from holdfast.client.intake import Intake, take_behind
from holdfast.core import canonical
from holdfast.core.artifacts import (
    LEFT_OUT,
    SIGNATURE_NAME,
    Manifest,
    build_manifest,
    key_hint,
    parse_model_signature,
    refuse_digest,
    verify_files,
    verify_model_signature,
)
from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.core.keys import PublicKey
from holdfast.errors import MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.ports.http import HTTP
from holdfast.ports.http_stream import EventHTTP
from holdfast.ports.settings import Secret

CHUNK_BYTES = 16 << 20
"""What is sent in one request. The next one is read meanwhile, into memory that an earlier one left: allocators give
larger blocks back to the system, and get them anew page by page."""
HASH_BYTES = 4 << 20
"""What is hashed at a time."""
MAX_ANSWER_BYTES = 64 << 20
"""Largest answer that is read whole."""
TIMEOUT_S = 120.0
THREADS = 2
"""One hashes what is pulled, and one syncs it."""
PARTIAL = ".holdfast-partial"
"""Ending of a file that is not whole yet."""

Progress = Callable[[str, int, int], None]
"""Told of a file's name, its bytes so far, and all of them."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """The files of a folder, hashed, and what the format leaves out."""

    folder: Path
    manifest: Manifest
    sizes: Mapping[str, int]
    left_out: tuple[str, ...]


def read_folder(folder: Path, model: str, progress: Progress | None = None) -> LocalModel:
    """Hash a folder, or one file. Raises ``artifact.*``, or ``hub.folder`` for links and what is no file."""
    if folder.is_file() and not folder.is_symlink():
        listed, base = [folder], folder.parent
    elif folder.is_dir():
        listed, base = sorted(folder.rglob("*")), folder
    else:
        raise UsageError("hub.folder", f"{folder} is neither a folder nor a file")
    digests, sizes, left_out = {}, {}, set()
    for path in listed:
        name = path.relative_to(base).as_posix()
        if name.split("/")[0] in LEFT_OUT or name == SIGNATURE_NAME or name.endswith(PARTIAL):
            left_out.add(name.split("/")[0])
            continue
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UsageError("hub.folder", f"{name!r} is a link or no file", hint="put the file itself there")
        if path.is_file():
            sizes[name] = path.stat().st_size
            digests[name] = hash_file(path, name, sizes[name], progress)
    return LocalModel(base, build_manifest(model, digests), sizes, tuple(sorted(left_out)))


def hash_file(path: Path, name: str, size: int, progress: Progress | None = None) -> str:
    """SHA-256 (hex) of a file."""
    running, place = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(HASH_BYTES):
            running.update(data)
            place += len(data)
            if progress is not None:
                progress(name, place, size)
    return running.hexdigest()


class HubClient:
    """One hub behind a base URL."""

    def __init__(
        self,
        http: HTTP,
        events: EventHTTP,
        url: str,
        key: Secret | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``close`` ends the transports, where they are this client's own."""
        self._close = close
        self._http = http
        self._events = events
        self.url = url.rstrip("/")
        self._key = key

    async def close(self) -> None:
        """Let go of the transports."""
        if self._close is not None:
            await self._close()

    def _headers(self) -> dict[str, str]:
        return {} if self._key is None else {"authorization": f"Bearer {self._key.reveal()}"}

    async def _ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
        answer = await self._http.request(
            method,
            f"{self.url}/v1/hub/{path}",
            body=body,
            headers={**self._headers(), "content-type": kind},
            timeout_s=TIMEOUT_S,
            max_bytes=MAX_ANSWER_BYTES,
        )
        if answer.status not in (200, 201):
            raise parse_error(answer.status, answer.body, self.url)
        return answer.body

    async def get(self, path: str) -> dict[str, Any]:
        """A JSON object."""
        return canonical.decode_object(await self._ask("GET", path))

    async def post(self, path: str, value: Mapping[str, Any], method: str = "POST") -> dict[str, Any]:
        """Send a JSON object, read one."""
        return canonical.decode_object(await self._ask(method, path, canonical.encode(dict(value))))

    # Reading

    async def models(self, **query: str) -> dict[str, Any]:
        """A page of models."""
        return await self.get(f"models?{urlencode(query)}")

    async def model(self, model: str) -> dict[str, Any]:
        """One model."""
        return await self.get(f"models/{_path(model)}")

    async def resolve(self, label: str) -> dict[str, Any]:
        """What a label means."""
        return await self.get(f"resolve?{urlencode({'label': label})}")

    async def history(self, label: str) -> dict[str, Any]:
        """The changes of a label by its whole name."""
        model, _, name = label.partition(":")
        return await self.get(f"models/{_path(model)}/labels/{quote(name, safe='')}")

    async def artifact(self, digest: str) -> dict[str, Any]:
        """One artifact."""
        return await self.get(f"artifacts/{quote(digest, safe='')}")

    async def lineage(self, digest: str) -> dict[str, Any]:
        """What an artifact was declared to be made of."""
        return await self.get(f"artifacts/{quote(digest, safe='')}/lineage")

    async def small_file(self, artifact: str, name: str) -> bytes | None:
        """A small file of an artifact as it came, unchecked; None where the artifact has no such file."""
        try:
            return await self._ask("GET", f"artifacts/{quote(artifact, safe='')}/files/{quote(name)}")
        except UsageError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None

    async def sign(self, artifact: str, signature: bytes, key: bytes) -> dict[str, Any]:
        """Bring a manifest that a publisher signed, with the key in PEM."""
        asked = {"signature": b64_encode(signature), "key": key.decode("ascii", "replace")}
        return await self.post(f"artifacts/{quote(artifact, safe='')}/signatures", asked)

    async def verify_publisher(self, artifact: str, key: PublicKey) -> None:
        """Check that the hub has a manifest of this artifact that ``key`` signed. Raises ``artifact.publisher``,
        ``artifact.*`` or ``signature.invalid``."""
        told = await self.get(f"artifacts/{quote(artifact, safe='')}/signatures")
        listed = told.get("signatures")
        hint = key_hint(key)
        found = [item for item in listed if item.get("hint") == hint] if isinstance(listed, list) else []
        if not found:
            raise RefusedError(
                "artifact.publisher", "nobody brought a signature of this artifact by that publisher's key"
            )
        manifest = verify_model_signature(parse_model_signature(b64_decode(found[0].get("signature"))), key)
        if manifest.artifact != artifact:
            raise RefusedError("artifact.digest", "what the publisher signed is the manifest of another artifact")

    async def bom(self, digest: str) -> bytes:
        """Its bill of materials."""
        return await self._ask("GET", f"artifacts/{quote(digest, safe='')}/bom.json")

    async def diff(self, before: str, after: str) -> dict[str, Any]:
        """What differs between two artifacts."""
        return await self.get(f"diff?{urlencode({'before': before, 'after': after})}")

    async def changes(self, after: int, *, wait_s: int = 0, limit: int = 200) -> dict[str, Any]:
        """Changes after a number, with what opens them."""
        return await self.get(f"changes?{urlencode({'after': after, 'wait_s': wait_s, 'limit': limit})}")

    async def manifest(self, artifact: str, keys: Iterable[PublicKey]) -> tuple[bytes, Manifest]:
        """The signed manifest of an artifact, once one of ``keys`` is found to have signed it and it is the artifact's.
        Raises ``artifact.key`` or ``artifact.digest``."""
        raw = await self._ask("GET", f"artifacts/{quote(artifact, safe='')}/model.sig")
        signed = parse_model_signature(raw)
        key = next((each for each in keys if key_hint(each) == signed.hint), None)
        if key is None:
            raise RefusedError(
                "artifact.key", "the manifest is signed by none of the hubs that are believed here",
                hint="trust admits hubs; --hub-key PEM names one by its key",
            )  # fmt: skip
        manifest = verify_model_signature(signed, key)
        if manifest.artifact != artifact:
            raise RefusedError("artifact.digest", "the hub answered with the manifest of another artifact")
        return raw, manifest

    # Sending

    async def push(
        self, model: str, local: LocalModel, reason: str, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Send what the hub does not have of a folder, and publish it."""
        for file in local.manifest.files:
            await self.send_file(local.folder / file.name, file.name, file.digest, local.sizes[file.name], progress)
        files = {file.name: file.digest for file in local.manifest.files}
        return await self.post(f"models/{_path(model)}/versions", {"files": files, "reason": reason})

    async def send_file(self, path: Path, name: str, digest: str, size: int, progress: Progress | None = None) -> None:
        """Send what the hub does not have of a file. Raises ``artifact.digest`` where it changed meanwhile."""
        found = await self.post("uploads", {"digest": digest, "size": size})
        place = found["offset"]
        async with contextlib.aclosing(_read_ahead(path, place)) as chunks:
            while not found["complete"]:
                data = await anext(chunks, b"")
                if not data:
                    raise RefusedError("artifact.digest", f"{name!r} became shorter while it was sent", param=name)
                target = f"uploads/{digest}?offset={place}&size={size}"
                raw = await self._ask("PUT", target, data, "application/octet-stream")
                found = canonical.decode_object(raw)
                place += len(data)
                if progress is not None:
                    progress(name, found["offset"], size)

    async def set_label(
        self,
        label: str,
        artifact: str,
        reason: str,
        *,
        continuity: Mapping[str, Any] | None = None,
        predecessor: str | None = None,
    ) -> dict[str, Any]:
        """Let a label mean an artifact; ``predecessor`` is the digest of the change that was seen last, or None."""
        model, _, name = label.partition(":")
        asked = {"artifact": artifact, "predecessor": predecessor, "reason": reason}
        if continuity is not None:
            asked["continuity"] = dict(continuity)  # type: ignore[assignment]
        return await self.post(f"models/{_path(model)}/labels/{quote(name, safe='')}", asked)

    async def last_change(self, label: str) -> str | None:
        """Digest of the last change of a label; None where there is none."""
        try:
            found = await self.resolve(label)
        except UsageError as error:
            if error.code == "hub.unknown":
                return None
            raise
        return str(found["statement"])

    # Fetching

    async def pull(
        self, artifact: str, folder: Path, keys: Iterable[PublicKey], progress: Progress | None = None
    ) -> Manifest:
        """Fetch an artifact into a folder, check every byte, and write its signed manifest beside. Files that are there
        already and are right stay. Raises ``artifact.*``, ``hub.folder``."""
        raw, manifest = await self.manifest(artifact, keys)
        shown = await self.artifact(artifact)
        sizes = {item["name"]: item["bytes"] for item in shown["files"]}
        _prepare(folder, manifest)
        found = {}
        for file in manifest.files:
            size = sizes.get(file.name)
            if type(size) is not int or size < 0:
                raise MalformedError("hub.answer", f"the hub does not say how large {file.name!r} is")
            found[file.name] = await self._fetch_file(artifact, folder, file.name, file.digest, size, progress)
        verify_files(manifest, found)
        (folder / SIGNATURE_NAME).write_bytes(raw)
        return manifest

    async def _fetch_file(
        self, artifact: str, folder: Path, name: str, digest: str, size: int, progress: Progress | None
    ) -> str:
        path = folder / name
        if path.is_file():
            found = hash_file(path, name, size, progress)
            refuse_digest(name, digest, found)
            return found
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + PARTIAL)
        with ThreadPoolExecutor(THREADS, "holdfast-pull") as threads:
            intake = await asyncio.to_thread(_open_intake, partial, threads)
            try:
                await self._fetch_rest(artifact, name, size, intake, progress)
                await asyncio.to_thread(intake.sync)
            finally:
                intake.close()
        if intake.digest() != digest or intake.offset != size:
            partial.unlink()
        refuse_digest(name, digest, intake.digest())
        partial.replace(path)
        return digest

    async def _fetch_rest(self, artifact: str, name: str, size: int, intake: Intake, progress: Progress | None) -> None:
        """Fetch a file from where it ends on."""
        begin = intake.offset
        if begin >= size:
            return
        url = f"{self.url}/v1/hub/artifacts/{artifact}/files/{quote(name)}"
        headers = self._headers() | ({"range": f"bytes={begin}-"} if begin else {})
        async with self._events.open("GET", url, headers=headers) as answer:
            if answer.status != (206 if begin else 200):
                raise parse_error(answer.status, await answer.body(), self.url)

            async def bounded() -> AsyncIterator[bytes]:
                place = begin
                async for piece in answer.pieces():
                    place += len(piece)
                    if place > size:
                        raise UnavailableError("hub.answer", f"more bytes came than {name!r} has")
                    yield piece
                    if progress is not None:
                        progress(name, place, size)

            await take_behind(bounded(), intake.take)
        if intake.offset < size:
            raise UnavailableError(
                "hub.answer", f"{name!r} broke off at {intake.offset} of {size} bytes", hint="pull it again"
            )


def _open_intake(path: Path, threads: Executor) -> Intake:
    """A file that goes on where it ends, or a new one. Raises ``storage.failed``."""
    return Intake(open_file(path), threads)


async def _read_ahead(path: Path, offset: int) -> AsyncGenerator[bytes]:
    """A file from an offset on; each piece is read while the one before it is sent."""
    with path.open("rb") as file:
        file.seek(offset)
        reading = asyncio.create_task(asyncio.to_thread(file.read, CHUNK_BYTES))
        try:
            while data := await reading:
                reading = asyncio.create_task(asyncio.to_thread(file.read, CHUNK_BYTES))
                yield data
        finally:
            await asyncio.gather(reading, return_exceptions=True)


def _prepare(folder: Path, manifest: Manifest) -> None:
    """Make the folder. One that holds something else would not be the artifact, whatever is fetched into it."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = {file.name for file in manifest.files}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise RefusedError("hub.folder", f"{name!r} in {folder} is a link", hint="choose an empty folder")
        if path.is_file() and name.removesuffix(PARTIAL) not in listed and name != SIGNATURE_NAME:
            raise RefusedError(
                "artifact.extra", f"{name!r} in {folder} is no file of this artifact",
                hint="choose an empty folder", param=name,
            )  # fmt: skip


def _path(model: str) -> str:
    organisation, slash, name = model.partition("/")
    if not slash or not organisation or not name or "/" in name:
        raise UsageError("hub.name", "a model is organisation/model")
    return f"{quote(organisation, safe='')}/{quote(name, safe='')}"
