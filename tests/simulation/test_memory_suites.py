"""The suites of memory come to no harm, and notice where a node does.

``HOLDFAST_SCHEDULES`` says how much is tried: a thousand users live at one node where it is 1000, else sixteen.
``python -m bench memory_suites`` prints the counts.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters import memory_store_sql
from holdfast.adapters.memory_store_sql import SQLMemoryStore
from holdfast.core import memory
from holdfast.nodes.memory import search, service
from tests.helpers import crashes
from tests.helpers.memory_suites import SUITES, keeping
from tests.helpers.memory_suites.tally import Tally

SEED = 1
HELD_OUT = 2


def counts(name: str) -> int:
    return max(16, crashes.schedules()) if name == "isolation" else 12 + crashes.schedules() // 8


def run(name: str, folder: Path, count: int, seed: int = SEED) -> Tally:
    return asyncio.run(SUITES[name](folder, seed, count))


@pytest.mark.parametrize("name", SUITES)
def test_what_is_tried_comes_to_no_harm_and_what_has_to_work_works(name: str, tmp_path: Path) -> None:
    told = run(name, tmp_path, counts(name))
    assert sum(told.attempts.values()) >= 12
    assert told.harmed == []
    assert told.missed == []
    assert told.controls


def test_a_suite_tries_the_same_again_for_the_same_seed(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    one, same, other = [run("laundering", folder, 6, seed) for folder, seed in zip(folders, (1, 1, 5), strict=True)]
    assert one.attempts == same.attempts != other.attempts


# Where a node is broken, a suite says so


def _always_a_fact(*_: Any) -> str:
    return "earned"


@pytest.mark.parametrize("name", ["laundering", "staleness", "poisoning", "contradiction"])
def test_a_node_for_which_everything_stands_is_noticed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (search, service):
        monkeypatch.setattr(module, "standing_of", _always_a_fact)
    assert run(name, tmp_path, 6).harmed


def test_a_node_that_lets_anything_renew_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "require_renewal", lambda *_: None)
    assert len(run("self-citation", tmp_path, 7).harmed) >= 3


def test_a_node_that_mixes_users_up_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, first = service.MemoryService.vault, []

    async def anybodys(self: Any, principal: Any, scope: str = "memories:read") -> Any:
        first.append(await read(self, principal, scope))
        return first[0] if scope == "profile:read" else first[-1]

    monkeypatch.setattr(service.MemoryService, "vault", anybodys)
    assert {text.partition(":")[0] for text in run("isolation", tmp_path, 6).harmed} == {"profile"}


def test_a_store_that_only_says_that_it_scrubbed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SQLMemoryStore, "scrub", lambda _: True)
    assert run("shredding", tmp_path, 5).harmed


def test_a_store_that_ends_no_key_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SQLMemoryStore, "remove_wrap", lambda *_: True)
    found = run("wrong-key", tmp_path, 8)
    assert [text.partition(":")[0] for text in found.harmed] == ["ended"]


def test_a_store_that_commits_by_halves_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    insert = memory_store_sql._insert

    def by_halves(connection: Any, *given: Any) -> None:
        connection.commit()
        insert(connection, *given)

    monkeypatch.setattr(memory_store_sql, "_insert", by_halves)
    monkeypatch.setattr(keeping, "CHANGES", {"rotate": keeping.CHANGES["rotate"]})
    assert run("crashes", tmp_path, 1).harmed


def test_a_store_that_loses_what_it_acknowledged_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def losing(self: SQLMemoryStore, user: str, before: Any, rows: Any, events: Any) -> Any:
        if before.seq % 4 == 3:  # acknowledged, and lost
            return before
        return append(self, user, before, rows, events)

    append = SQLMemoryStore.append
    monkeypatch.setattr(SQLMemoryStore, "append", losing)
    assert run("writers", tmp_path, 12).harmed
