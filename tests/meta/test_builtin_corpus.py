"""What the built-in responder says about commands and settings is what commands and settings there are."""

from __future__ import annotations

import re

import click
import pytest

from holdfast.adapters.builtin.corpus import load_topics
from holdfast.cli.main import LazyGroup
from holdfast.nodes.gateway.config import GatewayConfig, UpstreamAddress
from holdfast.verifier.lanes import BASES, LANES, STATES

_COMMAND = re.compile(r"`holdfast ([a-z][^`]*)`|^ {4}holdfast ([a-z].*)$", re.MULTILINE)


def _texts() -> list[str]:
    return [text for topic in load_topics() for text in (topic.answer, topic.more) if text]


def _commands() -> list[str]:
    return sorted({match[1] or match[2] for text in _texts() for match in _COMMAND.finditer(text)})


def test_commands_are_mentioned():
    assert len(_commands()) > 10


@pytest.mark.parametrize("line", _commands())
def test_every_command_and_option_mentioned_exists(line):
    parts = line.replace("[", " ").replace("]", " ").replace("...", " ").split()
    top = LazyGroup("holdfast")
    command: click.Command = top
    context = click.Context(top, info_name="holdfast")
    while parts and isinstance(command, click.Group):
        found = command.get_command(context, parts[0])
        if found is None:
            break
        command = found
        context = click.Context(command, parent=context, info_name=parts.pop(0))
    assert command is not top, f"no command {line!r}"
    known = {name for item in command.get_params(context) for name in (*item.opts, *item.secondary_opts)}
    options = [part for part in parts if re.fullmatch(r"--?[a-z][a-z-]*", part)]
    assert set(options) <= known, f"{line!r} names options that {sorted(known)} lacks"


def test_every_setting_mentioned_exists():
    gateway = set(GatewayConfig.__dataclass_fields__)
    upstream = set(UpstreamAddress.__dataclass_fields__)
    mentioned = {match for text in _texts() for match in re.findall(r"^ {4}([a-z_]+) = ", text, re.MULTILINE)}
    assert mentioned - {"client"} <= upstream
    assert {"discover", "builtin", "upstreams"} <= gateway
    assert {"models", "fallback"} <= upstream


def test_every_lane_state_and_basis_has_a_topic():
    ids = {topic.id for topic in load_topics()}
    assert {f"lane.{lane}" for lane in LANES} <= ids
    assert {f"state.{state}" for state in STATES} <= ids
    assert {f"basis.{basis}" for basis in BASES} <= ids


def test_the_lanes_follow_each_other_in_their_fixed_order():
    following = {topic.id: topic.next for topic in load_topics()}
    lane = "lane.overview"
    order = []
    while lane := following[lane]:
        order.append(lane.removeprefix("lane."))
    assert tuple(order) == tuple(LANES)
