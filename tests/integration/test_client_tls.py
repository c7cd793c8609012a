"""TLS of the direct path ends at the attested key: whom a client does not speak to, over real sockets."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.http_stream_aiohttp import AiohttpEvents
from holdfast.adapters.tls_pinning import fetch_certificate, pinned_context
from holdfast.client.channels import open_direct
from holdfast.client.gateway import GatewayClient, connect
from holdfast.client.private import connect_private
from holdfast.client.sync import SyncGatewayClient
from holdfast.core.attestation.certificates import read_spki
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.keys import build_key_document
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from tests.helpers.attested import with_keys
from tests.helpers.network import FROM, UNTIL, Network, ed25519_signer
from tests.helpers.relayed import World, path
from tests.helpers.signed_gateway import PIECES, FixedClock, SignedGateway
from tests.helpers.tls import Certificate, TLSGateway, certificate, listening

pytestmark = pytest.mark.enable_socket

REQUEST = {"model": "small-1", "messages": [{"role": "user", "content": "What is a lane?"}]}


@pytest.fixture(autouse=True)
def network_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients live at the time of the test network; only TLS looks at the real clock."""
    monkeypatch.setattr("holdfast.adapters.clock_system.SystemClock", FixedClock)


def run(
    shows: Certificate,
    folder: Path,
    work: Callable[[TLSGateway, Network], Awaitable[Any]],
    *,
    named: str | None = None,
) -> TLSGateway:
    """Serve a gateway whose key document names ``named`` (by default the key of what is shown), and do something."""
    network = with_keys(Network(), tls=named or shows.spki)

    async def scenario() -> TLSGateway:
        async with listening(SignedGateway(network), shows, folder) as gateway:
            await work(gateway, network)
            return gateway

    return asyncio.run(scenario())


async def refused(gateway: TLSGateway, network: Network, **options: Any) -> HoldfastError:
    """The error that connecting ends in; there is no client then, and neither prompt nor key was sent."""
    clients: list[GatewayClient] = []
    with pytest.raises(HoldfastError) as raised:
        async with connect(gateway.url, "hf_key", **{"trust": network.trust(), **options}) as client:
            clients.append(client)
    assert clients == []
    assert all("authorization" not in headers for _, _, headers in gateway.gateway.requests)
    assert all(method == "GET" for method, _, _ in gateway.gateway.requests)
    return raised.value


def test_a_certificate_for_a_key_that_no_key_document_names_is_refused(tmp_path: Path) -> None:
    async def work(gateway: TLSGateway, network: Network) -> None:
        assert (await refused(gateway, network)).code == "identity.tls"

    gateway = run(certificate(), tmp_path, work, named="ab" * 32)
    assert gateway.bytes_read == 0


def test_the_key_of_another_admitted_node_is_refused(tmp_path: Path) -> None:
    """Whoever runs one admitted node must not stand in front of another."""

    async def work(gateway: TLSGateway, network: Network) -> None:
        other = with_keys(Network(), tls=gateway.shows.spki).gateway_document
        span = {"valid_from": time_encode(FROM), "valid_until": "2030-01-01T00:00:00.000Z"}
        documents = [network.gateway_document, other]
        nodes = [{"key_document": b64_encode(item.raw), "revoked": None, **span} for item in documents]
        trust = network.trust(nodes=nodes, logs=[], epochs=[])
        assert (await refused(gateway, network, trust=trust)).code == "identity.tls"

    run(certificate(), tmp_path, work, named="ab" * 32)


def test_without_trust_a_self_signed_certificate_is_refused(tmp_path: Path) -> None:
    async def work(gateway: TLSGateway, network: Network) -> None:
        assert (await refused(gateway, network, trust=None)).code == "identity.tls"

    assert run(certificate(), tmp_path, work).bytes_read == 0


def test_a_gateway_behind_its_attested_key_is_asked(tmp_path: Path) -> None:
    async def work(gateway: TLSGateway, network: Network) -> None:
        async with connect(gateway.url, "hf_key", trust=network.trust()) as client:
            bound = await client.ask(REQUEST)
            assert bound.turn.text == "".join(PIECES)
            checked = bound.attester.checked
            assert (checked.channel.kind, checked.channel.spki) == ("pinned", gateway.shows.spki)
            async with client.stream(REQUEST) as answer:
                assert "".join([marked.text async for marked in answer]) == "".join(PIECES)

    run(certificate(), tmp_path, work)


@pytest.mark.parametrize("authority", [False, True])
def test_it_makes_no_difference_who_signed_the_certificate(tmp_path: Path, authority: bool) -> None:
    shown = certificate(issuer=certificate(authority=True, name="some authority"), authority=authority)

    async def work(gateway: TLSGateway, network: Network) -> None:
        async with connect(gateway.url, "hf_key", trust=network.trust()) as client:
            assert (await client.ask(REQUEST)).turn.text == "".join(PIECES)

    run(shown, tmp_path, work)


def test_the_same_without_an_event_loop(tmp_path: Path) -> None:
    async def work(gateway: TLSGateway, network: Network) -> None:
        def ask(trust: Any) -> str:
            with SyncGatewayClient(gateway.url, "hf_key", trust=trust) as client:
                return client.ask(REQUEST).turn.text

        assert await asyncio.to_thread(ask, network.trust()) == "".join(PIECES)
        with pytest.raises(RefusedError):
            await asyncio.to_thread(ask, None)

    run(certificate(), tmp_path, work)


# Another certificate after the first


def replacements() -> dict[str, tuple[Certificate, Certificate]]:
    """What is learned, and what is shown later."""
    first, authority = certificate(), certificate(authority=True)
    return {
        "another self-signed one": (first, certificate()),
        "one for the same name by an authority": (first, certificate(issuer=certificate(authority=True, name="ca"))),
        "one for another key, signed by the learned one": (authority, certificate(issuer=authority)),
        "another one for the same key": (first, certificate(key=first.key)),
        "one for the learned key, signed by the learned one": (
            authority,
            certificate(key=authority.key, issuer=authority),
        ),
    }


@pytest.mark.parametrize("case", list(replacements()))
def test_a_session_never_goes_on_with_another_certificate(tmp_path: Path, case: str) -> None:
    first, second = replacements()[case]

    async def work(gateway: TLSGateway, network: Network) -> None:
        gateway.hang_up = True
        async with connect(gateway.url, "hf_key", trust=network.trust()) as client:
            await client.ask(REQUEST)
            gateway.shows = second
            before = len(gateway.gateway.requests)
            await gateway.listen()
            for question in (client.ask(REQUEST), stream(client)):
                with pytest.raises(RefusedError) as raised:
                    await question
                assert raised.value.code == "http.certificate"
            assert len(gateway.gateway.requests) == before

    async def stream(client: GatewayClient) -> None:
        async with client.stream(REQUEST):
            pass

    run(first, tmp_path, work)


@pytest.mark.parametrize("case", list(replacements()))
def test_a_pinned_context_refuses_before_anything_is_sent(tmp_path: Path, case: str) -> None:
    first, second = replacements()[case]

    async def work(gateway: TLSGateway, _: Network) -> None:
        context = pinned_context(first.raw)
        http, events = AiohttpHTTP(tls=context), AiohttpEvents(tls=context)
        with pytest.raises(RefusedError) as raised:
            await http.request("POST", gateway.url, body=b"a prompt")
        assert raised.value.code == "http.certificate"
        with pytest.raises(RefusedError) as raised:
            async with events.open("POST", gateway.url, body=b"a prompt"):
                pass
        assert raised.value.code == "http.certificate"
        await http.close()
        await events.close()

    assert run(second, tmp_path, work).bytes_read == 0


def test_it_makes_no_difference_whose_event_loop_it_is(tmp_path: Path) -> None:
    """The check stands in the TLS context, and uvloop has its own TLS protocol around it."""
    uvloop = pytest.importorskip("uvloop")
    learned, other = replacements()["one for another key, signed by the learned one"]

    async def scenario() -> int:
        async with listening(SignedGateway(), other, tmp_path) as there:
            http = AiohttpHTTP(tls=pinned_context(learned.raw))
            with pytest.raises(RefusedError) as raised:
                await http.request("POST", there.url, body=b"a prompt")
            assert raised.value.code == "http.certificate"
            await http.close()
            return there.bytes_read

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scenario()) == 0


def test_a_certificate_that_has_run_out_is_refused(tmp_path: Path) -> None:
    async def work(gateway: TLSGateway, network: Network) -> None:
        assert (await refused(gateway, network)).code == "http.certificate"

    run(certificate(days=-1), tmp_path, work)


def test_an_older_tls_is_not_spoken(tmp_path: Path) -> None:
    shown = certificate()
    context = shown.context(tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    async def scenario() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        http = AiohttpHTTP(tls=pinned_context(shown.raw))
        with pytest.raises(UnavailableError):
            await fetch_certificate("127.0.0.1", port)
        with pytest.raises(UnavailableError):
            await http.request("GET", f"https://127.0.0.1:{port}/")
        await http.close()
        server.close()

    asyncio.run(scenario())


# Learning


def test_learning_a_certificate_sends_nothing(tmp_path: Path) -> None:
    shown = certificate()

    async def work(gateway: TLSGateway, _: Network) -> None:
        port = int(gateway.url.rpartition(":")[2])
        assert await fetch_certificate("127.0.0.1", port) == shown.raw
        assert sha256_hex(read_spki(shown.raw)) == shown.spki

    assert run(shown, tmp_path, work).bytes_read == 0


def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(UnavailableError) as raised:
        asyncio.run(fetch_certificate("127.0.0.1", 1, 1.0))
    assert raised.value.code == "http.unreachable"


def test_somebody_who_never_answers_is_given_up_on() -> None:
    async def scenario() -> None:
        held: list[Any] = []
        server = await asyncio.start_server(lambda *pair: held.append(pair), "127.0.0.1", 0)
        try:
            await fetch_certificate("127.0.0.1", server.sockets[0].getsockname()[1], 0.1)
        finally:
            for _, writer in held:
                writer.close()
            server.close()

    with pytest.raises(UnavailableError) as raised:
        asyncio.run(scenario())
    assert "too long" in raised.value.message


# Without TLS


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://gateway.test", "client.plain_http"),
        ("http://192.0.2.7:8500", "client.plain_http"),
        ("ftp://127.0.0.1", "client.url"),
        ("gateway.test", "client.url"),
        ("http://", "client.url"),
        ("http://127.0.0.1:99999", "client.url"),
    ],
)
def test_plain_http_stays_on_this_machine(url: str, code: str) -> None:
    with pytest.raises(UsageError) as raised, SyncGatewayClient(url, "hf_key"):
        pass
    assert raised.value.code == code


def test_whoever_wants_plain_http_says_so() -> None:
    async def scenario() -> str:
        async with open_direct("http://192.0.2.7:8500", None, insecure_plain_http=True) as way:
            return way.channel.kind

    assert asyncio.run(scenario()) == "plain"


# A relay under TLS


@pytest.mark.parametrize("named", [True, False])
def test_a_relay_is_held_to_its_key_as_a_gateway_is(tmp_path: Path, named: bool) -> None:
    shown, world = certificate(), World()
    relay = build_key_document(
        "relay", ["relay"], "test", [ed25519_signer("relay", "statement").key], tls=shown.spki if named else None
    )
    world.relay = {"node": relay.digest, "key_document": b64_encode(relay.raw)}
    world.gateway.sealed = path(relay=relay.digest)
    span = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL)}
    nodes = json.loads(world.network.trust_version())["nodes"]
    nodes.append({"key_document": b64_encode(relay.raw), "revoked": None, **span})

    async def scenario() -> None:
        async with listening(world, shown, tmp_path, "http://relay.test") as there:
            opened = connect_private(there.url, "hf_relay", trust=world.network.trust(nodes=nodes))
            if not named:
                with pytest.raises(RefusedError) as refused:
                    await opened.__aenter__()
                assert refused.value.code == "http.certificate"
                assert there.bytes_read == 0
                return
            async with opened as client:
                bound = await client.ask(REQUEST)
            assert bound.turn.text == "".join(PIECES)
            assert bound.turn.path == path(relay=relay.digest)

    asyncio.run(scenario())
    assert all(b"lane" not in body for _, body in world.sealed)
