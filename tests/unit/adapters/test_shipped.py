"""Shipped models: that what lies there is what the manifests name, and that cards say what is measured."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest

from holdfast.adapters import shipped
from holdfast.errors import RefusedError

MODELS = Path(__file__).parents[3] / "models"


def script(name: str) -> ModuleType:
    """A training script, which is no package."""
    sys.path.insert(0, str(MODELS))
    try:
        spec = importlib.util.spec_from_file_location(f"models_{name}", MODELS / name / "train.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(MODELS))
    return module


def session(name: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(shipped.shipped_files(name)["model.onnx"], providers=["CPUExecutionProvider"])


def card(name: str) -> dict:
    return json.loads(shipped.shipped_files(name)["card.json"])


@pytest.mark.parametrize("change", ["changed", "missing", "extra"])
def test_files_that_are_not_those_of_the_manifest_are_refused(change, tmp_path, monkeypatch) -> None:
    copy = tmp_path / "shipped"
    shutil.copytree(shipped._HERE, copy)
    monkeypatch.setattr(shipped, "_HERE", copy)
    model = copy / "risk" / "model.onnx"
    if change == "changed":
        model.write_bytes(model.read_bytes()[:-1] + b"\x00\x01")
    elif change == "missing":
        model.unlink()
    else:
        (copy / "risk" / "other").write_bytes(b"")
    with pytest.raises(RefusedError) as caught:
        shipped.shipped_files("risk")
    assert caught.value.code.startswith("artifact.")


def test_every_model_is_small_and_says_what_it_does_not_say() -> None:
    assert shipped.shipped_names() == ["chat", "embedding", "risk", "series"]
    assert shipped.shipped_onnx() == ["embedding", "risk", "series"]
    assert sum(len(data) for name in shipped.shipped_names() for data in shipped.shipped_files(name).values()) < 3 << 20
    for name in shipped.shipped_names():
        assert card(name)["does_not_say"]
        assert card(name)["figures"]["held_out"]
        assert (MODELS / name / "train.py").exists()


def test_the_risk_card_says_what_the_model_does() -> None:
    made = script("risk")
    features, right, _ = made.requests(np.random.default_rng(3), made.HELD_OUT)
    said = session("risk").run(None, {"features": features})[0].argmax(1)
    figures = card("risk")["figures"]
    assert abs((said == right).mean() - figures["accuracy"]) < 0.005
    assert figures["accuracy"] > figures["accuracy_of_the_commonest_answer"] + 0.2


def test_the_series_card_says_what_the_model_does() -> None:
    made = script("series")
    random = np.random.default_rng(3)
    run = session("series")
    plain = run.run(None, {"window": made.ordinary(random, made.HELD_OUT)})[1]
    figures = card("series")["figures"]
    assert abs((plain > 0).mean() - figures["false_alarms"]) < 0.005
    for kind in made.KINDS:
        over = run.run(None, {"window": made.spoiled(random, made.HELD_OUT, kind)})[1]
        assert abs((over > 0).mean() - figures["found"][kind]) < 0.005


def test_an_embedding_has_length_one_and_paraphrases_are_near() -> None:
    texts = ["what is the enclave lane", "Explain the enclave lane?", "how are you", "xyzzy"]
    found = session("embedding").run(None, {"text": np.array(texts, dtype=object)})[0]
    assert np.allclose(np.linalg.norm(found[:3], axis=1), 1, atol=1e-3)
    assert found[0] @ found[1] > found[0] @ found[2] + 0.3
    assert not found[3].any()


def test_a_gateway_can_read_what_an_embedding_declares() -> None:
    assert {name: card("embedding")[name] for name in ("task", "input", "output")} == {
        "task": "embeddings",
        "input": "text",
        "output": "embedding",
    }
