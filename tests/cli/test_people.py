"""``holdfast people`` and ``holdfast api-key`` beside the database of a panel."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.people_sql import SQLPeopleStore
from holdfast.cli import main
from holdfast.errors import RefusedError
from holdfast.review.people import PeopleConfig
from tests.cli.conftest import Outcome
from tests.helpers.people import CHEAP, PASSWORD, House

CODE = re.compile(r"\b[a-z2-7]{4}(?:-[a-z2-7]{4}){7}\b")
HEX = re.compile(r"\b[0-9a-f]{16,}\b")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
Holdfast = Callable[..., Outcome]


@pytest.fixture
def command(holdfast: Holdfast, monkeypatch: pytest.MonkeyPatch) -> Holdfast:
    """The command line with the two groups, in a folder without a network."""
    monkeypatch.setitem(main.COMMANDS, "people", ("holdfast.cli.people:people", "People of the panel"))
    monkeypatch.setitem(main.COMMANDS, "api-key", ("holdfast.cli.people:api_key", "Keys of the panel"))
    return holdfast


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / ".holdfast" / "panel" / "people.sqlite"


@pytest.fixture
def house(command: Holdfast, database: Path) -> Iterator[House]:
    """The same people as a panel sees them, with ada signed up by the operator's code."""
    done = command("people", "first")
    made = House(PeopleConfig(**CHEAP), SQLPeopleStore(f"sqlite:///{database}"))
    made.clock.now = SystemClock().now  # type: ignore[method-assign]
    made.run(made.door.redeem(CODE.findall(done.out)[0], PASSWORD, "ada", "Ada Lovelace"))
    yield made
    made.close()


def shown(outcome: Outcome) -> str:
    """What a command printed, without what differs each time."""
    text = HEX.sub("<hex>", CODE.sub("<code>", TIME.sub("<time>", outcome.out)))
    return f"{text}{outcome.err}-- exit {outcome.code} --\n"


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("people", "list"),
        ("people", "add", "ada"),
        ("people", "code", "ada"),
        ("people", "role", "ada", "--add", "admin"),
        ("people", "revoke", "ada"),
        ("people", "restore", "ada"),
        ("people", "sign-out", "ada"),
        ("people", "audit"),
        ("api-key", "add", "default", "--label", "robot", "--scope", "queue:read"),
        ("api-key", "list"),
        ("api-key", "revoke", "0" * 16),
    ],
)
def test_where_there_is_no_panel_nothing_is_begun_by_looking(
    command: Holdfast, database: Path, words: tuple[str, ...]
) -> None:
    done = command(*words)
    assert done.code == 1
    assert "error: people.none" in done.err
    assert "holdfast people first" in done.err
    assert not database.exists()


@pytest.mark.usefixtures("house")
@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("people", "first"), "people.not_first", 1),
        (("people", "add", "ada"), "people.taken", 1),
        (("people", "add", "not a name"), "people.name", 2),
        (("people", "add", "bob", "--display", "a\nb"), "people.text", 2),
        (("people", "add", "bob", "--role", "root"), "usage.arguments", 2),
        (("people", "code", "nobody"), "people.unknown", 1),
        (("people", "role", "ada"), "usage.arguments", 2),
        (("people", "role", "ada", "--add", "viewer", "--remove", "viewer"), "usage.arguments", 2),
        (("people", "role", "ada", "--remove", "admin"), "people.last_admin", 1),
        (("people", "revoke", "ada"), "people.last_admin", 1),
        (("people", "audit", "--head", "7"), "people.head", 2),
        (("api-key", "add", "default", "--label", "robot"), "usage.arguments", 2),
        (("api-key", "add", "default", "--label", "robot", "--scope", "all"), "usage.arguments", 2),
        (("api-key", "add", "W!", "--label", "robot", "--scope", "queue:read"), "people.workspace", 2),
        (("api-key", "add", "other2", "--label", "robot", "--scope", "queue:read"), "people.workspace", 2),
        (("api-key", "add", "default", "--label", "robot", "--scope", "case:decide"), "people.key_person", 2),
        (("api-key", "add", "default", "--label", "r", "--scope", "queue:read", "--days", "0"), "usage.arguments", 2),
        (("api-key", "revoke", "0" * 16), "people.no_key", 1),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_code(
    command: Holdfast, words: tuple[str, ...], code: str, exit_code: int
) -> None:
    done = command(*words)
    assert f"error: {code}:" in done.err
    assert done.code == exit_code
    assert done.out == ""


def test_no_command_takes_a_password(command: Holdfast) -> None:
    from holdfast.cli.people import api_key, people  # noqa: PLC0415

    for group in (people, api_key):
        for one in group.commands.values():
            assert not [option for option in one.params if "password" in str(option.name)]
    assert "password" in command("people", "add", "--help").out


# --- what they print ------------------------------------------------------------------------------------------------


def test_the_first_account(command: Holdfast) -> None:
    assert shown(command("people", "first", "--role", "reviewer")) == (
        "one-time code   <code>\n"
        "kept in         .holdfast/panel/people.sqlite\n"
        "Within 60 minutes, on the panel's sign-in page, it makes the first account.\n"
        "-- exit 0 --\n"
    )
    assert json.loads(command("people", "first", "--json").out).keys() == {"code", "minutes", "kept_in"}
    assert shown(command("people", "list")) == "nobody was let in yet\n-- exit 0 --\n"


def test_letting_somebody_in_and_out_again(command: Holdfast, house: House) -> None:
    done = command("people", "add", "Bob", "--display", "Bob Marsh", "--role", "reviewer")
    assert shown(done) == (
        "name            bob\n"
        "roles           reviewer\n"
        "one-time code   <code>\n"
        "Within 60 minutes, on the panel's sign-in page, it sets their password.\n"
        "-- exit 0 --\n"
    )
    bob = house.run(house.door.redeem(CODE.findall(done.out)[0], PASSWORD))
    assert shown(command("people", "list")) == (
        "ada  Ada Lovelace\n"
        "     roles: admin; can sign in; sessions: 1\n"
        "bob  Bob Marsh\n"
        "     roles: reviewer; can sign in; sessions: 1\n"
        "-- exit 0 --\n"
    )
    assert shown(command("people", "role", "bob", "--add", "auditor", "--remove", "reviewer")) == (
        "bob  roles: auditor; can sign in\n-- exit 0 --\n"
    )
    with pytest.raises(RefusedError):
        house.people.who(bob.token)
    bob = house.sign_in("bob")
    assert shown(command("people", "sign-out", "bob")) == "1 sessions ended\n-- exit 0 --\n"
    with pytest.raises(RefusedError):
        house.people.who(bob.token)
    assert shown(command("people", "revoke", "bob")) == "bob  roles: auditor; disabled <time>\n-- exit 0 --\n"
    with pytest.raises(RefusedError):
        house.sign_in("bob")
    assert shown(command("people", "restore", "bob")) == "bob  roles: auditor; can sign in\n-- exit 0 --\n"
    assert house.sign_in("bob")
    assert CODE.search(command("people", "code", "BOB").out)


def test_a_key_from_its_making_to_its_end(command: Holdfast, house: House) -> None:
    done = command("api-key", "add", "default", "--label", "robot", "--scope", "queue:read", "--scope", "queue:take")
    assert shown(done) == (
        "key      <hex>.<hex>\n"
        "scopes   queue:read, queue:take\n"
        "expires  <time>\n"
        "It is not kept and cannot be shown again.\n"
        "-- exit 0 --\n"
    )
    key = done.out.split()[1]
    assert house.people.key_holder(key).workspace == "default"
    listed = command("api-key", "list", "--workspace", "default")
    assert shown(listed).startswith("<hex>  default  robot\n")
    assert "last used: never" not in listed.out
    assert key.split(".")[1] not in listed.out
    assert shown(command("api-key", "list", "--workspace", "other")) == "no keys\n-- exit 0 --\n"
    assert shown(command("api-key", "revoke", key.split(".")[0])) == "<hex>  revoked <time>\n-- exit 0 --\n"
    with pytest.raises(RefusedError):
        house.people.key_holder(key)
    value = json.loads(command("api-key", "list", "--json").out)
    assert [row["revoked_at"] is not None for row in value["keys"]] == [True]
    made = json.loads(
        command(
            "api-key", "add", "default", "--label", "ada's", "--scope", "case:decide", "--person", "ada", "--json"
        ).out
    )
    assert house.people.key_holder(made["key"]).person == made["person"]


def test_an_audit_is_quiet_until_somebody_touches_the_database(command: Holdfast, house: House, database: Path) -> None:
    assert house.people.is_empty() is False
    quiet = command("people", "audit")
    assert re.fullmatch(r"head      \d+:<hex>\nfindings  0\n-- exit 0 --\n", shown(quiet))
    head = quiet.out.split()[1]
    assert command("people", "audit", "--head", head).code == 0
    assert command("people", "audit", "--head", f"1:{'0' * 64}").code == 1
    house.close()
    with sqlite3.connect(database) as connection:
        connection.execute("""UPDATE people_accounts SET roles = '["admin","approver"]'""")
    connection.close()
    loud = command("people", "audit", "--json")
    assert loud.code == 1
    value = json.loads(loud.out)
    assert [item["code"] for item in value["findings"]] == ["audit.account"]
    assert f"{value['head']['seq']}:{value['head']['digest']}" == head


def test_the_lists_of_people_hold_no_hash(command: Holdfast, house: House) -> None:
    assert house.people.local_account("ada")
    out = command("people", "list", "--json").out
    assert "argon2" not in out
    assert json.loads(out)["people"][0]["has_password"] is True


def test_a_settings_file_says_where_the_people_are(command: Holdfast, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.toml").write_text("[panel]\nlisten = '127.0.0.1:8700'\n")
    assert command("people", "list", "--config", "elsewhere.toml").code == 1
    assert command("people", "list", "--state", "nowhere").code == 2
