"""Pages of agent runs and their JSON twins, over a real gateway in this process."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import MalformedError
from holdfast.nodes.panel.agents import parse_agents, parse_tree
from holdfast.verifier.lanes import LANES
from tests.helpers import asgi
from tests.helpers.agent_pages import AgentPages, agent_pages, call, open_agent, step
from tests.helpers.case_world import HOST
from tests.helpers.xss import CORPUS

pytestmark = pytest.mark.enable_socket
HTML = [HOST, ("accept", "text/html")]


def play(story: Callable[[AgentPages], Awaitable[None]], folder: Path) -> None:
    async def main() -> None:
        async with agent_pages(folder) as pages:
            await story(pages)

    asyncio.run(main())


async def get(pages: AgentPages, path: str, *headers: tuple[str, str]) -> asgi.Reply:
    return await asgi.request(pages.cases.app, "GET", path, headers=[*(headers or HTML)])


async def twin(pages: AgentPages, path: str) -> Any:
    reply = await get(pages, path, HOST)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


# Refusals


REFUSED = [
    ("/agents.json?state=half", 400, "panel.filter"),
    ("/agents.json?before=x", 400, "panel.filter"),
    ("/agents.json?before=" + "9" * 5000, 400, "panel.filter"),
    ("/agents.json?colour=red", 400, "panel.filter"),
    ("/agents/none.json", 404, "panel.run_id"),
    ("/agents/{run}.json?after=-1", 400, "panel.filter"),
    ("/agents/01900000-0000-7000-8000-000000000009.json", 404, "run.unknown"),
    ("/agents/{turn}.json", 404, "agent.none"),
    ("/agents/{turn}/events", 404, "agent.none"),
    ("/agents/{run}/steps/{run}.json", 404, "agent.child"),
    ("/agents/{run}/steps/none.json", 404, "panel.run_id"),
]


def test_what_is_no_agent_run_or_no_child_of_it_is_not_shown(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        agent = await open_agent(pages.world)
        turn = await pages.world.answer()
        for path, status, code in REFUSED:
            reply = await get(pages, path.format(run=agent["run"], turn=turn), HOST)
            assert (reply.status, reply.code) == (status, code), path

    play(story, tmp_path)


def test_people_whose_roles_read_no_runs_see_no_agent_run(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        agent = await open_agent(pages.world)
        cookie = (await pages.cases.let_in("olga", "policy_owner"))[0]
        for path in ("/agents.json", f"/agents/{agent['run']}.json", f"/agents/{agent['run']}/events"):
            assert (await get(pages, path, HOST, cookie)).code == "people.denied"
            assert (await get(pages, path, HOST)).status == 401

    play(story, tmp_path)


HEAD: dict[str, Any] = {
    "run": "01900000-0000-7000-8000-000000000001",
    "name": "a",
    "opened_at": "2026-01-01T00:00:00.000Z",
    "closed_at": None,
    "outcome": None,
    "queue": None,
    "parent_run": None,
    "settlement": "batch",
    "tools": [],
    "limits": {"steps": 5, "depth": 2},
    "spend": {"unit": "USD", "limit": "2", "spent": "0.12", "held": "0"},
}
LANES_TOLD = {name: {"state": "unknown", "basis": None} for name in LANES}
CHILD: dict[str, Any] = {
    "run": "01900000-0000-7000-8000-000000000002",
    "kind": "step",
    "opened_at": "2026-01-01T00:00:01.000Z",
    "closed_at": "2026-01-01T00:00:01.000Z",
    "outcome": "complete",
    "queue": None,
    "step": {"kind": "tool", "tool": "t", "act": False, "of": None},
    "lanes": LANES_TOLD,
    "rests": None,
    "cost": None,
}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"lanes": {"bytes": {"state": "proven", "basis": None}}}, "panel.lanes"),
        ({"lanes": {**LANES_TOLD, "bytes": {"state": "fine", "basis": None}}}, "panel.lane"),
        ({"step": {"kind": "dance", "tool": None, "act": False, "of": None}}, "panel.shape"),
        ({"run": "x"}, "panel.run_id"),
        ({"opened_at": "soon"}, "encoding.time"),
        ({"cost": {"usd": "1e3", "event": "charged"}}, "pricing.decimal"),
        ({"next": -1}, "panel.shape"),
        ({"asked_again": -1}, "panel.shape"),
        ({"asked_again": "2"}, "panel.shape"),
    ],
)
def test_a_child_that_is_told_otherwise_is_refused_and_never_filled_in(change: dict[str, Any], code: str) -> None:
    whole = {**HEAD, "lanes": LANES_TOLD, "children": [CHILD], "next": None}
    assert parse_tree(whole).unseen == ()
    with pytest.raises(MalformedError) as refused:
        parse_tree({**whole, "children": [{**CHILD, **change}]})
    assert refused.value.code == code


def test_a_list_that_is_none_is_refused() -> None:
    with pytest.raises(MalformedError):
        parse_agents({"agents": {}, "next": None})


def test_costs_are_added_up_as_far_as_they_are_told_and_the_rest_is_counted() -> None:
    def turn(number: int, cost: Any) -> dict[str, Any]:
        run = f"01900000-0000-7000-8000-{number:012d}"
        return {**CHILD, "run": run, "kind": "chat.completions", "step": None, "cost": cost}

    costs = [
        {"usd": "0.1", "event": "captured"},
        {"usd": "0.02", "event": "charged"},
        {"usd": None, "event": "offered"},
    ]
    children = [CHILD, *(turn(number, cost) for number, cost in enumerate([*costs, None], 10))]
    spent = parse_tree({**HEAD, "lanes": None, "children": children, "next": None}).spent
    assert spent.to_json() == {"usd": "0.12", "charged": 2, "open": 1, "untold": 1}


def test_an_act_lasts_until_its_outcome_was_told_and_bars_lie_on_one_axis() -> None:
    other = "01900000-0000-7000-8000-000000000003"
    act = {**CHILD, "step": {"kind": "tool", "tool": "t", "act": True, "of": None}}
    told = {**CHILD, "run": other, "opened_at": "2026-01-01T00:00:03.000Z", "closed_at": "2026-01-01T00:00:03.000Z"}
    told["step"] = {"kind": "outcome", "tool": None, "act": False, "of": CHILD["run"]}
    whole = {**HEAD, "lanes": None, "children": [act, told], "next": None}
    axis = parse_tree(whole).axis(dt.datetime(2026, 1, 1, 0, 0, 10, tzinfo=dt.UTC))
    assert (axis.whole_ms, axis.open) == (10_000, True)
    first, second = axis.bars[CHILD["run"]], axis.bars[other]
    assert (first.start, first.extent, first.span_ms, first.waits) == (100, 200, 2000, True)
    assert (second.start, second.extent, second.span_ms, second.waits) == (300, 0, 0, False)
    waiting = parse_tree({**whole, "children": [act]}).axis(dt.datetime(2026, 1, 1, 0, 0, 10, tzinfo=dt.UTC))
    assert (waiting.bars[CHILD["run"]].extent, waiting.bars[CHILD["run"]].span_ms) == (900, None)


# What is shown


def test_a_tree_shows_each_child_with_its_own_lanes_and_its_acts_with_their_cases(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        agent = await pages.agent()
        reply = await get(pages, f"/agents/{agent['run']}")
        assert reply.status == 200
        text = reply.body.decode()
        assert text.count('role="treeitem"') == 8
        assert text.count('data-lane="settlement" data-state="pending"') == 2
        assert f'href="/agents/{agent["run"]}/steps/{agent["act"]}"' in text
        assert 'data-stands="CLEAR"' in text
        assert 'data-stands="HOLD"' in text
        assert "not known for 1 turn" in text
        value = await twin(pages, f"/agents/{agent['run']}.json")
        assert [child["what"] for child in value["children"]] == [
            *("turn", "call", "act", "hint", "agent", "outcome", "act")
        ]
        assert value["cases"][agent["act"]]["state"] == "CLEAR"
        assert value["cases"][agent["second"]]["state"] == "HOLD"
        assert set(value["differing"]) == {"artifact", "computation", "settlement"}
        assert [child["title"] for child in value["children"][4]["children"]] == ["search"]
        assert value["spent"] == {"usd": "0", "charged": 0, "open": 0, "untold": 1}
        assert value["spend"] == {"unit": "USD", "limit": None, "spent": "0", "held": "0"}
        case = value["cases"][agent["act"]]["case"]
        assert f'href="/cases/{case}"' in text

    play(story, tmp_path)


def test_a_child_has_a_page_of_its_own_with_all_eleven_lanes(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        agent = await pages.agent()
        reply = await get(pages, f"/agents/{agent['run']}/steps/{agent['act']}")
        text = reply.body.decode()
        assert text.count('<details class="lane"') == 11
        assert "What came of it was told" in text
        second = (await get(pages, f"/agents/{agent['run']}/steps/{agent['second']}")).body.decode()
        assert "Nobody told what came of it" in second
        value = await twin(pages, f"/agents/{agent['run']}/steps/{agent['act']}.json")
        assert (value["title"], value["effect"], value["case"]["state"]) == ("wire", "pay", "CLEAR")
        assert set(value["lanes"]) == set(LANES)

    play(story, tmp_path)


def test_agent_runs_are_listed_and_narrowed(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        agent = await pages.agent()
        listed = await twin(pages, "/agents.json")
        assert [row["name"] for row in listed["agents"]] == ["researcher", "treasurer"]
        assert [row["children"] for row in listed["agents"]] == [1, 7]
        assert [row["spend"]["limit"] for row in listed["agents"]] == [None, None]
        text = (await get(pages, "/agents?state=open")).body.decode()
        assert f'href="/agents/{agent["run"]}"' in text
        assert f'data-run="{agent["below"]}"' not in text
        assert "No agent run fits all of that" in (await get(pages, "/agents?name=nobody")).body.decode()

    play(story, tmp_path)


async def said_in(pages: AgentPages, agent: Any, child: str, *headers: tuple[str, str], read: bool = True) -> str:
    query = "?read=1" if read else ""
    return (await get(pages, f"/agents/{agent['run']}/steps/{child}{query}", *HTML, *headers)).body.decode()


def test_what_was_said_is_read_by_whoever_opens_the_case_of_the_agent_run_and_by_nobody_else(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        agent = await pages.agent(queue="default")
        tree = await twin(pages, f"/agents/{agent['run']}.json")
        turn, rates = tree["children"][0]["run"], tree["children"][1]["run"]
        assert "sign in first" in await said_in(pages, agent, rates)
        cookie = (await pages.cases.let_in("rea", "reviewer"))[0]
        case = tree["cases"][agent["run"]]["case"]

        async def views() -> int:
            events = (await get(pages, f"/v1/cases/{case}", HOST, *pages.cases.reader())).json()["events"]
            return sum(event["kind"] == "viewed" for event in events)

        closed = await said_in(pages, agent, rates, cookie, read=False)
        assert "EUR/USD" not in closed
        assert "Read what was said" in closed
        assert await views() == 0
        shown = await said_in(pages, agent, rates, cookie)
        assert "&#34;EUR/USD&#34;" in shown
        assert "&#34;1.07&#34;" in shown
        assert "What is due?" in await said_in(pages, agent, turn, cookie)
        assert await views() == 2

    play(story, tmp_path)


def test_without_a_case_nothing_of_a_child_is_read(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        agent = await pages.agent()
        cookie = (await pages.cases.let_in("rea", "reviewer"))[0]
        tree = await twin_as(pages, f"/agents/{agent['run']}.json", cookie)
        shown = await said_in(pages, agent, tree["children"][1]["run"], cookie)
        assert "neither it nor its agent run has a case here" in shown
        assert "EUR/USD" not in shown
        own = await said_in(pages, agent, agent["act"], cookie)
        assert "&#34;0xabc&#34;" in own

    play(story, tmp_path)


async def twin_as(pages: AgentPages, path: str, cookie: tuple[str, str]) -> Any:
    return (await get(pages, path, HOST, cookie)).json()


def test_the_case_of_an_act_shows_its_tool_its_effect_its_arguments_and_its_agent_run(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        agent = await pages.agent()
        case = (await twin(pages, f"/agents/{agent['run']}.json"))["cases"][agent["second"]]["case"]
        closed = (await get(pages, f"/cases/{case}")).body.decode()
        assert "Whoever opens this case reads its arguments" in closed
        assert "0xdef" not in closed
        cookie = (await pages.cases.let_in("rea", "reviewer"))[0]
        shown = (await get(pages, f"/cases/{case}", *HTML, cookie)).body.decode()
        assert f'href="/agents/{agent["run"]}#run-{agent["second"]}">agent treasurer</a>' in shown
        assert '<b class="act-tool">wire</b>' in shown
        assert 'data-effect="pay"' in shown
        assert "&#34;0xdef&#34;" in shown
        assert shown.index("0xdef") < shown.index('id="acts-title"')

    play(story, tmp_path)


def test_nothing_that_an_agent_says_becomes_markup(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        texts = [text for text in CORPUS if "\x00" not in text]
        agent = await open_agent(pages.world, goal=" ".join(texts), queue="default")
        for text in texts:
            await step(pages.world, agent, call("rates", {text: text}, result=text))
            await step(pages.world, agent, {"kind": "hint", "name": text[:256], "attributes": {text: text}})
        await step(pages.world, agent, call("wire", {text: text for text in texts}))
        await pages.look()
        run, cookie = agent["run"], (await pages.cases.let_in("rea", "reviewer"))[0]
        value = await twin_as(pages, f"/agents/{run}.json", cookie)
        read = [f"/agents/{run}/steps/{child['run']}?read=1" for child in value["children"]]
        case = value["cases"][value["children"][-1]["run"]]["case"]
        own = value["cases"][run]["case"]
        paths = [f"/agents/{run}", *read, f"/cases/{case}", f"/cases/{own}"]
        said = 0
        for path in paths:
            body = (await get(pages, path, *HTML, cookie)).body.decode()
            said += "hit()" in body
            for word in ("<script>hit", "<img src=x", "<svg/onload", "<iframe", "<base href=https", "<body onload=hit"):
                assert word not in body, path
            assert 'href="javascript' not in body
            assert "href='javascript" not in body
        assert said > 10

    play(story, tmp_path)
