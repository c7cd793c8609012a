"""``holdfast queue webhooks``: who is told, what was given up, and a person who sends it again or drops it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.ports.http import Answer
from holdfast.review.roles import OPERATOR
from tests.cli.conftest import Outcome
from tests.helpers.panel_desk import PanelDesk
from tests.helpers.people import PASSWORD
from tests.helpers.webhooks import URL as HOOK_URL
from tests.helpers.webhooks import Receivers

Holdfast = Callable[..., Outcome]
NET = ("--state", "net")
NONE = "0" * 64


@pytest.fixture
def receivers(panel: PanelDesk) -> Receivers:
    """A panel that tells one endpoint, which has no database."""
    panel.clinic.queue()
    receivers = panel.add_webhooks()
    receivers.answers[HOOK_URL] = lambda: Answer(500, b"no database")
    return receivers


@pytest.fixture
def dead(panel: PanelDesk, receivers: Receivers, holdfast: Holdfast) -> dict[str, Any]:
    """A delivery that was given up."""
    assert receivers.got == []
    panel.clinic.case(stage="settled")
    panel.deliver()
    (found,) = json.loads(holdfast("queue", "webhooks", "show", "--json", *NET).out)["deliveries"]
    return dict(found)


@pytest.fixture
def ada(holdfast: Holdfast, panel: PanelDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An approver who is signed in at the terminal."""
    panel.house.first(["admin", "approver"])
    monkeypatch.setenv("ADA", PASSWORD)
    assert holdfast("case", "sign-in", "ada", "--password", "env:ADA", *NET).code == 0


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("receivers")
@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("replay", NONE), "people.sign_in_first", 1),
        (("drop", NONE), "people.sign_in_first", 1),
        (("enable", NONE), "people.sign_in_first", 1),
        (("replay", "x"), "webhook.id", 2),
        (("enable", "../x"), "webhook.id", 2),
        (("show", "delivered"), "usage.arguments", 2),
        (("show", "--limit", "101"), "usage.arguments", 2),
        (("replay", NONE, "--api-key", "env:ANY"), "usage.arguments", 2),
    ],
)
def test_what_makes_no_sense_or_has_no_name_is_refused(
    holdfast: Holdfast, words: tuple[str, ...], code: str, exit_code: int
) -> None:
    done = holdfast("queue", "webhooks", *words, *NET)
    assert f"error: {code}:" in done.err
    assert (done.out, done.code) == ("", exit_code)


def test_a_panel_without_webhooks_says_so(holdfast: Holdfast, panel: PanelDesk) -> None:
    assert panel.webhooks is None
    done = holdfast("queue", "webhooks", "list", *NET)
    assert ("error: webhook.none" in done.err, done.code) == (True, 1)


@pytest.mark.usefixtures("receivers")
def test_reading_takes_a_key_with_the_scope(
    holdfast: Holdfast, panel: PanelDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.house.first(["admin"])
    for scope, code in (("case:read", 1), ("queue:read", 0)):
        _, shown = panel.house.people.add_key(OPERATOR, "w", "desk", [scope], days=1)
        monkeypatch.setenv("HOLDFAST_PANEL_KEY", shown)
        for words in (("list",), ("show",)):
            assert holdfast("queue", "webhooks", *words, *NET).code == code


@pytest.mark.usefixtures("ada")
def test_what_is_not_dead_is_neither_replayed_nor_dropped(holdfast: Holdfast, receivers: Receivers) -> None:
    assert receivers.got == []
    for act in ("replay", "drop"):
        done = holdfast("queue", "webhooks", act, NONE, *NET)
        assert ("error: webhook.unknown" in done.err, done.code) == (True, 1)
    done = holdfast("queue", "webhooks", "enable", NONE, *NET)
    assert "error: webhook.unknown" in done.err


# --- what it does ---------------------------------------------------------------------------------------------------


def test_endpoints_and_dead_letters_are_listed(holdfast: Holdfast, dead: dict[str, Any]) -> None:
    listed = holdfast("queue", "webhooks", "list", *NET).out
    assert listed == (
        f"{dead['webhook']}\n"
        "    https://hooks.test  queue default\n"
        "    told of CLEAR, HOLD, PROVISIONAL, RECALLED, REJECTED\n"
        "    dead 1  waiting 0  dropped 0  delivered 0\n"
        "    the last attempt failed: answered 500: no database\n"
    )
    assert holdfast("queue", "webhooks", "show", *NET).out == (
        f"{dead['delivery']}\n"
        f"    CLEAR of case {dead['case']}, event {dead['event']}\n"
        "    to https://hooks.test  queue default\n"
        "    attempts 1, ended 2026-01-01T12:00:10.000Z\n"
        "    answered 500: no database\n"
    )
    assert holdfast("queue", "webhooks", "show", "waiting", *NET).out == "none\n"
    value = json.loads(holdfast("queue", "webhooks", "list", "--json", *NET).out)
    assert value["webhooks"][0]["deliveries"]["dead"] == 1


def test_a_person_sends_a_dead_letter_again(
    holdfast: Holdfast, panel: PanelDesk, receivers: Receivers, dead: dict[str, Any], ada: None
) -> None:
    assert ada is None
    done = holdfast("queue", "webhooks", "replay", dead["delivery"], *NET)
    assert (done.out, done.code) == (f"{dead['delivery']} is waiting\n", 0)
    del receivers.answers[HOOK_URL]
    panel.deliver()
    assert [headers["webhook-id"] for _, headers, _ in receivers.got] == [dead["delivery"]] * 2
    again = holdfast("queue", "webhooks", "replay", dead["delivery"], *NET)
    assert "error: webhook.not_dead" in again.err


def test_a_person_drops_a_dead_letter(holdfast: Holdfast, dead: dict[str, Any], ada: None) -> None:
    assert ada is None
    done = holdfast("queue", "webhooks", "drop", dead["delivery"], "--json", *NET)
    assert json.loads(done.out) == {"delivery": dead["delivery"], "stands": "dropped"}
    assert "dropped by ada; before: answered 500" in holdfast("queue", "webhooks", "show", "dropped", *NET).out


def test_an_endpoint_that_was_gone_is_enabled(
    holdfast: Holdfast, panel: PanelDesk, receivers: Receivers, ada: None
) -> None:
    assert ada is None
    receivers.answers[HOOK_URL] = lambda: Answer(410)
    panel.clinic.case(stage="settled")
    panel.deliver()
    listed = holdfast("queue", "webhooks", "list", *NET).out
    assert "disabled since 2026-01-01T12:00:10.000Z: answered 410" in listed
    done = holdfast("queue", "webhooks", "enable", listed.split()[0], *NET)
    assert (done.out, done.code) == (f"{listed.split()[0]} is sent to again\n", 0)
