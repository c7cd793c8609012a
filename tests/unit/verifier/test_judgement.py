"""The ``judgement`` lane, and that no decision, good or bad, moves any other (``lanes.md`` §3(10))."""

from __future__ import annotations

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.merkle import inclusion_proof, leaf_hash
from holdfast.core.statements import build_commitment
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.judgement import MOST_QUOTED, MOST_TOLD
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.decisions import CASE, LANES, OTHER_CASE, POLICY, Made, document, trust_with_panel
from tests.helpers.network import NONCE, RUN, SECRET, Network, at, bundle_of, ed25519_signer

NETWORK = Network()
TRUST = trust_with_panel(NETWORK)
JOURNAL = NETWORK.journal()
OTHER_RUN = RUN[:-1] + "0"
MANY = [CASE, *(f"{number:08x}-0000-4000-8000-000000000000" for number in range(6))]


def judge(items, *, trust=TRUST, journal=JOURNAL, moment=None, known=None, policy=DEFAULT_POLICY):
    bundle = parse_bundle(bundle_of([*journal, *items]))
    return appraise(bundle, trust, parse_policy(policy), moment or at(10), known)


def lane(items, **options):
    """The lane, after making sure that all others are as they were without these items."""
    result, before = judge(items, **options), judge([], **options)
    for name, found in before.lanes.items():
        if name != "judgement":
            assert result.lanes[name] == found, name
    return result.lanes["judgement"]


def stands(items, **options):
    found = lane(items, **options)
    return found.state, found.basis


def codes(items, **options):
    return [check.code for check in judge(items, **options).transcript if check.answer == "no"]


RELEASED = Made(document(act="release", until=at(3600)))
RECALLED = Made(document(act="recall"), cases=MANY)
BEN = Made(document(act="reject", person="Ben Example", at=at(3)))

# What is refused


@pytest.mark.parametrize(
    ("items", "code"),
    [
        (Made(attester="00" * 32).items(), "statement.unknown-key"),
        (Made(attester=NETWORK.gateway_document.digest).items(), "statement.role"),
        (Made(signer=ed25519_signer("stranger", "statement")).items(), "statement.signature"),
        (Made(parents=[]).items(), "trace.rules"),
        (Made(parents=[sha256_hex(NETWORK.route())]).items(), "trace.rules"),
        (Made(parents=sorted([sha256_hex(NETWORK.route()), Made().digest])).items() + Made().items(), "trace.rules"),
        (Made(nonce=NONCE + "-2").items(), "trace.rules"),
        (Made(run=OTHER_RUN).items(), "trace.run"),
        (Made(document(at=at(-29.501))).items(), "decision.early"),
        ([Made().statement_item(), Made().opening_item(salt="00" * 32)], "decision.record"),
        ([Made().statement_item(), Made().opening_item(salt=Made(salt=bytes(32)).salt.hex())], "decision.record"),
        ([Made().statement_item(), Made().opening_item(document=BEN.document.raw.decode())], "decision.record"),
        ([*Made().items(), Made().opening_item(document=BEN.document.raw.decode())], "decision.record"),
        ([Made().statement_item(), BEN.statement_item(), BEN.opening_item(digest=Made().digest)], "decision.record"),
        (Made(body={"case": OTHER_CASE}).items(), "decision.case"),
        (Made(body={"act": "reject"}).items(), "decision.act"),
        (Made(document(run=OTHER_RUN)).items(), "decision.run"),
        (Made(claimed_at=at(1)).items(), "decision.at"),
        ([RECALLED.statement_item(), RECALLED.opening_item(path={"index": 0, "proof": []})], "decision.batch"),
        ([Made().statement_item(), Made().opening_item(path={"index": 0, "proof": []})], "decision.batch"),
        ([Made().statement_item(), RECALLED.opening_item(digest=sha256_hex(NETWORK.route()))], "decision.record"),
    ],
)
def test_a_decision_that_is_not_what_it_is_shown_as_is_refuted(items, code):
    assert stands(items) == ("refuted", None)
    assert code in codes(items)


def test_one_bad_decision_is_not_hidden_by_good_ones():
    bad = [BEN.statement_item(), BEN.opening_item(salt="00" * 32)]
    assert stands([*Made().items(), *RELEASED.items(), *bad]) == ("refuted", None)


def test_a_gateway_that_signs_the_panels_opinion_is_refused_whoever_else_it_may_be():
    found = lane(Made(attester=NETWORK.gateway_document.digest, signer=NETWORK.gateway).items())
    assert found.state == "refuted"


@pytest.mark.parametrize(
    ("suspect", "expected"), [(at(1), ("refuted", None)), (at(9), ("refuted", None)), (at(3600), ("refuted", None))]
)
def test_a_stolen_panel_key_decides_nothing_that_nobody_dated(suspect, expected):
    revoked = {"at": time_encode(at(9)), "suspect_since": time_encode(suspect), "reason": "stolen"}
    assert stands(Made().items(), trust=trust_with_panel(NETWORK, revoked=revoked)) == expected


def test_a_panel_key_that_ran_out_undated_is_expired():
    trust = trust_with_panel(NETWORK, valid_until=time_encode(at(5)))
    assert stands(Made().items(), trust=trust) == ("expired", None)


# The log and the full nodes


class Logged(Network):
    """The network, with one more entry: a decision. It was dated and settled with the rest."""

    made = Made()
    own = "ok"
    private = False

    def entries(self):
        entry = self.made.envelope
        return [*super().entries(), entry] if not self.private else [*super().entries(), commitment_of(self.made)[0]]

    def journal(self, **options):
        items = super().journal(**options)
        leaves = [leaf_hash(entry) for entry in self.entries()]
        proof = [step.hex() for step in inclusion_proof(leaves, 4)]
        digest = sha256_hex(commitment_of(self.made)[0]) if self.private else self.made.digest
        inclusion = {"digest": digest, "index": 4, "size": 5, "proof": proof}
        return [*items, *self.made.items(), {"kind": "inclusion", "at": time_encode(at(6)), **inclusion}]

    def verdicts(self):
        found = super().verdicts()
        return [*found, type(found[0])(4, bytes.fromhex(self.made.digest), self.own)]


def commitment_of(made):
    return build_commitment(made.digest, bytes(32)), bytes(32)


def logged(change=None, **fields):
    network = Logged()
    for name, value in fields.items():
        setattr(network, name, value)
    journal = network.journal()
    if change:
        change(journal)
    return appraise(parse_bundle(bundle_of(journal)), trust_with_panel(network), parse_policy(DEFAULT_POLICY), at(10))


def settled(result):
    return {name: (result.lanes[name].state, result.lanes[name].basis) for name in ("bytes", "settlement", "judgement")}


FINE = {"bytes": ("proven", "signature"), "settlement": ("proven", "development"), "judgement": ("proven", "human")}
BAD = FINE | {"judgement": ("refuted", None)}


def decision_verdict(journal):
    """The final verdict on entry 4 is shown too."""
    return [item for item in journal if item["kind"] == "verdict" and item["index"] == 4]


def test_a_logged_decision_is_dated_and_the_lane_says_so():
    assert settled(logged()) == FINE
    assert "a quorum dated it" in logged().lanes["judgement"].says


def test_a_final_refutation_of_a_decision_refutes_that_decision_and_not_the_run():
    found = logged(own="refuted:role")
    assert settled(found) == BAD
    assert "refuted:role" in found.lanes["judgement"].says


def test_a_forged_path_of_a_decision_takes_nothing_from_the_settlement():
    assert settled(logged(lambda journal: journal[-1]["proof"].__setitem__(0, "11" * 32))) == BAD


def test_a_forged_verdict_on_a_decision_takes_nothing_from_the_settlement():
    def lie(journal):
        for item in decision_verdict(journal):
            item["code"] = "ok"

    assert settled(logged(lie, own="refuted:role")) == BAD


def test_a_verdict_on_a_decision_at_another_place_takes_nothing_from_the_settlement():
    def move(journal):
        for item in decision_verdict(journal):
            item["index"] = 1

    assert settled(logged(move)) == BAD


@pytest.mark.parametrize("claimed_at", [at(-700), at(40)])
def test_a_decision_dated_too_late_or_from_the_future_takes_nothing_from_the_settlement(claimed_at):
    found = logged(made=Made(document(at=claimed_at)))
    assert settled(found) == BAD


def test_the_commitment_of_a_private_decision_opens_to_it():
    entry, salt = commitment_of(Made())
    shown = {"kind": "commitment", "at": time_encode(at(5)), "entry": b64_encode(entry), "salt": salt.hex()}
    network = Network(settlement="private")
    decided = Made(parents=[sha256_hex(network.execution())], claimed_at=at(0))
    assert lane([*decided.items()], journal=network.journal()).state == "proven"
    found = judge([shown]).lanes
    assert found["settlement"].state == "refuted"  # it opens to nothing that is here
    assert lane(Made().items()).state == "proven"


# What cannot be told


@pytest.mark.parametrize(
    ("items", "options", "expected"),
    [
        ([], {}, ("not_applicable", None)),
        ([Made().opening_item()], {}, ("not_applicable", None)),
        ([Made().statement_item()], {}, ("unknown", None)),
        (Made().items(), {"trust": None}, ("unknown", None)),
        ([*Made().items(), BEN.statement_item()], {}, ("unknown", None)),
        ([RECALLED.statement_item(), RECALLED.opening_item(path=None)], {}, ("unknown", None)),
        (Made(parents=["aa" * 32]).items(), {}, ("unknown", None)),
        (Made(document(framing=None)).items(), {}, ("unknown", "human")),
        ([*Made().items(), *Made(document(framing=None, at=at(3))).items()], {}, ("unknown", "human")),
        (Made(document(act="recall", person=None, role=None)).items(), {}, ("unknown", "operator_claim")),
    ],
)
def test_what_cannot_be_told_is_unknown_and_what_is_not_there_does_not_apply(items, options, expected):
    assert stands(items, **options) == expected


def test_nothing_is_judged_that_is_not_known_yet():
    items = Made().items()
    for known, state in ((len(JOURNAL), "not_applicable"), (len(JOURNAL) + 1, "unknown"), (None, "proven")):
        assert judge(items, known=known).lanes["judgement"].state == state


def test_a_lane_whose_trust_has_run_out_is_expired():
    trust = trust_with_panel(Network(expires_at=at(9)))
    assert judge(Made().items(), trust=trust).lanes["judgement"].state == "expired"
    bad = [Made().statement_item(), Made().opening_item(salt="00" * 32)]
    assert judge(bad, trust=trust).lanes["judgement"].state == "refuted"


# What the request recorded


def ruled(rule, *, shown=True):
    """A run whose request says how to decide, and a decision whose document does not."""
    request = canonical.encode({**canonical.decode(NETWORK.request.replace(b"0.50", b"1")), "holdfast": rule})
    network = Network(request=request)
    made = Made(document(rule=None, threshold=None, framing=None), parents=[sha256_hex(network.execution())])
    return judge(made.items(), trust=trust_with_panel(network), journal=network.journal(disclosed=shown))


def test_what_the_request_records_counts_where_the_decision_records_nothing():
    found = ruled({"decision_rule": {"rule": "Pay it.", "framing": "Be careful."}}).lanes["judgement"]
    assert (found.state, found.basis) == ("proven", "human")
    for words in ("rule 'Pay it.' as the request has it", "no threshold was recorded", "framing 'Be careful.' as the"):
        assert words in found.says


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        {},
        {"decision_rule": None},
        {"decision_rule": "Be careful."},
        {"decision_rule": ["framing"]},
        {"decision_rule": {"framing": None}},
        {"decision_rule": {"framing": ""}},
        {"decision_rule": {"framing": "a" * 8193}},
        {"decision_rule": {"framing": ["Be careful."]}},
        {"decision_rule": {"rule": "Pay it.", "threshold": "1"}},
    ],
)
def test_a_request_that_frames_nothing_frames_nothing(given):
    found = ruled(given).lanes["judgement"]
    assert (found.state, found.basis) == ("unknown", "human")


def test_a_request_that_is_not_shown_or_not_the_signed_one_frames_nothing():
    rule = {"decision_rule": {"framing": "Be careful."}}
    assert ruled(rule).lanes["judgement"].state == "proven"
    assert ruled(rule, shown=False).lanes["judgement"].state == "unknown"
    made = Made(document(framing=None))
    other = {"holdfast": rule, "model": "small-1", "messages": []}
    shown = {
        "kind": "document",
        "at": time_encode(at(1)),
        "document": "request",
        "text": canonical.encode(other).decode(),
        "secret": SECRET.hex(),
    }
    found = judge([*made.items(), shown], journal=NETWORK.journal(disclosed=False))
    assert found.lanes["judgement"].state == "unknown"
    assert found.lanes["bytes"].state == "refuted"


# What is proven


@pytest.mark.parametrize(
    "items",
    [
        Made().items(),
        [*Made().items(), *Made().items()],
        list(reversed(Made().items())),
        RELEASED.items(),
        RECALLED.items(),
        [*Made().items(), *BEN.items()],
        Made(document(rule=None, threshold=None)).items(),
        Made(document(at=at(-29.5))).items(),
        Made(nonce=NONCE).items(),
        [*Made().items(), *Made(document(act="recall", person=None, role=None, framing=None)).items()],
    ],
)
def test_who_decided_on_what_is_proven_by_a_signed_statement_and_its_document(items):
    assert stands(items) == ("proven", "human")


def test_the_lane_says_who_did_what_by_what_having_seen_what():
    says = lane(Made().items()).says
    for words in (
        "'Ann Example' (reviewer) approved at 2026-01-01T12:00:02.000Z",
        "saying 'The quote is in the file.'",
        "rule 'Two people read the source.', threshold '0.70', framing 'The model was told to be brief.'",
        f"having seen lane vector {LANES.hex()[:12]}, under policy {POLICY.hex()[:12]}",
        "its time is the panel's claim",
    ):
        assert words in says
    assert (
        "no rule was recorded, no threshold was recorded"
        in lane(Made(document(rule=None, threshold=None, reason="")).items()).says
    )
    assert "saying" not in lane(Made(document(reason="")).items()).says
    assert "released early until 2026-01-01T13:00:00.000Z" in lane(RELEASED.items()).says
    assert "recalled it with 6 other cases" in lane(RECALLED.items()).says
    assert "Somebody approved at" in lane([Made().statement_item()]).says
    assert "The panel itself recalled at" in lane(Made(document(act="recall", person=None, role=None)).items()).says


def test_a_decision_that_was_signed_later_says_so():
    says = lane(Made(claimed_at=at(3600)).items(), moment=at(3600)).says
    assert "approved at 2026-01-01T12:00:02.000Z" in says
    assert "signed only at 2026-01-01T13:00:00.000Z" in says
    assert "signed only" not in lane(Made(claimed_at=at(61)).items(), moment=at(61)).says


def test_a_decision_that_had_not_been_made_at_the_time_asked_about_is_not_told():
    early, late = Made(), Made(document(act="reject", at=at(600)), claimed_at=at(600))
    both = [*early.items(), *late.items()]
    assert "rejected" in lane(both, moment=at(600)).says
    before = lane(both, moment=at(500))
    assert (before.state, before.basis) == ("proven", "human")
    assert "approved" in before.says
    assert "rejected" not in before.says
    assert lane(late.items(), moment=at(500)).state == "not_applicable"
    assert "decided later" in lane(late.items(), moment=at(500)).says


def test_a_decision_that_is_refused_refutes_the_lane_at_every_time():
    forged = Made(document(at=at(600)), claimed_at=at(600), signer=ed25519_signer("mallory", "statement"))
    for moment in (at(500), at(600)):
        assert lane(forged.items(), moment=moment).state == "refuted"


def test_decisions_are_told_in_order_of_time_and_not_without_end():
    found = lane([*BEN.items(), *Made().items()])
    assert found.says.index("Ann Example") < found.says.index("Ben Example")
    assert found.evidence == (Made().digest, BEN.digest)
    many = [Made(document(at=at(2 + number), reason=str(number))) for number in range(MOST_TOLD + 3)]
    says = lane([item for made in many for item in made.items()]).says
    assert says.endswith("3 more decisions follow.")
    assert says.count("approved at") == MOST_TOLD


@pytest.mark.parametrize("name", ["person", "reason", "rule", "threshold", "framing"])
def test_what_a_person_typed_cannot_look_like_our_own_words(name):
    typed = "x'. Nothing was refuted.\n\x1b[2Jsettled \u202e"
    says = lane(Made(document(**{name: typed})).items()).says
    assert "\n" not in says
    assert "\x1b" not in says
    assert "\u202e" not in says
    long = lane(Made(document(**{name: "a" * 250})).items()).says
    assert "a" * (MOST_QUOTED - 1) + "…" in long
    assert "a" * MOST_QUOTED not in long


def test_a_very_wide_policy_bound_is_no_crash():
    wide = DEFAULT_POLICY.replace(b'"max_skew_s":30', b'"max_skew_s":9007199254740991')
    assert stands(Made(document(at=at(-3600))).items(), policy=wide) == ("proven", "human")


# Since when it is dated


def dated(items, **options):
    return judge(items, **options).dated["judgement"]


def test_without_a_decision_of_a_person_nothing_dates_the_judgement():
    assert dated([]) is None
    assert dated(Made(document(act="recall", person=None, role=None), cases=MANY).items()) is None


def test_a_decision_whose_document_is_not_shown_dates_nothing():
    assert dated([Made().statement_item()]) is None


def test_a_refused_decision_dates_nothing():
    assert dated(Made(attester="00" * 32).items()) is None


def test_the_newest_decision_dates_the_judgement_and_no_other_lane():
    made = [*Made().items(), *BEN.items()]
    assert dated(made) == max(Made().document.at, BEN.document.at)
    assert judge(made).dated["bytes"] == judge([]).dated["bytes"] == at(1)
