"""The static files: read once, named by a digest of all of them, so a browser may keep them for ever.

A changed file changes the name of the folder; no page can meet a style sheet or a script of another version.
"""

from __future__ import annotations

import gzip
import hashlib
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from holdfast.errors import UsageError

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""The only kinds of file that are served."""
_IMPORT = re.compile(r'^(?:import|export)\b[^;]*?\bfrom "(\.[^"]+)"', re.MULTILINE)
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, plain and compressed."""

    body: bytes
    gzipped: bytes
    media_type: str


class Assets:
    """All static files in memory; ``prefix`` is the URL path they stand under."""

    def __init__(self, folder: Path = FOLDER) -> None:
        files = sorted(path for path in folder.rglob("*") if path.suffix in TYPES)
        digest = hashlib.sha256()
        self.files: dict[str, Asset] = {}
        for path in files:
            body, name = path.read_bytes(), path.relative_to(folder).as_posix()
            digest.update(name.encode() + b"\x00" + hashlib.sha256(body).digest())
            self.files[name] = Asset(body, gzip.compress(body, 9, mtime=0), TYPES[path.suffix])
        self.version = digest.hexdigest()[:12]
        self.prefix = f"/static/{self.version}"

    def imported(self, entry: str) -> tuple[str, ...]:
        """The modules that a module needs before it runs, sorted: a page that names them is given all of them at once.

        What is imported later (``import(…)``) is none of them.
        """
        found, ahead = set[str](), {entry}
        while ahead:
            name = ahead.pop()
            found.add(name)
            named = _IMPORT.findall(self.files[name].body.decode())
            ahead |= {posixpath.normpath(posixpath.join(posixpath.dirname(name), other)) for other in named} - found
        return tuple(sorted(found - {entry}))

    async def serve(self, request: Request) -> Response:
        """``GET /static/{version}/{name}``; an old version is gone, not answered with a newer file."""
        asset = self.files.get(request.path_params["name"])
        if asset is None or request.path_params["version"] != self.version:
            raise UsageError("request.not_found", "there is nothing at this path", status=404)
        headers = {"cache-control": FOREVER, "vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(asset.gzipped, 200, {**headers, "content-encoding": "gzip"}, asset.media_type)
        return Response(asset.body, 200, headers, asset.media_type)
