"""``holdfast attestation fetch``: an answer made for another nonce, earlier, or by another node is refused."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.enclave_insecure import InsecureRoot, make_insecure_root
from holdfast.cli import attestation as command
from holdfast.client.attestations import fetch_attestation, parse_answer, require_tls
from holdfast.core.attestation.binding import build_binding
from holdfast.core.attestation.nitro import parse_nitro
from holdfast.core.encoding import b64_decode, b64_encode, time_encode
from holdfast.core.keys import KeyDocument, build_key_document
from holdfast.errors import RefusedError
from holdfast.ports.http import Answer
from tests.cli.conftest import Outcome
from tests.helpers.clock import FakeClock
from tests.helpers.enclaves import make_enclave
from tests.helpers.network import Network, ed25519_signer

Holdfast = Callable[..., Outcome]
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
NETWORK = Network()
ROOT = make_insecure_root(NOW - dt.timedelta(days=1))
NONCE = "0123456789abcdef"
STRANGER = build_key_document("stranger", ["gateway"], "test", [ed25519_signer("stranger", "statement").key])


class Gateway:
    """Answers ``/v1/attestation``; ``lie`` changes its answer."""

    def __init__(self, document: KeyDocument = NETWORK.gateway_document, root: InsecureRoot = ROOT) -> None:
        self.document = document
        self.enclave = make_enclave(FakeClock(NOW), root)
        self.lie: Callable[[dict[str, Any]], None] = lambda answer: None
        self.status = 200
        self.asked: list[str] = []

    def evidence(self, nonce: bytes, document: KeyDocument | None = None) -> str:
        return b64_encode(self.enclave.attest(build_binding((document or self.document).digest), nonce))

    async def request(self, method: str, url: str, **options: Any) -> Answer:
        path, _, nonce = url.partition("?nonce=")
        assert (method, path) == ("GET", "http://127.0.0.1:1/v1/attestation")
        self.asked.append(nonce)
        if self.status != 200:
            error = {"message": "too many", "type": "unavailable", "param": None, "code": "gateway.busy", "hint": ""}
            return Answer(self.status, json.dumps({"error": error}).encode())
        answer = {
            "node": self.document.digest,
            "key_document": b64_encode(self.document.raw),
            "format": "aws-nitro",
            "simulated": True,
            "nonce": nonce,
            "evidence": self.evidence(bytes.fromhex(nonce)),
        }
        self.lie(answer)
        return Answer(200, json.dumps(answer).encode())


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    made = Gateway()
    serve(monkeypatch, made)
    return made


def serve(monkeypatch: pytest.MonkeyPatch, gateway: Gateway) -> None:
    monkeypatch.setattr(command, "ask_gateway", lambda url, nonce: fetch_attestation(gateway, url, nonce))


@pytest.fixture
def trust(tmp_path: Path) -> str:
    """Trust that admits the simulated enclave and calls it real, for as long as tests run."""
    document = parse_nitro(make_enclave(FakeClock(NOW), ROOT).attest(b"", None))
    span = {
        "valid_from": time_encode(NOW - dt.timedelta(days=1)),
        "valid_until": time_encode(NOW + dt.timedelta(days=1)),
    }
    value = {f"pcr{index}": document.pcrs[index].hex() for index in range(3)}
    raw = Network(expires_at=NOW + dt.timedelta(days=1)).trust_file(
        enclave_roots=[{"kind": "aws-nitro", "certificate": b64_encode(ROOT.certificate), "development": False}],
        measurements=[{"kind": "aws-nitro", "role": "gateway", "value": value, "debug": False, **span}],
    )
    (tmp_path / "trust.json").write_bytes(raw)
    return "trust.json"


def fetch(holdfast: Holdfast, *more: str) -> Outcome:
    return holdfast("attestation", "fetch", "--gateway", "http://127.0.0.1:1", *more)


def replayed(answer: dict[str, Any], gateway: Gateway) -> None:
    """Evidence that was made for somebody else's nonce, under the nonce that was asked."""
    answer["evidence"] = gateway.evidence(b"somebody else's")


def swapped(answer: dict[str, Any], gateway: Gateway) -> None:
    """The key document is exchanged after the enclave attested another."""
    answer["key_document"], answer["node"] = b64_encode(STRANGER.raw), STRANGER.digest


def of_another(answer: dict[str, Any], gateway: Gateway) -> None:
    """Another node's evidence for this nonce."""
    answer["evidence"] = gateway.evidence(bytes.fromhex(answer["nonce"]), STRANGER)


def altered(answer: dict[str, Any], gateway: Gateway) -> None:
    """One bit."""
    raw = bytearray(b64_decode(answer["evidence"]))
    raw[-1] ^= 1
    answer["evidence"] = b64_encode(bytes(raw))


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (replayed, "attestation.nonce"),
        (swapped, "gateway.trust"),
        (of_another, "attestation.binding"),
        (altered, "attestation.signature"),
    ],
)
def test_an_answer_to_another_question_is_refused(
    holdfast: Holdfast, gateway: Gateway, trust: str, lie: Callable[[dict[str, Any], Gateway], None], code: str
) -> None:
    gateway.lie = lambda answer: lie(answer, gateway)
    done = fetch(holdfast, "--nonce", NONCE, "--trust", trust, "--json")
    assert done.code == 1
    assert json.loads(done.out)["error"]["code"] == code


def test_a_key_document_that_was_swapped_is_refused_without_trust_too(holdfast: Holdfast, gateway: Gateway) -> None:
    gateway.lie = lambda answer: swapped(answer, gateway)
    done = fetch(holdfast, "--json")
    assert done.code == 1
    assert json.loads(done.out)["error"]["code"] == "attestation.root"  # nothing but AWS's is believed without trust


@pytest.mark.parametrize(
    ("member", "value", "code"),
    [
        ("nonce", "00", "gateway.attestation"),
        ("nonce", None, "gateway.attestation"),
        ("node", "00" * 32, "gateway.attestation"),
        ("format", "tpm", "gateway.attestation"),
        ("simulated", 1, "gateway.attestation"),
        ("evidence", "?", "encoding.base64"),
        ("key_document", "", "json.syntax"),
    ],
)
def test_what_is_no_answer_is_refused(
    holdfast: Holdfast, gateway: Gateway, member: str, value: object, code: str
) -> None:
    gateway.lie = lambda answer: answer.__setitem__(member, value)
    done = fetch(holdfast, "--nonce", NONCE)
    assert (done.code, done.err.splitlines()[0].split()[1]) == (1, f"{code}:")


def test_a_gateway_that_is_busy_is_told_as_it_said(holdfast: Holdfast, gateway: Gateway) -> None:
    gateway.status = 429
    done = fetch(holdfast)
    assert done.code == 1
    assert "gateway.busy" in done.err


@pytest.mark.parametrize("nonce", ["", "0", "zz", "00" * 65, "AB"])
def test_a_nonce_that_is_none_asks_nobody(holdfast: Holdfast, gateway: Gateway, nonce: str) -> None:
    assert fetch(holdfast, "--nonce", nonce).code == 2
    assert gateway.asked == []


def test_an_answer_that_holds_is_shown_with_what_it_is(
    holdfast: Holdfast, gateway: Gateway, trust: str, tmp_path: Path
) -> None:
    done = fetch(holdfast, "--nonce", NONCE, "--trust", trust, "-o", "evidence.bin")
    assert done.code == 0, done.err
    assert f"asked   {NONCE}" in done.out
    assert "simulated" in done.out
    assert gateway.asked == [NONCE]
    shown = json.loads(fetch(holdfast, "--trust", trust, "--json").out)
    assert shown["claims"]["development"] is True
    assert shown["asked"] == gateway.asked[-1]
    assert len(shown["asked"]) == 64
    (tmp_path / "document.json").write_bytes(gateway.document.raw)
    again = holdfast(
        "attestation", "verify", "--kind", "nitro", "--trust", trust, "--nonce", NONCE,
        "--key-document", "document.json", "evidence.bin",
    )  # fmt: skip
    assert again.code == 0, again.err


@pytest.mark.parametrize("tls", [None, "ab" * 32])
def test_a_tls_key_that_the_key_document_does_not_name_is_refused(tls: str | None) -> None:
    """Somebody who relays question and answer has a TLS key of their own."""
    document = build_key_document("gateway", ["gateway"], "test", [ed25519_signer("x", "statement").key], tls=tls)
    answer = {
        "node": document.digest,
        "key_document": b64_encode(document.raw),
        "format": "aws-nitro",
        "simulated": False,
        "nonce": NONCE,
        "evidence": "",
    }
    parsed = parse_answer(json.dumps(answer).encode(), "https://gateway", bytes.fromhex(NONCE))
    with pytest.raises(RefusedError) as caught:
        require_tls(parsed, b"another key", "https://gateway")
    assert caught.value.code == "identity.tls"


def test_each_question_has_a_nonce_of_its_own(holdfast: Holdfast, gateway: Gateway, trust: str) -> None:
    for _ in range(3):
        assert fetch(holdfast, "--trust", trust).code == 0
    assert len(set(gateway.asked)) == 3
