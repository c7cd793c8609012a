"""An Ethereum JSON-RPC endpoint as whoever sends many small requests to one chain needs it.

Rules for every implementation: methods asked here may be repeated safely, so a request that got no answer is asked
again a few times; an endpoint that stays silent is ``chain.unreachable``; an endpoint that answers with an error is
:class:`AnsweredError`, which is news and not silence. The endpoint is believed; what an answer means is its reader's.
"""

from __future__ import annotations

from typing import Any, Protocol

from holdfast.errors import UnavailableError


class AnsweredError(UnavailableError):
    """chain.rpc: the endpoint answered with a JSON-RPC error."""

    def __init__(self, number: int, text: str, data: object = None) -> None:
        super().__init__("chain.rpc", f"the chain answered {number}: {text}")
        self.number = number
        self.text = text
        self.data = data

    def revert_data(self) -> bytes | None:
        """What a call reverted with; ``None`` when this is no revert. Empty where the endpoint did not say."""
        if isinstance(self.data, str) and self.data.startswith("0x"):
            try:
                return bytes.fromhex(self.data[2:])
            except ValueError:
                return b""
        return b"" if self.number == REVERTED or "revert" in self.text.lower() else None


REVERTED = 3
"""JSON-RPC error code of a revert (Ethereum execution API)."""


class JSONRPC(Protocol):
    """Asks one endpoint."""

    async def request(self, method: str, *parameters: Any) -> Any:
        """The ``result`` of one request. Raises ``chain.unreachable`` or :class:`AnsweredError`."""
        ...
