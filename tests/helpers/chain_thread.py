"""A chain on a loop of its own, for commands that each bring another loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from tests.helpers.chains import EvmWorld

World = TypeVar("World", bound=EvmWorld)
Result = TypeVar("Result")


class ChainThread(Generic[World]):
    """Runs a world in a thread and answers its JSON-RPC from any other."""

    def __init__(self, chain: World) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.chain = chain

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run something on the chain's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def make_request(self, method: str, params: Any) -> Any:
        """A command's question, answered over there."""
        asked = self.chain.provider.make_request(method, params)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asked, self.loop))

    async def disconnect(self) -> None:
        return

    def close(self) -> None:
        """Take it down."""
        self.do(self.chain.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
