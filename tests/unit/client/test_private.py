"""The private path: which keys are sealed to, whose word counts for it, and that nothing goes another way unsaid."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from holdfast.client.gateway import GatewayClient
from holdfast.client.private import choose_configuration
from holdfast.client.turns import BoundTurn
from holdfast.core import canonical
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.hpke import AES_128_GCM, CHACHA20_POLY1305
from holdfast.core.ohttp import (
    build_key_configuration,
)
from holdfast.core.statements import SealedPath
from holdfast.core.trust import Trust
from holdfast.errors import RefusedError, UnavailableError, UndecidedError, UsageError
from holdfast.verifier.identity import PLAIN, Requirements
from tests.helpers.attested import in_debug_mode, with_keys
from tests.helpers.identities import configuration, proof_for
from tests.helpers.network import FROM, UNTIL, Network, ed25519_signer
from tests.helpers.relayed import CONFIGURATION, MACHINE, RELAY, REQUEST, World, path
from tests.helpers.signed_gateway import PIECES, SignedGateway


def other_network() -> Network:
    """The same gateway with another OHTTP key."""
    return with_keys(Network(), ohttp=(configuration("swapped"),))


# The keys that a relay shows


def test_keys_of_a_gateway_that_trust_does_not_admit_are_refused() -> None:
    world = World(show=lambda _: proof_for(other_network()))
    assert world.refusal().code == "keys_proof.attester"
    assert world.sealed == []


def test_a_relay_that_swaps_a_configuration_is_refused() -> None:
    swapped = b64_encode(other_network().gateway_document.raw)
    world = World(show=lambda raw: canonical.encode({**canonical.decode_object(raw), "key_document": swapped}))
    assert world.refusal().code == "keys_proof.attester"
    both = Network()
    both.gateway_document = other_network().gateway_document
    world.network.gateway_document, kept = both.gateway_document, world.network.gateway_document
    trust = world.network.trust()
    world.network.gateway_document = kept
    assert world.refusal(trust).code == "keys_proof.statement"
    assert world.sealed == []


def test_keys_that_the_log_does_not_hold_are_refused() -> None:
    world = World(show=lambda raw: canonical.encode({**canonical.decode_object(raw), "index": 0}))
    assert world.refusal().code == "keys_proof.inclusion"
    assert world.sealed == []


def test_a_checkpoint_of_a_forked_log_is_refused() -> None:
    """Signed by another key than the log's, or by no quorum: a tree that only this client is shown."""
    world = World()
    fork = with_keys(Network(log=ed25519_signer("thief", "log")), ohttp=(CONFIGURATION,))
    world.show = lambda _: proof_for(fork)
    assert world.refusal().code == "keys_proof.log"
    world.show = bytes
    world.log = {"cosigners": 2}
    error = world.refusal()
    assert (error.code, type(error)) == ("keys_proof.quorum", UndecidedError)
    assert world.sealed == []


def test_another_gateway_than_the_one_that_was_named_is_refused() -> None:
    assert World().refusal(gateway="ab" * 32).code == "private.gateway"
    world = World()
    world.ask(gateway=world.network.gateway_document.digest)
    assert world.asked[0][1].endswith(f"/v1/ohttp/keys/proof?gateway={world.network.gateway_document.digest}")


@pytest.mark.parametrize("suite", ["aes-256-gcm", ""])
def test_an_unknown_suite_is_the_callers_mistake(suite: str) -> None:
    world = World()
    error = world.refusal(suite=suite)
    assert (error.code, type(error)) == ("private.suite", UsageError)
    assert world.asked == []


def test_a_suite_that_the_gateway_does_not_offer_is_refused_and_never_weakened() -> None:
    only_chacha = build_key_configuration(1, bytes(range(32)), [CHACHA20_POLY1305]).encoded
    of_another_kem = b"\x02\x00\x10" + bytes(65) + b"\x00\x04\x00\x01\x00\x01"
    with pytest.raises(RefusedError) as refused:
        choose_configuration((only_chacha, of_another_kem), AES_128_GCM)
    assert refused.value.code == "private.suite"
    assert choose_configuration((of_another_kem, only_chacha), CHACHA20_POLY1305).encoded == only_chacha


# Attestation


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        ("nothing", "identity.attestation"),
        ("a debug enclave", "attestation.debug"),
        ("another key document", "attestation.binding"),
    ],
)
def test_keys_without_the_attestation_that_is_required_are_not_sealed_to(shown: str, code: str) -> None:
    world = World(development=False)
    document = world.network.gateway_document
    world.attestation = {
        "nothing": None,
        "a debug enclave": MACHINE.shown(document, None, change=in_debug_mode),
        "another key document": MACHINE.shown(other_network().gateway_document, None),
    }[shown]
    trust = world.network.trust(**MACHINE.trust(world.network))
    assert world.refusal(trust).code == code
    assert world.sealed == []


def hardware_world() -> tuple[World, Trust]:
    world = World(development=False)
    document = world.network.gateway_document
    world.attestation = MACHINE.shown(document, None)
    world.gateway.attest = lambda nonce: MACHINE.shown(document, nonce)
    return world, world.network.trust(**MACHINE.trust(world.network))


def test_whoever_opens_the_requests_answers_this_clients_nonce() -> None:
    world, trust = hardware_world()
    checked = world.ask(trust).attester.checked
    assert (checked.enclave, checked.fresh, checked.channel.kind) == ("hardware", True, "sealed")
    assert "every request is sealed to a key that its key document names and the log shows to everybody" in checked.says
    assert [check.spec for check in checked.transcript if check.answer == "yes"][-3:] == [
        "client.md §4",
        "relay.md §4",
        "client.md §4",
    ]
    world, trust = hardware_world()
    world.gateway.attest = lambda _: None
    assert world.refusal(trust).code == "identity.attestation"
    old = MACHINE.shown(world.network.gateway_document, None)
    world.gateway.attest = lambda nonce: old if nonce is None else None
    assert world.refusal(trust).code == "identity.stale"


def test_a_gateway_that_opens_the_requests_of_another_is_refused() -> None:
    """The relay hands sealed requests to whoever can open them; only the node of the proof may answer."""
    world = World()
    second = with_keys(Network(), ohttp=(CONFIGURATION,), payment="0x" + "11" * 20)
    world.gateway.network = second
    documents = [world.network.gateway_document, second.gateway_document]
    span = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL)}
    nodes = json.loads(world.network.trust_version())["nodes"]
    nodes = [item for item in nodes if item["key_document"] != b64_encode(documents[0].raw)]
    nodes += [{"key_document": b64_encode(item.raw), "revoked": None, **span} for item in documents]
    assert world.refusal(world.network.trust(nodes=nodes)).code == "identity.ohttp"


# What the relay and the gateway get to know


def test_the_relay_sees_the_key_and_no_text_and_the_gateway_the_text_and_no_key() -> None:
    world = World()
    bound = world.ask()
    assert bound.turn.text == "".join(PIECES)
    assert [(method, url) for method, url, _ in world.asked[:2]] == [
        ("GET", "http://relay.test/v1/ohttp/keys/proof"),
        ("GET", "http://relay.test/v1/identity"),
    ]
    assert all(headers == {} for _, _, headers in world.asked[:2])
    assert len(world.sealed) == 4  # identity, attestation, question, bundle
    for headers, body in world.sealed:
        assert headers["authorization"] == "Bearer hf_relay"
        assert headers["x-tee-id"] == world.network.gateway_document.digest
        assert b"lane" not in body
    assert len({body[7:39] for _, body in world.sealed}) == 4  # an ephemeral key for each
    for _, _, headers in world.gateway.requests:
        assert "authorization" not in headers
        assert "hf_relay" not in str(headers)


def test_padding_hides_the_size_within_its_bounds() -> None:
    world = World()
    world.ask(pad_bytes=4096)
    assert {(len(body) - 55) % 4096 for _, body in world.sealed} == {0}


def test_a_relay_that_is_somebody_else_is_refused() -> None:
    world = World()
    world.relay = {"node": "ab" * 32, "key_document": b64_encode(RELAY.raw)}
    assert world.refusal().code == "private.relay"
    gateway = world.network.gateway_document
    world.relay = {"node": gateway.digest, "key_document": b64_encode(gateway.raw)}
    assert world.refusal().code == "private.relay"


def test_a_relay_that_does_not_say_who_it_is_is_said() -> None:
    world = World(says=path(relay=None))
    world.relay = None
    bound = world.ask()
    assert bound.turn.path == path(relay=None)
    assert "identity.relay" in [check.code for check in bound.attester.checked.transcript]


# What the signed route says of the way


@pytest.mark.parametrize(
    "says",
    [
        path(config=configuration("another")),
        path("chacha20-poly1305"),
        path(relay="ab" * 32),
        SealedPath(sha256_hex(CONFIGURATION), "aes-128-gcm", "json", RELAY.digest),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_route_that_tells_of_another_way_is_refused(says: SealedPath, streamed: bool) -> None:
    ask = stream if streamed else World.ask
    with pytest.raises(RefusedError) as refused:
        ask(World(says=says))
    assert refused.value.code == "answer.path"


def stream(world: World, **options: Any) -> BoundTurn | None:
    async def read() -> BoundTurn | None:
        client = await world.client(**options)
        async with client.stream(REQUEST) as answer:
            assert "".join([marked.text async for marked in answer]) == "".join(PIECES)
            return answer.bound

    return asyncio.run(read())


def test_a_route_without_a_path_is_refused_on_the_private_path() -> None:
    world = World()
    world.gateway.sealed = None
    with pytest.raises(RefusedError) as refused:
        world.ask()
    assert refused.value.code == "answer.path"


def test_a_route_that_claims_the_private_path_is_refused_on_the_direct_one() -> None:
    gateway = SignedGateway(sealed=path())
    with pytest.raises(RefusedError) as refused:
        asyncio.run(gateway.client(Network().trust()).ask(REQUEST))
    assert refused.value.code == "answer.path"


@pytest.mark.parametrize("relay", [None, RELAY.digest])
def test_a_turn_says_how_it_went(relay: str | None) -> None:
    world = World(says=path("chacha20-poly1305", relay=relay))
    bound = world.ask(suite="chacha20-poly1305")
    assert bound.turn.path == path("chacha20-poly1305")
    assert bound.turn.fell_back is None
    world = World(says=path(relay=relay))
    streamed = stream(world)
    assert streamed is not None
    assert streamed.turn.path == path()


# The direct path, for those who ask for it


def test_without_being_asked_nothing_goes_the_direct_way() -> None:
    world = World()
    world.silent = True
    assert world.refusal(requirements=Requirements("none")).code == "http.unreachable"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_turn_that_fell_back_says_so(streamed: bool) -> None:
    world = World()
    direct = SignedGateway(world.network)

    async def instead(error: UnavailableError) -> GatewayClient:
        client = direct.client(world.network.trust())
        client.fell_back = error.code
        return client

    async def turn() -> BoundTurn | None:
        client = await world.client(instead=instead)
        world.silent = True
        if not streamed:
            return await client.ask(REQUEST)
        async with client.stream(REQUEST) as answer:
            assert "".join([marked.text async for marked in answer]) == "".join(PIECES)
            return answer.bound

    bound = asyncio.run(turn())
    assert bound is not None
    assert (bound.turn.path, bound.turn.fell_back) == (None, "http.unreachable")
    assert bound.attester.checked.channel == PLAIN


def test_what_the_gateway_itself_refuses_is_not_asked_again_directly() -> None:
    world = World()

    async def instead(_: UnavailableError) -> GatewayClient:
        raise AssertionError("the direct path was taken")

    world.gateway.refusal = {"error": {"message": "x", "type": "unavailable", "param": None, "code": "upstream.silent"}}

    async def turn() -> None:
        client = await world.client(instead=instead)
        world.gateway.status = 503
        with pytest.raises(UnavailableError) as raised:
            await client.ask(REQUEST)
        assert raised.value.code == "upstream.silent"
        with pytest.raises(UnavailableError):
            async with client.stream(REQUEST):
                pass

    asyncio.run(turn())


def test_a_refusal_of_the_keys_never_leads_to_the_direct_path() -> None:
    world = World(show=lambda _: proof_for(other_network()))

    async def instead(_: UnavailableError) -> GatewayClient:
        raise AssertionError("the direct path was taken")

    assert world.refusal(instead=instead).code == "keys_proof.attester"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_relay_that_has_no_credit_left_is_not_paid_for(streamed: bool) -> None:
    """An authorization inside a sealed request would name its payer to whoever reads the question."""
    world = World()

    async def ask() -> None:
        client = await world.client()
        world.gateway.status = 402
        if not streamed:
            await client.ask(REQUEST)
            return
        async with client.stream(REQUEST):
            pass

    with pytest.raises(UnavailableError) as refused:
        asyncio.run(ask())
    assert refused.value.code == "paying.relay"
    assert not any("payment-signature" in headers for _, _, headers in world.gateway.requests)
