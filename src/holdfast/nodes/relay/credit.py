"""What the relay may still spend at each gateway: the credit of its own workspace there (``spec/relay.md`` §6).

The relay pays for whoever it admits; nobody's payment comes near a sealed request. It asks each gateway now and then
how much is left, and passes nothing on to one where less than the floor is: its callers are told before their request
has left, and a gateway never has to refuse what it has opened.

Rules: a gateway that sells nothing has no account, and one that does not answer keeps what it said last. Asking is on a
schedule of its own and never because of a request, so that what is told cannot be laid beside one. Only what is left is
kept, and no history of it.

Not covered: adding credit (the gateway's operator, or a payment of the relay's operator), and quotas (``admission``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from holdfast.core import canonical
from holdfast.core.pricing import parse_decimal
from holdfast.errors import HoldfastError, MalformedError, UnavailableError
from holdfast.nodes.relay.targets import Target
from holdfast.ports.clock import Clock
from holdfast.ports.http import HTTP
from holdfast.ports.settings import Secret

_LOG = logging.getLogger("holdfast.relay")
SOON_S = 10.0
"""How soon a gateway is asked again that did not tell, or told that nothing is left."""
_NOT_FOUND = 404


@dataclass(slots=True)
class _Account:
    """The relay's account at one gateway."""

    key: Secret
    left: Fraction | None = None
    """US dollars; None where nothing is sold, or nobody knows yet."""
    trouble: str = ""


class Credit:
    """The relay's accounts, by gateway."""

    def __init__(
        self, keys: Mapping[str, Secret], http: HTTP, clock: Clock, *, floor: Fraction, every_s: float
    ) -> None:
        """``keys``: the relay's workspace key by the base URL of the gateway (:attr:`Target.url`)."""
        self._accounts = {url: _Account(key) for url, key in keys.items()}
        self._http = http
        self._clock = clock
        self._floor = floor
        self._every_s = every_s

    @property
    def least(self) -> float | None:
        """The least that is left at any gateway that sells something, US dollars."""
        known = [account.left for account in self._accounts.values() if account.left is not None]
        return float(min(known)) if known else None

    def require(self, target: Target) -> None:
        """Raises ``relay.credit`` (503) where the relay's credit at a gateway is used up."""
        account = self._accounts.get(target.url)
        if account is not None and self._is_used_up(account):
            raise UnavailableError(
                "relay.credit",
                "the relay's credit at this gateway is used up, and nothing was passed on",
                hint="its operator has to add some; try later, or another gateway",
            )

    def _is_used_up(self, account: _Account) -> bool:
        return account.left is not None and account.left < self._floor

    async def work(self) -> None:
        """Ask every gateway, for ever."""
        while True:
            await asyncio.gather(*(self.ask(url) for url in self._accounts))
            waiting = any(account.trouble or self._is_used_up(account) for account in self._accounts.values())
            await self._clock.sleep(min(SOON_S, self._every_s) if waiting else self._every_s)

    async def ask(self, url: str) -> None:
        """Ask one gateway. What goes wrong is said in the log of this node, once."""
        account = self._accounts[url]
        try:
            account.left = await self._fetch(url, account.key)
            account.trouble = ""
        except HoldfastError as error:
            if error.code != account.trouble:
                _LOG.warning("a gateway does not tell the relay's credit: %s", error, extra={"code": error.code})
            account.trouble = error.code

    async def _fetch(self, url: str, key: Secret) -> Fraction | None:
        headers = {"authorization": f"Bearer {key.reveal()}"}
        answer = await self._http.request("GET", f"{url}/v1/account", headers=headers)
        if answer.status == _NOT_FOUND:
            return None
        if answer.status != 200:
            raise UnavailableError("relay.account", f"a gateway answered {answer.status} to what is left of the credit")
        return parse_left(answer.body)


def parse_left(body: bytes) -> Fraction:
    """What is left of an account, US dollars; raises ``relay.account``."""
    try:
        return parse_decimal(canonical.decode_object(body).get("left"))
    except HoldfastError as error:
        raise MalformedError("relay.account", "a gateway tells an account that is none", status=502) from error
