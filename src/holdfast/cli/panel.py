"""How a command finds a panel, and how cases look in a terminal.

``--state DIR`` (default ``.holdfast``) reads where the panel is from ``DIR/network.json``; ``--panel URL`` needs
nothing on this disk. An API key is ``--api-key file:PATH`` or ``--api-key env:NAME``, else the environment variable
``HOLDFAST_PANEL_KEY``, else the session of whoever signed in here. The workspace key of the gateway is never sent to a
panel.

A person's session is kept in ``keys/panel-session.json`` of the state folder, readable by its owner alone. It names the
panel that it is of, and is sent to no other.

A row shows where a case stands, why, and the eleven lanes as eleven words: nothing that was asked or answered, and
nothing that sums the lanes up.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from holdfast.cli.network import DEFAULT_STATE, parse_url, read_description, read_key, with_http
from holdfast.cli.output import clean_line, hanging, paint, shapes, words
from holdfast.core import canonical
from holdfast.errors import MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.ports.settings import Secret
from holdfast.verifier.lanes import LANES, Lane

if TYPE_CHECKING:
    from holdfast.adapters.http_aiohttp import AiohttpHTTP
    from holdfast.client.panel import PanelClient, PanelSession

KEY_VARIABLE = "HOLDFAST_PANEL_KEY"
"""Holds an API key of the panel itself."""
SESSION = Path("keys") / "panel-session.json"
"""Where in a state folder a person's session is kept."""
PER_LINE = 3
"""Lanes on one line of a row."""
_CELL = 32
"""Columns of one of them."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Panel:
    """Where a panel is, and how to speak to it. ``url`` has no trailing slash."""

    url: str
    key: Secret | None = None
    session_file: Path = Path(DEFAULT_STATE) / SESSION
    """Where a person's session is kept."""
    in_person: bool = False
    """Whether to speak as the person who signed in, and not with a key."""

    def ask(self, question: Callable[[PanelClient], Awaitable[Result]], *, nameless: bool = False) -> Result:
        """Some questions over connections that close at the end. Raises ``people.sign_in_first`` for a person's where
        nobody is signed in, unless it is ``nameless``. What needs no person is asked with the key, and without one as
        whoever is signed in here, if anybody is."""
        session = None
        if not nameless and (self.in_person or (self.key is None and self.session_file.exists())):
            try:
                session = self.find_session()
            except RefusedError:
                if self.in_person:
                    raise

        async def work(http: AiohttpHTTP) -> Result:
            from holdfast.client.panel import PanelClient  # noqa: PLC0415 - lazily, like everything with a network

            return await question(PanelClient(http, self.url, self.key, session=session))

        return with_http(work)

    def find_session(self) -> PanelSession:
        """The session that is kept for this panel; raises ``people.sign_in_first`` or ``panel.session``."""
        from holdfast.client.panel import PanelSession  # noqa: PLC0415 - as above

        none = RefusedError(
            "people.sign_in_first",
            f"nobody is signed in to {self.url} here",
            hint="holdfast case sign-in NAME",
            status=401,
        )
        try:
            value = canonical.decode_object(self.session_file.read_bytes())
        except FileNotFoundError:
            raise none from None
        except OSError as error:
            raise UsageError("panel.session", f"cannot read {self.session_file}: {error.strerror}") from error
        if value.keys() != {"url", "cookie", "token"} or not all(isinstance(item, str) for item in value.values()):
            raise MalformedError("panel.session", f"{self.session_file} is damaged", hint="remove it and sign in again")
        if value["url"] != self.url:
            raise none
        return PanelSession(value["url"], value["cookie"], value["token"], {})

    def is_signed_in(self) -> bool:
        """Whether a session is kept for this panel."""
        try:
            self.find_session()
        except RefusedError:
            return False
        return True

    def keep_session(self, session: PanelSession) -> None:
        """Write a session down, for this user alone. Raises ``output.file``."""
        raw = canonical.encode({"url": session.url, "cookie": session.cookie, "token": session.token})
        try:
            self.session_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.forget_session()
            # Made with its mode, and never through a name that somebody put there meanwhile.
            with os.fdopen(os.open(self.session_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(raw)
        except OSError as error:
            raise UnavailableError("output.file", f"cannot write {self.session_file}: {error.strerror}") from error

    def forget_session(self) -> None:
        """Remove what was kept, if anything was."""
        self.session_file.unlink(missing_ok=True)


def read_password(reference: str | None) -> str:
    """A password by reference, or asked for in the terminal without showing it."""
    if reference is not None:
        return read_key(reference).reveal()
    given: str = click.prompt("password", hide_input=True, err=True)
    return given


def find_panel(state: str | None, url: str | None, key: str | None, *, in_person: bool = False) -> Panel:
    """The panel that a command line names; raises ``network.*``."""
    kept = Path(state or DEFAULT_STATE) / SESSION
    if state is not None and url is not None:
        raise UsageError("network.which", "--state and --panel name two networks; give one")
    given = read_key(key) if key is not None else None
    from_environment = "" if in_person else os.environ.get(KEY_VARIABLE, "").strip()
    given = given or (Secret(from_environment, f"env:{KEY_VARIABLE}") if from_environment else None)
    if url is not None:
        return Panel(parse_url(url, "--panel"), given, kept, in_person)
    return Panel(read_description(Path(state or DEFAULT_STATE)).require("panel"), given, kept, in_person)


def panel_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--state``, ``--panel`` and ``--api-key`` to a command; it receives ``panel``."""

    @click.option("--state", metavar="DIR", help=f"State folder of 'holdfast up'.  [default: {DEFAULT_STATE}]")
    @click.option("--panel", "url", metavar="URL", help="A panel, instead of a state folder.")
    @click.option("--api-key", metavar="REF", help=f"Key of the panel: file:PATH or env:NAME; else ${KEY_VARIABLE}.")
    @functools.wraps(command)
    def found(*arguments: Any, state: str | None, url: str | None, api_key: str | None, **options: Any) -> Any:
        return command(*arguments, panel=find_panel(state, url, api_key), **options)

    return found


def person_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--state`` and ``--panel`` to a command of a person; it receives ``panel``."""

    @click.option("--state", metavar="DIR", help=f"State folder of 'holdfast up'.  [default: {DEFAULT_STATE}]")
    @click.option("--panel", "url", metavar="URL", help="A panel, instead of a state folder.")
    @functools.wraps(command)
    def found(*arguments: Any, state: str | None, url: str | None, **options: Any) -> Any:
        return command(*arguments, panel=find_panel(state, url, None, in_person=True), **options)

    return found


def anybody_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """As :func:`panel_options`, for what a key and a person may both ask: with the key where one is given, else as
    whoever signed in here, else without a name."""

    @panel_options
    @functools.wraps(command)
    def found(*arguments: Any, panel: Panel, **options: Any) -> Any:
        in_person = panel.key is None and panel.is_signed_in()
        return command(*arguments, panel=dataclasses.replace(panel, in_person=in_person), **options)

    return found


def row_lines(row: Mapping[str, Any], lanes: Mapping[str, Lane]) -> Iterator[str]:
    """A case as a row: where it stands, what is marked on it, the gate's reasons, and each lane."""
    yield clean_line(f"{row['state']:<12} {row['id']}")
    yield clean_line(f"    run {row['run']}, opened {row['opened_at']}, changed {row['changed_at']}")
    for mark in marks(row):
        yield from hanging("", clean_line(mark))
    for reason in row["reasons"]:
        yield from hanging("", clean_line(f"{reason['code']}: {reason['says']}"))
    yield from lane_words(lanes)


def marks(row: Mapping[str, Any]) -> Iterator[str]:
    """What else is to be known of a row, one sentence each."""
    if row.get("subject") is not None:
        yield f"subject: {row['subject']}"
    if row.get("released_early"):
        yield "It was released early: before its proof."
    if row.get("clear_until") is not None:
        yield f"Clear until {row['clear_until']}; then its evidence is too old."
    if row.get("claimed_by") is not None:
        yield f"Claimed by {row['claimed_by']} until {row['claimed_until']}."
    if row.get("handed_at") is not None:
        yield f"Handed over at {row['handed_at']}."
    if row.get("flags"):
        yield f"Flagged: {row['flags']} of the cases it relied on ran out of an early release."


def lane_words(lanes: Mapping[str, Lane]) -> Iterator[str]:
    """Each lane by shape, name and state, a few on a line."""
    shown = shapes()
    for begin in range(0, len(LANES), PER_LINE):
        row = [lanes[name] for name in LANES[begin : begin + PER_LINE]]
        cells = [(f"{shown[lane.state]} {lane.name:<12} {words(lane.state)}", lane.state) for lane in row]
        *first, last = [paint(text, state) + " " * (_CELL - len(text)) for text, state in cells]
        yield "    " + "".join([*first, last.rstrip()])
