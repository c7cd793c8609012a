"""Who somebody is and what they may do: accounts, roles, sessions, API keys (``people.md``).

Rules:

1. Deny by default. Roles are sets of acts, each written down (``review/roles.py``), not a ladder: an admin opens no
   case, an auditor moves none. What the policy of a queue asks for comes on top.
2. Nothing is remembered between transactions. Whoever acts is looked up again in the transaction that lets them: a role
   taken away, an account disabled or a session ended refuses the very next act.
3. A new password, other roles or a disabled account ends every session of that account.
4. There is always somebody who can change people: the last enabled admin keeps role and account.
5. Nobody changes their own roles. Whoever lets people in gives out one-time codes, never passwords, so nobody knows
   another's password; only the command line gives a code for an account that has a password already.
6. Every change is an event of the audit chain, in the same transaction (``review/people_audit.py``). Two things are no
   change by anybody and have none: when a session was last seen, and the day a key was last used.
7. Secrets are random, shown once, and kept as SHA-256: tokens of sessions, secrets of keys, one-time codes.

Methods of :class:`People` block; call them from the store's one worker thread. Passwords are hashed and checked
elsewhere (``review/sign_in.py``): here a hash is only a text.

Not covered: what an act does to a case or a queue (the desk's rules, the gate's policy), and an admin who makes up a
second person. The chain names who let whom in.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from holdfast.core.encoding import hex_decode, sha256_hex, time_encode
from holdfast.errors import ConflictError, RefusedError, UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.people_store import Account, Code, Key, PeopleStore, PeopleTables, Session, StoredEvent
from holdfast.ports.settings import Secret, setting
from holdfast.review.people_audit import (
    Author,
    Event,
    Finding,
    Head,
    Rows,
    account_body,
    build_event,
    check_people,
    code_body,
    hash_digest,
    head_of,
    key_body,
    parse_event,
    session_body,
)
from holdfast.review.roles import (
    ACTS,
    OPERATOR,
    ROLE_ACTS,
    Principal,
    check_roles,
    check_scopes,
    principal_may,
)

LOCAL = "local"
"""The source of accounts that sign in with a password here."""
DATABASE = "people.sqlite"
"""File in the panel's state folder, where no other database is named."""
TOKEN_BYTES = 32
"""256 bits: sessions and secrets of keys."""
CODE_BYTES = 20
"""160 bits, 32 letters of base32: one-time codes, which people may type."""
ID_BYTES = 16
"""Ids of accounts and sessions."""
KEY_ID_BYTES = 8
"""Ids of API keys, which stand before the dot."""
EVENTS_AT_ONCE = 1_000
"""An audit reads events this many at a time."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}\Z")
_WORKSPACE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_TOKEN = re.compile(r"[0-9a-f]{64}\Z")
_KEY = re.compile(r"([0-9a-f]{16})\.([0-9a-f]{64})\Z")
_NOBODY = sha256_hex(b"urn:holdfast:no-such-key")
"""Compared where there is no such key, so that it takes as long."""


@dataclass(frozen=True, slots=True)
class PeopleConfig:
    """How people sign in to the panel. The panel's own settings include these."""

    state: Path = setting(Path(".holdfast/panel"), "Folder of the panel's stores")
    people_database: Secret | None = setting(
        None,
        "SQLAlchemy URL of accounts, sessions and API keys, as file:… or env:…; default: SQLite in the state folder",
    )
    workspace: str = setting(
        "default", "Workspace that the panel serves, that of its key at the gateway; API keys are for it alone"
    )
    password_memory_kib: int = setting(
        65_536, "Memory of one password check (argon2id, RFC 9106), KiB", minimum=19_456, maximum=1 << 20
    )
    password_passes: int = setting(3, "Passes over that memory", minimum=2, maximum=64)
    password_lanes: int = setting(4, "Lanes of one password check", minimum=1, maximum=16)
    password_checks_at_once: int = setting(
        2, "Password checks under way at once; each takes its memory", minimum=1, maximum=64
    )
    password_checks_waiting: int = setting(
        32, "Password checks that may wait; beyond that people are told to try again", minimum=0, maximum=1_000
    )
    sign_in_failures_per_account: int = setting(
        8, "Wrong passwords for one name in a quarter of an hour before it has to wait", minimum=1, maximum=1_000
    )
    sign_in_failures_per_minute: int = setting(
        30, "Wrong passwords in a minute, from all callers, before everybody has to wait", minimum=1, maximum=600
    )
    session_hours: int = setting(12, "A sign-in lasts this long", minimum=1, maximum=720)
    session_idle_minutes: int = setting(60, "A session that nobody uses ends after this", minimum=1, maximum=43_200)
    session_touch_s: int = setting(30, "How exactly it is kept when a session was last used", minimum=0, maximum=600)
    sessions_per_account: int = setting(20, "Sessions of one person; the oldest ends", minimum=1, maximum=1_000)
    code_minutes: int = setting(60, "A one-time code can be used this long", minimum=1, maximum=10_080)
    key_days: int = setting(90, "An API key lasts this long unless it is told otherwise", minimum=1, maximum=3_650)

    @property
    def people_url(self) -> str:
        """SQLAlchemy URL of the people's tables. May hold a database password: never print it."""
        if self.people_database is not None:
            return self.people_database.reveal()
        return f"sqlite:///{self.state / DATABASE}"


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody whom an identity source vouches for (:class:`holdfast.review.sign_in.Identity`)."""

    source: str
    """:data:`LOCAL`, or the issuer: a URL that nobody else can sign for."""
    subject: str
    """Stable and never given to another person: local: the account's id; OpenID Connect: the ``sub`` claim."""
    display: str = ""
    roles: frozenset[str] = frozenset()
    """From outside: all roles, as :func:`~holdfast.review.roles.map_roles` gives them. Unused for local accounts, whose
    roles are stored."""
    proof: str | None = None
    """Local: the stored hash that matched. A session opens only while it still stands."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session that has just begun. ``token`` is shown this once: it goes into the cookie."""

    token: str
    principal: Principal
    ends_at: dt.datetime

    def __repr__(self) -> str:
        return f"SignedIn({self.principal.name}, until {time_encode(self.ends_at)})"


# --- pure rules -----------------------------------------------------------------------------------------------------


def fold_name(name: str) -> str:
    """A name as it is compared: capitals make no other person."""
    return unicodedata.normalize("NFC", name).strip().casefold()


def check_name(name: str) -> str:
    """The name of a new account, in its one spelling. Raises ``people.name``."""
    folded = fold_name(name)
    if _NAME.match(folded) is None:
        raise UsageError(
            "people.name",
            "a name has at most 64 lower-case letters, digits and . _ @ + -, and begins with a letter or digit",
            param="name",
        )
    return folded


def check_text(text: str, what: str) -> str:
    """A short text that is shown to people: one line, nothing invisible. Raises ``people.text``."""
    shown = unicodedata.normalize("NFC", text).strip()
    if not 1 <= len(shown) <= 100 or any(unicodedata.category(letter)[0] == "C" for letter in shown):
        raise UsageError("people.text", f"{what} is one line of 1 to 100 visible characters", param=what)
    return shown


def code_digest(code: str) -> str:
    """SHA-256 (hex) of a one-time code as it was typed: capitals, blanks and hyphens do not matter."""
    bare = "".join(letter for letter in code.lower() if letter.isascii() and letter.isalnum())
    return sha256_hex(b"urn:holdfast:one-time-code\x00" + bare.encode())


def form_token(token: str) -> str:
    """What the forms of a session carry, so that a cookie alone changes nothing."""
    return hmac.digest(token.encode(), b"urn:holdfast:form-token", hashlib.sha256).hex()


def is_usable(account: Account) -> bool:
    """Whether somebody can sign in to it: enabled, and with a password or vouched for from outside."""
    return account.enabled and (account.password is not None or account.source != LOCAL)


# --- the book of people ---------------------------------------------------------------------------------------------


class People:
    """The rules over a store. ``random_bytes`` gives that many random bytes; tests hand in their own."""

    def __init__(
        self, store: PeopleStore, config: PeopleConfig, clock: Clock, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._store = store
        self.config = config
        self._clock = clock
        self._random_bytes = random_bytes

    # --- who is this ---

    def who(self, token: str | None, *, used: bool = True) -> Principal:
        """Whose session a cookie's token opens. Raises ``people.session`` (401) for any that is not, or is over.

        ``used`` is false where nobody did anything: a page that asks for itself keeps no session open.
        """
        digest = self._digest_of(token)
        now = self._clock.now()
        with self._store.reading() as tables:
            session, account = self._session_of(tables, digest, now)
            person = _person(tables, account, session.id)
        touch = dt.timedelta(seconds=self.config.session_touch_s)
        if used and session.seen_at <= time_encode(now - touch):
            with self._store.writing() as tables:
                session, account = self._session_of(tables, digest, now)
                person = _person(tables, account, session.id)
                tables.put_session(replace(session, seen_at=max(session.seen_at, time_encode(now))))
        return person

    def key_holder(self, presented: str | None) -> Principal:
        """Who an API key ``id.secret`` speaks for. Raises ``people.key`` (401): unknown, altered, over, taken back, or
        of a person who may not sign in any more."""
        found = _KEY.match(presented or "")
        identity, secret = (found[1], hex_decode(found[2])) if found is not None else ("", b"")
        today = time_encode(self._clock.now())[:10]
        with self._store.reading() as tables:
            key = self._key_of(tables, identity, secret)
            principal = _holder(tables, key)
        if key.used_day != today:
            with self._store.writing() as tables:
                key = self._key_of(tables, identity, secret)
                principal = _holder(tables, key)
                tables.put_key(replace(key, used_day=today))
        return principal

    def check(self, principal: Principal, act: str) -> Principal:
        """The principal as it is now, if it may do this now. Raises ``people.denied``, ``people.session`` or
        ``people.key``. Call it in the step that acts, never earlier."""
        with self._store.reading() as tables:
            return self.require(tables, principal, act)

    def roles_of(self, account: str) -> frozenset[str]:
        """Somebody's roles at this moment; none for an account that is disabled or not there."""
        with self._store.reading() as tables:
            found = tables.account(account)
        return frozenset(found.roles) if found is not None and found.enabled else frozenset()

    def roles_of_name(self, name: str) -> frozenset[str]:
        """As :meth:`roles_of`, by name: a case's journal names people by theirs, which nobody else is ever given."""
        with self._store.reading() as tables:
            found = tables.account_named(name)
        return frozenset(found.roles) if found is not None and found.enabled else frozenset()

    def require(self, tables: PeopleTables, principal: Principal, act: str) -> Principal:
        """As :meth:`check`, inside a transaction."""
        if act not in ACTS:
            raise UsageError("people.act", f"there is no act {act!r}", status=500)
        current = self._current(tables, principal)
        if not principal_may(current, act):
            wanted = [role for role, acts in ROLE_ACTS.items() if act in acts]
            hint = f"for the roles {', '.join(wanted)}" if wanted else "for API keys with that scope"
            raise RefusedError("people.denied", f"you may not {ACTS[act]}", hint=hint)
        return current

    # --- people ---

    def first_code(self, roles: Iterable[str] = ("admin",)) -> str:
        """A one-time code with which the first account is made, for the operator. Raises ``people.not_first`` once
        there is an account; a new code replaces the one before. ``roles`` are the account's, and include admin."""
        listed = check_roles({*roles, "admin"})
        with self._store.writing() as tables:
            if tables.accounts():
                raise ConflictError(
                    "people.not_first", "there is an account already", hint="add people with 'holdfast people add'"
                )
            return self._give_code(tables, OPERATOR, None, listed)

    def add(self, by: Principal, name: str, display: str, roles: Iterable[str]) -> tuple[Account, str]:
        """Let somebody in: their account, and the one-time code with which they set their password."""
        listed = check_roles(roles)
        with self._store.writing() as tables:
            self.require(tables, by, "people:change")
            account = self._add_account(tables, by, check_name(name), check_text(display, "display"), listed)
            return account, self._give_code(tables, by, account.id, ())

    def new_code(self, by: Principal, name: str) -> str:
        """Another one-time code for somebody; it replaces the one before. For an account that has a password only the
        command line gives one (``people.has_password``): nobody in the panel becomes somebody else."""
        with self._store.writing() as tables:
            self.require(tables, by, "people:change")
            account = _local(_named(tables, name))
            if account.password is not None and by.kind != "operator":
                raise RefusedError(
                    "people.has_password",
                    "whoever sets this password would be this person",
                    hint="on the panel's machine: holdfast people code NAME",
                )
            return self._give_code(tables, by, account.id, ())

    def set_roles(self, by: Principal, name: str, roles: Iterable[str]) -> Account:
        """Give somebody exactly these roles; ends sessions. Raises ``people.own_roles`` or ``people.last_admin``."""
        listed = check_roles(roles)
        return self._set_roles(by, name, lambda _: listed)

    def change_roles(self, by: Principal, name: str, added: Iterable[str], removed: Iterable[str]) -> Account:
        """As :meth:`set_roles`, from what they are at that moment."""
        more, less = set(check_roles(added)), set(check_roles(removed))
        return self._set_roles(by, name, lambda roles: check_roles({*roles, *more} - less))

    def _set_roles(self, by: Principal, name: str, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Account:
        with self._store.writing() as tables:
            self.require(tables, by, "people:change")
            account = _local(_named(tables, name))
            listed = change(account.roles)
            if by.kind == "person" and account.id == by.id:
                raise RefusedError("people.own_roles", "nobody changes their own roles", hint="ask another admin")
            if listed == account.roles:
                return account
            changed = replace(account, roles=listed)
            _keep_an_admin(tables, account, changed)
            tables.put_account(changed)
            self._write(tables, by, "account.roles", account.id, {"roles": list(listed)})
            self._end_all(tables, by, account.id, "roles")
            return changed

    def disable(self, by: Principal, name: str) -> Account:
        """Nobody signs in to it any more; its sessions end, its keys and codes stop working. ``people.last_admin``."""
        with self._store.writing() as tables:
            self.require(tables, by, "people:change")
            account = _named(tables, name)
            if not account.enabled:
                return account
            changed = replace(account, disabled_at=time_encode(self._clock.now()))
            _keep_an_admin(tables, account, changed)
            event = self._write(tables, by, "account.disabled", account.id, {})
            changed = replace(account, disabled_at=time_encode(event.at))
            tables.put_account(changed)
            self._end_all(tables, by, account.id, "disabled")
            self._withdraw_codes(tables, by, account.id)
            return changed

    def enable(self, by: Principal, name: str) -> Account:
        """It can be used again, with the password and roles it had."""
        with self._store.writing() as tables:
            self.require(tables, by, "people:change")
            account = _named(tables, name)
            if account.enabled:
                return account
            changed = replace(account, disabled_at=None)
            tables.put_account(changed)
            self._write(tables, by, "account.enabled", account.id, {})
            return changed

    def accounts(self, by: Principal) -> list[Account]:
        """Everybody, by name, without their password hashes."""
        with self._store.reading() as tables:
            self.require(tables, by, "people:read")
            return [_shown(account) for account in tables.accounts()]

    def is_empty(self) -> bool:
        """Whether nobody was let in yet: a sign-in page then asks for the operator's one-time code."""
        with self._store.reading() as tables:
            return not tables.accounts()

    def is_unused(self) -> bool:
        """Whether nobody was let in yet, neither a person nor a program."""
        with self._store.reading() as tables:
            return not tables.accounts() and not tables.keys()

    # --- sessions ---

    def sessions(self, by: Principal, name: str | None = None) -> list[Session]:
        """Live sessions, one's own or (``people:read``) those of somebody; without the digests of their tokens."""
        with self._store.reading() as tables:
            if name is None:
                account = self._current(tables, by).id
            else:
                self.require(tables, by, "people:read")
                account = _named(tables, name).id
            now = self._clock.now()
            listed = [session for session in tables.sessions(account) if self._is_live(session, now)]
            return [replace(session, digest="") for session in listed]

    def end_session(self, by: Principal, session: str) -> None:
        """End one: one's own, or (``people:change``) anybody's. Ending what is over already is no error; what is not
        there and what is somebody else's look alike to those who may not."""
        with self._store.writing() as tables:
            current = self._current(tables, by)
            row = tables.session_by_id(session)
            if row is None or row.account != current.id:
                self.require(tables, by, "people:change")
            if row is not None:
                self._end(tables, by, row, "ended")

    def sign_out(self, token: str | None) -> None:
        """End the session of a token; one that opens nothing is no error."""
        if token is None or _TOKEN.match(token) is None:
            return
        with self._store.writing() as tables:
            row = tables.session(sha256_hex(hex_decode(token)))
            if row is not None:
                self._write(
                    tables, Author("person", row.account), "session.ended", row.account, _ended(row, "signed out")
                )
                tables.drop_session(row.id)

    def open_session(self, subject: Subject) -> SignedIn:
        """Begin a session for somebody an identity source vouches for. Raises ``people.sign_in`` (401).

        Somebody from outside gets an account at their first sign-in and the roles of their claim at each; the claim
        wins over rule 4, and with no role there is no session (``people.no_role``).
        """
        with self._store.writing() as tables:
            now = self._clock.now()
            account = self._known(tables, subject) if subject.source == LOCAL else self._admitted(tables, subject)
            if account is not None and account.enabled:
                return self._open(tables, account, now)
        raise sign_in_refused()

    # --- passwords: the hashes are made by review/sign_in.py ---

    def local_account(self, name: str) -> Account | None:
        """The account whose password a sign-in has to match; None: there is none, and nobody is told."""
        with self._store.reading() as tables:
            account = tables.account_named(fold_name(name))
        return account if account is not None and account.source == LOCAL and is_usable(account) else None

    def account_behind(self, principal: Principal) -> Account:
        """The local account of somebody signed in, with its hash, to change its password."""
        with self._store.reading() as tables:
            current = self._current(tables, principal)
            account = tables.account(current.id) if current.kind == "person" else None
        if account is None:
            raise RefusedError("people.denied", "only people have passwords")
        return _local(account)

    def note_refused(self, name: str) -> None:
        """A sign-in that failed, into the chain. A name that nobody has is not kept: people type passwords into the
        wrong field. Its event is, so that it takes as long."""
        with self._store.writing() as tables:
            account = tables.account_named(fold_name(name))
            known = None if account is None else account.id
            self._write(tables, Author("system", "sign-in"), "sign_in.refused", known, {})

    def names_behind_code(self, code: str, name: str, display: str) -> tuple[str, ...]:
        """What the owner of a code is called, to check their password against. Raises ``people.code`` for a code that
        is not, or not any more; ``people.name`` and ``people.text`` where it makes the first account."""
        with self._store.reading() as tables:
            account = self._behind(tables, code)[1]
        if account is not None:
            return account.name, account.display
        return check_name(name), check_text(display, "display")

    def use_code(self, code: str, phc: str, name: str, display: str) -> SignedIn:
        """Set the password of the account a code is for, or make the first account; ends its sessions, opens one."""
        with self._store.writing() as tables:
            row, account = self._behind(tables, code)
            actor: Principal | Author
            if account is None:
                actor = OPERATOR
                account = self._add_account(tables, actor, check_name(name), check_text(display, "display"), row.roles)
            actor = Author("person", account.id)
            tables.drop_code(row.digest)
            self._write(tables, actor, "code.used", account.id, {"digest": row.digest})
            changed = self._set_hash(tables, actor, account, phc, "code")
            return self._open(tables, changed, self._clock.now())

    def set_hash(self, principal: Principal, old: str, phc: str) -> SignedIn:
        """A new password of one's own, while the old hash still stands; ends every session and opens one."""
        with self._store.writing() as tables:
            current = self._current(tables, principal)
            account = tables.account(current.id)
            if account is None or account.password != old:
                raise ConflictError("people.changed", "this account was changed meanwhile", hint="sign in again")
            changed = self._set_hash(tables, current, account, phc, "changed")
            return self._open(tables, changed, self._clock.now())

    def renew_hash(self, account: str, old: str, phc: str) -> bool:
        """The same password hashed at today's cost. False when the account was changed meanwhile."""
        with self._store.writing() as tables:
            row = tables.account(account)
            if row is None or row.password != old:
                return False
            tables.put_account(replace(row, password=phc))
            body = {"hash": hash_digest(phc), "why": "cost"}
            self._write(tables, Author("system", "sign-in"), "account.password", account, body)
            return True

    # --- API keys ---

    def add_key(
        self,
        by: Principal,
        workspace: str,
        label: str,
        scopes: Iterable[str],
        *,
        person: str | None = None,
        days: int | None = None,
    ) -> tuple[Key, str]:
        """A key of the panel's workspace and its one showing as ``id.secret``. Raises ``people.workspace`` for another
        one: a panel serves one workspace (``people.md`` §3(5)), so such a key would open nothing.

        A key that decides does so for a named person, who has to be let to whenever it does. In the panel people make
        such a key for themselves and for what they may do; for somebody else only the command line does
        (``people.key_person``). Keys for nobody take ``key:change``.
        """
        listed = check_scopes(scopes)
        if _WORKSPACE.match(workspace) is None:
            raise UsageError(
                "people.workspace", "a workspace is named by lower-case letters, digits and hyphens", param="workspace"
            )
        if workspace != self.config.workspace:
            raise UsageError(
                "people.workspace",
                f"this panel serves the workspace {self.config.workspace!r}; a key of another one opens nothing here",
                hint=f"make it for {self.config.workspace!r}, or at the panel that serves {workspace!r}",
                param="workspace",
            )
        lasting = self.config.key_days if days is None else days
        if not 1 <= lasting <= 3_650:
            raise UsageError("people.key_days", "a key lasts 1 to 3650 days", param="days")
        if ("case:decide" in listed) != (person is not None):
            raise UsageError(
                "people.key_person",
                "a key with case:decide decides for a named person; other keys are for nobody",
                param="person",
            )
        shown_label = check_text(label, "label")
        with self._store.writing() as tables:
            account = None
            if person is None or by.kind == "operator":
                self.require(tables, by, "key:change")
            else:
                for scope in listed:
                    self.require(tables, by, scope)
            if person is not None:
                account = _named(tables, person)
                if by.kind != "operator" and account.id != by.id:
                    raise RefusedError("people.key_person", "nobody makes a key that decides for somebody else")
            secret = self._random_bytes(TOKEN_BYTES)
            now = self._clock.now()
            key = Key(
                self._random_bytes(KEY_ID_BYTES).hex(),
                sha256_hex(secret),
                workspace,
                shown_label,
                listed,
                None if account is None else account.id,
                time_encode(now),
                time_encode(now + dt.timedelta(days=lasting)),
            )
            tables.put_key(key)
            self._write(tables, by, "key.made", key.person, key_body(key))
            return key, f"{key.id}.{secret.hex()}"

    def revoke_key(self, by: Principal, id: str) -> Key:  # noqa: A002 (the column's name)
        """Take a key back, for ever: one's own, or (``key:change``) any. Raises ``people.no_key`` (404)."""
        with self._store.writing() as tables:
            current = self._current(tables, by)
            key = tables.key(id)
            if current.kind != "person" or key is None or key.person != current.id:
                self.require(tables, by, "key:change")
            if key is None:
                raise UsageError("people.no_key", "there is no such API key", status=404)
            if key.revoked_at is not None:
                return key
            event = self._write(tables, by, "key.revoked", key.person, {"key": id})
            changed = replace(key, revoked_at=time_encode(event.at))
            tables.put_key(changed)
            return changed

    def keys(self, by: Principal, workspace: str | None = None) -> list[Key]:
        """Keys of a workspace, or all, without the digests of their secrets."""
        with self._store.reading() as tables:
            self.require(tables, by, "key:read")
            return [replace(key, digest="") for key in tables.keys(workspace)]

    def keys_elsewhere(self) -> list[Key]:
        """Keys that have time left and open nothing, since they are of another workspace: an older version made them,
        or the panel serves another workspace now. Without the digests of their secrets."""
        with self._store.reading() as tables:
            others = [key for key in tables.keys(None) if key.workspace != self.config.workspace]
            now = time_encode(self._clock.now())
            return [replace(key, digest="") for key in others if key.revoked_at is None and key.expires_at > now]

    # --- audit ---

    def events(self, by: Principal, after: int = 0, limit: int = 1000) -> list[Event]:
        """Links of the chain after a number, in order."""
        with self._store.reading() as tables:
            self.require(tables, by, "audit:read")
            return [parse_event(stored) for stored in tables.events(after, limit)]

    def head(self, by: Principal) -> Head:
        """Where the chain ends."""
        with self._store.reading() as tables:
            self.require(tables, by, "audit:read")
            return head_of(tables.last_event())

    def digests(self, by: Principal) -> list[tuple[int, str]]:
        """Number and digest of every link, computed from its bytes."""
        with self._store.reading() as tables:
            self.require(tables, by, "audit:read")
            return [(stored.seq, sha256_hex(stored.document)) for stored in _all_events(tables)]

    def names(self, by: Principal) -> dict[str, str]:
        """Names of everybody by the id of their account: those that the chain is told with."""
        with self._store.reading() as tables:
            self.require(tables, by, "audit:read")
            return {account.id: account.name for account in tables.accounts()}

    def audit(self, by: Principal, known_heads: Iterable[Head] = ()) -> tuple[Head, tuple[Finding, ...]]:
        """Check the whole chain and every row against it (:func:`people_audit.check_people`)."""
        with self._store.reading() as tables:
            self.require(tables, by, "audit:read")
            rows = Rows(tables.accounts(), tables.sessions(), tables.keys(), tables.codes())
            return check_people(_all_events(tables), rows, known_heads)

    def anchor(self, nonce: bytes) -> Event:
        """Add a link that says nothing and holds 32 random bytes: its digest can be told to anybody (``people.md``
        §4)."""
        with self._store.writing() as tables:
            return self._write(tables, Author("system", "panel"), "chain.anchored", None, {"nonce": nonce.hex()})

    # --- inside a transaction ---

    def _write(
        self, tables: PeopleTables, by: Principal | Author, kind: str, account: str | None, body: Mapping[str, Any]
    ) -> Event:
        actor = by if isinstance(by, Author) else Author(by.kind, by.id)
        stored = build_event(head_of(tables.last_event()), self._clock.now(), kind, actor, account, body)
        tables.add_event(stored)
        return parse_event(stored)

    def _digest_of(self, token: str | None) -> str:
        if token is None or _TOKEN.match(token) is None:
            raise _no_session()
        return sha256_hex(hex_decode(token))

    def _is_live(self, session: Session, now: dt.datetime) -> bool:
        idle = dt.timedelta(minutes=self.config.session_idle_minutes)
        return session.ends_at > time_encode(now) and session.seen_at > time_encode(now - idle)

    def _session_of(self, tables: PeopleTables, digest: str, now: dt.datetime) -> tuple[Session, Account]:
        session = tables.session(digest)
        account = tables.account(session.account) if session is not None else None
        if session is None or account is None or not account.enabled or not self._is_live(session, now):
            raise _no_session()
        return session, account

    def _key_of(self, tables: PeopleTables, identity: str, secret: bytes) -> Key:
        key = tables.key(identity)
        same = hmac.compare_digest(sha256_hex(secret), _NOBODY if key is None else key.digest)
        if key is None or not same or not self._opens(key):
            raise _no_key()
        return key

    def _opens(self, key: Key) -> bool:
        """Whether a key still opens something: it was not taken back, has time left and is of this panel's workspace.
        One of another workspace is refused like one that is not known."""
        lasts = key.revoked_at is None and key.expires_at > time_encode(self._clock.now())
        return lasts and key.workspace == self.config.workspace

    def _current(self, tables: PeopleTables, principal: Principal) -> Principal:
        """Who this is now."""
        if principal.kind == "operator":
            return OPERATOR
        if principal.kind == "key":
            key = tables.key(principal.id)
            if key is None or not self._opens(key):
                raise _no_key()
            return _holder(tables, key)
        session = tables.session_by_id(principal.session or "")
        account = tables.account(principal.id)
        live = session is not None and session.account == principal.id and self._is_live(session, self._clock.now())
        if session is None or not live or account is None or not account.enabled:
            raise _no_session()
        return _person(tables, account, session.id)

    def _add_account(
        self, tables: PeopleTables, by: Principal | Author, name: str, display: str, roles: tuple[str, ...]
    ) -> Account:
        if tables.account_named(name) is not None:
            raise ConflictError("people.taken", f"there is an account {name!r} already", param="name")
        identity = self._random_bytes(ID_BYTES).hex()
        at = time_encode(self._clock.now())
        account = Account(identity, name, display, LOCAL, identity, roles, None, at)
        tables.put_account(account)
        self._write(tables, by, "account.added", account.id, account_body(account))
        return account

    def _give_code(self, tables: PeopleTables, by: Principal, account: str | None, roles: tuple[str, ...]) -> str:
        self._withdraw_codes(tables, by, account)
        letters = base64.b32encode(self._random_bytes(CODE_BYTES)).decode().lower()
        code = "-".join(letters[place : place + 4] for place in range(0, len(letters), 4))
        ends = self._clock.now() + dt.timedelta(minutes=self.config.code_minutes)
        row = Code(code_digest(code), account, roles, time_encode(ends))
        tables.put_code(row)
        self._write(tables, by, "code.made", account, code_body(row))
        return code

    def _withdraw_codes(self, tables: PeopleTables, by: Principal, account: str | None) -> None:
        now = time_encode(self._clock.now())
        for row in tables.codes():
            if row.account == account:
                self._write(tables, by, "code.withdrawn", account, {"digest": row.digest})
            if row.account == account or row.expires_at <= now:
                tables.drop_code(row.digest)

    def _behind(self, tables: PeopleTables, code: str) -> tuple[Code, Account | None]:
        row = tables.code(code_digest(code))
        account = tables.account(row.account) if row is not None and row.account is not None else None
        usable = row is not None and row.expires_at > time_encode(self._clock.now())
        if row is None or not usable or (account is None and tables.accounts()) or (account and not account.enabled):
            raise RefusedError(
                "people.code",
                "this one-time code is not known, was used or has run out",
                hint="ask for another: holdfast people code NAME",
                status=401,
            )
        return row, account

    def _set_hash(self, tables: PeopleTables, by: Principal | Author, account: Account, phc: str, why: str) -> Account:
        changed = replace(account, password=phc)
        tables.put_account(changed)
        self._write(tables, by, "account.password", account.id, {"hash": hash_digest(phc), "why": why})
        self._end_all(tables, by, account.id, "password")
        return changed

    def _known(self, tables: PeopleTables, subject: Subject) -> Account | None:
        account = tables.account(subject.subject)
        if account is None or account.source != LOCAL or account.password is None or subject.proof is None:
            return None
        return account if hmac.compare_digest(account.password, subject.proof) else None

    def _admitted(self, tables: PeopleTables, subject: Subject) -> Account:
        by = Author("system", subject.source)
        roles = check_roles(subject.roles)
        account = tables.account_of(subject.source, subject.subject)
        if account is None:
            if not roles:
                raise RefusedError("people.no_role", "you were recognised, but have no role here")
            source, outside = check_text(subject.source, "source"), check_text(subject.subject, "subject")
            identity = self._random_bytes(ID_BYTES).hex()
            display, at = check_text(subject.display or outside, "display"), time_encode(self._clock.now())
            name = f"outside-{identity}"
            account = Account(identity, name, display, source, outside, roles, None, at)
            tables.put_account(account)
            self._write(tables, by, "account.added", account.id, account_body(account))
        elif account.roles != roles:
            account = replace(account, roles=roles)
            tables.put_account(account)
            self._write(tables, by, "account.roles", account.id, {"roles": list(roles)})
            self._end_all(tables, by, account.id, "roles")
        return account

    def _open(self, tables: PeopleTables, account: Account, now: dt.datetime) -> SignedIn:
        actor = Author("person", account.id)
        live = []
        for session in tables.sessions(account.id):
            if self._is_live(session, now):
                live.append(session)
            else:
                tables.drop_session(session.id)
        for session in live[: max(0, len(live) + 1 - self.config.sessions_per_account)]:
            self._end(tables, actor, session, "too many")
        token = self._random_bytes(TOKEN_BYTES)
        ends = now + dt.timedelta(hours=self.config.session_hours)
        at = time_encode(now)
        row = Session(self._random_bytes(ID_BYTES).hex(), sha256_hex(token), account.id, at, at, time_encode(ends))
        tables.put_session(row)
        self._write(tables, actor, "session.opened", account.id, session_body(row))
        return SignedIn(token.hex(), _person(tables, account, row.id), ends)

    def _end(self, tables: PeopleTables, by: Principal | Author, session: Session, why: str) -> None:
        tables.drop_session(session.id)
        self._write(tables, by, "session.ended", session.account, _ended(session, why))

    def _end_all(self, tables: PeopleTables, by: Principal | Author, account: str, why: str) -> None:
        for session in tables.sessions(account):
            self._end(tables, by, session, why)


def sign_in_refused() -> RefusedError:
    """The one answer to a sign-in that fails, whatever was wrong: a caller learns no names."""
    return RefusedError("people.sign_in", "that name and that password do not belong together here", status=401)


def _no_session() -> RefusedError:
    return RefusedError("people.session", "nobody is signed in here, or not any more", hint="sign in", status=401)


def _no_key() -> RefusedError:
    return RefusedError("people.key", "this API key is not known, has run out or was taken back", status=401)


def _ended(session: Session, why: str) -> dict[str, Any]:
    return {"session": session.id, "why": why}


def _person(tables: PeopleTables, account: Account, session: str) -> Principal:
    return Principal(
        "person",
        account.id,
        account.name,
        account.display,
        frozenset(account.roles),
        person=account.id,
        session=session,
        keys=frozenset(key.id for key in tables.keys_of(account.id)),
        person_name=account.name,
    )


def _holder(tables: PeopleTables, key: Key) -> Principal:
    account = None if key.person is None else tables.account(key.person)
    if key.person is not None and (account is None or not account.enabled):
        raise _no_key()
    roles = frozenset[str]() if account is None else frozenset(account.roles)
    others = () if account is None else tables.keys_of(account.id)
    return Principal(
        "key",
        key.id,
        key.label,
        key.label,
        roles,
        frozenset(key.scopes),
        key.person,
        key.workspace,
        keys=frozenset(other.id for other in others),
        person_name=None if account is None else account.name,
    )


def _named(tables: PeopleTables, name: str) -> Account:
    account = tables.account_named(fold_name(name))
    if account is None:
        raise UsageError("people.unknown", "there is no account of that name", status=404, param="name")
    return account


def _local(account: Account) -> Account:
    if account.source != LOCAL:
        raise RefusedError(
            "people.outside", "this account is kept by its issuer: roles and passwords are changed there", status=409
        )
    return account


def _shown(account: Account) -> Account:
    return replace(account, password=None if account.password is None else "set")


def _keep_an_admin(tables: PeopleTables, before: Account, after: Account) -> None:
    """Rule 4: a change never takes the last admin who could sign in."""

    def admin(account: Account) -> bool:
        return is_usable(account) and "admin" in account.roles

    if admin(before) and not admin(after) and not any(admin(row) for row in tables.accounts() if row.id != before.id):
        raise ConflictError(
            "people.last_admin", "nobody could change people any more", hint="give another account the role admin first"
        )


def _all_events(tables: PeopleTables) -> Iterator[StoredEvent]:
    after = 0
    while batch := tables.events(after, EVENTS_AT_ONCE):
        yield from batch
        after = batch[-1].seq
