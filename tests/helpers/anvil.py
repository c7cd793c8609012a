"""The contracts on the real anvil, driven by the same hand-moved clock as the other worlds (``helpers.chains``).

anvil mines nothing by itself here. Every call sees the time of the test's clock: the block after a transaction is mined
at that time, and a question asked after the clock moved is answered on an empty block of the new time.
Sockets on loopback: for ``tests/integration`` alone.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import Any

import aiohttp
import pytest

from holdfast.adapters.chain_evm import Deployment, EvmChain, deploy
from holdfast.adapters.evm_rpc import EvmConnection, SendSettings
from holdfast.core.rounds import ChainDomain
from holdfast.ports.chain import Chain, RoundsSettings
from tests.helpers.chains import FUNDS, SETTINGS, ManualClock, signers
from tests.helpers.ports import free_ports

PROGRAM = os.environ.get("HOLDFAST_ANVIL") or shutil.which("anvil") or ""
NEEDS_ANVIL = pytest.mark.skipif(not PROGRAM, reason="no anvil here: CI=true fetches it where npm is")
"""For tests that run on the real one."""
_TIMED = {"eth_call", "eth_estimateGas", "eth_getBlockByNumber"}
"""Questions whose answer depends on what time it is."""
CHAIN_ID = 31337


class Provider:
    """JSON-RPC to the child, with the clock's time in every block. Stands in for web3's provider."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        self._url = url
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._lock = asyncio.Lock()
        self._newest = 0
        self.sent: dict[int, list[str]] = {}
        """Raw transactions by the block that holds them."""
        self.height = 0

    async def ask(self, method: str, *parameters: Any) -> Any:
        """One request; raises ``RuntimeError`` for an error."""
        answer = await self._post(method, list(parameters))
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def _post(self, method: str, parameters: Any) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20))
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        async with self._session.post(self._url, json=body) as response:
            return await response.json()

    async def mine(self) -> None:
        """One block at the clock's time, with whatever waits."""
        now = int(self._clock.time)
        await self.ask("evm_setNextBlockTimestamp", now)
        await self.ask("evm_mine")
        self._newest, self.height = now, int(await self.ask("eth_blockNumber"), 16)

    async def make_request(self, method: str, params: Any) -> Any:
        """What web3 asks."""
        async with self._lock:
            if method in _TIMED and int(self._clock.time) > self._newest:
                await self.mine()
            answer = await self._post(method, params)
            if method == "eth_sendRawTransaction" and "error" not in answer:
                await self.mine()
                self.sent.setdefault(self.height, []).append(params[0])
            return answer

    async def undo(self, depth: int, *, drop: bool) -> None:
        """Undo blocks and grow a longer branch; what they held comes back unless dropped."""
        async with self._lock:
            before = self.height
            await self.ask("anvil_rollback", depth)
            undone = [self.sent.pop(number, []) for number in range(before - depth + 1, before + 1)]
            self.height = before - depth
            await self.mine()
            for raw in [] if drop else [raw for listed in undone for raw in listed]:
                await self.ask("eth_sendRawTransaction", raw)
                await self.mine()
                self.sent.setdefault(self.height, []).append(raw)
            while self.height <= before:
                await self.mine()

    async def disconnect(self) -> None:
        """Let go of the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class AnvilWorld:
    """The contracts on anvil; implements ``helpers.chains.ChainWorld``."""

    def __init__(self, count: int = 5, settings: RoundsSettings = SETTINGS) -> None:
        self.clock = ManualClock(2_000_000_000)  # after every real moment, so that anvil's own clock is never ahead
        self.signers = signers(count)
        self.settings = settings
        self.deployment: Deployment
        self.domain: ChainDomain
        self._child: asyncio.subprocess.Process | None = None
        self._provider: Provider
        self._clients: dict[tuple[int, int], EvmChain] = {}

    async def open(self) -> None:
        port = free_ports()
        self._child = await asyncio.create_subprocess_exec(
            PROGRAM,
            "--host=127.0.0.1",
            f"--port={port}",
            f"--chain-id={CHAIN_ID}",
            f"--timestamp={int(self.clock.time) - 1}",
            "--gas-limit=60000000",
            "--no-mining",
            "--hardfork=osaka",  # the first with the P-256 precompile (EIP-7951)
            "--prune-history=256",
            "--accounts=0",
            "--silent",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._provider = Provider(f"http://127.0.0.1:{port}", self.clock)
        await self._answers()
        for signer in self.signers:
            await self._provider.ask("anvil_setBalance", signer.address, hex(FUNDS))
        self.connection = EvmConnection("anvil:", provider=self._provider)
        self.deployment = await deploy(self.connection, self.signers[0], self.settings)
        self.domain = self.deployment.rounds

    async def _answers(self) -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    if await self._provider.ask("eth_chainId") == hex(CHAIN_ID):
                        return
                except (aiohttp.ClientError, OSError):
                    await asyncio.sleep(0.03)

    def client(self, index: int = 0, *, depth: int = 0) -> Chain:
        if (index, depth) not in self._clients:
            self._clients[index, depth] = EvmChain(
                self.connection,
                self.domain,
                self.signers[index],
                finality_depth=depth,
                first_block=self.deployment.block,
                send=SendSettings(poll_s=0.001, poll_max_s=0.01, receipt_timeout_s=5),
            )
        return self._clients[index, depth]

    async def mine(self, count: int = 1) -> None:
        for _ in range(count):
            await self._provider.mine()

    async def reorganise(self, depth: int, *, drop: bool) -> None:
        await self._provider.undo(depth, drop=drop)

    async def close(self) -> None:
        await self._provider.disconnect()
        if self._child is not None:
            self._child.kill()
            await self._child.wait()
