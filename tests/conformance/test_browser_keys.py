"""The page's check of a gateway's keys (``web/static/seal/proof.js``) beside ours in Python: relay.md §4."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.encoding import b64_encode
from holdfast.core.keys_proof import parse_keys_proof
from holdfast.errors import HoldfastError
from holdfast.verifier.keys_proof import verify_keys_proof
from tests.helpers.identities import (
    CONFIGURATION,
    configuration,
    identity_payload,
    proof_for,
    sealed_document,
    sealed_network,
)
from tests.helpers.network import Network, at, ed25519_signer

NODE = shutil.which("node")
CLIENT = Path(__file__).with_name("browser") / "keys_proof.mjs"
NETWORK = sealed_network()
RAW = proof_for(NETWORK)
FLIPS = 4 * int(os.environ.get("HOLDFAST_EXAMPLES", "30"))

pytestmark = pytest.mark.skipif(NODE is None, reason="there is no Node.js on the PATH")


def ask(proofs: list[tuple[bytes, bytes]]) -> list[dict[str, Any]]:
    """What the page says to each proof under its trust file."""
    moment = int(at(60).timestamp() * 1000)
    lines = [{"proof": b64_encode(raw), "trust": b64_encode(trust), "at": moment} for raw, trust in proofs]
    sent = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run([str(NODE), str(CLIENT)], input=sent, capture_output=True, encoding="utf-8", check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def ours(raw: bytes, network: Network) -> str | None:
    """The code with which the Python verifier refuses, or does not tell; None where it holds."""
    try:
        verify_keys_proof(parse_keys_proof(raw), network.trust(), at(60))
    except HoldfastError as error:
        return error.code
    return None


def changed(**members: Any) -> bytes:
    value = {**json.loads(RAW), **members}
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_what_python_refuses_the_page_refuses_for_the_same_reason() -> None:
    other = sealed_network(configuration("for one caller"))
    swapped = sealed_document(NETWORK, configuration("the relay's own"))
    value = json.loads(RAW)
    lines = value["checkpoint"].splitlines(keepends=True)
    forged = NETWORK.seal(identity_payload(NETWORK.gateway_document), ed25519_signer("thief", "statement"))
    cases = [
        (RAW, Network()),
        (proof_for(Network()), Network()),
        (changed(key_document=b64_encode(swapped.raw)), NETWORK),
        (changed(key_document=b64_encode(other.gateway_document.raw)), other),
        (changed(index=0), NETWORK),
        (changed(size=4), NETWORK),
        (changed(proof=value["proof"][:-1]), NETWORK),
        (changed(checkpoint="".join(lines[:6])), NETWORK),
        (changed(checkpoint=value["checkpoint"].replace(lines[0], "elsewhere/log\n")), NETWORK),
        (changed(type="urn:holdfast:keys-proof:v2"), NETWORK),
        (changed(address="192.0.2.1"), NETWORK),
        (proof_for(NETWORK, NETWORK.seal(identity_payload(swapped))), NETWORK),
        (proof_for(NETWORK, forged), NETWORK),
        (proof_for(NETWORK, cosigners=2), NETWORK),
    ]
    expected = [ours(raw, network) for raw, network in cases]
    assert None not in expected
    answers = ask([(raw, network.trust_file()) for raw, network in cases])
    told = [answer["refused"] for answer in answers]
    assert told == expected


def test_no_changed_byte_makes_a_page_seal_to_other_keys() -> None:
    chance = random.Random(1)
    proofs = []
    for _ in range(FLIPS):
        raw = bytearray(RAW)
        raw[chance.randrange(len(raw))] ^= chance.randrange(1, 256)
        proofs.append((bytes(raw), NETWORK.trust_file()))
    answers = ask(proofs)
    assert sum("refused" in answer for answer in answers) > FLIPS // 2
    for answer in answers:
        assert "refused" in answer or answer["keys"] == [CONFIGURATION.hex()]


def test_keys_that_hold_are_those_of_the_document() -> None:
    [answer] = ask([(RAW, NETWORK.trust_file())])
    assert (answer["document"], answer["keys"]) == (NETWORK.gateway_document.digest, [CONFIGURATION.hex()])
    assert "everybody is shown the same keys" in answer["says"][-1]
