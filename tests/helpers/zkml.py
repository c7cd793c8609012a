"""Where EZKL is, for the tests that prove, and models that make small circuits.

It lives in an environment of its own (``HOLDFAST_ZKML`` names its interpreter), which ``python3 dev.py zkml`` and
``CI=true python3 dev.py test`` make.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PYTHON = os.environ.get("HOLDFAST_ZKML", "")
NEEDS_EZKL = pytest.mark.skipif(not PYTHON, reason="EZKL is not here: CI=true or python3 dev.py zkml installs it")


def python() -> Path:
    """The interpreter that has EZKL."""
    return Path(PYTHON)
