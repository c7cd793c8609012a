"""Somebody who wants in: each test is one attack on a whole network, or on the commands that judge what comes from one,
and names the check that stops it. ``README.md`` lists them; a test about the repository keeps the list whole.

What single parsers and contracts refuse is tested where they are tested. Here it has to be refused through the doors
that a stranger finds: HTTP, the chain's RPC, the command line, the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import http.client
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.main import run
from holdfast.client.gateway import GatewayClient, connect
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.core.keys import build_key_document
from holdfast.core.statements import build_envelope, pre_authentication_encoding
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError
from tests.helpers.attestations import VECTORS, vector
from tests.helpers.attested import Machine, with_keys
from tests.helpers.network import FROM, UNTIL, Network, at, ed25519_signer
from tests.helpers.processes import NetworkProcess, network
from tests.helpers.signed_gateway import FixedClock, SignedGateway
from tests.helpers.tls import certificate, listening

pytestmark = pytest.mark.enable_socket


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    """A whole network to attack."""
    with network(tmp_path_factory.mktemp("attacked")) as found:
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
