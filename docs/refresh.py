"""Refresh the generated blocks in the documents, or say which are stale.

    python docs/refresh.py            write
    python docs/refresh.py --check    change nothing; exit 1 when a block is stale

A block stands between ``<!-- generated: KIND ARGUMENT… -->`` and ``<!-- end generated -->``. Kinds:

    help COMMAND…    the help text of ``holdfast COMMAND…``
    settings NODE    the settings of one node with their defaults
    codes            the error codes (``spec/tools/list_codes.py``)
    words            the words of ``dev.py``
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from holdfast.ports.settings import Secret, SettingInfo, describe

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- generated: ([a-z]+)((?: [a-z0-9-]+)*) -->\n)(.*?)(<!-- end generated -->)", re.DOTALL)
WIDTH = 100
"""Help texts wrap here, whatever the terminal of whoever runs this."""


def stale(*, write: bool = False) -> list[str]:
    """The documents whose blocks are not current; with ``write`` they are brought up to date."""
    found = []
    folders = [ROOT, ROOT / "docs", ROOT / "spec"]
    for path in sorted(
        {item for folder in folders for item in folder.glob("*.md")} | set((ROOT / "docs").rglob("*.md"))
    ):
        old = path.read_text("utf-8")
        new = BLOCK.sub(lambda match: match[1] + generate(match[2], match[3].split()) + match[5], old)
        if new != old:
            found.append(path.relative_to(ROOT).as_posix())
            if write:
                path.write_text(new, "utf-8")
    return found


def generate(kind: str, arguments: list[str]) -> str:
    """The content of one block, ending in a line break."""
    match kind:
        case "help":
            return f"```text\n{command_help(arguments)}\n```\n"
        case "settings":
            return settings(*arguments)
        case "codes":
            codes = load(ROOT / "spec" / "tools" / "list_codes.py")
            return str(codes.table(codes.collect()))
        case "words":
            return f"```text\n{load(ROOT / 'dev.py').usage()}\n```\n"
        case _:
            raise SystemExit(f"unknown kind of block: {kind}")


def command_help(words: list[str]) -> str:
    """The help of ``holdfast`` or of one of its commands."""
    main = importlib.import_module("holdfast.cli.main")
    command: click.Command = next(value for _, value in inspect.getmembers(main) if isinstance(value, click.Group))
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, info_name="holdfast", **settings)
    for word in words:
        inner = command.get_command(context, word) if isinstance(command, click.Group) else None
        if inner is None:
            raise SystemExit(f"there is no command holdfast {' '.join(words)}")
        command = inner
        context = click.Context(command, context, info_name=word, **settings)
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def settings(node: str) -> str:
    """Tables of one node's settings: its own, then those of the tables inside it."""
    module = importlib.import_module(f"holdfast.nodes.{node}.config")
    members: list[Any] = [value for _, value in inspect.getmembers(module, dataclasses.is_dataclass)]
    known = [item for item in members if item.__module__ == module.__name__]
    inner = {info.item: info.name for item in known for info in describe(item) if dataclasses.is_dataclass(info.item)}
    lines: list[str] = []
    for item in sorted(known, key=lambda item: (item in inner, item.__name__)):
        title = f"[[{node}.{inner[item]}]]" if item in inner else f"[{node}]"
        lines += [f"`{title}`", "", "| setting | type | default | what it is for |", "|---|---|---|---|"]
        lines += [f"| `{info.name}` | {type_of(info)} | {default(info)} | {help_of(info)} |" for info in describe(item)]
        lines += [""]
    return "\n".join(lines)


def type_of(info: SettingInfo) -> str:
    """The type in words, with its range."""
    if info.choices:
        return " or ".join(f"`{choice}`" for choice in info.choices)
    bounds = [text for text in (bound("≥", info.minimum), bound("≤", info.maximum)) if text]
    return " ".join([info.type_name, *bounds])


def bound(sign: str, value: float | None) -> str:
    """One end of a range."""
    return "" if value is None else f"{sign} {value:,}"


def default(info: SettingInfo) -> str:
    """The default as TOML shows it."""
    if info.default is dataclasses.MISSING:
        return "must be given"
    if info.default is None or info.default == () or isinstance(info.default, Secret):
        return "none"
    if isinstance(info.default, bool):
        return f"`{str(info.default).lower()}`"
    if isinstance(info.default, tuple):
        return ", ".join(f"`{item}`" for item in info.default)
    return f"`{info.default}`" if str(info.default) else "empty"


def help_of(info: SettingInfo) -> str:
    """The help, fit for a table."""
    return info.help.replace("|", "\\|")


def load(path: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(f"refresh_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    check = "--check" in sys.argv[1:]
    for name in (names := stale(write=not check)):
        print(f"{'stale' if check else 'refreshed'}: {name}")
    sys.exit(1 if check and names else 0)
