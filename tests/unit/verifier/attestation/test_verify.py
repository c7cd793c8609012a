"""Verification: what the vectors leave out, and that remembering chains changes no answer."""

import dataclasses
import datetime as dt

import pytest

from holdfast.core.attestation.binding import Bound
from holdfast.core.attestation.certificates import SubjectKey, build_pem, parse_certificate, parse_certificates
from holdfast.core.attestation.evidence import EvidenceFile
from holdfast.core.attestation.snp import parse_snp
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UndecidedError
from holdfast.verifier.attestation import chain, dcap
from holdfast.verifier.attestation.chain import Span, verify_authorities, verify_named, verify_raw
from holdfast.verifier.attestation.insecure import verify_insecure
from holdfast.verifier.attestation.snp import verify_snp
from holdfast.verifier.transcript import Transcript
from tests.helpers.attestations import AT, made, shared, vector, verify

NITRO, SNP, DCAP = made("nitro-document"), made("snp-report"), made("dcap-tdx")


def code(function, *arguments, kind=HoldfastError, **named):
    with pytest.raises(kind) as error:
        function(*arguments, **named)
    return error.value.code


def test_an_unknown_format_is_refused():
    assert code(verify, "tpm", EvidenceFile(b""), (), kind=MalformedError) == "attestation.format"


@pytest.mark.parametrize("name", ["nitro-document", "snp-report", "dcap-tdx", "nvidia-report"])
def test_without_roots_nobody_is_believed(name):
    form, file, _ = made(name)
    assert code(verify, form, file, (), kind=UndecidedError) == "attestation.roots"


@pytest.mark.parametrize("name", ["snp-report", "dcap-tdx", "nvidia-report"])
def test_without_collateral_nobody_can_tell(name):
    form, file, roots = made(name)
    bare = EvidenceFile(file.evidence)
    assert code(verify, form, bare, roots, kind=UndecidedError) == "attestation.collateral_missing"


def test_a_chain_has_an_end_and_is_not_endless():
    form, file, roots = made("nvidia-report")
    leaf = parse_certificates(file.collateral)[0]
    assert code(verify, form, EvidenceFile(file.evidence, build_pem((leaf,))), roots) == "certificate.count"
    assert code(verify_authorities, (), roots) == "certificate.count"
    assert code(verify_authorities, roots * 9, roots) == "certificate.count"


def test_what_was_remembered_is_the_same_for_another_time():
    form, file, roots = NITRO
    before = verify_authorities.cache_info().hits
    first = verify(form, file, roots)
    assert verify(form, file, roots) == first
    assert verify_authorities.cache_info().hits > before
    late = first.valid_until + dt.timedelta(milliseconds=1)
    assert code(verify, form, file, roots, late) == "attestation.expired"
    assert code(verify, form, file, (b"another",)) == "attestation.root"
    assert verify(form, file, roots) == first


def test_a_refused_chain_is_not_remembered_as_good():
    form, file, _ = NITRO
    for _ in range(2):
        assert code(verify, form, file, made("snp-report")[2]) == "attestation.root"


@pytest.mark.parametrize("name", ["nitro-document", "snp-report", "dcap-tdx", "nvidia-report"])
def test_both_ends_of_the_span_belong_to_it(name):
    form, file, roots = made(name)
    claims = verify(form, file, roots)
    step = dt.timedelta(milliseconds=1)
    made_at = claims.made_at or claims.valid_from
    assert verify(form, file, roots, max(claims.valid_from, made_at)) == claims
    assert verify(form, file, roots, claims.valid_until) == claims
    assert code(verify, form, file, roots, claims.valid_until + step) == "attestation.expired"
    assert code(verify, form, file, roots, claims.valid_from - step) == "attestation.not_yet_valid"


def test_a_span_is_what_is_common():
    first = Span(AT, AT + dt.timedelta(hours=2))
    assert first.within(AT - dt.timedelta(hours=1), AT + dt.timedelta(hours=1)) == Span(AT, AT + dt.timedelta(hours=1))


LEAF = parse_certificate(parse_certificates(shared("nvidia-chain.pem"))[0])
RSA = parse_certificate(parse_certificates(shared("snp-root.pem"))[0])


def test_a_key_signs_with_its_own_kind_of_signature():
    assert code(verify_named, LEAF.key, "rsa-pss-sha384", b"", b"") == "attestation.chain"
    assert code(verify_named, RSA.key, "ecdsa-sha384", b"", b"") == "attestation.chain"
    assert code(verify_named, RSA.key, "rsa-pss-sha384", b"", bytes(256)) == "attestation.chain"
    assert code(verify_named, LEAF.key, "ecdsa-sha384", b"", b"") == "attestation.chain"
    assert code(verify_raw, "p384", LEAF.key.point, b"", bytes(96), "it", kind=RefusedError) == "attestation.signature"
    assert code(verify_raw, "p384", LEAF.key.point, b"", b"\xff" * 96, "it") == "attestation.signature"


def test_a_point_that_is_not_on_its_curve_is_no_key():
    nowhere = SubjectKey("p384", b"\x04" + bytes(95) + b"\x01")
    assert code(verify_named, nowhere, "ecdsa-sha384", b"", b"", kind=MalformedError) == "certificate.key"


def test_a_modulus_that_is_none_is_no_key(monkeypatch):
    def refuse(exponent, modulus):
        raise ValueError

    monkeypatch.setattr(chain.rsa, "RSAPublicNumbers", refuse)
    key = SubjectKey("rsa", b"", (1 << 2047) + 1, 65537)
    assert code(verify_named, key, "rsa-pss-sha384", b"", b"", kind=MalformedError) == "certificate.key"


@pytest.mark.parametrize(("module", "name"), [("snp", "snp-report"), ("nvidia", "nvidia-report"), ("dcap", "dcap-tdx")])
def test_the_vendors_curve_counts(module, name, monkeypatch):
    """No vector can hold a leaf of another curve under a chain that fits and a signature that verifies."""
    form, file, roots = made(name)
    import importlib  # noqa: PLC0415 (a module by its name)

    found = importlib.import_module(f"holdfast.verifier.attestation.{module}")
    other = dataclasses.replace(RSA.key, algorithm="p521")

    def wrong(raw):
        real = parse_certificate(raw)
        return dataclasses.replace(real, key=other)

    if module == "dcap":
        dcap.verify_collateral.cache_clear()
        dcap._platform.cache_clear()
        monkeypatch.setattr(found, "parse_authority", wrong)
        monkeypatch.setattr(found, "verify_leaf", lambda leaf, authorities: Span(AT, AT))
        collateral = dcap.verify_collateral(file.collateral, roots)
        assert collateral.span
        assert code(dcap._platform, parse_certificates(shared("dcap-root.pem")) * 2, roots) == "attestation.leaf"
        assert code(dcap._platform, roots, roots) == "certificate.count"
    else:
        monkeypatch.setattr(found, "parse_certificate", wrong)
        monkeypatch.setattr(found, "verify_path", lambda *_: (Span(AT, AT), RSA))
        assert code(verify, form, file, roots) == "attestation.leaf"


def test_collateral_is_signed_with_the_curve_of_intel(monkeypatch):
    dcap.verify_collateral.cache_clear()
    monkeypatch.setattr(dcap, "verify_leaf", lambda leaf, authorities: Span(AT, AT))
    found = dcap.parse_collateral(shared("dcap-collateral.json"))
    wrong = (dataclasses.replace(found.tcb_chain[0], key=LEAF.key), *found.tcb_chain[1:])
    monkeypatch.setattr(dcap, "parse_collateral", lambda raw: dataclasses.replace(found, tcb_chain=wrong))
    assert code(dcap.verify_collateral, b"", DCAP[2]) == "attestation.leaf"
    short = dataclasses.replace(found, tcb_chain=found.tcb_chain[:1])
    monkeypatch.setattr(dcap, "parse_collateral", lambda raw: short)
    assert code(dcap.verify_collateral, b"", DCAP[2]) == "certificate.count"


def test_a_chip_that_speaks_of_another_order_of_versions_is_another_firmware():
    _, file, roots = SNP
    report = parse_snp(file.evidence)
    certificates = parse_certificates(file.collateral)
    claims = verify_snp(report, certificates, Bound(), roots, AT, Transcript())
    assert claims.versions["microcode"] == 213
    assert claims.is_vendor_root is False
    assert "no vendor's" in claims.root_name


# insecure-dev


def test_a_throw_away_key_has_its_size():
    evidence = vector("insecure-signature")
    assert code(verify_insecure, evidence, "00" * 32, (b"short",), Transcript()) == "attestation.roots"
    assert code(verify_insecure, evidence, None, (bytes(32),), Transcript()) == "attestation.key_document"


def test_no_throw_away_root_reads_like_a_vendor():
    from holdfast.core.encoding import b64_decode  # noqa: PLC0415
    from holdfast.core.keys import parse_key_document  # noqa: PLC0415

    document = parse_key_document(vector("insecure-signature", "key-document.json")).digest
    root = b64_decode(vector("insecure-signature", "root.txt").decode().strip())
    claims = verify_insecure(vector("insecure-signature"), document, (bytes(32), root), Transcript())
    assert (claims.is_vendor_root, claims.debug, claims.tee) == (False, True, "software")
    shown = claims.to_json()
    assert shown["development"] is True
    assert shown["root"]["name"] == "a throw-away development root"


def test_claims_are_shown_whole():
    shown = verify(*NITRO).to_json()
    assert set(shown) == {
        "format", "tee", "root", "measurements", "debug", "development", "bound", "report_data", "nonce",
        "nonce_is_digest", "made_at", "tcb", "valid_from", "valid_until", "details", "unchecked",
    }  # fmt: skip
    assert shown["made_at"] == "2025-12-31T23:30:00.250Z"
    assert shown["development"] is True  # of a vendor of our own
    assert verify("amd-sev-snp", *made("snp-bound")[1:]).to_json()["development"] is False
