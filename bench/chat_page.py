"""The chat page in a browser: what its own checks cost beside the same upstream shown unchecked, and what it weighs.

A stub upstream sends events 20 ms apart. Beside the chat page of a network (``up``: gateway, log, full nodes, panel)
stands a bare page that shows the same upstream's events as they come, through a pass-through. Each page's own clock
takes the time from asking to the first text on the screen. What a mark costs the page is the time in what takes an
event (``chat/witness.js``), beside the time that the answer took. Wanted: marks < 1 % of that time, less than 250 kB
before the first answer, first contentful paint < 1 s.

``python bench/chat_page.py [--answers 7] [--tokens 150]``; needs a Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).parent.parent))

import aiohttp
from aiohttp import web
from figures import at_most, figure, ratio  # beside this file
from gateway import stub
from network import Network, running

from tests.helpers.browser import Page, find_chromium, open_browser

PACE_MS = 20
BARE = """<!doctype html><link rel="icon" href="data:,"><p id="text"></p><script type="module">
globalThis.ask = async () => {
  const began = performance.now();
  const response = await fetch("/ask", { method: "POST", body: JSON.stringify({ model: "stub", stream: true,
    messages: [{ role: "user", content: "Go on." }] }) });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let [rest, first, shown] = ["", 0, ""];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return { first, whole: performance.now() - began };
    const pieces = (rest + value).split("\\n\\n");
    rest = pieces.pop();
    for (const piece of pieces) {
      const data = piece.replace(/^data: /, "");
      if (data !== "[DONE]") shown += JSON.parse(data).choices?.[0]?.delta?.content ?? "";
    }
    document.getElementById("text").textContent = shown;
    if (shown) first ||= performance.now() - began;
  }
};
</script>"""
WATCH = """(async () => {
  const base = document.querySelector('script[src*="/chat/page.js"]').src;
  const { Witness } = await import(new URL("witness.js", base));
  const take = Witness.prototype.take;
  globalThis.spent = { time: 0, events: 0 };
  Witness.prototype.take = function (text) {
    const began = performance.now();
    try { return take.call(this, text); }
    finally { spent.time += performance.now() - began; spent.events += 1; }
  };
  globalThis.asked = () => new Promise((resolve) => {
    const began = performance.now();
    let first = 0;
    const look = () => {
      const answer = [...document.querySelectorAll(".talk .answer")].at(-1);
      if (answer?.textContent) first ||= performance.now() - began;
      const status = [...document.querySelectorAll(".turn-status")].at(-1)?.textContent ?? "";
      if (!first || status.startsWith("Answering") || !status.includes("checked in this page")) return;
      watcher.disconnect();
      resolve({ first, whole: performance.now() - began, spent: spent.time, events: spent.events });
    };
    const watcher = new MutationObserver(look);
    watcher.observe(document.body, { childList: true, subtree: true, characterData: true });
    Object.assign(spent, { time: 0, events: 0 });
    document.getElementById("model").value = "stub";
    document.getElementById("model").dispatchEvent(new Event("change", { bubbles: true }));
    document.getElementById("prompt").value = "Go on.";
    document.getElementById("ask").requestSubmit();
  });
  return true;
})()"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"


class Bare:
    """A page that shows an upstream's events as they come, and passes them through."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/", self._page)
        app.router.add_post("/ask", self._ask)
        self._session = aiohttp.ClientSession()
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=BARE, content_type="text/html")

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        async with self._session.post(f"{self._upstream}/chat/completions", data=await request.read()) as upstream:
            await answer.prepare(request)
            async for piece in upstream.content.iter_any():
                await answer.write(piece)
        return answer


async def bare_answers(page: Page, url: str, answers: int) -> list[dict[str, float]]:
    """Each answer of the bare page."""
    await page.go(url + "/")
    await page.wait("typeof globalThis.ask === 'function'")
    return [await page.run("ask()") for _ in range(answers)]


async def chat_answers(page: Page, url: str, answers: int) -> list[dict[str, float]]:
    """Each answer of the chat page, every one in a conversation of its own."""
    found = []
    for _ in range(answers):
        await page.go(url + "/chat?" + str(len(found)))
        await page.wait("[...document.querySelectorAll('#model option')].some((option) => option.value === 'stub')")
        await page.run(WATCH)
        found.append(await page.run("asked()"))
    return found


async def weights(browser: Any, url: str) -> dict[str, tuple[float, float]]:
    """By path: bytes received before anything is asked, with an empty cache, and the first contentful paint in ms."""
    found = {}
    for path in ("/", "/chat", "/verify"):
        page: Page = await browser.page()
        await page.go(url + path)
        await page.wait(f"({PAINT}) > 0")
        await asyncio.sleep(1)
        found[path] = (page.received_bytes / 1000, await page.run(PAINT))
    return found


async def sealing(browser: Any, url: str) -> float:
    """Kilobytes of the chat page before its first answer, once somebody ticks that questions are sealed."""
    page: Page = await browser.page()
    await page.go(url + "/chat")
    await page.run("document.getElementById('private').open = true")
    await page.click("#private-on")
    await page.wait("!document.getElementById('private-checked').hidden", 60)
    return page.received_bytes / 1000


def median(found: list[dict[str, float]], name: str) -> float:
    return statistics.median(item[name] for item in found)


async def measure(network: Network, upstream: str, answers: int) -> bool:
    """Print every figure; whether what is wanted was met."""
    url = network.ready["panel"]
    async with open_browser() as browser, Bare(upstream) as bare:
        page = await browser.page()
        unchecked = (await bare_answers(page, bare.url, answers + 1))[1:]
        checked = (await chat_answers(page, url, answers + 1))[1:]
        weighed = await weights(browser, url)
        sealed = await sealing(browser, url)
    first, plain = median(checked, "first"), median(unchecked, "first")
    figure("first visible text, checked in the chat page", first, "ms")
    figure("first visible text, the same upstream unchecked", plain, "ms")
    figure("added to the first visible text", first - plain, "ms", note="gateway, panel, first mark and its check")
    ratio("the same upstream unchecked, whole answer", median(checked, "whole"), median(unchecked, "whole"))
    share = 100 * statistics.median(item["spent"] / item["whole"] for item in checked)
    met = [figure("taking events and checking marks, of an answer's time", share, "%", at_most(1))]
    each = statistics.median(item["spent"] / item["events"] for item in checked)
    figure("the same, for each event", 1000 * each, "µs")
    for path, (weight, paint) in weighed.items():
        met.append(figure(f"{path}: received before the first answer", weight, "kB", at_most(250)))
        met.append(figure(f"{path}: first contentful paint", paint, "ms", at_most(1000)))
    figure(
        "/chat with sealing on: received before the first answer", sealed, "kB", note="what seals and reads evidence"
    )
    return all(met)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=150)
    parser.add_argument("--port", type=int, default=21500)
    options = parser.parse_args()
    if find_chromium() is None:
        print("there is no Chromium on the PATH: nothing was measured")
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        stub("--tokens", str(options.tokens), "--pace-ms", str(PACE_MS)) as upstream,
    ):
        place = f'builtin = false\nupstreams = [{{code = "stub", base_url = "{upstream}"}}]\n'
        command = [sys.executable, "-m", "holdfast.cli", "up"]
        with running(command, Path(folder), options.port, gateway=place) as network:
            met = asyncio.run(measure(network, upstream, options.answers))
    if not met:
        sys.exit("a figure that was wanted was not met")


if __name__ == "__main__":
    main()
