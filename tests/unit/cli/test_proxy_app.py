"""The local proxy: who may ask it, what it lets through, and what it does not."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.proxy_app import STATUS, ProxyApp
from holdfast.client.release import ReleaseRules
from holdfast.client.run_journal import RunJournal, find_capability
from holdfast.core.encoding import b64_encode
from holdfast.core.statements import Route
from holdfast.errors import RefusedError, UsageError
from holdfast.nodes.edge import Edge
from holdfast.ports.settings import Secret
from holdfast.verifier.policy import parse_requirement
from tests.helpers.asgi import Reply, call
from tests.helpers.network import NONCE, RUN, SECRET, Network, ed25519_signer
from tests.helpers.relayed import World
from tests.helpers.signed_gateway import PIECES, FixedClock, SignedGateway

HERE = ("host", "127.0.0.1:8788")
REQUEST: dict[str, Any] = {"model": "small-1", "messages": [{"role": "user", "content": "What is a lane?"}]}
TEXT = "".join(PIECES)
CHAT = "/v1/chat/completions"
Change = Callable[[Any], Any]


def proxy(gateway: SignedGateway, rules: ReleaseRules | None = None, **options: Any) -> Edge:
    return Edge(ProxyApp(gateway.client(Network().trust()), rules or ReleaseRules(), FixedClock(), **options))


def ask(gateway: SignedGateway, rules: ReleaseRules | None = None, *, headers: Any = (HERE,), **request: Any) -> Reply:
    body = json.dumps({**REQUEST, **request}).encode()
    return call(proxy(gateway, rules), "POST", CHAT, body, headers=headers)


def events(reply: Reply) -> list[Any]:
    """The payloads of a stream; ``[DONE]`` as it is."""
    payloads = [line.removeprefix("data: ") for line in reply.body.decode().split("\n\n") if line]
    return [data if data == "[DONE]" else json.loads(data) for data in payloads]


def text_of(shown: list[Any]) -> str:
    return "".join(
        choice["delta"].get("content", "") for event in shown if "choices" in event for choice in event["choices"]
    )


def changed(**members: Any) -> Change:
    return lambda value: {**value, **members}


def asked_paths(gateway: SignedGateway) -> list[str]:
    return [path for method, path, _ in gateway.requests if method == "POST"]


# Who may ask


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([("host", "evil.example")], "proxy.host"),
        ([("host", "127.0.0.1.evil.example:8788")], "proxy.host"),
        ([("host", "192.168.1.7:8788")], "proxy.host"),
        ([("host", "[::1")], "proxy.host"),
        ([], "proxy.host"),
        ([HERE, ("origin", "https://evil.example")], "proxy.origin"),
        ([HERE, ("origin", "null")], "proxy.origin"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, STATUS, "/v1/models"])
def test_another_host_and_any_web_page_is_refused_before_anything_is_asked(
    headers: list[tuple[str, str]], code: str, path: str
) -> None:
    gateway = SignedGateway()
    reply = call(proxy(gateway), "POST" if path == CHAT else "GET", path, b"{}", headers=headers)
    assert (reply.status, reply.code) == (403, code)
    assert gateway.requests == []
    assert not any(name.startswith("access-control") for name, _ in reply.headers)


def test_every_name_of_this_machine_is_good() -> None:
    for host in ("localhost:1", "127.0.0.1", "[::1]:8788"):
        assert ask(SignedGateway(), headers=[("host", host)]).status == 200


def test_where_it_listens_elsewhere_addresses_are_good_and_names_are_not() -> None:
    app = proxy(SignedGateway(), elsewhere=True)
    found = {
        host: call(app, "GET", STATUS, headers=[("host", host)]).status
        for host in ("192.168.1.7:8788", "localhost", "evil.example")
    }
    assert found == {"192.168.1.7:8788": 200, "localhost": 200, "evil.example": 403}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([("authorization", "Bearer other")], 401),
        ([("x-api-key", "other")], 401),
        ([("authorization", "Bearer mine")], 200),
        ([("x-api-key", "mine")], 200),
    ],
)
def test_with_a_token_nobody_else_of_the_machine_is_answered(headers: list[tuple[str, str]], status: int) -> None:
    gateway = SignedGateway()
    app = proxy(gateway, token=Secret("mine", "test"))
    for method, path in (("POST", CHAT), ("GET", STATUS), ("GET", "/v1/models")):
        assert call(app, method, path, json.dumps(REQUEST).encode(), headers=[HERE, *headers]).status == status
    assert (asked_paths(gateway) == []) is (status == 401)


def test_a_callers_key_and_headers_stay_on_this_machine() -> None:
    gateway = SignedGateway()
    own = [
        ("authorization", "Bearer sk-callers-own"),
        ("x-api-key", "sk-callers-own"),
        ("cookie", "session=1"),
        ("user-agent", "OpenAI/Python"),
        ("openai-organization", "org-1"),
    ]
    assert ask(gateway, headers=[HERE, *own]).status == 200
    sent = next(headers for method, _, headers in gateway.requests if method == "POST")
    assert set(sent) == {"content-type", "x-holdfast-nonce", "authorization"}
    assert "sk-callers-own" not in json.dumps([headers for _, _, headers in gateway.requests])


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", CHAT, 405), ("POST", "/v1/models", 405), ("POST", "/v1/responses", 404)]
)
def test_what_is_not_there_is_said(method: str, path: str, status: int) -> None:
    assert call(proxy(SignedGateway()), method, path, b"{}", headers=[HERE]).status == status


def test_a_sealed_answer_and_what_is_no_json_are_refused_before_they_are_asked() -> None:
    gateway = SignedGateway()
    assert ask(gateway, holdfast={"sealed": True}).code == "proxy.sealed"
    assert ask(gateway, headers=[HERE, ("x-holdfast-sealed", "true")]).code == "proxy.sealed"
    assert call(proxy(gateway), "POST", CHAT, b'{"a":1,"a":2}', headers=[HERE]).code == "json.duplicate_key"
    assert gateway.requests == []


def test_a_gateway_that_trust_does_not_admit_is_asked_nothing() -> None:
    gateway = SignedGateway()
    stranger = Edge(
        ProxyApp(gateway.client(Network().trust(nodes=[], logs=[], epochs=[])), ReleaseRules(), FixedClock())
    )
    for method, path in (("POST", CHAT), ("GET", "/v1/models")):
        assert call(stranger, method, path, json.dumps(REQUEST).encode(), headers=[HERE]).code == "gateway.trust"
    assert {path for _, path, _ in gateway.requests} == {"/v1/identity"}


# Whole answers


def test_a_whole_answer_is_handed_on_with_its_evidence() -> None:
    gateway = SignedGateway()
    body = b'{"model":"small-1","temperature":1.0,"messages":[{"role":"user","content":"x"}]}'
    reply = call(proxy(gateway), "POST", CHAT, body, headers=[HERE])
    assert reply.status == 200
    assert reply.json()["choices"][0]["message"]["content"] == TEXT
    own = reply.json()["holdfast"]
    assert (own["run"], own["capability"], own["outcome"]) == (RUN, SECRET.hex(), "complete")
    assert [item["kind"] for item in own["statements"]] == ["route", "execution"]
    told = {
        name: reply.header(f"x-holdfast-{name}") for name in ("run", "capability", "admitted", "enclave", "channel")
    }
    assert told == {
        "run": RUN,
        "capability": SECRET.hex(),
        "admitted": "true",
        "enclave": "development",
        "channel": "plain",
    }
    assert reply.header("x-holdfast-execution") == own["statements"][1]["digest"]


def altered_text(value: dict[str, Any]) -> dict[str, Any]:
    value["choices"][0]["message"]["content"] += "!"
    return value


def other_request(value: dict[str, Any]) -> dict[str, Any]:
    tree = {"root": "cd" * 32, "size": 4}
    body = {**value["body"], "request": tree, "sent": tree}
    return {**value, "subject": ("request", bytes.fromhex("cd" * 32)), "body": body}


def by_a_thief(_: Any) -> Any:
    return lambda payload: Network().seal(payload, ed25519_signer("thief", "statement"))


def rewritten(**members: Any) -> Change:
    def alter(value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "body": {**value["body"], **members}}

    return alter


unserved = rewritten(attempts=[{"upstream": "stub", "why": "first", "end": "upstream.timeout", "sent": True}])


LIES: list[tuple[str, dict[str, Change], str]] = [
    ("another text", {"body": altered_text}, "answer.response"),
    ("another model's name", {"body": changed(model="large-9")}, "answer.response"),
    ("an old statement", {"execution": changed(nonce=NONCE)}, "answer.nonce"),
    ("another node's statement", {"execution": changed(attester=Network().log_document.digest)}, "answer.signature"),
    ("another key", {"seal": by_a_thief}, "answer.signature"),
    ("another request's route", {"route": other_request}, "answer.request"),
    ("no evidence", {"journal": lambda _: []}, "answer.statement"),
    ("a route by which nobody served", {"route": unserved}, "answer.trace"),
    ("a route to another upstream", {"route": rewritten(upstream="other")}, "answer.trace"),
]


@pytest.mark.parametrize(("alter", "code"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_of_a_whole_answer_that_is_not_what_was_signed_nothing_is_handed_on(
    alter: dict[str, Change], code: str
) -> None:
    reply = ask(SignedGateway(**alter))
    assert reply.code == code
    assert reply.status >= 400
    assert b"question" not in reply.body
    assert reply.header("x-holdfast-run") == RUN
    assert reply.header("x-holdfast-capability") == SECRET.hex()


def test_carriers_that_nothing_binds_are_not_handed_on() -> None:
    lie = {"tee_note": "proven by hardware", "holdfast": {"verified": True}}
    reply = ask(SignedGateway(body=lambda value: {**value, "tee_note": "x", "holdfast": value["holdfast"] | lie}))
    assert b"tee_note" not in reply.body
    assert b"verified" not in reply.body
    shown = ask(SignedGateway(event=changed(tee_note="proven by hardware")), stream=True)
    assert events(shown)[-1] == "[DONE]"
    assert b"tee_note" not in shown.body


# Streams


def test_a_stream_is_handed_on_with_marks_and_its_end_names_the_statements() -> None:
    reply = ask(SignedGateway(), stream=True)
    shown = events(reply)
    assert reply.header("content-type") == "text/event-stream; charset=utf-8"
    assert reply.header("x-holdfast-run") == RUN
    assert shown[-1] == "[DONE]"
    assert text_of(shown) == TEXT
    assert [event["holdfast"]["mark"]["seq"] for event in shown[:-1] if "holdfast" in event] == [1, 2, 3, 4]
    assert [item["kind"] for item in shown[-2]["holdfast"]["statements"]] == ["route", "execution"]


def change_event(number: int, change: Callable[[dict[str, Any]], None]) -> Change:
    def alter(listed: list[bytes]) -> list[bytes]:
        value = json.loads(listed[number])
        change(value)
        return [*listed[:number], json.dumps(value).encode(), *listed[number + 1 :]]

    return alter


def louder(value: dict[str, Any]) -> None:
    value["choices"][0]["delta"]["content"] += "!"


def other_signature(value: dict[str, Any]) -> None:
    value["holdfast"]["mark"]["signature"] = b64_encode(bytes(64))


def without_mark(value: dict[str, Any]) -> None:
    del value["holdfast"]["mark"]


def renumbered(value: dict[str, Any]) -> None:
    value["holdfast"]["mark"]["seq"] = 1


def another_run(value: dict[str, Any]) -> None:
    value["holdfast"]["run"] = "019b76da-a800-70c8-9215-000000000000"


STREAM_LIES: list[tuple[str, dict[str, Change], str, str]] = [
    ("a byte of a window", {"events": change_event(1, louder)}, "mark.chain", "One"),
    ("a byte of the first event", {"events": change_event(0, louder)}, "mark.chain", ""),
    ("a mark's signature", {"events": change_event(2, other_signature)}, "mark.signature", "One"),
    ("a mark that is dropped", {"events": change_event(2, without_mark)}, "mark.chain", "One"),
    ("a mark that is repeated", {"events": change_event(2, renumbered)}, "mark.chain", "One"),
    ("windows in another order", {"events": lambda sent: [sent[2], sent[1], sent[0], *sent[3:]]}, "mark.chain", ""),
    ("a window left out", {"events": lambda sent: [sent[0], *sent[3:]]}, "mark.chain", "One"),
    ("a window twice", {"events": lambda sent: [*sent[:3], sent[2], *sent[3:]]}, "mark.chain", "One question about"),
    ("an event of another run", {"events": change_event(2, another_run)}, "answer.run", "One"),
    ("a cut before the end", {"events": lambda sent: sent[:3]}, "answer.broken_off", "One question about"),
    ("a cut before the last frame", {"events": lambda sent: sent[:-2]}, "answer.broken_off", TEXT),
    ("more after the last mark", {"events": lambda sent: [*sent[:-1], sent[1], sent[-1]]}, "mark.missing", TEXT),
    ("another key's statements", {"seal": by_a_thief}, "answer.signature", TEXT),
    ("another request's route", {"route": other_request}, "answer.request", TEXT),
    ("an old statement", {"execution": changed(nonce=NONCE)}, "answer.nonce", TEXT),
    ("no evidence", {"journal": lambda _: []}, "answer.statement", TEXT),
    ("a route by which nobody served", {"route": unserved}, "answer.trace", TEXT),
]


@pytest.mark.parametrize(
    ("alter", "code", "text"), [lie[1:] for lie in STREAM_LIES], ids=[lie[0] for lie in STREAM_LIES]
)
def test_of_a_stream_only_what_marks_cover_is_handed_on_and_never_an_end(
    alter: dict[str, Change], code: str, text: str
) -> None:
    reply = ask(SignedGateway(**alter), stream=True)
    if not text:
        assert reply.code == code
        return
    shown = events(reply)
    assert shown[-1]["error"].keys() == {"message", "type", "param", "code", "hint"}
    assert shown[-1]["error"]["code"] == code
    assert text_of(shown) == text
    reasons = [choice["finish_reason"] for event in shown[:-1] for choice in event["choices"]]
    assert set(reasons) <= {None}, "a program would take it for the end"
    assert b"[DONE]" not in reply.body


def test_what_the_gateway_says_went_wrong_is_said_once_its_statements_are_checked() -> None:
    gateway = SignedGateway()
    gateway.status, gateway.refusal = (
        502,
        {"error": {"message": "no", "type": "unavailable", "param": None, "code": "upstream.timeout", "hint": ""}},
    )
    gateway.client(Network().trust())
    assert ask(gateway, stream=True).code == "upstream.timeout"


# Rules


def execution_of(upstream: str) -> dict[str, Change]:
    return {"route": rewritten(upstream=upstream), "execution": rewritten(upstream=upstream)}


def test_a_fallback_is_refused_where_it_is_not_wanted_and_only_there() -> None:
    alter = {"route": rewritten(fallback_from=["first"])}
    assert ask(SignedGateway(**alter)).status == 200
    assert ask(SignedGateway(**alter), ReleaseRules(no_fallback=True)).code == "release.fallback"
    shown = events(ask(SignedGateway(**alter), ReleaseRules(no_fallback=True), stream=True))
    assert shown[-1]["error"]["code"] == "release.fallback"


def test_another_upstream_than_the_models_first_is_refused_where_that_is_asked() -> None:
    for same, expected in ((True, ["", "release.upstream"]), (False, ["", ""])):
        rules = ReleaseRules(same_upstream=same)
        replies = [ask(SignedGateway(**execution_of(name)), rules) for name in ("stub", "other")]
        assert [reply.code if reply.status != 200 else "" for reply in replies] == expected
        assert ask(SignedGateway(**execution_of("other")), rules, model="small-2").status == 200


def test_an_answer_of_another_model_is_refused_where_that_is_asked() -> None:
    assert ask(SignedGateway()).status == 200
    assert ask(SignedGateway(), ReleaseRules(same_model=True)).code == "release.model"


@pytest.mark.parametrize(
    ("requirement", "code"),
    [("settlement=proven", "release.undecided"), ("bytes=refuted", "release.lane")],
)
def test_lanes_that_are_required_are_appraised_here(requirement: str, code: str) -> None:
    rules = ReleaseRules((parse_requirement(requirement),))
    assert ask(SignedGateway(), rules).code == code
    shown = events(ask(SignedGateway(), rules, stream=True))
    assert (shown[-1]["error"]["code"], text_of(shown)) == (code, TEXT)
    assert "[DONE]" not in shown


def test_a_lane_that_is_as_required_lets_the_answer_through() -> None:
    rules = ReleaseRules((parse_requirement("bytes=proven:signature"),))
    assert ask(SignedGateway(), rules).status == 200


# The status, the list, the journal


def test_the_status_tells_what_was_checked_and_reduces_it_to_nothing() -> None:
    gateway = SignedGateway(body=altered_text)
    app = proxy(gateway, about={"gateway": "http://gateway.test", "relay": None})
    assert call(app, "GET", STATUS, headers=[HERE]).json()["checked"] is None
    call(app, "POST", CHAT, json.dumps(REQUEST).encode(), headers=[HERE])
    call(app, "POST", CHAT, json.dumps({**REQUEST, "stream": True}).encode(), headers=[HERE])
    shown = call(app, "GET", STATUS, headers=[HERE]).json()
    assert shown["checked"]["transcript"]
    assert (shown["asked"], shown["released"], shown["refused"]) == (2, 1, {"answer.response": 1})
    assert not {"verified", "ok", "score", "safe"} & set(shown)
    assert "good or true" in shown["does_not_say"]


def test_the_list_of_models_is_the_gateways() -> None:
    reply = call(proxy(SignedGateway()), "GET", "/v1/models", headers=[HERE])
    assert reply.json()["data"] == [{"id": "small-1"}]
    assert reply.header("x-holdfast-admitted") == "true"
    app = proxy(SignedGateway())
    assert call(app, "GET", "/v1/models/small-1", headers=[HERE]).json() == {"id": "small-1"}
    assert call(app, "GET", "/v1/models/large-9", headers=[HERE]).code == "proxy.model"


def test_a_journal_keeps_refused_runs_too_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    journal = RunJournal(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for gateway in (SignedGateway(), SignedGateway(body=altered_text)):
        call(proxy(gateway, journal=journal), "POST", CHAT, json.dumps(REQUEST).encode(), headers=[HERE])
    journal.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event"], line.get("refused")) for line in lines] == [
        ("began", None),
        ("ended", None),
        ("began", None),
        ("ended", "answer.response"),
    ]
    assert lines[0]["model"] == "small-1"
    assert find_capability(path, RUN) == SECRET.hex()
    with pytest.raises(UsageError) as unknown:
        find_capability(path, "019b76da-a800-70c8-9215-000000000000")
    assert unknown.value.code == "journal.run"


def test_a_journal_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.touch(mode=0o644)
    with pytest.raises(RefusedError) as refused:
        RunJournal(path)
    assert refused.value.code == "journal.mode"
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(UsageError):
        RunJournal(link)


# Sealed


def test_over_a_relay_the_answer_says_so_and_a_relay_that_is_not_there_is_no_way_round() -> None:
    world = World()

    async def made() -> Edge:
        return Edge(ProxyApp(await world.client(), ReleaseRules(), FixedClock()))

    app = asyncio.run(made())
    body = json.dumps({**REQUEST, "stream": True}).encode()
    reply = call(app, "POST", CHAT, body, headers=[HERE])
    assert (reply.header("x-holdfast-channel"), events(reply)[-1]) == ("sealed", "[DONE]")
    world.silent = True
    reply = call(app, "POST", CHAT, body, headers=[HERE])
    assert (reply.status, reply.code) == (503, "http.unreachable")


def test_a_route_is_what_rules_read() -> None:
    """Guards the fixtures above: a field that is renamed must not leave rules without anything to refuse."""
    assert {"fallback_from", "upstream"} <= set(Route.__slots__)
