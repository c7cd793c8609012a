"""The gateway as it is, with signatures that cost nothing and prove nothing: what is left is its unsigned throughput.

Takes the arguments of ``holdfast.cli.host``. Only a bench starts it, on keys that end with the bench.
"""

from __future__ import annotations

from holdfast.adapters.signer_files import FileSigner
from holdfast.cli import host


def _nothing(_signer: FileSigner, _message: bytes) -> bytes:
    return bytes(64)


if __name__ == "__main__":
    FileSigner.sign = _nothing  # type: ignore[method-assign,assignment]
    host.main()
