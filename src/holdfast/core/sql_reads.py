"""Reads of a SQL database: the one statement of a definition, and the body that its rows are (``spec/sources.md``
§4(2)).

A caller's values are bound and never become part of the text: a place is one parameter of the statement, wherever it
stands outside of quotes. Rows become canonical JSON in which every number is a text of its digits, so that the body
that is kept means the same for ever and is read like any other answer in JSON.

Not covered: connections, transactions and time limits (``adapters.fetch_sql``).
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from holdfast.core import canonical
from holdfast.errors import MalformedError, RefusedError

DIALECTS = ("postgresql", "sqlite")
MAX_SELECT = 4096
"""Most characters of a statement."""
MAX_ROWS = 1000
INTEGERS = (-(1 << 63), (1 << 63) - 1)
"""What a bound integer can be in both dialects."""
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_BEGINS = re.compile(r"(?:select|with)[\s(]", re.IGNORECASE)
_NEVER = (";", "--", "/*", "\\", "$", "?")
"""What could end the statement, hide a part of it, or quote in a way that is not looked at here."""
_PLACE = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")


@dataclass(frozen=True, slots=True)
class SqlRead:
    """One SELECT of a database that a secret of the node names (``sources.md`` §4(2))."""

    dialect: str
    secret: str
    """Name of the secret that is the connection's URL."""
    select: str
    """With ``{name}`` for each parameter that is bound."""
    rows: int
    seconds: int
    most_bytes: int
    """Of the body."""

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "dialect": self.dialect,
            "secret": self.secret,
            "select": self.select,
            "rows": self.rows,
            "seconds": self.seconds,
            "bytes": self.most_bytes,
        }


def check_select(text: str) -> None:
    """Raises ``sources.select`` for what is not plainly one SELECT whose places are parameters."""
    if not _BEGINS.match(text):
        raise MalformedError("sources.select", "the statement begins with SELECT or WITH")
    if not all(char.isprintable() or char == "\n" for char in text):
        raise MalformedError("sources.select", "the statement has printable characters and line ends only")
    bare = _QUOTED.sub("''", text)
    odd = next((mark for mark in _NEVER if mark in bare or (mark == "\\" and mark in text)), None)
    if odd is not None:
        raise MalformedError("sources.select", f"the statement has no {odd}")
    if "'" in bare.replace("''", "") or '"' in bare:
        raise MalformedError("sources.select", "a quote is closed")
    if len(_PLACE.findall(text)) != len(_PLACE.findall(bare)) or any(mark in _PLACE.sub("", text) for mark in "{}"):
        raise MalformedError("sources.select", "braces stand around names of parameters only, and outside of quotes")


def bound_names(text: str) -> Sequence[str]:
    """Names of a statement's places, in order, each once."""
    return list(dict.fromkeys(_PLACE.findall(text)))


def bound_text(text: str) -> str:
    """The statement for ``sqlalchemy.text``: ``:name`` for each place, and every other colon as itself."""
    return _PLACE.sub(lambda match: f":{match[1]}", text.replace(":", "\\:"))


def build_question(read: SqlRead, places: Mapping[str, str]) -> bytes:
    """What is asked, as an admission digests it: canonical JSON of ``{"parameters","select"}``."""
    return canonical.encode({"parameters": dict(places), "select": read.select})


def build_rows(columns: Sequence[str], rows: Iterable[Sequence[object]], most_bytes: int) -> bytes:
    """The body: a list of objects by columns' names. Raises ``source.schema`` for a value that has no form there or a
    name that comes twice, ``source.size`` where it is larger than ``most_bytes``."""
    if len(set(columns)) != len(columns):
        raise _schema("two columns have one name")
    pieces, size = [], 1  # two brackets, and a comma less than there are rows
    for row in rows:
        piece = canonical.encode({name: _cell(name, value) for name, value in zip(columns, row, strict=True)})
        size += len(piece) + 1
        if size > most_bytes:
            raise RefusedError("source.size", f"the rows are larger than {most_bytes} bytes", status=502)
        pieces.append(piece)
    return b"[" + b",".join(pieces) + b"]"


def _cell(name: str, value: object) -> canonical.JSON:
    """A value of a column. Numbers are texts; times have their zone where the database gives one; bytes are hex."""
    match value:
        case None | bool():
            return value
        case str():
            return _whole_text(name, value)
        case int():
            return str(value)
        case float() | Decimal():
            return _number(name, value)
        case dt.datetime():
            moment = value if value.tzinfo is None else value.astimezone(dt.UTC)
            return moment.isoformat().replace("+00:00", "Z")
        case dt.date() | dt.time():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return f"0x{bytes(value).hex()}"
        case _:
            raise _schema(f"column {name[:64]} has a type that is read as text only: cast it")


def _whole_text(name: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _schema(f"column {name[:64]} holds half a character") from error
    return value


def _number(name: str, value: float | Decimal) -> str:
    if not math.isfinite(value):
        raise _schema(f"column {name[:64]} holds no number")
    return format(Decimal(repr(value)) if isinstance(value, float) else value, "f")


def _schema(says: str) -> RefusedError:
    return RefusedError("source.schema", says, status=502)
