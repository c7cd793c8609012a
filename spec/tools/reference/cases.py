"""Cases: one folder, one reason. What is written here is the whole interface to whoever runs the vectors."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

CODES = {"accept": 0, "malformed": 1, "reject": 1, "undecided": 3}
"""``expect`` and the exit code a client answers with (conventions.md §5)."""


class Writer:
    """Collects cases below one folder, refuses two of one name, and writes only what changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: dict[str, str] = {}
        self.files: dict[Path, bytes] = {}

    def shared(self, name: str, content: Any) -> None:
        """A file that many cases point to as ``../../shared/<name>``."""
        self._write(self.folder / "shared" / name, content)

    def case(
        self,
        name: str,
        why: str,
        *,
        spec: str,
        run: list[str],
        expect: str = "accept",
        code: str | None = None,
        at: str | None = None,
        bug: str | None = None,
        result: dict[str, Any] | None = None,
        files: dict[str, Any] | None = None,
    ) -> None:
        """Write one case. ``name`` is ``suite/kebab-case``; refusals get ``_fail``; ``run`` is the client's command line."""
        if expect in {"malformed", "reject"}:
            name += "_fail"
        if name in self.seen:
            raise SystemExit(f"two cases are called {name}")
        if (code is None) == (expect in {"malformed", "reject"}):
            raise SystemExit(f"{name}: a refusal states its code, and only a refusal")
        self.seen[name] = expect
        record: dict[str, Any] = {"spec": spec, "operation": run[0], "run": run, "expect": expect}
        more = {"code": code, "at": at, "bug_type": bug, "result": result}
        record |= {member: value for member, value in more.items() if value is not None}
        for file, content in (files or {}).items():
            self._write(self.folder / name / file, content)
        self._write(self.folder / name / "case.json", record)
        text = "\n\n".join(textwrap.fill(" ".join(block.split()), 100) for block in why.strip().split("\n\n"))
        self._write(self.folder / name / "README", text + "\n")

    def _write(self, path: Path, content: Any) -> None:
        if isinstance(content, str):
            content = content.encode("utf-8")
        elif not isinstance(content, bytes):
            content = (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode("utf-8")
        self.files[path] = content

    def flush(self) -> None:
        """Bring the folder to what was collected; files at its top and released vectors are left alone."""
        for path, content in self.files.items():
            if not path.is_file() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        for path in sorted(self.folder.rglob("*"), reverse=True):
            inside = path.relative_to(self.folder).parts
            if inside[0] == "released":
                continue
            if path.is_file() and len(inside) > 1 and path not in self.files:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()

    def summary(self) -> str:
        """How many cases of each kind."""
        counts = {kind: sum(1 for expect in self.seen.values() if expect == kind) for kind in CODES}
        return f"{len(self.seen)} cases: " + ", ".join(f"{count} {kind}" for kind, count in counts.items())
