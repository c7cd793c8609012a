"""Where EZKL and a Solidity compiler are, for the tests that prove.

EZKL lives in an environment of its own (``HOLDFAST_ZKML`` names its interpreter), the compiler beside it
(``HOLDFAST_SOLC`` names npm's ``solc.js``); ``python3 dev.py zkml`` and ``CI=true python3 dev.py test`` fetch both.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PYTHON = os.environ.get("HOLDFAST_ZKML", "")
NEEDS_EZKL = pytest.mark.skipif(not PYTHON, reason="EZKL is not here: CI=true or python3 dev.py zkml installs it")

SOLC = os.environ.get("HOLDFAST_SOLC", "")
NEEDS_SOLC = pytest.mark.skipif(not SOLC, reason="solc is not here: CI=true or python3 dev.py zkml fetches it")


def python() -> Path:
    """The interpreter that has EZKL."""
    return Path(PYTHON)
