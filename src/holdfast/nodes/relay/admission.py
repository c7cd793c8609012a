"""Who may use the relay, and how much: the one place that knows accounts.

:class:`Admission` is a seam. Behind it stands :class:`AccountAdmission` (keys of accounts, counted per account); tokens
that are counted without naming anybody (Privacy Pass, RFC 9576) would stand there as well. Whatever stands there sees
the request's headers and sizes, and never where the request goes: no account can be tied to a gateway by what is kept.

Rules: with no key configured nobody is admitted. Counts live in memory, by account, for the window and the day under
way, and are written nowhere: a start begins a new day. What an answer takes beyond the window's bytes is not cut off:
the next request waits instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Protocol

from holdfast.core.encoding import sha256
from holdfast.errors import RefusedError
from holdfast.nodes.edge import bearer_token
from holdfast.nodes.relay.config import RelayKey

DAY_S = 86_400
"""A day of a quota, counted from whenever the clock's are."""


class OverQuotaError(RefusedError):
    """Refused for now (429); ``retry_after_s`` says until when."""

    def __init__(self, code: str, message: str, retry_after_s: int) -> None:
        super().__init__(code, message, hint=f"try again in {retry_after_s} s", status=429)
        self.retry_after_s = retry_after_s


class Ticket(Protocol):
    """One admitted request."""

    def take_request(self, size_bytes: int) -> None:
        """The request has arrived whole; raises :class:`OverQuotaError` when its bytes are too many."""
        ...

    def take_answer(self, size_bytes: int) -> None:
        """So many bytes of its answer were passed on."""
        ...

    def close(self) -> None:
        """The request is over, however it ended."""
        ...


class Admission(Protocol):
    """Decides who may ask."""

    def admit(self, headers: Mapping[bytes, bytes]) -> Ticket:
        """A ticket for one request, before its body is read; raises ``auth.*`` (401) or :class:`OverQuotaError`."""
        ...


@dataclass(frozen=True, slots=True)
class Quota:
    """What one account may take."""

    window_s: float
    requests: int
    size_bytes: int
    at_once: int
    day_requests: int | None = None
    """In :data:`DAY_S`; None: as many as the windows let through."""


@dataclass(slots=True)
class _Account:
    """What an account took in the window and the day under way."""

    day_requests: int | None
    """How many it may make in a day."""
    window: int = -1
    requests: int = 0
    size_bytes: int = 0
    open: int = 0
    day: int = -1
    in_day: int = 0


class AccountAdmission:
    """Keys of accounts, kept as digests."""

    def __init__(self, keys: Sequence[RelayKey], quota: Quota, monotonic: Callable[[], float]) -> None:
        self._names = {sha256(item.key.reveal().encode()): item.name for item in keys}
        own = {item.name: item.day_requests for item in keys}
        self._accounts = {name: _Account(quota.day_requests if day is None else day) for name, day in own.items()}
        self._quota = quota
        self._monotonic = monotonic

    def admit(self, headers: Mapping[bytes, bytes]) -> Ticket:
        """See :class:`Admission`. Looking digests up leaks no key by timing."""
        given = headers.get(b"authorization")
        token = bearer_token(given.decode("latin-1") if given is not None else None)
        name = self._names.get(sha256(token.encode()))
        if name is None:
            raise RefusedError("auth.wrong", "this key is not known here", status=401)
        account, quota = self._accounts[name], self._quota
        self._turn(account)
        if account.open >= quota.at_once:
            raise OverQuotaError("relay.at_once", f"{quota.at_once} requests of this account are under way", 1)
        if account.requests >= quota.requests:
            message = f"this account has made {quota.requests} requests in {quota.window_s:g} s"
            raise OverQuotaError("relay.requests", message, self._left_s(quota.window_s))
        if account.day_requests is not None and account.in_day >= account.day_requests:
            message = f"this account has made the {account.day_requests} requests that the relay pays for in a day"
            raise OverQuotaError("relay.day", message, self._left_s(DAY_S))
        if account.size_bytes >= quota.size_bytes:
            raise self._too_much()
        account.requests += 1
        account.in_day += 1
        account.open += 1
        return _AccountTicket(self, account)

    def take(self, account: _Account, size_bytes: int, *, refuse: bool) -> None:
        """Count bytes of an account; refuses what would pass the window's."""
        self._turn(account)
        if refuse and account.size_bytes + size_bytes > self._quota.size_bytes:
            raise self._too_much()
        account.size_bytes += size_bytes

    def _too_much(self) -> OverQuotaError:
        quota = self._quota
        message = f"this account has passed {quota.size_bytes} bytes in {quota.window_s:g} s"
        return OverQuotaError("relay.bytes", message, self._left_s(quota.window_s))

    def _turn(self, account: _Account) -> None:
        """Begin a new window and a new day when it is time."""
        now = self._monotonic()
        window, day = int(now // self._quota.window_s), int(now // DAY_S)
        if account.window != window:
            account.window, account.requests, account.size_bytes = window, 0, 0
        if account.day != day:
            account.day, account.in_day = day, 0

    def _left_s(self, span: float) -> int:
        return max(1, ceil(span - self._monotonic() % span))


@dataclass(slots=True)
class _AccountTicket:
    """A place among an account's requests."""

    admission: AccountAdmission
    account: _Account
    _over: bool = field(default=False)

    def take_request(self, size_bytes: int) -> None:
        self.admission.take(self.account, size_bytes, refuse=True)

    def take_answer(self, size_bytes: int) -> None:
        self.admission.take(self.account, size_bytes, refuse=False)

    def close(self) -> None:
        if not self._over:
            self._over = True
            self.account.open -= 1
