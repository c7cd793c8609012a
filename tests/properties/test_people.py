"""Whatever people and operators do, in any order: no secret is stored, the chain fits, an admin is left, and nobody
acts who may not at that moment."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from holdfast.core.encoding import hex_decode
from holdfast.errors import HoldfastError
from holdfast.review.people import SignedIn
from holdfast.review.roles import ACTS, OPERATOR, ROLES, SCOPES, Principal, may
from tests.helpers.people import CHEAP, House, PeopleConfig

NAMES = ["ada", "bob", "cyd", "dee"]
PASSWORDS = ["seven brown boats at noon", "eight green hats in May", "nine Äpfel on a string", "ten quiet owls, asleep"]
roles = st.lists(st.sampled_from(ROLES), max_size=3, unique=True)
names = st.sampled_from(NAMES)
passwords = st.sampled_from(PASSWORDS)


def database(house: House) -> bytes:
    """The whole database as SQLite would write it to a file."""
    with house.store._engine.connect() as connection:  # type: ignore[attr-defined]
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        return raw.serialize()


def spellings(secret: str) -> set[bytes]:
    """A secret as text, as the bytes it is the hex of, and as it is read without its hyphens."""
    found = {secret.encode(), secret.replace("-", "").encode()}
    for part in secret.split("."):
        with contextlib.suppress(HoldfastError):
            if len(part) == 64:
                found |= {part.encode(), hex_decode(part)}
    return found


def tried(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, str | None]:
    """What a call gives, or the code with which it is refused."""
    try:
        return function(*arguments, **options), None
    except HoldfastError as error:
        return None, error.code


class Panel(RuleBasedStateMachine):
    """People over a store in memory."""

    tokens = Bundle("tokens")
    keys = Bundle("keys")
    codes = Bundle("codes")

    def __init__(self) -> None:
        super().__init__()
        limits: dict[str, Any] = {"sign_in_failures_per_account": 1000, "sign_in_failures_per_minute": 600}
        self.house = House(PeopleConfig(**CHEAP, **limits, sessions_per_account=3))
        self.secrets: set[str] = set(PASSWORDS)
        self.passwords: dict[str, str] = {}

    def teardown(self) -> None:
        self.house.close()

    @initialize(target=tokens, password=passwords)
    def first(self, password: str) -> SignedIn:
        """The first account."""
        code = self.house.people.first_code()
        self.secrets.add(code)
        self.passwords["ada"] = password
        return self.keep(self.house.run(self.house.door.redeem(code, password, "ada", "Ada")))

    def keep(self, signed_in: SignedIn) -> SignedIn:
        """Remember what was shown."""
        self.secrets.add(signed_in.token)
        return signed_in

    def somebody(self, by: SignedIn | None) -> Principal:
        """The operator, or somebody who was signed in at some time."""
        return OPERATOR if by is None else by.principal

    def allowed(self, by: SignedIn | None, act: str) -> bool:
        """Whether they may, by what the tables say at this moment."""
        if by is None:
            return True
        with self.house.store.reading() as tables:
            account = tables.account(by.principal.id)
        try:
            self.house.people.who(by.token)
        except HoldfastError:
            return False
        assert account is not None
        assert account.enabled
        return may(account.roles, act)

    @rule(target=codes, by=st.none() | tokens, name=names, given=roles)
    def add(self, by: SignedIn | None, name: str, given: list[str]) -> Any:
        """Let somebody in."""
        might = self.allowed(by, "people:change")
        done, code = tried(self.house.people.add, self.somebody(by), name, name.title(), given)
        if code is not None:
            assert not might or code == "people.taken"
            return multiple()
        assert might
        self.secrets.add(done[1])
        return name, done[1]

    @rule(target=codes, by=st.none() | tokens, name=names)
    def another_code(self, by: SignedIn | None, name: str) -> Any:
        """A new code for somebody."""
        might = self.allowed(by, "people:change")
        given, code = tried(self.house.people.new_code, self.somebody(by), name)
        if code is not None:
            return multiple()
        assert might
        assert by is None or name not in self.passwords
        self.secrets.add(given)
        return name, given

    @rule(target=tokens, given=consumes(codes), password=passwords)
    def redeem(self, given: tuple[str, str], password: str) -> Any:
        """Use a code."""
        signed_in, code = tried(lambda: self.house.run(self.house.door.redeem(given[1], password)))
        if code is not None:
            assert code == "people.code"
            return multiple()
        assert signed_in.principal.name == given[0]
        self.passwords[given[0]] = password
        return self.keep(signed_in)

    @rule(target=tokens, name=names, password=passwords)
    def sign_in(self, name: str, password: str) -> Any:
        """With some password."""
        with self.house.store.reading() as tables:
            account = tables.account_named(name)
        fits = self.passwords.get(name) == password and account is not None and account.enabled
        signed_in, code = tried(lambda: self.house.run(self.house.door.sign_in(name, password)))
        assert code == (None if fits else "people.sign_in")
        return self.keep(signed_in) if fits else multiple()

    @rule(target=tokens, by=tokens, old=passwords, new=passwords)
    def change_password(self, by: SignedIn, old: str, new: str) -> Any:
        """One's own."""
        signed_in, code = tried(lambda: self.house.run(self.house.door.change_password(by.principal, old, new)))
        if code is not None:
            return multiple()
        assert self.passwords[by.principal.name] == old
        self.passwords[by.principal.name] = new
        return self.keep(signed_in)

    @rule(by=st.none() | tokens, name=names, given=roles)
    def set_roles(self, by: SignedIn | None, name: str, given: list[str]) -> None:
        """Give somebody other roles."""
        might = self.allowed(by, "people:change")
        with contextlib.suppress(HoldfastError):
            self.house.people.set_roles(self.somebody(by), name, given)
            assert might
            assert by is None or by.principal.name != name

    @rule(by=st.none() | tokens, name=names, back=st.booleans())
    def disable_or_enable(self, by: SignedIn | None, name: str, back: bool) -> None:
        """Shut somebody out, or let them in again."""
        might = self.allowed(by, "people:change")
        with contextlib.suppress(HoldfastError):
            (self.house.people.enable if back else self.house.people.disable)(self.somebody(by), name)
            assert might

    @rule(by=tokens)
    def sign_out(self, by: SignedIn) -> None:
        """End a session."""
        self.house.people.sign_out(by.token)

    @rule(target=keys, by=st.none() | tokens, scopes=st.lists(st.sampled_from(SCOPES), min_size=1), mine=st.booleans())
    def add_key(self, by: SignedIn | None, scopes: list[str], mine: bool) -> Any:
        """Some key."""
        person = by.principal.name if by is not None and mine else None
        done, code = tried(self.house.people.add_key, self.somebody(by), "w", "robot", scopes, person=person)
        if code is not None:
            return multiple()
        assert all(self.allowed(by, scope) for scope in scopes) if person else self.allowed(by, "key:change")
        self.secrets.add(done[1])
        return done[1]

    @rule(by=st.none() | tokens, key=keys)
    def revoke_key(self, by: SignedIn | None, key: str) -> None:
        """Take a key back."""
        with contextlib.suppress(HoldfastError):
            self.house.people.revoke_key(self.somebody(by), key.partition(".")[0])

    @rule(key=keys, act=st.sampled_from(sorted(ACTS)))
    def use_key(self, key: str, act: str) -> None:
        """Act with a key."""
        holder, code = tried(lambda: self.house.people.check(self.house.people.key_holder(key), act))
        assert code in (None, "people.key", "people.denied")
        if holder is not None:
            assert act in holder.scopes
            assert act != "case:decide" or may(self.house.people.roles_of(holder.person), act)

    @rule(by=tokens, act=st.sampled_from(sorted(ACTS)))
    def act(self, by: SignedIn, act: str) -> None:
        """Do something, with what was recognised at some time."""
        might = self.allowed(by, act)
        _, code = tried(self.house.people.check, by.principal, act)
        assert (code is None) == might
        assert code in (None, "people.session", "people.denied")

    @rule(seconds=st.sampled_from([1, 1_800, 3_600, 90_000]))
    def wait(self, seconds: int) -> None:
        """Time goes on."""
        self.house.wait(seconds)

    @invariant()
    def no_secret_is_stored(self) -> None:
        """Not in a column, not in an event, not in a page that was freed."""
        stored = database(self.house)
        for secret in self.secrets:
            assert not [spelling for spelling in spellings(secret) if spelling in stored]

    @invariant()
    def the_chain_and_the_tables_fit(self) -> None:
        """Nothing that the panel does itself looks like tampering."""
        assert self.house.people.audit(OPERATOR)[1] == ()

    @invariant()
    def an_admin_is_left(self) -> None:
        """Somebody can change people."""
        if self.passwords:
            rows = self.house.people.accounts(OPERATOR)
            assert [row for row in rows if "admin" in row.roles and row.enabled and row.password is not None]


Panel.TestCase.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestPanel = Panel.TestCase
