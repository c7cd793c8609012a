"""Reads of a name in DNS: the message that is sent, and the document that an answer means (``spec/sources.md`` §4(8)).

The body is the answer's message, byte for byte, and is read by the rules below for ever. The reader is our own because
it has to be pure and small: seven types of records of one class, every byte accounted for, names that only ever point
backwards. That a resolver says that it has verified DNSSEC (AD) is told as what it said.

Not covered: whether the resolver tells the truth (nothing is verified against DNSSEC here), and sending
(``adapters.fetch_dns``).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.errors import MalformedError

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "MX": 15, "TXT": 16, "AAAA": 28, "CAA": 257}
"""Types of records that may be asked for (RFC 1035 §3.2.2, RFC 3596, RFC 8659)."""
MOST_ALIASES = 8
UDP_BYTES = 1232
"""What is offered over UDP (EDNS, RFC 6891): what goes through nearly everywhere in one piece."""
_QR, _OPCODE, _TC, _AD, _RD = 0x8000, 0x7800, 0x0200, 0x0020, 0x0100
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_RESOLVER = re.compile(r"(?:(?P<v4>[0-9.]{7,15})|\[(?P<v6>[0-9a-f:.]{2,45})\]):(?P<port>[1-9][0-9]{0,4})\Z")


@dataclass(frozen=True, slots=True)
class DnsRead:
    """One question to one resolver (``sources.md`` §4(8)). ``name`` may hold places."""

    resolver: str
    name: str
    record: str
    seconds: int

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"resolver": self.resolver, "name": self.name, "record": self.record, "seconds": self.seconds}

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the resolver."""
        return parse_resolver(self.resolver)


@dataclass(frozen=True, slots=True)
class Answer:
    """A message that answers: flags and rcode of its header, its question, and the records of its answer section."""

    id: int
    flags: int
    question: tuple[str, int, int]
    """Name, type and class."""
    records: tuple[tuple[str, int, int, int, int, int], ...]
    """Name, type, class, time to live, and where the data begins and ends in the message."""

    @property
    def truncated(self) -> bool:
        return bool(self.flags & _TC)

    @property
    def authenticated(self) -> bool:
        """Whether the resolver says that it verified the answer (AD)."""
        return bool(self.flags & _AD)

    @property
    def code(self) -> int:
        """The response code."""
        return self.flags & 0xF


def parse_resolver(text: object) -> tuple[str, int]:
    """``192.0.2.1:53`` or ``[2001:db8::1]:53`` in its one spelling; raises ``sources.request``."""
    match = _RESOLVER.match(text) if isinstance(text, str) else None
    try:
        found = ipaddress.ip_address((match["v4"] or match["v6"]) if match else "")
        if match and str(found) == (match["v4"] or match["v6"]) and int(match["port"]) <= 65_535:
            return str(found), int(match["port"])
    except ValueError:
        pass
    raise MalformedError("sources.request", "a resolver is an address and a port, like 192.0.2.1:53")


def is_name(text: str) -> bool:
    """Whether a text is a name of lower-case labels, without a dot at its end."""
    return len(text) <= 253 and all(_LABEL.match(label) for label in text.split("."))


def build_question(name: str, record: str, number: int) -> bytes:
    """A query: recursion asked for, AD asked for (RFC 6840 §5.7), EDNS with ``UDP_BYTES``. An admission digests the
    one whose ``number`` (id) is 0."""
    words = (number, _RD | _AD, 1, 0, 0, 1)
    head = b"".join(word.to_bytes(2, "big") for word in words)
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    asked = TYPES[record].to_bytes(2, "big") + b"\x00\x01"
    option = b"\x00" + (41).to_bytes(2, "big") + UDP_BYTES.to_bytes(2, "big") + bytes(6)
    return head + labels + b"\x00" + asked + option


def parse_answer(raw: bytes) -> Answer:
    """A whole message; of one that is cut off (TC) header and question alone. Raises ``source.schema``."""
    reader = _Reader(raw)
    number, flags, *counts = [reader.number(2) for _ in range(6)]
    if not flags & _QR or flags & _OPCODE or counts[0] != 1:
        raise _odd("it is no answer to one question")
    question = (reader.name(), reader.number(2), reader.number(2))
    if flags & _TC:
        return Answer(number, flags, question, ())
    records = [_record(reader) for _ in range(sum(counts[1:]))]
    if reader.place != len(raw):
        raise _odd("it goes on after its end")
    return Answer(number, flags, question, tuple(records[: counts[1]]))


def _record(reader: _Reader) -> tuple[str, int, int, int, int, int]:
    name, kind, group, lives, size = (
        reader.name(),
        reader.number(2),
        reader.number(2),
        reader.number(4),
        reader.number(2),
    )
    begin = reader.place
    reader.take(size)
    return name, kind, group, lives, begin, reader.place


def read_answer(read: DnsRead, raw: bytes) -> dict[str, Any]:
    """``{"authenticated","name","record","ttl","values"}`` of an answer. Raises ``source.schema``."""
    answer = parse_answer(raw)
    name, kind, group = answer.question
    if (kind, group) != (TYPES[read.record], 1) or answer.truncated or answer.code:
        raise _odd("it is no whole answer to what the definition asks")
    owner, lives = _follow(answer, name, kind, raw)
    found = [item for item in answer.records if item[:3] == (owner, kind, 1)]
    values = [_READERS[read.record](_Reader(raw, item[4], item[5])) for item in found]
    return {
        "authenticated": answer.authenticated,
        "name": name,
        "record": read.record,
        "ttl": str(min([*lives, *(item[3] for item in found)], default=0)),
        "values": sorted(values, key=canonical.encode),
    }


def _follow(answer: Answer, name: str, kind: int, raw: bytes) -> tuple[str, list[int]]:
    """The name that the aliases of a name lead to, and how long each alias lives."""
    aliases: dict[str, tuple[str, int]] = {}
    for owner, found, group, lives, begin, end in answer.records:
        if (found, group) == (TYPES["CNAME"], 1) and kind != found:
            if owner in aliases:
                raise _odd("a name has two aliases")
            aliases[owner] = (_only_name(_Reader(raw, begin, end)), lives)
    lived: list[int] = []
    while name in aliases:
        if len(lived) == MOST_ALIASES:
            raise _odd("its aliases do not end")
        name, lives = aliases[name]
        lived.append(lives)
    return name, lived


class _Reader:
    """A message, read from ``place`` to ``end``; names may point to what stands before them."""

    def __init__(self, raw: bytes, place: int = 0, end: int | None = None) -> None:
        self._raw = raw
        self.place = place
        self.end = len(raw) if end is None else end

    def take(self, size: int) -> bytes:
        if self.place + size > self.end:
            raise _odd("it ends early")
        self.place += size
        return self._raw[self.place - size : self.place]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def rest(self) -> bytes:
        return self.take(self.end - self.place)

    def name(self) -> str:
        """A name in lower case; pointers (RFC 1035 §4.1.4) lead backwards only, so that they end."""
        labels: list[str] = []
        reader: _Reader = self
        before = self.place
        while size := reader.number(1):
            if size >= 0xC0:
                target = (size & 0x3F) << 8 | reader.number(1)
                if target >= before:
                    raise _odd("a name points forward")
                reader, before = _Reader(self._raw, target), target
                continue
            label = reader.take(size).decode("latin-1").lower() if size < 64 else ""
            labels.append(label)
            if _LABEL.match(label) is None or len(".".join(labels)) > 253:
                raise _odd("a name has labels that are not read here")
        return ".".join(labels)


def _odd(says: str) -> MalformedError:
    return MalformedError("source.schema", f"the resolver's message is odd: {says}")


def _whole(reader: _Reader, value: canonical.JSON) -> canonical.JSON:
    if reader.place != reader.end:
        raise _odd("a record goes on after its end")
    return value


def _only_name(reader: _Reader) -> str:
    name = reader.name()
    _whole(reader, None)
    return name


def _address_of(size: int) -> Callable[[_Reader], canonical.JSON]:
    def read(reader: _Reader) -> canonical.JSON:
        if reader.end - reader.place != size:
            raise _odd("an address has another size")
        return str(ipaddress.ip_address(reader.rest()))

    return read


def _mail(reader: _Reader) -> canonical.JSON:
    return _whole(reader, {"preference": str(reader.number(2)), "exchange": reader.name()})


def _texts(reader: _Reader) -> canonical.JSON:
    pieces = [reader.take(reader.number(1))]
    while reader.place < reader.end:
        pieces.append(reader.take(reader.number(1)))
    return _text(b"".join(pieces))


def _authority(reader: _Reader) -> canonical.JSON:
    flags = str(reader.number(1))
    tag = _text(reader.take(reader.number(1)))
    return {"flags": flags, "tag": tag, "value": _text(reader.rest())}


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _odd("a text is not UTF-8") from error


_READERS: dict[str, Callable[[_Reader], canonical.JSON]] = {
    "A": _address_of(4),
    "AAAA": _address_of(16),
    "CAA": _authority,
    "CNAME": _only_name,
    "MX": _mail,
    "NS": _only_name,
    "TXT": _texts,
}
