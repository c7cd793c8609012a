"""``holdfast up``: a whole development network on one machine, in three processes.

This process runs the chain, the log, the panel, the relay and the blob, memory, data and inference nodes; one
worker runs the gateway, another the four full nodes. They talk HTTP, as they would on ten machines. Workers end when
this process does, however it ends.

A worker that ends by itself is started again, later each time (:data:`RESTART_S`); everything else goes on serving,
since no answer waits for the secure layer. A node of this process that ends takes the network with it, with its reason:
what it held in memory cannot be started again beside the rest. Told to stop before it was ready, ``up`` exits 130.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import click

from holdfast.adapters.logging_json import configure_logging
from holdfast.adapters.storage_files import FileStorage
from holdfast.cli import development
from holdfast.cli.asks_contracts import make_asks
from holdfast.cli.demo_data import DATA, DEMO_CLOCK, SOURCES_FILE, SOURCES_TOML, DemoServer
from holdfast.cli.development import (
    BLOBS,
    FACILITATOR,
    GATEWAY_TLS,
    HOST,
    HUB,
    INFERENCE,
    MEMORY,
    MODELS,
    NODES,
    SERVICES,
    Layout,
)
from holdfast.cli.host import NodeServer, load_configs, make_node_server, serve
from holdfast.errors import ConflictError, HoldfastError, UnavailableError, UsageError
from holdfast.nodes.process import calm_collector, run_loop

Result = TypeVar("Result")
READY_S = 60.0
"""How long a node may take to become ready before ``up`` gives up."""
STOP_S = 8.0
"""How long a worker may take to end before it is killed."""
RESTART_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Waits before a worker is started again, one after another; the last one repeats, so that what fails for good costs
little and what was mended comes back by itself."""
STEADY_S = 60.0
"""A worker that ran so long ended for a new reason: its waits begin anew."""
LOCK = "up.lock"
"""Held while a network runs from a state folder."""
WORKERS = {"gateway": ["gateway"], "full nodes": [name for name in NODES if name.startswith("full-")]}
"""Nodes with a process of their own."""


class Console:
    """Says what happens: sentences for a person, or JSON lines for a program.

    A program's first line on standard output is the ready line; what is said before it goes to standard error.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._started = time.monotonic()
        self._is_ready = False

    def step(self, text: str) -> None:
        """Progress during start-up."""
        if self._json:
            self.event("starting", says=text)
        else:
            click.echo(f"  {time.monotonic() - self._started:5.1f} s  {text}")

    def event(self, event: str, **more: Any) -> None:
        """Something that happened, as one JSON line."""
        if self._json:
            click.echo(json.dumps({"event": event, **more}, separators=(",", ":")), err=not self._is_ready)

    def ready(self, layout: Layout, key: str, first_code: str | None) -> None:
        """The network is up. ``first_code`` makes the panel's first account, while there is none."""
        network = development.network_json(layout)
        self._is_ready = True
        if self._json:
            click.echo(
                json.dumps({"ready": True, "key": key, "state": str(layout.state), "first_code": first_code, **network})
            )
            return
        theirs = ""
        if network["gateway_tls"] is not None and network["registry"] is not None:
            theirs = f"""\
  Ask with OpenGradient's client, once the registry counts the gateway as active:
    og.LLM(KEY, rpc_url="{network["chain"]}", tee_registry_address="{network["registry"]}")
"""
        first = ""
        if first_code is not None:
            first = f"""
  Nobody was let in to decide yet. Within the hour this one-time code makes the first account, with every role:
    {layout.url("panel")}/sign-in/code
    {first_code}
"""
        click.echo(
            f"""
Ready after {time.monotonic() - self._started:.1f} s. This is a development network: every key lies in {layout.state}.

  Ask in a browser     {layout.url("panel")}/
  Ask in a terminal    holdfast chat --state {layout.state}
  Ask with any client  {layout.url("gateway")}/v1   (OpenAI-compatible; the key is in {layout.key("workspace.token")})
{theirs}{first}
Ctrl-C stops it; the same command goes on where it stopped.
"""
        )

    def say(self, text: str) -> None:
        """A line for a person, after start-up."""
        if not self._json:
            click.echo(f"  {dt.datetime.now(dt.UTC):%H:%M:%S}  {text}")


class Worker:
    """A process that hosts nodes (``cli.host``). It can be started again once it has ended."""

    def __init__(self, name: str, nodes: list[str], settings: Path, console: Console) -> None:
        self.name = name
        self.nodes = nodes
        self._settings = settings
        self._console = console
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._failure = ""

    async def start(self) -> None:
        """Start it; it imports and waits."""
        self._failure = ""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "holdfast.cli.host",
            str(self._settings),
            *self.nodes,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._readers = [asyncio.create_task(self._read_words()), asyncio.create_task(self._read_log())]

    @property
    def pid(self) -> int | None:
        """Of the process that was started last."""
        return self._process.pid if self._process is not None else None

    @property
    def failure(self) -> str | None:
        """Why it is not running; None while it is, and before it was started."""
        code = self._process.returncode if self._process is not None else None
        if code is None:
            return None
        ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"{self._failure} ({ended})" if self._failure else ended

    async def _read_words(self) -> None:
        stream = self._process.stdout if self._process else None
        while stream is not None and (line := await stream.readline()):
            with contextlib.suppress(ValueError):
                word = json.loads(line)
                if isinstance(word, dict) and word.get("worker") == "failed":
                    self._failure = str(word.get("message"))

    async def _read_log(self) -> None:
        """Relay what the nodes log from warnings on; the rest stays with them."""
        stream = self._process.stderr if self._process else None
        last = ""
        while stream is not None and (line := await stream.readline()):
            text = line.decode("utf-8", "replace").rstrip()
            try:
                entry = json.loads(text)
            except ValueError:
                last = text or last
                continue
            if isinstance(entry, dict) and entry.get("level") in ("warning", "error", "critical"):
                relay_log(self._console, entry)
        self._failure = self._failure or last

    async def go(self) -> None:
        """Let it build its nodes and serve. One that has ended hears nothing; ``failure`` says why."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                self._process.stdin.write(b"go\n")
                await self._process.stdin.drain()

    async def wait(self) -> str:
        """Until it ends, and everything it said was read; returns the reason."""
        if self._process is not None:
            await self._process.wait()
        await asyncio.gather(*self._readers, return_exceptions=True)
        return self.failure or "it was never started"

    async def stop(self) -> None:
        """End it: first by closing its input, then by force."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await asyncio.gather(*self._readers, return_exceptions=True)


def relay_log(console: Console, entry: dict[str, Any]) -> None:
    """One structured log line of a node."""
    node, message = entry.get("node", ""), entry.get("message", "")
    console.event("log", level=entry.get("level"), node=node, message=message, code=entry.get("code"))
    if entry.get("level") != "warning":
        console.say(f"{node}: {message}")


def check_ports(layout: Layout) -> None:
    """Every port is free; raises ``up.port`` naming the first that is not."""
    for service in SERVICES:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, layout.port(service)))
            except OSError as error:
                raise UsageError(
                    "up.port",
                    f"port {layout.port(service)} for the {service} is taken",
                    hint=f"choose another base with --port N (ports N to N+{len(SERVICES) - 1} are used)",
                ) from error


async def wait_ready(layout: Layout, services: list[str], workers: list[Worker]) -> None:
    """Until every service says it is ready; raises ``up.slow`` or ``up.worker``."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        deadline = time.monotonic() + READY_S
        for service in services:
            while not await _is_ready(session, layout.url(service)):
                for worker in workers:
                    if worker.failure is not None:
                        raise UnavailableError("up.worker", f"the {worker.name} process ended: {await worker.wait()}")
                if time.monotonic() > deadline:
                    raise UnavailableError("up.slow", f"the {service} did not become ready in {READY_S:.0f} s")
                await asyncio.sleep(0.05)


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/readyz", ssl=False) as response:  # its certificate is its own
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def follow_rounds(layout: Layout, console: Console) -> None:
    """Say when a round becomes final."""
    last: int | None = None
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        while True:
            await asyncio.sleep(1.0)
            for name in layout.full_names:
                try:
                    url = f"{layout.url(name)}/v1/rounds"
                    async with session.get(url, params={"origin": layout.origin, "after": str(last or 0)}) as response:
                        found = (await response.json()).get("rounds", [])
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                    continue
                for item in found:
                    if last is not None:
                        console.event("round", number=item["number"], state=item["state"], candidate=item["candidate"])
                        console.say(
                            f"round {item['number']} is final: the log up to {item['candidate']['size']} entries"
                        )
                last = max([last or 0, *(item["number"] for item in found)])
                break


async def follow_registry(layout: Layout, console: Console) -> None:
    """Say when the registry counts the gateway as active: from then on OpenGradient's clients find it."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        while True:
            await asyncio.sleep(0.5)
            try:
                async with session.get(f"{layout.url('gateway')}/heartbeat/status") as response:
                    found = await response.json()
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                continue
            if found.get("active"):
                console.event("registered", tee_id=found["tee_id"], registry=found["registry"])
                console.say("the gateway is active in the registry: full nodes accepted its attestation")
                return


class Network:
    """A development network under way. Made inside the event loop that runs it."""

    def __init__(self, layout: Layout, console: Console, overrides: Path | None) -> None:
        self._layout = layout
        self._console = console
        self._overrides = overrides
        self._stop = asyncio.Event()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        settings = layout.state / development.SETTINGS_FILE
        self._workers = [Worker(name, nodes, settings, console) for name, nodes in WORKERS.items()]
        self._serving: list[asyncio.Task[None]] = []
        self._demo: DemoServer | None = None

    def stop(self) -> None:
        """End the network, in order."""
        self._stop.set()
        if not self._over.done():
            self._over.set_result(None)

    async def run(self) -> None:
        """Start, say so, serve until stopped. Raises what ends it otherwise: :class:`HoldfastError`, or
        :class:`click.Abort` when it was told to stop before it was ready."""
        keepers: list[asyncio.Task[None]] = []
        try:
            for worker in self._workers:
                await worker.start()
            started = await self._until_over(self._start())
            if started is None:
                raise click.Abort
            self._console.ready(self._layout, *started)
            keepers = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
            await self._until_over(self._follow())
        finally:
            await self._end(keepers)

    async def _follow(self) -> None:
        """Say what happens, until the network ends."""
        follow = [follow_rounds(self._layout, self._console)]
        if self._layout.key("gateway.tls.pem").exists():
            follow.append(follow_registry(self._layout, self._console))
        await asyncio.gather(*follow)

    async def _until_over(self, work: Coroutine[Any, Any, Result]) -> Result | None:
        """What a piece of work comes to; None when the network was stopped first. Raises what ended either."""
        task = asyncio.create_task(work)
        waiting: list[asyncio.Future[Any]] = [task, self._over]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not self._over.done():
            return task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._over.result()
        return None

    async def _start(self) -> tuple[str, str | None]:
        """The workspace's key, and the code that makes the panel's first account."""
        layout, console = self._layout, self._console
        keys = development.make_keys(layout)
        development.make_queues(layout)
        development.make_genesis(layout, keys)
        development.make_models(layout)
        settings = development.write_settings(layout, development.settings_of(layout, keys), self._overrides)
        console.step("keys and settings are in place")
        configs = load_configs(settings, ["chain", "log", "panel", "relay", BLOBS], os.environ)
        self._serve({"chain": make_node_server("chain", configs["chain"])})
        await wait_ready(layout, ["chain"], self._workers)
        console.step("the development chain runs")
        if not layout.trust.exists():
            deployment = await development.make_contracts(layout, keys)
            now = dt.datetime.now(dt.UTC)
            development.make_trust(layout, keys, deployment, now)
            console.step("contracts are deployed, stake is bonded, the trust root is signed (development)")
        if not layout.registry:
            await development.make_registry(layout, keys, development.rounds_of(layout))
            development.write_settings(layout, development.settings_of(layout, keys), self._overrides)
            console.step("the registry of attested nodes is deployed")
        if not layout.asks:
            await make_asks(layout, keys, development.rounds_of(layout))
            development.write_settings(layout, development.settings_of(layout, keys), self._overrides)
            console.step("contracts can ask for runs of models")
        for worker in self._workers:
            await worker.go()
        self._serve({node: make_node_server(node, configs[node]) for node in ("log", "panel", "relay", BLOBS)})
        calm_collector()
        await self._start_facilitator(settings)
        await self._start_inference(settings)
        await self._start_memory(settings)
        await self._start_data(settings)
        await wait_ready(layout, [*NODES, BLOBS], self._workers)
        await self._start_hub(settings)
        if development.speaks_opengradient(keys.documents["gateway"]):
            await wait_ready(layout, [GATEWAY_TLS], self._workers)
        else:
            console.step(
                "this folder's gateway is older than its TLS key would be: OpenGradient's clients cannot use it; "
                "--fresh makes a new one"
            )
        console.step(f"log, gateway, relay, panel and {development.FULL_NODES} full nodes answer")
        network = json.dumps(development.network_json(layout), indent=2) + "\n"
        development.write_private(layout.state / development.NETWORK_FILE, network.encode())
        first_code = development.make_first_code(configs["panel"])
        return development.load_or_create_secret(layout.key("workspace.token"), "hf_"), first_code

    async def _start_facilitator(self, settings: Path) -> None:
        """Once the registry is there: heartbeats are relayed to it."""
        if not self._layout.pays:
            self._console.step("this folder's chain is older than payments: no facilitator; --fresh makes a new one")
            return
        config = load_configs(settings, [FACILITATOR], os.environ)[FACILITATOR]
        self._serve({FACILITATOR: make_node_server(FACILITATOR, config)})
        await wait_ready(self._layout, [FACILITATOR], self._workers)

    async def _start_hub(self, settings: Path) -> None:
        """Once the log answers: what the hub says goes there."""
        if not self._layout.has_hub:
            self._console.step("this folder's trust is older than hubs: no hub; --fresh makes a new one")
            return
        config = load_configs(settings, [HUB], os.environ)[HUB]
        self._serve({HUB: make_node_server(HUB, config)})
        await wait_ready(self._layout, [HUB], self._workers)

    async def _start_inference(self, settings: Path) -> None:
        """The nodes that run models, each model in a process of its own once somebody asks it."""
        if not self._layout.computes:
            self._console.step("this folder's trust is older than inference nodes: none run; --fresh makes a new one")
            return
        (self._layout.state / MODELS).mkdir(mode=0o700, exist_ok=True)
        configs = load_configs(settings, INFERENCE, os.environ)
        self._serve({name: make_node_server(name, configs[name]) for name in INFERENCE})
        await wait_ready(self._layout, list(INFERENCE), self._workers)

    async def _start_memory(self, settings: Path) -> None:
        """The node that keeps people's rows."""
        if not self._layout.remembers:
            self._console.step("this folder's trust is older than memory nodes: none runs; --fresh makes a new one")
            return
        config = load_configs(settings, [MEMORY], os.environ)[MEMORY]
        self._serve({MEMORY: make_node_server(MEMORY, config)})
        await wait_ready(self._layout, [MEMORY], self._workers)

    async def _start_data(self, settings: Path) -> None:
        """The data nodes, and the demonstrations that they can ask."""
        names = self._layout.data_names
        if not names:
            self._console.step("this folder's trust is older than data nodes: none runs; --fresh makes a new one")
            return
        files = self._layout.key(f"{DEMO_CLOCK}.key"), self._layout.key(f"{DEMO_CLOCK}.pem")
        self._demo = DemoServer(HOST, self._layout.port(DEMO_CLOCK), *files)
        await self._demo.start()
        configs = load_configs(settings, names, os.environ)
        self._serve({name: make_node_server(name, configs[name]) for name in names})
        await wait_ready(self._layout, names, self._workers)

    def _serve(self, servers: dict[str, NodeServer]) -> None:
        task = asyncio.create_task(serve(servers, self._stop))
        task.add_done_callback(self._take_failure)
        self._serving.append(task)

    def _take_failure(self, task: asyncio.Task[None]) -> None:
        """A server of this process that ended by itself ends the network, with its reason."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._over.done():
            self._over.set_exception(error)

    async def _keep(self, worker: Worker) -> None:
        """Start a worker again whenever it ends, until the network does. Never cancelled: a process that was just
        started must not be forgotten."""
        tries = 0
        while True:
            began = time.monotonic()
            reason = await worker.wait()
            if self._stop.is_set():
                return
            tries = 0 if time.monotonic() - began > STEADY_S else tries
            wait_s = RESTART_S[min(tries, len(RESTART_S) - 1)]
            tries += 1
            about = {"worker": worker.name, "nodes": worker.nodes}
            self._console.event("worker_ended", **about, reason=reason, restart_in_s=wait_s)
            self._console.say(f"the {worker.name} process ended: {reason}; it is started again in {wait_s:g} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._stop.wait()
            if self._stop.is_set():
                return
            await worker.start()
            await worker.go()
            if self._stop.is_set():
                await worker.stop()
                return
            try:
                await wait_ready(self._layout, worker.nodes, [worker])
            except UnavailableError as error:  # it ended again, which the next turn says, or is slow, which is said
                if worker.failure is None:
                    self._console.say(f"the {worker.name} process is not ready: {error.message}")
                continue
            self._console.event("worker_restarted", **about, pid=worker.pid)
            self._console.say(f"the {worker.name} process answers again")

    async def _end(self, keepers: list[asyncio.Task[None]]) -> None:
        self.stop()
        if self._demo is not None:
            await self._demo.close()
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        await asyncio.gather(*keepers, return_exceptions=True)
        await asyncio.gather(*self._serving, return_exceptions=True)


async def _main(layout: Layout, console: Console, overrides: Path | None) -> None:
    network = Network(layout, console, overrides)
    running = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        running.add_signal_handler(number, network.stop)
    await network.run()


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    lock = FileStorage(state).lock(LOCK)
    try:
        yield
    finally:
        lock.release()


@click.command("up")
@click.option("--state", type=click.Path(path_type=Path), default=Path(".holdfast"), show_default=True,
              help="Folder for keys, logs and databases.")  # fmt: skip
@click.option("--fresh", is_flag=True, help="Forget the folder's network first: keys, trust, runs, everything.")
@click.option("--port", type=click.IntRange(1024, 65535 - len(SERVICES)), default=8500, show_default=True,
              help="Base of the ports: panel, gateway, log, chain, full nodes, relay, gateway under TLS.")  # fmt: skip
@click.option("--payments", type=click.Choice(["off", "optional", "required"]), default="optional", show_default=True,
              help="Whether answers cost something; optional: each workspace has free credit.")  # fmt: skip
@click.option("--chain-id", type=click.IntRange(1, 2**53 - 1),
              help="Id of a new network's chain, such as that of a public chain which clients insist on.  "
                   f"[default: {development.CHAIN_ID}]")  # fmt: skip
@click.option("--config", "overrides", type=click.Path(path_type=Path), help="TOML with settings of your own on top.")
@click.option("--json", "as_json", is_flag=True,
              help="One ready line, then one JSON event a line; progress goes to standard error.")  # fmt: skip
def up_command(
    state: Path, fresh: bool, port: int, payments: str, chain_id: int | None, overrides: Path | None, as_json: bool
) -> None:
    """Run a whole development network on this machine."""
    console = Console(as_json=as_json)
    layout = Layout(state.absolute(), port, payments)
    configure_logging("up", "error")
    if not as_json:
        click.echo("Starting a Holdfast development network.")
    try:
        with _locked(layout.state):
            if fresh:
                _forget(layout.state)
            development.check_consistent(layout)
            layout = dataclasses.replace(layout, chain_id=development.chain_id_of(layout.state, chain_id))
            check_ports(layout)
            with contextlib.suppress(FileNotFoundError):
                (layout.state / development.NETWORK_FILE).unlink()
            run_loop(_main(layout, console, overrides))
    except click.Abort:
        if not as_json:
            click.echo("Stopped before it was ready.")
        raise
    except ConflictError as error:
        raise UsageError("up.running", f"a network already runs from {state}", hint="stop it first") from error
    except HoldfastError as error:
        console.event("failed", **error.to_json()["error"])
        raise
    if not as_json:
        click.echo("Stopped.")


def _forget(state: Path) -> None:
    """Remove a network's folders; refuses a folder that is not one of ours."""
    known = {"keys", "trust", "gateway", "log", "chain", "panel", "relay", LOCK, development.NETWORK_FILE}
    known |= {
        FACILITATOR,
        HUB,
        BLOBS,
        MEMORY,
        development.GENESIS_FILE,
        development.PRICE_CARD_FILE,
        MODELS,
        *INFERENCE,
    }
    known |= {
        *DATA,
        SOURCES_FILE,
        SOURCES_TOML,
        development.SETTINGS_FILE,
        development.REGISTRY_FILE,
        development.ASKS_FILE,
        development.WALLET_FOLDER,
        *(name for name in NODES if name.startswith("full-")),
    }
    found = {item.name for item in state.iterdir()} if state.exists() else set()
    strange = found - known
    if strange:
        raise UsageError(
            "up.fresh",
            f"{state} holds {min(strange)!r}, which no network made",
            hint="choose another folder with --state, or remove it yourself",
        )
    for name in found - {LOCK}:
        path = state / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
