"""Loading settings: what is refused, which layer wins, and where each value came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.settings_toml import MAX_FILE_BYTES, Settings, load
from holdfast.errors import UsageError
from holdfast.ports.settings import Secret, setting


@dataclass(frozen=True)
class Upstream:
    name: str = setting(help="what it is called")
    url: str = setting("http://127.0.0.1:1", "where it is")
    key: Secret | None = setting(None, "its key")


@dataclass(frozen=True)
class Config:
    listen: str = setting("127.0.0.1:1", "where to listen")
    batch_ms: int = setting(250, "how long to wait", minimum=1, maximum=1000)
    share: float = setting(0.5, "a share", minimum=0.0, maximum=1.0)
    strict: bool = setting(default=True, help="a switch")
    state: Path = setting(Path("state"), "where things are kept")
    mode: str = setting("batch", "settlement", choices=("batch", "private"))
    token: Secret | None = setting(None, "who may write")
    names: tuple[str, ...] = setting((), "names")
    upstreams: tuple[Upstream, ...] = setting((), "where answers come from")


@dataclass(frozen=True)
class Needy:
    must: str = setting(help="has no default")


def read(tmp_path: Path, text: str, environment: dict[str, str] | None = None, **caller: Any) -> Settings:
    path = tmp_path / "holdfast.toml"
    path.write_text(text, "utf-8")
    return load(path, environment or {}, {"log": Config}, {"log": caller})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[log]\nbatch_mss = 1", "settings.unknown"),
        ("[lag]\nbatch_ms = 1", "settings.unknown"),
        ("[[log.upstreams]]\nname = 'a'\nurll = 'b'", "settings.unknown"),
        ("log = 1", "settings.type"),
        ("[log]\nbatch_ms = '1'", "settings.type"),
        ("[log]\nbatch_ms = true", "settings.type"),
        ("[log]\nbatch_ms = 1.0", "settings.type"),
        ("[log]\nstrict = 1", "settings.type"),
        ("[log]\nnames = 'a'", "settings.type"),
        ("[log]\nnames = [1]", "settings.type"),
        ("[log]\nupstreams = [1]", "settings.type"),
        ("[log]\nstate = 1", "settings.type"),
        ("[log]\nbatch_ms = 0", "settings.range"),
        ("[log]\nbatch_ms = 1001", "settings.range"),
        ("[log]\nshare = 2", "settings.range"),
        ("[log]\nmode = 'public'", "settings.choice"),
        ("[[log.upstreams]]\nurl = 'b'", "settings.missing"),
        ("[log]\ntoken = 'correct horse'", "settings.secret"),
        ("[log]\ntoken = 7", "settings.secret"),
        ("[log]\ntoken = 'env:'", "settings.secret"),
        ("[log]\ntoken = 'env:ABSENT'", "settings.secret"),
        ("[log]\ntoken = 'file:/does/not/exist'", "settings.secret"),
        ("[log", "settings.syntax"),
        ("#" * (MAX_FILE_BYTES + 1), "settings.size"),
    ],
)
def test_what_is_wrong_in_the_file_is_refused(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert caught.value.code == code


def test_a_literal_secret_is_not_repeated_in_the_refusal(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, "[log]\ntoken = 'correct horse'")
    assert "correct horse" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path / "none.toml", {}, {"log": Config})
    assert caught.value.code == "settings.file"


def test_an_unknown_variable_for_a_known_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, "", {"HOLDFAST_LOG_BATCH": "1"})
    assert caught.value.code == "settings.unknown"
    assert "HOLDFAST_LOG_BATCH" in str(caught.value)


def test_a_variable_that_is_not_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, "", {"HOLDFAST_LOG_BATCH_MS": "soon"})
    assert caught.value.code == "settings.syntax"


def test_a_field_without_default_must_be_given() -> None:
    with pytest.raises(UsageError) as caught:
        load(None, {}, {"gateway": Needy})
    assert caught.value.code == "settings.missing"
    assert "HOLDFAST_GATEWAY_MUST" in caught.value.hint


def test_an_empty_secret_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    with pytest.raises(UsageError) as caught:
        read(tmp_path, f"[log]\ntoken = 'file:{tmp_path / 'token'}'")
    assert caught.value.code == "settings.secret"


def test_asking_for_a_table_that_was_not_loaded_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        load(None, {}, {}).table("log", Config)
    assert caught.value.code == "settings.table"


def test_later_layers_win_and_are_named(tmp_path: Path) -> None:
    text = "[log]\nlisten = 'file'\nbatch_ms = 2\nshare = 1\n"
    settings = read(
        tmp_path, text, {"HOLDFAST_LOG_LISTEN": "environment", "HOLDFAST_LOG_BATCH_MS": "3"}, listen="caller"
    )
    config = settings.table("log", Config)
    assert (config.listen, config.batch_ms, config.share, config.mode) == ("caller", 3, 1.0, "batch")
    sources = {row.name: row.source.split()[0] for row in settings.rows}
    assert sources["listen"] == "caller"
    assert sources["batch_ms"] == "environment"
    assert sources["share"] == "file"
    assert sources["mode"] == "default"


def test_every_kind_of_value_reads(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("correct horse\n")
    text = f"""
[log]
strict = false
state = "/tmp/x"
token = "file:{tmp_path / "token"}"
names = ["a", "b"]
[[log.upstreams]]
name = "one"
key = "env:KEY"
[[log.upstreams]]
name = "two"
url = "http://127.0.0.1:2"
"""
    settings = read(tmp_path, text, {"KEY": "battery"})
    config = settings.table("log", Config)
    assert config.strict is False
    assert config.state == Path("/tmp/x")
    assert config.token is not None
    assert config.token.reveal() == "correct horse"
    assert config.names == ("a", "b")
    assert [upstream.name for upstream in config.upstreams] == ["one", "two"]
    assert config.upstreams[0].key is not None
    assert config.upstreams[0].key.reveal() == "battery"
    shown = " ".join(row.shown for row in settings.rows)
    assert "correct horse" not in shown
    assert "battery" not in shown
    assert "key = env:KEY" in shown


def test_variables_hold_bare_strings_and_toml_values(tmp_path: Path) -> None:
    environment = {
        "HOLDFAST_LOG_STATE": "/a b",
        "HOLDFAST_LOG_STRICT": "false",
        "HOLDFAST_LOG_NAMES": '["x"]',
        "HOLDFAST_LOG_UPSTREAMS": '[{name = "u"}]',
        "HOLDFAST_LOG_TOKEN": "env:T",
        "T": "secret",
        "HOLDFAST_SCHEDULES": "5",
    }
    config = read(tmp_path, "", environment).table("log", Config)
    assert config.state == Path("/a b")
    assert config.strict is False
    assert config.names == ("x",)
    assert config.upstreams == (Upstream("u"),)
    assert config.token == Secret("", "env:T")


def test_a_variable_belongs_to_the_table_with_the_longest_name() -> None:
    settings = load(
        None, {"HOLDFAST_LOG_1_BATCH_MS": "3", "HOLDFAST_LOG_BATCH_MS": "4"}, {"log": Config, "log-1": Config}
    )
    assert settings.table("log", Config).batch_ms == 4
    assert settings.table("log-1", Config).batch_ms == 3
