"""Keys are shown with proof or not at all, and the same ones to everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.encoding import b64_encode
from holdfast.core.keys_proof import parse_keys_proof
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.relay.targets import _parse_identity
from holdfast.verifier.keys_proof import verify_keys_proof
from tests.helpers.asgi import request
from tests.helpers.clock import settle
from tests.helpers.identities import configuration, sealed_network
from tests.helpers.network import Network
from tests.helpers.relay import MemoryLogReader, RelayWorld


def play(story: Callable[[RelayWorld], Awaitable[None]]) -> None:
    asyncio.run(story(RelayWorld()))  # type: ignore[arg-type]


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(HoldfastError) as found:
        call()
    return found.value.code


def test_before_a_gateway_was_asked_nothing_is_shown() -> None:
    async def story(world: RelayWorld) -> None:
        assert code_of(lambda: world.targets.keys_of(world.target)) == "relay.keys"
        assert world.targets.describe() == []
        assert code_of(lambda: world.targets.find(world.network.gateway_document.digest)) == "relay.gateway"

    play(story)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"statement": None}, "told the log"),
        ({"statement": {"envelope": "", "index": "1"}}, "without its place"),
        ({"attestation": {"evidence": ""}}, "without a format"),
        ({"key_document": b64_encode(Network().gateway_document.raw)}, "does not admit"),
    ],
)
def test_an_identity_that_is_not_whole_shows_nothing(change: dict[str, Any], why: str) -> None:
    async def story(world: RelayWorld) -> None:
        world.identity.change = change
        await world.targets.ask(world.target)
        with pytest.raises(UnavailableError) as found:
            world.targets.keys_of(world.target)
        assert why in found.value.message

    play(story)


def test_a_gateway_that_trust_does_not_admit_is_not_named() -> None:
    async def story(world: RelayWorld) -> None:
        world.trust = Network().trust()
        await world.targets.ask(world.target)
        assert world.targets.describe() == []
        assert code_of(lambda: world.targets.keys_of(world.target)) == "relay.keys"

    play(story)


def test_without_a_quorum_nothing_is_shown() -> None:
    async def story(world: RelayWorld) -> None:
        world.targets._log = MemoryLogReader(world.network, cosigners=2)
        await world.targets.ask(world.target)
        assert code_of(lambda: world.targets.keys_of(world.target)) == "relay.keys"

    play(story)


def test_a_log_of_others_shows_nothing() -> None:
    async def story(world: RelayWorld) -> None:
        world.targets._log = MemoryLogReader(sealed_network(configuration("another")))
        await world.targets.ask(world.target)
        assert code_of(lambda: world.targets.keys_of(world.target)) == "relay.keys"

    play(story)


def test_what_is_shown_is_checked_and_the_same_for_everybody() -> None:
    async def story(world: RelayWorld) -> None:
        await world.targets.ask(world.target)
        shown = world.targets.keys_of(world.target)
        found = verify_keys_proof(parse_keys_proof(shown.proof), world.trust, world.clock.now())
        assert found.document.ohttp_keys == shown.keys
        world.targets._log = MemoryLogReader(world.network, cosigners=3)
        await world.targets.ask(world.target)
        assert world.targets.keys_of(world.target) is shown

    play(story)


def test_a_newer_attestation_takes_the_place_of_the_older_one() -> None:
    """Evidence runs out within hours; a relay runs for weeks."""

    async def story(world: RelayWorld) -> None:
        await world.targets.ask(world.target)
        first = world.targets.keys_of(world.target)
        world.identity.change = {"attestation": {"format": "insecure-dev", "evidence": b64_encode(b"made later")}}
        await world.targets.ask(world.target)
        shown = world.targets.keys_of(world.target)
        attestation = parse_keys_proof(shown.proof).attestation
        assert attestation is not None
        assert (attestation.evidence, shown.keys) == (b"made later", first.keys)
        world.targets._log = MemoryLogReader(sealed_network(configuration("another")))
        world.identity.change = {"attestation": None}
        await world.targets.ask(world.target)
        assert world.targets.keys_of(world.target) is shown
        assert world.target.trouble

    play(story)


def test_a_gateway_that_falls_silent_keeps_what_it_was_shown_with() -> None:
    async def story(world: RelayWorld) -> None:
        await world.targets.ask(world.target)
        shown = world.targets.keys_of(world.target)
        world.identity.silent = True
        await world.targets.ask(world.target)
        assert world.targets.keys_of(world.target) is shown
        assert world.target.trouble

    play(story)


def test_another_key_document_takes_the_old_keys_away_until_it_is_proved() -> None:
    async def story(world: RelayWorld) -> None:
        await world.targets.ask(world.target)
        turned = sealed_network(configuration("next"))
        world.identity.networks["http://gateway.test"] = turned
        world.trust = turned.trust()
        await world.targets.ask(world.target)
        assert code_of(lambda: world.targets.keys_of(world.target)) == "relay.keys"
        world.targets._log = MemoryLogReader(turned)
        await world.targets.ask(world.target)
        assert world.targets.keys_of(world.target).document.digest == turned.gateway_document.digest

    play(story)


def test_a_bug_in_asking_makes_the_relay_not_ready(caplog: pytest.LogCaptureFixture) -> None:
    async def story(world: RelayWorld) -> None:
        async def broken(*_: Any, **__: Any) -> None:
            raise ZeroDivisionError("a bug")

        assert world.targets.readiness() == {}
        world.identity.request = broken  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            await world.targets.work()
        assert list(world.targets.readiness()) == ["keys"]
        reply = await request(world.app(), "GET", "/readyz")
        assert (reply.status, reply.code) == (503, "node.not_ready")

    play(story)
    assert "stopped" in caplog.text


def test_gateways_are_asked_again_and_sooner_while_keys_are_missing() -> None:
    async def story(world: RelayWorld) -> None:
        world.identity.told = False
        task = asyncio.create_task(world.targets.work())
        await settle()
        asked = world.identity.asked
        await world.clock.advance(1.0)
        assert world.identity.asked == asked + 1
        world.identity.told = True
        await world.clock.advance(1.0)
        asked = world.identity.asked
        assert world.targets.shown == 1
        await world.clock.advance(1.0)
        assert world.identity.asked == asked
        await world.clock.advance(30.0)
        assert world.identity.asked == asked + 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    play(story)


@given(st.binary(max_size=200) | st.sampled_from([b"[]", b'{"statement":{}}', b'{"attestation":[]}']))
def test_whatever_a_gateway_answers_only_our_errors_come_of_it(body: bytes) -> None:
    with pytest.raises(HoldfastError):
        _parse_identity(body)


def test_a_gateway_goes_by_its_digest_in_any_spelling() -> None:
    async def story(world: RelayWorld) -> None:
        await world.targets.ask(world.target)
        digest = world.network.gateway_document.digest
        for name in (digest, "0x" + digest, digest.upper(), None):
            assert world.targets.find(name) is world.target
        assert code_of(lambda: world.targets.find("ab" * 32)) == "relay.gateway"
        assert code_of(lambda: world.targets.find("")) == "relay.gateway"
        assert world.targets.describe() == [{"node": digest, "tee_id": None, "default": True}]

    play(story)
