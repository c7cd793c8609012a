"""A bill of materials of an artifact in CycloneDX 1.6, the same bytes every time (``spec/artifacts.md`` §7).

It repeats what the manifest and the model's card say, in the words of that format. It proves
nothing; the manifest does.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from holdfast.core import canonical
from holdfast.core.artifacts import Manifest
from holdfast.core.encoding import sha256


def build_bom(
    manifest: Manifest,
    sizes: Sequence[int],
    *,
    version: str,
    at: dt.datetime,
    licence: str | None = None,
    tags: Sequence[str] = (),
    derived_from: Sequence[str] = (),
) -> bytes:
    """The document as canonical JSON. ``version`` is ``organisation/model@version``; ``at`` is when it was published;
    ``derived_from`` are digests (hex) of artifacts that it was declared to be made of."""
    model, _, number = version.partition("@")
    group, _, name = model.partition("/")
    reference = f"urn:holdfast:artifact:{manifest.artifact}"
    serial = bytearray(
        sha256(b"urn:holdfast:bom:v1\x00" + manifest.artifact.encode() + b"\x00" + version.encode())[:16]
    )
    serial[6], serial[8] = serial[6] & 0x0F | 0x40, serial[8] & 0x3F | 0x80
    text = serial.hex()
    component: dict[str, canonical.JSON] = {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "group": group,
        "name": name,
        "version": number,
        "hashes": [{"alg": "SHA-256", "content": manifest.root}],
        "modelCard": {"modelParameters": {}},
        "properties": [{"name": "holdfast:artifact", "value": manifest.artifact}],
    }
    if licence is not None:
        component["licenses"] = [{"license": {"name": licence}}]
    if tags:
        component["tags"] = list(tags)
    if derived_from:
        ancestors: list[canonical.JSON] = [
            {"type": "machine-learning-model", "name": digest, "bom-ref": f"urn:holdfast:artifact:{digest}"}
            for digest in derived_from
        ]
        component["pedigree"] = {"ancestors": ancestors}
    files: list[canonical.JSON] = [
        {
            "type": "file",
            "bom-ref": f"{reference}/{file.name}",
            "name": file.name,
            "hashes": [{"alg": "SHA-256", "content": file.digest}],
            "properties": [{"name": "holdfast:bytes", "value": str(size)}],
        }
        for file, size in zip(manifest.files, sizes, strict=True)
    ]
    return canonical.encode(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}",
            "version": 1,
            "metadata": {"timestamp": at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "component": component},
            "components": files,
            "dependencies": [{"ref": reference, "dependsOn": [f"{reference}/{file.name}" for file in manifest.files]}],
        }
    )
