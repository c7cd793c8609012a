"""``holdfast audit``: read a panel's journal again as a stranger would, without the panel, and say what does not hold.

Sources: a panel's store (a copy is made and looked at; the original is opened for reading alone), an exported journal
(its events, one a line), an exported case. Rules:

1. What was not checked is said; it is never counted as checked.
2. What shows a journal that was cut off or written anew is a head of it that was kept elsewhere. The log keeps them:
   with a network at hand every head in it is looked for in the journal, and its decision statements are compared with
   the journal's acts. What lies after the newest head is said.
3. Exit code 1 when anything does not hold, 3 when nothing was found and the log could not be asked though there is one.

Not covered: whether evidence was appraised rightly ('holdfast verify' judges a bundle).
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from holdfast.cli.config import find_settings, node_tables
from holdfast.cli.logs import log_client
from holdfast.cli.network import DEFAULT_STATE, DESCRIPTION, Network, read_description, with_http
from holdfast.cli.output import clean_line, emit, emit_json, hanging, read_file, write_file, written_option
from holdfast.core import canonical
from holdfast.core.bundles import StatementItem, parse_bundle
from holdfast.core.encoding import sha256_hex
from holdfast.core.keys import parse_key_document
from holdfast.core.statements import Route, Statement, parse_commitment, parse_envelope, parse_statement
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from holdfast.ports.case_store import CaseReader, Head, StoredEvent
from holdfast.review.anchors import HeadComparison, compare_heads, heads_of
from holdfast.review.audit import AuditReport, Fault, audit_journal, audit_store
from holdfast.review.events import parse_event
from holdfast.review.export import EXPORT_TYPE, audit_export, parse_export
from holdfast.review.log_audit import Act, LogComparison, Logged, Opening, acts_of, compare_with_log, parse_opening
from holdfast.review.people import PeopleConfig
from holdfast.review.people_audit import Head as PeopleHead
from holdfast.verifier.checks import refuse_attester

if TYPE_CHECKING:
    from holdfast.adapters.http_aiohttp import AiohttpHTTP
    from holdfast.core.trust import Trust

UNDECIDED = 3
"""Exit code: nothing was found, and not everything could be asked."""
Result = TypeVar("Result")
_HEAD = re.compile(r"(0|[1-9]\d{0,15}):([0-9a-f]{64})\Z")
_BATCH = 2048
"""Events, and entries of the log, read at a time."""
CASES = "cases.sqlite"
"""The store of cases in a panel's folder."""
_STATE = click.option("--state", metavar="DIR", help=f"State folder, or a copy of one.  [default: {DEFAULT_STATE}]")
_CONFIG = click.option("--config", "config_file", metavar="FILE", help="Settings file.  [default: the one in --state]")


class DefaultCommand(click.Group):
    """A group that takes what names none of its commands as arguments of the first one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the first command's name where none is given."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added."""
        del ctx
        return list(self.commands)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a panel's stores are: SQLAlchemy URLs or files. None where there is none."""

    cases: str | Path
    people: str | Path | None
    panel: str | None = None
    """Digest of the panel's key document, where its settings name one that is there."""


@dataclass(slots=True)
class Findings:
    """What an audit read and found."""

    source: str
    kind: str
    events: int
    cases: int
    head: Head
    faults: list[Fault]
    state: str | None = None
    """Where an exported case stands."""
    people: PeopleHead | None = None
    log: LogComparison | None = None
    anchors: list[HeadComparison] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    undecided: bool = False

    @property
    def code(self) -> int:
        """What to exit with."""
        if self.faults:
            return 1
        return UNDECIDED if self.undecided else 0


@click.group(cls=DefaultCommand)
def audit() -> None:
    """Check a panel's journal without the panel: every event, every row, every word of the gate.

    'holdfast audit' is 'holdfast audit check'.
    """


@audit.command("check")
@click.argument("file", required=False)
@_STATE
@_CONFIG
@click.option("--head", metavar="SEQ:DIGEST", help="A head of the journal that was kept elsewhere.")
@click.option("--people-head", metavar="SEQ:DIGEST", help="A head of the chain of people that was kept elsewhere.")
@click.option("--offline", is_flag=True, help="Do not ask the log.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def check(
    file: str | None,
    state: str | None,
    config_file: str | None,
    head: str | None,
    people_head: str | None,
    offline: bool,
    as_json: bool,
) -> int:
    """Check FILE, or the stores in a state folder, and say what does not hold.

    FILE is a copy of a panel's store of cases, a journal of 'holdfast audit export', or a case of 'holdfast case
    export'; - for standard input. Without it the panel's own stores are read, the people's chain among them. Keep the
    head it prints elsewhere: with what the log holds, that shows a journal that was cut off or written anew.

    Exit code 1 when something does not hold, 3 when nothing was found but the log did not answer.
    """
    known, known_people = parse_head(head), parse_head(people_head)
    network = None if offline else _network(state, named=file is None)
    if file is None:
        found = _check_stores(find_places(state, config_file), known, known_people, network)
    else:
        if known_people is not None:
            raise UsageError("usage.arguments", "--people-head is about a panel's stores, not about a file")
        found = _check_file(file, known, network)
    if as_json:
        emit_json(findings_json(found))
    else:
        for line in findings_lines(found):
            emit(line)
    return found.code


@audit.command("export")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write it; - for standard output.")
@_STATE
@_CONFIG
@written_option
def export(output: str, state: str | None, config_file: str | None, as_json: bool) -> None:
    """Write a panel's journal to a file: its events as they are, one a line.

    It holds what people wrote and who decided, and no part of what was asked or answered.
    """
    with open_cases(find_places(state, config_file).cases) as reader:
        events = list(_events(reader))
        head = reader.head()
    write_file(output, b"".join(stored.raw + b"\n" for stored in events))
    if as_json:
        emit_json({"events": len(events), "head": {"seq": head.seq, "digest": head.digest}, "written": output})
        return
    click.echo(f"{len(events)} events, head {head.seq}:{head.digest}", err=True)


# --- where things are -------------------------------------------------------------------------------------------------


def find_places(state: str | None, config_file: str | None) -> Places:
    """The stores of a panel: those in the state folder, so that a copied folder means its own, unless its settings name
    a database elsewhere. Raises ``audit.none``."""
    folder = Path(state or DEFAULT_STATE)
    settings = None
    if config_file is not None or (folder / "holdfast.toml").exists():
        settings = _settings(config_file, state)
    home = next((path for path in (folder / "panel", folder) if (path / CASES).exists()), None)
    if home is None or config_file is not None:
        home = settings.state if settings is not None else folder / "panel"
    database = getattr(settings, "database", None)
    if database is None and not (home / CASES).exists():
        raise UsageError(
            "audit.none",
            f"there is no journal here: no {home / CASES}",
            hint="name a panel's state with --state DIR, or a copy of its store as FILE",
            status=404,
        )
    people: str | Path | None = home / "people.sqlite"
    if settings is not None and settings.people_database is not None:
        people = settings.people_url
    elif isinstance(people, Path) and not people.exists():
        people = None
    return Places(database or home / CASES, people, _panel_of(settings))


def _panel_of(settings: Any) -> str | None:
    """Which panel this is: the digest of the key document that its settings name."""
    if settings is None:
        return None
    with contextlib.suppress(OSError, HoldfastError):
        return parse_key_document(settings.key_document.read_bytes()).digest
    return None


def _settings(config_file: str | None, state: str | None) -> Any:
    from holdfast.adapters.settings_toml import load  # noqa: PLC0415 - the base install has no nodes

    path = find_settings(config_file, state)
    tables = node_tables(path, "panel")
    return load(path, os.environ, tables).table("panel", tables["panel"])


def _network(state: str | None, *, named: bool) -> Network | None:
    """The network whose log is asked: the one in the state folder. A file's network is asked when it is named."""
    folder = Path(state or DEFAULT_STATE)
    if (state is None and not named) or not (folder / DESCRIPTION).exists():
        return None
    return read_description(folder)


@contextlib.contextmanager
def open_cases(where: str | Path) -> Iterator[CaseReader]:
    """A consistent view of a store of cases; of a file, on a copy of it."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - the base install has no database

    from holdfast.adapters.case_store_sql import SQLCaseStore  # noqa: PLC0415

    with _copied(where) as url:
        try:
            store = SQLCaseStore(url)
        except SQLAlchemyError as error:
            raise _no_store(where, error) from error
        try:
            with store.read() as reader:
                yield reader
        except SQLAlchemyError as error:
            raise _no_store(where, error) from error
        finally:
            store.close()


def _no_store(where: str | Path, error: Exception) -> MalformedError:
    what = where if isinstance(where, Path) else "the database"  # its URL may hold a password
    return MalformedError("audit.store", f"{what} is no store of a panel: {type(error).__name__}")


@contextlib.contextmanager
def _copied(where: str | Path) -> Iterator[str]:
    from holdfast.adapters.sqlite_snapshot import sqlite_snapshot  # noqa: PLC0415 - as above

    if isinstance(where, str):
        yield where
        return
    if not where.exists():
        raise UsageError("usage.file", f"cannot read {where}: there is no such file")
    with sqlite_snapshot(where) as url:
        yield url


# --- checking ---------------------------------------------------------------------------------------------------------


def _check_stores(places: Places, head: Head | None, people_head: Head | None, network: Network | None) -> Findings:
    found, logged = _check_cases(places.cases, head, network, places.panel)
    if places.people is None:
        found.unchecked.append("people: nobody was let in here, or their store is not here")
        if people_head is not None:
            says = "a head of the chain of people was kept elsewhere, and there is no such chain here"
            found.faults.append(Fault("people.audit.head", people_head.seq, None, says))
        return found
    found.people, faults, events = _check_people(places.people, people_head)
    found.faults += faults
    if logged is not None:
        _check_heads(found, "people", events, logged)
    return found


def _check_cases(
    where: str | Path, published: Head | None, network: Network | None, panel: str | None = None
) -> tuple[Findings, _Heads | None]:
    with open_cases(where) as reader:
        source = str(where) if isinstance(where, Path) else "the panel's database"
        report = _guarded(source, lambda: audit_store(reader, published))
        found = _findings(source, "store", report)
        logged = _check_log(
            found,
            lambda: _events(reader),
            network,
            opening=lambda act: parse_opening(reader.blob(act.case, act.statement or "")),
            is_private=lambda case: _is_private(reader, case),
            panel=panel,
        )
    return found, logged


def _check_people(where: str | Path, known: Head | None) -> tuple[PeopleHead, list[Fault], list[tuple[int, str]]]:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - as above

    from holdfast.adapters.clock_system import SystemClock  # noqa: PLC0415
    from holdfast.adapters.people_sql import SQLPeopleStore  # noqa: PLC0415
    from holdfast.review.people import People  # noqa: PLC0415
    from holdfast.review.roles import OPERATOR  # noqa: PLC0415

    with _copied(where) as url:
        try:
            store = SQLPeopleStore(url)
        except SQLAlchemyError as error:
            raise _no_store(where, error) from error
        try:
            people = People(store, PeopleConfig(), SystemClock(), secrets.token_bytes)
            heads = [PeopleHead(known.seq, known.digest)] if known is not None else []
            head, findings = _guarded(str(where), lambda: people.audit(OPERATOR, heads))
            events = _guarded(str(where), lambda: people.digests(OPERATOR))
        except SQLAlchemyError as error:
            raise _no_store(where, error) from error
        finally:
            store.close()
    return head, [Fault(f"people.{item.code}", item.seq, None, item.says) for item in findings], events


def _guarded(source: str, work: Callable[[], Result]) -> Result:
    """Run an audit. Whoever owns a database can put a value of any type into any column; then nothing can be read."""
    try:
        return work()
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        says = f"{source} holds what no panel writes there: {type(error).__name__}: {error}"
        raise RefusedError("audit.store", says, hint="compare it with a backup") from error


def _check_file(file: str, published: Head | None, network: Network | None) -> Findings:
    from holdfast.adapters.sqlite_snapshot import MAGIC  # noqa: PLC0415 - as above

    if file != "-" and _begins_with(Path(file), MAGIC):
        found, _ = _check_cases(Path(file), published, network)
        found.unchecked.append("people: their store is another file; --state DIR of a copied folder reads both")
        return found
    raw = read_file(file)
    if not raw:
        raise MalformedError("audit.file", f"{file} is empty")
    if _is_case(raw):
        return _check_case(file, raw, published)
    stored = list(_lines(raw))
    found = _findings(file, "journal", audit_journal(stored, published))
    found.unchecked.append("rows, evidence and the gate's words: a journal alone does not hold what they are judged by")
    _check_log(found, lambda: stored, network, opening=lambda _: None, is_private=lambda _: None)
    return found


def _begins_with(file: Path, magic: bytes) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(magic)) == magic
    except OSError as error:
        raise UsageError("usage.file", f"cannot read {file}: {error.strerror}") from error


def _is_case(raw: bytes) -> bool:
    """Whether bytes are an exported case; anything else is taken for a journal, and judged as one."""
    try:
        return canonical.decode_object(raw.partition(b"\n")[0]).get("type") == EXPORT_TYPE
    except HoldfastError:
        return False


def _check_case(file: str, raw: bytes, published: Head | None) -> Findings:
    report = audit_export(parse_export(raw.rstrip(b"\n")))
    faults = list(report.faults)
    if published is not None and published.seq == report.head.seq and published.digest != report.head.digest:
        says = f"event {published.seq} is not the one that was published as the head"
        faults.append(Fault("audit.published", published.seq, None, says))
    found = Findings(file, "case", report.events, 1, report.head, faults, report.state)
    if published is not None and published.seq != report.head.seq:
        found.unchecked.append(f"the head {published.seq}: the export was made at event {report.head.seq}")
    if report.gaps:
        says = f"the rest of the journal: its events lie between these at {report.gaps} places"
        found.unchecked.append(
            f"{says}, and only 'holdfast audit' of the journal shows that none of this case was cut out"
        )
    found.unchecked.append("the evidence: 'holdfast verify' judges a bundle; ages are taken to have been right")
    return found


def _lines(raw: bytes) -> Iterator[StoredEvent]:
    """The events of an exported journal. A line that is none keeps its place, so that the audit can say so."""
    seq = 0
    for line in raw.removesuffix(b"\n").split(b"\n"):
        seq += 1
        try:
            stored = parse_event(line).stored
        except HoldfastError:
            stored = StoredEvent(seq, sha256_hex(line), None, "", "", line)
        seq = stored.seq
        yield stored


def _events(reader: CaseReader) -> Iterator[StoredEvent]:
    after = 0
    while batch := reader.events(after, _BATCH):
        yield from batch
        after = batch[-1].seq


def _findings(source: str, kind: str, report: AuditReport) -> Findings:
    return Findings(source, kind, report.events, report.cases, report.head, list(report.faults))


# --- the log ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Heads:
    """What the log says of this panel's journals."""

    statements: Sequence[Statement]
    """Journal statements that trust believes, in log order."""
    panels: frozenset[str]
    """The attesters that are known to be this panel."""


def _check_log(
    found: Findings,
    events: Callable[[], Iterable[StoredEvent]],
    network: Network | None,
    *,
    opening: Callable[[Act], Opening | None],
    is_private: Callable[[str], bool | None],
    panel: str | None = None,
) -> _Heads | None:
    """Compare the journal's heads and decisions with the log, if there is one to ask; say what was not compared."""
    if network is None:
        found.unchecked.append("the log: not asked")
        return None
    try:
        trust = network.load_trust()
        logged = with_http(lambda http: read_decisions(network, http, trust))
    except RefusedError as error:
        found.faults.append(Fault("audit.log", None, None, f"the log does not hold together: {error.message}"))
        return None
    except HoldfastError as error:
        found.unchecked.append(f"the log: {error.message}")
        found.undecided = True
        return None

    def refuse(statement: Statement) -> str | None:
        return refuse_attester(statement, trust, until=statement.claimed_at)

    panels = {*_panels(trust), *({panel} if panel is not None else ())}
    readable = not any(fault.code == "audit.event" for fault in found.faults)
    if readable:
        found.log = compare_with_log(
            acts_of(events()), logged, opening=opening, is_private=is_private, refuse=refuse, panels=panels
        )
        found.faults += found.log.faults
        panels |= found.log.panels
    else:
        found.unchecked.append("decisions in the log: events that cannot be read cannot be compared with them")
    heads = _Heads([item for item in logged.heads if refuse(item) is None], frozenset(panels))
    _check_heads(found, "cases", ((event.seq, sha256_hex(event.raw)) for event in events()), heads)
    return heads


def _check_heads(found: Findings, journal: str, events: Iterable[tuple[int, str]], logged: _Heads) -> None:
    """Look for every head that the log holds in the journal."""
    if not logged.panels:
        found.unchecked.append(f"heads of {journal} in the log: nothing says which panel of the trust document this is")
        return
    compared = compare_heads(journal, events, heads_of(logged.statements, journal, logged.panels))
    found.anchors.append(compared)
    prefix = "people." if journal == "people" else ""
    found.faults += [replace(fault, code=prefix + fault.code) for fault in compared.faults]


async def read_decisions(network: Network, http: AiohttpHTTP, trust: Trust) -> Logged:
    """Every decision, head and private commitment of the network's log, its tree checked to its checkpoint."""
    client, _ = await log_client(network, http, trust)
    checkpoint = await client.latest()
    decisions: dict[str, Statement] = {}
    commitments: set[str] = set()
    heads: dict[str, Statement] = {}
    for begin in range(0, checkpoint.size, _BATCH):
        for entry in await client.entries(begin, min(begin + _BATCH, checkpoint.size), checkpoint):
            with contextlib.suppress(MalformedError):
                if parse_commitment(entry) is not None:
                    commitments.add(sha256_hex(entry))
                    continue
                statement = parse_statement(parse_envelope(entry))
                if statement.kind == "decision":
                    decisions[statement.digest] = statement
                elif statement.kind == "journal":
                    heads.setdefault(statement.digest, statement)
    return Logged(decisions, commitments, tuple(heads.values()))


def _panels(trust: Trust) -> list[str]:
    """The one panel that trust admits; of several none, for it is not said which of them this is."""
    found = [
        admission.key_document.digest for admission in trust.current.nodes if "panel" in admission.key_document.roles
    ]
    return found if len(found) == 1 else []


def _is_private(reader: CaseReader, case: str) -> bool | None:
    """Whether the run of a case is private, as its newest evidence shows; None where nothing does."""
    row = reader.row(case)
    raw = reader.blob(case, row.bundle) if row is not None and row.bundle is not None else None
    if raw is None:
        return None
    items = [entry.item for entry in parse_bundle(raw).journal]
    routes = [item.statement.body for item in items if isinstance(item, StatementItem)]
    modes = {body.settlement for body in routes if isinstance(body, Route)}
    return "private" in modes if modes else None


# --- telling ----------------------------------------------------------------------------------------------------------


def parse_head(text: str | None) -> Head | None:
    """``SEQ:DIGEST`` as commands print it; raises ``audit.head_text``."""
    if text is None:
        return None
    found = _HEAD.match(text)
    if found is None:
        raise UsageError("audit.head_text", "a head is SEQ:DIGEST, as 'holdfast audit' prints it", param="head")
    return Head(int(found[1]), found[2], "")


def findings_json(found: Findings) -> dict[str, Any]:
    """What was read and found, as JSON."""
    log = found.log
    return {
        "source": found.source,
        "kind": found.kind,
        "events": found.events,
        "cases": found.cases,
        "head": {"seq": found.head.seq, "digest": found.head.digest},
        "state": found.state,
        "people": None if found.people is None else {"seq": found.people.seq, "digest": found.people.digest},
        "log": None
        if log is None
        else {"standing": log.standing, "unopened": log.unopened, "waiting": log.waiting, "unseen": log.unseen},
        "anchors": [
            {
                "journal": item.journal,
                "heads": item.heads,
                "standing": item.standing,
                "newest": item.newest,
                "after": item.after,
            }
            for item in found.anchors
        ],
        "unchecked": found.unchecked,
        "findings": [
            {"code": fault.code, "seq": fault.seq, "case": fault.case, "says": fault.says} for fault in found.faults
        ],
    }


def findings_lines(found: Findings) -> Iterator[str]:
    """The same as text."""
    yield clean_line(f"{found.kind:<9} {found.source}")
    number = "1 case" if found.cases == 1 else f"{found.cases} cases"
    yield f"events    {found.events}, of {number}"
    yield clean_line(f"head      {found.head.seq}:{found.head.digest}")
    if found.state is not None:
        yield f"stands    {found.state}"
    if found.people is not None:
        yield f"people    head {found.people.seq}:{found.people.digest}"
    log = found.log
    if log is not None:
        yield f"log       {log.standing} decisions stand in it as the journal tells them"
        for count, says in (
            (log.unopened, "of these: who decided and why was not compared, for nothing here opens it"),
            (log.waiting, "wait to be logged"),
            (log.unseen, "may be of private runs and were not compared"),
        ):
            if count:
                yield f"          {count} {says}"
    for item in found.anchors:
        yield f"anchored  {item.journal}: {item.standing} of {item.heads} heads in the log are events of it"
        if not item.faults and item.newest:
            rest = f"; the log shows nothing of the {item.after} after it" if item.after else ", its last"
            yield f"          as it was up to event {item.newest}{rest}"
        elif not item.faults:
            yield "          the log shows nothing of it yet"
    for says in found.unchecked:
        yield from hanging("", clean_line(f"not checked: {says}"))
    yield f"findings  {len(found.faults)}"
    for fault in found.faults:
        where = "".join(
            f", {name} {value}" for name, value in (("event", fault.seq), ("case", fault.case)) if value is not None
        )
        yield clean_line(f"  {fault.code}{where}")
        yield from hanging("", clean_line(fault.says))
