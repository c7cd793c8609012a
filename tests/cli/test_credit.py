"""``holdfast credit`` beside the till of a gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.adapters.till_store_sql import SQLTillStore
from tests.cli.conftest import Outcome

Holdfast = Callable[..., Outcome]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder whose settings name a gateway that takes payments."""
    folder = tmp_path / "network"
    folder.mkdir()
    (folder / "token").write_text("hf_key\n")
    (folder / "holdfast.toml").write_text(
        f"""[gateway]
payments = "optional"
state = "{folder / "gateway"}"
workspaces = [{{ name = "acme", key = "file:{folder / "token"}" }}]
"""
    )
    return folder


def grant(holdfast: Holdfast, state: Path, *more: str) -> Outcome:
    return holdfast("credit", "grant", *more, "--state", str(state))


def test_nobody_has_credit_where_nothing_costs_anything(holdfast: Holdfast, state: Path) -> None:
    (state / "holdfast.toml").write_text(f'[gateway]\nstate = "{state / "gateway"}"\n')
    done = holdfast("credit", "show", "--state", str(state))
    assert (done.code, "credit.off" in done.err) == (2, True)
    assert not (state / "gateway").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("other", "5", "--reference", "x"), "credit.workspace"),
        (("acme", "5.0", "--reference", "x"), "pricing.decimal"),
        (("acme", "much", "--reference", "x"), "pricing.decimal"),
        (("acme", "0", "--reference", "x"), "till.amount"),
        (("acme", "5", "--reference", ""), "credit.reference"),
        (("acme", "5", "--reference", "x" * 101), "credit.reference"),
    ],
)
def test_credit_that_makes_no_sense_is_refused(
    holdfast: Holdfast, state: Path, arguments: tuple[str, ...], code: str
) -> None:
    done = grant(holdfast, state, *arguments)
    assert done.code != 0
    assert code in done.err
    assert json.loads(holdfast("credit", "show", "--json", "--state", str(state)).out) == {"accounts": []}


def test_a_grant_counts_once(holdfast: Holdfast, state: Path) -> None:
    done = grant(holdfast, state, "acme", "2.5", "--reference", "invoice 7")
    assert (done.code, done.out) == (0, "acme: 2.5 USD left (2.5 granted, 0 spent, 0 held)\n")
    again = grant(holdfast, state, "acme", "2.5", "--reference", "invoice 7")
    assert again.out.startswith("That reference was used before")
    more = json.loads(grant(holdfast, state, "acme", "1", "--reference", "invoice 8", "--json").out)
    assert (more["granted_now"], more["left"]) == (True, "3.5")
    store = SQLTillStore(f"sqlite:///{state / 'gateway' / 'till.sqlite'}")
    assert store.account("acme").granted == 3_500_000_000
    store.close()


def test_credit_is_shown(holdfast: Holdfast, state: Path) -> None:
    assert holdfast("credit", "show", "--state", str(state)).out == "No workspace has had any credit yet.\n"
    grant(holdfast, state, "acme", "1", "--reference", "a")
    done = holdfast("credit", "show", "--state", str(state))
    assert done.out == "acme: 1 USD left (1 granted, 0 spent, 0 held)\n"
