"""Asking a recorded run again without rows: who may, what is asked, and what is said of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from holdfast.core.blocks import INTRODUCTION, admitted_in, without_blocks
from holdfast.core.context import context_of, parse_context
from holdfast.errors import HoldfastError
from holdfast.nodes.gateway.influence import MOST, parse_influence
from holdfast.nodes.gateway.records import ASKED
from tests.helpers import asgi
from tests.helpers.gateway import ask
from tests.helpers.gateway_world import World, play
from tests.helpers.upstreams import ScriptedUpstream
from tests.unit.nodes.gateway.test_admitting import asked as asked_with
from tests.unit.nodes.gateway.test_admitting import reference, signed
from tests.unit.nodes.gateway.test_recalling import ANSWER, STREAM, asked, remembering

CELLO, LISBON = f"mem_{1:032x}", f"mem_{2:032x}"
OTHER = ANSWER.replace(b"The cello.", b"The old cello, maybe.")


async def recorded(world: World, **more: Any) -> Any:
    """A run with two rows before its model."""
    remembering(world)
    run = await world.gateway.open(asked(**more), "first")
    if more.get("stream"):
        assert [event async for event in world.gateway.stream(run)]
    else:
        await world.gateway.answer(run)
    return run


def upstream(*answers: bytes) -> ScriptedUpstream:
    return ScriptedUpstream(answers=[ANSWER, *answers], streams=[list(STREAM)])


@pytest.mark.parametrize(
    "body",
    [b"[]", b'{"rows":[]}', b'{"without":[]}', b'{"without":"all"}', b'{"without":["mem_1"]}', b'{"without":[7]}',
     b'{"without":["%s","%s"]}' % (CELLO.encode(), CELLO.encode())],
)  # fmt: skip
def test_a_request_names_rows_each_once(body: bytes) -> None:
    with pytest.raises(HoldfastError) as caught:
        parse_influence(body)
    assert caught.value.code == "influence.request"


def test_a_request_without_a_body_is_of_all_rows() -> None:
    assert parse_influence(b"") is None
    assert parse_influence(b'{"without":["%s"]}' % CELLO.encode()) == (CELLO,)


def test_a_run_without_memory_and_a_row_that_was_not_there_are_refused() -> None:
    async def story(world: World) -> None:
        plain = await world.gateway.open(ask(), "first")
        await world.gateway.answer(plain)
        run = await recorded(world)
        private = await recorded(world, settlement="private")
        before = len(world.upstream.sent)
        for other, without, code in (
            (plain, None, "influence.none"),
            (run, (f"mem_{3:032x}",), "influence.row"),
            (private, None, "run.kept"),
        ):
            with pytest.raises(HoldfastError) as caught:
                await world.influence().ask(await world.row(other.id), other.secret, without)
            assert caught.value.code == code
        with pytest.raises(HoldfastError) as caught:
            await world.influence().ask(await world.row(run.id), bytes(32), None)
        assert caught.value.code == "run.capability"
        assert len(world.upstream.sent) == before

    play(story, upstream=upstream())


def test_one_row_is_left_out_and_the_differences_are_shown() -> None:
    async def story(world: World) -> None:
        run = await recorded(world)
        before = world.ledger.end
        found = await world.influence().ask(await world.row(run.id), run.secret, (CELLO,))
        first, control, changed = (json.loads(body) for _, body in world.upstream.sent)
        assert control == first
        assert [block.attributes["row"] for block in parse_context(context_of(changed["messages"]))] == [LISBON]
        rest = [message for message in changed["messages"] if message["content"] != context_of(changed["messages"])]
        assert rest == asked().value["messages"]
        assert (found["original"], found["control"], found["control_differs"]) == ("The cello.", "The cello.", False)
        assert found["differences"] == [
            {"original": "cello.", "answer": "old cello, maybe."},
        ]
        assert "no proof" in str(found["note"])
        [noted] = world.ledger.replay(before)
        assert noted.kind == ASKED
        assert noted.record.header.keys() == {"run", "at", "times"}  # nothing of what was said
        assert noted.record.blobs == ()

    play(story, upstream=upstream(ANSWER, OTHER))


def test_all_rows_are_left_out_of_a_stream_that_is_asked_for_whole() -> None:
    async def story(world: World) -> None:
        run = await recorded(world, stream=True)
        found = await world.influence().ask(await world.row(run.id), run.secret, None)
        changed = json.loads(world.upstream.sent[-1][1])
        assert found["without"] == [CELLO, LISBON]
        assert context_of(changed["messages"]) is None
        assert "stream" not in changed

    play(story, upstream=upstream())


def test_a_model_that_moves_by_itself_is_told() -> None:
    async def story(world: World) -> None:
        run = await recorded(world)
        found = await world.influence().ask(await world.row(run.id), run.secret, None)
        assert found["control_differs"]

    play(story, upstream=upstream(OTHER, OTHER))


def test_a_run_is_asked_again_so_often_and_no_more() -> None:
    async def story(world: World) -> None:
        run = await recorded(world)
        for _ in range(MOST):
            await world.influence().ask(await world.row(run.id), run.secret, None)
        with pytest.raises(HoldfastError) as caught:
            await world.influence().ask(await world.row(run.id), run.secret, None)
        assert (caught.value.code, caught.value.status) == ("influence.often", 429)

    play(story, upstream=upstream())


@pytest.mark.parametrize("indexed", [True, False])
def test_a_restart_allows_no_more(indexed: bool) -> None:
    async def story(world: World) -> None:
        run = await recorded(world)
        for times in range(1, MOST + 1):
            found = await world.influence().ask(await world.row(run.id), run.secret, None)
            assert (found["times"], found["most"]) == (times, MOST)
        if indexed:
            await world.indexer.flush()
        world.indexer.index.close()
        await world.start()
        before = len(world.upstream.sent)
        with pytest.raises(HoldfastError) as caught:
            await world.influence().ask(await world.row(run.id), run.secret, None)
        assert caught.value.code == "influence.often"
        assert len(world.upstream.sent) == before

    play(story, upstream=upstream())


def test_asking_at_once_is_counted_each_time() -> None:
    async def story(world: World) -> None:
        run = await recorded(world)
        again = world.influence()
        row = await world.row(run.id)
        asked = [again.ask(row, run.secret, None) for _ in range(MOST + 2)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        refused = [item for item in outcomes if isinstance(item, HoldfastError)]
        assert [item.code for item in refused] == ["influence.often"] * 2

    play(story, upstream=upstream())


def test_it_is_asked_over_http_by_whoever_holds_the_capability() -> None:
    async def story(world: World) -> None:
        run = await recorded(world)
        path, app = f"/v1/runs/{run.id}/influence", world.app()
        refused = await asgi.request(app, "POST", path, b"")
        assert (refused.status, refused.json()["error"]["code"]) == (401, "auth.capability")
        capability = [("x-holdfast-capability", run.secret.hex())]
        wrong = await asgi.request(app, "POST", path, b"[]", capability)
        assert wrong.json()["error"]["code"] == "influence.request"
        answer = await asgi.request(app, "POST", path, b"", capability)
        assert answer.json()["original"] == "The cello."

    play(story, upstream=upstream())


def test_answers_that_say_one_word_over_and_over_are_compared_in_pieces() -> None:
    """Whoever asks says what the model repeats; comparing word by word would take a gateway's time from all others."""
    many = ANSWER.replace(b"The cello.", b"So " + b"a " * 4000 + b"it is")
    more = ANSWER.replace(b"The cello.", b"So " + b"a b " * 4000 + b"it is")

    async def story(world: World) -> None:
        run = await recorded(world)
        found = await world.influence().ask(await world.row(run.id), run.secret, None)
        [difference] = found["differences"]
        assert isinstance(difference, dict)
        assert str(difference["original"]).split() == ["a"] * 3999
        assert str(difference["answer"]).split() == ["b", "a"] * 3999 + ["b"]

    play(story, upstream=ScriptedUpstream(answers=[many, many, more]))


# Admitted facts


async def admitted_run(world: World, *made: Any) -> Any:
    run = await world.gateway.open(asked_with(*map(reference, made)), "first")
    await world.gateway.answer(run)
    return run


def test_an_admission_is_left_out_and_the_others_stay() -> None:
    async def story(world: World) -> None:
        world.upstream.answers = [ANSWER, ANSWER, OTHER]
        first, second = signed(world), signed(world, ago=9)
        run = await admitted_run(world, first, second)
        found = await world.influence().ask(await world.row(run.id), run.secret, (first.digest,))
        whole, changed = (json.loads(body)["messages"] for _, body in world.upstream.sent[-2:])
        assert admitted_in(whole) == [first.digest, second.digest]
        assert admitted_in(changed) == [second.digest]
        assert (found["without"], found["control_differs"], found["times"]) == ([first.digest], False, 1)
        assert found["answer"] == "The old cello, maybe."

    play(story, upstream=upstream())


def test_without_any_admission_nothing_of_them_is_left_and_it_is_no_child_of_anybody() -> None:
    async def story(world: World) -> None:
        world.upstream.answers = [ANSWER, ANSWER, OTHER]
        made = signed(world)
        run = await admitted_run(world, made)
        before = len(await world.indexer.recent("first", 50))
        found = await world.influence().ask(await world.row(run.id), run.secret, None)
        assert found["without"] == [made.digest]
        changed = json.loads(world.upstream.sent[-1][1])["messages"]
        assert INTRODUCTION not in json.dumps(changed)
        assert len(await world.indexer.recent("first", 50)) == before

    play(story, upstream=upstream())


def test_an_admission_that_did_not_go_before_the_model_is_refused_before_anything_is_asked() -> None:
    async def story(world: World) -> None:
        run = await admitted_run(world, signed(world))
        sent = len(world.upstream.sent)
        for without in (("11" * 32,), (CELLO,)):
            with pytest.raises(HoldfastError) as caught:
                await world.influence().ask(await world.row(run.id), run.secret, without)
            assert caught.value.code == "influence.row"
        assert len(world.upstream.sent) == sent

    play(story, upstream=upstream())


def test_what_a_model_asked_for_itself_is_said_to_be_left_out() -> None:
    block = "<admission " + "a" * 64 + ">\n{}\n</admission>"
    messages = [
        {"role": "user", "content": f"{INTRODUCTION}\n\n{block}"},
        {"role": "tool", "tool_call_id": "1", "content": block},
        {"role": "user", "content": [{"type": "text", "text": f"before {block} behind"}]},
    ]
    assert without_blocks(messages, ["b" * 64]) == messages
    assert without_blocks(messages, ["a" * 64]) == [
        {"role": "tool", "tool_call_id": "1", "content": '{"refused":"left-out"}'},
        {"role": "user", "content": [{"type": "text", "text": "before  behind"}]},
    ]
