"""The page ``/verify`` in a real browser: offline, by keyboard, on small screens, with changed bundles and large ones.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.test_browser_verifier import VECTORS
from tests.helpers import axe
from tests.helpers.browser import IN_A_BROWSER, Browser, Page, connect, launch
from tests.helpers.panel import PanelWorld, open_panel
from tests.helpers.xss import CORPUS
from tests.web.test_browser import CONTRAST

pytestmark = [*IN_A_BROWSER]

Scene = Callable[[PanelWorld, Browser], Awaitable[None]]
Play = Callable[..., None]
TRUST = VECTORS / "shared" / "trust.json"
OFFLINE = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
LANES = """Object.fromEntries([...document.querySelectorAll('.lane')].map((lane) =>
  [lane.dataset.lane, lane.dataset.state]))"""
SIGNED = {"bytes", "route", "settlement"}


@pytest.fixture
def play(chromium: str) -> Play:
    """Runs a scene with a panel of its own and tabs of its own."""

    def run(scene: Scene, **config: Any) -> None:
        async def act() -> None:
            async with open_panel(trust=TRUST, **config) as panel, connect(chromium) as browser:
                await scene(panel, browser)

        asyncio.run(act())

    return run


async def opened(panel: PanelWorld, browser: Browser, **options: Any) -> Page:
    """The page, loaded to its end."""
    page = await browser.page(**options)
    await axe.prepare(page)
    await page.go(f"{panel.url}/verify")
    await page.wait("'ready' in document.documentElement.dataset")
    return page


async def choose(page: Page, file: Path, selector: str = "#bundle") -> None:
    """Put a file into a file input, as the browser's own dialog does."""
    root = (await page.call("DOM.getDocument"))["root"]["nodeId"]
    node = (await page.call("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
    await page.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])


async def judge(page: Page, file: Path) -> dict[str, str]:
    """What the page says of each lane of a bundle."""
    await choose(page, file)
    await page.wait("!document.getElementById('check').disabled")
    await page.run(
        "(document.getElementById('result').hidden = true, document.getElementById('trouble').hidden = true)"
    )
    await page.click("#check")
    await page.wait(
        "(!document.getElementById('result').hidden || !document.getElementById('trouble').hidden)"
        " && !document.getElementById('check').disabled"
    )
    lanes: dict[str, str] = await page.run(LANES)
    return lanes


def bundle_of(case: str) -> Path:
    return VECTORS / case / "bundle.json"


def test_a_bundle_is_judged_without_a_network_and_nothing_leaves(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await page.call("Network.emulateNetworkConditions", **OFFLINE)
        before = len(page.requests)
        lanes = await judge(page, bundle_of("lanes/settled"))
        assert {name: lanes[name] for name in SIGNED} == dict.fromkeys(SIGNED, "proven")
        assert (lanes["enclave"], lanes["privacy"], lanes["judgement"]) == ("unknown", "unknown", "not_applicable")
        assert (lanes["inputs"], lanes["memory"], lanes["payment"]) == ("not_applicable",) * 3
        assert (lanes["artifact"], lanes["computation"]) == ("unknown", "unknown")
        assert len(lanes) == 11
        assert page.requests[before:] == []
        assert page.complaints == []

    play(scene)


def test_what_was_changed_is_refused_in_its_lane_and_in_no_other(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        lanes = await judge(page, bundle_of("bundle/altered-text_fail"))
        assert (lanes["bytes"], lanes["settlement"]) == ("refuted", "proven")
        refused = await page.run(
            "[...document.querySelectorAll('#checks [data-answer=no]')].map((node) => node.parentNode.textContent)"
        )
        assert len(refused) == 1
        assert "parts.root" in refused[0]
        shown = await page.run("document.getElementById('shown').textContent")
        assert "not what was signed" in shown

    play(scene)


def test_enclave_hops_and_decisions_are_told_each_in_its_lane(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await page.click("#trust-own")

        async def under(trust: str, case: str) -> dict[str, str]:
            await choose(page, VECTORS / "shared" / trust, "#trust-file")
            return await judge(page, bundle_of(f"lanes/{case}"))

        lanes = await under("trust-with-sealed-enclaves.json", "privacy-sealed")
        assert (lanes["enclave"], lanes["privacy"]) == ("proven", "proven")
        hops = await page.run("[...document.querySelectorAll('.lane-hops tbody th')].map((node) => node.textContent)")
        assert [hop.split()[0] for hop in hops] == ["client", "relay", "gateway", "upstream", "log", "panel"]
        lanes = await under("trust-with-enclaves.json", "enclave-other-measurement_fail")
        assert (lanes["enclave"], lanes["bytes"]) == ("refuted", "proven")
        lanes = await under("trust-with-panel.json", "decision-approved")
        assert lanes["judgement"] == "proven"
        says = await page.run("document.querySelector('[data-lane=judgement] .lane-says').textContent")
        assert "approve" in says
        assert page.complaints == []

    play(scene)


def test_documents_are_readable_and_say_what_binds_them(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await judge(page, bundle_of("lanes/settled"))
        shown = await page.run("document.getElementById('shown').textContent")
        assert '"temperature": 0.70' in shown, "numbers stand as they were written"
        assert "It holds." in shown
        assert "11 parts come to the root" in shown
        assert "execution statement" in shown

    play(scene)


def test_a_bundle_made_of_attacks_stays_text_everywhere(play: Play, tmp_path: Path) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        texts = [text for text in CORPUS if "\x00" not in text]
        bundle = json.loads(bundle_of("lanes/settled").read_text("utf-8"))
        calls = [{"id": text, "type": "function", "function": {"name": text, "arguments": text}} for text in texts]
        message = {"role": "assistant", "content": texts[0], "reasoning_content": " ".join(texts), "tool_calls": calls}
        said = {"model": texts[2], "choices": [{"index": 0, "message": message, "finish_reason": texts[4]}]}
        for item in bundle["journal"]:
            if item["kind"] == "document":
                item["text"] = json.dumps(said)
        page = await opened(panel, browser)
        await page.run("(globalThis.hits = 0, globalThis.hit = () => hits++)")
        hostile = tmp_path / "<img src=x onerror=hit()>.json"
        hostile.write_text(json.dumps(bundle), "utf-8")
        lanes = await judge(page, hostile)
        assert lanes["bytes"] == "refuted"
        assert await page.run("document.getElementById('bundle-name').textContent") == hostile.name
        await page.run("document.querySelectorAll('details').forEach((node) => (node.open = true))")
        shown = await page.run("document.getElementById('shown').textContent")
        assert texts[4] in shown
        assert await page.run("document.querySelectorAll('main img, main iframe, main script, main svg').length") == 0
        assert await page.run("globalThis.hits") == 0
        assert [url for url in page.requests if not url.startswith(panel.url)] == []
        assert await axe.violations(page) == []

    play(scene)


def test_a_file_that_is_no_bundle_is_refused_with_its_code(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await judge(page, bundle_of("bundle/duplicate-key_fail"))
        assert "json.duplicate_key" in await page.run("document.getElementById('trouble').textContent")
        assert await page.run("document.getElementById('result').hidden")

    play(scene)


def test_without_trust_no_signature_is_believed(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        assert await page.run("document.getElementById('ask').elements.trust.value") == "none"
        assert "none that can be read" in await page.run("document.getElementById('trust-panel-says').textContent")
        lanes = await judge(page, bundle_of("lanes/settled"))
        assert {name: lanes[name] for name in SIGNED} == dict.fromkeys(SIGNED, "unknown")
        assert "proven" not in lanes.values()

    async def act(chromium: str) -> None:
        async with open_panel(trust=Path("nowhere.json")) as panel, connect(chromium) as browser:
            await scene(panel, browser)

    with launch() as address:
        asyncio.run(act(address))


def test_a_trust_file_of_the_readers_own_is_walked_and_its_pin_held(play: Play, tmp_path: Path) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await page.click("#trust-own")
        await choose(page, TRUST, "#trust-file")
        lanes = await judge(page, bundle_of("lanes/settled"))
        assert lanes["bytes"] == "proven"
        await page.run("document.getElementById('pin').value = '0'.repeat(64)")
        await judge(page, bundle_of("lanes/settled"))
        assert "trust.pin" in await page.run("document.getElementById('trouble').textContent")

    play(scene)


def test_an_older_trust_than_this_browser_accepted_is_refused(play: Play, tmp_path: Path) -> None:
    newer = json.loads((VECTORS / "trust" / "two-versions" / "trust.json").read_text())
    file = tmp_path / "trust.json"
    file.write_text(json.dumps(newer))

    async def act(chromium: str) -> None:
        async with open_panel(trust=file) as panel, connect(chromium) as browser:
            page = await opened(panel, browser)
            assert "Version 2" in await page.run("document.getElementById('trust-panel-says').textContent")
            file.write_text(json.dumps({**newer, "versions": newer["versions"][:1]}))
            again = await opened(panel, browser, beside=page)
            assert "ends earlier" in await again.run("document.getElementById('trust-panel-says').textContent")
            assert await again.run("document.getElementById('trust-panel').disabled")

    with launch() as address:
        asyncio.run(act(address))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_reads_in_both_themes_on_both_widths(play: Play, width: int, dark: bool) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser, width=width, dark=dark, calm=True)
        await judge(page, bundle_of("bundle/altered-text_fail"))
        assert await page.run("document.documentElement.scrollWidth <= innerWidth")
        assert await page.run(CONTRAST) == []
        assert await axe.violations(page) == []

    play(scene)


def test_it_works_by_keyboard_alone(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await choose(page, bundle_of("lanes/settled"))
        await page.run("document.getElementById('bundle').focus()")
        for _ in range(8):
            if await page.run("document.activeElement.id") == "check":
                break
            await page.press("Tab", 9)
        assert await page.run("document.activeElement.id") == "check"
        await page.press("Enter", 13, "\r")
        await page.wait("document.activeElement.id === 'lanes-title'")

    play(scene)


def test_a_large_bundle_leaves_the_page_awake(play: Play, tmp_path: Path) -> None:
    bundle = json.loads(bundle_of("lanes/settled").read_text())
    document = next(item for item in bundle["journal"] if item["kind"] == "document")
    large = {**document, "text": json.dumps({f"member-{number}": number for number in range(30_000)})}
    bundle["journal"] = [*bundle["journal"], *[large] * 3]
    file = tmp_path / "large.json"
    file.write_text(json.dumps(bundle))

    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await page.run("(globalThis.beats = 0, setInterval(() => { globalThis.beats += 1; }, 20), true)")
        lanes = await judge(page, file)
        assert lanes["bytes"] == "refuted"
        assert await page.run("globalThis.beats") > 10

    play(scene)


def test_a_dropped_file_is_taken(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        text = bundle_of("lanes/settled").read_text()
        await page.run(
            f"""(() => {{ const data = new DataTransfer();
            data.items.add(new File([{json.dumps(text)}], "dropped.json"));
            const drop = new DragEvent("drop", {{ dataTransfer: data }});
            document.getElementById("drop").dispatchEvent(drop); return true; }})()"""
        )
        await page.click("#check")
        await page.wait("!document.getElementById('result').hidden")
        assert (await page.run(LANES))["bytes"] == "proven"

    play(scene)
