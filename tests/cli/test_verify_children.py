"""``holdfast verify --child``: children of an agent run, offline."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Holdfast
from tests.helpers import asgi
from tests.helpers.gateway_world import KEY, World, play
from tests.helpers.upstreams import MODEL

LOOK = {"kind": "tool", "tool": "look", "arguments": {}, "result": 1}
AGENT = {"agent": {"name": "treasurer", "tools": [{"name": "look", "effect": "read"}]}}


@pytest.fixture
def bundles(tmp_path: Path) -> dict[str, str]:
    """Files of an agent run (with and without its answer), its two children, and a stranger's run; and of trust."""
    files: dict[str, str] = {}

    async def story(world: World) -> None:
        async def post(path: str, value: Any, *headers: tuple[str, str]) -> Any:
            found = await asgi.request(world.app(), "POST", path, json.dumps(value).encode(), list(headers))
            assert found.status == 200, found.body
            return found.json()

        async def keep(name: str, told: Any, *, disclosed: bool = True) -> None:
            secret = bytes.fromhex(told["capability"]) if disclosed else None
            path = tmp_path / f"{name}.json"
            raw = await world.evidence.bundle(await world.row(told["run"]), secret)
            await asyncio.to_thread(path.write_bytes, raw)
            files[name] = str(path)

        key = ("authorization", f"Bearer {KEY}")
        asked = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
        agent = await post("/v1/runs", AGENT, key)
        held = ("x-holdfast-capability", agent["capability"])
        turn = (await post("/v1/chat/completions", asked, key, ("x-holdfast-parent", agent["run"])))["holdfast"]
        step = await post(f"/v1/runs/{agent['run']}/steps", LOOK, held)
        other = (await post("/v1/chat/completions", asked, key))["holdfast"]
        await post(f"/v1/runs/{agent['run']}/close", {"result": "done"}, held)
        await world.deliver()
        for name, told in (("agent", agent), ("turn", turn), ("step", step), ("other", other)):
            await keep(name, told)
        await keep("closed", agent, disclosed=False)
        trust = tmp_path / "trust.json"
        await asyncio.to_thread(trust.write_bytes, world.network.trust_file())
        files["trust"] = str(trust)

    play(story)
    return files


def test_a_run_that_the_agent_run_does_not_list_is_refused(holdfast: Holdfast, bundles: dict[str, str]) -> None:
    done = holdfast("verify", bundles["agent"], "--trust", bundles["trust"], "--child", bundles["other"])
    assert done.code == 1
    assert "children.listed" in done.out
    twice = holdfast("verify", bundles["agent"], "--child", bundles["turn"], "--child", bundles["turn"])
    assert (twice.code, "usage.child" in twice.err) == (2, True)


def test_children_of_an_agent_run_that_shows_no_answer_cannot_be_told(
    holdfast: Holdfast, bundles: dict[str, str]
) -> None:
    done = holdfast("verify", bundles["closed"], "--trust", bundles["trust"], "--child", bundles["turn"])
    assert done.code == 3
    assert "children  cannot_tell" in done.out


def test_children_are_shown_lane_by_lane(holdfast: Holdfast, bundles: dict[str, str]) -> None:
    children = ["--child", bundles["turn"], "--child", bundles["step"]]
    done = holdfast("verify", bundles["agent"], "--trust", bundles["trust"], *children)
    assert done.code == 0, done.out
    assert "children  yes: 2 of the 2 children" in done.out
    part = holdfast("verify", bundles["agent"], "--trust", bundles["trust"], *children[:2], "--json")
    told = json.loads(part.out)["children"]
    assert (told["answer"], [child["endpoint"] for child in told["missing"]]) == ("yes", ["step"])
    assert len(told["lanes"]["computation"]) == 1
