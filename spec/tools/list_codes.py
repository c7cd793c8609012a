"""Print the table of error codes that the source raises, for ``spec/codes.md``.

    python spec/tools/list_codes.py            the Markdown table
    python spec/tools/list_codes.py --names    one code a line

It reads the source's syntax trees and imports nothing of it. Where an error is made in a helper that is handed the
code, the literals that the helper's callers hand it count. Reasons of the contracts are codes too. A code that is
computed in any other way is shown as ``?`` with its place, because a reader could not find it either.
"""

from __future__ import annotations

import ast
import re
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
        case ast.Attribute(attr="code"):
            return []  # another error's code is passed on
        case ast.JoinedStr(values=values):
            return ["".join(str(item.value) if isinstance(item, ast.Constant) else name_of(item) for item in values)]
        case _:
            return ["?"]


def name_of(node: ast.expr) -> str:
    """A computed piece of a code, as ``<name>``."""
    names = [item.id for item in ast.walk(node) if isinstance(item, ast.Name)]
    return f"<{names[0] if names else 'value'}>"


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


Functions = dict[str, tuple[int, str, str]]
"""Helpers of one module that are handed a code: name to (position, error class, message)."""


def called(node: ast.AST) -> str:
    """The bare name of what a call calls; empty for anything else."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def argument(call: ast.Call, position: int, *names: str) -> ast.expr | None:
    """An argument by position or by name."""
    named = [keyword.value for keyword in call.keywords if keyword.arg in names]
    if named:
        return named[0]
    return call.args[position] if len(call.args) > position else None


def helpers(tree: ast.AST) -> Functions:
    """The functions of a module that make an error with a code they were handed, also through another such helper."""
    found: Functions = {}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for _ in range(4):
        for function in functions:
            names = [
                item.arg for item in function.args.args + function.args.kwonlyargs if item.arg not in ("self", "cls")
            ]
            for node in ast.walk(function):
                name = called(node)
                if not isinstance(node, ast.Call) or name not in KINDS.keys() | found.keys():
                    continue
                position, kind, message = found.get(name, (0, name, text(argument(node, 1, "message"))))
                code = argument(node, position, "code")
                if isinstance(code, ast.Name) and code.id in names:
                    found[function.name] = (names.index(code.id), kind, message)
    return found


def subclass_codes(tree: ast.AST) -> list[tuple[str, str, str]]:
    """Code, kind and meaning of error classes that hand their base class a code; their docstring says ``code: meaning``."""
    found: list[tuple[str, str, str]] = []
    for item in ast.walk(tree):
        if not isinstance(item, ast.ClassDef):
            continue
        bases = [base.id for base in item.bases if isinstance(base, ast.Name)]
        kind = next((KINDS[base] for base in bases if base in KINDS), None)
        if kind is None:
            continue
        meaning = (ast.get_docstring(item) or "").partition("\n\n")[0].partition(": ")[2].rstrip(".")
        for node in ast.walk(item):
            if called(node) == "__init__" and isinstance(node, ast.Call):
                found += [(code, kind, meaning) for code in literals(argument(node, 0, "code")) if code != "?"]
    return found


def collect(source: Path = SOURCE) -> dict[str, Code]:
    """Every code in the source and in the contracts, by name."""
    found: dict[str, Code] = {}

    def add(value: str, kind: str, place: str, message: str) -> None:
        entry = found.setdefault(value, Code())
        entry.kinds.add(kind)
        entry.places.add(place)
        entry.message = entry.message or message

    for path in sorted(source.rglob("*.py")):
        place = path.relative_to(source).with_suffix("").as_posix()
        tree = ast.parse(path.read_text("utf-8"))
        known = helpers(tree)
        inside = {id(node) for item in ast.walk(tree) if getattr(item, "name", "") in known for node in ast.walk(item)}
        for code, kind, message in subclass_codes(tree):
            add(code, kind, place, message)
        for node in ast.walk(tree):
            name = called(node)
            if not isinstance(node, ast.Call) or name not in KINDS.keys() | known.keys():
                continue
            position, kind, message = known.get(name, (0, name, text(argument(node, 1, "message"))))
            for value in literals(argument(node, position, "code")):
                if value != "?":
                    add(value, KINDS[kind], place, message)
                elif id(node) not in inside:
                    add(f"? ({place}:{node.lineno})", KINDS[kind], place, message)
    for path in sorted(source.parents[1].joinpath("contracts").rglob("*.vy")):
        for reason in re.findall(
            r'"((?:round|stake|epoch|registry|heartbeat|signature)\.[a-z_]+)"', path.read_text("utf-8")
        ):
            add(reason, "refused", f"contracts/{path.name}", "the contract refused the call")
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
