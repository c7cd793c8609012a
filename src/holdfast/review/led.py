"""What an act or an agent run came after, as its case keeps it (``spec/case.md`` §8(9), ``agents.md`` §10).

An act relied on everything that closed before it was proposed, in the agent runs above it: by their order and by the
word of whoever leads them. So a recall of any of it reaches the act, and an agent run's own case.

The order and the evidence are the gateway's word. Pure but for :func:`note_led`, which is one transaction's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
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
