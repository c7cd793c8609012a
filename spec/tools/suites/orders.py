"""led: what an act came after, as a gateway tells it and as it is read (agents.md §10)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from reference import orders, world
from reference.cases import Writer
from reference.text import named

Change = Callable[[dict[str, Any]], None]
OWN, OTHER = "own", "other"


def run_of(name: str) -> str:
    return world.run_id("led/" + name)


def placed(
    name: str, endpoint: str, parent: str | None, opened: int, closed: int | None, workspace: str = OWN
) -> tuple[str, dict[str, Any]]:
    row = {"workspace": workspace, "endpoint": endpoint, "parent": parent and run_of(parent)}
    return run_of(name), {**row, "opened": opened, "closed": closed}


RUNS = dict(
    (
        placed("host", "agent", None, 2, None, OTHER),
        placed("top", "agent", "host", 10, None),
        placed("first", "chat.completions", "top", 12, 15),
        placed("low", "agent", "top", 20, 60),
        placed("beside", "chat.completions", "top", 22, 30),
        placed("second", "chat.completions", "low", 24, 32),
        placed("foreign", "chat.completions", "low", 25, 33, OTHER),
        placed("slow", "chat.completions", "low", 26, 44),
        placed("deep", "agent", "low", 27, 36),
        placed("deepest", "step", "deep", 28, 29),
        placed("act", "step", "low", 40, 41),
        placed("outcome", "step", "act", 42, 43),
        placed("later", "chat.completions", "low", 45, 50),
        placed("after", "step", "top", 70, 71),
        placed("open", "chat.completions", "top", 72, None),
        placed("elder", "step", "top", 5, 6),
        placed("orphan", "step", "nobody", 73, 74),
    )
)
LOW = ("second", "slow", "deep", "act", "later")
"""The children that the answer of ``low`` lists: all that were opened under it in its workspace."""


def gateway(out: Writer) -> None:
    """A page, as a gateway makes it."""

    def case(name: str, why: str, run: str, *, after: int = 0, most: int = 500) -> None:
        out.case(
            f"led/{name}",
            why,
            spec="agents.md §10(1)",
            run=["came-after", "--run", run_of(run), "--after", str(after), "--most", str(most), "runs.json"],
            result=orders.page(RUNS, run_of(run), after, most),
            files={"runs.json": {"runs": [{"run": run, **row} for run, row in RUNS.items()]}},
        )

    case(
        "act-below-two",
        """An act came after what closed before it was opened below its agent run, and above that one before its agent
        run was opened. A run of another workspace that names the same parent stands nowhere, and above ends where
        another workspace begins.""",
        "act",
    )
    case("first-page", "The first two; others follow behind the second's place.", "act", most=2)
    case("second-page", "The next two behind the second's place: none is left out and none is told again.", "act",
         after=30, most=2)  # fmt: skip
    case(
        "page-that-is-full", "A page that is full says that more follows only where more does.", "act", after=29, most=3
    )
    case("behind-the-last", "Nothing follows behind the last place.", "act", after=36)
    case("behind-everything", "A place that no run has yet.", "act", after=2**63 - 1)
    case("closed-agent-run", "A closed agent run came after everything below it that closed before it.", "low")
    case("open-agent-run", "One that is open came after what closed above it before it was opened.", "top")
    case("turn", "A turn is no act: what it came after is not told.", "first")
    case("told-to-an-act", "An outcome that was told to the act itself stands below no agent run.", "outcome")
    case("parent-is-not-here", "A parent that nobody has is above nothing.", "orphan")
    case("older-than-its-parent", "What was opened before its parent was not led under it.", "elder")
    case("after-all-of-it", "What closed in an agent run below before an act above it was opened.", "after")


def reader(out: Writer) -> None:
    """The answers about one act, as they are read."""

    def answer(run: str, after: int, most: int) -> dict[str, Any]:
        page = orders.page(RUNS, run_of(run), after, most)
        for child in page["children"]:
            child["evidence"] = [named("evidence/" + child["run"]).hex()]
        acts = {"act": {"tool": "wire", "effect": "pay"}}
        return {"run": run_of(run), "act": acts.get(run), **page}

    def pages(run: str, most: int) -> list[dict[str, Any]]:
        found, after = [], 0
        while True:
            found.append({"after": after, "answer": answer(run, after, most)})
            if not found[-1]["answer"]["more"]:
                return found
            after = found[-1]["answer"]["children"][-1]["place"]

    def listed(*names: str) -> dict[str, Any]:
        children = [
            {
                "run": run_of(name),
                "endpoint": RUNS[run_of(name)]["endpoint"],
                "statement": named("closing/" + name).hex(),
            }
            for name in names
        ]
        return {"result": "done", "children": children}

    def case(
        name: str,
        why: str,
        change: Change | None = None,
        code: str | None = None,
        *,
        run: str = "act",
        most: int = 2,
        expect: str = "reject",
        closed: dict[str, Any] | None = None,
    ) -> None:
        value: dict[str, Any] = {"run": run_of(run), "pages": pages(run, most), "closed": closed or {}}
        if change is not None:
            change(value)
        children = [child for page in value["pages"] for child in page["answer"]["children"]]
        result = None if code else {"came_after": orders.came_after(value["pages"][0]["answer"]["under"], children)}
        out.case(
            f"led/{name}",
            why,
            spec="agents.md §10(4)",
            run=["read-led", "led.json"],
            expect=expect if code else "accept",
            code=code,
            bug="SUBSTITUTION" if code else None,
            result=result,
            files={"led.json": value},
        )

    def children(value: dict[str, Any], page: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = value["pages"][page]["answer"]["children"]
        return found

    def swap(value: dict[str, Any]) -> None:
        children(value, 0).reverse()

    def at(page: int, child: int, **members: Any) -> Change:
        return lambda value: children(value, page)[child].update(members)

    def said(page: int, **members: Any) -> Change:
        return lambda value: value["pages"][page]["answer"].update(members)

    def before(page: int, which: int, place: int) -> Change:
        return lambda value: value["pages"][page]["answer"]["under"][which].update(before=place)

    case(
        "read-whole",
        "Three pages, each asked for behind the last place of the one before. What closed beside, after the agent run of the act was opened, is told and is not what it came after.",
    )
    case("read-at-once", "The same in one page.", most=500)
    case("read-none", "A turn: there is nothing that is told.", run="first")
    case(
        "read-closed",
        "A closed agent run and one below it, whose answers list exactly the children that are told.",
        run="low",
        closed={run_of("low"): listed(*LOW), run_of("deep"): listed("deepest")},
    )
    case("another-run", "What is told of another run says nothing of this one.", said(0, run=run_of("low")),
         "gateway.led", expect="malformed")  # fmt: skip
    case("effect-of-no-kind", "An effect is one that tools have.", said(0, act={"tool": "wire", "effect": "harmless"}),
         "gateway.led", expect="malformed")  # fmt: skip
    case("no-place", "A child that stands nowhere.", at(0, 0, place=None), "gateway.led", expect="malformed")
    case("place-below-nothing", "Places begin with 0.", at(0, 0, place=-1), "gateway.led", expect="malformed")
    case("out-of-order", "Two runs the wrong way round: whoever goes on behind the last place leaves one out.", swap,
         "led.order")  # fmt: skip
    case("one-place-twice", "Two runs closed at one place: one log has no such thing.", at(0, 1, place=15), "led.order")
    case("behind-the-act", "A run that closed only after the act was opened is told as earlier than it.",
         at(2, 0, place=40), "led.order")  # fmt: skip
    case(
        "told-twice",
        "One run on two pages, at another place.",
        lambda value: children(value, 1)[0].update(run=children(value, 0)[0]["run"]),
        "led.order",
    )
    case(
        "page-tells-again",
        "A page that begins with the last place of the one before.",
        lambda value: children(value, 1).insert(0, copy.deepcopy(children(value, 0)[1])),
        "led.order",
    )
    case(
        "page-skips",
        "A page that was asked for behind a later place than the last: what closed between is never seen.",
        lambda value: value["pages"][1].update(after=31),
        "led.page",
    )
    case("page-left-out", "The page in the middle is not shown.", lambda value: value["pages"].pop(1), "led.page")
    case("last-page-left-out", "More was said to follow.", lambda value: value["pages"].pop(), "led.page")
    case(
        "page-behind-the-last",
        "A page that comes after the one that said it was the last.",
        said(0, more=False),
        "led.page",
    )
    case(
        "empty-page-with-more",
        "An empty page that says that more follows: whoever asks on asks for ever.",
        lambda value: value["pages"][1]["answer"].update(children=[], more=True),
        "led.page",
    )
    case("other-agent-runs", "Two pages that put the act below other agent runs.", before(1, 1, 19), "led.under")
    case(
        "opened-before-its-parent", "The agent run of the act was opened after the act.", before(0, 1, 40), "led.under"
    )
    case(
        "below-itself",
        "An act that stands above itself.",
        lambda value: value["pages"][0]["answer"]["under"][1].update(run=run_of("act")),
        "led.under",
    )
    case(
        "foreign-workspace",
        "A run below the agent run of another workspace is told among those of this one.",
        at(0, 0, under=[run_of("host"), run_of("top")]),
        "led.under",
    )
    case("below-nothing", "A run below no agent run came before nothing.", at(0, 0, under=[]), "led.under")
    case(
        "child-below-itself",
        "A run that is its own agent run.",
        lambda value: children(value, 0)[0].update(under=[run_of("top"), children(value, 0)[0]["run"]]),
        "led.under",
    )
    case(
        "no-agent-run",
        "Runs are told, and no agent run that they were below.",
        lambda value: value.update(
            pages=[{"after": 0, "answer": {**value["pages"][0]["answer"], "under": [], "more": False}}]
        ),
        "led.order",
    )

    def drop(name: str) -> Change:
        def change(value: dict[str, Any]) -> None:
            for page in value["pages"]:
                found = page["answer"]["children"]
                found[:] = [child for child in found if child["run"] != run_of(name)]

        return change

    def move(value: dict[str, Any]) -> None:
        for page in value["pages"]:
            for child in page["answer"]["children"]:
                if child["run"] == run_of("deepest"):
                    child["under"] = [run_of("top"), run_of("low")]

    of_low = {"run": "low", "most": 500, "closed": {run_of("low"): listed(*LOW)}}
    case("child-dropped", "A turn that the closed agent run lists is not told: a recall of it would not come here.",
         drop("second"), "led.children", **of_low)  # fmt: skip
    case("child-of-nobody", "A turn is told that the closed agent run does not list.", code="led.children",
         run="low", most=500, closed={run_of("low"): listed(*LOW[1:])})  # fmt: skip
    case("child-moved", "A step is told below another agent run than the one that lists it.", move, "led.children",
         run="low", most=500, closed={run_of("deep"): listed("deepest")})  # fmt: skip
    case(
        "boundary-skips",
        "The gateway itself leaves out what stands at the boundary of two pages: places still rise, and the answer of the closed agent run shows it.",
        lambda value: children(value, 1).pop(0),
        "led.children",
        run="low",
        most=3,
        closed={run_of("low"): listed(*LOW)},
    )
    case("closed-without-a-list", "An answer without its children is none to hold anything against.",
         code="agent.children", expect="malformed", run="low", most=500,
         closed={run_of("low"): {"result": "done"}})  # fmt: skip


def write(out: Writer) -> None:
    """Write the suite."""
    gateway(out)
    reader(out)
