"""What credentials say of an image: three answers that never lend each other anything (``images.md`` §6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.core.content_credentials import (
    LABEL,
    UNTRUSTED,
    ImageClaim,
    carries_credentials,
    parse_assertion,
    parse_report,
)
from holdfast.errors import MalformedError
from tests.helpers.images import png

CLAIM = ImageClaim("018f4e9a-1111-7abc-8def-0123456789ab", "ab" * 32, 0)


def report(state: str = "Valid", codes: tuple[str, ...] = (UNTRUSTED,), **manifest: Any) -> dict[str, Any]:
    active = {
        "signature_info": {"common_name": "gateway"},
        "assertions": [{"label": LABEL, "data": CLAIM.to_json()}],
        **manifest,
    }
    return {
        "active_manifest": "a",
        "manifests": {"a": active},
        "validation_state": state,
        "validation_status": [{"code": code} for code in codes],
    }


def test_a_key_that_nobody_vouches_for_is_no_failure_of_signature_or_bytes():
    found = parse_report(report())
    assert (found.holds, found.anchored, found.codes) == (True, False, ())
    assert "no anchor of yours vouches" in found.describe(CLAIM)


def test_bytes_that_are_not_those_signed_do_not_hold_whatever_they_name():
    found = parse_report(report("Invalid", (UNTRUSTED, "assertion.dataHash.mismatch")))
    assert (found.holds, found.codes) == (False, ("assertion.dataHash.mismatch",))
    assert "do NOT hold (assertion.dataHash.mismatch)" in found.describe(CLAIM)


@pytest.mark.parametrize(
    ("looked_at", "names", "words"),
    [
        (CLAIM, "this_image", "name this image of this run"),
        (ImageClaim(CLAIM.run, CLAIM.attester, 3), "another_image", "name image 1 of this run, which this is not"),
        (ImageClaim(CLAIM.run, "cd" * 32, 0), "another_run", "name ANOTHER run"),
        (ImageClaim("018f4e9a-2222-7abc-8def-0123456789ab", CLAIM.attester, 0), "another_run", "name ANOTHER run"),
    ],
)
def test_credentials_of_another_run_or_image_are_told_as_that(looked_at: ImageClaim, names: str, words: str):
    found = parse_report(report())
    assert found.to_json(looked_at)["names"] == names
    assert words in found.describe(looked_at)


@pytest.mark.parametrize(
    "assertions",
    [
        [],
        [{"label": "other", "data": CLAIM.to_json()}],
        [{"label": LABEL, "data": {**CLAIM.to_json(), "run": "x"}}],
        [{"label": LABEL, "data": CLAIM.to_json()}, {"label": f"{LABEL}__1", "data": CLAIM.to_json()}],
        "none",
    ],
)
def test_an_assertion_that_is_missing_loose_or_there_twice_names_nothing(assertions: object):
    found = parse_report(report(assertions=assertions))
    assert found.to_json(CLAIM)["names"] == "nothing"
    assert "they name no run" in found.describe(CLAIM)


def test_earlier_manifests_are_counted():
    value = report()
    value["manifests"]["b"] = {}
    assert parse_report(value).earlier == 1


@pytest.mark.parametrize("value", [{}, {"active_manifest": "a", "manifests": {}}, {"manifests": 3}])
def test_a_report_without_an_active_manifest_is_refused(value: dict[str, Any]):
    with pytest.raises(MalformedError) as caught:
        parse_report(value)
    assert caught.value.code == "image.credentials"


def test_an_assertion_reads_as_it_was_written():
    assert parse_assertion(json.loads(json.dumps(CLAIM.to_json()))) == CLAIM


def test_an_image_without_a_manifest_is_seen_to_have_none():
    assert not carries_credentials("png", png())
    assert carries_credentials("png", png() + b"caBX")
