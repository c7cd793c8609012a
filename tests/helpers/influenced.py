"""A case whose run had rows of memory before its model, and an upstream that answers otherwise without them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from holdfast.web.app import create_app
from tests.helpers.case_world import CaseWorld
from tests.helpers.upstreams import ScriptedUpstream
from tests.unit.nodes.gateway.test_recalling import ANSWER, MEMORY, asked, remembering

CELLO, LISBON, JAZZ = (f"mem_{number:032x}" for number in (1, 2, 3))
OTHERWISE = ANSWER.replace(b"The cello.", b"I do not know what you play.")


class Answering(ScriptedUpstream):
    """Says what a document's rows let it say; ``moody`` answers otherwise the second time whatever they are."""

    moody = False

    async def complete(self, path: str, body: bytes, headers: Mapping[str, str] | None = None, **more: Any) -> Any:
        """One answer, by what stands before the model."""
        before = len(self.sent)
        knows = "cello" in json.dumps(json.loads(body)["messages"])
        self.answers = [ANSWER if knows and not (self.moody and before) else OTHERWISE]
        return await super().complete(path, body, **more)


async def influenced(world: CaseWorld, *, moody: bool = False, **more: Any) -> str:
    """One answered run with two rows, and its case in the default queue of a panel with pages; returns the case."""
    world.app = create_app(world.service)
    upstream = Answering()
    upstream.moody = moody
    world.world.upstream = upstream
    catalog = world.world.gateway.catalog
    catalog._upstreams = {upstream.code: upstream}
    await catalog.refresh()
    remembering(world.world)
    run = await world.world.gateway.open(asked(holdfast={"memory": MEMORY, "queue": "default"}, **more), "first")
    await world.world.gateway.answer(run)
    await world.pull()
    await world.world.clock.advance(3)
    await world.look_at_all()
    await world.tick()
    return str((await world.case(run.id))["id"])
