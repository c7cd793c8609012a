"""The command line as a whole: what it lists, how it refuses, and what it needs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from holdfast.cli.main import COMMANDS, NODE_EXTRA, cli, exit_code
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UndecidedError, UsageError
from tests.cli.conftest import Outcome

ROOT = Path(__file__).parents[2]
BLOCKED = """
import sys
for name in {names!r}:
    sys.modules[name] = None
from holdfast.cli.main import run
sys.exit(run({arguments!r}))
"""


def without_extra(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process where nothing of the node extra can be imported."""
    script = BLOCKED.format(names=sorted(NODE_EXTRA), arguments=list(arguments))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)


def test_every_command_is_listed_with_a_line_of_help(holdfast: Callable[..., Outcome]) -> None:
    shown = holdfast("--help")
    assert shown.code == 0
    for name, (_, says) in COMMANDS.items():
        assert f"{name} " in shown.out
        assert says in shown.out


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "up"])
def test_every_command_has_help_of_its_own(holdfast: Callable[..., Outcome], name: str) -> None:
    shown = holdfast(name, "--help")
    assert shown.code == 0
    assert shown.out.startswith(f"Usage: holdfast {name}")


def test_an_unknown_command_is_usage(holdfast: Callable[..., Outcome]) -> None:
    shown = holdfast("settle")
    assert shown.code == 2
    assert shown.out == ""
    assert shown.err == "error: usage.arguments: No such command 'settle'.\n  hint: try 'holdfast --help'\n"


def test_an_unknown_option_is_usage_and_json_says_so_too(holdfast: Callable[..., Outcome]) -> None:
    shown = holdfast("verify", "x", "--loud", "--json")
    assert shown.code == 2
    assert json.loads(shown.out)["error"]["code"] == "usage.arguments"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MalformedError("x.y", "z"), 1),
        (RefusedError("x.y", "z"), 1),
        (UnavailableError("x.y", "z"), 1),
        (HoldfastError("x.y", "z"), 1),
        (UsageError("x.y", "z"), 2),
        (UsageError("x.y", "z", status=404), 1),
        (UndecidedError("x.y", "z"), 3),
    ],
)
def test_exit_codes_follow_the_kind_of_error(error: HoldfastError, code: int) -> None:
    assert exit_code(error) == code


def test_verify_needs_the_base_install_only(files: Path) -> None:
    done = without_extra("verify", str(files / "settled.json"), "--trust", str(files / "trust.json"))
    assert done.returncode == 0, done.stderr
    assert "settlement" in done.stdout


@pytest.mark.parametrize("command", [["--help"], ["verify", "--help"], ["trust", "--help"], ["run", "--help"]])
def test_help_needs_the_base_install_only(command: list[str]) -> None:
    assert without_extra(*command).returncode == 0


def test_trust_show_needs_the_base_install_only(files: Path) -> None:
    assert without_extra("trust", "show", str(files / "trust.json")).returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        ["chat", "--once", "x", "--gateway", "http://127.0.0.1:1"],
        ["run", "show", "019b76da-a800-70c8-9215-35f11ffa1fae", "--gateway", "http://127.0.0.1:1", "--key", "env:HOME"],
        ["config", "show"],
        ["node", "gateway"],
        ["up", "--help"],
    ],
)
def test_what_needs_the_node_extra_says_how_to_install_it(command: list[str]) -> None:
    done = without_extra(*command)
    assert done.returncode == 2
    assert done.stderr.startswith("error: usage.extra: this command needs ")
    assert "pip install 'holdfast[node]'" in done.stderr
    assert done.stdout == ""


def test_doctor_works_without_the_node_extra(tmp_path: Path) -> None:
    done = without_extra("doctor")
    assert "pip install 'holdfast[node]'" in done.stdout
    assert tmp_path.exists()


def test_the_list_of_extra_modules_is_that_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8").partition("\nnode = ")[2].partition("\n]")[0] + "\n]"
    wanted = {item.partition(";")[0].partition(">=")[0].partition("==")[0].strip() for item in ast.literal_eval(text)}
    modules = {"argon2-cffi": "argon2"}
    assert {modules.get(name, name.replace("-", "_")) for name in wanted} == NODE_EXTRA


# --- what every command has -----------------------------------------------------------------------------------------

OFFLINE = {
    "verify",
    "attestation verify",
    "enclave measure",
    "hub blob-id",
    "trust show",
    "trust draft",
    "trust sign",
    "trust adopt",
    "keys credentials",
    "keys show",
    "keys rotate",
    "pay history",
    "config show",
    "data seal",
    "data shipped",
    "workflow check",
    "workflow list",
    "workflow replay",
    "data sign",
    "node",
}
"""They talk to no network: what they need is a file or a setting."""
BESIDE_THE_DATABASE = {"people", "api-key", "audit", "credit", "upstream"}
"""Groups that read a node's own database or settings: they take the state folder or its settings."""


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def options_of(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


COMMAND_PATHS = dict(every_command(cli))


@pytest.mark.parametrize("path", COMMAND_PATHS)
def test_every_command_speaks_json_and_finds_its_network(path: str) -> None:
    options = options_of(COMMAND_PATHS[path])
    assert "--json" in options or path == "node"
    if path in OFFLINE:
        return
    if path.startswith("memory "):  # a node of one's own choice, or the network's
        assert {"--state", "--memory"} <= options
        return
    if path == "registry deploy":  # there is no network yet that could be described
        assert "--chain" in options
        return
    if path == "pay faucet":  # the key that gives tokens away lies in the state folder, and nowhere else
        assert "--state" in options
        return
    assert "--state" in options
    if path != "up" and path.split(maxsplit=1)[0] not in BESIDE_THE_DATABASE:
        assert {"--gateway", "--panel", "--chain", "--hub", "--node"} & options


def test_every_command_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operate" / "commands.md").read_text("utf-8")
    assert [path for path in COMMAND_PATHS if f"## holdfast {path}\n" not in text] == []
