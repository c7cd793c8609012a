"""Cosignatures: what a witness answers wrongly, then what an honest one adds to the checkpoint."""

import asyncio
import itertools
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core import merkle, notes, witness
from holdfast.core.encoding import sha256
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from holdfast.nodes.edge import Receive, Scope, Send
from holdfast.nodes.log.config import WitnessAddress
from holdfast.nodes.log.service import PUBLISHED, LogService
from tests.helpers import log as helper
from tests.helpers.clock import FakeClock, settle
from tests.helpers.log import AppHTTP, entry

Reply = tuple[int, bytes]


class HonestWitness:
    """A witness as C2SP tlog-witness describes it, in thirty lines; ``twist`` changes what it answers."""

    def __init__(self, name: str = "witness.example/1") -> None:
        self.private = ed25519.Ed25519PrivateKey.from_private_bytes(sha256(name.encode()))
        self.key = notes.VerifierKey(name, notes.COSIGNATURE, self.private.public_key().public_bytes_raw())
        self.size, self.root = 0, merkle.EMPTY_ROOT
        self.asked: list[int] = []
        self.twist: Callable[[Reply], Reply] = lambda reply: reply

    def answer(self, body: bytes) -> Reply:
        request = witness.parse_add_checkpoint(body)
        self.asked.append(request.old_size)
        found = notes.verify_checkpoint(request.note, helper.ORIGIN, helper.log_keys())
        if request.old_size != self.size:
            return 409, witness.build_size(self.size)
        try:
            merkle.verify_consistency(self.size, self.root, found.size, found.root, request.proof)
        except RefusedError:
            return (409, witness.build_size(self.size)) if found.size == self.size else (422, b"")
        self.size, self.root = found.size, found.root
        line = notes.sign_note(found.note.text, self.key, self.private.sign, 1_767_225_600)
        return 200, witness.build_cosignatures([line])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert (scope["method"], scope["path"]) == ("POST", "/add-checkpoint")
        status, body = self.twist(self.answer((await receive())["body"]))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})


def make(*witnesses: HonestWitness, disk: SimulatedDisk | None = None, clock: FakeClock | None = None) -> LogService:
    addresses = tuple(WitnessAddress(f"http://w{place}", str(item.key)) for place, item in enumerate(witnesses))
    http = AppHTTP({f"http://w{place}": item for place, item in enumerate(witnesses)})
    settings = helper.config(witnesses=addresses, witness_retry_ms=1000)
    return helper.make_service((disk or SimulatedDisk()).mount(), clock or FakeClock(), settings, http)


def cosigners(service: LogService, *witnesses: HonestWitness) -> list[str]:
    note = notes.parse_note(service.checkpoint())
    return [found.key.name for found in notes.verify_cosignatures(note, [item.key for item in witnesses])]


def forged(reply: Reply) -> Reply:
    line = notes.parse_signature_lines(reply[1])[0]
    return 200, witness.build_cosignatures([notes.NoteSignature(line.claimed_name, line.key_id, bytes(72))])


@pytest.mark.parametrize(
    ("twist", "code"),
    [
        (lambda _: (500, b""), "log.witness"),
        (lambda _: (403, b""), "log.witness"),
        (lambda _: (200, b""), "note.signature_line"),
        (lambda _: (200, "— somebody.else AAAAAAA=\n".encode()), "log.witness"),
        (forged, "note.signature"),
        (lambda _: (409, b"nonsense"), "witness.size"),
        (lambda _: (409, b"99\n"), "log.witness"),
        (lambda _: (409, b"2\n"), "log.witness"),
        (lambda _: (409, b"0\n"), "log.witness"),
    ],
)
def test_a_wrong_answer_adds_nothing(twist: Callable[[Reply], Reply], code: str) -> None:
    honest = HonestWitness()
    honest.twist = twist

    async def scenario() -> None:
        service = make(honest)
        await service.open()
        await service.append([entry(0), entry(1)])
        await service.publish()
        before = service.checkpoint()
        signed = service.signed
        assert signed is not None
        with pytest.raises(HoldfastError) as caught:
            await service._witnesses[0].ask(signed)
        assert caught.value.code == code
        assert service.checkpoint() == before

    asyncio.run(scenario())


def test_a_plain_key_is_no_witness_key() -> None:
    settings = helper.config(witnesses=(WitnessAddress("http://w", str(helper.log_keys()[0])),))
    with pytest.raises(UsageError, match=r"log\.witness_key"):
        helper.make_service(SimulatedDisk().mount(), FakeClock(), settings)


def test_a_log_restored_from_an_old_copy_stops_before_it_signs_a_second_history() -> None:
    witnesses = [HonestWitness(f"witness.example/{number}") for number in range(3)]

    async def scenario() -> None:
        service = make(*witnesses)
        async with service.running():
            await service.append([entry(number) for number in range(5)])
            await service.publish()
            await settle()
            assert len(cosigners(service, *witnesses)) == 3
        restored = make(*witnesses, disk=SimulatedDisk())
        async with restored.running():
            before = restored.checkpoint()
            await settle()
            assert "cosigned 5 entries" in restored.waiting_for()["storage"]
            with pytest.raises(UnavailableError, match=r"log\.stopped"):
                await restored.append([entry(99)])
            assert restored.checkpoint() == before

    asyncio.run(scenario())


def test_one_lying_witness_does_not_stop_the_log() -> None:
    witnesses = [HonestWitness(f"witness.example/{number}") for number in range(3)]
    witnesses[0].twist = lambda _: (409, b"1000000\n")

    async def scenario() -> None:
        service = make(*witnesses)
        async with service.running():
            await settle()
            await service.append([entry(0)])
            await service.publish()
            await settle()
            assert cosigners(service, *witnesses) == [witnesses[1].key.name, witnesses[2].key.name]

    asyncio.run(scenario())


def test_cosignatures_are_collected_without_holding_up_publishing() -> None:
    first, second = HonestWitness(), HonestWitness("witness.example/2")
    clock = FakeClock()

    async def scenario() -> None:
        service = make(first, second, clock=clock)
        async with service.running():
            await settle()
            assert cosigners(service, first, second) == [first.key.name, second.key.name]
            second.twist = lambda _: (500, b"")
            await service.append([entry(number) for number in range(3)])
            await clock.advance(0.2)
            await settle()
            assert cosigners(service, first, second) == [first.key.name]
            second.twist = lambda reply: reply
            await clock.advance(1.0)
            await settle()
            assert cosigners(service, first, second) == [first.key.name, second.key.name]
            assert first.asked == [0, 0]

    asyncio.run(scenario())


def test_a_witness_that_is_behind_or_ahead_is_caught_up_with() -> None:
    honest = HonestWitness()
    disk = SimulatedDisk()

    async def life(count: int) -> None:
        service = make(honest, disk=disk)
        async with service.running():
            begin = service.describe()["sequenced"]
            await service.append([entry(number) for number in range(begin, begin + count)])
            await service.publish()
            await settle()
            assert cosigners(service, honest) == [honest.key.name]

    for count in (3, 300, 700):
        asyncio.run(life(count))
    assert honest.size == 1003


def test_cosignatures_survive_a_restart() -> None:
    honest = HonestWitness()
    disk = SimulatedDisk()

    async def scenario() -> None:
        service = make(honest, disk=disk)
        async with service.running():
            await service.append([entry(0)])
            await service.publish()
            await settle()
        again = make(honest, disk=disk)
        await again.open()
        assert cosigners(again, honest) == [honest.key.name]
        await again.close()

    asyncio.run(scenario())


def test_cosignatures_for_an_older_checkpoint_are_dropped() -> None:
    honest = HonestWitness()

    async def scenario() -> None:
        service = make(honest)
        await service.open()
        await service.append([entry(0)])
        await service.publish()
        old = service.signed
        assert old is not None
        await service.append([entry(1)])
        await service.publish()
        await service._witnesses[0].ask(old)
        assert cosigners(service, honest) == []

    asyncio.run(scenario())


def test_a_cosignature_that_comes_at_once_is_not_written_over_the_checkpoint_that_is_being_written() -> None:
    other = HonestWitness()
    service = make(other)
    ticks, saved, spans = itertools.count(), list[str](), list[tuple[int, int]]()
    save, is_signed = service._storage.save, asyncio.Event()

    def noted(name: str, data: bytes) -> None:
        saved.append(name)
        save(name, data)

    async def slowly(call: Callable[[], None]) -> None:
        began = next(ticks)
        if service.signed is not None and service.signed.size > 0:
            is_signed.set()
        for _ in range(3):
            await asyncio.sleep(0)
        saved.clear()
        call()
        wrote = PUBLISHED in saved
        await asyncio.sleep(0)
        if wrote:
            spans.append((began, next(ticks)))

    async def story() -> None:
        await service.open()
        service._storage.save = noted
        service._offload = slowly
        await service.append([entry(1)])
        publishing = asyncio.create_task(service.publish())
        await is_signed.wait()
        assert service.signed is not None
        line = notes.sign_note(service.signed.note.text, other.key, other.private.sign, 1_767_225_600)
        await service.add_cosignatures(service.signed, [line])
        await publishing
        assert len(notes.parse_note(service._storage.load(PUBLISHED) or b"").signatures) == 2
        await service.close()

    asyncio.run(story())
    (_, first_ended), (second_began, _) = sorted(spans)
    assert first_ended < second_began
