"""The trust file on disk: a bad one never takes force, a good one does at once, and an old one never comes back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.adapters.trust_file import TrustFile
from holdfast.core import trust
from holdfast.errors import HoldfastError, UnavailableError
from tests.helpers.network import Network

NETWORK = Network()


def chain(*versions: bytes) -> bytes:
    return trust.build_trust_chain([NETWORK.sign_trust(payload) for payload in versions])


ONE = NETWORK.trust_version()
TWO = NETWORK.trust_version(2)
FORK = NETWORK.trust_version(1, logs=[])


class Written:
    """A trust file, a disk beside it, and a count of writes so that every one has a time of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "trust.json"
        self.disk = SimulatedDisk(1)
        self._time = 1_000_000_000

    def write(self, raw: bytes) -> None:
        self.path.write_bytes(raw)
        self._time += 1
        os.utime(self.path, ns=(self._time, self._time))

    def open(self, pin: str | None = None) -> TrustFile:
        return TrustFile(self.path, self.disk.mount(), pin)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    found = Written(tmp_path)
    found.write(chain(ONE))
    return found


def test_without_a_good_file_nothing_starts(written: Written) -> None:
    written.write(b"{}")
    with pytest.raises(HoldfastError):
        written.open()
    written.path.unlink()
    with pytest.raises(UnavailableError) as missing:
        written.open()
    assert missing.value.code == "trust.file"


def test_a_pin_refuses_another_first_version(written: Written) -> None:
    good = written.open().__call__().digest
    assert written.open(good)().version == 1
    with pytest.raises(HoldfastError):
        written.open("ab" * 32)


def test_a_newer_file_takes_force_at_once(written: Written) -> None:
    found = written.open()
    assert found().version == 1
    written.write(chain(ONE, TWO))
    assert found().version == 2
    assert found.trouble == ""


@pytest.mark.parametrize("raw", [b"", b"{}", chain(FORK), chain(ONE, ONE), chain(TWO)])
def test_a_bad_file_leaves_the_last_good_one_in_force_and_says_so(written: Written, raw: bytes) -> None:
    found = written.open()
    before = found()
    written.write(raw)
    for _ in range(2):
        assert found() is before
        assert found.trouble
    written.write(chain(ONE, TWO))
    assert found().version == 2
    assert found.trouble == ""


def test_a_file_that_goes_and_comes_back_is_in_force_throughout(written: Written) -> None:
    found = written.open()
    aside = written.path.with_suffix(".aside")
    written.path.rename(aside)
    assert found().version == 1
    assert "cannot read" in found.trouble
    aside.rename(written.path)
    assert found().version == 1
    assert found.trouble == ""


def test_a_version_that_was_accepted_is_remembered_over_a_restart(written: Written) -> None:
    written.write(chain(ONE, TWO))
    assert written.open()().version == 2
    for raw, code in ((chain(ONE), "trust.rollback"), (chain(FORK), "trust.rollback")):
        written.write(raw)
        with pytest.raises(HoldfastError) as refused:
            written.open()
        assert refused.value.code == code
    fork = NETWORK.trust_version(2, logs=[])
    written.write(chain(ONE, fork))
    with pytest.raises(HoldfastError) as refused:
        written.open()
    assert refused.value.code == "trust.fork"


def test_a_version_that_could_not_be_remembered_is_not_in_force_and_tried_again(written: Written) -> None:
    storage = written.disk.mount()
    found = TrustFile(written.path, storage)
    written.write(chain(ONE, TWO))
    save = storage.save

    def failing(name: str, data: bytes) -> None:
        raise UnavailableError("storage.failed", "the disk is full")

    storage.save = failing  # type: ignore[method-assign]
    assert found().version == 1
    assert "disk is full" in found.trouble
    storage.save = save  # type: ignore[method-assign]
    assert found().version == 2
    assert found.trouble == ""


@pytest.mark.parametrize("raw", [b"[]", b"{}", b'{"version":"1","digest":"ab"}', b"garbage"])
def test_a_damaged_memory_of_what_was_accepted_starts_nothing(written: Written, raw: bytes) -> None:
    written.disk.mount().save("trust-accepted.json", raw)
    with pytest.raises(HoldfastError):
        written.open()


def test_what_is_remembered_is_version_and_digest(written: Written) -> None:
    found = written.open()()
    raw = written.disk.mount().load("trust-accepted.json")
    assert raw is not None
    assert json.loads(raw) == {"version": 1, "digest": found.digest}
