"""JSON-RPC (:mod:`holdfast.ports.json_rpc`) over kept-alive HTTP connections, requests of one moment in one batch.

Whatever is asked during one turn of the event loop, and while all connections are busy, travels as one JSON-RPC batch:
many callers that each ask a little cost one exchange together. That, and no client library above it, is what makes it
several times cheaper than one request at a time (``bench/facilitator.py``).

Rules: an exchange without a whole answer is tried again with growing pauses; an error answer is handed on at once.
An endpoint that takes no batches (it answers one error for all) is asked one by one from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from holdfast.errors import UnavailableError
from holdfast.ports.json_rpc import AnsweredError

RETRY_PAUSES_S = (0.05, 0.2, 0.8)
"""Pauses before the second and later tries, each varied by up to half."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(slots=True)
class _Asked:
    method: str
    parameters: Sequence[Any]
    answer: asyncio.Future[Any]


class BatchingJSONRPC:
    """One endpoint. Makes its session on first use, in the loop that uses it; :meth:`close` ends it."""

    def __init__(self, url: str, *, timeout_s: float = 10.0, batch_requests: int = 100, connections: int = 4) -> None:
        """``batch_requests``: most requests in one exchange. ``connections``: exchanges at a time."""
        self.url = url
        self._timeout_s = timeout_s
        self._batch = batch_requests
        self._free = connections
        self._session: aiohttp.ClientSession | None = None
        self._waiting: list[_Asked] = []
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._jitter = random.Random()  # noqa: S311 (spreads retries, decides nothing)

    async def request(self, method: str, *parameters: Any) -> Any:
        loop = asyncio.get_running_loop()
        asked = _Asked(method, parameters, loop.create_future())
        self._waiting.append(asked)
        if not self._scheduled and self._free:
            self._scheduled = True
            loop.call_soon(self._send)
        return await asked.answer

    def _send(self) -> None:
        """End of a turn: as many batches as there are free connections."""
        self._scheduled = False
        while self._waiting and self._free:
            batch, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
            self._free -= 1
            task = asyncio.ensure_future(self._exchange(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _exchange(self, batch: list[_Asked]) -> None:
        try:
            await self._try(batch)
        except UnavailableError as error:
            for asked in batch:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
        except BaseException as error:
            for asked in batch:
                if not asked.answer.done():
                    asked.answer.set_exception(
                        UnavailableError("chain.unreachable", f"the exchange ended: {type(error).__name__}")
                    )
            raise
        finally:
            self._free += 1
            if self._waiting and not self._scheduled:
                self._send()

    async def _try(self, batch: list[_Asked]) -> None:
        body = _encode(
            [
                {"jsonrpc": "2.0", "id": number, "method": asked.method, "params": asked.parameters}
                for number, asked in enumerate(batch)
            ]
        )
        failure: BaseException | None = None
        for pause in (0.0, *RETRY_PAUSES_S):
            if pause:
                await asyncio.sleep(pause * self._jitter.uniform(0.5, 1.0))
            try:
                answers = _parse(await self._post(body))
                break
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                failure = error
        else:
            why = "it took too long" if isinstance(failure, TimeoutError) else str(failure) or type(failure).__name__
            raise UnavailableError(
                "chain.unreachable", f"no answer from the chain: {why}", hint="is the RPC URL right, and running?"
            ) from failure
        if isinstance(answers, dict):
            self._batch = 1 if len(batch) > 1 else self._batch
            if len(batch) > 1:
                await asyncio.gather(*(self._try([asked]) for asked in batch))
                return
            answers = [answers]
        self._hand_out(batch, answers)

    def _hand_out(self, batch: list[_Asked], answers: Any) -> None:
        named = {answer.get("id"): answer for answer in answers if isinstance(answer, dict)}
        if len(batch) == 1 and 0 not in named and len(answers) == 1 and isinstance(answers[0], dict):
            named[0] = answers[0]
        for number, asked in enumerate(batch):
            if asked.answer.done():
                continue
            answer = named.get(number)
            if answer is None:
                asked.answer.set_exception(UnavailableError("chain.unreachable", "the chain left a request out"))
            elif "error" in answer:
                asked.answer.set_exception(_answered(answer["error"]))
            else:
                asked.answer.set_result(answer.get("result"))

    async def _post(self, body: bytes) -> bytes:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        headers = {"content-type": "application/json"}
        async with self._session.post(self.url, data=body, headers=headers, allow_redirects=False) as response:
            raw = await response.read()
            if response.status >= 400 and not raw.lstrip().startswith((b"{", b"[")):
                raise ValueError(f"status {response.status}")
            return raw

    async def close(self) -> None:
        """Let go of connections; whoever still waits is told so."""
        for task in list(self._tasks):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()


def _parse(raw: bytes) -> Any:
    """An object or a list; raises ``ValueError`` for anything else."""
    answers = _decode(raw)
    if not isinstance(answers, dict | list):
        raise ValueError("neither an answer nor a list of them")  # noqa: TRY004 (tried again like other nonsense)
    return answers


def _answered(value: Any) -> AnsweredError:
    if not isinstance(value, dict):
        return AnsweredError(0, str(value))
    number = value.get("code")
    return AnsweredError(number if isinstance(number, int) else 0, str(value.get("message", "")), value.get("data"))
