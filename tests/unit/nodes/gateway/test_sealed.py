"""Who else may read a run, what is disclosed of it, and answers that stay closed (``sealed.md``)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import PartsItem, parse_bundle
from holdfast.core.encoding import b64_decode
from holdfast.core.metadata import path_of
from holdfast.core.sealing import open_sealed_answer
from holdfast.core.wraps import WRAP_BYTES
from holdfast.errors import RefusedError
from tests.helpers import asgi
from tests.helpers.decisions import PANEL_DOCUMENT, RECIPIENT, trust_with_panel
from tests.helpers.gateway_world import KEY, OTHER_KEY, World
from tests.helpers.upstreams import MODEL

AUTHORIZED = ("authorization", f"Bearer {KEY}")
REQUEST: dict[str, Any] = {
    "model": MODEL,
    "temperature": 0.2,
    "messages": [{"role": "user", "content": "Is it covered?"}],
}


def play(story: Callable[[World], Awaitable[None]], *, panel: bool = True) -> None:
    async def main() -> None:
        world = World()
        if panel:
            world.wrap_trust = trust_with_panel(world.network)
        await world.start()
        try:
            await story(world)
        finally:
            await world.stop()

    asyncio.run(main())


async def ask(world: World, *headers: tuple[str, str], **holdfast: Any) -> asgi.Reply:
    body = json.dumps({**REQUEST, **({"holdfast": holdfast} if holdfast else {})}).encode()
    return await asgi.request(world.app(), "POST", "/v1/chat/completions", body, [AUTHORIZED, *headers])


async def wrap(world: World, run: str, key: str = KEY) -> asgi.Reply:
    return await asgi.request(world.app(), "GET", f"/v1/runs/{run}/wrap", b"", [("authorization", f"Bearer {key}")])


def test_a_run_that_names_no_queue_is_wrapped_for_nobody() -> None:
    async def story(world: World) -> None:
        run = str((await ask(world)).header("x-holdfast-run"))
        assert (await wrap(world, run)).code == "run.wrap"
        assert not [item for item in await world.journal(run) if item["kind"] == "parts"]

    play(story)


def test_a_private_run_is_wrapped_for_nobody_whatever_it_names() -> None:
    async def story(world: World) -> None:
        run = str((await ask(world, queue="default", settlement="private")).header("x-holdfast-run"))
        assert (await wrap(world, run)).code == "run.wrap"

    play(story)


def test_nothing_is_wrapped_for_a_panel_that_trust_does_not_admit() -> None:
    async def story(world: World) -> None:
        run = str((await ask(world, queue="default")).header("x-holdfast-run"))
        assert (await wrap(world, run)).code == "run.wrap"
        now = world.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")
        revoked = {"at": now, "suspect_since": now, "reason": "stolen"}
        world.wrap_trust = trust_with_panel(world.network, revoked=revoked)
        run = str((await ask(world, queue="default")).header("x-holdfast-run"))
        assert (await wrap(world, run)).code == "run.wrap"

    play(story, panel=False)


def test_the_panel_of_the_workspace_opens_the_wrap_and_nobody_else_gets_it() -> None:
    async def story(world: World) -> None:
        reply = await ask(world, queue="default")
        run = str(reply.header("x-holdfast-run"))
        assert (await wrap(world, run, OTHER_KEY)).code == "run.unknown"
        told = (await wrap(world, run)).json()
        assert (told["run"], told["panel"]) == (run, PANEL_DOCUMENT.digest)
        raw = b64_decode(told["wrap"])
        assert len(raw) == WRAP_BYTES
        with pytest.raises(RefusedError, match="another run"):
            RECIPIENT.open(run[:-1] + ("0" if run[-1] != "0" else "1"), raw)
        assert RECIPIENT.open(run, raw).hex() == reply.header("x-holdfast-capability")
        assert bytes.fromhex(str(reply.header("x-holdfast-capability"))) not in b"".join(
            world.disk.content(name) for name in world.disk.names()
        )

    play(story)


def test_naming_a_queue_discloses_how_it_was_asked_and_nothing_of_what() -> None:
    async def story(world: World) -> None:
        rule = {"rule": "Pay below 100.", "framing": "Be careful."}
        reply = await ask(world, queue="default", decision_rule=rule)
        run = str(reply.header("x-holdfast-run"))
        bundle = parse_bundle(await world.desk.bundle(await world.row(run), None))
        (item,) = [entry.item for entry in bundle.journal if isinstance(entry.item, PartsItem)]
        shown = {(part.document, path_of(part.part.label)): part.part.data.decode() for part in item.parts}
        assert shown["request", "/model"] == MODEL
        assert shown["request", "/temperature"] == "0.2"
        assert shown["request", "/holdfast/decision_rule/framing"] == "Be careful."
        assert shown["response", "/choices/0/finish_reason"] == "stop"
        assert not [path for _, path in shown if "content" in path or "messages" in path or path.endswith("/queue")]

    play(story)


@pytest.mark.parametrize(
    "rule", [{}, [], "Pay it.", {"rule": ""}, {"rule": 1}, {"rule": "a" * 8193}, {"mood": "kind"}, {"framing": None}]
)
def test_a_decision_rule_that_says_nothing_is_refused(rule: object) -> None:
    async def story(world: World) -> None:
        reply = await ask(world, queue="default", decision_rule=rule)
        assert (reply.status, reply.code) == (400, "request.decision_rule")

    play(story)


@pytest.mark.parametrize(
    "more",
    [{"sealed": True}, {"sealed": True, "queue": "default", "settlement": "private"}, {"sealed": "yes", "queue": "q"}],
)
def test_a_sealed_answer_that_nobody_could_let_go_is_refused(more: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        assert (await ask(world, **more)).code == "request.sealed"
        body = json.dumps({**REQUEST, "stream": True, "holdfast": {"sealed": True, "queue": "default"}}).encode()
        reply = await asgi.request(world.app(), "POST", "/v1/chat/completions", body, [AUTHORIZED])
        assert reply.code == "request.sealed"
        assert world.log.entries == []
        assert (await asgi.request(world.app(), "GET", "/v1/runs", b"", [AUTHORIZED])).json() == {"runs": []}

    play(story)


def test_without_a_panel_that_could_open_it_nothing_is_asked_sealed() -> None:
    async def story(world: World) -> None:
        reply = await ask(world, queue="default", sealed=True)
        assert (reply.status, reply.code) == (400, "gateway.sealed")
        assert world.log.entries == []
        assert (await asgi.request(world.app(), "GET", "/v1/runs", b"", [AUTHORIZED])).json() == {"runs": []}

    play(story, panel=False)


def test_a_sealed_answer_shows_nothing_until_its_secret_is_known() -> None:
    async def story(world: World) -> None:
        plain = await ask(world, queue="default")
        reply = await ask(world, ("x-holdfast-sealed", "true"), queue="default")
        assert reply.status == 200
        value = reply.json()
        assert value.keys() == {"object", "choices", "holdfast"}
        assert (value["object"], value["choices"]) == ("holdfast.sealed", [])
        assert "capability" not in value["holdfast"]
        assert reply.header("x-holdfast-capability") is None
        content = plain.json()["choices"][0]["message"]["content"]
        assert content not in reply.body.decode()
        run = value["holdfast"]["run"]
        secret = RECIPIENT.open(run, b64_decode((await wrap(world, run)).json()["wrap"]))
        opened = canonical.decode(open_sealed_answer(value, secret))
        assert opened["choices"][0]["message"]["content"] == content  # type: ignore[index,call-overload]
        closed = parse_bundle(await world.desk.bundle(await world.row(run), None))
        assert content not in json.dumps([type(entry.item).__name__ for entry in closed.journal])
        whole = await world.desk.bundle(await world.row(run), secret)
        assert content in whole.decode()

    play(story)
