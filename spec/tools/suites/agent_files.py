"""agent-files: which agent files are read, and which calls a model may make (agent-files.md)."""

from __future__ import annotations

from typing import Any

from reference.cases import Writer
from reference.text import jcs

USUAL = """\
[agent]
name = "treasurer"
model = "small"
goal = "Keep the reserve above 100"
instructions = "Look at both rates.\\nSay which you believe."

[limits]
steps = 50
depth = 2
turns = 8
seconds = 120

[nodes]
data = "http://127.0.0.1:8700/"

[[servers]]
name = "notes"
command = ["notes-server", "--quiet"]
secrets = { NOTES_KEY = "env:NOTES_KEY" }

[[tools]]
name = "rates"
kind = "admission"
effect = "read"
description = "The exchange rate of a pair."
settings = { source = "ecb.rates" }

[tools.allow]
pair = ["EUR/USD", "EUR/CHF"]
within_s = { least = 1, most = 3600 }

[[tools]]
name = "wire"
kind = "evm_transaction"
effect = "pay"
queue = "treasury"
allow = { to = { prefix = "0x", characters = 42 }, amount = { most = "2.5" }, note = "any" }
secrets = { key = "file:keys/treasury" }

[[tools]]
name = "search_notes"
kind = "mcp"
effect = "read"
allow = { query = "any" }
settings = { server = "notes", tool = "search", digest = "DIGEST" }
""".replace("DIGEST", "ab" * 32)
TOOLS = [
    {"name": "rates", "effect": "read"},
    {"name": "wire", "effect": "pay", "queue": "treasury"},
    {"name": "search_notes", "effect": "read"},
]
AGENT = {
    "name": "treasurer",
    "goal": "Keep the reserve above 100",
    "tools": TOOLS,
    "limits": {"steps": 50, "depth": 2},
}
LEAST = '[agent]\nname = "a"\nmodel = "m"\n'

SCHEMA = {
    "type": "object",
    "title": "passed over",
    "properties": {
        "pair": {"type": "string", "minLength": 3, "maxLength": 9},
        "amount": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]},
        "deep": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "at": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
    },
    "required": ["pair"],
}
ALLOW = {
    "pair": ["EUR/USD", "GBP/USD"],
    "amount": {"least": 1, "most": "2.5"},
    "deep": [True, False],
    "tags": "any",
    "at": "any",
}


def write(out: Writer) -> None:
    """Write the suite."""
    files(out)
    calls(out)


def files(out: Writer) -> None:
    """Files that are read, and files that are not."""

    def case(name: str, why: str, text: str, code: str | None = None, section: str = "§1", **result: Any) -> None:
        out.case(
            f"agent-files/{name}",
            why,
            spec=f"agent-files.md {section}",
            run=["parse-agent-file", "agent.toml"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_AGENT" if code else None,
            result=None if code else result,
            files={"agent.toml": text},
        )

    def without(name: str, why: str, old: str, new: str, code: str, section: str = "§2") -> None:
        if old not in USUAL:
            raise SystemExit(f"agent-files/{name}: nothing to change")
        case(name, why, USUAL.replace(old, new, 1), code, section)

    case("usual", "A file with everything.", USUAL, section="§2(5)", agent=AGENT, turns=8, seconds=120)
    case("least", "A file with nothing that could be left out.", LEAST, section="§2(5)",
         agent={"name": "a", "tools": []}, turns=32, seconds=3600)  # fmt: skip
    case("no-toml", "Not TOML at all.", "{}", "agent_file.toml")
    case("no-agent", "Nobody is led.", "[limits]\nsteps = 1\n", "agent_file.fields")
    case("unknown-table", "A table that nobody knows would be no rule.", LEAST + "[policy]\nx = 1\n",
         "agent_file.fields")  # fmt: skip
    case("model-as-number", "A model has a name.", '[agent]\nname = "a"\nmodel = 1\n', "agent_file.fields")
    without("name-no-code", "A name is a code.", '"treasurer"', '"The Treasurer"', "agent_file.fields", "§1(2)")
    without("hidden-character", "A text has no control characters.", "Look at both", "Look\\u0000at", "agent_file.fields",
            "§1(1)")  # fmt: skip
    without("no-turns", "No question at all is no limit.", "turns = 8", "turns = 0", "agent_file.limits", "§1(3)")
    without(
        "too-many-steps", "As many as a gateway takes.", "steps = 50", "steps = 10001", "agent_file.limits", "§1(3)"
    )
    without("steps-as-boolean", "true is not 1.", "steps = 50", "steps = true", "agent_file.limits", "§1(3)")
    without("unknown-limit", "A limit that nobody holds.", "steps = 50", "calls = 50", "agent_file.fields", "§1(3)")
    without("node-by-file", "A node is asked over HTTP.", "http://127.0.0.1:8700/", "file:///etc/passwd",
            "agent_file.url", "§1(4)")  # fmt: skip
    without("node-with-password", "A URL holds no password.", "http://127", "http://me:pw@127", "agent_file.url",
            "§1(4)")  # fmt: skip
    without("server-twice-over", "A server is a program or a URL.", 'name = "notes"\n',
            'name = "notes"\nurl = "http://127.0.0.1:1"\n', "agent_file.servers", "§1(5)")  # fmt: skip
    without("command-as-text", "A command is a list: nothing is read by a shell.", '["notes-server", "--quiet"]',
            '"notes-server --quiet"', "agent_file.servers", "§1(5)")  # fmt: skip
    without("secret-value", "A secret by its value.", "env:NOTES_KEY", "sk-4242", "agent_file.secrets", "§2(4)")
    without("tool-twice", "A name is one tool's.", '"wire"', '"rates"', "agent_file.tools", "§2(1)")
    without("tool-of-no-kind", "A kind that there is not.", '"evm_transaction"', '"shell"', "agent_file.tools", "§2(1)")
    without("harmless-payment", "A payment that is called a look.", 'effect = "pay"\nqueue = "treasury"',
            'effect = "read"', "agent_file.effect", "§2(2)")  # fmt: skip
    without("look-with-effect", "A look cannot pay.", 'effect = "read"\ndescription',
            'effect = "pay"\nqueue = "q"\ndescription', "agent_file.effect", "§2(2)")  # fmt: skip
    without("act-without-queue", "An act that waits nowhere.", 'queue = "treasury"\n', "", "agent_file.tools", "§2(1)")
    without("look-with-queue", "A look that waits.", 'effect = "read"\ndescription',
            'effect = "read"\nqueue = "q"\ndescription', "agent_file.tools", "§2(1)")  # fmt: skip
    without("setting-as-table", "A setting is plain.", 'source = "ecb.rates"', "source = { id = 1 }",
            "agent_file.settings", "§2(3)")  # fmt: skip
    without("server-of-nobody", "A tool of a server that is not there.", 'server = "notes"', 'server = "note"',
            "agent_file.settings", "§2(3)")  # fmt: skip
    without("unpinned-tool", "A tool whose description its owner has not fixed.", f', digest = "{"ab" * 32}"', "",
            "agent_file.settings", "§2(3)")  # fmt: skip
    without("rule-by-name", "There is one rule with a name.", 'note = "any"', 'note = "all"', "agent_file.allow", "§3")
    without("rule-of-nothing", "A rule that allows nothing.", '["EUR/USD", "EUR/CHF"]', "[]", "agent_file.allow", "§3")
    without("prefix-within-host", "Other hosts begin like it too.", '{ prefix = "0x", characters = 42 }',
            '{ prefix = "https://shop.example" }', "agent_file.allow", "§3")  # fmt: skip
    without("rule-of-floats", "A list names texts, integers and booleans.", '["EUR/USD", "EUR/CHF"]', "[1.5]",
            "agent_file.allow", "§3")  # fmt: skip
    without("bound-with-exponent", "A bound is a decimal.", '"2.5"', '"25e-1"', "agent_file.allow", "§3")
    without("unknown-bound", "A bound that nobody knows would be none.", "most = 3600", "below = 3600",
            "agent_file.allow", "§3")  # fmt: skip


def calls(out: Writer) -> None:
    """Calls that are made, and calls that are refused."""

    def case(name: str, why: str, arguments: str, code: str | None = None, **more: Any) -> None:
        value = {"schema": SCHEMA, "allow": ALLOW, "arguments": arguments, **more}
        out.case(
            f"agent-files/call-{name}",
            why,
            spec="agent-files.md §4(1)",
            run=["check-call", "call.json"],
            expect="accept" if code is None else "reject" if code == "agent.allow" else "malformed",
            code=code,
            bug=None if code is None else "BEYOND_WHAT_IS_ALLOWED",
            result=None if code else {},
            files={"call.json": jcs(value)},
        )

    case("usual", "Everything that may be given.",
         '{"pair":"EUR/USD","amount":"2.5","deep":true,"tags":["a"],"at":{"x":1.0}}')  # fmt: skip
    case("integer", "A number as an integer.", '{"pair":"EUR/USD","amount":2}')
    case("another-value", "A value that is not named.", '{"pair":"EUR/RUB"}', "agent.allow")
    case("another-argument", "An argument that is not named.", '{"pair":"EUR/USD","to":"me"}', "agent.allow")
    case("effect-as-argument", "A model names an effect.", '{"pair":"EUR/USD","effect":"read"}', "agent.allow")
    case("nothing-allowed", "Nothing is allowed where nothing is said.", '{"pair":"EUR/USD"}', "agent.allow", allow={})
    case("too-much", "More than the most.", '{"pair":"EUR/USD","amount":"2.50000001"}', "agent.allow")
    case("less-than-least", "Less than the least.", '{"pair":"EUR/USD","amount":"-1"}', "agent.allow")
    case("amount-with-exponent", "A number that looks small.", '{"pair":"EUR/USD","amount":"1e9"}', "agent.allow")
    case("amount-with-sign", "Another spelling.", '{"pair":"EUR/USD","amount":"+2"}', "agent.allow")
    case("amount-as-fraction", "A JSON number that is no integer is not compared.", '{"pair":"EUR/USD","amount":1.5}',
         "agent.allow")  # fmt: skip
    case("one-for-true", "1 is not true.", '{"pair":"EUR/USD","deep":1}', "agent.allow")
    shop = {"pair": {"prefix": "https://shop.example/tea/"}}
    schema = {"type": "object", "properties": {"pair": {"type": "string"}}}
    case("below-its-prefix", "A URL below its prefix.", '{"pair":"https://shop.example/tea/a..b?of=/../x"}', allow=shop,
         schema=schema)  # fmt: skip
    case("out-of-its-prefix", "A path that leads out again.", '{"pair":"https://shop.example/tea/../admin"}',
         "agent.allow", allow=shop, schema=schema)  # fmt: skip
    case("out-by-escape", "The same, escaped.", '{"pair":"https://shop.example/tea/.%2E/admin"}',
         "agent.allow", allow=shop, schema=schema)  # fmt: skip
    case("missing", "What the schema requires.", '{"amount":"2"}', "agent.arguments")
    case("wrong-type", "What the schema takes.", '{"pair":"EUR/USD","tags":"a"}', "agent.arguments")
    case("too-many", "As many as the schema takes.", '{"pair":"EUR/USD","tags":["a","b","c"]}', "agent.arguments")
    case("inside", "A member inside that nobody knows.", '{"pair":"EUR/USD","at":{"x":1,"y":2}}', "agent.arguments")
    case("no-json", "Not JSON.", "pair=EUR/USD", "agent.arguments")
    case("no-object", "A list of arguments.", '["EUR/USD"]', "agent.arguments")
    case("twice", "An argument twice: two readers take two values.", '{"pair":"EUR/USD","pair":"GBP/USD"}',
         "agent.arguments")  # fmt: skip
    case("long-number", "A number that takes long to write out.", '{"pair":"EUR/USD","at":{"x":1e999999999}}',
         "agent.arguments")  # fmt: skip
    case("unread-word", "A schema that asks for what is not checked.", '{"pair":"EUR/USD"}', "agent.schema",
         schema={**SCHEMA, "not": {}})  # fmt: skip
    case("schema-of-text", "Arguments are an object.", '{"pair":"EUR/USD"}', "agent.schema", schema={"type": "string"})
