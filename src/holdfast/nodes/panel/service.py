"""The panel's logic: asks the gateway, the log and the full nodes over HTTP and gives the pages what they show.

Rules:

* The panel holds no evidence and checks none. What it shows is what the nodes said, and who said it.
* The workspace key leaves this process in one header, towards the gateway, and nowhere else.
* A node that is silent makes one part of a page say so; the rest of the page stands.
* Streams are passed on as they come, and end upstream as soon as the reader is gone.
* A run's secret (``capability``) stays here, in memory, for as long as there is room; it opens the texts of runs that
  were asked here. It goes to the browser that asked, which checks the answer with it, and is written nowhere.

Not covered: HTTP towards the browser (``app.py``), pages (``holdfast.web``), who may ask (``access.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import aiohttp

from holdfast.client.memory import MemoryClient
from holdfast.core import canonical
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.nodes.panel import paying, views
from holdfast.nodes.panel.access import Access
from holdfast.nodes.panel.agents import AgentList, AgentTree, parse_agents, parse_tree
from holdfast.nodes.panel.anchors import Anchors
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.faucet import Faucet
from holdfast.nodes.panel.models import ModelView, parse_models
from holdfast.nodes.panel.payment_file import PaymentFile, parse_payment_file
from holdfast.nodes.panel.people import PanelPeople
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.sealed import RelayPass
from holdfast.nodes.panel.views import (
    LogView,
    NodeStatus,
    RoundReport,
    RoundsView,
    RoundView,
    RunSummary,
    RunView,
    VerdictLine,
    merge_rounds,
    parse_report,
    parse_reports,
)
from holdfast.nodes.panel.webhooks import Webhooks
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics
from holdfast.review.attached import AttachedFile, attached_of
from holdfast.review.pictures import Pictures, pictures_of
from holdfast.review.quoted import Quotes, quoted_of
from holdfast.review.recalled import RecalledRows, recalled_of

HEARTBEAT_SECONDS = 15.0
"""A comment line this often keeps a quiet stream alive and finds readers that are gone."""
RETRY_SECONDS = 2.0
"""Wait before a broken upstream stream is opened again."""
MAX_EVENT_BYTES = 12 << 20
"""Largest server-sent event taken from a node: an image of the largest size in base64 fits."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A streamed answer: the run it belongs to, and its events, or why there are none."""

    run: str | None
    chunks: AsyncIterator[bytes]
    refusal: HoldfastError | None = None
    paying: Mapping[str, str] = field(default_factory=dict)
    """What of its headers is about money (``paying.ANSWERED``)."""
    capability: str | None = None
    """The run's secret, for whoever asked: the page salts with it what it checks."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the gateway discloses of a run."""

    texts: tuple[tuple[str, str], ...] = ()
    """(who, text), in order."""
    recalled: RecalledRows | None = None
    files: tuple[AttachedFile, ...] = ()
    """Those of the caller that went before the model."""
    trouble: str = ""
    """Why there is nothing, where the gateway did not say."""
    pictures: Pictures = field(default_factory=lambda: Pictures(""))
    """The images of the answer."""
    quoted: Quotes = field(default_factory=Quotes)
    """What it repeats of its caller's files."""


class SSELines:
    """Cuts a byte stream into server-sent events (HTML Living Standard §9.2.6), raw, one blank line each."""

    def __init__(self, limit_bytes: int = MAX_EVENT_BYTES) -> None:
        self._buffer = bytearray()
        self._limit_bytes = limit_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """The events completed by ``data``, without their closing blank line. Raises ``panel.event``."""
        self._buffer += data
        if b"\n" not in data and len(self._buffer) <= self._limit_bytes:
            return []  # no event can end here; what holds an image comes in hundreds of such pieces
        *events, rest = bytes(self._buffer).replace(b"\r\n", b"\n").split(b"\n\n")
        self._buffer = bytearray(rest)
        if len(rest) > self._limit_bytes:
            raise MalformedError("panel.event", f"a server-sent event is larger than {self._limit_bytes} bytes")
        return events


def parse_event(event: bytes) -> tuple[str, bytes]:
    """One raw event to its name and data; comments give empty data."""
    name, data = "message", []
    for line in event.split(b"\n"):
        key, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if key == b"event":
            name = value.decode("utf-8", "replace")
        elif key == b"data":
            data.append(value)
    return name, b"\n".join(data)


class Sources(Protocol):
    """What the pages ask a data node (``client.data.DataClient``)."""

    async def sources(self) -> dict[str, Any]:
        """What may be asked."""
        ...

    async def source(self, name: str) -> dict[str, Any]:
        """One source, and how it did lately."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Hub(Protocol):
    """What the pages ask a hub (``client.hub.HubClient``)."""

    async def models(self, **query: str) -> dict[str, Any]:
        """A page of models."""
        ...

    async def model(self, model: str) -> dict[str, Any]:
        """One model."""
        ...

    async def artifact(self, digest: str) -> dict[str, Any]:
        """One artifact."""
        ...

    async def lineage(self, digest: str) -> dict[str, Any]:
        """What an artifact was declared to be made of."""
        ...

    async def diff(self, before: str, after: str) -> dict[str, Any]:
        """What differs between two artifacts."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class PanelService:
    """Everything a page needs. ``start`` before use and ``close`` after; safe for one event loop."""

    def __init__(
        self,
        config: PanelConfig,
        clock: Clock,
        metrics: Metrics,
        review: Review | None = None,
        people: PanelPeople | None = None,
        webhooks: Webhooks | None = None,
        anchors: Anchors | None = None,
        faucet: Faucet | None = None,
        hub: Hub | None = None,
        sources: Sources | None = None,
        memory: MemoryClient | None = None,
    ) -> None:
        self.config = config
        self.review = review
        """The desk with its cases; None where this panel keeps none."""
        self.people = people
        """Accounts, sessions and keys; None where this panel knows nobody by name."""
        self.webhooks = webhooks
        """What tells endpoints of what the gate lets through; None where none is configured."""
        self.anchors = anchors
        """What puts heads of the journals into the log; None where nothing does."""
        self.faucet = faucet
        """What gives test tokens of a development chain; None where nothing does."""
        self.sources = sources
        """The data node whose sources are shown; None where there is none."""
        self.memory = memory
        """The memory node whose rows their owners see; None where there is none."""
        self.relay = _relay_of(config, self._http)
        """What passes sealed questions on; None where this panel knows no relay."""
        self.hub = hub
        """The hub whose labels are followed and whose models are shown; None where there is none."""
        self.clock = clock
        self.metrics = metrics
        self._gateway = _base_url(config.gateway, "gateway")
        self._log = _base_url(config.log, "log")
        self._full_nodes = {node.name: _base_url(node.url, "full_nodes") for node in config.full_nodes}
        self.access = Access(config, clock)
        self.open_streams = 0
        self._session: aiohttp.ClientSession | None = None
        self._models: tuple[float, tuple[ModelView, ...]] | None = None
        self._capabilities: OrderedDict[str, str] = OrderedDict()
        self._voters: dict[str, str] = {}
        """Vote address of each full node, as it last said; names votes while the node is away."""

    async def start(self) -> None:
        """Open the connection pool."""
        timeout = aiohttp.ClientTimeout(total=self.config.read_timeout_ms / 1000)
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=0)
        jar = aiohttp.DummyCookieJar()
        self._session = aiohttp.ClientSession(timeout=timeout, connector=connector, cookie_jar=jar)

    async def close(self) -> None:
        """Close every connection."""
        if self.faucet is not None:
            await self.faucet.close()
        if self.hub is not None:
            await self.hub.close()
        if self.sources is not None:
            await self.sources.close()
        if self.memory is not None:
            await self.memory.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """``start`` and ``close`` around a block; the desk is at work within it."""
        async with contextlib.AsyncExitStack() as stack:
            if self.people is not None:
                stack.callback(self.people.close)
            await self.start()
            stack.push_async_callback(self.close)
            if self.review is not None:
                await stack.enter_async_context(self.review.running())
            yield

    def readiness(self) -> Mapping[str, str]:
        """What stands in the way of the panel's work. A silent node does not: its part of a page says so."""
        return self.review.readiness() if self.review is not None else {}

    # ---- reads ----------------------------------------------------------------------------------------------------

    async def models(self) -> tuple[ModelView, ...]:
        """The models that the gateway offers; kept for ``models_cache_ms``."""
        now = self.clock.monotonic()
        if self._models is None or now - self._models[0] > self.config.models_cache_ms / 1000:
            value = await self._get_json(f"{self._gateway}/v1/models", who="the gateway", auth=True)
            self._models = (now, parse_models(value))
        return self._models[1]

    async def payee(self) -> str:
        """Whom the gateway's key document names to be paid; empty where it names nobody or does not answer."""
        try:
            return paying.payee_of(await self._get_json(f"{self._gateway}/v1/identity", who="the gateway"))
        except HoldfastError:
            return ""

    async def key_document(self) -> str:
        """The gateway's key document in base64, as it shows it; nothing of it is believed here. Raises ``panel.silent``
        and ``panel.shape``."""
        return paying.key_document_of(await self._get_json(f"{self._gateway}/v1/identity", who="the gateway"))

    async def credit(self) -> paying.Credit | None:
        """What the workspace may still ask for without a wallet; None where the gateway keeps no account of it."""
        try:
            value = await self._get_json(f"{self._gateway}/v1/account", who="the gateway", auth=True)
            return paying.parse_credit(value)
        except HoldfastError:
            return None

    async def runs(self) -> tuple[RunSummary, ...]:
        """The newest runs of the workspace."""
        url = f"{self._gateway}/v1/runs?limit={self.config.runs_listed}"
        return views.parse_summaries(await self._get_json(url, who="the gateway", auth=True))

    async def run(self, run: str) -> RunView:
        """One run. Raises ``panel.run_id``, the gateway's own refusal, or ``panel.silent``."""
        url = f"{self._gateway}/v1/runs/{views.parse_run_id(run)}"
        return views.parse_run(await self._get_json(url, who="the gateway", auth=True))

    async def agents(self, name: str | None, state: str | None, before: int | None, limit: int) -> AgentList:
        """The workspace's agent runs, newest first, narrowed by name and state. Raises what the gateway refuses."""
        asked = {"name": name, "state": state, "before": before, "limit": limit}
        query = urlencode({key: value for key, value in asked.items() if value is not None})
        return parse_agents(await self._get_json(f"{self._gateway}/v1/agents?{query}", who="the gateway", auth=True))

    async def agent(self, run: str, after: int | None = None, *, within_ms: int | None = None) -> AgentTree:
        """An agent run with everything below it. What the gateway did not look at within ``within_ms`` has no lanes.
        Raises ``panel.run_id`` and what the gateway refuses (``agent.none``)."""
        asked = {"after": after, "within_ms": within_ms}
        query = urlencode({key: value for key, value in asked.items() if value is not None})
        url = f"{self._gateway}/v1/runs/{views.parse_run_id(run)}/tree?{query}"
        return parse_tree(await self._get_json(url, who="the gateway", auth=True))

    @contextlib.asynccontextmanager
    async def following_agent(self, run: str, moved: asyncio.Event) -> AsyncIterator[None]:
        """Set an event whenever an agent run's tree is another one, for as long as the block lasts."""
        task = asyncio.create_task(self._follow_agent(views.parse_run_id(run), moved))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow_agent(self, run: str, moved: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(HoldfastError):
                async for _ in self._events_named(f"{self._gateway}/v1/runs/{run}/tree/events", "tree"):
                    moved.set()
            await asyncio.sleep(RETRY_SECONDS)

    async def payment(self, run: str) -> PaymentFile | None:
        """Both sides of a run's payment, as the gateway puts them together; with the answer's own report of usage where
        the run was asked here. None where there is no payment, or a gateway that sells nothing. Raises
        ``panel.silent``, ``panel.run_id``, and as :func:`parse_payment_file` does."""
        url = f"{self._gateway}/v1/runs/{views.parse_run_id(run)}/payment"
        try:
            raw = await self._get(
                url, who="the gateway", auth=True, limit_bytes=self.config.max_view_bytes, extra=self._capability(run)
            )
        except RefusedError as error:
            if error.status == 404:
                return None
            raise
        found = parse_payment_file(canonical.decode(raw))
        return found if found.steps else None

    async def rounds(self) -> RoundsView:
        """The newest rounds, as each full node tells them. Silent nodes are named, not skipped."""
        query = urlencode({"origin": self.config.origin, "limit": self.config.rounds_listed})
        view, log = await asyncio.gather(
            self._ask_full_nodes(f"/v1/rounds?{query}", parse_reports), self._newest_checkpoint()
        )
        return replace(view, log=log)

    async def _newest_checkpoint(self) -> LogView:
        try:
            raw = await self._get(f"{self._log}/checkpoint", who="the log", auth=False, limit_bytes=65_536)
            return views.parse_log(self.config.origin, raw)
        except HoldfastError as error:
            return LogView(0, "", (), error.message)

    async def round(self, number: int) -> RoundsView:
        """One round, as each full node tells it; ``rounds`` is empty when no node knows it."""
        query = urlencode({"origin": self.config.origin})
        view = await self._ask_full_nodes(
            f"/v1/rounds/{number}?{query}", lambda node, value: (parse_report(node, value),)
        )
        return replace(view, verdicts=await self._verdicts(view.rounds[0])) if view.rounds else view

    async def _verdicts(self, round_: RoundView) -> tuple[VerdictLine, ...]:
        """The verdicts of the first candidate that somebody serves; nothing while nobody does."""
        for candidate, nodes in round_.candidates:
            for node in nodes:
                with contextlib.suppress(HoldfastError):
                    url = f"{self._full_nodes[node]}/v1/verdicts/{candidate.blob_id}"
                    blob = await self._get(url, who=node, auth=False, limit_bytes=self.config.max_view_bytes)
                    return views.parse_verdicts(candidate.blob_id, blob)
        return ()

    async def _ask_full_nodes(self, path: str, parse: Callable[[str, Any], tuple[RoundReport, ...]]) -> RoundsView:
        answers = await asyncio.gather(*(self._ask_full_node(name, path, parse) for name in self._full_nodes))
        reports = [report for _, rows in answers for report in rows]
        nodes = tuple(status for status, _ in answers)
        return merge_rounds(self.config.origin, nodes, reports, self.config.rounds_listed)

    async def _ask_full_node(
        self, name: str, path: str, parse: Callable[[str, Any], tuple[RoundReport, ...]]
    ) -> tuple[NodeStatus, tuple[RoundReport, ...]]:
        voter, url = self._voters.get(name, ""), self._full_nodes[name]
        try:
            voter, doing = views.parse_status(self.config.origin, await self._get_json(f"{url}/v1/status", who=name))
            self._voters[name] = voter
            reports = parse(name, await self._get_json(f"{url}{path}", who=name))
        except UnavailableError as error:
            return NodeStatus(name, False, error.message, "", voter), ()
        except HoldfastError as error:
            return NodeStatus(name, True, error.message, "", voter), ()
        return NodeStatus(name, True, "", doing, voter), reports

    # ---- asking ---------------------------------------------------------------------------------------------------

    async def ask(self, model: str, messages: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], str | None]:
        """One turn without streaming: the gateway's answer and the run id. For pages without scripts."""
        body = {"model": model, "messages": list(messages)}
        async with self._open("POST", f"{self._gateway}/v1/chat/completions", body) as response:
            raw = await self._read(response, self.config.max_view_bytes)
            self._count_question(response.status)
            self._refuse_error(response.status, raw)
            return canonical.decode_object(raw), self._remember(response)

    @contextlib.asynccontextmanager
    async def ask_streaming(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        passed_on: Mapping[str, str] | None = None,
        memory: str | None = None,
    ) -> AsyncIterator[Upstream]:
        """One turn, streamed; ``passed_on`` are the headers that pay for it, and the key of the rows that are recalled
        into it where ``memory`` names a user. Leaving the block closes the connection to
        the gateway, which notes the disconnect."""
        body: dict[str, Any] = {"model": model, "messages": list(messages), "stream": True}
        if memory is not None:
            body["holdfast"] = {"memory": {"user": memory, "recall": True}}
        async with (
            self._stream_slot(),
            self._open("POST", f"{self._gateway}/v1/chat/completions", body, passed_on) as response,
        ):
            refusal = None
            self._count_question(response.status)
            if response.status != 200:
                raw = await self._read(response, self.config.max_view_bytes)
                refusal = self._refusal(response.status, raw)
            money = paying.answered_headers(response.headers)
            capability = response.headers.get("x-holdfast-capability")
            yield Upstream(self._remember(response), self._events_of(response), refusal, money, capability)

    def _count_question(self, status: int) -> None:
        outcome = "answered" if status == 200 else "refused" if status < 500 else "failed"
        self.metrics.count("holdfast_panel_questions_total", outcome)

    def _remember(self, response: aiohttp.ClientResponse) -> str | None:
        """Keep the capability of a run that was asked here; returns the run id."""
        run, capability = response.headers.get("x-holdfast-run"), response.headers.get("x-holdfast-capability")
        if run is not None and capability is not None and self.config.capabilities_kept:
            while len(self._capabilities) >= self.config.capabilities_kept:
                self._capabilities.popitem(last=False)
            self._capabilities[run] = capability
        return run

    @staticmethod
    async def _events_of(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The answer's events as they come, byte for byte: marks bind how each is written."""
        lines = SSELines()
        try:
            async for chunk in response.content.iter_any():
                for event in lines.feed(chunk):
                    yield event + b"\n\n"
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnavailableError("panel.broken_off", "the gateway broke the answer off") from error

    # ---- live lanes -----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def events(self, runs: Sequence[str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """Server-sent events for several runs on one stream: ``run`` (a view as in ``/runs/ID.json``) whenever one
        changes, ``trouble`` (``{"run","says","over"}``) while the gateway is silent. Never ends by itself."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(maxsize=64)
        with self.count_stream():
            tasks = [asyncio.create_task(self._follow(run, queue)) for run in dict.fromkeys(runs)]
            try:
                yield self._drain(queue)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    async def _drain(queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
        yield b"retry: 2000\n\n"
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    event = await queue.get()
            except TimeoutError:
                event = b": still here\n\n"
            yield event

    async def _follow(self, run: str, queue: asyncio.Queue[bytes]) -> None:
        """Pass on one run's changes for ever; the gateway may close the stream and be asked again."""
        while True:
            try:
                await self._follow_once(run, queue)
            except RefusedError as error:
                await queue.put(_event("trouble", {"run": run, "says": error.message, "over": True}))
                return
            except HoldfastError as error:
                await queue.put(_event("trouble", {"run": run, "says": error.message, "over": False}))
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow_once(self, run: str, queue: asyncio.Queue[bytes]) -> None:
        async for data in self._events_named(f"{self._gateway}/v1/runs/{run}/events", "run"):
            await queue.put(_event("run", views.parse_run(canonical.decode(data)).to_json()))

    async def _events_named(self, url: str, wanted: str) -> AsyncIterator[bytes]:
        """The data of a node's events of one name, until it closes the stream."""
        lines = SSELines()
        async with self._open("GET", url, None) as response:
            if response.status != 200:
                self._refuse_error(response.status, await self._read(response, self.config.max_view_bytes))
            try:
                async for chunk in response.content.iter_any():
                    for raw in lines.feed(chunk):
                        name, data = parse_event(raw)
                        if name == wanted and data:
                            yield data
            except (aiohttp.ClientError, TimeoutError) as error:
                raise UnavailableError("panel.silent", "the gateway stopped answering") from error

    # ---- bundles --------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def bundle(self, run: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The run's bundle, exactly the gateway's bytes, as they come; with the texts when the run was asked here."""
        url = f"{self._gateway}/v1/runs/{views.parse_run_id(run)}/bundle"
        async with self._stream_slot(), self._open("GET", url, None, self._capability(run)) as response:
            if response.status != 200:
                self._refuse_error(response.status, await self._read(response, self.config.max_view_bytes))
            yield response.content.iter_any()

    async def evidence(self, run: str) -> bytes:
        """A run's bundle as the gateway shows it to its workspace: without what was asked and answered."""
        url = f"{self._gateway}/v1/runs/{views.parse_run_id(run)}/bundle"
        return await self._get(url, who="the gateway", auth=True, limit_bytes=self.config.max_bundle_bytes)

    async def said(self, run: str) -> Said:
        """What was asked and answered when the run was asked here, and which rows of memory went before its model as
        far as the gateway shows them; nothing where it shows nothing."""
        url = f"{self._gateway}/v1/runs/{views.parse_run_id(run)}/bundle"
        limit_bytes, headers = self.config.max_bundle_bytes, self._capability(run)
        try:
            raw = await self._get(url, who="the gateway", auth=True, limit_bytes=limit_bytes, extra=headers)
            documents = views.bundle_documents(canonical.decode(raw))
        except HoldfastError as error:
            return Said(trouble=error.message)
        said = Said(
            views.document_texts(documents),
            pictures=pictures_of(documents.get("request"), documents.get("response")),
        )
        try:
            said = replace(said, quoted=await asyncio.to_thread(quoted_of, raw, self.clock.now()))
            now = self.clock.now()
            said = replace(said, files=await asyncio.to_thread(attached_of, raw, now))
            return replace(said, recalled=await asyncio.to_thread(recalled_of, raw, now))
        except HoldfastError as error:
            return replace(said, trouble=error.message)

    def asked_here(self, run: str) -> bool:
        """Whether the run's capability is at hand, so that it can be asked again."""
        return run in self._capabilities

    async def ask_again(self, run: str, asked: bytes) -> bytes:
        """Have a run that was asked here asked again without rows of memory; the gateway's answer. Raises
        ``panel.capability``, ``panel.silent`` and what the gateway refuses."""
        headers = self._capability(views.parse_run_id(run))
        if not headers:
            raise RefusedError(
                "panel.capability",
                "asking a run again needs its capability, and this panel does not have it",
                hint="it can be asked again where it was asked, until the panel starts anew; a case has it for good",
                status=403,
            )
        url = f"{self._gateway}/v1/runs/{run}/influence"
        async with self._open("POST", url, canonical.decode(asked), headers) as response:
            raw = await self._read(response, self.config.max_view_bytes)
            self._refuse_error(response.status, raw)
            return raw

    def _capability(self, run: str) -> dict[str, str]:
        capability = self._capabilities.get(run)
        return {"x-holdfast-capability": capability} if capability else {}

    # ---- HTTP -----------------------------------------------------------------------------------------------------

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise UnavailableError("panel.not_started", "the panel has not started")
        return self._session

    def _headers(self) -> dict[str, str]:
        key = self.config.workspace_key
        return {"authorization": f"Bearer {key.reveal()}"} if key is not None else {}

    async def _get_json(self, url: str, *, who: str, auth: bool = False) -> Any:
        return canonical.decode(await self._get(url, who=who, auth=auth, limit_bytes=self.config.max_view_bytes))

    async def _get(
        self, url: str, *, who: str, auth: bool, limit_bytes: int, extra: Mapping[str, str] | None = None
    ) -> bytes:
        headers = (self._headers() if auth else {}) | dict(extra or {})
        node, started = who.removeprefix("the "), self.clock.monotonic()
        try:
            async with self._http().get(url, headers=headers, allow_redirects=False) as response:
                raw = await self._read(response, limit_bytes)
            self._refuse_error(response.status, raw)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.metrics.count("holdfast_panel_node_failures_total", node, "panel.silent")
            raise UnavailableError("panel.silent", f"{who} does not answer", hint="is it running? try again") from error
        except HoldfastError as error:
            self.metrics.count("holdfast_panel_node_failures_total", node, _known_code(error))
            raise
        self.metrics.observe("holdfast_panel_node_read_seconds", self.clock.monotonic() - started, node)
        return raw

    @contextlib.asynccontextmanager
    async def _open(
        self, method: str, url: str, body: Any, extra: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response from the gateway whose body may take as long as it keeps saying something."""
        silence = self.config.silence_timeout_ms / 1000
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.config.read_timeout_ms / 1000, sock_read=silence)
        data = None if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        headers = self._headers() | dict(extra or {})
        if data is not None:
            headers["content-type"] = "application/json"
        try:
            response = await self._http().request(
                method, url, data=data, headers=headers, timeout=timeout, allow_redirects=False
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError("panel.silent", "the gateway does not answer", hint="is it running?") from error
        try:
            yield response
        finally:
            response.close()

    async def _read(self, response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
        raw = bytearray()
        try:
            async for chunk in response.content.iter_any():
                raw += chunk
                if len(raw) > limit_bytes:
                    raise UnavailableError("panel.answer_size", f"an answer is larger than {limit_bytes} bytes")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnavailableError("panel.silent", "the gateway stopped in the middle of an answer") from error
        return bytes(raw)

    @classmethod
    def _refuse_error(cls, status: int, raw: bytes) -> None:
        """Raise what a node answered instead of what was asked for."""
        if status != 200:
            raise cls._refusal(status, raw)

    @staticmethod
    def _refusal(status: int, raw: bytes) -> HoldfastError:
        """What a node answered instead of what was asked for, in its own words."""
        if status == paying.PAYMENT_REQUIRED_STATUS:
            return paying.payment_refusal(raw)
        message, code, hint = f"the node answered with status {status}", "panel.upstream", ""
        with contextlib.suppress(MalformedError):
            value = canonical.decode(raw)
            error = value.get("error") if isinstance(value, dict) else None
            if isinstance(error, dict):
                message = str(error.get("message") or message)
                code = str(error.get("code") or code)
                hint = str(error.get("hint") or "")
        kind = RefusedError if 400 <= status < 500 else UnavailableError
        shown = {401: 502, 403: 502}.get(status, status if 400 <= status < 600 else 502)
        return kind(code, message, hint=hint, status=shown)

    @contextlib.contextmanager
    def count_stream(self) -> Iterator[None]:
        """Count one live stream while it lasts; raises ``panel.streams`` when there are too many."""
        if self.open_streams >= self.config.max_streams:
            raise UnavailableError("panel.streams", "too many live streams are open", hint="close a tab and try again")
        self._set_streams(self.open_streams + 1)
        try:
            yield
        finally:
            self._set_streams(self.open_streams - 1)

    def _set_streams(self, count: int) -> None:
        self.open_streams = count
        self.metrics.level("holdfast_panel_streams", count)

    @contextlib.asynccontextmanager
    async def _stream_slot(self) -> AsyncIterator[None]:
        with self.count_stream():
            yield


def _relay_of(config: PanelConfig, http: Callable[[], aiohttp.ClientSession]) -> RelayPass | None:
    if config.relay is None:
        return None
    return RelayPass(
        _base_url(config.relay, "relay"),
        config.relay_key,
        http,
        connect_s=config.read_timeout_ms / 1000,
        silence_s=config.silence_timeout_ms / 1000,
    )


def _base_url(url: str, param: str) -> str:
    """A node's base URL without a slash at its end. Raises ``panel.url``."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise UsageError("panel.url", f"{url!r} is no base URL like http://127.0.0.1:8500", param=param)
    return url.rstrip("/")


def _known_code(error: HoldfastError) -> str:
    """A label without bound would be a node's to fill; its own codes are counted as one."""
    return error.code if error.code.startswith("panel.") else "refused"


def _event(name: str, value: Any) -> bytes:
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
