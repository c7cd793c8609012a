"""Models of a hub as an inference node takes them, against the hub's own app and a hub that lies."""

import asyncio
import json

import pytest

from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.http_stream_aiohttp import AiohttpEvents
from holdfast.client.hub import HubClient, read_folder
from holdfast.client.hub_models import HubModels, ManyModels, hub_keys
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.ports.settings import Secret
from tests.helpers import onnx_files
from tests.helpers.artifacts import DOCUMENT
from tests.helpers.clock import FakeClock
from tests.helpers.inference import MovingSource
from tests.helpers.live_hub import live_hub
from tests.helpers.network import Network

pytestmark = pytest.mark.enable_socket
ONE, TWO = onnx_files.linear(bias=1.0), onnx_files.linear(bias=2.0)
CARD = {"task": "embeddings", "input": "text", "output": "vector"}


def play(tmp_path, story, admitted=True):
    """A hub with one model under a label, and a source over it."""
    network = Network()
    network.others = [DOCUMENT] if admitted else []
    trust, clock = network.trust(), FakeClock()

    async def main(url):
        http, events = AiohttpHTTP(), AiohttpEvents()
        hub = HubClient(http, events, url, Secret("ada", "test"))
        try:
            digest = await push(hub, tmp_path, ONE)
            await hub.set_label("acme/scores:live", digest, "it begins")
            source = HubModels(hub, lambda: trust, tmp_path / "kept", clock)
            return await story(source, hub, clock, digest)
        finally:
            await events.close()
            await http.close()

    with live_hub(tmp_path) as live:
        return asyncio.run(main(live.url))


async def push(hub, tmp_path, data):
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(data)
    (folder / "card.json").write_text(json.dumps(CARD))
    local = read_folder(folder, "acme/scores")
    await hub.push("acme/scores", local, "a version")
    return local.manifest.artifact


def refusal(job):
    async def story(*given):
        with pytest.raises(HoldfastError) as refused:
            await job(*given)
        return refused.value.code

    return story


def test_trust_says_whose_manifests_count(tmp_path):
    assert hub_keys(Network().trust(), FakeClock()) == []

    async def job(source, hub, clock, digest):
        await source.fetch(digest, "acme/scores:live")

    assert play(tmp_path, refusal(job), admitted=False) == "artifact.key"


def test_a_label_that_the_hub_does_not_know_is_unknown(tmp_path):
    async def job(source, hub, clock, digest):
        await source.find("acme/scores:other")

    assert play(tmp_path, refusal(job)) == "models.unknown"


def test_a_revoked_artifact_is_not_run(tmp_path):
    async def job(source, hub, clock, digest):
        await source.find("acme/scores:live")
        await hub.post(f"artifacts/{digest}/revoke", {"reason": "it is wrong"})
        await clock.advance(1)
        await source.find("acme/scores:live")

    assert play(tmp_path, refusal(job)) == "models.revoked"


def test_a_moved_label_is_followed_within_a_second_and_its_old_artifact_is_still_there(tmp_path):
    async def story(source, hub, clock, first):
        assert (await source.find("acme/scores:live")).artifact == first
        second = await push(hub, tmp_path, TWO)
        before = await hub.last_change("acme/scores:live")
        await hub.set_label(
            "acme/scores:live", second, "it moves", continuity={"kind": "same_name"}, predecessor=before
        )
        await clock.advance(1)
        entry = await source.find("acme/scores:live")
        assert (entry.artifact, entry.card.task) == (second, "embeddings")
        files = [await source.fetch(artifact, "acme/scores:live") for artifact in (first, second, first)]
        assert [item["model.onnx"] for item in files] == [ONE, TWO, ONE]
        assert ("acme/scores:live", second) in [(item.label, item.artifact) for item in await source.models()]

    play(tmp_path, story)


def test_files_that_were_changed_where_they_are_kept_are_refused(tmp_path):
    async def job(source, hub, clock, digest):
        await source.fetch(digest, "acme/scores:live")
        (tmp_path / "kept" / digest / "model.onnx").write_bytes(b"9.9")
        await source.fetch(digest, "acme/scores:live")

    assert play(tmp_path, refusal(job)) == "artifact.digest"


def test_the_first_source_that_has_a_label_is_asked_for_it():
    async def story():
        first, second = MovingSource(scores=2.0), MovingSource(scores=3.0, words=4.0)
        source = ManyModels([first, second])
        assert [item.label for item in await source.models()] == ["scores", "words"]
        entry = await source.find("scores")
        assert (await source.fetch(entry.artifact, "scores"))["model.onnx"] == b"2.0"
        other = await source.find("words")
        assert (await source.fetch(other.artifact, "words"))["model.onnx"] == b"4.0"
        with pytest.raises(HoldfastError) as refused:
            await source.find("none")
        assert refused.value.code == "models.unknown"

        async def silent():
            raise UnavailableError("http.unreachable", "gone")

        second.models = silent
        assert [item.label for item in await source.models()] == ["scores"]

    asyncio.run(story())
