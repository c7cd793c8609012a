"""``holdfast chat``: a conversation in the terminal, with the eleven lanes of each answer below it, live.

Before the first question leaves, one line says what was checked of the gateway. Everything that reaches the screen went
through :mod:`holdfast.client.gateway`: text appears once a signed mark covers
it, and an answer counts as whole once its statements name it. While the run settles the lanes are the gateway's
account; in the end the bundle is fetched and appraised here, and where that differs, it is said.

On a terminal the strip moves in place; elsewhere, and with ``--json``, lines are printed. The questions come from
``--once`` or, line by line, from standard input. ``--pay`` asks without a key and pays from a wallet.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from holdfast.cli.chat_views import JSONView, LiveView, PlainView, View
from holdfast.cli.network import Network, gateway_options, missing_trust
from holdfast.cli.output import clean, lane_lines, wants_colour, write_file
from holdfast.cli.wallets import find_wallet, wallet_option
from holdfast.cli.ways import RELAY_KEY_VARIABLE, choose_trust, direct_way, sealed_way
from holdfast.client.gateway import GatewayClient
from holdfast.client.paying import Paid
from holdfast.client.turns import BoundTurn
from holdfast.client.wallet_file import WalletFile
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, UnavailableError, UsageError
from holdfast.verifier.lanes import Lane

HELP = """\
/lanes          what each lane of the last answer says and does not say
/export FILE    write the last run's bundle, texts disclosed
/model NAME     ask another model      /models   list them
/new            forget the conversation
/quit           leave (or Ctrl-D)
Ctrl-C stops an answer; Enter while the lanes settle asks on."""


@dataclass(slots=True)
class Talk:
    """A conversation: what was said, and the last run."""

    model: str
    settlement: str | None
    messages: list[dict[str, str]] = field(default_factory=list)
    run: str | None = None
    capability: str | None = None
    client: GatewayClient | None = None
    """The one that was really asked."""
    lanes: Mapping[str, Lane] = field(default_factory=dict)


@click.command()
@gateway_options
@click.option("--once", metavar="TEXT", help="Ask this and end.")
@click.option("--model", metavar="NAME", help="Model to ask.  [default: the gateway's first]")
@click.option("--private", is_flag=True, help="Through the relay: it sees no text, the gateway no address.")
@click.option("--relay", metavar="URL", help="The relay of --private.  [default: the network's]")
@click.option(
    "--relay-key",
    metavar="REF",
    help=f"What the relay knows you by: file:PATH or env:NAME; else ${RELAY_KEY_VARIABLE}.",
)
@click.option(
    "--or-direct", is_flag=True, help="With --private: where the relay is not there, ask directly and say so."
)
@click.option("--pay", is_flag=True, help="Without a key: pay from a wallet, within the limits in its file.")
@wallet_option
@click.option("--pay-at-most", metavar="DECIMAL", help="Lower the wallet's limit of a request, in whole units.")
@click.option(
    "--settlement",
    type=click.Choice(["batch", "individual", "private"]),
    help="Settlement mode.  [default: the gateway's]",
)
@click.option("--trust", "trust_file", metavar="FILE", help="Trust file.  [default: the network's own]")
@click.option("--trust-pin", metavar="HEX", help="SHA-256 that the first trust version must have.")
@click.option("--wait", default=60.0, show_default=True, metavar="SECONDS", help="How long to watch a run settle.")
@click.option("--json", "as_json", is_flag=True, help="One JSON event a line.")
@click.option("--no-color", is_flag=True, help="No colours.")
def chat(
    network: Network,
    once: str | None,
    model: str | None,
    private: bool,
    relay: str | None,
    relay_key: str | None,
    or_direct: bool,
    pay: bool,
    wallet_path: Path | None,
    pay_at_most: str | None,
    settlement: str | None,
    trust_file: str | None,
    trust_pin: str | None,
    wait: float,
    as_json: bool,
    no_color: bool,
) -> int:
    """Ask in the terminal and watch the lanes of each answer move.

    Text appears once a signed mark covers it. Exits 1 when an answer is refused or does not come; what the lanes say
    changes nothing about the exit code: for that there is 'holdfast verify --require'.
    """
    trust = choose_trust(network, trust_file, trust_pin, private=private)
    wallet = _wallet(network, private=private, pay=pay, path=wallet_path, at_most=pay_at_most)
    if private:
        through = relay or network.relay
        if trust is None:
            raise missing_trust()
        if through is None:
            raise UsageError("chat.private", f"{network.described_by} names no relay", hint="name one with --relay URL")
        way = sealed_way(network, trust, through, relay_key=relay_key, or_direct=or_direct)
    elif relay is not None or relay_key is not None or or_direct:
        raise UsageError("chat.private", "--relay, --relay-key and --or-direct belong to --private")
    else:
        way = direct_way(network, trust, wallet)
    live = sys.stdout.isatty() and not as_json
    console = Console(no_color=wants_colour(no_color=no_color) is False, highlight=False)

    def view() -> View:
        return JSONView() if as_json else LiveView(console) if live else PlainView()

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        client = runner.run(stack.enter_async_context(way))
        try:
            talk = Talk(model or runner.run(_first_model(client)), settlement)
            session = _Session(runner, client, talk, view, wait, interactive=live and sys.stdin.isatty(), wallet=wallet)
            if once is not None:
                return session.turn(once)
            if session.interactive:
                sealed = private and client.fell_back is None
                where = f"through {relay or network.relay}" if sealed else network.gateway
                session.told = runner.run(_greet(client, console, talk, trust, where))
            return session.converse(console)
        finally:
            runner.run(stack.aclose())


def _wallet(network: Network, *, private: bool, pay: bool, path: Path | None, at_most: str | None) -> WalletFile | None:
    """The wallet of ``--pay``; raises ``chat.pay``, ``wallet.*`` or ``settings.*``."""
    if not pay:
        if path is not None or at_most is not None:
            raise UsageError("chat.pay", "--wallet and --pay-at-most belong to --pay")
        return None
    if private:
        raise UsageError(
            "chat.pay",
            "on the private path the relay pays: a payment of yours would tell the gateway who asks",
            hint="leave --pay or --private away",
        )
    wallet = find_wallet(network, path)
    return wallet if at_most is None else wallet.at_most(at_most)


def _paid(paid: Paid, wallet: WalletFile | None) -> str:
    """What was signed for an answer, in a line."""
    asset = None if wallet is None else wallet.asset(paid.network, paid.asset)
    amount = f"{paid.authorised} base units of {paid.asset}" if asset is None else asset.show(paid.authorised)
    most = "at most " if paid.scheme == "upto" else ""
    further = " for this and further questions" if paid.scheme == "upto" else ""
    said = "" if paid.said is None else f"; the gateway says that {paid.said.transaction or 'nothing'} moved it"
    trouble = "" if paid.trouble is None else f"; this is not right: {paid.trouble}"
    return f"signed {most}{amount}{further}, to {paid.payee}{said}{trouble}"


async def _first_model(client: GatewayClient) -> str:
    models = await client.models()
    if not models:
        raise UnavailableError(
            "chat.no_model", "the gateway offers no model", hint="connect one: docs/howto/connect-a-model.md"
        )
    return models[0]


async def _greet(client: GatewayClient, console: Console, talk: Talk, trust: Trust | None, where: str) -> str:
    """What was checked, in a line, before anybody types; returns it."""
    says = (await client.attester()).checked.says
    console.print(Text(clean(f"{where}: {says}"), style="dim"))
    if trust is not None and trust.development:
        console.print(Text("development: keys, nodes and chain are stand-ins on this machine", style="yellow"))
    console.print(Text(clean(f"model {talk.model}; /help lists commands"), style="dim"))
    return says


class _Session:
    """Turns one after the other, on one connection."""

    def __init__(
        self,
        runner: asyncio.Runner,
        client: GatewayClient,
        talk: Talk,
        view: Callable[[], View],
        wait_s: float,
        *,
        interactive: bool,
        wallet: WalletFile | None = None,
    ) -> None:
        self._runner = runner
        self._wallet = wallet
        self._client = client
        self._talk = talk
        self._view = view
        self._wait_s = wait_s
        self.interactive = interactive
        self.told = ""
        """What was last said to have been checked of the gateway."""

    def converse(self, console: Console) -> int:
        """Questions line by line until they end; the exit code of the last one that counted."""
        code = 0
        for line in self._lines(console):
            if line.startswith("/") and self.interactive:
                if line in ("/quit", "/exit", "/q"):
                    return 0
                try:
                    self._command(line, console)
                except HoldfastError as error:
                    console.print(Text(clean(str(error)), style="red"))
                continue
            code = max(code, self.turn(line))
        return 0 if self.interactive else code

    def _lines(self, console: Console) -> Iterator[str]:
        while True:
            try:
                if self.interactive:
                    console.print()
                line = input("> " if self.interactive else "").strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                console.print()
                return
            if line:
                yield line

    def _command(self, line: str, console: Console) -> None:
        word, _, rest = line.partition(" ")
        talk = self._talk
        if word == "/new":
            talk.messages.clear()
            console.print(Text("forgotten here; what was signed stays signed", style="dim"))
        elif word == "/model" and rest:
            talk.model = rest.strip()
        elif word == "/models":
            for name in self._runner.run(self._client.models()):
                console.print(Text(clean(name)))
        elif word == "/lanes" and talk.lanes:
            for shown in lane_lines(talk.lanes):
                click.echo(shown)
        elif word == "/export" and rest and talk.run is not None and talk.client is not None:
            write_file(rest.strip(), self._runner.run(talk.client.bundle(talk.run, talk.capability)))
            console.print(Text(clean(f"written to {rest.strip()}"), style="dim"))
        else:
            console.print(Text(HELP, style="dim"))

    def turn(self, question: str) -> int:
        """Ask one question and show everything about it; the exit code it deserves."""
        view = self._view()
        try:
            self._runner.run(self._ask(question, view))
        except KeyboardInterrupt:
            view.note("stopped; the run's statements will say how far it came")
            return 0 if self.interactive else 130
        except HoldfastError as error:
            view.failed(error)
            return 2 if isinstance(error, UsageError) and error.status != 404 else 1
        finally:
            view.done()
        return 0

    async def _ask(self, question: str, view: View) -> None:
        talk = self._talk
        request = {"model": talk.model, "messages": [*talk.messages, {"role": "user", "content": question}]}
        async with self._client.stream(request, settlement=talk.settlement) as answer:
            talk.client, talk.run, talk.capability, talk.lanes = answer.client, answer.run, answer.capability, {}
            checked = answer.attester.checked
            if checked.says != self.told:
                self.told = checked.says
                view.checked(checked)
            if answer.client.fell_back is not None:
                view.note(
                    f"the private path was not there ({answer.client.fell_back}): this was asked directly, and the "
                    "gateway sees this address"
                )
            view.asked(answer.run, answer.capability, admitted=answer.attester.admitted)
            watching = asyncio.create_task(self._watch(answer.client, answer.run, answer.capability, view))
            try:
                async for marked in answer:
                    if marked.text:
                        view.text(marked.seq, marked.text)
                bound = answer.bound
            except BaseException:
                watching.cancel()
                raise
        if bound is not None:
            self._remember(question, bound)
            view.answered(bound)
            paid = bound.turn.paid
            if paid is not None and (paid.new or paid.trouble is not None):
                view.note(_paid(paid, self._wallet))
        await self._settle(watching, view)

    def _remember(self, question: str, bound: BoundTurn) -> None:
        self._talk.messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": bound.turn.text},
        ]
        warning = bound.turn.carrier.get("warning")
        if isinstance(warning, str):
            click.echo(clean(f"warning: {warning}"), err=True)

    async def _settle(self, watching: asyncio.Task[None], view: View) -> None:
        """Let the lanes move until the run is settled, time is up, or the asker goes on; then appraise it here."""
        asked_on = asyncio.Event()
        loop = asyncio.get_running_loop()
        if self.interactive:
            loop.add_reader(sys.stdin.fileno(), asked_on.set)
        going_on = asyncio.create_task(asked_on.wait())
        try:
            await asyncio.wait({watching, going_on}, timeout=self._wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self.interactive:
                loop.remove_reader(sys.stdin.fileno())
            going_on.cancel()
        if not watching.done():
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        elif (error := watching.exception()) is not None:
            view.note(f"the gateway stopped telling: {error}")
        await self._appraise(view)

    async def _watch(self, client: GatewayClient, run: str, capability: str, view: View) -> None:
        """Show the lanes as the gateway tells them, until settlement is no longer pending."""
        async with contextlib.aclosing(client.watch(run, capability)) as views:
            async for told in views:
                self._talk.lanes = told.lanes
                view.lanes(told.lanes, "gateway")
                if told.lanes["settlement"].state != "pending" and told.outcome is not None:
                    return

    async def _appraise(self, view: View) -> None:
        """Judge the run's bundle here, and say where the gateway told it otherwise."""
        talk = self._talk
        if talk.run is None or talk.client is None:
            return
        told = talk.lanes
        result = await talk.client.appraise(talk.run, talk.capability)
        talk.lanes = result.lanes
        other = [
            f"{name} (the gateway says {told[name].state}, here it is {lane.state})"
            for name, lane in result.lanes.items()
            if name in told and told[name].state != lane.state and told[name].state != "pending"
        ]
        view.lanes(result.lanes, "here")
        if other:
            view.note(f"Appraised here it differs: {'; '.join(other)}.")
