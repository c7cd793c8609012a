"""The gateway's client: what it refuses, and when it hands anything out."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from holdfast.client.errors import parse_error
from holdfast.client.gateway import GatewayClient
from holdfast.client.run_views import Openings, QueuedRun, parse_openings, parse_run_view
from holdfast.client.sync import SyncGatewayClient
from holdfast.client.turns import BoundTurn
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UndecidedError, UsageError
from holdfast.verifier.lanes import DOES_NOT_SAY, LANES
from tests.helpers.fake_gateway import FakeRun
from tests.helpers.network import NONCE, RUN, SECRET, Network, at, ed25519_signer
from tests.helpers.signed_gateway import PIECES, SignedGateway

REQUEST = {"model": "small-1", "messages": [{"role": "user", "content": "What is a lane?"}]}
TRUST = Network().trust()


def ask(gateway: SignedGateway, trust: Any = TRUST) -> BoundTurn:
    return asyncio.run(gateway.client(trust).ask(REQUEST))


def stream(gateway: SignedGateway, trust: Any = TRUST) -> tuple[list[str], HoldfastError | None, BoundTurn | None]:
    """The texts that were handed out, the error it ended in, and what bound it."""

    async def read() -> tuple[list[str], HoldfastError | None, BoundTurn | None]:
        texts: list[str] = []
        async with gateway.client(trust).stream(REQUEST) as answer:
            try:
                async for marked in answer:
                    texts.append(marked.text)  # noqa: PERF401 - what came before an error counts
            except HoldfastError as error:
                return texts, error, answer.bound
            return texts, None, answer.bound

    return asyncio.run(read())


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(HoldfastError) as raised:
        call()
    return raised.value.code


def changed(**members: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda value: {**value, **members}


# Who answers


def test_a_gateway_that_trust_does_not_admit_is_not_asked() -> None:
    gateway = SignedGateway()
    assert code_of(lambda: ask(gateway, Network().trust(nodes=[], logs=[], epochs=[]))) == "gateway.trust"
    assert [path for _, path, _ in gateway.requests] == ["/v1/identity"]


def test_trust_that_has_run_out_admits_nobody() -> None:
    """Whoever keeps newer trust from a client must not make it believe a key that was revoked since."""
    gateway = SignedGateway()
    old = Network().trust(expires_at=time_encode(at(5)))
    assert code_of(lambda: ask(gateway, old)) == "gateway.trust"
    assert [path for _, path, _ in gateway.requests] == ["/v1/identity"]


def test_a_key_document_of_somebody_else_is_refused() -> None:
    other = Network().log_document
    assert code_of(lambda: ask(SignedGateway(identity=changed(key_document=b64_encode(other.raw))))) == (
        "gateway.identity"
    )
    assert code_of(
        lambda: ask(SignedGateway(identity=changed(key_document=b64_encode(other.raw), node=other.digest)))
    ) == ("gateway.identity")


def test_without_trust_the_key_is_taken_on_first_use_and_says_so() -> None:
    assert ask(SignedGateway(), None).attester.admitted is False
    assert ask(SignedGateway()).attester.admitted is True


# Whole answers


def test_a_whole_answer_comes_with_the_statements_that_bind_it() -> None:
    gateway = SignedGateway()
    bound = ask(gateway)
    assert bound.turn.text == "".join(PIECES)
    assert bound.execution.parents == (bound.route.digest,)
    nonces = {headers.get("x-holdfast-nonce") for method, _, headers in gateway.requests if method == "POST"}
    assert nonces == {bound.turn.nonce} == {bound.execution.nonce}


def altered_text(value: dict[str, Any]) -> dict[str, Any]:
    value["choices"][0]["message"]["content"] += "!"
    return value


def forged(network: Network) -> Callable[[Any], Any]:
    """Statements signed with another key than the one they name."""
    return lambda _: lambda payload: network.seal(payload, ed25519_signer("thief", "statement"))


def other_request(value: dict[str, Any]) -> dict[str, Any]:
    tree = {"root": "cd" * 32, "size": 4}
    body = {**value["body"], "request": tree, "sent": tree}
    return {**value, "subject": ("request", bytes.fromhex("cd" * 32)), "body": body}


def swapped(value: dict[str, Any]) -> dict[str, Any]:
    first, second = value["statements"]
    named = [{"kind": "route", "digest": second["digest"]}, {"kind": "execution", "digest": first["digest"]}]
    return {**value, "statements": named}


def cut_short(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "body": {**value["body"], "outcome": "upstream.timeout"}}


def never_came(value: dict[str, Any]) -> dict[str, Any]:
    body = {**value["body"], "event": "failed", "outcome": "upstream.timeout", "response": None}
    return {**value, "body": body, "subject": ("request", bytes(32))}


def other_endpoint(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "body": {**value["body"], "endpoint": "completions"}}


OTHER_RUN = "019b76da-a800-70c8-9215-000000000000"

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("an altered answer", {"body": altered_text}, "answer.response"),
    ("an added member", {"body": changed(usage={"total_tokens": 1})}, "answer.response"),
    ("an old statement", {"execution": changed(nonce=NONCE)}, "answer.nonce"),
    ("a statement without the nonce", {"route": changed(nonce=None)}, "answer.nonce"),
    ("a statement by another node", {"execution": changed(attester=Network().log_document.digest)}, "answer.signature"),
    ("a forged signature", {"seal": forged(Network())}, "answer.signature"),
    ("a route for another request", {"route": other_request}, "answer.request"),
    ("an execution of another route", {"execution": changed(parents=["ab" * 32])}, "answer.trace"),
    ("swapped names", {"carrier": swapped}, "answer.trace"),
    ("another outcome", {"carrier": changed(outcome="upstream.timeout")}, "answer.response"),
    ("an altered answer that both call cut short", {"body": altered_text, "execution": cut_short}, "answer.response"),
    ("an answer that both say never came", {"body": altered_text, "execution": never_came}, "answer.response"),
    ("a route for another endpoint", {"route": other_endpoint}, "answer.request"),
    ("a parent run nobody named", {"execution": changed(parent_run=OTHER_RUN)}, "answer.trace"),
]


@pytest.mark.parametrize(("alter", "code"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
@pytest.mark.parametrize("trusting", [True, False], ids=["with trust", "on first use"])
def test_what_is_not_what_was_signed_is_not_handed_out(alter: dict[str, Any], code: str, trusting: bool) -> None:
    if alter.get("execution") in (cut_short, never_came):
        alter = {**alter, "carrier": changed(outcome="upstream.timeout")}
    with pytest.raises(RefusedError) as refused:
        ask(SignedGateway(**alter), TRUST if trusting else None)
    assert refused.value.code == code


def naming(*digests: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The statement names these among its parents too, in the order in which parents stand."""
    return lambda value: {**value, "parents": sorted([*value["parents"], *digests])}


@pytest.mark.parametrize("computed", ["00" * 32, "ff" * 32], ids=["before the route", "after the route"])
def test_a_computed_statement_may_stand_on_either_side_of_the_route(computed: str) -> None:
    gateway = SignedGateway(route=naming(computed), execution=naming(computed))
    assert computed in ask(gateway).execution.parents
    assert code_of(lambda: ask(SignedGateway(execution=naming(computed)))) == "answer.trace"


def test_carriers_that_nothing_binds_are_not_handed_out() -> None:
    bound = ask(SignedGateway(body=changed(tee_note="proven by hardware")))
    assert bound.turn.response.keys() == {"id", "object", "choices"}

    async def read() -> list[str]:
        async with SignedGateway(event=changed(tee_note="proven by hardware")).client(TRUST).stream(REQUEST) as answer:
            return [name for marked in [window async for window in answer] for event in marked.events for name in event]

    assert set(asyncio.run(read())) == {"id", "object", "choices"}


def test_a_statement_that_never_comes_leaves_it_undecided() -> None:
    with pytest.raises(UndecidedError) as undecided:
        ask(SignedGateway(journal=lambda _: []))
    assert undecided.value.code == "answer.statement"


def test_a_statement_that_comes_late_is_waited_for() -> None:
    gateway = SignedGateway()
    gateway.late = 3
    assert ask(gateway).turn.outcome == "complete"


def test_a_bundle_of_another_run_is_refused() -> None:
    gateway = SignedGateway()
    assert code_of(lambda: asyncio.run(gateway.client().bundle(OTHER_RUN))) == "answer.run"


@pytest.mark.parametrize(
    ("asked", "code"),
    [({"settlement": "private"}, "answer.request"), ({"parent_run": OTHER_RUN}, "answer.trace")],
    ids=["settlement", "parent run"],
)
def test_an_option_that_was_asked_for_and_is_not_signed_is_refused(asked: dict[str, str], code: str) -> None:
    gateway = SignedGateway()
    assert code_of(lambda: asyncio.run(gateway.client(TRUST).ask(REQUEST, **asked))) == code  # type: ignore[arg-type]


def test_options_in_the_body_are_refused_because_nothing_would_compare_them() -> None:
    request = {**REQUEST, "holdfast": {"settlement": "private"}}
    assert code_of(lambda: asyncio.run(SignedGateway().client(TRUST).ask(request))) == "client.options"


def test_a_bundle_is_appraised_for_now_not_for_the_time_it_names() -> None:
    """The time in a bundle is the gateway's; trust that ran out since must not count."""

    async def appraised(now: dt.datetime) -> dt.datetime:
        client = SignedGateway().client(TRUST)
        bound = await client.ask(REQUEST)
        client._clock.now = lambda: now  # type: ignore[method-assign]
        return (await client.appraise(bound.turn.run)).at

    assert asyncio.run(appraised(at(3600))) == at(3600)
    assert asyncio.run(appraised(at(0))) > at(0), "a clock that is behind does not make a bundle come from the future"


def test_an_answer_without_a_run_is_no_holdfast_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.helpers.signed_gateway.HEADERS", {})
    assert code_of(lambda: ask(SignedGateway())) == "answer.unbound"


# Streams


def test_a_stream_is_handed_out_window_by_window() -> None:
    texts, error, bound = stream(SignedGateway())
    assert error is None
    assert texts == ["One", " question about", " a run.", ""]
    assert bound is not None
    assert bound.turn.text == "".join(PIECES)
    assert bound.turn.marks is not None


def change_event(number: int, change: Callable[[dict[str, Any]], None]) -> Callable[[list[bytes]], list[bytes]]:
    def alter(events: list[bytes]) -> list[bytes]:
        value = json.loads(events[number])
        change(value)
        return [*events[:number], json.dumps(value).encode(), *events[number + 1 :]]

    return alter


def louder(value: dict[str, Any]) -> None:
    value["choices"][0]["delta"]["content"] += "!"


def other_signature(value: dict[str, Any]) -> None:
    value["holdfast"]["mark"]["signature"] = b64_encode(bytes(64))


def another_run(value: dict[str, Any]) -> None:
    value["holdfast"]["run"] = "019b76da-a800-70c8-9215-000000000000"


@pytest.mark.parametrize(
    ("events", "shown", "code"),
    [
        (change_event(0, louder), [], "mark.chain"),
        (change_event(1, louder), ["One"], "mark.chain"),
        (change_event(4, louder), ["One", " question about"], "mark.chain"),
        (change_event(2, other_signature), ["One"], "mark.signature"),
        (change_event(2, another_run), ["One"], "answer.run"),
        (lambda events: events[:1] + events[2:], ["One"], "mark.chain"),
        (lambda events: [events[0], events[2], events[1], *events[3:]], ["One"], "mark.chain"),
        (lambda events: [events[0], events[0], *events[1:]], ["One"], "mark.chain"),
        (lambda events: events[:3], ["One", " question about"], "answer.broken_off"),
        (lambda events: events[:-1], ["One", " question about", " a run.", ""], "answer.broken_off"),
        (lambda events: [*events[:-1], b"{}", b"[DONE]"], ["One", " question about", " a run.", ""], "mark.missing"),
        (lambda _: [b"[DONE]"], [], "answer.broken_off"),
        (lambda _: [b"[]"], [], "stream.fold"),
        (lambda _: [b'{"a":1,"a":2}'], [], "json.duplicate_key"),
    ],
)
def test_nothing_is_shown_that_no_good_mark_covers(events: Any, shown: list[str], code: str) -> None:
    texts, error, bound = stream(SignedGateway(events=events))
    assert texts == shown
    assert error is not None
    assert error.code == code
    assert bound is None


def test_a_stream_whose_statements_name_another_end_is_refused() -> None:
    def other_marks(value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "body": {**value["body"], "marks": {"seq": 1, "parts": "ab" * 32}}}

    texts, error, bound = stream(SignedGateway(execution=other_marks))
    assert "".join(texts) == "".join(PIECES)
    assert error is not None
    assert error.code == "answer.marks"
    assert bound is None


def test_an_error_in_the_middle_is_raised_after_what_was_marked() -> None:
    def fail(events: list[bytes]) -> list[bytes]:
        carrier = json.loads(events[-2])["holdfast"]
        shown = {"error": UnavailableError("upstream.timeout", "too slow").to_json()["error"], "holdfast": carrier}
        return [*events[:-1], json.dumps(shown).encode()]

    texts, error, _ = stream(SignedGateway(events=fail))
    assert "".join(texts) == "".join(PIECES)
    assert isinstance(error, UnavailableError)
    assert error.code == "upstream.timeout"


def test_what_came_unmarked_before_an_error_is_no_part_of_the_turn() -> None:
    def fail(events: list[bytes]) -> list[bytes]:
        carrier = {**json.loads(events[-2])["holdfast"], "outcome": "upstream.timeout"}
        error = UnavailableError("upstream.timeout", "too slow").to_json()["error"]
        smuggled = {"choices": [{"index": 0, "delta": {"content": " Believe this."}}]}
        return [
            *events[:-1],
            *(json.dumps(item).encode() for item in (smuggled, {"error": error, "holdfast": carrier})),
        ]

    async def read() -> str:
        async with SignedGateway(events=fail, execution=cut_short).client(TRUST).stream(REQUEST) as answer:
            with pytest.raises(UnavailableError):
                [marked async for marked in answer]
            assert answer.turn is not None
            return answer.turn.text

    assert asyncio.run(read()) == "".join(PIECES)


# Reading


def view(**lanes: str) -> dict[str, Any]:
    """A run as a gateway tells it."""
    run = FakeRun(RUN, at(0), [])
    for name, state in lanes.items():
        run.lanes[name]["state"] = state
    return run.view()


def test_runs_are_watched_until_the_gateway_ends() -> None:
    gateway = SignedGateway()
    gateway.views = [view(), view(settlement="proven")]

    async def watch() -> list[str]:
        return [told.lanes["settlement"].state async for told in gateway.client().watch(RUN, SECRET.hex())]

    assert asyncio.run(watch()) == ["pending", "proven"]
    assert gateway.requests[-1][2] == {"x-holdfast-capability": SECRET.hex()}


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(lanes={name: value["lanes"][name] for name in LANES[:10]}),
        lambda value: value["lanes"].update(overall=value["lanes"]["bytes"]),
        lambda value: value["lanes"]["bytes"].update(state="fine"),
        lambda value: value["lanes"]["bytes"].update(basis="hope"),
        lambda value: value["lanes"]["bytes"].update(says=None),
        lambda value: value["lanes"]["bytes"].update(evidence=["x"]),
        lambda value: value.update(known=-1),
        lambda value: value.update(run="1"),
        lambda value: value.update(chronology=[{"at": "now", "code": "asked", "says": "Asked."}]),
        lambda value: value.update(chronology=[{}]),
    ],
)
def test_a_run_of_another_shape_is_malformed(change: Callable[[dict[str, Any]], None]) -> None:
    value = view()
    change(value)
    with pytest.raises(MalformedError):
        parse_run_view(value)


def test_what_a_lane_does_not_say_is_not_the_gateways_to_choose() -> None:
    value = view()
    value["lanes"]["bytes"]["does_not_say"] = "nothing worth mentioning"
    assert parse_run_view(value).lanes["bytes"].does_not_say == DOES_NOT_SAY["bytes"]


def test_a_refusal_by_the_gateway_is_the_error_it_was() -> None:
    gateway = SignedGateway()
    gateway.status, gateway.refusal = 401, RefusedError("auth.wrong", "no such key", hint="ask for one").to_json()
    with pytest.raises(RefusedError) as refused:
        ask(gateway)
    assert (refused.value.code, refused.value.hint, refused.value.status) == ("auth.wrong", "ask for one", 401)
    assert code_of(lambda: stream(gateway)) == "auth.wrong"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":1}', b'{"error":{"code":1,"message":"x"}}'])
def test_an_error_of_another_shape_says_who_answered_what(body: bytes) -> None:
    error = parse_error(502, body, "http://gateway.test")
    assert (error.code, error.message) == ("gateway.answer", "http://gateway.test answered 502")


def test_the_appraisal_made_here_uses_this_clients_trust() -> None:
    gateway = SignedGateway()
    ask(gateway)
    with_trust = asyncio.run(gateway.client(TRUST).appraise(RUN))
    without = asyncio.run(gateway.client().appraise(RUN))
    assert with_trust.lanes["bytes"].state == "proven"
    assert without.lanes["bytes"].state == "unknown"


# Without an event loop


def test_the_same_without_an_event_loop() -> None:
    gateway = SignedGateway()
    gateway.views = [view()]

    @contextlib.asynccontextmanager
    async def make() -> AsyncGenerator[GatewayClient]:
        yield gateway.client(TRUST)

    with SyncGatewayClient("http://gateway.test", "hf_key", make=make) as client:
        assert client.models() == ("small-1",)
        assert client.ask(REQUEST).turn.text == "".join(PIECES)
        with client.stream(REQUEST) as answer:
            assert "".join(marked.text for marked in answer) == "".join(PIECES)
            assert answer.bound is not None
        assert client.run(RUN).lanes["bytes"].state == "pending"
        assert [told.run for told in client.watch(RUN)] == [RUN]
        assert client.appraise(RUN).lanes["route"].state == "proven"


def test_outside_its_with_statement_the_client_is_closed() -> None:
    with pytest.raises(UsageError):
        SyncGatewayClient("http://gateway.test", None).models()


# Queues


SEEN = {"round": 0, "superseded": 0}


def opening(position: int = 5, **changes: Any) -> dict[str, Any]:
    value = {"position": position, "run": RUN, "queue": "desk", "opened_at": time_encode(at(0))}
    return {**value, "requester": None, "outcome": None, "closed_at": None, **changes}


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"openings": []},
        {"openings": {}, "end": 9, **SEEN},
        {"openings": [], "end": "9", **SEEN},
        {"openings": [], "end": True, **SEEN},
        {"openings": [], "end": 9, "round": 1},
        {"openings": [], "end": 9, "round": -1, "superseded": 0},
        {"openings": [None], "end": 9, **SEEN},
        {"openings": [opening(run="1")], "end": 9, **SEEN},
        {"openings": [opening(queue="The Desk")], "end": 9, **SEEN},
        {"openings": [opening(queue=None)], "end": 9, **SEEN},
        {"openings": [opening(position=-1)], "end": 9, **SEEN},
        {"openings": [opening(position=None)], "end": 9, **SEEN},
        {"openings": [opening(outcome="It went well.")], "end": 9, **SEEN},
        {"openings": [opening(requester="")], "end": 9, **SEEN},
        {"openings": [opening(requester=["ada"])], "end": 9, **SEEN},
        {"openings": [opening(requester="a" * 65)], "end": 9, **SEEN},
        {"openings": [opening(subject="")], "end": 9, **SEEN},
        {"openings": [opening(subject=7)], "end": 9, **SEEN},
        {"openings": [opening(subject="a" * 4001)], "end": 9, **SEEN},
        {"openings": [opening(opened_at="now")], "end": 9, **SEEN},
        {"openings": [opening(closed_at="now")], "end": 9, **SEEN},
        {"openings": [opening(6), opening(5)], "end": 9, **SEEN},
        {"openings": [opening(5), opening(5)], "end": 9, **SEEN},
        {"openings": [opening(9)], "end": 9, **SEEN},
        {"openings": [opening(4)], "end": 9, **SEEN},
        {"openings": [opening(4)], "end": 5, **SEEN},
    ],
)
def test_openings_of_another_shape_or_order_are_malformed(value: Any) -> None:
    with pytest.raises(MalformedError):
        parse_openings(value, 5)


def test_openings_are_read_on_from_where_the_answer_ended() -> None:
    gateway = SignedGateway()
    closed = opening(7, requester="ada", subject="Claim 204", outcome="complete", closed_at=time_encode(at(1)))
    gateway.views = [{"openings": [opening(5), closed], "end": 9, "round": 41, "superseded": 7}]
    found = asyncio.run(gateway.client().openings(5, 2))
    assert gateway.requests[-1][1] == "/v1/openings?after=5&limit=2"
    assert (found.end, found.round, found.superseded) == (9, 41, 7)
    assert found.openings == (
        QueuedRun(5, RUN, "desk", None, at(0), None, None),
        QueuedRun(7, RUN, "desk", "ada", at(0), "complete", at(1), "Claim 204"),
    )
    assert parse_openings({"openings": [], "end": 5, **SEEN}, 5) == Openings((), 5, 0, 0)
    assert parse_openings({"openings": [], "end": 3, **SEEN}, 5) == Openings((), 3, 0, 0)  # the log is another one


@pytest.mark.parametrize("queue", ["", "The Desk", "desk\r\nx: y"])
def test_what_is_no_name_of_a_queue_is_not_sent(queue: str) -> None:
    gateway = SignedGateway()
    assert code_of(lambda: asyncio.run(gateway.client().ask(REQUEST, queue=queue))) == "client.queue"
    assert not any(method == "POST" for method, _, _ in gateway.requests)


@pytest.mark.parametrize("said", [None, "other"])
def test_a_gateway_that_does_not_say_the_queue_back_is_not_taken_to_have_opened_a_case(said: str | None) -> None:
    def forget(headers: dict[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in headers.items() if name != "x-holdfast-queue"}
        return kept if said is None else {**kept, "x-holdfast-queue": said}

    async def streamed(gateway: SignedGateway) -> None:
        async with gateway.client().stream(REQUEST, queue="desk") as answer:
            assert [marked async for marked in answer] == []

    assert code_of(lambda: asyncio.run(SignedGateway(headers=forget).client().ask(REQUEST, queue="desk"))) == (
        "answer.queue"
    )
    assert code_of(lambda: asyncio.run(streamed(SignedGateway(headers=forget)))) == "answer.queue"


def test_a_queue_goes_out_as_a_header_and_no_statement_is_read_as_naming_it() -> None:
    gateway = SignedGateway()
    bound = asyncio.run(gateway.client(TRUST).ask(REQUEST, queue="desk", subject="Claim 204 of Müller"))
    assert bound.turn.text == "".join(PIECES)
    [headers] = [headers for method, _, headers in gateway.requests if method == "POST"]
    assert headers["x-holdfast-queue"] == "desk"
    assert headers["x-holdfast-subject"] == "Claim%20204%20of%20M%C3%BCller"


def test_what_is_never_streamed_is_not_asked_for_as_a_stream() -> None:
    async def read() -> None:
        async with SignedGateway().client(TRUST).stream(REQUEST, endpoint="inference"):
            pass

    assert code_of(lambda: asyncio.run(read())) == "client.stream"
