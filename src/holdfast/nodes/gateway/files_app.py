"""The Files API, as OpenAI's clients call it (``spec/files.md`` §6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from holdfast.errors import MalformedError, RefusedError, UsageError
from holdfast.nodes.asgi import read_body
from holdfast.nodes.edge import Receive, Scope
from holdfast.nodes.gateway.attaching import Attaching, Image, tell_read
from holdfast.nodes.gateway.keys import Caller
from holdfast.nodes.gateway.multipart import parse_form
from holdfast.nodes.gateway.uploads import Kept, Upload, Uploads

PATH = re.compile(r"/v1/files(?:/([^/]{1,200})(/content)?)?\Z")
PURPOSES = ("user_data", "assistants")
_LISTED_NAME = "sealed"
"""What a listed upload is called: its name lies sealed with it."""


class FilesApp:
    """Answers requests below ``/v1/files``."""

    def __init__(self, uploads: Uploads, attaching: Attaching) -> None:
        self._uploads = uploads
        self._attaching = attaching

    @staticmethod
    def methods(path: str) -> tuple[str, ...]:
        """The methods that a path takes."""
        found = PATH.match(path)
        if found is None:
            return ()
        if found[1] is None:
            return ("GET", "POST")
        return ("GET",) if found[2] else ("GET", "DELETE")

    async def answer(self, scope: Scope, receive: Receive, caller: Caller) -> tuple[bytes | dict[str, Any], str]:
        """The body of an answer (a value of JSON, or bytes) and its type. Raises ``file.*`` and ``request.form``."""
        found = PATH.match(scope["path"])
        file_id, content = (found[1], found[2]) if found is not None else (None, None)
        if scope["method"] == "POST":
            return await self._keep(dict(scope["headers"]), await read_body(receive), caller), "application/json"
        if file_id is None:
            return self._list(caller), "application/json"
        if scope["method"] == "DELETE":
            await self._uploads.delete(file_id, caller.workspace)
            return {"id": file_id, "object": "file", "deleted": True}, "application/json"
        upload = await self._uploads.open(file_id, caller.workspace)
        return (upload.data, "application/octet-stream") if content else (_show(file_id, upload), "application/json")

    async def _keep(self, headers: Mapping[bytes, bytes], body: bytes, caller: Caller) -> dict[str, Any]:
        fields = parse_form(headers.get(b"content-type", b"").decode("latin-1"), body)
        file, purpose = fields.get("file"), fields.get("purpose")
        if file is None or file.filename is None:
            raise MalformedError("file.part", "a form has a part named file, with a filename", param="file")
        if purpose is None or purpose.data.decode("latin-1") not in PURPOSES:
            raise UsageError("file.purpose", f"purpose is {' or '.join(PURPOSES)}", param="purpose")
        file_id, upload = await self._uploads.keep(
            file.filename, file.data, caller.workspace, caller.person, self._attaching
        )
        return _show(file_id, upload)

    def _list(self, caller: Caller) -> dict[str, Any]:
        data = [_object(f"file-{item.locator}", _LISTED_NAME, item) for item in self._uploads.of(caller.workspace)]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return {"object": "list", "data": data, "has_more": False, **ends}


def refuse_shared(caller: Caller) -> None:
    """Many have this key: nobody's files are told by it."""
    if caller.shared:
        hint = "bring the file inline, as file_data"
        raise RefusedError("file.shared", "many have this key: it keeps no files", hint=hint, status=403)


def _object(file_id: str, name: str, kept: Kept) -> dict[str, Any]:
    return {
        "id": file_id,
        "object": "file",
        "bytes": kept.size,
        "created_at": int(kept.created_at.timestamp()),
        "expires_at": int(kept.expires_at.timestamp()),
        "filename": name,
        "purpose": PURPOSES[0],
        "status": "processed",
    }


def _show(file_id: str, upload: Upload) -> dict[str, Any]:
    found = upload.found
    told = {"media_type": found.media_type, "name": found.name} if isinstance(found, Image) else tell_read(found)
    return {**_object(file_id, upload.name, upload.kept), "holdfast": told}
