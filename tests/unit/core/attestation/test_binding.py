"""Binding records, evidence files and reference values."""

import json

import pytest

from holdfast.core.attestation.binding import (
    BINDING_DOMAIN,
    RECORD_BYTES,
    Bound,
    build_binding,
    build_report_data,
    parse_binding,
    read_user_data,
)
from holdfast.core.attestation.evidence import (
    MAX_COLLATERAL_BYTES,
    MAX_EVIDENCE_BYTES,
    MAX_FILE_BYTES,
    EvidenceFile,
    build_evidence_file,
    check_sizes,
    parse_evidence,
    parse_evidence_file,
)
from holdfast.core.attestation.reference import parse_reference_value
from holdfast.core.encoding import sha256
from holdfast.errors import MalformedError

NODE = "ab" * 32
RECORD = build_binding(NODE)


def code(function, *arguments, **named):
    with pytest.raises(MalformedError) as error:
        function(*arguments, **named)
    return error.value.code


@pytest.mark.parametrize(
    "record",
    [
        b"",
        RECORD[:-1],
        RECORD + b"\0",
        b"x" + RECORD[1:],
        BINDING_DOMAIN + bytes(96),
        BINDING_DOMAIN + bytes(32) + b"x" * 64,
    ],
)
def test_a_record_that_names_no_key_document_is_refused(record):
    assert code(parse_binding, record) == "attestation.binding_record"


def test_digests_in_a_record_have_their_size():
    assert code(build_binding, NODE, hpke=b"short") == "attestation.binding_record"
    assert code(build_binding, "AB" * 32) == "encoding.hex"


def test_a_record_comes_back():
    assert len(RECORD) == RECORD_BYTES == 120
    assert parse_binding(RECORD) == Bound(NODE)
    both = build_binding(NODE, tls_spki=b"\1" * 32, hpke=b"\2" * 32)
    assert parse_binding(both) == read_user_data(both) == Bound(NODE, "01" * 32, "02" * 32)


def test_user_data_of_another_kind_binds_nothing_that_is_known():
    assert read_user_data(None) == read_user_data(b"hello") == read_user_data(bytes(68)) == Bound()
    one = b"\x12\x20" + b"\1" * 32
    assert read_user_data(one + one) == Bound(tls_certificate="01" * 32, application_key="01" * 32)
    assert read_user_data(one + b"\x13\x20" + bytes(32)) == Bound()
    assert code(read_user_data, BINDING_DOMAIN) == "attestation.binding_record"


def test_report_data_are_two_digests():
    assert build_report_data(RECORD) == sha256(RECORD) + bytes(32)
    assert build_report_data(RECORD, b"") == sha256(RECORD) + sha256(b"")
    assert build_report_data(RECORD, b"nonce")[32:] == sha256(b"nonce")


# Evidence files


FILE = EvidenceFile(b"quote", b"collateral", RECORD)
VALUE = json.loads(build_evidence_file(FILE))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": "urn:holdfast:bundle:v1"}, "attestation.evidence"),
        ({"more": 1}, "attestation.evidence"),
        ({"evidence": None}, "encoding.base64"),
        ({"collateral": "?"}, "encoding.base64"),
    ],
)
def test_an_evidence_file_of_another_form_is_refused(change, expected):
    assert code(parse_evidence_file, json.dumps({**VALUE, **change}).encode()) == expected


def test_what_is_too_large_is_refused_unread():
    assert code(parse_evidence_file, b"{" + bytes(MAX_FILE_BYTES)) == "attestation.size"
    for form, most in MAX_EVIDENCE_BYTES.items():
        check_sizes(form, EvidenceFile(bytes(most), bytes(MAX_COLLATERAL_BYTES)))
        assert code(check_sizes, form, EvidenceFile(bytes(most + 1))) == "attestation.size"
        assert code(check_sizes, form, EvidenceFile(b"", bytes(MAX_COLLATERAL_BYTES + 1))) == "attestation.size"


def test_evidence_comes_alone_or_in_a_file():
    raw = build_evidence_file(FILE)
    assert parse_evidence("intel-dcap", raw) == FILE
    assert parse_evidence("intel-dcap", b"quote") == EvidenceFile(b"quote")
    assert parse_evidence("aws-nitro", raw) == EvidenceFile(raw)
    bare = EvidenceFile(b"quote")
    assert parse_evidence_file(build_evidence_file(bare)) == bare


# Reference values


PCR = "00" * 48
TDX = {"tee": "tdx", "mr_td": PCR, "rt_mr1": PCR, "rt_mr2": PCR}


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("aws-nitro", {}, "attestation.reference"),
        ("aws-nitro", {"pcr1": PCR}, "attestation.reference"),
        ("aws-nitro", {"pcr0": PCR, "pcr32": PCR}, "attestation.reference"),
        ("aws-nitro", {"pcr0": PCR, "tcb": ["UpToDate"]}, "attestation.reference"),
        ("aws-nitro", {"pcr0": PCR[2:]}, "encoding.hex"),
        ("aws-nitro", {"pcr0": None}, "encoding.hex"),
        ("aws-nitro", {"pcr0": PCR, "least": {"pcr0": 1}}, "attestation.reference"),
        ("intel-dcap", {"mr_td": PCR}, "attestation.reference"),
        ("intel-dcap", {**TDX, "tee": "snp"}, "attestation.reference"),
        ("intel-dcap", {**TDX, "tee": []}, "attestation.reference"),
        ("intel-dcap", {"tee": "tdx", "mr_td": PCR}, "attestation.reference"),
        ("intel-dcap", {"tee": "sgx", "mr_signer": "00" * 32}, "attestation.reference"),
        ("intel-dcap", {**TDX, "tcb": []}, "attestation.reference"),
        ("intel-dcap", {**TDX, "tcb": "UpToDate"}, "attestation.reference"),
        ("intel-dcap", {**TDX, "tcb": ["Fine"]}, "attestation.reference"),
        ("intel-dcap", {**TDX, "tcb": ["Revoked"]}, "attestation.reference"),
        ("amd-sev-snp", {"host_data": "00" * 32}, "attestation.reference"),
        ("amd-sev-snp", {"measurement": PCR, "least": []}, "attestation.reference"),
        ("amd-sev-snp", {"measurement": PCR, "least": {"isv_svn": 1}}, "attestation.reference"),
        ("amd-sev-snp", {"measurement": PCR, "least": {"snp": -1}}, "attestation.reference"),
        ("amd-sev-snp", {"measurement": PCR, "least": {"snp": True}}, "attestation.reference"),
        ("nvidia", {}, "attestation.reference"),
        ("nvidia", {"measurement0": PCR}, "attestation.reference"),
    ],
)
def test_a_reference_value_that_would_admit_too_much_is_refused(form, value, expected):
    assert code(parse_reference_value, form, value) == expected


def test_a_reference_value_says_what_it_admits():
    found = parse_reference_value("intel-dcap", {**TDX, "tcb": ["UpToDate", "SWHardeningNeeded"]})
    assert (found.tee, found.tcb) == ("tdx", ("UpToDate", "SWHardeningNeeded"))
    assert found.measurements == {name: bytes(48) for name in ("mr_td", "rt_mr1", "rt_mr2")}
    assert parse_reference_value("aws-nitro", {"pcr0": PCR, "pcr31": PCR}).tcb == ("UpToDate",)
    assert parse_reference_value("amd-sev-snp", {"measurement": PCR, "least": {"snp": 8}}).least == {"snp": 8}
    assert parse_reference_value("insecure-dev", {"anything": 1}).measurements == {}
