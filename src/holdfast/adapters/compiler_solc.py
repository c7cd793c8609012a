"""``solc`` as the compiler of verifier contracts, a program that its user installed (``spec/inference.md`` §5(8)).

The native compiler and npm's ``solc`` both do: a file that ends in ``.js`` is run by Node.js. Sources go in by a file,
as npm's reads a pipe badly. The code depends on source and compiler alone: it has no paths and no digest of metadata.

Not covered: fetching a compiler, and contracts that ship with Holdfast (those are in ``adapters/contracts``).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.encoding import hex_decode
from holdfast.errors import HoldfastError, RefusedError, UsageError

LONGEST_S = 300.0
"""Longest that a compiler may take; a verifier was measured at 2 s."""
_FILE = "contract.sol"
_SETTINGS = {
    "evmVersion": "paris",
    "optimizer": {"enabled": True, "runs": 1},
    "metadata": {"bytecodeHash": "none"},
    "outputSelection": {"*": {"*": ["evm.bytecode.object", "evm.deployedBytecode.object"]}},
}
"""For small code on any chain since 2022. The other code generator (``viaIR``) finds no room on the stack for EZKL's
contracts."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A contract's code: what creates it, and what then lies at its address."""

    init_code: bytes
    code: bytes


def find_solc(given: Path | None) -> list[str]:
    """The command of a compiler, by its path or as ``solc`` from the PATH; raises ``onchain.solc``."""
    named = str(given) if given is not None and given.is_file() else None
    found = named if given is not None else shutil.which("solc")
    if found is None:
        raise _no_compiler("there is no solc on the PATH" if given is None else f"there is no file {given}")
    if Path(found).resolve().suffix != ".js":
        return [found]
    node = shutil.which("node")
    if node is None:
        raise _no_compiler(f"{found} is run by Node.js, which is not on the PATH")
    return [node, str(Path(found).resolve())]


def compile_solidity(compiler: list[str], source: str) -> Compiled:
    """Compile a source with exactly one contract that has code. Raises ``onchain.solc`` where the compiler does not
    run, and ``onchain.verifier`` with its words where it refuses the source."""
    request = {"language": "Solidity", "sources": {_FILE: {"content": source}}, "settings": _SETTINGS}
    with tempfile.TemporaryDirectory(prefix="holdfast-solc-") as folder:
        path = Path(folder) / "request.json"
        path.write_text(json.dumps(request), "utf-8")
        try:
            with path.open("rb") as given:
                made = subprocess.run(  # noqa: S603 (the compiler that the user named)
                    [*compiler, "--standard-json"],
                    cwd=folder,
                    stdin=given,
                    capture_output=True,
                    timeout=LONGEST_S,
                    check=False,
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _no_compiler(f"{compiler[-1]} does not run: {error}"[:300]) from error
    return _read(made.stdout.decode("utf-8", "replace"), compiler[-1])


def _read(text: str, compiler: str) -> Compiled:
    try:
        answer = json.loads(text[text.index("{") :])  # npm's says something before its answer
        failed = [item["formattedMessage"] for item in answer.get("errors", ()) if item["severity"] == "error"]
        if failed:
            raise RefusedError("onchain.verifier", f"{compiler} does not compile the contract: {failed[0]}"[:400])
        made = [_code(item) for item in answer.get("contracts", {}).get(_FILE, {}).values()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_compiler(f"{compiler} does not answer as solc does") from error
    whole = [item for item in made if item.code]
    if len(whole) != 1:
        raise RefusedError("onchain.verifier", "the source is not of exactly one contract")
    return whole[0]


def _code(contract: dict[str, Any]) -> Compiled:
    parts = (contract["evm"][name]["object"] for name in ("bytecode", "deployedBytecode"))
    try:
        return Compiled(*(hex_decode(text) for text in parts))
    except HoldfastError as error:  # a library that is not linked stands in it by name
        raise RefusedError("onchain.verifier", "the contract's code is not whole") from error


def _no_compiler(message: str) -> UsageError:
    return UsageError(
        "onchain.solc",
        message,
        hint="install solc yourself, natively or with npm install solc, and name it: --solc FILE",
        param="solc",
    )
