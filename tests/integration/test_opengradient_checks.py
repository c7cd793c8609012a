"""OpenGradient's own code over our vectors of its format: the same hashes, and nothing believed that we refuse.

Runs in the packages' own environment (``tests/helpers/opengradient.py``); without it this file skips.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers import opengradient as peers

pytestmark = [pytest.mark.enable_socket, peers.NEEDS_CLIENTS]
VECTORS = Path(__file__).parents[2] / "vectors" / "opengradient"
LOOSER = {
    "answer-other-spellings": "their client takes hashes in lower case alone, the gateway spells them so",
    "output-tool-calls-with-more": "their client hashes a call as it came, so the gateway sends what is hashed alone",
    "output-tool-calls-with-less": "the same: what a call lacks is sent empty",
    "request-tools": "their client neither sends nor hashes reasoning_effort",
}
"""Where their client and the specification of their format differ on what is accepted, and why that is well."""


def test_their_hashes_and_checks_agree_with_ours_on_the_vectors() -> None:
    theirs = peers.run_driver("vectors", {"folder": str(VECTORS)})
    assert len(theirs) > 40
    differs = set()
    for name, found in theirs.items():
        case = json.loads((VECTORS / name / "case.json").read_text("utf-8"))
        if case["expect"] == "accept":
            wanted = case["result"].get("text", case["result"].get("tee_id"))
            differs |= {name} if found != wanted else set()
        elif case["expect"] == "reject":
            assert found["error"] == "VerificationError", name
    assert differs == LOOSER.keys()
