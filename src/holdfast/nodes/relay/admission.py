"""Who may use the relay, and how much: the one place that knows accounts.

:class:`Admission` is a seam. Behind it stands :class:`AccountAdmission` (keys of accounts, counted per account); tokens
that are counted without naming anybody (Privacy Pass, RFC 9576) would stand there as well. Whatever stands there sees
the request's headers and sizes, and never where the request goes: no account can be tied to a gateway by what is kept.

Rules: with no key configured nobody is admitted. Counts live in memory, by account, for the window under way, and are
written nowhere. What an answer takes beyond the window's bytes is not cut off: the next request waits instead.
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


@dataclass(slots=True)
class _Account:
    """What an account took in the window under way."""

    window: int = -1
    requests: int = 0
    size_bytes: int = 0
    open: int = 0


class AccountAdmission:
    """Keys of accounts, kept as digests."""

    def __init__(self, keys: Sequence[RelayKey], quota: Quota, monotonic: Callable[[], float]) -> None:
        self._names = {sha256(item.key.reveal().encode()): item.name for item in keys}
        self._accounts = {item.name: _Account() for item in keys}
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
            raise OverQuotaError("relay.requests", message, self._left_s())
        if account.size_bytes >= quota.size_bytes:
            raise self._too_much()
        account.requests += 1
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
        return OverQuotaError("relay.bytes", message, self._left_s())

    def _turn(self, account: _Account) -> None:
        """Begin a new window when it is time."""
        window = int(self._monotonic() // self._quota.window_s)
        if account.window != window:
            account.window, account.requests, account.size_bytes = window, 0, 0

    def _left_s(self) -> int:
        span = self._quota.window_s
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
