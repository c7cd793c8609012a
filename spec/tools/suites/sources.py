"""Source definitions, values in bodies, addresses: sources.md."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from reference import text
from reference.cases import Writer

TRANSPORT: dict[str, Any] = {
    "headers": {},
    "secret": None,
    "content_types": ["application/json"],
    "redirects": 0,
    "seconds": 10,
    "bytes": 1_048_576,
    "addresses": [],
    "pins": [],
    "roots": [],
}
EXPECT: dict[str, Any] = {
    "type": "decimal", "minimum": None, "maximum": None, "length": None, "members": None, "item": None,
    "fresh_s": 60, "skew_s": 5,
}  # fmt: skip
PARAMETER: dict[str, Any] = {
    "type": "choice",
    "choices": ["A-B"],
    "minimum": None,
    "maximum": None,
    "length": 0,
    "default": None,
}
TOML = """type = "urn:holdfast:sources:v1"
version = 3
[[sources]]
id = "rates"
version = 2
title = "Rates"
kind = "https"
workspaces = ["*"]
[sources.request]
url = "https://rates.example/{pair}"
[sources.parameters.pair]
type = "choice"
choices = ["A-B"]
[sources.extract]
method = "json"
value = "$.rate"
[sources.expect]
type = "decimal"
"""


def definition() -> dict[str, Any]:
    """What ``TOML`` means, with every choice that it leaves out."""
    return {
        "type": "urn:holdfast:source:v1",
        "id": "rates",
        "version": 2,
        "title": "Rates",
        "kind": "https",
        "workspaces": ["*"],
        "unit": "",
        "parameters": {"pair": PARAMETER},
        "request": {"url": "https://rates.example/{pair}", **TRANSPORT},
        "extract": {"method": "json", "value": "$.rate", "time": None, "time_format": None},
        "expect": EXPECT,
        "rate": {"requests": 60, "seconds": 60},
    }


def registry(*listed: dict[str, Any]) -> dict[str, Any]:
    """A registry in its canonical form."""
    return {"type": "urn:holdfast:sources:v1", "version": 3, "sources": list(listed)}


def digest(value: Any) -> str:
    """SHA-256 of canonical JSON."""
    return hashlib.sha256(text.jcs(value)).hexdigest()


def write(out: Writer) -> None:
    """Write the suite."""
    registries(out)
    bodies(out)
    reached(out)


def registries(out: Writer) -> None:
    """§1 to §5."""

    def case(name: str, why: str, content: str | bytes, form: str = "toml", **more: Any) -> None:
        run = ["parse-sources", "--form", form, "sources"]
        out.case(f"sources/{name}", why, spec="sources.md §2", run=run, files={"sources": content}, **more)

    whole = {"digest": digest(registry(definition())), "sources": {"rates": digest(definition())}}
    case("written", "What people leave out stands in the canonical form, and so in the digest.", TOML, result=whole)
    case("commented", "Comments and blank lines change no digest.", "# rates\n\n" + TOML, result=whole)
    case("canonical", "The canonical form means the same.", text.jcs(registry(definition())), "json", result=whole)

    def refused(name: str, why: str, old: str, new: str, code: str) -> None:
        if old not in TOML:
            raise SystemExit(f"{name}: {old!r} is not in the registry")
        case(name, why, TOML.replace(old, new, 1), expect="malformed", code=code)

    refused(
        "unknown-member",
        "A member nobody knows could be a rule that is not applied.",
        'kind = "https"',
        'kind = "https"\nproxy = "x"',
        "sources.fields",
    )
    refused("unknown-kind", "A node would have to guess how to ask.", '"https"', '"gopher"', "sources.kind")
    refused(
        "plain-http",
        "Without TLS and with public addresses anybody on the way answers.",
        "https://rates",
        "http://rates",
        "sources.url",
    )
    refused(
        "user-in-url",
        "What stands before an @ is no host, and a reader takes it for one.",
        "https://rates",
        "https://bank.example@rates",
        "sources.url",
    )
    refused(
        "place-in-host",
        "A caller would choose whom the node asks.",
        "https://rates.example/{pair}",
        "https://{pair}.example/",
        "sources.url",
    )
    refused(
        "dot-segment", "A path that climbs is not the path that was allowed.", "/{pair}", "/a/../{pair}", "sources.url"
    )
    refused("encoded-dot-segment", "The same, written in another way.", "/{pair}", "/%2E%2e/{pair}", "sources.url")
    refused("place-without-parameter", "Nobody could fill it.", "/{pair}", "/{pair}/{more}", "sources.place")
    refused("parameter-without-place", "A caller would believe that it was asked.", "/{pair}", "/", "sources.place")
    refused(
        "float",
        "Two readers round a float in two ways.",
        'type = "decimal"',
        'type = "decimal"\nminimum = 0.5',
        "sources.decimal",
    )
    refused(
        "number-spelling",
        "A number has one spelling, so that one rule has one digest.",
        'type = "decimal"',
        'type = "decimal"\nminimum = "0.50"',
        "sources.decimal",
    )
    refused(
        "descendants",
        "What a definition selects shows from its text; descendants select what comes.",
        "$.rate",
        "$..rate",
        "sources.path",
    )
    refused(
        "own-header",
        "A second Host header is read by one server and not by the next.",
        "[sources.parameters.pair]",
        'headers = {host = "other.example"}\n[sources.parameters.pair]',
        "sources.header",
    )
    refused(
        "header-injection",
        "A line break would begin a header, or a request, of the definition's own.",
        "[sources.parameters.pair]",
        'headers = {"x-a" = "b\\r\\nhost: evil"}\n[sources.parameters.pair]',
        "sources.header",
    )
    refused(
        "address-spelling",
        "A range with bits beyond its prefix means two things.",
        "[sources.parameters.pair]",
        'addresses = ["10.0.0.1/8"]\n[sources.parameters.pair]',
        "sources.address",
    )
    refused(
        "many-redirects",
        "A chain of redirects is a way to somewhere else.",
        "[sources.parameters.pair]",
        "redirects = 6\n[sources.parameters.pair]",
        "sources.number",
    )
    short = {key: value for key, value in definition().items() if key != "rate"}
    case(
        "canonical-without-a-member",
        "A canonical form that leaves something out has another digest than the same written by people.",
        text.jcs(registry(short)),
        "json",
        expect="malformed",
        code="sources.spelling",
    )
    case(
        "canonical-with-spaces",
        "One meaning, one spelling.",
        json.dumps(registry(definition())).encode(),
        "json",
        expect="malformed",
        code="json.spelling",
    )
    case(
        "twice",
        "Which of two definitions of one id was applied would be a choice.",
        text.jcs(registry(definition(), definition())),
        "json",
        expect="malformed",
        code="sources.twice",
    )


def bodies(out: Writer) -> None:
    """§6 and §7."""

    def case(
        name: str, why: str, body: str, path: str = "$.rate", want: Any = None, code: str | None = None, **expect: Any
    ) -> None:
        rules = {"extract": {"method": "json", "value": path}, "expect": {"type": "decimal", **expect}}
        more: dict[str, Any] = {"result": {"value": want}} if code is None else {"expect": "reject", "code": code}
        files = {"rules.json": rules, "body": body}
        out.case(
            f"sources/value-{name}",
            why,
            spec="sources.md §6",
            run=["extract-value", "--rules", "rules.json", "body"],
            files=files,
            **more,
        )

    case(
        "digits",
        "A number keeps its digits: a float would have rounded it.",
        '{"rate":1.10000000000000000001}',
        want="1.10000000000000000001",
    )
    case("exponent", "An exponent is written out.", '{"rate":2.5E-3}', want="0.0025")
    case("in-a-text", "Many sources write numbers as texts.", '{"rate":"64000.50"}', want="64000.5")
    case("last", "A negative index counts from the end.", '{"rate":[1,2,3]}', "$.rate[-1]", want="3")
    case(
        "list",
        "A path that is not singular gives a list.",
        '{"rate":[{"a":1},{"a":2}]}',
        "$.rate[*].a",
        want=["1", "2"],
        type="list",
        item={"type": "integer"},
    )
    case(
        "absent", "A value that is not there is no value, never a null or a zero.", '{"rates":1}', code="source.schema"
    )
    case("duplicate-key", "Two readers would take two values.", '{"rate":1,"rate":2}', code="source.schema")
    case("above", "Out of range is refused, however well it is signed.", '{"rate":3}', code="source.range", maximum="2")
    case("below", "Out of range at the other end.", '{"rate":-0.01}', code="source.range", minimum="0")
    case("true", "A truth is no number.", '{"rate":true}', code="source.schema")
    case("comma", "A number in another country's spelling is none.", '{"rate":"1,5"}', code="source.schema")
    case("huge", "A number with an exponent that nobody means.", '{"rate":1e99}', code="source.schema")
    case("half", "A whole number has no half.", '{"rate":1.5}', code="source.schema", type="integer")
    case("truncated", "Half a body holds no value.", '{"rate":1.', code="source.schema")


def reached(out: Writer) -> None:
    """§5(2, 3)."""

    def case(name: str, why: str, address: str, ranges: list[str] | None = None, *, good: bool = False) -> None:
        more: dict[str, Any] = {} if good else {"expect": "reject", "code": "source.address"}
        value = {"address": address, "ranges": ranges or []}
        out.case(
            f"sources/address-{name}",
            why,
            spec="sources.md §5",
            run=["check-address", "address.json"],
            files={"address.json": value},
            **more,
        )

    case("public", "An address of the public internet.", "1.1.1.1", good=True)
    case("public-v6", "One of IPv6.", "2606:4700::1111", good=True)
    case("listed", "A private range that the definition names.", "10.1.2.3", ["10.0.0.0/8"], good=True)
    case("loopback", "The node's own services.", "127.0.0.1")
    case("private", "The network behind the node.", "10.0.0.1")
    case("metadata", "Credentials of a cloud machine lie there.", "169.254.169.254")
    case("unspecified", "On many systems it means loopback.", "0.0.0.0")
    case("mapped", "An IPv4 address in IPv6 clothes.", "::ffff:127.0.0.1")
    case("nat64", "A translator makes it an IPv4 address.", "64:ff9b::a9fe:a9fe")
    case("six-to-four", "So does a 6to4 relay.", "2002:7f00:1::")
    case("unique-local", "Private IPv6.", "fd00::1")
    case("link-local", "The neighbours.", "fe80::1")
    case("not-listed", "A definition that names ranges means them and no others.", "1.1.1.1", ["10.0.0.0/8"])
