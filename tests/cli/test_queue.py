"""``holdfast queue`` in front of a panel: rows without answers, work that is handed out once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from holdfast.ports.http import Answer
from holdfast.verifier.lanes import LANES
from tests.cli.conftest import Outcome
from tests.helpers.network import RUN
from tests.helpers.panel_desk import URL, PanelDesk

Holdfast = Callable[..., Outcome]
HEX = re.compile(r"\b[0-9a-f]{64}\b")
NET = ("--state", "net")


def shown(done: Outcome) -> str:
    return f"{HEX.sub('<hex>', done.out)}{HEX.sub('<hex>', done.err)}-- exit {done.code} --\n"


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("panel")
@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("list", "--panel", URL, *NET), "network.which", 2),
        (("list", "--panel", "ftp://x"), "network.url", 2),
        (("list", "--state", "nowhere"), "network.none", 2),
        (("list", "--api-key", "hf_secret", *NET), "network.key", 2),
        (("show", "nothing", *NET), "queue.unknown", 1),
        (("show", "default", "--stands", "GREEN", *NET), "usage.arguments", 2),
        (("show", "default", "--limit", "101", *NET), "usage.arguments", 2),
        (("next", "default", *NET), "usage.arguments", 2),
        (("next", "default", "--consumer", "The Desk", *NET), "case.consumer", 2),
        (("next", "default", "--consumer", "desk", "--lease", "0", *NET), "usage.arguments", 2),
        (("next", "The Queue", "--consumer", "desk", *NET), "queue.name", 2),
        (("done", "1", "--consumer", "desk", "--key", "00", *NET), "case.id", 1),
        (("give-back", "x/../y", "--consumer", "desk", "--key", "00", *NET), "case.id", 1),
    ],
)
def test_what_makes_no_sense_is_refused(holdfast: Holdfast, words: tuple[str, ...], code: str, exit_code: int) -> None:
    done = holdfast("queue", *words)
    assert f"error: {code}:" in done.err
    assert (done.out, done.code) == ("", exit_code)


def test_a_network_without_a_panel_is_told_so(holdfast: Holdfast, panel: PanelDesk) -> None:
    (panel.folder / "net" / "network.json").write_text('{"gateway": "http://127.0.0.1:8500"}')
    done = holdfast("queue", "list", *NET)
    assert "error: network.incomplete" in done.err
    assert panel.asked == []


def test_the_workspace_key_never_reaches_a_panel(
    holdfast: Holdfast, panel: PanelDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_KEY", "hf_workspace")
    assert holdfast("queue", "list", *NET).code == 0
    monkeypatch.setenv("HOLDFAST_PANEL_KEY", "ab.cd")
    assert holdfast("queue", "list", *NET).code == 0
    sent = [headers.get("authorization") for _, _, headers in panel.asked]
    assert sent == [None, "Bearer ab.cd"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"[]"),
        Answer(200, b'{"queues": 1}'),
        Answer(200, b'{"queues": [{"name": "default"}]}'),
        Answer(303, b""),
        Answer(500, b"<html>"),
    ],
)
def test_what_is_no_panel_is_not_believed(holdfast: Holdfast, panel: PanelDesk, answer: Answer) -> None:
    panel.answers["/v1/queues"] = answer
    done = holdfast("queue", "list", *NET)
    assert done.code != 0
    assert done.out == ""
    assert re.search(r"error: (panel\.answer|json\.\w+)", done.err)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "APPROVED"},
        {"lanes": {}},
        {"reasons": "none"},
        {"id": 7},
        {"lanes": {name: {"state": "good", "basis": None, "says": "", "evidence": []} for name in LANES}},
    ],
)
def test_a_row_that_the_gate_could_not_have_made_is_not_shown(
    holdfast: Holdfast, panel: PanelDesk, change: dict[str, object]
) -> None:
    panel.clinic.queue()
    panel.clinic.case(stage="answered")
    page = json.loads(holdfast("queue", "show", "default", "--json", *NET).out)
    page["cases"][0] |= change
    panel.answers["/v1/cases"] = Answer(200, json.dumps(page).encode())
    done = holdfast("queue", "show", "default", *NET)
    assert "error: panel.answer" in done.err
    assert (done.out, done.code) == ("", 1)


def test_a_panel_that_is_away_is_said_to_be(holdfast: Holdfast, panel: PanelDesk) -> None:
    panel.silent = True
    done = holdfast("queue", "next", "default", "--consumer", "desk", *NET)
    assert "error: http.unreachable" in done.err
    assert done.code == 1


# --- what it prints -------------------------------------------------------------------------------------------------


def test_a_queue_of_rows(holdfast: Holdfast, panel: PanelDesk) -> None:
    panel.clinic.queue()
    panel.clinic.case(stage="answered", subject="refund 7\u202e")
    assert shown(holdfast("queue", "list", *NET)) == (
        "default\n    policy <hex>\n    HOLD 1  PROVISIONAL 0  CLEAR 0  REJECTED 0  RECALLED 0\n-- exit 0 --\n"
    )
    assert shown(holdfast("queue", "show", "default", *NET)) == (
        "queue  default, policy <hex>\n"
        "       HOLD 1  PROVISIONAL 0  CLEAR 0  REJECTED 0  RECALLED 0\n"
        "\n"
        "HOLD         00000000-0000-4000-8000-000000000001\n"
        f"    run {RUN}, opened 2026-01-01T12:00:10.000Z, changed 2026-01-01T12:00:10.000Z\n"
        "    subject: refund 7\\u202e\n"
        "    gate.lane_state: settlement is pending: answered; not in the log yet.\n"
        "    ? enclave      unknown          ● bytes        proven           ? artifact     unknown\n"
        "    ? computation  unknown          · inputs       not applicable   · memory       not applicable\n"
        "    ● route        proven           ? privacy      unknown          · payment      not applicable\n"
        "    ◔ settlement   pending          · judgement    not applicable\n"
        "-- exit 0 --\n"
    )


def test_rows_hold_no_journal_and_no_answer(holdfast: Holdfast, panel: PanelDesk) -> None:
    panel.clinic.queue()
    panel.clinic.case(stage="settled")
    value = json.loads(holdfast("queue", "show", "default", "--json", *NET).out)
    (row,) = value["cases"]
    assert list(row["lanes"]) == list(LANES)
    assert "events" not in row
    assert "What is a lane?" not in json.dumps(value)


def test_a_queue_is_narrowed_and_read_page_by_page(holdfast: Holdfast, panel: PanelDesk) -> None:
    panel.clinic.queue()
    panel.clinic.case(stage="settled")
    assert "HOLD         " not in holdfast("queue", "show", "default", "--stands", "CLEAR", *NET).out
    assert "CLEAR        " in holdfast("queue", "show", "default", "--stands", "CLEAR", *NET).out
    assert "CLEAR        " not in holdfast("queue", "show", "default", "--stands", "HOLD", *NET).out
    page = holdfast("queue", "show", "default", "--limit", "1", *NET).out
    after = re.search(r"there is more: --after (\d+)", page)
    assert after is not None
    assert "CLEAR        " not in holdfast("queue", "show", "default", "--after", after[1], *NET).out


def test_a_queue_that_nobody_wrote_a_policy_for_says_so(holdfast: Holdfast, panel: PanelDesk) -> None:
    assert holdfast("queue", "list", *NET).out == "no queues yet\n"
    panel.clinic.case("other")
    assert ", the empty one: nothing is ever clear in this queue" in holdfast("queue", "list", *NET).out


def test_work_is_taken_once_and_done(holdfast: Holdfast, panel: PanelDesk) -> None:
    panel.clinic.queue()
    case = panel.clinic.case(stage="answered")
    none = holdfast("queue", "next", "default", "--consumer", "desk-1", *NET)
    assert shown(none) == "nothing to hand out now\n-- exit 3 --\n"
    held = holdfast("queue", "next", "default", "--consumer", "desk-1", "--include-hold", *NET)
    assert held.code == 3
    assert f"held, and not handed out: 1\n\nHOLD         {case}" in held.out
    panel.clinic.note(case, "settled")
    taken = holdfast("queue", "next", "default", "--consumer", "desk-1", "--lease", "30", *NET)
    assert taken.code == 0
    assert shown(taken).startswith(
        f"case      {case}\n"
        "consumer  desk-1\n"
        "key       <hex>\n"
        "until     2026-01-01T12:00:40.000Z\n"
        f"evidence  {URL}/runs/{RUN}/bundle\n"
        "\n"
        f"CLEAR        {case}\n"
    )
    key = HEX.findall(taken.out)[0]
    assert holdfast("queue", "next", "default", "--consumer", "desk-2", *NET).code == 3
    wrong = holdfast("queue", "done", case, "--consumer", "desk-2", "--key", key, *NET)
    assert "error: case.lease" in wrong.err
    assert wrong.code == 1
    back = holdfast("queue", "give-back", case, "--consumer", "desk-1", "--key", key, *NET)
    assert shown(back) == f"{case} is given back; it stands CLEAR\n-- exit 0 --\n"
    again = json.loads(holdfast("queue", "next", "default", "--consumer", "desk-2", "--json", *NET).out)
    assert again["handed"]["key"] == key
    done = holdfast("queue", "done", case, "--consumer", "desk-2", "--key", key, *NET)
    assert shown(done) == f"{case} is handed over; it stands CLEAR\n-- exit 0 --\n"


def test_work_on_a_case_that_was_recalled_has_to_be_taken_back(holdfast: Holdfast, panel: PanelDesk) -> None:
    panel.clinic.queue()
    case = panel.clinic.case(stage="settled")
    taken = holdfast("queue", "next", "default", "--consumer", "desk-1", *NET)
    key = HEX.findall(taken.out)[0]
    panel.clinic.note(case, "refuted", seconds=11)
    done = holdfast("queue", "done", case, "--consumer", "desk-1", "--key", key, *NET)
    assert shown(done) == (
        f"{case} is handed over; it stands RECALLED\nWhat was done with it has to be taken back.\n-- exit 1 --\n"
    )


def test_a_policy_file_that_is_not_in_force_is_told(holdfast: Holdfast, panel: PanelDesk) -> None:
    panel.clinic.queue()
    told = json.loads(holdfast("queue", "list", "--json", *NET).out)
    told["trouble"] = {"default": "it is not UTF-8"}
    panel.answers["/v1/queues"] = Answer(200, json.dumps(told).encode())
    assert "policy file of default: not in force as it stands: it is not UTF-8" in holdfast("queue", "list", *NET).out
