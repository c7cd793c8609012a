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
from holdfast.errors import RefusedError, UsageError
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
DeriveKey = Callable[[bytes, bytes, int, int, int], bytes]
"""argon2id of a passphrase: with a salt, KiB of memory, passes and threads, 32 bytes."""


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
        derive_key: DeriveKey,
    ) -> None:
        self._derive_key = derive_key
        self._store = store
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._random = random_bytes
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._wrong: dict[str, deque[dt.datetime]] = {}

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

    def unlock(self, user: str, passphrase: str) -> tuple[str, dt.datetime]:
        """A token for a session, kept in memory only, and when it ends unused. Raises ``memory.key`` (401) and
        ``memory.too_often`` (429)."""
        now = self._clock.now()
        self._require_patience(user, now)
        wrap = self._passphrase_wrap(user)
        if wrap is None:
            self._derive(passphrase, bytes(sealing.SALT_BYTES), None)  # whether there is such a user takes as long
            raise self._failed(user, now)
        try:
            principal = self._principal(wrap, self._derive(passphrase, wrap.salt, wrap))
        except RefusedError as error:
            raise self._failed(user, now) from error
        token = f"{SESSION_PREFIX}{self._random(32).hex()}"
        until = now + dt.timedelta(seconds=self._config.unlock_seconds)
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
        for user in [user for user, times in self._wrong.items() if times[-1] < now - _MINUTE]:
            del self._wrong[user]

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

    def _require_patience(self, user: str, now: dt.datetime) -> None:
        times = self._wrong.get(user, deque())
        while times and times[0] < now - _MINUTE:
            times.popleft()
        if len(times) >= self._config.wrong_passphrases:
            raise RefusedError("memory.too_often", "too many wrong passphrases", hint="wait a minute", status=429)

    def _failed(self, user: str, now: dt.datetime) -> RefusedError:
        self._wrong.setdefault(user, deque()).append(now)
        return self._wrong_key()

    # Making

    def create_user(self, passphrase: str) -> tuple[str, str]:
        """A new user under a passphrase: the user's id and an API key with every scope."""
        user, data_key = f"usr_{self._random(12).hex()}", self._random(sealing.KEY_BYTES)
        api_key, wrap = self.make_key(user, data_key, "owner", ("owner",), None)
        wraps = [self.passphrase_wrap(user, data_key, passphrase), wrap]
        self._store.create_user(user, wraps, time_encode(self._clock.now()))
        return user, api_key

    def make_key(
        self, user: str, data_key: bytes, name: str, scopes: Sequence[str], expires_at: str | None
    ) -> tuple[str, Wrap]:
        """A new API key and its wrap, which is not stored yet. Raises ``memory.scopes``."""
        if not scopes or set(scopes) - set(SCOPES):
            raise UsageError("memory.scopes", f"scopes are some of {', '.join(SCOPES)}", param="scopes")
        wrap_id, secret = self._random(8).hex(), self._random(sealing.KEY_BYTES)
        wrap = self._wrap(user, data_key, secret, kind="api_key", name=name, scopes=scopes, wrap_id=wrap_id,
                          expires_at=expires_at, verifier=sha256_hex(secret))  # fmt: skip
        return sealing.format_api_key(wrap_id, secret), wrap

    def add_key(
        self, principal: Principal, version: Version, name: str, scopes: Sequence[str], expires_at: str | None
    ) -> tuple[str, Wrap]:
        """Another API key for the same rows. Raises ``memory.scopes`` and ``memory.too_many``."""
        if len(self._store.wraps(principal.user)) >= MOST_KEYS:
            raise UsageError("memory.too_many", f"a user has at most {MOST_KEYS} keys", hint="end some")
        api_key, wrap = self.make_key(principal.user, principal.data_key, name, scopes, expires_at)
        self._store.add_wrap(wrap, version)
        return api_key, wrap

    def passphrase_wrap(self, user: str, data_key: bytes, passphrase: str) -> Wrap:
        """A wrap for a passphrase. Raises ``memory.passphrase``."""
        size = len(passphrase.encode())
        if not MIN_PASSPHRASE_BYTES <= size <= MAX_PASSPHRASE_BYTES:
            raise UsageError(
                "memory.passphrase",
                f"a passphrase has {MIN_PASSPHRASE_BYTES} to {MAX_PASSPHRASE_BYTES} bytes",
                hint="several words that nobody else would put together",
                param="passphrase",
            )
        salt = self._random(sealing.SALT_BYTES)
        secret = self._derive(passphrase, salt, None)
        return self._wrap(user, data_key, secret, kind="passphrase", name="passphrase", scopes=("owner",),
                          wrap_id=self._random(8).hex(), expires_at=None, salt=salt)  # fmt: skip

    def rewrap(self, wrap: Wrap, data_key: bytes, secret: bytes) -> Wrap:
        """The same key for another data key."""
        return self._wrap(wrap.user, data_key, secret, kind=wrap.kind, name=wrap.name, scopes=wrap.scopes,
                          wrap_id=wrap.id, expires_at=wrap.expires_at, verifier=wrap.verifier)  # fmt: skip

    def matches_passphrase(self, user: str, passphrase: str) -> bool:
        """Whether this is a user's passphrase. Counts as an attempt to unlock."""
        now = self._clock.now()
        self._require_patience(user, now)
        wrap = self._passphrase_wrap(user)
        try:
            found = wrap is not None and bool(self._principal(wrap, self._derive(passphrase, wrap.salt, wrap)))
        except RefusedError:
            found = False
        if not found:
            self._failed(user, now)
        return found

    def _passphrase_wrap(self, user: str) -> Wrap | None:
        return next((wrap for wrap in self._store.wraps(user) if wrap.kind == "passphrase"), None)

    def _derive(self, passphrase: str, salt: bytes, wrap: Wrap | None) -> bytes:
        config = self._config
        cost = (config.passphrase_memory_kib, config.passphrase_passes, config.passphrase_threads)
        if wrap is not None:
            cost = (wrap.memory_kib, wrap.passes, wrap.threads)
        return self._derive_key(passphrase.encode(), salt, *cost)

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
    ) -> Wrap:
        salt = self._random(sealing.SALT_BYTES) if salt is None else salt
        scopes = tuple(sorted(set(scopes)))
        place = sealing.wrap_place(user, wrap_id, kind, scopes, expires_at)
        sealed = sealing.seal(sealing.wrapping_key(secret, salt), self._random(sealing.NONCE_BYTES), place, data_key)
        config, is_passphrase = self._config, kind == "passphrase"
        return Wrap(
            id=wrap_id,
            user=user,
            kind=kind,
            name=name,
            scopes=scopes,
            verifier=verifier,
            salt=salt,
            memory_kib=config.passphrase_memory_kib if is_passphrase else 0,
            passes=config.passphrase_passes if is_passphrase else 0,
            threads=config.passphrase_threads if is_passphrase else 0,
            sealed=sealed,
            created_at=time_encode(self._clock.now()),
            expires_at=expires_at,
        )
