"""Forms with files: ``multipart/form-data`` (RFC 7578), strictly, of a body that is in memory.

Few parts with short headers; a body that does not end as its boundary demands is refused. Names and filenames are
texts from outside and nothing here opens anything by them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, unquote_to_bytes

from holdfast.errors import MalformedError

MOST_PARTS = 8
MOST_HEADER_BYTES = 4096
_BOUNDARY = re.compile(
    r"multipart/form-data\s*;(?:.*;)?\s*boundary=(?:\"([^\"]{1,70})\"|([^\s;\"]{1,70}))", re.IGNORECASE
)
_PARAMETER = re.compile(r';\s*([a-z*]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Field:
    """One part: its filename where it is a file, and its bytes."""

    filename: str | None
    data: bytes


def parse_form(content_type: str, body: bytes) -> dict[str, Field]:
    """The fields of a form by their names. Raises ``request.form``."""
    found = _BOUNDARY.match(content_type)
    if found is None:
        raise _malformed("the body is not multipart/form-data with a boundary")
    mark = b"--" + (found[1] or found[2]).encode("latin-1", "replace")
    if not body.startswith(mark):
        raise _malformed("the form does not begin with its boundary")
    pieces = (b"\r\n" + body).split(b"\r\n" + mark)
    if not pieces[-1].startswith(b"--") or len(pieces) - 2 > MOST_PARTS:
        raise _malformed(f"a form has at most {MOST_PARTS} parts and ends with its boundary")
    fields: dict[str, Field] = {}
    for piece in pieces[1:-1]:
        name, field = _field(piece)
        if name in fields:
            raise _malformed("a form has each field once")
        fields[name] = field
    return fields


def _field(piece: bytes) -> tuple[str, Field]:
    head, mark, data = piece.partition(b"\r\n\r\n")
    if not mark or not head.startswith(b"\r\n") or len(head) > MOST_HEADER_BYTES:
        raise _malformed("a part of the form has no short head")
    for line in head[2:].decode("utf-8", "replace").split("\r\n"):
        label, _, said = line.partition(":")
        if label.strip().casefold() == "content-disposition" and said.strip().casefold().startswith("form-data"):
            return _named(said, data)
    raise _malformed("a part of the form does not say which field it is")


def _named(said: str, data: bytes) -> tuple[str, Field]:
    values = {match[1].casefold(): _unquoted(match) for match in _PARAMETER.finditer(said)}
    if not values.get("name"):
        raise _malformed("a part of the form has no name")
    filename = values.get("filename")
    if "filename*" in values:
        encoding, _, rest = values["filename*"].partition("'")
        if encoding.casefold() == "utf-8":
            filename = unquote_to_bytes(rest.partition("'")[2]).decode("utf-8", "replace")
    return values["name"], Field(filename, data)


def _unquoted(match: re.Match[str]) -> str:
    """A parameter's value; what browsers write as percent escapes in quotes (quotes and line breaks) as it was."""
    if match[2] is None:
        return match[3] or ""
    return re.sub("(?i)%(?:22|0[ad])", lambda found: unquote(found[0]), re.sub(r"\\(.)", r"\1", match[2]))


def _malformed(message: str) -> MalformedError:
    return MalformedError("request.form", message, hint="send multipart/form-data with one part named file")
