"""Evidence is checked piece by piece: what proves, what only informs, and what a forger gains from each (nothing)."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import time

import pytest

from holdfast.core import canonical, merkle, notes, rounds
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.keys import build_key_document
from holdfast.core.notes import Checkpoint, VerifierKey
from holdfast.core.parts import commit
from holdfast.core.statements import Execution, Route, build_commitment, execution_body, route_body
from holdfast.verifier.checks import CheckPolicy
from holdfast.verifier.final_rounds import voters_of
from holdfast.verifier.reading import check_evidence
from holdfast.verifier.transcript import Transcript
from tests.helpers.network import ORIGIN, RUN, SECRET, FullNode, Network, at, bundle_of, ed25519_signer
from tests.helpers.payment_documents import Paid

NETWORK = Network()
TRUST = NETWORK.trust()
JOURNAL = NETWORK.journal()
ROUTE, EXECUTION = NETWORK.route(), NETWORK.execution()


def check(journal, trust=TRUST, moment=None, known=None, bounds=None):
    """Evidence and the transcript's (answer, code) pairs."""
    record = Transcript()
    bundle = parse_bundle(bundle_of(journal))
    found = check_evidence(bundle, trust, bounds or CheckPolicy(), moment or at(10), known, record)
    return found, [(line.answer, line.code) for line in record.checks]


def codes(journal, **options):
    return {code for _, code in check(journal, **options)[1] if code}


def only(*kinds):
    return [copy.deepcopy(item) for item in JOURNAL if item["kind"] in kinds]


def without(*kinds):
    return [copy.deepcopy(item) for item in JOURNAL if item["kind"] not in kinds]


def test_items_that_repeat_are_looked_at_once():
    once = check(JOURNAL)[0]
    again = check([copy.deepcopy(one) for one in JOURNAL for _ in range(3) if one["kind"] != "document"])[0]
    assert len(again.checkpoints) == len(once.checkpoints)
    closing, before = again.closing, once.closing
    assert closing.sizes == before.sizes
    assert closing.trusted_time == before.trusted_time
    assert [entry for entry in closing.evidence if entry == again.checkpoints[0].digest] == [
        entry for entry in before.evidence if entry == once.checkpoints[0].digest
    ]


def test_a_bundle_that_would_keep_its_reader_busy_for_minutes_does_not():
    """Copies of one payload times paths, commitments times statements, repeated checkpoints times paths."""
    envelope = canonical.decode(NETWORK.seal(EXECUTION))
    copies = []
    for number in range(1000):
        signature = {**envelope["signatures"][0], "sig": b64_encode(number.to_bytes(64))}
        copies.append(item("statement", envelope={**envelope, "signatures": [signature]}))
    path = only("inclusion")[-1]
    paths = [{**path, "proof": [number.to_bytes(32).hex()] * 20} for number in range(5000)]
    salts = [item("commitment", entry=b64_encode(b"x"), salt=number.to_bytes(32).hex()) for number in range(1000)]
    notes_again = only("checkpoint") * 1000
    start = time.process_time()
    found, _ = check([*only("statement"), *copies, *notes_again, *salts, *paths])
    assert time.process_time() - start < 10
    assert {code for code, _ in found.refusals["settlement"]} >= {"log.inclusion", "commitment.opening"}


def item(kind, **members):
    return {"kind": kind, "at": time_encode(at(1)), **members}


def stated(payload, signer=None, network=NETWORK):
    return item("statement", envelope=canonical.decode(network.seal(payload, signer)))


def trust_with(member, change, network=NETWORK):
    """Trust with one member edited in place."""
    value = canonical.decode(network.trust_version())
    change(value[member])
    return network.trust(**{member: value[member]})


# Statements and the trace


def test_a_statement_of_another_run_refuses_the_bytes_and_is_not_read():
    found, said = check([*only("statement"), stated(NETWORK.route(run=RUN[:-1] + "0"))])
    assert ("no", "trace.run") in said
    assert len(found.statements) == 2


def test_two_routes_refuse_the_trace():
    other = NETWORK.route(claimed_at=at(0.6))
    assert "trace.routes" in codes([*only("statement"), stated(other)])


def test_two_closing_statements_refuse_the_trace():
    other = NETWORK.execution(claimed_at=at(0.6))
    assert "trace.closures" in codes([*only("statement"), stated(other)])


def test_the_same_statement_signed_twice_is_one():
    found, _ = check([*only("statement"), stated(ROUTE, ed25519_signer("stranger", "statement"))])
    route = found.statements[sha256_hex(ROUTE)]
    assert len(route.copies) == 2
    assert route.refusal is None


def test_a_copy_by_a_stranger_alone_is_refused():
    journal = [stated(ROUTE, ed25519_signer("stranger", "statement")), stated(EXECUTION)]
    assert check(journal)[0].route.refusal == "signature"


def test_another_route_than_the_named_one_is_no_route_of_this_answer():
    other = NETWORK.route(claimed_at=at(0.6))
    found, said = check([stated(other), stated(EXECUTION)])
    assert ("no", "trace.rules") in said
    assert found.missing_parents() == [sha256_hex(ROUTE)]


def test_nonces_differ_nowhere_in_a_trace():
    body = execution_body(Execution("disconnected", "client.disconnected", None, None, "stub"))
    closing = NETWORK.execution(nonce=None)
    left = NETWORK.execution(
        body=body, subject=("request", bytes(32)), parents=[sha256_hex(closing)], nonce="another-nonce-of-16"
    )
    fitting = [stated(ROUTE), stated(closing)]
    assert "trace.rules" not in codes(fitting)
    assert "trace.rules" in codes([*fitting, stated(left)])


def test_a_missing_parent_is_beyond_telling():
    found, said = check([stated(EXECUTION)])
    assert ("cannot_tell", "trace.parent") in said
    assert [checked.statement.digest for checked in found.closure()] == [sha256_hex(EXECUTION)]


def test_a_closure_holds_ancestors_and_no_descendants():
    body = execution_body(Execution("disconnected", "client.disconnected", None, None, "stub"))
    left = NETWORK.execution(body=body, subject=("request", bytes(32)), parents=[sha256_hex(EXECUTION)])
    found, _ = check([*only("statement"), stated(left)])
    assert {checked.statement.digest for checked in found.closure()} == {sha256_hex(ROUTE), sha256_hex(EXECUTION)}
    assert [checked.statement.digest for checked in found.follow_ups] == [sha256_hex(left)]


# Disclosures


def disclosed(document, text, secret=SECRET):
    return item("document", document=document, text=text.decode(), secret=secret.hex())


def test_documents_without_a_statement_bind_nothing():
    found, said = check([disclosed("request", NETWORK.request), *only("parts")])
    assert [code for _, code in said[:3]] == ["parts.unbound"] * 3
    assert not found.refusals["bytes"]


@pytest.mark.parametrize("document", ["request", "response"])
def test_a_whole_document_is_what_was_signed(document):
    text = NETWORK.request if document == "request" else NETWORK.response
    found, _ = check([*only("statement"), disclosed(document, text)])
    assert found.documents == {document: text.decode()}


@pytest.mark.parametrize(
    ("text", "secret", "code"),
    [
        (NETWORK.request.replace(b"0.50", b"0.5"), SECRET, "parts.root"),
        (NETWORK.request, bytes(32), "parts.root"),
        (NETWORK.response, SECRET, "parts.root"),
        (b"[]", SECRET, "parts.document"),
        (b'{"a":1,"a":1}', SECRET, "json.duplicate_key"),
        (b"", SECRET, "json.syntax"),
    ],
)
def test_a_document_that_is_not_what_was_signed_refuses_the_bytes(text, secret, code):
    found, _ = check([*only("statement"), disclosed("request", text, secret)])
    assert [refusal[0] for refusal in found.refusals["bytes"]] == [code]
    assert not found.documents


def test_a_part_of_the_answer_is_no_part_of_the_question():
    parts = only("parts")
    parts[0]["parts"][0]["document"] = "request"
    assert check([*only("statement"), *parts])[0].refusals["bytes"][0][0] == "parts.root"


def test_what_was_sent_is_bound_when_something_was_rewritten():
    sent = b'{"model":"other"}'
    network = Network()
    tree, sent_tree = network.request_parts.tree, commit("sent", sent, network.key).tree
    route = Route(
        tree, sent_tree, "chat.completions", "stub", ("model",), (), cached=False, settlement="batch", streamed=False
    )
    assert check([stated(network.route(body=route_body(route))), disclosed("sent", sent)])[0].documents == {
        "sent": sent.decode()
    }
    assert "parts.unbound" in codes([*only("statement"), disclosed("sent", sent)])


# Marks


def marked(mark, signer=NETWORK.gateway):
    return item("mark", mark=mark.to_json(signer.sign(mark.message(RUN))))


def test_a_mark_alone_is_compared_with_nothing():
    assert "mark.unbound" in codes(only("mark"))


def test_a_mark_by_a_stranger_is_refused():
    assert "mark.signature" in codes([*only("statement"), marked(NETWORK.mark(), ed25519_signer("x", "statement"))])


@pytest.mark.parametrize("changes", [{"seq": 4}, {"seq": 4, "parts": bytes(32)}, {"parts": bytes(32)}])
def test_a_signed_mark_after_the_last_or_another_last_is_refused(changes):
    mark = dataclasses.replace(NETWORK.mark(), **changes)
    assert "mark.chain" in codes([*only("statement"), marked(mark)])


def test_an_earlier_mark_is_none_the_worse_for_the_last():
    mark = dataclasses.replace(NETWORK.mark(), seq=2)
    assert "mark.chain" not in codes([*only("statement"), marked(mark)])
    assert "mark.signature" in codes([*only("statement"), marked(mark, ed25519_signer("x", "statement"))])


def test_a_mark_before_the_end_is_checked_by_the_routes_key():
    assert ("yes", None) in check([stated(ROUTE), marked(NETWORK.mark())])[1]
    assert "mark.signature" in codes([stated(ROUTE), marked(NETWORK.mark(), ed25519_signer("x", "statement"))])


def test_a_mark_of_an_unknown_node_is_beyond_telling():
    assert "trust.unknown_key" in codes([stated(ROUTE), marked(NETWORK.mark())], trust=NETWORK.trust(nodes=[]))
    assert "trust.unknown_key" in codes([stated(ROUTE), marked(NETWORK.mark())], trust=None)


# Without trust


def test_without_trust_nobody_is_judged():
    found, said = check(JOURNAL, trust=None)
    assert said[-1] == ("cannot_tell", "trust.missing")
    assert not any(checked.judged for checked in found.statements.values())
    assert not found.checkpoints
    assert not found.final_rounds


# Checkpoints and time


def checkpoint(size=4, root=bytes(32), key=None, cosigners=(), moment=None, origin=ORIGIN):
    signer = key or NETWORK.log
    raw = notes.sign_checkpoint(
        Checkpoint(origin, size, root), VerifierKey(origin, notes.ED25519, signer.key.public), signer.sign
    )
    note = notes.parse_note(raw)
    lines = [node.cosign(note.text, moment or at(1)) for node in cosigners]
    return item("checkpoint", note=note.with_signatures(lines).raw.decode())


def test_a_log_that_trust_does_not_know_is_beyond_telling():
    for trust in (NETWORK.trust(logs=[]), trust_with("nodes", lambda nodes: nodes.pop(1))):
        found, said = check(only("checkpoint"), trust=trust)
        assert said == [("cannot_tell", "trust.unknown_log")]
        assert not found.checkpoints


def test_a_statement_key_signs_no_checkpoint():
    network = Network()
    network.log_document = build_key_document("log", ["log"], "", [ed25519_signer("log", "statement").key])
    network.log = ed25519_signer("log", "statement")
    found, said = check(network.journal(), trust=network.trust())
    assert ("cannot_tell", "trust.unknown_log") in said
    assert not found.checkpoints


@pytest.mark.parametrize("note", ["", "text\n", "o\n1\nAA==\n\n\u2014 x AAAAAAA=\n"])
def test_a_note_that_is_no_checkpoint_refuses_the_settlement(note):
    found, _ = check([item("checkpoint", note=note)])
    assert len(found.refusals["settlement"]) == 1


def test_a_checkpoint_by_another_key_refuses_the_settlement():
    found, _ = check([checkpoint(key=ed25519_signer("x", "log"))])
    assert found.refusals["settlement"][0][0] == "note.unsigned"


def test_a_cosignature_by_a_stranger_is_ignored_and_a_forged_one_refuses():
    stranger = FullNode("full-9")
    assert check([checkpoint(cosigners=[stranger])])[0].checkpoints[0].cosigners == ()
    forged = checkpoint(cosigners=NETWORK.full_nodes[:1])
    other = checkpoint(root=b"\x01" * 32, cosigners=NETWORK.full_nodes[:1])
    forged["note"] = other["note"].rsplit("\u2014", 1)[0] + "\u2014" + forged["note"].rsplit("\u2014", 1)[1]
    assert check([forged])[0].refusals["settlement"][0][0] == "note.signature"


@pytest.mark.parametrize(
    ("member", "span", "counts"),
    [
        ("logs", {"valid_until": at(1)}, False),
        ("logs", {"valid_until": at(1.001)}, True),
        ("logs", {"valid_from": at(1.001)}, False),
        ("logs", {"valid_from": at(1)}, True),
        ("nodes", {"valid_until": at(1)}, False),
        ("nodes", {"valid_from": at(1)}, True),
    ],
)
def test_a_log_speaks_while_trust_admits_it(member, span, counts):
    place = 1 if member == "nodes" else 0
    trust = trust_with(
        member, lambda items: items[place].update({key: time_encode(value) for key, value in span.items()})
    )
    found, _ = check(only("checkpoint"), trust=trust)
    assert bool(found.checkpoints) is counts


def test_a_revoked_log_key_contradicts_nobody():
    revoked = {"at": time_encode(at(9)), "suspect_since": time_encode(at(5)), "reason": "stolen"}
    trust = trust_with("nodes", lambda nodes: nodes[1].update(revoked=revoked))
    found, _ = check([*only("checkpoint"), checkpoint(root=b"\x07" * 32)], trust=trust)
    assert not found.refusals["settlement"]
    assert len(found.checkpoints) == 1
    assert "log.equivocation" in codes([*only("checkpoint"), checkpoint(root=b"\x07" * 32)])


@pytest.mark.parametrize(("cosigners", "dated"), [(2, False), (3, True), (4, True)])
def test_more_than_two_thirds_of_the_stake_date_a_checkpoint(cosigners, dated):
    found, _ = check([checkpoint(cosigners=NETWORK.full_nodes[:cosigners], moment=at(3))])
    assert found.checkpoints[0].quorum_at == (at(3) if dated else None)


def test_a_checkpoint_is_dated_when_the_quorum_was_reached():
    raw = notes.parse_note(checkpoint()["note"].encode())
    lines = [node.cosign(raw.text, at(3 - place)) for place, node in enumerate(NETWORK.full_nodes)]
    again = NETWORK.full_nodes[0].cosign(raw.text, at(-60))  # one node's earlier word moves nothing but its own
    note = raw.with_signatures([*lines, again]).raw.decode()
    found, _ = check([item("checkpoint", note=note)])
    assert found.checkpoints[0].quorum_at == at(1)


@pytest.mark.parametrize(("revoked", "cosigners"), [(at(1), 3), (at(1) + dt.timedelta(milliseconds=1), 4)])
def test_a_cosigner_counts_until_it_became_suspect(revoked, cosigners):
    mark = {"at": time_encode(at(9)), "suspect_since": time_encode(revoked), "reason": "stolen"}
    trust = trust_with("nodes", lambda nodes: nodes[2].update(revoked=mark))
    assert len(check(only("checkpoint"), trust=trust)[0].checkpoints[0].cosigners) == cosigners


def test_a_node_without_the_role_is_no_witness():
    network = Network()
    node = network.full_nodes[0]
    node.document = build_key_document(node.name, ["log"], "", [node.cosignature.key, node.vote.key])
    found, _ = check(network.journal(), trust=network.trust())
    assert len(found.checkpoints[0].cosigners) == 3


def test_a_cosignature_beyond_the_calendar_dates_nothing_today():
    lines = [
        notes.sign_note(
            notes.parse_note(checkpoint()["note"].encode()).text,
            VerifierKey(node.name, notes.COSIGNATURE, node.cosignature.key.public),
            node.cosignature.sign,
            2**63 - 1,
        )
        for node in NETWORK.full_nodes
    ]
    note = notes.parse_note(checkpoint()["note"].encode()).with_signatures(lines).raw.decode()
    assert check([item("checkpoint", note=note)])[0].checkpoints[0].cosigners == ()


@pytest.mark.parametrize(
    ("bounds", "late"),
    [(CheckPolicy(1, 0), None), (CheckPolicy(0, 0), "backdated"), (CheckPolicy(600, 30), None)],
)
def test_a_dated_statement_is_held_to_the_bounds(bounds, late):
    found, _ = check(JOURNAL, bounds=bounds)
    assert found.closing.late == late
    assert bool(found.refusals["settlement"]) is bool(late)


def test_a_statement_from_the_future_is_refused():
    network = Network()
    journal = [*network.journal()]
    place = next(number for number, entry in enumerate(journal) if entry["kind"] == "checkpoint")
    journal[place]["note"] = network.checkpoint(moment=at(-60))
    found, _ = check(journal, trust=network.trust())
    assert found.closing.late == "future"


# Inclusion and order


def test_a_path_to_nowhere_is_beyond_telling():
    journal = without("checkpoint", "finality")
    assert "log.unanchored" in codes(journal)
    assert check(journal)[0].closing.index is None


def test_a_path_of_a_stranger_says_nothing_here():
    stranger = only("inclusion")[:1]
    stranger[0]["digest"] = "00" * 32
    assert "log.unanchored" in codes([*JOURNAL, *stranger])


@pytest.mark.parametrize("change", [{"index": 1}, {"proof": []}])
def test_a_path_that_leads_elsewhere_refuses(change):
    journal = copy.deepcopy(JOURNAL)
    next(entry for entry in journal if entry["kind"] == "inclusion").update(change)
    assert "log.inclusion" in codes(journal)


def test_a_path_under_two_different_roots_of_one_size_proves_nothing():
    found, said = check([*JOURNAL, checkpoint(root=b"\x07" * 32)])
    assert ("no", "log.equivocation") in said
    assert ("no", "log.inclusion") in said
    assert found.closing.index is None


def test_a_statement_before_its_parent_refuses_the_settlement():
    entries = NETWORK.entries()
    leaves = [merkle.leaf_hash(entry) for entry in [*entries[:2], entries[3], entries[2]]]
    paths = [
        item(
            "inclusion",
            digest=digest,
            index=index,
            size=4,
            proof=[h.hex() for h in merkle.inclusion_proof(leaves, index)],
        )
        for digest, index in zip(NETWORK.digests(), (3, 2), strict=True)
    ]
    journal = [*only("statement"), checkpoint(root=merkle.root(leaves)), *paths]
    assert "trace.order" in codes(journal)


def test_the_digest_of_a_commitment_is_no_digest_of_a_statement():
    network = Network(settlement="private")
    journal = network.journal()
    found, said = check(journal, trust=network.trust())
    assert len(found.commitments) == 2
    assert not found.refusals["settlement"]
    assert found.closing.verdict == "cannot_tell"
    assert ("yes", None) in said


@pytest.mark.parametrize(
    "change",
    [
        {"salt": "00" * 32},
        {"entry": b64_encode(build_commitment("00" * 32, bytes(32)))},
        {"entry": b64_encode(b"something else")},
    ],
)
def test_a_commitment_that_does_not_open_refuses(change):
    network = Network(settlement="private")
    journal = network.journal()
    next(entry for entry in journal if entry["kind"] == "commitment").update(change)
    assert "commitment.opening" in {code for _, code in check(journal, trust=network.trust())[1]}


# Rounds


def finality(candidate, signers, domain=NETWORK.domain):
    return item("finality", round=candidate.to_json(), messages=[node.finality(domain, candidate) for node in signers])


CANDIDATE = NETWORK.candidate()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"chains": []}, "trust.epoch"),
        ({"epochs": []}, "trust.epoch"),
    ],
)
def test_a_round_that_trust_cannot_place_is_beyond_telling(change, code):
    found, said = check(only("finality"), trust=NETWORK.trust(**change))
    assert said == [("cannot_tell", code)]
    assert not found.final_rounds


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (finality(NETWORK.candidate(epoch=2), NETWORK.full_nodes), "trust.epoch"),
        (finality(CANDIDATE, NETWORK.full_nodes, rounds.ChainDomain(1, NETWORK.domain.contract)), "round.signer"),
        (finality(CANDIDATE, [*NETWORK.full_nodes, FullNode("full-9")]), "round.signer"),
    ],
)
def test_finality_that_does_not_hold_refuses(messages, code):
    found, said = check([messages])
    assert ("no", code) in said
    assert [refusal[0] for refusal in found.refusals["settlement"]] == [code]


@pytest.mark.parametrize("name", ["root", "verdict_root", "previous", "blob_id", "size", "number", "origin"])
def test_a_message_is_for_one_content_only(name):
    changed = only("finality")
    value = changed[0]["round"][name]
    changed[0]["round"][name] = value + 1 if isinstance(value, int) else value + "x" if name == "origin" else "11" * 32
    trust = NETWORK.trust()
    found, _ = check(changed, trust=trust)
    assert not any(one.final for one in found.final_rounds.values())
    assert bool(found.refusals["settlement"]) is (name != "origin")


@pytest.mark.parametrize(("signers", "final"), [(0, False), (2, False), (3, True), (4, True)])
def test_a_round_is_final_above_two_thirds(signers, final):
    one = check([finality(CANDIDATE, NETWORK.full_nodes[:signers])])[0].final_rounds[1]
    assert (one.final, one.stake_for, one.stake_total) == (final, signers * 100, 400)


def test_a_revoked_member_does_not_count_and_its_stake_stays():
    mark = {"at": time_encode(at(9)), "suspect_since": time_encode(at(9)), "reason": "stolen"}
    trust = trust_with("nodes", lambda nodes: nodes[2].update(revoked=mark))
    one = check([finality(CANDIDATE, NETWORK.full_nodes[:3])], trust=trust)[0].final_rounds[1]
    assert (one.final, one.stake_for, one.stake_total, len(one.signers)) == (False, 200, 400, 2)


def test_a_member_whose_vote_key_is_not_known_is_silent_stake():
    trust = trust_with("nodes", lambda nodes: nodes.pop(2))
    for count, final in [(2, False), (3, True)]:
        found, said = check([finality(CANDIDATE, NETWORK.full_nodes[1 : 1 + count])], trust=trust)
        one = found.final_rounds[1]
        assert (one.final, one.stake_for, one.stake_total) == (final, count * 100, 400)
        assert ("cannot_tell", "trust.epoch") in said
        assert not found.refusals["settlement"]


def test_a_refused_set_takes_nothing_from_a_final_one():
    stray = finality(CANDIDATE, NETWORK.full_nodes[:1])
    for journal in ([*only("finality"), stray], [stray, *only("finality")]):
        assert check(journal)[0].final_rounds[1].final


def test_two_final_contents_of_one_round_refuse():
    other = NETWORK.candidate(root=b"\x07" * 32)
    assert "round.equivocation" in codes([*only("finality"), finality(other, NETWORK.full_nodes)])


def test_a_bundle_speaks_of_one_log():
    stray = item("candidate", round=NETWORK.candidate(origin="another.log/1").to_json())
    assert "bundle.origins" in codes([*JOURNAL, stray])
    assert "bundle.origins" not in codes(JOURNAL)


def test_only_full_nodes_of_the_epoch_may_vote():
    epoch = TRUST.epoch(ORIGIN, 1)
    assert voters_of(TRUST, epoch) == {node.vote.address: node.document.name for node in NETWORK.full_nodes}
    assert voters_of(NETWORK.trust(nodes=[]), epoch) == {}


# Verdicts


@pytest.mark.parametrize("change", [{"position": 1}, {"code": "cannot_tell"}, {"proof": []}, {"index": 9}])
def test_a_verdict_that_is_not_under_its_root_refuses(change):
    journal = copy.deepcopy(JOURNAL)
    next(entry for entry in journal if entry["kind"] == "verdict").update(change)
    assert "round.verdict_inclusion" in codes(journal)


def test_a_verdict_of_a_round_that_is_not_final_is_not_read():
    found, said = check(without("finality"))
    assert ("cannot_tell", "round.not_final") in said
    assert found.closing.verdict is None


def test_a_verdict_on_a_stranger_is_nobodys():
    found, _ = check([*only("finality"), *only("verdict")])
    assert not found.statements


def test_a_verdict_at_another_place_than_the_path_refuses():
    network = Network()
    entries = [*network.verdicts()]
    entries[3] = dataclasses.replace(entries[3], index=9)
    candidate = network.candidate(verdict_root=rounds.verdict_root(entries))
    leaves = [merkle.leaf_hash(entry.leaf) for entry in entries]
    verdict = item(
        "verdict",
        **{**entries[3].to_json(), "number": 1, "position": 3, "size": 4},
        proof=[h.hex() for h in merkle.inclusion_proof(leaves, 3)],
    )
    journal = [*without("finality", "verdict", "candidate"), finality(candidate, network.full_nodes), verdict]
    assert "round.verdict_index" in codes(journal)


# Attestation


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({}, "development"),
        ({"evidence": b64_encode(bytes(64))}, "bad"),
        ({"evidence": ""}, "bad"),
        ({"node": "00" * 32}, "bad"),
        ({"format": "aws-nitro"}, "unread"),
        ({"format": "verified"}, "unread"),
    ],
)
def test_an_attestation_is_development_bad_or_unread(change, answer):
    given = only("attestation")[0] | change
    found, _ = check([given])
    assert [one.answer for one in found.attestations[given["node"]]] == [answer]


@pytest.mark.parametrize(
    "enclave_roots",
    [
        [],
        [{"kind": "aws-nitro", "certificate": b64_encode(NETWORK.enclave_root.key.public), "development": False}],
        [{"kind": "insecure-dev", "certificate": b64_encode(b"short"), "development": True}],
        [{"kind": "insecure-dev", "certificate": b64_encode(bytes(32)), "development": True}],
    ],
)
def test_a_root_that_is_not_the_right_one_vouches_for_nobody(enclave_roots):
    found, _ = check(only("attestation"), trust=NETWORK.trust(enclave_roots=enclave_roots))
    (checked,) = found.attestations[NETWORK.gateway_document.digest]
    assert (checked.form, checked.answer) == ("insecure-dev", "bad")


# Keys that ran out


@pytest.mark.parametrize(
    ("end", "suspect", "refusal", "ran_out"),
    [
        (at(60), None, "key-expired", True),
        (at(60), at(9_000), "key-expired", False),
        (at(60), at(30), "key-expired", False),
        (at(60), at(120), "key-expired", False),
        (at(0.5), None, "key-expired", False),
        (at(900), at(30), "key-revoked", False),
        (at(900), at(600), "key-revoked", False),
        (at(900), None, None, False),
    ],
)
def test_only_the_calendar_lets_an_undated_key_run_out(end, suspect, refusal, ran_out):
    revoked = suspect and {"at": time_encode(at(10)), "suspect_since": time_encode(suspect), "reason": "stolen"}
    trust = trust_with("nodes", lambda nodes: nodes[0].update(valid_until=time_encode(end), revoked=revoked or None))
    found, _ = check(only("statement"), trust=trust, moment=at(300))
    assert (found.closing.refusal, found.closing.ran_out) == (refusal, ran_out)


def test_a_payment_is_a_follow_up():
    payload = Paid().payload
    found, _ = check([*only("statement"), stated(payload)])
    assert [checked.statement.kind for checked in found.follow_ups] == ["payment"]
