"""Two runs of one agent beside each other, aligned by what their children were and never added up; and a turn that is
asked again without what it stood on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.nodes.panel.agent_diff import align
from holdfast.nodes.panel.agents import parse_tree
from tests.helpers import asgi
from tests.helpers.agent_pages import AgentPages, ask, call, open_agent, step
from tests.helpers.case_world import HOST
from tests.unit.nodes.gateway.test_admitting import reference, signed
from tests.web.test_agent_pages import CHILD, HEAD, HTML, LANES_TOLD, get, play

pytestmark = pytest.mark.enable_socket


def tree_of(*children: dict[str, Any]) -> Any:
    told = [{**CHILD, "run": f"01900000-0000-7000-8000-{n:012d}", **child} for n, child in enumerate(children, 10)]
    return parse_tree({**HEAD, "lanes": LANES_TOLD, "children": told, "next": None})


def tool(name: str) -> dict[str, Any]:
    return {"step": {"kind": "tool", "tool": name, "act": False, "of": None}}


def rests(**more: Any) -> dict[str, Any]:
    whole = {"upstream": "x", "label": "m", "served": None, "artifact": None, "admissions": [], "recall": None}
    return {"kind": "chat.completions", "step": None, "rests": {**whole, **more}}


def test_children_are_aligned_by_what_they_were_in_their_order() -> None:
    one, other = tree_of(tool("a"), tool("b"), tool("c")), tree_of(tool("a"), tool("x"), tool("c"), tool("c"))
    sides = [
        (pair.one.title if pair.one else None, pair.other.title if pair.other else None) for pair in align(one, other)
    ]
    assert sides == [("a", "a"), ("b", None), (None, "x"), ("c", "c"), (None, "c")]


def test_a_pair_names_the_lanes_that_differ_and_what_cannot_be_told_apart() -> None:
    moved = {**LANES_TOLD, "settlement": {"state": "proven", "basis": "development"}}
    artifact = {"digest": "a" * 64, "basis": "signature"}
    (pair,) = align(
        tree_of({**rests(artifact=artifact, admissions=["b" * 64]), "lanes": moved}), tree_of(rests(label="n"))
    )
    assert [lane.name for lane in pair.differing] == ["settlement"]
    told = {aspect.name: aspect.told for aspect in pair.aspects}
    assert told == {
        "inputs": "differs",
        "memory": "same",
        "artifact": "cannot tell",
        "route": "same",
        "model": "differs",
    }
    assert pair.to_json()["differing"]["settlement"]["one"] == {"state": "proven", "basis": "development"}


def test_a_child_that_was_not_looked_at_differs_in_no_lane() -> None:
    (pair,) = align(tree_of({**tool("a"), "lanes": None}), tree_of(tool("a")))
    assert pair.differing == ()


def test_a_thousand_alike_children_are_aligned_in_bounded_work() -> None:
    one, other = tree_of(*[tool("a")] * 1000), tree_of(*[tool("a")] * 999, tool("b"))
    pairs = align(one, other)
    assert sum(pair.one is not None and pair.other is not None for pair in pairs) == 999


async def two(pages: AgentPages, **more: Any) -> tuple[Any, Any]:
    agents = []
    for rate in ("1.07", "1.21"):
        agent = await open_agent(pages.world, **more)
        await ask(pages.world, agent["run"], "What is due?")
        await step(pages.world, agent, call("rates", {"pair": "EUR/USD"}, result=f"the rate is {rate} today"))
        agents.append(agent)
    await step(pages.world, agents[1], call("search", {"q": "fees"}, result="none"))
    await pages.look()
    return agents[0], agents[1]


def test_two_runs_stand_beside_each_other_and_only_runs_of_one_agent_do(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        one, other = await two(pages)
        stranger = await open_agent(pages.world, name="somebody-else")
        refused = await get(pages, f"/agents/{one['run']}/with/{stranger['run']}.json", HOST)
        assert (refused.status, refused.code) == (400, "agent.other")
        choice = (await get(pages, f"/agents/{one['run']}/with")).body.decode()
        assert f'href="/agents/{one["run"]}/with/{other["run"]}"' in choice
        assert stranger["run"] not in choice
        path = f"/agents/{one['run']}/with/{other['run']}"
        value = (await get(pages, f"{path}.json", HOST)).json()
        assert [(pair["what"], pair["one"] is None) for pair in value["pairs"]] == [
            ("turn", False),
            ("call", False),
            ("call", True),
        ]
        text = (await get(pages, path)).body.decode()
        assert text.count("No lane differs.") == 2
        assert "nothing like it" in text
        assert "1.07" not in text
        cookie = (await pages.cases.let_in("rea", "reviewer"))[0]
        read = (await get(pages, f"{path}?read=1", *HTML, cookie)).body.decode()
        assert "1.07" not in read

    play(story, tmp_path)


def test_outputs_are_compared_word_by_word_for_whoever_opens_both_cases(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        one, other = await two(pages, queue="default")
        cookie = (await pages.cases.let_in("rea", "reviewer"))[0]
        path = f"/agents/{one['run']}/with/{other['run']}"
        assert "Compare what came out, too" in (await get(pages, path, *HTML, cookie)).body.decode()
        text = (await get(pages, f"{path}?read=1", *HTML, cookie)).body.decode()
        assert "<del> 1.07</del>" in text
        assert "<ins> 1.21</ins>" in text
        assert "What came out is the same, word by word." in text
        for agent in (one, other):
            (case,) = (await get(pages, f"/v1/cases?run={agent['run']}", HOST, *pages.cases.reader())).json()["cases"]
            events = (await get(pages, f"/v1/cases/{case['id']}", HOST, *pages.cases.reader())).json()["events"]
            assert [event["kind"] for event in events].count("viewed") == 1

    play(story, tmp_path)


def test_a_turn_is_asked_again_without_a_source_from_its_agent_runs_tree(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        world = pages.world
        agent = await open_agent(world, queue="default")
        made = signed(world)
        await ask(world, agent["run"], "What is the rate?", holdfast={"admissions": [reference(made)]})
        await pages.look()
        who = await pages.cases.let_in("rea", "reviewer")
        (turn,) = (await get(pages, f"/agents/{agent['run']}.json", HOST, who[0])).json()["children"]
        assert turn["rests"]["admissions"] == [made.digest]
        path = f"/agents/{agent['run']}/steps/{turn['run']}"
        assert "Ask again without this source" not in (await get(pages, path, *HTML, who[0])).body.decode()
        read = (await get(pages, f"{path}?read=1", *HTML, who[0])).body.decode()
        assert f'action="{path}/influence"' in read
        form = f"token={who[1][1]}&without={made.digest}".encode()
        kind = ("content-type", "application/x-www-form-urlencoded")
        headers = [*HTML, who[0], who[2], kind, ("sec-fetch-site", "same-origin")]
        refused = await asgi.request(pages.cases.app, "POST", f"{path}/influence", form, [*HTML, who[0], kind])
        assert refused.status == 403
        asked = len(world.upstream.sent)
        reply = await asgi.request(pages.cases.app, "POST", f"{path}/influence", form, headers)
        text = reply.body.decode()
        assert reply.status == 200, text
        assert "Asked again without admitted facts" in text
        assert text.count("a re-run, not proof") == 2
        assert "Asked again 1 of 4 times" in text
        assert len(world.upstream.sent) == asked + 2
        after = (await get(pages, f"/agents/{agent['run']}.json", HOST, who[0])).json()
        assert [child["run"] for child in after["children"]] == [turn["run"]]

    play(story, tmp_path)
