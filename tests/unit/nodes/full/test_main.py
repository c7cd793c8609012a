"""What a full node refuses to start with."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.adapters.signer_files import load_or_create_signer
from holdfast.adapters.signer_secp256k1 import load_or_create_signer as load_or_create_vote_signer
from holdfast.core.keys import build_key_document
from holdfast.errors import ConflictError, HoldfastError, UsageError
from holdfast.nodes.full.__main__ import build
from holdfast.nodes.full.config import FollowedLog, FullConfig
from holdfast.nodes.process import run_node
from tests.helpers.full_network import ORIGIN, Network


def config(folder: Path, **changes: object) -> FullConfig:
    """Settings of a node whose files are all there."""
    vote = load_or_create_vote_signer(folder / "vote.key")
    cosignature = load_or_create_signer(folder / "cosignature.pem", "cosignature")
    document = build_key_document("full-1", ["full"], "test", [cosignature.key, vote.key])
    (folder / "full.json").write_bytes(document.raw)
    (folder / "trust.json").write_bytes(Network(1).trust_file())
    values: dict[str, object] = {
        "state": folder / "state",
        "trust": folder / "trust.json",
        "key_document": folder / "full.json",
        "vote_key": folder / "vote.key",
        "cosignature_key": folder / "cosignature.pem",
        "logs": (FollowedLog(ORIGIN, "http://127.0.0.1:1"),),
        **changes,
    }
    return FullConfig(**values)  # type: ignore[arg-type]


def test_a_whole_configuration_builds_and_owns_its_state_folder(tmp_path):
    settings = config(tmp_path)
    assert build(settings) is not None
    with pytest.raises(ConflictError, match=r"storage\.locked"):
        build(settings)


def test_a_key_that_the_document_does_not_name_is_refused(tmp_path):
    settings = config(tmp_path)
    (tmp_path / "other.key").write_text("07" * 32 + "\n")
    (tmp_path / "other.key").chmod(0o600)
    with pytest.raises(UsageError, match=r"full\.key"):
        build(FullConfig(**{**as_dict(settings), "vote_key": tmp_path / "other.key"}))
    assert build(settings) is not None  # the refused one has let go of the state folder


def as_dict(settings: FullConfig) -> dict[str, object]:
    return {name: getattr(settings, name) for name in FullConfig.__dataclass_fields__}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"logs": ()}, "full.chain"),
        ({"logs": (FollowedLog("holdfast.test/unknown", "http://127.0.0.1:1"),)}, "full.chain"),
        ({"trust_pin": "00" * 32}, "trust.pin"),
        ({"trust": Path("/nowhere/trust.json")}, "full.trust"),
        ({"key_document": Path("/nowhere/full.json")}, "full.key_document"),
        ({"vote_key": Path("/nowhere/vote.key")}, "signer.file"),
    ],
)
def test_what_is_missing_is_named(tmp_path, changes, code):
    with pytest.raises(HoldfastError) as caught:
        build(config(tmp_path, **changes))
    assert caught.value.code == code


def test_a_start_that_is_refused_says_so_and_exits_2(tmp_path, capsys):
    (tmp_path / "full.toml").write_text(f'[full]\nkey_document = "{tmp_path / "none.json"}"\n')
    assert run_node("full", FullConfig, build, [str(tmp_path / "full.toml")], {}) == 2
    assert "full.key_document" in capsys.readouterr().err
