"""Openings: which runs name a queue, in one order, told once and completely."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import UsageError
from holdfast.nodes.gateway import records
from holdfast.nodes.gateway.config import WorkspaceKey
from holdfast.nodes.gateway.keys import Caller, Workspaces
from holdfast.nodes.gateway.turn import parse_opening
from holdfast.ports.settings import Secret
from tests.helpers import asgi
from tests.helpers.gateway import ask
from tests.helpers.gateway_world import KEY, OTHER_KEY, World, play
from tests.helpers.upstreams import MODEL


async def told(world: World, after: int = 0, limit: int = 100, workspace: str = "first") -> tuple[list[str], int]:
    """The runs from a position on, and where to go on."""
    value = await world.desk.openings(workspace, after, limit)
    return [item["run"] for item in value["openings"]], value["end"]


async def everything(world: World, limit: int) -> list[str]:
    """The runs as a reader gets them who goes on from each end until there are no more."""
    found: list[str] = []
    after = 0
    while True:
        runs, after = await told(world, after, limit)
        found += runs
        if not runs:
            return found


async def open_run(world: World, queue: str | None = "desk", workspace: str = "first") -> str:
    more: dict[str, Any] = {"holdfast": {"queue": queue}} if queue else {}
    return (await world.gateway.open(ask(**more), workspace)).id


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("after=-1", "request.after"),
        ("after=", "request.after"),
        ("after=01", "request.after"),
        ("after=1&after=2", "request.after"),
        ("after=1e3", "request.after"),
        (f"after={2**63}", "request.after"),
        ("limit=0", "request.limit"),
        ("limit=1001", "request.limit"),
        ("limit=x", "request.limit"),
    ],
)
def test_a_position_or_limit_that_is_none_is_refused(query: str, code: str) -> None:
    async def story(world: World) -> None:
        reply = await asgi.request(
            world.app(), "GET", f"/v1/openings?{query}", headers=[("authorization", f"Bearer {KEY}")]
        )
        assert (reply.status, reply.code) == (400, code)

    play(story)


def test_only_a_workspace_key_opens_them_and_only_its_own() -> None:
    async def story(world: World) -> None:
        run = await open_run(world)
        theirs = await open_run(world, workspace="second")
        for headers in ([], [("x-holdfast-capability", "00" * 32)], [("authorization", "Bearer hf_nobody")]):
            reply = await asgi.request(world.app(), "GET", "/v1/openings", headers=headers)
            assert (reply.status, reply.code[:5]) == (401, "auth.")
        for key, found in ((KEY, run), (OTHER_KEY, theirs)):
            reply = await asgi.request(world.app(), "GET", "/v1/openings", headers=[("authorization", f"Bearer {key}")])
            assert [item["run"] for item in reply.json()["openings"]] == [found]

    play(story)


def test_a_run_that_names_no_queue_is_not_among_them() -> None:
    async def story(world: World) -> None:
        await open_run(world, None)
        named = await open_run(world)
        await open_run(world, None)
        assert (await told(world))[0] == [named]

    play(story)


def test_a_reader_that_goes_on_from_each_end_gets_every_run_once_and_in_order(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        runs = []
        for number in range(11):
            runs.append(await open_run(world))
            await open_run(world, None)
            if number % 3 == 0:
                await world.indexer.flush()  # some are in the tables, some wait in memory
        for limit in (1, 2, 3, 11, 100):
            assert await everything(world, limit) == runs
        await world.stop()
        await world.start()
        assert await everything(world, 4) == runs

    play(story, tmp_path)


def test_nothing_is_told_beyond_an_opening_that_is_still_being_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record lies lower than those that became durable with it and were told first: a reader that had gone on would
    never see it."""

    async def story(world: World) -> None:
        first = await open_run(world)
        write, written, held = world.ledger.open_run, asyncio.Event(), asyncio.Event()

        async def slow(*arguments: Any) -> Any:
            place = await write(*arguments)
            written.set()
            await held.wait()
            return place

        monkeypatch.setattr(world.ledger, "open_run", slow)
        late = asyncio.create_task(open_run(world))
        await written.wait()
        monkeypatch.setattr(world.ledger, "open_run", write)
        quick = await open_run(world)
        runs, end = await told(world)
        assert runs == [first]
        await world.indexer.flush()
        assert await told(world) == ([first], end)
        assert (await told(world, end))[0] == []
        held.set()
        second = await late
        assert (await told(world, end))[0] == [second, quick]

    play(story)


def test_an_opening_whose_writing_was_cut_off_is_told_after_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        first = await open_run(world)
        write = world.ledger.open_run

        async def cut(*arguments: Any) -> Any:
            await write(*arguments)
            raise asyncio.CancelledError

        monkeypatch.setattr(world.ledger, "open_run", cut)
        with pytest.raises(asyncio.CancelledError):
            await open_run(world)
        monkeypatch.setattr(world.ledger, "open_run", write)
        last = await open_run(world)
        task = asyncio.create_task(world.indexer.work(0.0))
        while world.indexer.index.run(last) is None:  # noqa: ASYNC110 - its thread tells nobody
            await asyncio.sleep(0.001)
        task.cancel()
        runs, end = await told(world)
        assert runs == [first]
        await world.stop()
        await world.start()
        after, _ = await told(world, end)
        assert len(after) == 2
        assert after[1] == last

    play(story, tmp_path)


def test_an_opening_that_was_refused_before_it_was_written_holds_nobody_up() -> None:
    async def story(world: World) -> None:
        with pytest.raises(Exception, match="a record holds at most"):
            await world.gateway.open(ask("x" * (2 << 20), holdfast={"queue": "desk"}), "first")
        run = await open_run(world)
        assert (await told(world))[0] == [run]
        assert world.indexer.told == world.ledger.end

    play(story)


def test_rows_that_could_not_be_written_wait_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        run = await world.answer(queue="desk")
        write = world.indexer._write

        def broken(*_: Any) -> None:
            raise OSError("the disk is full")

        monkeypatch.setattr(world.indexer, "_write", broken)
        with pytest.raises(OSError, match="full"):
            await world.indexer.flush()
        assert (await told(world))[0] == [run]
        monkeypatch.setattr(world.indexer, "_write", write)
        await world.indexer.flush()
        stored = world.indexer.index.run(run)
        assert stored is not None
        assert (stored.queue, stored.outcome) == ("desk", "complete")

    play(story)


@pytest.mark.parametrize("flushed", [False, True])
def test_an_opening_says_how_its_run_ended(flushed: bool) -> None:
    async def story(world: World) -> None:
        run = await world.gateway.open(ask(holdfast={"queue": "desk"}), "first")
        if flushed:
            await world.indexer.flush()
        [opened] = (await world.desk.openings("first", 0, 1))["openings"]
        assert (opened["position"], opened["queue"], opened["outcome"], opened["closed_at"]) == (0, "desk", None, None)
        await world.gateway.answer(run)
        [closed] = (await world.desk.openings("first", 0, 1))["openings"]
        assert (closed["outcome"], closed["opened_at"]) == ("complete", opened["opened_at"])
        assert closed["closed_at"] is not None

    play(story)


def test_a_run_that_was_interrupted_still_has_its_queue_after_the_restart(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = await open_run(world)
        await world.stop()
        await world.start()
        [opened] = (await world.desk.openings("first", 0, 1))["openings"]
        assert (opened["run"], opened["queue"], opened["outcome"]) == (run, "desk", "gateway.interrupted")

    play(story, tmp_path)


def test_a_record_from_before_queues_names_none() -> None:
    async def story(world: World) -> None:
        run = await world.gateway.open(ask(holdfast={"queue": "desk"}), "first")
        header = records.decode(records.encode(run.opening.header())).header
        assert parse_opening(header) == run.opening
        del header["queue"], header["requester"], header["subject"]
        old = parse_opening(header)
        assert (old.queue, old.requester, old.subject) == (None, None, None)

    play(story)


@pytest.mark.parametrize("stream", [False, True])
def test_the_queue_is_said_back_in_header_and_carrier(stream: bool) -> None:
    async def post(world: World, **more: Any) -> asgi.Reply:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": stream, **more}
        headers = [("authorization", f"Bearer {KEY}")]
        return await asgi.request(world.app(), "POST", "/v1/chat/completions", json.dumps(body).encode(), headers)

    async def story(world: World) -> None:
        reply = await post(world, holdfast={"queue": "desk", "settlement": "private"})
        assert (reply.status, reply.header("x-holdfast-queue")) == (200, "desk")
        assert b'"queue":"desk"' in reply.body
        assert (await told(world))[0] == [reply.header("x-holdfast-run")]
        reply = await post(world)
        assert (reply.status, reply.header("x-holdfast-queue")) == (200, None)
        assert b'"queue"' not in reply.body

    play(story)


@pytest.mark.parametrize("person", ["", "Ada", "ada lovelace", "a" * 65, "ada\n"])
def test_a_key_of_somebody_who_cannot_have_an_account_is_refused(person: str) -> None:
    with pytest.raises(UsageError) as refused:
        Workspaces([WorkspaceKey("first", Secret("hf_a", "test"), person)])
    assert refused.value.code == "gateway.person"


def test_the_person_whose_key_asked_is_told_where_a_queue_is_named_and_nowhere_else(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        keys = Workspaces(
            [WorkspaceKey("first", Secret("hf_a", "test"), "ada"), WorkspaceKey("first", Secret(KEY, "t"))]
        )
        assert keys.caller(b"Bearer hf_a") == Caller("first", "ada")
        assert keys.caller(b"Bearer " + KEY.encode()) == Caller("first", None)
        run = await world.gateway.open(ask(holdfast={"queue": "desk"}), "first", "ada")
        await world.gateway.answer(run)
        plain = await world.gateway.open(ask(), "first", "ada")
        assert plain.opening.requester is None
        await world.deliver()
        assert not any(b'"ada"' in entry for entry in world.log.entries)
        for _ in range(2):
            (opened,) = (await world.desk.openings("first", 0, 9))["openings"]
            assert (opened["run"], opened["requester"]) == (run.id, "ada")
            await world.stop()
            await world.start()

    play(story, tmp_path)


def test_no_statement_and_no_log_entry_names_the_queue() -> None:
    async def story(world: World) -> None:
        await world.answer(queue="very-secret-desk")
        await world.deliver()
        assert world.log.entries
        assert not any(b"very-secret-desk" in entry for entry in world.log.entries)

    play(story)


def test_a_reader_learns_of_final_rounds_and_of_verdicts_that_were_superseded(tmp_path: Path) -> None:
    async def seen(world: World) -> tuple[int, int]:
        value = await world.desk.openings("first", 0, 1)
        return value["round"], value["superseded"]

    async def story(world: World) -> None:
        await world.answer(queue="desk")
        await world.deliver()
        assert await seen(world) == (0, 0)
        world.finalise(world.candidate(1))
        await world.follow()
        assert await seen(world) == (1, 0)
        await world.answer()
        await world.deliver()
        world.finalise(world.candidate(2, codes={1: "refuted:statement.signature"}))
        await world.follow()
        number, superseded = await seen(world)
        assert number == 2
        assert superseded > 0
        await world.stop()
        await world.start()
        assert await seen(world) == (number, superseded)

    play(story, tmp_path)


# --- what a case is about -------------------------------------------------------------------------------------------


async def post_about(world: World, *headers: tuple[str, str], **holdfast: Any) -> asgi.Reply:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "holdfast": holdfast}
    sent = [("authorization", f"Bearer {KEY}"), *headers]
    return await asgi.request(world.app(), "POST", "/v1/chat/completions", json.dumps(body).encode(), sent)


@pytest.mark.parametrize(
    "subject",
    ["", " ", "\n", "a" * 4_001, "a\tb", "a\x00b", "a\x7fb", "\ud800", 7, True, 1.5, ["a"], {"text": "a"}],
)
def test_a_subject_that_no_case_takes_is_refused(subject: Any) -> None:
    async def story(world: World) -> None:
        reply = await post_about(world, queue="desk", subject=subject)
        assert reply.status == 400
        assert reply.code in {"request.subject", "json.surrogate", "json.invalid"}
        assert (await told(world))[0] == []

    play(story)


@pytest.mark.parametrize("header", ["%", "%2", "%zz", "100%", "caf\u00e9", "%ff", "%c3", "%00", "%09", ""])
def test_a_subject_header_that_is_not_percent_encoded_text_is_refused(header: str) -> None:
    async def story(world: World) -> None:
        reply = await post_about(world, ("x-holdfast-subject", header), queue="desk")
        assert (reply.status, reply.code) == (400, "request.subject")

    play(story)


def test_a_subject_without_a_queue_is_refused_rather_than_dropped() -> None:
    async def story(world: World) -> None:
        assert (await post_about(world, subject="Claim 204")).code == "request.subject"
        assert (await post_about(world, ("x-holdfast-subject", "Claim%20204"))).code == "request.subject"

    play(story)


def test_header_and_body_say_the_same_subject() -> None:
    async def story(world: World) -> None:
        header = ("x-holdfast-subject", "M%C3%BCller")
        assert (await post_about(world, header, queue="desk", subject="Maier")).code == "request.conflict"
        assert (await post_about(world, header, queue="desk", subject="M\u00fcller")).status == 200

    play(story)


@pytest.mark.parametrize(
    ("header", "subject"),
    [
        ("Claim 204", "Claim 204"),
        ("Claim%20204%20of%20M%C3%BCller", "Claim 204 of M\u00fcller"),
        ("100%25", "100%"),
        ("one%0Atwo", "one\ntwo"),
        ("%F0%9F%90%8E%e2%82%ac", "\U0001f40e\u20ac"),
        ("a+b&c=d", "a+b&c=d"),
    ],
)
def test_a_subject_is_told_to_the_workspace_and_never_to_the_log(header: str, subject: str) -> None:
    async def story(world: World) -> None:
        reply = await post_about(world, ("x-holdfast-subject", header), queue="desk")
        assert reply.status == 200
        await post_about(world, queue="desk", subject=subject)
        await post_about(world, queue="desk")
        openings = (await world.desk.openings("first", 0, 100))["openings"]
        assert [item["subject"] for item in openings] == [subject, subject, None]
        assert (await world.desk.openings("second", 0, 100))["openings"] == []
        await world.deliver()
        entries = b"".join(world.log.entries)
        assert entries
        for spelling in (subject.encode(), header.encode(), json.dumps(subject).encode()):
            assert spelling not in entries

    play(story)


def test_a_subject_of_the_longest_length_goes_through_in_the_body() -> None:
    async def story(world: World) -> None:
        subject = "\U0001f40e" * 4_000
        assert (await post_about(world, queue="desk", subject=subject)).status == 200
        (opening,) = (await world.desk.openings("first", 0, 100))["openings"]
        assert opening["subject"] == subject

    play(story)
