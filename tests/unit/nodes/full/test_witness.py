"""The full node as a C2SP witness, through its HTTP shape."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from holdfast.core import merkle, notes, witness
from holdfast.core.notes import COSIGNATURE, Checkpoint, VerifierKey
from holdfast.nodes.full.app import create_app
from tests.helpers import asgi
from tests.helpers.full_network import ORIGIN, Network, Seat, SimulatedLog, ed25519_signer


class Desk:
    """One node, and the log that asks it."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.seat: Seat = network.seats[0]
        self.key = VerifierKey(self.seat.name, COSIGNATURE, self.seat.cosignature.key.public)

    def add(self, count: int) -> None:
        self.network.answer(count)

    async def send(self, body: bytes) -> asgi.Reply:
        return await asgi.request(create_app(self.seat.up), "POST", "/add-checkpoint", body)

    async def ask(self, old: int, size: int | None = None, *, log: SimulatedLog | None = None) -> asgi.Reply:
        asked = log or self.network.log
        leaves = asked.leaves(size)
        proof = merkle.consistency_proof(leaves, old) if 0 < old <= len(leaves) else []
        return await self.send(witness.build_add_checkpoint(old, proof, asked.note(size)))


def scene(play: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        network = Network(1)
        await network.open()
        network.answer(2)
        await play(Desk(network))

    asyncio.run(run())


def test_a_grown_tree_is_cosigned_with_a_time():
    async def play(desk: Desk) -> None:
        reply = await desk.ask(0)
        assert reply.status == 200
        note = notes.parse_note(desk.network.log.note())
        signed = note.with_signatures(notes.parse_signature_lines(reply.body))
        (found,) = notes.verify_cosignatures(signed, [desk.key])
        assert found.time == int(desk.network.clock.now().timestamp())
        assert str(desk.key) == desk.seat.up.status()["witness"]
        desk.add(3)
        assert (await desk.ask(4)).status == 200
        assert (await desk.ask(10)).status == 200  # the same tree again

    scene(play)


def test_an_old_size_that_is_not_the_last_one_is_answered_with_it():
    async def play(desk: Desk) -> None:
        await desk.ask(0)
        desk.add(1)
        for old in (0, 3, 5):
            reply = await desk.ask(old)
            assert reply.status == 409
            assert reply.header("content-type") == witness.SIZE_TYPE
            assert witness.parse_size(reply.body) == 4

    scene(play)


def test_the_size_cosigned_last_survives_a_crash():
    async def play(desk: Desk) -> None:
        await desk.ask(0)
        desk.network.stop(desk.seat)
        await desk.network.start(desk.seat)
        reply = await desk.ask(0)
        assert witness.parse_size(reply.body) == 4

    scene(play)


def test_a_smaller_tree_is_never_cosigned():
    async def play(desk: Desk) -> None:
        await desk.ask(0)
        smaller = desk.network.log.note(2)
        assert (await desk.send(witness.build_add_checkpoint(4, [], smaller))).code == "witness.request"
        assert (await desk.send(witness.build_add_checkpoint(0, [], smaller))).status == 409
        assert (await desk.send(witness.build_add_checkpoint(2, [], smaller))).status == 409

    scene(play)


def test_an_unknown_origin_is_not_found():
    async def play(desk: Desk) -> None:
        other = SimulatedLog(desk.network.log_signer, "holdfast.test/log/2")
        reply = await desk.ask(0, log=other)
        assert (reply.status, reply.code) == (404, "witness.origin")

    scene(play)


def test_a_note_that_the_trusted_key_did_not_sign_is_forbidden():
    async def play(desk: Desk) -> None:
        impostor = SimulatedLog(ed25519_signer("impostor", "log"))
        reply = await desk.ask(0, log=impostor)
        assert (reply.status, reply.code) == (403, "note.unsigned")

    scene(play)


def test_a_proof_that_does_not_verify_is_unprocessable():
    async def play(desk: Desk) -> None:
        await desk.ask(0)
        desk.add(1)
        body = witness.build_add_checkpoint(4, [bytes(32)], desk.network.log.note())
        reply = await desk.send(body)
        assert (reply.status, reply.code) == (422, "log.consistency")
        other = desk.network.log.fork(1)
        other.append(desk.network.gateway.run(70) + desk.network.gateway.run(71) + desk.network.gateway.run(72))
        assert (await desk.ask(4, log=other)).status == 422

    scene(play)


def test_another_tree_of_the_size_cosigned_last_conflicts_and_is_evidence():
    async def play(desk: Desk) -> None:
        await desk.ask(0)
        other = desk.network.log.fork(2)
        other.append(desk.network.gateway.run(70))
        reply = await desk.ask(4, log=other)
        assert (reply.status, reply.code) == (409, "log.equivocation")
        (found,) = desk.seat.up.equivocations()["equivocations"]
        roots = {notes.parse_checkpoint_text(notes.parse_note(note.encode()).text).root for note in found["notes"]}
        assert len(roots) == 2
        assert (await desk.ask(4)).code == "log.equivocation"  # nothing of this log is cosigned any more

    scene(play)


def test_a_tree_that_contradicts_the_verified_entries_is_not_cosigned_by_a_fresh_witness():
    async def play(desk: Desk) -> None:
        await desk.network.steps(1)
        other = desk.network.log.fork(2)
        other.append(desk.network.gateway.run(70))
        reply = await desk.ask(0, log=other)
        assert reply.status == 403
        assert len(desk.seat.up.equivocations()["equivocations"]) == 1

    scene(play)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 00\n\nx",
        b"new 0\n\nx",
        b"old 0\nAAAA\n\nx",
        b"old 0\n\nnot a note",
        b"old 0\n" + b"A" * 400_000,
        b"\xff\xfe\n\nx",
    ],
)
def test_what_does_not_parse_is_malformed(body):
    async def play(desk: Desk) -> None:
        reply = await desk.send(body)
        assert reply.status in {400, 413}
        assert reply.code

    scene(play)


def test_requests_at_the_same_time_are_cosigned_one_after_the_other():
    async def play(desk: Desk) -> None:
        replies = await asyncio.gather(*(desk.ask(0, size) for size in (1, 2, 3, 4)))
        assert sorted(reply.status for reply in replies) == [200, 409, 409, 409]

    scene(play)


def test_the_empty_tree_may_be_cosigned():
    async def play(desk: Desk) -> None:
        empty = notes.sign_checkpoint(
            Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT), desk.network.log.key, desk.network.log_signer.sign
        )
        assert (await desk.send(witness.build_add_checkpoint(0, [], empty))).status == 200

    scene(play)
