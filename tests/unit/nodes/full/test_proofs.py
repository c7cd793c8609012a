"""What a full node finds of proofs: what is off by one bit is refuted, and what cannot be seen is not judged."""

import asyncio
import dataclasses
import datetime as dt
import json

import pytest

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.core.circuits import parse_instance, show_instance
from holdfast.core.encoding import b64_encode, sha256, sha256_hex
from holdfast.core.orders import ProofDelivery
from holdfast.core.proofs import parse_proof_document, record_of
from holdfast.core.statements import Execution, build_payload, execution_body, parse_envelope, parse_statement
from holdfast.errors import UnavailableError
from holdfast.nodes.full.journal import REVISED, Journal
from holdfast.nodes.full.ledger import Row
from holdfast.nodes.full.proofs import LONGEST_WAIT_S, ProofDesk
from tests.helpers.clock import FakeClock
from tests.helpers.inference import MemoryInferenceNode, MovingSource
from tests.helpers.proving import SRS, ArithmeticProver, proof_of
from tests.unit.nodes.inference.test_proving import ZKML, prove, ready
from tests.unit.nodes.inference.test_service import order

ORIGIN = "log.test/1"


class Committer:
    """Keeps records in memory."""

    def __init__(self):
        self.records = []

    async def commit_many(self, records):
        self.records += records


class Prover:
    """What full nodes read of a node: the node itself, as a test changed it."""

    def __init__(self, node):
        self.node = node
        self.silent = False
        self.delivery = None
        self.model = None
        self.srs = SRS

    async def proof(self, statement):
        if self.silent:
            raise UnavailableError("prover.unreachable", "silent")
        return self.delivery

    async def artifact(self, artifact):
        shown = self.node.circuits.shown(artifact)
        return shown["files"], self.model or (self.node.folder / artifact / "model.onnx").read_bytes()

    async def reference_string(self, digest):
        return self.srs


class Case:
    """A log with a computation and its proof, and a full node's desk over it."""

    def __init__(self, node, computed, delivery):
        self.node, self.clock = node, node.clock
        self.prover = Prover(node)
        self.prover.delivery = delivery
        self.liars = []
        self.checker = ArithmeticProver()
        self.entries_held = [computed, delivery.envelope]
        self.committer = Committer()

    def start(self):
        self.journal = Journal([ORIGIN], self.committer, None)
        ledger = self.journal.origins[ORIGIN].ledger
        for entry in self.entries_held:
            statement = parse_statement(parse_envelope(entry))
            body = statement.body
            code = "cannot_tell" if body.event == "proved" else "ok"
            ledger.append(
                Row(sha256(entry), bytes.fromhex(statement.digest), code, (), 0, statement.attester, statement.run,
                    "execution", body.event, "", body.upstream, "", binds=body.binds)
            )  # fmt: skip
        self.desk = ProofDesk(
            ORIGIN, self, self.journal, [*self.liars, self.prover], self.checker, self.ceremony, self.clock,
            MemoryMetrics(),
        )  # fmt: skip
        return ledger

    async def entries(self, begin, end, size):
        return self.entries_held[begin:end]

    def ceremony(self, digest):
        return None

    async def found(self):
        ledger = self.start()
        await self.desk.step()
        return ledger.opinion(1).code

    def prove_again(self, **change):
        """The node signs a proof document that a test changed; digests follow where they are asked to."""
        document = parse_proof_document(self.prover.delivery.document)
        raw = dataclasses.replace(document, **change).raw
        self.sign(raw)

    def sign(self, raw, **change):
        proved = parse_statement(parse_envelope(self.entries_held[1]))
        body = dataclasses.replace(proved.body, proof=record_of(raw, bytes(32)), **change)
        self.entries_held[1] = self.signed(body, proved.parents)
        self.prover.delivery = ProofDelivery(self.entries_held[1], raw, bytes(32))

    def compute_again(self, **change):
        """The node signed another computation; the proof follows from it."""
        computed = parse_statement(parse_envelope(self.entries_held[0]))
        body = dataclasses.replace(computed.body, computation=dataclasses.replace(computed.body.computation, **change))
        self.entries_held[0] = self.signed(body, ())
        digest = parse_statement(parse_envelope(self.entries_held[0])).digest
        proved = parse_statement(parse_envelope(self.entries_held[1])).body
        again = dataclasses.replace(proved, computation=body.computation)
        self.entries_held[1] = self.signed(again, (digest,))

    def signed(self, body, parents):
        assert isinstance(body, Execution)
        assert body.response is not None
        computed = parse_statement(parse_envelope(self.entries_held[0]))
        payload = build_payload(
            "execution",
            run=computed.run,
            attester=computed.attester,
            claimed_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            parents=parents,
            subject=("response", body.response.root),
            body=execution_body(body),
        )
        return self.node.identity.envelope(payload)


def play(change=None, twist=0):
    """What the desk finds of a proof, after a change of the case."""

    async def main():
        node = MemoryInferenceNode(FakeClock(), MovingSource(scores=2.0))
        try:
            await ready(node)
            node.prover.twist = twist
            delivery = await node.service.compute(order(ZKML))
            await prove(node)
            (waiting,) = node.owed.waiting()
            case = Case(node, delivery.envelope, node.owed.read(waiting["statement"]))
            if change is not None:
                change(case)
            return await case.found(), case
        finally:
            await node.close()

    return asyncio.run(main())


def test_a_proof_that_holds_is_ok_and_stays_so():
    code, case = play()
    assert code == "ok"
    assert [kind for kind, _ in case.committer.records] == [REVISED]
    again = case.start()
    for kind, payload in case.committer.records:
        case.journal.replay([type("Kept", (), {"kind": kind, "payload": payload})()])
    assert again.opinion(1).code == "ok"
    assert again.unproved() == []


def flip(name):
    def change(case):
        value = getattr(parse_proof_document(case.prover.delivery.document), name)
        case.prove_again(**{name: bytes([value[0] ^ 1, *value[1:]])})

    return change


def instance(place):
    def change(case):
        found = list(parse_proof_document(case.prover.delivery.document).instances)
        found[place] = f"{int(found[place][:2], 16) ^ 1:02x}{found[place][2:]}"
        case.prove_again(instances=tuple(found))

    return change


def text(name, old, new):
    def change(case):
        value = getattr(parse_proof_document(case.prover.delivery.document), name)
        assert old in value
        case.prove_again(**{name: value.replace(old, new)})

    return change


def another_model(case):
    """The node computed with another model than it names."""
    other = case.node.source.move("other", 2.0000000000000004)
    files = case.node.source.files[other]
    case.compute_again(artifact=other)
    raw = case.prover.delivery.document.decode().replace(case.node.source.labels["scores"], other)
    case.sign(raw.encode(), computation=parse_statement(parse_envelope(case.entries_held[0])).body.computation)
    case.prover.artifact = lambda artifact: answer(
        ({name: sha256_hex(data) for name, data in files.items()}, files["model.onnx"])
    )


async def answer(value):
    return value


def settings_that_do_not_follow(case):
    """Settings with another scale: the output would be read at half its size."""
    document = parse_proof_document(case.prover.delivery.document)
    value = json.loads(document.settings.raw)
    value["num_rows"] += 1
    raw = json.dumps(value).encode()
    circuit = dataclasses.replace(
        parse_statement(parse_envelope(case.entries_held[0])).body.computation.circuit, settings=sha256_hex(raw)
    )
    case.compute_again(circuit=circuit)
    shown = json.loads(case.prover.delivery.document)
    shown["settings"] = b64_encode(raw)
    made = json.dumps(shown, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    case.sign(made, computation=parse_statement(parse_envelope(case.entries_held[0])).body.computation)


@pytest.mark.parametrize(
    "change",
    [
        flip("proof"),
        flip("verification_key"),
        flip("key"),
        instance(0),
        instance(1),
        instance(2),
        instance(3),
        text("request", "[1, 2]", "[1, 3]"),
        text("response", "2.0", "2.0000000000000004"),
        another_model,
        settings_that_do_not_follow,
        lambda case: case.prove_again(inputs=("z",)),
        lambda case: case.prove_again(outputs=("z",)),
        lambda case: case.compute_again(threads=2) or case.sign(case.prover.delivery.document, computation=None or
            dataclasses.replace(parse_statement(parse_envelope(case.entries_held[0])).body.computation, threads=3)),
    ],
    ids=["proof", "key", "secret", "input-0", "input-1", "output-0", "output-1", "request", "response", "model",
         "settings", "input-name", "output-name", "computation"],
)  # fmt: skip
def test_what_differs_by_one_bit_is_refuted(change):
    assert play(change)[0] == "refuted:proof"


def test_a_proof_for_another_answer_than_the_circuit_gives_is_refuted():
    """The prover's answer is off by one in its last place, and its proof is an honest one of the honest answer."""

    def honest(case):
        document = parse_proof_document(case.prover.delivery.document)
        outputs = [show_instance(parse_instance(item) - 1) for item in document.instances[2:]]
        case.prove_again(proof=proof_of(document.verification_key, [*document.instances[:2], *outputs]))

    assert play(honest, twist=1)[0] == "refuted:proof"


def silent(case):
    case.prover.silent = True


def another_document(case):
    case.prover.delivery = dataclasses.replace(case.prover.delivery, salt=b"\x01" * 32)


def another_artifact_served(case):
    case.prover.model = b"3.0"


def another_string_served(case):
    case.prover.srs = b"another"


def another_version(case):
    case.checker.version = "2.0"


def a_ceremony_nobody_knows(case):
    circuit = dataclasses.replace(
        parse_statement(parse_envelope(case.entries_held[0])).body.computation.circuit, srs="ceremony"
    )
    case.compute_again(circuit=circuit)


@pytest.mark.parametrize(
    "change",
    [
        silent,
        another_document,
        another_artifact_served,
        another_string_served,
        another_version,
        a_ceremony_nobody_knows,
    ],
)
def test_what_cannot_be_seen_is_not_judged_and_tried_again(change):
    code, case = play(change)
    assert code == "cannot_tell"
    assert case.desk.waiting[1].why

    async def later():
        assert not await case.desk.step(), "it is tried again before its time"
        for _ in range(20):
            await case.clock.advance(LONGEST_WAIT_S)
            assert await case.desk.step()

    asyncio.run(later())
    assert case.desk.waiting[1].wait_s == LONGEST_WAIT_S


def test_a_prover_that_shows_something_else_holds_up_no_other():
    def lied_to(case):
        liar = Prover(case.node)
        liar.delivery = dataclasses.replace(case.prover.delivery, document=b"{}")
        case.liars = [liar]

    assert play(lied_to)[0] == "ok"


def test_without_a_verifier_nothing_is_asked():
    def without(case):
        case.checker = None

    code, case = play(without)
    assert (code, case.desk.waiting) == ("cannot_tell", {})


def test_a_ceremony_that_this_node_has_counts():
    def known(case):
        a_ceremony_nobody_knows(case)
        case.ceremony = lambda digest: SRS if digest == sha256_hex(SRS) else None

    assert play(known)[0] == "ok"


def test_a_key_that_is_revoked_while_its_proof_is_checked_stays_revoked():
    def revoked_meanwhile(case):
        verify = case.checker.verify

        async def slow(*given):
            case.journal.origins[ORIGIN].ledger.revise(1, "refuted:key-revoked")
            return await verify(*given)

        case.checker.verify = slow

    code, case = play(revoked_meanwhile)
    assert code == "refuted:key-revoked"
    assert (case.committer.records, case.desk.waiting) == ([], {})
