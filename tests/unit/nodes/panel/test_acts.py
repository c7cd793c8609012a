"""What people do over HTTP: under their name, in their role, having looked; and what a cookie alone cannot do."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.development import DEFAULT_QUEUE_POLICY
from holdfast.core import bundles
from holdfast.core.encoding import b64_decode, time_encode
from holdfast.errors import RefusedError, UsageError
from holdfast.review.events import SYSTEM
from holdfast.review.roles import OPERATOR
from tests.helpers import asgi
from tests.helpers.case_world import CaseWorld, play_cases
from tests.helpers.gateway import ask
from tests.helpers.people import PASSWORD

Headers = tuple[tuple[str, str], ...]
EIGHT_MINUTES = 480
JUDGED = DEFAULT_QUEUE_POLICY + '[judgement]\nreviewers = 2\nrole = "reviewer"\nrule = "pay what was agreed"\n'


def later(world: CaseWorld, seconds: float) -> str:
    """A moment so many seconds from now, as it is written."""
    return time_encode(world.world.clock.now() + dt.timedelta(seconds=seconds))


async def act(world: CaseWorld, headers: Headers, case: str, what: str, **members: Any) -> asgi.Reply:
    body = json.dumps(members).encode() if members else b""
    return await world.post(f"/v1/cases/{case}/{what}", body, *headers)


async def held(world: CaseWorld) -> str:
    """A case with evidence whose round is not final."""
    run = await world.ask()
    await world.pull()
    await world.look_at_all()
    return str((await world.case(run))["id"])


async def state(world: CaseWorld, headers: Headers, case: str) -> str:
    reply = await world.get(f"/v1/cases/{case}", *headers)
    return str(reply.json()["state"])


async def kinds(world: CaseWorld, case: str) -> list[str]:
    file = await world.review.call(world.desk.case, SYSTEM, case)
    return [event.kind for event in file.events]


@pytest.mark.parametrize(
    ("what", "members"),
    [
        ("decide", {"act": "approve"}),
        ("decide", {"act": "approve", "reason": 1}),
        ("decide", {"act": "approve", "reason": "x", "verified": True}),
        ("comment", {}),
        ("claim", {"lease_s": "60"}),
        ("claim", {"lease_s": True}),
        ("let-go", {"why": "tired"}),
        ("release", {"reason": "x"}),
        ("reopen", {}),
        ("view", {"as": "somebody"}),
    ],
)
def test_an_act_takes_exactly_what_it_takes(tmp_path: Path, what: str, members: dict[str, Any]) -> None:
    async def story(world: CaseWorld) -> None:
        ada = await world.let_in("ada", "admin", "approver")
        case = await held(world)
        reply = await world.post(f"/v1/cases/{case}/{what}", json.dumps(members).encode(), *ada)
        assert (reply.status, reply.code) == (400, "request.members")

    play_cases(story, tmp_path)


def test_a_cookie_alone_changes_nothing(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        cookie, token, origin = await world.let_in("ada", "admin", "approver")
        case = await held(world)
        wrong = ("x-holdfast-token", "0" * 64)
        for headers, code in (
            ((cookie,), "panel.token"),
            ((cookie, origin), "panel.token"),
            ((cookie, wrong, origin), "panel.token"),
            ((cookie, token, ("origin", "https://evil.example")), "panel.origin"),
            ((cookie, token, ("sec-fetch-site", "cross-site")), "panel.origin"),
            ((token, origin), "people.sign_in_first"),
        ):
            for what in ("claim", "view", "dependants"):
                reply = await act(world, headers, case, what)
                expected = "people.key" if (what, code) == ("dependants", "people.sign_in_first") else code
                assert reply.code == expected, (what, headers)
        assert (await act(world, (cookie, token, origin), case, "claim")).status == 200

    play_cases(story, tmp_path)


@pytest.mark.parametrize(
    ("role", "what", "members"),
    [
        ("viewer", "claim", {}),
        ("viewer", "comment", {"text": "x"}),
        ("viewer", "decide", {"act": "approve", "reason": "x"}),
        ("auditor", "claim", {}),
        ("auditor", "decide", {"act": "approve", "reason": "x"}),
        ("reviewer", "reopen", {"reason": "x"}),
        ("policy_owner", "view", {}),
        ("policy_owner", "claim", {}),
    ],
)
def test_a_role_does_what_it_may_and_no_more(tmp_path: Path, role: str, what: str, members: dict[str, Any]) -> None:
    async def story(world: CaseWorld) -> None:
        await world.let_in("ada", "admin")
        somebody = await world.let_in("somebody", role)
        case = await held(world)
        reply = await act(world, somebody, case, what, **members)
        assert (reply.status, reply.code) == (403, "people.denied")

    play_cases(story, tmp_path)


def test_a_role_that_was_taken_away_ends_the_next_act(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        await world.let_in("ada", "admin")
        rita = await world.let_in("rita", "reviewer")
        case = await held(world)
        assert (await act(world, rita, case, "claim")).status == 200
        world.people.set_roles(OPERATOR, "rita", ["viewer"])
        assert (await act(world, rita, case, "claim")).status == 401

    play_cases(story, tmp_path)


def test_nobody_clears_by_a_click(tmp_path: Path) -> None:
    """Approvals of everybody there is leave a case held whose round is not final."""

    async def story(world: CaseWorld) -> None:
        people = [await world.let_in("ada", "admin", "approver")]
        people += [await world.let_in(name, "reviewer") for name in ("rita", "sam")]
        case = await held(world)
        for somebody in people:
            assert (await act(world, somebody, case, "view")).status == 200
            reply = await act(world, somebody, case, "decide", act="approve", reason="it looks calm", role="reviewer")
            if somebody is people[0]:  # an approver is no reviewer
                assert reply.code == "case.role"
                continue
            assert (reply.status, reply.json()["state"]) == (200, "HOLD")
            assert "cleared" not in [event["kind"] for event in reply.json()["events"]]

    play_cases(story, tmp_path)


def test_whoever_decides_has_opened_the_case_with_its_lanes_as_they_are(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        await world.let_in("ada", "admin")
        rita = await world.let_in("rita", "reviewer")
        case = await held(world)
        say = {"act": "reject", "reason": "not what was agreed"}
        assert (await act(world, rita, case, "decide", **say)).code == "case.not_viewed"
        file = (await act(world, rita, case, "view")).json()
        assert bundles.parse_bundle(b64_decode(file["bundle"])).run == file["run"]
        assert file["events"][-1]["kind"] == "viewed"
        assert file["events"][-1]["actor"] == {"kind": "person", "id": "rita"}
        assert file["events"][-1]["lanes"] == file["lanes_digest"]
        assert (await act(world, rita, case, "decide", lanes="00" * 32, **say)).code == "case.lanes_moved"
        await world.settle()
        await world.pull()
        await world.look_at_all()
        assert (await act(world, rita, case, "decide", **say)).code == "case.lanes_moved"
        await act(world, rita, case, "view")
        reply = await act(world, rita, case, "decide", **say)
        assert (reply.status, reply.json()["state"]) == (200, "REJECTED")

    play_cases(story, tmp_path)


def test_four_eyes_are_two_people(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        world.write_policy("default", JUDGED)
        await world.stop_panel()
        await world.start_panel()
        await world.let_in("ada", "admin")
        rita, sam = await world.let_in("rita", "reviewer"), await world.let_in("sam", "reviewer")
        await world.ask()
        await world.settle()
        await world.pull()
        await world.look_at_all()
        case = (await world.get("/v1/cases", *rita)).json()["cases"][0]
        assert [reason["code"] for reason in case["reasons"]] == ["gate.reviewers"]
        say = {"act": "approve", "reason": "as agreed"}
        await act(world, rita, case["id"], "view")
        assert (await act(world, rita, case["id"], "decide", **say)).json()["state"] == "HOLD"
        assert (await act(world, rita, case["id"], "decide", **say)).code == "case.decided_already"
        await act(world, sam, case["id"], "view")
        assert (await act(world, sam, case["id"], "decide", **say)).json()["state"] == "CLEAR"

    play_cases(story, tmp_path)


def test_a_case_is_released_early_by_name_until_its_time_is_over_and_the_mark_stays(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        ada = await world.let_in("ada", "admin", "approver")
        rita = await world.let_in("rita", "reviewer")
        case = await held(world)
        for somebody in (ada, rita):
            await act(world, somebody, case, "view")
        until = later(world, EIGHT_MINUTES)
        assert (await act(world, rita, case, "release", until=until, reason="x")).code == "case.role"
        assert (await act(world, ada, case, "release", until="soon", reason="x")).status == 400
        assert (await act(world, ada, case, "release", until=later(world, 3601), reason="x")).code == "case.release"
        reply = (await act(world, ada, case, "release", until=until, reason="the customer waits")).json()
        assert (reply["state"], reply["released_early"]) == ("PROVISIONAL", True)
        key, secret = world.people.add_key(OPERATOR, "first", "desk", ["queue:take"])
        taker = ("authorization", f"Bearer {secret}")
        handed = (await world.get("/v1/queues/default/next", taker)).json()["handed"]
        assert (handed["case"]["id"], handed["case"]["state"]) == (case, "PROVISIONAL")
        assert handed["case"]["released_early"] is True
        world.world.clock._elapsed += EIGHT_MINUTES
        await world.tick()
        shown = (await world.get(f"/v1/cases/{case}", *ada)).json()
        assert (shown["state"], shown["released_early"]) == ("HOLD", True)
        assert "gate.release_over" in [reason["code"] for reason in shown["reasons"]]
        assert key.id in {event["actor"]["id"] for event in shown["events"] if event["kind"] == "handed_out"}

    play_cases(story, tmp_path)


def test_nobody_decides_a_case_that_their_own_key_asked_for(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        ada, rita = await world.let_in("ada", "admin", "approver"), await world.let_in("rita", "reviewer")
        run = await world.world.gateway.open(ask(holdfast={"queue": "default"}), "first", "ada")
        await world.world.gateway.answer(run)
        await world.pull()
        await world.look_at_all()
        (case,) = (await world.get("/v1/cases", *ada)).json()["cases"]
        for somebody in (ada, rita):
            await act(world, somebody, case["id"], "view")
        say = {"act": "reject", "reason": "not what was agreed"}
        assert (await act(world, ada, case["id"], "decide", **say)).code == "case.own_run"
        early = {"until": later(world, 60), "reason": "the customer waits"}
        assert (await act(world, ada, case["id"], "release", **early)).code == "case.own_run"
        assert (await act(world, rita, case["id"], "decide", **say)).json()["state"] == "REJECTED"

    play_cases(story, tmp_path)


def test_a_claim_keeps_a_second_desk_away_until_it_is_let_go(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        await world.let_in("ada", "admin")
        rita, sam = await world.let_in("rita", "reviewer"), await world.let_in("sam", "reviewer")
        case = await held(world)
        assert (await act(world, rita, case, "claim", lease_s=60)).json()["claimed_by"] == "rita"
        assert (await act(world, sam, case, "claim")).code == "case.claimed"
        assert (await act(world, rita, case, "comment", text="I am on it")).status == 200
        assert (await act(world, rita, case, "let-go")).json()["claimed_by"] is None
        assert (await act(world, sam, case, "claim")).json()["claimed_by"] == "sam"

    play_cases(story, tmp_path)


def test_an_approver_recalls_what_relied_on_evidence_and_reopens_it(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        ada, rita = await world.let_in("ada", "admin", "approver"), await world.let_in("rita", "reviewer")
        await world.ask()
        await world.settle()
        await world.pull()
        await world.look_at_all()
        (case,) = (await world.get("/v1/cases", *ada)).json()["cases"]
        assert case["state"] == "CLEAR"
        order = {"evidence": case["lanes"]["bytes"]["evidence"][0], "cause": "the contract was forged"}
        reply = await world.post("/v1/recall", json.dumps(order).encode(), *rita)
        assert (reply.status, reply.code) == (403, "people.denied")
        bad = await world.post("/v1/recall", json.dumps({**order, "evidence": "x"}).encode(), *ada)
        assert bad.status == 400
        reply = await world.post("/v1/recall", json.dumps(order).encode(), *ada)
        assert reply.json() == {"cases": [case["id"]], "references": [], "acts": []}
        assert await state(world, ada, case["id"]) == "RECALLED"
        await act(world, ada, case["id"], "view")
        assert (await act(world, ada, case["id"], "reopen", reason="it was not")).json()["state"] == "CLEAR"

    play_cases(story, tmp_path)


def test_a_policy_owner_tries_a_policy_and_then_gives_it_to_the_queue(tmp_path: Path) -> None:
    stricter = DEFAULT_QUEUE_POLICY.replace('bases = ["proof", "development"]', 'bases = ["proof"]').encode()

    async def story(world: CaseWorld) -> None:
        ada, olga = await world.let_in("ada", "admin", "approver"), await world.let_in("olga", "policy_owner")
        run = await world.ask()
        await world.settle()
        await world.pull()
        await world.look_at_all()
        (case,) = (await world.get(f"/v1/cases?run={run}", *ada)).json()["cases"]
        for text, code in ((b"type = 1", "queue_policy"), (b"\xff", "queue_policy.toml")):
            assert (await world.post("/v1/queues/default/check", text, *olga)).code.startswith(code)
        assert (await world.post("/v1/queues/other/check", stricter, *olga)).code == "queue.name"
        tried = (await world.post("/v1/queues/default/check", stricter, *olga)).json()
        assert [(move["run"], move["before"], move["after"]) for move in tried["moves"]] == [(run, "CLEAR", "HOLD")]
        assert [reason["code"] for reason in tried["moves"][0]["reasons"]] == ["gate.lane_basis"]
        assert await state(world, ada, case["id"]) == "CLEAR"
        assert (await world.post("/v1/queues/default/policy", stricter, *ada)).code == "people.denied"
        changed = (await world.post("/v1/queues/default/policy", stricter, *olga)).json()
        assert changed == tried
        assert await state(world, ada, case["id"]) == "HOLD"

    play_cases(story, tmp_path)


def test_once_somebody_was_let_in_work_is_for_keys_with_that_scope(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        assert (await world.get("/v1/queues/default/next")).status == 200
        ada = await world.let_in("ada", "admin", "approver")
        reply = await world.get("/v1/queues/default/next")
        assert (reply.status, reply.code) == (401, "people.key")
        assert (await world.get("/v1/queues/default/next", *ada)).code == "people.denied"
        _, reader = world.people.add_key(OPERATOR, "first", "reads", ["queue:read"])
        reply = await world.get("/v1/queues/default/next", ("authorization", f"Bearer {reader}"))
        assert (reply.status, reply.code) == (403, "people.denied")
        key, taker = world.people.add_key(OPERATOR, "first", "takes", ["queue:take"])
        assert (await world.get("/v1/queues/default/next", ("authorization", f"Bearer {taker}"))).status == 200
        assert (await world.get("/v1/cases", ("authorization", f"Bearer {taker}"))).code == "people.denied"
        world.people.revoke_key(OPERATOR, key.id)
        reply = await world.get("/v1/queues/default/next", ("authorization", f"Bearer {taker}"))
        assert (reply.status, reply.code) == (401, "people.key")

    play_cases(story, tmp_path)


# --- by an API key --------------------------------------------------------------------------------------------------


def bearer(secret: str) -> Headers:
    return (("authorization", f"Bearer {secret}"),)


def test_a_key_that_stands_for_nobody_does_nothing_by_name(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        ada = await world.let_in("ada", "admin", "approver")
        case = await held(world)
        _, secret = world.people.add_key(OPERATOR, "first", "reads", ["case:read", "queue:read", "queue:take"])
        for what, members in (("view", {}), ("decide", {"act": "approve", "reason": "x"}), ("comment", {"text": "x"})):
            for headers in (bearer(secret), (*ada, *bearer(secret))):
                assert (await act(world, headers, case, what, **members)).code == "people.key_person"
        assert "viewed" not in await kinds(world, case)

    play_cases(story, tmp_path)


def test_a_key_does_no_more_than_its_scopes(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        await world.let_in("ada", "admin", "approver")
        case = await held(world)
        _, secret = world.people.add_key(OPERATOR, "first", "decides", ["case:decide"], person="ada")
        _, reading = world.people.add_key(OPERATOR, "first", "both", ["case:decide", "case:read"], person="ada")
        assert (await act(world, bearer(secret), case, "view")).code == "people.denied"
        for what, members in (
            ("claim", {}),
            ("comment", {"text": "x"}),
            ("release", {"until": later(world, 60), "reason": "x"}),
            ("reopen", {"reason": "x"}),
        ):
            assert (await act(world, bearer(reading), case, what, **members)).code == "people.denied", what
        assert (await world.post("/v1/recall", b"{}", *bearer(reading))).code == "people.denied"

    play_cases(story, tmp_path)


@pytest.mark.parametrize("ended", ["revoked", "run out", "role taken", "disabled", "workspace"])
def test_a_key_that_opens_nothing_any_more_ends_the_next_act(tmp_path: Path, ended: str) -> None:
    """Not even where the cookie beside it would do: a key that is shown counts alone."""

    async def story(world: CaseWorld) -> None:
        await world.let_in("ada", "admin")
        rita = await world.let_in("rita", "reviewer")
        case = await held(world)
        key, secret = world.people.add_key(OPERATOR, "first", "x", ["case:decide", "case:read"], person="rita", days=1)
        assert (await act(world, bearer(secret), case, "view")).status == 200
        if ended == "revoked":
            world.people.revoke_key(OPERATOR, key.id)
        elif ended == "run out":
            world.world.clock._elapsed += 86_400
        elif ended == "role taken":
            world.people.set_roles(OPERATOR, "rita", ["viewer"])
        elif ended == "disabled":
            world.people.disable(OPERATOR, "rita")
        else:
            world.people.config = dataclasses.replace(world.people.config, workspace="second")
        say = {"act": "approve", "reason": "it is as agreed"}
        code = "people.denied" if ended == "role taken" else "people.key"
        for headers in (bearer(secret), (*rita, *bearer(secret))):
            reply = await act(world, headers, case, "decide", **say)
            expected = {code, "people.session"} if headers != bearer(secret) else {code}
            assert reply.code in expected, (ended, reply.code)
        assert "decided" not in await kinds(world, case)

    play_cases(story, tmp_path)


def test_a_person_decides_by_their_key_without_a_session_and_the_journal_names_both(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        world.write_policy("default", JUDGED)
        await world.review.call(world.review._read_policies, True)
        await world.let_in("ada", "admin")
        rita, sam = await world.let_in("rita", "reviewer"), await world.let_in("sam", "reviewer")
        case = await held(world)
        key, secret = world.people.add_key(OPERATOR, "first", "x", ["case:decide", "case:read"], person="rita")
        say = {"act": "approve", "reason": "it is as agreed"}
        assert (await act(world, bearer(secret), case, "decide", **say)).code == "case.not_viewed"
        assert (await act(world, bearer(secret), case, "view")).status == 200
        reply = await act(world, bearer(secret), case, "decide", **say)
        assert reply.status == 200
        done = [event["actor"] for event in reply.json()["events"] if event["kind"] in ("viewed", "decided")]
        assert done == [{"kind": "person", "id": "rita", "key": key.id}] * 2
        # It is the same person: their session is no second pair of eyes, and neither is another key of theirs.
        await act(world, rita, case, "view")
        assert (await act(world, rita, case, "decide", **say)).code == "case.decided_already"
        _, second = world.people.add_key(OPERATOR, "first", "y", ["case:decide", "case:read"], person="rita")
        assert (await act(world, bearer(second), case, "decide", **say)).code == "case.decided_already"
        await act(world, sam, case, "view")
        assert (await act(world, sam, case, "decide", **say)).status == 200

    play_cases(story, tmp_path)


def test_a_key_decides_nothing_about_a_run_that_its_person_asked_for(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        await world.let_in("ada", "admin")
        await world.let_in("rita", "reviewer")
        _, secret = world.people.add_key(OPERATOR, "first", "x", ["case:decide", "case:read"], person="rita")
        other, _ = world.people.add_key(OPERATOR, "first", "y", ["case:decide"], person="rita")
        for requester in ("rita", other.id):
            run = await world.ask()
            case = (await world.review.call(world.desk.open, SYSTEM, run, "default", requester=requester)).id
            await act(world, bearer(secret), case, "view")
            reply = await act(world, bearer(secret), case, "decide", act="reject", reason="mine")
            assert reply.code == "case.own_run"

    play_cases(story, tmp_path)


def test_what_another_site_sends_with_a_key_is_refused_all_the_same(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        await world.let_in("ada", "admin", "approver")
        case = await held(world)
        _, secret = world.people.add_key(OPERATOR, "first", "x", ["case:decide", "case:read"], person="ada")
        evil = (*bearer(secret), ("origin", "https://evil.example"))
        assert (await act(world, evil, case, "view")).code == "panel.origin"

    play_cases(story, tmp_path)


# --- workspaces -----------------------------------------------------------------------------------------------------


def test_a_key_of_another_workspace_is_like_one_that_nobody_knows(tmp_path: Path) -> None:
    """Made by an older version, which let anybody invent a workspace: nothing here says that there is a queue."""

    async def story(world: CaseWorld) -> None:
        await world.let_in("ada", "admin")
        case = await held(world)
        serves = world.people.config
        with pytest.raises(UsageError) as refused:
            world.people.add_key(OPERATOR, "other2", "x", ["queue:take"])
        assert refused.value.code == "people.workspace"
        world.people.config = dataclasses.replace(serves, workspace="other2")
        _, secret = world.people.add_key(OPERATOR, "other2", "x", ["case:read", "queue:read", "queue:take"])
        world.people.config = serves
        unknown = f"{'0' * 16}.{'0' * 64}"
        for path in ("/v1/cases", f"/v1/cases/{case}", "/v1/queues", "/v1/queues/default/next", "/v1/queues/none/next"):
            theirs, nobodys = await world.get(path, *bearer(secret)), await world.get(path, *bearer(unknown))
            assert (theirs.status, theirs.code) == (401, "people.key"), path
            assert theirs.body == nobodys.body
        assert [key.label for key in world.people.keys_elsewhere()] == ["x"]

    play_cases(story, tmp_path)


# --- the very next act ----------------------------------------------------------------------------------------------


def take_role(world: CaseWorld) -> None:
    world.people.set_roles(OPERATOR, "rita", ["viewer"])


def take_role_in_the_tables(world: CaseWorld) -> None:
    """As a role is taken by an issuer outside while a session lasts: nothing ends the session."""
    with world.house._store.writing() as tables:
        account = tables.account_named("rita")
        assert account is not None
        tables.put_account(dataclasses.replace(account, roles=("viewer",)))


def end_sessions(world: CaseWorld) -> None:
    for session in world.people.sessions(OPERATOR, "rita"):
        world.people.end_session(OPERATOR, session.id)


def pass_time(seconds: float) -> Callable[[CaseWorld], None]:
    def wait(world: CaseWorld) -> None:
        world.world.clock._elapsed += seconds

    return wait


ENDINGS: dict[str, tuple[Callable[[CaseWorld], Any], str]] = {
    "another role": (take_role, "people.session"),
    "another role, the session still open": (take_role_in_the_tables, "people.denied"),
    "disabled": (lambda world: world.people.disable(OPERATOR, "rita"), "people.session"),
    "session ended": (end_sessions, "people.session"),
    "nobody used it": (pass_time(3_600), "people.session"),
    "its time is over": (pass_time(12 * 3_600), "people.session"),
}
NEXT_ACTS: dict[str, dict[str, Any]] = {
    "claim": {},
    "comment": {"text": "x"},
    "decide": {"act": "approve", "reason": "x"},
    "release": {"until": "2026-01-01T00:10:00.000Z", "reason": "x"},
    "dependants": {"reference": "ticket 7"},
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_whatever_ends_what_somebody_may_ends_the_very_next_act(tmp_path: Path, ending: str) -> None:
    end, code = ENDINGS[ending]

    async def story(world: CaseWorld) -> None:
        await world.let_in("ada", "admin")
        rita = await world.let_in("rita", "reviewer")
        case = await held(world)
        assert (await act(world, rita, case, "view")).status == 200
        assert (await act(world, rita, case, "comment", text="before")).status == 200
        before = await kinds(world, case)
        end(world)
        for what, members in NEXT_ACTS.items():
            reply = await act(world, rita, case, what, **members)
            assert reply.code == code, (what, reply.code)
        if code == "people.session":
            assert (await act(world, rita, case, "view")).code == code
        assert await kinds(world, case) == before

    play_cases(story, tmp_path)


def test_whoever_guesses_passwords_has_to_wait_and_then_the_right_one_opens(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        await world.let_in("ada", "admin")
        origin = ("origin", "http://localhost")

        async def attempt(password: str) -> str | None:
            body = json.dumps({"name": "ada", "password": password}).encode()
            reply = await world.post("/v1/session", body, origin)
            return reply.code if reply.status != 200 else None

        for _ in range(world.people.config.sign_in_failures_per_account):
            assert await attempt("not her password at all") == "people.sign_in"
        assert await attempt(PASSWORD) == "people.too_many"
        world.world.clock._elapsed += 900
        assert await attempt(PASSWORD) is None

    play_cases(story, tmp_path)


def test_a_one_time_code_that_ran_out_opens_nothing(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        await world.let_in("ada", "admin")
        _, code = world.people.add(OPERATOR, "ben", "Ben", ["viewer"])
        world.world.clock._elapsed += world.people.config.code_minutes * 60
        with pytest.raises(RefusedError) as refused:
            await world.house.sign_in.redeem(code, PASSWORD)
        assert refused.value.code == "people.code"

    play_cases(story, tmp_path)
