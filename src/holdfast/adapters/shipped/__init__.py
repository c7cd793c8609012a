"""Models that come with Holdfast, made by the scripts in ``models/``: files, card and manifest of each.

The manifest beside a folder names the artifact (``artifacts.md`` §2); it is unsigned, for a hub signs what it
publishes.
"""

from __future__ import annotations

from pathlib import Path

from holdfast.core.artifacts import parse_manifest, verify_files
from holdfast.core.encoding import sha256_hex

_HERE = Path(__file__).parent


def shipped_names() -> list[str]:
    """Every model."""
    return sorted(path.name.removesuffix(".manifest.json") for path in _HERE.glob("*.manifest.json"))


def shipped_onnx() -> list[str]:
    """Those that an inference node runs."""
    return [name for name in shipped_names() if (_HERE / name / "model.onnx").exists()]


def shipped_artifact(name: str) -> str:
    """The artifact (hex) of a model."""
    return parse_manifest((_HERE / f"{name}.manifest.json").read_bytes()).artifact


def shipped_files(name: str) -> dict[str, bytes]:
    """The files of a model, checked against its manifest. Raises ``artifact.*``, naming the file."""
    manifest = parse_manifest((_HERE / f"{name}.manifest.json").read_bytes())
    files = {path.name: path.read_bytes() for path in sorted((_HERE / name).iterdir())}
    verify_files(manifest, {file: sha256_hex(data) for file, data in files.items()})
    return files
