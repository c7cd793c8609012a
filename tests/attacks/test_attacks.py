"""Somebody who wants in: each test is one attack on a whole network, or on the commands that judge what comes from one,
and names the check that stops it. ``README.md`` lists them; a test about the repository keeps the list whole.

What single parsers and contracts refuse is tested where they are tested. Here it has to be refused through the doors
that a stranger finds: HTTP, the chain's RPC, the command line, the client.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import datetime as dt
import http.client
import io
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.enclave_insecure import InsecureEnclave, InsecureModule, load_or_create_insecure_root
from holdfast.adapters.evm_rpc import EvmConnection
from holdfast.adapters.registry_evm import EvmRegistry
from holdfast.adapters.signer_rsa import RSASigner, load_rsa_signer
from holdfast.adapters.signer_secp256k1 import load_or_create_signer as load_or_create_account
from holdfast.cli.main import run
from holdfast.client.gateway import GatewayClient, connect
from holdfast.client.private import connect_private
from holdfast.core import canonical
from holdfast.core.attestation.binding import build_binding
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.core.keys import build_key_document, parse_key_document
from holdfast.core.ohttp import GatewayKey
from holdfast.core.opengradient import heartbeat_hash, tee_id_of
from holdfast.core.registry import build_submission, challenge_nonce, claimed_measurement
from holdfast.core.rounds import ChainDomain
from holdfast.core.statements import build_envelope, pre_authentication_encoding
from holdfast.core.trust import Trust, parse_trust_chain, verify_trust
from holdfast.errors import DevelopmentModeWarning, HoldfastError
from holdfast.verifier.registration import Circumstances, appraise_registration
from holdfast.verifier.transcript import Transcript
from tests.helpers.attestations import VECTORS, vector
from tests.helpers.attested import Machine, with_keys
from tests.helpers.between import Between, Change, Passed, kept
from tests.helpers.network import FROM, UNTIL, Network, at, ed25519_signer
from tests.helpers.opengradient import active_gateways
from tests.helpers.processes import NetworkProcess, network, wait_for
from tests.helpers.signed_gateway import FixedClock, SignedGateway
from tests.helpers.tls import Certificate, certificate, listening

pytestmark = pytest.mark.enable_socket


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    """A whole network to attack."""
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "fast.toml").write_text("[gateway]\ndiscover = false\nbuiltin_tokens_per_second = 0\n")
    with network(folder / "state", "--config", str(folder / "fast.toml")) as found:
        proof = "/v1/ohttp/keys/proof"
        wait_for(lambda: knock(found.ready["relay"], "GET", proof)[0] == 200, 30, "a quorum's cosignature")
        yield found


@contextlib.contextmanager
def stopped_by(*codes: str) -> Iterator[None]:
    """The attack ends in an error of ours with one of these codes."""
    with pytest.raises(HoldfastError) as refused:
        yield
    assert refused.value.code in codes, refused.value.code


def command(*arguments: str) -> dict[str, Any]:
    """A command line of ours with ``--json``: its exit code and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = run([*arguments, "--json"])
    return {"exit": code, **json.loads(out.getvalue())}


def knock(url: str, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """One raw request; what came back."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)
    try:
        connection.putrequest(method, path)
        for name, value in {**headers, "content_length": str(len(body))}.items():
            connection.putheader(name.replace("_", "-"), value)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # who is refused early is not listened to
            connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def check_refusal(status: int, body: bytes) -> str:
    """A refusal in the one shape of errors; its code."""
    assert 400 <= status < 500, (status, body[:200])
    error = json.loads(body)["error"]
    assert error.keys() == {"message", "type", "param", "code", "hint"}
    assert error["code"] != "internal"
    return str(error["code"])


# Bytes that are none.


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Good bytes with a few pieces cut out, repeated, or written over."""
    raw = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        end = min(len(raw), at + draw(st.integers(0, 64)))
        raw = raw[:at] + draw(st.one_of(st.just(b""), st.just(raw[at:end] * 2), st.binary(max_size=64))) + raw[end:]
    return raw


EVIDENCE = {
    "nitro": ("nitro-bound", "nitro-root.pem", None),
    "tdx": ("dcap-tdx-bound", "dcap-root.pem", "dcap-collateral.json"),
    "snp": ("snp-bound", "snp-root.pem", "snp-chain.pem"),
    "nvidia": ("nvidia-report", "nvidia-root.pem", "nvidia-chain.pem"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where files for commands are put."""
    return tmp_path_factory.mktemp("files")


@pytest.mark.parametrize("kind", EVIDENCE)
@given(data=st.data())
def test_evidence_of_broken_cbor_or_asn1_is_refused_in_words(folder: Path, kind: str, data: st.DataObject) -> None:
    name, roots, collateral = EVIDENCE[kind]
    good, shared, file = vector(name), VECTORS / "shared", folder / "evidence.bin"
    raw = data.draw(st.one_of(damaged([good]), st.binary(max_size=2000)))
    if raw.rstrip(b"\0") == good.rstrip(b"\0"):
        return
    file.write_bytes(raw)
    options = ["--at", "2026-01-01T00:10:00Z", "--roots", str(shared / roots)]
    options += ["--collateral", str(shared / collateral)] if collateral else []
    done = command("attestation", "verify", "--kind", kind, *options, str(file))
    assert done["exit"] in (1, 3)
    assert done["error"]["code"]


@pytest.mark.parametrize("kind", EVIDENCE)
def test_evidence_of_many_megabytes_is_refused_unread(folder: Path, kind: str) -> None:
    file = folder / "oversized.bin"
    file.write_bytes(vector(EVIDENCE[kind][0]) + bytes(40 << 20))
    done = command("attestation", "verify", "--kind", kind, "--at", "2026-01-01T00:10:00Z", str(file))
    assert (done["exit"], done["error"]["code"]) == (1, "attestation.size")


@given(data=st.data())
def test_a_bundle_or_trust_file_of_broken_json_is_refused_in_words(folder: Path, data: st.DataObject) -> None:
    good = (
        (VECTORS / "lanes" / "settled" / "bundle.json").read_bytes(),
        (VECTORS / "shared" / "trust.json").read_bytes(),
    )
    broken = data.draw(st.integers(0, 1))
    files = [folder / "bundle.json", folder / "trust.json"]
    for number, file in enumerate(files):
        file.write_bytes(data.draw(damaged([good[number]])) if number == broken else good[number])
    done = command("verify", str(files[0]), "--trust", str(files[1]), "--require", "settlement=proven")
    if files[broken].read_bytes() != good[broken]:
        assert done["exit"] in (1, 3)


DEEP = b"[" * 100_000
OVERSIZED = b'{"model":"' + b"m" * (9 << 20) + b'"}'
NOT_JSON = [b"", b"{", b"\xff\xfe", b'{"a":1,"a":2}', b'{"model":NaN}', DEEP, b'{"model":"\\ud800"}', OVERSIZED]


@pytest.mark.parametrize(
    "body", NOT_JSON, ids=["nothing", "half", "latin", "twice", "nan", "deep", "surrogate", "large"]
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_request_of_broken_json_is_refused_and_the_gateway_goes_on(
    net: NetworkProcess, path: str, body: bytes
) -> None:
    key = f"Bearer {net.key}"
    status, answer = knock(net.ready["gateway"], "POST", path, body, authorization=key, content_type="application/json")
    assert check_refusal(status, answer).partition(".")[0] in {"json", "request", "http"}
    assert knock(net.ready["gateway"], "GET", "/readyz")[0] == 200


# Who answers.

MACHINE = Machine()
"""Hardware that the trust documents of these tests admit."""
REQUEST = {"model": "small-1", "messages": [{"role": "user", "content": "What is a lane?"}]}
OTHER_RUN = "01900000-0000-7000-8000-00000000ffff"
TLS, OHTTP = "ab" * 32, b"\x01\x00\x20" + bytes(range(32)) + b"\x00\x04\x00\x01\x00\x01"


def attested() -> tuple[SignedGateway, Trust]:
    """A gateway in an enclave, and trust that admits it and what it was measured as."""
    network = with_keys(Network(development=False), ohttp=(OHTTP,))
    gateway = SignedGateway(network)
    gateway.attest = lambda nonce: MACHINE.shown(network.gateway_document, nonce)
    return gateway, network.trust(**MACHINE.trust(network))


def ask(gateway: SignedGateway, trust: Trust, clock: Any = None) -> None:
    """Ask one question as ``holdfast chat`` does; when it is refused neither the prompt nor the key has left."""
    client = gateway.client(trust)
    if clock is not None:
        client = GatewayClient("http://gateway.test", "hf_key", http=gateway, events=gateway, clock=clock, trust=trust)
    try:
        asyncio.run(client.ask(REQUEST))
    except HoldfastError:
        assert all(method == "GET" for method, _, _ in gateway.requests)
        assert all("authorization" not in headers for _, _, headers in gateway.requests)
        raise


def test_an_attestation_that_answered_somebody_else_before_is_refused() -> None:
    gateway, trust = attested()
    recorded: list[dict[str, Any]] = []
    genuine = gateway.attest

    def replay(nonce: bytes | None) -> dict[str, Any] | None:
        shown = genuine(nonce)
        if nonce is not None and shown is not None:
            recorded.append(shown)
            return recorded[0]
        return shown

    gateway.attest = replay
    ask(gateway, trust)
    gateway.requests.clear()
    with stopped_by("attestation.nonce"):
        ask(gateway, trust)
    assert len(recorded) == 2


def test_an_attestation_for_no_nonce_does_not_pass_for_an_answer() -> None:
    gateway, trust = attested()
    gateway.attest = lambda _: MACHINE.shown(gateway.network.gateway_document, None)
    with stopped_by("attestation.nonce"):
        ask(gateway, trust)


def test_a_key_document_that_took_the_place_of_the_attested_one_is_refused() -> None:
    """Both are admitted: whoever runs the node may rotate its keys, and the enclave has attested the old ones."""
    gateway, _ = attested()
    old = gateway.network.gateway_document
    gateway.attest = lambda nonce: MACHINE.shown(old, nonce)
    with_keys(gateway.network, tls=TLS)
    members = MACHINE.trust(gateway.network)
    trust = gateway.network.trust(**members)
    assert trust.admission(gateway.network.gateway_document.digest) is not None
    with stopped_by("attestation.binding"):
        ask(gateway, trust)


@pytest.mark.parametrize("kept", ["tls", "ohttp"])
def test_keys_that_the_attestation_does_not_bind_are_refused(kept: str) -> None:
    gateway, _ = attested()
    document = gateway.network.gateway_document
    changed = dataclasses.replace(document, **({"ohttp": ()} if kept == "tls" else {"tls": TLS}))
    gateway.attest = lambda nonce: MACHINE.shown(changed, nonce)
    trust = gateway.network.trust(**MACHINE.trust(gateway.network))
    with stopped_by("identity.ohttp" if kept == "tls" else "identity.tls"):
        ask(gateway, trust)


@pytest.mark.parametrize("how", ["taken out", "ended"])
def test_a_measurement_that_trust_took_back_is_refused(how: str) -> None:
    gateway, _ = attested()
    members = MACHINE.trust(gateway.network)
    ended = [{**members["measurements"][0], "valid_until": time_encode(at(4))}]
    members["measurements"] = [] if how == "taken out" else ended
    with stopped_by("attestation.measurement"):
        ask(gateway, gateway.network.trust(**members))


@pytest.mark.parametrize("days", [-800, 800])
def test_a_clock_that_is_set_back_or_forward_brings_nothing_old_back(days: int) -> None:
    """Whoever moves a client's clock gets a refusal: trust, admission and evidence hold for a time of their own."""

    class Skewed(FixedClock):
        def now(self) -> dt.datetime:
            return at(5) + dt.timedelta(days=days)

    gateway, trust = attested()
    with stopped_by("gateway.trust"):
        ask(gateway, trust, Skewed())


def test_a_certificate_that_a_pinned_authority_issued_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node's own certificate may sign others; whoever holds its key once could issue one for a key of theirs."""
    monkeypatch.setattr("holdfast.adapters.clock_system.SystemClock", FixedClock)
    registered = certificate(authority=True)
    issued = certificate(issuer=registered, name="impostor")
    network = with_keys(Network(), tls=registered.spki)

    async def scenario() -> int:
        async with listening(SignedGateway(network), registered, tmp_path) as gateway:
            gateway.hang_up = True
            async with connect(gateway.url, "hf_key", trust=network.trust()) as client:
                await client.ask(REQUEST)
                gateway.shows, before = issued, gateway.bytes_read
                await gateway.listen()
                with stopped_by("http.certificate"):
                    await client.ask(REQUEST)
            with stopped_by("identity.tls"):
                async with connect(gateway.url, "hf_key", trust=network.trust()):
                    pass
            return gateway.bytes_read - before

    assert asyncio.run(scenario()) == 0


# Whose statement it is.


@pytest.mark.parametrize(
    ("change", "code"),
    [({"nonce": "another-nonce-than-sent"}, "answer.nonce"), ({"run": OTHER_RUN}, "answer.trace")],
    ids=["another question", "another run"],
)
def test_a_statement_about_something_else_is_not_evidence_for_this_answer(change: dict[str, Any], code: str) -> None:
    def other(members: dict[str, Any]) -> dict[str, Any]:
        return members | change

    network = Network()
    with stopped_by(code):
        asyncio.run(SignedGateway(network, route=other, execution=other).client(network.trust()).ask(REQUEST))


def test_a_statement_that_another_admitted_node_signed_is_refused() -> None:
    """The gateway answers by itself and hands on what another gateway, as good as this one, has signed."""
    network, other = Network(), ed25519_signer("another gateway", "statement")
    document = build_key_document("another", ["gateway"], "test", [other.key])
    span = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL), "revoked": None}
    nodes = [{"key_document": b64_encode(item.raw), **span} for item in (network.gateway_document, document)]

    def by_another(members: dict[str, Any]) -> dict[str, Any]:
        return members | {"attester": document.digest}

    def sealed(payload: bytes) -> bytes:
        signature = other.sign(pre_authentication_encoding(payload))
        return build_envelope(payload, other.key.key_id, signature)

    gateway = SignedGateway(
        network,
        route=by_another,
        execution=by_another,
        seal=lambda _: sealed,
    )
    trust = network.trust(nodes=nodes, logs=[], epochs=[])
    with stopped_by("answer.signature"):
        asyncio.run(gateway.client(trust).ask(REQUEST))


# A relay that does more than pass on.


def network_trust(net: NetworkProcess) -> Trust:
    """The network's trust, as a client has it."""
    return verify_trust(parse_trust_chain((net.state / "trust" / "trust.json").read_bytes()))


QUESTION = {"model": "holdfast-builtin", "messages": [{"role": "user", "content": "What is a lane?"}]}


async def ask_privately(net: NetworkProcess, relay: str, shown: list[str] | None = None) -> None:
    """One streamed question over a relay, as ``holdfast chat --private`` asks it; ``shown`` gets what it shows."""
    async with (
        connect_private(relay, net.key, trust=network_trust(net)) as client,
        client.stream(QUESTION) as answer,
    ):
        async for marked in answer:
            if shown is not None:
                shown.append(marked.text)


def chunks(body: bytes) -> tuple[bytes, list[bytes]]:
    """A chunked answer as its nonce (of AES-128-GCM) and its chunks, lengths and all, the final one last."""
    at, found = 16, []
    while True:
        size, start = parse_varint(body, at)
        end = start + size if size else len(body)
        found.append(body[at:end])
        if not size:
            return body[:16], found
        at = end


def parse_varint(body: bytes, at: int) -> tuple[int, int]:
    """A length as RFC 9000 §16 writes it, and where it ends."""
    size = 1 << (body[at] >> 6)
    return int.from_bytes(bytes([body[at] & 0x3F]) + body[at + 1 : at + size], "big"), at + size


def in_streams(edit: Callable[[list[bytes]], list[bytes]]) -> Change:
    """Change the chunks of streamed answers, and nothing else."""

    def change(passed: Passed) -> bytes:
        if passed.media != "message/ohttp-chunked-res":
            return passed.body
        nonce, found = chunks(passed.body)
        assert len(found) > 4
        return nonce + b"".join(edit(found))

    return change


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda found: [found[1], found[0], *found[2:]], "ohttp.open"),
        (lambda found: [*found[:3], found[2], *found[3:]], "ohttp.open"),
        (lambda found: [*found[:2], *found[3:]], "ohttp.open"),
        (lambda found: found[:2], "http.unreachable"),
        (lambda found: [*found[:2], found[2][:-3]], "http.unreachable"),
        (lambda found: [*found[:2], b"\x00" + found[2][1:]], "ohttp.open"),
    ],
    ids=["reordered", "repeated", "left out", "cut", "cut inside a chunk", "ended early"],
)
def test_a_stream_whose_chunks_a_relay_reorders_repeats_or_cuts_is_not_taken_for_whole(
    net: NetworkProcess, edit: Callable[[list[bytes]], list[bytes]], code: str
) -> None:
    shown: list[str] = []
    with Between(net.ready["relay"], in_streams(edit)) as relay:
        with stopped_by(code):
            asyncio.run(ask_privately(net, relay.url, shown))
        assert any(passed.media == "message/ohttp-chunked-res" for passed in relay.passed)
    whole: list[str] = []
    asyncio.run(ask_privately(net, net.ready["relay"], whole))
    assert "".join(whole).startswith("".join(shown))
    assert "".join(whole) != "".join(shown)


def test_what_follows_the_signed_end_of_an_answer_decides_nothing(net: NetworkProcess) -> None:
    """The last chunk is empty here: the answer ended, with its last mark and its statements, in the one before. Whoever
    takes it away has taken nothing, and the client has read no further."""
    shown: list[str] = []
    with Between(net.ready["relay"], in_streams(lambda found: found[:-1])) as relay:
        asyncio.run(ask_privately(net, relay.url, shown))
    whole: list[str] = []
    asyncio.run(ask_privately(net, net.ready["relay"], whole))
    assert "".join(shown) == "".join(whole)


def test_an_answer_to_an_earlier_request_opens_for_no_other(net: NetworkProcess) -> None:
    recorded: list[bytes] = []

    def replay(passed: Passed) -> bytes:
        if passed.media != "message/ohttp-res":
            return passed.body
        recorded.append(passed.body)
        return recorded[0]

    with Between(net.ready["relay"], replay) as relay, stopped_by("ohttp.open"):
        asyncio.run(ask_privately(net, relay.url))
    assert len(recorded) == 2


def test_a_sealed_request_that_is_sent_again_is_answered_once(net: NetworkProcess) -> None:
    with Between(net.ready["relay"], kept) as relay:
        asyncio.run(ask_privately(net, relay.url))
    sealed = relay.seen[-1]
    assert sealed
    for url, key in ((net.ready["relay"], net.key), (net.ready["gateway"], net.key)):
        status, answer = knock(
            url, "POST", "/v1/ohttp", sealed, content_type="message/ohttp-req", authorization=f"Bearer {key}"
        )
        assert check_refusal(status, answer) == "ohttp.replayed"


@pytest.mark.parametrize(
    ("suite", "code"),
    [(b"\x00\x03", "ohttp.open"), (b"\x00\x02", "ohttp.suite"), (b"\xff\xff", "ohttp.suite")],
    ids=["another that is offered", "one that is not offered", "one that seals nothing"],
)
def test_a_request_whose_suite_was_changed_on_the_way_is_refused(net: NetworkProcess, suite: bytes, code: str) -> None:
    """What names the suite is part of what the request is sealed under (RFC 9458 §4.3)."""
    with Between(net.ready["relay"], kept) as relay:
        asyncio.run(ask_privately(net, relay.url))
    sealed = relay.seen[-1]
    status, answer = knock(
        net.ready["relay"],
        "POST",
        "/v1/ohttp",
        sealed[:5] + suite + sealed[7:],
        content_type="message/ohttp-req",
        authorization=f"Bearer {net.key}",
    )
    assert check_refusal(status, answer) == code


def test_a_relay_that_shows_a_key_of_its_own_is_not_sent_anything(net: NetworkProcess) -> None:
    """It could open what is sealed to it. A key document with its key has another digest, which trust does not know."""

    def forge(passed: Passed) -> bytes:
        if passed.path != "/v1/ohttp/keys/proof":
            return passed.body
        proof = json.loads(passed.body)
        document = parse_key_document(base64.b64decode(proof["key_document"]))
        ours = GatewayKey(1, bytes(range(1, 33))).configuration.encoded
        forged = json.loads(document.raw) | {"ohttp": [b64_encode(ours)]}
        return canonical.encode(proof | {"key_document": b64_encode(canonical.encode(forged))})

    with Between(net.ready["relay"], forge) as relay, stopped_by("keys_proof.attester"):
        asyncio.run(ask_privately(net, relay.url))
    assert not any(passed.path == "/v1/ohttp" for passed in relay.passed)


def test_an_answer_that_nobody_sealed_is_no_answer(net: NetworkProcess) -> None:
    """A relay that answers by itself, in the clear, as a gateway of the direct path would."""

    def answer(passed: Passed) -> bytes:
        return b'{"choices":[]}' if passed.path == "/v1/ohttp" else passed.body

    with Between(net.ready["relay"], answer) as relay, stopped_by("ohttp.open", "ohttp.truncated"):
        asyncio.run(ask_privately(net, relay.url))


@pytest.mark.parametrize("door", ["relay", "gateway"])
@pytest.mark.parametrize("media", ["message/ohttp-req", "message/ohttp-chunked-req"])
@given(data=st.data())
def test_sealed_requests_of_noise_are_refused_in_words(
    net: NetworkProcess, door: str, media: str, data: st.DataObject
) -> None:
    head = b"\x01\x00\x20\x00\x01\x00\x01"
    body = data.draw(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(head.__add__)))
    status, answer = knock(
        net.ready[door], "POST", "/v1/ohttp", body, content_type=media, authorization=f"Bearer {net.key}"
    )
    assert check_refusal(status, answer).partition(".")[0] in {"ohttp", "request", "http", "relay"}


@pytest.mark.parametrize("door", ["relay", "gateway"])
def test_a_sealed_request_that_is_too_large_is_not_read_to_its_end(net: NetworkProcess, door: str) -> None:
    body = b"\x01\x00\x20\x00\x01\x00\x01" + bytes(20 << 20)
    key = f"Bearer {net.key}"
    status, answer = knock(
        net.ready[door], "POST", "/v1/ohttp", body, content_type="message/ohttp-req", authorization=key
    )
    assert (status, check_refusal(status, answer)) == (413, "request.too_large")


# The registry.


@contextlib.asynccontextmanager
async def registry_of(net: NetworkProcess) -> AsyncIterator[EvmRegistry]:
    """The network's registry, for somebody with coin. The account here is the admin's too, which no test makes use of
    but where it says so."""
    connection = EvmConnection(net.ready["chain"])
    chain_id = int(await connection.request("eth_chainId"), 16)
    signer = load_or_create_account(net.state / "keys" / "deployer.key", "account")
    registry = EvmRegistry(connection, ChainDomain(chain_id, net.ready["registry"]), signer)
    try:
        yield registry
    finally:
        await registry.close()


async def until(look: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Ask until the answer is not falsy, for 40 seconds."""
    for _ in range(400):
        if found := await look():
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"{what} did not happen")


def test_a_heartbeat_counts_once_at_its_time_and_by_its_own_key(net: NetworkProcess) -> None:
    """Whoever kept one cannot keep a dead node alive with it; nor can one be made ahead, or by somebody else."""
    key = load_rsa_signer(net.state / "keys" / "gateway.opengradient.pem")
    stranger = RSASigner(rsa.generate_private_key(65537, 2048))
    tee_id = tee_id_of(key.key.public)

    async def scenario() -> None:
        async with registry_of(net) as registry:
            await until(lambda: registry.node_by_key(tee_id), "the gateway's registration")

            async def beat(timestamp: int, signer: RSASigner = key) -> None:
                await registry.heartbeat(tee_id, timestamp, signer.sign(heartbeat_hash(tee_id, timestamp)))

            now = int(time.time())
            await beat(now - 2)
            with stopped_by("heartbeat.replayed"):
                await beat(now - 2)
            with stopped_by("heartbeat.replayed"):
                await beat(now - 60)
            with stopped_by("heartbeat.future"):
                await beat(now + 3600)
            with stopped_by("heartbeat.old"):
                await beat(now - 7 * 86400)
            with stopped_by("heartbeat.signature"):
                await beat(int(time.time()), stranger)

    asyncio.run(scenario())


@dataclasses.dataclass
class Applicant:
    """Somebody who wants to be in the registry, with a simulated enclave as good as the gateway's own."""

    net: NetworkProcess
    shows: Certificate

    def __post_init__(self) -> None:
        now = dt.datetime.now(dt.UTC)
        keys = [ed25519_signer(self.shows.spki, "statement").key, RSASigner(rsa.generate_private_key(65537, 2048)).key]
        self.document = build_key_document("applicant", ["gateway"], "test", keys, tls=self.shows.spki)
        root = load_or_create_insecure_root(self.net.state / "keys" / "insecure-enclave-root.pem", now)
        with pytest.warns(DevelopmentModeWarning):
            self.enclave = InsecureEnclave(InsecureModule(root, SystemClock(), os.urandom))

    async def apply(self, registry: EvmRegistry, *, bound: str | None = None, nonce: bytes | None = None) -> int:
        """Submit; the attestation's number. ``bound`` and ``nonce`` replace what the evidence is about."""
        challenge = await registry.challenge(bytes.fromhex(self.document.digest))
        record = build_binding(bound or self.document.digest, tls_spki=bytes.fromhex(self.shows.spki))
        evidence = await asyncio.to_thread(self.enclave.attest, record, nonce or challenge_nonce(challenge.nonce))
        submission = build_submission(
            self.document,
            self.shows.raw,
            form=self.enclave.format,
            evidence=evidence,
            measurement=claimed_measurement(self.enclave.format, evidence),
            anchor=challenge.anchor,
        )
        await registry.register(0, "https://127.0.0.1:9", submission)
        for number in range(await registry.attestations(), 0, -1):
            if (await registry.evidence(number)).submission.document == self.document.raw:
                return number
        raise AssertionError("nothing was submitted")


async def decided(net: NetworkProcess, registry: EvmRegistry, number: int) -> str:
    """What the full nodes' votes made of an attestation."""

    async def look() -> str | None:
        record = await registry.attestation(number)
        assert record is not None
        return record.state if record.state != "pending" else None

    return str(await until(look, "the votes"))


async def why_refused(net: NetworkProcess, registry: EvmRegistry, number: int) -> None:
    """Judge an attestation as a full node does, from what the chain tells; raises what they found."""
    record, found = await registry.attestation(number), await registry.evidence(number)
    assert record is not None
    at_block = dt.datetime.fromtimestamp(record.submitted_at, dt.UTC)
    circumstances = Circumstances(found.kind, record.predecessor, record.nonce, at_block)
    appraise_registration(found.submission, circumstances, network_trust(net), Transcript())


@pytest.mark.parametrize(
    ("authority", "change", "code"),
    [
        (True, {}, "registration.certificate_authority"),
        (False, {"bound": "cd" * 32}, "attestation.binding"),
        (False, {"nonce": b"\x07" * 32}, "attestation.nonce"),
    ],
    ids=["an authority's certificate", "evidence about another key document", "evidence for another challenge"],
)
def test_what_would_let_somebody_stand_in_for_a_node_is_voted_down(
    net: NetworkProcess, authority: bool, change: dict[str, Any], code: str
) -> None:
    async def scenario() -> None:
        async with registry_of(net) as registry:
            number = await Applicant(net, certificate(authority=authority)).apply(registry, **change)
            assert await decided(net, registry, number) == "refused"
            with stopped_by(code):
                await why_refused(net, registry, number)

    asyncio.run(scenario())


def test_a_node_of_a_revoked_measurement_is_nobody_to_send_to(net: NetworkProcess) -> None:
    """An honest applicant is let in, is listed, and is gone when the measurement is. It is the last test that needs the
    registry: a revoked measurement never comes back."""

    async def scenario() -> None:
        async with registry_of(net) as registry:
            applicant = Applicant(net, certificate())
            number = await applicant.apply(registry)
            assert await decided(net, registry, number) == "accepted"
            active = active_gateways(net.ready["chain"], net.ready["registry"])
            assert applicant.shows.raw in [row[4] for row in active]
            found = await registry.evidence(number)
            await registry.revoke_measurement(0, found.submission.measurement)
            assert active_gateways(net.ready["chain"], net.ready["registry"]) == []
            with stopped_by("registry.measurement", "registry.revoked"):
                await Applicant(net, certificate()).apply(registry)

    asyncio.run(scenario())
