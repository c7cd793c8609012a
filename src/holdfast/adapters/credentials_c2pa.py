"""C2PA content credentials, put into images and read from them by ``c2pa-python`` (``spec/images.md`` §6).

The library is compiled and parses bytes that others made, so each image is handled in a worker process without keys,
files or network (``_c2pa_worker``). The signing key stays here: a worker asks for a signature and learns no more. The
package is an extra of its own; where it is missing, everything here raises ``credentials.no_reader``.

Not covered: who is believed (anchors are the reader's), time stamps by an authority, and revocation.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast import __version__
from holdfast.core.content_credentials import LABEL, Credentials, ImageClaim, parse_report
from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.core.images import MAX_IMAGE_BYTES
from holdfast.errors import MalformedError, UnavailableError

WORKER = Path(__file__).with_name("_c2pa_worker.py")
MAX_MADE_BYTES = 2 * MAX_IMAGE_BYTES
"""Largest answer that is taken from a worker: an image with its credentials, or a report."""
_MOST_LINE = 4 << 20
"""What is to be signed is a COSE structure of a few kilobytes, and of an image with a long history more."""
_BOUNDS = {"memory_bytes": 512 << 20, "cpu_s": 20}

Sign = Callable[[bytes], bytes]
"""ES256: from a message to r ‖ s, 64 bytes."""


def installed() -> bool:
    """Whether the extra is here."""
    return importlib.util.find_spec("c2pa") is not None


@dataclass(frozen=True, slots=True)
class C2PACredentials:
    """Puts credentials into images for one gateway."""

    sign: Sign
    chain: str
    """Certificates, PEM, the signing one first."""
    timeout_s: float = 30.0

    async def embed(self, kind: str, data: bytes, claim: ImageClaim, *, ruled: bool) -> bytes:
        """The image with credentials that name ``claim``; ``ruled`` where fixed rules made it and no model. Raises
        ``gateway.credentials`` where the library cannot."""
        manifest = {
            "claim_generator_info": [{"name": "Holdfast", "version": __version__}],
            "format": f"image/{kind}",
            "assertions": [{"label": LABEL, "kind": "Json", "data": claim.to_json()}],
        }
        source = "ALGORITHMIC_MEDIA" if ruled else "TRAINED_ALGORITHMIC_MEDIA"
        head = {"act": "embed", "manifest": json.dumps(manifest), "chain": self.chain, "source": source}
        try:
            made = await _ask({**head, "format": f"image/{kind}"}, data, self.sign, self.timeout_s)
        except MalformedError as error:
            raise _unable(error.message) from error
        if not made:
            raise _unable("the library made nothing")
        return made


async def read_credentials(kind: str, data: bytes, anchors: str = "", timeout_s: float = 30.0) -> Credentials | None:
    """What an image's credentials come to; None where it carries none. ``anchors`` are certificates in PEM. Raises
    ``image.credentials`` where they cannot be read and ``credentials.no_reader``."""

    def refuse(_: bytes) -> bytes:
        raise MalformedError("image.credentials", "reading signs nothing")

    report = await _ask({"act": "read", "format": f"image/{kind}", "anchors": anchors}, data, refuse, timeout_s)
    return parse_report(json.loads(report)) if report else None


def _unable(why: str) -> UnavailableError:
    return UnavailableError("gateway.credentials", f"credentials could not be put into an image: {why}", status=502)


async def _ask(head: dict[str, Any], data: bytes, sign: Sign, timeout_s: float) -> bytes:
    """What a worker makes; raises ``image.credentials`` where it cannot."""
    if not installed():
        raise UnavailableError(
            "credentials.no_reader", "c2pa-python is not installed", hint="pip install 'holdfast[c2pa]'"
        )
    with tempfile.TemporaryDirectory(prefix="holdfast-c2pa-") as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(WORKER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            cwd=folder,
            limit=_MOST_LINE,
        )
        try:
            async with asyncio.timeout(timeout_s):
                made = await _talk(process, {**head, **_BOUNDS, "size": len(data)}, data, sign)
                await process.wait()
                return made
        except TimeoutError as error:
            raise MalformedError("image.credentials", "it took too long") from error
        except (ValueError, KeyError, ConnectionError, asyncio.IncompleteReadError) as error:
            raise MalformedError("image.credentials", "the worker ended without an answer") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())


async def _talk(process: asyncio.subprocess.Process, head: dict[str, Any], data: bytes, sign: Sign) -> bytes:
    given, said = process.stdin, process.stdout
    if given is None or said is None:
        return b""
    given.write(json.dumps(head).encode() + b"\n" + data)
    await given.drain()
    while True:
        answer = json.loads(await said.readline())
        if "sign" in answer:
            given.write(b64_encode(sign(b64_decode(answer["sign"]))).encode() + b"\n")
            await given.drain()
        elif "error" in answer:
            raise MalformedError("image.credentials", str(answer["error"])[:300])
        elif "none" in answer:
            return b""
        elif not 0 < answer["size"] <= MAX_MADE_BYTES:
            raise MalformedError("image.credentials", "there is too much of it")
        else:
            return await said.readexactly(answer["size"])
