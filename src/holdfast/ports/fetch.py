"""Asking a source and seeing how it answers (``spec/sources.md`` §4, §5).

What was observed is written down as it happens, so that a refusal shows how far it came and nothing that did not.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.core.admissions import HTTPFacts, SentRequest, TLSFacts
from holdfast.core.exchanges import Exchange
from holdfast.core.sources import Resolved
from holdfast.ports.settings import Secret


@dataclass(slots=True)
class Observed:
    """What was seen of one exchange so far. None is what was not observed."""

    requested: dt.datetime | None = None
    first_byte: dt.datetime | None = None
    request: SentRequest | None = None
    tls: TLSFacts | None = None
    http: HTTPFacts | None = None
    exchange: Exchange | None = None
    hosts: list[str] = field(default_factory=list)
    """Hosts that redirects led to."""
    body: bytes = b""


class Fetcher(Protocol):
    """Asks sources. Connects to no address that it did not look at."""

    async def fetch(self, asked: Resolved, credential: Secret | None, seen: Observed) -> None:
        """Ask, and write into ``seen`` what happens. Raises ``source.*``: ``address``, ``unreachable``, ``timeout``,
        ``tls``, ``certificate``, ``credential``, ``redirected``, ``status``, ``content_type``, ``encoding``, ``size``,
        ``truncated``, ``protocol``."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
