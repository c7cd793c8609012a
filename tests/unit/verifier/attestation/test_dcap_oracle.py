"""A second verifier of DCAP quotes, ``dcap-qvl``, over the same vectors and the same real quote.

What we accept it accepts, with the same TCB status. Where it accepts what we refuse, the reason is one of those listed:
appraisal, which it leaves to its caller, or a spelling that we are stricter about.
"""

import datetime as dt
import json

import pytest

from holdfast.cli.conformance.commands import run
from holdfast.core.attestation.certificates import parse_pem
from tests.helpers.attestations import REAL_EVIDENCE, VECTORS

oracle = pytest.importorskip("dcap_qvl", reason="dcap-qvl is not installed here: it has no build for this platform")
OURS = {
    "attestation.binding",
    "attestation.measurement",
    "attestation.nonce",
    "attestation.reference",
    "attestation.tcb",
    "certificate.pem",
    "collateral.time",
    "quote.trailing",
}
"""Codes of refusals that are ours alone."""


def cases():
    """Folders, options and files of the vectors that have roots and collateral."""
    for folder in sorted((VECTORS / "attestation").glob("dcap-*")):
        case = json.loads((folder / "case.json").read_text())
        words = case["run"]
        options = dict(zip(words[1:-2:2], words[2:-2:2], strict=True))
        if {"--collateral", "--roots"} <= options.keys():
            yield pytest.param(folder, case, options, id=folder.name)


def ask(quote, collateral, root, at):
    """Its status, or None when it refuses."""
    try:
        given = oracle.QuoteCollateralV3.from_json(collateral.decode())
        return oracle.verify_with_root_ca(quote, given, root, int(at.timestamp())).status
    except ValueError:
        return None


@pytest.mark.parametrize(("folder", "case", "options"), list(cases()))
def test_what_we_accept_another_verifier_accepts(folder, case, options):
    root = parse_pem((folder / options["--roots"]).read_bytes())[0]  # it takes one
    collateral = (folder / options["--collateral"]).read_bytes()
    at = dt.datetime.fromisoformat(case["at"])
    theirs = ask((folder / "evidence.bin").read_bytes(), collateral, root, at)
    _, ours = run(case["run"], folder)
    if ours["verdict"] == "accept":
        assert theirs == ours["tcb"]
    elif theirs is not None:
        assert ours["code"] in OURS


def test_both_say_the_same_of_a_real_quote():
    evidence = REAL_EVIDENCE["tdx"]
    file = evidence.load()
    given = oracle.QuoteCollateralV3.from_json(file.collateral.decode())
    theirs = oracle.verify(file.evidence, given, int(evidence.at.timestamp()))
    assert theirs.status == evidence.verify().tcb_status == "UpToDate"
    assert list(theirs.advisory_ids) == list(evidence.verify().advisories)
