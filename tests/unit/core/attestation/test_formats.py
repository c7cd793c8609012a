"""Nitro, SEV-SNP, DCAP and GPU evidence as bytes: what the vectors do not already refuse.

The vectors under ``vectors/attestation`` hold most refusals; here are sizes, and fields that a signed vector could not
have.
"""

import json

import pytest

from holdfast.core.attestation import dcap, nitro, nvidia, snp
from holdfast.core.attestation.certificates import parse_certificate
from holdfast.core.attestation.dcap import parse_collateral, parse_identity, parse_pck, parse_quote, parse_tcb_info
from holdfast.core.attestation.nitro import parse_nitro
from holdfast.core.attestation.nvidia import parse_nvidia
from holdfast.core.attestation.snp import parse_snp, parse_vcek, read_tcb
from holdfast.errors import MalformedError
from tests.helpers.attestations import shared, vector

COLLATERAL = json.loads(shared("dcap-collateral.json"))
TCB_INFO = json.loads(COLLATERAL["tcb_info"])
IDENTITY = json.loads(COLLATERAL["qe_identity"])
QUOTE = vector("dcap-tdx")


def code(function, *arguments):
    with pytest.raises(MalformedError) as error:
        function(*arguments)
    return error.value.code


def test_a_nitro_document_is_what_it_says():
    found = parse_nitro(vector("nitro-document"))
    assert len(found.authorities) == 4
    assert found.claimed_time.isoformat() == "2025-12-31T23:30:00.250000+00:00"
    assert (found.public_key, found.user_data, found.nonce) == (None, None, None)
    assert found.signed.startswith(b"\x84\x6aSignature1\x44" + nitro.PROTECTED + b"\x40\x59")


@pytest.mark.parametrize("size", [0, 1183, 1185])
def test_a_report_has_one_size(size):
    assert code(parse_snp, bytes(size)) == "snp.size"


def test_the_order_of_firmware_versions_is_the_products():
    raw = bytes([1, 2, 3, 4, 5, 6, 7, 8])
    assert read_tcb(raw, "Genoa-B1") == {"boot_loader": 1, "tee": 2, "snp": 7, "microcode": 8}
    assert read_tcb(raw, "Turin-C1") == {"fmc": 1, "boot_loader": 2, "tee": 3, "snp": 4, "microcode": 8}


def test_a_certificate_of_no_chip_is_no_vcek():
    assert code(parse_vcek, parse_certificate(dcap.parse_quote(QUOTE).chain[0])) == "snp.vcek"


def test_a_certificate_of_no_platform_is_no_pck():
    authority = parse_certificate(dcap.parse_quote(QUOTE).chain[1])
    assert code(parse_pck, authority) == "quote.pck"


def pck(change):
    certificate = parse_certificate(parse_quote(QUOTE).chain[0])
    raw = certificate.extensions["1.2.840.113741.1.13.1"]
    changed = change(raw)
    assert changed != raw
    fields = {name: getattr(certificate, name) for name in certificate.__dataclass_fields__}
    return type(certificate)(**{**fields, "extensions": {"1.2.840.113741.1.13.1": changed}})


ARC = bytes.fromhex("060a2a864886f84d010d01")
"""The first bytes of an identifier in Intel's extension; the last arc follows."""


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.replace(ARC + b"\4", ARC + b"\5"),
        lambda raw: raw.replace(ARC + b"\3", ARC + b"\4"),
        lambda raw: raw.replace(
            bytes.fromhex("060b2a864886f84d010d010211"), bytes.fromhex("060b2a864886f84d010d010213")
        ),
        lambda raw: raw.replace(
            bytes.fromhex("060b2a864886f84d010d010211"), bytes.fromhex("060b2a864886f84d010d010210")
        ),
        lambda raw: raw.replace(ARC + b"\4\4\6", ARC + b"\6\4\6").replace(ARC + b"\3\4\2", ARC + b"\4\4\2"),
    ],
)
def test_a_platforms_extension_is_whole(change):
    assert code(parse_pck, pck(change)) == "quote.pck"


@pytest.mark.parametrize("data", [b"", bytes(133), bytes.fromhex("11e001ff") + bytes(200)])
def test_a_report_of_a_gpu_begins_with_its_request(data):
    assert code(parse_nvidia, data) == "nvidia.spdm"


def gpu(change):
    raw = bytearray(vector("nvidia-report"))
    change(raw)
    return bytes(raw)


MEASURED = nvidia.REQUEST_BYTES + 8


@pytest.mark.parametrize(
    ("at", "value", "expected"),
    [
        (MEASURED + 1, 2, "nvidia.measurements"),
        (MEASURED + 2, 2, "nvidia.measurements"),
        (MEASURED + 2, 255, "nvidia.measurements"),
        (MEASURED + 5, 47, "nvidia.measurements"),
        (nvidia.REQUEST_BYTES + 4, 2, "nvidia.measurements"),
        (nvidia.REQUEST_BYTES + 5, 0, "nvidia.spdm"),
        (nvidia.REQUEST_BYTES + 7, 255, "nvidia.spdm"),
        (-96 - 14 + 2, 11, "nvidia.opaque"),
    ],
)
def test_the_sizes_in_a_report_of_a_gpu_fit(at, value, expected):
    def change(raw):
        raw[at] = value

    assert code(parse_nvidia, gpu(change)) == expected


def test_a_report_of_a_gpu_need_not_say_its_versions():
    def change(raw):
        raw[-96 - 14] = 9

    found = parse_nvidia(gpu(change))
    assert (found.driver_version, found.vbios_version) == (None, None)
    assert parse_nvidia(vector("nvidia-report")).driver_version == "550.90.07"


def test_the_versions_of_a_gpu_are_shown():
    def change(raw):
        raw[-96 - 14] = 6

    assert parse_nvidia(gpu(change)).vbios_version == b"550.90.07\0"[::-1].hex()


# Quotes


def test_a_quote_is_what_it_says():
    found = parse_quote(QUOTE)
    assert (found.version, found.tee, len(found.chain)) == (4, "tdx", 3)
    assert len(found.signed) == 48 + 584
    assert found.body.mr_service_td is None
    assert parse_quote(vector("dcap-tdx-version-5")).body.mr_service_td == bytes(48)
    assert parse_quote(vector("dcap-sgx")).body.isv_svn == 7


@pytest.mark.parametrize("size", [0, 47, 48, 631, 635, 636, 700, 1000, 2000])
def test_a_quote_that_ends_early_is_refused(size):
    assert code(parse_quote, QUOTE[:size]) == "quote.truncated"


def test_padding_has_an_end():
    assert parse_quote(QUOTE + bytes(dcap.MAX_PADDING_BYTES))
    assert code(parse_quote, QUOTE + bytes(dcap.MAX_PADDING_BYTES + 1)) == "quote.trailing"


def quote(change, name="dcap-tdx"):
    raw = bytearray(vector(name))
    change(raw)
    return bytes(raw)


@pytest.mark.parametrize(
    ("at", "value", "expected"),
    [
        (0, 3, "quote.version"),
        (0, 2, "quote.version"),
        (4, 0x82, "quote.version"),
        (2, 3, "quote.key"),
        (764, 5, "quote.certification"),
    ],
)
def test_a_quote_of_another_kind_is_refused(at, value, expected):
    def change(raw):
        raw[at] = value

    assert code(parse_quote, quote(change)) == expected


def test_nothing_stands_between_the_fields_of_a_quote():
    def change(raw):
        size = int.from_bytes(raw[632:636], "little") + 1
        raw[632:636] = size.to_bytes(4, "little")
        raw.append(0)

    assert code(parse_quote, quote(change)) == "quote.trailing"


# Collateral


def changed(**change):
    return json.dumps({**COLLATERAL, **change}).encode()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"tcb_info": 1}, "collateral.fields"),
        ({"more": ""}, "collateral.fields"),
        ({"tcb_info_signature": "00"}, "encoding.hex"),
        ({"pck_crl": "zz"}, "encoding.hex"),
        ({"pck_crl": "3000"}, "der.count"),
        ({"tcb_info_issuer_chain": ""}, "certificate.pem"),
        ({"tcb_info": "[]"}, "json.object"),
        ({"qe_identity": "{"}, "json.syntax"),
    ],
)
def test_collateral_is_whole(change, expected):
    assert code(parse_collateral, changed(**change)) == expected


def test_collateral_may_bring_a_chain_that_is_not_read():
    assert parse_collateral(changed(pck_certificate_chain="anything"))


LEVEL = TCB_INFO["tcbLevels"][0]
TCB = LEVEL["tcb"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": "TPM"}, "collateral.version"),
        ({"tcbType": 1}, "collateral.version"),
        ({"issueDate": None}, "collateral.time"),
        ({"issueDate": "2025-13-25T00:00:00Z"}, "collateral.time"),
        ({"fmspc": "00"}, "encoding.hex"),
        ({"fmspc": None}, "encoding.hex"),
        ({"tcbLevels": {}}, "collateral.fields"),
        ({"tcbLevels": [LEVEL] * 65}, "collateral.fields"),
        ({"tcbLevels": [{}]}, "collateral.fields"),
        ({"tcbLevels": [None]}, "collateral.fields"),
        ({"tcbLevels": [LEVEL | {"tcb": TCB | {"pcesvn": "1"}}]}, "collateral.fields"),
        ({"tcbLevels": [LEVEL | {"tcb": TCB | {"pcesvn": True}}]}, "collateral.fields"),
        ({"tcbLevels": [LEVEL | {"tcb": TCB | {"pcesvn": -1}}]}, "collateral.fields"),
        ({"tcbLevels": [LEVEL | {"tcb": TCB | {"sgxtcbcomponents": [{"svn": 256}]}}]}, "collateral.fields"),
        ({"tcbLevels": [LEVEL | {"tcb": TCB | {"sgxtcbcomponents": [{"svn": 1}]}}]}, "collateral.fields"),
        ({"tcbLevels": [LEVEL | {"tcb": TCB | {"sgxtcbcomponents": []}}]}, "collateral.fields"),
        ({"tcbLevels": [LEVEL | {"tcb": TCB | {"tdxtcbcomponents": []}}]}, "collateral.fields"),
        ({"tcbLevels": [LEVEL | {"advisoryIDs": [1]}]}, "collateral.status"),
        ({"tdxModule": {}}, "collateral.fields"),
        ({"tdxModuleIdentities": [{"id": 1, **TCB_INFO["tdxModule"]}]}, "collateral.fields"),
    ],
)
def test_tcb_levels_of_another_form_are_refused(change, expected):
    assert code(parse_tcb_info, json.dumps({**TCB_INFO, **change}).encode()) == expected


def test_levels_of_sgx_name_no_module():
    value = {name: item for name, item in TCB_INFO.items() if not name.startswith("tdx")}
    found = parse_tcb_info(json.dumps({**value, "id": "SGX"}).encode())
    assert (found.module, found.modules) == (None, ())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"version": 1}, "collateral.version"),
        ({"id": "QVE"}, "collateral.version"),
        ({"mrsigner": "00"}, "encoding.hex"),
    ],
)
def test_an_identity_of_another_form_is_refused(change, expected):
    assert code(parse_identity, json.dumps({**IDENTITY, **change}).encode()) == expected


def test_sizes_and_offsets_are_the_vendors():
    assert snp.SIGNED_BYTES == 672
    assert dcap.TDX_BYTES == 584
