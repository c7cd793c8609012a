"""``holdfast attestation verify``: exit codes as the vectors have them, spellings of files, and what it prints."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Outcome
from tests.helpers.attestations import REAL, REAL_EVIDENCE, VECTORS, real, vector

Holdfast = Callable[..., Outcome]
SHARED = VECTORS / "shared"
AT = ("--at", "2026-01-01T00:10:00Z")
KINDS = {"aws-nitro": "nitro", "amd-sev-snp": "snp", "nvidia": "nvidia", "insecure-dev": "insecure-dev"}
EXIT = {"accept": 0, "malformed": 1, "reject": 1, "undecided": 3}
OWN = {"--binding", "--references"}
"""Options of the conformance protocol only: evidence files and trust documents hold these here."""


def kind_of(folder: Path, form: str) -> str:
    """The kind on the command line: SGX or TDX where the format leaves it open."""
    return (
        ("sgx" if "sgx-debug" in folder.name or folder.name.endswith("-sgx") else "tdx")
        if form == "intel-dcap"
        else KINDS[form]
    )


def nitro(name: str, *more: str, root: str = "nitro-root.pem") -> list[str]:
    """A command over a Nitro vector."""
    evidence = str(VECTORS / "attestation" / name / "evidence.bin")
    return ["attestation", "verify", "--kind", "nitro", *AT, "--roots", str(SHARED / root), *more, evidence]


def test_exit_codes_are_those_of_the_vectors(holdfast: Holdfast, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    for folder in sorted((VECTORS / "attestation").iterdir()):
        case = json.loads((folder / "case.json").read_text("utf-8"))
        *words, form, evidence = case["run"][1:]
        if OWN & set(words) or "--roots" not in words:
            continue
        monkeypatch.chdir(folder)
        done = holdfast("attestation", "verify", "--kind", kind_of(folder, form), *words, evidence)
        assert done.code == EXIT[case["expect"]], folder.name
        if case["expect"] in ("malformed", "reject"):
            assert done.err.startswith(f"error: {case['code']}: "), folder.name
        shown = json.loads(
            holdfast("attestation", "verify", "--kind", kind_of(folder, form), *words, "--json", evidence).out
        )
        assert shown["exit"] == done.code
        assert (shown["error"] is None) == (done.code == 0)
        for name in ("tee", "debug", "made_at", "valid_from", "valid_until"):
            if name in case.get("result", {}):
                assert shown["claims"][name] == case["result"][name], folder.name
        seen.add(case["expect"])
    assert seen == set(EXIT)


@pytest.mark.parametrize(
    "spell",
    [
        bytes,
        base64.b64encode,
        base64.encodebytes,
        lambda raw: raw.hex().encode() + b"\n",
        lambda raw: b"aws-nitro\n" + base64.b64encode(raw) + b"\n",
    ],
)
def test_evidence_may_be_raw_or_written_as_text(
    holdfast: Holdfast, tmp_path: Path, spell: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "evidence").write_bytes(spell(vector("nitro-document")))
    roots = ("--roots", str(SHARED / "nitro-root.pem"))
    assert holdfast("attestation", "verify", "--kind", "nitro", *AT, *roots, "evidence").code == 0
    given = (tmp_path / "evidence").read_bytes()
    assert holdfast("attestation", "verify", "--kind", "nitro", *AT, *roots, "-", stdin=given).code == 0


def test_an_evidence_file_brings_its_collateral_and_its_record(holdfast: Holdfast, tmp_path: Path) -> None:
    folder = VECTORS / "attestation" / "snp-bound-with-record"
    value = {"type": "urn:holdfast:attestation-evidence:v1"}
    parts = {
        "evidence": folder / "evidence.bin",
        "collateral": SHARED / "snp-chain.pem",
        "binding": folder / "binding.bin",
    }
    value |= {name: base64.b64encode(path.read_bytes()).decode() for name, path in parts.items()}
    (tmp_path / "file.json").write_text(json.dumps(value))
    document = ("--key-document", str(folder / "key-document.json"))
    roots = ("--roots", str(SHARED / "snp-root.pem"))
    done = holdfast("attestation", "verify", "--kind", "snp", *AT, *roots, *document, "file.json")
    assert done.code == 0
    assert "  key document\n" in done.out
    assert "  tls spki\n" in done.out


def test_a_chain_may_come_in_several_files(holdfast: Holdfast, tmp_path: Path) -> None:
    text = (SHARED / "snp-chain.pem").read_text()
    end = "-----END CERTIFICATE-----\n"
    names = []
    for number, part in enumerate(text.split(end)[:-1]):
        (tmp_path / f"{number}.pem").write_text(part + end)
        names += ["--collateral", f"{number}.pem"]
    evidence = str(VECTORS / "attestation" / "snp-report" / "evidence.bin")
    roots = ("--roots", str(SHARED / "snp-root.pem"))
    assert holdfast("attestation", "verify", "--kind", "snp", *AT, *roots, *names, evidence).code == 0
    assert holdfast("attestation", "verify", "--kind", "snp", *AT, *roots, *names[2:], evidence).code == 1


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (nitro("nitro-document", "--collateral", str(SHARED / "policy.json")), "usage.collateral"),
        (nitro("nitro-document", "--trust", str(SHARED / "trust.json")), "usage.roots"),
        (nitro("nitro-document", "--nonce", "XY"), "usage.nonce"),
        (nitro("nitro-document", "--at", "yesterday"), "usage.time"),
        (["attestation", "verify", "--kind", "tpm", "x"], "usage.arguments"),
        (["attestation", "verify", "--kind", "nitro", "nowhere"], "usage.file"),
        (["attestation", "verify", "--kind", "tdx", "--collateral", "a", "--collateral", "b", "c"], "usage.file"),
    ],
)
def test_a_wrong_command_line_is_one(holdfast: Holdfast, command: list[str], code: str) -> None:
    done = holdfast(*command)
    assert done.code == 2
    assert done.err.startswith(f"error: {code}: ")


def test_two_files_of_collateral_are_for_chains(holdfast: Holdfast) -> None:
    twice = ("--collateral", str(SHARED / "dcap-collateral.json")) * 2
    evidence = str(VECTORS / "attestation" / "dcap-tdx" / "evidence.bin")
    done = holdfast("attestation", "verify", "--kind", "tdx", *AT, *twice, evidence)
    assert (done.code, done.err.partition(": ")[2][:16]) == (2, "usage.collateral")


def test_a_file_that_names_another_format_is_not_read(holdfast: Holdfast, tmp_path: Path) -> None:
    (tmp_path / "labelled").write_bytes(b"insecure-dev\n" + base64.b64encode(bytes(64)))
    done = holdfast("attestation", "verify", "--kind", "nitro", *AT, "labelled")
    assert (done.code, done.err.splitlines()[0]) == (2, "error: usage.kind: the file says that it is insecure-dev")


def test_a_quote_of_the_other_kind_is_refused(holdfast: Holdfast) -> None:
    more = ("--collateral", str(SHARED / "dcap-collateral.json"), "--roots", str(SHARED / "dcap-root.pem"))
    evidence = str(VECTORS / "attestation" / "dcap-tdx" / "evidence.bin")
    done = holdfast("attestation", "verify", "--kind", "sgx", *AT, *more, evidence)
    assert done.code == 1
    assert done.err.startswith("error: attestation.kind: ")


def test_the_vendors_roots_are_believed_and_nobody_elses(holdfast: Holdfast) -> None:
    evidence = str(VECTORS / "attestation" / "nitro-document" / "evidence.bin")
    done = holdfast("attestation", "verify", "--kind", "nitro", *AT, evidence)
    assert done.code == 1
    assert done.err.startswith("error: attestation.root: ")
    assert "which is no vendor's" in holdfast(*nitro("nitro-document")).out


def test_debug_mode_has_to_be_allowed(holdfast: Holdfast) -> None:
    assert holdfast(*nitro("nitro-debug_fail")).code == 1
    done = holdfast(*nitro("nitro-debug_fail", "--allow-debug"))
    assert done.code == 0
    assert "debug   on: the host can look inside" in done.out


def test_a_trust_documents_roots_and_measurements_count(holdfast: Holdfast) -> None:
    trust = ("--trust", str(SHARED / "trust-with-enclaves.json"))
    evidence = str(VECTORS / "attestation" / "nitro-bound" / "evidence.bin")
    document = ("--key-document", str(VECTORS / "attestation" / "nitro-bound" / "key-document.json"))
    done = holdfast("attestation", "verify", "--kind", "nitro", *AT, *trust, *document, evidence)
    assert done.code == 0
    assert "those of a reference value for gateway" in done.out
    nobody = ("--trust", str(SHARED / "trust.json"))
    done = holdfast("attestation", "verify", "--kind", "nitro", *AT, *nobody, evidence)
    assert done.code == 3
    assert done.err.startswith("error: attestation.roots: ")


def test_a_software_key_never_reads_like_an_enclave(holdfast: Holdfast, tmp_path: Path) -> None:
    folder = VECTORS / "attestation" / "insecure-signature"
    more = ("--key-document", str(folder / "key-document.json"))
    command = ["attestation", "verify", "--kind", "insecure-dev", *AT, *more]
    done = holdfast(*command, "--roots", str(folder / "root.txt"), str(folder / "evidence.bin"))
    assert done.code == 0
    assert "enclave none: development, a software key under a throw-away root" in done.out
    assert "vendor" not in done.out
    assert holdfast(*command, str(folder / "evidence.bin")).code == 3
    (tmp_path / "root").write_bytes(bytes(31))
    assert holdfast(*command, "--roots", "root", str(folder / "evidence.bin")).code == 1


def test_without_a_time_it_is_now(holdfast: Holdfast) -> None:
    words = nitro("nitro-document")
    del words[4:6]
    done = holdfast(*words)
    assert done.code == 1
    assert done.err.startswith("error: attestation.expired: ")


@pytest.mark.parametrize("name", list(REAL_EVIDENCE))
def test_real_evidence_from_its_files(holdfast: Holdfast, name: str) -> None:
    evidence = REAL_EVIDENCE[name]
    real(evidence.files)
    kind = "tdx" if evidence.form == "intel-dcap" else KINDS[evidence.form]
    words = ["attestation", "verify", "--kind", kind]
    for path in evidence.collateral.split():
        words += ["--collateral", str(REAL / path)]
    debug = ["--allow-debug"] if name in ("nitro-debug", "snp") else []
    at = ["--at", evidence.at.isoformat()]
    assert holdfast(*words, *at, *debug, str(REAL / evidence.files)).code == 0
    if debug:
        assert holdfast(*words, *at, str(REAL / evidence.files)).code == 1
    if name != "nvidia":
        assert holdfast(*words, *debug, "--at", "2040-01-01T00:00:00Z", str(REAL / evidence.files)).code == 1
