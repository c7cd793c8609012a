"""A passkey as one more way to open a memory, with an authenticator that Chromium plays.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

from typing import Any

from tests.helpers import axe
from tests.helpers.browser import IN_A_BROWSER, Page
from tests.web.test_browser_memory import LOCKED, OPENED, Scene, fill
from tests.web.test_browser_memory import play as play  # noqa: PLC0414  # a fixture

pytestmark = [*IN_A_BROWSER]
KEYS = "document.querySelectorAll('#keys li').length"
TROUBLE = "document.getElementById('memory-trouble').textContent"


async def opened(at: Scene, *, prf: bool = True, name: str = "localhost", **more: Any) -> Page:
    """The page at a name that passkeys can belong to, unlocked by key, with an authenticator at hand."""
    page = await at.browser.page(**more)
    await axe.prepare(page)
    await page.call("Emulation.setFocusEmulationEnabled", enabled=True)  # passkeys are for tabs that are looked at
    await page.call("WebAuthn.enable")
    options = {"protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "internal", "hasResidentKey": True}
    options |= {"hasUserVerification": True, "isUserVerified": True, "hasPrf": prf}
    await page.call("WebAuthn.addVirtualAuthenticator", options=options)
    await page.go(f"{at.url.replace('127.0.0.1', name)}/memory")
    await page.wait(LOCKED)
    await fill(page, "api-key", at.user.key)
    await page.click("#by-key button")
    await page.wait(OPENED)
    return page


def test_a_passkey_opens_the_rows_it_was_added_for_and_is_ended_like_any_key(play) -> None:
    async def scene(at: Scene) -> None:
        await at.user.note("I like old maps.")
        page = await opened(at)
        await page.wait(f"{KEYS} === 1")
        await page.click("#add-passkey button")
        await page.wait(f"{KEYS} === 2")
        assert await axe.violations(page) == []
        held = await at.user.ask("GET", "/v1/api-keys")
        [made] = [item for item in held["api_keys"] if item["name"] == "passkey"]
        assert made["scopes"] == ["owner"]
        await page.click("#lock")
        await page.wait(LOCKED)
        await page.click("#by-passkey button")
        await page.wait(f"{OPENED} && document.querySelectorAll('#rows > .memory-row').length === 1")
        await page.wait("document.getElementById('keys').textContent.includes('in use here')")
        assert await page.run("sessionStorage.length + localStorage.length") == 0
        # Ended, it opens nothing any more, and the page says so.
        await at.user.ask("DELETE", f"/v1/api-keys/{made['api_key_id']}")
        await page.go(f"{at.url.replace('127.0.0.1', 'localhost')}/memory?again")
        await page.wait(LOCKED)
        await page.click("#by-passkey button")
        await page.wait(f"{TROUBLE}.includes('This key opens nothing here')")

    play(scene)


def test_an_authenticator_that_derives_no_secrets_is_told_apart(play) -> None:
    async def scene(at: Scene) -> None:
        page = await opened(at, prf=False)
        await page.click("#add-passkey button")
        await page.wait(f"{TROUBLE}.includes('derives no secrets')")
        assert await page.run(KEYS) == 1

    play(scene)


def test_an_address_that_no_passkey_can_belong_to_is_told(play) -> None:
    async def scene(at: Scene) -> None:
        page = await opened(at, name="127.0.0.1")
        await page.click("#add-passkey button")
        await page.wait(f"{TROUBLE}.includes('http://localhost')")

    play(scene)


def test_without_a_passkey_nothing_opens(play) -> None:
    async def scene(at: Scene) -> None:
        page = await opened(at)
        await page.click("#lock")
        await page.wait(LOCKED)
        await page.click("#by-passkey button")
        await page.wait(f"{TROUBLE}.includes('No passkey was given')")

    play(scene)
