"""encoding and json: conventions.md §2 to §4."""

from __future__ import annotations

from reference.cases import Writer
from reference.text import named


def write(out: Writer) -> None:
    """Write both suites."""
    encodings(out)
    documents(out)


def encodings(out: Writer) -> None:
    """Hex, base64, times, run ids, codes."""

    def case(name: str, why: str, kind: str, text: str, section: str, code: str | None = None) -> None:
        out.case(
            f"encoding/{name}",
            why,
            spec=f"conventions.md {section}",
            run=["decode", kind, "input.txt"],
            expect="malformed" if code else "accept",
            code=code,
            bug="SECOND_SPELLING" if code else None,
            files={"input.txt": text},
        )

    digest = named("some digest").hex()
    case("hex", "A digest as it stands in JSON.", "hex", digest, "§2(1)")
    case(
        "hex-upper-case",
        "Upper-case hex is a second spelling of the same bytes: an identifier compared as text would differ while its bytes do "
        "not, so a block list or a deduplication could be walked around.",
        "hex",
        digest.upper(),
        "§2(1)",
        "encoding.hex",
    )
    case("hex-prefix", "0x is for EVM addresses only.", "hex", "0x" + digest, "§2(1)", "encoding.hex")
    case("hex-odd", "Half a byte is no byte.", "hex", digest[:-1], "§2(1)", "encoding.hex")
    case(
        "hex-newline",
        "A trailing newline must not slip through a regular expression's `$`.",
        "hex",
        digest + "\n",
        "§2(1)",
        "encoding.hex",
    )
    case("base64", "Standard base64 with padding.", "base64", "aG9sZGZhc3Q=", "§2(2)")
    case(
        "base64-no-padding",
        "Missing padding is a second spelling.",
        "base64",
        "aG9sZGZhc3Q",
        "§2(2)",
        "encoding.base64",
    )
    case("base64-url", "The URL alphabet is a second spelling.", "base64", "-_-_", "§2(2)", "encoding.base64")
    case(
        "base64-trailing-bits",
        "aG9sZGZhc3R= decodes to the same bytes as aG9sZGZhc3Q= in a lenient decoder: the four bits under the padding are "
        "not zero. An attacker could make a second envelope text of one envelope.",
        "base64",
        "aG9sZGZhc3R=",
        "§2(2)",
        "encoding.base64",
    )
    case(
        "base64-space",
        "White space inside base64 is a second spelling.",
        "base64",
        "aG9s ZGZh c3Q=",
        "§2(2)",
        "encoding.base64",
    )
    case("time", "The one spelling of a moment.", "time", "2026-01-01T00:00:00.000Z", "§2(3)")
    case(
        "time-without-milliseconds",
        "Exactly three fractional digits.",
        "time",
        "2026-01-01T00:00:00Z",
        "§2(3)",
        "encoding.time",
    )
    case(
        "time-microseconds",
        "Exactly three fractional digits.",
        "time",
        "2026-01-01T00:00:00.000000Z",
        "§2(3)",
        "encoding.time",
    )
    case(
        "time-offset",
        "+00:00 is a second spelling of Z.",
        "time",
        "2026-01-01T00:00:00.000+00:00",
        "§2(3)",
        "encoding.time",
    )
    case(
        "time-no-such-day",
        "There is no 30th of February.",
        "time",
        "2026-02-30T00:00:00.000Z",
        "§2(3)",
        "encoding.time",
    )
    case(
        "time-leap-second",
        "Second 60 is refused: two clocks would disagree about its order.",
        "time",
        "2016-12-31T23:59:60.000Z",
        "§2(3)",
        "encoding.time",
    )
    case(
        "time-other-digits",
        "Digits of another script are not digits here.",
        "time",
        "٢٠٢٦-01-01T00:00:00.000Z",
        "§2(3)",
        "encoding.time",
    )


def documents(out: Writer) -> None:
    """Strict JSON and canonical JSON."""

    def case(
        name: str, why: str, text: str | bytes, section: str = "§3(1)", code: str | None = None, kind: str = "json"
    ) -> None:
        out.case(
            f"json/{name}",
            why,
            spec=f"conventions.md {section}",
            run=["decode", kind, "input.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="PARSER_DIFFERENCE" if code else None,
            files={"input.json": text},
        )

    case("object", "An ordinary object, with white space.", '{ "a" : [1, 2.5e3, true, null, "ü"] }')
    case(
        "duplicate-key",
        "Parsers disagree whether the first or the last of two equal keys counts. Whoever checks would read one model name and "
        "whoever executes the other.",
        '{"model":"small","model":"large"}',
        code="json.duplicate_key",
    )
    case(
        "duplicate-key-escaped",
        "The same as two equal keys, with one of them spelt by an escape: keys are compared after decoding.",
        '{"model":"small","mod\\u0065l":"large"}',
        code="json.duplicate_key",
    )
    case(
        "duplicate-key-nested",
        "Duplicates are refused at every depth.",
        '{"a":[{"b":1,"b":2}]}',
        code="json.duplicate_key",
    )
    case("nan", "NaN is not JSON.", '{"a":NaN}', code="json.number")
    case("infinity", "Infinity is not JSON.", '{"a":-Infinity}', code="json.number")
    case(
        "byte-order-mark",
        "A byte-order mark is three bytes that some readers do not see.",
        b"\xef\xbb\xbf{}",
        code="json.syntax",
    )
    case("not-utf8", "Bytes that are not UTF-8 have no text to bind.", b'{"a":"\xff"}', code="json.utf8")
    case("utf16", "JSON from outside is UTF-8.", '{"a":1}'.encode("utf-16-le"), code="json.syntax")
    case("overlong-utf8", "An overlong form is a second spelling of '/'.", b'{"a":"\xc0\xaf"}', code="json.utf8")
    case(
        "lone-surrogate",
        "A lone surrogate has no UTF-8 bytes, so nothing can be bound; some parsers replace it, some keep it.",
        '{"a":"\\ud800"}',
        code="json.surrogate",
    )
    case("lone-surrogate-in-key", "Also in a member name.", '{"\\udc00":1}', code="json.surrogate")
    case(
        "surrogates-in-wrong-order",
        "Low before high is two lone surrogates.",
        '{"a":"\\udc00\\ud800"}',
        code="json.surrogate",
    )
    case("surrogate-pair", "A pair is one character.", '{"a":"\\ud83d\\ude00"}')
    case("depth-64", "Sixty-four levels are allowed.", "[" * 64 + "]" * 64)
    case(
        "depth-65",
        "The sixty-fifth level is refused before a parser's stack is.",
        "[" * 65 + "]" * 65,
        code="json.depth",
    )
    case("depth-mixed", "Objects and arrays count together.", '{"a":[' * 33 + "1" + "]}" * 33, code="json.depth")
    case(
        "brackets-in-strings",
        "Brackets inside strings are text, not nesting.",
        '{"a":"' + "[{" * 100 + '\\"' + "[" * 100 + '"}',
    )
    case("trailing-comma", "Not JSON.", '{"a":1,}', code="json.syntax")
    case("trailing-text", "Two values are not one document.", '{"a":1}{"a":2}', code="json.syntax")
    case("single-quotes", "Not JSON.", "{'a':1}", code="json.syntax")
    case("leading-zero", "01 is not a JSON number.", '{"a":01}', code="json.syntax")
    case("control-character", "A raw control character inside a string is refused.", '{"a":"\x01"}', code="json.syntax")
    case("empty", "No bytes are no document.", "", code="json.syntax")
    case(
        "canonical",
        "Members in order, no white space, shortest escapes.",
        '{"a":"\\u001fü/\\"","b":[1,-2,{}],"ü":null}',
        "§3(2)",
        kind="canonical",
    )
    case(
        "canonical-utf16-order",
        "RFC 8785 orders names by UTF-16 code units: U+10000 sorts before U+FF61.",
        '{"𐀀":1,"｡":2}',
        "§3(2)",
        kind="canonical",
    )
    case(
        "canonical-code-point-order",
        "The same names by code point are the wrong order.",
        '{"｡":2,"𐀀":1}',
        "§3(3)",
        "json.spelling",
        "canonical",
    )
    case("canonical-member-order", "Members out of order.", '{"b":1,"a":2}', "§3(3)", "json.spelling", "canonical")
    case("canonical-white-space", "White space between tokens.", '{"a": 1}', "§3(3)", "json.spelling", "canonical")
    case("canonical-escape", "An escape that is not needed.", '{"a":"\\u0062"}', "§3(3)", "json.spelling", "canonical")
    case(
        "canonical-escaped-slash", "RFC 8785 does not escape '/'.", '{"a":"\\/"}', "§3(3)", "json.spelling", "canonical"
    )
    case(
        "canonical-newline-at-end", "One byte more is another text.", '{"a":1}\n', "§3(3)", "json.spelling", "canonical"
    )
    case(
        "canonical-float",
        "Floats have many spellings and two parsers may round them apart; in what we sign a decimal is a string.",
        '{"a":1.5}',
        "§3(2)",
        "json.float",
        "canonical",
    )
    case(
        "canonical-exponent",
        "1e2 is a float in spelling, whatever its value.",
        '{"a":1e2}',
        "§3(2)",
        "json.float",
        "canonical",
    )
    case(
        "canonical-largest-integer",
        "2^53 - 1 is the largest integer that every parser keeps.",
        '{"a":9007199254740991}',
        "§3(2)",
        kind="canonical",
    )
    case(
        "canonical-too-large-integer",
        "2^53 and 2^53 + 1 are one number to many parsers.",
        '{"a":9007199254740993}',
        "§3(2)",
        "json.number",
        "canonical",
    )
    case(
        "canonical-minus-zero",
        "-0 is a second spelling of 0, and not an integer to every parser.",
        '{"a":-0}',
        "§3(2)",
        "json.number",
        "canonical",
    )
