"""Wraps open for their run and with their key; the key's file is as careful as any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.signer_files import load_or_create_signer
from holdfast.adapters.wraps_hpke import load_or_create_recipient, load_recipient, wrap_secret
from holdfast.core.wraps import WRAP_BYTES
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from tests.helpers.decisions import RECIPIENT

RUN, OTHER = "019b7651-c000-7000-8000-0123456789ab", "019b7651-c000-7000-8000-0123456789ac"
SECRET = bytes(range(32))


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    load_or_create_recipient(tmp_path / "panel.pem")
    (tmp_path / "panel.pem").chmod(0o640)
    with pytest.raises(UsageError) as refused:
        load_recipient(tmp_path / "panel.pem")
    assert refused.value.code == "signer.permissions"


def test_a_signing_key_receives_nothing(tmp_path: Path) -> None:
    load_or_create_signer(tmp_path / "panel.pem", "statement")
    with pytest.raises(UsageError) as refused:
        load_recipient(tmp_path / "panel.pem")
    assert refused.value.code == "signer.key"


def test_a_key_is_made_once_and_loaded_after_that(tmp_path: Path) -> None:
    made = load_or_create_recipient(tmp_path / "panel.pem")
    assert load_or_create_recipient(tmp_path / "panel.pem").key == made.key
    assert (made.key.use, made.key.algorithm, len(made.key.public)) == ("hpke", "x25519", 32)


def test_a_wrap_of_another_run_or_key_does_not_open(tmp_path: Path) -> None:
    wrap = wrap_secret(RECIPIENT.key.public, RUN, SECRET)
    with pytest.raises(RefusedError):
        RECIPIENT.open(OTHER, wrap)
    with pytest.raises(RefusedError):
        load_or_create_recipient(tmp_path / "other.pem").open(RUN, wrap)
    with pytest.raises(MalformedError):
        RECIPIENT.open(RUN, wrap + b"x")


@given(st.integers(0, WRAP_BYTES * 8 - 1))
def test_a_wrap_with_one_changed_bit_does_not_open(bit: int) -> None:
    wrap = bytearray(wrap_secret(RECIPIENT.key.public, RUN, SECRET))
    wrap[bit // 8] ^= 1 << bit % 8
    with pytest.raises(HoldfastError):
        assert RECIPIENT.open(RUN, bytes(wrap)) != SECRET


def test_two_wraps_of_one_secret_differ_and_both_open() -> None:
    wraps = [wrap_secret(RECIPIENT.key.public, RUN, SECRET) for _ in range(2)]
    assert wraps[0] != wraps[1]
    assert [RECIPIENT.open(RUN, wrap) for wrap in wraps] == [SECRET, SECRET]
