"""The clock port against the machine's clock."""

from __future__ import annotations

import asyncio
import datetime as dt

from holdfast.adapters.clock_system import SystemClock


def test_now_is_aware_and_utc() -> None:
    assert SystemClock().now().utcoffset() == dt.timedelta(0)


def test_monotonic_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


def test_waiting_for_less_than_nothing_returns() -> None:
    asyncio.run(SystemClock().sleep(-1.0))
