"""The how-to for converting models, run as it stands. ``HOLDFAST_CONVERT`` names a Python with what it installs."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

PYTHON = os.environ.get("HOLDFAST_CONVERT", "")
HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "convert-a-model.md"


def test_the_howto_holds_one_program() -> None:
    assert len(re.findall(r"<!-- scikit-learn -->\n```python\n", HOWTO.read_text("utf-8"))) == 1


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON, reason="HOLDFAST_CONVERT names no Python with scikit-learn and skl2onnx")
def test_a_model_of_scikit_learn_says_the_same_after_the_howto(tmp_path: Path) -> None:
    found = re.search(r"<!-- scikit-learn -->\n```python\n(.*?)```", HOWTO.read_text("utf-8"), re.DOTALL)
    assert found is not None
    (tmp_path / "convert.py").write_text(found[1], "utf-8")
    environment = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "ignore"}
    command = [PYTHON, "convert.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    expected = np.load(tmp_path / "expected.npz")
    model = (tmp_path / "mine" / "model.onnx").read_bytes()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    probabilities = session.run(["probabilities"], {session.get_inputs()[0].name: expected["x"]})[0]
    assert np.allclose(probabilities, expected["probabilities"], atol=1e-5)
