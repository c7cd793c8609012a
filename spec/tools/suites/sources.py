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


def of_kind(kind: str, request: dict[str, Any], path: str) -> dict[str, Any]:
    """The definition of another kind of source."""
    extract = {"method": "json", "value": path, "time": None, "time_format": None}
    return {**definition(), "kind": kind, "request": request, "extract": extract}


def registry(*listed: dict[str, Any]) -> dict[str, Any]:
    """A registry in its canonical form."""
    return {"type": "urn:holdfast:sources:v1", "version": 3, "sources": list(listed)}


def digest(value: Any) -> str:
    """SHA-256 of canonical JSON."""
    return hashlib.sha256(text.jcs(value)).hexdigest()


def write(out: Writer) -> None:
    """Write the suite."""
    registries(out)
    databases(out)
    names(out)
    messages(out)
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


class Changed:
    """Cases of a registry in TOML with one thing changed."""

    def __init__(self, out: Writer, kind: str, written: str) -> None:
        self._out, self._kind, self._written = out, kind, written

    def __call__(self, name: str, why: str, old: str = "", new: str = "", code: str | None = None, **more: Any) -> None:
        if old not in self._written:
            raise SystemExit(f"{name}: {old!r} is not in the registry")
        told: dict[str, Any] = more if code is None else {"expect": "malformed", "code": code}
        run, files = ["parse-sources", "--form", "toml", "sources"], {"sources": self._written.replace(old, new, 1)}
        self._out.case(f"sources/{self._kind}-{name}", why, spec="sources.md §4", run=run, files=files, **told)

    def means(self, value: dict[str, Any]) -> None:
        """The case of the registry as it is written, and the definition that it means."""
        whole = {"digest": digest(registry(value)), "sources": {"rates": digest(value)}}
        self("written", "What people leave out stands in the canonical form, and so in the digest.", result=whole)


SQL = """type = "urn:holdfast:sources:v1"
version = 3
[[sources]]
id = "rates"
version = 2
title = "Rates"
kind = "sql"
workspaces = ["*"]
[sources.request]
dialect = "postgresql"
secret = "books"
select = "SELECT rate, at FROM rates WHERE pair = {pair}"
[sources.parameters.pair]
type = "choice"
choices = ["A-B"]
[sources.extract]
method = "json"
value = "$[0].rate"
[sources.expect]
type = "decimal"
"""


def databases(out: Writer) -> None:
    """§4(5): definitions of kind ``sql``."""

    case = Changed(out, "sql", SQL)
    select = "SELECT rate, at FROM rates WHERE pair = {pair}"
    request = {
        "dialect": "postgresql", "secret": "books", "select": select, "rows": 1, "seconds": 10, "bytes": 1_048_576,
    }  # fmt: skip
    value = of_kind("sql", request, "$[0].rate")
    case.means(value)
    for name, why, new in (
        ("two-statements", "The second could be anything.", select + "; DROP TABLE rates"),
        ("end", "One statement has no end to mark.", select + ";"),
        ("delete", "A source is read.", "DELETE FROM rates WHERE pair = {pair}"),
        ("comment", "What stands after it is not read by the reader that people are.", select + " -- AND at > now()"),
        ("comment-within", "A comment hides.", select + " /* x */"),
        ("place-in-quotes", "It would be text and no parameter.", "SELECT rate FROM rates WHERE pair = '{pair}'"),
        ("place-in-name", "A caller would choose the table.", 'SELECT rate FROM \\"{pair}\\"'),
        ("open-quote", "Where it ends is for the database to say.", select + " AND x = 'a"),
        ("dollar-quote", "A quote that is not looked for.", select + " AND x = $a$ $a$"),
        ("backslash", "In some dialects it escapes the quote that ends.", select + " AND x = 'a\\\\'"),
        ("question-mark", "A driver takes it for a parameter.", select + " AND x = ?"),
        ("open-brace", "Braces stand around names.", select + " AND x = {"),
    ):
        case(name, why, select, new, "sources.select")
    case("unbound", "A caller would believe that it was asked.", " WHERE pair = {pair}", "", "sources.place")
    case("unknown-place", "Nobody could fill it.", "= {pair}", "= {pair} AND at > {since}", "sources.place")
    case("connection", "Where the database is, and its password, are the node's.", 'secret = "books"',
         'secret = "books"\nurl = "postgresql://u:p@db/books"', "sources.fields")  # fmt: skip
    case("secret-as-url", "A secret is named.", '"books"', '"postgresql://u:p@db/books"', "sources.secret")
    case("unknown-dialect", "A node would have to guess how to ask.", '"postgresql"', '"oracle"', "sources.request")
    case("many-rows", "At most a thousand.", 'secret = "books"', 'secret = "books"\nrows = 1001', "sources.number")
    case("for-ever", "A question ends.", 'secret = "books"', 'secret = "books"\nseconds = 61', "sources.number")
    case(
        "read-as-page",
        "Rows are no page.",
        'method = "json"\nvalue = "$[0].rate"',
        'method = "text"',
        "sources.extract",
    )
    case("date-of-http", "A database has none.", 'value = "$[0].rate"',
         'value = "$[0].rate"\ntime_format = "http_date"', "sources.extract")  # fmt: skip
    case("wide-integer", "No database binds it.", 'type = "choice"\nchoices = ["A-B"]',
         'type = "integer"\nminimum = "0"\nmaximum = "9223372036854775808"', "sources.parameter")  # fmt: skip


DNS = """type = "urn:holdfast:sources:v1"
version = 3
[[sources]]
id = "rates"
version = 2
title = "Rates"
kind = "dns"
workspaces = ["*"]
[sources.request]
resolver = "192.0.2.53:53"
name = "{pair}.rates.example"
record = "TXT"
[sources.parameters.pair]
type = "choice"
choices = ["A-B"]
[sources.extract]
method = "json"
value = "$.values[0]"
[sources.expect]
type = "decimal"
"""


def names(out: Writer) -> None:
    """§4(8): definitions of kind ``dns``."""

    case = Changed(out, "dns", DNS)
    request = {"resolver": "192.0.2.53:53", "name": "{pair}.rates.example", "record": "TXT", "seconds": 5}
    value = of_kind("dns", request, "$.values[0]")
    case.means(value)
    resolver, asked = '"192.0.2.53:53"', '"{pair}.rates.example"'
    case("resolver-by-name", "Who resolves the resolver?", resolver, '"dns.example:53"', "sources.request")
    case("resolver-without-port", "One spelling.", resolver, '"192.0.2.53"', "sources.request")
    case("resolver-spelt-twice", "One address, one spelling.", resolver, '"[2001:db8:0::1]:53"', "sources.request")
    case("place-in-resolver", "A caller would choose who answers.", resolver, '"{pair}:53"', "sources.request")
    case("unknown-record", "A reader could not say what it means.", '"TXT"', '"ANY"', "sources.request")
    case("name-in-capitals", "One spelling of a name.", asked, '"{pair}.Rates.example"', "sources.request")
    case("name-with-last-dot", "One spelling of a name.", asked, '"{pair}.rates.example."', "sources.request")
    case("name-with-empty-label", "No name has one.", asked, '"{pair}..example"', "sources.request")
    case("place-without-parameter", "Nobody could fill it.", asked, '"{pair}.{zone}.example"', "sources.place")
    case("parameter-without-place", "A caller would believe that it was asked.", asked, '"rates.example"',
         "sources.place")  # fmt: skip
    case("with-url", "A resolver has none.", "record =", 'url = "https://dns.example/"\nrecord =', "sources.fields")
    case("with-time", "Records say how long they may be kept, not when they were right.", 'value = "$.values[0]"',
         'value = "$.values[0]"\ntime = "$.ttl"\ntime_format = "unix_s"', "sources.extract")  # fmt: skip
    case("read-as-page", "A message is no page.", 'method = "json"\nvalue = "$.values[0]"', 'method = "text"',
         "sources.extract")  # fmt: skip


def messages(out: Writer) -> None:
    """§4(9): answers of resolvers, made byte by byte."""
    types = {"A": 1, "CNAME": 5, "MX": 15, "TXT": 16, "AAAA": 28, "CAA": 257}
    asked, good = b"\xc0\x0c", bytes([192, 0, 2, 1])

    def name(given: str) -> bytes:
        return b"".join(bytes([len(label)]) + label.encode() for label in given.split(".")) + b"\x00"

    def row(owner: bytes, kind: str, data: bytes, lives: int = 300) -> bytes:
        head = types[kind].to_bytes(2, "big") + b"\x00\x01" + lives.to_bytes(4, "big")
        return owner + head + len(data).to_bytes(2, "big") + data

    def message(*rows: bytes, kind: str = "A", flags: int = 0x8180, count: int | None = None) -> bytes:
        words = (7, flags, 1, len(rows) if count is None else count, 0, 0)
        question = name("a.example") + types[kind].to_bytes(2, "big") + b"\x00\x01"
        return b"".join(word.to_bytes(2, "big") for word in words) + question + b"".join(rows)

    def case(title: str, why: str, raw: bytes, want: list[Any] | None = None, kind: str = "A", **more: Any) -> None:
        result = {"authenticated": False, "name": "a.example", "record": kind, "ttl": "300", "values": want, **more}
        told: dict[str, Any] = {"expect": "malformed", "code": "source.schema"} if want is None else {"result": result}
        run = ["read-dns", "--record", kind, "message.bin"]
        out.case(f"sources/message-{title}", why, spec="sources.md §4", run=run, files={"message.bin": raw}, **told)

    def typed(title: str, why: str, kind: str, data: bytes, want: Any) -> None:
        case(title, why, message(row(asked, kind, data), kind=kind), None if want is None else [want], kind)

    first = row(asked, "A", good)
    second = row(name("b.example"), "A", good, 60)
    alias = row(asked, "CNAME", name("b.example"))
    case("address", "One record.", message(first), ["192.0.2.1"])
    case("two", "The order of records says nothing.", message(row(asked, "A", bytes([192, 0, 2, 2])), first),
         ["192.0.2.1", "192.0.2.2"])  # fmt: skip
    case("none", "No record of that type is no value.", message(), [], ttl="0")
    case("authenticated", "What the resolver says of DNSSEC.", message(first, flags=0x81A0), ["192.0.2.1"],
         authenticated=True)  # fmt: skip
    case("alias", "The least time to live counts.", message(alias, second), ["192.0.2.1"], ttl="60")
    case("of-another-name", "A record that nobody asked for.", message(first, second), ["192.0.2.1"])
    typed(
        "mail", "Two members.", "MX", b"\x00\x0a" + name("MX.example"), {"exchange": "mx.example", "preference": "10"}
    )
    typed("text", "Strings are joined.", "TXT", b"\x03a=1\x02;b", "a=1;b")
    typed("authority", "Who may issue certificates.", "CAA", b"\x00\x05issueca.example",
          {"flags": "0", "tag": "issue", "value": "ca.example"})  # fmt: skip
    typed("version-six", "An address of IPv6.", "AAAA", bytes.fromhex("20010db8" + "00" * 11 + "01"), "2001:db8::1")

    case("question", "A question is no answer.", message(first, flags=0x0180))
    case("cut-off", "Half of the records are not the records.", message(flags=0x8380))
    case("no-such-name", "An error is no empty answer.", message(flags=0x8183))
    case("goes-on", "Bytes that nobody reads can be anything.", message(first) + b"x")
    case("ends-early", "It announced two.", message(first, count=2))
    case("of-another-type", "It answers another question.", message(kind="AAAA"))
    case("alias-of-itself", "Its aliases do not end.", message(row(asked, "CNAME", asked)))
    case("aliases-in-a-ring", "Its aliases do not end.",
         message(alias, row(name("b.example"), "CNAME", asked)))  # fmt: skip
    case("two-aliases", "Which one is a choice.", message(alias, row(asked, "CNAME", name("c.example"))))
    case("name-forward", "A pointer that leads forward can lead in a ring.", message(row(b"\xc0\x2f", "A", good)))
    case("name-to-itself", "A pointer to itself.", message(row(b"\xc0\x1b", "A", good)))
    case("name-with-space", "A label that a reader takes for two.", message(row(b"\x03a b\x00", "A", good)))
    typed("address-of-three", "An address has four bytes.", "A", good[:3], None)
    typed("text-not-utf-8", "Two readers would read two texts.", "TXT", b"\x01\xff", None)
    typed("text-longer-than-its-record", "It would take from the next.", "TXT", b"\x05a", None)


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
