"""An AWS Nitro enclave: documents from the security module behind ``/dev/nsm`` (``spec/attestation.md`` §11).

``NitroEnclave`` is the client; it speaks CBOR with a :class:`SecurityModule`, which is the device (:class:`NSMDevice`)
or the simulation (``enclave_insecure``). What the module answers is parsed before it is passed on, and must hold what
was asked for.

The device takes one ioctl with two buffers, so it is asked directly: the one package for it has had no release since
2020 (``docs/adr``).

Not covered: verifying the document; a node never judges its own.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.core.attestation import nsm
from holdfast.core.attestation.nitro import PCR_BYTES, parse_nitro
from holdfast.errors import MalformedError, UnavailableError, UsageError

DEVICE = "/dev/nsm"
"""The device that the kernel of a Nitro enclave offers."""
_IOCTL = 0xC0200A00
"""Read and write, 32 bytes, magic 0x0A, number 0: the one call of the driver (Linux ``include/uapi/linux/nsm.h``)."""

Ioctl = Callable[[int, int, bytearray], Any]
"""``fcntl.ioctl`` over a buffer that is changed in place."""


class SecurityModule(Protocol):
    """Answers one CBOR message with another (``core/attestation/nsm.py``)."""

    def request(self, message: bytes) -> bytes:
        """Raises ``enclave.device`` when the module cannot be asked."""
        ...


class NSMDevice:
    """The security module of the enclave that this process runs in."""

    def __init__(self, path: str = DEVICE, *, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._path = path
        self._ioctl = ioctl

    def request(self, message: bytes) -> bytes:
        """One ioctl: two pointers with lengths go in, the length of the answer comes back."""
        given = ctypes.create_string_buffer(message, len(message))
        answer = ctypes.create_string_buffer(nsm.MAX_RESPONSE_BYTES)
        vectors = bytearray(
            struct.pack("@PNPN", ctypes.addressof(given), len(given), ctypes.addressof(answer), len(answer))
        )
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            try:
                self._ioctl(descriptor, _IOCTL, vectors)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UnavailableError(
                "enclave.device",
                f"cannot ask {self._path}: {error.strerror}",
                hint="the device exists inside of a Nitro enclave, with a kernel that has the nsm driver",
            ) from error
        size = struct.unpack("@PNPN", vectors)[3]
        if size > len(answer):
            raise UnavailableError("enclave.device", f"{self._path} answers more than its buffer holds")
        return answer.raw[:size]


@dataclass(frozen=True, slots=True)
class ModuleDescription:
    """What a security module says of itself."""

    module_id: str
    version: tuple[int, int, int]
    max_pcrs: int
    locked_pcrs: tuple[int, ...]


class NitroEnclave:
    """``ports/enclave.py`` over a security module."""

    format = "aws-nitro"

    def __init__(self, module: SecurityModule, *, simulated: bool = False) -> None:
        self._module = module
        self.simulated = simulated

    def describe(self) -> ModuleDescription:
        """The module's name, version and registers."""
        found = self._ask("DescribeNSM")
        return ModuleDescription(
            found["module_id"],
            (found["version_major"], found["version_minor"], found["version_patch"]),
            found["max_pcrs"],
            tuple(found["locked_pcrs"]),
        )

    def describe_register(self, index: int) -> tuple[bytes, bool]:
        """A register's 48 bytes, and whether it is locked."""
        found = self._ask("DescribePCR", index=index)
        return _register(found["data"]), found["lock"]

    def extend_register(self, index: int, data: bytes) -> bytes:
        """Extend a register that is not locked; its new value."""
        return _register(self._ask("ExtendPCR", index=index, data=data)["data"])

    def lock_register(self, index: int) -> None:
        """Lock one register for the life of the enclave: it stands in documents from now on."""
        self._ask("LockPCR", index=index)

    def lock_registers(self, count: int) -> None:
        """Lock the first registers."""
        self._ask("LockPCRs", range=count)

    def random(self) -> bytes:
        """Bytes from the module's generator: up to 256."""
        found: bytes = self._ask("GetRandom")["random"]
        return found

    def attest(self, user_data: bytes, nonce: bytes | None) -> bytes:
        """A document with these; see the port."""
        return self.attest_key(user_data, nonce, None)

    def attest_key(self, user_data: bytes | None, nonce: bytes | None, public_key: bytes | None) -> bytes:
        """A document with any of the three that a caller can put in. Raises as the port says."""
        given = {"user_data": user_data, "nonce": nonce, "public_key": public_key}
        for name, value in given.items():
            if value is not None and len(value) > nsm.MAX_INPUTS[name]:
                raise UsageError("enclave.input", f"{name} has at most {nsm.MAX_INPUTS[name]} bytes")
        document: bytes = self._ask("Attestation", **given)["document"]
        try:
            found = parse_nitro(document)
        except MalformedError as error:
            raise UnavailableError("enclave.answer", f"the security module's document: {error.message}") from error
        if (found.user_data, found.nonce, found.public_key) != tuple(given.values()):
            raise UnavailableError("enclave.answer", "the security module's document holds other data than was given")
        return document

    def _ask(self, name: str, **arguments: int | bytes | None) -> dict[str, Any]:
        raw = self._module.request(nsm.build_request(name, **arguments))
        try:
            return nsm.parse_response(raw, name)
        except MalformedError as error:
            raise UnavailableError("enclave.answer", f"the security module's answer: {error.message}") from error


def _register(data: bytes) -> bytes:
    if len(data) != PCR_BYTES:
        raise UnavailableError("enclave.answer", f"a register has {PCR_BYTES} bytes")
    return data
