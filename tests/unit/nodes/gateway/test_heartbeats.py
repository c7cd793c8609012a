"""A gateway's place in the registry: what fails stops nothing and is shown, and what works is told as their operators
read it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.client.registry import Status
from holdfast.core import opengradient as og
from holdfast.errors import HoldfastError, RefusedError, UnavailableError
from holdfast.nodes.gateway.heartbeats import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    STEADY_S,
    TRY_AGAIN_S,
    FacilitatorHeartbeats,
    Membership,
    show_status,
)
from holdfast.nodes.gateway.opengradient import AnswerSigner
from holdfast.ports.http import Answer
from holdfast.ports.registry import RegisteredNode
from tests.helpers.clock import FakeClock, settle
from tests.helpers.gateway_world import rsa_signer

START = 1_767_225_600
CONTRACT, ACCOUNT = "0x" + "11" * 20, "0x" + "22" * 20
NODE = RegisteredNode(
    number=1,
    owner=ACCOUNT,
    kind=0,
    endpoint="https://gateway.test",
    tee_id=b"\x01" * 32,
    document=b"\x02" * 32,
    attestation=1,
    pending=0,
    attested_at=START,
    attested_until=START + 86_400,
    registered_at=START,
    heartbeat_at=START,
    disabled_at=0,
    disabled_by_owner=False,
    revoked_at=0,
    suspect_since=0,
    withdrawn_at=0,
    active=True,
)
ACTIVE = Status("nothing", NODE, "")
VOTED_ON = Status("registered", None, "full nodes vote on it")


@dataclass
class ScriptedRegistrar:
    """Does what it is told, the last thing for ever."""

    script: list[Status | HoldfastError]
    tee_id: bytes = b"\x01" * 32
    total_sent: int = 0
    last_heartbeat: int = 0
    last_transaction: str = ""
    steps: int = 0

    async def step(self) -> Status:
        self.steps += 1
        found = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(found, HoldfastError):
            raise found
        if found.did == "heartbeat":
            self.total_sent, self.last_heartbeat, self.last_transaction = self.total_sent + 1, START - 300, "ab" * 32
        return found


async def no_close() -> None:
    """There is no connection."""


def member(*script: Status | HoldfastError) -> tuple[Membership, ScriptedRegistrar, FakeClock]:
    registrar, clock = ScriptedRegistrar(list(script)), FakeClock()
    return (
        Membership(registrar, clock, MemoryMetrics(), contract=CONTRACT, account=ACCOUNT, close=no_close),
        registrar,
        clock,
    )


async def during(work: Callable[[], Awaitable[None]], story: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    try:
        await story()
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_chain_that_is_silent_stops_nothing_and_is_asked_less_and_less() -> None:
    membership, registrar, clock = member(UnavailableError("chain.unreachable", "no answer from http://secret@chain"))

    async def story() -> None:
        pause, steps = FIRST_PAUSE_S, 1
        for _ in range(8):
            await clock.advance(pause)
            steps += 1
            assert registrar.steps == steps
            pause = min(2 * pause, LONGEST_PAUSE_S)
        shown = show_status(registrar.tee_id, membership, None)
        assert (shown["last_error"], shown["total_errors"], shown["active"]) == ("chain.unreachable", steps, False)
        assert "secret" not in json.dumps(shown)

    asyncio.run(during(membership.work, story))


def test_what_failed_once_is_forgotten_when_it_works() -> None:
    membership, registrar, clock = member(RefusedError("registry.pending", "no"), VOTED_ON, ACTIVE)

    async def story() -> None:
        assert membership.beats.last_error == "registry.pending"
        await clock.advance(FIRST_PAUSE_S)
        assert (membership.active, membership.waits_for) == (False, "full nodes vote on it")
        await clock.advance(2 * FIRST_PAUSE_S)
        assert (membership.active, membership.waits_for, membership.beats.last_error) == (True, "", None)
        steps = registrar.steps
        await clock.advance(STEADY_S - 0.1)
        assert registrar.steps == steps
        await clock.advance(0.1)
        assert registrar.steps == steps + 1

    asyncio.run(during(membership.work, story))


def test_a_heartbeat_is_counted_and_told_in_their_shape() -> None:
    membership, registrar, _ = member(Status("heartbeat", NODE, ""))

    async def main() -> None:
        assert not await membership.step()  # it did something: look again soon

    asyncio.run(main())
    shown = show_status(registrar.tee_id, membership, None)
    assert shown == {
        "enabled": True, "running": True, "tee_id": "0x" + "01" * 32, "registry": CONTRACT, "wallet": ACCOUNT,
        "relay_mode": "registry", "facilitator_url": None, "heartbeat_endpoint": None, "interval_seconds": None,
        "total_sent": 1, "total_errors": 0, "last_success_timestamp": START - 300, "last_tx_hash": "ab" * 32,
        "last_error": None, "active": True, "waits_for": "",
    }  # fmt: skip


def test_a_bug_is_not_taken_for_a_silent_chain() -> None:
    class Broken(ScriptedRegistrar):
        async def step(self) -> Status:
            raise ZeroDivisionError("a bug")

    membership = Membership(
        Broken([]), FakeClock(), MemoryMetrics(), contract=CONTRACT, account=ACCOUNT, close=no_close
    )
    with pytest.raises(ZeroDivisionError):
        asyncio.run(membership.step())


# By way of a facilitator.


@dataclass
class ScriptedHTTP:
    """Answers what it was given, the last one for ever."""

    answers: list[Answer | HoldfastError]
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    async def request(self, method: str, url: str, **more: Any) -> Answer:
        self.asked.append((method, url, json.loads(more["body"])))
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, HoldfastError):
            raise found
        return found


class InlineSigner(AnswerSigner):
    """Signs without a thread, so that a standing clock is enough to wait for it."""

    async def sign(self, digest: bytes) -> bytes:
        return self._signer.sign(digest)


def relayed(*answers: Answer | HoldfastError) -> tuple[FacilitatorHeartbeats, ScriptedHTTP, FakeClock]:
    http, clock = ScriptedHTTP(list(answers)), FakeClock()
    signer = InlineSigner(rsa_signer(), clock)
    beats = FacilitatorHeartbeats(
        signer, http, "https://f.test/", clock, MemoryMetrics(), contract=CONTRACT, interval_s=900, behind_s=300
    )
    return beats, http, clock


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, b'{"txHash":"0x1"}'),
        Answer(200, b"{}"),
        Answer(200, b'{"txHash":""}'),
        Answer(200, b'{"txHash":7}'),
        Answer(200, b"no json"),
        Answer(200, b"[]"),
        UnavailableError("http.unreachable", "gone"),
    ],
)
def test_without_a_transaction_a_heartbeat_was_not_sent_and_is_tried_three_times(answer: Any) -> None:
    beats, http, clock = relayed(answer)

    async def main() -> None:
        task = asyncio.ensure_future(beats.beat())
        await settle()
        for tries in (1, 2):
            assert beats.beats.errors == tries
            await clock.advance(TRY_AGAIN_S)
        await task

    asyncio.run(main())
    assert (len(http.asked), beats.beats.sent, beats.beats.errors) == (3, 0, 3)
    assert beats.beats.last_error in ("heartbeat.facilitator", "http.unreachable")


def test_a_heartbeat_is_signed_for_a_moment_before_and_handed_over_in_their_format() -> None:
    beats, http, clock = relayed(Answer(200, b'{"txHash":"0xabc"}'))

    async def story() -> None:
        await settle()
        [(method, url, body)] = http.asked
        assert (method, url) == ("POST", "https://f.test/heartbeat")
        assert body.keys() == {"teeId", "timestamp", "signature", "contractAddress"}
        assert (body["timestamp"], body["contractAddress"]) == (str(START - 300), CONTRACT)
        tee_id = og.parse_hash(body["teeId"])
        og.verify_hash(
            rsa_signer().key.public, og.heartbeat_hash(tee_id, START - 300), base64.b64decode(body["signature"])
        )
        await clock.advance(900)
        assert http.asked[1][2]["timestamp"] == str(START + 600)

    asyncio.run(during(beats.work, story))
    shown = show_status(beats._signer.tee_id, None, beats)
    assert (shown["relay_mode"], shown["facilitator_url"], shown["heartbeat_endpoint"], shown["interval_seconds"]) == (
        "facilitator",
        "https://f.test",
        "https://f.test/heartbeat",
        900,
    )
    assert (shown["total_sent"], shown["last_tx_hash"], shown["wallet"]) == (2, "0xabc", None)


def test_without_either_there_are_no_heartbeats() -> None:
    assert show_status(b"\x01" * 32, None, None) == {"enabled": False}
