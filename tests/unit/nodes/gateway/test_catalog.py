"""Which upstream answers for a label, while upstreams come, go and stay silent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from holdfast.errors import UsageError
from holdfast.nodes.gateway.catalog import Catalog
from holdfast.ports.upstream import ModelInfo, UpstreamUnreachableError
from tests.helpers.clock import FakeClock, settle
from tests.helpers.upstreams import ScriptedUpstream


class Listing(ScriptedUpstream):
    """Counts how often it is asked, and may be unreachable."""

    asked = 0
    gone = False

    async def models(self) -> list[ModelInfo]:
        self.asked += 1
        if self.gone:
            raise UpstreamUnreachableError("gone")
        return await super().models()


def offering(name: str, *labels: str) -> Listing:
    return Listing(name=name, offered=[ModelInfo(label, "tests", 1) for label in labels])


def play(story: Callable[[Catalog, FakeClock], Awaitable[None]], *upstreams: Listing, **fallbacks: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        catalog = Catalog(upstreams, fallbacks, clock)
        await catalog.refresh()
        await story(catalog, clock)
        await catalog.close()

    asyncio.run(main())
    assert all(upstream.closed for upstream in upstreams)


def test_an_unknown_label_is_asked_for_once_in_a_while_and_then_refused() -> None:
    first = offering("first", "a")

    async def story(catalog: Catalog, clock: FakeClock) -> None:
        for _ in range(5):
            with pytest.raises(UsageError) as refused:
                await catalog.find("b" * 1000)
            assert (refused.value.code, refused.value.status) == ("request.unknown_model", 404)
            assert len(refused.value.message) < 200
        assert first.asked == 1
        await clock.advance(3)
        first.offered.append(ModelInfo("late", "tests", 1))
        assert (await catalog.find("late")).upstream is first
        assert first.asked == 2

    play(story, first)


def test_many_who_ask_for_an_unknown_label_share_one_question() -> None:
    first = offering("first", "a")

    async def story(catalog: Catalog, clock: FakeClock) -> None:
        await clock.advance(3)
        await asyncio.gather(*(catalog.find("b") for _ in range(50)), return_exceptions=True)
        assert first.asked == 2

    play(story, first)


def test_the_first_upstream_in_order_serves_a_label() -> None:
    async def story(catalog: Catalog, clock: FakeClock) -> None:
        assert (await catalog.find("both")).upstream.code == "first"
        assert (await catalog.find("second-only")).upstream.code == "second"
        assert [offer.model.id for offer in catalog.models()] == ["both", "second-only"]

    play(story, offering("first", "both"), offering("second", "both", "second-only"))


def test_an_upstream_that_falls_silent_keeps_what_it_last_said() -> None:
    first = offering("first", "a")

    async def story(catalog: Catalog, clock: FakeClock) -> None:
        first.gone = True
        await catalog.refresh()
        assert (await catalog.find("a")).upstream is first

    play(story, first)


def test_an_old_list_is_asked_for_again_behind_the_answer() -> None:
    first = offering("first", "a")

    async def story(catalog: Catalog, clock: FakeClock) -> None:
        await clock.advance(61)
        assert (await catalog.find("a")).upstream is first
        assert first.asked == 1, "the answer does not wait for the list"
        await settle()
        assert first.asked == 2

    play(story, first)


def test_a_fallback_serves_the_same_label_or_nobody_does() -> None:
    async def story(catalog: Catalog, clock: FakeClock) -> None:
        found = catalog.fallbacks(await catalog.find("both"))
        assert [offer.upstream.code for offer in found] == ["second"]
        assert catalog.fallbacks(await catalog.find("alone")) == []
        assert catalog.fallbacks(found[0]) == []

    play(story, offering("first", "both", "alone"), offering("second", "both"), first="second")


def test_fallbacks_that_name_each_other_end() -> None:
    async def story(catalog: Catalog, clock: FakeClock) -> None:
        found = catalog.fallbacks(await catalog.find("both"))
        assert [offer.upstream.code for offer in found] == ["second"]

    play(story, offering("first", "both"), offering("second", "both"), first="second", second="first")


@pytest.mark.parametrize(
    ("balance", "busy", "turns"),
    [
        ("first", {}, [["first", "second"], ["first", "second"], ["first", "second"]]),
        ("round_robin", {}, [["first", "second"], ["second", "first"], ["first", "second"]]),
        ("least_busy", {"first": 2, "second": 1}, [["second", "first"], ["second", "first"]]),
    ],
)
def test_who_is_turned_to_first_is_chosen_as_the_settings_say(
    balance: str, busy: dict[str, int], turns: list[list[str]]
) -> None:
    async def story() -> None:
        upstreams = [offering("first", "both", "alone"), offering("second", "both")]
        catalog = Catalog(upstreams, {}, FakeClock(), balance)
        catalog.busy.update(busy)
        for turn in turns:
            found, balanced = await catalog.starts("both")
            assert [offer.upstream.code for offer in found] == turn
            assert balanced == (balance != "first")
        assert (await catalog.starts("alone"))[1] is False  # one needs no choice

    asyncio.run(story())
