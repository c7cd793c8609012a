"""What all training scripts share: run a file as an inference node would, and write a model with its card and manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from holdfast.core.artifacts import build_manifest, manifest_payload
from holdfast.core.encoding import sha256_hex

SHIPPED = Path(__file__).resolve().parents[1] / "src" / "holdfast" / "adapters" / "shipped"


def run(raw: bytes, **inputs: np.ndarray) -> list[np.ndarray]:
    """All outputs of an ONNX file, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return list(onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"]).run(None, inputs))


def ship(name: str, files: Mapping[str, bytes], card: Mapping[str, Any]) -> None:
    """Write a model's folder and its manifest, and print the card's figures and the artifact's digest."""
    text = (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode()
    everything = {**files, "card.json": text}
    folder = SHIPPED / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, raw in everything.items():
        (folder / file).write_bytes(raw)
    manifest = build_manifest(name, {file: sha256_hex(raw) for file, raw in everything.items()})
    (SHIPPED / f"{name}.manifest.json").write_bytes(manifest_payload(manifest))
    print(json.dumps(card["figures"], indent=1))
    print(f"{name}: {sum(map(len, everything.values())):,} bytes, artifact {manifest.artifact}")
