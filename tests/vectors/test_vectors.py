"""Every case below /vectors, through the public functions of core and verifier. A new case needs no code.

A case is a folder with a ``case.json``; ``run`` is a command line of the conformance protocol, ``expect`` and ``code``
say how it must end, ``result`` is a part of the answer.
"""

import importlib
import json
from pathlib import Path

import pytest

from holdfast.cli import conformance
from holdfast.cli.conformance.commands import ROOMS, run

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
CASES = sorted(path.parent for path in VECTORS.rglob("case.json"))
EXITS = {"accept": 0, "malformed": 1, "reject": 1, "undecided": 3}


def contains(whole, part):
    """Whether ``part`` is in ``whole``: objects by member, everything else equal."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and contains(whole[name], value) for name, value in part.items())
    return whole == part


@pytest.mark.parametrize("folder", CASES, ids=[path.relative_to(VECTORS).as_posix() for path in CASES])
def test_vector(folder):
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    code, answer = run(case["run"], folder)
    shown = {
        name: value for name, value in answer.items() if name in ("verdict", "code", "message", "lanes", "verdicts")
    }
    assert (answer["verdict"], answer["code"]) == (case["expect"], case.get("code", answer["code"])), shown
    assert code == EXITS[case["expect"]]
    expected = case.get("result", {})
    assert contains(answer, expected), {name: answer.get(name) for name in expected}


@pytest.mark.parametrize("room", ROOMS)
def test_a_module_has_the_commands_that_it_is_loaded_for(room):
    assert tuple(importlib.import_module(f"holdfast.cli.conformance.{room}").COMMANDS) == ROOMS[room]


def test_every_module_with_commands_is_loaded_for_them():
    files = Path(conformance.__file__).parent.glob("*.py")
    assert {path.stem for path in files if "\nCOMMANDS" in path.read_text(encoding="utf-8")} == set(ROOMS)


def test_every_folder_has_a_readme_and_a_reason():
    for folder in CASES:
        assert (folder / "README").read_text(encoding="utf-8").strip(), folder
        case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        assert folder.name.endswith("_fail") == (case["expect"] in ("malformed", "reject")), folder
        assert ("code" in case) == (case["expect"] in ("malformed", "reject")), folder


def test_failing_cases_outnumber_accepting_ones():
    expects = [json.loads((folder / "case.json").read_text(encoding="utf-8"))["expect"] for folder in CASES]
    assert expects.count("accept") < len(expects) - expects.count("accept")


def test_vectors_stay_small():
    assert sum(path.stat().st_size for path in VECTORS.rglob("*") if path.is_file()) < 20_000_000
