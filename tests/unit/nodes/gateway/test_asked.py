"""Runs that contracts ask for, at the gateway that serves them: what it refuses, what it waits for, what it hands over.

The chain is a list here; that the contract takes what is handed over is for ``test_asks_evm.py`` and the network's
tests.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.core import evm
from holdfast.core.asks import Ask, Ending, Requested, ask_id, ask_nonce, pack_parts, unpack_parts
from holdfast.core.bundles import VerdictItem
from holdfast.core.canonical import decode_exact
from holdfast.core.parts import Part, map_parts
from holdfast.core.rounds import VerdictEntry
from holdfast.core.statements import parse_envelope, parse_statement
from holdfast.errors import ConflictError, HoldfastError, UnavailableError
from holdfast.nodes.gateway.alpha import MOST_WAITING, PREFIX, AlphaResults
from holdfast.nodes.gateway.asked import LATE_S, MOST_OPEN, TRIES, Asked, Terms, closure
from holdfast.ports.chain import Inclusion
from holdfast.ports.upstream import UpstreamUnreachableError
from tests.helpers import asgi
from tests.helpers.asks import MadeRun, make_run
from tests.helpers.clock import settle
from tests.helpers.gateway_world import World, play

NODE, OTHER, CONTRACT = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20
DOCUMENT = b'{"model":"scores","mode":"VANILLA","inputs":{"x":[1,2]}}'
DONE = Inclusion("00" * 32, 1)


@dataclasses.dataclass
class ListedChain:
    """Requests in a list, one block each."""

    listed: list[Requested] = dataclasses.field(default_factory=list)
    states: dict[bytes, str] = dataclasses.field(default_factory=dict)
    endings: dict[bytes, Ending] = dataclasses.field(default_factory=dict)
    calls: list[tuple[str, Any]] = dataclasses.field(default_factory=list)
    time: int = 1000
    depth: int = 0
    silent: bool = False
    says_no: str = ""

    account = NODE

    def add(self, document: bytes | list[Part] = DOCUMENT, **more: Any) -> Requested:
        parts = document if isinstance(document, list) else map_parts("request", decode_exact(document))
        packed = pack_parts(parts)
        fields = {"node": NODE, "artifact": bytes(32), "target": evm.ZERO_ADDRESS, "gas_limit": 0, "fee": 5, **more}
        ask = Ask(len(self.listed) + 1, OTHER, deadline=2000, document=evm.keccak256(packed), **fields)
        found = Requested(ask_id(1, CONTRACT, ask), ask, packed, len(self.listed) + 1)
        self.listed.append(found)
        self.states[found.identity] = "open"
        return found

    def _speak(self) -> None:
        if self.silent:
            raise UnavailableError("chain.unreachable", "silent")

    async def height(self) -> int:
        self._speak()
        return len(self.listed) - self.depth

    async def now(self) -> int:
        self._speak()
        return self.time

    async def state(self, identity: bytes) -> str:
        self._speak()
        return self.states[identity]

    async def requested(self, first: int, last: int) -> list[Requested]:
        return [item for item in self.listed if first <= item.block <= last]

    async def find(self, identity: bytes, first: int) -> Requested | None:
        self._speak()
        return next((item for item in self.listed if item.identity == identity and item.block >= first), None)

    async def ending(self, identity: bytes, first: int) -> Ending | None:
        del first
        self._speak()
        return self.endings.get(identity)

    async def _call(self, name: str, given: Any, state: str, identity: bytes) -> Inclusion:
        self._speak()
        if self.says_no:
            code, self.says_no = self.says_no, ""
            raise ConflictError(code, "no")
        self.calls.append((name, given))
        self.states[identity] = state
        return DONE

    async def fulfil(self, arguments: Sequence[Any]) -> Inclusion:
        return await self._call("fulfil", arguments, "fulfilled", self._identity(arguments[0]))

    async def refute(self, arguments: Sequence[Any]) -> Inclusion:
        return await self._call("refute", arguments, "refuted", self._identity(arguments[0]))

    async def refuse(self, ask: Ask, reason: str) -> Inclusion:
        return await self._call("refuse", reason, "refused", self._identity(ask.to_tuple()))

    def _identity(self, ask: tuple[Any, ...]) -> bytes:
        return next(item.identity for item in self.listed if item.ask.to_tuple() == ask)

    async def close(self) -> None:
        return


def served(world: World, chain: ListedChain, **terms: Any) -> Asked:
    if not world.models.labels:
        world.models.move("scores", 2.0)
    made = Terms(**{"first_block": 0, **terms})
    return Asked(chain, world.gateway, world.evidence, world.indexer, world.clock, MemoryMetrics(), made)


async def start(asked: Asked) -> list[asyncio.Task[None]]:
    """What the background does with one look."""
    tasks = [asyncio.create_task(asked.serve(item)) for item in await asked.look()]
    await made(asked)
    return tasks


async def made(asked: Asked) -> None:
    """Until what was begun is answered or over."""
    metrics: Any = asked._metrics
    async with asyncio.timeout(20):
        for _ in range(200):
            await settle()
            await asyncio.sleep(0.001)
            if metrics.counts or not asked._open:
                return


async def pass_time(world: World, seconds: int) -> None:
    """A second after the other; what happens in the index's thread meanwhile is waited for."""
    for _ in range(seconds):
        await world.clock.advance(1.0)
        await asyncio.sleep(0.002)


async def end(world: World, tasks: list[asyncio.Task[None]]) -> None:
    """Let time pass until everything ended."""
    async with asyncio.timeout(20):
        while not all(task.done() for task in tasks):
            await pass_time(world, 1)
    await asyncio.gather(*tasks)


async def settled(world: World, codes: dict[int, str] | None = None) -> None:
    """The log takes everything, and a round is final over it."""
    await world.deliver()
    await world.cosign(4)
    await world.follow()
    world.finalise(world.candidate(len(world.finals) + 1, codes=codes))
    await world.follow()


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "more", "terms", "code"),
    [
        (DOCUMENT, {"fee": 4}, {"least_fee": 5}, "ask.terms"),
        (DOCUMENT, {"gas_limit": 1001}, {"most_gas": 1000}, "ask.terms"),
        (b'{"model":"unknown","inputs":{"x":[1]}}', {}, {}, "request.unknown_model"),
        (b'{"model":"scores","inputs":{"z":[1]}}', {}, {}, "infer.inputs"),
        (b'{"model":"scores","inputs":{"x":[1]},"extra":1}', {}, {}, "infer.member"),
        (b'{"model":"scores","inputs":{"x":[1]},"holdfast":{"settlement":"private"}}', {}, {}, "ask.member"),
        ([Part(b"model|-|-|s|/model", b"scores"), Part(b"nonsense", b"")], {}, {}, "ask.parts"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_reason_and_no_run(
    document: bytes | list[Part], more: dict[str, Any], terms: dict[str, Any], code: str
) -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        chain.add(document, **more)
        await end(world, await start(served(world, chain, **terms)))
        assert chain.calls == [("refuse", code)]

    play(story)


def test_requests_of_others_are_left_alone() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        chain.add(node=OTHER)
        chain.add(node=evm.ZERO_ADDRESS)
        assert await served(world, chain).look() == []
        (found,) = await served(world, chain, anybodys=True).look()
        assert found.ask.node == evm.ZERO_ADDRESS
        chain = ListedChain()
        chain.add(b'{"model":"unknown","inputs":{"x":[1]}}', node=evm.ZERO_ADDRESS)
        await end(world, await start(served(world, chain, anybodys=True)))
        assert chain.calls == []

    play(story)


def test_a_request_is_not_read_before_it_lies_deep_enough_and_never_twice() -> None:
    async def story(world: World) -> None:
        chain = ListedChain(depth=1)
        asked = served(world, chain)
        chain.add()
        assert await asked.look() == []
        chain.add()
        assert await asked.look() == chain.listed[:1]
        assert await asked.look() == []
        chain.silent = True
        assert await asked.look() == []
        chain.silent = False
        chain.add()
        assert await asked.look() == chain.listed[1:2]

    play(story)


def test_nothing_is_handed_over_before_a_round_over_it_is_final() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        chain.add()
        tasks = await start(served(world, chain))
        await world.deliver()
        await world.cosign(4)
        await world.follow()
        candidate = world.candidate()
        world.show(candidate, voters=(0, 1, 2))
        await world.follow()
        await pass_time(world, 5)
        assert chain.calls == []
        world.finalise(candidate)
        await world.follow()
        await end(world, tasks)
        assert [name for name, _ in chain.calls] == ["fulfil"]

    play(story)


@pytest.mark.parametrize("state", ["cancelled", "expired", "fulfilled"])
def test_a_request_that_ended_meanwhile_is_let_go_of(state: str) -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        requested = chain.add()
        tasks = await start(served(world, chain))
        chain.states[requested.identity] = state
        await settled(world)
        await end(world, tasks)
        assert chain.calls == []

    play(story)


def test_a_request_whose_deadline_is_over_is_let_go_of() -> None:
    async def story(world: World) -> None:
        chain = ListedChain(time=2001)
        chain.add()
        await end(world, await start(served(world, chain)))
        assert (chain.calls, world.log.entries) == ([], [])

    play(story)


def test_a_refuted_run_refutes_its_request() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        requested = chain.add()
        tasks = await start(served(world, chain))
        await settled(world, {0: "refuted:signature"})
        await end(world, tasks)
        ((name, given),) = chain.calls
        assert name == "refute"
        assert given[:2] == (requested.ask.to_tuple(), NODE)
        assert given[4] == "refuted:signature"

    play(story)


def test_a_run_of_which_nobody_can_tell_waits() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        requested = chain.add()
        tasks = await start(served(world, chain))
        await settled(world, {1: "cannot_tell"})
        await pass_time(world, 5)
        assert chain.calls == []
        chain.states[requested.identity] = "cancelled"
        await end(world, tasks)

    play(story)


def test_what_the_contract_refuses_ends_the_request_and_what_nobody_answers_is_tried_again() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        chain.add()
        tasks = await start(served(world, chain))
        chain.says_no = "ask.artifact"
        await settled(world)
        await end(world, tasks)
        assert chain.calls == [("refuse", "ask.artifact")]
        chain = ListedChain()
        chain.add()
        tasks = await start(served(world, chain))
        chain.silent = True
        await settled(world)
        await pass_time(world, 5)
        assert chain.calls == []
        chain.silent = False
        await end(world, tasks)
        assert [name for name, _ in chain.calls] == ["fulfil"]

    play(story)


def test_a_silent_inference_node_is_asked_again_and_not_for_ever() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        asked = served(world, chain)
        asked_for = []

        async def silent(*_: Any, **__: Any) -> Any:
            asked_for.append(1)
            raise UpstreamUnreachableError("silent")

        world.computers[0].compute = silent  # type: ignore[method-assign]
        chain.add()
        await end(world, await start(asked))
        assert len(asked_for) == TRIES
        assert chain.calls == [("refuse", "upstream.unreachable")]

    play(story)


def test_only_so_many_requests_are_looked_after_at_once() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        asked = served(world, chain)
        for _ in range(MOST_OPEN):
            chain.add()
        assert len(await asked.look()) == MOST_OPEN
        chain.add()
        assert await asked.look() == []

    play(story)


def verdict_items(run: MadeRun, codes: Sequence[str]) -> list[VerdictItem]:
    """Verdicts of one round on what a run's nodes signed."""
    statements = (run.computed, run.route, run.closing, run.proved)
    return [
        VerdictItem(1, VerdictEntry(place, bytes.fromhex(statement.digest), code), place, len(codes), ())
        for place, (statement, code) in enumerate(zip(statements, codes, strict=False))
    ]


def test_a_closure_has_a_verdict_on_each_statement_and_a_proof_only_with_its_own() -> None:
    run = make_run("n" * 64)
    statements = (run.computed, run.route, run.closing, run.proved)
    for missing in range(3):
        items = verdict_items(run, ("ok",) * 3)
        del items[missing]
        assert closure(statements, items) is None
        assert closure([item for item in statements if item is not statements[missing]], items) is None
    found = closure(statements, verdict_items(run, ("ok",) * 3))
    assert found is not None
    assert (found.settled, found.is_proved, found.refuted) == (True, False, None)
    found = closure(statements, verdict_items(run, ("ok",) * 4))
    assert found is not None
    assert (found.settled, found.is_proved, found.refuted) == (True, True, None)
    found = closure(statements, verdict_items(run, ("ok", "ok", "ok", "refuted:proof")))
    assert found is not None
    assert found.refuted is not None
    assert (found.is_proved, found.refuted[0]) == (False, run.proved)


def test_a_later_verdict_counts_more_than_an_earlier_one() -> None:
    run = make_run("n" * 64)
    later = [dataclasses.replace(item, number=2) for item in verdict_items(run, ("ok", "refuted:parent", "ok"))]
    found = closure((run.computed, run.route, run.closing), [*later, *verdict_items(run, ("ok",) * 3)])
    assert found is not None
    assert not found.settled


def test_a_run_of_mode_zkml_waits_for_its_proof_until_little_time_is_left() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        requested = chain.add()
        run = make_run("n" * 64, mode="ZKML")
        final = closure((run.computed, run.route, run.closing), verdict_items(run, ("ok",) * 3))
        assert final is not None
        asked = served(world, chain)
        assert await asked._awaits_proof(requested, final)
        chain.time = 2000 - LATE_S
        assert not await asked._awaits_proof(requested, final)
        chain.time = 1000
        proved = closure((run.computed, run.route, run.closing, run.proved), verdict_items(run, ("ok",) * 4))
        assert proved is not None
        assert not await asked._awaits_proof(requested, proved)
        run = make_run("n" * 64)
        final = closure((run.computed, run.route, run.closing), verdict_items(run, ("ok",) * 3))
        assert final is not None
        assert not await asked._awaits_proof(requested, final)

    play(story)


# --- what is handed over ----------------------------------------------------------------------------------------------


def test_a_final_run_is_handed_over_with_its_parts_statements_and_verdicts() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        requested = chain.add()
        asked = served(world, chain)
        tasks = await start(asked)
        await settled(world)
        await end(world, tasks)
        ((name, given),) = chain.calls
        assert name == "fulfil"
        ask, payee, document, response, shown = given
        assert (ask, payee, document) == (requested.ask.to_tuple(), NODE, requested.packed)
        parts = {part.label.decode(): part.data for part in unpack_parts(response)}
        assert parts["output|-|1|n|/outputs/y/data/1"] == b"4.0"
        computed, route, closing = [parse_statement(parse_envelope(entry)) for entry in world.log.entries]
        assert (shown[4], shown[7], shown[9]) == tuple(item.envelope.payload for item in (computed, closing, route))
        assert {item.nonce for item in (computed, route, closing)} == {ask_nonce(requested.identity, NODE)}
        assert [verdict[:2] for verdict in shown[11:14]] == [(1, 0), (1, 1), (1, 2)]

    play(story)


def test_after_a_restart_what_is_open_on_the_chain_is_run_again(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        chain.add()
        for task in await start(served(world, chain)):
            task.cancel()
        await world.stop()
        await world.start()
        tasks = await start(served(world, chain))
        await settled(world)
        await end(world, tasks)
        assert [name for name, _ in chain.calls] == ["fulfil"]
        assert len(world.log.entries) == 6

    play(story, tmp_path)


def test_the_background_serves_what_comes() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        asked = served(world, chain)
        work = asyncio.create_task(asked.work())
        await settle()
        chain.add()
        await world.clock.advance(1.0)
        await made(asked)
        await settled(world)
        async with asyncio.timeout(20):
            while not chain.calls:
                await pass_time(world, 1)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        assert [name for name, _ in chain.calls] == ["fulfil"]

    play(story)


# --- OpenGradient's Alpha ---------------------------------------------------------------------------------------------


def result_of(requested: Requested, response: bytes, state: str = "fulfilled") -> Ending:
    packed = pack_parts(map_parts("response", decode_exact(response)))
    return Ending(state, "", requested.block, response=packed)


async def read(world: World, results: AlphaResults, path: str) -> asgi.Reply:
    app = world.inner()
    app._alpha = results
    return await asgi.request(app, "GET", path)


def test_a_result_that_nobody_asked_for_is_not_there() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        results = AlphaResults(served(world, chain), world.clock)
        for name, code in (("1", "alpha.unknown"), ("x", "alpha.id"), ("1" * 79, "alpha.id"), ("", "alpha.id")):
            with pytest.raises(HoldfastError) as caught:
                await results.find(PREFIX + name)
            assert caught.value.code == code
        requested = chain.add()
        results._waiting = MOST_WAITING
        with pytest.raises(HoldfastError) as caught:
            await results.find(PREFIX + str(int.from_bytes(requested.identity)))
        assert caught.value.code == "gateway.watchers"

    play(story)


@pytest.mark.parametrize("state", ["refuted", "refused", "expired", "recalled"])
def test_whatever_ended_without_a_result_shows_none(state: str) -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        requested = chain.add()
        chain.endings[requested.identity] = Ending(state, "a.code", 1)
        results = AlphaResults(served(world, chain), world.clock)
        pieces = [piece async for piece in results.result(requested)]
        assert len(pieces) == 1
        assert "null" in unwrapped(pieces[0])

    play(story)


def unwrapped(answer: bytes) -> str:
    (only,) = json.loads(answer)["inference_results"]
    return base64.b64decode(only).decode()


def test_an_open_request_is_waited_for_with_blanks_and_not_beyond_its_deadline() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        requested = chain.add()
        results = AlphaResults(served(world, chain), world.clock)
        pieces = results.result(requested)
        assert await anext(pieces) == b" "
        chain.silent = True
        waiting = asyncio.create_task(anext(pieces))  # type: ignore[arg-type]
        await settle()
        await world.clock.advance(1.0)
        assert await waiting == b" "
        chain.silent, chain.time = False, 2001
        waiting = asyncio.create_task(anext(pieces))  # type: ignore[arg-type]
        await settle()
        await world.clock.advance(1.0)
        assert "null" in unwrapped(await waiting)

    play(story)


def test_a_result_that_their_shape_cannot_say_shows_none() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        requested = chain.add()
        nothing = b'{"artifact":"a","mode":"VANILLA","outputs":{"y":{"dtype":"float32","shape":[1],"data":["NaN"]}}}'
        chain.endings[requested.identity] = result_of(requested, nothing)
        results = AlphaResults(served(world, chain), world.clock)
        assert ["null" in unwrapped(piece) async for piece in results.result(requested)] == [True]

    play(story)


def test_a_fulfilled_request_shows_its_output_over_http() -> None:
    async def story(world: World) -> None:
        chain = ListedChain()
        requested = chain.add()
        response = (
            b'{"artifact":"a","mode":"TEE","outputs":{"y":{"dtype":"float32","shape":[1,2],"data":[1.5,-2e-7]},'
            b'"z":{"dtype":"string","shape":[1],"data":["text"]}}}'
        )
        chain.endings[requested.identity] = result_of(requested, response)
        results = AlphaResults(served(world, chain), world.clock)
        answer = await read(world, results, PREFIX + str(int.from_bytes(requested.identity)))
        assert answer.status == 200
        found = json.loads(unwrapped(answer.body))["InferenceResult"]["TeeNodeResult"]["Response"]
        assert found["VanillaResponse"]["model_output"] == {
            "numbers": [
                {
                    "name": "y",
                    "values": [{"value": "15", "decimals": "1"}, {"value": "-2", "decimals": "7"}],
                    "shape": [1, 2],
                }
            ],
            "strings": [{"name": "z", "values": ["text"], "shape": [1]}],
            "jsons": [],
            "is_simulation_result": False,
        }

    play(story)
