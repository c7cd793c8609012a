"""What the contracts of stores share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import postgresql


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    """One server for a module, in a folder whose path is short enough for a socket."""
    reason = postgresql.why_not()
    if reason:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="hf-pg-"))
    try:
        with postgresql.server(folder / "server") as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)
