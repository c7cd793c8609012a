"""Sending webhooks: what an endpoint may answer, in which order it is told, who may send again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.adapters.settings_toml import load
from holdfast.errors import ConflictError, RefusedError, UnavailableError, UsageError
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.webhooks import build_hooks, build_limits
from holdfast.ports.http import Answer
from holdfast.review.events import SYSTEM, Actor
from holdfast.review.intake import Opening
from holdfast.review.webhooks import Limits
from tests.helpers import asgi
from tests.helpers.case_world import HOST, CaseWorld, play_cases
from tests.helpers.clock import settle
from tests.helpers.review import APPROVER, AUDITOR, CONSUMER, OWNER, REVIEWER, VIEWER, Clinic
from tests.helpers.webhooks import KEY, SECRET, URL, Office, check_signature, hook

SECOND = "https://second.test/in"
ADMIN = Actor("person", "adam", frozenset({"admin"}))


def play(story: Callable[[Office], Awaitable[None]], office: Office) -> None:
    async def main() -> None:
        office.clinic.queue(max_age_s=100_000)
        await office.start()
        await story(office)

    asyncio.run(main())


def raises(error: Exception) -> Callable[[], Answer]:
    def answer() -> Answer:
        raise error

    return answer


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        lambda: Answer(500),
        lambda: Answer(404),
        lambda: Answer(302, headers={"location": "https://second.test/in"}),
        lambda: Answer(301, headers={"location": "http://169.254.169.254/"}),
        lambda: Answer(199),
        lambda: Answer(600),
        raises(UnavailableError("http.unreachable", f"POST {URL}: it took too long")),
        raises(UnavailableError("http.too_large", f"{URL} answered with more than 65536 bytes")),
    ],
)
def test_whatever_is_no_success_is_tried_again_and_never_followed(tmp_path: Path, answer: Callable[[], Answer]) -> None:
    office = Office(tmp_path)

    async def story(office: Office) -> None:
        office.receivers.answers[URL] = answer
        office.clinic.case(stage="settled")
        await office.work()
        assert [row[1] for row in office.rows()] == ["waiting"]
        assert [url for url, _, _ in office.receivers.got] == [URL]
        (item,) = office.deliveries()
        assert item.attempts == 1
        assert item.note
        assert "/in" not in item.note
        del office.receivers.answers[URL]
        office.clinic.pass_time(1.1)
        await office.work()
        assert [row[1] for row in office.rows()] == ["delivered"]
        first, again = office.receivers.got
        assert first[1]["webhook-id"] == again[1]["webhook-id"]
        assert first[2] == again[2]
        assert first[1]["webhook-timestamp"] != again[1]["webhook-timestamp"]
        assert check_signature(again[1], again[2], KEY)

    play(story, office)


def test_what_is_no_longer_let_through_is_not_sent(tmp_path: Path) -> None:
    office = Office(tmp_path)

    async def story(office: Office) -> None:
        office.clinic.queue(max_age_s=60)
        office.clinic.case(stage="settled")
        await office.follow()
        office.clinic.pass_time(120)  # nobody has looked at it since
        await office.work()
        assert office.receivers.told() == ["HOLD"]
        assert [row[:2] for row in office.rows()] == [("CLEAR", "dropped"), ("HOLD", "delivered")]
        assert "HOLD" in office.deliveries()[0].note

    play(story, office)


def test_what_was_recalled_while_the_endpoint_was_away_is_said_and_nothing_before_it(tmp_path: Path) -> None:
    office = Office(tmp_path)

    async def story(office: Office) -> None:
        office.receivers.answers[URL] = lambda: Answer(503, headers={"retry-after": "3000"})
        case = office.clinic.case(stage="settled")
        await office.work()
        office.clinic.note(case, "refuted", 60)
        del office.receivers.answers[URL]
        office.clinic.pass_time(3_001)
        await office.work()
        assert office.receivers.told() == ["CLEAR", "RECALLED"]  # the first was refused with 503
        assert [row[:2] for row in office.rows()] == [("CLEAR", "dropped"), ("RECALLED", "delivered")]

    play(story, office)


def test_nothing_is_sent_after_410_until_a_person_enables_it(tmp_path: Path) -> None:
    office = Office(tmp_path)

    async def story(office: Office) -> None:
        office.clinic.queue("other")
        office.receivers.answers[URL] = lambda: Answer(410, b"we moved")
        case = office.clinic.case(stage="settled")
        await office.work()
        office.clinic.note(case, "refuted", 60)
        await office.work()
        office.restart()
        await office.start()
        await office.work()
        assert len(office.receivers.got) == 1
        (shown,) = (await office.webhooks.endpoints(AUDITOR))["webhooks"]
        assert shown["disabled"]["note"] == "answered 410: we moved"
        assert shown["deliveries"] == {"waiting": 1, "delivered": 0, "dropped": 0, "dead": 1}
        (dead,) = (await office.webhooks.listed(AUDITOR, "dead", 0, 10))["deliveries"]
        with pytest.raises(ConflictError) as refused:
            await office.webhooks.replay(ADMIN, dead["delivery"])
        assert refused.value.code == "webhook.disabled"
        del office.receivers.answers[URL]
        await office.webhooks.enable(ADMIN, office.hooks[0].id)
        await office.work()
        assert office.receivers.told() == ["CLEAR", "RECALLED"]
        with pytest.raises(ConflictError) as refused:
            await office.webhooks.enable(ADMIN, office.hooks[0].id)
        assert refused.value.code == "webhook.not_disabled"
        with pytest.raises(ConflictError) as refused:
            await office.webhooks.replay(ADMIN, dead["delivery"])
        assert refused.value.code == "webhook.overtaken"

    play(story, office)


@pytest.mark.parametrize("actor", [REVIEWER, VIEWER, AUDITOR, CONSUMER, Actor("key", "k", frozenset({"queue:read"}))])
def test_who_is_not_trusted_with_it_sends_nothing_again(tmp_path: Path, actor: Actor) -> None:
    office = Office(tmp_path)

    async def story(office: Office) -> None:
        for act in (office.webhooks.replay, office.webhooks.drop, office.webhooks.enable):
            with pytest.raises(RefusedError) as refused:
                await act(actor, "0" * 64)
            assert refused.value.code == "webhook.role"

    play(story, office)


@pytest.mark.parametrize("actor", [REVIEWER, VIEWER, Actor("key", "k", frozenset({"queue:take"}))])
def test_who_is_not_let_in_sees_no_deliveries(tmp_path: Path, actor: Actor) -> None:
    office = Office(tmp_path)

    async def story(office: Office) -> None:
        with pytest.raises(RefusedError):
            await office.webhooks.endpoints(actor)
        with pytest.raises(RefusedError):
            await office.webhooks.listed(actor, "dead", 0, 10)

    play(story, office)


def test_what_nobody_knows_is_not_replayed(tmp_path: Path) -> None:
    office = Office(tmp_path)

    async def story(office: Office) -> None:
        for act in (office.webhooks.replay, office.webhooks.drop, office.webhooks.enable):
            with pytest.raises(UsageError) as refused:
                await act(OWNER, "0" * 64)
            assert (refused.value.code, refused.value.status) == ("webhook.unknown", 404)
        office.clinic.case(stage="settled")
        await office.work()
        for act in (office.webhooks.replay, office.webhooks.drop):
            with pytest.raises(ConflictError) as taken:
                await act(APPROVER, office.deliveries()[0].delivery)
            assert taken.value.code == "webhook.not_dead"

    play(story, office)


def test_another_journal_than_before_stops_it(tmp_path: Path) -> None:
    office = Office(tmp_path)

    async def story(office: Office) -> None:
        office.clinic.case(stage="settled")
        await office.work()
        other = Office(tmp_path, store=office.store, clinic=Clinic())
        other.clinic.queue("another")
        await other.start()
        with pytest.raises(ConflictError) as refused:
            await other.follow()
        assert refused.value.code == "webhook.journal"
        other.clinic.queue()
        for number in range(10):
            other.clinic.queue(f"queue-{number}")
        with pytest.raises(ConflictError, match="restore"):
            await other.follow()

    play(story, office)


# --- order and patience ---------------------------------------------------------------------------------------------


def test_of_one_case_the_next_thing_waits_and_another_case_does_not(tmp_path: Path) -> None:
    office = Office(tmp_path, (hook(), hook("other")))

    async def story(office: Office) -> None:
        office.clinic.queue("other")
        case = office.clinic.case(stage="answered")
        office.clinic.release(case)
        await office.follow()
        office.receivers.answers[URL] = lambda: Answer(500)
        await office.send()
        office.clinic.note(case, "settled")
        other = office.clinic.case("other", stage="settled")
        del office.receivers.answers[URL]
        await office.work()
        assert [(body["case"], body["state"]) for body in office.receivers.bodies()][1:] == [(other, "CLEAR")]
        office.clinic.pass_time(2)
        await office.work()
        mine = [body["state"] for body in office.receivers.bodies() if body["case"] == case]
        assert mine == ["PROVISIONAL", "PROVISIONAL", "CLEAR"]

    play(story, office)


def test_retries_end_and_a_person_sends_what_is_dead_again(tmp_path: Path) -> None:
    office = Office(tmp_path, limits=Limits(first_retry_s=10, longest_retry_s=40, give_up_s=100))

    async def story(office: Office) -> None:
        office.receivers.answers[URL] = lambda: Answer(500, b"<p>no\ndatabase</p>")
        office.clinic.case(stage="settled")
        attempts = []
        for second in range(120):
            attempts += [second] * await office.send()
            await office.follow()
            office.clinic.pass_time(1)
        assert attempts == [1, 11, 31, 71]
        (dead,) = (await office.webhooks.listed(AUDITOR, "dead", 0, 10))["deliveries"]
        assert dead["note"] == "answered 500: <p>no database</p>"
        assert dead["attempts"] == 4
        assert office.metrics.counts["holdfast_panel_webhooks_total", "dead"] == 1
        office.receivers.answers[URL] = lambda: Answer(200)
        assert (await office.webhooks.replay(APPROVER, dead["delivery"]))["stands"] == "waiting"
        await office.work()
        assert [row[:2] for row in office.rows()] == [("CLEAR", "delivered")]
        assert {headers["webhook-id"] for _, headers, _ in office.receivers.got} == {dead["delivery"]}

    play(story, office)


def test_a_pause_that_was_asked_for_is_kept_for_the_whole_endpoint(tmp_path: Path) -> None:
    office = Office(tmp_path, (hook(), hook("other"), hook(url=SECOND)))

    async def story(office: Office) -> None:
        office.clinic.queue("other")
        office.receivers.answers[URL] = lambda: Answer(429, headers={"retry-after": "30"})
        office.clinic.case(stage="settled")
        await office.work()
        assert office.receivers.told(SECOND) == ["CLEAR"]
        office.clinic.pass_time(29)
        await office.work()
        assert len(office.receivers.bodies()) == 1
        del office.receivers.answers[URL]
        office.clinic.pass_time(2)
        await office.work()
        assert len(office.receivers.bodies()) == 2

    play(story, office)


def test_after_a_failure_one_delivery_at_a_time(tmp_path: Path) -> None:
    hooks = tuple(hook("default", f"{URL}/{number}") for number in range(1))
    office = Office(tmp_path, hooks, limits=Limits(at_once=4))

    async def story(office: Office) -> None:
        for number in range(5):
            office.clinic.queue(f"q{number}")
        endpoint = office.webhooks._endpoints[hooks[0].id]
        endpoint.failing = True
        office.clinic.case(stage="settled")
        await office.follow()
        assert len(await office.webhooks.begin(hooks[0].id)) == 1
        assert await office.webhooks.begin(hooks[0].id) == set()
        await settle()

    play(story, office)


def test_an_endpoint_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    """The loops themselves, on a clock that a test moves."""
    office = Office(tmp_path, (hook(), hook(url=SECOND)))

    async def story(office: Office) -> None:
        office.receivers.hanging[URL] = asyncio.Event()
        running = asyncio.create_task(office.webhooks.run())
        await settle()
        office.clinic.case(stage="settled")
        for _ in range(20):
            await office.clinic.clock.advance(0.1)
        assert office.receivers.told(SECOND) == ["CLEAR"]
        assert office.receivers.told(URL) == ["CLEAR"]
        assert {(row.hook, row.stands) for row in office.deliveries()} == {
            (office.hooks[0].id, "waiting"),
            (office.hooks[1].id, "delivered"),
        }
        office.receivers.hanging.pop(URL).set()
        for _ in range(200):
            await office.clinic.clock.advance(0.1)
        assert {row.stands for row in office.deliveries()} == {"delivered"}
        assert office.metrics.levels["holdfast_panel_webhooks_waiting",] == 0
        assert len(office.metrics.observations["holdfast_panel_webhook_seconds",]) == 2
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    play(story, office)


def test_an_endpoint_is_told_of_what_comes_after_it_was_configured(tmp_path: Path) -> None:
    office = Office(tmp_path)

    async def story(office: Office) -> None:
        case = office.clinic.case(stage="settled")
        await office.work()
        later = Office(tmp_path, (*office.hooks, hook(url=SECOND)), office.store, office.clinic)
        await later.start()
        await later.work()
        assert later.receivers.got == []
        office.clinic.note(case, "refuted", 60)
        await later.work()
        assert later.receivers.told() == later.receivers.told(SECOND) == ["RECALLED"]

    play(story, office)


def test_a_journal_that_is_long_is_followed_in_pieces(tmp_path: Path) -> None:
    office = Office(tmp_path)

    async def story(office: Office) -> None:
        office.clinic.case(stage="settled")
        openings = [Opening(f"01900000-0000-7000-8000-{number:012d}", "default") for number in range(450)]
        office.clinic.desk.open_many(SYSTEM, openings)
        await office.work()
        assert office.store.cursor().seq > 1_000  # what says nothing to anybody moves the cursor now and then
        assert office.receivers.told() == ["CLEAR"]

    play(story, office)


# --- settings and HTTP ----------------------------------------------------------------------------------------------


def test_settings_name_endpoints_and_every_limit(tmp_path: Path) -> None:
    file = tmp_path / "panel.toml"
    file.write_text(
        f"""
[panel]
webhook_timeout_ms = 2000
webhook_give_up_h = 1
[[panel.webhooks]]
queue = "default"
url = "{URL}"
secret = "env:HOOK"
states = ["CLEAR", "RECALLED"]
[[panel.webhooks]]
queue = "default"
url = "http://127.0.0.1:9/"
secret = "env:HOOK"
"""
    )
    settings = load(file, {"HOOK": SECRET}, {"panel": PanelConfig})
    config = settings.table("panel", PanelConfig)
    first, second = build_hooks(config)
    assert (first.queue, first.url, first.keys, first.states) == ("default", URL, (KEY,), {"CLEAR", "RECALLED"})
    assert len(second.states) == 5
    assert build_limits(config) == Limits(timeout_s=2, give_up_s=3600)
    assert SECRET not in "".join(row.shown for row in settings.rows)


def test_without_settings_there_are_no_webhooks() -> None:
    assert build_hooks(PanelConfig()) == ()
    assert build_limits(PanelConfig()) == Limits()


@pytest.mark.parametrize("line", ['url = "http://hooks.test/"', 'queue = "The Queue"', 'states = ["HOLD"]'])
def test_settings_that_make_no_sense_keep_the_panel_from_starting(tmp_path: Path, line: str) -> None:
    given = {"queue": 'queue = "default"', "url": f'url = "{URL}"', "secret": 'secret = "env:HOOK"'}
    given[line.split(maxsplit=1)[0]] = line
    file = tmp_path / "panel.toml"
    file.write_text("[[panel.webhooks]]\n" + "\n".join(given.values()))
    config = load(file, {"HOOK": SECRET}, {"panel": PanelConfig}).table("panel", PanelConfig)
    with pytest.raises(UsageError):
        build_hooks(config)


def test_a_panel_without_webhooks_says_so(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        for path in ("/v1/webhooks", "/v1/webhooks/waiting", "/v1/webhooks/dead", "/v1/webhooks/dropped"):
            reply = await world.get(path)
            assert (reply.status, reply.code) == (404, "webhook.none")
        dead = f"/v1/webhooks/dead/{'0' * 64}"
        for path in (f"{dead}/replay", f"{dead}/drop", f"/v1/webhooks/{'0' * 64}/enable"):
            reply = await asgi.request(world.app, "POST", path, b"", [HOST])
            assert reply.status in (401, 403)

    play_cases(story, tmp_path)
