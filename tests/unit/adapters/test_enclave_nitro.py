"""The Nitro client and its device: what the module answers is believed only where it is an answer to what was asked."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.enclave_nitro import NitroEnclave, NSMDevice
from holdfast.core.attestation import nsm
from holdfast.core.attestation.nitro import parse_nitro
from holdfast.errors import HoldfastError, UnavailableError, UsageError
from tests.helpers.enclaves import make_module


class Saying:
    """A module that says one thing, whatever it is asked."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def request(self, message: bytes) -> bytes:
        return self.answer


def code(error: pytest.ExceptionInfo[HoldfastError]) -> str:
    return error.value.code


@pytest.mark.parametrize("name", nsm.ERRORS)
def test_errors_that_the_module_names_are_told(name: str) -> None:
    with pytest.raises((UsageError, UnavailableError)) as caught:
        NitroEnclave(Saying(nsm.build_error(name))).attest(b"", None)
    assert code(caught) in ("nsm.refused", "nsm.failed")
    assert name in caught.value.message


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff",
        nsm.build_error("Unheard"),
        nsm.build_response("GetRandom", {"random": b"x"}),
        nsm.build_response("Attestation", {"document": "text"}),
        nsm.build_response("Attestation", {"document": b"not a document"}),
        nsm.build_response("Attestation", {"document": b"", "more": b""}),
        bytes(nsm.MAX_RESPONSE_BYTES + 1),
    ],
)
def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(UnavailableError) as caught:
        NitroEnclave(Saying(answer)).attest(b"", None)
    assert code(caught) == "enclave.answer"


def test_a_document_over_other_data_is_refused() -> None:
    """A module (or who sits before it) that replays an earlier document."""
    replayed = nsm.build_response("Attestation", {"document": NitroEnclave(make_module()).attest(b"earlier", b"n")})
    for user_data, nonce in ((b"now", b"n"), (b"earlier", b"m"), (b"earlier", None)):
        with pytest.raises(UnavailableError) as caught:
            NitroEnclave(Saying(replayed)).attest(user_data, nonce)
        assert code(caught) == "enclave.answer"


@pytest.mark.parametrize(("user_data", "nonce"), [(bytes(513), None), (b"", bytes(513))])
def test_what_is_too_large_never_reaches_the_module(user_data: bytes, nonce: bytes | None) -> None:
    with pytest.raises(UsageError) as caught:
        NitroEnclave(Saying(b"")).attest(user_data, nonce)
    assert code(caught) == "enclave.input"


def test_a_machine_without_the_device_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        NitroEnclave(NSMDevice(str(tmp_path / "nsm"))).attest(b"", None)
    assert code(caught) == "enclave.device"
    assert "Nitro" in caught.value.hint


def test_the_device_is_asked_with_two_buffers(tmp_path: Path) -> None:
    """The driver's one call, as the kernel would serve it: pointers and lengths in, the answer's length out."""
    path = tmp_path / "nsm"
    path.touch()
    module = make_module()
    calls: list[int] = []

    def ioctl(descriptor: int, number: int, vectors: bytearray) -> int:
        assert os.fstat(descriptor).st_ino == path.stat().st_ino
        calls.append(number)
        given, size, place, room = struct.unpack("@PNPN", vectors)
        answer = module.request(ctypes.string_at(given, size))
        assert len(answer) <= room
        ctypes.memmove(place, answer, len(answer))
        vectors[:] = struct.pack("@PNPN", given, size, place, len(answer))
        return 0

    enclave = NitroEnclave(NSMDevice(str(path), ioctl=ioctl))
    assert parse_nitro(enclave.attest(b"data", b"nonce")).nonce == b"nonce"
    assert enclave.describe().max_pcrs == 32
    assert calls == [0xC0200A00] * 2


def test_a_driver_that_fails_or_lies_about_its_answer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nsm"
    path.touch()

    def failing(descriptor: int, number: int, vectors: bytearray) -> Any:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))

    def lying(descriptor: int, number: int, vectors: bytearray) -> Any:
        vectors[-8:] = (nsm.MAX_RESPONSE_BYTES + 1).to_bytes(8, "little")

    for ioctl in (failing, lying):
        with pytest.raises(UnavailableError) as caught:
            NSMDevice(str(path), ioctl=ioctl).request(b"")
        assert code(caught) == "enclave.device"
