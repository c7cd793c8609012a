"""``holdfast up`` decides what ends it: being told to, or a node of its own process that ends by itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.cli.development import Layout
from holdfast.cli.host import NodeServer
from holdfast.cli.up import Console, Network
from holdfast.errors import UnavailableError
from tests.unit.cli.test_host import FakeServer


def play(tmp_path: Path, story: Any) -> Any:
    """Run a story with a network that was never started."""

    async def main() -> Any:
        return await asyncio.wait_for(story(Network(Layout(tmp_path, 9000), Console(as_json=True), None)), 10)

    return asyncio.run(main())


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("ends", ["exit", "returns"])
def test_a_node_of_its_own_process_that_ends_ends_it_with_the_reason(tmp_path: Path, ends: str) -> None:
    async def story(network: Network) -> None:
        steady = FakeServer()
        servers = {"log": FakeServer(ends), "panel": steady}
        network._serve(cast("dict[str, NodeServer]", servers))
        with pytest.raises(UnavailableError) as caught:
            await network._until_over(forever())
        assert caught.value.code == "node.ended"
        assert "the log node" in caught.value.message
        assert steady.should_exit

    play(tmp_path, story)


def test_told_to_stop_it_gives_up_what_it_waits_for_and_nothing_is_wrong(tmp_path: Path) -> None:
    async def story(network: Network) -> None:
        network.stop()
        network.stop()
        assert await network._until_over(forever()) is None

    play(tmp_path, story)


def test_what_keeps_it_from_starting_is_raised(tmp_path: Path) -> None:
    async def fail() -> None:
        raise UnavailableError("chain.unreachable", "nobody there")

    async def story(network: Network) -> None:
        with pytest.raises(UnavailableError):
            await network._until_over(fail())

    play(tmp_path, story)


def test_the_ready_line_is_the_first_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(as_json=True)
    console.step("keys are in place")
    console.event("log", level="warning")
    console.ready(Layout(tmp_path, 9000), "hf_key", None)
    console.event("round", number=1)
    out, err = capsys.readouterr()
    assert [json.loads(line).get("event", "ready") for line in out.splitlines()] == ["ready", "round"]
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["starting", "log"]
