"""The audit chain of people: every change is an event that names the digest of the one before (``people.md`` §4).

:func:`build_event` makes the next link, :func:`check_people` reads a chain from its first link and says what does not
fit: a link that was changed, removed, put in or moved, and any row that no event made so (a role given, a password
replaced or a key widened in the database itself).

Not covered: a chain cut off at its end, or written anew from some link on, by whoever owns the database. What shows
that is a head (number and digest of the newest link) that was kept elsewhere; :func:`check_people` takes such heads as
``known_heads``. Expired sessions and codes go without an event; nothing rests on them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import hex_decode, sha256_hex, time_decode, time_encode
from holdfast.errors import MalformedError
from holdfast.ports.people_store import Account, Code, Key, Session, StoredEvent

EVENT_TYPE = "urn:holdfast:people-event:v1"
NO_EVENT = "0" * 64
"""What the first link names as the digest before it."""
MEMBERS = {"type", "seq", "previous", "at", "kind", "actor", "account", "body"}
KINDS = {
    "account.added": "an account was made",
    "account.roles": "its roles became these",
    "account.disabled": "nobody can use the account any more",
    "account.enabled": "the account can be used again",
    "account.password": "its password is another one, or hashed anew",
    "code.made": "a one-time code was given out",
    "code.used": "a one-time code was used",
    "code.withdrawn": "a one-time code was replaced by another",
    "session.opened": "somebody signed in",
    "session.ended": "a session ended before its time",
    "sign_in.refused": "a sign-in failed; for an account, if there is one of that name",
    "key.made": "an API key was given out",
    "key.revoked": "an API key was taken back",
    "chain.anchored": "a link whose digest the log can show to anybody",
}
"""Every kind, in words."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who did it: ``kind`` is ``person``, ``operator`` (the command line on the panel's machine) or ``system``."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Event:
    """One link, read back."""

    seq: int
    previous: str
    at: dt.datetime
    kind: str
    actor: Author
    account: str | None
    body: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit: a stable ``code``, the link it was noticed at (None: a row) and a sentence."""

    code: str
    seq: int | None
    says: str


@dataclass(frozen=True, slots=True)
class Head:
    """Number and digest of the newest link; (0, zeros) of an empty chain."""

    seq: int
    digest: str


@dataclass(frozen=True, slots=True)
class Rows:
    """What the tables hold, to be compared with what the events say."""

    accounts: Iterable[Account] = ()
    sessions: Iterable[Session] = ()
    keys: Iterable[Key] = ()
    codes: Iterable[Code] = ()


@dataclass(slots=True)
class _Told:
    """What the events say the tables hold."""

    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    codes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """One event's change. Raises KeyError for an event about something that never was."""
        body, account = event.body, event.account
        match event.kind:
            case "account.added":
                self.accounts[str(account)] = {**body, "disabled": None, "password": None}
            case "account.roles":
                self.accounts[str(account)]["roles"] = body["roles"]
            case "account.disabled" | "account.enabled":
                disabled = event.kind == "account.disabled"
                self.accounts[str(account)]["disabled"] = time_encode(event.at) if disabled else None
            case "account.password":
                self.accounts[str(account)]["password"] = body["hash"]
            case "code.made":
                self.codes[body["digest"]] = {**body, "account": account}
            case "code.used" | "code.withdrawn":
                del self.codes[body["digest"]]
            case "session.opened":
                self.sessions[body["session"]] = {**body, "account": account}
            case "session.ended":
                del self.sessions[body["session"]]
            case "key.made":
                self.keys[body["key"]] = {**body, "person": account, "revoked": None}
            case "key.revoked":
                self.keys[body["key"]]["revoked"] = time_encode(event.at)
            case _:
                return


def head_of(event: StoredEvent | None) -> Head:
    """The head of a chain whose newest link this is."""
    return Head(0, NO_EVENT) if event is None else Head(event.seq, event.digest)


def build_event(
    head: Head, at: dt.datetime, kind: str, actor: Author, account: str | None, body: Mapping[str, Any]
) -> StoredEvent:
    """The next link after ``head``."""
    if kind not in KINDS:
        raise MalformedError("people.event", f"there is no event {kind!r}", status=500)
    document = canonical.encode(
        {
            "type": EVENT_TYPE,
            "seq": head.seq + 1,
            "previous": head.digest,
            "at": time_encode(at),
            "kind": kind,
            "actor": {"kind": actor.kind, "id": actor.id},
            "account": account,
            "body": dict(body),
        }
    )
    return StoredEvent(head.seq + 1, sha256_hex(document), document)


def parse_event(stored: StoredEvent) -> Event:
    """One link from its bytes; its digest is computed, not believed. Raises ``json.*`` or ``people.event``."""
    value = canonical.decode_signed(stored.document)
    if value.keys() != MEMBERS or value["type"] != EVENT_TYPE:
        raise MalformedError("people.event", f"an event has exactly {', '.join(sorted(MEMBERS))}")
    actor, account = value["actor"], value["account"]
    fits = (
        type(value["seq"]) is int
        and value["kind"] in KINDS
        and isinstance(actor, dict)
        and actor.keys() == {"kind", "id"}
        and all(isinstance(item, str) for item in actor.values())
        and (account is None or isinstance(account, str))
        and isinstance(value["body"], dict)
    )
    if not fits:
        raise MalformedError("people.event", "a member of an event is not of its kind")
    hex_decode(value["previous"], 32)
    return Event(
        value["seq"],
        value["previous"],
        time_decode(value["at"]),
        value["kind"],
        Author(actor["kind"], actor["id"]),
        account,
        value["body"],
        sha256_hex(stored.document),
    )


def check_people(
    events: Iterable[StoredEvent], rows: Rows, known_heads: Iterable[Head] = ()
) -> tuple[Head, tuple[Finding, ...]]:
    """The chain's head and everything that does not fit; no findings: nothing was noticed."""
    findings: list[Finding] = []
    told, head = _Told(), Head(0, NO_EVENT)
    kept = list(known_heads)
    found = {known.seq: NO_EVENT if known.seq == 0 else "" for known in kept}
    for stored in events:
        try:
            event = parse_event(stored)
        except MalformedError as error:
            findings.append(Finding("audit.event", stored.seq, f"link {stored.seq} is no event: {error.message}"))
            head = Head(stored.seq, sha256_hex(stored.document))
            continue
        findings += _link_findings(stored, event, head)
        try:
            told.take(event)
        except (KeyError, TypeError):
            says = f"link {stored.seq} ({event.kind}) is about something that no earlier link made"
            findings.append(Finding("audit.order", stored.seq, says))
        head = Head(stored.seq, event.digest)
        if head.seq in found:
            found[head.seq] = head.digest
    for known in kept:
        if found[known.seq] != known.digest:
            says = f"the chain does not hold the head that was kept elsewhere (link {known.seq})"
            findings.append(Finding("audit.head", known.seq, says))
    findings += _row_findings(told, rows)
    return head, tuple(findings)


def _link_findings(stored: StoredEvent, event: Event, head: Head) -> list[Finding]:
    found = []
    if stored.seq != head.seq + 1 or event.seq != stored.seq:
        says = f"link {stored.seq} (it calls itself {event.seq}) stands after link {head.seq}"
        found.append(Finding("audit.sequence", stored.seq, says))
    if event.previous != head.digest:
        found.append(Finding("audit.chain", stored.seq, f"link {stored.seq} does not follow from the link before it"))
    if event.digest != stored.digest:
        found.append(Finding("audit.digest", stored.seq, f"link {stored.seq} is not the bytes its digest was made of"))
    return found


def _row_findings(told: _Told, rows: Rows) -> list[Finding]:
    found: list[Finding] = []
    seen = set()
    for account in rows.accounts:
        seen.add(account.id)
        shown = account_body(account) | {
            "disabled": account.disabled_at,
            "password": None if account.password is None else hash_digest(account.password),
        }
        if told.accounts.get(account.id) != shown:
            differs = _differing(told.accounts.get(account.id), shown)
            says = f"the account {account.name!r} is not what its events say: {differs}"
            found.append(Finding("audit.account", None, says))
    for missing in told.accounts.keys() - seen:
        says = f"the account {told.accounts[missing].get('name')!r} is gone; accounts are never removed"
        found.append(Finding("audit.account", None, says))
    seen = set()
    for key in rows.keys:
        seen.add(key.id)
        shown = key_body(key) | {"person": key.person, "revoked": key.revoked_at}
        if told.keys.get(key.id) != shown:
            differs = _differing(told.keys.get(key.id), shown)
            found.append(Finding("audit.key", None, f"the API key {key.id} is not what its events say: {differs}"))
    found += [
        Finding("audit.key", None, f"the API key {missing} is gone; keys are never removed")
        for missing in sorted(told.keys.keys() - seen)
    ]
    found += [
        Finding("audit.session", None, f"no event opened the session {session.id} as it is")
        for session in rows.sessions
        if told.sessions.get(session.id) != session_body(session) | {"account": session.account}
    ]
    found += [
        Finding("audit.code", None, "there is a one-time code that no event gave out")
        for code in rows.codes
        if told.codes.get(code.digest) != code_body(code) | {"account": code.account}
    ]
    return found


def _differing(told: Mapping[str, Any] | None, shown: Mapping[str, Any]) -> str:
    if told is None:
        return "no event made it"
    return ", ".join(sorted(name for name in shown if told.get(name) != shown[name])) or "its members"


def hash_digest(phc: str) -> str:
    """What events say of a password hash: SHA-256 (hex) of the PHC string, from which nothing can be guessed without
    the salt in it."""
    return sha256_hex(phc.encode())


def account_body(row: Account) -> dict[str, Any]:
    """What ``account.added`` says."""
    return {
        "name": row.name,
        "display": row.display,
        "source": row.source,
        "subject": row.subject,
        "roles": list(row.roles),
    }


def session_body(row: Session) -> dict[str, Any]:
    """What ``session.opened`` says."""
    return {"session": row.id, "digest": row.digest, "opened_at": row.opened_at, "ends_at": row.ends_at}


def key_body(row: Key) -> dict[str, Any]:
    """What ``key.made`` says."""
    return {
        "key": row.id,
        "digest": row.digest,
        "workspace": row.workspace,
        "label": row.label,
        "scopes": list(row.scopes),
        "expires_at": row.expires_at,
    }


def code_body(row: Code) -> dict[str, Any]:
    """What ``code.made`` says."""
    return {"digest": row.digest, "roles": list(row.roles), "expires_at": row.expires_at}
