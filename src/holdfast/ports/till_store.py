"""Where a till keeps its books: accounts, authorizations, holds, charges, captures, debts, and the steps that tell of
them.

Several gateways may share one store. Every method is one transaction and durable when it returns; holds once
:meth:`TillStore.sync` returned after them, so that one can be waited for beside other writing. Whoever moves an
amount hands over the steps that tell of it, and both are written or neither: books and statements cannot disagree.

Amounts are integers: nano-dollars of an account, base units of an asset of an authorization. Times are RFC 3339
(``conventions.md`` §2(3)). An authorization is named by its identity (``payments.md`` §5(6)), 64 hex digits.

A hold stands ``held``, then ``charged`` or ``released``; what was charged to an authorization then stands
``capturing`` and ends ``captured`` or ``failed``, or ``lapsed``. An authorization stands ``open`` while it serves,
``closed`` once it does not (of ``exact``, which is for one run, from its first hold), ``capturing`` while its one
capture is under way, and ends ``captured``, ``lapsed`` or ``failed``. Nothing ever goes back.

Methods block; one worker thread calls them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from holdfast.errors import HoldfastError

HoldStands: TypeAlias = Literal["held", "charged", "released", "capturing", "captured", "lapsed", "failed"]
AuthorizationStands: TypeAlias = Literal["open", "closed", "capturing", "captured", "lapsed", "failed"]
UNCOLLECTED: tuple[AuthorizationStands, ...] = ("open", "closed", "capturing")
"""Authorizations that something is still to happen with."""


@dataclass(frozen=True, slots=True)
class Step:
    """One payment document, the salt that opens its record, and its signed statement (``statement.md`` §4.6)."""

    run: str
    event: str
    document: bytes
    salt: bytes
    digest: str
    """SHA-256 of the statement, hex."""
    envelope: bytes
    entry: bytes
    """What the log gets: the envelope, or in mode ``private`` a commitment."""
    commitment_salt: bytes | None = None
    """What opens that commitment."""


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A step and its place: positions rise in the order of commits, with gaps."""

    position: int
    step: Step
    log_index: int | None = None
    """Where the log has it, once it said so."""


@dataclass(frozen=True, slots=True)
class Account:
    """Credit of a workspace, nano-dollars."""

    name: str
    granted: int = 0
    spent: int = 0
    held: int = 0

    @property
    def left(self) -> int:
        """What may still be held."""
        return self.granted - self.spent - self.held


@dataclass(frozen=True, slots=True)
class NewAuthorization:
    """What a payer signed, and that somebody checked."""

    identity: str
    payer: str
    payee: str
    network: str
    asset: str
    scheme: str
    timing: str
    cap: int
    """What was signed for."""
    deadline: str
    """Until when the chain takes it."""
    payload: bytes
    """The exact payment payload, JSON: what a capture sends to the facilitator."""
    requirements: bytes
    """The requirements that it was checked against, JSON."""
    session: str | None = None
    """What names it to whoever may ask further runs on it; a secret."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """An authorization as the store knows it."""

    new: NewAuthorization
    at: str
    """When it was accepted."""
    last_at: str
    """When a run was last held or charged on it."""
    stands: AuthorizationStands = "open"
    held: int = 0
    charged: int = 0
    """What all its runs cost so far."""
    capture: int | None = None
    """What its capture takes or took."""
    job: str | None = None
    """The facilitator's name for the capture."""
    transaction: str | None = None
    reason: str | None = None
    """Why it lapsed or failed, a code."""

    @property
    def left(self) -> int:
        """What may still be held."""
        return self.new.cap - self.held - self.charged


@dataclass(frozen=True, slots=True)
class NewHold:
    """What one run sets aside, from an account or from an authorization."""

    run: str
    cap: int
    at: str
    terms: bytes
    """What the charge is computed from later; the store does not look into it."""
    account: str | None = None
    identity: str | None = None
    accept: NewAuthorization | None = None
    """The authorization of ``identity``, where it is accepted with this hold: a known one is refused."""
    exposure: int | None = None
    """The most that its payer may have held and charged without a capture, over all authorizations of one asset."""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold as the store knows it."""

    run: str
    cap: int
    at: str
    terms: bytes
    account: str | None
    identity: str | None
    stands: HoldStands = "held"
    amount: int | None = None
    """What the run costs, once charged; at most :attr:`cap`."""
    ended_at: str | None = None
    """When it was charged or released."""


@dataclass(frozen=True, slots=True)
class NewCharge:
    """What a run costs: computed from its closing record."""

    run: str
    amount: int
    at: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Debt:
    """What is owed back for a run whose charge was captured."""

    run: str
    amount: int
    reason: str
    at: str
    transaction: str | None = None
    """What gave it back; of an account, the word ``account``."""
    repaid_at: str | None = None


class TillStore(Protocol):
    """The books of one seller."""

    # Accounts

    def account(self, name: str) -> Account:
        """Credit of a workspace; nothing where it never got any."""
        ...

    def accounts(self) -> list[Account]:
        """All of them, by name."""
        ...

    def grant(self, name: str, amount: int, reference: str, at: str) -> bool:
        """Add credit, once for each reference. False where the reference was used before: then nothing happens."""
        ...

    # Holds and charges

    def hold(self, orders: Sequence[NewHold]) -> list[Hold | HoldfastError]:
        """Set amounts aside, all in one transaction; one answer for each order, in their order. An order that is
        refused changes nothing: ``till.run`` (the run has a hold), ``payment.replayed`` (the authorization that was to
        be accepted is known), ``payment.unknown``, ``payment.closed``, ``payment.exhausted``, ``payment.exposure`` or
        ``payment.credit``."""
        ...

    def sync(self) -> None:
        """Return when all holds that were answered before are durable. May be called from another thread."""
        ...

    def charge(self, charges: Sequence[NewCharge]) -> list[bool | HoldfastError]:
        """Turn holds into charges, all in one transaction. False where the run was charged or released before; a
        charge above its hold (``till.cap``) or of a run without one (``till.run``) changes nothing."""
        ...

    def release(self, run: str, at: str, steps: Sequence[Step] = ()) -> bool:
        """Give a hold up: the run costs nothing. False where it was charged or released before."""
        ...

    def hold_of(self, run: str) -> Hold | None:
        """The hold of a run."""
        ...

    def holds_of(self, identity: str) -> list[Hold]:
        """Every hold on an authorization, oldest first."""
        ...

    def held(self) -> list[Hold]:
        """Holds that stand ``held``, oldest first: for recovery."""
        ...

    def history(self, *, account: str | None = None, payer: str | None = None, limit: int = 100) -> list[Hold]:
        """The newest holds of an account or of a payer, newest first."""
        ...

    # Authorizations

    def authorization(self, identity: str) -> Authorization | None:
        """One authorization."""
        ...

    def by_session(self, session: str) -> Authorization | None:
        """The authorization that a session names."""
        ...

    def exposure(self, payer: str, network: str, asset: str) -> int:
        """What a payer has held, charged and not paid. What a capture failed to take stays in it."""
        ...

    def close_authorization(self, identity: str) -> bool:
        """Serve nothing more on it. False where it was not open."""
        ...

    def uncollected(
        self, stands: Collection[AuthorizationStands] = UNCOLLECTED, *, after: str = "", limit: int = 500
    ) -> list[Authorization]:
        """Authorizations that stand so, by deadline, then identity; ``after`` is ``DEADLINE IDENTITY`` of the last one
        that was read."""
        ...

    # Captures (one for each authorization, ever)

    def begin_capture(
        self, identity: str, amount: int, runs: Collection[str], job: str, at: str, steps: Sequence[Step] = ()
    ) -> None:
        """Decide the capture of a closed authorization: ``amount`` for ``runs``; its other charges lapse. Raises
        ``till.capture`` where one was decided before, it still serves, a run is still held or ``runs`` are not charged
        runs of it, and ``till.cap`` where ``amount`` is above what was signed, or is not the sum of the charges (of
        ``exact``: what was signed)."""
        ...

    def end_capture(
        self,
        identity: str,
        at: str,
        *,
        transaction: str | None = None,
        reason: str | None = None,
        steps: Sequence[Step] = (),
    ) -> bool:
        """The capture happened (``transaction``, empty where nothing had to move) or failed for good (``reason``).
        False where that was written before. Raises ``till.capture`` where none is under way."""
        ...

    def lapse(self, identity: str, reason: str, at: str, steps: Sequence[Step] = ()) -> None:
        """Take nothing of a closed authorization, ever. Raises ``till.capture`` as :meth:`begin_capture` does."""
        ...

    # Debts

    def owe(self, run: str, amount: int, reason: str, at: str, steps: Sequence[Step] = ()) -> bool:
        """Owe back what was taken for a run, at most its charge (``till.cap``). False where it is owed already; raises
        ``till.run`` where nothing was taken."""
        ...

    def repay(self, run: str, transaction: str, at: str, steps: Sequence[Step] = ()) -> bool:
        """Note that a debt was paid; of an account this gives the credit back. False where it was noted before; raises
        ``till.run`` where nothing is owed."""
        ...

    def debts(self, *, unpaid: bool = True) -> list[Debt]:
        """What is owed, oldest first; with ``unpaid`` false, what was paid back too."""
        ...

    # Steps

    def add_steps(self, steps: Sequence[Step]) -> None:
        """Write steps that move no amount."""
        ...

    def steps_after(self, position: int, limit: int) -> list[StoredStep]:
        """Steps behind a position, in order."""
        ...

    def steps_of(self, run: str) -> list[StoredStep]:
        """Steps of one run, in order."""
        ...

    def logged(self, indices: Mapping[int, int], cursor: str, position: int) -> None:
        """Note where the log has steps (index by position), and move a cursor."""
        ...

    def cursor(self, name: str) -> int:
        """A stored position; 0 where there is none."""
        ...

    # The books as a whole

    def faults(self) -> list[str]:
        """Add everything up again from its smallest rows. Each fault is a sentence; there should be none."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
