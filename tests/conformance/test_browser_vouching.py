"""What vouches for a gateway's keys before the chat page seals to them (``static/seal/vouching.js``): client.md §2."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.core.keys_proof import ShownAttestation
from tests.conformance.test_browser_keys import CLIENT, CONFIGURATION, NODE
from tests.conformance.test_browser_keys import NETWORK as STAND_IN
from tests.helpers.attested import Machine, in_debug_mode, with_keys
from tests.helpers.identities import configuration, proof_for, sealed_document
from tests.helpers.network import Network, at

pytestmark = pytest.mark.skipif(NODE is None, reason="there is no Node.js on the PATH")

NONCE = bytes(range(32))
MACHINE = Machine()
ATTESTED = with_keys(Network(), ohttp=(CONFIGURATION,))
HARDWARE = MACHINE.trust(ATTESTED)
DOCUMENT = ATTESTED.gateway_document
UNREADABLE = {"format": "some-other-enclave", "evidence": ""}


def beside(nonce: bytes | None = None, **options: Any) -> ShownAttestation:
    """What the machine shows for everybody."""
    return ShownAttestation("amd-sev-snp", MACHINE.evidence(DOCUMENT, nonce, **options))


def vouched(
    network: Network,
    shown: ShownAttestation | None,
    made: dict[str, Any] | None,
    required: str | None = None,
    **trust: Any,
) -> Any:
    """The code of a refusal, or the last line that the page shows."""
    line = {
        "proof": b64_encode(proof_for(network, shown=shown)),
        "trust": b64_encode(network.trust_file(**trust)),
        "at": int(at(60).timestamp() * 1000),
        "required": required,
        "nonce": NONCE.hex(),
        "made": made,
    }
    done = subprocess.run([str(NODE), str(CLIENT)], input=json.dumps(line), capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    return answer.get("refused") or answer["says"][-1]


def simulated(network: Network) -> ShownAttestation:
    """The gateway's key vouched for by a throw-away root."""
    return ShownAttestation("insecure-dev", b64_decode(network.attestation()["evidence"]))


def attested(made: dict[str, Any] | None, required: str | None = None, **options: Any) -> Any:
    return vouched(ATTESTED, options.pop("shown", beside()), made, required, **{**HARDWARE, **options})


def test_an_enclave_that_answers_the_pages_nonce_and_binds_the_keys_lets_it_seal() -> None:
    says = attested(MACHINE.shown(DOCUMENT, NONCE))
    assert "An enclave (snp)" in says
    assert "answered a nonce of this page" in says


def test_trust_that_is_no_development_asks_for_hardware_and_refuses_less() -> None:
    assert attested(None, shown=None) == "identity.attestation"
    assert attested(None, shown=simulated(ATTESTED)) == "identity.attestation"
    assert attested(None) == "identity.stale", "evidence for nobody may be old"
    assert attested(MACHINE.shown(DOCUMENT, bytes(32))) == "attestation.nonce"
    assert attested(MACHINE.shown(DOCUMENT, NONCE, change=in_debug_mode)) == "attestation.debug"
    assert attested(UNREADABLE) == "identity.attestation"
    other = sealed_document(ATTESTED, configuration("for one caller"))
    assert attested(MACHINE.shown(other, NONCE)) == "attestation.binding"


def test_evidence_beside_the_keys_is_judged_too() -> None:
    fresh = MACHINE.shown(DOCUMENT, NONCE)
    assert attested(fresh, shown=beside(change=in_debug_mode)) == "attestation.debug"
    other = sealed_document(ATTESTED, configuration("for one caller"))
    swapped = ShownAttestation("amd-sev-snp", MACHINE.evidence(other, None))
    assert attested(fresh, shown=swapped) == "attestation.binding"
    assert attested(fresh, shown=ShownAttestation("amd-sev-snp", b"{}")) == "attestation.evidence"


def test_measurements_and_roots_are_those_that_trust_admits() -> None:
    fresh = MACHINE.shown(DOCUMENT, NONCE)
    assert attested(fresh, measurements=[]) == "attestation.measurement"
    strange = Machine().under_another_root()
    assert attested(strange.shown(DOCUMENT, NONCE)) == "attestation.root"
    assert attested(fresh, enclave_roots=HARDWARE["enclave_roots"][1:]) == "identity.attestation"


def test_what_an_enclave_binds_has_to_be_the_keys_that_are_sealed_to() -> None:
    """A record that names the key document and other keys, or none."""
    fresh = MACHINE.shown(DOCUMENT, NONCE)
    no_keys: Any = SimpleNamespace(digest=DOCUMENT.digest, tls=None, ohttp_digest=None)
    shown = ShownAttestation("amd-sev-snp", MACHINE.evidence(no_keys, None))
    assert attested(fresh, shown=shown) == "identity.ohttp"
    tls: Any = SimpleNamespace(digest=DOCUMENT.digest, tls="11" * 32, ohttp_digest=DOCUMENT.ohttp_digest)
    assert attested(MACHINE.shown(tls, NONCE)) == "identity.tls"


@pytest.mark.parametrize("required", [None, "development"])
def test_under_development_trust_a_stand_in_will_do_and_is_called_one(required: str | None) -> None:
    assert "simulated enclave" in vouched(STAND_IN, simulated(STAND_IN), None, required)
    assert vouched(STAND_IN, None, None, required) == "identity.attestation"
    assert vouched(STAND_IN, ShownAttestation("insecure-dev", bytes(64)), None, required) == "enclave.attestation"


def test_hardware_can_be_asked_for_under_development_trust_and_a_stand_in_never_is_that() -> None:
    assert vouched(STAND_IN, simulated(STAND_IN), None, "hardware") == "identity.attestation"
    real = vouched(ATTESTED, beside(), MACHINE.shown(DOCUMENT, NONCE), "hardware", **{**HARDWARE, "development": True})
    assert real == "identity.attestation", "nothing under development trust is hardware"


def test_where_nothing_is_required_what_there_is_is_said() -> None:
    assert "Nobody attests" in attested(None, "none", shown=None)
    assert "does not hold" in attested(None, "none", shown=beside(change=in_debug_mode))
    assert "when it said so, nothing shows" in attested(None, "none")
