"""Signing in: who vouches for somebody, how often that may be tried, and what it may cost (``people.md`` §3).

Rules:

1. Passwords are hashed in threads of their own, at most ``password_checks_at_once``, with a bounded queue before them:
   memory and waiting are bounded whoever asks. The event loop never waits for a hash.
2. A name that nobody has takes the same work and gets the same answer as a wrong password.
3. An attempt is counted before the work begins and forgiven when it succeeds, so parallel attempts gain nothing. Names
   and all callers together have a limit each. Counters are in this process's memory; several panels count apart.
4. A one-time code is looked up before anything is hashed: its 160 bits are not guessed.

What that costs: who knows a name can make its owner wait to sign in, and who floods the panel everybody. Sessions that
are open go on.

:class:`Identity` is the seam for OpenID Connect and the like. What a deployment provides: somebody who checks the token
(signature, issuer, audience, nonce, time) and gives a :class:`~holdfast.review.people.Subject` whose ``source`` is the
issuer, whose ``subject`` is the ``sub`` claim (never an address, which can pass to another person), and whose roles are
:func:`~holdfast.review.roles.map_roles` of the roles claim. No header set by a proxy is ever taken for an identity: a
header can be sent by anybody who reaches the port. :class:`LocalAccounts` is the source that ships.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, Protocol, TypeVar

from holdfast.core.encoding import sha256
from holdfast.errors import RefusedError, UnavailableError
from holdfast.ports.clock import Clock
from holdfast.review.passwords import MOST_BYTES, check_password, normal_form
from holdfast.review.people import LOCAL, People, PeopleConfig, SignedIn, Subject, fold_name, sign_in_refused
from holdfast.review.roles import Principal

ACCOUNT_WINDOW_S = 900.0
"""Failures of one name count this long."""
OVERALL_WINDOW_S = 60.0
"""Failures of all callers count this long."""
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Credential = TypeVar("Credential")
Credential_contra = TypeVar("Credential_contra", contravariant=True)


class Passwords(Protocol):
    """Makes and checks hashes; ``adapters/passwords_argon2.py``. Methods block."""

    decoy: str
    """A hash that no password has."""

    def hash(self, password: bytes) -> str:
        """A new hash."""
        ...

    def matches(self, phc: str, password: bytes) -> bool:
        """Whether a hash is of this password."""
        ...

    def outdated(self, phc: str) -> bool:
        """Whether a hash was made at another cost than today's."""
        ...


class Identity(Protocol[Credential_contra]):
    """Says who somebody is, from what they present. Says nothing about what they may do here, but their roles claim."""

    async def identify(self, credential: Credential_contra) -> Subject:
        """Who this is. Raises ``people.sign_in`` (401) for nobody, without saying why."""
        ...


@dataclass(frozen=True, slots=True)
class NamePassword:
    """What somebody typed."""

    name: str
    password: str = field(repr=False)


class Attempts:
    """Failures within a window: for each name, and in all. Names are kept as digests, as long as they count."""

    def __init__(self, per_account: int, overall: int) -> None:
        self._per_account = per_account
        self._overall = overall
        self._of: dict[bytes, deque[float]] = {}
        self._all: deque[tuple[float, bytes]] = deque()

    def begin(self, name: str, now: float) -> bytes:
        """Count an attempt as failed until :meth:`forgive`. Raises ``people.too_many`` (429) and counts nothing."""
        key = sha256(fold_name(name).encode("utf-8", "surrogatepass"))
        self._forget(now)
        recent = sum(1 for at, _ in self._all if at > now - OVERALL_WINDOW_S)
        if recent >= self._overall:
            raise _too_many("too many wrong passwords are coming in", "wait a minute")
        if len(self._of.get(key, ())) >= self._per_account:
            raise _too_many("too many wrong passwords for this name", "wait a quarter of an hour")
        self._of.setdefault(key, deque()).append(now)
        self._all.append((now, key))
        return key

    def forgive(self, key: bytes, now: float) -> None:
        """The attempt of that time succeeded."""
        times = self._of.get(key)
        if times is not None and now in times:
            times.remove(now)
            self._all.remove((now, key))
            if not times:
                del self._of[key]

    def _forget(self, now: float) -> None:
        while self._all and self._all[0][0] <= now - ACCOUNT_WINDOW_S:
            at, key = self._all.popleft()
            times = self._of[key]
            times.remove(at)
            if not times:
                del self._of[key]


class HashThreads:
    """Threads that hash. Take no more work than they can do soon; counts what a caller who went away left behind."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="passwords")
        self._most = at_once + waiting
        self._lock = threading.Lock()
        self._taken = 0

    async def run(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Run it there. Raises ``people.busy`` (503) instead of queueing beyond the bound."""
        with self._lock:
            if self._taken >= self._most:
                raise UnavailableError("people.busy", "too many people are signing in at once", hint="try again")
            self._taken += 1
        try:
            future = self._pool.submit(function, *args, **kwargs)
        except BaseException:
            self._done(None)
            raise
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    def _done(self, _: Future[Result] | None) -> None:
        with self._lock:
            self._taken -= 1

    def close(self) -> None:
        """Finish what runs; drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class StoreThread:
    """The one thread that calls the people's store."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="people")

    async def run(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Run it there, after what was asked before."""
        return await asyncio.wrap_future(self._pool.submit(function, *args, **kwargs))

    def close(self) -> None:
        """Finish what was asked."""
        self._pool.shutdown(wait=True)


class LocalAccounts:
    """The accounts of this panel as an :class:`Identity`: name and password, checked at the same cost for everybody."""

    def __init__(
        self,
        people: People,
        passwords: Passwords,
        config: PeopleConfig,
        clock: Clock,
        store: StoreThread,
        hashing: HashThreads,
    ) -> None:
        self._people = people
        self._passwords = passwords
        self._clock = clock
        self._store = store
        self._hashing = hashing
        self._attempts = Attempts(config.sign_in_failures_per_account, config.sign_in_failures_per_minute)

    async def identify(self, credential: NamePassword) -> Subject:
        """Whose name and password these are. Raises ``people.sign_in``, ``people.too_many`` or ``people.busy``."""
        raw = _bytes_of(credential.password)
        now = self._clock.monotonic()
        attempt = self._attempts.begin(credential.name, now)
        try:
            account = await self._store.run(self._people.local_account, credential.name)
            phc = self._passwords.decoy if account is None or account.password is None else account.password
            same = await self._hashing.run(self._passwords.matches, phc, raw)
        except UnavailableError:
            self._attempts.forgive(attempt, now)  # nothing was tried
            raise
        if account is None or account.password is None or not same:
            await self._store.run(self._people.note_refused, credential.name)
            raise sign_in_refused()
        self._attempts.forgive(attempt, now)
        if self._passwords.outdated(phc):
            renewed = await self._hashing.run(self._passwords.hash, raw)
            if await self._store.run(self._people.renew_hash, account.id, phc, renewed):
                phc = renewed
        return Subject(LOCAL, account.id, account.display, proof=phc)

    async def redeem(self, code: str, password: str, name: str = "", display: str = "") -> SignedIn:
        """Use a one-time code: set its account's password, or make the first account (with ``name`` and ``display``).
        Raises ``people.code``, ``people.password``, ``people.name``, ``people.text`` or ``people.busy``."""
        names = await self._store.run(self._people.names_behind_code, code, name, display)
        raw = check_password(password, names)
        phc = await self._hashing.run(self._passwords.hash, raw)
        return await self._store.run(self._people.use_code, code, phc, name, display)

    async def change_password(self, principal: Principal, old: str, new: str) -> SignedIn:
        """Replace one's own password; the old one is asked for again, under the limits of a sign-in. Ends every session
        and begins one."""
        raw = _bytes_of(old)
        account = await self._store.run(self._people.account_behind, principal)
        new_raw = check_password(new, (account.name, account.display))
        now = self._clock.monotonic()
        attempt = self._attempts.begin(account.name, now)
        phc = account.password or self._passwords.decoy
        try:
            same = await self._hashing.run(self._passwords.matches, phc, raw)
        except UnavailableError:
            self._attempts.forgive(attempt, now)
            raise
        if not same:
            await self._store.run(self._people.note_refused, account.name)
            raise sign_in_refused()
        self._attempts.forgive(attempt, now)
        if new_raw == raw:
            raise RefusedError("people.password", "the new password is the old one", status=400, param="password")
        made = await self._hashing.run(self._passwords.hash, new_raw)
        return await self._store.run(self._people.set_hash, principal, phc, made)


class SignIn:
    """What a panel needs: sign in, one-time codes, password changes, and the store's thread for everything else.

    ``await sign_in.run(people.who, token)`` calls a method of :class:`~holdfast.review.people.People` in its thread.
    """

    def __init__(self, people: People, passwords: Passwords, config: PeopleConfig, clock: Clock) -> None:
        self.people = people
        self._store = StoreThread()
        self._hashing = HashThreads(config.password_checks_at_once, config.password_checks_waiting)
        self.local = LocalAccounts(people, passwords, config, clock, self._store, self._hashing)

    async def run(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Call a blocking method in the store's thread."""
        return await self._store.run(function, *args, **kwargs)

    async def sign_in(self, name: str, password: str) -> SignedIn:
        """A session for a name and a password."""
        return await self.sign_in_with(self.local, NamePassword(name, password))

    async def sign_in_with(self, identity: Identity[Credential], credential: Credential) -> SignedIn:
        """A session for whoever an identity source recognises."""
        return await self._store.run(self.people.open_session, await identity.identify(credential))

    async def redeem(self, code: str, password: str, name: str = "", display: str = "") -> SignedIn:
        """See :meth:`LocalAccounts.redeem`."""
        return await self.local.redeem(code, password, name, display)

    async def change_password(self, principal: Principal, old: str, new: str) -> SignedIn:
        """See :meth:`LocalAccounts.change_password`."""
        return await self.local.change_password(principal, old, new)

    def close(self) -> None:
        """End both kinds of threads. The store itself is closed by whoever opened it."""
        self._hashing.close()
        self._store.close()


def _bytes_of(password: str) -> bytes:
    """The bytes of a password that is to be checked; what can be nobody's is refused before any work."""
    try:
        raw = normal_form(password)
    except RefusedError:
        raise sign_in_refused() from None
    if not raw or len(raw) > MOST_BYTES:
        raise sign_in_refused()
    return raw


def _too_many(says: str, hint: str) -> RefusedError:
    return RefusedError("people.too_many", says, hint=hint, status=429)
