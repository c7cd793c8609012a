"""Reading what was asked and answered: by name, checked against the roots, kept nowhere (``sealed.md`` §4, §6)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from holdfast.core.encoding import b64_decode
from holdfast.nodes.panel.contents import Contents
from holdfast.ports.http import Answer
from holdfast.ports.settings import Secret
from holdfast.review.contents import content_of
from holdfast.review.events import SYSTEM, Actor
from tests.helpers import asgi
from tests.helpers.case_world import URL, CaseWorld, play_cases
from tests.helpers.gateway_world import KEY
from tests.helpers.upstreams import MODEL

QUESTION, ANSWER = "Is the water damage covered?", "hello"
RULE = {"rule": "Pay it when the quote is in the file.", "framing": "May this be paid?"}


async def asked(world: CaseWorld, **holdfast: Any) -> tuple[str, asgi.Reply]:
    """A run that was asked over HTTP, and its answer."""
    value = {
        "model": MODEL,
        "seed": 7,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}],
        "holdfast": {"queue": "default", **holdfast},
    }
    headers = [("authorization", f"Bearer {KEY}")]
    reply = await asgi.request(world.world.app(), "POST", "/v1/chat/completions", json.dumps(value).encode(), headers)
    assert reply.status == 200, reply.body
    await world.pull()
    await world.look_at_all()
    return str(reply.header("x-holdfast-run")), reply


async def opened(world: CaseWorld, case: str, *headers: tuple[str, str]) -> dict[str, Any]:
    reply = await world.post(f"/v1/cases/{case}/view", b"", *headers)
    assert reply.status == 200, reply.body
    value: dict[str, Any] = reply.json()
    return value


def test_a_row_shows_nothing_of_what_was_said_and_an_opened_case_all_of_it(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        ada = await world.let_in("ada", "admin", "approver")
        run, _ = await asked(world)
        reply = await world.get(f"/v1/cases?run={run}", *ada)
        assert QUESTION not in reply.body.decode()
        (row,) = reply.json()["cases"]
        evidence = await world.review.call(world.desk.evidence, SYSTEM, row["id"])
        assert QUESTION not in evidence.decode(), "the panel keeps no documents"
        told = await opened(world, row["id"], *ada)
        assert told["unread"] is None
        content = content_of(b64_decode(told["bundle"]), world.world.clock.now())
        assert content is not None
        assert content.framing == ("Be brief.",)
        assert content.said[0] == ("user", QUESTION)
        assert content.said[1][0] == "assistant"
        assert [event["kind"] for event in told["events"]][-1] == "viewed"
        kept = await world.review.call(world.desk.evidence, SYSTEM, row["id"])
        assert QUESTION not in kept.decode(), "and opening it keeps none"

    play_cases(story, tmp_path)


def test_documents_that_are_not_what_was_signed_are_not_shown(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        ada = await world.let_in("ada", "admin", "approver")
        run, reply = await asked(world)
        capability = ("x-holdfast-capability", str(reply.header("x-holdfast-capability")))
        whole = await asgi.request(world.world.app(), "GET", f"/v1/runs/{run}/bundle", b"", [capability])
        altered = whole.body.replace(b"water damage", b"fire damages")
        assert altered != whole.body
        world.http.altered[f"/v1/runs/{run}/bundle"] = Answer(200, altered)
        (row,) = (await world.get(f"/v1/cases?run={run}", *ada)).json()["cases"]
        told = await opened(world, row["id"], *ada)
        assert "not what was signed" in told["unread"]
        assert b"damage" not in b64_decode(told["bundle"])

    play_cases(story, tmp_path)


def test_what_cannot_be_read_is_said_in_words(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        ada = await world.let_in("ada", "admin", "approver")
        run, _ = await asked(world, settlement="private")
        (row,) = (await world.get(f"/v1/cases?run={run}", *ada)).json()["cases"]
        assert "settled privately" in (await opened(world, row["id"], *ada))["unread"]
        run, _ = await asked(world)
        (row,) = (await world.get(f"/v1/cases?run={run}", *ada)).json()["cases"]
        world.review.contents = Contents(world.http, URL, Secret(KEY, "test"), None, world.world.clock)
        assert "no key" in (await opened(world, row["id"], *ada))["unread"]
        world.review.contents = None
        assert "reads no runs" in (await opened(world, row["id"], *ada))["unread"]

    play_cases(story, tmp_path)


def test_what_a_queue_hands_out_comes_with_the_capability_that_reads_it(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run, reply = await asked(world)
        assert (await world.get("/v1/queues/default/next")).json()["handed"] is None
        await world.settle()
        await world.pull()
        await world.look_at_all()
        handed = (await world.get("/v1/queues/default/next")).json()["handed"]
        assert (handed["case"]["run"], handed["capability"]) == (run, reply.header("x-holdfast-capability"))

    play_cases(story, tmp_path)


def test_a_sealed_answer_opens_when_the_gate_lets_its_case_go_and_not_before(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run, reply = await asked(world, sealed=True)
        assert reply.header("x-holdfast-capability") is None
        case = (await world.case(run))["id"]
        held = await world.post(f"/v1/cases/{case}/unseal", b"{}")
        assert (held.status, held.code) == (409, "case.held")
        assert [event["kind"] for event in (await world.case(run))["events"]].count("unsealed") == 0
        await world.settle()
        await world.pull()
        await world.look_at_all()
        told = (await world.post(f"/v1/cases/{case}/unseal", b"{}")).json()
        assert (told["case"], told["run"], told["state"]) == (case, run, "CLEAR")
        capability = ("x-holdfast-capability", told["capability"])
        whole = await asgi.request(world.world.app(), "GET", f"/v1/runs/{run}/bundle", b"", [capability])
        assert QUESTION in whole.body.decode()
        assert [event["kind"] for event in (await world.case(run))["events"]][-1] == "unsealed"

    play_cases(story, tmp_path)


def test_a_decision_follows_the_rule_that_the_request_records(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        world.write_policy("default", BARE)
        await world.review.call(world.review._read_policies, False)
        ada = await world.let_in("ada", "admin", "approver")
        run, _ = await asked(world, decision_rule=RULE)
        (row,) = (await world.get(f"/v1/cases?run={run}", *ada)).json()["cases"]
        await opened(world, row["id"], *ada)
        body = json.dumps({"act": "approve", "reason": "the quote is in the file"}).encode()
        assert (await world.post(f"/v1/cases/{row['id']}/decide", body, *ada)).status == 200
        (act,) = await world.review.call(world.desk.waiting)
        document = json.loads(act.document)
        assert (document["rule"], document["threshold"], document["framing"]) == (RULE["rule"], None, RULE["framing"])

    play_cases(story, tmp_path)


def test_a_stranger_gets_evidence_without_any_part(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run, _ = await asked(world, decision_rule=RULE)
        case = (await world.case(run))["id"]
        kinds = []
        for actor in (SYSTEM, Actor("key", "k", frozenset({"case:read"}))):
            raw = await world.review.call(world.desk.evidence, actor, case)
            kinds.append([item["kind"] for item in json.loads(raw)["journal"]].count("parts"))
        assert kinds == [1, 0]

    play_cases(story, tmp_path)


BARE = """\
type = "urn:holdfast:queue-policy:v1"
name = "default"

[require.settlement]
states = ["proven"]
bases = ["development"]
"""
