"""agents: what an agent run's answer binds of its children (agents.md)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from reference import parts, world
from reference.cases import Writer
from reference.text import exact_text, named, parse, when
from reference.world import GATEWAY, START, Node, Statement, Story, Turn

from .bundles import GOOD, Bundles

PARENT = world.run_id("agents/parent")
KINDS = {"turn": "chat.completions", "look": "step", "act": "step"}
OTHERS = world.STRANGER


def closing(run: str, response: Any, *, parent: str | None, node: Node = GATEWAY) -> Statement:
    """A closing statement over a response document."""
    bound = parts.Bound(parse(exact_text(response).encode()), "response", run, named("secret/" + run))

    def name_parent(value: dict[str, Any]) -> None:
        if parent is not None:
            value["predicate"]["parent_run"] = parent

    return world.statement(
        "execution",
        node,
        run=run,
        claimed_at=when(START, plus_ms=1850),
        parents=[named("route/" + run).hex()],
        subject=("response", bound.root),
        body={
            "event": "generated",
            "outcome": "complete",
            "response": bound.named(),
            "marks": None,
            "upstream": "caller",
        },
        change=name_parent,
    )


def run_of(name: str) -> str:
    return world.run_id("agents/" + name)


def child(name: str, **more: Any) -> Statement:
    return closing(run_of(name), {"result": name}, **{"parent": PARENT, **more})


def listed(name: str, statement: Statement | None = None) -> dict[str, Any]:
    return {"run": run_of(name), "endpoint": KINDS[name], "statement": (statement or child(name)).digest}


def step_lanes(out: Writer) -> None:
    """A step in a bundle: what its caller tells (agents.md §4(2))."""

    def told(value: dict[str, Any]) -> None:
        value["predicate"].update(endpoint="step", upstream="caller", rewrites=[])
        value["predicate"]["sent"] = value["predicate"]["request"]

    def by_caller(value: dict[str, Any]) -> None:
        value["predicate"].update(upstream="caller", parent_run=PARENT)

    def name_parent(value: dict[str, Any]) -> None:
        told(value)
        value["predicate"]["parent_run"] = PARENT

    asked = '{"kind":"tool","tool":"look","arguments":{"at":"rates"}}'
    turn = Turn(
        request=asked,
        sent=asked,
        response='{"result":{"eur":"1.07"}}',
        route_change=name_parent,
        execution_change=by_caller,
    )
    Bundles(out).case(
        "step-of-an-agent",
        "A step of an agent run: its bytes are bound, and what was done is the word of whoever ran it.",
        Story(turn, disclose=("request", "response")),
        {**GOOD, "artifact": ["not_applicable", None], "computation": ["unknown", "operator_claim"]},
        suite="lanes",
        spec="agents.md §4(2)",
    )


def write(out: Writer) -> None:
    """Write the suite."""
    step_lanes(out)
    answer = {"result": "done", "children": [listed(name) for name in KINDS]}
    shown = [{"run": run_of(name), "envelope": child(name).envelope} for name in KINDS]

    def case(
        name: str,
        why: str,
        change: Callable[[dict[str, Any]], None] | None = None,
        code: str | None = None,
        *,
        expect: str = "reject",
        missing: tuple[str, ...] = (),
    ) -> None:
        value = copy.deepcopy({"answer": answer, "children": shown})
        if change is not None:
            change(value)
        value["parent"] = closing(PARENT, value["answer"], parent=None).envelope
        out.case(
            f"agents/{name}",
            why,
            spec="agents.md \u00a76" if expect == "reject" else "agents.md \u00a75(1)",
            run=["verify-children", "children.json"],
            expect=expect if code else "accept",
            code=code,
            bug="SUBSTITUTION" if code else None,
            result=None if code else {"missing": [run_of(item) for item in missing]},
            files={"children.json": value},
        )

    def replace(place: int, statement: Statement) -> Callable[[dict[str, Any]], None]:
        """Show this statement for a child, and list it too: only what it says of itself is wrong."""

        def change(value: dict[str, Any]) -> None:
            value["children"][place]["envelope"] = statement.envelope
            value["answer"]["children"][place]["statement"] = statement.digest

        return change

    case("whole", "A turn, a step and an act, each closed by the statement that is listed.")
    case(
        "none",
        "An agent run that asked nobody.",
        lambda value: value.update(answer={"error": "gave up", "children": []}, children=[]),
    )
    case("one-not-shown", "What is not shown is said.", lambda value: value["children"].pop(), missing=("act",))
    case(
        "another-statement",
        "A child that was closed otherwise than its parent says: its answer was exchanged afterwards.",
        lambda value: value["children"][1].update(
            envelope=closing(run_of("look"), {"result": "better"}, parent=PARENT).envelope
        ),
        "children.statement",
    )
    case(
        "not-listed",
        "A child that the parent does not list: it was dropped from the answer, or never was one.",
        lambda value: value["answer"]["children"].pop(),
        "children.listed",
    )
    case(
        "shown-as-another",
        "The statement of one child under the name of another.",
        lambda value: value["children"][0].update(envelope=child("look").envelope),
        "children.listed",
    )
    case(
        "another-parent",
        "A child that names another agent run: it was moved.",
        replace(2, child("act", parent=world.run_id("agents/other"))),
        "children.parent",
    )
    case(
        "no-parent",
        "A run that names no parent was adopted.",
        replace(0, child("turn", parent=None)),
        "children.parent",
    )
    case(
        "another-node", "A child that another node closed.", replace(1, child("look", node=OTHERS)), "children.attester"
    )
    case(
        "listed-twice",
        "One child listed twice counts for two.",
        lambda value: value["answer"]["children"].append(value["answer"]["children"][0]),
        "agent.children",
        expect="malformed",
    )
    case(
        "no-list",
        "An answer without its children binds none.",
        lambda value: value["answer"].pop("children"),
        "agent.children",
        expect="malformed",
    )
    case(
        "spent",
        "What its children cost, of an agent run that has a limit of that.",
        lambda value: value["answer"].update(spent="0.000000000000000000000023"),
    )
    case(
        "spent-twice-spelled",
        "A sum has one spelling.",
        lambda value: value["answer"].update(spent="0.10"),
        "agent.children",
        expect="malformed",
    )
    case(
        "spent-below-nothing",
        "Nobody is paid for asking.",
        lambda value: value["answer"].update(spent="-1"),
        "agent.children",
        expect="malformed",
    )
    case(
        "result-and-error",
        "It ended well or it did not.",
        lambda value: value["answer"].update(error="no"),
        "agent.children",
        expect="malformed",
    )
