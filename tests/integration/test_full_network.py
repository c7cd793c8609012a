"""Four full nodes over sockets, disks, processes and contracts: what a gateway logs settles, whatever is killed."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from holdfast.adapters import vm_pyrevm
from holdfast.adapters.anvil_process import find_anvil
from holdfast.adapters.chain_evm import EvmChain
from holdfast.adapters.evm_rpc import EvmConnection
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.signer_files import load_signer
from holdfast.adapters.signer_secp256k1 import load_signer as load_account
from holdfast.cli import development, host
from holdfast.cli.development import Layout
from holdfast.client.full import HTTPFullNode, RoundView
from holdfast.client.log import LogReader
from holdfast.core import canonical, notes, rounds
from holdfast.core.encoding import b64_encode
from holdfast.core.trust import parse_trust_chain, verify_trust
from holdfast.errors import HoldfastError
from holdfast.nodes.full.settle import refuse_untrusted_epoch
from tests.helpers import crashes
from tests.helpers.full_network import Gateway
from tests.helpers.ports import free_ports

pytestmark = [
    pytest.mark.enable_socket,
    pytest.mark.slow,
    pytest.mark.skipif(
        not vm_pyrevm.available() and find_anvil() is None, reason="no pyrevm wheel and no anvil: no development chain"
    ),
]
FAST = {"poll_ms": 100, "chain_poll_ms": 100, "peers_poll_ms": 200, "round_ms": 300}


class WallClock:
    """The machine's clock, for statements."""

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)


@dataclass
class World:
    """A development network: chain and log in this process, full nodes wherever the test wants them."""

    layout: Layout
    http: AiohttpHTTP
    settings: Path
    runs: int = 0
    seen: dict[tuple[str, int], tuple[int, bytes]] = field(default_factory=dict)
    votes: dict[tuple[str, int, int, int], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        signer = load_signer(self.layout.key("gateway.statement.pem"), "statement")
        self.gateway = Gateway(WallClock(), signer)  # type: ignore[arg-type]
        self.gateway.document = development.make_keys(self.layout).documents["gateway"]
        self.trust = verify_trust(parse_trust_chain(self.layout.trust.read_bytes()))
        chain, epoch = self.trust.chain(self.layout.origin), self.trust.epoch(self.layout.origin, 1)
        assert chain is not None
        assert epoch is not None
        self.domain = rounds.ChainDomain(chain.chain_id, chain.contract)
        keys = development.make_keys(self.layout)
        self.stakes = dict.fromkeys(keys.vote_addresses.values(), development.STAKE)
        self.nodes = {name: HTTPFullNode(self.http, self.layout.url(name)) for name in self.layout.full_names}

    async def log_run(self) -> None:
        """Two statements of one run are logged and acknowledged."""
        entries = self.gateway.run(self.runs)
        self.runs += 1
        token = self.layout.key("log.token").read_text().strip()
        answer = await self.http.request(
            "POST",
            f"{self.layout.url('log')}/v1/entries",
            body=canonical.encode({"entries": [b64_encode(entry) for entry in entries]}),
            headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
        )
        assert answer.status == 200, answer.body

    async def rounds_of(self, name: str) -> list[RoundView]:
        """What a node shows of its rounds; nothing while it is down. Everything signed is audited."""
        try:
            views = list(await self.nodes[name].rounds(self.layout.origin, 0))
            newest = await self.nodes[name].round(self.layout.origin, len(views) + 1)
        except HoldfastError:
            return []
        for view in [*views, *([newest] if newest else [])]:
            if view.finality is not None:
                self.audit_finality(view)
            for vote in view.votes:
                signer = rounds.verify_vote(self.domain, vote, self.stakes).signer
                key = (signer, vote.epoch, vote.number, vote.attempt)
                assert self.votes.setdefault(key, vote.content) == vote.content, f"{signer} voted twice"
        return views

    def audit_finality(self, view: RoundView) -> None:
        assert view.finality is not None
        signer = rounds.verify_finality_message(self.domain, view.finality, self.stakes).signer
        said = (view.finality.epoch, view.finality.content)
        assert self.seen.setdefault((signer, view.number), said) == said, f"{signer} spoke twice on {view.number}"

    async def settled(self, names: list[str]) -> bool:
        """Whether each of these nodes shows a final round over everything that is logged."""
        for name in names:
            views = await self.rounds_of(name)
            if not views or views[-1].candidate is None or views[-1].candidate.size < 2 * self.runs:
                return False
        return True

    async def until(self, done: Callable[[], Awaitable[bool]], seconds: float = 40.0) -> None:
        async with asyncio.timeout(seconds):
            while not await done():  # noqa: ASYNC110 (another process decides)
                await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def served(servers: dict[str, host.NodeServer]) -> AsyncIterator[None]:
    """Nodes in this process."""
    stop = asyncio.Event()
    task = asyncio.create_task(host.serve(servers, stop))
    try:
        for server in servers.values():
            while not server.started:
                assert not task.done(), task
                await asyncio.sleep(0.01)
        yield
    finally:
        stop.set()
        await task


@contextlib.asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """Chain, contracts, trust and log; no full node yet."""
    layout = Layout(folder, free_ports(len(development.SERVICES)))
    keys = development.make_keys(layout)
    tables = development.settings_of(layout, keys)
    for name in layout.full_names:
        tables[name].update(FAST)
    settings = development.write_settings(layout, tables, None)
    configs = host.load_configs(settings, ["chain", "log"], {})
    http = AiohttpHTTP()
    async with served({"chain": host.make_node_server("chain", configs["chain"])}):
        deployment = await development.make_contracts(layout, keys)
        development.make_trust(layout, keys, deployment, dt.datetime.now(dt.UTC))
        async with served({"log": host.make_node_server("log", configs["log"])}):
            try:
                yield World(layout, http, settings)
            finally:
                await http.close()


def full_servers(made: World) -> dict[str, host.NodeServer]:
    configs = host.load_configs(made.settings, made.layout.full_names, {})
    return {name: host.make_node_server(name, configs[name]) for name in made.layout.full_names}


def test_four_nodes_in_one_process_settle_and_cosign_and_anyone_can_check_it(tmp_path):
    async def run() -> None:
        async with world(tmp_path) as made, served(full_servers(made)):
            for _ in range(5):
                await made.log_run()
            names = made.layout.full_names
            await made.until(lambda: made.settled(names))

            # Everything below is what a stranger does with the answers of one node and the trust file.
            node = made.nodes[names[2]]
            view = await node.round(made.layout.origin, 1)
            assert view is not None
            assert view.candidate is not None

            async def all_four() -> bool:
                found = await node.finality(made.layout.origin, 1)
                return found is not None and len(found.messages) == 4

            await made.until(all_four)
            found = await node.finality(made.layout.origin, 1)
            assert found is not None
            final = rounds.verify_finality(made.domain, found.messages, made.stakes)
            assert final.content == found.candidate.content
            blob = await node.verdicts(found.candidate.blob_id)
            assert blob is not None
            assert {entry.code for entry in rounds.verify_verdicts(found.candidate, 0, blob)} == {"ok"}

            async def cosigned() -> bool:
                note = notes.parse_note(await LogReader(made.http, made.layout.url("log")).checkpoint())
                keys = [notes.parse_vkey((await reader.status()).value["witness"]) for reader in made.nodes.values()]
                return len(notes.verify_cosignatures(note, keys)) == 4

            await made.until(cosigned)

    asyncio.run(run())


class FullProcess:
    """``python -m holdfast.nodes.full`` over one node's settings."""

    def __init__(self, made: World, name: str) -> None:
        self.made = made
        self.name = name
        self.process: asyncio.subprocess.Process | None = None
        text = made.settings.read_text().split(f"[{name}]\n", 1)[1].split("\n[", 1)[0]
        self.settings = made.layout.state / f"{name}.toml"
        self.settings.write_text(f"[full]\n{text}")

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "holdfast.nodes.full", str(self.settings), stderr=asyncio.subprocess.DEVNULL
        )

    async def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


def test_nodes_killed_at_any_moment_never_speak_twice_and_everything_settles(tmp_path):
    async def run() -> None:
        chance = random.Random(7)
        async with world(tmp_path) as made:
            processes = [FullProcess(made, name) for name in made.layout.full_names]
            for process in processes:
                await process.start()
            try:
                await made.log_run()
                await made.until(lambda: made.settled(made.layout.full_names))
                for _ in range(crashes.kills()):
                    victim = chance.choice(processes)
                    await made.log_run()
                    await asyncio.sleep(chance.uniform(0.05, 1.2))
                    await victim.kill()
                    for name in made.layout.full_names:
                        await made.rounds_of(name)
                    await made.log_run()
                    await victim.start()
                    await asyncio.sleep(chance.uniform(0.0, 1.0))
                await made.until(lambda: made.settled(made.layout.full_names), 60)
                contents = {(number, said) for (_, number), said in made.seen.items()}
                assert len(contents) == len({number for _, number in made.seen})
                second = FullProcess(made, processes[0].name)
                await second.start()
                assert second.process is not None
                assert await second.process.wait() == 2  # the state folder has one owner
            finally:
                for process in processes:
                    await process.stop()

    asyncio.run(run())


def test_the_epoch_on_chain_is_the_one_that_trust_admits(tmp_path):
    async def run() -> None:
        async with world(tmp_path) as made:
            configs = host.load_configs(made.settings, ["full-1"], {})
            chain = EvmChain(
                EvmConnection(made.layout.url("chain")),
                made.domain,
                load_account(configs["full-1"].vote_key),
                finality_depth=0,
            )
            refuse_untrusted_epoch(made.trust, made.layout.origin, 1, await chain.current_epoch(), chain)
            await chain.close()

    asyncio.run(run())
