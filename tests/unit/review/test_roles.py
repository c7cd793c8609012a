"""What is not written down is refused, and what is written down is the same everywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.errors import UsageError
from holdfast.review import permissions
from holdfast.review.roles import (
    ACTS,
    OPERATOR,
    ROLE_ACTS,
    ROLES,
    SCOPE_ACTS,
    SCOPES,
    Principal,
    check_roles,
    check_scopes,
    map_roles,
    may,
    principal_may,
)

SPEC = (Path(__file__).parents[3] / "spec" / "people.md").read_text("utf-8")


def test_what_is_not_written_down_is_refused() -> None:
    assert not may([], "case:read")
    assert not may(["admin"], "case:read")
    assert not may(["root", "superuser"], "case:read")
    assert not any(may(ROLES, act) for act in ("", "case:*", "case", "people:delete", "CASE:READ"))


def test_roles_are_sets_not_a_ladder() -> None:
    """Of the roles of these four offices, none can do all that another can; admins and policy owners open no case."""
    offices = ("approver", "policy_owner", "auditor", "admin")
    for one in offices:
        for other in offices:
            assert one == other or not ROLE_ACTS[one] <= ROLE_ACTS[other], f"{other} contains {one}"
    assert not may(["admin", "policy_owner"], "case:read")
    moving = {"case:open", "case:claim", "case:decide", "case:release", "case:reopen", "case:recall", "case:relate"}
    moving |= {"policy:change", "people:change", "key:change", "queue:take"}
    assert not moving & ROLE_ACTS["auditor"]
    assert not moving & ROLE_ACTS["viewer"]


@pytest.mark.parametrize(
    ("act", "roles"),
    [
        ("case:read", {"viewer", "reviewer", "approver", "auditor"}),
        ("case:decide", {"reviewer", "approver", "policy_owner", "admin"}),
        ("case:reopen", {"approver"}),
        ("case:recall", {"approver"}),
        ("policy:change", {"policy_owner"}),
        ("audit:read", {"auditor", "admin"}),
        ("people:change", {"admin"}),
        ("key:change", {"admin"}),
        ("queue:take", set()),
    ],
)
def test_each_act_that_matters_belongs_to_the_roles_written_down(act: str, roles: set[str]) -> None:
    assert {role for role in ROLES if may([role], act)} == roles


def test_every_act_of_a_role_or_scope_is_an_act() -> None:
    assert set().union(*ROLE_ACTS.values()) <= ACTS.keys()
    assert set(SCOPES) <= ACTS.keys()
    assert set().union(*SCOPE_ACTS.values()) <= ACTS.keys()


@pytest.mark.parametrize("kind", ["", "gate", "system", "nobody"])
def test_a_principal_of_an_unknown_kind_may_nothing(kind: str) -> None:
    nobody = Principal(kind, "x", "x", "x", frozenset(ROLES), frozenset(SCOPES), "x")
    assert not any(principal_may(nobody, act) for act in ACTS)


def test_the_command_line_decides_no_case() -> None:
    assert not any(principal_may(OPERATOR, act) for act in ACTS if act.startswith(("case:", "queue:", "policy:")))


def test_a_claim_that_is_not_mapped_gives_nothing() -> None:
    mapping = {"desk": "reviewer", "books": "auditor", "boss": "admin"}
    assert map_roles(["desk", "admin", 7, None, ["boss"], "Desk"], mapping) == {"reviewer"}
    with pytest.raises(UsageError) as refused:
        map_roles([], {"x": "superuser"})
    assert refused.value.code == "people.role"


def test_unknown_roles_and_scopes_are_refused_by_name() -> None:
    for check, value in ((check_roles, "root"), (check_scopes, "people:change")):
        with pytest.raises(UsageError, match=value):
            check([value])
    assert check_roles(["viewer", "admin", "viewer"]) == ("admin", "viewer")
    with pytest.raises(UsageError):
        check_scopes([])


# --- one table in three places --------------------------------------------------------------------------------------


def test_the_table_of_roles_is_the_one_in_the_specification() -> None:
    rows = [line.split("|")[1:-1] for line in SPEC.splitlines() if re.match(r"\| `[a-z]+:[a-z]+` \|", line)]
    written = {cells[0].strip(" `"): [cell.strip() == "yes" for cell in cells[1:-1]] for cells in rows}
    scopes = {cells[0].strip(" `"): cells[-1].strip() for cells in rows}
    assert list(written) == list(ACTS)
    for act, row in written.items():
        assert row == [act in ROLE_ACTS[role] for role in ROLES], act
        assert scopes[act] == " ".join(f"`{scope}`" for scope in SCOPES if act in SCOPE_ACTS[scope]), act


COMMANDS = {
    "open": "case:open",
    "view": "case:read",
    "claim": "case:claim",
    "comment": "case:comment",
    "decide": "case:decide",
    "release": "case:release",
    "reopen": "case:reopen",
    "recall": "case:recall",
    "add_dependant": "case:relate",
    "change_policy": "policy:change",
    "list": "queue:read",
    "evidence": "case:read",
    "export": "case:export",
    "audit": "audit:read",
}
"""Commands of the desk that people give, and the act each is."""


@pytest.mark.parametrize(("command", "act"), COMMANDS.items())
def test_the_desk_lets_people_do_what_this_table_says(command: str, act: str) -> None:
    assert {role for role in ROLES if f"person:{role}" in permissions.MAY[command]} == {
        role for role in ROLES if may([role], act)
    }


def test_every_command_of_the_desk_that_people_give_is_an_act() -> None:
    given = {name for name, who in permissions.MAY.items() if any(item.startswith("person:") for item in who)}
    assert given == COMMANDS.keys()
