"""Enclaves' evidence as the pages read it, under Node.js.

Real documents of four vendors are held against what the implementation in Python says of them, and evidence that
somebody changed or cut is refused. Real evidence is looked for beside the project; each test of it says so and is
skipped where it is not there.
"""

import base64
import datetime as dt
import json
import os
import random

import pytest

from holdfast.core.attestation.roots import vendor_roots
from holdfast.core.encoding import time_encode
from tests.conformance.test_browser_verifier import NODE, VECTORS, ask
from tests.helpers.attestations import REAL_EVIDENCE

pytestmark = pytest.mark.skipif(NODE is None, reason="there is no Node.js on the PATH")

AT = "2026-01-01T00:10:00.000Z"
MADE = {
    "nitro-document": ("aws-nitro", "nitro-root.pem", None),
    "nitro-indefinite-payload": ("aws-nitro", "nitro-root.pem", None),
    "snp-report": ("amd-sev-snp", "snp-root.pem", "snp-chain.pem"),
    "dcap-tdx": ("intel-dcap", "dcap-root.pem", "dcap-collateral.json"),
    "dcap-tdx-version-5": ("intel-dcap", "dcap-root.pem", "dcap-collateral.json"),
    "nvidia-report": ("nvidia", "nvidia-root.pem", "nvidia-chain.pem"),
}
TRIED = max(3, int(os.environ.get("HOLDFAST_EXAMPLES", "30")) // 8)


def question(form, evidence, roots, collateral=None, at=AT, references=None):
    """``verify-quote`` with its files, as :func:`ask` takes it."""
    more = {"collateral": collateral, "references": references}
    files = {"evidence": evidence, "roots": roots} | {name: value for name, value in more.items() if value is not None}
    words = ["verify-quote", "--at", at, "--roots", "roots"]
    words += [word for name in more if name in files for word in (f"--{name}", name)]
    encoded = {name: base64.b64encode(value).decode() for name, value in files.items()}
    return "", "", {"run": [*words, form, "evidence"], "files": encoded}


def shared(name):
    return None if name is None else (VECTORS / "shared" / name).read_bytes()


def made(name):
    form, root, collateral = MADE[name]
    return form, (VECTORS / "attestation" / name / "evidence.bin").read_bytes(), shared(root), shared(collateral)


def debug_let_in(form, claims, at):
    """A reference value for these measurements that lets debug mode in."""
    register = {"aws-nitro": "pcr0", "amd-sev-snp": "measurement"}[form]
    span = {"valid_from": time_encode(at - dt.timedelta(days=1)), "valid_until": time_encode(at + dt.timedelta(days=1))}
    value = {register: claims.measurements[register].hex()}
    return json.dumps([{"kind": form, "role": "gateway", "value": value, "debug": True, **span}]).encode()


@pytest.mark.parametrize("name", REAL_EVIDENCE)
def test_real_evidence_says_in_a_page_what_it_says_elsewhere(name):
    real = REAL_EVIDENCE[name]
    file, claims = real.load(), real.verify()
    roots = b"".join(vendor_roots(real.form))
    found = ask([question(real.form, file.evidence, roots, file.collateral, time_encode(real.at))])[0]
    if claims.debug:
        assert (found["verdict"], found["code"]) == ("reject", "attestation.debug")
        let_in = debug_let_in(real.form, claims, real.at)
        found = ask([question(real.form, file.evidence, roots, file.collateral, time_encode(real.at), let_in)])[0]
    assert found["verdict"] == "accept", found
    assert found["measurements"] == {name: value.hex() for name, value in claims.measurements.items()}
    assert (found["debug"], found["tcb"], found["tee"]) == (claims.debug, claims.tcb_status, claims.tee)
    assert found["root"] == claims.root_digest
    assert (found["valid_from"], found["valid_until"]) == (
        time_encode(claims.valid_from),
        time_encode(claims.valid_until),
    )


@pytest.mark.parametrize("name", REAL_EVIDENCE)
def test_real_evidence_changed_by_a_bit_or_under_another_root_is_refused(name):
    real = REAL_EVIDENCE[name]
    file = real.load()
    roots, at = b"".join(vendor_roots(real.form)), time_encode(real.at)
    chance = random.Random(name)
    asked = [question(real.form, file.evidence, shared("nitro-root.pem"), file.collateral, at)]
    end = len(file.evidence.rstrip(b"\0"))
    for _ in range(TRIED):
        changed = bytearray(file.evidence)
        changed[chance.randrange(end)] ^= 1 << chance.randrange(8)
        asked.append(question(real.form, bytes(changed), roots, file.collateral, at))
    assert {answer["verdict"] for answer in ask(asked)} <= {"reject", "malformed", "undecided"}


@pytest.mark.parametrize("name", MADE)
def test_evidence_that_is_cut_or_changed_anywhere_is_refused_and_breaks_nothing(name):
    form, evidence, roots, collateral = made(name)
    chance = random.Random(name)
    assert ask([question(form, evidence, roots, collateral)])[0]["verdict"] == "accept"
    asked = []
    for _ in range(4 * TRIED):
        changed = bytearray(evidence)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        asked.append(question(form, bytes(changed), roots, collateral))
        asked.append(question(form, evidence[: chance.randrange(len(evidence))], roots, collateral))
        asked.append(question(form, evidence + bytes([chance.randrange(1, 256)]), roots, collateral))
    assert {answer["verdict"] for answer in ask(asked)} <= {"reject", "malformed", "undecided"}


@pytest.mark.parametrize("name", [name for name, (_, _, collateral) in MADE.items() if collateral])
def test_collateral_and_roots_that_are_changed_never_become_a_yes_of_another_kind(name):
    form, evidence, roots, collateral = made(name)
    true = ask([question(form, evidence, roots, collateral)])[0]
    chance = random.Random(name)
    asked = []
    for _ in range(2 * TRIED):
        changed = bytearray(collateral)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        asked.append(question(form, evidence, roots, bytes(changed)))
        asked.append(question(form, evidence, roots, collateral[: chance.randrange(len(collateral))]))
    for answer in ask(asked):
        assert answer["verdict"] != "accept" or answer == true


def test_a_page_is_asked_in_vain_for_formats_that_it_does_not_know():
    answer = ask([question("snp", b"", shared("nitro-root.pem"))])[0]
    assert (answer["verdict"], answer["code"]) == ("malformed", "attestation.format")


@pytest.mark.parametrize("at", ["2020-01-01T00:00:00.000Z", "2060-01-01T00:00:00.000Z"])
@pytest.mark.parametrize("name", MADE)
def test_evidence_is_good_for_its_own_time_alone(name, at):
    form, evidence, roots, collateral = made(name)
    answer = ask([question(form, evidence, roots, collateral, at)])[0]
    assert answer["code"] in {"attestation.not_yet_valid", "attestation.expired"}
