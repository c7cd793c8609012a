"""How a chat is shown: live on a terminal, as plain lines elsewhere, or as JSON, one event a line.

All three show the same: text once a mark covers it, the lanes as the gateway tells them while the run settles, and
then as they were appraised here. The lanes stand side by side, each with shape, word and basis; nothing sums them up.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from holdfast.cli.output import clean, lane_lines, shapes, words
from holdfast.client.turns import BoundTurn
from holdfast.errors import HoldfastError
from holdfast.verifier.identity import CheckedIdentity
from holdfast.verifier.lanes import LANES, Lane

STYLES = {
    "proven": "bold blue",
    "refuted": "bold red",
    "pending": "yellow",
    "unknown": "magenta",
    "expired": "yellow",
    "not_applicable": "dim",
}
"""Colours of the states beside shape and word; none of them is green."""
_GAP = 2
"""Blanks between two cells."""


class View(Protocol):
    """One turn's worth of showing."""

    def checked(self, identity: CheckedIdentity) -> None:
        """What was checked of the gateway before this question left."""
        ...

    def asked(self, run: str, capability: str, *, admitted: bool) -> None:
        """The gateway answers, and said which run this is."""
        ...

    def text(self, seq: int, piece: str) -> None:
        """More of the answer, covered by mark ``seq``."""
        ...

    def answered(self, bound: BoundTurn) -> None:
        """The answer is whole and its statements name it."""
        ...

    def lanes(self, lanes: Mapping[str, Lane], told_by: str) -> None:
        """The lanes, as ``gateway`` or as appraised ``here``."""
        ...

    def note(self, words: str) -> None:
        """Something the asker should know."""
        ...

    def failed(self, error: HoldfastError) -> None:
        """The turn ended in an error."""
        ...

    def done(self) -> None:
        """Nothing more comes for this turn."""
        ...


class JSONView:
    """One JSON object a line on standard output."""

    def _say(self, event: str, **members: Any) -> None:
        click.echo(json.dumps({"event": event, **members}, ensure_ascii=False))

    def checked(self, identity: CheckedIdentity) -> None:
        self._say("checked", **identity.to_json())

    def asked(self, run: str, capability: str, *, admitted: bool) -> None:
        self._say("asked", run=run, capability=capability, admitted=admitted)

    def text(self, seq: int, piece: str) -> None:
        self._say("text", mark=seq, text=piece)

    def answered(self, bound: BoundTurn) -> None:
        turn = bound.turn
        self._say(
            "answered",
            run=turn.run,
            outcome=turn.outcome,
            text=turn.text,
            statements=dict(turn.statements),
            path=None if turn.path is None else turn.path.to_json(),
            fell_back=turn.fell_back,
        )

    def lanes(self, lanes: Mapping[str, Lane], told_by: str) -> None:
        self._say("lanes", told_by=told_by, lanes={name: lanes[name].to_json() for name in LANES})

    def note(self, words: str) -> None:
        self._say("note", says=words)

    def failed(self, error: HoldfastError) -> None:
        self._say("failed", **error.to_json())

    def done(self) -> None:
        self._say("done")


class PlainView:
    """Plain lines: the answer as it comes, then every move of a lane, then all eleven."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, str]] = {}
        self._open_line = False
        self._answering = False

    def _line(self, text: str) -> None:
        if self._open_line:
            click.echo()
            self._open_line = False
        click.echo(text)

    def checked(self, identity: CheckedIdentity) -> None:
        self._line(clean(f"checked before asking: {identity.says}"))

    def asked(self, run: str, capability: str, *, admitted: bool) -> None:
        del capability
        self._line(f"run {run}{'' if admitted else ' (the gateway is taken on its own word)'}")
        self._answering = True

    def text(self, seq: int, piece: str) -> None:
        del seq
        click.echo(clean(piece), nl=False)
        self._open_line = not piece.endswith("\n")

    def answered(self, bound: BoundTurn) -> None:
        del bound
        self._line("")
        self._answering = False

    def lanes(self, lanes: Mapping[str, Lane], told_by: str) -> None:
        if told_by == "here":
            self._line("lanes, appraised here from the run's bundle:")
            for line in lane_lines(lanes, evidence=False):
                click.echo(line)
            return
        if self._answering:
            return
        for name in LANES:
            now = lanes[name].state, lanes[name].says
            if self._last.get(name) != now and (name in self._last or now[0] == "pending"):
                self._line(clean(f"{shapes()[now[0]]} {name} {words(now[0])}: {now[1]}"))
            self._last[name] = now

    def note(self, words: str) -> None:
        self._line(clean(words))

    def failed(self, error: HoldfastError) -> None:
        self._line("")
        click.echo(clean(f"error: {error.code}: {error.message}"), err=True)
        if error.hint:
            click.echo(clean(f"  hint: {error.hint}"), err=True)

    def done(self) -> None:
        if self._open_line:
            click.echo()
            self._open_line = False


class LiveView:
    """On a terminal: whole lines of the answer scroll up, the line being written and the lanes stay below and move."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._line = ""
        self._lanes: Mapping[str, Lane] = {}
        self._told_by = "gateway"
        self._run = ""
        self._waiting = True
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def _refresh(self) -> None:
        self._live.update(self._below(), refresh=True)

    def _below(self) -> RenderableType:
        parts: list[RenderableType] = [Text(self._line)] if self._line else []
        if self._lanes:
            parts += ["", strip(self._lanes, self._console.width), self._caption()]
        return Group(*parts)

    def _caption(self) -> Text:
        settlement = self._lanes["settlement"]
        told = "as the gateway tells it" if self._told_by == "gateway" else "appraised here from the bundle"
        more = "  ·  Enter: ask on" if self._waiting and self._told_by == "gateway" and not self._line else ""
        return Text(clean(f"{settlement.says}\nrun {self._run}, {told}{more}"), style="dim")

    def checked(self, identity: CheckedIdentity) -> None:
        self._console.print(Text(clean(f"checked before asking: {identity.says}"), style="dim"))

    def asked(self, run: str, capability: str, *, admitted: bool) -> None:
        del capability, admitted
        self._run = run

    def text(self, seq: int, piece: str) -> None:
        del seq
        *whole, self._line = (self._line + clean(piece)).split("\n")
        for line in whole:
            self._console.print(Text(line))
        wrapped = [row.plain for row in Text(self._line).wrap(self._console, self._console.width)]
        for line in wrapped[:-1]:
            self._console.print(Text(line))
        if len(wrapped) > 1:
            self._line = wrapped[-1] + (" " if self._line.endswith(" ") else "")
        self._refresh()

    def answered(self, bound: BoundTurn) -> None:
        del bound
        self._flush()
        self._refresh()

    def _flush(self) -> None:
        if self._line:
            self._console.print(Text(self._line))
            self._line = ""

    def lanes(self, lanes: Mapping[str, Lane], told_by: str) -> None:
        self._lanes, self._told_by = lanes, told_by
        self._refresh()

    def note(self, words: str) -> None:
        self._flush()
        self._console.print(Text(clean(words), style="yellow"))

    def failed(self, error: HoldfastError) -> None:
        self._flush()
        self._console.print(Text(clean(f"{error.code}: {error.message}"), style="bold red"))
        if error.hint:
            self._console.print(Text(clean(error.hint), style="dim"))

    def done(self) -> None:
        self._flush()
        self._waiting = False
        with contextlib.suppress(Exception):
            self._live.update(Group(), refresh=True)
        self._live.stop()
        if self._lanes:
            self._console.print()
            self._console.print(strip(self._lanes, self._console.width))
            self._console.print(self._caption())


def strip(lanes: Mapping[str, Lane], width: int) -> Table:
    """All eleven lanes as cells: shape, name, state and basis."""
    cells = [_cell(lanes[name]) for name in LANES]
    columns = next(count for count in (4, 3, 2, 1) if count == 1 or _needs(cells, count) <= width)
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for _ in range(columns):
        table.add_column(no_wrap=True)
    for first in range(0, len(cells), columns):
        table.add_row(*cells[first : first + columns])
    return table


def _needs(cells: list[Text], columns: int) -> int:
    """Width of a table of so many columns."""
    widest = [max(cell.cell_len for cell in cells[column::columns]) for column in range(columns)]
    return sum(widest) + _GAP * columns


def _cell(lane: Lane) -> Text:
    style = STYLES[lane.state]
    cell = Text(f"{shapes()[lane.state]} {lane.name} ", style=style)
    cell.append(words(lane.state), style=style)
    if lane.basis:
        cell.append(f" {lane.basis.replace('_', ' ')}", style="dim")
    return cell
