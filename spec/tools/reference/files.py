"""File documents, their chunks, and runs that files were attached to (files.md)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from .contexts import block, context
from .text import exact_text, jcs, parse
from .world import REQUEST, SENT, Turn

REPORT = "The pump ran for 40 days.\n\nIt was oiled on the third.\n"


def document(text: str = REPORT, name: str = "report.txt", data: bytes | None = None, **change: Any) -> dict[str, Any]:
    """A file document; of a text, what it was read from is its bytes."""
    data = text.encode() if data is None else data
    value = {
        "type": "urn:holdfast:file:v1",
        "name": name,
        "media_type": "text/plain",
        "bytes": {"digest": hashlib.sha256(data).hexdigest(), "size": len(data)},
        "extractor": {"name": "holdfast", "version": "1"},
        "notes": [],
        "pages": [],
        "text": text,
    }
    return {**value, **change}


def chunks(value: dict[str, Any]) -> list[list[Any]]:
    """§4: [page, start, end] of each."""
    text, found = value["text"], []
    starts = value["pages"] or [0]
    for number, begin in enumerate(starts):
        stop = starts[number + 1] if number + 1 < len(starts) else len(text)
        while begin < stop:
            if stop - begin <= 2000:
                end = stop
            else:
                end = begin + 2000
                for mark in ("\n\n", "\n", " "):
                    ends = [at for at in range(begin + 1001, begin + 2001) if text[at - len(mark) : at] == mark]
                    if ends:
                        end = ends[-1]
                        break
            found.append([number + 1 if value["pages"] else None, begin, end])
            begin = end  # noqa: PLW2901
    return found


def digest_of(value: dict[str, Any]) -> str:
    """§3(2)."""
    return hashlib.sha256(jcs(value)).hexdigest()


def file_block(value: dict[str, Any], number: int, shown: int, **change: str) -> str:
    """§5(1), of the file."""
    said = {
        "characters": str(len(value["text"])),
        "chunks": str(len(chunks(value))),
        "digest": value["bytes"]["digest"],
        "document": digest_of(value),
        "file": str(number),
        "shown": str(shown),
        **({"pages": str(len(value["pages"]))} if value["pages"] else {}),
        **change,
    }
    return block("file", said, value["name"])


def span_block(value: dict[str, Any], number: int, which: int, text: str | None = None, **change: str) -> str:
    """§5(1), of one chunk."""
    page, start, end = chunks(value)[which - 1]
    said = {
        "chunk": str(which),
        "end": str(end),
        "file": str(number),
        "start": str(start),
        **({} if page is None else {"page": str(page)}),
        **change,
    }
    return block("span", said, value["text"][start:end] if text is None else text)


def blocks(value: dict[str, Any], number: int = 1, shown: Sequence[int] | None = None) -> list[str]:
    """All blocks of a file."""
    shown = list(range(1, len(chunks(value)) + 1)) if shown is None else list(shown)
    return [file_block(value, number, len(shown)), *(span_block(value, number, chunk) for chunk in shown)]


def inline(data: bytes, name: str = "report.txt") -> dict[str, Any]:
    """A file part that brings its bytes (§1(1))."""
    url = "data:text/plain;base64," + base64.b64encode(data).decode()
    return {"type": "file", "file": {"filename": name, "file_data": url}}


UPLOAD = {"type": "file", "file": {"file_id": "file-" + "0a" * 16 + "-" + "0b" * 32}}


def quotes(answer: str, value: dict[str, Any]) -> list[list[Any]]:
    """§8, of a file of which every chunk is shown: one run."""

    def evened(text: str) -> tuple[str, list[int]]:
        plain, places = "", []
        for place, letter in enumerate(text):
            space = letter in " \t\n\r\u00a0"
            if space and plain.endswith(" ") and text[place - 1] in " \t\n\r\u00a0":
                continue
            plain += " " if space else letter
            places.append(place)
        return plain, [*places, len(text)]

    (said, said_at), (run, run_at) = evened(answer), evened(value["text"])
    found: list[list[Any]] = []
    at = 0
    while at + 32 <= len(said) and len(found) < 64:
        place = run.find(said[at : at + 32])
        if place < 0:
            at += 1
            continue
        long = 32
        while (
            said[at + long : at + long + 1] and said[at + long : at + long + 1] == run[place + long : place + long + 1]
        ):
            long += 1
        start = run_at[place]
        page = max((number for number, begin in enumerate(value["pages"], 1) if begin <= start), default=None)
        found.append([said_at[at], said_at[at + long - 1] + 1, page, start, run_at[place + long - 1] + 1])
        at += long
    return found


class Attached:
    """A run that files were attached to. Every argument changes one thing."""

    def __init__(
        self,
        name: str = "files",
        *,
        documents: Sequence[dict[str, Any]] | None = None,
        content: Sequence[str] | None = None,
        brought: Sequence[dict[str, Any]] | None = None,
        rewrites: Sequence[str] = ("context", "files", "holdfast-removed"),
    ) -> None:
        self.documents = [document()] if documents is None else list(documents)
        usual = [piece for number, value in enumerate(self.documents, 1) for piece in blocks(value, number)]
        brought = (
            [inline(value["text"].encode(), value["name"]) for value in self.documents] if brought is None else brought
        )
        question = {"type": "text", "text": "Does it hold?"}
        request, sent = parse(REQUEST.encode()), parse(SENT.encode())
        request["messages"][1]["content"] = [question, *brought]
        told = [
            {"type": "text", "text": f"[file {number}: {value['name']}]"}
            for number, value in enumerate(self.documents, 1)
        ]
        sent["messages"][1]["content"] = [question, *told]
        pieces = usual if content is None else list(content)
        if pieces:
            sent["messages"].insert(1, {"role": "user", "content": context(*pieces)})
        self.turn = Turn(
            name,
            request=exact_text(request),
            sent=exact_text(sent),
            route_change=lambda value: value["predicate"].__setitem__("rewrites", list(rewrites)),
        )


def shown(value: dict[str, Any], **change: Any) -> dict[str, Any]:
    """Members of the bundle item that shows a file document."""
    return {"digest": digest_of(value), "document": jcs(value).decode(), **change}
