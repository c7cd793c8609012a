"""``holdfast audit`` against a log: what the heads in it show, and what is said where there is none to ask."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.adapters.people_sql import SQLPeopleStore
from holdfast.cli import audit
from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
from holdfast.core.statements import Statement, parse_envelope, parse_statement
from holdfast.errors import UnavailableError
from holdfast.review.anchors import HeadSigner, Link
from holdfast.review.log_audit import Logged
from holdfast.review.people import PeopleConfig
from tests.cli.conftest import Outcome
from tests.helpers.decisions import PANEL, PANEL_DOCUMENT, trust_with_panel
from tests.helpers.network import ed25519_signer
from tests.helpers.people import CHEAP, House
from tests.helpers.review import REVIEWER, Clinic

Holdfast = Callable[..., Outcome]
SIGNER = HeadSigner(PANEL, PANEL_DOCUMENT.digest)


class Believed:
    """As much of a network as the audit asks of it, with a log at hand."""

    def __init__(self, logged: Logged | Exception) -> None:
        self.logged = logged

    def load_trust(self) -> Any:
        return trust_with_panel()


class Panel:
    """A panel's folder, and the heads that the log holds of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / ".holdfast" / "panel"
        self.folder.mkdir(parents=True)
        self.heads: list[Statement] = []
        self.clinic = Clinic(SQLCaseStore(f"sqlite:///{self.folder / 'cases.sqlite'}"))
        self.house = House(PeopleConfig(**CHEAP), SQLPeopleStore(f"sqlite:///{self.folder / 'people.sqlite'}"))
        self.clinic.queue()
        case = self.clinic.case(stage="answered")
        self.house.first()
        self.anchor()
        self.clinic.desk.view(REVIEWER, case)
        self.clinic.desk.comment(REVIEWER, case, "as agreed")
        self.house.person("bob", "reviewer")
        self.anchor()
        self.clinic.desk.comment(REVIEWER, case, "said after the last head")

    def anchor(self) -> None:
        nonce = len(self.heads).to_bytes(32, "big")
        for journal, event in (
            ("cases", self.clinic.desk.anchor(nonce)),
            ("people", self.house.people.anchor(nonce)),
        ):
            signed = SIGNER.sign(journal, Link(event.seq, event.digest, event.kind, event.at))
            self.heads.append(parse_statement(parse_envelope(signed.envelope)))

    def close(self) -> None:
        self.clinic.store.close()
        self.house.close()

    def rewrite(self, file: str, table: str, column: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Write a chain anew as whoever owns the database can: every digest and link is right again."""
        connection = sqlite3.connect(self.folder / file)
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        previous = "0" * 64
        for seq, raw in connection.execute(f"SELECT seq, {column} FROM {table} ORDER BY seq").fetchall():
            value = {**canonical.decode_signed(raw), "previous": previous}
            change(value)
            new = canonical.encode(value)
            previous = sha256_hex(new)
            connection.execute(f"UPDATE {table} SET {column} = ?, digest = ? WHERE seq = ?", (new, previous, seq))
        if table == "case_events":
            connection.execute("UPDATE case_head SET digest = ?", (previous,))
        connection.commit()
        connection.close()


@pytest.fixture
def panel(holdfast: Holdfast, tmp_path: Path) -> Any:
    made = Panel(tmp_path)
    yield made
    made.close()


@pytest.fixture
def asked(holdfast: Holdfast, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """The command with a log that holds these heads, or raises."""

    def call(*words: str, heads: list[Statement] | Exception | None = None) -> Outcome:
        logged = (
            heads if isinstance(heads, Exception) else Logged({}, set(), tuple(panel.heads if heads is None else heads))
        )

        def answer(_: Any) -> Logged:
            if isinstance(logged, Exception):
                raise logged
            return logged

        monkeypatch.setattr(audit, "_network", lambda *_, **__: Believed(logged))
        monkeypatch.setattr(audit, "with_http", answer)
        return holdfast("audit", *words)

    return call


def comment(value: dict[str, Any]) -> None:
    if value["kind"] == "commented":
        value["body"] = {"text": "I never agreed"}


def role(value: dict[str, Any]) -> None:
    if value["kind"] == "account.added":
        value["actor"] = {"kind": "system", "id": "nobody"}


def test_a_journal_that_was_written_anew_is_whole_without_the_log_and_refused_with_it(
    asked: Callable[..., Outcome], panel: Panel
) -> None:
    panel.rewrite("cases.sqlite", "case_events", "raw", comment)
    assert "findings  0" in asked("--offline").out
    done = asked("--json")
    assert done.code == 1
    found = json.loads(done.out)["findings"]
    assert "audit.anchor" in [item["code"] for item in found]
    says = next(item["says"] for item in found if item["code"] == "audit.anchor")
    assert "which the log confirms" in says


def test_a_chain_of_people_that_was_written_anew_is_refused(asked: Callable[..., Outcome], panel: Panel) -> None:
    panel.rewrite("people.sqlite", "people_events", "document", role)
    done = asked("--json")
    assert done.code == 1
    assert [item["code"] for item in json.loads(done.out)["findings"]] == ["people.audit.anchor"]


def test_a_journal_that_was_cut_off_is_refused(asked: Callable[..., Outcome], panel: Panel) -> None:
    connection = sqlite3.connect(panel.folder / "cases.sqlite")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM case_events WHERE seq > 5")
    connection.commit()
    connection.close()
    done = asked()
    assert done.code == 1
    assert "ends at event 5" in done.out.replace("\n    ", " ")


def test_what_lies_after_the_newest_head_is_said(asked: Callable[..., Outcome]) -> None:
    done = asked()
    assert (done.code, "findings  0" in done.out) == (0, True)
    assert "anchored  cases: 2 of 2 heads in the log are events of it" in done.out
    assert "the log shows nothing of the 1 after it" in done.out
    value = json.loads(asked("--json").out)
    assert [(item["journal"], item["standing"], item["after"]) for item in value["anchors"]] == [
        ("cases", 2, 1),
        ("people", 2, 0),
    ]


def test_a_log_without_heads_shows_nothing_and_says_so(asked: Callable[..., Outcome]) -> None:
    done = asked(heads=[])
    assert (done.code, done.out.count("the log shows nothing of it yet")) == (0, 2)


def test_heads_in_the_panels_name_that_it_did_not_sign_count_for_nothing(asked: Callable[..., Outcome]) -> None:
    forger = HeadSigner(ed25519_signer("forger", "statement"), PANEL_DOCUMENT.digest)
    at = Clinic().now
    forged = parse_statement(parse_envelope(forger.sign("cases", Link(2, "ab" * 32, "anchored", at)).envelope))
    done = asked(heads=[forged])
    assert (done.code, "cases: 0 of 0 heads" in done.out) == (0, True)


def test_a_second_history_beside_the_first_is_refused(asked: Callable[..., Outcome], panel: Panel) -> None:
    """Whoever has the panel's key can sign heads of a rewritten journal; the old ones stay in the log."""
    first = panel.heads[0]
    rival = SIGNER.sign("cases", Link(first.body.seq, "ab" * 32, "anchored", first.claimed_at))  # type: ignore[union-attr]
    done = asked(heads=[*panel.heads, parse_statement(parse_envelope(rival.envelope))])
    assert done.code == 1
    assert "two different events" in done.out.replace("\n    ", " ")


def test_a_silent_log_leaves_it_undecided(asked: Callable[..., Outcome]) -> None:
    done = asked(heads=UnavailableError("http.unreachable", "nobody there"))
    assert (done.code, "not checked: the log: nobody there" in done.out) == (3, True)


def test_an_exported_journal_is_held_against_the_log_too(
    asked: Callable[..., Outcome], holdfast: Holdfast, panel: Panel
) -> None:
    assert holdfast("audit", "export", "-o", "journal").code == 0
    done = asked("journal")
    assert (done.code, "anchored  cases: 2 of 2" in done.out) == (0, True)
    lines = Path("journal").read_bytes().splitlines()
    Path("shorter").write_bytes(b"\n".join(lines[:4]) + b"\n")
    assert asked("shorter").code == 1
