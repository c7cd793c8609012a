"""acts: what an executor holds a handed-out act against before it does anything (acts.md §3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reference import world
from reference.cases import Writer
from reference.text import exact_text, jcs, parse, sha
from reference.world import AT, Story, Turn, bundle_text

AGENT = world.run_id("acts/agent")
ACT = world.run_id("acts/act")
BETWEEN = world.run_id("acts/between")
AMENDED = world.run_id("acts/amended")
TOOLS = [
    {"name": "look", "effect": "read"},
    {"name": "wire", "effect": "pay", "queue": "treasury"},
]
PLAN = {"agent": {"name": "treasurer", "tools": TOOLS}}
WIRE = '{"kind":"tool","tool":"wire","arguments":{"to":"0xabc","amount":1.50}}'
LESS = WIRE.replace("1.50", "0.50")


def digest_of(request: str) -> str:
    """The digest of an act (acts.md §1(3))."""
    return sha(exact_text(ordered(parse(request.encode()))).encode()).hex()


def ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: ordered(value[name]) for name in sorted(value, key=lambda name: name.encode("utf-16-be"))}
    return [ordered(item) for item in value] if isinstance(value, list) else value


def own(endpoint: str, parent: str | None) -> dict[str, Callable[[dict[str, Any]], None]]:
    """Changes that make the statements of a turn those of a run that its caller tells of."""

    def route(value: dict[str, Any]) -> None:
        value["predicate"].update(endpoint=endpoint, upstream="caller", rewrites=[])
        value["predicate"]["sent"] = value["predicate"]["request"]
        closing(value)

    def closing(value: dict[str, Any]) -> None:
        value["predicate"]["upstream"] = "caller"
        if parent is not None:
            value["predicate"]["parent_run"] = parent

    return {"route_change": route, "execution_change": closing}


def step(
    request: str = WIRE,
    *,
    response: str = '{"proposed":true}',
    endpoint: str = "step",
    parent: str | None = AGENT,
    disclose: tuple[str, ...] = ("request", "response"),
    name: str = "acts/act",
) -> Story:
    turn = Turn(name, request=request, sent=request, response=response, **own(endpoint, parent))
    return Story(turn, disclose=disclose)


def amended(request: str = LESS, *, replaces: object = ACT, first: object = ACT, **more: Any) -> Story:
    """An act that a person proposed in the place of another (agents.md §4(6))."""
    named = {name: run for name, run in (("replaces", replaces), ("first", first)) if run is not None}
    return step(exact_text({**parse(request.encode()), **named}), name="acts/amended", **more)


def agent(act: Story, plan: dict[str, Any] | None = None, *, children: list[dict[str, Any]] | None = None) -> Story:
    """The closed agent run of an act."""
    listed = [{"run": ACT, "endpoint": "step", "statement": act.turn.execution.digest}]
    answer = {"result": "done", "children": listed if children is None else children}
    request = exact_text(plan or PLAN)
    turn = Turn("acts/agent", request=request, sent=request, response=exact_text(answer), **own("agent", None))
    return Story(turn, disclose=("request", "response"))


def lists(*acts: Story) -> list[dict[str, Any]]:
    """The children that a closed agent run names."""
    return [{"run": act.turn.run, "endpoint": "step", "statement": act.turn.execution.digest} for act in acts]


def write(out: Writer) -> None:
    """Write the suite."""

    def case(
        name: str,
        why: str,
        act: Story | dict[str, Any] | None = None,
        code: str | None = None,
        *,
        above: Story | None = None,
        first: Story | None = None,
        request: str = WIRE,
        recorded: str | None = None,
        tools: list[dict[str, Any]] | None = None,
        queue: str = "treasury",
        bug: str = "SUBSTITUTION",
        spec: str = "acts.md §3(2)",
    ) -> None:
        shown = act or step()
        known = PLAN if tools is None else {"agent": {"name": "treasurer", "tools": tools}}
        expected = {"agent": AGENT, "request": known, "queue": queue, "digest": digest_of(recorded or request)}
        files: dict[str, Any] = {
            "act.json": bundle_text(shown if isinstance(shown, dict) else shown.bundle()),
            "expected.json": jcs(expected),
        }
        run = ["verify-act", "--policy", "../../shared/policy.json", "--at", AT, "--trust", "../../shared/trust.json"]
        run += ["--expected", "expected.json"]
        if above is not None:
            files["agent.json"] = bundle_text(above.bundle())
            run += ["--agent", "agent.json"]
        if first is not None:
            files["first.json"] = bundle_text(first.bundle())
            run += ["--first", "first.json"]
        out.case(
            f"acts/{name}",
            why,
            spec=spec,
            run=[*run, "act.json"],
            expect="reject" if code else "accept",
            code=code,
            at=AT,
            bug=bug if code else None,
            result=None if code else {"tool": "wire", "effect": "pay", "digest": digest_of(request)},
            files=files,
        )

    case("proposed", "An act of a tool that pays, as its agent's own record has it.")
    case(
        "written-otherwise",
        "The members of the arguments in another order are the same act.",
        step('{"arguments":{"amount":1.50,"to":"0xabc"},"tool":"wire","kind":"tool"}'),
    )
    good = step()
    case("declared", "Its agent run was closed, declared the tool so and lists the act.", good, above=agent(good))

    changed = step().bundle()
    for item in changed["journal"]:
        if item["kind"] == "document" and item["document"] == "request":
            item["text"] = item["text"].replace("0xabc", "0xdef")
    case(
        "edited-document",
        "Attack: a panel shows the statements of one act and the arguments of another. What was signed does not hold "
        "what is shown, so nothing of it is an act.",
        changed,
        "act.bytes",
    )
    case(
        "edited-arguments",
        "Attack: a gateway signed other arguments than the agent proposed. Signatures hold; the agent's own record does "
        "not say that.",
        step(WIRE.replace("0xabc", "0xdef")),
        "act.arguments",
    )
    case(
        "number-written-otherwise",
        "1.5 is not what was proposed where 1.50 was: an executor hands on texts, and so nobody may choose between two.",
        step(WIRE.replace("1.50", "1.5")),
        "act.arguments",
    )
    case(
        "another-agent",
        "An act that another agent run proposed, handed to this executor.",
        step(parent=world.run_id("acts/other")),
        "act.parent",
    )
    case("no-agent", "A step that names no agent run.", step(parent=None), "act.parent")
    case(
        "a-turn",
        "The answer of a model that looks like an act is none: a turn is no step.",
        step(endpoint="chat.completions"),
        "act.step",
    )
    outcome = f'{{"kind":"outcome","of":"{ACT}"}}'
    case(
        "an-outcome",
        "A step of another kind proposes nothing.",
        step(outcome, response='{"result":1}'),
        "act.step",
    )
    read = '{"kind":"tool","tool":"look","arguments":{}}'
    case(
        "only-reads",
        "A call of a tool that reads is made by the runner, and by nobody again.",
        step(read, response='{"result":1}'),
        "act.effect",
        request=read,
    )
    case(
        "no-such-tool",
        "An act of a tool that the owner of the executor did not write down.",
        step(WIRE.replace('"wire"', '"drain"')),
        "act.tool",
    )
    case(
        "another-queue",
        "The act came out of a queue that its tool does not have, whose policy may ask for less.",
        None,
        "act.queue",
        queue="easy",
    )
    case(
        "not-shown",
        "Statements without the document say that something was proposed and not what.",
        step(disclose=("response",)),
        "act.document",
    )
    unsigned = step().bundle()
    unsigned["journal"] = [item for item in unsigned["journal"] if item["kind"] != "statement"]
    case("no-statements", "A document that nothing binds.", unsigned, "act.bytes", bug="MISSING_CHECK")
    reads = [{"name": "wire", "effect": "read"}]
    case(
        "declared-otherwise",
        "The agent run declared the tool with a smaller effect than the executor's file has: no gate stood before it.",
        good,
        "act.effect",
        above=agent(good, {"agent": {"name": "treasurer", "tools": reads}}),
        spec="acts.md §3(4)",
    )
    case(
        "not-a-child",
        "A closed agent run that does not list the act did not propose it.",
        good,
        "children.listed",
        above=agent(good, children=[]),
        spec="acts.md §3(4)",
    )

    def replaced(name: str, why: str, act: Story | None = None, code: str | None = None, **more: Any) -> None:
        more = {"first": step(), "request": LESS, "recorded": WIRE, "spec": "acts.md §3(6)", **more}
        case(f"amended-{name}", why, act or amended(), code, **more)

    replaced(
        "whole",
        "A person proposed other arguments in the place of an act of the record. Its digest stands in no record; the first "
        "act's does.",
    )
    replaced(
        "again",
        "In the place of an act that was amended itself: both name the same first act.",
        amended(replaces=BETWEEN),
    )
    other = amended()
    replaced("declared", "The closed agent run lists both acts.", other, above=agent(good, children=lists(good, other)))
    elsewhere = LESS.replace("0xabc", "0xdef")
    replaced(
        "elsewhere",
        "Other arguments may name another receiver: whether the owner allows that one, the agent file says (§3(3)).",
        amended(elsewhere),
        request=elsewhere,
    )
    replaced(
        "as-its-own",
        "Attack: an amended act that is handed to an executor as one that its agent proposed. What it is held against is "
        "the record, and the record has no act that replaces another.",
        None,
        "act.step",
        first=None,
        recorded=LESS,
    )
    replaced(
        "nothing",
        "Attack: an act that names none in whose place it stands has to be the record's own.",
        step(LESS, name="acts/amended"),
        "act.replaces",
    )
    replaced(
        "another-first",
        "Attack: in the place of an act that another agent proposed, whose executor this is not.",
        amended(first=world.run_id("acts/other")),
        "act.replaces",
    )
    replaced("no-first", "It names what it replaces and not with what that began.", amended(first=None), "act.replaces")
    replaced(
        "no-replaced",
        "It names the first act and not the one that it replaces.",
        amended(replaces=None),
        "act.replaces",
    )
    replaced("first-no-run", "What it names is a run.", amended(first="0xabc"), "act.replaces")
    replaced("replaces-number", "A number is no run.", amended(replaces=1), "act.replaces")
    replaced("itself", "Attack: a loop. It stands in its own place.", amended(replaces=AMENDED), "act.replaces")
    replaced("first-itself", "Attack: a loop. It began with itself.", amended(first=AMENDED), "act.replaces")
    replaced(
        "another-agent",
        "Attack: another agent run's act in the place of this one's.",
        amended(parent=world.run_id("acts/other")),
        "act.parent",
    )
    more = [*TOOLS, {"name": "drain", "effect": "pay", "queue": "treasury"}]
    replaced(
        "another-tool",
        "Attack: other arguments, and another tool that goes to the same queue. What was denied was of this one.",
        amended(LESS.replace('"wire"', '"drain"')),
        "act.replaces",
        tools=more,
    )
    note = [TOOLS[0], {"name": "wire", "effect": "write", "queue": "treasury"}, more[-1]]
    replaced(
        "higher-effect",
        "Attack: in the place of an act that writes, one that pays.",
        amended(LESS.replace('"wire"', '"drain"')),
        "act.replaces",
        tools=note,
    )
    replaced(
        "only-reads",
        "A call of a tool that reads stands in no act's place.",
        amended('{"kind":"tool","tool":"look","arguments":{}}'),
        "act.effect",
    )
    replaced(
        "no-such-tool",
        "Of a tool that the owner of the executor did not write down.",
        amended(LESS.replace('"wire"', '"drain"')),
        "act.tool",
    )
    replaced("another-queue", "It came out of a queue that its tool does not have.", None, "act.queue", queue="easy")
    replaced(
        "a-turn",
        "The answer of a model in an act's place is no step.",
        amended(endpoint="chat.completions"),
        "act.step",
    )
    replaced(
        "a-member-more",
        "A step says what it says in its members, and in no other.",
        amended(LESS.replace('"kind"', '"effect":"read","kind"')),
        "act.step",
    )
    replaced("not-shown", "Statements without the document.", amended(disclose=("response",)), "act.document")
    replaced(
        "first-edited",
        "Attack: a gateway signed a first act with other arguments than the record has: then it is none of this agent's, "
        "and nothing stands in its place.",
        None,
        "act.arguments",
        first=step(WIRE.replace("0xabc", "0xdef")),
    )
    replaced(
        "first-another-agents",
        "Attack: the first act is another agent run's.",
        None,
        "act.parent",
        first=step(parent=world.run_id("acts/other")),
    )
    replaced(
        "first-amended",
        "Attack: the first act stands in the place of another itself: the record has no such act.",
        None,
        "act.step",
        first=step(exact_text({**parse(WIRE.encode()), "replaces": BETWEEN, "first": BETWEEN})),
    )
    replaced(
        "not-a-child",
        "Attack: a closed agent run that does not list the amended act let nobody propose it.",
        other,
        "children.listed",
        above=agent(good),
    )
    replaced(
        "first-not-a-child",
        "Attack: a closed agent run that does not list the first act did not propose it.",
        other,
        "children.listed",
        above=agent(good, children=lists(other)),
    )
