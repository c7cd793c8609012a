"""Simulated enclaves for tests: warned of, under a root of their own."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable

import pytest

from holdfast.adapters.enclave_insecure import InsecureEnclave, InsecureModule, InsecureRoot, make_insecure_root
from holdfast.errors import DevelopmentModeWarning
from tests.helpers.clock import START, FakeClock

KEY_DOCUMENT = "ab" * 32
"""The digest of some key document."""


def counting() -> Callable[[int], bytes]:
    """ "Random" bytes that differ every time and are the same in every run."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def make_module(clock: FakeClock | None = None, root: InsecureRoot | None = None) -> InsecureModule:
    """A simulated module for the tests' time."""
    clock = clock or FakeClock()
    return InsecureModule(root or make_insecure_root(START - dt.timedelta(days=1)), clock, counting())


def make_enclave(clock: FakeClock | None = None, root: InsecureRoot | None = None) -> InsecureEnclave:
    """A simulated enclave, with the warning that it gives."""
    with pytest.warns(DevelopmentModeWarning):
        return InsecureEnclave(make_module(clock, root))
