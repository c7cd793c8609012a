"""A real Chromium, driven over the DevTools protocol with the HTTP client we already have.

    async with open_browser() as browser:
        page = await browser.page(width=390, dark=True)
        await page.go("http://127.0.0.1:8700/")
        await page.wait("document.title.startsWith('Ask')")

A page collects what the browser complained about (``page.complaints``: script errors, refused loads, CSP violations)
and every URL it asked for (``page.requests``). Not covered: other browsers.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Executables that are tried, in this order."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """The path of a Chromium, or nothing."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


IN_A_BROWSER = (
    pytest.mark.enable_socket,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on the PATH"),
)
"""``pytestmark`` of tests that need one."""


SPOT = """(selector) => {
    const found = document.querySelector(selector);
    if (!found || found.disabled) return null;
    found.scrollIntoView({ block: "center", behavior: "instant" });
    const box = found.getBoundingClientRect();
    const spot = [box.x + box.width / 2, box.y + box.height / 2];
    const top = document.elementFromPoint(...spot);
    return top && (found.contains(top) || top.contains(found)) ? spot : null;
}"""
"""Where the middle of an element is, or null while it is missing, switched off or covered."""


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self._browser = browser
        self._session = session
        self.context = context
        """What it shares storage with."""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.received_bytes = 0
        self._bound: dict[str, Callable[[str], Awaitable[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One DevTools command."""
        return await self._browser.call(method, parameters, self._session)

    async def go(self, url: str) -> None:
        """Load a page and wait until it and its scripts are there, and the one before is gone."""
        await self.run("globalThis.left = true")
        if "loaderId" in await self.call("Page.navigate", url=url):  # else only the part behind # is another
            await self.wait("!globalThis.left")
        await self.wait("true")

    async def run(self, script: str) -> Any:
        """The value of an expression (promises are awaited)."""
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"].get("exception", {}).get("description", script))
        return answer["result"].get("value")

    async def wait(self, script: str, seconds: float = 30.0) -> None:
        """Wait until a page and its scripts are there and an expression is true; it may fail until then."""
        end = asyncio.get_running_loop().time() + seconds
        while True:
            with contextlib.suppress(AssertionError):
                if await self.run(f"document.readyState === 'complete' && !!({script})"):
                    return
            if asyncio.get_running_loop().time() > end:
                text = await self.run("document.body.innerText")
                raise AssertionError(f"never true: {script}\n{self.complaints}\n{text}")
            await asyncio.sleep(0.03)

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.call("Input.insertText", text=text)

    async def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release one key."""
        common: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def click(self, selector: str, seconds: float = 30.0) -> None:
        """Click the middle of the first match, as a mouse does: once it lies still and nothing lies over it."""
        end = asyncio.get_running_loop().time() + seconds
        before, spot = None, await self.run(f"({SPOT})({json.dumps(selector)})")
        while spot is None or spot != before:
            if asyncio.get_running_loop().time() > end:
                raise AssertionError(f"never at rest, or covered: {selector}")
            await asyncio.sleep(0.05)
            before, spot = spot, await self.run(f"({SPOT})({json.dumps(selector)})")
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=spot[0], y=spot[1], button="left", clickCount=1)

    async def bind(self, name: str, function: Callable[[str], Awaitable[None]]) -> None:
        """Give the page a function of this name that takes one text and runs here."""
        self._bound[name] = function
        await self.call("Runtime.addBinding", name=name)

    async def screenshot(self, path: Path, *, full: bool = True) -> None:
        """A PNG of the page."""
        answer = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))

    def take(self, method: str, event: dict[str, Any]) -> None:
        """An event of this tab."""
        if method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.complaints.append(event["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and event["type"] in {"error", "assert"}:
            self.complaints.append(str(event["args"]))
        elif method == "Runtime.bindingCalled":
            task = asyncio.create_task(self._bound[event["name"]](event["payload"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Network.loadingFinished":
            self.received_bytes += int(event["encodedDataLength"])


class Browser:
    """A running Chromium with a profile of its own."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            value = message.json()
            if "id" in value:
                future = self._waiting.pop(value["id"])
                if "error" in value:
                    future.set_exception(AssertionError(str(value["error"])))
                else:
                    future.set_result(value["result"])
            elif page := self._pages.get(value.get("sessionId", "")):
                page.take(value["method"], value["params"])

    async def call(self, method: str, parameters: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """One DevTools command."""
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        value: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session:
            value["sessionId"] = session
        await self._socket.send_json(value)
        return await asyncio.wait_for(future, 20)

    async def page(
        self,
        *,
        width: int = 1280,
        height: int = 860,
        dark: bool = False,
        scripts: bool = True,
        calm: bool = False,
        beside: Page | None = None,
    ) -> Page:
        """A new tab of this size and theme; ``scripts=False`` switches JavaScript off, ``calm`` reduces motion. It
        shares storage with the tab it is ``beside``, else with none."""
        if beside is not None:
            context = beside.context
        else:
            context = (await self.call("Target.createBrowserContext", {"disposeOnDetach": True}))["browserContextId"]
        where = {"url": "about:blank", "browserContextId": context}
        target = await self.call("Target.createTarget", where)
        attached = await self.call("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        page = Page(self, attached["sessionId"], context)
        self._pages[attached["sessionId"]] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"},
        ]
        await page.call("Emulation.setEmulatedMedia", features=features)
        if not scripts:
            await page.call("Emulation.setScriptExecutionDisabled", value=True)
        return page


@contextlib.contextmanager
def launch() -> Iterator[str]:
    """Start Chromium and end it with everything it started; yields its DevTools address for :func:`connect`."""
    path = find_chromium()
    if path is None:
        raise RuntimeError("there is no Chromium on the PATH")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield _address(Path(profile) / "DevToolsActivePort", process)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.asynccontextmanager
async def connect(address: str) -> AsyncIterator[Browser]:
    """Talk to a Chromium that :func:`launch` started. Its tabs and their storage go when the block ends."""
    async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
        browser = Browser(socket)
        try:
            yield browser
        finally:
            browser.reader.cancel()
            await asyncio.gather(browser.reader, return_exceptions=True)


@contextlib.asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """:func:`launch` and :func:`connect` in one."""
    with launch() as address:
        async with connect(address) as browser:
            yield browser


def _address(file: Path, process: subprocess.Popen[bytes]) -> str:
    for _ in range(400):
        if process.poll() is not None:
            raise RuntimeError(f"Chromium ended at once with code {process.returncode}")
        with contextlib.suppress(OSError, ValueError):
            port, path = file.read_text().split("\n")[:2]
            return f"ws://127.0.0.1:{int(port)}{path}"
        time.sleep(0.05)
    raise RuntimeError("Chromium did not open its debugging port")
