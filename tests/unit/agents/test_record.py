"""The record of an agent: durable before anything goes on, and its owner's alone; what cannot be read counts not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from holdfast.agents.record import Record, read_record
from holdfast.errors import UnavailableError

RUN, ACT = "018f5c2e-0000-7000-8000-000000000001", "018f5c2e-0000-7000-8000-000000000002"


def test_a_record_is_its_owners_alone_and_says_what_is_open(tmp_path: Path) -> None:
    path = tmp_path / "agents" / "a.jsonl"
    assert read_record(path).open == ()
    record = Record(path)
    record.opened(RUN, "c1", "http://gateway", {"name": "a", "tools": []})
    record.proposed(ACT, "c2", RUN, "ab" * 32)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    found = read_record(path)
    assert [item.run for item in found.open] == [RUN]
    assert (found.acts[ACT].agent, found.acts[ACT].digest) == (RUN, "ab" * 32)
    assert "c1" not in repr(found.open[0])
    record.closed(RUN)
    assert read_record(path).open == ()


@pytest.mark.parametrize("kept", range(1, 40, 7))
def test_a_line_that_a_crash_cut_off_is_as_if_it_was_not_there(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a.jsonl"
    record = Record(path)
    record.opened(RUN, "c1", "http://gateway", {})
    whole = path.read_bytes()
    record.proposed(ACT, "c2", RUN, "ab" * 32)
    path.write_bytes(whole + path.read_bytes()[len(whole) :][:kept])
    assert read_record(path).acts == {}
    record.closed(RUN)
    found = read_record(path)
    assert (found.acts, found.open) == ({}, ())


@pytest.mark.parametrize(
    "line",
    [b"{}", b'{"word":"proposed","run":"x"}', b'{"word":"closed","run":1}', b'{"word":[],"run":"x"}', b"\xff", b"[]"],
)
def test_what_is_no_line_of_a_record_counts_for_nothing(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(line + b"\n")
    found = read_record(path)
    assert (found.agents, found.acts, found.closed) == ({}, {}, frozenset())


def test_where_nothing_can_be_written_nothing_goes_on(tmp_path: Path) -> None:
    (tmp_path / "agents").write_text("a file")
    with pytest.raises(UnavailableError) as caught:
        Record(tmp_path / "agents" / "a.jsonl").closed(RUN)
    assert caught.value.code == "record.disk"


def test_a_disk_that_takes_half_a_line_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, room = os.write, [30, 0]

    def nearly_full(descriptor: int, data: bytes) -> int:
        if not (taken := room.pop(0)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:taken])

    monkeypatch.setattr(os, "write", nearly_full)
    with pytest.raises(UnavailableError) as caught:
        Record(tmp_path / "a.jsonl").proposed(ACT, "c2", RUN, "ab" * 32)
    assert caught.value.code == "record.disk"
    room[:] = [30, 1_000]
    Record(tmp_path / "a.jsonl").proposed(ACT, "c2", RUN, "ab" * 32)
    assert read_record(tmp_path / "a.jsonl").acts[ACT].agent == RUN
