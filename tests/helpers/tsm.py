"""A kernel's folder of reports (configfs-tsm) in memory, as ``adapters/_tsm.py`` asks it.

It keeps the kernel's rules: attributes are those of the interface, every write counts up ``generation``, and what is
read of ``outblob`` is made of the ``inblob`` at that time. :attr:`FakeTSM.between` runs after a write, which is where
somebody else would come in.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOOLS = str(Path(__file__).parents[2] / "spec" / "tools")
sys.path.insert(0, TOOLS)
from reference import hardware  # type: ignore[import-not-found]  # noqa: E402 - the generator's throw-away vendors

sys.path.remove(TOOLS)

AMD: Any = hardware.SNP()
INTEL: Any = hardware.Intel()
GUIDS = {
    "vcek": "63da758de6644564adc5f4b93be8accd",
    "ask": "4ab7b379bbac4fe4a02f05aef327c782",
    "ark": "c0b406a4a803495297433fb6014cd0ae",
    "vlek": "a8074bc2a25a483eaae639c045a0b8a1",
}
"""Names in a host's certificate table."""


def table(**certificates: bytes) -> bytes:
    """A host's certificate table, padded to a page as hosts do."""
    offset = 24 * (len(certificates) + 1)
    entries = data = b""
    for name, raw in certificates.items():
        place = offset + len(data)
        entries += bytes.fromhex(GUIDS[name]) + place.to_bytes(4, "little") + len(raw).to_bytes(4, "little")
        data += raw
    whole = entries + bytes(24) + data
    return whole + bytes(-len(whole) % 4096)


def quote(report_data: bytes) -> bytes:
    """A TDX quote of the throw-away vendor."""
    made: bytes = INTEL.quote(INTEL.td_report(data=report_data))
    return made


def report(report_data: bytes) -> bytes:
    """A SEV-SNP report of the throw-away vendor."""
    made: bytes = AMD.report(report_data=report_data)
    return made


class FakeTSM:
    """The folder; ``make_blob`` turns an inblob into an outblob."""

    def __init__(self, provider: str, make_blob: Callable[[bytes], bytes], auxblob: bytes | None = None) -> None:
        self.provider, self.make_blob, self.auxblob = provider, make_blob, auxblob
        self.folders: dict[str, dict[str, Any]] = {}
        self.between: Callable[[FakeTSM, str], None] = lambda tsm, name: None

    def make(self, name: str) -> None:
        if name in self.folders:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        self.folders[name] = {"generation": 0, "inblob": b""}

    def write(self, name: str, attribute: str, data: bytes) -> None:
        if attribute != "inblob" or len(data) > 64:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self.folders[name]["inblob"] = data
        self.folders[name]["generation"] += 1
        self.between(self, name)

    def read(self, name: str, attribute: str) -> bytes:
        folder = self.folders[name]
        if attribute == "provider":
            return f"{self.provider}\n".encode()
        if attribute == "generation":
            return f"{folder['generation']}\n".encode()
        if attribute == "outblob":
            if not folder["inblob"]:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return self.make_blob(folder["inblob"])
        if attribute == "auxblob" and self.auxblob is not None:
            return self.auxblob
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def remove(self, name: str) -> None:
        del self.folders[name]
