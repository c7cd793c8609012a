"""``files``: texts in one folder: which lines hold some words, or what one file says.

Settings: ``folder`` (from the agent file's own).

Rules: nothing outside of the folder is read. Every piece of a path is opened by its parent and followed nowhere, so
that no link, ``..`` or name that changes meanwhile leads out. Only plain files of UTF-8 are read, each up to 1 MiB, and
at most 2,000 of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from holdfast.agents.tool import Scope, ToolError
from holdfast.agents.world import World, describe_arguments, only_settings, text_setting
from holdfast.core.agent_files import ToolFile
from holdfast.core.canonical import JSON
from holdfast.errors import UsageError

MAX_BYTES = 1 << 20
MOST_FILES, MOST_HITS, MOST_DEPTH = 2_000, 20, 8
_MAX_LINE = 500
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FilesTool:
    """See the module."""

    description = "Searches the texts of a folder: query finds lines that hold all of its words, path reads one file."
    parameters: Mapping[str, Any] = describe_arguments(
        query={"type": "string", "minLength": 1, "maxLength": 256, "default": ""},
        path={"type": "string", "minLength": 1, "maxLength": 512, "default": ""},
    )

    def __init__(self, file: ToolFile, world: World) -> None:
        only_settings(file, "folder")
        self.name = file.name
        self._folder = world.folder / Path(text_setting(file, "folder")).expanduser()
        if not self._folder.is_dir():
            raise UsageError("tool.settings", f"{self._folder} is no folder", param=f"{file.name}.folder")

    async def call(self, arguments: Mapping[str, Any], scope: Scope) -> JSON:
        """Either ``hits`` (file, line, text) and whether there are ``more``, or the ``text`` of one file."""
        del scope
        if ("query" in arguments) == ("path" in arguments):
            raise ToolError("give exactly one of query and path")
        if "path" in arguments:
            return await asyncio.to_thread(self._read, arguments["path"])
        return await asyncio.to_thread(self._search, arguments["query"].casefold().split())

    def _read(self, path: str) -> JSON:
        pieces = path.split("/")
        if not all(_is_plain(piece) for piece in pieces):
            raise ToolError("a path is names of folders and a file, with / in between")
        try:
            with contextlib.ExitStack() as stack:
                folder = _opened(stack, self._folder, _FOLDER & ~os.O_NOFOLLOW)
                for piece in pieces[:-1]:
                    folder = _opened(stack, piece, _FOLDER, folder)
                text = _text(pieces[-1], folder)
        except OSError as error:
            raise ToolError(f"{path}: there is no such file that may be read") from error
        if text is None:
            raise ToolError(f"{path}: no text of at most {MAX_BYTES} bytes")
        return {"file": path, "text": text}

    def _search(self, words: list[str]) -> JSON:
        hits: list[JSON] = []
        with contextlib.ExitStack() as stack:
            try:
                top = _opened(stack, self._folder, _FOLDER & ~os.O_NOFOLLOW)
            except OSError as error:
                raise ToolError("the folder cannot be read") from error
            for number, (name, text) in enumerate(_texts(top, "", 0)):
                if number == MOST_FILES:
                    return {"hits": hits, "more": True}
                for place, line in enumerate(text.splitlines(), 1):
                    if all(word in line.casefold() for word in words):
                        if len(hits) == MOST_HITS:
                            return {"hits": hits, "more": True}
                        hits.append({"file": name, "line": place, "text": line[:_MAX_LINE]})
        return {"hits": hits, "more": False}


def _texts(folder: int, above: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every text below an open folder, in the order of names."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        if not _is_plain(name):
            continue
        with contextlib.suppress(OSError):
            kind = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISDIR(kind) and depth < MOST_DEPTH:
                with contextlib.ExitStack() as stack:
                    yield from _texts(_opened(stack, name, _FOLDER, folder), f"{above}{name}/", depth + 1)
            elif stat.S_ISREG(kind) and (text := _text(name, folder)) is not None:
                yield f"{above}{name}", text


def _is_plain(name: str) -> bool:
    """Whether a name is one of a folder or file, shown to everybody, and says so in characters that can be told."""
    return bool(name) and not name.startswith(".") and "/" not in name and name.isprintable()


def _opened(stack: contextlib.ExitStack, path: str | Path, flags: int, folder: int | None = None) -> int:
    descriptor = os.open(path, flags, dir_fd=folder)
    stack.callback(os.close, descriptor)
    return descriptor


def _text(name: str, folder: int) -> str | None:
    """A plain file's text; None where it is none, or too large. Raises OSError."""
    with contextlib.ExitStack() as stack:
        descriptor = _opened(stack, name, _FILE, folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        pieces, size = [], 0
        while piece := os.read(descriptor, 1 << 16):
            size += len(piece)
            if size > MAX_BYTES:
                return None
            pieces.append(piece)
    try:
        return b"".join(pieces).decode("utf-8")
    except UnicodeDecodeError:
        return None
