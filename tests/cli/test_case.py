"""``holdfast case``: a case as its panel tells it, as a file, and a person's acts under their own name."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.ports.http import Answer
from holdfast.review.events import SYSTEM
from holdfast.review.roles import OPERATOR
from tests.cli.conftest import Outcome
from tests.helpers.network import RUN
from tests.helpers.panel_desk import URL, PanelDesk
from tests.helpers.people import PASSWORD
from tests.helpers.review import REVIEWER, evidence

Holdfast = Callable[..., Outcome]
HEX = re.compile(r"\b[0-9a-f]{64}\b")
NET = ("--state", "net")
SESSION = Path("net") / "keys" / "panel-session.json"
NOWHERE = "00000000-0000-4000-8000-00000000ffff"


@pytest.fixture
def case(panel: PanelDesk) -> str:
    """A case whose answer is not in the log yet."""
    panel.clinic.queue()
    return panel.clinic.case(stage="answered")


def kinds(panel: PanelDesk, case: str) -> list[str]:
    return panel.clinic.kinds(case)


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("panel")
@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("show", "1"), "case.id", 1),
        (("show", NOWHERE), "case.unknown", 1),
        (("list", "--run", "1"), "usage.run", 2),
        (("list", "--stands", "DONE"), "usage.arguments", 2),
        (("export", NOWHERE, "-o", "x.json"), "case.unknown", 1),
        (("export", NOWHERE), "usage.arguments", 2),
        (("open", NOWHERE), "people.sign_in_first", 1),
        (("comment", NOWHERE, "a text"), "people.sign_in_first", 1),
        (("decide", NOWHERE, "approve", "--reason", "x"), "people.sign_in_first", 1),
        (("decide", NOWHERE, "clear", "--reason", "x"), "usage.arguments", 2),
        (("decide", NOWHERE, "approve"), "usage.arguments", 2),
        (("release", NOWHERE, "--for", "600", "--reason", "x"), "people.sign_in_first", 1),
        (("release", NOWHERE, "--for", "0", "--reason", "x"), "usage.arguments", 2),
        (("reopen", NOWHERE, "--reason", "x"), "people.sign_in_first", 1),
        (("claim", NOWHERE), "people.sign_in_first", 1),
        (("sign-out",), "people.sign_in_first", 1),
        (("open", RUN, "--queue", "default"), "people.sign_in_first", 1),
        (("open", "1", "--queue", "default"), "usage.run", 2),
        (("open", RUN, "--queue", "default", "-o", "x"), "usage.arguments", 2),
        (("open", RUN, "--subject", "x"), "usage.arguments", 2),
        (("recall", "--evidence", "00" * 32), "usage.arguments", 2),
        (("recall", "--evidence", "00" * 32, "--cause", "x"), "people.sign_in_first", 1),
        (("recall", "--evidence", "00" * 32, "--dry-run"), "people.sign_in_first", 1),
        (("recall", "--cause", "x"), "usage.arguments", 2),
        (("relate", NOWHERE), "usage.arguments", 2),
        (("relate", NOWHERE, "--case", NOWHERE, "--reference", "x"), "usage.arguments", 2),
        (("sign-in", "ada", "--password", "in clear"), "network.key", 2),
    ],
)
def test_what_makes_no_sense_or_has_no_name_is_refused(
    holdfast: Holdfast, words: tuple[str, ...], code: str, exit_code: int
) -> None:
    done = holdfast("case", *words, *NET)
    assert f"error: {code}:" in done.err
    assert (done.out, done.code) == ("", exit_code)


def test_nobody_acts_with_a_key(holdfast: Holdfast, case: str, panel: PanelDesk) -> None:
    for words in (("open", case), ("decide", case, "approve", "--reason", "x"), ("comment", case, "x")):
        done = holdfast("case", *words, "--api-key", "env:ANY", *NET)
        assert "error: usage.arguments" in done.err
    assert panel.asked == []


def test_a_session_is_sent_to_its_own_panel_alone(holdfast: Holdfast, case: str, panel: PanelDesk) -> None:
    SESSION.parent.mkdir()
    SESSION.write_text('{"url": "http://127.0.0.1:1", "cookie": "a=b", "token": "c"}')
    done = holdfast("case", "open", case, *NET)
    assert "error: people.sign_in_first" in done.err
    assert panel.asked == []


@pytest.mark.parametrize("text", ["{}", '{"url": 1, "cookie": "a=b", "token": "c"}', "[]", "x"])
def test_a_damaged_session_file_is_not_used(holdfast: Holdfast, case: str, panel: PanelDesk, text: str) -> None:
    SESSION.parent.mkdir()
    SESSION.write_text(text)
    done = holdfast("case", "open", case, *NET)
    assert re.search(r"error: (panel\.session|json\.)", done.err)
    assert panel.asked == []


# --- reading --------------------------------------------------------------------------------------------------------


def test_a_case_is_shown_and_its_journal_does_not_grow(holdfast: Holdfast, case: str, panel: PanelDesk) -> None:
    panel.clinic.desk.comment(REVIEWER, case, "ask the customer")
    before = kinds(panel, case)
    out = holdfast("case", "show", case, *NET).out
    assert out.startswith(f"case    {case}\nqueue   default, run {RUN}\nstands  HOLD; opened 2026-01-01T12:00:10.000Z")
    assert "\nwhy\n    gate.lane_state: settlement is pending" in out
    assert "\nsettlement   proven by development or proof\n" in out
    assert "commented         person rita\n        text      ask the customer\n" in out
    assert kinds(panel, case) == before
    value = json.loads(holdfast("case", "show", case, "--json", *NET).out)
    assert value["id"] == case
    assert [event["kind"] for event in value["events"]] == before


def test_cases_of_a_run_are_listed(holdfast: Holdfast, case: str) -> None:
    assert holdfast("case", "list", "--run", RUN, *NET).out.startswith(f"HOLD         {case}\n")
    assert holdfast("case", "list", "--queue", "other", *NET).out == "no such cases\n"
    value = json.loads(holdfast("case", "list", "--json", *NET).out)
    assert [row["id"] for row in value["cases"]] == [case]
    assert (
        f"there is more: --after {value['cases'][0]['position']}" in holdfast("case", "list", "--limit", "1", *NET).out
    )


# --- exporting ------------------------------------------------------------------------------------------------------


def test_an_exported_case_is_judged_without_the_panel(holdfast: Holdfast, case: str, panel: PanelDesk) -> None:
    panel.bundles[RUN] = evidence("settled")
    panel.clinic.note(case, "settled")
    done = holdfast("case", "export", case, "-o", "case.json", *NET)
    assert (done.out, done.code) == ("", 0)
    assert re.fullmatch(rf"case {case}, \d+ events, evidence: \d+ bytes\n", done.err)
    value = json.loads(Path("case.json").read_text())
    assert value["bundle"].encode() == evidence("settled")
    assert len(value["policies"]) == 1
    panel.silent = True
    judged = holdfast("audit", "case.json")
    assert judged.code == 0
    assert "stands    CLEAR\n" in judged.out
    assert "findings  0\n" in judged.out
    spoiled = Path("case.json").read_text().replace('\\"kind\\":\\"cleared\\"', '\\"kind\\":\\"provisional\\"')
    Path("spoiled.json").write_text(spoiled)
    loud = json.loads(holdfast("audit", "spoiled.json", "--json").out)
    assert {"audit.gate"} <= {item["code"] for item in loud["findings"]}


def test_evidence_that_is_not_to_be_had_is_said_to_be_missing(holdfast: Holdfast, case: str, panel: PanelDesk) -> None:
    done = holdfast("case", "export", case, "-o", "case.json", *NET)
    assert "evidence: not to be had now: " in done.err
    assert json.loads(Path("case.json").read_text())["bundle"] is None
    panel.bundles[RUN] = evidence("answered")
    holdfast("case", "export", case, "-o", "case.json", "--without-evidence", *NET)
    assert json.loads(Path("case.json").read_text())["bundle"] is None


def test_where_an_export_was_written_is_told_as_json(holdfast: Holdfast, case: str) -> None:
    done = holdfast("case", "export", case, "-o", "case.json", "--json", *NET)
    value = json.loads(done.out)
    assert (value["case"], value["written"]) == (case, "case.json")
    assert value["evidence"].startswith("not to be had now")
    assert value["events"] == len(json.loads(Path("case.json").read_text())["events"])


def test_a_panel_that_exports_nonsense_is_not_followed(holdfast: Holdfast, case: str, panel: PanelDesk) -> None:
    panel.answers[f"/v1/cases/{case}/export"] = Answer(200, b'{"events": []}')
    done = holdfast("case", "export", case, "-o", "case.json", *NET)
    assert "error: panel.answer" in done.err
    assert not Path("case.json").exists()


# --- a person's acts ------------------------------------------------------------------------------------------------


@pytest.fixture
def rita(holdfast: Holdfast, panel: PanelDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reviewer who may approve too, signed in at the terminal."""
    panel.house.first(["admin"])
    panel.house.person("rita", "reviewer", "approver")
    monkeypatch.setenv("RITA", PASSWORD)
    done = holdfast("case", "sign-in", "rita", "--password", "env:RITA", *NET)
    assert done.code == 0, done.err
    assert done.out == f"signed in as rita: approver, reviewer\nthe session is kept in {SESSION}\n"


@pytest.mark.usefixtures("rita")
def test_a_session_is_kept_for_its_owner_alone(holdfast: Holdfast, panel: PanelDesk) -> None:
    assert stat.S_IMODE(SESSION.stat().st_mode) == 0o600
    kept = json.loads(SESSION.read_text())
    assert kept["url"] == URL
    assert PASSWORD not in SESSION.read_text()
    assert holdfast("case", "sign-out", *NET).out == "signed out\n"
    assert not SESSION.exists()
    assert panel.asked[-1][1] == "/v1/session/end"


def test_a_wrong_password_keeps_nothing(holdfast: Holdfast, panel: PanelDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    panel.house.first(["admin"])
    monkeypatch.setenv("ADA", "not the password")
    done = holdfast("case", "sign-in", "ada", "--password", "env:ADA", *NET)
    assert "error: people.sign_in" in done.err
    assert done.code == 1
    assert not SESSION.exists()


@pytest.mark.usefixtures("rita")
def test_whoever_decides_has_opened_the_case(holdfast: Holdfast, case: str, panel: PanelDesk) -> None:
    blind = holdfast("case", "decide", case, "reject", "--reason", "no", *NET)
    assert "error: case.not_viewed" in blind.err
    assert blind.code == 1
    opened = holdfast("case", "open", case, "-o", "evidence.json", *NET)
    assert opened.code == 0
    assert Path("evidence.json").read_bytes() == evidence("answered")
    assert kinds(panel, case)[-1] == "viewed"
    assert holdfast("case", "comment", case, "the source is missing", *NET).out.startswith(f"{case} stands HOLD\n")
    moved = holdfast("case", "decide", case, "reject", "--reason", "no", "--lanes", "00" * 32, *NET)
    assert "error: case.lanes_moved" in moved.err
    done = holdfast("case", "decide", case, "reject", "--reason", "no", "--role", "reviewer", *NET)
    assert done.out.startswith(f"{case} stands REJECTED\n")
    assert panel.clinic.state(case) == "REJECTED"
    assert holdfast("case", "open", case, *NET).code == 0
    assert holdfast("case", "reopen", case, "--reason", "it came", *NET).out.startswith(f"{case} stands HOLD\n")


@pytest.mark.usefixtures("rita")
def test_a_release_is_for_a_time_and_marked(
    holdfast: Holdfast, case: str, panel: PanelDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.cli.case.now", lambda: panel.clinic.now)
    assert holdfast("case", "claim", case, "--lease", "60", *NET).code == 0
    holdfast("case", "open", case, *NET)
    long = holdfast("case", "release", case, "--for", "3601", "--reason", "the customer waits", *NET)
    assert "error: case.release" in long.err
    done = holdfast("case", "release", case, "--for", "600", "--reason", "the customer waits", "--json", *NET)
    value = json.loads(done.out)
    assert (value["state"], value["released_early"]) == ("PROVISIONAL", True)
    assert "It was released early: before its proof." in holdfast("case", "show", case, *NET).out
    assert holdfast("case", "let-go", case, *NET).code == 0


def test_reading_takes_a_name_once_somebody_has_one(
    holdfast: Holdfast, case: str, panel: PanelDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever signed in reads as themselves; a key goes before that."""
    assert holdfast("case", "show", case, *NET).code == 0
    panel.house.first(["admin", "auditor"])
    refused = holdfast("case", "show", case, *NET)
    assert ("error: people.key" in refused.err, refused.code) == (True, 1)
    monkeypatch.setenv("ADA", PASSWORD)
    assert holdfast("case", "sign-in", "ada", "--password", "env:ADA", *NET).code == 0
    assert holdfast("case", "show", case, *NET).code == 0
    assert holdfast("case", "export", case, "--without-evidence", "-o", "case.json", *NET).code == 0
    _, secret = panel.house.people.add_key(OPERATOR, "w", "takes", ["queue:take"])
    monkeypatch.setenv("HOLDFAST_PANEL_KEY", secret)
    assert "error: people.denied" in holdfast("case", "show", case, *NET).err


def test_an_approval_clears_nothing_by_itself(holdfast: Holdfast, case: str, rita: None) -> None:
    assert rita is None
    holdfast("case", "open", case, *NET)
    done = holdfast("case", "decide", case, "approve", "--reason", "it is as agreed", *NET)
    assert done.out.startswith(f"{case} stands HOLD\n    gate.lane_state: settlement is pending")


def test_signing_out_says_what_was_forgotten_as_json(holdfast: Holdfast, rita: None) -> None:
    assert rita is None
    value = json.loads(holdfast("case", "sign-out", "--json", *NET).out)
    assert value == {"signed_out": URL, "forgotten": str(SESSION)}
    assert not SESSION.exists()


def test_a_case_is_opened_by_hand_in_a_queue_with_a_policy(holdfast: Holdfast, panel: PanelDesk, rita: None) -> None:
    assert rita is None
    panel.clinic.queue("payments")
    unknown = holdfast("case", "open", RUN, "--queue", "nothing", *NET)
    assert "error: queue.unknown" in unknown.err
    gone = holdfast("case", "open", RUN[:-1] + "0", "--queue", "payments", *NET)
    assert "error: run.unknown" in gone.err
    done = holdfast("case", "open", RUN, "--queue", "payments", "--subject", "invoice 2207", "--json", *NET)
    value = json.loads(done.out)
    assert (value["queue"], value["run"], value["subject"]) == ("payments", RUN, "invoice 2207")
    assert value["events"][0]["actor"] == {"kind": "person", "id": "rita"}
    again = holdfast("case", "open", RUN, "--queue", "payments", *NET)
    assert again.out.startswith(f"{value['id']} stands HOLD\n")


def test_a_recall_says_first_what_it_would_reach(holdfast: Holdfast, panel: PanelDesk, rita: None) -> None:
    assert rita is None
    panel.clinic.queue()
    panel.clinic.queue("payments")
    base, leaning = panel.clinic.case(stage="settled"), panel.clinic.case("payments", stage="answered")
    related = holdfast("case", "relate", base, "--case", leaning, *NET)
    assert related.out == f"what relied on case {base}:\n    case {leaning}\n"
    value = json.loads(holdfast("case", "relate", leaning, "--reference", "invoice 2207", "--json", *NET).out)
    assert value["dependants"] == [{"kind": "reference", "target": "invoice 2207"}]
    digest = panel.clinic.desk.case(SYSTEM, base).view.lanes["settlement"].evidence[0]
    before = panel.clinic.kinds(base), panel.clinic.kinds(leaning)
    plan = holdfast("case", "recall", "--evidence", digest, "--dry-run", *NET)
    assert plan.out == (
        f"let through on it: 1\n    CLEAR        {base}  queue default\n"
        f"relied on those: 1\n    HOLD         {leaning}  queue payments\n"
        f"outside, to be told by you: 1\n    invoice 2207  relied on case {leaning}\n"
        "nothing was changed\n"
    )
    assert (panel.clinic.kinds(base), panel.clinic.kinds(leaning)) == before
    assert json.loads(holdfast("case", "recall", "--evidence", digest, "--dry-run", "--json", *NET).out)["evidence"]
    done = holdfast("case", "recall", "--evidence", digest, "--cause", "the finality key was stolen", *NET)
    assert done.out.startswith(f"recalled 2\n    {base}\n    {leaning}\noutside, to be told by you: 1\n")
    assert panel.clinic.state(base) == panel.clinic.state(leaning) == "RECALLED"
    again = holdfast("case", "recall", "--evidence", digest, "--cause", "again", "--json", *NET)
    assert json.loads(again.out) == {"cases": [], "references": [], "acts": []}


def test_a_key_that_takes_work_says_what_relied_on_it(
    holdfast: Holdfast, case: str, panel: PanelDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.house.first(["admin"])
    for scope, code in (("queue:read", 1), ("queue:take", 0)):
        _, shown = panel.house.people.add_key(OPERATOR, "w", "desk", [scope], days=1)
        monkeypatch.setenv("HOLDFAST_PANEL_KEY", shown)
        done = holdfast("case", "relate", case, "--reference", "invoice 2207", *NET)
        assert done.code == code, done.err
    assert kinds(panel, case)[-1] == "dependant_added"
