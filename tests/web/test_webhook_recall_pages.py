"""The pages of webhooks, recalls and opening by hand: what they show, whom they refuse, and what their forms do."""

from __future__ import annotations

import html
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.ports.http import Answer
from holdfast.review.events import SYSTEM
from holdfast.review.roles import OPERATOR
from holdfast.web.app import create_app
from tests.helpers import asgi
from tests.helpers.case_world import HOST, CaseWorld, play_cases
from tests.helpers.live_pages import Told, add_webhooks
from tests.web.test_people_pages import Site, Visitor, visible

CAUSE = "the finality key was stolen"
NOWHERE = "01900000-0000-7000-8000-000000000001"


class Office(Site):
    """A site whose panel tells an endpoint."""

    told: Told

    async def begin(self) -> Office:
        """Make the webhooks known."""
        self.told = await add_webhooks(self.world)
        self.service.webhooks = self.told.webhooks
        self.app = create_app(self.service)
        self.anybody = Visitor(self.app, self.cookie)
        return self

    async def settled(self) -> str:
        """A case that is CLEAR."""
        case = await self.held()
        await self.world.settle()
        await self.world.world.clock.advance(3)
        await self.world.look_at_all()
        assert await self.stands(case) == "CLEAR"
        return case

    async def dead_letter(self) -> dict[str, Any]:
        """A delivery that was given up, as the twin shows it."""
        await self.settled()
        await self.told.give_up()
        (found,) = (await self.twin("/webhooks.json", self.anybody))["dead"]["deliveries"]
        return dict(found)

    async def evidence(self, case: str) -> str:
        """A digest that the settlement of a case rests on."""
        file = await self.world.review.call(self.world.desk.case, SYSTEM, case)
        return file.view.lanes["settlement"].evidence[0]

    async def twin(self, path: str, visitor: Visitor) -> Any:
        reply = await visitor.get(path)
        assert reply.status == 200, reply.body
        return reply.json()

    async def seqs(self, case: str) -> int:
        return len(await self.kinds(case))


Story = Callable[[Office], Awaitable[None]]


def play(story: Story, folder: Path) -> None:
    async def told(world: CaseWorld) -> None:
        office = await Office(world).begin()
        try:
            await story(office)
        finally:
            await office.told.webhooks.close()

    play_cases(told, folder)


# --- webhooks -------------------------------------------------------------------------------------------------------


def test_a_panel_without_webhooks_has_no_page_of_them(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        site = Site(world)
        for path in ("/webhooks", "/webhooks.json"):
            assert (await site.anybody.get(path)).status == 404
        assert "/webhooks" not in await site.anybody.text("/queues")

    play_cases(story, tmp_path)


def test_a_dead_letter_is_shown_with_its_attempts_and_the_last_answer_and_no_address(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        dead = await office.dead_letter()
        page = await office.anybody.text("/webhooks")
        assert "answered 500: no database" in visible(page)
        assert dead["delivery"] in page
        assert (dead["attempts"], dead["next_at"], dead["state"]) == (3, None, "CLEAR")
        assert "hooks.test/in" not in page
        assert "https://hooks.test" in page
        assert 'action="/webhooks/' not in page, "nobody in particular sends nothing again"
        assert "/webhooks" in await office.anybody.text("/queues")

    play(story, tmp_path)


def test_forms_of_webhooks_from_elsewhere_or_by_others_change_nothing(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        dead = await office.dead_letter()
        ada, vic = await office.let_in("ada", "approver"), await office.let_in("vic", "reviewer")
        for act in ("replay", "drop"):
            path, fields = f"/webhooks/{act}", {"delivery": dead["delivery"]}
            assert (await ada.post(path, token="", **fields)).status == 403
            assert (await ada.post(path, origin=False, **fields)).status == 403
            assert (await ada.post(path, ("sec-fetch-site", "cross-site"), **fields)).status == 403
            assert (await vic.post(path, **fields)).status == 403
            assert (await office.anybody.post(path, **fields)).status in (303, 401, 403)
            assert (await ada.post(path, delivery="zz")).status == 400
            assert (await ada.post(path, delivery="0" * 64)).status == 404
            assert (await ada.post(path, **fields, more="x")).status == 400
            assert (await ada.get(path)).status == 303
        assert (await office.twin("/webhooks.json", ada))["dead"]["deliveries"][0] == dead
        assert (await vic.get("/webhooks")).status == 403, "a reviewer sees no deliveries"

    play(story, tmp_path)


def test_a_dead_letter_is_sent_again_under_the_same_id(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        dead = await office.dead_letter()
        ada = await office.let_in("ada", "approver")
        assert 'action="/webhooks/replay"' in await ada.text("/webhooks")
        assert (await ada.post("/webhooks/replay", delivery=dead["delivery"])).header("location") == "/webhooks"
        (waits,) = (await office.twin("/webhooks.json", ada))["waiting"]["deliveries"]
        assert (waits["delivery"], waits["attempts"], waits["note"]) == (dead["delivery"], 0, "replayed by ada")
        await office.told.work()
        assert {headers["webhook-id"] for _, headers, _ in office.told.receivers.got} == {dead["delivery"]}
        again = await ada.post("/webhooks/replay", delivery=dead["delivery"])
        assert (again.status, "This delivery is delivered" in visible(again)) == (409, True)

    play(story, tmp_path)


def test_a_dead_letter_is_dropped_by_name_and_is_sent_no_more(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        dead = await office.dead_letter()
        ada = await office.let_in("ada", "policy_owner")
        assert (await ada.post("/webhooks/drop", delivery=dead["delivery"])).status == 303
        shown = await office.twin("/webhooks.json", ada)
        assert shown["dead"]["deliveries"] == []
        (dropped,) = shown["dropped"]["deliveries"]
        assert dropped["note"] == "dropped by ada; before: answered 500: no database"
        assert await office.told.work() == 0
        assert (await ada.post("/webhooks/replay", delivery=dead["delivery"])).status == 409

    play(story, tmp_path)


def test_an_endpoint_that_was_gone_is_sent_to_again(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        await office.settled()
        office.told.receivers.answers["https://hooks.test/in"] = lambda: Answer(410)
        await office.told.work()
        ada = await office.let_in("ada", "admin")
        page = await ada.text("/webhooks")
        assert "It said that it is gone" in visible(page)
        (hook,) = (await office.twin("/webhooks.json", ada))["webhooks"]
        assert hook["disabled"]["note"].startswith("answered 410")
        assert (await ada.post("/webhooks/enable", webhook=hook["id"])).status == 303
        (hook,) = (await office.twin("/webhooks.json", ada))["webhooks"]
        assert hook["disabled"] is None

    play(story, tmp_path)


# --- recalls --------------------------------------------------------------------------------------------------------


def test_a_recall_is_for_approvers_and_begins_on_our_own_page(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        case = await office.settled()
        evidence = await office.evidence(case)
        ada, rita = await office.let_in("ada", "approver"), await office.let_in("rita", "reviewer")
        fields = {"evidence": evidence, "cause": CAUSE}
        assert (await ada.post("/recall", token="", **fields)).status == 403
        assert (await ada.post("/recall", origin=False, **fields)).status == 403
        assert (await ada.post("/recall", evidence=evidence)).status == 400
        assert (await ada.post("/recall", evidence="zz", cause=CAUSE)).status == 400
        assert (await ada.post("/recall", evidence=evidence, cause=" ")).status == 400
        for visitor, status in ((rita, 403), (office.anybody, 303)):
            assert (await visitor.get(f"/recall?evidence={evidence}")).status == status
        assert (await rita.get(f"/recall.json?evidence={evidence}")).status == 403
        assert (await rita.post("/recall", **fields)).status == 403
        assert (await ada.get("/recall?evidence=zz")).status == 400
        assert await office.stands(case) == "CLEAR"

    play(story, tmp_path)


def test_what_a_recall_would_reach_is_said_first_and_nothing_moves(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        case, other = await office.settled(), await office.held()
        desk, call = office.world.desk, office.world.review.call
        await call(desk.add_dependant, SYSTEM, case, dependant=other)
        await call(desk.add_dependant, SYSTEM, other, reference="invoice 2207")
        evidence = await office.evidence(case)
        ada = await office.let_in("ada", "approver")
        before = await office.seqs(case), await office.seqs(other)
        page = visible(await ada.text(f"/recall?evidence={evidence}"))
        for words in ("Let through on it: 1", "Relied on those: 1", "Outside this panel: 1", "Recall 2 cases"):
            assert words in page
        plan = await office.twin(f"/recall.json?evidence={evidence}", ada)
        assert [row["case"] for row in plan["direct"]] == [case]
        assert [(row["case"], row["state"]) for row in plan["dependants"]] == [(other, "HOLD")]
        assert plan["references"] == [{"case": other, "reference": "invoice 2207"}]
        assert (await office.seqs(case), await office.seqs(other)) == before
        nothing = visible(await ada.text(f"/recall?evidence={'0' * 64}"))
        assert "No case that stands was let through on this evidence" in nothing
        assert 'action="/recall"' not in nothing

    play(story, tmp_path)


def test_a_recall_takes_back_what_relied_on_it_and_says_who_outside_has_to_know(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        case, other = await office.settled(), await office.held()
        desk, call = office.world.desk, office.world.review.call
        await call(desk.add_dependant, SYSTEM, case, dependant=other)
        await call(desk.add_dependant, SYSTEM, other, reference="invoice <2207>")
        ada = await office.let_in("ada", "approver")
        file = await ada.text(f"/cases/{case}")
        assert f'href="/recall?evidence={await office.evidence(case)}"' in file
        done = await ada.post("/recall", evidence=await office.evidence(case), cause=CAUSE)
        assert done.status == 200
        assert "2 cases are recalled" in visible(done)
        assert html.escape("invoice <2207>") in done.body.decode()
        assert await office.stands(case) == await office.stands(other) == "RECALLED"
        again = visible(await ada.post("/recall", evidence=await office.evidence(case), cause=CAUSE))
        assert "Nothing was left to recall" in again
        plan = await office.twin(f"/recall.json?evidence={await office.evidence(case)}", ada)
        assert (plan["direct"], plan["dependants"], plan["recalled_already"]) == ([], [], 0)

    play(story, tmp_path)


def test_who_may_not_recall_is_not_led_there(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        case = await office.settled()
        rita = await office.let_in("rita", "reviewer")
        assert "/recall?" not in await rita.text(f"/cases/{case}")
        assert (await office.anybody.get(f"/cases/{case}")).status == 303

    play(story, tmp_path)


# --- opening by hand ------------------------------------------------------------------------------------------------


def test_a_case_is_opened_by_hand_by_those_who_may_and_for_a_run_that_is_there(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        await office.held()
        run = await office.world.ask(queue=None)
        rita, vic = await office.let_in("rita", "reviewer"), await office.let_in("vic", "viewer")
        path, fields = "/queues/default/open", {"run": run, "subject": ""}
        assert "Open a case for a run" not in await vic.text("/queues/default")
        assert (await vic.post(path, **fields)).status == 403
        assert (await office.anybody.post(path, **fields)).status in (303, 401, 403)
        assert (await rita.post(path, token="", **fields)).status == 403
        assert (await rita.post(path, origin=False, **fields)).status == 403
        assert (await rita.post(path, run="x", subject="")).status in (400, 404)
        gone = await rita.post(path, run=NOWHERE, subject="<b>")
        assert gone.status == 404
        assert '<details class="act by-hand" data-key="n" open>' in gone.body.decode()
        assert "&lt;b&gt;" in gone.body.decode(), "what was typed is still there"
        assert (await rita.post("/queues/nothing/open", **fields)).status == 404
        assert (await office.world.get(f"/v1/cases?run={run}", *office.world.reader())).json()["cases"] == []
        done = await rita.post(path, run=run, subject="invoice 2207")
        assert done.status == 303
        case = str(done.header("location")).rpartition("/")[2]
        assert await office.kinds(case) == ["opened", "appraised", "held"]
        assert "invoice 2207" in visible(await rita.text(f"/cases/{case}"))
        assert (await rita.post(path, run=run, subject="again")).header("location") == f"/cases/{case}"
        await office.world.look_at_all()
        view = (await office.world.case(run))["lanes"]["bytes"]
        assert view["state"] == "proven", "its evidence was fetched"

    play(story, tmp_path)


def test_whoever_opens_a_case_that_nobody_asked_for_by_name_does_not_decide_it(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        run = await office.world.ask(queue=None)
        rita, sam = await office.let_in("rita", "reviewer"), await office.let_in("sam", "reviewer")
        done = await rita.post("/queues/default/open", run=run, subject="")
        case = str(done.header("location")).rpartition("/")[2]
        await office.world.look_at_all()
        page = await rita.text(f"/cases/{case}")
        assert "somebody else decides its case" in visible(page)
        lanes = re.findall(r'name="lanes" value="([0-9a-f]{64})"', await sam.text(f"/cases/{case}"))[0]
        own = await rita.post(f"/cases/{case}/reject", reason="no", lanes=lanes)
        assert own.status == 403
        assert (await sam.post(f"/cases/{case}/reject", reason="no", lanes=lanes)).status == 303

    play(story, tmp_path)


@pytest.mark.parametrize("roles", [("viewer",), ("auditor",), ("admin",), ("policy_owner",)])
def test_programs_and_people_without_the_act_open_no_case(tmp_path: Path, roles: tuple[str, ...]) -> None:
    async def story(office: Office) -> None:
        run = await office.world.ask(queue=None)
        body = f'{{"run":"{run}","queue":"default"}}'.encode()
        assert (await office.world.post("/v1/cases", body)).status == 401
        headers = await office.world.let_in("vic", *roles)
        assert (await office.world.post("/v1/cases", body, *headers)).status == 403
        assert (
            await asgi.request(office.world.app, "GET", "/v1/recall?evidence=" + "0" * 64, headers=[HOST])
        ).status == 401

    play(story, tmp_path)


def test_a_person_opens_a_case_as_a_program_does_and_again_is_the_same(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        run = await office.world.ask(queue=None)
        headers = await office.world.let_in("rita", "reviewer")
        body = f'{{"run":"{run}","queue":"default","subject":"invoice 2207"}}'.encode()
        first = await office.world.post("/v1/cases", body, *headers)
        assert (first.status, first.json()["subject"]) == (201, "invoice 2207")
        again = await office.world.post("/v1/cases", body, *headers)
        assert (again.status, again.json()["id"]) == (200, first.json()["id"])
        for broken, code in (
            (body.replace(b"default", b"nothing"), "queue.unknown"),
            (body.replace(run.encode(), NOWHERE.encode()), "run.unknown"),
            (body.replace(b"subject", b"subjects"), "request.members"),
        ):
            assert (await office.world.post("/v1/cases", broken, *headers)).code == code
        no_token = [pair for pair in headers if pair[0] != "x-holdfast-token"]
        assert (await office.world.post("/v1/cases", body, *no_token)).code == "panel.token"

    play(story, tmp_path)


def test_a_key_with_the_scope_opens_a_case_and_counts_as_who_asked(tmp_path: Path) -> None:
    async def story(office: Office) -> None:
        run = await office.world.ask(queue=None)
        await office.world.let_in("ada", "admin")
        key, shown = office.world.people.add_key(OPERATOR, "first", "intake", ["case:open"], days=1)
        _, reader = office.world.people.add_key(OPERATOR, "first", "reader", ["case:read"], days=1)
        body = f'{{"run":"{run}","queue":"default"}}'.encode()
        refused = await office.world.post("/v1/cases", body, ("authorization", f"Bearer {reader}"))
        assert refused.status == 403
        done = await office.world.post("/v1/cases", body, ("authorization", f"Bearer {shown}"))
        assert done.status == 201
        assert done.json()["events"][0]["body"]["requester"] == key.id

    play(story, tmp_path)
