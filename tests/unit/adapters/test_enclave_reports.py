"""Reports through configfs: races, kernels of another kind and bytes of other machines are refused; folders go away."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from holdfast.adapters._tsm import ConfigFS, fetch_report
from holdfast.adapters.enclave_snp import SNPEnclave
from holdfast.adapters.enclave_tdx import TDXEnclave
from holdfast.core.attestation.binding import build_binding
from holdfast.core.attestation.certificates import build_pem
from holdfast.core.attestation.evidence import parse_evidence
from holdfast.core.attestation.roots import vendor_roots
from holdfast.core.attestation.snp import parse_certificate_table
from holdfast.errors import HoldfastError, MalformedError, UnavailableError, UsageError
from holdfast.verifier.attestation.verify import verify_attestation
from holdfast.verifier.transcript import Transcript
from tests.helpers.attestations import AT, REAL_EVIDENCE, real
from tests.helpers.enclaves import KEY_DOCUMENT
from tests.helpers.tsm import AMD, INTEL, FakeTSM, quote, report, table

RECORD = build_binding(KEY_DOCUMENT)
VCEK, ASK, ARK = AMD.chain


def code(caught: pytest.ExceptionInfo[HoldfastError]) -> str:
    return caught.value.code


def snp(**aux: bytes) -> FakeTSM:
    return FakeTSM("sev_guest", report, table(**aux) if aux else b"")


def overwrite(tsm: FakeTSM, name: str) -> None:
    """Somebody else writes into the same folder."""
    tsm.between = lambda tsm, name: None
    tsm.write(name, "inblob", b"theirs".ljust(64, b"\0"))


def test_a_report_that_somebody_else_wrote_to_is_not_used() -> None:
    tsm = snp(vcek=VCEK, ask=ASK, ark=ARK)
    tsm.between = overwrite
    with pytest.raises(UnavailableError) as caught:
        SNPEnclave(files=tsm).attest(RECORD, None)
    assert code(caught) == "enclave.race"
    assert tsm.folders == {}


def test_a_report_over_other_data_is_not_used() -> None:
    """Even where the generation does not tell."""
    for enclave in (
        SNPEnclave(files=FakeTSM("sev_guest", lambda _: report(bytes(64)), table(vcek=VCEK, ask=ASK, ark=ARK))),
        TDXEnclave(files=FakeTSM("tdx_guest", lambda _: quote(bytes(64)))),
    ):
        with pytest.raises(UnavailableError) as caught:
            enclave.attest(RECORD, None)
        assert code(caught) == "enclave.answer"


def test_a_kernel_of_another_kind_is_refused() -> None:
    tsm = FakeTSM("tdx_guest", quote)
    with pytest.raises(UnavailableError) as caught:
        SNPEnclave(files=tsm).attest(RECORD, None)
    assert code(caught) == "enclave.device"
    assert "tdx_guest" in caught.value.message
    assert tsm.folders == {}


@pytest.mark.parametrize("blob", [b"", b"short", bytes(1184)])
def test_what_is_no_report_is_refused(blob: bytes) -> None:
    for enclave in (
        SNPEnclave(files=FakeTSM("sev_guest", lambda _: blob)),
        TDXEnclave(files=FakeTSM("tdx_guest", lambda _: blob)),
    ):
        with pytest.raises(UnavailableError) as caught:
            enclave.attest(RECORD, None)
        assert code(caught) == "enclave.answer"


def test_a_driver_that_fails_leaves_no_folder() -> None:
    def failing(_: bytes) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    tsm = FakeTSM("sev_guest", failing)
    with pytest.raises(UnavailableError) as caught:
        SNPEnclave(files=tsm).attest(RECORD, None)
    assert code(caught) == "enclave.device"
    assert tsm.folders == {}


def test_a_machine_without_reports_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        SNPEnclave(files=ConfigFS(tmp_path / "tsm")).attest(RECORD, None)
    assert code(caught) == "enclave.device"
    assert "configfs" in caught.value.hint


def test_only_a_binding_record_goes_into_a_report() -> None:
    for enclave in (SNPEnclave(files=snp()), TDXEnclave(files=FakeTSM("tdx_guest", quote))):
        with pytest.raises(UsageError) as caught:
            enclave.attest(b"anything", None)
        assert code(caught) == "enclave.input"


def test_a_chip_without_its_certificate_is_said() -> None:
    for tsm in (snp(), snp(vlek=VCEK, ask=ASK, ark=ARK), snp(vcek=VCEK)):
        with pytest.raises(UnavailableError) as caught:
            SNPEnclave(files=tsm).attest(RECORD, None)
        assert code(caught) == "enclave.collateral"


@pytest.mark.parametrize(
    ("given", "aux"),
    [
        (None, {"vcek": VCEK, "ask": ASK, "ark": ARK}),
        (build_pem((ASK, ARK)), {"vcek": VCEK}),
        (b"".join((VCEK, ASK, ARK)), {}),
    ],
)
def test_certificates_come_from_the_host_or_from_a_file(given: bytes | None, aux: dict[str, bytes]) -> None:
    file = parse_evidence("amd-sev-snp", SNPEnclave(given, snp(**aux)).attest(RECORD, b"n"))
    assert verify_attestation("amd-sev-snp", file, (AMD.root,), AT, Transcript()).bound.key_document == KEY_DOCUMENT


def test_collateral_is_read_anew_each_time_and_refused_when_it_is_none(tmp_path: Path) -> None:
    path = tmp_path / "collateral.json"
    enclave = TDXEnclave(path, FakeTSM("tdx_guest", quote))
    for content in (None, b"{}", b"x" * (512 * 1024 + 1)):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UnavailableError) as caught:
            enclave.attest(RECORD, None)
        assert code(caught) == "enclave.collateral"
    path.write_bytes(INTEL.collateral())
    file = parse_evidence("intel-dcap", enclave.attest(RECORD, None))
    assert verify_attestation("intel-dcap", file, (INTEL.root,), AT, Transcript()).tee == "tdx"


@pytest.mark.parametrize(
    "raw",
    [
        b"x",
        bytes(16) + b"\x01",
        table(vcek=VCEK)[:24],
        table(vcek=VCEK)[:23],
        table(vcek=VCEK)[: 48 + len(VCEK) - 1],
        b"".join((table(vcek=VCEK)[:24], table(vcek=VCEK)[:24], bytes(24 + 24), VCEK, bytes(99))),
        bytes(64 * 1024 + 1),
    ],
    ids=["short", "no-entry", "no-end", "cut", "outside", "twice", "large"],
)
def test_a_damaged_certificate_table_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_certificate_table(raw)
    assert code(caught) == "snp.table"


def test_a_table_may_be_empty() -> None:
    assert parse_certificate_table(b"") == parse_certificate_table(bytes(4096)) == {}


def test_a_real_report_comes_through_as_it_was_recorded() -> None:
    """Recorded on a real machine over other bytes than ours, so it is asked for with these."""
    raw = real("snp/attestation.bin")
    names = {"vcek": "snp/kds_vcek.der", "ask": "snp/milan_ask.der", "ark": "snp/milan_ark.der"}
    aux = table(**{name: real(path) for name, path in names.items()})
    file = SNPEnclave(files=FakeTSM("sev_guest", lambda _: raw, aux)).fetch(raw[0x50:0x90])
    found = REAL_EVIDENCE["snp"].verify(file)
    assert found.is_vendor_root
    assert found.report_data == raw[0x50:0x90]


def test_a_real_quote_comes_through_as_it_was_recorded(tmp_path: Path) -> None:
    raw = real("tdx/tdx_quote")
    path = tmp_path / "collateral.json"
    path.write_bytes(real("tdx/tdx_quote_collateral.json"))
    data = raw[48 + 520 : 48 + 584]
    file = TDXEnclave(path, FakeTSM("tdx_guest", lambda _: raw)).fetch(data)
    claims = verify_attestation("intel-dcap", file, vendor_roots("intel-dcap"), REAL_EVIDENCE["tdx"].at, Transcript())
    assert claims.report_data == data


def test_a_report_holds_64_bytes() -> None:
    with pytest.raises(UsageError) as caught:
        fetch_report(snp(), "sev_guest", b"short")
    assert code(caught) == "enclave.input"


def test_configfs_is_files(tmp_path: Path) -> None:
    """The real file operations, over a plain folder."""
    files = ConfigFS(tmp_path)
    files.make("one")
    (tmp_path / "one" / "inblob").touch()
    files.write("one", "inblob", b"data")
    assert files.read("one", "inblob") == b"data"
    (tmp_path / "one" / "inblob").unlink()
    files.remove("one")
    assert list(tmp_path.iterdir()) == []
