"""The shell of ``/verify``, its twin, and what the page takes from its panel before it checks anything."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.verifier.lanes import LANES
from holdfast.web.assets import Assets
from holdfast.web.verify import ICONS
from tests.conformance.test_browser_verifier import VECTORS
from tests.helpers.bound_answer import identity
from tests.helpers.panel import open_panel

pytestmark = pytest.mark.enable_socket

OF_OTHER_PAGES = {f"verify/{name}.js" for name in ("fold", "gateway_key", "message_fold")}
"""What checks an answer while it comes."""
TRUST = VECTORS / "shared" / "trust.json"


def asked(path: str, trust: Path = TRUST) -> tuple[int, str]:
    async def act() -> tuple[int, str]:
        async with open_panel(trust=trust) as panel:
            return await panel.get(path)

    return asyncio.run(act())


def told(path: str, trust: Path = TRUST) -> Any:
    status, text = asked(path, trust)
    assert status == 200
    return json.loads(text)


def test_the_page_has_a_place_for_every_lane() -> None:
    _, text = asked("/verify")
    for lane in LANES:
        assert f'data-lane="{lane}"' in text
    assert text.count("data-lane=") == len(LANES)


def test_the_twin_says_the_same() -> None:
    assert told("/verify.json") == {"judged": [*LANES]}


def test_everything_that_the_page_needs_is_named_in_it() -> None:
    _, text = asked("/verify")
    files = {name for name in Assets().files if name.startswith("verify/") and name.endswith(".js")}
    names = {"verify/page.js", *Assets().imported("verify/page.js")}
    assert names >= files - OF_OTHER_PAGES
    for name in [*names, *(f"icons/{icon}.svg" for icon in ICONS)]:
        assert f"/{name}" in text, name


def test_the_panel_hands_out_its_trust_file_as_it_lies_there() -> None:
    assert told("/verify/trust.json") == {"trust": TRUST.read_text("utf-8"), "pinned": "first use"}


def test_a_trust_file_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert told("/verify/trust.json", tmp_path / "none.json") == {"trust": None, "pinned": None}


def test_a_trust_file_that_does_not_verify_is_none() -> None:
    altered = VECTORS / "trust" / "forged-signature_fail" / "trust.json"
    assert told("/verify/trust.json", altered) == {"trust": None, "pinned": None}


def test_the_gateways_key_document_is_handed_on_as_it_is_shown() -> None:
    assert told("/verify/gateway.json") == {"key_document": identity()["key_document"]}


def test_a_gateway_that_shows_no_key_document_is_told_as_that() -> None:
    async def act() -> str:
        async with open_panel() as panel:
            panel.gateway.named = False
            return (await panel.get("/verify/gateway.json"))[1]

    assert json.loads(asyncio.run(act())) == {"key_document": None}
