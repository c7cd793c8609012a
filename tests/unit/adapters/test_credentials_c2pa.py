"""Content credentials by the real library: what it makes it validates, and what was changed or pasted it tells."""

from __future__ import annotations

import asyncio
import datetime as dt
import struct
from pathlib import Path

import pytest

from holdfast.adapters import credentials_c2pa
from holdfast.adapters.c2pa_files import create_chain, load_credentials
from holdfast.adapters.credentials_c2pa import C2PACredentials, installed, read_credentials
from holdfast.core.content_credentials import Credentials, ImageClaim, carries_credentials
from holdfast.core.images import parse_image
from holdfast.errors import MalformedError, UnavailableError, UsageError
from tests.helpers.images import png

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
RUN, OTHER = "018f4e9a-1111-7abc-8def-0123456789ab", "018f4e9a-2222-7abc-8def-0123456789ab"
CLAIM = ImageClaim(RUN, "ab" * 32, 0)
JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300"
    + "01" * 64
    + "ffc0000b080001000101011100ffc4001400010000000000000000000000000000000affc4001410010000000000000000000000000000"
    "0000ffda0008010100003f00d2cf20ffd9"
)
needs_library = pytest.mark.skipif(not installed(), reason="c2pa-python is not installed")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return create_chain(tmp_path_factory.mktemp("c2pa"), "gateway", 36500, NOW)


@pytest.fixture(scope="module")
def signer(chain: tuple[Path, Path, Path]) -> C2PACredentials:
    return load_credentials(*chain[:2])


def embed(signer: C2PACredentials, data: bytes, claim: ImageClaim = CLAIM) -> bytes:
    return asyncio.run(signer.embed(parse_image(data).kind, data, claim, ruled=False))


def read(data: bytes, anchors: str = "") -> Credentials:
    found = asyncio.run(read_credentials(parse_image(data).kind, data, anchors))
    assert found is not None
    return found


def box(image: bytes) -> bytes:
    """The chunk of a PNG that holds its manifests."""
    at = image.index(b"caBX") - 4
    (length,) = struct.unpack_from(">I", image, at)
    return image[at : at + length + 12]


@needs_library
@pytest.mark.parametrize("data", [png(), JPEG], ids=["png", "jpeg"])
def test_the_library_validates_what_was_put_in_and_it_names_the_image(signer: C2PACredentials, data: bytes):
    made = embed(signer, data)
    assert carries_credentials(parse_image(made).kind, made)
    found = read(made)
    assert (found.holds, found.anchored, found.claim, found.signer) == (True, False, CLAIM, "gateway")
    assert found.codes == ()


@needs_library
def test_an_anchor_of_the_readers_vouches_for_this_key_and_another_does_not(
    signer: C2PACredentials, chain: tuple[Path, Path, Path], tmp_path: Path
):
    made = embed(signer, png())
    assert read(made, chain[2].read_text()).anchored
    other = create_chain(tmp_path, "gateway", 100, NOW)[2].read_text()
    assert not read(made, other).anchored


@needs_library
def test_an_image_that_was_changed_does_not_hold(signer: C2PACredentials):
    made, other = embed(signer, png(3)), png(3, noise=5)
    pasted = other[:33] + box(made) + other[33:]
    found = read(pasted)
    assert (found.holds, found.codes) == (False, ("assertion.dataHash.mismatch",))


@needs_library
def test_credentials_of_another_run_pasted_over_ones_own_are_told(signer: C2PACredentials):
    """Whole images move between runs as they please: the assertion then names where they came from."""
    other = embed(signer, png(), ImageClaim(OTHER, CLAIM.attester, 0))
    found = read(other)
    assert found.holds
    assert found.to_json(CLAIM)["names"] == "another_run"


@needs_library
def test_what_the_upstream_had_put_in_is_kept_below(signer: C2PACredentials):
    twice = embed(signer, embed(signer, png(), ImageClaim(OTHER, "cd" * 32, 4)))
    found = read(twice)
    assert (found.holds, found.claim, found.earlier) == (True, CLAIM, 1)


@needs_library
def test_an_image_without_credentials_has_none():
    assert asyncio.run(read_credentials("png", png())) is None


@needs_library
def test_a_manifest_that_is_broken_is_refused_and_never_read_as_good(signer: C2PACredentials):
    made = embed(signer, png())
    broken = bytearray(made)
    at = made.index(b"caBX") + 60
    broken[at : at + 40] = bytes(40)
    with pytest.raises(MalformedError) as caught:
        asyncio.run(read_credentials("png", bytes(broken)))
    assert caught.value.code == "image.credentials"


@needs_library
def test_what_is_no_image_gets_no_credentials(signer: C2PACredentials):
    with pytest.raises(UnavailableError) as caught:
        asyncio.run(signer.embed("png", b"no image at all", CLAIM, ruled=False))
    assert caught.value.code == "gateway.credentials"


@needs_library
def test_a_signature_that_is_none_makes_no_credentials(chain: tuple[Path, Path, Path]):
    forged = C2PACredentials(lambda _: bytes(64), chain[1].read_text())
    with pytest.raises(UnavailableError) as caught:
        embed(forged, png())
    assert caught.value.code == "gateway.credentials"


def test_without_the_library_everything_says_what_to_install(monkeypatch: pytest.MonkeyPatch, signer: C2PACredentials):
    monkeypatch.setattr(credentials_c2pa, "installed", lambda: False)
    with pytest.raises(UnavailableError) as caught:
        asyncio.run(read_credentials("png", png()))
    assert caught.value.code == "credentials.no_reader"
    with pytest.raises(UnavailableError) as caught:
        embed(signer, png())
    assert caught.value.code == "credentials.no_reader"


def test_a_key_without_its_own_certificate_is_refused(chain: tuple[Path, Path, Path], tmp_path: Path):
    other = create_chain(tmp_path, "other", 10, NOW)
    with pytest.raises(UsageError) as caught:
        load_credentials(chain[0], other[1])
    assert caught.value.code == "credentials.files"
    (tmp_path / "no.pem").write_text("no certificate")
    with pytest.raises(UsageError) as caught:
        load_credentials(chain[0], tmp_path / "no.pem")
    assert caught.value.code == "credentials.files"
    with pytest.raises(UnavailableError) as missing:
        load_credentials(chain[0], tmp_path / "nowhere.pem")
    assert missing.value.code == "credentials.files"


def test_files_of_a_chain_are_their_owners_alone(chain: tuple[Path, Path, Path]):
    assert chain[0].stat().st_mode & 0o077 == 0
