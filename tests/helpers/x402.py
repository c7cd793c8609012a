"""Where the clients of x402's authors are, for the tests that run them.

The Python client lives in an environment of its own (``HOLDFAST_X402`` names its interpreter), the TypeScript client in
a ``node_modules`` folder (``HOLDFAST_X402_MODULES``). ``python3 dev.py x402`` and ``CI=true python3 dev.py test`` fetch
them. Sockets on loopback: for ``tests/integration`` alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

PYTHON = os.environ.get("HOLDFAST_X402", "")
MODULES = os.environ.get("HOLDFAST_X402_MODULES", "")
_FETCH = "CI=true or python3 dev.py x402 fetches it"
NEEDS_PYTHON = pytest.mark.skipif(not PYTHON, reason=f"x402's Python client is not here: {_FETCH}")
NEEDS_TYPESCRIPT = pytest.mark.skipif(not MODULES, reason=f"x402's TypeScript client is not here: {_FETCH}")
DRIVERS = Path(__file__).parents[1] / "integration" / "x402"


def run_python(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What the calls of ``client.py`` that are wanted got."""
    return _run([PYTHON, str(DRIVERS / "client.py")], wanted)


def run_typescript(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What the calls of ``client.mjs`` that are wanted got."""
    node = shutil.which("node") or "node"
    return _run([node, str(DRIVERS / "client.mjs")], {**wanted, "modules": MODULES})


def _run(command: list[str], wanted: Mapping[str, Any]) -> dict[str, Any]:
    done = subprocess.run(command, input=json.dumps(wanted), capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
