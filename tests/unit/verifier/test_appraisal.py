"""The eleven lanes, rule by rule (``lanes.md`` §3), and that judging them touches nothing but its arguments."""

from __future__ import annotations

import copy
import datetime as dt
import itertools
import json
import random
import secrets
import socket
import time

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.keys import build_key_document
from holdfast.core.statements import (
    Execution,
    Route,
    build_envelope,
    build_payload,
    execution_body,
    pre_authentication_encoding,
    route_body,
)
from holdfast.core.trust import ENCLAVE_KINDS
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.chronology import chronology
from holdfast.verifier.lanes import BASES, LANES, STATES
from holdfast.verifier.policy import DEFAULT_POLICY, build_policy, parse_policy
from tests.helpers.decisions import Made, trust_with_panel
from tests.helpers.network import FROM, ORIGIN, RUN, SECRET, UNTIL, Network, at, bundle_of, ed25519_signer, p256_signer
from tests.helpers.payment_documents import Paid, following

POLICY = parse_policy(DEFAULT_POLICY)
NETWORK = Network()
TRUST = NETWORK.trust()
PANEL_TRUST = trust_with_panel(NETWORK)
JOURNAL = NETWORK.journal()
ROUTE, EXECUTION = NETWORK.route(), NETWORK.execution()
SPAN = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL), "revoked": None}


def judge(journal, trust=TRUST, moment=None, known=None, policy=POLICY):
    return appraise(parse_bundle(bundle_of(journal)), trust, policy, moment or at(10), known)


def lanes(journal, **options):
    """State and basis by lane."""
    result = judge(journal, **options)
    assert list(result.lanes) == list(LANES)
    for name, lane in result.lanes.items():
        assert lane.name == name
        assert lane.state in STATES
        assert lane.basis is None or lane.basis in BASES
        assert lane.says
    return {name: (lane.state, lane.basis) for name, lane in result.lanes.items()}


def story(network, **options):
    return lanes(network.journal(**options), trust=network.trust())


def only(*kinds):
    return [copy.deepcopy(item) for item in JOURNAL if item["kind"] in kinds]


def without(*kinds):
    return [copy.deepcopy(item) for item in JOURNAL if item["kind"] not in kinds]


def item(kind, **members):
    return {"kind": kind, "at": time_encode(at(1)), **members}


def stated(payload, signer=None, network=NETWORK):
    return item("statement", envelope=canonical.decode(network.seal(payload, signer)))


def trust_with(member, change):
    value = canonical.decode(NETWORK.trust_version())
    change(value[member])
    return NETWORK.trust(**{member: value[member]})


STRANGER = ed25519_signer("stranger", "statement")

# 1. bytes


@pytest.mark.parametrize(
    "journal",
    [
        [stated(ROUTE, STRANGER), stated(EXECUTION)],
        [stated(ROUTE), stated(EXECUTION, STRANGER)],
        [stated(NETWORK.route(attester="00" * 32)), stated(EXECUTION)],
        [stated(ROUTE), stated(NETWORK.execution(claimed_at=FROM - dt.timedelta(seconds=1)))],
        [stated(ROUTE), stated(EXECUTION), stated(NETWORK.route(run=RUN[:-1] + "0"))],
        [stated(ROUTE, STRANGER)],
    ],
)
def test_bytes_are_refuted_when_any_statement_says_no(journal):
    assert lanes(journal)["bytes"] == ("refuted", None)


def test_bytes_are_refuted_by_a_disclosure_that_does_not_fit():
    shown = item("document", document="request", text="{}", secret=SECRET.hex())
    assert lanes([*only("statement"), shown])["bytes"] == ("refuted", None)


def test_bytes_are_proven_by_signature_and_name_the_key_as_unattested():
    lane = judge(JOURNAL).lanes["bytes"]
    assert (lane.state, lane.basis) == ("proven", "signature")
    assert f"The key {NETWORK.gateway_document.digest[:12]} is not attested by hardware." in lane.says
    assert lane.evidence == (sha256_hex(ROUTE), sha256_hex(EXECUTION))


def test_bytes_are_pending_while_the_run_is_open():
    assert lanes([])["bytes"] == ("pending", None)
    assert lanes([stated(ROUTE)])["bytes"] == ("pending", None)


def test_bytes_are_unknown_without_trust_or_a_parent():
    assert lanes(JOURNAL, trust=None)["bytes"] == ("unknown", None)
    assert lanes([stated(EXECUTION)])["bytes"] == ("unknown", None)


@pytest.mark.parametrize(
    ("event", "outcome", "words"),
    [
        ("failed", "upstream.timeout", "There is no whole answer: failed (upstream.timeout)."),
        ("interrupted", "gateway.crash", "There is no whole answer: interrupted (gateway.crash)."),
        ("generated", "upstream.cut", "as far as it was generated (upstream.cut)."),
    ],
)
def test_bytes_say_what_there_is_of_an_answer(event, outcome, words):
    tree = NETWORK.response_parts.tree if event == "generated" else None
    body = execution_body(Execution(event, outcome, tree, None, "stub"))
    subject = ("response", tree.root) if tree else ("request", NETWORK.request_parts.tree.root)
    lane = judge([stated(ROUTE), stated(NETWORK.execution(body=body, subject=subject))]).lanes["bytes"]
    assert lane.state == "proven"
    assert words in lane.says


def test_bytes_of_a_p256_gateway_are_proven_as_well():
    network = Network(gateway=p256_signer("gateway", "statement"))
    journal = [stated(network.route(), network=network), stated(network.execution(), network=network)]
    assert lanes(journal, trust=network.trust())["bytes"] == ("proven", "signature")


# 2. route


def test_a_route_is_refuted_when_it_fails():
    assert lanes([stated(ROUTE, STRANGER), stated(EXECUTION)])["route"] == ("refuted", None)


@pytest.mark.parametrize(
    "journal",
    [
        [stated(ROUTE), stated(NETWORK.execution(nonce="another-nonce-of-16"))],
        [stated(NETWORK.route(claimed_at=at(0.6))), stated(EXECUTION)],
        [stated(ROUTE), stated(NETWORK.execution(parents=[]))],
    ],
)
def test_a_route_is_refuted_when_the_execution_contradicts_it(journal):
    assert lanes(journal)["route"] == ("refuted", None)


def test_a_route_is_pending_before_there_is_one_and_unknown_without_trust():
    assert lanes([])["route"] == ("pending", None)
    assert lanes(JOURNAL, trust=None)["route"] == ("unknown", None)


def test_a_route_stands_when_only_the_execution_fails():
    assert lanes([stated(ROUTE), stated(EXECUTION, STRANGER)])["route"] == ("proven", "signature")


def test_a_route_says_what_was_done():
    tree = NETWORK.request_parts.tree
    body = route_body(
        Route(
            tree,
            tree,
            "chat.completions",
            "b",
            ("holdfast-removed", "model"),
            ("a",),
            cached=True,
            settlement="batch",
            streamed=False,
        )
    )
    says = judge([stated(NETWORK.route(body=body))]).lanes["route"].says
    for words in ("upstream b", "after a failed", "rewritten (model)", "from a cache"):
        assert words in says
    plain = judge(JOURNAL).lanes["route"].says
    for words in ("upstream stub", "no fallback", "nothing that was asked was rewritten", "no cache"):
        assert words in plain


# 3. settlement


def test_settlement_is_refuted_by_a_final_verdict():
    assert story(Network(verdict="refuted:backdated"))["settlement"] == ("refuted", "development")


@pytest.mark.parametrize("kind", ["inclusion", "verdict"])
def test_settlement_is_refuted_by_a_path_that_leads_elsewhere(kind):
    journal = copy.deepcopy(JOURNAL)
    next(entry for entry in journal if entry["kind"] == kind)["proof"] = ["00" * 32] * 2
    assert lanes(journal)["settlement"] == ("refuted", None)


def test_settlement_is_refuted_by_a_time_that_the_log_contradicts():
    assert lanes(JOURNAL, policy=parse_policy(build_policy("strict", max_span_s=0)))["settlement"] == ("refuted", None)


@pytest.mark.parametrize(("development", "basis"), [(True, "development"), (False, "proof")])
def test_settlement_is_proven_by_finality_and_says_on_which_chain(development, basis):
    network = Network(development=development)
    assert story(network)["settlement"] == ("proven", basis)
    assert (
        "development chain" in judge(network.journal(), trust=network.trust()).lanes["settlement"].says
    ) is development


def test_one_development_chain_is_enough_to_say_so():
    network = Network(development=False)
    chains = canonical.decode(network.trust_version())["chains"]
    trust = network.trust(chains=[chains[0] | {"development": True}])
    assert lanes(network.journal(), trust=trust)["settlement"] == ("proven", "development")


@pytest.mark.parametrize(("messages", "state"), [(0, "pending"), (2, "pending"), (3, "proven")])
def test_settlement_takes_more_than_two_thirds(messages, state):
    assert story(NETWORK, finality=messages)["settlement"][0] == state


def test_settlement_needs_no_checkpoint_beside_a_final_round():
    assert story(NETWORK, cosigners=0)["settlement"] == ("proven", "development")


@pytest.mark.parametrize("missing", ["inclusion", "verdict", "finality"])
def test_settlement_is_pending_while_a_link_is_missing(missing):
    assert lanes(without(missing))["settlement"] == ("pending", None)


def test_settlement_is_pending_when_only_one_statement_is_settled():
    for place in (0, 1):
        journal = [entry for entry in JOURNAL if entry != only("verdict")[place]]
        assert lanes(journal)["settlement"] == ("pending", None)
    journal = [entry for entry in JOURNAL if entry != only("statement")[0]]
    assert lanes(journal)["settlement"] == ("pending", None)


def test_settlement_is_unknown_when_the_round_cannot_tell():
    assert story(Network(verdict="cannot_tell"))["settlement"] == ("unknown", None)


def test_settlement_of_a_private_run_ends_at_unknown():
    network = Network(settlement="private")
    assert story(network)["settlement"] == ("unknown", None)
    journal = [entry for entry in network.journal() if entry["kind"] != "inclusion"]
    assert lanes(journal, trust=network.trust())["settlement"] == ("pending", None)


def test_settlement_without_trust_is_unknown():
    assert lanes(JOURNAL, trust=None)["settlement"] == ("unknown", None)


@pytest.mark.parametrize(
    ("journal", "words"),
    [
        ([], "Nothing has been answered yet."),
        ([stated(ROUTE)], "Asked; not answered yet."),
        (only("statement"), "Answered; not in the log yet."),
        (only("statement", "entry"), "logged as entry 3; waiting for a final round that covers execution and route."),
        (only("statement", "inclusion", "checkpoint"), "logged as entry 3; cosigned by 4 full nodes; waiting"),
        (
            only("statement", "entry", "candidate"),
            "In round 1, 0 of 4 full nodes have voted, not yet full-1, full-2, full-3, full-4, by the gateway",
        ),
        (
            only("statement", "entry", "candidate", "votes"),
            "In round 1, 3 of 4 full nodes have voted, not yet full-4, by the gateway's account",
        ),
    ],
)
def test_settlement_says_how_far_it_has_come(journal, words):
    lane = judge(journal).lanes["settlement"]
    assert lane.state == "pending"
    assert words in lane.says


def test_settlement_says_how_much_stake_is_missing_without_the_revoked():
    mark = {"at": time_encode(at(9)), "suspect_since": time_encode(at(9)), "reason": "stolen"}
    trust = trust_with("nodes", lambda nodes: nodes[2].update(revoked=mark))
    journal = NETWORK.journal(finality=3)
    says = (
        judge([one for one in journal if one["kind"] not in {"candidate", "votes"}], trust=trust)
        .lanes["settlement"]
        .says
    )
    assert "from 2 full nodes, 200 of 400 units of stake: not more than two thirds." in says


SILENT = "2 of 4 full nodes do not answer the gateway: full-3, full-4; more than two thirds of the stake has to vote."


def test_a_pending_settlement_names_the_full_nodes_that_do_not_answer_and_changes_no_state():
    waiting = only("statement", "entry")
    silent = item("silence", silent=["full-3", "full-4"], asked=4)
    lane = judge([*waiting, silent]).lanes["settlement"]
    assert lane.state == "pending"
    assert lane.says.endswith(SILENT)
    one = judge([*waiting, item("silence", silent=["full-3"], asked=4)]).lanes["settlement"]
    assert "1 of 4 full nodes does not answer the gateway: full-3;" in one.says
    back = judge([*waiting, silent, item("silence", silent=[], asked=4)]).lanes["settlement"]
    assert back == judge(waiting).lanes["settlement"]
    assert judge([*JOURNAL, silent]).lanes["settlement"] == judge(JOURNAL).lanes["settlement"]


def test_a_silence_that_is_not_known_yet_is_not_told():
    waiting = only("statement", "entry")
    silent = item("silence", silent=["full-3"], asked=4)
    assert judge([*waiting, silent], known=len(waiting)).lanes == judge(waiting).lanes


def test_many_silent_full_nodes_are_named_in_part():
    names = sorted(f"node-{number}" for number in range(30))
    says = judge([*only("statement", "entry"), item("silence", silent=names, asked=64)]).lanes["settlement"].says
    assert "30 of 64 full nodes do not answer" in says
    assert "and 22 more; more than two thirds" in says


def test_settlement_of_a_round_whose_epoch_nobody_knows_counts_no_voters():
    journal = only("statement", "entry", "candidate", "votes")
    assert "0 of 0 full nodes" in judge(journal, trust=NETWORK.trust(epochs=[])).lanes["settlement"].says


# 4. enclave, and what a software key can never do


def test_an_enclave_is_unknown_without_an_attestation():
    lane = judge(without("attestation")).lanes["enclave"]
    assert (lane.state, lane.basis) == ("unknown", None)
    assert "No attestation" in lane.says


def test_an_enclave_of_a_software_key_is_unknown_by_development():
    assert lanes(JOURNAL)["enclave"] == ("unknown", "development")


def test_an_enclave_is_refuted_by_an_attestation_that_fails():
    journal = copy.deepcopy(JOURNAL)
    next(entry for entry in journal if entry["kind"] == "attestation")["evidence"] = b64_encode(bytes(64))
    assert lanes(journal)["enclave"] == ("refuted", None)
    assert lanes([*JOURNAL, *only("attestation")])["enclave"] == ("unknown", "development")
    assert lanes([*JOURNAL, journal[1]])["enclave"] == ("refuted", None)


def test_an_attestation_of_another_key_is_none_of_this_one():
    journal = [*without("attestation"), NETWORK.attestation() | {"node": "00" * 32}]
    assert lanes(journal)["enclave"] == ("unknown", None)


def test_an_attestation_that_is_not_read_is_no_attestation():
    given = NETWORK.attestation() | {"format": "aws-nitro"}
    lane = judge([*without("attestation"), given]).lanes["enclave"]
    assert (lane.state, lane.basis) == ("unknown", None)
    assert "aws-nitro evidence was presented; trust admits no root that it could end at." in lane.says


def test_an_attestation_without_trust_is_not_judged():
    lane = judge(JOURNAL, trust=None).lanes["enclave"]
    assert (lane.state, lane.basis) == ("unknown", None)
    assert "No attestation" not in lane.says


ZEROS = {
    "insecure-dev": {"key": NETWORK.gateway_document.digest},
    "aws-nitro": {"pcr0": "00" * 48},
    "intel-dcap": {"tee": "sgx", "mr_enclave": "00" * 32},
    "amd-sev-snp": {"measurement": "00" * 48},
    "nvidia": {"measurement1": "00" * 48},
}


def insecure_worlds():
    """Every way in which somebody might dress up a software key."""
    root = b64_encode(NETWORK.enclave_root.key.public)
    measured = [
        {"kind": kind, "role": "gateway", "value": ZEROS[kind], "debug": debug}
        | {name: SPAN[name] for name in ("valid_from", "valid_until")}
        for kind in ENCLAVE_KINDS
        for debug in (False, True)
    ]
    extra = [{"kind": kind, "certificate": root, "development": False} for kind in ENCLAVE_KINDS[1:]]
    own = [{"kind": "insecure-dev", "certificate": root, "development": True}]
    return itertools.product(
        (True, False), (own, [*own, *extra], [*extra, *own]), ([], measured), ((), ENCLAVE_KINDS), ("batch", "private")
    )


@pytest.mark.parametrize("world", list(insecure_worlds()))
def test_no_configuration_makes_a_software_key_look_like_hardware(world):
    development, enclave_roots, measurements, formats, settlement = world
    network = Network(development=development, settlement=settlement)
    trust = network.trust(enclave_roots=enclave_roots, measurements=measurements)
    claims = [network.attestation() | {"format": form} for form in formats]
    found = lanes([*network.journal(), *claims], trust=trust)
    judged = formats and len({root["kind"] for root in enclave_roots}) > 1
    assert found["enclave"] == (("refuted", None) if judged else ("unknown", "development"))
    assert found["privacy"] == ("unknown", None)
    assert found["computation"] == ("unknown", "provider_claim")
    assert found["inputs"][0] in {"unknown", "not_applicable"}
    assert not any(basis == "hardware" for _, basis in found.values())
    assert found["bytes"] == ("proven", "signature")


# 5 to 8. privacy, artifact, computation, inputs, memory


def test_privacy_says_who_saw_what():
    lane = judge(JOURNAL).lanes["privacy"]
    assert (lane.state, lane.basis) == ("unknown", None)
    assert "upstream stub saw the plaintext" in lane.says
    assert "the upstream saw the plaintext" in judge([]).lanes["privacy"].says


def test_an_artifact_is_the_providers_word():
    assert lanes([])["artifact"] == ("unknown", None)
    lane = judge(JOURNAL).lanes["artifact"]
    assert (lane.state, lane.basis) == ("unknown", "provider_claim")
    assert "has not been disclosed here" in lane.says
    shown = item("document", document="response", text=NETWORK.response.decode(), secret=SECRET.hex())
    assert "calls it 'small-1'" in judge([*only("statement"), shown]).lanes["artifact"].says


@pytest.mark.parametrize(
    "response", [b'{"choices":[]}', b'{"model":7}', b'{"model":null}', b'{"model":"m","n":' + b"1" * 5000 + b"}"]
)
def test_a_model_that_is_not_named_is_not_claimed(response):
    network = Network(response=response)
    shown = item("document", document="response", text=response.decode(), secret=SECRET.hex())
    journal = [stated(network.route()), stated(network.execution()), shown]
    assert "has not been disclosed" in judge(journal).lanes["artifact"].says


def test_a_computation_by_a_provider_cannot_be_checked():
    assert lanes([])["computation"] == ("unknown", None)
    assert lanes(JOURNAL)["computation"] == ("unknown", "provider_claim")


CARRIED = build_payload(
    "recall",
    run=RUN,
    attester=build_key_document("memory", ["memory"], "", [ed25519_signer("memory", "statement").key]).digest,
    claimed_at=at(0.1),
    parents=[],
    subject=("recall", bytes(32)),
    body={"model": "00" * 32, "record": "00" * 32},
)


def test_a_recall_by_nobody_whom_trust_knows_is_refused_and_what_was_not_carried_in_does_not_apply():
    route = NETWORK.route(parents=[sha256_hex(CARRIED)])
    found = lanes([stated(CARRIED), stated(route)])
    assert (found["memory"], found["inputs"]) == (("refuted", None), ("not_applicable", None))
    missing = lanes([stated(route)])
    assert missing["memory"] == missing["inputs"] == ("unknown", None)
    assert judge([stated(CARRIED), stated(route)]).lanes["memory"].evidence == (sha256_hex(CARRIED),)


def test_inputs_and_memory_are_pending_before_the_route():
    found = lanes([])
    assert found["inputs"] == found["memory"] == ("pending", None)
    assert lanes(JOURNAL)["inputs"] == lanes(JOURNAL)["memory"] == ("not_applicable", None)


# 9 and 10. payment, judgement


def test_a_payment_moves_the_payment_lane_and_no_other():
    assert lanes(JOURNAL)["payment"] == ("not_applicable", None)
    before = lanes(JOURNAL)
    charged = Paid()
    assert lanes([*JOURNAL, charged.statement_item()]) == before | {"payment": ("unknown", None)}
    assert lanes([*JOURNAL, *charged.items()]) == before | {"payment": ("pending", None)}
    captured = following(charged, "captured")
    after = lanes([*JOURNAL, *charged.items(), *captured.items()])
    assert after == before | {"payment": ("proven", "development")}


def test_a_decision_moves_the_judgement_lane_and_no_other():
    before = lanes(JOURNAL, trust=PANEL_TRUST)
    assert before["judgement"] == ("not_applicable", None)
    after = lanes([*JOURNAL, *Made().items()], trust=PANEL_TRUST)
    assert after == before | {"judgement": ("proven", "human")}


# Running out


@pytest.mark.parametrize("moment", [UNTIL - dt.timedelta(milliseconds=1), UNTIL])
def test_trust_that_has_run_out_expires_what_stood_on_it(moment):
    trust = trust_with(
        "nodes", lambda nodes: [node.update(valid_until=time_encode(UNTIL + dt.timedelta(days=9))) for node in nodes]
    )
    found = lanes(JOURNAL, trust=trust, moment=moment)
    if moment < UNTIL:
        assert found["bytes"] == ("proven", "signature")
        return
    assert {name for name, (state, _) in found.items() if state == "expired"} == {
        "enclave",
        "bytes",
        "route",
        "settlement",
    }
    assert found["settlement"] == ("expired", "development")
    assert found["artifact"] == ("unknown", "provider_claim")
    assert found["payment"] == ("not_applicable", None)


def test_what_was_refuted_stays_refuted_when_trust_runs_out():
    network = Network(verdict="refuted:backdated", expires_at=at(5))
    assert story(network)["settlement"] == ("refuted", "development")
    assert lanes([stated(ROUTE, STRANGER)], trust=NETWORK.trust(expires_at=time_encode(at(5))))["bytes"] == (
        "refuted",
        None,
    )


def gateway_until(end, suspect=None):
    revoked = suspect and {"at": time_encode(at(9)), "suspect_since": time_encode(suspect), "reason": "stolen"}
    return trust_with("nodes", lambda nodes: nodes[0].update(valid_until=time_encode(end), revoked=revoked or None))


def test_a_key_that_ran_out_before_anybody_dated_its_statements_is_expired():
    found = lanes(only("statement"), trust=gateway_until(at(5)))
    assert found["bytes"] == found["route"] == ("expired", None)


def test_a_key_that_ran_out_after_its_statements_were_dated_is_not():
    assert lanes(JOURNAL, trust=gateway_until(at(5)))["bytes"] == ("proven", "signature")


@pytest.mark.parametrize("end", [at(5), at(3600)])
def test_a_stolen_key_is_never_merely_expired(end):
    found = lanes(only("statement"), trust=gateway_until(end, suspect=at(2)))
    assert found["bytes"] == found["route"] == ("refuted", None)


@pytest.mark.parametrize("moment", [at(1), at(3), at(3600)])
def test_a_thief_cannot_choose_a_time_before_the_theft(moment):
    """The bundle's own time is its maker's word; undated, nothing shows that a statement is older than the theft."""
    trust = gateway_until(at(9_000), suspect=at(2))
    assert lanes(only("statement"), trust=trust, moment=moment)["bytes"] == ("refuted", None)
    assert lanes(JOURNAL, trust=gateway_until(at(9_000), suspect=at(60)), moment=moment)["bytes"] == (
        "proven",
        "signature",
    )


# The whole vector


def test_knowledge_is_a_position_and_cannot_be_negative():
    assert judge(JOURNAL, known=-3).known == judge(JOURNAL, known=0).known == 0
    assert judge(JOURNAL, known=10**6).known == judge(JOURNAL).known == len(JOURNAL)
    assert lanes(JOURNAL, known=-1) == lanes([])


def test_a_result_names_everything_it_was_made_from():
    result = judge(JOURNAL)
    assert result.bundle_digest == sha256_hex(bundle_of(JOURNAL))
    assert (result.policy_name, result.policy_digest) == ("default", POLICY.digest)
    assert result.to_json()["trust"] == {"digest": TRUST.digest, "pinned": "first-use", "development": True}
    assert judge(JOURNAL, trust=None).to_json()["trust"] == {"digest": None, "pinned": None, "development": None}
    assert list(result.to_json()) == ["run", "lanes", "known", "policy", "trust"]
    assert list(result.to_json()["lanes"]) == list(LANES)


def test_no_lane_borrows_from_another():
    """Each piece of evidence moves only the lanes that it is about."""
    whole = lanes(JOURNAL)
    for kind, about in [
        ("attestation", {"enclave"}),
        ("finality", {"settlement"}),
        ("verdict", {"settlement"}),
        ("votes", set()),
        ("note", set()),
        ("parts", set()),
        ("mark", set()),
    ]:
        less = lanes(without(kind))
        assert {name for name in LANES if less[name] != whole[name]} == about, kind


@pytest.fixture
def poisoned(monkeypatch):
    """A world in which nobody can look at a clock, a network, a file or chance."""

    def refuse(*_, **__):
        raise AssertionError("appraise looked at the world")

    for place, names in {
        socket: ("socket", "create_connection", "getaddrinfo"),
        time: ("time", "time_ns", "monotonic", "perf_counter", "sleep"),
        random: ("random", "randint", "choice"),
        secrets: ("token_bytes", "token_hex", "randbelow"),
    }.items():
        for name in names:
            monkeypatch.setattr(place, name, refuse)
    monkeypatch.setattr("os.urandom", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("uuid.uuid4", refuse)


@pytest.mark.parametrize("settlement", ["batch", "private"])
def test_appraising_twice_gives_the_same_bytes_and_looks_at_nothing_else(poisoned, settlement):
    network = Network(settlement=settlement)
    raw, trust = bundle_of(network.journal()), network.trust()
    results = []
    for _ in range(2):
        bundle = parse_bundle(raw)
        result = appraise(bundle, trust, POLICY, at(10), 9)
        results.append(
            json.dumps([result.to_json(), [check.to_json() for check in result.transcript], chronology(bundle)])
        )
    assert results[0] == results[1]


def test_appraising_changes_none_of_its_arguments():
    bundle = parse_bundle(bundle_of(JOURNAL))
    before = repr((bundle, TRUST, POLICY))
    appraise(bundle, TRUST, POLICY, at(10))
    assert repr((bundle, TRUST, POLICY)) == before
    assert ORIGIN in before


def test_a_forged_copy_beside_the_good_one_changes_nothing():
    forged = build_envelope(ROUTE, NETWORK.gateway.key.key_id, STRANGER.sign(pre_authentication_encoding(ROUTE)))
    copy_of = item("statement", envelope=canonical.decode(forged))
    assert lanes([copy_of, *JOURNAL]) == lanes([*JOURNAL, copy_of]) == lanes(JOURNAL)
