"""Follows the gateway: opens a case for every run that names a queue, and brings its evidence to the desk.

Rules:

* Openings are pulled in the order of the gateway's write-ahead log. The cursor moves only once every case of an answer
  is in the journal, so a crash asks again and never skips; the desk opens one case for a run in a queue, however often
  it is told.
* Evidence of a run is fetched at once, whenever the gateway has seen another round final, and every ``pending_s``
  seconds, for as long as a lane of one of its cases is pending. Where very many wait, that last is less often: what a
  round moves comes first. Not after that: then only trust and time move it, which the desk looks at by itself, or a
  superseding verdict, after which every run is looked at again.
* The verdicts of the rounds in which an earlier one may have been superseded are read from the full nodes at once: what
  was let through on a statement that one of them refuted is recalled together, before any of these runs is looked at.
* A bundle that something newer overtook on its way is fetched again.
* Never more than ``at_once`` bundles are fetched at a time. While the gateway is silent there is one attempt at a time,
  less and less often.

Nothing that arrives is believed here: the desk appraises every bundle under the panel's own trust.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from holdfast.client.errors import parse_error
from holdfast.client.run_views import QueuedRun, parse_led, parse_openings
from holdfast.core import canonical
from holdfast.core.bundles import MAX_BUNDLE_BYTES
from holdfast.core.rounds import Candidate, FinalityMessage
from holdfast.errors import HoldfastError, MalformedError, UnavailableError
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.schedule import Schedule
from holdfast.ports.case_store import CaseFilter
from holdfast.ports.clock import Clock
from holdfast.ports.http import HTTP
from holdfast.ports.settings import Secret
from holdfast.ports.storage import Storage
from holdfast.review.events import SYSTEM
from holdfast.review.intake import Opening, TakenIn
from holdfast.review.led import Led, LedPages
from holdfast.review.views import MAX_PAGE, CaseView

_LOG = logging.getLogger("holdfast.panel.follower")
CURSOR_FILE = "openings.json"
"""How far the gateway's openings were taken in."""
PAGE = 200
"""Openings asked for at once."""
MAX_ANSWER_BYTES = 1 << 20
"""Largest answer to that."""
MAX_LED_BYTES = 8 << 20
"""Largest answer to what a run came after: 500 runs with a hundred digests each."""
LAST_PLACE = 2**63 - 1
"""Behind every place of a write-ahead log."""
STEP = "step"
"""The endpoint of acts (``agents.md`` §1)."""
OPENED_AT_ONCE = 20
"""Cases opened in one transaction. Between them whoever waits for the desk gets it."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
"""Pauses while the gateway is silent."""
MOST_POLLS_S = 50
"""Bundles fetched in a second only because time went by."""
TAKEN_AT_ONCE = 16
"""Bundles taken in by one transaction. Between them whoever waits for the desk gets it."""
MOST_SEARCHED = 64
"""Rounds whose verdicts are read after a superseding one."""
Verdicts: TypeAlias = "Callable[[int], Awaitable[tuple[Candidate, list[FinalityMessage], bytes] | None]]"
"""By number of a round: what makes it final, and its verdicts; None while nobody has them."""
REFUSED_PAUSE_S = 60.0
"""How long a run rests whose bundle the gateway refuses or the desk cannot read."""


@dataclass(slots=True)
class Cursor:
    """What the follower remembers over restarts."""

    after: int = 0
    """Openings before this position are in the journal."""
    superseded: int = 0
    """Every run was looked at again after this superseding verdict."""
    searched: int = 0
    """The verdicts of rounds up to here were read, as far as a superseding one was told of."""

    def to_bytes(self) -> bytes:
        return json.dumps({"after": self.after, "superseded": self.superseded, "searched": self.searched}).encode()


def parse_cursor(raw: bytes | None) -> Cursor:
    """The stored cursor; the beginning where there is none. Raises ``panel.cursor``."""
    if raw is None:
        return Cursor()
    value = canonical.decode_object(raw)
    after, superseded, searched = value.get("after"), value.get("superseded"), value.get("searched", 0)
    if not isinstance(after, int) or not isinstance(superseded, int) or not isinstance(searched, int):
        raise MalformedError("panel.cursor", f"{CURSOR_FILE} is damaged: it says how far openings were read")
    return Cursor(after, superseded, searched)


class Follower:
    """Follows one gateway with one workspace's key; :meth:`pull` and :meth:`fetch` run for as long as the panel."""

    def __init__(
        self,
        review: Review,
        http: HTTP,
        gateway: str,
        key: Secret | None,
        clock: Clock,
        storage: Storage,
        *,
        poll_s: float,
        pending_s: float,
        at_once: int,
        verdicts: Verdicts,
    ) -> None:
        self._review = review
        self._http = http
        self._gateway = gateway.rstrip("/")
        self._key = key
        self._clock = clock
        self._storage = storage
        self._poll_s = poll_s
        self._pending_s = pending_s
        self._at_once = at_once
        self._verdicts = verdicts
        self._schedule = Schedule()
        self._cursor = parse_cursor(storage.load(CURSOR_FILE))
        self._round: int | None = None
        self._sweep: set[str] | None = None
        """Runs not yet looked at since a superseding verdict; None when there is none."""
        self._sweep_of = self._cursor.superseded
        self._fetched: list[tuple[str, bytes, asyncio.Future[TakenIn]]] = []
        """Bundles that wait for the desk: one transaction takes in what came while another was under way."""
        self._intake = asyncio.Lock()
        self._wake = asyncio.Event()
        self._answers = asyncio.Event()
        self._answers.set()
        self.trouble = ""
        """Why the gateway cannot be followed, or empty."""

    @property
    def waiting(self) -> int:
        """Runs whose evidence is still to come."""
        return len(self._schedule) + self._schedule.in_hand

    def ask(self, run: str) -> None:
        """Have a run's evidence fetched soon."""
        self._schedule.ask([run], self._clock.monotonic())
        self._wake.set()

    async def find_run(self, run: str) -> None:
        """Make sure that the gateway has a run for this workspace. Raises ``run.unknown``, or what keeps the gateway
        from saying."""
        await self._get(f"/v1/runs/{run}", MAX_BUNDLE_BYTES)

    # Openings

    async def pull(self) -> None:
        """Take openings in, for ever."""
        await self._resume()
        pause = FIRST_PAUSE_S
        while True:
            try:
                more = await self.pull_once()
            except HoldfastError as error:
                self._note_silence(error)
                await self._clock.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            self.trouble, pause = "", FIRST_PAUSE_S
            self._answers.set()
            if not more:
                await self._clock.sleep(self._poll_s)

    async def pull_once(self) -> bool:
        """One answer's openings; returns whether there may be more right away. Raises what the gateway answered."""
        after = self._cursor.after
        raw = await self._get(f"/v1/openings?after={after}&limit={PAGE}", MAX_ANSWER_BYTES)
        page = parse_openings(canonical.decode(raw), after)
        if page.end < after:
            _LOG.warning("the gateway's openings begin anew: it has another write-ahead log than before")
            self._cursor.after = 0
            return True
        for begin in range(0, len(page.openings), OPENED_AT_ONCE):
            await self._open(page.openings[begin : begin + OPENED_AT_ONCE])
        self._cursor.after = page.end
        if page.openings:
            await self._save()
        if page.round != self._round:
            self._round = page.round
            self._schedule.hurry(self._clock.monotonic())
        if page.superseded != self._sweep_of:  # smaller where the gateway's index began anew
            await self._read_verdicts(page.round)
            await self._begin_sweep(page.superseded)
        self._wake.set()
        return len(page.openings) == PAGE

    async def _open(self, runs: Sequence[QueuedRun]) -> None:
        openings = [Opening(item.run, item.queue, item.subject, item.requester) for item in runs]
        await self._review.call(self._review.desk.open_many, SYSTEM, openings)
        for item in runs:
            if item.kind == STEP:  # before its evidence: nothing is let through whose reliance is not known
                await self._note_led(item.run)
        self._review.metrics.count("holdfast_panel_openings_total", amount=len(openings))
        self._schedule.ask([item.run for item in runs], self._clock.monotonic())
        self._review.notify()

    async def _note_led(self, run: str) -> None:
        """Keep what the cases of an act or a closed agent run came after, as far as it is not known already."""
        desk = self._review.desk
        place, _ = await self._led(run, LAST_PLACE)
        if not place.under:
            return
        pages = LedPages(run, await self._review.call(desk.led_place, place.under[-1][0]))
        while pages.more:
            page, more = await self._led(run, pages.after)
            pages.take(page, more=more)
        await self._review.call(desk.note_led, SYSTEM, run, pages.led)

    async def _led(self, run: str, after: int) -> tuple[Led, bool]:
        return parse_led(run, canonical.decode(await self._get(f"/v1/runs/{run}/led?after={after}", MAX_LED_BYTES)))

    async def _save(self) -> None:
        await self._review.call(self._storage.save, CURSOR_FILE, self._cursor.to_bytes())

    # Evidence

    async def _resume(self) -> None:
        """After a start: look at every run with a lane that was pending, the newest first."""
        async for views in self._pages():
            pending = [view.row.run for view in views if _pending(view)]
            self._schedule.ask(pending, self._clock.monotonic())
            self._wake.set()

    async def _read_verdicts(self, newest: int) -> None:
        """Recall what rounds since the last search refuted, the newest first. Where nobody has the verdicts of one, the
        sweep that follows finds what it says, run by run."""
        for number in range(newest, max(self._cursor.searched, newest - MOST_SEARCHED), -1):
            try:
                found = await self._verdicts(number)
                if found is not None:
                    recalled = await self._review.call(self._review.desk.take_verdicts, SYSTEM, *found)
                    if recalled.cases:
                        _LOG.warning("round %d recalls %d cases", number, len(recalled.cases))
                        self._review.notify()
            except HoldfastError as error:
                _LOG.warning("the verdicts of round %d: %s", number, error, extra={"code": error.code})
        self._cursor.searched = newest

    async def _begin_sweep(self, superseded: int) -> None:
        """Look at every run again: a verdict on some earlier entry was superseded."""
        runs = [view.row.run async for views in self._pages() for view in views]
        self._sweep_of, self._sweep = superseded, set(runs)
        self._schedule.ask(runs, self._clock.monotonic())
        await self._end_sweep()

    async def _end_sweep(self) -> None:
        if self._sweep is not None and not self._sweep:
            self._sweep = None
            self._cursor.superseded = self._sweep_of
            await self._save()

    async def _pages(self) -> AsyncIterator[list[CaseView]]:
        """Every case, the newest first."""
        after: int | None = None
        while True:
            which = CaseFilter(after=after, limit=MAX_PAGE, newest_first=True)
            views = await self._review.call(self._review.desk.cases, SYSTEM, which)
            if views:
                yield views
            if len(views) < MAX_PAGE:
                return
            after = views[-1].row.opened_seq

    async def fetch(self) -> None:
        """Fetch what is due, for ever, some at a time."""
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                await self._answers.wait()
                self._wake.clear()
                for run in self._schedule.take(self._clock.monotonic(), self._at_once - len(running)):
                    running.add(asyncio.create_task(self.look(run)))
                waker = asyncio.create_task(self._wake.wait())
                done, _ = await asyncio.wait(
                    {waker, *running}, timeout=self._rest(len(running)), return_when=asyncio.FIRST_COMPLETED
                )
                waker.cancel()
                for task in done & running:
                    running.discard(task)
                    task.result()
        finally:
            for task in running:
                task.cancel()

    def _rest(self, running: int) -> float | None:
        """Seconds until the next run is due; None while there is none, or no room for it."""
        due = self._schedule.next_at()
        if due is None or running >= self._at_once:
            return None
        return max(0.0, due - self._clock.monotonic())

    async def look(self, run: str) -> None:
        """Fetch a run's evidence and put it before the desk; says when to look again."""
        again_s: float | None = REFUSED_PAUSE_S
        outcome = "refused"
        try:
            raw = await self._get(f"/v1/runs/{run}/bundle", MAX_BUNDLE_BYTES)
            found = await self._take_in(run, raw)
            if found.came_after_unknown:
                await self._note_led(run)
            again_s = self._poll_pause() if found.pending or found.overtaken else None
            outcome = "overtaken" if found.overtaken else "taken"
        except UnavailableError as error:
            outcome, again_s = "silent", self._poll_pause()
            if error.code == "http.unreachable":
                self._note_silence(error)
        except HoldfastError as error:
            if error.status == HTTPStatus.GONE:
                again_s = None
            _LOG.warning("no evidence of run %s: %s", run, error, extra={"code": error.code})
        finally:
            now = self._clock.monotonic()
            self._schedule.put_back(run, None if again_s is None else now + again_s)
        self._review.metrics.count("holdfast_panel_bundles_total", outcome)
        self._review.metrics.level("holdfast_panel_cases_waiting", self.waiting)
        if self._sweep is not None and outcome not in ("silent", "overtaken"):
            self._sweep.discard(run)
            await self._end_sweep()

    def _poll_pause(self) -> float:
        """Seconds until evidence that is still to come is asked for without a reason."""
        return max(self._pending_s, self.waiting / MOST_POLLS_S)

    async def _take_in(self, run: str, raw: bytes) -> TakenIn:
        """Put a bundle before the desk, together with whatever else was fetched while the desk was busy. Raises what
        is wrong with it."""
        taken: asyncio.Future[TakenIn] = asyncio.get_running_loop().create_future()
        self._fetched.append((run, raw, taken))
        async with self._intake:
            while not taken.done():
                await self._take_in_together()
        found = await taken
        if found.trouble is not None:
            raise found.trouble
        return found

    async def _take_in_together(self) -> None:
        """One transaction for all that was fetched, up to a bound."""
        batch, self._fetched = self._fetched[:TAKEN_AT_ONCE], self._fetched[TAKEN_AT_ONCE:]
        evidence = [(run, raw) for run, raw, _ in batch]
        try:
            done = await self._review.call(self._review.desk.take_in, SYSTEM, evidence)
        except HoldfastError:  # each by itself, so that none pays for another
            done = [await self._take_in_alone(run, raw) for run, raw in evidence]
        for (_, _, future), found in zip(batch, done, strict=True):
            if not future.done():
                future.set_result(found)
        self._review.notify()

    async def _take_in_alone(self, run: str, raw: bytes) -> TakenIn:
        try:
            (found,) = await self._review.call(self._review.desk.take_in, SYSTEM, [(run, raw)])
        except HoldfastError as error:
            return TakenIn(run, (), error)
        return found

    # The gateway

    def _note_silence(self, error: HoldfastError) -> None:
        if not self.trouble:
            _LOG.warning("the gateway cannot be followed: %s", error, extra={"code": error.code})
        self.trouble = error.message
        self._answers.clear()

    async def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        """The gateway's answer to a question with this panel's key; raises what it refuses."""
        return await self._ask(method, path, MAX_BUNDLE_BYTES, body or b"", headers)

    async def _get(self, path: str, max_bytes: int) -> bytes:
        return await self._ask("GET", path, max_bytes)

    async def _ask(
        self, method: str, path: str, max_bytes: int, body: bytes = b"", more: Mapping[str, str] | None = None
    ) -> bytes:
        headers = {} if self._key is None else {"authorization": f"Bearer {self._key.reveal()}"}
        headers |= more or {}
        url = self._gateway + path
        answer = await self._http.request(method, url, body=body, headers=headers, max_bytes=max_bytes)
        if answer.status != HTTPStatus.OK:
            raise parse_error(answer.status, answer.body, "the gateway")
        return answer.body


def _pending(view: CaseView) -> list[str]:
    """Lanes whose evidence is still to come, whatever the gate makes of what is there."""
    return [lane.name for lane in view.lanes.values() if lane.state == "pending"]
