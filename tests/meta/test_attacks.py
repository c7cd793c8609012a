"""The list of attacks is whole: each test has a row, each row a test, and its codes are codes that the test names.

A row names a test of this folder, or ``FILE::test`` with the file's path from ``tests/``: one that stands with the code
that it attacks.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "attacks"
CODES = (Path(__file__).parents[2] / "spec" / "codes.md").read_text("utf-8")


def _tests_of(path: Path) -> dict[str, str]:
    """The tests of a file, each with its text and what it is parametrized by."""
    found = ast.parse(path.read_text("utf-8")).body
    return {
        node.name: ast.unparse(node)
        for node in found
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


TESTS = {name: text for path in sorted(FOLDER.glob("test_*.py")) for name, text in _tests_of(path).items()}
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (FOLDER / "README.md").read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| attack")
]


NAMED = [row[2].strip("` ") for row in ROWS]


def _text_of(name: str) -> str:
    """The text of the test that a row names."""
    path, _, test = name.rpartition("::")
    found = _tests_of(ROOT / path) if path else TESTS
    assert test in found, name
    return found[test]


def test_every_attack_has_one_row_and_every_row_its_test() -> None:
    assert sorted(name for name in NAMED if "::" not in name) == sorted(TESTS)
    assert len(set(NAMED)) == len(NAMED)
    assert all(_text_of(name) for name in NAMED)
    assert all(row[0] for row in ROWS)


def test_a_row_names_the_codes_that_its_test_waits_for() -> None:
    for _, stops, test in ROWS:
        codes = re.findall(r"`([a-z0-9_]+\.[a-z_0-9]+)`", stops)
        assert codes or stops.startswith(("a code of ours", "nothing has to", "the books", "the chain")), test
        for code in codes:
            assert f"'{code}'" in _text_of(test.strip("` ")), f"{test}: {code}"
            assert f"`{code}`" in CODES, code
