"""Rows of memory in a case file and on a run's page, and asking again without them: refusals first."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from holdfast.nodes.panel.influence import parse_asked_again, wanted
from tests.helpers.asgi import Reply
from tests.helpers.case_world import CaseWorld, play_cases
from tests.helpers.influenced import CELLO, JAZZ, LISBON, influenced

HTML = ("accept", "text/html")
TAGS = re.compile(r"<[^>]+>")
Scene = Callable[[CaseWorld, str], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Runs a scene with a world and its case."""

    def run(scene: Scene, **more: Any) -> None:
        async def act(world: CaseWorld) -> None:
            await scene(world, await influenced(world, **more))

        play_cases(act, tmp_path)

    return run


async def ask_again(world: CaseWorld, case: str, without: Any, who: tuple[tuple[str, str], ...]) -> Reply:
    body = json.dumps({"without": without}).encode()
    return await world.post(f"/cases/{case}/influence.json", body, *who)


def asked_of(world: CaseWorld) -> int:
    return len(world.world.upstream.sent)  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [None, 7, "", "mem_1", [], [CELLO, CELLO], [7], {"all": True}, ["all"]])
def test_rows_are_named_each_once(value: Any) -> None:
    with pytest.raises(HoldfastError) as caught:
        wanted(value)
    assert caught.value.code == "panel.rows"


@pytest.mark.parametrize(
    "change", [{"original": 7}, {"note": None}, {"times": True}, {"most": "4"}, {"without": ["all"]}, {"run": None}]
)
def test_an_answer_of_another_shape_is_refused(change: Any) -> None:
    whole = dict.fromkeys(("run", "original", "control", "answer", "note"), "a")
    value = {**whole, "without": [], "times": 1, "most": 4}
    assert parse_asked_again(json.dumps(value).encode()).answer == "a"
    value |= change
    with pytest.raises(HoldfastError) as caught:
        parse_asked_again(json.dumps(value).encode())
    assert caught.value.code == "panel.shape"


@pytest.mark.parametrize("roles", [("viewer",), ("auditor",), ("admin",)])
def test_whoever_may_not_ask_runs_has_none_asked_again(play, roles):
    async def scene(world: CaseWorld, case: str) -> None:
        await world.let_in("root", "admin")
        reply = await ask_again(world, case, "all", await world.let_in("eve", *roles))
        assert (reply.status, reply.code) == (403, "people.denied")
        assert asked_of(world) == 1

    play(scene)


def test_nobody_asks_again_without_a_name_or_from_elsewhere(play):
    async def scene(world: CaseWorld, case: str) -> None:
        assert (await ask_again(world, case, "all", ())).status in (401, 403)
        who = await world.let_in("rea", "reviewer")
        for left_out in ("x-holdfast-token", "origin"):
            reply = await ask_again(world, case, "all", tuple(item for item in who if item[0] != left_out))
            assert reply.status == 403
        assert asked_of(world) == 1

    play(scene)


def test_a_row_that_was_not_there_is_refused_in_the_gateways_words(play):
    async def scene(world: CaseWorld, case: str) -> None:
        reply = await ask_again(world, case, [JAZZ], await world.let_in("rea", "reviewer"))
        assert reply.code == "influence.row"

    play(scene)


def test_a_panel_that_cannot_read_the_run_asks_it_no_more(tmp_path):
    async def act(world: CaseWorld) -> None:
        world.reads = False
        await world.stop_panel()
        await world.start_panel()
        case = await influenced(world)
        who = await world.let_in("rea", "reviewer")
        assert (await ask_again(world, case, "all", who)).code == "content.key"
        page = (await world.get(f"/cases/{case}", HTML, *who)).body.decode()
        assert "data-influence" not in page
        assert "What it says is not shown" in page

    play_cases(act, tmp_path)


def test_a_reviewer_sees_the_rows_and_asks_without_one(play):
    async def scene(world: CaseWorld, case: str) -> None:
        who = await world.let_in("rea", "reviewer")
        page = (await world.get(f"/cases/{case}", HTML, *who)).body.decode()
        assert "Plays the cello." in page
        assert "Lives in &lt;Lisbon&gt;." in page
        assert f'data-row="{CELLO}" data-standing="earned"' in page
        assert f'data-row="{LISBON}" data-standing="aging"' in page
        found = (await ask_again(world, case, [CELLO], who)).json()
        assert (found["original"], found["control"]) == ("The cello.", "The cello.")
        assert found["answer"] == "I do not know what you play."
        assert (found["control_differs"], found["proves"]) == (False, "nothing")
        seen = [event["kind"] for event in (await world.get(f"/cases/{case}.json", *who)).json()["events"]]
        assert seen.count("viewed") >= 1

    play(scene)


def test_a_case_that_nobody_opened_shows_digests_and_no_claim(play):
    async def scene(world: CaseWorld, case: str) -> None:
        twin = (await world.get(f"/cases/{case}.json", *world.reader())).json()["recalled"]
        assert [row["row"] for row in twin["rows"]] == [CELLO, LISBON]
        assert [row["says"] for row in twin["rows"]] == [None, None]
        assert twin["compared"] is False
        assert "cello" not in json.dumps(twin)

    play(scene)


def test_the_page_says_that_a_re_run_is_no_proof_and_marks_what_differs(play):
    async def scene(world: CaseWorld, case: str) -> None:
        cookie, (_, token), origin = await world.let_in("rea", "reviewer")
        form = f"token={token}&without=all".encode()
        kind = ("content-type", "application/x-www-form-urlencoded")
        page = (await world.post(f"/cases/{case}/influence", form, cookie, origin, HTML, kind)).body.decode()
        assert page.count("a re-run, not proof") == 2
        assert "<del>The cello.</del>" in page
        assert "<ins>I do not know what you play.</ins>" in page
        assert "this is no proof" in TAGS.sub("", page)

    play(scene)


def test_a_model_that_moves_by_itself_is_told_apart(play):
    async def scene(world: CaseWorld, case: str) -> None:
        who = await world.let_in("rea", "reviewer")
        found = (await ask_again(world, case, "all", who)).json()
        assert found["control_differs"]

    play(scene, moody=True)
