"""What a reader of a run is shown of its payment: both sides' artefacts, checked, and what the chain says now
(``spec/collection.md`` §6).

Everything is put together when somebody asks: from the run's bundle, from the books, and from the chain where one is
configured. A chain that is silent is told as that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from holdfast.client.transfers import Transfers
from holdfast.core import canonical, offers
from holdfast.core.encoding import time_decode
from holdfast.core.pricing import PriceCard
from holdfast.errors import HoldfastError
from holdfast.nodes.gateway.books import Books
from holdfast.nodes.gateway.collector import payment_of
from holdfast.nodes.gateway.evidence import EvidenceDesk
from holdfast.nodes.gateway.turn import Identity
from holdfast.ports.clock import Clock
from holdfast.ports.run_index import RunRow
from holdfast.ports.till_store import Authorization, Hold
from holdfast.verifier.dispute import Artefacts, ChainWord, dispute

_FOUND = {
    "moved": ChainWord("yes", "The token's own event of exactly this transfer lies deep enough in the chain."),
    "young": ChainWord("cannot_tell", "The transfer is in a block, but not under as many others as asked for yet."),
    "missing": ChainWord("no", "No block holds this transaction now."),
    "other": ChainWord("no", "The transaction is in a block, and this transfer did not happen in it."),
}


class Disputes:
    """Shows payments. ``trouble_of`` says why a capture makes no progress; ``transfers`` reads the chain."""

    def __init__(
        self,
        evidence: EvidenceDesk,
        books: Books,
        identity: Identity,
        card: PriceCard,
        clock: Clock,
        *,
        trouble_of: Callable[[str], str] = lambda _: "",
        transfers: Transfers | None = None,
    ) -> None:
        self._evidence = evidence
        self._books = books
        self._identity = identity
        self._card = card
        self._clock = clock
        self._trouble_of = trouble_of
        self._transfers = transfers

    async def show(self, row: RunRow, secret: bytes | None) -> dict[str, Any]:
        """A run's payment as JSON values; with the run's secret its answer's own report of usage is read too. Raises
        ``run.capability`` for a wrong one."""
        appraisal = await self._evidence.appraised(row, secret)
        hold = await self._books.call(self._books.store.hold_of, row.run)
        if hold is None:
            return dispute(appraisal, Artefacts())
        found = None
        if hold.identity is not None:
            found = await self._books.call(self._books.store.authorization, hold.identity)
        view = dispute(appraisal, await self._artefacts(hold, found))
        view["stands"] = {"run": hold.stands, "authorization": None if found is None else found.stands}
        return view

    async def _artefacts(self, hold: Hold, found: Authorization | None) -> Artefacts:
        terms = canonical.decode_object(hold.terms)
        model = terms.get("model")
        named = terms.get("price_card") == self._card.digest
        beside = Artefacts(card=self._card if named else None, model=model if isinstance(model, str) else None)
        if found is None:
            return beside
        beside = dataclasses.replace(
            beside,
            payload=found.new.payload,
            trouble=self._trouble_of(found.new.identity),
            open=found.stands != "captured" and time_decode(found.new.deadline) >= self._clock.now(),
        )
        if found.stands != "captured" or not found.transaction:
            return beside
        return dataclasses.replace(
            beside, receipt=self._receipt(found), chain=await self._look(found, found.transaction)
        )

    async def _look(self, found: Authorization, transaction: str) -> ChainWord:
        if self._transfers is None:
            return ChainWord("cannot_tell", "No chain is configured here: that it was taken is the facilitator's word.")
        try:
            return _FOUND[await self._transfers.look(payment_of(found), transaction)]
        except HoldfastError as error:
            return ChainWord("cannot_tell", f"The chain was asked and did not say: {error.message}.")

    def _receipt(self, found: Authorization) -> dict[str, Any] | None:
        """x402's receipt for a capture, in its published form (``payments.md`` §9): the same whenever it is made."""
        signer = self._identity.signer
        if signer.key.algorithm != "ed25519":
            return None
        resource = payment_of(found).payload.resource or {}
        url = resource.get("url")
        receipt = offers.Receipt(
            found.new.network,
            url if isinstance(url, str) else "",
            found.new.payer,
            int(time_decode(found.last_at).timestamp()),
            found.transaction or "",
        )
        message = offers.jws_input(receipt, signer.key)
        return offers.build_jws(message, signer.sign(message))
