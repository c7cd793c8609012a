"""The evidence that a gateway presents: made in time, kept as long as runs, and anew for each caller's nonce."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import itertools
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.enclave_insecure import InsecureEnclave, make_insecure_root
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core.attestation.evidence import FORMATS
from holdfast.core.attestation.nitro import parse_nitro
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import b64_decode, b64_encode, time_encode
from holdfast.core.keys import build_key_document, parse_key_document
from holdfast.core.registry import challenge_nonce
from holdfast.errors import DevelopmentModeWarning, HoldfastError, UnavailableError, UsageError
from holdfast.nodes.gateway.__main__ import make_enclave
from holdfast.nodes.gateway.attestations import FOLDER, MAX_NONCE_BYTES, Attestation, Attestations, runs_out
from holdfast.nodes.gateway.config import GatewayConfig
from holdfast.ports.settings import describe
from holdfast.ports.storage import Storage
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.attestation.appraise import Expected, appraise_attestation
from holdfast.verifier.attestation.nitro import verify_nitro
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from holdfast.verifier.transcript import Transcript
from tests.helpers import asgi
from tests.helpers.clock import START, FakeClock, settle
from tests.helpers.enclaves import make_enclave as make_insecure
from tests.helpers.gateway import DOCUMENT, SIGNER
from tests.helpers.gateway_world import World, play
from tests.helpers.network import FROM, UNTIL

ROOT = make_insecure_root(START - dt.timedelta(days=1))
MINUTE, HOUR = 60, 3600
NO_BETTER = {"unknown", "refuted", "expired", "not_applicable"}


class Failing:
    """An enclave that fails while told to, and counts."""

    format = "aws-nitro"
    simulated = True

    def __init__(self, clock: FakeClock) -> None:
        self._inner = make_insecure(clock, ROOT)
        self.fails = False
        self.asked = 0
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def attest(self, user_data: bytes, nonce: bytes | None) -> bytes:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.asked += 1
        try:
            if self.fails:
                raise UnavailableError("enclave.device", "gone")
            return self._inner.attest(user_data, nonce)
        finally:
            with self._lock:
                self.at_once -= 1


class Bench:
    """Attestations over a disk and a clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.disk = SimulatedDisk(1)
        self.enclave = Failing(self.clock)

    def make(self, **change: Any) -> Attestations:
        given: dict[str, Any] = {
            "document": DOCUMENT,
            "enclave": self.enclave,
            "given": None,
            "storage": self.disk.mount(),
            "clock": self.clock,
            "reattest_s": HOUR,
            "retention": dt.timedelta(days=1),
            "per_minute": 5,
            **change,
        }
        return Attestations(**given)


def run(story: Callable[[Bench], Awaitable[None]]) -> None:
    asyncio.run(story(Bench()))  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    """Let tasks and their threads run until something holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a thread makes it true
            await asyncio.sleep(0.001)


def kept_files(storage: Storage) -> list[str]:
    return storage.list_names(FOLDER)


# Refusals


def test_a_gateway_in_no_enclave_answers_no_nonce() -> None:
    async def story(bench: Bench) -> None:
        found = bench.make(enclave=None)
        await found.start()
        assert found.current is None
        for nonce in (None, b"n"):
            with pytest.raises(UsageError) as caught:
                await found.answer(nonce)
            assert (caught.value.code, caught.value.status) == ("gateway.no_enclave", 404)

    run(story)


def test_evidence_out_of_a_file_is_shown_and_answers_no_nonce() -> None:
    async def story(bench: Bench) -> None:
        given = Attestation("insecure-dev", b"evidence", DOCUMENT.digest, bench.clock.now())
        found = bench.make(enclave=None, given=given)
        assert (await found.answer(None))["evidence"] == b64_encode(b"evidence")
        assert found.at(START - dt.timedelta(days=9)) == given
        with pytest.raises(UsageError):
            await found.answer(b"n")

    run(story)


def test_an_enclave_that_fails_at_the_start_stops_the_node() -> None:
    async def story(bench: Bench) -> None:
        bench.enclave.fails = True
        with pytest.raises(UnavailableError) as caught:
            await bench.make().start()
        assert caught.value.code == "enclave.device"

    run(story)


def test_strangers_get_so_many_a_minute_and_one_at_a_time() -> None:
    async def story(bench: Bench) -> None:
        found = bench.make()
        await found.start()
        answers = await asyncio.gather(*(found.answer(b"%d" % n) for n in range(8)), return_exceptions=True)
        refused = [item for item in answers if isinstance(item, HoldfastError)]
        assert {(item.code, item.status) for item in refused} == {("gateway.busy", 429)}
        assert "12 s" in refused[0].hint
        assert (len(refused), bench.enclave.most_at_once) == (3, 1)
        assert (await found.answer(None))["nonce"] is None
        await bench.clock.advance(12)
        await found.answer(b"again")
        with pytest.raises(UnavailableError):
            await found.answer(b"and again")

    run(story)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"type":"urn:holdfast:kept-attestation:v1"}', None])
def test_what_was_kept_and_is_damaged_is_not_guessed(content: bytes | None) -> None:
    async def story(bench: Bench) -> None:
        await bench.make().start()
        storage = bench.disk.mount()
        [name] = kept_files(storage)
        raw = storage.load(f"{FOLDER}/{name}") or b""
        changed = raw.replace(b'"made_at":"2026', b'"made_at":"2025') if content is None else content
        storage.save(f"{FOLDER}/{name}", changed)
        with pytest.raises(UnavailableError) as caught:
            bench.make()
        assert caught.value.code == "gateway.attestation_kept"

    run(story)


# On a nonce


def test_no_stranger_gets_evidence_that_answers_the_registry() -> None:
    """With it they would register this gateway's keys as a node of their own."""
    assert len(challenge_nonce(bytes(32))) > MAX_NONCE_BYTES


def test_each_nonce_gets_evidence_of_its_own_and_nothing_of_it_is_kept() -> None:
    async def story(bench: Bench) -> None:
        found = bench.make()
        await found.start()
        for nonce in (b"\0", b"n" * 64):
            answer = await found.answer(nonce)
            assert answer["nonce"] == nonce.hex()
            assert answer["simulated"] is True
            assert parse_key_document(b64_decode(answer["key_document"])).digest == answer["node"] == DOCUMENT.digest
            document = parse_nitro(b64_decode(answer["evidence"]))
            claims = verify_nitro(document, (ROOT.certificate,), bench.clock.now(), Transcript())
            now = bench.clock.now()
            appraise_attestation(claims, Expected(now, now, DOCUMENT.digest, nonce), Transcript())
            for other in (b"x", b"\0" if nonce != b"\0" else b"\0\0"):
                with pytest.raises(HoldfastError) as caught:
                    appraise_attestation(claims, Expected(now, now, DOCUMENT.digest, other), Transcript())
                assert caught.value.code == "attestation.nonce"
        assert len(kept_files(bench.disk.mount())) == 1

    run(story)


def test_the_record_names_the_keys_for_tls_and_ohttp() -> None:
    async def story(bench: Bench) -> None:
        document = build_key_document("gateway", ["gateway"], "test", [SIGNER.key], tls="ab" * 32)
        found = bench.make(document=document)
        await found.start()
        assert found.current is not None
        assert bytes.fromhex("ab" * 32) in (parse_nitro(found.current.evidence).user_data or b"")

    run(story)


# On a schedule


def test_evidence_is_made_again_before_half_of_it_has_run_out() -> None:
    async def story(bench: Bench) -> None:
        found = bench.make(reattest_s=9000)
        await found.start()
        first = found.current
        assert first is not None
        assert runs_out(first) == START + dt.timedelta(hours=3)
        task = asyncio.create_task(found.work())
        await settle()
        await bench.clock.advance(89 * MINUTE)
        assert found.current == first
        await bench.clock.advance(MINUTE)
        await until(lambda: found.current != first)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story)


def test_a_failing_enclave_is_tried_again_and_the_old_evidence_stays() -> None:
    async def story(bench: Bench) -> None:
        found = bench.make()
        await found.start()
        first = found.current
        task = asyncio.create_task(found.work())
        await settle()
        bench.enclave.fails = True
        await bench.clock.advance(HOUR)
        for pause in (1, 2, 4, 8):
            asked = bench.enclave.asked
            await until(lambda: len(bench.clock._sleepers) == 1)
            await bench.clock.advance(pause)
            await until(lambda asked=asked: bench.enclave.asked > asked)  # type: ignore[misc]
            assert found.current == first
        bench.enclave.fails = False
        await until(lambda: len(bench.clock._sleepers) == 1)
        await bench.clock.advance(16)
        await until(lambda: found.current != first)
        assert first is not None
        assert found.at(first.made_at) == first
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story)


def test_a_restart_goes_on_with_what_is_kept_and_makes_new_only_when_due() -> None:
    async def story(bench: Bench) -> None:
        found = bench.make()
        await found.start()
        again = bench.make()
        await again.start()
        assert again.current == found.current
        await bench.clock.advance(HOUR)
        later = bench.make()
        await later.start()
        assert later.current != found.current
        other = build_key_document("gateway", ["gateway"], "test", [SIGNER.key])
        rotated = bench.make(document=other)
        assert rotated.current is None
        await rotated.start()
        assert rotated.current is not None
        assert rotated.current.node == other.digest
        assert rotated.at(START) == found.current

    run(story)


def test_a_sealed_run_names_the_minute_it_was_opened_in_and_is_shown_what_was_made_within_it() -> None:
    async def story(bench: Bench) -> None:
        found = bench.make()
        made = await found.renew()
        assert found.at(START - dt.timedelta(seconds=60)) is None
        assert found.at(START - dt.timedelta(seconds=59)) == made

    run(story)


def test_what_was_in_force_is_found_and_forgotten_after_its_retention() -> None:
    async def story(bench: Bench) -> None:
        found = bench.make(retention=dt.timedelta(hours=5))
        made = []
        for _ in range(10):
            made.append(await found.renew())
            await bench.clock.advance(HOUR)
        assert found.at(START - dt.timedelta(seconds=1)) is None
        # Five hours before the last one was made, number 4 came into force, and number 3 went out of it.
        assert found.at(START + dt.timedelta(hours=3, minutes=59)) is None
        for number in range(4, 10):
            for minutes in (0, 59):
                assert found.at(START + dt.timedelta(hours=number, minutes=minutes)) == made[number]
        assert len(kept_files(bench.disk.mount())) == 6
        assert bench.make().at(START + dt.timedelta(hours=4)) == made[4]

    run(story)


def test_two_in_one_moment_and_a_clock_set_back_keep_their_order() -> None:
    async def story(bench: Bench) -> None:
        found = bench.make()
        made = [await found.renew() for _ in range(3)]
        bench.clock._elapsed = -10.0
        made.append(await found.renew())
        assert [item.made_at for item in made] == sorted({item.made_at for item in made})
        assert bench.make().current == made[-1]

    run(story)


def test_evidence_that_is_not_durable_is_not_presented() -> None:
    async def story(bench: Bench) -> None:
        found = bench.make(storage=Broken())
        with pytest.raises(UnavailableError):
            await found.start()
        assert found.current is None

    run(story)


class Broken:
    """A storage whose disk says no."""

    def list_names(self, folder: str = "") -> list[str]:
        return []

    def save(self, name: str, data: bytes) -> None:
        raise UnavailableError("storage.failed", "the disk says no")


# In a bundle, and over HTTP


def attested(world: World, disk: SimulatedDisk) -> Attestations:
    return Attestations(
        DOCUMENT,
        make_insecure(world.clock, ROOT),
        None,
        disk.mount(),
        world.clock,
        reattest_s=HOUR,
        retention=dt.timedelta(days=1),
        per_minute=5,
    )


def test_a_bundle_carries_what_was_in_force_when_its_run_began_also_after_a_restart() -> None:
    async def story(world: World) -> None:
        disk = SimulatedDisk(2)
        await world.stop()
        world.attestations = attested(world, disk)
        await world.attestations.start()
        await world.start()
        first = world.attestations.current
        early = await world.answer()
        await world.clock.advance(HOUR)
        await world.attestations.renew()
        late = await world.answer()
        await world.stop()
        world.attestations = attested(world, disk)
        await world.start()
        for run_id, expected in ((early, first), (late, world.attestations.current)):
            [item] = [item for item in await world.journal(run_id) if item["kind"] == "attestation"]
            assert expected is not None
            assert (item["evidence"], item["node"]) == (b64_encode(expected.evidence), DOCUMENT.digest)
        assert first != world.attestations.current

    play(story)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("nonce=", "request.nonce"),
        ("nonce=0", "request.nonce"),
        ("nonce=AB", "request.nonce"),
        ("nonce=zz", "request.nonce"),
        (f"nonce={'00' * 65}", "request.nonce"),
        ("nonce=00&nonce=01", "request.nonce"),
        ("nonce=00%0a", "request.nonce"),
    ],
)
def test_a_nonce_that_is_none_is_refused(query: str, code: str) -> None:
    async def story(world: World) -> None:
        world.attestations = attested(world, SimulatedDisk(2))
        reply = await asgi.request(world.app(), "GET", f"/v1/attestation?{query}")
        assert (reply.status, reply.code) == (400, code)

    play(story)


def test_anybody_may_ask_with_a_nonce() -> None:
    async def story(world: World) -> None:
        world.attestations = attested(world, SimulatedDisk(2))
        await world.attestations.start()
        for query, nonce in (("?nonce=00ff", "00ff"), ("", None), (f"?nonce={'ab' * 64}", "ab" * 64)):
            reply = await asgi.request(world.app(), "GET", f"/v1/attestation{query}")
            assert reply.status == 200
            shown = json.loads(reply.body)
            assert (shown["nonce"], shown["format"], shown["simulated"]) == (nonce, "aws-nitro", True)

    play(story)


# Settings


@pytest.mark.parametrize(
    "change",
    [
        {"enclave": "insecure", "attestation": Path("file")},
        {"enclave": "nitro", "enclave_collateral": Path("file")},
        {"enclave": "insecure", "enclave_collateral": Path("file")},
        {"enclave": "none", "enclave_root": Path("file")},
        {"enclave": "tdx", "enclave_root": Path("file")},
        {"enclave": "snp", "enclave_collateral": Path("missing")},
    ],
)
def test_settings_that_say_two_things_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        make_enclave(GatewayConfig(**change), FakeClock())
    assert caught.value.code == ("gateway.enclave" if "attestation" in change else "enclave.setting")


def test_each_setting_makes_its_own_enclave(tmp_path: Path) -> None:
    made = {}
    for name in ("none", "nitro", "tdx", "snp"):
        made[name] = make_enclave(GatewayConfig(enclave=name, state=tmp_path), FakeClock())
    assert made["none"] is None
    formats = {name: enclave.format for name, enclave in made.items() if enclave is not None}
    assert formats == {"nitro": "aws-nitro", "tdx": "intel-dcap", "snp": "amd-sev-snp"}
    assert not any(enclave.simulated for enclave in made.values() if enclave is not None)
    with pytest.warns(DevelopmentModeWarning):
        insecure = make_enclave(GatewayConfig(enclave="insecure", state=tmp_path), FakeClock())
    assert isinstance(insecure, InsecureEnclave)
    assert insecure.simulated


def other_values(config: GatewayConfig, tmp_path: Path) -> list[dict[str, Any]]:
    """One change for every value that a setting can have beside its own: choices, switches, ends of ranges."""
    found: list[dict[str, Any]] = []
    for info in describe(GatewayConfig):
        value = getattr(config, info.name)
        if info.name in ("enclave", "attestation"):
            continue  # what a simulated gateway is; a file of other evidence is tried by itself
        if info.choices:
            found += [{info.name: choice} for choice in info.choices if choice != value]
        elif isinstance(value, bool):
            found.append({info.name: not value})
        elif isinstance(value, int):
            found += [{info.name: bound} for bound in (info.minimum, info.maximum) if bound is not None]
        elif info.name == "enclave_root":
            found.append({info.name: tmp_path / "another-root.pem"})
    return found


def test_no_setting_of_a_gateway_makes_a_simulated_enclave_look_real(tmp_path: Path) -> None:
    """Every setting is turned by itself, under a trust document that believes everything that can be believed."""

    async def story(world: World) -> None:
        base = GatewayConfig(enclave="insecure", state=tmp_path)
        changes = other_values(base, tmp_path)
        assert {"enclave_root", "reattest_s", "settlement", "builtin"} <= {name for item in changes for name in item}
        for change in [{}, *changes]:
            config = dataclasses.replace(base, **change)
            with pytest.warns(DevelopmentModeWarning):
                enclave = make_enclave(config, world.clock)
            attestations = Attestations(
                DOCUMENT,
                enclave,
                None,
                SimulatedDisk(3).mount(),
                world.clock,
                reattest_s=config.reattest_s,
                retention=dt.timedelta(days=config.retention_days),
                per_minute=config.attestations_per_minute,
            )
            await attestations.start()
            await world.stop()
            world.attestations = attestations
            await world.start()
            run_id = await world.answer(settlement=config.settlement)
            await judge(world, run_id)

    play(story)


@pytest.mark.parametrize("form", FORMATS)
def test_no_file_of_simulated_evidence_looks_real(form: str) -> None:
    """``attestation`` names a file whose first line says whatever its owner wants."""

    async def story(world: World) -> None:
        made = make_insecure(world.clock, ROOT)
        record = attested(world, SimulatedDisk(2))._record
        given = Attestation(form, made.attest(record, None), DOCUMENT.digest, world.clock.now())
        await world.stop()
        world.attestations = Attestations(
            DOCUMENT,
            None,
            given,
            SimulatedDisk(3).mount(),
            world.clock,
            reattest_s=HOUR,
            retention=dt.timedelta(days=1),
            per_minute=5,
        )
        await world.start()
        await judge(world, await world.answer())

    play(story)


async def judge(world: World, run_id: str) -> None:
    """Appraise a run under trust that calls its root real, its measurements admitted, and every flag false."""
    bundle = parse_bundle(await world.desk.bundle(await world.row(run_id), None))
    assert world.attestations is not None
    shown = world.attestations.at(world.clock.now())
    assert shown is not None
    document = parse_nitro(shown.evidence)
    roots = [
        {"kind": kind, "certificate": b64_encode(raw), "development": False}
        for kind, raw in itertools.product(FORMATS[1:], document.authorities)
    ]
    span = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL)}
    value = {f"pcr{index}": document.pcrs[index].hex() for index in range(3)}
    measured = [
        {"kind": "aws-nitro", "role": "gateway", "value": value, "debug": debug} | span for debug in (False, True)
    ]
    world.network.development = False
    trust = world.network.trust(enclave_roots=roots, measurements=measured)
    found = appraise(bundle, trust, parse_policy(DEFAULT_POLICY), bundle.exported_at)
    assert found.lanes["bytes"].state == "proven"
    for name in ("enclave", "privacy", "inputs", "computation"):
        assert found.lanes[name].state in NO_BETTER, (name, found.lanes[name])
        assert found.lanes[name].basis != "hardware"
    if shown.format == "aws-nitro":
        assert (found.lanes["enclave"].state, found.lanes["enclave"].basis) == ("unknown", "development")
        assert "simulated" in found.lanes["enclave"].says
