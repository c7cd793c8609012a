"""``anvil`` from the PATH as the development chain, where there is no pyrevm wheel.

anvil runs as a child on a port of its own, on loopback, without automatic mining: its automatic mode was measured to
stall under bursts and to leak memory while stalled, and empty blocks make it slower and larger for ever. This adapter
mines when the pool holds something executable, and keeps 256 states so that a read racing a block still finds its own.
State is written to one file at a time interval and on a clean stop, so it survives ``kill -9`` up to that interval.

Not covered: choosing anvil's version, and chains other than a development chain.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from holdfast.errors import UnavailableError
from holdfast.ports.vm import GenesisAccount

START_SECONDS = 10.0
"""Longest wait for the child's first answer."""
POLL_SECONDS = 0.03
"""How often the pool is looked at; measured between 20 and 50 ms without losing throughput."""
PRUNE_HISTORY = 256
"""States kept. Without a number anvil keeps one, and reads that race a block fail."""
STATE_SECONDS = 1
"""How often the state file is written."""


def find_anvil() -> str | None:
    """Path of the program, if there is one."""
    return shutil.which("anvil")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class AnvilProcess:
    """The child and its on-demand miner."""

    def __init__(
        self,
        program: str,
        folder: Path,
        *,
        chain_id: int,
        gas_limit: int,
        accounts: Mapping[str, GenesisAccount],
    ) -> None:
        """``accounts``: coin and code by address, put there when the chain is new."""
        self._program = program
        self._folder = folder
        self._chain_id = chain_id
        self._gas_limit = gas_limit
        self._accounts = dict(accounts)
        self._port = 0
        self._child: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._miner: asyncio.Task[None] | None = None
        self.failure: str | None = "anvil has not answered yet"
        """What is wrong, for the readiness route."""

    async def start(self) -> None:
        """Run the child, wait for its first answer, fund the accounts. Raises ``chain.anvil``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        state = self._folder / "anvil-state.json"
        fresh = not state.exists()
        self._port = _free_port()
        self._child = await asyncio.create_subprocess_exec(
            self._program,
            "--host=127.0.0.1",
            f"--port={self._port}",
            f"--chain-id={self._chain_id}",
            f"--gas-limit={self._gas_limit}",
            "--no-mining",
            f"--prune-history={PRUNE_HISTORY}",
            f"--state={state}",
            f"--state-interval={STATE_SECONDS}",
            "--accounts=0",
            "--silent",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._answers():  # noqa: ASYNC110 (another process: there is nothing to wait on)
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            await self.stop()
            raise UnavailableError("chain.anvil", f"anvil did not answer within {START_SECONDS:g} s") from error
        if fresh:
            for address, account in self._accounts.items():
                if account.balance:
                    await self._request("anvil_setBalance", [address, hex(account.balance)])
                if account.code:
                    await self._request("anvil_setCode", [address, "0x" + account.code.hex()])
        self.failure = None
        self._miner = asyncio.create_task(self._mine_for_ever(), name="holdfast-anvil-miner")

    async def _answers(self) -> bool:
        if self._child is not None and self._child.returncode is not None:
            await self.stop()
            raise UnavailableError("chain.anvil", f"anvil ended with {self._child.returncode}")
        try:
            return bool(await self._request("eth_chainId", []) == hex(self._chain_id))
        except (aiohttp.ClientError, OSError, UnavailableError):
            return False

    async def _request(self, method: str, parameters: list[Any]) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        if self._session is None:
            raise UnavailableError("chain.anvil", "anvil is not running")
        async with self._session.post(f"http://127.0.0.1:{self._port}", json=body) as response:
            answer = await response.json()
        if "error" in answer:
            raise UnavailableError("chain.anvil", f"{method}: {answer['error']}")
        return answer["result"]

    async def _mine_for_ever(self) -> None:
        while True:
            try:
                status = await self._request("txpool_status", [])
                if int(status["pending"], 16) > 0:
                    await self._request("evm_mine", [])
                    continue
                self.failure = None
            except (aiohttp.ClientError, OSError, UnavailableError) as error:
                self.failure = f"anvil does not answer: {error}"
            await asyncio.sleep(POLL_SECONDS)

    async def forward(self, body: bytes) -> bytes:
        """One JSON-RPC request body to the child's answer; raises ``chain.unreachable``."""
        if self._session is None:
            raise UnavailableError("chain.unreachable", "anvil is not running")
        headers = {"content-type": "application/json"}
        try:
            async with self._session.post(f"http://127.0.0.1:{self._port}", data=body, headers=headers) as response:
                return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UnavailableError("chain.unreachable", "anvil does not answer") from error

    async def stop(self) -> None:
        """Stop mining, let the child write its state, and end it."""
        if self._miner is not None:
            self._miner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._miner
            self._miner = None
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.terminate()
            try:
                async with asyncio.timeout(5):
                    await self._child.wait()
            except TimeoutError:
                self._child.kill()
                await self._child.wait()
