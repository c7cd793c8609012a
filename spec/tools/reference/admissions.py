"""Admission documents, the records that commit to them, quorums and blocks (admission.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Context, Decimal, Inexact
from typing import Any

from .signing import Node
from .text import jcs, jcs_text, named, posix_ms, when
from .world import DATA, START, Statement, private_run_id, statement

HOST = "rates.example"
DEFINITION = '{"source":"rates","url":"https://rates.example/{pair}"}'
SPKI = named("rates spki").hex()
LEAF = named("rates leaf").hex()
MINUTE_MS = 60_000
_EXACT = Context(prec=200, traps=[Inexact])


def source(name: str = "rates", version: int = 1) -> dict[str, Any]:
    """Which source."""
    return {"id": name, "version": version, "definition": hashlib.sha256(DEFINITION.encode()).hexdigest()}


def decimal(text: str, unit: str | None = "USD") -> dict[str, Any]:
    """A value that is a number."""
    return {"type": "decimal", "text": text, "unit": unit}


def tls(**change: Any) -> dict[str, Any]:
    """What was observed of a session."""
    value = {
        "protocol": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "chain": [LEAF, named("rates issuer").hex()],
        "certificate": LEAF,
        "spki": SPKI,
        "roots": {"store": "certifi", "anchor": named("a root").hex()},
        "sni": HOST,
        "family": "ipv4",
    }
    return {**value, **change}


def http(**change: Any) -> dict[str, Any]:
    """What came back."""
    value = {
        "status": 200,
        "headers": {"date": "Wed, 31 Dec 2025 23:59:55 GMT", "cache-control": "no-store"},
        "hosts": [],
        "body": {"digest": named("rates body").hex(), "size": 42},
    }
    return {**value, **change}


def limits(**change: Any) -> dict[str, Any]:
    """What the definition asks."""
    value = {"max_age_s": 60, "skew_s": 5, "range": {"least": "0.5", "most": "2"}, "pins": [SPKI]}
    return {**value, **change}


def observation(text: str = "1.0842", *, plus_ms: int = -5_000, **change: Any) -> dict[str, Any]:
    """One question to one source, asked ``plus_ms`` from the start."""
    value = {
        "source": source(),
        "parameters": {"pair": "EURUSD"},
        "request": {
            "method": "GET",
            "host": HOST,
            "template": named("rates template").hex(),
            "digest": named("rates request").hex(),
            "size": 120,
        },
        "credential": None,
        "tls": tls(),
        "http": http(),
        "extraction": {"kind": "json-pointer", "path": "/rate", "value": decimal(text)},
        "times": {
            "requested": when(START, plus_ms=plus_ms),
            "first_byte": when(START, plus_ms=plus_ms + 100),
            "source": None,
        },
        "limits": limits(),
    }
    return {**value, **change}


def exchange(**change: Any) -> dict[str, Any]:
    """What was observed of a database (§3(7))."""
    value = {
        "kind": "sql",
        "channel": "tls",
        "template": named("rates statement").hex(),
        "request": {"digest": named("rates question").hex(), "size": 90},
        "answer": {"digest": named("rates rows").hex(), "size": 42},
        "facts": {"server": "PostgreSQL 17.2", "database": "books", "rows": "1"},
    }
    return {**value, **change}


def of_rows(text: str = "1.0842", **change: Any) -> dict[str, Any]:
    """The observation of a database: nothing of HTTP, and its exchange."""
    value = {**observation(text), "request": None, "tls": None, "http": None, "exchange": exchange()}
    value["limits"] = limits(pins=[])
    return {**value, **change}


def document(name: str = "good", event: str = "admitted", **change: Any) -> dict[str, Any]:
    """An admission document."""
    seen = observation()
    value: dict[str, Any] = {
        "type": "urn:holdfast:admission:v1",
        "run": private_run_id("admission/" + name),
        "event": event,
        "at": when(START, plus_ms=-4_850),
        "attestation": None,
        "observation": {**seen, "extraction": None} if event == "refused" else seen,
        "quorum": None,
        "refusal": {"code": "source.stale", "says": "The source's value is of yesterday."}
        if event == "refused"
        else None,
    }
    return {**value, **change}


def as_of(value: dict[str, Any]) -> str | None:
    """§4(2)."""
    if value["event"] == "refused":
        return None
    if value["quorum"] is not None:
        times = [row["as_of"] for row in value["quorum"]["observations"] if row["value"] is not None]
        return min(times) if times else None
    seen = value["observation"]
    if seen["times"]["source"] is not None:
        return str(seen["times"]["source"])
    return when(seen["times"]["requested"], plus_ms=-1000 * int(seen["http"]["headers"].get("age", "0")))


def fresh_until(value: dict[str, Any]) -> str | None:
    """§4(3)."""
    if value["quorum"] is not None:
        times = [row["until"] for row in value["quorum"]["observations"] if row["value"] is not None]
        return min(times) if times else None
    moment = as_of(value)
    return None if moment is None else when(moment, plus_ms=1000 * value["observation"]["limits"]["max_age_s"])


def minute(moment: str, *, up: bool = False) -> str:
    """Rounded to the minute."""
    past = posix_ms(moment) % MINUTE_MS
    return when(moment, plus_ms=-past + (MINUTE_MS if up and past else 0))


def record(raw: bytes, salt: bytes) -> str:
    """§1(2)."""
    return hashlib.sha256(b"urn:holdfast:admission-record:v1" + b"\x00" + salt + raw).hexdigest()


class Admission:
    """An admission statement and what opens it. Every argument changes one thing."""

    def __init__(
        self,
        name: str = "good",
        event: str = "admitted",
        *,
        node: Node = DATA,
        signer: Any = None,
        parents: Sequence[str] | None = None,
        claimed_at: str | None = None,
        told_of: str | None = None,
        predicate: dict[str, Any] | None = None,
        nonce: str | None = None,
        **change: Any,
    ) -> None:
        self.value = document(name, event, **change)
        self.raw = jcs(self.value)
        self.salt = named("admission salt/" + name)
        self.node = node
        digest = record(self.raw, self.salt)
        quorum = self.value["quorum"]
        usual = [] if quorum is None else [row["statement"] for row in quorum["observations"]]
        until = fresh_until(self.value)
        self.statement: Statement = statement(
            "admission",
            node,
            run=told_of or self.value["run"],
            claimed_at=claimed_at or minute(self.value["at"]),
            parents=usual if parents is None else parents,
            subject=("admission", bytes.fromhex(digest)),
            body={
                "event": event,
                "record": digest,
                "until": None if until is None else minute(until, up=True),
                "attestation": self.value["attestation"],
                **(predicate or {}),
            },
            nonce=nonce,
            signer=signer,
        )

    def opening(self, **change: Any) -> dict[str, Any]:
        """Members of the bundle item that opens it."""
        item = {
            "digest": self.statement.digest,
            "document": self.raw.decode(),
            "salt": self.salt.hex(),
            "definition": None if self.value["quorum"] else DEFINITION,
        }
        return {**item, **change}

    def row(self) -> dict[str, Any]:
        """How a quorum names it."""
        seen = self.value["observation"]
        admitted = self.value["event"] == "admitted"
        return {
            "statement": self.statement.digest,
            "node": self.node.id,
            "source": seen["source"]["id"],
            "definition": seen["source"]["definition"],
            "as_of": as_of(self.value),
            "until": fresh_until(self.value),
            "value": seen["extraction"]["value"] if admitted else None,
            "refusal": None if admitted else self.value["refusal"]["code"],
        }

    def block(self) -> str:
        """§8."""
        return f"<admission {self.statement.digest}>\n{block_line(self.value)}\n</admission>"


# --- quorums --------------------------------------------------------------------------------------------------------


def rule(
    kind: str = "spread", least: int = 2, spread: str | None = "0.02", *, relative: bool = False
) -> dict[str, Any]:
    """A rule."""
    return {"kind": kind, "least": least, "spread": None if kind == "exact" else spread, "relative": relative}


def written(value: Decimal) -> str:
    """A decimal in its one spelling (§4(1))."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def outcome(given: dict[str, Any], values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """§5(1), §5(2): ``agreed``, ``spread`` and ``value``."""
    alike = len({(item["type"], item["unit"]) for item in values}) == 1
    numbers = sorted(Decimal(item["text"]) for item in values) if alike and values[0]["type"] == "decimal" else []
    spread = written(_EXACT.subtract(numbers[-1], numbers[0])) if numbers else None
    none = {"agreed": False, "spread": spread, "value": None}
    if not alike or len(values) < given["least"]:
        return none
    if given["kind"] == "exact":
        same = all(item["text"] == values[0]["text"] for item in values)
        return {"agreed": True, "spread": spread, "value": values[0]} if same else none
    if not numbers:
        return none
    low, high = numbers[(len(numbers) - 1) // 2], numbers[len(numbers) // 2]
    middle = _EXACT.divide(_EXACT.add(low, high), Decimal(2))
    bound = Decimal(given["spread"])
    if given["relative"]:
        bound = _EXACT.multiply(bound, middle.copy_abs())
    if given["kind"] == "spread":
        near = _EXACT.subtract(numbers[-1], numbers[0]) <= bound
    else:
        near = sum(_EXACT.subtract(item, middle).copy_abs() <= bound for item in numbers) >= given["least"]
    agreed = {"type": "decimal", "text": written(middle), "unit": values[0]["unit"]}
    return {"agreed": True, "spread": spread, "value": agreed} if near else none


def quorum(members: Sequence[Admission], given: dict[str, Any] | None = None, **change: Any) -> dict[str, Any]:
    """A quorum over admissions."""
    given = given or rule()
    rows = sorted((member.row() for member in members), key=lambda row: str(row["statement"]))
    values = [row["value"] for row in rows if row["value"] is not None]
    return {"rule": given, "observations": rows, **outcome(given, values), **change}


def combined(members: Sequence[Admission], given: dict[str, Any] | None = None, **change: Any) -> Admission:
    """An admission that combines others."""
    own = {"at": when(START, plus_ms=-4_000), "observation": None, "quorum": quorum(members, given)}
    return Admission(change.pop("name", "quorum"), "combined", **{**own, **change})


def answer(text: str, name: str, **change: Any) -> Admission:
    """One of several sources' answers."""
    return Admission(name, **{"observation": {**observation(text), "source": source(name)}, **change})


# --- blocks ---------------------------------------------------------------------------------------------------------

HIDDEN = [
    (0x3C, 0x3C), (0x3E, 0x3E), (0x26, 0x26), (0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E),
    (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xE0000, 0xE0FFF),
]  # fmt: skip
"""What a block writes as escapes (§8(1))."""


def block_line(value: dict[str, Any]) -> str:
    """The second line of a block."""
    if value["event"] == "refused":
        told: dict[str, Any] = {"refused": value["refusal"]["code"], "source": value["observation"]["source"]["id"]}
    elif value["quorum"] is None:
        seen = value["observation"]
        told = {"as_of": as_of(value), "source": seen["source"]["id"], "value": seen["extraction"]["value"]}
    else:
        rows = value["quorum"]["observations"]
        told = {
            "as_of": as_of(value),
            "rule": value["quorum"]["rule"]["kind"],
            "sources": sorted({row["source"] for row in rows}),
        }
        if value["quorum"]["agreed"]:
            told["value"] = value["quorum"]["value"]
        else:
            counting = [row for row in rows if row["value"] is not None]
            told["disagreed"] = [{name: row[name] for name in ("as_of", "source", "value")} for row in counting]
    return "".join(escaped(char) for char in jcs_text(told))


def escaped(char: str) -> str:
    """One character of a block's second line."""
    code = ord(char)
    if not any(first <= code <= last for first, last in HIDDEN):
        return char
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))
