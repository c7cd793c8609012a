"""A copy of a SQLite database that can be looked at without touching the original, whoever writes to it meanwhile.

SQLite's own backup makes it: one consistent state, with what still lies in the write-ahead log. The original is opened
for reading alone.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from holdfast.errors import MalformedError

MAGIC = b"SQLite format 3\x00"
"""How every SQLite database begins."""


@contextlib.contextmanager
def sqlite_snapshot(file: Path) -> Iterator[str]:
    """SQLAlchemy URL of a copy that is gone when the block ends. Raises ``store.copy`` for what cannot be copied."""
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        copy = Path(folder) / "copy.sqlite"
        try:
            with (
                contextlib.closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as source,
                contextlib.closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
        except sqlite3.Error as error:
            hint = "a copy needs its -wal file beside it, and a folder that can be written to"
            raise MalformedError("store.copy", f"cannot read {file} as a database: {error}", hint=hint) from error
        yield f"sqlite:///{copy}"
