"""Certificates, revocation lists and PEM: what is refused before any signature is looked at."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast.core.attestation import certificates as module
from holdfast.core.attestation.certificates import (
    build_pem,
    parse_certificate,
    parse_certificates,
    parse_pem,
    parse_revocations,
    read_spki,
)
from holdfast.core.attestation.dcap import parse_collateral
from holdfast.core.attestation.roots import VENDOR_ROOTS, vendor_name, vendor_roots
from holdfast.errors import MalformedError
from tests.helpers.attestations import shared

CHAIN = parse_certificates(shared("snp-chain.pem"))
NITRO_ROOT = parse_certificates(shared("nitro-root.pem"))[0]


def code(function, *arguments):
    with pytest.raises(MalformedError) as error:
        function(*arguments)
    return error.value.code


def tlv(tag, *parts):
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    width = (size.bit_length() + 7) // 8
    return bytes([tag, 0x80 | width]) + size.to_bytes(width, "big") + content


def rebuilt(raw, change):
    """A certificate with its parts changed; nothing is signed anew."""
    outer = module.der.sequence(module.der.single(raw, 0x30))
    fields = [item.raw for item in module.der.sequence(outer[0])]
    parts = {"fields": fields, "algorithm": outer[1].raw, "signature": outer[2].raw}
    change(parts)
    return tlv(0x30, tlv(0x30, *parts["fields"]), parts["algorithm"], parts["signature"])


def with_field(number, value):
    return rebuilt(NITRO_ROOT, lambda parts: parts["fields"].__setitem__(number, value))


ECDSA256 = bytes.fromhex("300a06082a8648ce3d040302")
P384 = bytes.fromhex("301006072a8648ce3d020106052b81040022")
RSA = bytes.fromhex("300d06092a864886f70d0101010500")


def rsa_key(modulus, exponent):
    numbers = [tlv(2, number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in (modulus, exponent)]
    return tlv(0x30, RSA, tlv(3, b"\0", tlv(0x30, *numbers)))


@pytest.mark.parametrize(
    "key",
    [
        tlv(0x30, P384, tlv(3, b"\0\4" + bytes(95))),
        tlv(0x30, P384, tlv(3, b"\0\2" + bytes(96))),
        tlv(0x30, bytes.fromhex("301006072a8648ce3d020106052b81040023"), tlv(3, b"\0\4" + bytes(132))),
        tlv(
            0x30,
            bytes.fromhex("301006032b657006052b81040022").replace(b"\x30\x10", b"\x30\x0c"),
            tlv(3, b"\0" + bytes(32)),
        ),
        rsa_key((1 << 1023) + 1, 65537),
        rsa_key((1 << 4096) + 1, 65537),
        rsa_key(1 << 2047, 65537),
        rsa_key((1 << 2047) + 1, 3),
    ],
)
def test_a_key_of_another_kind_is_refused(key):
    assert code(parse_certificate, with_field(6, key)) == "certificate.key"


@pytest.mark.parametrize(
    ("number", "value", "expected"),
    [
        (0, tlv(0xA0, tlv(2, b"\1")), "certificate.version"),
        (0, tlv(0xA1, tlv(2, b"\2")), "certificate.version"),
        (2, ECDSA256, "certificate.algorithm"),
        (3, tlv(0x31), "der.tag"),
        (4, tlv(0x30, tlv(0x17, b"260101000000Z")), "der.count"),
        (7, tlv(0xA2, tlv(0x30)), "der.tag"),
        (7, tlv(0xA3, tlv(0x30)), "der.count"),
    ],
)
def test_a_certificate_of_another_form_is_refused(number, value, expected):
    assert code(parse_certificate, with_field(number, value)) == expected


def extensions(*given):
    items = [tlv(0x30, tlv(6, identifier), critical, tlv(4, value)) for identifier, critical, value in given]
    return with_field(7, tlv(0xA3, tlv(0x30, *items)))


BASIC = b"\x55\x1d\x13"
TRUE = tlv(1, b"\xff")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (tlv(0x30, tlv(1, b"\0"), tlv(2, b"\0")), "certificate.extension"),
        (tlv(0x30, TRUE, tlv(2, b"\xff")), "certificate.extension"),
        (tlv(0x30, tlv(2, b"\0")), "der.tag"),
        (tlv(0x30, TRUE, tlv(2, b"\0"), tlv(2, b"\0")), "der.count"),
    ],
)
def test_basic_constraints_say_one_thing(value, expected):
    assert code(parse_certificate, extensions((BASIC, TRUE, value))) == expected


def test_what_is_not_read_and_critical_is_kept_for_the_path():
    found = parse_certificate(extensions((b"\x55\x1d\x1e", TRUE, tlv(0x30)), (b"\x55\x1d\x0e", b"", b"x")))
    assert found.unread_critical == ("2.5.29.30",)
    assert found.extensions["2.5.29.14"] == b"x"
    assert (found.is_authority, found.path_length, found.usages) == (False, None, None)


PSS = module.der.sequence(module.der.single(CHAIN[1], 0x30))[1].raw


@pytest.mark.parametrize(
    "algorithm",
    [
        bytes.fromhex("300d06092a864886f70d01010b0500"),
        bytes.fromhex("300c06082a8648ce3d0403030500"),
        bytes.fromhex("300b06092a864886f70d01010a"),
        PSS.replace(bytes.fromhex("020130"), bytes.fromhex("020120")),
        PSS.replace(bytes.fromhex("0609608648016503040202"), bytes.fromhex("0609608648016503040201"), 1),
        PSS.replace(bytes.fromhex("0609608648016503040202"), bytes.fromhex("0609608648016503040201")),
        PSS.replace(bytes.fromhex("06092a864886f70d010108"), bytes.fromhex("06092a864886f70d010109")),
        PSS.replace(b"\xa2", b"\xa4"),
    ],
)
def test_a_signature_algorithm_that_nobody_uses_here_is_refused(algorithm):
    def change(parts):
        parts["fields"][2] = parts["algorithm"] = algorithm

    assert code(parse_certificate, rebuilt(NITRO_ROOT, change)) == "certificate.algorithm"


def test_the_trailer_of_rsa_pss_may_be_spelled_out():
    inner = PSS.index(b"\xa2")
    content = module.der.sequence(module.der.single(PSS, 0x30))
    parameters = content[1].content
    assert inner > 0
    for trailer, fits in ((b"\1", True), (b"\2", False)):
        spelled = tlv(0x30, content[0].raw, tlv(0x30, parameters, tlv(0xA3, tlv(2, trailer))))

        def change(parts, spelled=spelled):
            parts["fields"][2] = parts["algorithm"] = spelled

        raw = rebuilt(NITRO_ROOT, change)
        if fits:
            assert parse_certificate(raw).signature_algorithm == "rsa-pss-sha384"
        else:
            assert code(parse_certificate, raw) == "certificate.algorithm"


def test_a_large_certificate_is_refused_unread():
    assert code(parse_certificate, bytes(module.MAX_CERTIFICATE_BYTES + 1)) == "certificate.size"


# Revocation lists


CRL = bytes.fromhex(__import__("json").loads(shared("dcap-collateral.json"))["pck_crl"])


def crl(change):
    return rebuilt(CRL, change)


def test_a_revocation_list_is_read():
    found = parse_revocations(CRL)
    assert found.serials == frozenset()
    assert found.issuer == parse_collateral(shared("dcap-collateral.json")).pck_crl_chain[0].subject
    entry = tlv(0x30, tlv(2, b"\7"), tlv(0x17, b"251201000000Z"))
    assert parse_revocations(crl(lambda parts: parts["fields"].insert(5, tlv(0x30, entry)))).serials == {7}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda parts: parts["fields"].__setitem__(0, tlv(2, b"\0")), "certificate.version"),
        (lambda parts: parts.__setitem__("algorithm", PSS), "certificate.version"),
        (lambda parts: parts["fields"].__setitem__(5, tlv(0x30)), "certificate.extension"),
        (lambda parts: parts["fields"].append(tlv(0xA0, tlv(0x30))), "certificate.extension"),
        (
            lambda parts: parts["fields"].__setitem__(
                5, tlv(0xA0, tlv(0x30, tlv(0x30, tlv(6, b"\x55\x1d\x1b"), TRUE, tlv(4, tlv(2, b"\1")))))
            ),
            "certificate.extension",
        ),
        (lambda parts: parts["fields"].pop(), "der.count"),
    ],
)
def test_a_revocation_list_of_another_form_is_refused(change, expected):
    assert code(parse_revocations, crl(change)) == expected


def test_a_large_revocation_list_is_refused_unread():
    assert code(parse_revocations, bytes(module.MAX_REVOCATIONS_BYTES + 1)) == "certificate.size"


# PEM


PEM = build_pem(CHAIN)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff" + PEM,
        b"\n" + PEM,
        PEM + b"\n",
        PEM.replace(b"\n", b"\r\n"),
        PEM.replace(b"-----END", b"----END"),
        PEM.replace(b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN CERTIFICATE-----", 1),
        PEM[:100] + b"\n" + PEM[100:],
        build_pem(CHAIN * 3),
    ],
)
def test_pem_has_one_spelling(text):
    assert code(parse_pem, text) == "certificate.pem"


def test_pem_of_what_is_no_base64_is_refused():
    assert code(parse_pem, PEM.replace(b"M", b"=", 1)) == "encoding.base64"


def test_pem_and_der_come_to_the_same():
    assert parse_certificates(PEM) == parse_certificates(PEM.removesuffix(b"\n")) == CHAIN
    assert parse_certificates(b"".join(CHAIN)) == CHAIN
    assert code(parse_certificates, b"") == "certificate.count"
    assert code(parse_certificates, b"\x30\x00" * 9) == "certificate.count"


# The key alone, for TLS


def test_the_key_of_a_certificate_is_read_whatever_signed_it():
    for raw in (*CHAIN, NITRO_ROOT):
        read = serialization.load_der_public_key(read_spki(raw))
        key = parse_certificate(raw).key
        if isinstance(read, ec.EllipticCurvePublicKey):
            form = serialization.PublicFormat.UncompressedPoint
            assert read.public_bytes(serialization.Encoding.X962, form) == key.point
        else:
            assert read.public_numbers().n == key.modulus


def test_what_is_no_certificate_has_no_key():
    assert code(read_spki, b"") == "der.truncated"
    assert code(read_spki, CHAIN[0] + b"\x00") == "der.trailing"
    assert code(read_spki, bytes(5000)) == "certificate.size"
    assert code(read_spki, rebuilt(NITRO_ROOT, lambda parts: parts["fields"].pop(0))) == "certificate.version"


# Roots


def test_the_vendors_roots_are_authorities_and_known_by_digest():
    digests = {
        "aws-nitro": "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b",
        "intel-dcap": "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3",
        "amd-sev-snp": "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
        "nvidia": "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48",
    }
    for root in VENDOR_ROOTS:
        found = parse_certificate(root.certificate)
        assert found.digest == digests.pop(root.form)
        assert found.is_authority
        assert found.issuer == found.subject
        assert vendor_roots(root.form) == (root.certificate,)
        assert vendor_name(root.certificate) == root.name
    assert not digests
    assert vendor_roots("insecure-dev") == ()
    assert vendor_name(NITRO_ROOT) is None
