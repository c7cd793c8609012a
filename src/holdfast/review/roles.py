"""Who may do what (``people.md`` §1): roles are sets of acts, keys have scopes, and whatever is not here is refused.

Pure: nothing here looks anybody up. A :class:`Principal` says what was true when somebody was recognised; an act is
checked against the tables again when it happens (:meth:`holdfast.review.people.People.check`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from holdfast.errors import UsageError

ACTS: Mapping[str, str] = MappingProxyType(
    {
        "run:read": "see the runs of the workspace, their lanes and their evidence",
        "run:ask": "ask a model, on the workspace's account",
        "queue:read": "see the queues, their rows and their figures",
        "queue:take": "be handed what the gate let through, as a machine",
        "case:read": "open a case file",
        "case:open": "open a case for a run",
        "case:claim": "take a case to work on, and let it go",
        "case:comment": "write into a case",
        "case:decide": "approve or reject, in a role the queue's policy asks for",
        "case:release": "release early, in a role and for as long as the queue's policy allows",
        "case:reopen": "reopen what was rejected or recalled",
        "case:recall": "recall what relied on evidence",
        "case:relate": "say what depends on a case",
        "case:export": "take cases and their evidence out of the panel",
        "policy:read": "read the policies of queues and which cases they would move",
        "policy:change": "change the policy of a queue",
        "audit:read": "read and check the audit chains",
        "people:read": "see accounts, their roles and their sessions",
        "people:change": "let people in, change their roles, disable them, end their sessions",
        "key:read": "see API keys (never their secrets)",
        "key:change": "give out and take back API keys",
    }
)
"""Everything that somebody can be let to do, in words."""
_WORK = frozenset(
    {
        "run:read",
        "run:ask",
        "queue:read",
        "case:read",
        "case:open",
        "case:claim",
        "case:comment",
        "case:relate",
        "policy:read",
    }
)
_DECIDE = frozenset({"case:decide", "case:release"})
ROLE_ACTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "viewer": frozenset({"run:read", "queue:read", "case:read", "policy:read"}),
        "reviewer": _WORK | _DECIDE,
        "approver": _WORK | _DECIDE | {"case:reopen", "case:recall"},
        "policy_owner": _DECIDE | {"queue:read", "policy:read", "policy:change"},
        "auditor": frozenset(
            {
                "run:read",
                "queue:read",
                "case:read",
                "case:comment",
                "case:export",
                "policy:read",
                "audit:read",
                "people:read",
            }
        ),
        "admin": _DECIDE
        | {"queue:read", "policy:read", "audit:read", "people:read", "people:change", "key:read", "key:change"},
    }
)
"""What each role may do (``people.md`` §1). What is not here is refused; ``queue:take`` is for API keys alone."""
ROLES = tuple(ROLE_ACTS)
"""The six roles."""
SCOPE_ACTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "queue:read": frozenset({"queue:read", "policy:read"}),
        "queue:take": frozenset({"queue:take", "case:relate"}),
        "case:read": frozenset({"case:read", "run:read"}),
        "case:open": frozenset({"case:open"}),
        "case:decide": frozenset({"case:decide"}),
    }
)
"""What each scope of an API key lets it do (``people.md`` §1)."""
SCOPES = tuple(SCOPE_ACTS)
"""The five scopes."""
MACHINE_ACTS = frozenset({"queue:take", "case:relate", "case:open"})
"""What a key with the scope may do whatever the person may for whom it stands: it is work for machines."""
NAMELESS_ACTS = frozenset(
    {"run:read", "run:ask", "queue:read", "queue:take", "case:read", "case:relate", "case:export", "policy:read"}
)
"""What whoever comes through the panel's door may do while nobody was let in by name. Afterwards: nothing."""
OPERATOR_ACTS = frozenset({"people:read", "people:change", "key:read", "key:change", "audit:read"})
"""What the command line on the panel's machine may do: whoever holds the database can do no less."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was recognised, and what they could do at that moment. Acts are checked again when they happen."""

    kind: str
    """``person``, ``key`` or ``operator``."""
    id: str
    """Account id, key id, or ``command-line``."""
    name: str
    display: str
    roles: frozenset[str] = frozenset()
    """Roles of the account; of a key: those of the person it decides for."""
    scopes: frozenset[str] = frozenset()
    """Of a key only."""
    person: str | None = None
    """The account that answers for the act: four-eyes counts these. None for a key without a person."""
    workspace: str | None = None
    """Of a key only."""
    session: str | None = None
    """Id of the session, of a person who signed in."""
    keys: frozenset[str] = frozenset()
    """Ids of every API key that ever stood for this person: what those ask for is their own request."""
    person_name: str | None = None
    """Name of the account that answers for the act."""


OPERATOR = Principal("operator", "command-line", "command line", "the command line on the panel's machine")
"""Whoever runs commands beside the database. A panel never hands this out."""


def may(roles: Iterable[str], act: str) -> bool:
    """Whether any of the roles contains the act. An unknown role or act is a no."""
    return any(act in ROLE_ACTS.get(role, ()) for role in roles)


def principal_may(principal: Principal, act: str) -> bool:
    """Whether what was recognised could do this. A key needs the scope; one that stands for a person can do no more
    than that person, but for taking, which is for machines; and without a person it decides nothing."""
    if principal.kind == "operator":
        return act in OPERATOR_ACTS
    if principal.kind == "key":
        if not any(act in SCOPE_ACTS.get(scope, ()) for scope in principal.scopes):
            return False
        if principal.person is None:
            return act != "case:decide"
        return act in MACHINE_ACTS or may(principal.roles, act)
    return principal.kind == "person" and may(principal.roles, act)


def check_roles(roles: Iterable[str]) -> tuple[str, ...]:
    """Known roles, sorted, each once. Raises ``people.role``."""
    found = sorted(set(roles))
    for role in found:
        if role not in ROLE_ACTS:
            raise UsageError(
                "people.role", f"there is no role {role!r}", hint=f"one of {', '.join(ROLES)}", param="roles"
            )
    return tuple(found)


def check_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Known scopes, sorted, each once, at least one. Raises ``people.scope``."""
    found = sorted(set(scopes))
    for scope in found:
        if scope not in SCOPES:
            hint = f"one of {', '.join(SCOPES)}"
            raise UsageError("people.scope", f"there is no scope {scope!r}", hint=hint, param="scopes")
    if not found:
        raise UsageError("people.scope", "a key without a scope may do nothing", param="scopes")
    return tuple(found)


def map_roles(claimed: Iterable[object], mapping: Mapping[str, str]) -> frozenset[str]:
    """Values of an outside roles claim to roles. What the mapping does not name gives nothing; a mapping to something
    that is no role raises ``people.role``."""
    check_roles(mapping.values())
    return frozenset(mapping[value] for value in claimed if isinstance(value, str) and value in mapping)
