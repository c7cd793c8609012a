"""The peer of ``inference.py``: a BentoML service over the same ONNX file, as their documentation has it.

Run by BentoML's own interpreter: ``bentoml serve bentoml_service:Scores``. ``HOLDFAST_BENCH_MODEL`` is the file.
"""

from __future__ import annotations

import os

import bentoml
import numpy as np
import onnxruntime as ort


@bentoml.service(workers=1)
class Scores:
    """One model, one worker, one thread."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = os.environ["HOLDFAST_BENCH_MODEL"]
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @bentoml.api
    def predict(self, x: np.ndarray) -> np.ndarray:
        """The model's output."""
        return self.session.run(None, {"x": x.astype("float32")})[0]
