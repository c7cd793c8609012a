"""One fetcher for all kinds of sources: each kind is asked by the one that knows how."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.core.sources import Resolved
from holdfast.ports.fetch import Fetcher, Observed
from holdfast.ports.settings import Secret


class FetcherByKind:
    """Implements :class:`holdfast.ports.fetch.Fetcher`. ``others`` are by a definition's ``kind``; the rest is
    ``usual``'s."""

    def __init__(self, usual: Fetcher, others: Mapping[str, Fetcher]) -> None:
        self._usual = usual
        self._others = dict(others)

    async def fetch(self, asked: Resolved, credential: Secret | None, seen: Observed) -> None:
        await self._others.get(asked.source.kind, self._usual).fetch(asked, credential, seen)

    async def close(self) -> None:
        for fetcher in (self._usual, *self._others.values()):
            await fetcher.close()
