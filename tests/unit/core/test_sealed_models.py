"""Sealed models: what opens is the content or nothing, for readers alone (``artifacts.md`` §11)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from holdfast.adapters.wraps_hpke import wrap_model_key
from holdfast.client.hub import read_folder
from holdfast.client.sealed_models import open_folder, seal_folder
from holdfast.core import canonical, sealed_models
from holdfast.core.blob_sealing import seal_blob
from holdfast.core.encoding import b64_encode, sha256, sha256_hex
from holdfast.core.keys import PublicKey
from holdfast.core.sealed_models import (
    INDEX,
    READERS,
    SealedFile,
    SealedIndex,
    build_readers,
    is_sealed,
    open_files,
    open_model,
    parse_index,
    parse_readers,
)
from holdfast.errors import HoldfastError

OWN, OTHER, STRANGER = (X25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3))
SECRET = b"k" * 32
CONTENT = {"a/model.onnx": bytes(range(256)) * 3, "card.json": b"{}", "empty.txt": b""}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_models, "PIECE_BYTES", 256)
    monkeypatch.setattr("holdfast.client.sealed_models.PIECE_BYTES", 256)


def key_of(private: X25519PrivateKey) -> PublicKey:
    return PublicKey("hpke", "x25519", private.public_key().public_bytes_raw())


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    for name, data in CONTENT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def sealed(tmp_path: Path, *readers: X25519PrivateKey) -> dict[str, bytes]:
    target = tmp_path / "sealed-model"
    named = {key_of(reader).key_id: key_of(reader).public for reader in readers or (OWN, OTHER)}
    seal_folder(read_folder(folder_of(tmp_path), "risk"), target, named, SECRET, wrap_model_key)
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def code(function: Any, *arguments: Any) -> str:
    with pytest.raises(HoldfastError) as refused:
        function(*arguments)
    return refused.value.code


def test_each_reader_opens_it_and_nobody_else(tmp_path: Path) -> None:
    files = sealed(tmp_path)
    assert sorted(files) == sorted([INDEX, READERS, "sealed/000000", "sealed/000001", "sealed/000002", "sealed/000003"])
    assert is_sealed(files)
    assert not is_sealed(CONTENT)
    for reader in (OWN, OTHER):
        assert open_files(reader.private_bytes_raw(), files) == CONTENT
    assert code(open_files, STRANGER.private_bytes_raw(), files) == "sealed_model.reader"


def test_no_name_and_no_byte_shows(tmp_path: Path) -> None:
    shown = b"".join(sealed(tmp_path).values())
    assert b"model.onnx" not in shown
    assert bytes(range(64)) not in shown
    assert sha256_hex(CONTENT["card.json"]).encode() not in shown


def test_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    files = sealed(tmp_path)
    for name, data in files.items():
        for place in {0, len(data) // 2, len(data) - 1}:
            changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            with pytest.raises(HoldfastError):
                assert open_files(OWN.private_bytes_raw(), {**files, name: changed}) == CONTENT


def test_pieces_that_are_exchanged_or_missing_are_refused(tmp_path: Path) -> None:
    files = sealed(tmp_path)
    swapped = {**files, "sealed/000000": files["sealed/000003"], "sealed/000003": files["sealed/000000"]}
    assert code(open_files, OWN.private_bytes_raw(), swapped) == "blob.sealed"
    for name in ("sealed/000003", INDEX, READERS):
        less = {key: value for key, value in files.items() if key != name}
        assert code(open_files, OWN.private_bytes_raw(), less) == "sealed_model.piece"


def reindexed(files: dict[str, bytes], index: bytes) -> dict[str, bytes]:
    """The same pieces under another index, by somebody who has the data key."""
    wraps = {key_of(OWN).key_id: wrap_model_key(key_of(OWN).public, SECRET + sha256(index))}
    return {**files, INDEX: seal_blob(SECRET, index), READERS: build_readers(wraps)}


def test_an_index_leads_out_of_no_folder_and_names_files_as_they_are(tmp_path: Path) -> None:
    files = sealed(tmp_path)
    opened = open_model(OWN.private_bytes_raw(), files[READERS], files[INDEX])
    assert parse_index(opened.index.to_bytes()) == opened.index
    first, *rest = opened.index.files
    for wrong, refused in (
        (SealedFile("../a", first.digest, first.size, first.pieces), "artifact.name"),
        (SealedFile(first.name, first.digest, first.size + 256, first.pieces), "sealed_model.index"),
        (SealedFile(first.name, "11" * 32, first.size, first.pieces), "sealed_model.file"),
        (SealedFile("zz", first.digest, first.size, first.pieces), "sealed_model.index"),
    ):
        index = SealedIndex("risk", (wrong, *rest)).to_bytes()
        assert code(open_files, OWN.private_bytes_raw(), reindexed(files, index)) == refused


@pytest.mark.parametrize(
    "change",
    [
        {"type": "x"},
        {"files": {}},
        {"files": [{}]},
        {"more": 1},
        {"files": [{"name": "a", "sha256": "11" * 32, "bytes": -1, "pieces": []}]},
    ],
)
def test_an_index_is_read_strictly(change: dict[str, Any]) -> None:
    value = {"type": sealed_models.INDEX_TYPE, "model": "risk", "files": [], **change}
    assert code(parse_index, canonical.encode(value)) == "sealed_model.index"


@pytest.mark.parametrize("readers", [[], {}, [{}], [{"key": "11" * 32, "wrap": "AA==", "more": 1}]])
def test_readers_are_read_strictly(readers: Any) -> None:
    raw = canonical.encode({"type": sealed_models.READERS_TYPE, "readers": readers})
    assert code(parse_readers, raw) == "sealed_model.readers"


def test_readers_stand_in_one_order_each_once() -> None:
    def listed(*keys: str) -> bytes:
        readers: list[Any] = [{"key": key * 32, "wrap": b64_encode(b"w")} for key in keys]
        return canonical.encode({"type": sealed_models.READERS_TYPE, "readers": readers})

    assert list(parse_readers(listed("11", "22"))) == ["11" * 32, "22" * 32]
    for wrong in (("22", "11"), ("11", "11")):
        assert code(parse_readers, listed(*wrong)) == "sealed_model.readers"


def test_a_wrap_of_something_else_is_refused(tmp_path: Path) -> None:
    files = sealed(tmp_path)
    short = build_readers({key_of(OWN).key_id: wrap_model_key(key_of(OWN).public, SECRET)})
    assert code(open_files, OWN.private_bytes_raw(), {**files, READERS: short}) == "wrap.open"


def test_a_folder_is_written_once_and_never_over_another(tmp_path: Path) -> None:
    files = sealed(tmp_path)
    opened = open_model(OWN.private_bytes_raw(), files[READERS], files[INDEX])
    target = tmp_path / "clear"
    manifest = open_folder(opened, tmp_path / "sealed-model", target)
    assert {name: (target / name).read_bytes() for name in CONTENT} == CONTENT
    assert manifest.artifact == read_folder(tmp_path / "model", "risk").manifest.artifact
    assert code(open_folder, opened, tmp_path / "sealed-model", target) == "hub.folder"


def test_what_changes_while_it_is_sealed_and_what_nobody_reads_is_refused(tmp_path: Path) -> None:
    local = read_folder(folder_of(tmp_path), "risk")
    assert code(seal_folder, local, tmp_path / "t", {}, SECRET, wrap_model_key) == "sealed_model.readers"
    (tmp_path / "model" / "card.json").write_bytes(b"[]")
    named = {key_of(OWN).key_id: key_of(OWN).public}
    assert code(seal_folder, local, tmp_path / "t", named, SECRET, wrap_model_key) == "artifact.digest"
