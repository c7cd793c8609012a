"""dev.py: what it says when it cannot work, and that it never trusts an environment that was left half-made."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """dev.py with an environment folder of its own, and a pip that does nothing."""
    monkeypatch.setenv("HOLDFAST_VENV", str(tmp_path / "venv"))
    monkeypatch.setenv("HOLDFAST_PYTHON_CHOSEN", "1")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spec = importlib.util.spec_from_file_location("dev_under_test", ROOT / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pretend(dev: ModuleType, monkeypatch: pytest.MonkeyPatch, *, pip: bool | BaseException = True) -> list[str]:
    """Replace venv and pip; returns the list of what was called."""
    calls: list[str] = []

    def create() -> None:
        calls.append("create")
        Path(dev.VENV).mkdir(exist_ok=True)
        for name in ("pyvenv.cfg", "made"):
            (Path(dev.VENV) / name).write_text("")
        Path(dev.BIN).mkdir(exist_ok=True)
        Path(dev.python()).write_text("")

    def run_pip(command: list[str]) -> bool:
        calls.append("pip " + command[-1].removeprefix(dev.ROOT))
        Path(dev.LOG).write_text("Temporary failure in name resolution\n")
        if isinstance(pip, BaseException):
            raise pip
        return pip

    monkeypatch.setattr(dev, "create", create)
    monkeypatch.setattr(dev, "run_pip", run_pip)
    monkeypatch.setattr(dev, "works", (Path(dev.VENV) / "made").exists)
    return calls


def test_old_pythons_can_read_it() -> None:
    source = (ROOT / "dev.py").read_text("utf-8")
    ast.parse(source, feature_version=(3, 6))
    assert "from __future__" not in source


def test_an_old_python_is_told_so(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    assert dev.main(["up"]) == 2
    text = capsys.readouterr().err
    assert "needs Python 3.11" in text
    assert "Python 3.10" in text


@pytest.mark.parametrize(
    ("version", "installed", "chosen"),
    [
        ((3, 10), {"python3.12", "python3.11"}, "python3.12"),
        ((3, 10), {"python3.11"}, "python3.11"),
        ((3, 10), {"python3.13"}, "python3.13"),
        ((3, 13), {"python3.11", "python3.14"}, "python3.11"),
        ((3, 13), {"python3.14"}, None),
        ((3, 12), {"python3.11"}, None),
        ((3, 11), {"python3.12"}, None),
    ],
)
def test_a_python_that_suits_better_is_used_when_there_is_one(
    dev: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, int],
    installed: set[str],
    chosen: str | None,
) -> None:
    monkeypatch.delenv("HOLDFAST_PYTHON_CHOSEN", raising=False)
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    monkeypatch.setattr("shutil.which", lambda name: name if name in installed else None)
    monkeypatch.setattr("subprocess.call", lambda *_, **__: 0)
    assert dev.better_python() == chosen
    monkeypatch.setattr("subprocess.call", lambda *_, **__: 1)  # there is a file of that name and it does not run
    assert dev.better_python() is None


def test_a_chosen_python_does_not_choose_again(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_PYTHON_CHOSEN", "1")
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
    monkeypatch.setattr("shutil.which", lambda name: name)
    assert dev.better_python() is None


def test_an_unknown_word_lists_the_words(dev: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["tset"]) == 2
    assert "conformance" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_python_without_venv_says_what_to_install(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find_spec(name))
    assert dev.main(["setup"]) == 1
    assert "apt install python3" in capsys.readouterr().err
    assert not Path(dev.VENV).exists()


def test_a_folder_that_is_no_environment_is_left_alone(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(dev, monkeypatch)
    Path(dev.VENV).mkdir()
    precious = Path(dev.VENV) / "thesis.txt"
    precious.write_text("precious")
    assert dev.main(["setup"]) == 1
    assert "move it away" in capsys.readouterr().err
    assert precious.read_text() == "precious"


def test_no_network_is_said_plainly(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(dev, monkeypatch, pip=False)
    assert dev.main(["setup"]) == 1
    text = capsys.readouterr().err
    assert "could not be reached" in text
    assert "name resolution" in text
    assert dev.installed_extras() is None


def test_an_interrupted_install_is_started_over(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = pretend(dev, monkeypatch, pip=KeyboardInterrupt())
    assert dev.main(["setup"]) == 130
    assert dev.installed_extras() is None
    pretend_again = pretend(dev, monkeypatch)
    dev.ensure("node")
    assert calls == ["create", "pip [dev,node]"]
    assert pretend_again == ["create", "pip [node]"]
    assert dev.installed_extras() == ["node"]


def test_an_install_that_failed_half_way_is_started_over(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(dev, monkeypatch, pip=dev.StopError("half-way"))
    assert dev.main(["setup"]) == 1
    calls = pretend(dev, monkeypatch)
    dev.ensure("node")
    assert calls[0] == "create"


def test_a_failure_before_anything_changed_keeps_the_environment(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(dev, monkeypatch)
    dev.ensure("node")
    pretend(dev, monkeypatch, pip=False)
    with pytest.raises(dev.StopError):
        dev.ensure("dev")
    calls = pretend(dev, monkeypatch)
    dev.ensure("node")
    assert calls == ["pip [node]"]


def test_a_complete_environment_is_used_again(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = pretend(dev, monkeypatch)
    dev.ensure("node")
    dev.ensure("node")
    assert calls == ["create", "pip [node]"]


def test_more_extras_are_added_and_none_taken_away(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = pretend(dev, monkeypatch)
    dev.ensure("node")
    dev.ensure("dev")
    dev.ensure("node")
    assert calls == ["create", "pip [node]", "pip [dev,node]"]


def test_changed_pins_bring_the_environment_up_to_date(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = pretend(dev, monkeypatch)
    dev.ensure("node")
    pins = tmp_path / "pinned.txt"
    pins.write_text("click==0\n")
    monkeypatch.setattr(dev, "PINS", str(pins))
    dev.ensure("node")
    assert calls == ["create", "pip [node]", "pip [node]"]


def test_arguments_after_the_word_are_passed_on(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, ...]] = []
    monkeypatch.setattr(dev, "ensure", lambda *_: None)
    monkeypatch.setattr(dev, "call", lambda *command, **_: seen.append(command) or 0)
    monkeypatch.chdir(ROOT)
    assert dev.main(["test", "-k", "merkle"]) == 0
    assert dev.main(["test", "tests/unit", "-x"]) == 0
    assert seen == [("pytest", "-q", "tests", "-k", "merkle"), ("pytest", "-q", "tests/unit", "-x")]


def test_tests_run_on_every_core_and_chosen_ones_in_one_process(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, ...]] = []
    monkeypatch.setattr(dev, "ensure", lambda *_: None)
    monkeypatch.setattr(dev, "call", lambda *command, **_: seen.append(command) or 0)
    assert dev.main(["test"]) == 0
    assert dev.main(["test", "--slow"]) == 0
    assert seen == [("pytest", "-q", *dev.ON_EVERY_CORE, *some, "tests") for some in (("-m", "not slow"), ())]
    assert "LEFT OUT" in capsys.readouterr().err
    assert dev.main(["test", "tests/meta"]) == 0
    assert not set(dev.ON_EVERY_CORE) & set(seen[2])


Run = tuple[list[str], list[str]]
"""A run of pytest: the command before it, and its arguments."""


@pytest.fixture
def runs(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Continuous integration without its work: every step passes, and the runs of pytest are noted."""
    noted: list[Run] = []
    monkeypatch.setattr(dev, "ensure", lambda *_: None)
    monkeypatch.setattr(dev, "system_packages", lambda: None)
    monkeypatch.setattr(dev, "fetched", dict)
    for name in ("lint", "package"):
        monkeypatch.setattr(dev, name, lambda _: 0)
    monkeypatch.setattr(dev, "no_network", lambda: ["without-network"])

    def counted(before: list[str], arguments: list[str], more: dict[str, str]) -> tuple[dict[str, int], int]:
        assert more.keys() >= dev.FULL_COUNTS.keys()
        noted.append((before, arguments))
        return {"passed": 7, "skipped": 1}, 0

    monkeypatch.setattr(dev, "counted_pytest", counted)
    monkeypatch.setenv("CI", "true")
    return noted


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.strip().splitlines()[-1]


def test_every_step_of_ci_counts(
    dev: ModuleType, runs: list[Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dev.main(["test"]) == 0
    assert re.fullmatch(r"=+ 21 passed, 3 skipped in [\d.]+s =+", last_line(capsys))
    for name in ("lint", "package"):
        monkeypatch.setattr(dev, name, lambda _: 1)
    assert dev.main(["test"]) == 1
    text = capsys.readouterr().out
    assert "FAILED lint\nFAILED package\n" in text
    assert re.fullmatch(r"=+ 2 failed, 21 passed, 3 skipped in [\d.]+s =+", text.strip().splitlines()[-1])


@pytest.mark.parametrize(
    ("found", "code", "says"),
    [({"passed": 2, "failed": 1}, 1, "3 failed, 6 passed"), ({}, 3, "3 error"), ({"error": 2}, 2, "6 error")],
)
def test_a_run_that_fails_or_breaks_fails_ci(
    dev: ModuleType,
    runs: list[Run],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    found: dict[str, int],
    code: int,
    says: str,
) -> None:
    monkeypatch.setattr(dev, "counted_pytest", lambda *_: (dict(found), code))
    assert dev.main(["test"]) == 1
    assert f" {says} in " in last_line(capsys)


def test_ci_runs_every_folder_of_tests_once(dev: ModuleType, runs: list[Run]) -> None:
    assert dev.main(["test"]) == 0
    (before, offline), (_, conformance), (_, rest) = runs
    assert before == ["without-network"]
    assert [path for path in offline if path.startswith("tests")] == dev.OFFLINE
    assert conformance == ["tests/conformance", "--cases=all"]
    left_out = {path.removeprefix("--ignore=") for path in rest if path.startswith("--ignore=")}
    assert "tests" in rest
    assert left_out == {*dev.OFFLINE, "tests/conformance"}


def test_where_the_network_cannot_be_removed_ci_fails_and_still_runs_those_tests(
    dev: ModuleType, runs: list[Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "no_network", lambda: None)
    assert dev.main(["test"]) == 1
    assert "FAILED offline" in capsys.readouterr().out
    (_, _), (_, rest) = runs
    assert [path for path in rest if path.startswith("--ignore=")] == ["--ignore=tests/conformance"]


def test_the_counts_of_a_run_are_those_of_its_last_line(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "== 2 failed, 5 passed, 1 skipped, 1 warning, 1 error in 3.21s =="
    monkeypatch.setattr(dev, "tool", lambda *_: [sys.executable, "-c", f"print('9 passed'); print({line!r}); exit(1)"])
    counts, code = dev.counted_pytest([], [], {})
    assert counts == {"failed": 2, "passed": 5, "skipped": 1, "warnings": 1, "error": 1}
    assert code == 1


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_where_the_network_cannot_be_removed_nothing_was_shown_and_ci_fails(
    dev: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ci: str,
    code: int,
) -> None:
    monkeypatch.setattr(dev, "ensure", lambda *_: None)
    monkeypatch.setattr(dev, "no_network", lambda: None)
    monkeypatch.setenv("CI", ci)
    assert dev.main(["offline"]) == code
    assert "SKIPPED offline" in capsys.readouterr().err


def npm(dev: ModuleType, monkeypatch: pytest.MonkeyPatch, *makes: str, code: int = 0) -> list[list[str]]:
    """Replace npm by one that makes these files below ``node_modules``; returns its command lines."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> int:
        calls.append(command)
        for name in makes:
            path = Path(command[command.index("--prefix") + 1], "node_modules", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        return code

    monkeypatch.setattr(dev.subprocess, "call", run)
    monkeypatch.setattr(dev.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.delenv("HOLDFAST_ANVIL", raising=False)
    monkeypatch.delenv("HOLDFAST_NODE_MODULES", raising=False)
    return calls


PROGRAM = "@foundry-rs/anvil-linux-amd64/bin/anvil"


def test_anvil_is_fetched_once_of_one_version_and_kept_beside_the_environment(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = npm(dev, monkeypatch, "@foundry-rs/anvil/package.json", PROGRAM)
    for _ in range(2):
        found = dev.real_anvil()["HOLDFAST_ANVIL"]
        assert found.startswith(dev.VENV)
        assert found.endswith(PROGRAM)
    assert len(calls) == 1
    assert calls[0][-1] == dev.ANVIL
    assert "://" not in " ".join(calls[0])


@pytest.mark.parametrize(("makes", "code"), [((), 1), (("@foundry-rs/anvil/package.json",), 0)])
def test_an_anvil_that_cannot_be_had_is_a_skip_that_is_said(
    dev: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    makes: tuple[str, ...],
    code: int,
) -> None:
    npm(dev, monkeypatch, *makes, code=code)
    assert dev.real_anvil() == {}
    assert "SKIPPED the tests on the real anvil" in capsys.readouterr().err


def test_a_solidity_compiler_is_fetched_of_one_version_unless_one_is_named(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = npm(dev, monkeypatch, "solc/solc.js")
    monkeypatch.delenv("HOLDFAST_SOLC", raising=False)
    for _ in range(2):
        assert dev.solidity_compiler()["HOLDFAST_SOLC"] == str(
            Path(dev.VENV, "solc", "node_modules", "solc", "solc.js")
        )
    assert [call[-1] for call in calls] == [dev.SOLC]
    monkeypatch.setenv("HOLDFAST_SOLC", "/elsewhere/solc")
    assert dev.solidity_compiler() == {}


def test_without_npm_nothing_is_fetched_and_each_skip_is_said(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = npm(dev, monkeypatch)
    monkeypatch.setattr(dev.shutil, "which", lambda _: None)
    assert {**dev.javascript_client(), **dev.real_anvil()} == {}
    assert capsys.readouterr().err.count("SKIPPED") == 2
    assert calls == []


def apart(dev: ModuleType, monkeypatch: pytest.MonkeyPatch, *, pip: bool = True) -> list[str]:
    """Replace what makes OpenGradient's environment; returns what was called."""
    calls: list[str] = []

    def call(command: list[str], **_: object) -> int:
        calls.append(command[-2])
        (Path(command[-1]) / "bin").mkdir(parents=True, exist_ok=True)
        (Path(command[-1]) / "bin" / "python").write_text("")
        return 0

    def run_pip(command: list[str]) -> bool:
        calls.append(command[-1].removeprefix(dev.ROOT))
        Path(dev.LOG).write_text("Temporary failure in name resolution\n")
        return pip

    Path(dev.VENV).mkdir(exist_ok=True)
    monkeypatch.setattr(dev.subprocess, "call", call)
    monkeypatch.setattr(dev, "run_pip", run_pip)
    monkeypatch.delenv("HOLDFAST_OPENGRADIENT", raising=False)
    return calls


def test_opengradients_packages_get_an_environment_of_their_own_once(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = apart(dev, monkeypatch)
    found = {dev.opengradient_clients()["HOLDFAST_OPENGRADIENT"] for _ in range(2)}
    assert found == {str(Path(dev.VENV, "opengradient", "bin", "python"))}
    assert calls == ["--clear", "/requirements/opengradient.txt"]
    newer = tmp_path / "newer.txt"
    newer.write_text("opengradient==2\n")
    monkeypatch.setattr(dev, "OPENGRADIENT", str(newer))
    dev.opengradient_clients()
    assert calls[2:] == ["--clear", str(newer)]
    monkeypatch.setenv("HOLDFAST_OPENGRADIENT", "/elsewhere/python")
    assert dev.opengradient_clients() == {}
    assert len(calls) == 4


def test_opengradients_packages_that_cannot_be_had_are_a_skip_that_is_said(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    apart(dev, monkeypatch, pip=False)
    monkeypatch.setattr(dev, "ensure", lambda *_: None)
    assert dev.opengradient_clients() == {}
    assert "SKIPPED the tests of OpenGradient's own clients" in capsys.readouterr().err
    assert dev.main(["opengradient"]) == 1
    text = capsys.readouterr().err
    assert "could not be reached" in text
    monkeypatch.setattr(dev, "run_pip", lambda _: True)
    seen: list[str] = []
    monkeypatch.setattr(dev, "call", lambda *words, **more: seen.extend([*words, *more]) or 0)
    assert dev.main(["opengradient"]) == 0, "a half-made environment is made again"
    assert {Path(word).stem for word in seen} >= {"test_opengradient_checks", "test_opengradient_clients"}
    assert seen[-1] == "HOLDFAST_OPENGRADIENT"


def test_x402s_clients_are_fetched_each_in_its_own_way(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = apart(dev, monkeypatch)
    asked: list[str] = []
    monkeypatch.setattr(dev, "from_npm", lambda folder, packages, *_: asked.append(packages) or f"/npm/{folder}")
    for name in ("HOLDFAST_X402", "HOLDFAST_X402_MODULES"):
        monkeypatch.delenv(name, raising=False)
    python = str(Path(dev.VENV, "x402", "bin", "python"))
    assert dev.x402_clients() == {"HOLDFAST_X402": python, "HOLDFAST_X402_MODULES": "/npm/x402-typescript"}
    assert calls == ["--clear", "/requirements/x402.txt"]
    assert [package.rpartition("@")[0] for package in asked[0].split()] == ["@x402/fetch", "@x402/evm", "viem"]
    monkeypatch.setenv("HOLDFAST_X402", "/elsewhere/python")
    monkeypatch.setenv("HOLDFAST_X402_MODULES", "/elsewhere/node_modules")
    assert dev.x402_clients() == {}


def test_make_lists_the_words_that_dev_knows(dev: ModuleType) -> None:
    text = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, check=True).stdout
    listed = re.findall(r"^  ([a-z0-9]+) +\S", text.decode(), re.MULTILINE)
    assert sorted(listed) == sorted(dev.WORDS)
    assert subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, check=True).stdout == text


def test_ci_is_executable_and_runs_the_readme_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text("utf-8")
    assert "CI=true" in text
    assert "python3 dev.py test" in text
