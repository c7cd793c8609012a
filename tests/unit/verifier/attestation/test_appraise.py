"""Appraisal: what is compared, what is owed, and that of several reference values one has to fit alone."""

import dataclasses
import datetime as dt

import pytest

from holdfast.core.encoding import sha256, time_encode
from holdfast.core.keys import parse_key_document
from holdfast.errors import MalformedError, RefusedError
from holdfast.verifier.attestation.appraise import Expected, appraise_attestation, read_references
from holdfast.verifier.transcript import Transcript
from tests.helpers.attestations import AT, made, vector, verify

NITRO, TDX, SNP = (verify(*made(name)) for name in ("nitro-bound", "dcap-tdx-bound", "snp-bound"))
NODE = parse_key_document(vector("nitro-bound", "key-document.json")).digest
HOUR = dt.timedelta(hours=1)


def reference(kind, value, **change):
    span = {"valid_from": time_encode(AT - HOUR), "valid_until": time_encode(AT + HOUR)}
    return {"kind": kind, "role": "gateway", "value": value, "debug": False, **span, **change}


def registers(claims, *names):
    return {name: claims.measurements[name].hex() for name in names}


TDX_VALUE = {"tee": "tdx", **registers(TDX, "mr_td", "rt_mr1", "rt_mr2")}


def appraise(claims, *references, given=True, **expected):
    record = Transcript()
    found = read_references(references) if given else None
    answer = appraise_attestation(claims, Expected(AT, AT, references=found, **expected), record)
    return answer, {(check.answer, check.code) for check in record.checks}


def code(claims, *references, **expected):
    with pytest.raises(RefusedError) as error:
        appraise(claims, *references, **expected)
    return error.value.code


def test_what_nobody_gave_to_compare_with_is_owed():
    _, said = appraise(NITRO, given=False)
    owed = {"attestation.unbound", "attestation.no_nonce", "attestation.unmeasured", "attestation.offline"}
    owed |= {"attestation.development"}  # of a root of our own
    assert said == {("yes", None), *(("cannot_tell", one) for one in owed)}


def test_an_empty_list_admits_nothing():
    for claims in (NITRO, TDX, SNP):
        assert code(claims) == "attestation.measurement"


def test_a_reference_value_holds_for_the_whole_span():
    value = registers(NITRO, "pcr0")
    fits = reference("aws-nitro", value)
    assert appraise(NITRO, fits)[0].reference.role == "gateway"
    for change in ({"valid_from": time_encode(AT + dt.timedelta(milliseconds=1))}, {"valid_until": time_encode(AT)}):
        assert code(NITRO, reference("aws-nitro", value, **change)) == "attestation.measurement"
    record = Transcript()
    late = Expected(AT, AT + HOUR, references=read_references([fits]))
    with pytest.raises(RefusedError):
        appraise_attestation(NITRO, late, record)


def test_a_role_has_to_be_the_nodes():
    fits = reference("aws-nitro", registers(NITRO, "pcr0"))
    assert appraise(NITRO, fits, roles=("gateway", "data"))[0].reference
    assert code(NITRO, fits, roles=("data",)) == "attestation.measurement"
    assert code(NITRO, fits, roles=()) == "attestation.measurement"


def test_values_of_another_tee_do_not_fit():
    sgx = reference("intel-dcap", {"tee": "sgx", "mr_enclave": "00" * 32})
    assert code(TDX, sgx) == "attestation.measurement"
    software = reference("insecure-dev", {})
    assert code(NITRO, software) == "attestation.measurement"


def test_a_least_version_is_reached_or_not():
    value = registers(SNP, "measurement")
    assert appraise(SNP, reference("amd-sev-snp", {**value, "least": {"snp": 22}}))
    assert code(SNP, reference("amd-sev-snp", {**value, "least": {"snp": 23}})) == "attestation.measurement"
    assert code(SNP, reference("amd-sev-snp", {**value, "least": {"fmc": 0}})) == "attestation.measurement"


def test_a_key_document_is_bound_by_record_or_by_digest():
    for claims in (NITRO, TDX, SNP):
        answer, _ = appraise(claims, given=False, key_document=NODE)
        assert answer.bound.key_document == NODE
        assert code(claims, given=False, key_document="00" * 32) == "attestation.binding"
    bare = dataclasses.replace(TDX, report_data=None)
    assert code(bare, given=False, key_document=NODE) == "attestation.binding"


def test_a_nonce_is_answered_as_the_format_has_it():
    nonce = NITRO.nonce
    assert TDX.nonce == SNP.nonce == sha256(nonce)
    for claims in (NITRO, TDX, SNP):
        _, said = appraise(claims, given=False, nonce=nonce)
        assert ("cannot_tell", "attestation.no_nonce") not in said
        assert code(claims, given=False, nonce=nonce + b"x") == "attestation.nonce"
        assert code(dataclasses.replace(claims, nonce=None), given=False, nonce=nonce) == "attestation.nonce"


def test_debug_mode_is_refused_unless_somebody_allows_it():
    debug = dataclasses.replace(NITRO, debug=True)
    fits = registers(NITRO, "pcr0")
    assert code(debug, given=False) == "attestation.debug"
    assert code(debug, reference("aws-nitro", fits)) == "attestation.debug"
    for said in (
        appraise(debug, given=False, allow_debug=True)[1],
        appraise(debug, reference("aws-nitro", fits, debug=True))[1],
        appraise(dataclasses.replace(NITRO, debug=None), given=False)[1],
    ):
        assert ("cannot_tell", "attestation.debug") in said


def test_a_status_has_to_be_listed():
    for status, admitted in (("UpToDate", True), ("SWHardeningNeeded", False), ("OutOfDate", False)):
        claims = dataclasses.replace(TDX, tcb_status=status, advisories=("INTEL-SA-1",))
        if admitted:
            assert appraise(claims, reference("intel-dcap", TDX_VALUE))
        else:
            assert code(claims, reference("intel-dcap", TDX_VALUE)) == "attestation.tcb"
        listed = reference("intel-dcap", {**TDX_VALUE, "tcb": [status]})
        assert (("cannot_tell", "attestation.tcb") in appraise(claims, listed)[1]) is not admitted


def test_without_reference_values_only_what_is_out_of_date_is_refused():
    for status in ("UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"):
        assert appraise(dataclasses.replace(TDX, tcb_status=status), given=False)
    for status in ("OutOfDate", "OutOfDateConfigurationNeeded"):
        assert code(dataclasses.replace(TDX, tcb_status=status), given=False) == "attestation.tcb"


def test_two_values_do_not_add_up_to_one():
    """One admits debug mode, the other the firmware: neither admits both."""
    claims = dataclasses.replace(TDX, debug=True, tcb_status="OutOfDate")
    debug = reference("intel-dcap", TDX_VALUE, debug=True)
    firmware = reference("intel-dcap", {**TDX_VALUE, "tcb": ["OutOfDate"]})
    for order in ((debug, firmware), (firmware, debug)):
        assert code(claims, *order) == "attestation.debug"
    both = reference("intel-dcap", {**TDX_VALUE, "tcb": ["OutOfDate"]}, debug=True)
    assert appraise(claims, debug, firmware, both)[0].reference.debug


def test_a_reference_value_that_is_malformed_is_no_reference_value():
    with pytest.raises(MalformedError):
        appraise(NITRO, reference("aws-nitro", {"pcr1": "00" * 48}))
