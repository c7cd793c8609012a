"""What a full node refuses of a submission to the registry, and when it cannot tell (``spec/registry.md`` §5(4))."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.attestation.binding import build_binding
from holdfast.core.attestation.nitro import parse_nitro
from holdfast.core.encoding import b64_encode
from holdfast.core.keys import build_key_document
from holdfast.core.registry import (
    INSECURE_MEASUREMENT,
    OhttpConfig,
    Submission,
    build_submission,
    challenge_nonce,
    claimed_measurement,
    measurement_hash,
)
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UndecidedError
from holdfast.verifier.registration import Circumstances, appraise_registration, check_leaf
from holdfast.verifier.transcript import Transcript
from tests.helpers.clock import START
from tests.helpers.enclaves import make_enclave, make_insecure_root
from tests.helpers.network import Network
from tests.helpers.registry import (
    ROOT,
    Keys,
    binding_of,
    certificate,
    insecure_evidence,
    node_keys,
    spki,
)

AT = dt.datetime(2026, 9, 21, 12, 0, tzinfo=dt.UTC)
NONCE = bytes(range(32))
ANSWER = challenge_nonce(NONCE)
"""What evidence says to answer that challenge."""
FIRST = Circumstances(0, bytes(32), NONCE, AT)
INSECURE_ROOT = {
    "kind": "insecure-dev",
    "certificate": b64_encode(ROOT.public_key().public_bytes_raw()),
    "development": True,
}


def trust(**changes: Any) -> Trust:
    """Development trust in the throw-away root of the tests' nodes."""
    return Network().trust(enclave_roots=[INSECURE_ROOT], **changes)


TRUST = trust()


def submission(keys: Keys, **changes: Any) -> Submission:
    made = build_submission(
        keys.document,
        keys.certificate,
        form="insecure-dev",
        evidence=insecure_evidence(keys.document),
        measurement=INSECURE_MEASUREMENT,
        anchor=1,
    )
    return replace(made, **changes)


def appraise(given: Submission, circumstances: Circumstances = FIRST, believed: Trust = TRUST) -> Transcript:
    record = Transcript()
    appraise_registration(given, circumstances, believed, record)
    return record


def refused(code: str, *asked: Any, kind: type[HoldfastError] = RefusedError) -> None:
    with pytest.raises(kind) as caught:
        appraise(*asked)
    assert caught.value.code == code
    assert type(caught.value) is kind


# --- what was submitted -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "kind"),
    [
        ({"document": b"{}"}, "keys.fields", MalformedError),
        ({"document": b"x"}, "json.syntax", MalformedError),
        ({"payment": "0x" + "cd" * 20}, "registration.payment", RefusedError),
        ({"payment": "0x" + "00" * 20}, "registration.payment", RefusedError),
        ({"ohttp": None}, "registration.ohttp", RefusedError),
        ({"ohttp": OhttpConfig(1, 0x20, 1, 3, bytes(32), bytes(41))}, "registration.ohttp", RefusedError),
        ({"statement_key": b""}, "registration.statement_key", RefusedError),
        ({"statement_key": bytes(64)}, "registration.statement_key", RefusedError),
        ({"certificate": b""}, "registration.certificate", MalformedError),
        ({"certificate": b"\x30\x03\x02\x01\x01"}, "registration.certificate", MalformedError),
        ({"measurement": bytes(32)}, "registration.measurement", RefusedError),
        ({"evidence": bytes(64)}, "attestation.signature", RefusedError),
        ({"evidence": bytes(65)}, "attestation.size", MalformedError),
        ({"form": "magic"}, "attestation.format", MalformedError),
    ],
)
def test_a_part_that_is_not_the_key_documents_is_refused(
    changes: dict[str, Any], code: str, kind: type[HoldfastError]
) -> None:
    refused(code, submission(node_keys(), **changes), kind=kind)


def test_a_key_document_that_was_swapped_after_attestation_is_refused() -> None:
    attested, swapped = node_keys(1), node_keys(2)
    refused("attestation.signature", submission(swapped, evidence=insecure_evidence(attested.document)))
    refused("registration.signing_key", submission(attested, document=swapped.document.raw))
    refused("registration.signing_key", submission(attested, signing_key=spki(swapped.rsa)))


def test_a_document_of_another_role_is_refused() -> None:
    relay = node_keys(1, roles=["relay"])
    refused("registration.role", submission(relay))
    appraise(submission(relay), replace(FIRST, kind=3))
    refused("registration.role", submission(relay), replace(FIRST, kind=99))


def test_a_new_document_names_the_one_in_force() -> None:
    old = node_keys(1)
    in_force = replace(FIRST, predecessor=bytes.fromhex(old.document.digest))
    appraise(submission(old), in_force)
    refused("registration.predecessor", submission(node_keys(2)), in_force)
    refused("registration.predecessor", submission(node_keys(2, predecessor="ab" * 32)), in_force)
    appraise(submission(node_keys(2, predecessor=old.document.digest)), in_force)


# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"authority": True}, "registration.certificate_authority"),
        ({"authority": True, "usage": True}, "registration.certificate_authority"),
        ({"authority": False, "usage": True}, "registration.certificate_authority"),
        ({"authority": None}, "registration.certificate_authority"),
    ],
)
def test_the_certificate_of_an_authority_is_refused(changes: dict[str, Any], code: str) -> None:
    keys = node_keys()
    refused(code, submission(keys, certificate=certificate(keys.tls, **changes)))


def test_a_certificate_for_another_key_is_refused() -> None:
    other = ec.derive_private_key(77, ec.SECP256R1())
    refused("registration.tls", submission(node_keys(), certificate=certificate(other)))
    # Re-issued by somebody else for a key of theirs: the same.
    refused("registration.tls", submission(node_keys(), certificate=certificate(other, issuer=node_keys().tls)))


def test_a_document_without_a_tls_key_has_no_certificate_that_fits() -> None:
    refused("registration.tls", submission(node_keys(1, tls=None)))


@pytest.mark.parametrize("year", [2019, 2041])
def test_a_certificate_that_does_not_run_then_is_refused(year: int) -> None:
    with pytest.raises(RefusedError, match=r"registration\.certificate"):
        check_leaf(node_keys().certificate, AT.replace(year=year))


def test_a_certificate_with_something_behind_it_is_refused() -> None:
    with pytest.raises(MalformedError, match=r"registration\.certificate"):
        check_leaf(node_keys().certificate + b"\x00", AT)


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_certificate_raises_only_our_errors(place: int, change: int) -> None:
    der = bytearray(node_keys().certificate)
    der[place % len(der)] ^= change
    code = "registration.none"
    try:
        check_leaf(bytes(der), AT)
    except HoldfastError as error:
        code = error.code
    assert code.startswith("registration.")


# --- evidence ---------------------------------------------------------------------------------------------------------


def test_what_has_no_enclave_is_for_development_alone() -> None:
    serious = Network(development=False).trust(enclave_roots=[INSECURE_ROOT])
    refused("registration.simulated", submission(node_keys()), FIRST, serious)


def test_without_a_root_nobody_can_tell() -> None:
    refused("attestation.roots", submission(node_keys()), FIRST, Network().trust(enclave_roots=[]), kind=UndecidedError)


def test_another_throw_away_root_is_refused() -> None:
    refused("attestation.signature", submission(node_keys()), FIRST, Network().trust())


def nitro_trust(root: bytes, measurement: dict[str, Any] | None, *, development: bool = True) -> Trust:
    """Trust in the root of a simulated module, and in one image."""
    span = {"valid_from": "2025-12-01T00:00:00.000Z", "valid_until": "2027-01-01T00:00:00.000Z"}
    admitted = [] if measurement is None else [
        {"kind": "aws-nitro", "role": "gateway", "value": measurement, "debug": False, **span}
    ]  # fmt: skip
    roots = [{"kind": "aws-nitro", "certificate": b64_encode(root), "development": development}]
    return Network(development=development).trust(enclave_roots=roots, measurements=admitted)


def test_evidence_of_a_module_answers_the_challenge_and_binds_the_document() -> None:
    root = make_insecure_root(START - dt.timedelta(days=1))
    enclave = make_enclave(root=root)
    keys, others = node_keys(1), node_keys(2)
    now = replace(FIRST, at=START)

    def made(record: bytes, nonce: bytes | None = ANSWER, **changes: Any) -> Submission:
        evidence = enclave.attest(record, nonce)
        known = claimed_measurement("aws-nitro", evidence)
        return submission(keys, form="aws-nitro", evidence=evidence, measurement=known, **changes)

    good = made(binding_of(keys.document))
    believed = nitro_trust(root.certificate, _registers(good.evidence))
    appraise(good, now, believed)
    # What a node answers anybody who asks with the challenge itself gets nobody else a place.
    refused("attestation.nonce", made(binding_of(keys.document), NONCE), now, believed)
    refused("attestation.nonce", made(binding_of(keys.document), bytes(32)), now, believed)
    refused("attestation.nonce", made(binding_of(keys.document), None), now, believed)
    refused("attestation.binding", made(binding_of(others.document)), now, believed)
    other_tls = build_binding(keys.document.digest, tls_spki=bytes([1]) * 32)
    refused("registration.binding", made(other_tls), now, believed)
    other_ohttp = build_binding(keys.document.digest, hpke=bytes([1]) * 32)
    refused("registration.binding", made(other_ohttp), now, believed)
    refused("registration.measurement", replace(good, measurement=INSECURE_MEASUREMENT), now, believed)
    refused("attestation.measurement", good, now, nitro_trust(root.certificate, None))
    serious = nitro_trust(root.certificate, _registers(good.evidence), development=False)
    refused("registration.simulated", good, now, serious)
    # The same evidence for another submission of somebody else is stale there.
    refused("attestation.nonce", good, replace(now, nonce=bytes([9]) * 32), believed)


def _registers(evidence: bytes) -> dict[str, str]:
    return {f"pcr{number}": parse_nitro(evidence).pcrs[number].hex() for number in (0, 1, 2)}


def test_a_measurement_hash_is_what_opengradients_registry_computes() -> None:
    pcrs = {f"pcr{number}": bytes([number + 1]) * 48 for number in range(3)}
    expected = "79415a8460aad0c8ae8d2eb4b4c7a7cb2d4d546b453e170add25071572b0fd69"
    assert measurement_hash("aws-nitro", "nitro", pcrs).hex() == expected
    for form, tee, registers in (
        ("aws-nitro", "nitro", {"pcr0": bytes(48)}),
        ("nvidia", "nvidia", {"measurement1": bytes(48)}),
        ("intel-dcap", "snp", {}),
    ):
        with pytest.raises(RefusedError, match=r"registry\.measurement"):
            measurement_hash(form, tee, registers)
    assert len({measurement_hash("intel-dcap", "sgx", {"mr_enclave": bytes(32)}), INSECURE_MEASUREMENT}) == 2


def test_a_document_without_an_rsa_key_makes_no_submission() -> None:
    bare = build_key_document("node.example", ["gateway"], "test/1", list(node_keys().document.keys[:1]))
    with pytest.raises(RefusedError, match=r"registry\.signing_key"):
        build_submission(bare, b"", form="insecure-dev", evidence=b"", measurement=bytes(32), anchor=1)
