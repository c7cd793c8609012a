"""The client against a real gateway under TLS, in a simulated enclave: what is checked, and what it comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.client.gateway import SyncGatewayClient, connect
from holdfast.core.keys import parse_key_document
from holdfast.core.trust import Trust, parse_trust_chain, verify_trust
from holdfast.errors import RefusedError
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
