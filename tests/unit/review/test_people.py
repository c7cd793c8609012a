"""Who is let in, who is refused, and what happens to what was granted before."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.adapters.passwords_argon2 import Argon2Passwords
from holdfast.adapters.settings_toml import load
from holdfast.errors import HoldfastError, UsageError
from holdfast.review.people import LOCAL, PeopleConfig, SignedIn, Subject, check_name, check_text, form_token
from holdfast.review.roles import ACTS, OPERATOR, ROLES, SCOPE_ACTS, SCOPES, map_roles
from holdfast.review.sign_in import Attempts, HashThreads, NamePassword
from tests.helpers.people import CHEAP, PASSWORD, Counted, House

WRONG = "eight brown boats at noon"


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def refusal(function: Any, *arguments: Any, **options: Any) -> str:
    """The code with which a call is refused."""
    try:
        done = function(*arguments, **options)
        if asyncio.iscoroutine(done):
            asyncio.run(done)
    except HoldfastError as error:
        return error.code
    return "nothing was refused"


# --- names and texts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", " ", "a b", "-ada", "a" * 65, "a\u0000b", "ada/eve", "аda", "a\nb"])
def test_a_name_that_could_be_read_as_another_is_refused(name: str) -> None:
    assert refusal(check_name, name) == "people.name"


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "a\u202eb", "x" * 101, "a\u0007", "a\u200bb"])
def test_a_text_with_something_invisible_is_refused(text: str) -> None:
    assert refusal(check_text, text, "display") == "people.text"


def test_capitals_make_no_other_person(house: House) -> None:
    house.first()
    assert refusal(house.people.add, OPERATOR, "ADA", "Another", ["viewer"]) == "people.taken"
    assert house.sign_in(" Ada ").principal.name == "ada"


# --- the first account ----------------------------------------------------------------------------------------------


def test_before_the_first_account_nobody_gets_in(house: House) -> None:
    assert house.people.is_empty()
    assert refusal(house.door.sign_in, "admin", PASSWORD) == "people.sign_in"
    assert refusal(house.door.redeem, "aaaa-bbbb", PASSWORD, "eve", "Eve") == "people.code"
    assert house.people.accounts(OPERATOR) == []


def test_the_first_accounts_code_works_once(house: House) -> None:
    code = house.people.first_code()
    assert house.run(house.door.redeem(code, PASSWORD, "ada", "Ada")).principal.roles == {"admin"}
    assert refusal(house.door.redeem, code, PASSWORD, "eve", "Eve") == "people.code"
    assert not house.people.is_empty()


def test_there_is_no_first_code_once_there_is_an_account(house: House) -> None:
    early = house.people.first_code()
    house.people.add(OPERATOR, "ada", "Ada", ["admin"])
    assert refusal(house.people.first_code) == "people.not_first"
    assert refusal(house.door.redeem, early, PASSWORD, "eve", "Eve") == "people.code"


def test_a_newer_code_replaces_the_one_before(house: House) -> None:
    old, new = house.people.first_code(), house.people.first_code()
    assert refusal(house.door.redeem, old, PASSWORD, "eve", "Eve") == "people.code"
    assert house.run(house.door.redeem(new.upper().replace("-", " "), PASSWORD, "ada", "Ada"))


def test_a_code_runs_out(house: House) -> None:
    code = house.people.first_code()
    house.wait(house.config.code_minutes * 60)
    assert refusal(house.door.redeem, code, PASSWORD, "ada", "Ada") == "people.code"


def test_a_refused_password_leaves_the_code_usable(house: House) -> None:
    code = house.people.first_code()
    assert refusal(house.door.redeem, code, "short", "ada", "Ada") == "people.password"
    assert refusal(house.door.redeem, code, PASSWORD, "no name", "Ada") == "people.name"
    assert house.run(house.door.redeem(code, PASSWORD, "ada", "Ada"))


def test_the_first_account_is_always_an_admin(house: House) -> None:
    assert house.first(["reviewer"]).principal.roles == {"admin", "reviewer"}


# --- signing in -----------------------------------------------------------------------------------------------------


def test_a_wrong_name_a_wrong_password_and_a_disabled_account_are_told_apart_by_nobody(house: House) -> None:
    house.first()
    house.person("bob", "reviewer")
    house.people.add(OPERATOR, "new", "New", ["reviewer"])
    house.people.disable(OPERATOR, "bob")
    answers = set()
    for name, password in [("ada", WRONG), ("eve", PASSWORD), ("bob", PASSWORD), ("new", PASSWORD), ("new", "")]:
        with pytest.raises(HoldfastError) as refused:
            house.sign_in(name, password)
        answers.add(str(refused.value.to_json()))
    assert len(answers) == 1


@pytest.mark.parametrize("name", ["ada", "eve", "bob", "new"])
def test_every_refusal_costs_exactly_one_hash(house: House, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    house.first()
    house.person("bob", "reviewer")
    house.people.add(OPERATOR, "new", "New", ["reviewer"])
    house.people.disable(OPERATOR, "bob")
    checked: list[str] = []
    matches = house.passwords.matches
    monkeypatch.setattr(house.passwords, "matches", lambda phc, raw: checked.append(phc) or matches(phc, raw))
    assert refusal(house.sign_in, name, WRONG) == "people.sign_in"
    [phc] = checked
    assert (phc == house.passwords.decoy) == (name != "ada")
    assert phc.split("$")[:4] == house.passwords.decoy.split("$")[:4]


@pytest.mark.parametrize("name", ["ada", "eve"])
def test_every_refusal_writes_exactly_one_event_and_never_the_name(house: House, name: str) -> None:
    """Writing takes time too; and people type passwords into the wrong field."""
    house.first()
    before = len(house.kinds())
    assert refusal(house.sign_in, name, WRONG) == "people.sign_in"
    assert house.kinds()[before:] == ["sign_in.refused"]
    [event] = house.people.events(OPERATOR, after=before)
    assert (event.account is None) == (name == "eve")
    assert event.body == {}


@pytest.mark.parametrize("password", ["", "x" * 1025, "\ud800" * 12])
def test_what_can_be_nobodys_password_is_refused_without_work(
    house: House, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.first()
    monkeypatch.setattr(house.passwords, "matches", lambda *_: pytest.fail("hashed"))
    assert refusal(house.sign_in, "ada", password) == "people.sign_in"


def test_a_name_has_to_wait_after_too_many_wrong_passwords(house: House) -> None:
    house.first()
    house.person("bob", "reviewer")
    for name in ("ada", "nobody"):  # a name that nobody has is limited alike
        for _ in range(house.config.sign_in_failures_per_account):
            assert refusal(house.sign_in, name, WRONG) == "people.sign_in"
        assert refusal(house.sign_in, name) == "people.too_many"
    assert house.sign_in("bob")
    house.wait(15 * 60)
    assert house.sign_in("ada")


def test_everybody_has_to_wait_after_too_many_wrong_passwords_from_anywhere(house: House) -> None:
    house.first()
    for number in range(house.config.sign_in_failures_per_minute):
        assert refusal(house.sign_in, f"name{number}", WRONG) == "people.sign_in"
    assert refusal(house.sign_in, "ada") == "people.too_many"
    house.wait(60)
    assert house.sign_in("ada")


def test_attempts_at_the_same_time_count_before_they_fail() -> None:
    attempts = Attempts(per_account=2, overall=100)
    first = attempts.begin("ada", 1.0)
    attempts.begin("ada", 2.0)
    assert refusal(attempts.begin, "Ada", 3.0) == "people.too_many"
    attempts.forgive(first, 1.0)
    attempts.begin("ada", 4.0)
    assert refusal(attempts.begin, "ada", 5.0) == "people.too_many"


def test_counters_hold_no_name_and_forget() -> None:
    attempts = Attempts(per_account=8, overall=1000)
    for number in range(500):
        attempts.begin(f"a password typed into the wrong field {number}", 1.0)
    assert b"wrong field" not in repr(vars(attempts)).encode()
    attempts.begin("ada", 1.0 + 900)
    assert len(attempts._of) == len(attempts._all) == 1


def test_success_is_not_counted_against_anybody(house: House) -> None:
    house.first()
    for _ in range(house.config.sign_in_failures_per_account * 2):
        assert house.sign_in("ada")


def test_a_session_opens_only_while_the_password_that_matched_still_stands(house: House) -> None:
    house.first()
    bob = house.person("bob", "reviewer")
    subject = house.run(house.door.local.identify(NamePassword("bob", PASSWORD)))
    house.run(house.door.change_password(bob.principal, PASSWORD, WRONG))
    assert refusal(house.people.open_session, subject) == "people.sign_in"
    subject = house.run(house.door.local.identify(NamePassword("bob", WRONG)))
    house.people.disable(OPERATOR, "bob")
    assert refusal(house.people.open_session, subject) == "people.sign_in"
    assert refusal(house.people.open_session, Subject(LOCAL, bob.principal.id)) == "people.sign_in"


def test_no_more_hashes_run_than_the_setting_says_and_the_queue_is_bounded() -> None:
    threads = HashThreads(at_once=2, waiting=1)
    going, most, lock, gate = [0], [0], threading.Lock(), threading.Event()

    def work() -> None:
        with lock:
            going[0] += 1
            most[0] = max(most[0], going[0])
        gate.wait(10)
        with lock:
            going[0] -= 1

    async def crowd() -> list[Any]:
        tasks = [asyncio.create_task(threads.run(work)) for _ in range(9)]
        await asyncio.sleep(0.05)
        gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    try:
        answers = asyncio.run(crowd())
    finally:
        gate.set()
        threads.close()
    busy = [answer for answer in answers if isinstance(answer, HoldfastError)]
    assert [error.code for error in busy] == ["people.busy"] * 6
    assert {error.status for error in busy} == {503}
    assert most[0] == 2


def test_a_caller_who_goes_away_frees_the_place_only_when_the_work_is_done() -> None:
    threads = HashThreads(at_once=1, waiting=0)
    gate = threading.Event()

    async def leave() -> None:
        task = asyncio.create_task(threads.run(gate.wait, 10))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(HoldfastError) as refused:
            await threads.run(lambda: None)
        assert refused.value.code == "people.busy"
        gate.set()
        for _ in range(200):
            await asyncio.sleep(0.005)
            if threads._taken == 0:
                break
        await threads.run(lambda: None)

    try:
        asyncio.run(leave())
    finally:
        gate.set()
        threads.close()


def test_busy_is_no_failed_attempt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.first()
    monkeypatch.setattr(house.door._hashing, "_most", 0)
    for _ in range(house.config.sign_in_failures_per_account + 1):
        assert refusal(house.sign_in, "ada") == "people.busy"


def test_a_hash_of_yesterdays_cost_is_made_anew_and_the_session_still_opens(house: House) -> None:
    house.first()
    before = house.people.local_account("ada")
    dearer = House(dataclasses.replace(house.config, password_passes=2), house.store)
    dearer.random.given = list(house.random.given)
    signed_in = dearer.sign_in("ada")
    after = dearer.people.local_account("ada")
    dearer.door.close()
    assert before is not None
    assert after is not None
    assert before.password != after.password
    assert "t=2" in str(after.password)
    assert dearer.people.who(signed_in.token).name == "ada"
    assert house.people.audit(OPERATOR)[1] == ()


# --- passwords ------------------------------------------------------------------------------------------------------


def test_changing_a_password_takes_the_old_one(house: House) -> None:
    ada = house.first()
    assert refusal(house.door.change_password, ada.principal, WRONG, "nine green hats in May") == "people.sign_in"
    assert refusal(house.door.change_password, ada.principal, PASSWORD, PASSWORD) == "people.password"
    assert refusal(house.door.change_password, ada.principal, PASSWORD, "Ada") == "people.password"
    assert house.people.who(ada.token).name == "ada"


def test_a_stolen_session_cannot_guess_the_password(house: House) -> None:
    ada = house.first()
    for _ in range(house.config.sign_in_failures_per_account):
        assert refusal(house.door.change_password, ada.principal, WRONG, WRONG) == "people.sign_in"
    assert refusal(house.door.change_password, ada.principal, PASSWORD, WRONG) == "people.too_many"


def test_a_new_password_ends_every_session_and_opens_one(house: House) -> None:
    here, elsewhere = house.first(), house.sign_in("ada")
    fresh = house.run(house.door.change_password(here.principal, PASSWORD, WRONG))
    for old in (here, elsewhere):
        assert refusal(house.people.who, old.token) == "people.session"
    assert house.people.who(fresh.token).name == "ada"
    assert refusal(house.sign_in, "ada", PASSWORD) == "people.sign_in"
    assert house.sign_in("ada", WRONG)


def test_nobody_in_the_panel_gets_a_code_for_somebody_who_has_a_password(house: House) -> None:
    ada = house.first().principal
    house.person("bob", "approver")
    assert refusal(house.people.new_code, ada, "bob") == "people.has_password"
    assert refusal(house.people.new_code, ada, "ada") == "people.has_password"
    house.people.add(ada, "new", "New", [])
    assert house.people.new_code(ada, "new")


def test_the_operators_code_sets_a_forgotten_password_and_ends_sessions(house: House) -> None:
    house.first()
    bob = house.person("bob", "reviewer")
    code = house.people.new_code(OPERATOR, "bob")
    assert house.people.who(bob.token)
    fresh = house.run(house.door.redeem(code, WRONG))
    assert fresh.principal.id == bob.principal.id
    assert refusal(house.people.who, bob.token) == "people.session"


def test_a_code_of_somebody_disabled_opens_nothing(house: House) -> None:
    house.first()
    _, code = house.people.add(OPERATOR, "bob", "Bob", ["reviewer"])
    house.people.disable(OPERATOR, "bob")
    house.people.enable(OPERATOR, "bob")
    assert refusal(house.door.redeem, code, PASSWORD) == "people.code"


# --- sessions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "0" * 64, "x", "é" * 64, "A" * 64, "0" * 63])
def test_a_token_that_opens_nothing_is_refused(house: House, token: str | None) -> None:
    house.first()
    assert refusal(house.people.who, token) == "people.session"


def test_a_session_ends_when_nobody_uses_it(house: House) -> None:
    ada = house.first()
    for _ in range(3):
        house.wait(house.config.session_idle_minutes * 60 - 1)
        assert house.people.who(ada.token).name == "ada"
    house.wait(house.config.session_idle_minutes * 60)
    assert refusal(house.people.who, ada.token) == "people.session"


def test_a_session_ends_at_its_time_however_much_it_is_used(house: House) -> None:
    ada = house.first()
    for _ in range(house.config.session_hours * 2 - 1):
        house.wait(1800)
        assert house.people.who(ada.token)
    house.wait(1800)
    assert refusal(house.people.who, ada.token) == "people.session"
    assert refusal(house.people.check, ada.principal, "people:read") == "people.session"


def test_an_idle_session_is_not_brought_back_by_a_clock_that_goes_back(house: House) -> None:
    ada = house.first()
    house.wait(120)
    house.people.who(ada.token)
    seen = house.people.sessions(ada.principal)[0].seen_at
    house.clock._elapsed -= 60
    house.people.who(ada.token)
    assert house.people.sessions(ada.principal)[0].seen_at == seen


def test_a_role_taken_away_refuses_the_next_act(house: House) -> None:
    ada = house.first().principal
    bob = house.person("bob", "reviewer", "auditor")
    assert house.people.check(bob.principal, "case:decide")
    house.people.set_roles(ada, "bob", ["auditor"])
    assert refusal(house.people.check, bob.principal, "case:decide") == "people.session"
    again = house.sign_in("bob").principal
    assert refusal(house.people.check, again, "case:decide") == "people.denied"
    assert house.people.check(again, "audit:read")


def test_what_was_recognised_earlier_is_never_believed(house: House) -> None:
    """A principal carries roles to show, not to act by."""
    house.first()
    bob = house.person("bob", "viewer").principal
    forged = dataclasses.replace(bob, roles=frozenset(ROLES))
    assert refusal(house.people.check, forged, "people:change") == "people.denied"
    assert refusal(house.people.add, forged, "eve", "Eve", ["admin"]) == "people.denied"


def test_disabling_ends_every_session_and_enabling_brings_none_back(house: House) -> None:
    ada = house.first().principal
    bob = house.person("bob", "reviewer")
    house.people.disable(ada, "bob")
    assert refusal(house.people.who, bob.token) == "people.session"
    assert refusal(house.people.check, bob.principal, "case:read") == "people.session"
    house.people.enable(ada, "bob")
    assert refusal(house.people.who, bob.token) == "people.session"
    assert house.sign_in("bob")


def test_people_end_their_own_sessions_and_nobody_elses(house: House) -> None:
    ada = house.first()
    bob, other = house.person("bob", "reviewer"), house.sign_in("bob")
    assert ada.principal.session is not None
    assert refusal(house.people.end_session, bob.principal, ada.principal.session) == "people.denied"
    assert refusal(house.people.end_session, bob.principal, "no such session") == "people.denied"
    assert refusal(house.people.sessions, bob.principal, "ada") == "people.denied"
    assert len(house.people.sessions(bob.principal)) == 2
    assert other.principal.session is not None
    house.people.end_session(bob.principal, other.principal.session)
    assert refusal(house.people.who, other.token) == "people.session"
    house.people.end_session(ada.principal, str(bob.principal.session))
    assert refusal(house.people.who, bob.token) == "people.session"
    assert house.people.sessions(ada.principal, "bob") == []


def test_signing_out_ends_the_session_for_good(house: House) -> None:
    ada = house.first()
    house.people.sign_out(ada.token)
    house.people.sign_out(ada.token)
    house.people.sign_out(None)
    house.people.sign_out("nonsense")
    assert refusal(house.people.who, ada.token) == "people.session"


def test_the_oldest_session_ends_where_there_are_too_many(house: House) -> None:
    opened = [house.first()]
    for _ in range(house.config.sessions_per_account):
        house.wait(1)
        opened.append(house.sign_in("ada"))
    assert refusal(house.people.who, opened[0].token) == "people.session"
    assert all(house.people.who(session.token) for session in opened[1:])


def test_lists_show_no_digest_and_no_hash(house: House) -> None:
    ada = house.first().principal
    house.people.add_key(ada, "w", "robot", ["queue:read"])
    assert {session.digest for session in house.people.sessions(ada)} == {""}
    assert {key.digest for key in house.people.keys(ada)} == {""}
    assert {account.password for account in house.people.accounts(ada)} == {"set"}


def test_a_forms_token_is_not_the_cookie() -> None:
    assert form_token("a" * 64) != form_token("b" * 64)
    assert "a" * 64 not in form_token("a" * 64)


def test_a_printed_sign_in_shows_no_token(house: House) -> None:
    ada = house.first()
    assert ada.token not in repr(ada)
    assert isinstance(ada, SignedIn)
    assert PASSWORD not in repr(NamePassword("ada", PASSWORD))


# --- admins ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_operator", [True, False])
def test_the_last_admin_keeps_role_and_account(house: House, by_operator: bool) -> None:
    ada = house.first().principal
    house.people.add(OPERATOR, "invited", "Has no password yet", ["admin"])
    house.person("gone", "admin")
    house.people.disable(OPERATOR, "gone")
    by = OPERATOR if by_operator else ada
    assert refusal(house.people.disable, by, "ada") == "people.last_admin"
    assert refusal(house.people.set_roles, by, "ada", []) == (
        "people.last_admin" if by_operator else "people.own_roles"
    )
    house.person("bea", "admin")
    house.people.disable(by, "ada")
    assert refusal(house.people.disable, OPERATOR, "bea") == "people.last_admin"


def test_nobody_changes_their_own_roles(house: House) -> None:
    ada = house.first().principal
    house.person("bea", "admin")
    for roles in (["admin", "approver"], ["admin"], []):
        assert refusal(house.people.set_roles, ada, "ada", roles) == "people.own_roles"


@pytest.mark.parametrize("role", [role for role in ROLES if role != "admin"])
def test_nobody_but_an_admin_changes_people_or_keys(house: House, role: str) -> None:
    house.first()
    other = house.person("bob", role).principal
    for function, arguments in [
        (house.people.add, ("eve", "Eve", ["admin"])),
        (house.people.set_roles, ("ada", ["viewer"])),
        (house.people.disable, ("ada",)),
        (house.people.enable, ("ada",)),
        (house.people.new_code, ("ada",)),
        (house.people.add_key, ("w", "robot", ["queue:read"])),
        (house.people.revoke_key, ("0" * 16,)),
        (house.people.keys, ()),
    ]:
        if not (role == "reviewer" and function == house.people.add_key):
            assert refusal(function, other, *arguments) == "people.denied", function.__name__


def test_unknown_roles_and_people_are_said_so(house: House) -> None:
    ada = house.first().principal
    assert refusal(house.people.add, ada, "bob", "Bob", ["owner"]) == "people.role"
    assert refusal(house.people.set_roles, ada, "nobody", ["viewer"]) == "people.unknown"
    assert refusal(house.people.check, ada, "case:everything") == "people.act"


# --- API keys -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"),
        lambda key: ("0" if key[0] != "0" else "1") + key[1:],
        lambda key: key.replace(".", ""),
        lambda key: key.upper() if key.upper() != key else key + "0",
        lambda key: f" {key}",
        lambda key: f"{key}\n",
        lambda key: key.split(".")[0],
        lambda _: "",
        lambda _: None,
    ],
)
def test_a_key_with_anything_changed_is_refused(house: House, change: Any) -> None:
    ada = house.first().principal
    _, shown = house.people.add_key(ada, "w", "robot", ["queue:read"])
    assert house.people.key_holder(shown).workspace == "w"
    assert refusal(house.people.key_holder, change(shown)) == "people.key"


def test_a_key_runs_out_and_a_key_taken_back_stays_so(house: House) -> None:
    ada = house.first().principal
    _, short = house.people.add_key(ada, "w", "short", ["queue:read"], days=1)
    row, long = house.people.add_key(ada, "w", "long", ["queue:read"], days=2)
    holder = house.people.key_holder(long)
    house.wait(86_400)
    assert refusal(house.people.key_holder, short) == "people.key"
    house.people.revoke_key(OPERATOR, row.id)
    house.people.revoke_key(OPERATOR, row.id)
    assert refusal(house.people.key_holder, long) == "people.key"
    assert refusal(house.people.check, holder, "queue:read") == "people.key"
    assert refusal(house.people.revoke_key, OPERATOR, "0" * 16) == "people.no_key"


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_may_what_its_scope_says_and_nothing_else(house: House, scope: str) -> None:
    house.first()
    house.person("bob", "approver", "admin", "auditor")
    person = "bob" if scope == "case:decide" else None
    _, shown = house.people.add_key(OPERATOR, "w", "robot", [scope], person=person)
    holder = house.people.key_holder(shown)
    for act in ACTS:
        if act in SCOPE_ACTS[scope]:
            assert house.people.check(holder, act) == holder
        else:
            assert refusal(house.people.check, holder, act) == "people.denied"


def test_a_key_decides_only_while_its_person_may(house: House) -> None:
    ada = house.first().principal
    bob = house.person("bob", "reviewer")
    _, shown = house.people.add_key(bob.principal, "w", "bob's robot", ["case:read", "case:decide"], person="bob")
    holder = house.people.key_holder(shown)
    assert house.people.check(holder, "case:decide").person == bob.principal.id
    house.people.set_roles(ada, "bob", ["viewer"])
    assert refusal(house.people.check, holder, "case:decide") == "people.denied"
    assert house.people.check(holder, "case:read")
    house.people.disable(ada, "bob")
    assert refusal(house.people.check, holder, "case:read") == "people.key"
    assert refusal(house.people.key_holder, shown) == "people.key"


def test_nobody_makes_a_key_that_decides_for_somebody_else(house: House) -> None:
    ada = house.first(["admin", "reviewer"]).principal
    bob = house.person("bob", "reviewer").principal
    for by, person in ((ada, "bob"), (bob, "ada")):
        assert refusal(house.people.add_key, by, "w", "x", ["case:decide"], person=person) == "people.key_person"
    assert refusal(house.people.add_key, ada, "w", "x", ["case:decide"]) == "people.key_person"
    assert refusal(house.people.add_key, bob, "w", "x", ["queue:take", "case:decide"], person="bob") == "people.denied"
    assert refusal(house.people.add_key, ada, "w", "x", ["case:read"], person="ada") == "people.key_person"


def test_people_take_back_their_own_keys_and_are_known_by_them(house: House) -> None:
    ada = house.first().principal
    bob = house.person("bob", "reviewer").principal
    row, _ = house.people.add_key(bob, "w", "bob's robot", ["case:decide"], person="bob")
    other, _ = house.people.add_key(ada, "w", "robot", ["queue:read"])
    assert house.people.check(bob, "case:read").keys == {row.id}
    assert refusal(house.people.revoke_key, bob, other.id) == "people.denied"
    house.people.revoke_key(bob, row.id)
    assert house.people.check(bob, "case:read").keys == {row.id}


@pytest.mark.parametrize(
    ("arguments", "options", "code"),
    [
        (("W", "robot", ["queue:read"]), {}, "people.workspace"),
        (("w", "", ["queue:read"]), {}, "people.text"),
        (("w", "robot", []), {}, "people.scope"),
        (("w", "robot", ["people:change"]), {}, "people.scope"),
        (("w", "robot", ["queue:read"]), {"days": 0}, "people.key_days"),
        (("w", "robot", ["queue:read"]), {"days": 3651}, "people.key_days"),
    ],
)
def test_a_key_that_says_too_little_or_too_much_is_not_made(
    house: House, arguments: Any, options: Any, code: str
) -> None:
    assert refusal(house.people.add_key, house.first().principal, *arguments, **options) == code


def test_the_day_of_last_use_is_kept(house: House) -> None:
    ada = house.first().principal
    _, shown = house.people.add_key(ada, "w", "robot", ["queue:read"])
    assert house.people.keys(ada)[0].used_day is None
    for _ in range(2):
        house.people.key_holder(shown)
        assert house.people.keys(ada)[0].used_day == "2026-01-01"
    house.wait(86_400)
    house.people.key_holder(shown)
    assert house.people.keys(OPERATOR, "w")[0].used_day == "2026-01-02"


# --- the seam for other identity sources ----------------------------------------------------------------------------


ISSUER = "https://people.example"
MAPPING = {"desk": "reviewer", "books": "auditor", "boss": "admin"}


class Outside:
    """An issuer's answers, already checked."""

    def __init__(self, claims: dict[str, Any]) -> None:
        self.claims = claims

    async def identify(self, credential: str) -> Subject:
        """Whose token this is."""
        groups = self.claims[credential]
        return Subject(ISSUER, credential, f"Person {credential}", map_roles(groups, MAPPING))


def test_somebody_from_outside_without_a_role_gets_no_account(house: House) -> None:
    outside = Outside({"248289": []})
    assert refusal(house.door.sign_in_with, outside, "248289") == "people.no_role"
    assert house.people.is_empty()


def test_somebody_from_outside_has_the_roles_of_their_claim_at_each_sign_in(house: House) -> None:
    house.first()
    outside = Outside({"248289": ["desk", "boss"]})
    first = house.run(house.door.sign_in_with(outside, "248289"))
    assert house.people.who(first.token).roles == {"reviewer", "admin"}
    outside.claims["248289"] = ["books"]
    second = house.run(house.door.sign_in_with(outside, "248289"))
    assert second.principal.id == first.principal.id
    assert refusal(house.people.who, first.token) == "people.session"
    assert refusal(house.people.check, second.principal, "case:decide") == "people.denied"
    assert house.people.check(second.principal, "audit:read").display == "Person 248289"


def test_an_account_kept_by_an_issuer_has_no_password_and_no_roles_of_ours(house: House) -> None:
    house.first()
    somebody = house.run(house.door.sign_in_with(Outside({"1": ["desk"]}), "1")).principal
    assert refusal(house.people.set_roles, OPERATOR, somebody.name, ["admin"]) == "people.outside"
    assert refusal(house.people.new_code, OPERATOR, somebody.name) == "people.outside"
    assert refusal(house.door.change_password, somebody, PASSWORD, WRONG) == "people.outside"
    assert refusal(house.sign_in, somebody.name) == "people.sign_in"


def test_somebody_from_outside_who_is_disabled_here_stays_out(house: House) -> None:
    house.first()
    outside = Outside({"1": ["desk"]})
    somebody = house.run(house.door.sign_in_with(outside, "1"))
    house.people.disable(OPERATOR, somebody.principal.name)
    assert refusal(house.people.who, somebody.token) == "people.session"
    assert refusal(house.door.sign_in_with, outside, "1") == "people.sign_in"


def test_two_issuers_with_one_subject_are_two_people(house: House) -> None:
    house.first()
    one = house.people.open_session(Subject("https://one.example", "1", "One", frozenset({"viewer"})))
    two = house.people.open_session(Subject("https://two.example", "1", "Two", frozenset({"viewer"})))
    assert one.principal.id != two.principal.id


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CHEAP if name != "password_lanes"])
def test_settings_weaker_than_the_least_advised_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        load(None, {f"HOLDFAST_PEOPLE_{name.upper()}": str(CHEAP[name])}, {"people": PeopleConfig})
    assert refused.value.code == "settings.range"


def test_the_defaults_are_those_of_rfc_9106_for_little_memory() -> None:
    config = PeopleConfig()
    cost = (config.password_memory_kib, config.password_passes, config.password_lanes)
    assert cost == (65_536, 3, 4)


def test_a_hash_at_the_default_cost_says_so() -> None:
    config = PeopleConfig()
    cost = (config.password_memory_kib, config.password_passes, config.password_lanes)
    passwords = Argon2Passwords(*cost, Counted())
    assert passwords.decoy.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert not passwords.outdated(passwords.decoy)


def test_times_of_a_session_are_told(house: House) -> None:
    ada = house.first()
    assert ada.ends_at - house.clock.now() == dt.timedelta(hours=house.config.session_hours)
