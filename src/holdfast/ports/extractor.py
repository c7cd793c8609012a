"""Reading files that need a program: PDF and office documents to text (``spec/files.md`` §2).

Rules an adapter keeps: what reads a file has no key, no network and no path of a file; it is bounded in memory, time
and what it may give back; and a file that breaks a bound is refused, not half read.

Errors: ``file.malformed``, ``file.encrypted``, ``file.too_large``, ``file.time``, ``file.type``, ``file.empty``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was read: the text of each page, or one text where the kind has no pages."""

    pages: tuple[str, ...]
    paged: bool
    media_type: str
    name: str
    """What read it."""
    version: str
    notes: tuple[str, ...] = ()


class Extractor(Protocol):
    """Reads one file at a time, or several at once."""

    async def extract(self, kind: str, data: bytes) -> Extracted:
        """Read a file of a kind that :func:`holdfast.core.file_bytes.kind_of` names."""
        ...
