"""``holdfast enclave measure``: the registers of the vectors' images, and an entry that a trust document takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.core.attestation.reference import parse_reference_value
from holdfast.verifier.attestation.appraise import read_references
from tests.cli.conftest import Outcome
from tests.helpers.attestations import VECTORS

Holdfast = Callable[..., Outcome]
CASES = sorted((VECTORS / "image").iterdir())


def test_what_is_no_image_exits_one_with_its_code(holdfast: Holdfast) -> None:
    seen = 0
    for folder in CASES:
        case = json.loads((folder / "case.json").read_text("utf-8"))
        done = holdfast("enclave", "measure", str(folder / "image.eif"))
        assert done.code == (0 if case["expect"] == "accept" else 1), folder.name
        if "code" in case:
            assert done.err.startswith(f"error: {case['code']}: "), folder.name
            seen += 1
    assert seen > 20


@pytest.mark.parametrize(
    "more",
    [
        ["--role", "gateway"],
        ["--until", "2027-01-01T00:00:00Z"],
        ["--role", "Gateway", "--until", "2027-01-01T00:00:00Z"],
        ["--role", "gateway", "--until", "2025-01-01T00:00:00Z", "--from", "2026-01-01T00:00:00Z"],
        ["--role", "gateway", "--until", "soon"],
    ],
)
def test_a_reference_value_that_says_too_little_is_not_written(
    holdfast: Holdfast, tmp_path: Path, more: list[str]
) -> None:
    image = str(VECTORS / "image" / "usual" / "image.eif")
    done = holdfast("enclave", "measure", image, "-o", "entry.json", *more)
    assert done.code == 2
    assert not (tmp_path / "entry.json").exists()


def test_a_file_that_is_not_there_exits_two(holdfast: Holdfast) -> None:
    assert holdfast("enclave", "measure", "missing.eif").code == 2


def test_the_value_is_what_a_trust_document_takes(holdfast: Holdfast, tmp_path: Path) -> None:
    folder = VECTORS / "image" / "signed"
    expected = json.loads((folder / "case.json").read_text("utf-8"))["result"]["registers"]
    shown = json.loads(holdfast("enclave", "measure", str(folder / "image.eif"), "--json").out)
    assert shown["kind"] == "aws-nitro"
    assert shown["value"] == expected
    assert parse_reference_value("aws-nitro", shown["value"]).measurements["pcr8"].hex() == expected["pcr8"]
    text = holdfast("enclave", "measure", str(folder / "image.eif")).out
    assert all(f"{name}    {value}" in text for name, value in expected.items())
    span = ["--from", "2026-01-01T00:00:00Z", "--until", "2027-01-01T00:00:00Z"]
    written = holdfast("enclave", "measure", str(folder / "image.eif"), "--role", "gateway", *span, "-o", "entry.json")
    assert written.code == 0
    entry = json.loads((tmp_path / "entry.json").read_text("utf-8"))
    [reference] = read_references([entry])
    assert (reference.role, reference.debug) == ("gateway", False)
    assert {name: value.hex() for name, value in reference.value.measurements.items()} == expected
