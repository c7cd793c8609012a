"""What runs as a Solidity compiler, and what of its answers is taken."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters import compiler_solc
from holdfast.adapters.compiler_solc import Compiled, compile_solidity, find_solc
from holdfast.errors import HoldfastError


def code_of(work: Any) -> str:
    with pytest.raises(HoldfastError) as refused:
        work()
    assert refused.value.hint or refused.value.code == "onchain.verifier"
    return refused.value.code


def contract(init: str, code: str) -> dict[str, Any]:
    return {"evm": {"bytecode": {"object": init}, "deployedBytecode": {"object": code}}}


def answering(folder: Path, text: str) -> list[str]:
    """A compiler that says this, and keeps what it was asked."""
    program = folder / "solc.py"
    program.write_text(
        f"import pathlib, sys\nassert sys.argv[1:] == ['--standard-json']\n"
        f"pathlib.Path({str(folder / 'asked.json')!r}).write_text(sys.stdin.read())\nprint({text!r})\n"
    )
    return [sys.executable, str(program)]


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler_solc.shutil, "which", lambda _: None)
    (tmp_path / "solc.js").write_text("")
    assert code_of(lambda: find_solc(None)) == "onchain.solc"
    assert code_of(lambda: find_solc(tmp_path / "nowhere")) == "onchain.solc"
    assert code_of(lambda: find_solc(tmp_path / "solc.js")) == "onchain.solc"


def test_a_native_compiler_runs_by_itself_and_npms_by_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler_solc.shutil, "which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "solc").write_text("")
    (tmp_path / "solc.js").write_text("")
    (tmp_path / "solcjs").symlink_to(tmp_path / "solc.js")
    script = str((tmp_path / "solc.js").resolve())
    assert find_solc(None) == ["/usr/bin/solc"]
    assert find_solc(tmp_path / "solc") == [str(tmp_path / "solc")]
    assert find_solc(tmp_path / "solc.js") == ["/usr/bin/node", script]
    assert find_solc(tmp_path / "solcjs") == ["/usr/bin/node", script]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("", "onchain.solc"),
        ("Segmentation fault", "onchain.solc"),
        ("{", "onchain.solc"),
        ('{"contracts":[]}', "onchain.solc"),
        ('{"contracts":{"contract.sol":{"A":{}}}}', "onchain.solc"),
        ("{}", "onchain.verifier"),
        ('{"errors":[{"severity":"error","formattedMessage":"no such word"}]}', "onchain.verifier"),
        (json.dumps({"contracts": {"contract.sol": {"A": contract("", "")}}}), "onchain.verifier"),
        (json.dumps({"contracts": {"contract.sol": {"A": contract("6001", "01"), "B": contract("6002", "02")}}}),
         "onchain.verifier"),
        (json.dumps({"contracts": {"contract.sol": {"A": contract("60__$library$__", "01")}}}), "onchain.verifier"),
    ],
)  # fmt: skip
def test_an_answer_without_one_whole_contract_is_refused(answer: str, code: str, tmp_path: Path) -> None:
    assert code_of(lambda: compile_solidity(answering(tmp_path, answer), "contract A {}")) == code


def test_a_program_that_does_not_run_is_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert code_of(lambda: compile_solidity([str(tmp_path / "nowhere")], "")) == "onchain.solc"
    monkeypatch.setattr(compiler_solc, "LONGEST_S", 0.01)
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    assert code_of(lambda: compile_solidity([sys.executable, str(tmp_path / "slow.py")], "")) == "onchain.solc"


def test_the_one_contract_with_code_is_taken_and_the_source_is_what_was_given(tmp_path: Path) -> None:
    text = ">>> retrying\n" + json.dumps(
        {
            "errors": [{"severity": "warning", "formattedMessage": "may be view"}],
            "contracts": {"contract.sol": {"I": contract("", ""), "A": contract("6001", "01")}},
        }
    )
    made = compile_solidity(answering(tmp_path, text), "contract A { string s = 'ü'; }")
    assert made == Compiled(b"\x60\x01", b"\x01")
    asked = json.loads((tmp_path / "asked.json").read_text())
    assert asked["sources"] == {"contract.sol": {"content": "contract A { string s = 'ü'; }"}}
    assert asked["settings"]["metadata"] == {"bytecodeHash": "none"}
