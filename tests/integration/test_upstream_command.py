"""``holdfast upstream`` over real sockets: what it lists, what it finds, and how it exits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.main import run
from tests.helpers import providers as theirs
from tests.helpers.upstreams import Server, chat_server, refuse

pytestmark = pytest.mark.enable_socket


@pytest.fixture
def claude() -> Iterator[Server]:
    with Server(theirs.claude_server, theirs.claude_server) as server:
        yield server


def settings(folder: Path, *upstreams: dict[str, Any]) -> Path:
    lines = ["[gateway]", "discover = false", "builtin = false", "tiny = false"]
    for item in upstreams:
        lines += ["[[gateway.upstreams]]", *(f"{name} = {json.dumps(value)}" for name, value in item.items())]
    path = folder / "holdfast.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass(frozen=True)
class Shown:
    """What a command came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Shown]:
    """Runs ``holdfast upstream`` with these words."""

    def play(*words: str) -> Shown:
        code = run(["upstream", *words])
        told = capsys.readouterr()
        return Shown(code, told.out, told.err)

    return play


def test_upstreams_are_listed_without_asking_anybody(tmp_path, command):
    path = settings(
        tmp_path,
        {"code": "a", "base_url": "http://127.0.0.1:9/v1", "kind": "anthropic", "models": ["x=y"]},
        {"code": "b", "base_url": "http://127.0.0.1:9/v1", "profile": "groq"},
    )
    found = json.loads(command("list", "--config", str(path), "--json").out)
    assert [(row["code"], row["kind"], row["profile"]) for row in found["upstreams"]] == [
        ("a", "anthropic", None),
        ("b", "openai", "groq"),
    ]
    assert "b  openai as groq  http://127.0.0.1:9/v1  key none" in command("list", "--config", str(path)).out


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "telepathy"},
        {"profile": "acme"},
        {"kind": "gemini", "profile": "groq"},
    ],
)
def test_settings_that_say_nothing_sensible_are_refused(tmp_path, command, wrong):
    path = settings(tmp_path, {"code": "a", "base_url": "http://127.0.0.1:9/v1", **wrong})
    refusal = command("check", "--config", str(path))
    assert refusal.code == 2
    assert refusal.err.startswith(("error: settings.", "error: upstream.config"))


def test_a_check_shows_a_line_for_each_probe_and_says_first_that_it_costs(tmp_path, command, claude):
    path = settings(tmp_path, {"code": "claude", "base_url": claude.base_url, "kind": "anthropic"})
    result = command("check", "claude", "--config", str(path))
    lines = result.out.splitlines()
    assert [line.split()[1] for line in lines] == [
        "models",
        "chat",
        "usage",
        "stream",
        "stream-usage",
        "tools",
        "schema",
        "image",
    ]
    assert "at most 256 tokens" in result.err
    assert result.code == 0
    assert lines[5].split()[2] == "differs"  # this server calls no tool
    assert command("check", "--config", str(path), "--require", "tools").code == 1


def test_a_refusal_a_silence_and_a_stranger_exit_differently(tmp_path, command):
    with Server(refuse(401), chat_server) as server:
        path = settings(tmp_path, {"code": "a", "base_url": server.base_url})
        result = command("check", "--config", str(path), "--json")
        assert result.code == 1
        told = {one["probe"]: one for one in json.loads(result.out)["upstreams"]["a"]}
        assert (told["chat"]["state"], told["chat"]["by"]) == ("refused", "upstream")
    silent = settings(tmp_path, {"code": "a", "base_url": "http://127.0.0.1:9/v1"})
    assert command("check", "--config", str(silent)).code == 3
    nobody = command("check", "nobody", "--config", str(silent))
    assert (nobody.code, nobody.err.split()[1]) == (2, "upstream.none:")
