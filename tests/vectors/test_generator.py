"""The vectors are what the independent generator makes of the specification: same bytes, no code of ours."""

import ast
import filecmp
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "spec" / "tools"
ALLOWED = {
    "__future__", "base64", "binascii", "collections", "copy", "coincurve", "Crypto", "cryptography", "datetime", "decimal",
    "functools", "hashlib", "hmac", "json", "math", "pathlib", "re", "reference", "shutil", "struct", "suites", "sys",
    "textwrap", "typing", "uuid", "zlib",
}  # fmt: skip
"""What the generator may import: the standard library's bytes and texts, and curves."""


def files_below(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


SOURCES = sorted([TOOLS / "gen_vectors.py", *TOOLS.glob("reference/*.py"), *TOOLS.glob("suites/*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(TOOLS).as_posix())
def test_the_generator_shares_no_code_with_the_implementation(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            imported.add(node.module.split(".")[0])
    assert imported <= ALLOWED


@pytest.mark.slow
def test_vectors_are_what_the_generator_makes(tmp_path):
    made = tmp_path / "vectors"
    subprocess.run([sys.executable, str(TOOLS / "gen_vectors.py"), str(made)], check=True, capture_output=True)
    names = files_below(made)
    stored = {name for name in files_below(ROOT / "vectors") if len(name.parts) > 1 and name.parts[0] != "released"}
    assert names == stored
    assert filecmp.cmpfiles(made, ROOT / "vectors", [str(name) for name in sorted(names)], shallow=False)[1:] == (
        [],
        [],
    )
