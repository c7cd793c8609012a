"""What the pages show is what the nodes said, or a refusal; nothing is filled in and nothing is added up."""

from __future__ import annotations

import json

import pytest

from holdfast.errors import MalformedError
from holdfast.nodes.panel import views
from holdfast.nodes.panel.views import QUESTIONS, WORDS, NodeStatus
from holdfast.verifier.lanes import LANES, STATES

RUN = "0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5a6b"


def lane(state: str = "pending", basis: str | None = None) -> dict[str, object]:
    return {"state": state, "basis": basis, "says": "Something.", "does_not_say": "Else.", "evidence": []}


def run(**changes: object) -> dict[str, object]:
    return {"run": RUN, "lanes": {name: lane() for name in LANES}, "chronology": [], "known": 3, **changes}


def moments(*codes: str) -> list[dict[str, object]]:
    return [
        {"at": f"2026-01-01T00:00:{second:02d}.000Z", "code": code, "says": f"{code}."}
        for second, code in enumerate(codes)
    ]


@pytest.mark.parametrize("name", LANES)
def test_a_run_that_lacks_a_lane_is_refused(name):
    value = run()
    del value["lanes"][name]
    with pytest.raises(MalformedError) as refusal:
        views.parse_run(value)
    assert refusal.value.code == "panel.lanes"


def test_a_run_with_a_twelfth_lane_is_refused():
    with pytest.raises(MalformedError) as refusal:
        views.parse_run(run(lanes={name: lane() for name in (*LANES, "overall")}))
    assert refusal.value.code == "panel.lanes"


@pytest.mark.parametrize(
    ("state", "basis"), [("verified", None), ("", None), (None, None), ("proven", "vibes"), ("proven", 1)]
)
def test_a_state_or_basis_outside_the_lists_is_refused(state, basis):
    value = run()
    value["lanes"]["bytes"] = lane(state, basis)
    with pytest.raises(MalformedError) as refusal:
        views.parse_run(value)
    assert refusal.value.code == "panel.lane"


def hop(**changes: object) -> dict[str, object]:
    return {
        "hop": "relay",
        "node": "ab" * 32,
        "identity": "yes",
        "plaintext": "no",
        "sizes": "yes",
        "timing": "unknown",
        **changes,
    }


@pytest.mark.parametrize(
    "hops",
    [
        [hop(hop="nowhere")],
        [hop(hop=None)],
        [hop(plaintext="maybe")],
        [hop(sizes=True)],
        [hop(node=7)],
        [{"hop": "relay"}],
        ["relay"],
        {"relay": hop()},
    ],
)
def test_a_hop_that_could_see_anything_but_yes_no_or_unknown_is_refused(hops):
    value = run()
    value["lanes"]["privacy"] = lane() | {"hops": hops}
    with pytest.raises(MalformedError):
        views.parse_run(value)


def test_hops_are_shown_as_they_were_told():
    value = run()
    value["lanes"]["privacy"] = lane() | {"hops": [hop(), hop(hop="gateway", node=None)]}
    view = views.parse_run(value)
    [shown] = [item for item in view.lanes if item.name == "privacy"]
    assert [item.to_json() for item in shown.hops] == [hop(), hop(hop="gateway", node=None)]
    assert shown.to_json()["hops"] == [hop(), hop(hop="gateway", node=None)]
    assert all("hops" not in item.to_json() for item in view.lanes if item.name != "privacy")


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"run": RUN}, run(lanes=[]), run(known=-1), run(known=True), run(chronology={}), run(trust=3)],
)
def test_what_is_no_run_is_refused(value):
    with pytest.raises(MalformedError):
        views.parse_run(value)


@pytest.mark.parametrize("text", ["", "nope", RUN.upper(), RUN + "0", "../" + RUN, RUN.replace("7e8f", "1e8f"), None])
def test_what_is_no_run_id_is_refused_as_not_found(text):
    with pytest.raises(MalformedError) as refusal:
        views.parse_run_id(text)
    assert (refusal.value.code, refusal.value.status) == ("panel.run_id", 404)


def test_lanes_keep_the_fixed_order_and_their_own_words():
    view = views.parse_run(run())
    assert [item.name for item in view.lanes] == list(LANES)
    assert list(QUESTIONS) == list(LANES)
    assert set(WORDS) == set(STATES)


def test_a_view_says_nothing_about_all_lanes_at_once():
    beside = {"created", "kind", "outcome", "chronology", "trust", "policy", "known"}
    assert set(views.parse_run(run()).to_json()) == {"run", "lanes", *beside}


def test_a_gateway_without_trust_shows_none():
    view = views.parse_run(run(trust={"digest": None, "pinned": None, "development": None}))
    assert (view.trust_digest, view.trust_development) == ("", False)


def test_evidence_is_listed_once_with_every_lane_that_rests_on_it():
    lanes = {name: lane() for name in LANES}
    lanes["bytes"]["evidence"] = ["aa", "bb"]
    lanes["route"]["evidence"] = ["bb"]
    assert views.parse_run(run(lanes=lanes)).evidence == (("aa", ("bytes",)), ("bb", ("bytes", "route")))


def test_an_answer_before_its_round_is_final_is_ahead_of_its_proof():
    axis = views.parse_chronology(moments("asked", "answered", "logged", "final"))
    assert [(item.kind, item.ahead, item.final) for item in axis] == [
        ("step", False, False),
        ("move", True, False),
        ("proof", False, False),
        ("proof", False, True),
    ]


def test_a_payment_after_the_final_round_is_not_ahead():
    axis = views.parse_chronology(moments("asked", "answered", "final", "payment.captured"))
    assert [item.ahead for item in axis] == [False, True, False, False]


def test_an_answer_that_never_becomes_final_stays_ahead():
    assert views.parse_chronology(moments("asked", "answered", "logged"))[1].ahead


def test_marks_in_a_row_become_one_line_that_opens():
    axis = views.parse_chronology(moments("asked", "marked", "marked", "marked", "answered"))
    assert [item.code for item in axis] == ["asked", "marked", "answered"]
    assert [part.offset_ms for part in axis[1].parts] == [1000, 2000, 3000]
    assert axis[1].says.startswith("3 in a row")


def test_two_votes_in_a_row_stay_two_lines():
    assert [item.code for item in views.parse_chronology(moments("voted", "voted"))] == ["voted", "voted"]


@pytest.mark.parametrize("at", ["", "2026-01-01", "2026-01-01T00:00:00Z", None])
def test_a_moment_without_a_proper_time_is_refused(at):
    with pytest.raises(MalformedError):
        views.parse_chronology([{"at": at, "code": "asked", "says": ""}])


def test_no_chronology_is_an_empty_axis():
    assert views.parse_chronology([]) == ()


def bundle(*journal: object) -> dict[str, object]:
    return {"journal": list(journal)}


def document(name: str, value: object) -> dict[str, str]:
    return {"kind": "document", "document": name, "text": json.dumps(value)}


def texts(value: object) -> tuple[tuple[str, str], ...]:
    return views.document_texts(views.bundle_documents(value))


def test_a_bundle_without_documents_discloses_no_text():
    assert texts(bundle({"kind": "note"})) == ()


def test_asked_and_answered_texts_come_from_the_disclosed_documents():
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url"}]
    request = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]}
    response = {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [{}]}}]}
    assert texts(bundle(document("request", request), document("response", response))) == (
        ("system", "Be brief."),
        ("user", "What?\n[image_url]"),
        ("assistant", "[tool calls]"),
    )


def test_a_prompt_and_its_text_are_shown_too():
    journal = bundle(document("request", {"prompt": "Once"}), document("response", {"choices": [{"text": "upon"}]}))
    assert texts(journal) == (("user", "Once"), ("assistant", "upon"))


def report(node: str, number: int = 1, *, attempt: int = 0, root: str = "aa", votes: list[object] | None = None):
    candidate = {"size": 5, "root": root, "attempt": attempt}
    value = {"number": number, "attempt": attempt, "state": "proposed", "candidate": candidate, "votes": votes or []}
    return views.parse_report(node, value)


def test_nodes_that_tell_different_candidates_stand_side_by_side():
    nodes = tuple(NodeStatus(name, True, "", "", "") for name in ("full-1", "full-2", "full-3"))
    reports = [report("full-1"), report("full-2", root="bb"), report("full-3")]
    (merged,) = views.merge_rounds("log", nodes, reports, 10).rounds
    assert [(candidate.root, names) for candidate, names in merged.candidates] == [
        ("aa", ("full-1", "full-3")),
        ("bb", ("full-2",)),
    ]


def test_a_vote_in_an_earlier_attempt_is_no_vote_in_this_one():
    votes = [
        {"voter": "0xold", "vote": {"attempt": 0}},
        {"voter": "0xnew", "vote": {"attempt": 1}},
        {"voter": "0xchain", "vote": None},
    ]
    assert report("full-1", attempt=1, votes=votes).voters == ("0xnew", "0xchain")


def test_only_the_newest_rounds_are_kept_newest_first():
    view = views.merge_rounds("log", (), [report("full-1", number) for number in (1, 2, 3)], 2)
    assert [item.number for item in view.rounds] == [3, 2]


@pytest.mark.parametrize(
    "value", [None, {}, {"rounds": {}}, {"rounds": [{"number": "1"}]}, {"rounds": [{"number": 1, "candidate": {}}]}]
)
def test_what_is_no_list_of_rounds_is_refused(value):
    with pytest.raises(MalformedError):
        views.parse_reports("full-1", value)


def test_what_a_node_is_doing_comes_from_its_own_origin():
    rounds = [
        {"origin": "other", "doing": "resting"},
        {"origin": "log", "doing": "judging the candidate", "abstains": "", "problems": {"chain": "no answer"}},
    ]
    assert views.parse_status("log", {"address": "0xaa", "rounds": rounds}) == (
        "0xaa",
        "judging the candidate; no answer",
    )


def test_a_payment_is_shown_line_by_line_where_its_document_is():
    told = {"digest": "ab" * 32, "lines": ["Taken: 70 base units.", "It is no evidence of: computation."]}
    found = views.parse_run(run(payments=[told]))
    assert found.payments == (views.PaymentView(told["digest"], tuple(told["lines"])),)
    assert found.to_json()["payments"] == [told]
    assert "payments" not in views.parse_run(run()).to_json()
    many = views.parse_run(run(payments=[{"digest": "ab", "lines": ["x"] * 99}] * 99)).payments
    assert (len(many), len(many[0].lines)) == (views.MOST_PAYMENTS, views.MOST_LINES)


@pytest.mark.parametrize(
    "payments",
    [{}, [1], [{"digest": "ab"}], [{"digest": 1, "lines": []}], [{"digest": "ab", "lines": [1]}], [{"lines": ["x"]}]],
)
def test_a_payment_of_another_shape_is_refused(payments):
    with pytest.raises(MalformedError) as refusal:
        views.parse_run(run(payments=payments))
    assert refusal.value.code == "panel.shape"
