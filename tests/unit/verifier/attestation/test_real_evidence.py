"""Real documents: they hold at their own time, are refused outside of it, and with a bit changed are nothing.

They are data of others and lie beside the project (``tests/helpers/attestations.py``); without them these tests skip.
"""

import datetime as dt
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.attestation.binding import Bound
from holdfast.core.attestation.evidence import EvidenceFile
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from holdfast.verifier.attestation.appraise import Expected, appraise_attestation
from holdfast.verifier.transcript import Transcript
from tests.helpers.attestations import REAL_EVIDENCE

NOW = dt.datetime(2040, 1, 1, tzinfo=dt.UTC)
"""After everything but NVIDIA's certificates, which have no end."""
NAMES = list(REAL_EVIDENCE)
SLOW = dt.timedelta(seconds=5)


def flipped(raw, bit):
    at, within = divmod(bit, 8)
    return raw[:at] + bytes([raw[at] ^ 1 << within]) + raw[at + 1 :]


def refused(evidence, file):
    with pytest.raises((MalformedError, RefusedError)) as error:
        evidence.verify(file)
    return error.value.code


def appraise(claims, **expected):
    return appraise_attestation(claims, Expected(NOW, NOW, **expected), Transcript())


@pytest.mark.parametrize("name", NAMES)
def test_a_real_document_holds_at_its_own_time(name):
    claims = REAL_EVIDENCE[name].verify()
    assert claims.is_vendor_root
    assert claims.valid_from <= REAL_EVIDENCE[name].at <= claims.valid_until


@pytest.mark.parametrize("name", [name for name in NAMES if name != "nvidia"])
def test_a_real_document_is_refused_years_later_and_years_before(name):
    with pytest.raises(RefusedError) as error:
        REAL_EVIDENCE[name].verify(at=NOW)
    assert error.value.code == "attestation.expired"
    with pytest.raises(RefusedError) as error:
        REAL_EVIDENCE[name].verify(at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    assert error.value.code == "attestation.not_yet_valid"


def test_a_real_nitro_document_says_what_it_binds():
    claims = REAL_EVIDENCE["nitro"].verify()
    assert claims.nonce == bytes.fromhex("0123456789abcdef" * 2 + "01234567")
    assert claims.bound == Bound(
        tls_certificate="b735546536e78ee12beea2d384fcda35f7491446c6858f79fa7ad5e4ae89b49f",
        application_key="abf9d7453422eb419fc1391604b070a81bd6a61f4d9ae0ee71ab24d77670c154",
    )
    assert (claims.debug, len(claims.measurements)) == (False, 16)
    assert appraise(claims)
    with pytest.raises(RefusedError):
        appraise(claims, key_document="00" * 32)


@pytest.mark.parametrize("name", ["nitro-debug", "snp"])
def test_a_real_debug_enclave_is_refused_unless_allowed(name):
    claims = REAL_EVIDENCE[name].verify()
    with pytest.raises(RefusedError) as error:
        appraise(claims)
    assert error.value.code == "attestation.debug"
    assert appraise(claims, allow_debug=True)


def test_a_real_quote_is_up_to_date_in_its_month():
    claims = REAL_EVIDENCE["tdx"].verify()
    assert (claims.tee, claims.tcb_status, claims.debug) == ("tdx", "UpToDate", False)
    assert appraise(claims)


def test_a_real_gpu_says_its_driver_and_binds_nothing():
    claims = REAL_EVIDENCE["nvidia"].verify()
    assert claims.details["driver"] == "550.90.07"
    assert len(claims.measurements) == 64
    assert claims.bound == Bound()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nitro", "tdx", "snp", "nvidia"])
def test_a_bit_of_any_byte_refuses(name):
    """One bit of each sampled byte, and every bit of the first and last bytes, where little is signed."""
    evidence = REAL_EVIDENCE[name]
    file = evidence.load()
    size = len(file.evidence)
    places = [at * 8 + at % 8 for at in range(0, size, 11)] + list(range(160)) + list(range(8 * size - 160, 8 * size))
    for bit in places:
        refused(evidence, EvidenceFile(flipped(file.evidence, bit), file.collateral))


@pytest.mark.parametrize("name", ["nitro", "tdx", "snp", "nvidia"])
@settings(max_examples=60, deadline=SLOW)
@given(data=st.data())
def test_any_bit_refuses(name, data):
    evidence = REAL_EVIDENCE[name]
    file = evidence.load()
    bit = data.draw(st.integers(0, 8 * len(file.evidence) - 1))
    refused(evidence, EvidenceFile(flipped(file.evidence, bit), file.collateral))


@pytest.mark.parametrize("name", ["snp", "nvidia"])
@settings(max_examples=60, deadline=SLOW)
@given(data=st.data())
def test_any_bit_of_a_chain_refuses(name, data):
    evidence = REAL_EVIDENCE[name]
    file = evidence.load()
    bit = data.draw(st.integers(0, 8 * len(file.collateral) - 1))
    refused(evidence, EvidenceFile(file.evidence, flipped(file.collateral, bit)))


@settings(max_examples=60, deadline=SLOW)
@given(data=st.data())
def test_any_letter_that_intel_signed_refuses(data):
    evidence = REAL_EVIDENCE["tdx"]
    file = evidence.load()
    value = json.loads(file.collateral)
    name = data.draw(st.sampled_from(sorted(value)))
    at = data.draw(st.integers(0, len(value[name]) - 1))
    letter = data.draw(st.sampled_from("0aZ ").filter(lambda one: one.lower() != value[name][at].lower()))
    value[name] = value[name][:at] + letter + value[name][at + 1 :]
    refused(evidence, EvidenceFile(file.evidence, json.dumps(value).encode()))


@pytest.mark.parametrize("name", ["nitro", "tdx", "snp", "nvidia"])
def test_any_length_but_its_own_refuses(name):
    evidence = REAL_EVIDENCE[name]
    file = evidence.load()
    end = len(file.evidence.rstrip(b"\0")) if name == "tdx" else len(file.evidence)
    for size in [*range(0, end, 97), end - 1]:
        refused(evidence, EvidenceFile(file.evidence[:size], file.collateral))
    refused(evidence, EvidenceFile(file.evidence + b"x", file.collateral))


@pytest.mark.parametrize("name", NAMES)
def test_a_real_document_of_another_format_is_malformed(name):
    file = REAL_EVIDENCE[name].load()
    for other in NAMES:
        if REAL_EVIDENCE[other].form != REAL_EVIDENCE[name].form:
            with pytest.raises(HoldfastError) as error:
                REAL_EVIDENCE[other].verify(EvidenceFile(file.evidence, REAL_EVIDENCE[other].load().collateral))
            assert isinstance(error.value, MalformedError)
