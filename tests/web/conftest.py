"""What tests of pages share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.browser import launch


@pytest.fixture(scope="module")
def chromium() -> Iterator[str]:
    """Where the DevTools of a Chromium are that a file's tests share."""
    with launch() as address:
        yield address
