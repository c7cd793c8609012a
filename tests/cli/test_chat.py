"""The conversation: what each view shows, in which order, and what it never lets through to a terminal."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from rich.console import Console

from holdfast.cli.chat import Talk, _Session
from holdfast.cli.chat_views import JSONView, LiveView, PlainView, View, strip
from holdfast.cli.output import SHAPES, clean
from holdfast.client.gateway import GatewayClient
from holdfast.core.trust import Trust
from holdfast.errors import RefusedError, UnavailableError
from holdfast.verifier.lanes import LANES, STATES, Lane
from tests.helpers.fake_gateway import FakeRun
from tests.helpers.network import RUN, Network, at
from tests.helpers.relayed import World, path
from tests.helpers.signed_gateway import PIECES, SignedGateway

TEXT = "".join(PIECES)


def told(**lanes: str) -> dict[str, Any]:
    """A run as a gateway tells it, answered."""
    run = FakeRun(RUN, at(0), [])
    for name, state in lanes.items():
        run.lanes[name]["state"] = state
    return run.view() | {"outcome": "complete"}


def converse(
    view: View, *questions: str, gateway: SignedGateway | None = None, trust: Trust | None = None
) -> tuple[list[int], SignedGateway]:
    """Ask questions, one conversation; the exit codes and the gateway that was asked."""
    asked = gateway or SignedGateway()
    asked.views = [told(), told(settlement="proven")]
    with asyncio.Runner() as runner:
        client = asked.client(trust or Network().trust())
        session = _Session(runner, client, Talk("small-1", None), lambda: view, 5.0, interactive=False)
        return [session.turn(question) for question in questions], asked


def events(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_json_shows_text_only_under_marks_and_lanes_twice(capsys: pytest.CaptureFixture[str]) -> None:
    codes, _ = converse(JSONView(), "What is a lane?")
    shown = events(capsys.readouterr().out)
    assert codes == [0]
    assert [event["event"] for event in shown[:2]] == ["checked", "asked"]
    assert shown[0]["enclave"] == "development"
    assert [check["answer"] for check in shown[0]["transcript"]] == ["yes", *["cannot_tell"] * 4]
    assert shown[1]["admitted"] is True
    assert "".join(event["text"] for event in shown if event["event"] == "text") == TEXT
    assert [event["told_by"] for event in shown if event["event"] == "lanes"] == ["gateway", "gateway", "here"]
    assert all(list(event["lanes"]) == list(LANES) for event in shown if event["event"] == "lanes")
    assert shown[-1] == {"event": "done"}


def test_what_no_mark_covers_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def spoil(listed: list[bytes]) -> list[bytes]:
        return [*listed[:3], listed[3].replace(b" a", b" no"), *listed[4:]]

    codes, _ = converse(JSONView(), "x", gateway=SignedGateway(events=spoil))
    shown = events(capsys.readouterr().out)
    assert codes == [1]
    assert "".join(event["text"] for event in shown if event["event"] == "text") == "One question about"
    assert shown[-2]["error"]["code"] == "mark.chain"


def test_where_the_gateway_tells_more_than_its_bundle_shows_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    converse(JSONView(), "x")
    notes = [event["says"] for event in events(capsys.readouterr().out) if event["event"] == "note"]
    assert len(notes) == 1
    assert "settlement (the gateway says proven, here it is pending)" in notes[0]


def test_the_next_question_carries_the_conversation(capsys: pytest.CaptureFixture[str]) -> None:
    gateway = SignedGateway()
    sent: list[bytes] = []
    open_ = gateway.open

    def spy(method: str, url: str, **options: Any) -> Any:
        sent.append(options.get("body", b""))
        return open_(method, url, **options)

    gateway.open = spy  # type: ignore[method-assign]
    codes, _ = converse(JSONView(), "first", "second", gateway=gateway)
    assert codes == [0, 0]
    capsys.readouterr()
    messages = [json.loads(body)["messages"] for body in sent if body]
    assert [item["content"] for item in messages[-1]] == ["first", TEXT, "second"]


def test_plain_lines_give_the_answer_whole_then_every_move_then_all_lanes(capsys: pytest.CaptureFixture[str]) -> None:
    codes, _ = converse(PlainView(), "What is a lane?")
    out = capsys.readouterr().out
    assert codes == [0]
    assert out.startswith(
        "checked before asking: gateway: admitted by trust; its attestation is a development stand-in (insecure-dev), "
    )
    assert out.index(f"run {RUN}") < out.index(TEXT) < out.index("lanes, appraised here")
    for name in LANES:
        assert f"{name} " in out.partition("lanes, appraised here")[2]


def test_a_refused_gateway_is_an_error_and_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    codes, gateway = converse(PlainView(), "x", trust=Network().trust(nodes=[], logs=[], epochs=[]))
    out, err = capsys.readouterr()
    assert codes == [1]
    assert TEXT not in out
    assert err.startswith("error: gateway.trust: ")
    assert all(method == "GET" for method, _, _ in gateway.requests)


def test_what_was_checked_is_said_once_and_again_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    converse(PlainView(), "first", "second")
    assert capsys.readouterr().out.count("checked before asking") == 1


def test_without_the_attestation_that_trust_is_for_no_question_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    codes, gateway = converse(PlainView(), "x", trust=Network(development=False).trust())
    out, err = capsys.readouterr()
    assert codes == [1]
    assert out.strip() == ""
    assert err.startswith("error: identity.attestation: hardware is required")
    assert "attested 'development'" in err
    assert all(method == "GET" for method, _, _ in gateway.requests)


def converse_sealed(view: View, *, silent: bool) -> World:
    """One question over the private path; ``silent`` takes the relay away before it, with the direct path allowed."""
    world = World()
    direct = SignedGateway(world.network)
    world.gateway.views = direct.views = [told(settlement="proven")]

    async def instead(error: UnavailableError) -> GatewayClient:
        client = direct.client(world.network.trust())
        client.fell_back = error.code
        return client

    with asyncio.Runner() as runner:
        client = runner.run(world.client(instead=instead))
        world.silent = silent
        session = _Session(runner, client, Talk("small-1", None), lambda: view, 5.0, interactive=False)
        assert session.turn("What is a lane?") == 0
    return world


def test_over_the_private_path_it_says_what_was_sealed_and_to_whom(capsys: pytest.CaptureFixture[str]) -> None:
    world = converse_sealed(JSONView(), silent=False)
    shown = {event["event"]: event for event in events(capsys.readouterr().out)}
    assert "every request is sealed to a key" in shown["checked"]["says"]
    assert shown["answered"]["path"] == path().to_json()
    assert shown["answered"]["fell_back"] is None
    assert all(b"lane" not in body for _, body in world.sealed)


def test_a_turn_that_fell_back_is_shown_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    converse_sealed(PlainView(), silent=True)
    out = capsys.readouterr().out
    assert out.index("the private path was not there (http.unreachable): this was asked directly") < out.index(TEXT)
    assert "no TLS" in out
    assert "is sealed" not in out.partition(TEXT)[0]
    converse_sealed(JSONView(), silent=True)
    shown = {event["event"]: event for event in events(capsys.readouterr().out)}
    assert (shown["answered"]["path"], shown["answered"]["fell_back"]) == (None, "http.unreachable")


def live(width: int = 90) -> tuple[LiveView, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, height=40, color_system=None, highlight=False)
    return LiveView(console), out


def test_on_a_terminal_the_answer_and_all_eleven_lanes_end_up_on_the_screen() -> None:
    view, out = live()
    codes, _ = converse(view, "What is a lane?")
    assert codes == [0]
    last = out.getvalue().rpartition("One question about a run.")[2]
    for name in LANES:
        assert f" {name} " in last
    assert "appraised here from the bundle" in last


def test_long_lines_scroll_up_whole_and_nothing_is_lost() -> None:
    view, out = live(width=30)
    words = [f"word{number}" for number in range(60)]
    view.asked(RUN, "00" * 32, admitted=True)
    for word in words:
        view.text(1, word + " ")
    view.done()
    shown = out.getvalue()
    assert all(word in shown for word in words)


@pytest.mark.parametrize("width", [20, 60, 80, 120, 200])
@pytest.mark.parametrize("state", STATES)
def test_the_strip_shows_shape_word_and_basis_at_every_width(width: int, state: str) -> None:
    lanes = {name: Lane(name, state, "provider_claim", "It says so.") for name in LANES}
    out = io.StringIO()
    Console(file=out, width=max(width, 60), color_system=None).print(strip(lanes, width))
    shown = out.getvalue()
    assert shown.count(SHAPES[state]) == len(LANES)
    assert shown.count(state.replace("_", " ")) == len(LANES)
    assert shown.count("provider claim") == len(LANES)


@pytest.mark.parametrize(
    "text", ["\x1b[2Jgone", "\x9b2J", "a\rb", "\x07", "\u202eevil", "\u2066x", "\u2028", "\ufeff", "\x00"]
)
def test_text_from_outside_cannot_command_the_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert clean(text) != text
    assert all(letter.isprintable() or letter in "\n\t" for letter in clean(text))
    view, out = live()
    PlainView().text(1, text)
    PlainView().failed(RefusedError("x.y", text))
    view.text(1, text + "\n")
    view.done()
    plain = "".join(capsys.readouterr())
    for letter in set(text) - set("2Jgonevilabx["):
        assert letter not in plain
        assert letter not in {"\x9b", "\x07", "\u202e", "\u2066"} or letter not in out.getvalue()


def test_newlines_and_ordinary_letters_stay_as_they_are() -> None:
    assert clean("Zeile\n\tmit ümläuten, עברית, 漢字 und 🙂") == "Zeile\n\tmit ümläuten, עברית, 漢字 und 🙂"
