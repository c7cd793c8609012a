"""Build Permit2 itself for development chains: ``python contracts/permit2.py`` writes ``contracts/build/permit2.json``.

The sources (MIT) come from the npm package ``@uniswap/v4-periphery`` and the compiler from ``solc``, both at the
versions that made the contract on public chains; node and npm are needed, and a minute. Neither sources nor code are
part of this repository. Where the file is missing, development chains have ``PermitTransfers.vy`` at Permit2's address,
and the tests that need the real one say so and skip.

What is written is the code as it stands on a chain, with its immutables (a remembered domain separator) left empty: it
then computes that separator each time. Nothing is written unless the creation code is, bit by bit, the one that lies at
Permit2's address on public chains: that address is a hash of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from Crypto.Hash import keccak

BUILT = Path(__file__).parent / "build" / "permit2.json"
PACKAGES = ("solc@0.8.17", "@uniswap/v4-periphery@1.0.3")
SETTINGS = {
    "optimizer": {"enabled": True, "runs": 1_000_000},
    "viaIR": True,
    "metadata": {"bytecodeHash": "none"},
    "remappings": ["solmate/=lib/solmate/"],
    "outputSelection": {"src/Permit2.sol": {"Permit2": ["evm.bytecode.object", "evm.deployedBytecode.object"]}},
}
DEPLOYER = bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c")
SALT = bytes.fromhex("0000000000000000000000000000000000000000d3af2663da51c10215000000")
ADDRESS = bytes.fromhex("000000000022d473030f116ddee9f6b43ac78ba3")
"""Who created it on public chains, with which salt, and where it lies: together they fix its code (EIP-1014)."""
_MINUTES = 10


def keccak256(data: bytes) -> bytes:
    """Keccak-256 as the EVM uses it."""
    return keccak.new(digest_bits=256, data=data).digest()


def main() -> int:
    """Fetch, compile, write; 0 when the file is there."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "package.json").write_text('{"private": true}')
        install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
        subprocess.run(install, cwd=root, check=True, timeout=60 * _MINUTES)
        sources = root / "node_modules" / "@uniswap" / "v4-periphery" / "lib" / "permit2"
        solmate = ("tokens/ERC20.sol", "utils/SafeTransferLib.sol")
        files = [*sources.glob("src/**/*.sol"), *(sources / "lib" / "solmate" / "src" / name for name in solmate)]
        named = {path.relative_to(sources).as_posix(): {"content": path.read_text("utf-8")} for path in files}
        request = {"language": "Solidity", "sources": named, "settings": SETTINGS}
        compiler = ["node", str(root / "node_modules" / "solc" / "solc.js"), "--standard-json"]
        (root / "request.json").write_text(json.dumps(request), "utf-8")
        with (root / "request.json").open("rb") as given:  # the compiler reads its input badly from a pipe
            made = subprocess.run(compiler, cwd=root, stdin=given, stdout=subprocess.PIPE, check=True)
    text = made.stdout.decode()
    output = json.loads(text[text.index("{") :])
    failed = [each["formattedMessage"] for each in output.get("errors", []) if each["severity"] == "error"]
    if failed:
        print("\n".join(failed))
        return 1
    evm = output["contracts"]["src/Permit2.sol"]["Permit2"]["evm"]
    init, runtime = bytes.fromhex(evm["bytecode"]["object"]), evm["deployedBytecode"]["object"]
    if keccak256(b"\xff" + DEPLOYER + SALT + keccak256(init))[12:] != ADDRESS:
        print("this is not the code of Permit2")
        return 1
    BUILT.parent.mkdir(exist_ok=True)
    value = {"packages": list(PACKAGES), "runtime_bytecode": runtime}
    BUILT.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"{BUILT}: {len(runtime) // 2} bytes, the code of Permit2")
    return 0


if __name__ == "__main__":
    sys.exit(main())
