"""``holdfast verify --accepted``: what a caller has accepted once, nobody takes back (``trust.md`` §2.1)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.accepted import ACCEPTED_TYPE, build_accepted, open_remembered, parse_accepted
from holdfast.core.trust import parse_trust_chain, verify_trust
from holdfast.errors import HoldfastError, UnavailableError
from tests.cli.conftest import Outcome

OLD, NEW, OTHER = "trust.json", "trust-2.json", "trust-2-other.json"


@pytest.fixture
def check(holdfast: Callable[..., Outcome], files: Path) -> Callable[..., Outcome]:
    """Verifies the settled bundle with a trust file and a memory."""

    def call(trust: str, *more: str, bundle: str = "settled.json") -> Outcome:
        return holdfast("verify", str(files / bundle), "--trust", str(files / trust), "--accepted", "memory", *more)

    return call


def memory() -> Any:
    return json.loads(Path("memory").read_text())


@pytest.mark.parametrize(("then", "code"), [(OLD, "trust.rollback"), (OTHER, "trust.fork")])
def test_an_older_or_another_trust_is_refused_and_the_memory_stays(
    check: Callable[..., Outcome], then: str, code: str
) -> None:
    assert check(NEW).code == 0
    before = Path("memory").read_bytes()
    refused = check(then)
    assert refused.code == 1
    assert refused.out == ""
    assert refused.err.startswith(f"error: {code}: ")
    assert Path("memory").read_bytes() == before
    assert check(NEW).code == 0


def test_the_newest_is_remembered_and_the_file_replaced_as_a_whole(check: Callable[..., Outcome], files: Path) -> None:
    assert json.loads(check(OLD, "--json").out)["trust"]["accepted_before"] is None
    first = memory()
    assert (first["type"], first["version"]) == (ACCEPTED_TYPE, 1)
    assert json.loads(check(NEW, "--json").out)["trust"]["accepted_before"] == 1
    assert memory()["version"] == 2
    assert memory()["digest"] == verify_trust(parse_trust_chain((files / NEW).read_bytes())).digest
    assert [path.name for path in Path().iterdir() if "memory" in path.name] == ["memory"]


def test_the_same_again_writes_nothing(check: Callable[..., Outcome]) -> None:
    check(NEW)
    before = Path("memory").stat()
    assert check(NEW).code == 0
    assert Path("memory").stat().st_ino == before.st_ino


@pytest.mark.parametrize("trust", ["unsigned-trust.json", "settled.json"])
def test_trust_that_does_not_check_is_not_remembered(check: Callable[..., Outcome], trust: str) -> None:
    assert check(trust).code == 1
    assert not Path("memory").exists()


def test_trust_that_is_not_the_pinned_one_is_not_remembered(check: Callable[..., Outcome]) -> None:
    assert check(OLD, "--trust-pin", "00" * 32).code == 1
    assert not Path("memory").exists()


def test_what_is_accepted_is_trust_whatever_the_bundle_says(check: Callable[..., Outcome]) -> None:
    assert check(NEW, bundle="refuted.json").code == 1
    assert memory()["version"] == 2
    assert check(OLD).err.startswith("error: trust.rollback: ")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b'{"type":"urn:holdfast:accepted-trust:v1","version":1}',
        b'{"type":"urn:holdfast:accepted-trust:v1","version":0,"digest":"' + b"00" * 32 + b'"}',
        b'{"type":"urn:holdfast:accepted-trust:v1","version":true,"digest":"' + b"00" * 32 + b'"}',
        b'{"type":"urn:holdfast:accepted-trust:v1","version":1,"digest":"00"}',
        b'{"type":"urn:holdfast:accepted-trust:v2","version":1,"digest":"' + b"00" * 32 + b'"}',
    ],
)
def test_a_memory_that_cannot_be_read_is_an_error_and_no_fresh_start(check: Callable[..., Outcome], raw: bytes) -> None:
    Path("memory").write_bytes(raw)
    refused = check(NEW)
    assert refused.code == 1
    assert refused.err.startswith("error: accepted.file: ")
    assert Path("memory").read_bytes() == raw


def test_what_is_built_parses_and_nothing_else_is_a_memory() -> None:
    assert parse_accepted(build_accepted(7, "ab" * 32)) == (7, "ab" * 32)
    with pytest.raises(HoldfastError):
        parse_accepted(build_accepted(7, "ab" * 32).replace(b"7", b'"7"'))


def test_a_memory_that_cannot_be_written_is_an_error(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    trust = verify_trust(parse_trust_chain((files / NEW).read_bytes()))
    with pytest.raises(UnavailableError) as caught:
        open_remembered(files / "memory", lambda _: trust)
    assert caught.value.code == "output.file"
    assert not list(files.glob("*memory*"))
