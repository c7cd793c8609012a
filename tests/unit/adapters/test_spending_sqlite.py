"""The record behind a wallet's limits: a file that only its owner reads, and that nobody fails to notice missing."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import pytest

from holdfast.adapters.spending_sqlite import Spending, SpendingRecord
from holdfast.core.paying import AssetLimit
from holdfast.errors import RefusedError, UnavailableError

LIMIT = AssetLimit("eip155:1", "0x" + "aa" * 20, 2**200, 2**201)
ENTRY = Spending(
    "01" * 32, 1000, "0x" + "bb" * 20, LIMIT.network, LIMIT.asset, "exact", 2**200, "0x" + "cc" * 20, 1600, "/", b"{}"
)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"spending\.file"):
        SpendingRecord(tmp_path / "file" / "spent.sqlite")


def test_a_file_that_is_no_record_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "spent.sqlite").write_bytes(b"something else" * 100)
    with pytest.raises(UnavailableError, match=r"spending\.file"):
        SpendingRecord(tmp_path / "spent.sqlite")


def test_others_cannot_read_it(tmp_path: Path) -> None:
    SpendingRecord(tmp_path / "deep" / "spent.sqlite").close()
    assert stat.S_IMODE((tmp_path / "deep" / "spent.sqlite").stat().st_mode) == 0o600


def test_an_authorization_is_entered_once(tmp_path: Path) -> None:
    record = SpendingRecord(tmp_path / "spent.sqlite")
    record.reserve(ENTRY, LIMIT)
    with pytest.raises(RefusedError, match=r"paying\.replayed"):
        record.reserve(ENTRY, LIMIT)
    record.reserve(dataclasses.replace(ENTRY, identity="02" * 32), LIMIT)
    with pytest.raises(RefusedError, match=r"paying\.per_day"):
        record.reserve(dataclasses.replace(ENTRY, identity="03" * 32, amount=1), LIMIT)
    assert len(record.history()) == 2


def test_what_was_entered_comes_back_as_it_was(tmp_path: Path) -> None:
    record = SpendingRecord(tmp_path / "spent.sqlite")
    record.reserve(ENTRY, LIMIT)
    record.sent(ENTRY.identity, b"payload")
    record.served(ENTRY.identity, "run-1", 1001)
    record.served(ENTRY.identity, "run-1", 1002, "ab" * 32)
    record.told(ENTRY.identity, b"said", None)
    record.told(ENTRY.identity, None, "paying.other_amount")
    record.close()
    [found] = SpendingRecord(tmp_path / "spent.sqlite").history(payer=ENTRY.payer)
    assert found.entry == ENTRY
    assert (found.sent, found.told, found.trouble, found.runs) == (
        b"payload",
        b"said",
        "paying.other_amount",
        ("run-1",),
    )
    again = SpendingRecord(tmp_path / "spent.sqlite")
    assert again.history(payer="0x" + "00" * 20) == []
    assert (again.capability_of("run-1"), again.capability_of("run-2")) == ("ab" * 32, None)


def test_days_are_counted_by_payer_and_from_their_time_on(tmp_path: Path) -> None:
    record = SpendingRecord(tmp_path / "spent.sqlite")
    record.reserve(ENTRY, LIMIT)
    assert record.spent_since(ENTRY.payer, LIMIT, 999) == 2**200
    assert record.spent_since(ENTRY.payer, LIMIT, 1000) == 0
    assert record.spent_since("0x" + "00" * 20, LIMIT, 0) == 0
