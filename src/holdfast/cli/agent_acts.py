"""``holdfast agent act``, ``acts``: carry out what the gate let through, look at what was done (``spec/acts.md``).

The journal of an executor lies beside the record of its agent, for its owner alone. Nothing is carried out without a
trust document: every act is held against its signed statements and the gate is asked here too.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.network import Network, gateway_options, optional_network_options
from holdfast.cli.output import clean_line, emit, emit_json
from holdfast.cli.panel import Panel, find_panel
from holdfast.core.agent_files import AgentFile
from holdfast.core.statements import is_code
from holdfast.errors import UndecidedError, UsageError

if TYPE_CHECKING:
    from holdfast.agents.act_journal import ActJournal
    from holdfast.agents.acting import Executor, Told
    from holdfast.agents.runner import Offer
    from holdfast.agents.world import World
    from holdfast.client.gateway import GatewayClient
    from holdfast.core.trust import Trust

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document a line instead of text.")
_JOURNAL = click.option(
    "--journal",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="What was done with each act.  [default: agents/NAME.acts in the state folder]",
)
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@click.command("act")
@click.argument("path", metavar="FILE")
@gateway_options
@click.option("--panel", "panel_url", metavar="URL", help="The panel that hands out.  [default: the network's]")
@click.option("--api-key", metavar="REF", help="Key of the panel with queue:take: file:PATH or env:NAME.")
@click.option("--trust", "trust_file", metavar="FILE", help="Trust file.  [default: the network's own]")
@click.option("--trust-pin", metavar="HEX", help="SHA-256 that the first trust version must have.")
@click.option("--consumer", default="executor", show_default=True, metavar="WHO", help="Who takes the acts: a code.")
@click.option("--policy", "policies", multiple=True, metavar="QUEUE=DIGEST", help="The only policy a queue may have.")
@click.option(
    "--no-amended", is_flag=True, help="Only what the agent proposed, nothing that a person put in its place."
)
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE", help="As of 'holdfast agent run'.")
@_JOURNAL
@click.option("--at-once", default=4, show_default=True, type=click.IntRange(1, 64), help="Acts at one time.")
@click.option("--lease", default=600, show_default=True, type=click.IntRange(30, 86_400), help="Seconds for an act.")
@click.option("--every", default=5.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between looks.")
@click.option("--once", is_flag=True, help="End when the queues have nothing now.")
@_AS_JSON
def act(
    network: Network,
    path: str,
    panel_url: str | None,
    api_key: str | None,
    trust_file: str | None,
    trust_pin: str | None,
    consumer: str,
    policies: tuple[str, ...],
    no_amended: bool,
    record: Path | None,
    journal: Path | None,
    at_once: int,
    lease: int,
    every: float,
    once: bool,
    as_json: bool,
) -> int:
    """Carry out the acts of the agent of FILE that their queues let through, each once, until Ctrl-C.

    Every act is held against its signed statements, the agent's own record, and the gate, asked here too; one that a
    person proposed in another's place also against that one and the cases between them, and on CLEAR alone. What was
    begun is in the journal before it leaves; start it again after a crash. Exit code 1 when acts are left whose
    effect has to be taken back, or of which it is not known whether they happened.
    """
    from holdfast.cli.agent import read_agent_file, record_path  # noqa: PLC0415 - that group has this command
    from holdfast.cli.ways import choose_trust  # noqa: PLC0415 - the base install has no HTTP client

    file = read_agent_file(path)
    if not is_code(consumer):
        raise UsageError("case.consumer", "a consumer's name is a code", param="consumer")
    trust = choose_trust(network, trust_file, trust_pin, private=True)  # what the gateway serves vouches for nothing
    if trust is None:
        hint = "--trust FILE, or --state DIR of a network that has one"
        raise UndecidedError("trust.missing", "no act is carried out without a trust document", hint=hint)
    place = record or record_path(network, file)
    kept = journal or journal_path(place)
    panel = find_panel(None, panel_url or network.require("panel"), api_key)
    work = Work(
        file,
        network,
        trust,
        path,
        panel,
        place,
        kept,
        _fixed(policies),
        not no_amended,
        {"consumer": consumer, "lease_s": lease, "at_once": at_once, "tell": _told_json if as_json else _told_line},
    )
    return asyncio.run(work.run(every, once=once))


@click.command("acts")
@click.argument("path", metavar="FILE")
@optional_network_options
@_JOURNAL
@_AS_JSON
def acts(network: Network | None, path: str, journal: Path | None, as_json: bool) -> int:
    """Show what stands in the journal of the agent of FILE, also while it is worked on.

    Exit code 1 when the effect of an act has to be taken back, or it is not known whether one happened.
    """
    from holdfast.adapters.storage_files import FileStorage  # noqa: PLC0415 - picked where it is wanted
    from holdfast.agents.act_journal import read_journal  # noqa: PLC0415
    from holdfast.cli.agent import read_agent_file, record_path  # noqa: PLC0415

    file = read_agent_file(path)
    if journal is None and network is None:
        raise UsageError("acts.journal", "nobody says where the journal is", hint="--journal DIR, or --state DIR")
    kept = journal or journal_path(record_path(network, file)) if network is not None else journal
    found = read_journal(FileStorage(kept)) if kept is not None and kept.is_dir() else {}
    shown = [state.to_json() for state in found.values()]
    if as_json:
        emit_json({"acts": shown})
    for item in () if as_json else shown:
        for line in _act_lines(item):
            emit(clean_line(line))
    if not shown and not as_json:
        emit("no act was taken yet")
    return 1 if any(item["to_take_back"] or item["not_known"] for item in shown) else 0


def journal_path(record: Path) -> Path:
    """Where the journal is when nobody names a place: beside the record."""
    return record.with_suffix(".acts")


def _fixed(policies: tuple[str, ...]) -> dict[str, str]:
    """Digests by queue; raises ``usage.policy``."""
    found = {}
    for text in policies:
        queue, _, digest = text.partition("=")
        if not is_code(queue) or _DIGEST.match(digest) is None:
            raise UsageError("usage.policy", "a policy is given as QUEUE=DIGEST", param="policy")
        found[queue] = digest
    return found


@dataclass(frozen=True, slots=True)
class Work:
    """What one executor is made of, as its command line says."""

    file: AgentFile
    network: Network
    trust: Trust
    path: str
    panel: Panel
    record: Path
    journal: Path
    policies: Mapping[str, str]
    amended: bool
    options: Mapping[str, Any]

    async def run(self, every: float, *, once: bool) -> int:
        """Rounds until it is enough; the command's exit code. Raises ``agent.acts``."""
        from holdfast.adapters.storage_files import FileStorage  # noqa: PLC0415 - picked where it is wanted
        from holdfast.agents.act_journal import ActJournal  # noqa: PLC0415
        from holdfast.cli import agent  # noqa: PLC0415 - that group has these commands
        from holdfast.cli.ways import direct_way  # noqa: PLC0415 - the base install has no HTTP client

        async with (
            direct_way(self.network, self.trust, need_key=False) as client,
            agent.open_world(self.file, self.network, agent.folder_of(self.path), None) as world,
            agent.open_tools(self.file, world) as offers,
        ):
            journal = ActJournal(FileStorage(self.journal))
            try:
                await _rounds(self._executor(client, world, offers, journal), every, once=once)
                states = list(journal.acts())
            finally:
                journal.close()
        return 1 if any(state.to_take_back or state.why is not None for state in states) else 0

    def _executor(
        self, client: GatewayClient, world: World, offers: Mapping[str, Offer], journal: ActJournal
    ) -> Executor:
        from holdfast.adapters.clock_system import SystemClock  # noqa: PLC0415 - picked where it is wanted
        from holdfast.agents.act_checks import ActChecks  # noqa: PLC0415
        from holdfast.agents.acting import Executor, Tooling  # noqa: PLC0415
        from holdfast.agents.record import read_record  # noqa: PLC0415
        from holdfast.agents.runs import AgentRuns  # noqa: PLC0415
        from holdfast.agents.tool import ActTool  # noqa: PLC0415
        from holdfast.client.panel import PanelClient  # noqa: PLC0415

        tools = {
            name: Tooling(offer.tool, offer.file.queue or "", offer.secrets)
            for name, offer in offers.items()
            if offer.acts and isinstance(offer.tool, ActTool)
        }
        if not tools:
            raise UsageError("agent.acts", f"{self.file.name} has no tool that does something outside")
        desk, clock = PanelClient(world.http, self.panel.url, self.panel.key), SystemClock()
        checks = ActChecks(
            desk,
            client,
            lambda: read_record(self.record),
            self.file,
            {name: tooling.tool for name, tooling in tools.items()},
            self.trust,
            clock,
            consumer=self.options["consumer"],
            policies=self.policies,
            amended=self.amended,
        )
        runs = AgentRuns(world.http, self.network.gateway)
        return Executor(desk, runs, checks, journal, tools, clock, **self.options)


async def _rounds(executor: Executor, every: float, *, once: bool) -> None:
    """Rounds until somebody says that it is enough. Ctrl-C ends it between two words of the journal."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    while True:
        await executor.round()
        if once or stop.is_set():
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), every)
            return


def _told_line(told: Told) -> None:
    emit(clean_line(f"{told.word:<12}{told.act}  {told.says}".rstrip()))


def _told_json(told: Told) -> None:
    emit_json({"act": told.act, "word": told.word, "says": told.says})


def _act_lines(item: Mapping[str, Any]) -> list[str]:
    lines = [f"{item['word']:<12}{item['act']}  {item['tool'] or '-'}, {item['effect'] or 'not checked'}, {item['at']}"]
    lines.append(f"            case {item['case']} of {item['queue']}, agent run {item['agent']}")
    if item["amends"]:
        lines.append(f"            proposed by a person in the place of {item['amends']}")
    if item["dropped"]:
        lines.append(f"            not carried out: {item['dropped']['says']} ({item['dropped']['code']})")
    if item["not_known"]:
        lines.append(f"            not known whether it happened: {item['not_known']}")
    if item["to_take_back"]:
        lines.append(f"            its case is {item['stands']}: what was done has to be taken back")
    return lines
