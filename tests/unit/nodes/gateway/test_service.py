"""What the gateway signs, in every way a run can end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core import canonical
from holdfast.core.attempts import Attempt
from holdfast.core.dialects.anthropic import AnthropicDialect
from holdfast.core.encoding import hex_decode
from holdfast.core.fold import Fold
from holdfast.core.keys import verify_signature
from holdfast.core.marks import MarkChain, parse_mark, verify_mark
from holdfast.core.parts import pseudo_random_key, verify_document
from holdfast.core.statements import Execution, Route, Statement, build_commitment, pre_authentication_encoding
from holdfast.errors import HoldfastError, MalformedError, UnavailableError, UsageError
from holdfast.ports.upstream import (
    ModelInfo,
    UpstreamAnswer,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from tests.helpers.clock import FakeClock
from tests.helpers.gateway import SIGNER, Assembled, MemoryLog, ask, assemble
from tests.helpers.upstreams import MODEL, ScriptedUpstream, chat_chunks


def play(
    story: Callable[[Assembled, MemoryLog], Awaitable[None]], upstream: ScriptedUpstream | None = None, **more: Any
) -> MemoryLog:
    """Assemble a gateway on a simulated disk, play a story on it, deliver, and return the log."""
    log = MemoryLog()

    async def run() -> None:
        storage = SimulatedDisk(1).mount()
        parts = assemble(storage, log, [upstream or ScriptedUpstream()], FakeClock(), **more)
        await parts.start()
        await story(parts, log)
        await parts.deliver()
        await parts.indexer.close()

    asyncio.run(run())
    return log


def execution(log: MemoryLog) -> Execution:
    [statement] = [item for item in log.statements() if isinstance(item.body, Execution) and item.body.closing]
    assert isinstance(statement.body, Execution)
    return statement.body


def route(log: MemoryLog) -> Route:
    [statement] = [item for item in log.statements() if item.kind == "route"]
    assert isinstance(statement.body, Route)
    return statement.body


async def read_stream(parts: Assembled, **more: Any) -> tuple[Any, list[bytes]]:
    run = await parts.gateway.open(ask(stream=True, **more), "tests")
    return run, [payload async for payload in parts.gateway.stream(run)]


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (UpstreamUnreachableError("gone"), "upstream.unreachable"),
        (UpstreamTimeoutError("late", phase="total"), "upstream.timeout"),
        (UpstreamStatusError("no", provider_status=429), "upstream.status"),
        (UpstreamProtocolError("odd"), "upstream.protocol"),
    ],
)
def test_a_failing_upstream_leaves_a_signed_statement_of_how_it_failed(failure: HoldfastError, outcome: str) -> None:
    async def story(parts: Assembled, _log: MemoryLog) -> None:
        run = await parts.gateway.open(ask(), "tests")
        with pytest.raises(HoldfastError) as caught:
            await parts.gateway.answer(run)
        assert caught.value.code == failure.code
        assert parts.gateway.under_way == 0

    log = play(story, ScriptedUpstream(answers=[failure]))
    body = execution(log)
    assert (body.event, body.outcome, body.response) == ("failed", outcome, None)


@pytest.mark.parametrize("answer", [b"[]", b"{", b'{"a":1,"a":2}', b'{"a":"\\ud800"}', b"\xff"])
def test_an_answer_that_cannot_be_bound_is_never_passed_on(answer: bytes) -> None:
    async def story(parts: Assembled, _log: MemoryLog) -> None:
        run = await parts.gateway.open(ask(), "tests")
        with pytest.raises(MalformedError):
            await parts.gateway.answer(run)

    log = play(story, ScriptedUpstream(answers=[answer]))
    assert execution(log).outcome == "upstream.protocol"


def test_a_request_without_a_known_model_opens_no_run() -> None:
    async def story(parts: Assembled, _log: MemoryLog) -> None:
        with pytest.raises(UsageError, match="no upstream"):
            await parts.gateway.open(ask(model="other"), "tests")
        assert parts.ledger.end == 0

    assert play(story).entries == []


def test_too_many_runs_at_once_are_told_to_wait() -> None:
    async def story(parts: Assembled, _log: MemoryLog) -> None:
        first = await parts.gateway.open(ask(), "tests")
        with pytest.raises(UnavailableError, match="too many"):
            await parts.gateway.open(ask(), "tests")
        await parts.gateway.answer(first)
        await parts.gateway.answer(await parts.gateway.open(ask(), "tests"))

    play(story, runs_at_once=1)


def test_the_answer_and_the_statement_bind_the_same_bytes() -> None:
    async def story(parts: Assembled, log: MemoryLog) -> None:
        run = await parts.gateway.open(ask("why?"), "tests")
        body = await parts.gateway.answer(run)
        await parts.deliver()
        holdfast = canonical.decode_object(body)["holdfast"]
        secret = hex_decode(holdfast["capability"], 32)
        assert {item["digest"] for item in holdfast["statements"]} == {item.digest for item in log.statements()}
        tree = execution(log).response
        assert tree is not None
        verify_document("response", body, run.id, secret, tree)
        with pytest.raises(HoldfastError, match="not what was signed"):
            verify_document("response", body.replace(b"hello", b"jello"), run.id, secret, tree)
        verify_document("request", run.ask.text, run.id, secret, route(log).request)

    play(story, ScriptedUpstream(answers=[json.dumps({"choices": [{"message": {"content": "hello"}}]}).encode()]))


def test_members_that_only_the_gateway_may_add_are_taken_out_of_an_upstreams_answer() -> None:
    async def story(parts: Assembled, log: MemoryLog) -> None:
        run = await parts.gateway.open(ask(), "tests")
        body = await parts.gateway.answer(run)
        value = canonical.decode_object(body)
        assert "tee_signature" not in value
        assert value["holdfast"]["run"] == run.id
        await parts.deliver()
        tree = execution(log).response
        assert tree is not None
        verify_document("response", body, run.id, run.secret, tree)

    play(story, ScriptedUpstream(answers=[b'{"holdfast":{"run":"forged"},"tee_signature":"x","a":1}']))


def test_what_is_asked_of_holdfast_is_bound_and_not_sent_on() -> None:
    upstream = ScriptedUpstream()

    async def story(parts: Assembled, _log: MemoryLog) -> None:
        run = await parts.gateway.open(ask(holdfast={"nonce": "n" * 20}), "tests")
        await parts.gateway.answer(run)

    log = play(story, upstream)
    assert b"holdfast" not in upstream.sent[0][1]
    assert route(log).rewrites == ("holdfast-removed",)
    assert route(log).request != route(log).sent
    assert {item.nonce for item in log.statements()} == {"n" * 20}


def test_a_label_that_the_provider_calls_otherwise_is_a_named_rewrite() -> None:
    upstream = ScriptedUpstream(offered=[ModelInfo("label", "tests", 1, "provider-name")])

    async def story(parts: Assembled, _log: MemoryLog) -> None:
        await parts.gateway.answer(await parts.gateway.open(ask(model="label"), "tests"))

    log = play(story, upstream)
    assert json.loads(upstream.sent[0][1])["model"] == "provider-name"
    assert route(log).rewrites == ("model",)


def test_a_run_names_its_parent_run_in_every_statement() -> None:
    parent = "01900000-0000-7000-8000-000000000001"

    async def story(parts: Assembled, _log: MemoryLog) -> None:
        await parts.gateway.answer(await parts.gateway.open(ask(holdfast={"parent_run": parent}), "tests"))

    assert {item.parent_run for item in play(story).statements()} == {parent}


def test_a_fallback_is_named_in_the_route() -> None:
    first = ScriptedUpstream(answers=[UpstreamUnreachableError("gone")], name="first")
    second = ScriptedUpstream(name="second")
    log = MemoryLog()

    async def run() -> None:
        parts = assemble(SimulatedDisk(1).mount(), log, [first, second], FakeClock(), fallbacks={"first": "second"})
        await parts.start()
        await parts.gateway.answer(await parts.gateway.open(ask(), "tests"))
        await parts.deliver()
        await parts.indexer.close()

    asyncio.run(run())
    assert (route(log).upstream, route(log).fallback_from) == ("second", ("first",))
    assert route(log).attempts == (
        Attempt("first", "first", "upstream.unreachable", sent=True),
        Attempt("second", "fallback", "served", sent=True),
    )


@pytest.mark.parametrize("more", [{}, {"tools": [{"type": "web_search"}]}], ids=["other-bytes", "unaskable"])
def test_a_fallback_of_another_shape_is_not_turned_to_and_the_failure_stands(more: dict[str, Any]) -> None:
    first = ScriptedUpstream(answers=[UpstreamUnreachableError("gone")], name="first")
    second = ScriptedUpstream(name="second", dialect=AnthropicDialect())
    log = MemoryLog()

    async def run() -> None:
        parts = assemble(SimulatedDisk(1).mount(), log, [first, second], FakeClock(), fallbacks={"first": "second"})
        await parts.start()
        with pytest.raises(UpstreamUnreachableError):
            await parts.gateway.answer(await parts.gateway.open(ask(**more), "tests"))
        await parts.deliver()
        await parts.indexer.close()

    asyncio.run(run())
    assert (route(log).upstream, second.sent) == ("first", [])
    assert execution(log).outcome == "upstream.unreachable"


def test_how_an_upstream_failed_is_told_and_whether_it_may_have_read_what_was_asked() -> None:
    async def story(parts: Assembled, _log: MemoryLog) -> None:
        run = await parts.gateway.open(ask(), "tests")
        with pytest.raises(HoldfastError):
            await parts.gateway.answer(run)

    refused = UpstreamStatusError("busy", provider_status=503)
    unsent = UpstreamUnreachableError("gone", sent=False)
    late = UpstreamTimeoutError("late", phase="connect")
    for failure, end, sent in (
        (refused, "upstream.status.503", True),
        (unsent, "upstream.unreachable", False),
        (late, "upstream.timeout", False),
    ):
        log = play(story, ScriptedUpstream(answers=[failure], name="first"))
        assert route(log).attempts == (Attempt("first", "first", end, sent=sent),)


def test_an_answer_that_cannot_be_bound_did_not_serve() -> None:
    async def story(parts: Assembled, _log: MemoryLog) -> None:
        run = await parts.gateway.open(ask(), "tests")
        with pytest.raises(HoldfastError):
            await parts.gateway.answer(run)

    log = play(story, ScriptedUpstream(answers=[b"[]"], name="first"))
    assert route(log).attempts == (Attempt("first", "first", "upstream.protocol", sent=True),)


def test_a_stream_that_breaks_says_so_of_its_attempt() -> None:
    script: list[bytes | Exception | float] = [*chat_chunks()[:3], UpstreamTimeoutError("late", phase="idle")]

    async def story(parts: Assembled, _log: MemoryLog) -> None:
        await read_stream(parts)

    [attempt] = route(play(story, ScriptedUpstream(streams=[script]))).attempts or ()
    assert (attempt.why, attempt.end, attempt.sent) == ("first", "upstream.timeout", True)


def test_a_stream_is_marked_from_its_first_content_to_its_end() -> None:
    async def story(parts: Assembled, log: MemoryLog) -> None:
        run, payloads = await read_stream(parts)
        chain, fold = MarkChain(pseudo_random_key(run.id, run.secret)), Fold()
        seen = 0
        for payload in payloads:
            value = canonical.decode_exact(payload)
            fold.add(value)
            chain.add({name: item for name, item in value.items() if name != "holdfast"})
            if "mark" in value.get("holdfast", {}):
                mark, signature = parse_mark(value["holdfast"]["mark"])
                verify_mark(mark, signature, chain=chain, run=run.id, key=SIGNER.key)
                seen = mark.seq
        assert seen >= 2
        await parts.deliver()
        body = execution(log)
        assert body.marks is not None
        assert (body.marks.seq, body.marks.parts) == (seen, chain.value)
        assert body.response is not None
        verify_document("response", canonical.encode_exact(fold.document()), run.id, run.secret, body.response)
        assert json.loads(payloads[-1])["holdfast"]["outcome"] == "complete"
        assert json.loads(payloads[-1])["choices"][0]["finish_reason"] == "stop"

    play(story)


def test_an_upstream_that_fails_before_its_first_event_is_an_error_and_not_a_stream() -> None:
    async def story(parts: Assembled, _log: MemoryLog) -> None:
        run = await parts.gateway.open(ask(stream=True), "tests")
        with pytest.raises(UnavailableError):
            await anext(parts.gateway.stream(run))

    log = play(story, ScriptedUpstream(streams=[[UpstreamUnreachableError("gone")]]))
    assert execution(log).event == "failed"


def test_a_stream_that_breaks_binds_what_came_and_ends_with_an_error() -> None:
    script: list[bytes | Exception | float] = [*chat_chunks()[:3], UpstreamTimeoutError("late", phase="idle")]

    async def story(parts: Assembled, _log: MemoryLog) -> None:
        _, payloads = await read_stream(parts)
        last = json.loads(payloads[-1])
        assert last["error"]["code"] == "upstream.timeout"
        assert last["holdfast"]["outcome"] == "upstream.timeout"

    body = execution(play(story, ScriptedUpstream(streams=[script])))
    assert (body.event, body.outcome) == ("generated", "upstream.timeout")
    assert body.response is not None
    assert body.marks is not None


@pytest.mark.parametrize("event", [b"[]", b"{", b'{"choices":[{"index":0,"delta":{"content":"a"}},1]}'])
def test_an_event_that_cannot_be_bound_is_never_passed_on(event: bytes) -> None:
    async def story(parts: Assembled, _log: MemoryLog) -> None:
        _, payloads = await read_stream(parts)
        assert event not in payloads
        assert "error" in json.loads(payloads[-1])

    log = play(story, ScriptedUpstream(streams=[[*chat_chunks()[:2], event]]))
    assert execution(log).outcome == "upstream.protocol"


def test_a_client_that_goes_away_is_signed_for() -> None:
    upstream = ScriptedUpstream()

    async def story(parts: Assembled, _log: MemoryLog) -> None:
        run = await parts.gateway.open(ask(stream=True), "tests")
        events = parts.gateway.stream(run)
        await anext(events)
        await events.aclose()  # type: ignore[attr-defined]
        assert parts.gateway.under_way == 0

    body = execution(play(story, upstream))
    assert (body.event, body.outcome) == ("generated", "client.disconnected")
    assert upstream.closed_streams == 1


def test_a_client_that_misses_the_end_gets_a_follow_up_statement() -> None:
    async def story(parts: Assembled, _log: MemoryLog) -> None:
        run, _ = await read_stream(parts)
        await parts.gateway.disconnected(run)

    log = play(story)
    closing, follow = [item for item in log.statements() if item.kind == "execution"]
    assert isinstance(follow.body, Execution)
    assert follow.body.event == "disconnected"
    assert follow.parents == (closing.digest,)


def test_in_private_mode_only_commitments_are_logged_and_they_open() -> None:
    envelopes: list[Statement] = []

    async def story(parts: Assembled, log: MemoryLog) -> None:
        run = await parts.gateway.open(ask(holdfast={"settlement": "private"}), "tests")
        assert run.id[14] == "4", "a private run's id shows no time"
        await parts.gateway.answer(run)
        await parts.deliver()
        assert run.closed is not None
        for signed, entry in zip(run.closed, log.entries, strict=True):
            assert signed.salt is not None
            assert entry == build_commitment(signed.digest, signed.salt)
        for record in parts.ledger.replay():
            assert record.record.blobs[0 if record.kind == 1 else 4] == b"", "private parts were kept"

    log = play(story)
    assert len(log.entries) == 2
    assert envelopes == log.statements() == []


def test_in_individual_mode_the_documents_are_published_before_their_statements() -> None:
    async def story(parts: Assembled, _log: MemoryLog) -> None:
        run = await parts.gateway.open(ask(holdfast={"settlement": "individual"}), "tests")
        holdfast = canonical.decode_object(await parts.gateway.answer(run))["holdfast"]
        assert "permanently" in holdfast["warning"]
        await parts.deliver()

    log = play(story)
    [(digest, blob)] = log.blobs.items()
    published = canonical.decode_object(blob)
    tree = execution(log).response
    assert tree is not None
    verify_document(
        "response", published["response"].encode(), published["run"], hex_decode(published["secret"], 32), tree
    )
    assert len(digest) == 64


def test_a_silent_log_keeps_nobody_waiting_and_loses_nothing() -> None:
    async def story(parts: Assembled, log: MemoryLog) -> None:
        log.silent = True
        for _ in range(3):
            await parts.gateway.answer(await parts.gateway.open(ask(), "tests"))
        with pytest.raises(UnavailableError):
            await parts.deliver()
        log.silent = False

    assert len(play(story).statements()) == 6


def test_every_statement_is_signed_by_the_key_document_s_key() -> None:
    async def story(parts: Assembled, _log: MemoryLog) -> None:
        await parts.gateway.answer(await parts.gateway.open(ask(), "tests"))

    for statement in play(story).statements():
        envelope = statement.envelope
        verify_signature(SIGNER.key, pre_authentication_encoding(envelope.payload), envelope.signature)


def test_a_whole_answer_of_another_status_keeps_its_body() -> None:
    answer = UpstreamAnswer(201, "application/json", b'{"model":"x"}')

    async def story(parts: Assembled, _log: MemoryLog) -> None:
        body = await parts.gateway.answer(await parts.gateway.open(ask(model=MODEL), "tests"))
        assert body.startswith(b'{"model":"x","holdfast":')

    play(story, ScriptedUpstream(answers=[answer]))
