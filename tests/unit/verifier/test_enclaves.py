"""Attestations in a bundle: one answer each. Most cases stand in ``vectors/lanes/enclave-*``; here is what is left."""

import dataclasses
import datetime as dt

import pytest

from holdfast.core.attestation import roots
from holdfast.core.attestation.binding import build_binding, build_report_data
from holdfast.core.attestation.certificates import parse_certificates
from holdfast.core.attestation.evidence import EvidenceFile, build_evidence_file
from holdfast.core.bundles import AttestationItem
from holdfast.core.encoding import sha256_hex
from holdfast.core.keys import parse_key_document
from holdfast.core.trust import parse_trust_chain, verify_trust
from holdfast.verifier.enclaves import Moment, check_attestation
from holdfast.verifier.transcript import Transcript
from tests.helpers.attestations import AT, shared, vector
from tests.helpers.tsm import AMD

TRUST = verify_trust(parse_trust_chain(shared("trust-with-enclaves.json")))
NODE = parse_key_document(vector("nitro-bound", "key-document.json")).digest
NITRO = vector("nitro-bound")
LEAF = AMD.leaf_certificate(start="2025-12-31T23:00:00.000Z", end="2026-01-01T02:00:00.000Z")
DOCUMENT = build_evidence_file(
    EvidenceFile(AMD.report(report_data=build_report_data(build_binding(NODE))), b"".join((LEAF, *AMD.chain[1:])))
)
SECOND = dt.timedelta(seconds=1)
NOW = Moment(AT, AT + SECOND)
END = dt.datetime(2026, 1, 1, 2, tzinfo=dt.UTC)
"""When the chip's certificate runs out."""


def ask(evidence=DOCUMENT, moment=NOW, form="amd-sev-snp", node=NODE, trust=TRUST):
    record = Transcript()
    found = check_attestation(AttestationItem(node, form, evidence), moment, trust, record)
    last = record.checks[-1]
    assert found.form == form
    assert found.digest == sha256_hex(evidence)
    return found.answer, last.answer, last.code


def test_hardware_that_is_admitted_is_hardware():
    assert ask() == ("hardware", "yes", None)


def test_a_format_that_nobody_knows_is_not_read():
    assert ask(form="tpm") == ("unread", "cannot_tell", "enclave.format")


@pytest.mark.parametrize("change", [{"moment": None}, {"node": "00" * 32}])
def test_a_node_that_is_not_there_is_not_judged(change):
    assert ask(**change) == ("unread", "cannot_tell", "enclave.not_judged")


def test_what_is_wrong_with_it_is_said():
    assert ask(NITRO[:-1], form="aws-nitro") == ("bad", "no", "cbor.truncated")
    assert ask(vector("nitro-document"), form="aws-nitro") == ("bad", "no", "attestation.binding")
    assert ask(b"", form="insecure-dev") == ("bad", "no", "enclave.attestation")


@pytest.mark.parametrize(
    ("moment", "answer"),
    [
        (Moment(END, END), ("hardware", "yes", None)),
        (Moment(END + SECOND, END + SECOND), ("expired", "cannot_tell", "enclave.expired")),
        (Moment(END, END + SECOND), ("expired", "cannot_tell", "enclave.expired")),
        (Moment(END - 4 * dt.timedelta(hours=1), END), ("unread", "cannot_tell", "enclave.not_yet")),
        (Moment(AT, AT, late=True), ("undated", "cannot_tell", "enclave.undated")),
        (Moment(AT, AT, doubt="route is refused (key-revoked)."), ("unread", "cannot_tell", "enclave.doubt")),
        (Moment(AT, END + SECOND, doubt="x", late=True), ("unread", "cannot_tell", "enclave.doubt")),
    ],
)
def test_it_speaks_of_its_own_time_only(moment, answer):
    assert ask(moment=moment) == answer


def test_under_a_development_trust_nothing_is_hardware():
    for current in (
        dataclasses.replace(TRUST.current, development=True),
        dataclasses.replace(
            TRUST.current,
            enclave_roots=tuple(dataclasses.replace(root, development=True) for root in TRUST.current.enclave_roots),
        ),
    ):
        trust = dataclasses.replace(TRUST, current=current)
        assert ask(trust=trust) == ("development", "cannot_tell", "enclave.development")


def test_a_nitro_document_is_hardware_under_awss_root_alone(monkeypatch):
    """The document of the vectors under a root of their own: counted only when that root were AWS's."""
    assert ask(NITRO, form="aws-nitro") == ("development", "cannot_tell", "enclave.development")
    monkeypatch.setattr(roots, "vendor_roots", lambda form: parse_certificates(shared("nitro-root.pem")))
    assert ask(NITRO, form="aws-nitro") == ("hardware", "yes", None)


@pytest.mark.parametrize("moment", [Moment(AT, AT, late=True), Moment(AT, END + SECOND)])
def test_what_is_simulated_has_nothing_to_wait_for(moment):
    assert ask(NITRO, moment=moment, form="aws-nitro") == ("development", "cannot_tell", "enclave.development")
