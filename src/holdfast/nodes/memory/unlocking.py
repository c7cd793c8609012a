"""Passphrases that are tried, a few at once: argon2id is made to cost, and whoever may knock may ask for it.

Rules: keys are derived from passphrases one after the other in a thread of their own, so that nobody's rows wait for
them. Of those that wait there is a bound, and a smaller one for each address, so that one caller cannot take every
place; whoever finds none is told at once, and nothing was tried or counted (``memory.unlocking_busy``).

Not covered: which passphrase is whose and how many were wrong (``keyring.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from holdfast.errors import UnavailableError
from holdfast.nodes.memory.keyring import Keyring, NewPassphrase, Principal

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
DeriveKey = Callable[[bytes, bytes, int, int, int], bytes]
"""argon2id of a passphrase: with a salt, KiB of memory, passes and threads, 32 bytes."""
SHARE = 4
"""One address may take every fourth place."""


class Unlocking:
    """See the module. ``on_store`` calls something on the thread that asks the store; ``most`` is how many derivations
    may be under way or wait."""

    def __init__(self, keyring: Keyring, on_store: Callable[..., Any], derive_key: DeriveKey, most: int) -> None:
        self._keyring = keyring
        self._on_store = on_store
        self._derive_key = derive_key
        self._most = most
        self._callers: Counter[str] = Counter()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="memory-passphrase")

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown(cancel_futures=True)

    async def unlock(self, user: str, passphrase: str, caller: str) -> tuple[str, dt.datetime]:
        """A token for a session, kept in memory only, and when it ends unused. Raises what :meth:`admit` raises."""
        principal = await self.admit(user, passphrase, caller)
        found: tuple[str, dt.datetime] = await self._on_store(self._keyring.session, principal)
        return found

    async def admit(self, user: str, passphrase: str, caller: str) -> Principal:
        """Whoever knows a user's passphrase. Raises ``memory.key`` (401), ``memory.too_often`` (429) and
        ``memory.unlocking_busy`` (503)."""
        async with self._place(caller):
            attempt = await self._on_store(self._keyring.begin, user, caller)
            secret = await self._work(self._derive_key, passphrase.encode(), attempt.salt, *attempt.cost)
            found: Principal = await self._on_store(self._keyring.finish, attempt, secret)
            return found

    async def new_passphrase(self, passphrase: str, caller: str) -> NewPassphrase:
        """What a wrap for a passphrase is made with. Raises ``memory.passphrase`` and ``memory.unlocking_busy``."""
        salt, cost = self._keyring.salt_for(passphrase)
        async with self._place(caller):
            return NewPassphrase(salt, cost, await self._work(self._derive_key, passphrase.encode(), salt, *cost))

    async def file(
        self, caller: str, call: Callable[Arguments, Result], *arguments: Arguments.args, **more: Arguments.kwargs
    ) -> Result:
        """Seal or open a file under a passphrase. Raises what that does, and ``memory.unlocking_busy``."""
        async with self._place(caller):
            return await self._work(call, *arguments, **more)

    @contextlib.asynccontextmanager
    async def _place(self, caller: str) -> AsyncIterator[None]:
        if self._callers.total() >= self._most or self._callers[caller] >= max(1, self._most // SHARE):
            raise UnavailableError(
                "memory.unlocking_busy",
                "too many passphrases are being tried here",
                hint="nothing was tried or counted; try again in a few seconds, or use an API key",
            )
        self._callers[caller] += 1
        try:
            yield
        finally:
            self._callers[caller] -= 1
            self._callers += Counter()  # whoever holds none is forgotten

    async def _work(
        self, call: Callable[Arguments, Result], *arguments: Arguments.args, **more: Arguments.kwargs
    ) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, lambda: call(*arguments, **more))
