"""The enclave port: evidence that says of which format it is, binds what it was given, and answers this nonce alone.

Hardware's adapters run over a kernel in memory (``tests/helpers/tsm.py``) under the vectors' throw-away vendors.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.adapters.enclave_snp import SNPEnclave
from holdfast.adapters.enclave_tdx import TDXEnclave
from holdfast.core.attestation.binding import build_binding
from holdfast.core.attestation.evidence import FORMATS, parse_evidence
from holdfast.core.attestation.nitro import parse_nitro
from holdfast.errors import RefusedError, UsageError
from holdfast.ports.enclave import Enclave
from holdfast.verifier.attestation.appraise import AppraisedAttestation, Expected, appraise_attestation
from holdfast.verifier.attestation.verify import verify_attestation
from holdfast.verifier.transcript import Transcript
from tests.helpers.attestations import AT
from tests.helpers.clock import FakeClock
from tests.helpers.enclaves import KEY_DOCUMENT, make_enclave
from tests.helpers.tsm import AMD, INTEL, FakeTSM, quote, report, table

RECORD = build_binding(KEY_DOCUMENT, tls_spki=b"t" * 32)
Made = tuple[Enclave, bytes]


def insecure(tmp_path: Path) -> Made:
    enclave = make_enclave(FakeClock(AT - dt.timedelta(minutes=1)))
    return enclave, parse_nitro(enclave.attest(RECORD, None)).authorities[-1]


def tdx(tmp_path: Path) -> Made:
    collateral = tmp_path / "collateral.json"
    collateral.write_bytes(INTEL.collateral())
    return TDXEnclave(collateral, FakeTSM("tdx_guest", quote)), INTEL.root


def snp(tmp_path: Path) -> Made:
    vcek, ask, ark = AMD.chain
    return SNPEnclave(None, FakeTSM("sev_guest", report, table(ark=ark, vcek=vcek, ask=ask))), AMD.root


@pytest.fixture(params=[insecure, tdx, snp], ids=["insecure", "tdx", "snp"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    make: Callable[[Path], Made] = request.param
    return make(tmp_path)


def appraise(made: Made, evidence: bytes, nonce: bytes | None, document: str = KEY_DOCUMENT) -> AppraisedAttestation:
    enclave, root = made
    file = parse_evidence(enclave.format, evidence)
    claims = verify_attestation(enclave.format, file, (root,), AT, Transcript())
    return appraise_attestation(claims, Expected(AT, AT, document, nonce), Transcript())


def test_another_nonce_or_none_is_refused(made: Made) -> None:
    for given, expected in ((b"mine", b"yours"), (None, b"yours"), (b"mine", b"min")):
        with pytest.raises(RefusedError) as caught:
            appraise(made, made[0].attest(RECORD, given), expected)
        assert caught.value.code == "attestation.nonce"


def test_another_key_document_is_refused(made: Made) -> None:
    with pytest.raises(RefusedError) as caught:
        appraise(made, made[0].attest(RECORD, None), None, "cd" * 32)
    assert caught.value.code == "attestation.binding"


def test_what_does_not_fit_is_refused(made: Made) -> None:
    with pytest.raises(UsageError) as caught:
        made[0].attest(bytes(513), None)
    assert caught.value.code == "enclave.input"


def test_the_evidence_binds_what_it_was_given(made: Made) -> None:
    assert made[0].format in FORMATS
    for nonce in (b"n", b"n" * 64):
        found = appraise(made, made[0].attest(RECORD, nonce), nonce)
        assert found.bound.key_document == KEY_DOCUMENT
        assert found.bound.tls_spki == (b"t" * 32).hex()


def test_only_what_is_simulated_says_so(made: Made) -> None:
    assert made[0].simulated == type(made[0]).__name__.startswith("Insecure")
