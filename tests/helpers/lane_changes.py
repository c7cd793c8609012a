"""Bundles in which a lane stands, and small changes to what it rests on.

A change is one bit the other way: in a statement's payload or signature, in a document that opens its record, in a
salt, a definition, a disclosed text or the secret beside it. Or an item is gone.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

VECTORS = Path(__file__).parents[2] / "vectors"
_SHOWN = ("document", "salt", "definition", "text", "secret")
"""Members of an item that a lane rests on."""


class Base(NamedTuple):
    """A case of ``vectors`` whose lane stands, and the kinds of items and of statements that the lane rests on."""

    lane: str
    case: str
    items: frozenset[str]
    statement: str

    @property
    def told(self) -> dict[str, Any]:
        """Its ``case.json``."""
        found: dict[str, Any] = json.loads((VECTORS / self.case / "case.json").read_text("utf-8"))
        return found

    @property
    def bundle(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((VECTORS / self.case / "bundle.json").read_text("utf-8"))
        return found

    def option(self, name: str) -> str:
        """What stands behind an option on the case's command line."""
        words: list[str] = self.told["run"]
        return words[words.index(f"--{name}") + 1]

    def file(self, name: str) -> bytes:
        """The bytes of the file that an option names."""
        return (VECTORS / self.case / self.option(name)).read_bytes()


BASES = (
    Base("inputs", "lanes/inputs-shown", frozenset({"admission", "document"}), "admission"),
    Base("inputs", "lanes/inputs-quorum", frozenset({"admission", "document"}), "admission"),
    Base("memory", "lanes/memory-carried-in", frozenset({"recall", "document"}), "recall"),
    Base("payment", "lanes/payment-compared-with-the-answer", frozenset({"payment", "document"}), "payment"),
    Base("payment", "lanes/payment-captured-by-two-words", frozenset({"payment"}), "payment"),
    Base("artifact", "lanes/label-moved-since", frozenset({"change"}), "artifact"),
)


class Changed(NamedTuple):
    """A bundle, what was done to it, and whether something is gone from it rather than changed in it.

    A label's change whose statement is another one opens nothing, which is as if it were gone (``lanes.md`` §3.1).
    """

    what: str
    raw: bytes
    gone: bool


def flip(source: Random, data: bytes) -> tuple[bytes, int]:
    """The same with one bit the other way, and where."""
    place = source.randrange(len(data))
    changed = bytearray(data)
    changed[place] ^= 1 << source.randrange(8)
    return bytes(changed), place


def flip_text(source: Random, text: str) -> tuple[str, int]:
    """The same of a text: one of a character's lower five bits, so that it stays one of its alphabet's block."""
    place = source.randrange(len(text))
    return text[:place] + chr(ord(text[place]) ^ 1 << source.randrange(5)) + text[place + 1 :], place


def _kind_of(item: dict[str, Any]) -> str:
    payload = json.loads(base64.b64decode(item["envelope"]["payload"]))
    return str(payload["predicateType"]).split(":")[2]


def _change(source: Random, item: dict[str, Any]) -> str:
    if item["kind"] == "statement":
        part = source.choice(("payload", "sig"))
        holder = item["envelope"] if part == "payload" else item["envelope"]["signatures"][0]
        changed, place = flip(source, base64.b64decode(holder[part]))
        holder[part] = base64.b64encode(changed).decode()
        return f"{part}[{place}]"
    name = source.choice([name for name in _SHOWN if len(item.get(name) or "") > 16])
    if name in ("salt", "secret"):
        data, place = flip(source, bytes.fromhex(item[name]))
        item[name] = data.hex()
    else:
        item[name], place = flip_text(source, item[name])
    return f"{name}[{place}]"


def changes(base: Base, count: int) -> Iterator[Changed]:
    """``count`` changes of a base, always the same ones; of every eighth something is gone."""
    source = Random(base.case)
    whole = base.bundle
    places = [
        place
        for place, item in enumerate(whole["journal"])
        if item["kind"] in base.items or (item["kind"] == "statement" and _kind_of(item) == base.statement)
    ]
    for number in range(count):
        changed = copy.deepcopy(whole)
        place = source.choice(places)
        item = changed["journal"][place]
        gone = number % 8 == 7
        if gone:
            del changed["journal"][place]
        where = "gone" if gone else _change(source, item)
        opens_nothing = base.statement == "artifact" and where.startswith("payload")
        what = f"{base.case}: {item['kind']} {place} {where}"
        yield Changed(what, json.dumps(changed).encode(), gone or opens_nothing)
