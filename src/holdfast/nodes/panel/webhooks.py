"""Sends webhooks: follows the journal of cases and posts what the gate let through to the endpoints of its queue.

Rules (``spec/webhook.md``):

* The journal is the source. Its events are followed in order with a cursor that is written together with the
  deliveries that follow from them, so a crash makes none twice and loses none. A crash between sending and noting it
  sends once more, under the same ``webhook-id``.
* Before every attempt to say that a case is let through, the desk appraises it again and asks the gate. What is no
  longer let through is dropped, with a note.
* Each endpoint is served apart from all others.
* Redirects are not followed; an answer's body is read up to a bound and kept up to a short note.
* 410 disables an endpoint until a person enables it. What was given up stays in a list, and a person can replay it.

Not covered: what a receiver does. Addresses come from the panel's settings alone, so whoever writes those says where
this process connects to.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from holdfast.core.encoding import time_decode, time_encode
from holdfast.errors import ConflictError, MalformedError, UnavailableError, UsageError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.cases import refuse_forgery, refuse_other_sites
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.people import ActRoute, PanelPeople, caller, person_actor, require_person
from holdfast.nodes.panel.review import Review
from holdfast.ports.case_store import CaseStore, StoredEvent
from holdfast.ports.clock import Clock
from holdfast.ports.http import HTTP, Answer
from holdfast.ports.webhook_store import Cursor, Delivery, HookRow, NewDelivery, Outcome, Stands, WebhookStore
from holdfast.review.events import STATE_OF, SYSTEM, Actor, parse_event
from holdfast.review.taken import TakenAct, taken_acts
from holdfast.review.webhooks import (
    Hook,
    Limits,
    build_deliveries,
    cases_of,
    check_hooks,
    check_may,
    describe_answer,
    follow,
    headers,
    parse_hook,
    pause_s,
    retry_after_s,
    shorten_note,
    still_holds,
)
from holdfast.review.work import rows_by_id

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_LOG = logging.getLogger("holdfast.panel.webhooks")
PAGE = 200
"""Events of the journal followed at once."""
FOLLOW_S = 0.1
"""Longest wait before the journal is looked at again."""
STORED_EVERY = 1_000
"""Events that say nothing to anybody after which the cursor is written all the same."""
MAX_ANSWER_BYTES = 65_536
"""Largest answer read from an endpoint; a larger one counts as none."""
LONGEST_REST_S = 60.0
"""Longest rest of an endpoint's turn: the clock of the machine may be set meanwhile."""
TIDY_S = 15.0
"""How often what waits is counted and old deliveries are removed."""
PRUNED_AT_ONCE = 500
"""Old deliveries removed in one go."""
MAX_LISTED = 100
"""Deliveries in one answer."""
_ID = re.compile(r"[0-9a-f]{64}\Z")
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,14})\Z")


@dataclass(frozen=True, slots=True)
class _Page:
    """Events of the journal and what is needed to tell of them."""

    events: Sequence[StoredEvent]
    rows: Mapping[str, tuple[str, str]]
    """By case: its queue and run."""
    vectors: Mapping[tuple[str, str], bytes]
    """By case and digest."""
    acts: Mapping[str, TakenAct]
    """By case: acts that somebody took."""

    @property
    def end(self) -> Cursor:
        last = self.events[-1]
        return Cursor(last.seq, last.digest)


@dataclass(slots=True)
class _Endpoint:
    """One endpoint while the panel runs."""

    hook: Hook
    row: HookRow
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    in_hand: set[int] = field(default_factory=set)
    failing: bool = False
    """The last attempt failed: then there is one at a time."""
    not_before: float = 0.0
    """Monotonic moment before which it asked not to be called."""
    trouble: str = ""
    """Why the last attempt failed."""


class Webhooks:
    """All endpoints of one panel. :meth:`run` serves them for as long as the panel; ``store`` is closed at the end."""

    def __init__(
        self,
        review: Review,
        journal: CaseStore,
        store: WebhookStore,
        hooks: Sequence[Hook],
        http: HTTP,
        clock: Clock,
        limits: Limits,
        jitter: Callable[[], float],
    ) -> None:
        self._review = review
        self._journal = journal
        self._store = store
        self._hooks = {hook.id: hook for hook in hooks}
        self._queues = {hook.queue for hook in hooks}
        self._http = http
        self._clock = clock
        self._limits = limits
        self._jitter = jitter
        self._worker = ThreadPoolExecutor(1, "holdfast-webhooks")
        self._endpoints: dict[str, _Endpoint] = {}
        self._stored = Cursor()
        """As it is written."""
        self._cursor = Cursor()
        """As it was read; what lies between the two said nothing to anybody."""

    async def _call(
        self, function: Callable[Parameters, Result], *arguments: Parameters.args, **named: Parameters.kwargs
    ) -> Result:
        """Run something on the store's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, partial(function, *arguments, **named))

    async def close(self) -> None:
        """Let go of the store."""
        await self._call(self._store.close)
        self._worker.shutdown()

    def _now(self) -> str:
        return time_encode(self._clock.now())

    def _later(self, seconds: float) -> str:
        return time_encode(self._clock.now() + dt.timedelta(seconds=seconds))

    # Running

    async def run(self) -> None:
        """Follow and send, for ever."""
        await self.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="webhooks-follow")
            tasks.create_task(self._tidy(), name="webhooks-tidy")
            for endpoint in self._endpoints.values():
                tasks.create_task(self._serve(endpoint), name=f"webhooks-{endpoint.hook.queue}")

    async def start(self) -> None:
        """Read how far it was, and make new endpoints known: they are told of what happens from now on."""
        head = (await self._review.call(self._review.desk.head, SYSTEM)).seq
        self._cursor = self._stored = await self._call(self._store.cursor)
        for hook in self._hooks.values():
            row = await self._call(self._store.register, hook.id, head)
            self._endpoints[hook.id] = _Endpoint(hook, row)
            if row.disabled_at is not None:
                _LOG.warning("the webhook %s is disabled: %s", hook.endpoint, row.note)

    # Following the journal

    async def _follow(self) -> None:
        while True:
            changed = self._review.changed
            if not await self.follow_once():
                await self._first(FOLLOW_S, changed)

    async def follow_once(self) -> bool:
        """Take in one page of the journal; returns whether there may be more right away. Raises ``webhook.journal``
        when it is not the journal that was followed before."""
        page = await self._review.call(self._read, self._cursor)
        if not page.events:
            return False
        told_of = await self._call(self._take_in, page)
        for hook in told_of:
            self._endpoints[hook].wake.set()
        return len(page.events) == PAGE

    def _read(self, cursor: Cursor) -> _Page:
        """On the desk's thread: the next events, and what is kept with them."""
        with self._journal.read() as reader:
            if cursor.seq == 0:
                events = reader.events(0, PAGE)
            else:
                found = reader.events(cursor.seq - 1, PAGE + 1)
                if not found or found[0].digest != cursor.digest:
                    raise ConflictError(
                        "webhook.journal",
                        f"event {cursor.seq} of this journal is not the one that webhooks were sent for",
                        hint="restore the journal and the webhooks' database together, or remove the latter",
                    )
                events = found[1:]
            cases = rows_by_id(reader, cases_of(events))
            rows = {row.case: (row.queue, row.run) for row in cases.values()}
            acts = {act.case: act for act in taken_acts(reader, cases)}
            vectors = {}
            for event in events:
                if event.kind in STATE_OF and event.case in rows and rows[event.case][0] in self._queues:
                    digest = _lanes_of(event)
                    raw = reader.blob(event.case, digest) if digest is not None else None
                    if digest is not None and raw is not None:
                        vectors[event.case, digest] = raw
            return _Page(events, rows, vectors, acts)

    def _take_in(self, page: _Page) -> set[str]:
        """On the store's thread: write the deliveries that follow from a page. Returns the endpoints they are for."""
        items, changed = follow(page.events, self._store.told(cases_of(page.events)))
        deliveries: list[NewDelivery] = []
        for item in items:
            case = str(item.event.case)
            queue, run = page.rows[case]
            hooks = [
                endpoint.hook for endpoint in self._endpoints.values() if endpoint.row.begins_after < item.event.seq
            ]
            vector = page.vectors.get((case, item.event.lanes or ""))
            deliveries += build_deliveries(item, hooks, queue, run, vector, page.acts.get(case))
        if deliveries or changed or page.end.seq - self._stored.seq >= STORED_EVERY:
            give_up = self._later(self._limits.give_up_s)
            self._store.add(self._stored, page.end, deliveries, changed, self._now(), give_up)
            self._stored = page.end
        self._cursor = page.end
        return {item.hook for item in deliveries}

    # Sending

    async def _serve(self, endpoint: _Endpoint) -> None:
        """Send to one endpoint, for ever."""
        running: set[asyncio.Task[Outcome]] = set()
        try:
            while True:
                endpoint.wake.clear()
                running |= await self.begin(endpoint.hook.id)
                await self._first(await self._rest_s(endpoint, len(running)), endpoint.wake, running)
                done = {task for task in running if task.done()}
                running -= done
                await self.settle(endpoint.hook.id, [task.result() for task in done])
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def begin(self, hook: str) -> set[asyncio.Task[Outcome]]:
        """Start what may be sent to an endpoint now, after asking the desk whether it still holds."""
        endpoint = self._endpoints[hook]
        free = (1 if endpoint.failing else self._limits.at_once) - len(endpoint.in_hand)
        if endpoint.row.disabled_at is not None or free <= 0 or self._clock.monotonic() < endpoint.not_before:
            return set()
        due = await self._call(self._store.due, hook, self._now(), free + len(endpoint.in_hand))
        due = [item for item in due if item.number not in endpoint.in_hand][:free]
        claims = sorted({item.case for item in due if item.lets_through})
        states = await self._review.call(self._review.desk.confirm, SYSTEM, claims) if claims else {}
        dropped = [item for item in due if item.lets_through and not still_holds(item.state, states[item.case])]
        if dropped:
            self._review.notify()
            await self.settle(hook, [self._drop(item, states[item.case]) for item in dropped])
        sent = [item for item in due if item not in dropped]
        endpoint.in_hand |= {item.number for item in sent}
        return {asyncio.create_task(self._send(endpoint, item)) for item in sent}

    async def settle(self, hook: str, outcomes: Sequence[Outcome]) -> None:
        """Write what became of deliveries."""
        if not outcomes:
            return
        await self._call(self._store.settle, outcomes)
        for outcome in outcomes:
            self._review.metrics.count("holdfast_panel_webhooks_total", _counted(outcome))
        endpoint = self._endpoints[hook]
        endpoint.in_hand -= {outcome.number for outcome in outcomes}
        endpoint.wake.set()

    def _drop(self, item: Delivery, now: str) -> Outcome:
        note = f"not sent: when it was due the case was {now}, no longer {item.state}"
        _LOG.info("webhook %s: %s", item.delivery, note)
        return Outcome(item.number, "dropped", item.attempts, item.next_at, self._now(), note)

    async def _send(self, endpoint: _Endpoint, item: Delivery) -> Outcome:
        """One attempt."""
        hook, now, attempts = endpoint.hook, self._clock.now(), item.attempts + 1
        try:
            answer = await self._http.request(
                "POST",
                hook.url,
                body=item.body,
                headers=headers(hook, item.delivery, item.body, now),
                timeout_s=self._limits.timeout_s,
                max_bytes=MAX_ANSWER_BYTES,
            )
        except UnavailableError as error:
            return self._failed(endpoint, item, shorten_note(error.message.replace(hook.url, hook.endpoint)), 0.0)
        note = describe_answer(answer.status, answer.body)
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            endpoint.failing, endpoint.trouble = False, ""
            done = self._clock.now()
            self._review.metrics.observe(
                "holdfast_panel_webhook_seconds", max(0.0, (done - time_decode(item.at)).total_seconds())
            )
            return Outcome(item.number, "delivered", attempts, item.next_at, time_encode(done), note)
        if answer.status == HTTPStatus.GONE:
            return await self._gone(endpoint, item, note)
        return self._failed(endpoint, item, note, self._asked_to_wait(endpoint, answer))

    def _asked_to_wait(self, endpoint: _Endpoint, answer: Answer) -> float:
        """Seconds that the endpoint asked for; of 429 and 503 they hold for everything sent to it."""
        asked = retry_after_s(answer.headers.get("retry-after"), self._clock.now())
        if answer.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            endpoint.not_before = max(endpoint.not_before, self._clock.monotonic() + asked)
        return asked

    def _failed(self, endpoint: _Endpoint, item: Delivery, note: str, asked_s: float) -> Outcome:
        attempts = item.attempts + 1
        endpoint.failing, endpoint.trouble = True, note
        wait_s = max(pause_s(self._limits, attempts, self._jitter()), asked_s)
        next_at = self._clock.now() + dt.timedelta(seconds=wait_s)
        if next_at > time_decode(item.give_up_at):
            _LOG.error("webhook %s to %s is given up: %s", item.delivery, endpoint.hook.endpoint, note)
            return Outcome(item.number, "dead", attempts, item.next_at, self._now(), note)
        return Outcome(item.number, "waiting", attempts, time_encode(next_at), None, note)

    async def _gone(self, endpoint: _Endpoint, item: Delivery, note: str) -> Outcome:
        """Nobody wants to hear of it there."""
        endpoint.failing, endpoint.trouble = True, note
        at = self._now()
        await self._call(self._store.disable, endpoint.hook.id, at, note)
        endpoint.row = HookRow(endpoint.hook.id, endpoint.row.begins_after, at, note)
        _LOG.error("the webhook %s is disabled: %s", endpoint.hook.endpoint, note)
        return Outcome(item.number, "dead", item.attempts + 1, item.next_at, at, note)

    # Waiting

    async def _rest_s(self, endpoint: _Endpoint, running: int) -> float:
        """Seconds until an endpoint's next turn, as far as time alone brings it."""
        if endpoint.row.disabled_at is not None or (running and endpoint.failing):
            return LONGEST_REST_S
        if self._clock.monotonic() < endpoint.not_before:
            return endpoint.not_before - self._clock.monotonic()
        now = self._clock.now()
        next_at = await self._call(self._store.next_at, endpoint.hook.id, time_encode(now))
        if next_at is None:
            return LONGEST_REST_S
        return min(LONGEST_REST_S, max(0.001, (time_decode(next_at) - now).total_seconds()))

    async def _first(
        self, seconds: float, event: asyncio.Event, tasks: set[asyncio.Task[Outcome]] | None = None
    ) -> None:
        """Wait for an event, the end of a task, or so many seconds."""
        waits = {asyncio.create_task(event.wait()), asyncio.create_task(self._clock.sleep(seconds))}
        try:
            await asyncio.wait({*waits, *(tasks or ())}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _tidy(self) -> None:
        """Count what waits and remove what ended long ago, for ever."""
        while True:
            counts = await self._call(self._store.counts)
            waiting = sum(number for (_, stands), number in counts.items() if stands == "waiting")
            dead = sum(number for (_, stands), number in counts.items() if stands == "dead")
            disabled = sum(endpoint.row.disabled_at is not None for endpoint in self._endpoints.values())
            self._review.metrics.level("holdfast_panel_webhooks_waiting", waiting)
            self._review.metrics.level("holdfast_panel_webhooks_dead", dead)
            self._review.metrics.level("holdfast_panel_webhooks_disabled", disabled)
            while await self._call(self._store.prune, self._later(-self._limits.keep_s), PRUNED_AT_ONCE):
                await self._clock.sleep(0.0)
            await self._clock.sleep(TIDY_S)

    # People

    async def endpoints(self, actor: Actor) -> dict[str, Any]:
        """Every endpoint, how much was sent to it and what stands in the way."""
        check_may(actor, "read")
        counts = await self._call(self._store.counts)
        return {
            "webhooks": [_endpoint_json(endpoint, counts) for endpoint in self._endpoints.values()],
            "followed": self._cursor.seq,
        }

    async def listed(self, actor: Actor, stands: Stands, after: int, limit: int) -> dict[str, Any]:
        """One page of deliveries that wait, were given up or were dropped."""
        check_may(actor, "read")
        found = await self._call(self._store.listed, stands, after, limit)
        end = found[-1].number if len(found) == limit else None
        return {"deliveries": [_delivery_json(item, self._hooks.get(item.hook)) for item in found], "after": end}

    async def replay(self, actor: Actor, delivery: str) -> dict[str, Any]:
        """Send what was given up again, under the same id. Raises ``webhook.unknown``, ``webhook.not_dead``,
        ``webhook.disabled``, or ``webhook.overtaken`` when something later was delivered of the same case."""
        check_may(actor, "replay")
        found = await self._call(self._store.delivery, delivery)
        endpoint = self._endpoints.get(found.hook) if found is not None else None
        if found is None or endpoint is None:
            raise UsageError("webhook.unknown", "there is no such delivery", param="delivery", status=404)
        if endpoint.row.disabled_at is not None:
            raise ConflictError("webhook.disabled", f"its endpoint is disabled: {endpoint.row.note}", hint="enable it")
        if await self._call(self._store.overtaken, found.number):
            hint = "the endpoint knows where the case stands by now"
            raise ConflictError("webhook.overtaken", "something later of this case was delivered", hint=hint)
        note = shorten_note(f"replayed by {actor.id}")
        at, give_up = self._now(), self._later(self._limits.give_up_s)
        if not await self._call(self._store.replay, delivery, at, give_up, note):
            raise ConflictError(
                "webhook.not_dead", f"this delivery is {found.stands}", hint="only dead ones are replayed"
            )
        _LOG.info("webhook %s: %s", delivery, note)
        endpoint.failing, endpoint.not_before = False, 0.0
        endpoint.wake.set()
        return {"delivery": delivery, "stands": "waiting"}

    async def drop(self, actor: Actor, delivery: str) -> dict[str, Any]:
        """Give a dead delivery up for good. Raises ``webhook.unknown`` or ``webhook.not_dead``."""
        check_may(actor, "drop")
        found = await self._call(self._store.delivery, delivery)
        if found is None:
            raise UsageError("webhook.unknown", "there is no such delivery", param="delivery", status=404)
        note = shorten_note(f"dropped by {actor.id}; before: {found.note}")
        if not await self._call(self._store.drop, delivery, self._now(), note):
            hint = "only dead ones are dropped"
            raise ConflictError("webhook.not_dead", f"this delivery is {found.stands}", hint=hint)
        _LOG.info("webhook %s: %s", delivery, note)
        return {"delivery": delivery, "stands": "dropped"}

    async def enable(self, actor: Actor, hook: str) -> dict[str, Any]:
        """Send to an endpoint again that had said that it is gone. Raises ``webhook.unknown`` or
        ``webhook.not_disabled``."""
        check_may(actor, "replay")
        endpoint = self._endpoints.get(hook)
        if endpoint is None:
            raise UsageError("webhook.unknown", "there is no such webhook", param="webhook", status=404)
        if not await self._call(self._store.enable, hook):
            raise ConflictError("webhook.not_disabled", "this webhook is not disabled")
        _LOG.info("the webhook %s was enabled by %s", endpoint.hook.endpoint, actor.id)
        endpoint.row = HookRow(hook, endpoint.row.begins_after)
        endpoint.failing, endpoint.not_before, endpoint.trouble = False, 0.0, ""
        endpoint.wake.set()
        return {"webhook": hook, "disabled": None}


def _lanes_of(event: StoredEvent) -> str | None:
    return parse_event(event.raw).lanes


def _counted(outcome: Outcome) -> str:
    return "failed" if outcome.stands == "waiting" else outcome.stands


def _endpoint_json(endpoint: _Endpoint, counts: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    hook, row = endpoint.hook, endpoint.row
    return {
        "id": hook.id,
        "queue": hook.queue,
        "endpoint": hook.endpoint,
        "states": sorted(hook.states),
        "begins_after": row.begins_after,
        "deliveries": {
            stands: counts.get((hook.id, stands), 0) for stands in ("waiting", "delivered", "dropped", "dead")
        },
        "disabled": None if row.disabled_at is None else {"at": row.disabled_at, "note": row.note},
        "trouble": endpoint.trouble or None,
    }


def _delivery_json(item: Delivery, hook: Hook | None) -> dict[str, Any]:
    return {
        "delivery": item.delivery,
        "webhook": item.hook,
        "queue": hook.queue if hook is not None else None,
        "endpoint": hook.endpoint if hook is not None else None,
        "case": item.case,
        "event": item.seq,
        "state": item.state,
        "at": item.at,
        "attempts": item.attempts,
        "next_at": item.next_at if item.stands == "waiting" else None,
        "ended_at": item.ended_at,
        "note": item.note,
        "position": item.number,
    }


def build_hooks(config: PanelConfig) -> tuple[Hook, ...]:
    """The endpoints that are configured. Raises ``webhook.*``."""
    return check_hooks(
        [
            parse_hook(item.queue, item.url, item.secret.reveal(), item.states, plain_http=config.webhook_plain_http)
            for item in config.webhooks
        ]
    )


def build_limits(config: PanelConfig) -> Limits:
    """How often and how long something is tried."""
    return Limits(
        timeout_s=config.webhook_timeout_ms / 1000,
        first_retry_s=config.webhook_first_retry_ms / 1000,
        longest_retry_s=float(config.webhook_longest_retry_s),
        give_up_s=config.webhook_give_up_h * 3600.0,
        at_once=config.webhooks_at_once,
        keep_s=config.webhook_keep_days * 86_400.0,
    )


def webhook_routes(service: Webhooks | None, people: PanelPeople | None) -> list[BaseRoute]:
    """The routes below ``/v1/webhooks``: to see them, and for a person to send again or drop what was given up."""

    def webhooks() -> Webhooks:
        return require_webhooks(service)

    async def reader(request: Request) -> Actor:
        return await caller(people, request, "queue:read")

    async def person(request: Request) -> Actor:
        refuse_other_sites(request)
        refuse_forgery(request)
        return person_actor(await require_person(people, request, "queue:read"))

    post = ("POST",)

    async def endpoints(request: Request) -> Response:
        actor = await reader(request)
        _query(request, set())
        return json_response(await webhooks().endpoints(actor))

    def listing(stands: Stands) -> Callable[[Request], Awaitable[Response]]:
        async def listed(request: Request) -> Response:
            actor = await reader(request)
            query = _query(request, {"after", "limit"})
            after, limit = _number(query, "after", 0, 0, 10**15), _number(query, "limit", 50, 1, MAX_LISTED)
            return json_response(await webhooks().listed(actor, stands, after, limit))

        return listed

    async def replay(request: Request) -> Response:
        actor = await person(request)
        return json_response(await webhooks().replay(actor, _id(request, "delivery")), HTTPStatus.ACCEPTED)

    async def drop(request: Request) -> Response:
        actor = await person(request)
        return json_response(await webhooks().drop(actor, _id(request, "delivery")))

    async def enable(request: Request) -> Response:
        actor = await person(request)
        return json_response(await webhooks().enable(actor, _id(request, "webhook")))

    return [
        ActRoute(people, "queue:read", "/v1/webhooks", endpoints),
        ActRoute(people, "queue:read", "/v1/webhooks/waiting", listing("waiting")),
        ActRoute(people, "queue:read", "/v1/webhooks/dead", listing("dead")),
        ActRoute(people, "queue:read", "/v1/webhooks/dropped", listing("dropped")),
        ActRoute(people, "queue:read", "/v1/webhooks/dead/{delivery}/replay", replay, methods=post, named=True),
        ActRoute(people, "queue:read", "/v1/webhooks/dead/{delivery}/drop", drop, methods=post, named=True),
        ActRoute(people, "queue:read", "/v1/webhooks/{webhook}/enable", enable, methods=post, named=True),
    ]


def require_webhooks(service: Webhooks | None) -> Webhooks:
    """The webhooks of a panel that has any; raises ``webhook.none``."""
    if service is None:
        raise UsageError("webhook.none", "this panel sends no webhooks", hint="set [[panel.webhooks]]", status=404)
    return service


def listing_start(request: Request, name: str) -> int:
    """The position after which a list goes on, from the query; 0 without one. Raises ``request.*``."""
    return _number(dict(request.query_params), name, 0, 0, 10**15)


def _id(request: Request, name: str) -> str:
    value: str = request.path_params[name]
    if _ID.match(value) is None:
        raise MalformedError("webhook.id", f"a {name} is 64 lower-case hex digits", param=name)
    return value


def _query(request: Request, known: set[str]) -> dict[str, str]:
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in known or names.count(name) > 1:
            raise MalformedError(
                "request.query", f"{name[:64]!r} is not asked for here, or comes twice", param=name[:64]
            )
    return dict(request.query_params)


def _number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    if name not in query:
        return default
    if _NUMBER.match(query[name]) is None or not least <= int(query[name]) <= most:
        raise MalformedError(f"request.{name}", f"{name} is an integer from {least} to {most}", param=name)
    return int(query[name])
