"""The client against a real gateway under TLS, in a simulated enclave: what is checked, and what it comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.client.gateway import connect
from holdfast.client.private import Direct, connect_private
from holdfast.client.sync import SyncGatewayClient
from holdfast.core.keys import parse_key_document
from holdfast.core.trust import Trust, parse_trust_chain, verify_trust
from holdfast.errors import RefusedError, UnavailableError
from holdfast.verifier.identity import Requirements
from tests.helpers.live_gateway import KEY, MODEL, LiveGateway, make_state, serving

pytestmark = pytest.mark.enable_socket
REQUEST = {"model": MODEL, "messages": [{"role": "user", "content": "What is a lane?"}]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with serving(tmp_path_factory.mktemp("state")) as found:
        yield found


def trust_of(state: Path) -> Trust:
    return verify_trust(parse_trust_chain(make_state(state).trust.read_bytes()))


def test_the_attested_key_ends_tls_and_answers_this_clients_nonce(gateway: LiveGateway) -> None:
    async def scenario() -> None:
        async with connect(gateway.tls_url, KEY, trust=trust_of(gateway.state)) as client:
            bound = await client.ask(REQUEST)
            assert bound.turn.text
            async with client.stream(REQUEST) as answer:
                assert "".join([marked.text async for marked in answer]) == bound.turn.text
        checked = bound.attester.checked
        document = parse_key_document((gateway.state / "keys" / "gateway.json").read_bytes())
        assert (checked.channel.kind, checked.channel.spki) == ("pinned", document.tls)
        assert (checked.enclave, checked.form, checked.fresh) == ("development", "aws-nitro", True)
        assert checked.says == (
            "gateway.holdfast.local: admitted by trust; its attestation is a development stand-in (aws-nitro), no "
            "enclave; TLS ends at the key that its key document names"
        )
        assert [check.code for check in checked.transcript if check.answer == "no"] == []

    asyncio.run(scenario())


def test_a_simulated_enclave_is_no_hardware_whoever_asks(gateway: LiveGateway) -> None:
    for url in (gateway.tls_url, gateway.url):
        with (
            pytest.raises(RefusedError) as refused,
            SyncGatewayClient(url, KEY, trust=trust_of(gateway.state), requirements=Requirements("hardware")),
        ):
            pass
        assert refused.value.code == "identity.attestation"


def test_without_trust_its_certificate_counts_for_nothing(gateway: LiveGateway) -> None:
    with pytest.raises(RefusedError) as refused, SyncGatewayClient(gateway.tls_url, KEY):
        pass
    assert refused.value.code == "identity.tls"


def test_the_trust_of_another_network_admits_nobody_here(gateway: LiveGateway, tmp_path: Path) -> None:
    other = trust_of(tmp_path)
    for url, code in ((gateway.tls_url, "identity.tls"), (gateway.url, "gateway.trust")):
        with pytest.raises(RefusedError) as refused, SyncGatewayClient(url, KEY, trust=other):
            pass
        assert refused.value.code == code


# Without a relay


def test_a_relay_that_is_not_there_is_an_error_and_the_gateway_hears_nothing(gateway: LiveGateway) -> None:
    before = len(gateway.runs())
    way = SyncGatewayClient.private("http://127.0.0.1:9", "hf_relay", trust=trust_of(gateway.state))
    with pytest.raises(UnavailableError) as raised, way as client:
        client.ask(REQUEST)
    assert raised.value.code == "http.unreachable"
    assert len(gateway.runs()) == before


def test_whoever_named_the_direct_way_gets_it_and_is_told(gateway: LiveGateway) -> None:
    async def scenario() -> None:
        trust, direct = trust_of(gateway.state), Direct(gateway.tls_url, KEY)
        async with connect_private("http://127.0.0.1:9", "hf_relay", trust=trust, direct=direct) as client:
            bound = await client.ask(REQUEST)
            async with client.stream(REQUEST) as answer:
                async for _ in answer:
                    pass
        for turn in (bound.turn, answer.turn):
            assert turn is not None
            assert (turn.path, turn.fell_back) == (None, "http.unreachable")
        assert bound.attester.checked.channel.kind == "pinned"

    asyncio.run(scenario())


def test_the_direct_way_is_held_to_the_same_requirements(gateway: LiveGateway) -> None:
    options: dict[str, Any] = {"requirements": Requirements("hardware"), "direct": Direct(gateway.tls_url, KEY)}
    way = SyncGatewayClient.private("http://127.0.0.1:9", "x", trust=trust_of(gateway.state), **options)
    with pytest.raises(RefusedError) as refused, way:
        pass
    assert refused.value.code == "identity.attestation"
