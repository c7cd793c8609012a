"""Declaring settings: what a config dataclass may hold, and that secrets stay secret."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.errors import UsageError
from holdfast.ports.settings import Secret, describe, setting


def test_a_setting_without_help_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        setting(1)
    assert caught.value.code == "settings.help"


def test_a_plain_dataclass_field_is_refused() -> None:
    @dataclass(frozen=True)
    class Careless:
        port: int = 1

    with pytest.raises(UsageError) as caught:
        describe(Careless)
    assert caught.value.code == "settings.declaration"


@dataclass(frozen=True)
class Unreadable:
    value: dict[str, str] = setting(None, "a type the loader cannot read")


@dataclass(frozen=True)
class Ambiguous:
    value: int | str = setting(1, "two types")


@pytest.mark.parametrize("config", [Unreadable, Ambiguous])
def test_a_type_the_loader_cannot_read_is_refused(config: type) -> None:
    with pytest.raises(UsageError) as caught:
        describe(config)
    assert caught.value.code == "settings.declaration"


def test_a_secret_is_never_shown() -> None:
    secret = Secret("correct horse", "env:TOKEN")
    for text in (repr(secret), str(secret), f"{secret}", repr([secret]), repr({"token": secret})):
        assert "correct" not in text
        assert "env:TOKEN" in text
    assert secret.reveal() == "correct horse"


def test_a_secret_is_never_serialised() -> None:
    with pytest.raises(UsageError) as caught:
        pickle.dumps(Secret("correct horse", "env:TOKEN"))
    assert caught.value.code == "settings.secret"


def test_secrets_compare_by_reference_only() -> None:
    assert Secret("a", "env:X") == Secret("b", "env:X")
    assert Secret("a", "env:X") != Secret("a", "env:Y")
    assert hash(Secret("a", "env:X")) == hash(Secret("b", "env:X"))


@dataclass(frozen=True)
class Inner:
    url: str = setting(help="where")


@dataclass(frozen=True)
class Everything:
    name: str = setting("x", "a string")
    port: int = setting(1, "an integer", minimum=1, maximum=9)
    share: float = setting(0.5, "a number")
    on: bool = setting(default=True, help="a switch")
    state: Path = setting(Path(), "a path")
    token: Secret | None = setting(None, "a secret")
    names: tuple[str, ...] = setting((), "a list")
    inner: tuple[Inner, ...] = setting((), "a list of tables")


def test_every_field_says_its_type_in_words() -> None:
    assert [info.type_name for info in describe(Everything)] == [
        "string",
        "integer",
        "number",
        "true or false",
        "path",
        "secret",
        "list of str",
        "list of tables",
    ]
    assert [info.optional for info in describe(Everything)] == [False] * 5 + [True, False, False]
