"""The follower: no opening is skipped, evidence comes when it can have changed, a silent gateway is left in peace."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.bundles import extend_bundle
from holdfast.core.encoding import time_encode
from holdfast.errors import HoldfastError, MalformedError, UnavailableError
from holdfast.nodes.panel.follower import Cursor, parse_cursor
from holdfast.ports.http import Answer
from holdfast.review.desk import Desk
from holdfast.review.events import SYSTEM
from tests.helpers.case_world import CaseWorld, play_cases
from tests.helpers.network import FROM, UNTIL


def kinds(case: dict[str, Any]) -> list[str]:
    return [event["kind"] for event in case["events"]]


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"after":"1","superseded":0}', b'{"after":1}'])
def test_a_damaged_cursor_is_refused_and_not_taken_for_the_beginning(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_cursor(raw)
    assert parse_cursor(None) == Cursor(0, 0)
    assert parse_cursor(Cursor(7, 8).to_bytes()) == Cursor(7, 8)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"openings":[],"end":-1,"round":0,"superseded":0}',
        b'{"openings":[{}],"end":9,"round":0,"superseded":0}',
    ],
)
def test_an_answer_of_another_shape_opens_nothing_and_moves_nothing(tmp_path: Path, body: bytes) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        world.http.altered["/v1/openings"] = Answer(200, body)
        with pytest.raises(HoldfastError):
            await world.follower.pull_once()
        assert (await world.get("/v1/cases")).json()["cases"] == []
        world.http.altered.clear()
        await world.pull()
        assert (await world.case(run))["state"] == "HOLD"

    play_cases(story, tmp_path)


def test_evidence_of_another_run_moves_no_case(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        first = await world.ask()
        await world.settle()
        other = await world.ask()
        await world.pull()
        await world.look_at_all()
        assert (await world.case(first))["state"] == "CLEAR"
        bundle = await world.world.desk.bundle(await world.world.row(first), None)
        world.http.altered[f"/v1/runs/{other}"] = Answer(200, bundle)
        before = await world.case(other)
        await world.world.clock.advance(3)
        assert await world.look_at_all() == 1
        assert await world.case(other) == before
        assert before["state"] == "HOLD"

    play_cases(story, tmp_path)


@pytest.mark.parametrize("body", [b"", b"null", b'{"type":"urn:holdfast:bundle:v1"}', b"\xff" * 64])
def test_what_is_no_bundle_moves_no_case_and_stops_nothing(tmp_path: Path, body: bytes) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        world.http.altered["/v1/runs"] = Answer(200, body)
        await world.pull()
        before = await world.case(run)
        await world.look_at_all()
        assert await world.case(run) == before
        world.http.altered.clear()
        await world.world.clock.advance(61)
        await world.look_at_all()
        assert (await world.case(run))["lanes"]["bytes"]["state"] == "proven"

    play_cases(story, tmp_path)


def test_a_run_that_names_a_queue_is_held_until_its_round_is_final_and_then_clear_by_itself(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.pull()
        first = await world.case(run)
        assert (first["state"], first["queue"]) == ("HOLD", "default")
        assert {(reason["code"], reason["lane"]) for reason in first["reasons"]} == {
            ("gate.lane_state", "bytes"),
            ("gate.lane_state", "settlement"),
        }
        await world.look_at_all()
        (reason,) = (await world.case(run))["reasons"]
        assert reason["lane"] == "settlement"
        assert "settlement is pending" in reason["says"]
        await world.settle()
        await world.pull()
        await world.look_at_all()
        clear = await world.case(run)
        assert (clear["state"], clear["reasons"]) == ("CLEAR", [])
        assert clear["policy"] is not None
        assert kinds(clear)[-1] == "cleared"
        assert [event["actor"]["kind"] for event in clear["events"] if event["kind"] == "cleared"] == ["gate"]

    play_cases(story, tmp_path)


def test_a_private_run_is_reviewed_by_its_statements_and_its_settlement_never_comes(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask(settlement="private")
        await world.settle()
        await world.pull()
        await world.look_at_all()
        case = await world.case(run)
        assert case["state"] == "HOLD"
        assert case["lanes"]["bytes"]["state"] == "proven"
        assert case["lanes"]["settlement"]["state"] == "unknown"
        assert world.follower.waiting == 0

    play_cases(story, tmp_path)


def test_a_queue_without_a_policy_holds_its_cases_and_says_why(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask("nobody-wrote-one")
        await world.settle()
        await world.pull()
        await world.look_at_all()
        case = await world.case(run)
        assert case["state"] == "HOLD"
        assert [reason["code"] for reason in case["reasons"]] == ["gate.policy_empty"]

    play_cases(story, tmp_path)


def test_openings_that_come_again_open_no_second_case(tmp_path: Path) -> None:
    """A crash between the journal and the cursor: what was taken in is told again."""

    async def story(world: CaseWorld) -> None:
        runs = [await world.ask() for _ in range(3)]
        await world.pull()
        before = [await world.case(run) for run in runs]
        await world.stop_panel()
        (world.folder / "panel" / "openings.json").unlink()
        await world.start_panel()
        await world.pull()
        assert [await world.case(run) for run in runs] == before
        assert len((await world.get("/v1/cases")).json()["cases"]) == 3

    play_cases(story, tmp_path)


def test_a_panel_that_was_away_takes_up_every_opening_and_every_case_that_waits(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        first = await world.ask()
        await world.pull()
        await world.stop_panel()
        missed = [await world.ask() for _ in range(2)]
        await world.settle()
        await world.start_panel()
        await world.follower._resume()
        await world.pull()
        await world.look_at_all()
        assert {(await world.case(run))["state"] for run in (first, *missed)} == {"CLEAR"}

    play_cases(story, tmp_path)


def test_a_cursor_moves_only_once_the_cases_are_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()

        def broken(*_: Any) -> None:
            raise UnavailableError("case_store.full", "the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(Desk, "open_many", broken)
            with pytest.raises(UnavailableError):
                await world.follower.pull_once()
        assert world.follower._cursor.after == 0
        await world.pull()
        assert (await world.case(run))["state"] == "HOLD"
        assert world.follower._cursor.after == world.world.ledger.end

    play_cases(story, tmp_path)


def test_a_gateway_whose_log_begins_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        world.follower._cursor.after = 10**9
        run = await world.ask()
        await world.pull()
        assert (await world.case(run))["state"] == "HOLD"

    play_cases(story, tmp_path)


def test_evidence_is_fetched_again_at_a_final_round_or_after_a_while_and_not_once_nothing_is_pending(
    tmp_path: Path,
) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.pull()
        assert await world.look_at_all() == 1
        assert await world.look_at_all() == 0
        await world.pull()
        assert await world.look_at_all() == 0
        await world.world.clock.advance(2)
        assert await world.look_at_all() == 1
        await world.settle()
        await world.world.clock.advance(0.1)
        await world.pull()
        assert await world.look_at_all() == 1
        assert (await world.case(run))["lanes"]["settlement"]["state"] == "proven"
        await world.world.clock.advance(3600)
        assert await world.look_at_all() == 0
        assert world.follower.waiting == 0

    play_cases(story, tmp_path)


def test_a_superseding_verdict_recalls_a_case_that_was_clear(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.settle()
        await world.pull()
        await world.look_at_all()
        assert (await world.case(run))["state"] == "CLEAR"
        other = await world.ask()
        await world.settle(2, codes={1: "refuted:statement.signature"})
        await world.pull()
        await world.look_at_all()
        recalled = await world.case(run)
        assert recalled["state"] == "RECALLED"
        assert kinds(recalled)[-2:] == ["recalled", "appraised"]
        assert (await world.case(other))["state"] == "CLEAR"
        assert json.loads((world.folder / "panel" / "openings.json").read_bytes())["superseded"] > 0

    play_cases(story, tmp_path)


def test_the_round_itself_recalls_what_it_refuted_before_any_evidence_is_fetched(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        runs = [await world.ask() for _ in range(3)]
        await world.settle()
        await world.pull()
        await world.look_at_all()
        assert {(await world.case(run))["state"] for run in runs} == {"CLEAR"}
        await world.ask()
        await world.settle(2, codes={1: "refuted:statement.signature", 3: "refuted:statement.signature"})
        asked = world.http.bundles()
        await world.pull()
        assert [(await world.case(run))["state"] for run in runs] == ["RECALLED", "RECALLED", "CLEAR"]
        assert world.http.bundles() == asked
        (ordered,) = await world.orders()
        assert "final round 2 refuted" in ordered["because"]
        await world.look_at_all()
        cursor = json.loads((world.folder / "panel" / "openings.json").read_bytes())
        assert cursor["searched"] == 2

    play_cases(story, tmp_path)


@pytest.mark.parametrize("trouble", ["silent", "lying"])
def test_where_nobody_has_a_rounds_verdicts_the_runs_themselves_show_it(tmp_path: Path, trouble: str) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.settle()
        await world.pull()
        await world.look_at_all()
        await world.ask()
        await world.settle(2, codes={1: "refuted:statement.signature"})
        for node in world.world.nodes:
            node.silent = trouble == "silent"
            node.blobs = dict.fromkeys(node.blobs, b"0 " + b"a" * 64 + b" ok\n")
        await world.pull()
        assert (await world.case(run))["state"] == "CLEAR"

    play_cases(story, tmp_path)


def test_a_superseding_verdict_that_was_not_looked_after_is_after_a_restart(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.settle()
        await world.pull()
        await world.look_at_all()
        await world.ask()
        await world.settle(2, codes={1: "refuted:statement.signature"})
        await world.pull()  # a crash before anything is fetched
        await world.stop_panel()
        await world.start_panel()
        await world.pull()
        await world.look_at_all()
        assert (await world.case(run))["state"] == "RECALLED"

    play_cases(story, tmp_path)


def test_a_superseding_verdict_of_a_gateway_whose_index_began_anew_is_looked_after(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        index = world.world.indexer.index
        for _ in range(20):  # what a gateway does not learn again once its index is lost
            index.add_event(time_encode(world.world.clock.now()), "silence", 0, 0, {"silent": [], "asked": 0})
        await world.ask()
        run = await world.ask()
        await world.settle()
        await world.ask()
        await world.settle(2, codes={1: "refuted:statement.signature"})
        await world.pull()
        await world.look_at_all()
        assert (await world.case(run))["state"] == "CLEAR"
        await world.world.stop()
        (world.folder / "gateway" / "runs.sqlite").unlink()
        await world.world.start()
        await world.world.deliver()
        await world.world.follow()
        await world.pull()
        await world.look_at_all()
        await world.settle(3, codes={3: "refuted:statement.signature"})
        await world.pull()
        await world.look_at_all()
        assert (await world.case(run))["state"] == "RECALLED"

    play_cases(story, tmp_path)


def test_a_round_that_becomes_final_while_evidence_is_fetched_has_it_fetched_again_at_once(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.pull()
        ask = world.http.request

        async def slow(method: str, url: str, **more: Any) -> Answer:
            answer = await ask(method, url, **more)
            if url.endswith("/bundle"):
                world.http.request = ask  # type: ignore[method-assign]
                await world.settle()
                await world.pull()
            return answer

        world.http.request = slow  # type: ignore[method-assign]
        assert await world.look_at_all() == 1
        assert (await world.case(run))["state"] == "HOLD"
        assert await world.look_at_all() == 1
        assert (await world.case(run))["state"] == "CLEAR"

    play_cases(story, tmp_path)


def test_evidence_that_was_overtaken_while_it_was_fetched_is_fetched_again(tmp_path: Path) -> None:
    """A decision that is shown in a case's evidence dates it later than what the gateway exported before."""

    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.settle()
        await world.pull()
        await world.look_at_all()
        case = (await world.case(run))["id"]
        await world.settle(2, codes={1: "refuted:statement.signature"})
        for node in world.world.nodes:  # the round's own verdicts are not to be had
            node.silent = True
        await world.pull()
        for node in world.world.nodes:
            node.silent = False
        ask = world.http.request

        async def slow(method: str, url: str, **more: Any) -> Answer:
            answer = await ask(method, url, **more)
            if url.endswith("/bundle"):
                world.http.request = ask  # type: ignore[method-assign]
                await world.world.clock.advance(1)
                now = world.world.clock.now()
                held = await world.review.call(world.desk.evidence, SYSTEM, case)
                later = extend_bundle(held, [{"kind": "note", "at": time_encode(now), "code": "asked"}], now)
                await world.review.call(world.desk.note_bundle, SYSTEM, case, later)
            return answer

        world.http.request = slow  # type: ignore[method-assign]
        assert await world.look_at_all() == 1
        assert (await world.case(run))["state"] == "CLEAR"
        await world.world.clock.advance(2)
        assert await world.look_at_all() == 1
        assert (await world.case(run))["state"] == "RECALLED"

    play_cases(story, tmp_path)


def test_a_revoked_key_recalls_what_relied_on_it_without_asking_the_gateway(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.settle()
        await world.pull()
        await world.look_at_all()
        assert (await world.case(run))["state"] == "CLEAR"
        asked = len(world.http.asked)
        network = world.world.network
        value = json.loads(network.trust_version())
        for node in value["nodes"]:
            node["revoked"] = None
        revoked = {"at": time_encode(UNTIL), "suspect_since": time_encode(FROM), "reason": "stolen"}
        value["nodes"][0]["revoked"] = revoked
        world.trust = network.trust(nodes=value["nodes"])
        await world.tick()
        case = await world.case(run)
        assert case["state"] == "RECALLED"
        assert "were revoked: stolen" in case["reasons"][0]["says"]
        assert "key-revoked" in case["lanes"]["bytes"]["says"]
        assert len(world.http.asked) == asked
        handed = (await world.get("/v1/queues/default/next")).json()
        assert handed["handed"] is None

    play_cases(story, tmp_path)


def test_while_the_gateway_is_silent_it_is_asked_one_thing_and_seldom(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        runs = [await world.ask() for _ in range(8)]
        await world.pull()
        world.http.silent = True
        tasks = [asyncio.create_task(world.follower.pull()), asyncio.create_task(world.follower.fetch())]
        for _ in range(100):  # a hundred seconds
            await world.world.clock.advance(1)
            await asyncio.sleep(0.002)
        asked = len(world.http.asked)
        assert world.follower.trouble == "silent"
        assert asked < 4 + 16
        world.http.silent = False
        for _ in range(60):
            await world.world.clock.advance(1)
            await asyncio.sleep(0.005)
        assert world.follower.trouble == ""
        for run in runs:
            assert (await world.case(run))["lanes"]["bytes"]["state"] == "proven"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    play_cases(story, tmp_path)


def test_no_more_bundles_than_allowed_are_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: CaseWorld) -> None:
        for _ in range(12):
            await world.ask()
        await world.pull()
        under_way, most, request = 0, 0, world.http.request

        async def slow(*arguments: Any, **named: Any) -> Answer:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.01)
            try:
                return await request(*arguments, **named)
            finally:
                under_way -= 1

        monkeypatch.setattr(world.http, "request", slow)
        task = asyncio.create_task(world.follower.fetch())
        async with asyncio.timeout(20):
            while world.http.bundles() < 12:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert most == 4

    play_cases(story, tmp_path)


def test_a_run_that_the_gateway_no_longer_keeps_is_not_asked_for_again(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        await world.ask()
        await world.pull()
        error = {"error": {"message": "gone", "type": "usage", "param": None, "code": "run.expired", "hint": ""}}
        world.http.altered["/v1/runs"] = Answer(410, json.dumps(error).encode())
        await world.look_at_all()
        assert world.follower.waiting == 0

    play_cases(story, tmp_path)


def test_where_very_many_wait_they_are_asked_for_less_often_but_at_once_after_a_round(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.pull()
        world.follower._schedule.ask([f"another-{number}" for number in range(500)], 10**6)
        await world.look_at_all()
        await world.world.clock.advance(9)
        assert await world.look_at_all() == 0
        await world.world.clock.advance(2)
        await world.settle()
        world.http.altered["/v1/runs/another"] = Answer(410, b"")
        await world.pull()
        await world.look_at_all()
        assert (await world.case(run))["state"] == "CLEAR"

    play_cases(story, tmp_path)
