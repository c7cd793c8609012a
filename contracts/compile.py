"""Compile the contracts and write the artifacts the package ships.

``python contracts/compile.py`` writes ``src/holdfast/adapters/contracts/<Name>.json``; with ``--check`` it writes
nothing and fails if a shipped artifact differs from what the sources compile to. Vyper's version is pinned in the
sources, so the same sources give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import vyper
from vyper.compiler import compile_code

HERE = Path(__file__).parent
SHIPPED = HERE.parent / "src" / "holdfast" / "adapters" / "contracts"
NAMES = (
    "Rounds",
    "Signatures",
    "Registry",
    "Views",
    "TestToken",
    "ExactProxy",
    "UptoProxy",
    "PermitTransfers",
    "Captures",
    "Settlement",
    "Inference",
    "Alpha",
    "Workflow",
)


def artifact(name: str) -> str:
    """The artifact of one contract as JSON text."""
    source = (HERE / f"{name}.vy").read_text(encoding="utf-8")
    output = compile_code(source, contract_path=f"{name}.vy", output_formats=["abi", "bytecode", "bytecode_runtime"])
    value = {
        "name": name,
        "compiler": f"vyper {vyper.__version__}",
        "source_sha256": hashlib.sha256(source.encode()).hexdigest(),
        "abi": output["abi"],
        "bytecode": output["bytecode"],
        "runtime_bytecode": output["bytecode_runtime"],
    }
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    """Write or check every artifact; the exit code is the number of differences."""
    differing = 0
    for name in NAMES:
        text, path = artifact(name), SHIPPED / f"{name}.json"
        if "--check" in arguments:
            same = path.exists() and path.read_text(encoding="utf-8") == text
            differing += not same
            print(f"{name}: {'as shipped' if same else 'differs from the shipped artifact'}")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{name}: {len(json.loads(text)['runtime_bytecode']) // 2 - 1} bytes")
    return differing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
