"""How a command finds a network and its key: what is refused, and what wins over what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.network import FullNodeAddress, find_network, read_key
from holdfast.errors import HoldfastError, UsageError
from tests.helpers.network import Network


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder as ``holdfast up`` leaves it."""
    monkeypatch.delenv("HOLDFAST_KEY", raising=False)
    folder = tmp_path / "state"
    (folder / "keys").mkdir(parents=True)
    (folder / "keys" / "workspace.token").write_text("hf_from_the_folder\n")
    (folder / "trust.json").write_bytes(Network().trust_file())
    describe(folder)
    return folder


def describe(folder: Path, **changes: Any) -> None:
    value: dict[str, Any] = {
        "gateway": "http://127.0.0.1:8501/",
        "panel": "http://127.0.0.1:8500",
        "log": "http://127.0.0.1:8502",
        "chain": "http://127.0.0.1:8503",
        "full_nodes": [{"name": "full-1", "url": "http://127.0.0.1:8504"}],
        "origin": "holdfast.local/log/1",
        "trust": str(folder / "trust.json"),
        "key_file": str(folder / "keys" / "workspace.token"),
    }
    (folder / "network.json").write_text(json.dumps(value | changes))


def refusal(*arguments: str | None) -> str:
    with pytest.raises(HoldfastError) as refused:
        find_network(*arguments)
    return refused.value.code


def test_two_networks_at_once_are_refused(state: Path) -> None:
    assert refusal(str(state), "http://127.0.0.1:1", None) == "network.which"


def test_a_folder_without_a_network_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        find_network(str(tmp_path), None, None)
    assert refused.value.code == "network.none"
    assert "holdfast up" in refused.value.hint


@pytest.mark.parametrize("url", ["127.0.0.1:8500", "ftp://x", "http://a b", ""])
def test_a_gateway_is_named_by_an_http_url(url: str) -> None:
    assert refusal(None, url, None) == "network.url"


@pytest.mark.parametrize(
    "changes",
    [
        {"gateway": None},
        {"gateway": 7},
        {"full_nodes": {}},
        {"full_nodes": ["full-1"]},
        {"full_nodes": [{"name": "full-1"}]},
        {"origin": 1},
    ],
)
def test_a_description_of_another_shape_is_malformed(state: Path, changes: dict[str, Any]) -> None:
    describe(state, **changes)
    assert refusal(str(state), None, None) == "network.description"


@pytest.mark.parametrize("reference", ["hf_secret", "file:", "env:", "file:/nowhere/key", "env:NOT_SET_ANYWHERE", ""])
def test_a_key_is_named_not_given(reference: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_key(reference)
    assert refused.value.code == "network.key"
    assert "hf_secret" not in str(refused.value)


def test_an_empty_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("\n")
    with pytest.raises(UsageError):
        read_key(f"file:{tmp_path / 'key'}")


def test_the_description_says_where_everything_is(state: Path) -> None:
    network = find_network(str(state), None, None)
    assert network.gateway == "http://127.0.0.1:8501"
    assert network.full_nodes == (FullNodeAddress("full-1", "http://127.0.0.1:8504"),)
    assert network.require_key() == "hf_from_the_folder"
    assert network.load_trust().version == 1
    assert "hf_from_the_folder" not in repr(network)


def test_the_folder_is_the_default_one(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.rename(state.parent / ".holdfast")
    monkeypatch.chdir(state.parent)
    assert find_network(None, None, None).gateway == "http://127.0.0.1:8501"


def test_a_named_key_wins_over_the_folder_and_the_folder_over_the_environment(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_KEY", "hf_from_the_environment")
    monkeypatch.setenv("MINE", "hf_mine")
    assert find_network(str(state), None, "env:MINE").require_key() == "hf_mine"
    assert find_network(str(state), None, None).require_key() == "hf_from_the_folder"
    assert find_network(None, "http://127.0.0.1:1", None).require_key() == "hf_from_the_environment"
    describe(state, key_file=str(state / "keys" / "gone"))
    assert find_network(str(state), None, None).require_key() == "hf_from_the_environment"


def test_without_a_key_nothing_is_asked(state: Path) -> None:
    describe(state, key_file=None)
    with pytest.raises(UsageError) as refused:
        find_network(str(state), None, None).require_key()
    assert refused.value.code == "network.key"


def test_trust_that_cannot_be_read_is_said_so(state: Path) -> None:
    describe(state, trust="gone.json")
    network = find_network(str(state), None, None)
    assert network.find_trust() is None
    with pytest.raises(UsageError) as refused:
        network.load_trust()
    assert refused.value.code == "network.trust"


def test_trust_that_does_not_check_is_never_taken_for_missing(state: Path) -> None:
    (state / "trust.json").write_bytes(Network().trust_file().replace(b'"keyid":"', b'"keyid":"0'))
    with pytest.raises(HoldfastError):
        find_network(str(state), None, None).find_trust()
