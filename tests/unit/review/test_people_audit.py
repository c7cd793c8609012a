"""Whatever is changed behind the panel's back, the audit notices."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
from holdfast.errors import MalformedError
from holdfast.ports.people_store import StoredEvent
from holdfast.review.people_audit import (
    KINDS,
    NO_EVENT,
    Author,
    Head,
    Rows,
    build_event,
    check_people,
    head_of,
    parse_event,
)
from holdfast.review.roles import OPERATOR
from tests.helpers.people import House

ANOTHER_ADMIN = """INSERT INTO people_accounts
SELECT 'x', 'eve', display, source, 'x', roles, password, made_at, disabled_at FROM people_accounts LIMIT 1"""
SPEC = (Path(__file__).parents[3] / "spec" / "people.md").read_text("utf-8")


@pytest.fixture
def house() -> Iterator[House]:
    """With something of everything in its tables."""
    made = House()
    made.first()
    bob = made.person("bob", "reviewer")
    made.people.add_key(bob.principal, "w", "bob's robot", ["case:decide"], person="bob")
    row, _ = made.people.add_key(OPERATOR, "w", "robot", ["queue:read"])
    made.people.revoke_key(OPERATOR, row.id)
    made.people.add(OPERATOR, "new", "New", ["viewer"])
    yield made
    made.close()


def codes(house: House) -> set[str]:
    """Codes of what the audit finds."""
    return {finding.code for finding in house.people.audit(OPERATOR)[1]}


def chain(house: House) -> list[StoredEvent]:
    with house.store.reading() as tables:
        return tables.events()


def rows(house: House) -> Rows:
    with house.store.reading() as tables:
        return Rows(tables.accounts(), tables.sessions(), tables.keys(), tables.codes())


def alter(house: House, statement: str) -> None:
    """What somebody does who owns the database: the triggers are no obstacle."""
    with house.store._engine.begin() as connection:  # type: ignore[attr-defined]
        for name in ("people_events_no_update", "people_events_no_delete"):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
        for part in statement.split(";"):
            connection.execute(sa.text(part))


# --- the chain ------------------------------------------------------------------------------------------------------


def test_an_untouched_house_has_no_findings(house: House) -> None:
    head, findings = house.people.audit(OPERATOR)
    assert findings == ()
    assert head == head_of(chain(house)[-1])


def test_any_changed_byte_of_any_event_is_noticed(house: House) -> None:
    events, told = chain(house), rows(house)
    for place, stored in enumerate(events):
        for position in range(0, len(stored.document), 7):
            changed = bytearray(stored.document)
            changed[position] ^= 1
            altered = [*events[:place], dataclasses.replace(stored, document=bytes(changed)), *events[place + 1 :]]
            assert check_people(altered, told)[1], f"byte {position} of event {stored.seq}"


def test_an_event_changed_together_with_its_digest_is_noticed(house: House) -> None:
    events, told = chain(house), rows(house)
    for place, stored in enumerate(events[:-1]):
        document = stored.document.replace(b'"at":"2026', b'"at":"2025')
        altered = [*events[:place], StoredEvent(stored.seq, sha256_hex(document), document), *events[place + 1 :]]
        assert "audit.chain" in {finding.code for finding in check_people(altered, told)[1]}


def test_an_event_removed_moved_or_put_in_twice_is_noticed(house: House) -> None:
    events, told = chain(house), rows(house)
    for place in range(len(events) - 1):
        without = events[:place] + events[place + 1 :]
        swapped = [*events[:place], events[place + 1], events[place], *events[place + 2 :]]
        twice = [*events[: place + 1], *events[place:]]
        for altered in (without, swapped, twice):
            assert "audit.sequence" in {finding.code for finding in check_people(altered, told)[1]}


def test_a_chain_cut_off_or_written_anew_is_noticed_by_whoever_kept_a_head(house: House) -> None:
    events = chain(house)
    head = head_of(events[-1])
    assert house.people.audit(OPERATOR, [head, head_of(events[2]), Head(0, NO_EVENT)])[1] == ()
    findings = check_people(events[:-1], rows(house), [head])[1]
    assert "audit.head" in {finding.code for finding in findings}
    assert [finding.code for finding in check_people(events, rows(house), [Head(3, "0" * 64)])[1]] == ["audit.head"]


def test_an_event_about_what_never_was_is_noticed() -> None:
    first = build_event(
        Head(0, NO_EVENT), House().clock.now(), "account.roles", Author("operator", "x"), "nobody", {"roles": ["admin"]}
    )
    assert [finding.code for finding in check_people([first], Rows())[1]] == ["audit.order"]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "urn:holdfast:case-event:v1"},
        {"seq": "1"},
        {"seq": True},
        {"kind": "account.removed"},
        {"actor": "ada"},
        {"actor": {"kind": "person"}},
        {"actor": {"kind": "person", "id": 7}},
        {"account": 7},
        {"body": []},
        {"previous": "zz"},
        {"at": "yesterday"},
        {"extra": 1},
    ],
)
def test_what_is_no_event_is_not_read_as_one(house: House, change: dict[str, canonical.JSON]) -> None:
    stored = chain(house)[0]
    document = canonical.encode(canonical.decode_signed(stored.document) | change)
    with pytest.raises(MalformedError):
        parse_event(StoredEvent(1, sha256_hex(document), document))


def test_an_event_of_an_unknown_kind_is_never_written(house: House) -> None:
    with pytest.raises(MalformedError):
        build_event(Head(0, NO_EVENT), house.clock.now(), "account.removed", Author("operator", "x"), None, {})


# --- the rows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("""UPDATE people_accounts SET roles = '["admin"]' WHERE name = 'bob'""", "audit.account"),
        ("UPDATE people_accounts SET disabled_at = '2026-01-01T00:00:00.000Z' WHERE name = 'bob'", "audit.account"),
        ("UPDATE people_accounts SET password = (SELECT password FROM people_accounts LIMIT 1)", "audit.account"),
        ("UPDATE people_accounts SET password = 'x' WHERE name = 'new'", "audit.account"),
        ("UPDATE people_accounts SET roles = 'admin' WHERE name = 'bob'", "audit.account"),
        ("UPDATE people_accounts SET roles = '7' WHERE name = 'bob'", "audit.account"),
        ("UPDATE people_accounts SET display = 'Ada' WHERE name = 'bob'", "audit.account"),
        ("UPDATE people_accounts SET name = 'eve' WHERE name = 'bob'", "audit.account"),
        ("UPDATE people_accounts SET source = 'https://evil.example' WHERE name = 'bob'", "audit.account"),
        (ANOTHER_ADMIN, "audit.account"),
        ("DELETE FROM people_codes; DELETE FROM people_accounts WHERE name = 'new'", "audit.account"),
        ("""UPDATE people_keys SET scopes = '["case:decide","queue:take"]'""", "audit.key"),
        ("UPDATE people_keys SET revoked_at = NULL", "audit.key"),
        ("UPDATE people_keys SET expires_at = '2099-01-01T00:00:00.000Z'", "audit.key"),
        ("UPDATE people_keys SET digest = 'x'", "audit.key"),
        ("UPDATE people_keys SET person = NULL", "audit.key"),
        ("UPDATE people_keys SET workspace = 'other'", "audit.key"),
        ("DELETE FROM people_keys", "audit.key"),
        ("UPDATE people_sessions SET ends_at = '2099-01-01T00:00:00.000Z'", "audit.session"),
        ("UPDATE people_sessions SET account = (SELECT id FROM people_accounts WHERE name = 'ada')", "audit.session"),
        ("UPDATE people_sessions SET digest = id", "audit.session"),
        ("UPDATE people_codes SET account = (SELECT id FROM people_accounts WHERE name = 'ada')", "audit.code"),
        ("UPDATE people_codes SET digest = 'x'", "audit.code"),
        ("DELETE FROM people_events WHERE seq = 2", "audit.sequence"),
        ("UPDATE people_events SET digest = 'x' WHERE seq = 2", "audit.digest"),
        ("UPDATE people_events SET document = 'x' WHERE seq = 2", "audit.event"),
    ],
)  # fmt: skip
def test_a_row_that_no_event_made_so_is_noticed(house: House, statement: str, code: str) -> None:
    assert codes(house) == set()
    alter(house, statement)
    assert code in codes(house)


def test_a_session_that_was_ended_and_put_back_is_noticed(house: House) -> None:
    with house.store.reading() as tables:
        row = tables.sessions()[0]
    house.people.end_session(OPERATOR, row.id)
    with house.store.writing() as tables:
        tables.put_session(row)
    assert codes(house) == {"audit.session"}


def test_what_runs_out_by_itself_is_no_finding(house: House) -> None:
    house.wait(40 * 86_400)
    house.sign_in("ada")
    house.people.add(OPERATOR, "late", "Late", [])
    assert codes(house) == set()


def test_the_audit_says_what_differs(house: House) -> None:
    alter(house, """UPDATE people_accounts SET roles = '["admin"]' WHERE name = 'bob'""")
    [finding] = house.people.audit(OPERATOR)[1]
    assert finding.says == "the account 'bob' is not what its events say: roles"


# --- the specification ----------------------------------------------------------------------------------------------


def test_every_kind_of_event_is_in_the_specification() -> None:
    table = SPEC[SPEC.index("| kind | body |") :]
    assert set(re.findall(r"`([a-z_]+\.[a-z]+)`", table[: table.index("\n\n")])) == set(KINDS)
