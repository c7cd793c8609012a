"""The pages in front of the real thing: ``holdfast up``, a question, lanes that settle, a bundle that checks.

The other tests here use fakes; this one keeps the fakes honest.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from holdfast.verifier.lanes import LANES
from tests.helpers.browser import find_chromium, open_browser
from tests.helpers.panel import TOKEN
from tests.helpers.processes import NetworkProcess, network

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]
SETTLED_S = 40.0
"""How long a round may take on a busy machine."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    with network(tmp_path_factory.mktemp("network")) as found:
        yield found


async def ask_on_the_page(http: aiohttp.ClientSession, url: str, question: str) -> tuple[str, str]:
    """Run id and the streamed text."""
    async with http.get(url + "/") as answer:
        found = TOKEN.search(await answer.text())
        assert found is not None
    headers = {"origin": url, "sec-fetch-site": "same-origin", "x-holdfast-token": found[1]}
    body = {"model": "holdfast-builtin", "messages": [{"role": "user", "content": question}]}
    text, marks = "", 0
    async with http.post(url + "/ask", json=body, headers=headers) as answer:
        assert answer.status == 200
        run = answer.headers["x-holdfast-run"]
        async for line in answer.content:
            if line.startswith(b"data: {"):
                frame = json.loads(line[6:])
                marks += "mark" in frame.get("holdfast", {})
                text += "".join(choice["delta"].get("content") or "" for choice in frame["choices"])
    assert marks > 0
    return run, text


async def follow(http: aiohttp.ClientSession, url: str, run: str) -> list[dict[str, Any]]:
    """Every view that the live stream gives until settlement is no longer pending."""
    views: list[dict[str, Any]] = []
    event = b""
    async with asyncio.timeout(SETTLED_S), http.get(f"{url}/events?run={run}") as stream:
        async for line in stream.content:
            if line.startswith(b"event: "):
                event = line
            elif line.startswith(b"data: ") and event == b"event: run\n":
                views.append(json.loads(line[6:]))
                if views[-1].get("lanes", {}).get("settlement", {}).get("state", "pending") != "pending":
                    break
    return views


def test_a_question_on_the_page_settles_live_and_its_bundle_checks_with_the_command_shown(net, tmp_path: Path):
    async def check() -> tuple[str, bytes]:
        url = net.ready["panel"]
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            run, text = await ask_on_the_page(http, url, "What does the bytes lane say?")
            assert "bytes" in text
            views = await follow(http, url, run)
            assert [view["lanes"]["settlement"]["state"] for view in (views[0], views[-1])] == ["pending", "proven"]
            assert list(views[-1]["lanes"]) == list(LANES)
            moved = [moment["code"] for moment in views[-1]["chronology"] if moment["ahead"]]
            assert moved == ["answered"]
            async with http.get(f"{url}/runs/{run}") as answer:
                page = await answer.text()
            assert "What does the bytes lane say?" in page
            async with http.get(f"{url}/runs/{run}/bundle") as answer:
                bundle = await answer.read()
            async with http.get(url + "/index.json") as answer:
                assert (await answer.json())["runs"][0]["run"] == run
            async with http.get(url + "/rounds.json") as answer:
                rounds = await answer.json()
            assert all(node["answered"] and node["voter"] for node in rounds["nodes"])
            final = next(item for item in rounds["rounds"] if item["reports"]["full-1"]["state"] == "final")
            assert 3 * len(final["votes"]) > 2 * 4
            assert rounds["log"]["size"] >= final["reports"]["full-1"]["candidate"]["size"] >= 2
            async with http.get(f"{url}/rounds/{final['number']}.json") as answer:
                assert {line["code"] for line in (await answer.json())["verdicts"]} == {"ok"}
            command = re.search(r"holdfast verify [^<\"]+", page)
            assert command is not None
            return command[0], bundle

    command, bundle = asyncio.run(check())
    words = shlex.split(command)
    (tmp_path / words[2]).write_bytes(bundle)
    trust = ["trust", "export", "-o", "trust.json", "--state", str(net.state)]
    for arguments in (trust, [*words[1:], "--require", "bytes=proven", "--require", "settlement=proven:development"]):
        subprocess.run([sys.executable, "-m", "holdfast.cli", *arguments], cwd=tmp_path, check=True, timeout=60)


@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on the PATH")
def test_a_newcomer_sees_the_lanes_of_the_first_question_move_to_final(net):
    async def check() -> None:
        async with open_browser() as browser:
            page = await browser.page()
            await page.go(net.ready["panel"] + "/")
            await page.click("#prompt")
            await page.type("What is Holdfast?")
            await page.press("Enter", 13, "\r")
            await page.wait("document.querySelector('details[data-lane=bytes]')?.dataset.state === 'proven'")
            settled = "document.querySelector('details[data-lane=settlement]').dataset.state === 'proven'"
            await page.wait(settled, SETTLED_S)
            assert page.complaints == []
            await page.go(net.ready["panel"] + await page.run("document.querySelector('.turn-run').pathname"))
            await page.wait("document.querySelectorAll('#axis .settled').length > 0")
            assert page.complaints == []

    asyncio.run(check())


@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on the PATH")
def test_a_question_is_sealed_in_the_page_and_answered_through_the_relay(net: NetworkProcess) -> None:
    async def main() -> None:
        async with open_browser() as browser:
            page = await browser.page()
            await page.go(net.ready["panel"] + "/chat")
            await page.run("document.getElementById('private').open = true")
            await page.click("#private-on")
            await page.wait("!document.getElementById('private-checked').hidden")
            checked = await page.run("document.getElementById('private-checked').innerText")
            assert "everybody is shown the same keys" in checked
            assert "A simulated enclave vouches for these keys" in checked
            await page.run(
                "(() => { const one = document.getElementById('private-require'); one.value = 'hardware';"
                " one.dispatchEvent(new Event('change')); })()"
            )
            await page.wait("!document.getElementById('private-trouble').hidden")
            assert "Hardware has to vouch" in await page.run("document.getElementById('private-trouble').textContent")
            assert not await page.run("document.getElementById('private-on').checked")
            await page.run("document.getElementById('private-require').value = ''")
            await page.click("#private-on")
            await page.wait("document.getElementById('private-says').textContent.includes('sealed in this page')")
            await page.run("document.getElementById('prompt').value = 'What is a lane?'")
            await page.run("document.getElementById('ask').requestSubmit()")
            await page.wait("document.querySelector('.cell[data-lane=route]')?.dataset.state === 'proven'", SETTLED_S)
            await page.wait(
                "document.querySelector('.cell[data-lane=settlement]').dataset.state !== 'pending'", SETTLED_S
            )
            assert "A lane is" in await page.run("document.querySelector('.answer').innerText")
            cell = await page.run("document.querySelector('.cell[data-lane=privacy]').innerText")
            assert "relay" in cell
            assert await page.run("document.querySelector('.turn-run').hidden")
            here = await page.run("document.querySelector('.checked-here').textContent")
            assert "What is shown is what the closing statement binds" in here, "asked for through the relay too"
            asked = [url for url in page.requests if "/ask" in url or "/events" in url or "/runs/" in url]
            assert asked == []
            assert page.complaints == []

    asyncio.run(main())


@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on the PATH")
def test_a_chat_is_checked_in_the_page_up_to_the_log(net):
    async def check() -> None:
        async with open_browser() as browser:
            page = await browser.page()
            await page.go(net.ready["panel"] + "/chat")
            await page.wait("document.getElementById('model')?.value")
            await page.click("#prompt")
            await page.type("What does the bytes lane say?")
            await page.press("Enter", 13, "\r")
            await page.wait("document.querySelector('.checked-here')?.textContent.includes('The log holds route')", 60)
            checked = await page.run("document.querySelector('.checked-here').textContent")
            assert "admitted by this panel's trust" in checked
            assert "What was asked is what the route binds" in checked
            assert "What is shown is what the closing statement binds" in checked
            assert "No: " not in checked
            assert await page.run("document.querySelector('.turn-trouble').textContent") == ""
            assert page.complaints == []

    asyncio.run(check())
