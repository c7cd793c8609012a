"""What becomes of charges, wired together: steps into the log, captures, refunds, and what readers see of all of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from holdfast.client.facilitator import Facilitator
from holdfast.client.log_writer import LogWriter
from holdfast.client.transfers import Transfers
from holdfast.nodes.gateway.collector import Collector
from holdfast.nodes.gateway.delivery import Delivery
from holdfast.nodes.gateway.disputes import Disputes
from holdfast.nodes.gateway.evidence import EvidenceDesk
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.ledger import Ledger
from holdfast.nodes.gateway.outbox import Outbox
from holdfast.nodes.gateway.refunds import Refunds
from holdfast.nodes.gateway.standing import Standings
from holdfast.nodes.gateway.steps import StepSigner
from holdfast.nodes.gateway.till import Till
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics


class Takings:
    """One gateway's side of what it takes. ``facilitator`` captures; without one only credit is taken. ``changed`` is
    told of whatever readers may see."""

    def __init__(
        self,
        till: Till,
        evidence: EvidenceDesk,
        indexer: Indexer,
        ledger: Ledger,
        outbox: Outbox,
        writer: LogWriter,
        clock: Clock,
        metrics: Metrics,
        *,
        random_bytes: Callable[[int], bytes],
        facilitator: Facilitator | None,
        transfers: Transfers | None,
        idle_s: int,
        batch: int,
        changed: Callable[[], None],
    ) -> None:
        self._evidence = evidence
        self._changed = changed
        self.judge = judge = Standings(evidence, indexer, ledger)
        signer = StepSigner(till.identity, random_bytes)
        attester = till.identity.attester
        self.delivery = Delivery(
            till.books, indexer, outbox, writer, clock, attester, batch=batch, on_logged=self._seen
        )
        self.refunds = Refunds(till.books, judge, signer, clock, metrics, attester=attester, on_step=self._told)
        self.collector: Collector | None = None
        if facilitator is not None and till.selling.token is not None:
            self.collector = Collector(
                till.books,
                facilitator,
                judge,
                signer,
                clock,
                metrics,
                till.selling.token.margins,
                transfers=transfers,
                idle_s=idle_s,
                on_step=self._told,
            )
        self.disputes = Disputes(
            evidence,
            till.books,
            till.identity,
            till.selling.card,
            clock,
            trouble_of=self.collector.trouble_of if self.collector is not None else lambda _: "",
            transfers=transfers,
        )
        till.on_charged = self._told

    def works(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """The tasks, by name: each runs until it is cancelled."""
        found = {"steps": self.delivery.work, "refunds": self.refunds.work}
        return found | ({"captures": self.collector.work} if self.collector is not None else {})

    def _told(self, run: str) -> None:
        """A run got a step: to the log with it, and see whether money was taken for it."""
        self.refunds.watch(run)
        self.delivery.wake()
        self._seen(run)

    def _seen(self, run: str) -> None:
        self._evidence.forget(run)
        self._changed()
