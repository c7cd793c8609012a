"""A real log process on a real disk: killed again and again, locked against a second one, stopped politely."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.signer_files import load_or_create_signer
from holdfast.client.log import LogClient, LogReader
from holdfast.core import notes
from holdfast.core.encoding import b64_encode
from holdfast.errors import UnavailableError
from tests.helpers import crashes
from tests.helpers.log import ORIGIN, TOKEN, digest, entry
from tests.helpers.node_process import Process, started
from tests.helpers.ports import free_ports

pytestmark = pytest.mark.enable_socket
MODULE = "holdfast.nodes.log"


class Setting:
    """A folder with a configuration, and what a reader trusts."""

    def __init__(self, folder: Path) -> None:
        port = free_ports()
        self.url = f"http://127.0.0.1:{port}"
        self.config = folder / "holdfast.toml"
        (folder / "token").write_text(TOKEN)
        (folder / "token").chmod(0o600)
        key = folder / "log.pem"
        self.config.write_text(
            f'[log]\nlisten = "127.0.0.1:{port}"\nstate = "{folder}/log"\norigin = "{ORIGIN}"\nkey = "{key}"\n'
            f'token = "file:{folder}/token"\nwindow_ms = 20\nsegment_bytes = 262144\n'
        )
        self.keys = [notes.VerifierKey(ORIGIN, notes.ED25519, load_or_create_signer(key, "log").key.public)]


async def write(http: AiohttpHTTP, url: str, batch: list[bytes]) -> list[tuple[str, int]]:
    """Send entries; what came back is acknowledged."""
    answer = await http.request(
        "POST",
        f"{url}/v1/entries",
        body=json.dumps({"entries": [b64_encode(raw) for raw in batch]}).encode(),
        headers={"authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status == 200, answer.body
    return [(item["digest"], item["index"]) for item in json.loads(answer.body)["results"]]


@pytest.mark.slow
def test_kills_lose_and_double_nothing_and_fork_nothing(tmp_path: Path) -> None:
    setting, chance = Setting(tmp_path), random.Random("kills")
    acknowledged: dict[int, tuple[int, str]] = {}
    sent = 0

    async def write_until_killed(http: AiohttpHTTP) -> None:
        nonlocal sent
        while True:
            first, count = sent, chance.choice((1, 3, 40))
            if sent and chance.random() < 0.2:
                first = max(0, sent - 30)
            numbers = range(first, first + count)
            sent = max(sent, first + count)
            try:
                found = await write(http, setting.url, [entry(number) for number in numbers])
            except UnavailableError:
                return
            for number, (name, index) in zip(numbers, found, strict=True):
                assert acknowledged.setdefault(number, (index, name)) == (index, name)

    async def look_until_killed(client: LogClient) -> None:
        while True:
            try:
                await client.latest()
            except UnavailableError:
                return
            await asyncio.sleep(0.01)

    async def check(client: LogClient) -> None:
        newest = await client.latest()
        while newest.size <= max((index for index, _ in acknowledged.values()), default=-1):
            await asyncio.sleep(0.02)
            newest = await client.latest()
        entries = await client.entries(0, newest.size, newest)
        assert len(set(entries)) == len(entries)
        for number, (index, name) in acknowledged.items():
            assert entries[index] == entry(number)
            assert name == digest(number)

    async def scenario() -> None:
        http = AiohttpHTTP()
        client = LogClient(LogReader(http, setting.url), ORIGIN, setting.keys)
        for _ in range(crashes.kills()):
            async with started(MODULE, setting.config, setting.url, http) as process:
                await check(client)
                working = asyncio.gather(*(write_until_killed(http) for _ in range(3)), look_until_killed(client))
                await asyncio.sleep(chance.uniform(0.05, 0.5))
                process.kill()
                await working
        async with started(MODULE, setting.config, setting.url, http) as process:
            await check(client)
            assert process.stop() in {0, -15}
        await http.close()

    asyncio.run(scenario())
    assert acknowledged


def test_a_second_process_on_the_same_state_does_not_start(tmp_path: Path) -> None:
    setting = Setting(tmp_path)

    async def scenario() -> None:
        http = AiohttpHTTP()
        async with started(MODULE, setting.config, setting.url, http):
            other = tmp_path / "other.toml"
            other.write_text(setting.config.read_text().replace(setting.url.rpartition(":")[2], str(free_ports())))
            second = Process(MODULE, other, "http://127.0.0.1:1")
            assert await asyncio.to_thread(second.wait) != 0
            assert "storage.locked" in second.output()
            assert await write(http, setting.url, [entry(0)]) == [(digest(0), 0)]
        await http.close()

    asyncio.run(scenario())


def test_a_process_without_a_usable_configuration_says_why(tmp_path: Path) -> None:
    config = tmp_path / "holdfast.toml"
    config.write_text(f'[log]\nlisten = "nowhere"\nstate = "{tmp_path}/log"\nkey = "{tmp_path}/log.pem"\n')
    process = Process(MODULE, config, "http://127.0.0.1:1")
    assert process.wait() == 2
    assert "settings.listen" in process.output()
