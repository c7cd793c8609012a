"""What an inference node refuses, computes and signs, and which artifact it names while labels move."""

import asyncio
import dataclasses
import json
import struct

import pytest

from holdfast.core.artifacts import build_manifest
from holdfast.core.encoding import sha256_hex
from holdfast.core.inference import Tensor
from holdfast.core.orders import CheckOrder, Order
from holdfast.core.statements import parse_envelope, parse_statement
from holdfast.errors import HoldfastError, RefusedError, UnavailableError
from holdfast.ports.runtime import Declared
from tests.helpers.clock import FakeClock
from tests.helpers.inference import MemoryInferenceNode, MovingSource, ScaleModel

RUN = "019b76da-a800-70c8-9215-35f11ffa1fae"


def order(value=None, **change):
    text = json.dumps({"model": "scores", "inputs": {"x": [1, 2]}, **(value or {})}).encode()
    made = Order(RUN, "inference", "request", text, bytes(32), False, "nonce-of-a-client-1", None)
    return dataclasses.replace(made, **change)


def play(story, **labels):
    async def main():
        source = MovingSource(**(labels or {"scores": 2.0}))
        node = MemoryInferenceNode(FakeClock(), source)
        try:
            return await story(node, source)
        finally:
            await node.close()

    return asyncio.run(main())


def refusal(value=None, prepare=lambda node, source: None):
    async def story(node, source):
        prepare(node, source)
        with pytest.raises(HoldfastError) as refused:
            await node.service.compute(order(value))
        return refused.value.code

    return play(story)


def statement_of(delivery):
    return parse_statement(parse_envelope(delivery.envelope))


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({"model": "other"}, "models.unknown"),
        ({"inputs": {"z": [1]}}, "infer.inputs"),
        ({"inputs": {"x": ["a"]}}, "infer.element"),
        ({"mode": "TEE"}, "infer.mode"),
        ({"mode": "ZKML"}, "infer.preparing"),
        ({"mode": "PLAIN"}, "infer.mode"),
        ({"temperature": 1}, "infer.member"),
    ],
)
def test_what_is_refused_is_refused_before_anything_is_signed(value, code):
    assert refusal(value) == code


def test_an_artifact_that_is_not_what_its_digest_says_is_not_loaded():
    def swap(node, source):
        source.files[source.labels["scores"]] = {"model.onnx": b"3.0"}

    assert refusal(prepare=swap) == "model.artifact"


def test_an_artifact_without_a_model_file_is_refused():
    async def story(node, source):
        files = {"readme.md": b"nothing to run"}
        artifact = build_manifest("model", {name: sha256_hex(data) for name, data in files.items()}).artifact
        source.files[artifact], source.labels["scores"] = files, artifact
        with pytest.raises(HoldfastError) as refused:
            await node.service.compute(order())
        return refused.value.code

    assert play(story) == "model.file"


def test_a_busy_node_says_so():
    async def story(node, source):
        node.service._under_way = 64
        with pytest.raises(HoldfastError) as refused:
            await node.service.compute(order())
        node.service._under_way = 0
        return refused.value.code

    assert play(story) == "infer.busy"


def test_a_statement_binds_what_ran_on_what_and_how():
    async def story(node, source):
        delivery = await node.service.compute(order({"mode": "VANILLA"}))
        found = statement_of(delivery)
        body = found.body
        assert json.loads(delivery.text)["outputs"] == {"y": {"dtype": "float32", "shape": [2], "data": [2.0, 4.0]}}
        assert (found.kind, body.event, body.outcome, body.upstream) == (
            "execution",
            "computed",
            "complete",
            "arithmetic",
        )
        assert (found.run, found.attester, found.nonce) == (RUN, node.document.digest, "nonce-of-a-client-1")
        assert body.computation.artifact == source.labels["scores"] == json.loads(delivery.text)["artifact"]
        assert (body.computation.mode, body.computation.batch, body.computation.circuit) == ("VANILLA", 1, None)
        assert body.computation.version == "1.0"
        assert delivery.attestation is None

    play(story)


def test_a_node_in_an_enclave_serves_tee_and_shows_its_evidence():
    async def story(node, source):
        node.attest()
        delivery = await node.service.compute(order({"mode": "TEE"}))
        assert statement_of(delivery).body.computation.mode == "TEE"
        assert delivery.attestation.evidence == b"evidence"

    play(story)


def test_a_coarse_order_is_dated_by_the_minute():
    async def story(node, source):
        found = statement_of(await node.service.compute(order(coarse=True)))
        assert (found.claimed_at.second, found.claimed_at.microsecond) == (0, 0)

    play(story)


def test_a_batch_counts_its_items():
    async def story(node, source):
        delivery = await node.service.compute(order({"inputs": [{"x": [1]}, {"x": [2]}]}))
        assert statement_of(delivery).body.computation.batch == 2
        assert [item["y"]["data"] for item in json.loads(delivery.text)["outputs"]] == [[2.0], [4.0]]

    play(story)


def test_a_run_names_the_artifact_that_was_in_memory_while_its_label_moves_under_load():
    """Every answer is by the factor of the artifact that its statement names: whatever the label means by then."""

    async def story(node, source):
        factors = {source.labels["scores"]: 2.0}
        stop = asyncio.Event()

        async def move():
            factor = 3.0
            while not stop.is_set():
                factors[source.move("scores", factor)] = factor
                factor += 1.0
                await asyncio.sleep(0)

        moving = asyncio.create_task(move())
        deliveries = []
        for _ in range(20):
            deliveries += await asyncio.gather(*(node.service.compute(order()) for _ in range(10)))
        stop.set()
        await moving
        named = set()
        for delivery in deliveries:
            shown = json.loads(delivery.text)
            artifact = statement_of(delivery).body.computation.artifact
            assert shown["artifact"] == artifact
            assert shown["outputs"]["y"]["data"] == [factors[artifact], 2 * factors[artifact]]
            named.add(artifact)
        assert len(named) > 10, "the label did not move"
        assert sum(not model.closed for model in node.runtime.loaded) <= 3, "models that nobody uses are kept"

    play(story)


def test_an_artifact_is_loaded_once_for_all_who_ask_at_once():
    async def story(node, source):
        await asyncio.gather(*(node.service.compute(order()) for _ in range(20)))
        return len(node.runtime.loaded)

    assert play(story) == 1


def test_a_model_that_broke_its_process_is_loaded_anew():
    async def story(node, source):
        await node.service.compute(order())
        node.runtime.loaded[0].alive = False
        await node.service.compute(order())
        await node.service.compute(order())
        return len(node.runtime.loaded)

    assert play(story) == 2


def test_a_label_that_moves_while_its_files_are_read_is_looked_up_again():
    async def story(node, source):
        fetch, tries = source.fetch, []

        async def moved(artifact, label):
            tries.append(artifact)
            if len(tries) < 3:
                raise UnavailableError("models.moved", "the files changed")
            return await fetch(artifact, label)

        source.fetch = moved
        await node.service.compute(order())
        return len(tries)

    assert play(story) == 3


# Running again


def recheck(change_second=lambda node: None, change=lambda check: check):
    async def main():
        source = MovingSource(scores=2.0)
        first, second = (MemoryInferenceNode(FakeClock(), source, f"node-{number}") for number in (1, 2))
        change_second(second)
        made = await first.service.compute(order())
        check = change(CheckOrder(order(), made.text, made.envelope))
        source.move("scores", 9.0)  # the label may mean something else by now
        again = await second.service.recompute(check)
        found = statement_of(again)
        assert found.parents == (statement_of(made).digest,)
        assert found.attester == second.document.digest
        return found.body, statement_of(made).body

    return asyncio.run(main())


def test_another_node_that_computes_the_same_says_equal():
    again, first = recheck()
    assert again.comparison == "equal"
    assert again.binds == first.binds
    assert again.computation.artifact == first.computation.artifact


@pytest.mark.parametrize(("off", "comparison"), [(1e-5, "within"), (0.1, "different")])
def test_another_node_that_computes_otherwise_says_how_far(off, comparison):
    again, first = recheck(lambda node: setattr(node.runtime, "off", off))
    assert again.comparison == comparison
    assert again.binds != first.binds


@pytest.mark.parametrize(
    "change",
    [
        lambda check: dataclasses.replace(check, text=check.text.replace(b"4.0", b"5.0")),
        lambda check: dataclasses.replace(check, order=order({"inputs": {"x": [1, 3]}})),
        lambda check: dataclasses.replace(check, order=dataclasses.replace(check.order, key=b"\x01" * 32)),
        lambda check: dataclasses.replace(check, order=dataclasses.replace(check.order, run=RUN[:-1] + "f")),
    ],
)
def test_what_the_first_statement_does_not_bind_is_not_run_again(change):
    with pytest.raises(HoldfastError) as refused:
        recheck(change=change)
    assert refused.value.code == "order.computed"


# Texts


class LetterModel(ScaleModel):
    """A vector of a text: its length, and how often it has the letter ``a``."""

    def __init__(self, artifact, factor=1.0):
        super().__init__(artifact, factor)
        self.inputs = (Declared("text", "string", (None,)),)
        self.outputs = (Declared("vector", "float32", (None, 2)),)

    async def run(self, items, outputs):
        found = []
        for item in items:
            (text,) = item["text"].data
            found.append({"vector": Tensor("float32", (1, 2), struct.pack("<2f", len(text), text.count("a")))})
        return found


def read(endpoint, card, value):
    async def story(node, source):
        files = {"model.onnx": b"1.0", "card.json": json.dumps(card).encode()}
        artifact = build_manifest("model", {name: sha256_hex(data) for name, data in files.items()}).artifact
        source.files[artifact], source.labels["words"] = files, artifact

        async def load(artifact, model):
            return LetterModel(artifact)

        node.runtime.load = load
        text = json.dumps({"model": "words", **value}).encode()
        made = await node.service.compute(order(endpoint=endpoint, text=text))
        again = await node.service.recompute(CheckOrder(order(endpoint=endpoint, text=text), made.text, made.envelope))
        assert statement_of(again).body.comparison == "equal"
        return json.loads(made.text), statement_of(made).body.computation

    return play(story)


def test_a_model_answers_as_its_card_declares():
    card = {"task": "embeddings", "input": "text", "output": "vector"}
    shown, computation = read("embeddings", card, {"input": ["banana", "pear"]})
    assert [item["embedding"] for item in shown["data"]] == [[6.0, 3.0], [4.0, 1.0]]
    assert computation.batch == 2
    card = {"task": "classification", "input": "text", "output": "vector", "labels": ["long", "sweet"]}
    shown, _ = read("classifications", card, {"input": "banana"})
    assert shown["data"][0]["label"] == "long"


def test_a_model_is_not_asked_as_what_its_card_does_not_declare():
    with pytest.raises(HoldfastError) as refused:
        read("embeddings", {"task": "classification", "input": "text", "output": "vector"}, {"input": "banana"})
    assert refused.value.code == "infer.task"


def test_a_request_that_cannot_be_bound_is_refused_once_its_model_has_run():
    async def story(node, source):
        with pytest.raises(HoldfastError) as refused:
            await node.service.compute(order({"holdfast": {"a\x00b": 1}}))
        assert (await node.service.compute(order())).text
        return refused.value.code

    assert play(story) == "parts.label"


def test_a_model_that_fails_is_what_is_told_of_a_request_that_cannot_be_bound_either(monkeypatch):
    async def fail(self, items, outputs):
        await asyncio.sleep(0)
        raise RefusedError("infer.runtime", "no")

    monkeypatch.setattr(ScaleModel, "run", fail)
    assert refusal({"holdfast": {"a\x00b": 1}}) == "infer.runtime"
