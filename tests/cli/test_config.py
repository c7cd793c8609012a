"""``holdfast config show``, and which tables of a settings file name nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.cli.config import node_tables
from holdfast.cli.host import MODULES
from holdfast.cli.node import NODES
from tests.cli.conftest import Holdfast


def test_every_node_starts_by_itself() -> None:
    assert set(NODES) == set(MODULES)


@pytest.mark.parametrize("table", [*NODES, "full-2", "inference-2"])
def test_a_table_of_any_node_is_known_whatever_is_asked_for(holdfast: Holdfast, tmp_path: Path, table: str) -> None:
    path = tmp_path / "holdfast.toml"
    path.write_text(f'[{table}]\nlisten = "127.0.0.1:9"\n')
    for wanted in ((), ("gateway",), (table,)):
        done = holdfast("config", "show", *wanted, "--config", str(path))
        assert done.code == 0, done.err
        assert ("listen = 127.0.0.1:9" in done.out) == (wanted != ("gateway",) or table == "gateway")


def test_a_node_with_numbered_tables_is_shown_by_them(tmp_path: Path) -> None:
    path = tmp_path / "holdfast.toml"
    path.write_text("[full-1]\n[full-2]\n[inference]\n[inference-2]\n")
    assert {"full-1", "full-2", "inference", "inference-2"} <= set(node_tables(path, None))
    assert "full" not in node_tables(path, None)
    assert "full" in node_tables(path, "full")


@pytest.mark.parametrize("name", ["nope", "hub-2", "full-x", "full-"])
def test_what_is_no_node_is_refused(holdfast: Holdfast, name: str) -> None:
    done = holdfast("config", "show", name)
    assert (done.code, "usage.node" in done.err) == (2, True)
