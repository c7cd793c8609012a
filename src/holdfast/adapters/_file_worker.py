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
import runpy
import sys
import warnings
from collections.abc import Iterator
from typing import Any

_CODECS = ("utf-16-be", "utf-16-le", "latin-1", "cp1252", "mac-roman", "gbk", "big5", "shift-jis", "euc-kr", "idna")
"""What texts in files are written in: found before nothing more can be opened."""
_ACTIVE = ((b"/JavaScript", "scripts"), (b"/EmbeddedFile", "embedded-files"), (b"/Launch", "launches"))
"""Names in a PDF that a reader should hear of."""


class _RefusedError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


_ANSWER = 3
"""The one descriptor beside the standard three: no other can be opened behind it."""


def _read_pdf(data: bytes, bounds: dict[str, int]) -> tuple[list[str], list[str]]:
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
    except LimitReachedError as error:
        raise _RefusedError("file.too_large", "what would come out of the PDF is too large") from error
    except (PdfReadError, RecursionError) as error:
        raise _RefusedError("file.malformed", f"the PDF cannot be read: {type(error).__name__}") from error
    return pages, [note for name, note in _ACTIVE if name in data]


def _bounded(texts: Iterator[str], most: int) -> Iterator[str]:
    """Texts until they are too much."""
    for text in texts:
        most -= len(text.encode("utf-8", "replace"))
        if most < 0:
            raise _RefusedError("file.too_large", "there is too much text in the file")
        yield text


_READERS = {"pdf": _read_pdf}


def _prepare(kind: str) -> None:
    """Import what reading needs, by reading: afterwards nothing can be opened any more."""
    for name in _CODECS:
        with contextlib.suppress(LookupError, UnicodeError):
            "a".encode(name)
    if kind == "pdf":
        import pypdf  # noqa: PLC0415

        blank = io.BytesIO()
        writer = pypdf.PdfWriter()
        writer.add_blank_page(72, 72)
        writer.write(blank)
        _read_pdf(blank.getvalue(), {"pages": 1, "text_bytes": 1000})


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
    _prepare(head["kind"])
    bounds = runpy.run_path(os.path.join(os.path.dirname(__file__), "_worker_bounds.py"))  # noqa: PTH118, PTH120
    bounds["give_up"](head["memory_bytes"], head["cpu_s"], _ANSWER + 1)
    try:
        data = sys.stdin.buffer.read()
        pages, notes = _READERS[head["kind"]](data, head)
    except _RefusedError as error:
        _answer(target, {"code": error.code, "message": str(error)})
    except MemoryError:
        _answer(target, {"code": "file.too_large", "message": "reading the file takes too much memory"})
    except Exception as error:  # noqa: BLE001 (whatever a reader raises, the answer is that it cannot be read)
        _answer(target, {"code": "file.malformed", "message": f"the file cannot be read: {type(error).__name__}"})
    else:
        _answer(target, {"pages": pages, "notes": notes})


if __name__ == "__main__":
    main()
