"""Mode ZKML: what is refused, what is answered, and that a proof that is owed is made whatever is killed meanwhile."""

import asyncio
import json

import pytest

from holdfast.core.circuits import parse_instance
from holdfast.core.inference import MODES
from holdfast.core.orders import CheckOrder
from holdfast.core.proofs import verify_proof_document
from holdfast.core.statements import parse_envelope, parse_statement
from holdfast.errors import HoldfastError, RefusedError, UnavailableError
from holdfast.nodes.inference.circuits import FETCH_AGAIN_S, read_samples
from holdfast.nodes.inference.proving import FAILED, JOBS, PROOFS, TRIES
from tests.unit.nodes.inference.test_service import order, play

ZKML = {"mode": "ZKML"}
KILLED = UnavailableError("infer.prover", "the prover's process ended")


async def ready(node, label="scores"):
    """The circuit of a label, made."""
    await node.circuits.prepare(label)
    await asyncio.gather(*node.circuits._tasks)


async def prove(node):
    for name in list(node.owed._jobs):
        await node.owed.prove(name)


def refusal(value, prepare=lambda node: None, **change):
    async def story(node, source):
        prepare(node)
        if node.prover.refusal is None and change.pop("made", True):
            await ready(node)
        with pytest.raises(HoldfastError) as refused:
            await node.service.compute(order({**ZKML, **value}, **change))
        assert not node.disk.mount().list_names(JOBS), "a proof is owed for what was refused"
        return refused.value.code

    return play(story)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({"inputs": {"x": [1, 2, 3]}}, "infer.shape"),
        ({"inputs": {"x": [[1, 2]]}}, "infer.shape"),
        ({"inputs": {"z": [1, 2]}}, "infer.inputs"),
        ({"inputs": {"x": ["NaN", 2]}}, "circuit.number"),
        ({"inputs": {"x": [1e30, 2]}}, "circuit.number"),
        ({"inputs": [{"x": [1, 2]}, {"x": [1, 2]}]}, "infer.batch"),
        ({"outputs": ["z"]}, "infer.outputs"),
        ({"model": "other"}, "models.unknown"),
    ],
)
def test_what_a_circuit_does_not_take_is_refused_before_anything_is_signed(value, code):
    assert refusal(value) == code


def test_texts_go_through_no_circuit():
    value = {"model": "scores", "input": "a", "mode": "ZKML"}
    assert refusal({}, endpoint="embeddings", text=json.dumps(value).encode()) == "infer.mode"


def test_who_asks_while_the_circuit_is_made_is_told_how_far_it_is():
    async def story(node, source):
        node.prover.hold = asyncio.Event()
        for _ in range(5):
            with pytest.raises(HoldfastError) as refused:
                await node.service.compute(order(ZKML))
            assert (refused.value.code, refused.value.status) == ("infer.preparing", 503)
            await asyncio.sleep(0)
        assert "step 5 of 5" in refused.value.message
        told = await node.circuits.prepare("scores")
        assert (told["state"], told["step"], told["says"]) == ("making", 5, "keys")
        node.prover.hold.set()
        await ready(node)
        await node.service.compute(order(ZKML))

    play(story)


@pytest.mark.parametrize("code", ["infer.too_large", "infer.circuit"])
def test_a_model_that_makes_no_circuit_is_refused_and_not_tried_again(code):
    async def story(node, source):
        node.prover.refusal = RefusedError(code, "2^20 rows", hint="a smaller one")
        await ready(node)
        node.prover.refusal = None
        for _ in range(2):
            with pytest.raises(HoldfastError) as refused:
                await node.service.compute(order(ZKML))
            assert (refused.value.code, refused.value.message) == (code, "2^20 rows")
        assert [item["state"] for item in node.circuits.listed()] == ["refused"]

    play(story)


def test_a_model_whose_files_were_refused_is_fetched_again_after_a_while():
    async def story(node, source):
        fetch, asked = source.fetch, []

        async def refused(artifact, label):
            asked.append(label)
            raise RefusedError("hub.signature", "trust admits no hub that signed it")

        source.fetch = refused
        for _ in range(2):
            await ready(node)
            with pytest.raises(HoldfastError, match="trust admits no hub"):
                await node.service.compute(order(ZKML))
        assert asked == ["scores"]
        source.fetch = fetch
        await node.clock.advance(FETCH_AGAIN_S)
        await ready(node)
        await node.service.compute(order(ZKML))

    play(story)


def test_a_circuit_whose_making_was_killed_is_made_when_it_is_asked_for_again():
    async def story(node, source):
        node.prover.refusal = KILLED
        await node.circuits.prepare("scores")
        await asyncio.gather(*node.circuits._tasks)
        node.prover.refusal = None
        await ready(node)
        await node.service.compute(order(ZKML))

    play(story)


def test_without_a_prover_every_other_mode_is_served():
    async def story(node, source):
        node.start_proving(RefusedError("infer.no_prover", "EZKL is not installed", hint="install it"))
        await node.service.compute(order({"mode": "VANILLA"}))
        with pytest.raises(HoldfastError) as refused:
            await node.service.compute(order(ZKML))
        assert (refused.value.code, refused.value.hint) == ("infer.no_prover", "install it")

    play(story)


def test_the_answer_is_what_the_circuit_gave_at_its_scale():
    async def story(node, source):
        await ready(node)
        delivery = await node.service.compute(order({**ZKML, "inputs": {"x": [0.3, -1.5]}}))
        shown = json.loads(delivery.text)
        assert shown["mode"] == "ZKML"
        assert shown["outputs"] == {"y": {"dtype": "float64", "shape": [2], "data": [38 * 2 / 128, -3.0]}}
        computation = parse_statement(parse_envelope(delivery.envelope)).body.computation
        assert (computation.mode, computation.runtime, computation.artifact) == (
            "ZKML",
            "ezkl",
            source.labels["scores"],
        )
        assert computation.circuit.srs == "development"

    play(story)


def test_a_proof_binds_what_was_asked_and_answered():
    async def story(node, source):
        await ready(node)
        delivery = await node.service.compute(order(ZKML))
        await prove(node)
        (waiting,) = node.owed.waiting()
        found = node.owed.read(waiting["statement"])
        proved, computed = (parse_statement(parse_envelope(item.envelope)) for item in (found, delivery))
        assert (proved.digest, proved.parents, proved.nonce) == (
            waiting["statement"],
            (computed.digest,),
            computed.nonce,
        )
        document = verify_proof_document(proved, computed, found.document, found.salt)
        assert [parse_instance(item) for item in document.instances] == [128, 256, 2 << 14, 4 << 14]
        assert await node.prover.verify(
            document.proof, document.instances, document.settings.raw, document.verification_key, b""
        )

    play(story)


def test_a_killed_prover_leaves_the_proof_owed_until_it_is_made():
    async def story(node, source):
        await ready(node)
        await node.service.compute(order(ZKML))
        node.prover.failures = [KILLED] * (TRIES - 1)
        for _ in range(TRIES - 1):
            await prove(node)
            assert (node.owed.waiting(), len(node.owed._jobs)) == ([], 1)
        await prove(node)
        assert (len(node.owed.waiting()), node.owed._jobs) == (1, [])

    play(story)


def test_a_prover_that_always_fails_gives_up_and_nothing_is_called_proved():
    async def story(node, source):
        await ready(node)
        await node.service.compute(order(ZKML))
        node.prover.failures = [KILLED] * 99
        for _ in range(TRIES):
            await prove(node)
        assert (node.owed.waiting(), node.owed._jobs) == ([], [])
        assert len(node.disk.mount().list_names(FAILED)) == 1

    play(story)


def test_a_node_that_is_killed_proves_what_it_owes_when_it_starts_again():
    async def story(node, source):
        await ready(node)
        delivery = await node.service.compute(order(ZKML))
        node.disk.crash()
        node.start_proving()
        assert node.owed.waiting() == []
        await prove(node)
        (waiting,) = node.owed.waiting()
        node.disk.crash()
        node.start_proving()
        assert node.owed.waiting() == [waiting]
        assert node.owed.taken(waiting["statement"])
        node.disk.crash()
        node.start_proving()
        assert node.owed.waiting() == []
        found = node.owed.read(waiting["statement"])
        assert parse_statement(parse_envelope(found.envelope)).parents == (
            parse_statement(parse_envelope(delivery.envelope)).digest,
        )

    play(story)


def test_a_node_that_is_killed_between_a_proof_and_the_end_of_its_job_does_not_prove_again():
    async def story(node, source):
        await ready(node)
        await node.service.compute(order(ZKML))
        storage = node.disk.mount()
        (name,) = storage.list_names(JOBS)
        job = storage.load(f"{JOBS}/{name}")
        node.disk.crash()
        node.start_proving()
        await prove(node)
        node.disk.crash()
        node.disk.mount().save(f"{JOBS}/{name}", job)
        node.start_proving()
        assert node.owed._jobs == []
        assert len(node.disk.mount().list_names(PROOFS)) == 1

    play(story)


def test_a_run_that_is_proved_is_not_run_again():
    async def story(node, source):
        await ready(node)
        delivery = await node.service.compute(order(ZKML))
        with pytest.raises(HoldfastError) as refused:
            await node.service.recompute(CheckOrder(order(ZKML), delivery.text, delivery.envelope))
        return refused.value.code

    assert play(story) == "infer.mode"


def test_proofs_are_kept_only_so_long():
    async def story(node, source):
        await ready(node)
        await node.service.compute(order(ZKML))
        await prove(node)
        await node.clock.advance(86_401)
        node.owed._forget()
        assert node.owed.waiting() == []
        assert node.disk.mount().list_names(PROOFS) == []

    play(story)


def test_every_mode_is_served_as_asked():
    async def story(node, source):
        await ready(node)
        node.attest()
        for mode in MODES:
            delivery = await node.service.compute(order({"mode": mode}))
            assert parse_statement(parse_envelope(delivery.envelope)).body.computation.mode == mode

    play(story)


def test_samples_of_an_artifact_are_read_in_the_order_of_its_inputs():
    raw = b'{"inputs":[{"a":[1,2],"b":[3]},{"a":[4,5],"b":[6]}]}'
    assert read_samples(raw) == [[1.0, 2.0, 4.0, 5.0], [3.0, 6.0]]
    with pytest.raises(HoldfastError) as refused:
        read_samples(b'{"inputs":[{"a":[1]},{"b":[1]}]}')
    assert refused.value.code == "circuit.samples"
