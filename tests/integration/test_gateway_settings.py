"""Settings that a gateway refuses to start with: what it names in bundles has to be nameable there."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.errors import UsageError
from holdfast.nodes.gateway.__main__ import build
from holdfast.nodes.gateway.config import FullNodeReader
from tests.helpers.live_gateway import make_state, settings


@pytest.mark.parametrize("names", [["Full 1"], ["full-1", "full-1"], [""], [f"full-{number}" for number in range(65)]])
def test_full_nodes_without_a_usable_name_of_their_own_are_refused(tmp_path: Path, names: list[str]) -> None:
    nodes = tuple(FullNodeReader(name, "http://127.0.0.1:9") for name in names)
    with pytest.raises(UsageError) as caught:
        build(settings(make_state(tmp_path), full_nodes=nodes))
    assert caught.value.code == "gateway.full_node"
    assert "full-1" in caught.value.hint
