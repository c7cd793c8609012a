"""Route policies in bundles: opened, held against the route, and refused where they are not what the route names."""

import dataclasses

import pytest

from holdfast.core.bundles import PolicyItem, parse_bundle
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.gateway import ask
from tests.helpers.gateway_world import World, play
from tests.helpers.upstreams import ScriptedUpstream

KEPT = {"fallback": "none", "retries": 0}


def judged(world, raw, change=lambda items: items):
    bundle = parse_bundle(raw)
    bundle = dataclasses.replace(bundle, journal=tuple(change(list(bundle.journal))))
    return appraise(bundle, world.trust, parse_policy(DEFAULT_POLICY), world.clock.now())


def codes(found):
    return {check.code for check in found.transcript if check.code and check.code.startswith("route_policy.")}


def changed(**more):
    """Every policy item with other members."""

    def change(items):
        return [
            dataclasses.replace(entry, item=dataclasses.replace(entry.item, **more))
            if isinstance(entry.item, PolicyItem)
            else entry
            for entry in items
        ]

    return change


async def told(world, route, secret=True, **more):
    run = await world.gateway.open(ask(holdfast={"route": route} if route is not None else {}, **more), "first")
    await world.gateway.answer(run)
    return await world.desk.bundle(await world.row(run.id), run.secret if secret else None)


def answer():
    content = (
        b'{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}'
    )
    return ScriptedUpstream(answers=[content])


def test_whoever_has_the_capability_sees_that_the_route_kept_every_rule():
    async def story(world: World) -> None:
        lane = judged(world, await told(world, KEPT)).lanes["route"]
        assert lane.state == "proven"
        assert lane.says.endswith("It kept every rule of the route policies in force.")

    play(story, upstream=answer())


def test_without_the_capability_it_is_said_that_there_was_one():
    async def story(world: World) -> None:
        lane = judged(world, await told(world, KEPT, secret=False)).lanes["route"]
        assert lane.says.endswith("A route policy was in force; it is not shown here.")

    play(story, upstream=answer())


def test_without_a_policy_nothing_is_said_of_one():
    async def story(world: World) -> None:
        assert "policy" not in judged(world, await told(world, None)).lanes["route"].says

    play(story, upstream=answer())


def test_what_no_route_says_is_never_taken_for_kept():
    async def story(world: World) -> None:
        raw = await told(world, {"retries": 1})
        document = b'{"policies":[{"by":"request","policy":{"retries":1}}],"type":"urn:holdfast:route-policy:v1"}'
        assert [entry.item.raw for entry in parse_bundle(raw).journal if isinstance(entry.item, PolicyItem)] == [
            document
        ]
        found = judged(world, raw)
        assert codes(found) == set()

    play(story, upstream=answer())


@pytest.mark.parametrize(
    ("more", "code", "state"),
    [
        ({"raw": b"{}"}, "route_policy.digest", "refuted"),
        ({"salt": bytes(32)}, "route_policy.digest", "refuted"),
        ({"digest": "ab" * 32}, "route_policy.digest", "refuted"),
    ],
)
def test_another_policy_than_the_one_that_is_named_is_refused(more, code, state):
    async def story(world: World) -> None:
        found = judged(world, await told(world, KEPT), changed(**more))
        assert codes(found) == {code}
        assert found.lanes["route"].state == state

    play(story, upstream=answer())


def test_a_policy_that_the_route_does_not_name_is_evidence_of_nothing():
    async def story(world: World) -> None:
        raw = await told(world, KEPT)
        item = next(entry for entry in parse_bundle(raw).journal if isinstance(entry.item, PolicyItem))
        other = await told(world, {"fallback": ["nobody"]})
        found = judged(world, other, lambda items: [*items, item])
        assert "route_policy.unbound" in codes(found)
        assert found.lanes["route"].state == "proven"

    play(story, upstream=answer())
