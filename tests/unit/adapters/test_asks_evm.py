"""What the contract ``Inference`` refuses, what it does when it does not, and what no target can undo (onchain.md)."""

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from vyper.compiler import compile_code

from holdfast.adapters.chain_evm import EvmChain
from holdfast.adapters.evm_rpc import contract_interface
from holdfast.core import evm
from holdfast.core.asks import (
    FINAL,
    PROVED,
    Ask,
    FinalRun,
    Requested,
    ask_id,
    build_fulfilment,
    build_refutation,
    closure_of,
    pack_parts,
    unpack_parts,
)
from holdfast.core.parts import Part, commit
from holdfast.errors import HoldfastError, RefusedError
from tests.helpers.asks import BOMB, EATER, KEY, RECORDER, RESPONSE, REVERTER, AskWorld, MadeRun
from tests.helpers.chains import NEEDS_MACHINE

pytestmark = NEEDS_MACHINE
HOWTO = (Path(__file__).parents[3] / "docs" / "howto" / "ask-from-a-contract.md").read_text("utf-8")
GAS = 100_000
"""What a target is promised in these tests."""


def in_world(scenario: Callable[[AskWorld], Awaitable[None]]) -> None:
    async def main() -> None:
        world = AskWorld()
        await world.open()
        try:
            await scenario(world)
        finally:
            await world.close()

    asyncio.run(main())


async def refused(call: Awaitable[Any], code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await call
    assert caught.value.code == code


def arguments(world: AskWorld, requested: Requested, run: MadeRun, final: FinalRun) -> list[Any]:
    """What signer 0 hands over for a run; tests change one thing of it."""
    payee = world.signers[0].address
    return list(build_fulfilment(requested.ask, payee, requested.packed, run.request, run.response, final))


SHOWN = (
    "order",
    "request_salts",
    "response_salts",
    "run",
    "computed",
    "computed_at",
    "request_at",
    "closing",
    "closing_at",
    "route",
    "route_at",
    "computed_verdict",
    "route_verdict",
    "closing_verdict",
    "proved",
    "proved_at",
    "proved_verdict",
)


def changed(given: list[Any], **members: Any) -> list[Any]:
    """The same evidence with other members."""
    shown = dict(zip(SHOWN, given[4], strict=True)) | members
    return [*given[:4], tuple(shown.values())]


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_nothing_is_fulfilled_before_its_round_is_final() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask()
        run = world.run_for(requested)
        final = await world.settle_run(run, final=False)
        given = arguments(world, requested, run, final)
        await refused(world.user(0).fulfil(given), "round.open")
        assert await world.user(0).state(requested.identity) == "open"

    in_world(scenario)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("code", ["refuted:signature", "cannot_tell"])
def test_a_run_is_not_fulfilled_unless_its_whole_closure_is_ok(place: int, code: str) -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask()
        run = world.run_for(requested)
        codes = ["ok", "ok", "ok"]
        codes[place] = code
        final = await world.settle_run(run, codes)
        assert not final.settled
        with pytest.raises(RefusedError) as caught:
            arguments(world, requested, run, final)
        assert caught.value.code == "ask.verdict"
        claimed = {digest: dataclasses.replace(verdict, code="ok") for digest, verdict in final.verdicts.items()}
        given = arguments(world, requested, run, dataclasses.replace(final, verdicts=claimed))
        await refused(world.user(0).fulfil(given), "ask.verdict")

    in_world(scenario)


def test_another_output_another_input_and_another_nonce_are_refused() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask()
        run = world.run_for(requested)
        given = arguments(world, requested, run, await world.settle_run(run))
        user = world.user(0)
        other = commit("response", RESPONSE.replace(b"3.5", b"4.5"), KEY)
        await refused(user.fulfil([*given[:3], pack_parts(other.parts), given[4]]), "ask.statement")
        parts = list(unpack_parts(given[2]))
        parts[0] = parts[0]._replace(data=parts[0].data + b"1")
        await refused(user.fulfil([*given[:2], pack_parts(parts), *given[3:]]), "ask.document")
        await refused(user.fulfil([given[0], world.signers[1].address, *given[2:]]), "ask.statement")
        twin = await world.ask()
        await refused(user.fulfil([twin.ask.to_tuple(), *given[1:]]), "ask.statement")
        await user.fulfil(given)

    in_world(scenario)


def test_changed_salts_orders_places_and_statements_are_refused() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask()
        run = world.run_for(requested)
        given = arguments(world, requested, run, await world.settle_run(run))
        shown = dict(zip(SHOWN, given[4], strict=True))
        user = world.user(0)
        order: bytes = shown["order"]
        flipped = bytes([order[1], order[0]]) + order[2:]
        wrong: list[tuple[str, dict[str, Any]]] = [
            ("ask.order", {"order": order[:1] * len(order)}),
            ("ask.order", {"order": bytes([len(order)]) + order[1:]}),
            ("ask.order", {"order": order[:-1]}),
            ("ask.request", {"order": flipped}),
            ("ask.salts", {"request_salts": shown["request_salts"][:-16]}),
            ("ask.salts", {"response_salts": b""}),
            ("ask.request", {"request_salts": bytes(len(shown["request_salts"]))}),
            ("ask.statement", {"response_salts": bytes(len(shown["response_salts"]))}),
            ("ask.request", {"request_at": shown["request_at"] + 1}),
            ("ask.request", {"request_at": 2**256 - 1}),
            ("ask.statement", {"computed_at": 5000}),
            ("ask.statement", {"run": b"1" * 36}),
            ("ask.statement", {"run": b""}),
            ("ask.closing", {"closing_at": 0}),
            ("ask.closing", {"closing": shown["computed"], "closing_at": shown["computed_at"]}),
            ("ask.route", {"route": b""}),
            ("ask.route", {"route_at": 0}),
            ("ask.route", {"route": shown["closing"]}),
            ("ask.route", {"computed": shown["computed"].replace(b"11", b"12", 1)}),
            ("ask.request", {"computed": shown["closing"], "computed_at": shown["closing_at"]}),
            ("ask.verdict", {"computed_verdict": shown["route_verdict"]}),
            ("ask.verdict", {"closing_verdict": shown["route_verdict"]}),
            ("round.open", {"closing_verdict": (2, *shown["closing_verdict"][1:])}),
        ]
        for code, members in wrong:
            await refused(user.fulfil(changed(given, **members)), code)
        await user.fulfil(given)

    in_world(scenario)


def test_a_part_is_not_cut_elsewhere_than_where_it_was_bound() -> None:
    """A leaf is label, zero, salt and bytes in a row: with a zero in a salt, a label that goes on into the salt would
    make the same leaf of other bytes, and a target would be told 5 where the model said 3.5."""

    async def scenario(world: AskWorld) -> None:
        requested = await world.ask()
        key, place = zero_in_a_salt(2)
        run = world.run_for(requested, key=key)
        given = arguments(world, requested, run, await world.settle_run(run))
        parts, salts = list(run.response.parts), list(run.response.salts)
        (label, data), salt = parts[place], salts[place]
        cut = salt.index(0) + 1
        parts[place] = Part(label + b"\0" + salt[: cut - 1], data[cut:])
        salts[place] = salt[cut:] + data[:cut]
        moved = changed(given, response_salts=b"".join(salts))
        moved[3] = pack_parts(parts)
        await refused(world.user(0).fulfil(moved), "ask.document")
        await world.user(0).fulfil(given)

    in_world(scenario)


def zero_in_a_salt(within: int) -> tuple[bytes, int]:
    """A key of a run, and the place of a number in its answer whose salt has its first zero so early that the bytes of
    the number reach there."""
    for number in range(10_000):
        key = number.to_bytes(32)
        found = commit("response", RESPONSE, key)
        for place, (part, salt) in enumerate(zip(found.parts, found.salts, strict=True)):
            if part.data == b"3.5" and 0 <= salt.find(0) < within:
                return key, place
    raise AssertionError("no key has such a salt")


def test_a_route_that_rests_on_more_than_the_computation_is_refused() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask()
        run = world.run_for(requested, admitted=("33" * 32,))
        given = arguments(world, requested, run, await world.settle_run(run))
        await refused(world.user(0).fulfil(given), "ask.route")

    in_world(scenario)


def test_a_closing_statement_of_another_answer_or_with_other_parents_is_refused() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask()
        other = commit("response", RESPONSE.replace(b"3.5", b"4.5"), KEY)
        for changes in ({"closing_response": other}, {"parents": ["22" * 32]}):
            run = world.run_for(requested, **changes)
            given = arguments(world, requested, run, await world.settle_run(run))
            await refused(world.user(0).fulfil(given), "ask.closing")

    in_world(scenario)


def test_an_artifact_that_was_not_asked_for_is_refused() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask(artifact=b"\xac" * 32)
        run = world.run_for(requested)
        given = arguments(world, requested, run, await world.settle_run(run))
        await refused(world.user(0).fulfil(given), "ask.artifact")
        same = await world.ask(artifact=b"\xab" * 32)
        run = world.run_for(same)
        await world.user(0).fulfil(arguments(world, same, run, await world.settle_run(run)))

    in_world(scenario)


def test_a_proof_of_something_else_or_without_its_verdict_is_refused() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask()
        other = world.run_for(requested, proof_of="44" * 32)
        given = arguments(world, requested, other, await world.settle_run(other, ("ok",) * 4))
        await refused(world.user(0).fulfil(given), "ask.proved")
        run = world.run_for(requested)
        for code in ("cannot_tell", "refuted:proof"):
            final = await world.settle_run(run, ("ok", "ok", "ok", code))
            verdicts = {digest: dataclasses.replace(verdict, code="ok") for digest, verdict in final.verdicts.items()}
            given = arguments(world, requested, run, dataclasses.replace(final, verdicts=verdicts))
            await refused(world.user(0).fulfil(given), "ask.verdict")
        given = arguments(world, requested, run, await world.settle_run(run, ("ok",) * 4))
        for members in ({"proved": given[4][7]}, {"proved_at": 3000}):
            await refused(world.user(0).fulfil(changed(given, **members)), "ask.proved")
        await world.user(0).fulfil(given)
        ending = await world.user(0).ending(requested.identity, 0)
        assert ending is not None
        assert ending.proof == PROVED

    in_world(scenario)


def test_a_request_is_fulfilled_once_and_ends_once() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask(node=world.signers[0].address)
        run = world.run_for(requested)
        given = arguments(world, requested, run, await world.settle_run(run))
        await world.user(0).fulfil(given)
        user, asker = world.user(0), world.user(4)
        await refused(user.fulfil(given), "ask.open")
        await refused(asker.cancel(requested.ask), "ask.open")
        await refused(user.refuse(requested.ask, "infer.limits"), "ask.open")
        world.clock.time += 2 * 86400
        await world.mine()
        await refused(user.expire(requested.ask), "ask.open")
        assert await user.owed(user.account) == 1000
        assert await user.owed(asker.account) == 0

    in_world(scenario)


def test_a_request_that_nobody_made_or_that_was_changed_is_none() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask()
        run = world.run_for(requested)
        given = arguments(world, requested, run, await world.settle_run(run))
        for change in (
            {"fee": 10**18},
            {"target": world.signers[2].address},
            {"deadline": requested.ask.deadline + 1},
            {"asker": world.signers[1].address},
            {"artifact": b"\xab" * 32},
        ):
            ask = dataclasses.replace(requested.ask, **change)  # type: ignore[arg-type]
            await refused(world.user(0).fulfil([ask.to_tuple(), *given[1:]]), "ask.open")

    in_world(scenario)


def test_only_the_asker_cancels_only_the_named_node_refuses_and_time_alone_expires() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask(node=world.signers[0].address)
        asker, node, other = world.user(4), world.user(0), world.user(1)
        await refused(node.cancel(requested.ask), "ask.asker")
        await refused(other.cancel(requested.ask), "ask.asker")
        await refused(other.refuse(requested.ask, "infer.limits"), "ask.node")
        await refused(asker.refuse(requested.ask, "infer.limits"), "ask.node")
        await refused(asker.expire(requested.ask), "ask.deadline")
        await node.refuse(requested.ask, "infer.limits")
        ending = await node.ending(requested.identity, 0)
        assert ending is not None
        assert (ending.state, ending.reason) == ("refused", "infer.limits")
        second = await world.ask()
        await asker.cancel(second.ask)
        open_one = await world.ask()
        await refused(node.refuse(open_one.ask, "infer.limits"), "ask.node")
        run = world.run_for(open_one)
        given = arguments(world, open_one, run, await world.settle_run(run))
        world.clock.time += 3601
        await world.mine()
        await refused(node.fulfil(given), "ask.deadline")
        await other.expire(open_one.ask)
        assert [await asker.state(item.identity) for item in (requested, second, open_one)] == [
            "refused",
            "cancelled",
            "expired",
        ]
        assert await asker.owed(asker.account) == 3000

    in_world(scenario)


def test_nobody_but_the_named_node_is_paid_whoever_submits() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask(node=world.signers[1].address)
        run = world.run_for(requested)
        given = arguments(world, requested, run, await world.settle_run(run))
        await refused(world.user(0).fulfil(given), "ask.node")
        run = world.run_for(requested, payee=1)
        final = await world.settle_run(run)
        payee = world.signers[1].address
        given = list(build_fulfilment(requested.ask, payee, requested.packed, run.request, run.response, final))
        await world.user(2).fulfil(given)
        assert [await world.user(2).owed(world.signers[index].address) for index in range(3)] == [0, 1000, 0]

    in_world(scenario)


def test_a_refuted_run_ends_its_request_by_its_node_or_asker_alone() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask(node=world.signers[0].address)
        run = world.run_for(requested)
        final = await world.settle_run(run, ("refuted:signature", "ok", "ok"))
        refutation = final.refuted
        assert refutation is not None
        given = list(build_refutation(requested.ask, world.signers[0].address, *refutation))
        await refused(world.user(2).refute(given), "ask.node")
        await refused(world.user(0).refute([*given[:4], "ok", given[5]]), "ask.code")
        await refused(world.user(0).refute([*given[:4], "refuted:parent", given[5]]), "ask.verdict")
        await refused(world.user(0).refute([given[0], world.signers[1].address, *given[2:]]), "ask.statement")
        await world.user(0).refute(given)
        ending = await world.user(0).ending(requested.identity, 0)
        assert ending is not None
        assert (ending.state, ending.reason) == ("refuted", "refuted:signature")
        assert await world.user(4).owed(world.signers[4].address) == 1000

    in_world(scenario)


def test_a_later_refutation_recalls_what_was_fulfilled_and_an_earlier_one_does_not() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask()
        run = world.run_for(requested)
        early = await world.settle_run(run, ("ok", "refuted:parent", "ok"))
        final = await world.settle_run(run)
        user = world.user(2)
        closure = closure_of(final)
        digest = bytes.fromhex(run.route.digest)

        def recall(by: FinalRun, code: str = "refuted:parent", about: bytes = digest) -> Awaitable[Any]:
            verdict = by.verdicts[run.route.digest]
            return user.transact("recall", requested.ask.to_tuple(), closure, about, code, verdict.to_tuple())

        await refused(recall(early), "ask.fulfilled")
        await world.user(0).fulfil(arguments(world, requested, run, final))
        await refused(recall(early), "ask.earlier")
        late = await world.settle_run(run, ("ok", "refuted:parent", "ok"))
        await refused(recall(late, "ok"), "ask.code")
        await refused(recall(late, "refuted:signature"), "ask.verdict")
        await refused(recall(late, about=bytes(32)), "ask.closure")
        await recall(late)
        ending = await user.ending(requested.identity, 0)
        assert ending is not None
        assert (ending.state, ending.reason, ending.payee) == ("recalled", "refuted:parent", world.signers[0].address)
        await refused(recall(late), "ask.fulfilled")

    in_world(scenario)


def test_a_request_is_refused_that_could_not_be_served() -> None:
    async def scenario(world: AskWorld) -> None:
        user = world.user(4)
        await refused(user.request(b""), "ask.document")
        await refused(user.request(b"x", period_s=0), "ask.period")
        await refused(user.request(b"x", period_s=31 * 86400), "ask.period")
        await refused(user.request(b"x", target=world.asks.contract, gas_limit=1), "ask.target")
        await refused(user.request(b"x", gas_limit=1), "ask.target")
        await refused(user.request(b"x", target=world.signers[0].address, gas_limit=10**8), "ask.gas")

    in_world(scenario)


# --- targets ----------------------------------------------------------------------------------------------------------


def test_a_target_is_told_request_result_statement_mode_and_state() -> None:
    async def scenario(world: AskWorld) -> None:
        target = await world.deploy_code(RECORDER)
        requested = await world.ask(target=target, gas_limit=GAS)
        run = world.run_for(requested)
        given = arguments(world, requested, run, await world.settle_run(run))
        await world.user(0).fulfil(given)
        told = evm.keccak256(b"on_inference(bytes32,bytes,bytes32,uint8,uint8)")[:4] + encode(
            ["bytes32", "bytes", "bytes32", "uint8", "uint8"],
            [requested.identity, given[3], bytes.fromhex(run.closing.digest), 0, 1],
        )
        assert await world.chain.storage(target, 0) == int.from_bytes(evm.keccak256(told))
        ending = await world.user(0).ending(requested.identity, 0)
        assert ending is not None
        assert ending.called
        assert ending.proof == FINAL
        assert ending.response == pack_parts(run.response.parts)

    in_world(scenario)


def test_the_contract_of_the_how_to_asks_and_takes_its_answer() -> None:
    [source] = re.findall(r"^```vyper\n(.*?)^```", HOWTO, re.DOTALL | re.MULTILINE)
    made = compile_code(source, contract_path="Asker.vy", output_formats=["bytecode", "method_identifiers"])
    document = b'{"model":"m","inputs":{"x":[42]}}'

    async def scenario(world: AskWorld) -> None:
        node = world.signers[0].address
        client = world.client(4)
        assert isinstance(client, EvmChain)
        setup = bytes(12) + evm.address_bytes(world.asks.contract) + bytes(12) + evm.address_bytes(node)
        _, asker = await client.sender.transact(None, bytes.fromhex(made["bytecode"][2:]) + setup)
        assert asker is not None
        selectors = {
            name.partition("(")[0]: int(code, 16).to_bytes(4) for name, code in made["method_identifiers"].items()
        }

        async def read(name: str) -> bytes:
            call = {"to": asker, "data": "0x" + selectors[name].hex()}
            return bytes.fromhex((await world.connection.request("eth_call", call, "latest"))[2:])

        included, _ = await client.sender.transact(asker, selectors["ask"] + evm.word(42), value=7)
        (requested,) = await world.user(0).requested(included.block, included.block)
        assert (requested.ask.asker, requested.ask.target, requested.ask.fee) == (asker, asker, 7)
        run = world.run_for(requested, request=document)
        await world.user(0).fulfil(arguments(world, requested, run, await world.settle_run(run)))
        ending = await world.user(0).ending(requested.identity, 0)
        assert ending is not None
        assert ending.called
        assert decode(["bytes"], await read("answer")) == (b"3.5",)
        assert (await read("statement")).hex() == run.closing.digest

    in_world(scenario)


@pytest.mark.parametrize("code", [REVERTER, EATER, BOMB], ids=["reverts", "eats its gas", "returns a million bytes"])
def test_what_a_target_does_undoes_no_fulfilment(code: bytes) -> None:
    async def scenario(world: AskWorld) -> None:
        target = await world.deploy_code(code)
        requested = await world.ask(target=target, gas_limit=GAS)
        run = world.run_for(requested)
        await world.user(0).fulfil(arguments(world, requested, run, await world.settle_run(run)))
        ending = await world.user(0).ending(requested.identity, 0)
        assert ending is not None
        assert (ending.state, ending.called) == ("fulfilled", False)
        assert await world.user(0).owed(world.signers[0].address) == 1000

    in_world(scenario)


def test_whoever_fulfils_cannot_starve_the_target_of_its_gas() -> None:
    async def scenario(world: AskWorld) -> None:
        target = await world.deploy_code(RECORDER)
        requested = await world.ask(target=target, gas_limit=2_000_000)
        run = world.run_for(requested)
        given = arguments(world, requested, run, await world.settle_run(run))
        with pytest.raises(HoldfastError):
            await world.user(0).transact("fulfil", *given, gas=2_000_000)
        assert await world.user(0).state(requested.identity) == "open"
        assert await world.chain.storage(target, 0) == 0
        await world.user(0).fulfil(given)
        assert await world.chain.storage(target, 0) != 0

    in_world(scenario)


def test_a_target_cannot_come_back_in_to_take_money_while_it_is_called() -> None:
    async def scenario(world: AskWorld) -> None:
        payee = world.signers[0].address
        call = contract_interface("Inference").selector("withdraw") + bytes(28)
        code = b"".join(
            (
                b"\x7f" + call + b"\x5f\x52",
                b"\x7f" + bytes(12) + evm.address_bytes(payee) + b"\x60\x04\x52",
                b"\x5f\x5f\x60\x24\x5f\x5f\x73" + evm.address_bytes(world.asks.contract) + b"\x5a\xf1",
                b"\x60\x01\x01\x5f\x55\x00",
            )
        )
        target = await world.deploy_code(code)
        requested = await world.ask(target=target, gas_limit=200_000)
        run = world.run_for(requested)
        await world.user(0).fulfil(arguments(world, requested, run, await world.settle_run(run)))
        assert await world.chain.storage(target, 0) == 1, "the inner call failed"
        assert await world.user(0).owed(payee) == 1000

    in_world(scenario)


# --- money and reading ------------------------------------------------------------------------------------------------


def test_owed_money_is_paid_out_once_to_its_owner() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask(fee=5000)
        await world.user(4).cancel(requested.ask)
        asker = world.signers[4].address
        before = await world.chain.balance(asker)
        await world.user(1).withdraw(asker)
        assert await world.chain.balance(asker) == before + 5000
        await refused(world.user(1).withdraw(asker), "ask.owed")

    in_world(scenario)


def test_ids_nonces_and_parts_are_what_the_core_says() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask()
        assert requested.identity == ask_id(31337, world.asks.contract, requested.ask)
        asked = world.user(0)._call("nonce", requested.identity, world.signers[0].address)
        assert (await asked).hex() == world.run_for(requested).nonce
        parts = unpack_parts(requested.packed)
        for position, part in enumerate(parts):
            assert await world.user(0)._call("part", requested.packed, position) == (part.label, part.data)
        await refused(world.user(0)._call("part", requested.packed, len(parts)), "ask.position")
        for cut in (1, 2, len(requested.packed) - 1):
            await refused(world.user(0)._call("part", requested.packed[:cut], 0), "ask.document")

    in_world(scenario)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 9, 31, 64, 100])
def test_trees_of_every_shape_are_the_trees_that_nodes_make(count: int) -> None:
    async def scenario(world: AskWorld) -> None:
        numbers = b",".join(b"%d" % number for number in range(count))
        document = b'{"model":"m","inputs":{"x":[%s]}}' % numbers
        requested = await world.ask(document=document)
        run = world.run_for(requested, request=document)
        await world.user(0).fulfil(arguments(world, requested, run, await world.settle_run(run)))
        assert await world.user(0).state(requested.identity) == "fulfilled"

    in_world(scenario)


def test_an_event_that_does_not_hash_to_its_id_is_not_believed() -> None:
    async def scenario(world: AskWorld) -> None:
        requested = await world.ask()

        def garble(method: str, answer: Any) -> Any:
            if method == "eth_getLogs":
                for entry in answer["result"]:
                    entry["topics"][1] = "0x" + "00" * 32
            return answer

        world.provider.garble = garble
        with pytest.raises(HoldfastError) as caught:
            await world.user(0).requested(requested.block, requested.block)
        assert caught.value.code == "chain.rpc"

    in_world(scenario)


def test_every_member_of_a_request_is_in_its_id() -> None:
    zero, one = "0x" + "00" * 20, "0x" + "01" * 20
    first = Ask(1, zero, zero, bytes(32), zero, 1, 1, 1, bytes(32))
    changes: list[dict[str, Any]] = [
        {"number": 2},
        {"asker": one},
        {"node": one},
        {"artifact": b"\x01" * 32},
        {"target": one},
        {"gas_limit": 2},
        {"fee": 2},
        {"deadline": 2},
        {"document": b"\x01" * 32},
    ]
    assert len(changes) == len(first.to_tuple())
    ids = {ask_id(1, zero, dataclasses.replace(first, **change)) for change in changes}
    assert len(ids | {ask_id(1, zero, first), ask_id(2, zero, first), ask_id(1, one, first)}) == len(changes) + 3
