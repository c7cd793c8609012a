"""The list of attacks is whole: each test has a row, each row a test, and its codes are codes that the test names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "attacks"
CODES = (Path(__file__).parents[2] / "spec" / "codes.md").read_text("utf-8")
TESTS = {
    node.name: ast.unparse(node)
    for path in sorted(FOLDER.glob("test_*.py"))
    for node in ast.parse(path.read_text("utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
}
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (FOLDER / "README.md").read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| attack")
]


def test_every_attack_has_one_row_and_every_row_its_test() -> None:
    assert sorted(row[2].strip("` ") for row in ROWS) == sorted(TESTS)
    assert all(row[0] for row in ROWS)


def test_a_row_names_the_codes_that_its_test_waits_for() -> None:
    for _, stops, test in ROWS:
        codes = re.findall(r"`([a-z_]+\.[a-z_0-9]+)`", stops)
        assert codes or stops.startswith(("a code of ours", "nothing has to")), test
        for code in codes:
            assert f"'{code}'" in TESTS[test.strip("` ")], f"{test}: {code}"
            assert f"`{code}`" in CODES, code
