"""The gateway's work: take a request, bind it, have it answered, bind the answer, and say all of that durably.

Order (``statement.md`` §4, ``parts.md`` §7), the same for whole answers and streams:

1. The request is parsed and committed; what it may cost is held (``till``), then an OPEN record is durable.
2. The upstream is called.
3. Streams: a mark is durable before the event that carries it leaves.
4. Route and execution statements are signed; a CLOSE record is durable.
5. The terminal frame leaves.

Whatever goes wrong after step 1 is closed by a signed statement too. What is still open when the process starts was
interrupted, and :meth:`Gateway.recover` says so. Not covered: HTTP (``app``), delivery and settlement (``outbox``,
``settlement``), and what a run looks like later (``evidence``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.core import canonical
from holdfast.core.admissions import require_fresh
from holdfast.core.attempts import SERVED
from holdfast.core.content_credentials import REWRITE as CREDENTIALS
from holdfast.core.dialects import known_names
from holdfast.core.dialects.openai import NAME as OPENAI
from holdfast.core.dialects.openai import PLAIN
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.messages import ENDPOINT as MESSAGES
from holdfast.core.messages.answer import shape_messages, to_message
from holdfast.core.opengradient import output_text
from holdfast.core.orders import Order
from holdfast.core.parts import Commitment, commit_parts, map_parts
from holdfast.core.sealing import seal_document, sealed_member
from holdfast.core.statements import COMMITMENT_SALT_BYTES, Execution, SealedPath, parse_envelope
from holdfast.errors import HoldfastError, MalformedError, UnavailableError, UsageError
from holdfast.nodes.gateway.admit_tool import (
    Call,
    OneEvent,
    answer_calls,
    as_event,
    calls_of,
    failed_call,
    message_of,
    without_tool,
)
from holdfast.nodes.gateway.admitting import (
    ESCAPED,
    PUT_IN,
    Admitting,
    Packed,
    Taken,
    pack,
    read_packed,
    tell_admitted,
    write_packed,
)
from holdfast.nodes.gateway.agents import Agents
from holdfast.nodes.gateway.attaching import Attached, Attaching, write_documents
from holdfast.nodes.gateway.caching import Cache, Kept
from holdfast.nodes.gateway.catalog import Catalog, Offer
from holdfast.nodes.gateway.computing import Computing, NodeOffer
from holdfast.nodes.gateway.imaging import Crediting, hold_images
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.ledger import CRASHED, SENT_LAST, Interrupted, Ledger, Place, ShownMark
from holdfast.nodes.gateway.opengradient import AnswerSigner, shape_answer, shape_stream
from holdfast.nodes.gateway.recalling import Carried, Recalling
from holdfast.nodes.gateway.remembering import INCOMPLETE, Remembering
from holdfast.nodes.gateway.request import Ask, BoundRequest, bind_again, bind_request, refuse_streamed
from holdfast.nodes.gateway.routing import Plan, Router, Routing
from holdfast.nodes.gateway.till import Closing, Visit, usage_of
from holdfast.nodes.gateway.traces import Traces
from holdfast.nodes.gateway.turn import (
    NOBODY,
    Identity,
    Opening,
    SignedStatement,
    StreamBinder,
    attach,
    attach_fields,
    chosen_policy,
    close_statements,
    disclosed_parts,
    follow_up,
    has_carrier,
    make_run_id,
    reader_of,
    sealed_body,
    signed_elsewhere,
    without_carriers,
)
from holdfast.nodes.gateway.vectors import hold_vectors
from holdfast.nodes.gateway.way import Way, first_reason
from holdfast.nodes.gateway.wraps import Wraps
from holdfast.nodes.messages import error_of
from holdfast.ports.clock import Clock
from holdfast.ports.upstream import UPSTREAM_ERRORS, EventStream, Upstream

_LOG = logging.getLogger("holdfast.gateway")
COMPLETE, UNFINISHED = "complete", "upstream.unfinished"
FROM_NODES = ("infer.", "model.", "models.")
"""Codes of what an inference node refused: about what was asked, and passed on as they are."""
_TOLD = ("upstream.", "gateway.credentials", *FROM_NODES)
"""Codes that an outcome tells as they are."""
_NO_REASON = b'{"choices":[{"index":0,"delta":{},"finish_reason":null}]}'
_NOTHING_MORE = {MESSAGES: b'{"type":"ping"}'}
"""An event that says nothing, to carry the end of a stream that did not say it itself."""
ENDED_IN_ORDER = (COMPLETE, UNFINISHED)
"""Outcomes of a stream that its upstream ended itself; unfinished: some choice never got a finish reason."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one run, seconds."""

    upstream_s: float
    idle_s: float
    mark_s: float
    runs_at_once: int


@dataclass(slots=True)
class Run:
    """One run under way."""

    ask: Ask
    bound: BoundRequest
    opening: Opening
    secret: bytes
    offer: Offer | NodeOffer
    """Who is turned to now."""
    plan: Plan
    """Whom it may be taken to."""
    way: Way = field(default_factory=Way)
    """Whom it was taken to."""
    closing: bool = False
    """Set before the closing record is written: from then on nothing may close the run otherwise."""
    closed: tuple[SignedStatement, SignedStatement] | None = None
    """The closing statements, once they are durable."""
    outcome: str = ""
    marks: list[ShownMark] = field(default_factory=list)
    """The first mark that left and the last."""
    taken: tuple[Taken, ...] = ()
    """What it was given before it began."""
    sent_again: bool = False
    """Whether what went upstream last is another document than its opening names."""
    admitted: list[SignedStatement] = field(default_factory=list)
    """The admissions that it names and what they combine, parents first."""
    attached: Attached | None = None
    """What its caller's files come to, where it brought any."""
    quotes: list[canonical.JSON] = field(default_factory=list)
    """What its answer repeats of them, once it is complete."""
    recalled: SignedStatement | None = None
    """What the memory node signed of the rows before the model, where there are any."""
    remembered: dict[str, canonical.JSON] | None = None
    """What became of what the user said, where it was handed over."""
    computed: SignedStatement | None = None
    """What the inference node signed of the answer, where one computed it."""
    blob: str | None = None
    """SHA-256 of the published blob, in mode ``individual``."""
    visit: Visit | None = None
    """Who pays for it; None where nothing costs anything."""
    cache_key: bytes | None = None
    """What its answer is kept under, where it is to be."""
    cached: Kept | None = None
    """The answer that is given again, where there is one."""

    @property
    def id(self) -> str:
        return self.opening.run


class Gateway:
    """Answers runs."""

    def __init__(
        self,
        identity: Identity,
        ledger: Ledger,
        indexer: Indexer,
        catalog: Catalog,
        clock: Clock,
        limits: Limits,
        *,
        random_bytes: Callable[[int], bytes],
        on_closed: Callable[[str, str], None],
        wraps: Wraps | None = None,
        answer_signer: AnswerSigner | None = None,
        computing: Computing | None = None,
        recalling: Recalling | None = None,
        remembering: Remembering | None = None,
        admitting: Admitting | None = None,
        routing: Routing | None = None,
        attaching: Attaching | None = None,
        crediting: Crediting | None = None,
        cache: Cache | None = None,
    ) -> None:
        self.identity = identity
        self.catalog = catalog
        self.limits = limits
        self._ledger = ledger
        self._indexer = indexer
        self._clock = clock
        self._random = random_bytes
        self._on_closed = on_closed
        self._admitting = admitting or Admitting(clock=clock)
        self._remembering = remembering or Remembering(None)
        self._attaching = attaching or Attaching()
        self._crediting = crediting or Crediting()
        self._cache = cache or Cache(clock)
        self._recalling = recalling or Recalling(None, lambda: None, clock)
        self.computing = computing or Computing((), lambda: None, clock)
        self._router = Router(catalog, self.computing, clock, routing or Routing())
        self._answer_signer = answer_signer
        self._wraps = wraps or Wraps({}, lambda: None, clock, lambda *_: b"")
        self.agents = Agents(
            identity, ledger, indexer, clock, random_bytes=random_bytes, on_closed=on_closed, wraps=self._wraps
        )
        self.traces = Traces(self.agents, indexer)
        self.under_way = 0
        """Runs that are open now."""

    # Opening

    async def open(
        self,
        ask: Ask,
        workspace: str,
        requester: str | None = None,
        path: SealedPath | None = None,
        visit: Visit | None = None,
    ) -> Run:
        """Find who answers, bind the request and make the run durable. Raises ``request.*``, ``gateway.busy`` or
        ``gateway.sealed``, and where something is to be paid what :meth:`Visit.admit` and :meth:`Visit.hold` raise.
        ``path`` says how the request came sealed, where it did.

        ``requester`` is the person whose key asks; it is kept where the run names a queue, for nobody else asks for it.
        """
        if self.under_way >= self.limits.runs_at_once:
            raise UnavailableError("gateway.busy", "too many runs are under way", hint="try again in a moment")
        self.under_way += 1  # from here on, for what is asked of memory and data nodes takes its time
        try:
            async with self.agents.child(ask.options.parent_run, workspace, sealed=path is not None) as joined:
                run, packed, carried = await self._begin(ask, workspace, requester, path, visit)
                joined(run.id)
        except BaseException:
            self.under_way -= 1
            raise
        await self._keep_admitted(run, packed)
        if carried is not None:
            await self._keep(run, carried)
        return run

    async def _begin(
        self, ask: Ask, workspace: str, requester: str | None, path: SealedPath | None, visit: Visit | None
    ) -> tuple[Run, Sequence[Packed], Carried | None]:
        """The run once its opening is durable, and what of its memory and admissions has yet to be."""
        plan = await self._router.plan(ask, workspace)
        if ask.streamed:
            refuse_streamed(policy for _, policy in plan.force.policies)
        offer = plan.first
        hidden = ask.options.settlement == "private" or path is not None
        self._cache.require(ask, hidden=hidden, paid=visit is not None)
        if visit is not None:
            await visit.admit(ask, offer.model.id)
        now = self._clock.now()
        private = ask.options.settlement == "private"
        timed = not private and path is None
        run = make_run_id(int(now.timestamp() * 1000), self._random(16), timed=timed)
        secret = self._random(32)
        named = ask.options.queue is not None or self.agents.is_reviewed(ask.options.parent_run)
        reviewed = named and not private
        wrap = self._wraps.make(workspace, run, secret) if reviewed else None
        if ask.options.sealed and wrap is None:
            raise UsageError(
                "gateway.sealed",
                "nobody could open a sealed answer: this workspace has no panel that trust admits and that has a key",
                hint="name the panel's key document in the workspace's settings, or ask without sealed",
            )
        carried = await self._recalling.carry(ask, run, secret, coarse=private or path is not None)
        blocks = () if carried is None else carried.blocks
        taken = await self._admitting.take(ask.options.admissions, workspace)
        taken = await self._admitting.intend(workspace, ask.value, taken)
        attached = None
        if ask.endpoint == "chat.completions":  # files of other shapes are for their own readers to take or refuse
            attached = await self._attaching.take(ask.value, workspace, sealed=path is not None)
        bound = bind_request(
            ask,
            run,
            secret,
            offer.provider_model,
            paid=visit is not None,
            blocks=blocks,
            taken=taken,
            dialect=offer.upstream.dialect if isinstance(offer, Offer) else PLAIN,
            attached=attached,
            credited=self._crediting.wanted(ask, hidden=hidden),
        )
        key = self._cache.key(ask, workspace, bound, offer) if plan.force.may_cache and not taken else None
        cached = self._cache.find(key)
        opening = Opening(
            run=run,
            opened_at=time_encode(now if path is None else now.replace(second=0, microsecond=0)),
            workspace=workspace,
            endpoint=ask.endpoint,
            streamed=ask.streamed,
            settlement=ask.options.settlement,
            nonce=ask.options.nonce,
            parent_run=ask.options.parent_run,
            request=bound.request.tree,
            sent=bound.sent.tree,
            rewrites=tuple(sorted(bound.rewrites)),
            upstream=offer.upstream.code,
            reader=reader_of(bound.key),
            queue=ask.options.queue,
            requester=requester if ask.options.queue is not None else None,
            wrap=wrap,
            sealed=ask.options.sealed,
            subject=ask.options.subject,
            path=path,
            recall=carried.digest if carried is not None else None,
            admissions=tuple(sorted(item.digest for item in taken)),
            ignored=known_names(bound.ignored),
            policy=chosen_policy(plan.force, bound.key, told=not private),
            budget=visit.budget() if visit is not None and self.agents.budgets.of(ask.options.parent_run) else None,
            begins=NOBODY if cached is not None else first_reason(balanced=plan.balanced),
        )
        if taken:
            opening = replace(opening, admitted_at=time_encode(opening.claim(self._clock.now())))
        packed = pack(taken, bound.key, private=private)
        if ask.options.admit is not None and not self._admitting.reachable:
            raise UsageError("request.admit", "this gateway knows no data node to ask", param="holdfast.admit")
        kept = b"" if private else seal_document(bound.key, "request", ask.text)
        shown = b"" if wrap is None else canonical.encode_known(disclosed_parts("request", bound.request))
        told = blocks or taken or attached or ESCAPED in bound.rewrites or bound.dialect.name != OPENAI
        sent = b"" if private or not told else seal_document(bound.key, "sent", bound.sent_text)
        read = b""
        if attached is not None and attached.files and not private:
            read = seal_document(bound.key, "files", write_documents(attached.files))
        self.agents.budgets.hold(run, opening.parent_run, opening.budget)
        try:
            if visit is not None:
                await visit.hold(opening)
            place = await self._write_opening(opening, kept, shown, visit, sent, write_packed(packed), read)
        except BaseException:
            self.agents.budgets.release(run)
            raise
        self._indexer.opened(opening, place.start)
        self.catalog.busy[offer.upstream.code] += 1
        under_way = Run(ask, bound, opening, secret, offer, plan, visit=visit, taken=taken, attached=attached)
        under_way.cache_key, under_way.cached = key, cached
        return under_way, packed, carried

    async def _keep_admitted(self, run: Run, packed: Sequence[Packed]) -> None:
        """Make a record of its own of each admission, so that the log has it before the route; a run for which that
        fails is over, and whoever closes it finds them in its opening."""
        try:
            await self._add_admitted(run, packed)
        except BaseException as error:
            await self._close(run, Execution("failed", outcome_of(error), None, None, run.offer.upstream.code))
            raise

    async def _add_admitted(self, run: Run, packed: Sequence[Packed]) -> None:
        for item in packed:
            signed = signed_elsewhere(
                item.envelope, parse_envelope(item.envelope).digest, run.opening, run.bound.key, "admission"
            )
            at = run.opening.stamp(self._clock.now())
            place = await self._ledger.add(run.id, at, signed, item.evidence, item.kept)
            await self._indexer.added(run.id, place.start)
            run.admitted.append(signed)

    async def _keep(self, run: Run, carried: Carried) -> None:
        """Make durable what the memory node signed; a run for which that fails is over."""
        delivery = carried.delivery
        signed = signed_elsewhere(delivery.envelope, carried.digest, run.opening, run.bound.key, "recall")
        shown = canonical.encode(delivery.attestation.to_json()) if delivery.attestation is not None else b""
        opening = None if run.opening.settlement == "private" else carried.opening
        try:
            place = await self._ledger.add(run.id, run.opening.stamp(self._clock.now()), signed, shown, recall=opening)
            await self._indexer.added(run.id, place.start)
        except BaseException as error:
            run.opening = replace(run.opening, recall=None)  # what is not durable is not named
            await self._close(run, Execution("failed", outcome_of(error), None, None, run.offer.upstream.code))
            raise
        run.recalled = signed

    async def _write_opening(
        self,
        opening: Opening,
        kept: bytes,
        shown: bytes,
        visit: Visit | None,
        sent: bytes,
        admitted: bytes,
        read: bytes,
    ) -> Place:
        """Make a run durable, and beside it what is held for it; a run that is not begun costs nothing."""
        self._indexer.opening(opening.run)
        try:
            writing = self._ledger.open_run(opening, kept, shown, sent, admitted, read)
            return await writing if visit is None else (await asyncio.gather(writing, visit.durable()))[0]
        except BaseException as error:
            if visit is not None:
                visit.abandon(opening.run)
            if isinstance(error, UsageError):
                self._indexer.unopened(opening.run)
            raise

    # Whole answers

    async def answer(self, run: Run) -> bytes:
        """The answer's body with its ``holdfast`` member. Raises what the upstream raised, after signing that."""
        try:
            text = await self._whole(run) if run.cached is None else run.cached.text
            came = text
            if run.opening.admissions:
                text = tell_admitted(text, run.opening.admissions)
            value = canonical.decode_exact(text)
            if isinstance(value, dict) and has_carrier(value):
                value = without_carriers(value)
                text = canonical.encode_exact(value)
            hold_images(run.ask, value)
            if not isinstance(run.offer, NodeOffer):
                hold_vectors(run.ask, value)
            if CREDENTIALS in run.opening.rewrites:
                upstream = run.offer.upstream.code
                value = await self._crediting.credit(value, run.id, self.identity.attester, upstream)
                hold_images(run.ask, value)
                text = canonical.encode_exact(value)
            if run.ask.signed is not None:
                value = shape_answer(run.ask.endpoint, value)
                text = canonical.encode_exact(value)
            elif run.ask.endpoint == MESSAGES:
                value = to_message(value)
                text = canonical.encode_exact(value)
            response = commit_parts("response", map_parts("response", value), run.bound.key)
            signature = await self._sign_answer(run, value)
        except asyncio.CancelledError:
            await self._close(run, Execution("failed", "client.disconnected", None, None, run.offer.upstream.code))
            raise
        except Exception as error:
            await self._close(run, Execution("failed", outcome_of(error), None, None, run.offer.upstream.code))
            raise fault_of(error) from error
        execution = Execution("generated", COMPLETE, response.tree, None, run.offer.upstream.code)
        if run.attached is not None:
            run.quotes = await asyncio.to_thread(run.attached.quotes, value)
        sealed = await self._close(run, execution, text, response, usage_of(value))
        if run.cached is None and run.offer is run.plan.first and len(run.way.made) == 1:
            self._cache.keep(run.cache_key, run.id, came)
        await self._remember(run)
        if run.opening.sealed:
            return sealed_body(self.carrier(run, sealed=sealed))
        return attach(attach_fields(text, signature), self.carrier(run))

    async def _sign_answer(self, run: Run, document: Mapping[str, Any]) -> Mapping[str, str | int]:
        """OpenGradient's signature over an answer that is complete; nothing for callers that did not ask for it."""
        if run.ask.signed is None or self._answer_signer is None:
            return {}
        return await self._answer_signer.sign_answer(run.ask.signed, output_text(run.ask.endpoint, document))

    async def _compute(self, run: Run, offer: NodeOffer) -> bytes:
        """Have an inference node compute the answer, and make durable what it signed. Returns the answer's text."""
        run.way.turn_to(offer.upstream.code)
        try:
            delivery = await offer.upstream.compute(order_of(run), timeout_s=self.limits.upstream_s)
        except HoldfastError as error:
            run.way.failed(error, outcome_of(error))
            raise
        statement = self.computing.check(order_of(run), run.bound.sent.tree, delivery)
        signed = signed_elsewhere(delivery.envelope, statement.digest, run.opening, run.bound.key)
        evidence = delivery.attestation
        shown = canonical.encode(evidence.to_json()) if evidence is not None else b""
        place = await self._ledger.add(run.id, run.opening.stamp(self._clock.now()), signed, shown)
        await self._indexer.added(run.id, place.start)
        run.computed = signed
        return delivery.text

    async def _whole(self, run: Run) -> bytes:
        """The upstream's answer, after as many turns as its model asked for facts in."""
        offer, taken = run.ask.options.admit, list(run.taken)
        left = offer.most if offer is not None else 0
        while True:
            text = await self._complete(run)
            answer = canonical.decode_exact(text) if offer is not None else None
            calls = calls_of(answer, offer) if offer is not None and left else []
            message = message_of(answer)
            if not calls or message is None:
                return text
            contents = []
            for call in calls:
                content = await self._call(run, call, taken) if left else failed_call("admit.most")
                left = max(left - 1, 0)
                contents.append((call.id, content))
            sent = answer_calls(run.bound.document, message, contents)
            self._send_again(run, sent if left else without_tool(sent), taken)

    async def _call(self, run: Run, call: Call, taken: list[Taken]) -> str:
        """What comes of one call: a block, or why there is none. What was admitted is durable before it is told."""
        if call.question is None:
            return failed_call("admit.question")
        try:
            found = await self._admitting.ask(call.question)
            for earlier in taken:
                require_fresh(earlier.opened.document, self._clock.now())
        except HoldfastError as error:
            return failed_call(error.code)
        if all(found.digest != earlier.digest for earlier in taken):
            taken.append(found)
            packed = pack([found], run.bound.key, private=run.opening.settlement == "private")
            await self._add_admitted(run, packed)  # who waits for the answer closes the run where this fails
        return found.block

    def _send_again(self, run: Run, sent: dict[str, Any], taken: Sequence[Taken]) -> None:
        """The document of the next turn, and what the route will say of it."""
        run.bound = bind_again(run.bound, sent, [PUT_IN] if taken else [])
        run.opening = replace(
            run.opening,
            sent=run.bound.sent.tree,
            rewrites=tuple(sorted(run.bound.rewrites)),
            ignored=known_names(run.bound.ignored),
            admissions=tuple(sorted(item.digest for item in taken)),
            admitted_at=time_encode(run.opening.claim(self._clock.now())) if taken else None,
        )
        run.sent_again = True

    async def _complete(self, run: Run) -> bytes:
        if isinstance(run.offer, NodeOffer):
            return await self._compute(run, run.offer)
        path, ends = run.bound.path, self._clock.monotonic() + self.limits.upstream_s
        while True:
            upstream = await self._turn_to(run)
            try:
                left_s = ends - self._clock.monotonic()
                return (await upstream.complete(path, run.bound.sent_text, timeout_s=left_s)).body
            except UPSTREAM_ERRORS as error:
                if not await self._go_on(run, error, ends):
                    raise

    async def _turn_to(self, run: Run) -> Upstream:
        """The upstream that is turned to now, of a run that no inference node computes. Beyond the first, which the
        opening names, it is durable before anything is sent."""
        if isinstance(run.offer, NodeOffer):
            raise UsageError("request.stream", "what a model computes comes in one piece", param="stream")
        run.way.turn_to(run.offer.upstream.code, balanced=run.plan.balanced)
        if run.way.made:
            await self._ledger.turned(run.id, run.way.to_json())
        return run.offer.upstream

    async def _go_on(self, run: Run, error: Exception, ends: float) -> bool:
        """After a failure before the answer began: whether anybody may be turned to, who then is the run's offer."""
        run.way.failed(error, outcome_of(error))
        left_s = ends - self._clock.monotonic()
        offer = await self._router.goes_on(
            run.plan, run.way, error, left_s, lambda other: takes_the_same(run.bound, other)
        )
        if offer is None:
            return False
        self.catalog.busy[run.offer.upstream.code] -= 1
        self.catalog.busy[offer.upstream.code] += 1
        run.offer = offer
        return True

    # Streams

    async def stream(self, run: Run) -> AsyncIterator[bytes]:
        """The payloads of a streamed answer's events, marks and carrier fields in place.

        The first ``__anext__`` raises what the upstream raised before its first event. Later failures become a last
        event with an ``error`` member. The last payload is the terminal frame: when it is yielded the closing statement
        is durable. Closing the iterator early signs that the client went away.
        """
        binder = StreamBinder(run.bound.key, run.id, run.ask.endpoint)
        events: EventStream | None = None
        held: bytes | None = None
        began = told = False
        try:
            events, payload = await self._first_event(run)
            while payload is not None:
                if held is not None:
                    ready = await self._marked(run, binder, held, carried=True)
                    began = True  # before the yield: once it is handed over, it may have been seen
                    yield ready
                    held = None
                if run.opening.admissions and not told:
                    payload, told = tell_admitted(payload, run.opening.admissions), True
                text, carried = binder.add(payload)
                if binder.finished:
                    held = text
                else:
                    ready = await self._marked(run, binder, text, carried=carried)
                    began = True
                    yield ready
                payload = await anext(events, None)
            yield await self._last_frame(run, binder, held)
        except (GeneratorExit, asyncio.CancelledError):
            await asyncio.shield(self._cut(run, binder, "client.disconnected", began=began))
            raise
        except Exception as error:
            await self._cut(run, binder, outcome_of(error), began=began)
            fault = fault_of(error)
            if not began or not isinstance(fault, HoldfastError):
                raise fault from error
            yield self._error_frame(run, fault)
        finally:
            if events is not None:
                await events.aclose()

    async def _first_event(self, run: Run) -> tuple[EventStream, bytes | None]:
        if run.cached is not None:
            again: EventStream = OneEvent(as_event(run.cached.text))
            return again, await anext(again, None)
        if run.ask.options.admit is not None:
            whole: EventStream = OneEvent(as_event(await self._whole(run)))
            return whole, await anext(whole, None)
        ends = self._clock.monotonic() + self.limits.upstream_s
        while True:
            upstream = await self._turn_to(run)
            events = upstream.stream(
                run.bound.path,
                run.bound.sent_text,
                timeout_s=ends - self._clock.monotonic(),
                idle_timeout_s=self.limits.idle_s,
            )
            if run.ask.signed is not None or "usage-asked" in run.bound.rewrites:
                events = shape_stream(run.ask.endpoint, events)
            if run.ask.endpoint == MESSAGES:
                events = shape_messages(events)
            try:
                return events, await anext(events, None)
            except UPSTREAM_ERRORS as error:
                await events.aclose()
                if not await self._go_on(run, error, ends):
                    raise
            except BaseException:
                await events.aclose()
                raise

    async def _marked(self, run: Run, binder: StreamBinder, text: bytes, *, carried: bool) -> bytes:
        """An event's text, with a mark when one is due and durable."""
        now = self._clock.monotonic()
        if not binder.mark_due(now, self.limits.mark_s, carried=carried):
            return text
        mark = await self._mark(run, binder, now)
        first = {"route": self._told_route(run)} if mark["seq"] == 1 else {}
        return attach(text, canonical.encode_known({"run": run.id, "mark": mark, **first}))

    @staticmethod
    def _told_route(run: Run) -> dict[str, canonical.JSON]:
        """Who serves, and every attempt: told with the first that is seen of an answer, before any statement."""
        told: dict[str, canonical.JSON] = {"upstream": run.offer.upstream.code, "attempts": [*run.way.to_json()]}
        return told if run.cached is None else {**told, "cached": True, "cached_run": run.cached.run}

    async def _mark(self, run: Run, binder: StreamBinder, now: float) -> dict[str, canonical.JSON]:
        mark = binder.seal(now)
        signature = self.identity.signer.sign(mark.message(run.id))
        shown = ShownMark(run.opening.stamp(self._clock.now()), mark.to_json(signature))
        await self._ledger.mark(run.id, shown)
        run.marks[1:] = [shown]
        return shown.mark

    async def _last_frame(self, run: Run, binder: StreamBinder, held: bytes | None) -> bytes:
        if held is None:  # the upstream said that it is done before any choice had a finish reason
            held, _ = binder.add(_NOTHING_MORE.get(run.ask.endpoint, _NO_REASON))
        mark = await self._mark(run, binder, self._clock.monotonic())
        response, text = binder.response()
        reference = binder.reference()
        outcome = COMPLETE if binder.finished else UNFINISHED
        signature = await self._sign_answer(run, binder.fold.document()) if binder.finished else {}
        execution = Execution("generated", outcome, response.tree, reference, run.offer.upstream.code)
        if run.attached is not None:
            run.quotes = await asyncio.to_thread(run.attached.quotes, binder.fold.document())
        await self._close(run, execution, text, response, usage_of(binder.fold.document()))
        if outcome == COMPLETE:
            await self._remember(run)
        return attach(attach_fields(held, signature), self.carrier(run, mark))

    async def _cut(self, run: Run, binder: StreamBinder, outcome: str, *, began: bool) -> None:
        """Close a stream that did not reach its end: what was generated is bound, as far as it came."""
        if run.closing:
            return
        upstream = run.offer.upstream.code
        if not began:
            await self._close(run, Execution("failed", outcome, None, None, upstream))
            return
        try:
            response, text = binder.response()
        except MalformedError:  # what was passed on cannot be bound as one document: only its marks can
            await self._close(run, Execution("interrupted", outcome, None, binder.reference(), upstream))
            return
        execution = Execution("generated", outcome, response.tree, binder.reference(), upstream)
        await self._close(run, execution, text, response, usage_of(binder.fold.document()))

    def _error_frame(self, run: Run, error: HoldfastError) -> bytes:
        shown = error.to_json() if run.ask.endpoint != MESSAGES else error_of(error)
        return attach(canonical.encode_known(shown), self.carrier(run))

    # Closing

    async def _close(
        self,
        run: Run,
        execution: Execution,
        text: bytes = b"",
        response: Commitment | None = None,
        usage: Mapping[str, int] | None = None,
    ) -> bytes:
        """Sign route and execution and make them durable; the run is over. Returns the answer as it is stored: under
        its run's secret, or nothing. ``usage`` is what the answer says it used."""
        now = self._clock.now()
        opening = run.opening
        statements = close_statements(
            self.identity,
            opening,
            execution,
            now=now,
            attempts=run.way.told(SERVED if execution.outcome in ENDED_IN_ORDER else execution.outcome),
            key=run.bound.key,
            computed=run.computed.digest if run.computed is not None and execution.response is not None else None,
            cached_run=run.cached.run if run.cached is not None else None,
        )
        published = b""
        if opening.settlement == "individual" and text:
            published = _publication(run, text)
            run.blob = sha256_hex(published)
        sealed = seal_document(run.bound.key, "response", text) if text and opening.settlement != "private" else b""
        again = run.sent_again and opening.settlement != "private"
        sent = seal_document(run.bound.key, SENT_LAST, run.bound.sent_text) if again else b""
        shown = b""
        if response is not None and opening.wrap is not None:
            shown = canonical.encode_known(disclosed_parts("response", response))
        run.closing = True
        self.under_way -= 1
        self.catalog.busy[run.offer.upstream.code] -= 1
        closed_at = opening.stamp(now)
        used = usage if run.visit is not None else None
        try:
            place = await self._ledger.close_run(
                opening,
                closed_at,
                execution.outcome,
                statements,
                marks=run.marks,
                sealed=sealed,
                published=published,
                disclosed=shown,
                usage=used,
                sealed_sent=sent,
            )
        except UsageError as error:
            if error.code != "wal.record_size":
                raise
            _LOG.warning("the answer of run %s is too large to be kept: only its statements are", run.id)
            run.blob = None
            place = await self._ledger.close_run(opening, closed_at, execution.outcome, statements, usage=used)
        run.closed, run.outcome = statements, execution.outcome
        self.agents.budgets.settle(run.id, used)
        self._indexer.changed(run.id, outcome=execution.outcome, closed_at=closed_at, close_place=place.start)
        self._on_closed(run.id, execution.outcome)
        if run.visit is not None:
            run.visit.closed(Closing(run.id, statements[1].digest, execution.response, used))
        return sealed

    async def disconnected(self, run: Run) -> None:
        """The client went away before the terminal frame was written: a follow-up statement."""
        if run.closed is None:
            return
        closing = run.closed[1].digest
        upstream = run.offer.upstream.code
        now = self._clock.now()
        signed = follow_up(self.identity, run.opening, closing, upstream, now=now, key=run.bound.key)
        place = await self._ledger.follow_up(run.id, run.opening.stamp(now), signed.envelope, signed.entry)
        self._indexer.changed(run.id, follow_place=place.start)
        self._on_closed(run.id, "client.disconnected")

    async def _remember(self, run: Run) -> None:
        """Hand over what the user said, where the request asks for it: the run is closed, and the answer stands."""
        run.remembered = await self._remembering.remember(run.ask, run.id)

    def carrier(self, run: Run, mark: dict[str, canonical.JSON] | None = None, *, sealed: bytes = b"") -> bytes:
        """The ``holdfast`` member of an answer: what a caller needs to ask, read and verify later. ``sealed`` is the
        answer under its run's secret, which a caller that gets it so does not get."""
        value: dict[str, canonical.JSON] = {
            "run": run.id,
            "attester": self.identity.attester,
            "settlement": run.opening.settlement,
            "outcome": run.outcome,
            "route": self._told_route(run),
        }
        if run.opening.sealed:
            value["sealed"] = {**sealed_member(sealed)}
        else:
            value["capability"] = run.secret.hex()
        if run.opening.queue is not None:
            value["queue"] = run.opening.queue
        if run.closed is not None:
            others = [item for item in (*run.admitted, run.recalled, run.computed) if item is not None]
            told = (*others, *run.closed)
            value["statements"] = [{"kind": item.kind, "digest": item.digest} for item in told]
        memory = run.ask.options.memory
        if run.closed is not None and memory is not None and memory.remember:
            value["memory"] = run.remembered or INCOMPLETE
        if run.attached is not None and not run.opening.sealed:
            value["files"] = run.attached.to_json()
            value["quotes"] = run.quotes
            value["annotations"] = run.attached.annotations(run.quotes)
        if mark is not None:
            value["mark"] = mark
        if run.bound.ignored:
            value["ignored"] = list(run.bound.ignored)
        if run.blob is not None:
            value["blob"] = run.blob
            value["warning"] = "individual settlement publishes the whole request and answer, permanently"
        return canonical.encode_known(value)

    # Recovery

    async def recover(self) -> int:
        """Close what an earlier process left open: signed "interrupted at mark n". Returns how many there were. Agent
        runs go on."""
        waiting = self.agents.restore(self._ledger.unclosed())
        for interrupted in waiting:
            await self._close_interrupted(interrupted)
        if waiting:
            _LOG.warning("%d runs were interrupted and are closed now", len(waiting))
        return len(waiting)

    async def _close_interrupted(self, interrupted: Interrupted) -> None:
        opening = interrupted.known
        now = self._clock.now()
        for item in read_packed(interrupted.admitted):
            digest = parse_envelope(item.envelope).digest
            if digest not in interrupted.added:
                key = self.identity.signer.sign(item.envelope)[:COMMITMENT_SALT_BYTES]
                signed = signed_elsewhere(item.envelope, digest, opening, key, "admission")
                await self._ledger.add(opening.run, opening.stamp(now), signed, item.evidence, item.kept)
        attempts = interrupted.attempts
        upstream = attempts[-1].upstream if attempts else opening.upstream
        execution = Execution("interrupted", CRASHED, None, interrupted.reference(), upstream)
        statements = close_statements(self.identity, opening, execution, now=now, attempts=attempts)
        marks = interrupted.marks
        await self._ledger.close_run(opening, opening.stamp(now), execution.outcome, statements, marks=marks)


def order_of(run: Run) -> Order:
    """What an inference node is handed of a run."""
    bound, opening = run.bound, run.opening
    document = "request" if bound.sent is bound.request else "sent"
    return Order(
        run.id,
        run.ask.endpoint,
        document,
        bound.sent_text,
        bound.key,
        opening.coarse,
        opening.nonce,
        opening.parent_run,
    )


def takes_the_same(bound: BoundRequest, offer: Offer | NodeOffer) -> bool:
    """Whether an upstream takes the very bytes that were bound, and heeds as much of them."""
    if isinstance(offer, NodeOffer):
        return False
    try:
        prepared = offer.upstream.dialect.prepare(bound.endpoint, bound.document)
    except UsageError:  # it cannot be asked this at all
        return False
    return (prepared.document, prepared.path, bound.ignoring(prepared)) == (bound.sent_value, bound.path, bound.ignored)


def outcome_of(error: BaseException) -> str:
    """The outcome code of an execution that ended in an error: upstream codes as they are, what cannot be bound as
    protocol, and a bug of ours as that."""
    if isinstance(error, HoldfastError) and error.code.startswith(_TOLD):
        return error.code
    return "upstream.protocol" if isinstance(error, HoldfastError) else "gateway.error"


def fault_of(error: Exception) -> Exception:
    """The error as the caller gets it: what the upstream sent and cannot be bound is not the caller's mistake."""
    if isinstance(error, MalformedError) and not error.code.startswith(FROM_NODES):
        message = f"the upstream's answer cannot be bound: {error.message}"
        return MalformedError("upstream.protocol", message, status=502)
    return error


def _publication(run: Run, text: bytes) -> bytes:
    """What mode ``individual`` publishes: both documents and the run secret, so that anybody can check them."""
    return canonical.encode_known(
        {
            "type": "urn:holdfast:publication:v1",
            "run": run.id,
            "secret": run.secret.hex(),
            "request": run.ask.text.decode(),
            "response": text.decode(),
        }
    )
