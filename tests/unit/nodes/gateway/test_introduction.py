"""The gateway tells its key document to the log once, in time, and only where trust admits it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.client.log_writer import Accepted
from holdfast.core.keys import build_key_document
from holdfast.errors import RefusedError, UnavailableError
from holdfast.nodes.gateway.introduction import KEPT_FILE, STALE_S, Introduction
from holdfast.nodes.gateway.turn import Identity
from holdfast.verifier.checks import CheckPolicy, check_entry, identity_of
from tests.helpers.clock import FakeClock, settle
from tests.helpers.gateway import DOCUMENT, SIGNER, MemoryLog
from tests.helpers.network import FROM, Network

TLS = "ab" * 32
WHOLE = build_key_document("gateway.test", ["gateway"], "holdfast/test", [SIGNER.key], tls=TLS, predecessor="cd" * 32)


class Scene:
    """A gateway's disk, its log and its trust; the gateway may start again over them."""

    def __init__(self, document=DOCUMENT, admitted=None):
        self.document = document
        self.clock = FakeClock(FROM)
        self.log = MemoryLog()
        self.disk = SimulatedDisk(1)
        network = Network()
        network.gateway_document = admitted or document
        self.trust = network.trust()

    def start(self) -> Introduction:
        identity = Identity(self.document.digest, SIGNER, SIGNER.key.key_id)
        storage = self.disk.mount()
        return Introduction(identity, self.document, self.log, lambda: self.trust, storage, self.clock)


def test_a_gateway_that_trust_does_not_admit_signs_nothing_and_sends_nothing() -> None:
    scene = Scene(document=WHOLE, admitted=DOCUMENT)
    introduction = scene.start()
    with pytest.raises(UnavailableError) as found:
        asyncio.run(introduction.tell())
    assert found.value.code == "gateway.not_admitted"
    assert (introduction.told, scene.log.entries, scene.disk.mount().load(KEPT_FILE)) == (None, [], None)


def test_an_entry_that_the_log_refuses_is_not_called_logged() -> None:
    scene = Scene()

    async def refuse(entries: Sequence[bytes]) -> list[Accepted]:
        return [Accepted("ab" * 32, None, "log.entry") for _ in entries]

    scene.log.append = refuse  # type: ignore[method-assign]
    introduction = scene.start()
    with pytest.raises(RefusedError):
        asyncio.run(introduction.tell())
    assert introduction.told is not None
    assert introduction.told.index is None


def test_what_waited_too_long_is_signed_anew() -> None:
    async def story() -> None:
        scene = Scene()
        scene.log.silent = True
        introduction = scene.start()
        with pytest.raises(UnavailableError):
            await introduction.tell()
        first = introduction.told
        await scene.clock.advance(STALE_S + 1)
        scene.log.silent = False
        second = await introduction.tell()
        assert first is not None
        assert second.envelope.digest != first.envelope.digest
        [entry] = scene.log.entries
        seen = check_entry(
            entry, index=0, seen_at=scene.clock.now(), trust=scene.trust, policy=CheckPolicy(), history=_Nothing()
        )
        assert seen.code == "ok"

    asyncio.run(story())


def test_another_key_document_is_told_too() -> None:
    async def story() -> None:
        scene = Scene()
        await scene.start().tell()
        network = Network()
        network.gateway_document = scene.document = WHOLE
        scene.trust = network.trust()
        introduction = scene.start()
        assert introduction.told is None
        await introduction.tell()
        told = scene.log.statements()
        assert [item.attester for item in told] == [DOCUMENT.digest, WHOLE.digest]
        assert told[1].body == identity_of(WHOLE)
        assert told[1].predicate["tls"] == TLS

    asyncio.run(story())


def test_a_crash_before_the_log_answered_sends_the_same_statement_again() -> None:
    async def story() -> None:
        scene = Scene()
        scene.log.silent = True
        with pytest.raises(UnavailableError):
            await scene.start().tell()
        kept = scene.start().told
        scene.log.silent = False
        await scene.clock.advance(1.0)
        told = await scene.start().tell()
        assert kept is not None
        assert (told.envelope.raw, told.index) == (kept.envelope.raw, 0)
        assert len(scene.log.entries) == 1

    asyncio.run(story())


def test_what_is_logged_is_not_told_again() -> None:
    async def story() -> None:
        scene = Scene()
        first = await scene.start().tell()
        await scene.clock.advance(10_000.0)
        assert await scene.start().tell() == first
        assert len(scene.log.entries) == 1

    asyncio.run(story())


def test_the_task_tries_until_the_log_answers() -> None:
    async def story() -> None:
        scene = Scene()
        scene.log.silent = True
        introduction = scene.start()
        task = asyncio.create_task(introduction.work())
        await settle()
        assert introduction.trouble
        scene.log.silent = False
        await scene.clock.advance(1.0)
        assert (introduction.trouble, len(scene.log.entries)) == ("", 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())


class _Nothing:
    """A log without anything before."""

    def known(self, digest: str) -> None:
        return None

    def closing(self, run: str, attester: str) -> None:
        return None

    def head(self, attester: str, journal: str, before: int) -> None:
        return None

    def paid(self, step: str, attester: str) -> None:
        return None
