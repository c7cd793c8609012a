"""The chat page in a browser: what its own checks cost beside the same upstream shown unchecked, and what it weighs.

A stub upstream sends events 20 ms apart. Beside the chat page of a network (``up``: gateway, log, full nodes, panel)
stands a bare page that shows the same upstream's events as they come, through a pass-through. Each page's own clock
takes the time from asking to the first text on the screen.

Two things are told apart, each as a share of the stream's time, which is from asking to when the last event was taken:

* *marks*: what checking adds to a page that would believe every event: ``Witness.take`` (``chat/witness.js``), so
  strict parsing, hashing, the chain, signatures and the fold. The events of each answer are given once more to a
  witness in a page that was just loaded, whose code nothing has warmed up, and what counts is the processor time that
  the page's thread took for them: whatever else the machine does is not in it, nor is WebCrypto's own thread. Beside it
  stands what the page's clock saw while the answer came: waiting for WebCrypto and for a processor are in that.
* *rendering*: ``TurnView.show`` (``chat/turn.js``) by the page's clock, and style and layout, whatever asked for them,
  by its thread's processor time.

Wanted: marks < 1 %, less than 250 kB before the first answer, first contentful paint < 1 s.

``python bench/chat_page.py [--answers 7] [--tokens 150]``; needs a Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import json
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
MODULES = """const base = document.querySelector('script[src*="/chat/page.js"]').src;
  const { Witness } = await import(new URL("witness.js", base));
  const { TurnView } = await import(new URL("turn.js", base));"""
WATCH = (
    f"""(async () => {{
  {MODULES}
"""
    """
  const spent = { taken: 0, shown: 0, last: 0, texts: [] };
  const { take } = Witness.prototype;
  Witness.prototype.take = async function (text) {
    const began = performance.now();
    try { return await take.call(this, text); }
    finally {
      spent.last = performance.now();
      spent.taken += spent.last - began;
      spent.texts.push(text);
      const { key } = this.gateway;
      spent.of = [key.algorithm, [...key.bytes], this.run, [...this.secret]];
    }
  };
  const { show } = TurnView.prototype;
  TurnView.prototype.show = function () {
    const began = performance.now();
    try { return show.call(this); }
    finally { spent.shown += performance.now() - began; }
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
      resolve({ ...spent, first, stream: spent.last - began, whole: performance.now() - began });
    };
    const watcher = new MutationObserver(look);
    watcher.observe(document.body, { childList: true, subtree: true, characterData: true });
    document.getElementById("model").value = "stub";
    document.getElementById("model").dispatchEvent(new Event("change", { bubbles: true }));
    document.getElementById("prompt").value = "Go on.";
    document.getElementById("ask").requestSubmit();
  });
  return true;
})()"""
)
AGAIN = (
    f"""(async () => {{
  {MODULES}
"""
    """
  globalThis.again = async (texts, [algorithm, bytes, run, secret]) => {
    const hex = secret.map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const witness = new Witness({ key: { algorithm, bytes: Uint8Array.from(bytes) } }, run, hex);
    for (const text of texts) await witness.take(text);
    witness.end();
    return witness.marks;
  };
  globalThis.given = %s;
  return true;
})()"""
)
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


async def busy_ms(page: Page) -> tuple[float, float]:
    """Processor time that the page's thread took so far: all of it, and for style and layout alone."""
    told = {item["name"]: 1000 * item["value"] for item in (await page.call("Performance.getMetrics"))["metrics"]}
    return told["TaskDuration"], told["RecalcStyleDuration"] + told["LayoutDuration"]


async def opened(page: Page, address: str) -> None:
    """The chat page, ready to ask."""
    await page.go(address)
    await page.wait("[...document.querySelectorAll('#model option')].some((option) => option.value === 'stub')")


async def chat_answers(page: Page, url: str, answers: int) -> list[dict[str, Any]]:
    """Each answer of the chat page, every one in a page of its own, with what its marks took."""
    found = []
    await page.call("Performance.enable", timeDomain="threadTicks")
    for number in range(answers):
        await opened(page, f"{url}/chat?{number}")
        await page.run(WATCH)
        before = await busy_ms(page)
        answer = await page.run("asked()")
        _, layout = (after - first for first, after in zip(before, await busy_ms(page), strict=True))
        await opened(page, f"{url}/chat?{number}-again")
        found.append({**answer, "layout": layout, "marks": await marks_ms(page, answer)})
    return found


async def marks_ms(page: Page, answer: dict[str, Any]) -> float:
    """Processor time that a page's thread takes for the events of an answer."""
    await page.run(AGAIN % json.dumps([answer["texts"], answer["of"]]))
    await asyncio.sleep(0.5)  # what else a page does when it was loaded is over
    before, _ = await busy_ms(page)
    marks = await page.run("again(...given)")
    after, _ = await busy_ms(page)
    if not marks:
        raise SystemExit("no mark held")
    return after - before


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


def median(found: list[dict[str, Any]], name: str) -> float:
    return statistics.median(float(item[name]) for item in found)


def share(found: list[dict[str, Any]], name: str) -> float:
    """Per cent of the stream's time, in the middle of all answers."""
    return 100 * statistics.median(float(item[name] / item["stream"]) for item in found)


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
    met = [figure("marks, of a stream's time", share(checked, "marks"), "%", at_most(1))]
    each = statistics.median(item["marks"] / len(item["texts"]) for item in checked)
    figure("marks, for each event", 1000 * each, "µs")
    figure("marks, by the page's clock, of a stream's time", share(checked, "taken"), "%", note="waiting included")
    figure(
        "rendering: setting what is shown, of a stream's time", share(checked, "shown"), "%", note="waiting included"
    )
    figure("rendering: style and layout, of a stream's time", share(checked, "layout"), "%")
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
