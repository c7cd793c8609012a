"""Steps of payments: a payment document, the salt that opens its record, and the signed statement that commits to it
(``spec/statement.md`` §4.6).

:meth:`StepSigner.sign` tells of a run that this gateway opened; :meth:`StepSigner.follow` goes on from a step that is
there already, and needs nothing but that step: it works when what was stored of the run is long gone. Whoever makes a
step writes it down in the transaction that makes it true (``ports/till_store.py``); ``collector`` takes it to the log.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from holdfast.core.encoding import sha256_hex
from holdfast.core.payments import (
    SALT_BYTES,
    PaymentDocument,
    claimed_time,
    parse_payment_document,
    payment_record,
    verify_amounts,
    verify_terms,
)
from holdfast.core.statements import (
    COMMITMENT_SALT_BYTES,
    PaymentBody,
    build_commitment,
    build_payload,
    parse_envelope,
    parse_statement,
    payment_body,
)
from holdfast.nodes.gateway.turn import Identity, Opening
from holdfast.ports.till_store import Step


@dataclass(frozen=True, slots=True)
class About:
    """What a payment statement has from the run that it is about."""

    nonce: str | None
    parent_run: str | None
    coarse: bool
    private: bool


class StepSigner:
    """Signs one gateway's steps. ``random_bytes`` makes salts."""

    def __init__(self, identity: Identity, random_bytes: Callable[[int], bytes]) -> None:
        self._identity = identity
        self._random = random_bytes

    def sign(self, document: PaymentDocument, opening: Opening, parents: Sequence[str]) -> Step:
        """A step of a run; ``parents`` are digests of statements (``trace.md`` §2(6)). Raises ``payment_document.*``
        where the document does not add up: nobody signs an overcharge by mistake."""
        about = About(opening.nonce, opening.parent_run, opening.coarse, opening.settlement == "private")
        return self.sign_about(document, about, parents)

    def follow(
        self,
        before: Step,
        event: str,
        *,
        at: dt.datetime,
        captured: int | None = None,
        transaction: str | None = None,
        reason: str | None = None,
    ) -> Step:
        """The step ``event`` that follows another one of this gateway's. ``captured`` and ``transaction`` replace what
        stood there where they are given. Raises ``payment_document.*``."""
        statement = parse_statement(parse_envelope(before.envelope))
        old = parse_payment_document(before.document)
        coarse = not statement.claimed_at.second and not statement.claimed_at.microsecond
        minute = not old.at.second and not old.at.microsecond
        document = replace(
            old,
            event=event,
            at=max(old.at, claimed_time(at, coarse=minute)),
            captured=old.captured if captured is None else captured,
            transaction=old.transaction if transaction is None else transaction or None,
            reason=reason,
        )
        verify_terms(document, old)
        about = About(statement.nonce, statement.parent_run, coarse, before.commitment_salt is not None)
        return self.sign_about(document, about, [before.digest])

    def sign_about(self, document: PaymentDocument, about: About, parents: Sequence[str]) -> Step:
        """The same as :meth:`sign`, for whoever kept no more of the opening."""
        raw = document.raw
        verify_amounts(parse_payment_document(raw))
        salt = self._random(SALT_BYTES)
        record = payment_record(raw, salt)
        payload = build_payload(
            "payment",
            run=document.run,
            attester=self._identity.attester,
            claimed_at=claimed_time(document.at, coarse=about.coarse),
            parents=parents,
            subject=("payment", record),
            body=payment_body(PaymentBody(document.event, record)),
            nonce=about.nonce,
            parent_run=about.parent_run,
        )
        digest, envelope = sha256_hex(payload), self._identity.envelope(payload)
        entry, opens = envelope, None
        if about.private:
            opens = self._random(COMMITMENT_SALT_BYTES)
            entry = build_commitment(digest, opens)
        return Step(document.run, document.event, raw, salt, digest, envelope, entry, opens)
