"""What a :class:`holdfast.ports.models.ModelSource` keeps: the folder."""

import asyncio
import json
import os

import pytest

from holdfast.adapters.models_folder import FolderModels
from holdfast.core.artifacts import build_manifest
from holdfast.core.encoding import sha256_hex
from holdfast.errors import HoldfastError
from holdfast.ports.models import parse_card


def put(folder, label, **files):
    home = folder / label
    home.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (home / name.replace("_", ".")).write_bytes(data)
    return home


def code_of(job):
    with pytest.raises(HoldfastError) as refused:
        asyncio.run(job)
    return refused.value.code


@pytest.mark.parametrize("label", ["other", "../keys", "scores/..", "/etc", "", "Scores", "a/b/c"])
def test_a_label_that_is_not_there_or_leads_out_is_unknown(tmp_path, label):
    put(tmp_path, "scores", model_onnx=b"1")
    put(tmp_path.parent, "keys", model_onnx=b"1")
    assert code_of(FolderModels(tmp_path).find(label)) == "models.unknown"


def test_files_that_changed_since_the_label_was_looked_up_are_not_its_artifact(tmp_path):
    home = put(tmp_path, "scores", model_onnx=b"1")
    source = FolderModels(tmp_path)
    entry = asyncio.run(source.find("scores"))
    (home / "model.onnx").write_bytes(b"2")
    assert code_of(source.fetch(entry.artifact, "scores")) == "models.moved"


def test_replaced_files_move_the_label_even_within_one_tick_of_the_clock(tmp_path):
    home = put(tmp_path, "scores", model_onnx=b"1")
    source = FolderModels(tmp_path)
    first = asyncio.run(source.find("scores"))
    (home / "model.onnx").write_bytes(b"22")
    state = (home / "model.onnx").stat()
    os.utime(home / "model.onnx", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert asyncio.run(source.find("scores")).artifact != first.artifact


def test_a_link_is_no_file_of_a_model(tmp_path):
    home = put(tmp_path, "scores", model_onnx=b"1")
    secret = tmp_path / "secret"
    secret.write_bytes(b"key")
    (home / "more.bin").symlink_to(secret)
    source = FolderModels(tmp_path)
    entry = asyncio.run(source.find("scores"))
    assert asyncio.run(source.fetch(entry.artifact, "scores")).keys() == {"model.onnx"}


@pytest.mark.parametrize(
    "card",
    [
        {"task": "poetry", "input": "x", "output": "y"},
        {"task": "embeddings", "input": "x"},
        {"task": "classification", "input": "x", "output": "y", "labels": "good"},
    ],
)
def test_a_card_that_says_half_is_refused(card):
    with pytest.raises(HoldfastError) as refused:
        parse_card(json.dumps(card).encode())
    assert refused.value.code == "models.card"


def test_it_lists_and_fetches(tmp_path):
    card = {"task": "embeddings", "input": "text", "output": "vector", "licence": "Apache-2.0"}
    put(tmp_path, "scores", model_onnx=b"1")
    put(tmp_path, "acme/words", model_onnx=b"2", card_json=json.dumps(card).encode())
    put(tmp_path, "Upper", model_onnx=b"3")
    (tmp_path / "empty").mkdir()
    source = FolderModels(tmp_path)
    listed = asyncio.run(source.models())
    assert [(item.label, item.card.task) for item in listed] == [("acme/words", "embeddings"), ("scores", None)]
    files = asyncio.run(source.fetch(listed[0].artifact, "acme/words"))
    assert files.keys() == {"card.json", "model.onnx"}
    digests = {name: sha256_hex(data) for name, data in files.items()}
    assert build_manifest("model", digests).artifact == listed[0].artifact
