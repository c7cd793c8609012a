"""Cases for programs: strict questions, nothing that was asked or answered in a row, work handed out once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.nodes.panel.app import create_app
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.service import PanelService
from holdfast.ports.settings import Secret
from holdfast.verifier.lanes import LANES
from tests.helpers import asgi
from tests.helpers.case_world import HOST, CaseWorld, play_cases
from tests.helpers.gateway import ask
from tests.helpers.panel import ManualClock

CASE = "01900000-0000-7000-8000-000000000001"


def body(**members: Any) -> bytes:
    return json.dumps(members).encode()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/cases?limit=0", "request.limit"),
        ("/v1/cases?limit=101", "request.limit"),
        ("/v1/cases?limit=ten", "request.limit"),
        ("/v1/cases?after=-1", "request.after"),
        ("/v1/cases?state=clear", "request.state"),
        ("/v1/cases?state=CLEAR&state=GREEN", "request.state"),
        ("/v1/cases?run=1", "panel.run_id"),
        ("/v1/cases?verified=true", "request.query"),
        ("/v1/cases?queue=a&queue=b", "request.query"),
        ("/v1/cases/1", "case.id"),
        (f"/v1/cases/{CASE.upper().replace('0', 'A')}", "case.id"),
        (f"/v1/cases/{CASE}?x=1", "request.query"),
        ("/v1/queues?x=1", "request.query"),
        ("/v1/queues/default/next?include=everything", "request.include"),
        ("/v1/queues/default/next?consumer=The+Desk", "case.consumer"),
        ("/v1/queues/default/next?lease_s=0", "request.lease_s"),
        ("/v1/queues/default/next?lease_s=86401", "request.lease_s"),
        ("/v1/queues/The%20Desk/next", "queue.name"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(tmp_path: Path, path: str, code: str) -> None:
    async def story(world: CaseWorld) -> None:
        reply = await world.get(path)
        assert (reply.status in (400, 404), reply.code) == (True, code)

    play_cases(story, tmp_path)


def test_a_case_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        for reply in (
            await world.get(f"/v1/cases/{CASE}"),
            await world.post(f"/v1/cases/{CASE}/dependants", body(reference="ticket 7")),
            await world.post(f"/v1/cases/{CASE}/done", body(consumer="desk", key="00" * 32)),
        ):
            assert (reply.status, reply.code) == (404, "case.unknown")
        assert (await world.get(f"/v1/cases?run={CASE}")).json() == {"cases": [], "after": None}

    play_cases(story, tmp_path)


@pytest.mark.parametrize("act", ["view", "claim", "let-go", "comment", "decide", "release", "reopen"])
def test_nobody_acts_without_a_name(tmp_path: Path, act: str) -> None:
    """Whoever gets through the door is not thereby a person: there is no way to decide as nobody."""

    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.pull()
        case = (await world.case(run))["id"]
        reply = await world.post(f"/v1/cases/{case}/{act}", body(act="approve", reason="looks calm"))
        assert (reply.status, reply.code) == (401, "people.sign_in_first")
        assert (await world.case(run))["state"] == "HOLD"
        assert {event["actor"]["kind"] for event in (await world.case(run))["events"]} == {"system", "gate"}

    play_cases(story, tmp_path)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([("sec-fetch-site", "cross-site")], "panel.origin"),
        ([("sec-fetch-site", "same-site")], "panel.origin"),
        ([("origin", "https://evil.example")], "panel.origin"),
        ([("origin", "null")], "panel.origin"),
    ],
)
def test_a_page_of_another_site_takes_no_work_and_changes_nothing(
    tmp_path: Path, headers: list[tuple[str, str]], code: str
) -> None:
    async def story(world: CaseWorld) -> None:
        await world.ask()
        await world.settle()
        await world.pull()
        await world.look_at_all()
        for reply in (
            await world.get("/v1/queues/default/next", *headers),
            await world.post(f"/v1/cases/{CASE}/done", body(consumer="desk", key="x"), *headers),
            await world.post(f"/v1/cases/{CASE}/give-back", body(consumer="desk", key="x"), *headers),
            await world.post(f"/v1/cases/{CASE}/dependants", body(reference="x"), *headers),
        ):
            assert (reply.status, reply.code) == (403, code)
        assert (await world.get("/v1/queues/default/next")).json()["handed"] is not None

    play_cases(story, tmp_path)


@pytest.mark.parametrize("value", [b"", b"[]", body(), body(consumer="desk"), body(consumer="desk", key=1)])
def test_an_acknowledgement_says_exactly_who_and_which(tmp_path: Path, value: bytes) -> None:
    async def story(world: CaseWorld) -> None:
        reply = await world.post(f"/v1/cases/{CASE}/done", value)
        assert reply.status == 400

    play_cases(story, tmp_path)


def test_with_an_access_key_nothing_is_read_or_taken_without_it(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        config = PanelConfig(access_key=Secret("an access key of a panel", "env:KEY"))
        app = create_app(PanelService(config, world.world.clock, world.metrics, world.review))
        right = ("authorization", "Bearer an access key of a panel")
        for headers, status in (([], 401), ([("authorization", "Bearer wrong")], 403), ([right], 200)):
            for path in ("/v1/cases", "/v1/queues", "/v1/queues/default/next"):
                assert (await asgi.request(app, "GET", path, headers=[HOST, *headers])).status == status
        path = f"/v1/cases/{CASE}/done"
        assert (await asgi.request(app, "POST", path, body(), [HOST])).status == 401
        assert (await asgi.request(app, "POST", path, body(), [HOST, right])).code == "request.members"
        assert (await asgi.request(app, "POST", "/ask", body(), [HOST, right])).code == "panel.sign_in"

    play_cases(story, tmp_path)


def test_a_panel_without_a_desk_has_no_such_paths() -> None:
    service = PanelService(PanelConfig(), ManualClock(), MemoryMetrics())
    reply = asgi.call(create_app(service), "GET", "/v1/cases", headers=[HOST])
    assert (reply.status, reply.code) == (404, "request.not_found")


def test_a_row_shows_lanes_and_reasons_and_nothing_that_was_asked_or_answered(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.world.gateway.open(ask("a very secret question", holdfast={"queue": "default"}), "first")
        answer = json.loads(await world.world.gateway.answer(run))["choices"][0]["message"]["content"]
        await world.pull()
        await world.look_at_all()
        for path in ("/v1/cases", "/v1/queues", "/v1/queues/default/next?include=hold", f"/v1/cases?run={run.id}"):
            text = (await world.get(path)).body.decode()
            assert "a very secret question" not in text
            assert answer not in text
            assert run.secret.hex() not in text
        case = await world.case(run.id)
        assert list(case["lanes"]) == list(LANES)
        for name, lane in case["lanes"].items():
            hops = {"hops"} if name == "privacy" else set()
            assert lane.keys() == {"state", "basis", "says", "does_not_say", "evidence"} | hops
        assert "verified" not in case
        assert [event["kind"] for event in case["events"]][:3] == ["opened", "appraised", "held"]

    play_cases(story, tmp_path)


def test_a_case_comes_with_its_journal_and_the_policy_it_answers_to(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.pull()
        listed = await world.case(run)
        case = (await world.get(f"/v1/cases/{listed['id']}")).json()
        document = case.pop("policy_document")
        assert case == listed
        assert document["name"] == "default"
        assert document["require"].keys() == {"bytes", "settlement"}
        (queue,) = (await world.get("/v1/queues")).json()["queues"]
        assert (queue["name"], queue["policy"], queue["counts"]) == ("default", case["policy"], {"HOLD": 1})

    play_cases(story, tmp_path)


def test_lists_are_narrowed_and_read_page_by_page(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        clear = [await world.ask() for _ in range(3)]
        await world.settle()
        await world.pull()
        await world.look_at_all()
        held = [await world.ask("other") for _ in range(2)]
        await world.pull()

        async def runs(query: str) -> list[str]:
            return [case["run"] for case in (await world.get(f"/v1/cases?{query}")).json()["cases"]]

        assert await runs("state=CLEAR") == clear
        assert await runs("state=HOLD") == held
        assert await runs("state=HOLD&state=CLEAR") == [*clear, *held]
        assert await runs("queue=other") == held
        assert await runs("queue=default&state=HOLD") == []
        found: list[str] = []
        after: int | None = 0
        while after is not None:
            page = (await world.get(f"/v1/cases?limit=2&after={after}")).json()
            found += [case["run"] for case in page["cases"]]
            after = page["after"]
        assert found == [*clear, *held]

    play_cases(story, tmp_path)


def test_a_clear_case_is_handed_out_once_and_then_it_is_done(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.pull()
        await world.look_at_all()
        assert (await world.get("/v1/queues/default/next")).json() == {"queue": "default", "handed": None}
        await world.settle()
        await world.pull()
        await world.look_at_all()
        handed = (await world.get("/v1/queues/default/next?consumer=desk-1")).json()["handed"]
        assert (handed["case"]["run"], handed["case"]["state"], handed["consumer"]) == (run, "CLEAR", "desk-1")
        assert handed["case"]["evidence"] == f"/runs/{run}/bundle"
        assert (await world.get("/v1/queues/default/next?consumer=desk-2")).json()["handed"] is None
        case = handed["case"]["id"]
        wrong = await world.post(f"/v1/cases/{case}/done", body(consumer="desk-2", key=handed["key"]))
        assert (wrong.status, wrong.code) == (409, "case.lease")
        done = await world.post(f"/v1/cases/{case}/done", body(consumer="desk-1", key=handed["key"]))
        assert done.json() == {"case": case, "state": "CLEAR", "policy": handed["case"]["policy"]}
        await world.world.clock.advance(3600)
        assert (await world.get("/v1/queues/default/next")).json()["handed"] is None

    play_cases(story, tmp_path)


def test_what_was_not_done_in_time_or_was_given_back_is_handed_out_again_under_the_same_key(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        await world.ask()
        await world.settle()
        await world.pull()
        await world.look_at_all()
        first = (await world.get("/v1/queues/default/next?consumer=one&lease_s=30")).json()["handed"]
        await world.world.clock.advance(31)
        second = (await world.get("/v1/queues/default/next?consumer=two")).json()["handed"]
        assert second["key"] == first["key"]
        back = await world.post(f"/v1/cases/{second['case']['id']}/give-back", body(consumer="two", key=second["key"]))
        assert back.status == 200
        third = (await world.get("/v1/queues/default/next?consumer=three")).json()["handed"]
        assert (third["case"]["id"], third["key"]) == (first["case"]["id"], first["key"])

    play_cases(story, tmp_path)


def test_what_is_held_is_shown_only_when_asked_for_and_apart(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        clear = await world.ask()
        await world.settle()
        held = await world.ask()
        await world.pull()
        await world.look_at_all()
        value = (await world.get("/v1/queues/default/next?include=hold")).json()
        assert value["handed"]["case"]["run"] == clear
        assert [(case["run"], case["state"]) for case in value["held"]] == [(held, "HOLD")]
        assert "held" not in (await world.get("/v1/queues/default/next")).json()

    play_cases(story, tmp_path)


def test_a_program_says_what_relied_on_a_case(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        runs = [await world.ask() for _ in range(2)]
        await world.pull()
        base, other = [(await world.case(run))["id"] for run in runs]
        assert (await world.post(f"/v1/cases/{base}/dependants", body(case=other))).status == 200
        reply = await world.post(f"/v1/cases/{base}/dependants", body(reference="ticket 7"))
        assert reply.json()["dependants"] == [
            {"kind": "case", "target": other},
            {"kind": "reference", "target": "ticket 7"},
        ]
        assert (await world.post(f"/v1/cases/{base}/dependants", body(case=base))).code == "case.dependant"
        assert (await world.post(f"/v1/cases/{base}/dependants", body(case=other, reference="x"))).status == 400

    play_cases(story, tmp_path)
