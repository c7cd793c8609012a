"""Reads one file that needs a program to be read: started by ``extractor_worker`` and by nobody else.

It is started by its path with ``python -I`` and an empty environment, imports nothing of Holdfast, gets the file and
its bounds through standard input, and answers once, in JSON, on standard output. Before it looks at the file it gives
up what reading needs not (``_worker_bounds``): memory and processor time beyond their bounds, writing, core dumps,
children, new privileges, and opening anything more: no file, and no connection. Nothing that a file holds is run.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import runpy
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

_CODECS = ("utf-16-be", "utf-16-le", "latin-1", "cp1252", "mac-roman", "gbk", "big5", "shift-jis", "euc-kr", "idna")
"""What texts in files are written in: found before nothing more can be opened."""
_ACTIVE = ((b"/JavaScript", "scripts"), (b"/EmbeddedFile", "embedded-files"), (b"/Launch", "launches"))
"""Names in a PDF that a reader should hear of."""
_ESCAPED = re.compile(rb"#([0-9A-Fa-f]{2})")


Reader = Callable[[bytes, dict[str, int]], dict[str, Any]]
"""From a file and its bounds to ``pages``, ``paged``, ``media_type`` and ``notes``."""


class _RefusedError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


_ANSWER = 3
"""The one descriptor beside the standard three: no other can be opened behind it."""


def _read_pdf(data: bytes, bounds: dict[str, int]) -> dict[str, Any]:
    import pypdf  # noqa: PLC0415
    from pypdf.errors import LimitReachedError, PdfReadError  # noqa: PLC0415

    try:
        reader = pypdf.PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted:
            raise _RefusedError("file.encrypted", "the PDF is encrypted")
        count = len(reader.pages)
        if count > bounds["pages"]:
            raise _RefusedError("file.too_large", f"a PDF has at most {bounds['pages']} pages, this says {count}")
        pages = list(_bounded((page.extract_text() + "\n" for page in reader.pages), bounds["text_bytes"]))
        told = {note for text in _spelled_out(data, reader) for name, note in _ACTIVE if name in text}
    except LimitReachedError as error:
        raise _RefusedError("file.too_large", "what would come out of the PDF is too large") from error
    except (PdfReadError, RecursionError) as error:
        raise _RefusedError("file.malformed", f"the PDF cannot be read: {type(error).__name__}") from error
    return {"pages": pages, "paged": True, "media_type": "application/pdf", "notes": sorted(told)}


def _spelled_out(data: bytes, reader: Any) -> Iterator[bytes]:
    """A PDF's bytes and its packed objects, names as they are meant (ISO 32000-1 §7.3.5, §7.5.7)."""
    from pypdf.generic import IndirectObject  # noqa: PLC0415

    yield _ESCAPED.sub(_meant, data)
    for number in sorted({packed for packed, _ in reader.xref_objStm.values()}):
        yield _ESCAPED.sub(_meant, reader.get_object(IndirectObject(number, 0, reader)).get_data())


def _meant(found: re.Match[bytes]) -> bytes:
    return bytes((int(found[1], 16),))


def _bounded(texts: Iterator[str], most: int) -> Iterator[str]:
    """Texts until they are too much."""
    for text in texts:
        most -= len(text.encode("utf-8", "replace"))
        if most < 0:
            raise _RefusedError("file.too_large", "there is too much text in the file")
        yield text


def _beside(name: str) -> dict[str, Any]:
    """What a file beside this one defines."""
    return runpy.run_path(os.path.join(os.path.dirname(__file__), name))  # noqa: PTH118, PTH120


def _prepare(kind: str) -> Reader:
    """Import what reading needs, by reading: afterwards nothing can be opened any more."""
    for name in _CODECS:
        with contextlib.suppress(LookupError, UnicodeError):
            "a".encode(name)
    if kind == "office":
        office = _beside("_office_reader.py")
        office["warm_up"]()
        read: Reader = office["read_office"]
        return read
    import pypdf  # noqa: PLC0415

    blank = io.BytesIO()
    writer = pypdf.PdfWriter()
    writer.add_blank_page(72, 72)
    writer.write(blank)
    _read_pdf(blank.getvalue(), {"pages": 1, "text_bytes": 1000})
    return _read_pdf


def _answer(target: Any, value: dict[str, Any]) -> None:
    target.write(json.dumps(value).encode())
    target.flush()


def main() -> None:
    """Read one file."""
    os.dup2(1, _ANSWER)
    target = os.fdopen(_ANSWER, "wb")
    os.dup2(2, 1)  # whatever a library prints must not stand in the answer
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    head = json.loads(sys.stdin.buffer.readline())
    read = _prepare(head["kind"])
    _beside("_worker_bounds.py")["give_up"](head["memory_bytes"], head["cpu_s"], _ANSWER + 1)
    try:
        data = sys.stdin.buffer.read()
        found = read(data, head)
    except MemoryError:
        _answer(target, {"code": "file.too_large", "message": "reading the file takes too much memory"})
    except Exception as error:  # noqa: BLE001 (whatever a reader raises, the answer is that it cannot be read)
        code = getattr(error, "code", None)
        if isinstance(code, str) and code.startswith("file."):
            _answer(target, {"code": code, "message": str(error)})
        else:
            _answer(target, {"code": "file.malformed", "message": f"the file cannot be read: {type(error).__name__}"})
    else:
        _answer(target, found)


if __name__ == "__main__":
    main()
