"""Workflow definitions, rules, schedules and ids: workflows.md."""

from __future__ import annotations

import copy
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

from reference import text
from reference.cases import Writer

RETRY = {"attempts": 3, "first_s": 1, "longest_s": 60}
COMMON: dict[str, Any] = {"if": None, "optional": False, "retry": RETRY, "seconds": 60}
WHOLE: dict[str, Any] = {
    "type": "urn:holdfast:workflow:v1",
    "name": "reserve-watch",
    "goal": "Keep the reserve above 100",
    "trigger": {"kind": "schedule", "every_s": 300, "cron": None, "backfill_s": 3600},
    "tools": [{"name": "wire", "effect": "pay", "queue": "payments"}],
    "limits": {
        "steps": 50,
        "depth": 4,
        "seconds": 86_400,
        "concurrency": 1000,
        "overlap": "wait",
        "rate": {"executions": 60, "seconds": 60},
        "spend": None,
    },
    "retry": RETRY,
    "steps": [
        {
            "name": "price",
            "kind": "admission",
            **COMMON,
            "source": "rates",
            "parameters": {"pair": "A-B"},
            "node": None,
        },
        {
            "name": "advice",
            "kind": "inference",
            **COMMON,
            "endpoint": "chat",
            "request": {
                "model": "holdfast",
                "temperature": {"number": "0.2"},
                "messages": [{"role": "user", "content": {"text": ["Pay at ", {"from": "$.price.value.text"}, "?"]}}],
            },
            "admissions": ["price"],
            "answer": {
                "type": "object",
                "minimum": None,
                "maximum": None,
                "length": None,
                "members": {
                    "pay": {
                        "type": "boolean",
                        "minimum": None,
                        "maximum": None,
                        "length": None,
                        "members": None,
                        "item": None,
                    }
                },
                "item": None,
            },
        },
        {
            "name": "choice",
            "kind": "rule",
            **COMMON,
            "cases": [
                {
                    "when": [
                        {
                            "value": "$.advice.value.pay",
                            "type": "boolean",
                            "minimum": None,
                            "maximum": None,
                            "length": None,
                            "choices": ["true"],
                        }
                    ],
                    "result": {"amount": "25", "pay": True},
                }
            ],
        },
        {
            "name": "pay",
            "kind": "action",
            **COMMON,
            "seconds": 86_400,
            "if": "$.choice.result.pay",
            "tool": "wire",
            "arguments": {"amount": {"from": "$.choice.result.amount"}},
        },
    ],
    "result": {"from": "$.choice.result"},
}
"""What ``TOML`` means, with every choice that it leaves out."""

TOML = """type = "urn:holdfast:workflow:v1"
name = "reserve-watch"
goal = "Keep the reserve above 100"
trigger = {kind = "schedule", every_s = 300, backfill_s = 3600}
tools = [{name = "wire", effect = "pay", queue = "payments"}]
limits = {steps = 50}
result = {from = "$.choice.result"}

[[steps]]
name = "price"
kind = "admission"
source = "rates"
parameters = {pair = "A-B"}

[[steps]]
name = "advice"
kind = "inference"
admissions = ["price"]
answer = {type = "object", members = {pay = {type = "boolean"}}}

[steps.request]
model = "holdfast"
temperature = {number = "0.2"}
messages = [{role = "user", content = {text = ["Pay at ", {from = "$.price.value.text"}, "?"]}}]

[[steps]]
name = "choice"
kind = "rule"
cases = [{when = [{value = "$.advice.value.pay", type = "boolean", choices = ["true"]}], result = {amount = "25", pay = true}}]

[[steps]]
name = "pay"
kind = "action"
if = "$.choice.result.pay"
tool = "wire"
arguments = {amount = {from = "$.choice.result.amount"}}
"""

AGENT = {
    "agent": {
        "name": "reserve-watch",
        "goal": "Keep the reserve above 100",
        "tools": [
            {"name": "workflow", "effect": "read"},
            {"name": "admission", "effect": "read"},
            {"name": "rule", "effect": "read"},
            {"name": "wire", "effect": "pay", "queue": "payments"},
        ],
        "limits": {"steps": 50, "depth": 4},
    }
}


def write(out: Writer) -> None:
    definitions(out)
    rules(out)
    schedules(out)
    keys(out)


def definitions(out: Writer) -> None:
    def case(name: str, why: str, content: str | bytes, form: str = "toml", **more: Any) -> None:
        run = ["parse-workflow", "--form", form, "workflow"]
        out.case(f"workflows/{name}", why, spec="workflows.md §2", run=run, files={"workflow": content}, **more)

    canonical = text.jcs(WHOLE)
    means = {"digest": text.sha(canonical).hex(), "document": canonical.decode(), "agent": AGENT}
    case("written", "What people leave out stands in the canonical form, and so in the digest.", TOML, result=means)
    case("canonical", "The same definition as its canonical form.", canonical, "json", result=means)
    case("commented", "Comments change no digest.", "# every five minutes\n" + TOML, result=means)

    def broken(name: str, why: str, old: str, new: str, code: str) -> None:
        if old not in TOML:
            raise SystemExit(f"{name}: {old!r} is not in the definition")
        case(name, why, TOML.replace(old, new, 1), expect="malformed", code=code, bug="LENIENT_PARSER")

    broken("not-toml", "No TOML at all.", "[[steps]]", "[[steps", "workflow.toml")
    broken(
        "unknown-member",
        "A limit that is misspelt would be no limit.",
        "limits = {steps",
        "limits = {step",
        "workflow.fields",
    )
    broken(
        "unknown-step-member",
        "A retry that is misspelt would be another.",
        'tool = "wire"',
        'tool = "wire"\nretries = 1',
        "workflow.fields",
    )
    broken("without-source", "Nothing says what is asked.", 'source = "rates"\n', "", "workflow.name")
    broken("name-with-spaces", "An agent run's name is a code.", '"reserve-watch"', '"reserve watch"', "workflow.name")
    broken(
        "another-type", "Another version could mean anything by it.", "workflow:v1", "workflow:v2", "workflow.fields"
    )
    broken("float", "A float has many spellings, and a digest needs one.", '{number = "0.2"}', "0.2", "workflow.value")
    broken("number-in-words", "It would be sent as it stands.", '"0.2"', '"0.2, \\"n\\": 100"', "workflow.value")
    broken(
        "later-step",
        "A value cannot be taken before it is there.",
        "$.price.value.text",
        "$.choice.result",
        "workflow.order",
    )
    broken(
        "unknown-step",
        "The step may have been renamed.",
        "$.choice.result.amount",
        "$.chosen.result.amount",
        "workflow.order",
    )
    broken(
        "condition-on-later-step",
        "It would always be skipped.",
        'if = "$.choice.result.pay"',
        'if = "$.pay.result"',
        "workflow.order",
    )
    broken(
        "no-admission",
        "What no data node admitted is no fact.",
        'admissions = ["price"]',
        'admissions = ["advice"]',
        "workflow.order",
    )
    broken(
        "many-places",
        "Which of them is meant, nobody says.",
        "$.choice.result.amount",
        "$.choice[*].amount",
        "workflow.path",
    )
    broken(
        "two-steps-of-one-name",
        "One would be taken for the other.",
        'name = "choice"',
        'name = "advice"',
        "workflow.steps",
    )
    broken(
        "step-called-trigger",
        "What stands at its path would not be the trigger.",
        'name = "price"',
        'name = "trigger"',
        "workflow.steps",
    )
    broken(
        "unknown-kind",
        "A program would have to guess what is done.",
        'kind = "rule"',
        'kind = "script"',
        "workflow.steps",
    )
    broken(
        "undeclared-tool",
        "An act of a tool whose effect nobody declared.",
        'tool = "wire"',
        'tool = "drain"',
        "workflow.tool",
    )
    broken(
        "tool-that-reads",
        "A tool that reads is no act, and is gated by nothing.",
        'effect = "pay", queue = "payments"',
        'effect = "read"',
        "workflow.tool",
    )
    broken("tool-called-rule", "Its acts would be told as rules.", '{name = "wire"', '{name = "rule"', "workflow.tool")
    broken("act-without-queue", "No gate would stand before it.", ', queue = "payments"', "", "agent.tools")
    broken(
        "caller-options",
        "A parent is named by the execution and by nothing that a definition's values say.",
        'model = "holdfast"',
        'model = "holdfast"\nholdfast = {parent_run = "x"}',
        "workflow.steps",
    )
    broken(
        "streamed",
        "An answer is taken whole.",
        'model = "holdfast"',
        'model = "holdfast"\nstream = true',
        "workflow.steps",
    )
    broken(
        "schedule-twice",
        "Which of both holds?",
        "every_s = 300",
        'every_s = 300, cron = "* * * * *"',
        "workflow.trigger",
    )
    broken("schedule-never", "It would never start.", "every_s = 300, ", "", "workflow.trigger")
    broken(
        "seven-days",
        "A gateway would close its agent run before.",
        "limits = {steps = 50}",
        "limits = {seconds = 604800}",
        "workflow.number",
    )
    broken(
        "no-attempt", "Nothing would ever be asked.", "limits =", "retry = {attempts = 0}\nlimits =", "workflow.number"
    )
    broken(
        "endless-retry", "Attempts have an end.", "limits =", "retry = {attempts = 101}\nlimits =", "workflow.number"
    )
    broken(
        "fresh-answer",
        "How fresh a value is, a source says and no model.",
        'answer = {type = "object", ',
        'answer = {type = "object", fresh_s = 5, ',
        "workflow.condition",
    )
    broken(
        "loop",
        "Each execution admits a fact of the source whose new facts start it: it would never end.",
        'trigger = {kind = "schedule", every_s = 300, backfill_s = 3600}',
        'trigger = {kind = "admission", source = "rates"}',
        "workflow.loop",
    )
    case(
        "too-large",
        "Whoever reads it has to stop somewhere.",
        TOML + "#" * 65_536,
        expect="malformed",
        code="workflow.size",
    )

    def changed(change: Callable[[dict[str, Any]], None]) -> bytes:
        value = copy.deepcopy(WHOLE)
        change(value)
        return text.jcs(value)

    case(
        "canonical-without-a-member",
        "Two spellings of one definition would have two digests.",
        changed(lambda value: value.pop("retry")),
        "json",
        expect="malformed",
        code="workflow.spelling",
        bug="LENIENT_PARSER",
    )
    case(
        "canonical-with-spaces",
        "The same.",
        json.dumps(WHOLE, sort_keys=True).encode(),
        "json",
        expect="malformed",
        code="json.spelling",
        bug="LENIENT_PARSER",
    )


def ruled(rule: dict[str, Any], *before: str) -> dict[str, Any]:
    """A definition whose last step is a rule, after admissions of these names."""
    facts = [{"name": name, "kind": "admission", "source": "rates"} for name in before]
    steps = [*facts, {"name": "choice", "kind": "rule", **rule}]
    return {"type": "urn:holdfast:workflow:v1", "name": "rules", "steps": steps}


def fact(number: str | None, kind: str = "decimal", unit: str | None = "EUR") -> Any:
    """The output of an admission; None of one that gave nothing."""
    value = {"type": kind, "text": number, "unit": unit}
    return None if number is None else {"digest": "00" * 32, "source": "rates", "value": value, "as_of": None}


def rules(out: Writer) -> None:
    def case(
        name: str, why: str, definition: dict[str, Any], outputs: dict[str, Any], output: Any = None, **more: Any
    ) -> None:
        files = {"rule.json": {"definition": definition, "outputs": outputs}}
        told = {} if "code" in more else {"result": {"output": output}}
        out.case(
            f"workflows/{name}",
            why,
            spec="workflows.md §5",
            run=["decide-rule", "rule.json"],
            files=files,
            **told,
            **more,
        )

    between = {"value": "$.a.value.text", "type": "decimal", "minimum": "1", "maximum": "2"}
    by_range = ruled({"cases": [{"when": [between], "result": "in"}], "otherwise": "out"}, "a")
    for name, number, result in (
        ("case-at-minimum", "1", "in"),
        ("case-at-maximum", "2", "in"),
        ("case-just-above", "2.00000000000000000000000000000000000001", "out"),
        ("case-not-a-number", "1e", "out"),
        ("case-in-another-spelling", "1.50", "in"),
    ):
        case(
            f"rule-{name}",
            "Bounds are exact, and count themselves in.",
            by_range,
            {"a": fact(number)},
            {"result": result},
        )
    case("rule-nothing-stands-there", "What is not there holds nothing.", by_range, {"a": None}, {"result": "out"})
    first = ruled({"cases": [{"result": 1}, {"result": 2}]})
    case("rule-first-case", "Cases are looked at in their order.", first, {}, {"result": 1})
    ending = ruled({"cases": [{"when": [between], "result": "in"}]}, "a")
    case(
        "rule-ends",
        "Without a case that holds there is no output, and the execution ends.",
        ending,
        {"a": fact("3")},
        None,
    )
    injected = ruled({"cases": [{"result": {"said": {"from": "$.a.value.text"}}}]}, "a")
    hostile = '{"from": "$.trigger"}'
    case(
        "rule-value-is-no-template",
        "What comes from outside is never filled in again.",
        injected,
        {"a": fact(hostile)},
        {"result": {"said": hostile}},
    )
    case(
        "rule-nothing-to-take",
        "A result that takes what is not there is none.",
        injected,
        {"a": None},
        expect="reject",
        code="workflow.reference",
    )
    joined = ruled({"cases": [{"result": {"text": ["x", {"from": "$.a.value"}, {"literal": {"from": 1}}]}}]}, "a")
    case(
        "rule-text",
        "What is no text is joined as canonical JSON; a literal is what it is.",
        joined,
        {"a": fact("1")},
        {"result": 'x{"text":"1","type":"decimal","unit":"EUR"}{"from":1}'},
    )
    spread = {"kind": "spread", "least": 2, "spread": "0.01", "relative": True}
    agree = ruled({"agree": {"values": ["$.a.value", "$.b.value"], "rule": spread}}, "a", "b")
    for name, why, second, result in (
        (
            "agree",
            "The median of what is near enough.",
            "1.01",
            {"agreed": True, "spread": "0.01", "value": {"type": "decimal", "text": "1.005", "unit": "EUR"}},
        ),
        ("disagree", "Disagreement has no value.", "1.02", {"agreed": False, "spread": "0.02", "value": None}),
        ("agree-alone", "One value agrees with nobody.", None, {"agreed": False, "spread": "0", "value": None}),
    ):
        case(f"rule-{name}", why, agree, {"a": fact("1"), "b": fact(second)}, {"result": result})
    case(
        "rule-agree-on-texts",
        "What a model wrote is no admitted value.",
        agree,
        {"a": fact("1"), "b": {"value": "1"}},
        expect="reject",
        code="workflow.reference",
    )
    for name, why, rule, code in (
        ("both", "Which of them decides?", {"cases": [{"result": 1}], "agree": {"values": ["$.a"], "rule": spread}}, "workflow.rule"),
        ("nothing", "Nothing follows from it.", {}, "workflow.rule"),
        ("unknown-word", "Another word than these has no meaning.", {"cases": [{"when": [{**between, "like": "1"}], "result": 1}]}, "workflow.condition"),
        ("of-objects", "Only what has one spelling is compared.", {"cases": [{"when": [{"value": "$.a", "type": "object"}], "result": 1}]}, "workflow.condition"),
        ("no-range", "Nothing lies between.", {"cases": [{"when": [{**between, "minimum": "3"}], "result": 1}]}, "workflow.condition"),
    ):  # fmt: skip
        case(f"rule-{name}", why, ruled(rule, "a"), {"a": None}, expect="malformed", code=code)


def schedules(out: Writer) -> None:
    def written(trigger: dict[str, Any]) -> dict[str, Any]:
        return {**ruled({"cases": [{"result": 1}]}), "trigger": {"kind": "schedule", **trigger}}

    def case(
        name: str,
        why: str,
        trigger: dict[str, Any],
        after: str,
        times: list[str] | None = None,
        code: str | None = None,
    ) -> None:
        run = ["schedule-times", "--after", after, "--count", "3", "workflow.json"]
        more: dict[str, Any] = {"result": {"times": times}} if code is None else {"expect": "malformed", "code": code}
        files = {"workflow.json": written(trigger)}
        out.case(f"workflows/{name}", why, spec="workflows.md §6(1)", run=run, files=files, **more)

    begin = "2027-02-27T23:50:30.000Z"
    case(
        "times-every",
        "Times are whole multiples since 1970, whoever asks and whenever.",
        {"every_s": 420},
        begin,
        multiples(420, begin, 3),
    )
    case(
        "times-at-one",
        "A time is not after itself.",
        {"every_s": 60},
        "2027-02-28T00:00:00.000Z",
        multiples(60, "2027-02-28T00:00:00.000Z", 3),
    )
    for name, why, cron in (
        ("steps", "A step counts from the least number, not from now.", "*/25 * * * *"),
        ("list", "Lists and ranges.", "5,10-12 0-6/3 * * *"),
        ("weekday", "0 is Sunday.", "0 12 * * 0,6"),
        ("leap", "29 February is in leap years alone.", "0 0 29 2 *"),
        ("month", "The 31st is in seven months.", "59 23 31 * *"),
    ):
        case(f"times-cron-{name}", why, {"cron": cron}, begin, brute(cron, begin, 3))
    for name, why, cron in (
        ("names", "Names differ between programs.", "0 0 * * MON"),
        ("seven", "7 is Sunday in some programs.", "0 0 * * 7"),
        ("both-days", "Programs differ in what both mean.", "0 0 1 * 1"),
        ("six-fields", "Programs differ in whether seconds come first.", "0 0 0 * * *"),
        ("no-such-day", "There is no 31 February.", "0 0 31 2 *"),
        ("step-of-a-number", "Programs differ in what it means.", "5/10 * * * *"),
        ("step-of-none", "It would never come on.", "*/0 * * * *"),
        ("two-spaces", "A field is missing, or is it?", "0  0 * * *"),
        ("backwards", "From 10 down to 5 there is nothing.", "10-5 * * * *"),
        ("minute-60", "There is none.", "60 * * * *"),
        ("macro", "A word that only some know.", "@daily"),
    ):
        case(f"times-cron-{name}", why, {"cron": cron}, begin, code="workflow.cron")


def moment(written: str) -> dt.datetime:
    return dt.datetime.fromisoformat(written)


def spelled(at: dt.datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def multiples(seconds: int, after: str, count: int) -> list[str]:
    first = int(moment(after).timestamp()) // seconds + 1
    return [spelled(dt.datetime.fromtimestamp((first + place) * seconds, dt.UTC)) for place in range(count)]


def allowed(field: str, least: int, most: int) -> list[int]:
    found = []
    for item in field.split(","):
        span, _, step = item.partition("/")
        begin, _, end = (f"{least}-{most}" if span == "*" else span).partition("-")
        found += list(range(int(begin), int(end or begin) + 1, int(step or 1)))
    return found


def brute(cron: str, after: str, count: int) -> list[str]:
    """Every minute is looked at; of days that are not meant, none is."""
    minute, hour, day, month, weekday = (
        allowed(field, *bounds)
        for field, bounds in zip(cron.split(), ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6)), strict=False)
    )
    at = moment(after).replace(second=0, microsecond=0) + dt.timedelta(minutes=1)
    found: list[str] = []
    while len(found) < count:
        if at.month not in month or at.day not in day or int(at.strftime("%w")) not in weekday:
            at = dt.datetime(at.year, at.month, at.day, tzinfo=dt.UTC) + dt.timedelta(days=1)
            continue
        if at.hour in hour and at.minute in minute:
            found.append(spelled(at))
        at += dt.timedelta(minutes=1)
    return found


def keys(out: Writer) -> None:
    usual = {
        "name": "reserve-watch",
        "kind": "schedule",
        "key": "2026-01-01T00:00:00.000Z",
        "dry": False,
        "step": "pay",
        "attempt": 0,
    }

    def case(name: str, why: str, **change: Any) -> None:
        value = {**usual, **change}
        words = [value["name"], value["kind"], value["key"], "dry" if value["dry"] else "act"]
        execution = text.sha("\0".join(["urn:holdfast:workflow-execution:v1", *words]).encode()).hex()
        key = text.sha(
            "\0".join(["urn:holdfast:workflow-key:v1", execution, value["step"], str(value["attempt"])]).encode()
        )
        result = {"execution": execution, "key": key.hex()}
        run = ["workflow-keys", "keys.json"]
        out.case(
            f"workflows/{name}", why, spec="workflows.md §6(3)", run=run, files={"keys.json": value}, result=result
        )

    case("keys", "Whoever is told the same trigger again makes the same id, and starts nothing.")
    case("keys-dry", "A dry execution stands in the way of none that acts.", dry=True)
    case("keys-opening", "Opening has no step.", step="", attempt=0)
