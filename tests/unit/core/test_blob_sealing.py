"""Sealed blobs: refusals first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.blob_sealing import OVERHEAD_BYTES, open_blob, seal_blob
from holdfast.core.encoding import sha256
from holdfast.errors import HoldfastError

SECRET = bytes(range(32))


def refused(secret: bytes, digest: bytes, sealed: bytes) -> str:
    with pytest.raises(HoldfastError) as caught:
        open_blob(secret, digest, sealed)
    return caught.value.code


def test_another_secret_digest_or_version_opens_nothing() -> None:
    sealed, digest = seal_blob(SECRET, b"content"), sha256(b"content")
    assert refused(bytes(32), digest, sealed) == "blob.sealed"
    assert refused(SECRET, sha256(b"other"), sealed) == "blob.sealed"
    assert refused(SECRET, digest, b"\x02" + sealed[1:]) == "blob.version"
    assert refused(SECRET, digest, b"") == "blob.version"
    assert refused(b"short", digest, sealed) == "blob.secret"


@given(st.binary(max_size=60), st.data())
def test_no_changed_bit_opens(data: bytes, choose) -> None:
    sealed = bytearray(seal_blob(SECRET, data))
    sealed[choose.draw(st.integers(0, len(sealed) - 1))] ^= 1 << choose.draw(st.integers(0, 7))
    assert refused(SECRET, sha256(data), bytes(sealed)) in {"blob.sealed", "blob.version"}


@given(st.binary(max_size=200))
def test_what_is_sealed_opens_and_is_the_same_every_time(data: bytes) -> None:
    sealed = seal_blob(SECRET, data)
    assert len(sealed) == len(data) + OVERHEAD_BYTES
    assert seal_blob(SECRET, data) == sealed
    assert open_blob(SECRET, sha256(data), sealed) == data
