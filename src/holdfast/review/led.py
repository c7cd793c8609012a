"""What an act or an agent run came after, as its case keeps it (``spec/case.md`` §8(9), ``agents.md`` §10).

An act relied on everything that closed before it was proposed, in the agent runs above it: by their order and by the
word of whoever leads them. So a recall of any of it reaches the act, and an agent run's own case.

The order and the evidence are the gateway's word, which is held against itself (:class:`LedPages`) and, where answers
of closed agent runs are shown, against these (:func:`check_closed`). Pure but for :func:`note_led`, which is one
transaction's part.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.agents import parse_children
from holdfast.core.encoding import sha256_hex
from holdfast.errors import RefusedError
from holdfast.ports.case_store import LedAct, LedChild
from holdfast.review.events import GATE, SYSTEM
from holdfast.review.recall import order_recall
from holdfast.review.work import Work

CHILDREN_TYPE = "urn:holdfast:agent-children:v1"
"""``type`` of the list that a ``led`` event names (``case.md`` §8(9))."""


@dataclass(frozen=True, slots=True)
class Led:
    """What a gateway tells of a run's place below agent runs."""

    under: tuple[tuple[str, int], ...]
    """Agent runs, and before which place in each the run came after what closed there."""
    children: tuple[LedChild, ...] = ()
    act: LedAct | None = None

    @property
    def document(self) -> bytes:
        """The children as they are kept."""
        return canonical.encode_known(
            {
                "type": CHILDREN_TYPE,
                "children": [
                    {
                        "run": child.run,
                        "under": list(child.under),
                        "place": child.place,
                        "evidence": list(child.evidence),
                    }
                    for child in self.children
                ],
            }
        )


class LedPages:
    """The answers of a gateway about one run, page by page: what follows a page is asked for behind ``after``."""

    def __init__(self, run: str, after: int) -> None:
        self._run = run
        self.after = after
        self.more = True
        self.led = Led(())
        self._seen: set[str] = set()

    def take(self, page: Led, *, more: bool) -> None:
        """The answer to what was asked for behind ``after``. Raises ``led.under``, ``led.order`` and ``led.page``."""
        if not self.more:
            raise RefusedError("led.page", "there is no page behind the last one")
        _check_under(self._run, page)
        if self.led.under and page.under != self.led.under:
            raise RefusedError("led.under", "two pages name other agent runs")
        if more and not page.children:
            raise RefusedError("led.page", "an empty page says that more follows")
        self._check_children(page)
        self.led = Led(page.under, self.led.children + page.children, page.act)
        self.after = max([self.after, *(child.place for child in page.children)])
        self.more = more

    def _check_children(self, page: Led) -> None:
        until = max((before for _, before in page.under), default=0)
        places = [self.after, *(child.place for child in page.children), until]
        if page.children and any(later <= earlier for earlier, later in itertools.pairwise(places)):
            raise RefusedError("led.order", "what closed stands by place, behind what was told, before the run")
        for child in page.children:
            if child.run in self._seen:
                raise RefusedError("led.order", f"run {child.run} is told twice")
            if child.run in child.under or child.under[:1] != (page.under[-1][0],) or _twice(child.under):
                raise RefusedError("led.under", f"run {child.run} is not below the uppermost agent run")
            self._seen.add(child.run)


def _check_under(run: str, page: Led) -> None:
    """Agent runs from the nearest up, each opened before the one below it; an agent run itself only as the nearest."""
    agents, places = [agent for agent, _ in page.under], [before for _, before in page.under]
    if _twice(agents) or run in agents[1:] or any(high >= low for low, high in itertools.pairwise(places)):
        raise RefusedError("led.under", "agent runs stand from the nearest up, each opened before what is below it")


def _twice(runs: Sequence[str]) -> bool:
    return len(set(runs)) != len(runs)


def came_after(led: Led) -> tuple[str, ...]:
    """The runs of a list that it came after, in their order: what closed before it in one of its agent runs."""
    before = dict(led.under)
    return tuple(
        child.run for child in led.children if any(child.place < before.get(agent, 0) for agent in child.under)
    )


def check_closed(led: Led, answers: Mapping[str, object]) -> None:
    """Hold a whole list against the answers (§5(1)) of closed agent runs that it tells of: each of their children
    stands in it, right below them, and nothing else does. Raises ``led.children`` and ``agent.children``."""
    told: dict[str, set[str]] = {}
    for child in led.children:
        told.setdefault(child.under[-1], set()).add(child.run)
    for agent, answer in answers.items():
        if {child.run for child in parse_children(answer)} != told.get(agent, set()):
            raise RefusedError("led.children", f"agent run {agent} was closed with other children than are told")


def note_led(work: Work, case: str, led: Led) -> None:
    """Keep what a case came after, once; where something of that was recalled before, the case is recalled at once."""
    found = work.case(case)
    if found.led:
        return
    document = led.document
    digest = sha256_hex(document)
    work.keep(case, digest, document)
    work.emit("led", SYSTEM, case=case, body=led_body(led, digest), lanes=found.lanes, policy=found.policy)
    work.writer.lead(case, led.act, led.under, led.children)
    recalled = work.writer.led_by_recalled(case)
    if recalled is not None and found.state != "RECALLED":
        order_recall(work, GATE, None, [case], f"it came after run {recalled}, which was recalled", evidence=None)


def led_body(led: Led, digest: str) -> dict[str, Any]:
    """The body of the event."""
    act = None if led.act is None else {"tool": led.act.tool, "effect": led.act.effect}
    return {"act": act, "under": [{"run": run, "before": before} for run, before in led.under], "children": digest}
