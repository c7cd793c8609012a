"""From an agent run's tree to the forms that have a turn asked again without what it stood on, and re-runs beside the
turn that they are of: refusals first."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import asgi
from tests.helpers.agent_pages import AgentPages, ask, open_agent
from tests.helpers.case_world import HOST
from tests.helpers.recalls import USER_KEY
from tests.helpers.upstreams import MODEL
from tests.unit.nodes.gateway.test_admitting import reference, signed
from tests.unit.nodes.gateway.test_agents import AUTHORIZED, post
from tests.unit.nodes.gateway.test_recalling import MEMORY, remembering
from tests.web.test_agent_pages import HTML, get, play
from tests.web.test_case_quotes import Read

pytestmark = pytest.mark.enable_socket
KIND = ("content-type", "application/x-www-form-urlencoded")
LINK = re.compile(r'<a class="tree-again" href="([^"]+)">ask again without ([^<]+)</a>')
RERUN = re.compile(r'<a class="tag tag-development tree-again" href="([^"]+)">([^<]+)</a>')


@dataclasses.dataclass
class Stood:
    """An agent run with a turn that stood on nothing, one on a source and one on rows of memory."""

    run: str
    source: str
    """The digest of the admission."""
    turns: list[str]
    """Runs: of the plain one, the one with the source, the one with rows."""

    def step(self, number: int) -> str:
        return f"/agents/{self.run}/steps/{self.turns[number]}"


async def stood(pages: AgentPages, queue: str | None = "default") -> Stood:
    world = pages.world
    agent = await open_agent(world, queue=queue)
    made = signed(world)
    await ask(world, agent["run"], "What is due?")
    await ask(world, agent["run"], "What is the rate?", holdfast={"admissions": [reference(made)]})
    remembering(world)
    value = {"model": MODEL, "messages": [{"role": "user", "content": "What do I play?"}]}
    headers = [*AUTHORIZED, ("x-holdfast-parent", agent["run"]), ("x-holdfast-memory-key", USER_KEY)]
    reply = await post(world, "/v1/chat/completions", {**value, "holdfast": {"memory": MEMORY}}, headers)
    assert reply.status == 200, reply.body
    await pages.look()
    reply = await asgi.request(world.app(), "GET", f"/v1/runs/{agent['run']}/tree", headers=[*AUTHORIZED])
    return Stood(agent["run"], made.digest, [child["run"] for child in reply.json()["children"]])


async def page(pages: AgentPages, path: str, *headers: tuple[str, str]) -> str:
    reply = await get(pages, path, *HTML, *headers)
    assert reply.status == 200, reply.body
    return reply.body.decode()


async def again(pages: AgentPages, path: str, without: str, who: Any) -> asgi.Reply:
    form = f"token={who[1][1]}&without={without}".encode()
    headers = [*HTML, who[0], who[2], KIND, ("sec-fetch-site", "same-origin")]
    return await asgi.request(pages.cases.app, "POST", f"{path}/influence", form, headers)


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_whoever_may_not_ask_runs_is_led_to_no_form(role: str, tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        at = await stood(pages)
        who = await pages.cases.let_in("eve", role)
        assert LINK.findall(await page(pages, f"/agents/{at.run}", who[0])) == []
        text = await page(pages, at.step(1), who[0])
        assert "Read it, to ask it again" not in text
        assert "/influence" not in text

    play(story, tmp_path)


def test_nobody_and_an_agent_run_without_a_case_have_no_form(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        at = await stood(pages, queue=None)
        assert LINK.findall(await page(pages, f"/agents/{at.run}")) == []
        who = await pages.cases.let_in("rea", "reviewer")
        assert LINK.findall(await page(pages, f"/agents/{at.run}", who[0])) == []
        text = await page(pages, at.step(1), who[0])
        assert "Whoever opens the case that it is read in" in text
        assert "/influence" not in text

    play(story, tmp_path)


def test_each_turn_that_stood_on_something_leads_to_its_form_and_others_do_not(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        at = await stood(pages)
        who = await pages.cases.let_in("rea", "reviewer")
        tree = await page(pages, f"/agents/{at.run}", who[0])
        assert LINK.findall(tree) == [(f"{at.step(1)}#again", "a source"), (f"{at.step(2)}#again", "a row")]
        assert RERUN.findall(tree) == []
        assert "again" not in Read(await page(pages, at.step(0), who[0])).ids
        await pages.world.clock.advance(60)  # what was looked at for the tree is forgotten
        for number, says in ((1, "Ask again without this source"), (2, "Ask again without this row")):
            shut = await page(pages, at.step(number), who[0])
            assert "again" in Read(shut).ids
            assert f'href="{at.step(number)}?read=1#again" data-read>Read it, to ask it again' in shut
            assert "/influence" not in shut
            read = await page(pages, f"{at.step(number)}?read=1", who[0])
            assert says in read
            assert f'action="{at.step(number)}/influence"' in read

    play(story, tmp_path)


def test_a_re_run_stands_beside_its_turn_as_one_and_makes_no_child(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        at = await stood(pages)
        who = await pages.cases.let_in("rea", "reviewer")
        assert (await again(pages, at.step(1), at.source, who)).status == 200
        assert (await again(pages, at.step(1), at.source, who)).status == 200
        tree = await page(pages, f"/agents/{at.run}", who[0])
        assert RERUN.findall(tree) == [(f"{at.step(1)}#again", "re-run 2×, no part of this run")]
        told = (await get(pages, f"/agents/{at.run}.json", HOST, who[0])).json()["children"]
        assert [child["run"] for child in told] == at.turns
        assert [child["asked_again"] for child in told] == [0, 2, 0]
        text = await page(pages, at.step(1), who[0])
        assert "It was asked again 2 times. Re-runs are not what happened" in text
        viewer = await pages.cases.let_in("vic", "viewer")
        assert len(RERUN.findall(await page(pages, f"/agents/{at.run}", viewer[0]))) == 1

    play(story, tmp_path)
