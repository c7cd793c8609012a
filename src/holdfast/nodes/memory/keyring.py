"""Who asks, and the data key that they open (``spec/memory.md`` §8).

Rules: a data key comes out of a wrap when a secret is presented, and out of memory while it is unlocked; it is written
nowhere. A scope is believed because the wrap opens with it. What opens nothing is told nothing but that.

Not covered: rows (``vault.py``).
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast.core import memory_sealing as sealing
from holdfast.core.encoding import sha256_hex, time_decode, time_encode
from holdfast.errors import MalformedError, RefusedError, UsageError
from holdfast.nodes.memory.config import MemoryConfig
from holdfast.ports.clock import Clock
from holdfast.ports.memory_store import MemoryStore, Version, Wrap
from holdfast.ports.metrics import Metrics

SCOPES = ("memories:read", "memories:write", "owner", "profile:read")
"""What a key may do: ``owner`` everything; the others are those of MemSync."""
DEFAULT_SCOPES = ("memories:read", "memories:write", "profile:read")
"""Of a key that somebody makes without saying more."""
SESSION_PREFIX = "hfs_"
MOST_KEYS = 100
"""Most keys of one user."""
MIN_PASSPHRASE_BYTES, MAX_PASSPHRASE_BYTES = 12, 1024
_MINUTE = dt.timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody whose secret opened a data key."""

    user: str
    data_key: bytes
    scopes: frozenset[str]
    wrap: str
    """The wrap's id; of a session, the passphrase's."""

    @property
    def is_owner(self) -> bool:
        """Whether it may do everything."""
        return "owner" in self.scopes

    def require(self, scope: str) -> None:
        """Raises ``memory.scope`` (403) where the key was not made for this."""
        if scope not in self.scopes and not self.is_owner:
            raise RefusedError(
                "memory.scope", f"this key may not: it needs the scope {scope}", hint="ask its owner for another key"
            )


@dataclass(frozen=True, slots=True)
class Attempt:
    """A passphrase that is being tried."""

    who: tuple[str, str]
    """The user, and the address that it was sent from."""
    at: dt.datetime
    wrap: Wrap | None
    """None where there is no such user."""
    salt: bytes
    cost: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class NewPassphrase:
    """What a wrap for a passphrase is made with: its salt, the cost of argon2id, and what came of it."""

    salt: bytes
    cost: tuple[int, int, int]
    secret: bytes


@dataclass(slots=True)
class _Session:
    principal: Principal
    until: dt.datetime


class Keyring:
    """Makes, opens and ends keys. ``random_bytes`` gives that many random bytes. Blocks: called from one worker."""

    def __init__(
        self,
        store: MemoryStore,
        config: MemoryConfig,
        clock: Clock,
        metrics: Metrics,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._random = random_bytes
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._wrong: dict[tuple[str, str], deque[dt.datetime]] = {}

    # Opening

    def open(self, api_key: str | None, authorization: str | None) -> Principal:
        """Who presents these headers. Raises ``auth.missing``, ``memory.api_key``, ``memory.key``, ``memory.locked``
        (all 401)."""
        scheme, _, bearer = (authorization or "").partition(" ")
        token = api_key or (bearer.strip() if scheme.lower() == "bearer" else "")
        if not token:
            raise RefusedError("auth.missing", "a key is needed here", hint="send it as X-API-Key", status=401)
        if token.startswith(SESSION_PREFIX):
            return self._session(token)
        wrap_id, secret = sealing.parse_api_key(token)
        wrap = self._store.wrap(wrap_id)
        if wrap is None or not hmac.compare_digest(wrap.verifier, sha256_hex(secret)):
            raise self._wrong_key()
        if wrap.expires_at is not None and time_decode(wrap.expires_at) <= self._clock.now():
            raise RefusedError("memory.key", "this key has ended", hint="its owner can make another", status=401)
        return self._principal(wrap, secret)

    def begin(self, user: str, caller: str) -> Attempt:
        """A passphrase is about to be tried; it counts as wrong until it was right, so that of many at once no more go
        through. Where there is no such user it takes as long. Raises ``memory.too_often`` (429)."""
        now, who = self._clock.now(), (user, caller)
        times = self._wrong.get(who, deque())
        while times and times[0] < now - _MINUTE:
            times.popleft()
        if len(times) >= self._config.wrong_passphrases:
            raise RefusedError("memory.too_often", "too many wrong passphrases", hint="wait a minute", status=429)
        self._wrong.setdefault(who, deque()).append(now)
        wrap = next((wrap for wrap in self._store.wraps(user) if wrap.kind == "passphrase"), None)
        if wrap is None:
            return Attempt(who, now, None, bytes(sealing.SALT_BYTES), self._cost)
        return Attempt(who, now, wrap, wrap.salt, (wrap.memory_kib, wrap.passes, wrap.threads))

    def finish(self, attempt: Attempt, secret: bytes) -> Principal:
        """Who a passphrase turned out to be of. Raises ``memory.key`` (401)."""
        if attempt.wrap is None:
            raise self._wrong_key()
        principal = self._principal(attempt.wrap, secret)
        times = self._wrong.get(attempt.who, deque())
        if attempt.at in times:
            times.remove(attempt.at)
        return principal

    def session(self, principal: Principal) -> tuple[str, dt.datetime]:
        """A token for a session, kept in memory only, and when it ends unused."""
        token = f"{SESSION_PREFIX}{self._random(32).hex()}"
        until = self._clock.now() + dt.timedelta(seconds=self._config.unlock_seconds)
        self._sessions[sha256_hex(token.encode())] = _Session(principal, until)
        while len(self._sessions) > self._config.unlocked_users:
            self._sessions.popitem(last=False)
        return token, until

    def lock(self, user: str) -> int:
        """End a user's sessions; how many there were."""
        mine = [name for name, session in self._sessions.items() if session.principal.user == user]
        for name in mine:
            del self._sessions[name]
        return len(mine)

    def forget(self) -> None:
        """Let go of what was unlocked too long ago."""
        now = self._clock.now()
        for name in [name for name, session in self._sessions.items() if session.until <= now]:
            del self._sessions[name]
        for who in [who for who, times in self._wrong.items() if not times or times[-1] < now - _MINUTE]:
            del self._wrong[who]

    def _session(self, token: str) -> Principal:
        name, now = sha256_hex(token.encode()), self._clock.now()
        session = self._sessions.get(name)
        # Another node over the same store may have ended its passphrase: with a rotation, or with its user.
        if session is None or session.until <= now or self._store.wrap(session.principal.wrap) is None:
            self._sessions.pop(name, None)
            raise RefusedError("memory.locked", "these rows are locked", hint="unlock them again", status=401)
        session.until = now + dt.timedelta(seconds=self._config.unlock_seconds)
        return session.principal

    def _principal(self, wrap: Wrap, secret: bytes) -> Principal:
        place = sealing.wrap_place(wrap.user, wrap.id, wrap.kind, wrap.scopes, wrap.expires_at)
        try:
            data_key = sealing.open_sealed(sealing.wrapping_key(secret, wrap.salt), place, wrap.sealed)
        except RefusedError as error:
            raise self._wrong_key() from error
        return Principal(wrap.user, data_key, frozenset(wrap.scopes), wrap.id)

    def _wrong_key(self) -> RefusedError:
        self._metrics.count("holdfast_memory_refused_keys_total")
        return RefusedError(
            "memory.key",
            "this key opens nothing here",
            hint="nothing was changed or lost; another key or the passphrase of the same user opens the same rows",
            status=401,
        )

    # Making

    def create_user(self, passphrase: NewPassphrase) -> tuple[str, str]:
        """A new user under a passphrase: the user's id and an API key with every scope."""
        user, data_key = f"usr_{self._random(12).hex()}", self._random(sealing.KEY_BYTES)
        api_key, wrap = self.make_key(user, data_key, "owner", ("owner",), None)
        wraps = [self.passphrase_wrap(user, data_key, passphrase), wrap]
        self._store.create_user(user, wraps, time_encode(self._clock.now()))
        return user, api_key

    def make_key(
        self,
        user: str,
        data_key: bytes,
        name: str,
        scopes: Sequence[str],
        expires_at: str | None,
        brought: str | None = None,
    ) -> tuple[str, Wrap]:
        """A new API key and its wrap, which is not stored yet; ``brought`` is one that its owner made themself
        (``memory.md`` §8(7)). Raises ``memory.scopes`` and ``memory.brought_key``."""
        if not scopes or set(scopes) - set(SCOPES):
            raise UsageError("memory.scopes", f"scopes are some of {', '.join(SCOPES)}", param="scopes")
        wrap_id, secret = self._brought(brought) if brought is not None else self._fresh()
        wrap = self._wrap(user, data_key, secret, kind="api_key", name=name, scopes=scopes, wrap_id=wrap_id,
                          expires_at=expires_at, verifier=sha256_hex(secret))  # fmt: skip
        return sealing.format_api_key(wrap_id, secret), wrap

    def _fresh(self) -> tuple[str, bytes]:
        return self._random(8).hex(), self._random(sealing.KEY_BYTES)

    def _brought(self, key: str) -> tuple[str, bytes]:
        try:
            wrap_id, secret = sealing.parse_api_key(key)
        except MalformedError as error:
            raise UsageError(
                "memory.brought_key", f"the key that was brought is none: {error.message}", param="key"
            ) from error
        if self._store.wrap(wrap_id) is not None:
            raise UsageError(
                "memory.brought_key", "there is a key of that id already", hint="end it first", param="key"
            )
        return wrap_id, secret

    def add_key(
        self,
        principal: Principal,
        version: Version,
        name: str,
        scopes: Sequence[str],
        expires_at: str | None,
        brought: str | None = None,
    ) -> tuple[str, Wrap]:
        """Another API key for the same rows. Raises ``memory.scopes``, ``memory.brought_key`` and
        ``memory.too_many``."""
        if len(self._store.wraps(principal.user)) >= MOST_KEYS:
            raise UsageError("memory.too_many", f"a user has at most {MOST_KEYS} keys", hint="end some")
        api_key, wrap = self.make_key(principal.user, principal.data_key, name, scopes, expires_at, brought)
        self._store.add_wrap(wrap, version)
        return api_key, wrap

    def salt_for(self, passphrase: str) -> tuple[bytes, tuple[int, int, int]]:
        """A salt for a new passphrase, and the cost of deriving. Raises ``memory.passphrase``."""
        size = len(passphrase.encode())
        if not MIN_PASSPHRASE_BYTES <= size <= MAX_PASSPHRASE_BYTES:
            raise UsageError(
                "memory.passphrase",
                f"a passphrase has {MIN_PASSPHRASE_BYTES} to {MAX_PASSPHRASE_BYTES} bytes",
                hint="several words that nobody else would put together",
                param="passphrase",
            )
        return self._random(sealing.SALT_BYTES), self._cost

    def passphrase_wrap(self, user: str, data_key: bytes, passphrase: NewPassphrase) -> Wrap:
        """A wrap for a passphrase."""
        salt, cost, wrap_id = passphrase.salt, passphrase.cost, self._random(8).hex()
        return self._wrap(user, data_key, passphrase.secret, kind="passphrase", name="passphrase", scopes=("owner",),
                          wrap_id=wrap_id, expires_at=None, salt=salt, cost=cost)  # fmt: skip

    def rewrap(self, wrap: Wrap, data_key: bytes, secret: bytes) -> Wrap:
        """The same key for another data key."""
        return self._wrap(wrap.user, data_key, secret, kind=wrap.kind, name=wrap.name, scopes=wrap.scopes,
                          wrap_id=wrap.id, expires_at=wrap.expires_at, verifier=wrap.verifier)  # fmt: skip

    @property
    def _cost(self) -> tuple[int, int, int]:
        config = self._config
        return config.passphrase_memory_kib, config.passphrase_passes, config.passphrase_threads

    def _wrap(
        self,
        user: str,
        data_key: bytes,
        secret: bytes,
        *,
        kind: str,
        name: str,
        scopes: Sequence[str],
        wrap_id: str,
        expires_at: str | None,
        verifier: str = "",
        salt: bytes | None = None,
        cost: tuple[int, int, int] = (0, 0, 0),
    ) -> Wrap:
        salt = self._random(sealing.SALT_BYTES) if salt is None else salt
        scopes = tuple(sorted(set(scopes)))
        place = sealing.wrap_place(user, wrap_id, kind, scopes, expires_at)
        sealed = sealing.seal(sealing.wrapping_key(secret, salt), self._random(sealing.NONCE_BYTES), place, data_key)
        memory_kib, passes, threads = cost
        return Wrap(
            id=wrap_id,
            user=user,
            kind=kind,
            name=name,
            scopes=scopes,
            verifier=verifier,
            salt=salt,
            memory_kib=memory_kib,
            passes=passes,
            threads=threads,
            sealed=sealed,
            created_at=time_encode(self._clock.now()),
            expires_at=expires_at,
        )
