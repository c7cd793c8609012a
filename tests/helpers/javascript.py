"""OpenAI's JavaScript client, unchanged, under Node.js: where ``node`` is there and ``HOLDFAST_NODE_MODULES`` names a
folder into which ``openai`` was installed; tests never fetch it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest


def run_javascript(folder: Path, program: str, *arguments: str) -> Any:
    """What a CommonJS program prints as JSON; skips where it cannot run."""
    node, modules = shutil.which("node"), os.environ.get("HOLDFAST_NODE_MODULES", "")
    if node is None:
        pytest.skip("there is no node on the PATH")
    if not (Path(modules) / "openai").is_dir() or not modules:
        pytest.skip("HOLDFAST_NODE_MODULES names no folder with the openai package: npm install openai")
    script = folder / "client.cjs"
    script.write_text(program)
    done = subprocess.run(
        [node, str(script), *arguments],
        env={"NODE_PATH": modules, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
