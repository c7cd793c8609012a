"""How commands show things: lanes as shape, word and basis; text from outside made safe for a terminal; JSON.

Rules: a lane is never a colour alone and lanes are never summed up; what came from outside passes :func:`clean`, so it
cannot move the cursor, hide text or turn its direction round. Colour is off where there is no terminal, with
``--no-color`` and with ``NO_COLOR`` in the environment.
"""

from __future__ import annotations

import functools
import io
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from holdfast.errors import UnavailableError, UsageError
from holdfast.verifier.lanes import LANES, Hop, Lane

SHAPES = {"proven": "●", "refuted": "✕", "pending": "◔", "unknown": "?", "expired": "◌", "not_applicable": "·"}
"""One shape a state, so that a lane reads without colour."""
PLAIN_SHAPES = {"proven": "*", "refuted": "x", "pending": "o", "unknown": "?", "expired": "~", "not_applicable": "-"}
"""For terminals that cannot show the others."""
COLOURS = {
    "proven": "blue",
    "refuted": "red",
    "pending": "yellow",
    "unknown": "magenta",
    "expired": "yellow",
    "not_applicable": "bright_black",
}
"""Not a green among them: no lane is a go-ahead."""
ANSWERS = {"yes": "yes", "no": "no", "cannot_tell": "cannot tell"}
"""The three answers in words."""
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""C0 and C1 controls but newline and tab, everything that changes the direction of text, and letters nobody sees."""
_WIDTH = 100


def prepare_streams() -> None:
    """A character that the terminal cannot encode is shown as an escape instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def clean(text: str) -> str:
    """Text from outside, safe to print: control and direction characters become visible escapes."""
    return _UNSAFE.sub(_escape, text)


def clean_line(text: str) -> str:
    """As :func:`clean`, and it stays one line: what came from outside cannot add lines that look like ours."""
    return clean(text).replace("\n", "\\u000a").replace("\t", "\\u0009")


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def shapes() -> Mapping[str, str]:
    """The shapes this terminal can show."""
    try:
        "".join(SHAPES.values()).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN_SHAPES
    return SHAPES


def wants_colour(*, no_color: bool) -> bool | None:
    """What :func:`click.echo` takes as ``color``: off, or whatever the terminal is."""
    return False if no_color or os.environ.get("NO_COLOR") else None


def emit(text: str = "", *, colour: bool | None = None) -> None:
    """One line to standard output."""
    click.echo(text, color=colour)


def emit_json(value: Any) -> None:
    """One JSON document to standard output."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    if _UNSAFE.search(text) is not None:  # what a terminal would obey; JSON has an escape for everything
        text = json.dumps(value, indent=2)
    click.echo(text)


def paint(text: str, state: str) -> str:
    """Text in the colour of a state."""
    return click.style(text, fg=COLOURS[state])


def words(state: str) -> str:
    """A state as people read it."""
    return state.replace("_", " ")


def lane_lines(lanes: Mapping[str, Lane], *, evidence: bool = True) -> Iterable[str]:
    """Each lane: shape, name, state and basis; what it says and does not say; the digests of its evidence."""
    shown = shapes()
    for name in LANES:
        lane = lanes[name]
        head = paint(f"{shown[lane.state]} {name:<12} {words(lane.state)}", lane.state)
        basis = f"{'':{15 - len(words(lane.state))}} {lane.basis.replace('_', ' ')}" if lane.basis else ""
        yield head + basis
        yield from hanging("says          ", clean(lane.says))
        yield from hanging("does not say  ", clean(lane.does_not_say))
        yield from hop_lines(lane.hops)
        if evidence and lane.evidence:
            yield from hanging("evidence      ", " ".join(digest[:16] for digest in lane.evidence))


def hop_lines(hops: Sequence[Hop]) -> Iterable[str]:
    """What each hop of a turn could see, as a small table; nothing where no hops are told."""
    if hops:
        yield f"    {'could see':<14}{'identity':<10}{'plaintext':<11}{'sizes':<9}timing"
    for hop in hops:
        which = f"  {clean(hop.node[:12])}" if hop.node else ""
        yield f"      {hop.hop:<12}{hop.identity:<10}{hop.plaintext:<11}{hop.sizes:<9}{hop.timing}{which}"


def hanging(label: str, text: str) -> list[str]:
    """A label and a text beside it, indented and wrapped."""
    indent = " " * (4 + len(label))
    return textwrap.wrap(
        text, _WIDTH, initial_indent="    " + label, subsequent_indent=indent, break_on_hyphens=False
    ) or ["    " + label.rstrip()]


def read_file(name: str) -> bytes:
    """The bytes of a named file, ``-`` for standard input; raises ``usage.file``."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UsageError("usage.file", f"cannot read {name}: {error.strerror}") from error


def written_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json`` to a command that writes ``--output``: it says as one JSON document what was written and where.
    Raises ``usage.arguments`` where the file itself goes to standard output."""

    @click.option("--json", "as_json", is_flag=True, help="Say what was written, and where, as one JSON document.")
    @functools.wraps(command)
    def found(*arguments: Any, output: str, as_json: bool, **options: Any) -> Any:
        if as_json and output == "-":
            raise UsageError("usage.arguments", "--json says where the file was written; name one with --output")
        return command(*arguments, output=output, as_json=as_json, **options)

    return found


def write_file(name: str, data: bytes) -> None:
    """Write a named file, ``-`` for standard output; raises ``output.file``."""
    try:
        if name == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            Path(name).write_bytes(data)
    except OSError as error:
        raise UnavailableError("output.file", f"cannot write {name}: {error.strerror}") from error
