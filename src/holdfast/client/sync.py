"""The client of a gateway for programs without an event loop: :class:`~holdfast.client.gateway.GatewayClient`, waited
for. Everything that is checked is checked there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from holdfast.client.gateway import AnswerStream, GatewayClient, connect
from holdfast.client.paying import Payer
from holdfast.client.private import connect_private
from holdfast.client.run_views import Openings, RunView
from holdfast.client.streams import Marked
from holdfast.client.turns import Attester, BoundTurn
from holdfast.client.wallet_file import WalletFile, connect_paying
from holdfast.core.trust import Trust
from holdfast.errors import UsageError
from holdfast.verifier.appraisal import Appraisal
from holdfast.verifier.identity import Requirements
from holdfast.verifier.policy import Policy

Result = TypeVar("Result")


class SyncGatewayClient:
    """:class:`GatewayClient` without an event loop: a context manager that keeps one of its own.

    ``make`` replaces the transport; by default it is :func:`connect`. :meth:`private` speaks through a relay,
    :meth:`paying` pays from a wallet.
    """

    @classmethod
    def private(cls, relay: str, key: str | None, *, trust: Trust, **options: Any) -> Self:
        """Over the private path: the arguments are those of :func:`holdfast.client.private.connect_private`."""
        return cls(relay, key, trust=trust, make=lambda: connect_private(relay, key, trust=trust, **options))

    @classmethod
    def paying(cls, url: str, wallet: WalletFile, *, trust: Trust | None = None, **options: Any) -> Self:
        """Paying from a wallet: the arguments are those of :func:`holdfast.client.wallet_file.connect_paying`."""
        return cls(url, None, trust=trust, make=lambda: connect_paying(url, wallet, trust=trust, **options))

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        trust: Trust | None = None,
        requirements: Requirements | None = None,
        insecure_plain_http: bool = False,
        payer: Payer | None = None,
        make: Callable[[], contextlib.AbstractAsyncContextManager[GatewayClient]] | None = None,
    ) -> None:
        self._make = make or (
            lambda: connect(
                url, key, trust=trust, requirements=requirements, insecure_plain_http=insecure_plain_http, payer=payer
            )
        )
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._client: GatewayClient | None = None

    def __enter__(self) -> Self:
        try:
            self._client = self._runner.run(self._stack.enter_async_context(self._make()))
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._runner.run(self._stack.aclose())
        finally:
            self._runner.close()

    def _do(self, work: Callable[[GatewayClient], Coroutine[Any, Any, Result]]) -> Result:
        if self._client is None:
            raise UsageError("client.closed", "use the client inside its with statement")
        return self._runner.run(work(self._client))

    def attester(self) -> Attester:
        """See :meth:`GatewayClient.attester`."""
        return self._do(lambda client: client.attester())

    def models(self) -> tuple[str, ...]:
        """See :meth:`GatewayClient.models`."""
        return self._do(lambda client: client.models())

    def ask(self, request: Mapping[str, Any], **options: Any) -> BoundTurn:
        """See :meth:`GatewayClient.ask`."""
        return self._do(lambda client: client.ask(request, **options))

    @contextlib.contextmanager
    def stream(self, request: Mapping[str, Any], **options: Any) -> Iterator[SyncAnswerStream]:
        """See :meth:`GatewayClient.stream`: ``with client.stream(request) as answer: for marked in answer: …``."""
        if self._client is None:
            raise UsageError("client.closed", "use the client inside its with statement")
        opened = self._client.stream(request, **options)
        answer = self._runner.run(opened.__aenter__())
        try:
            yield SyncAnswerStream(self._runner, answer)
        finally:
            self._runner.run(_leave(opened))

    def run(self, run: str, capability: str | None = None) -> RunView:
        """See :meth:`GatewayClient.run`."""
        return self._do(lambda client: client.run(run, capability))

    def runs(self, limit: int = 20) -> list[Mapping[str, Any]]:
        """See :meth:`GatewayClient.runs`."""
        return self._do(lambda client: client.runs(limit))

    def openings(self, after: int = 0, limit: int = 100) -> Openings:
        """See :meth:`GatewayClient.openings`."""
        return self._do(lambda client: client.openings(after, limit))

    def bundle(self, run: str, capability: str | None = None) -> bytes:
        """See :meth:`GatewayClient.bundle`."""
        return self._do(lambda client: client.bundle(run, capability))

    def appraise(self, run: str, capability: str | None = None, policy: Policy | None = None) -> Appraisal:
        """See :meth:`GatewayClient.appraise`."""
        return self._do(lambda client: client.appraise(run, capability, policy))

    def watch(self, run: str, capability: str | None = None) -> Iterator[RunView]:
        """See :meth:`GatewayClient.watch`."""
        if self._client is None:
            raise UsageError("client.closed", "use the client inside its with statement")
        views = self._client.watch(run, capability)
        try:
            while (view := self._runner.run(_next(views))) is not None:
                yield view
        finally:
            self._runner.run(views.aclose())


class SyncAnswerStream:
    """:class:`AnswerStream` without an event loop."""

    def __init__(self, runner: asyncio.Runner, answer: AnswerStream) -> None:
        self._runner = runner
        self._answer = answer

    @property
    def run(self) -> str:
        return self._answer.run

    @property
    def capability(self) -> str:
        return self._answer.capability

    @property
    def attester(self) -> Attester:
        return self._answer.attester

    @property
    def bound(self) -> BoundTurn | None:
        """See :attr:`AnswerStream.bound`."""
        return self._answer.bound

    def __iter__(self) -> Iterator[Marked]:
        """Windows whose marks verify, then the check of the statements."""
        windows = aiter(self._answer)
        while (marked := self._runner.run(_next(windows))) is not None:
            yield marked


async def _next(values: AsyncIterator[Result]) -> Result | None:
    return await anext(values, None)


async def _leave(opened: contextlib.AbstractAsyncContextManager[Any]) -> None:
    await opened.__aexit__(None, None, None)
