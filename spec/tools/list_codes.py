"""Print the table of error codes that the source raises, for ``spec/codes.md``.

    python spec/tools/list_codes.py            the Markdown table
    python spec/tools/list_codes.py --names    one code a line

It reads the source's syntax trees and imports nothing of it. A code that is not written as a literal where the error is
made is shown as ``?`` with its place, because a reader could not find it either.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "holdfast"
KINDS = {
    "HoldfastError": "error",
    "MalformedError": "malformed",
    "RefusedError": "refused",
    "ConflictError": "conflict",
    "UndecidedError": "undecided",
    "UnavailableError": "unavailable",
    "UsageError": "usage",
}
"""The classes of ``errors.py`` and the word each puts into ``type``."""


@dataclass
class Code:
    """One code: the kinds it comes with, the modules that raise it, and the first message found."""

    kinds: set[str] = field(default_factory=set)
    places: set[str] = field(default_factory=set)
    message: str = ""


def literals(node: ast.expr | None) -> list[str]:
    """The strings an argument can be; ``?`` where it is computed."""
    match node:
        case ast.Constant(value=str(value)):
            return [value]
        case ast.IfExp(body=body, orelse=other):
            return literals(body) + literals(other)
        case _:
            return ["?"]


def text(node: ast.expr | None) -> str:
    """A message with its computed pieces as ``…``."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(value.value if isinstance(value, ast.Constant) else "…" for value in values)  # type: ignore[misc]
        case ast.BinOp(left=left, right=right):
            return text(left) + text(right)
        case _:
            return ""


def collect(source: Path = SOURCE) -> dict[str, Code]:
    """Every code in the source, by name."""
    found: dict[str, Code] = {}
    for path in sorted(source.rglob("*.py")):
        place = path.relative_to(source).with_suffix("").as_posix()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name not in KINDS:
                continue
            arguments = {keyword.arg: keyword.value for keyword in node.keywords}
            code = node.args[0] if node.args else arguments.get("code")
            message = node.args[1] if len(node.args) > 1 else arguments.get("message")
            for value in literals(code):
                entry = found.setdefault(value if value != "?" else f"? ({place}:{node.lineno})", Code())
                entry.kinds.add(KINDS[name])
                entry.places.add(place)
                entry.message = entry.message or text(message)
    return dict(sorted(found.items()))


def table(codes: dict[str, Code]) -> str:
    """The Markdown table."""
    lines = ["| code | type | says | raised in |", "|---|---|---|---|"]
    for name, code in codes.items():
        if not name.startswith("?"):
            says = " ".join(code.message.split()).replace("|", "\\|")
            places = ", ".join(f"`{place}`" for place in sorted(code.places))
            lines.append(f"| `{name}` | {', '.join(sorted(code.kinds))} | {says} | {places} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print("\n".join(collect()) if "--names" in sys.argv[1:] else table(collect()), end="")
