"""Several nodes in one process: none of them may end unnoticed."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import pytest
import uvicorn

from holdfast.cli.host import NodeServer, serve
from holdfast.errors import UnavailableError


class FakeServer:
    """Serves until told to exit, or ends as it is told."""

    def __init__(self, ends: str = "") -> None:
        self.ends = ends
        self.should_exit = False
        self.config = uvicorn.Config(lambda: None, host="127.0.0.1", port=1)

    async def serve(self) -> None:
        if self.ends == "exit":
            sys.exit(3)
        while not self.should_exit and not self.ends:  # noqa: ASYNC110 - uvicorn is told by this flag too
            await asyncio.sleep(0)


def host(stop: asyncio.Event, **servers: FakeServer) -> None:
    asyncio.run(asyncio.wait_for(serve(cast("dict[str, NodeServer]", servers), stop), 10))


@pytest.mark.parametrize(("ends", "why"), [("exit", "cannot listen on 127.0.0.1:1"), ("returns", "did not start")])
def test_a_server_that_ends_by_itself_ends_all_and_names_itself(ends: str, why: str) -> None:
    steady = FakeServer()
    with pytest.raises(UnavailableError) as caught:
        host(asyncio.Event(), log=FakeServer(ends), panel=steady)
    assert caught.value.code == "node.ended"
    assert "the log node" in caught.value.message
    assert why in caught.value.message
    assert steady.should_exit


def test_told_to_stop_all_end_and_nothing_is_wrong() -> None:
    stop, servers = asyncio.Event(), [FakeServer(), FakeServer()]
    stop.set()
    host(stop, log=servers[0], panel=servers[1])
    assert all(server.should_exit for server in servers)
