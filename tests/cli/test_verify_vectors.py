"""``holdfast verify`` and the conformance client come to the same end over every bundle in ``/vectors``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Outcome

VECTORS = Path(__file__).parents[2] / "vectors"
EXIT = {"accept": 0, "malformed": 1, "reject": 1, "undecided": 3}


@pytest.mark.parametrize("suite", ["bundle", "lanes"])
def test_exit_codes_are_those_of_the_vectors(
    holdfast: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, suite: str
) -> None:
    seen = set()
    for folder in sorted((VECTORS / suite).iterdir()):
        case = json.loads((folder / "case.json").read_text("utf-8"))
        if case["operation"] != "verify-bundle":
            continue
        monkeypatch.chdir(folder)
        done = holdfast("verify", *case["run"][1:])
        assert done.code == EXIT[case["expect"]], folder.name
        seen.add(case["expect"])
        if case["expect"] == "malformed":
            assert done.err.startswith(f"error: {case['code']}: ")
        as_json = json.loads(holdfast("verify", *case["run"][1:], "--json").out)
        for name, wanted in case.get("result", {}).get("lanes", {}).items():
            assert [as_json["lanes"][name]["state"], as_json["lanes"][name]["basis"]] == wanted, folder.name
    assert seen >= {"accept", "reject"}
