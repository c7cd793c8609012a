"""Messages of the Nitro security module: what an enclave asks it, and what it answers (``spec/attestation.md`` §11).

A request is a text (``DescribeNSM``, ``GetRandom``) or a map with one member, whose name is that of the request. An
answer is the same with other members, or ``{"Error": NAME}``. Both are CBOR in one spelling (``cbor.py``), with
booleans. A module and its simulation speak these messages and nothing else, so one client serves both.

Not covered: how the messages travel (``adapters/enclave_nitro.py``), and what a document says (``nitro.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.core.attestation import cbor
from holdfast.errors import MalformedError, UnavailableError, UsageError

REQUESTS: Mapping[str, tuple[str, ...]] = {
    "DescribeNSM": (),
    "DescribePCR": ("index",),
    "ExtendPCR": ("index", "data"),
    "LockPCR": ("index",),
    "LockPCRs": ("range",),
    "GetRandom": (),
    "Attestation": ("user_data", "nonce", "public_key"),
}
"""Every request and its arguments, as the driver of the module lists them."""
ERRORS = (
    "InvalidArgument",
    "InvalidIndex",
    "InvalidResponse",
    "ReadOnlyIndex",
    "InvalidOperation",
    "BufferTooSmall",
    "InputTooLarge",
    "InternalError",
)
"""Every error that the module names."""
_OF_THE_CALLER = ("InvalidArgument", "InvalidIndex", "ReadOnlyIndex", "InvalidOperation", "InputTooLarge")
MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES = 0x1000, 0x3000
"""Largest messages that the driver carries."""
MAX_INPUTS = {"user_data": 512, "nonce": 512, "public_key": 1024}
"""Largest sizes of what the caller puts into a document, as AWS documents them."""
REGISTERS = 32
"""Platform configuration registers of a module."""
_SHAPES: Mapping[str, Mapping[str, type]] = {
    "DescribeNSM": {
        "version_major": int,
        "version_minor": int,
        "version_patch": int,
        "module_id": str,
        "max_pcrs": int,
        "locked_pcrs": list,
        "digest": str,
    },
    "DescribePCR": {"lock": bool, "data": bytes},
    "ExtendPCR": {"data": bytes},
    "LockPCR": {},
    "LockPCRs": {},
    "GetRandom": {"random": bytes},
    "Attestation": {"document": bytes},
}
"""Every answer's members and their types."""


def build_request(name: str, **arguments: int | bytes | None) -> bytes:
    """A request as bytes; ``arguments`` are those of :data:`REQUESTS`."""
    return _build(name, {key: arguments[key] for key in REQUESTS[name]})


def build_response(name: str, members: Mapping[str, Any]) -> bytes:
    """An answer as bytes."""
    return _build(name, dict(members))


def build_error(name: str) -> bytes:
    """The answer that names an error."""
    return cbor.encode({"Error": name})


def _build(name: str, members: dict[str, Any]) -> bytes:
    return cbor.encode({name: members} if members else name)


def parse_request(raw: bytes) -> tuple[str, dict[str, Any]]:
    """A request to its name and arguments, types unchecked. Raises ``nsm.request`` or ``cbor.*``."""
    name, given = _parse(raw)
    wanted = REQUESTS.get(name)
    if wanted is None or not given.keys() <= set(wanted):
        raise MalformedError("nsm.request", f"requests are {', '.join(REQUESTS)}")
    return name, given


def parse_response(raw: bytes, name: str) -> dict[str, Any]:
    """The members of the answer to a request. Raises ``nsm.response`` or ``cbor.*`` for what is no answer to it,
    ``nsm.refused`` (usage) and ``nsm.failed`` (unavailable) for the errors that the module names."""
    if len(raw) > MAX_RESPONSE_BYTES:
        raise MalformedError("nsm.response", f"an answer has at most {MAX_RESPONSE_BYTES} bytes")
    value = cbor.decode(raw, booleans=True)
    if isinstance(value, dict) and value.keys() == {"Error"} and value["Error"] in ERRORS:
        if value["Error"] in _OF_THE_CALLER:
            raise UsageError("nsm.refused", f"the security module refuses {name}: {value['Error']}")
        raise UnavailableError("nsm.failed", f"the security module fails at {name}: {value['Error']}", hint="try again")
    found, members = _named(value)
    shape = _SHAPES[name]
    if (
        found != name
        or members.keys() != shape.keys()
        or any(type(members[key]) is not kind for key, kind in shape.items())
    ):
        raise MalformedError("nsm.response", f"this is no answer to {name}")
    return members


def _parse(raw: bytes) -> tuple[str, dict[str, Any]]:
    if len(raw) > MAX_REQUEST_BYTES:
        raise MalformedError("nsm.request", f"a request has at most {MAX_REQUEST_BYTES} bytes")
    name, members = _named(cbor.decode(raw, booleans=True))
    return name, members


def _named(value: Any) -> tuple[str, dict[str, Any]]:
    """A text, or a map with one member that is a map, to a name and members; an empty name where it is neither."""
    if isinstance(value, str):
        return value, {}
    if isinstance(value, dict) and len(value) == 1:
        [(name, members)] = value.items()
        if isinstance(name, str) and isinstance(members, dict):
            return name, members
    return "", {}
