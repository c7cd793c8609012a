"""The privacy lane is proven only for what was sealed, to a key that hardware holds; every hop has its row."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.core.attempts import Attempt
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import time_decode
from holdfast.core.statements import Route, SealedPath, Tree
from holdfast.core.trust import parse_trust_chain, verify_trust
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.lanes import HOPS, SIGHTS, Hop, Lane
from holdfast.verifier.policy import parse_policy
from holdfast.verifier.privacy import privacy
from holdfast.verifier.reliance import reliances_of
from holdfast.verifier.transcript import Transcript

VECTORS = Path(__file__).parents[3] / "vectors"
CASES = sorted(path.name for path in (VECTORS / "lanes").glob("privacy-*"))


def judged(name: str, change: Any = None, at: str | None = None) -> Appraisal:
    """A case of the vectors, with its bundle edited."""
    folder = VECTORS / "lanes" / name
    case = json.loads((folder / "case.json").read_text())
    arguments = case["run"]
    trust = verify_trust(parse_trust_chain((folder / arguments[arguments.index("--trust") + 1]).read_bytes()))
    value = json.loads((folder / "bundle.json").read_text())
    if change is not None:
        value["journal"] = change(value["journal"])
    bundle = parse_bundle(json.dumps(value, ensure_ascii=False).encode())
    policy = parse_policy((VECTORS / "shared" / "policy.json").read_bytes())
    return appraise(bundle, trust, policy, time_decode(at or case["at"]))


def row(found: Appraisal, hop: str) -> Hop:
    [only] = [item for item in found.lanes["privacy"].hops if item.hop == hop]
    return only


@pytest.mark.parametrize("name", [name for name in CASES if "sealed" not in name and "attested-again" not in name])
def test_where_it_is_not_proven_no_hop_is_said_to_be_blind_but_the_log(name: str) -> None:
    found = judged(name)
    lane = found.lanes["privacy"]
    if lane.state == "proven":
        return
    for hop in lane.hops:
        assert hop.hop == "log" or "no" not in (hop.identity, hop.plaintext, hop.sizes, hop.timing), hop


def test_proven_needs_every_piece_of_its_evidence() -> None:
    """Take any one kind of item away: it is never proven without what it rests on."""
    whole = judged("privacy-sealed")
    assert (whole.lanes["privacy"].state, whole.lanes["privacy"].basis) == ("proven", "hardware")
    kinds = {"statement", "attestation"}
    for kind in kinds:
        found = judged("privacy-sealed", lambda items, kind=kind: [one for one in items if one["kind"] != kind])
        assert found.lanes["privacy"].state != "proven", kind


def test_no_time_before_it_was_made_and_none_after_trust_ran_out_proves_it() -> None:
    for at in ("2025-12-31T23:00:00.000Z", "2025-12-31T23:59:00.000Z", "2027-01-01T00:00:00.000Z"):
        assert judged("privacy-sealed", at=at).lanes["privacy"].state != "proven"
    assert judged("privacy-sealed", at="2026-06-01T00:00:00.000Z").lanes["privacy"].state == "proven"


def test_another_runs_attestation_does_not_prove_this_one() -> None:
    other = json.loads((VECTORS / "lanes" / "enclave-snp" / "bundle.json").read_text())["journal"]
    [foreign] = [item for item in other if item["kind"] == "attestation"]
    found = judged("privacy-sealed", lambda items: [foreign if one["kind"] == "attestation" else one for one in items])
    assert found.lanes["privacy"].state == "unknown"


def test_a_direct_turn_says_that_the_gateway_saw_the_connection() -> None:
    found = judged("privacy-direct")
    lane = found.lanes["privacy"]
    assert found.lanes["enclave"].state == "proven"
    assert (lane.state, lane.basis) == ("unknown", None)
    assert "The gateway saw the caller's connection" in lane.says
    assert "Nothing was sealed" in lane.says
    assert [hop.hop for hop in lane.hops] == ["client", "gateway", "upstream", "log", "panel"]
    assert row(found, "gateway").identity == "yes"


def test_a_sealed_turn_says_who_could_see_what() -> None:
    found = judged("privacy-sealed")
    lane = found.lanes["privacy"]
    assert [hop.hop for hop in lane.hops] == list(HOPS)
    relay, gateway, upstream = row(found, "relay"), row(found, "gateway"), row(found, "upstream")
    assert (relay.node, relay.identity, relay.plaintext, relay.sizes, relay.timing) == (
        "33" * 32, "yes", "no", "yes", "yes",
    )  # fmt: skip
    assert (gateway.identity, gateway.plaintext) == ("no", "yes")
    assert (upstream.node, upstream.identity, upstream.plaintext) == ("small.provider", "no", "yes")
    assert "Both in one hand would know who asked what" in lane.says
    assert found.lanes["enclave"].evidence[0] in lane.evidence


@pytest.mark.parametrize("path", [None, SealedPath("11" * 32, "aes-128-gcm", "binary-http", None)])
@pytest.mark.parametrize("settlement", ["individual", "batch"])
def test_what_is_published_is_not_told_as_hidden(path: SealedPath | None, settlement: str) -> None:
    """Sealed or not: mode ``individual`` shows question and answer to everybody."""
    tree = Tree(bytes(32), 1)
    body = Route(tree, tree, "chat.completions", "up", (), (), False, settlement, False, path=path)
    statement = SimpleNamespace(body=body, digest="22" * 32, attester="33" * 32)
    evidence: Any = SimpleNamespace(route=SimpleNamespace(statement=statement, refusal=None, late=None))
    lane = privacy(evidence, None, Lane("enclave", "unknown", None, ""), Transcript())
    [log] = [hop for hop in lane.hops if hop.hop == "log"]
    assert log.plaintext == ("yes" if settlement == "individual" else "no")
    assert ("published as a whole" in lane.says) == (settlement == "individual")


def test_what_is_sealed_by_the_gateways_word_alone_is_told_as_that() -> None:
    lane = judged("privacy-no-attestation").lanes["privacy"]
    assert lane.says.startswith("By the gateway's account the request came sealed (aes-128-gcm) through relay")
    assert "nothing about who saw it is proven" in lane.says


def hops_of(attempts: tuple[Attempt, ...] | None, fallback_from: tuple[str, ...] = ()) -> Lane:
    """The lane of a route with these attempts, for a reader without trust."""
    tree = Tree(bytes(32), 1)
    body = Route(tree, tree, "chat.completions", "two", (), fallback_from, False, "batch", False, attempts=attempts)
    statement = SimpleNamespace(body=body, digest="22" * 32, attester="33" * 32)
    evidence: Any = SimpleNamespace(route=SimpleNamespace(statement=statement, refusal=None, late=None))
    return privacy(evidence, None, Lane("enclave", "unknown", None, ""), Transcript())


def upstreams(lane: Lane) -> list[tuple[str | None, str, str]]:
    return [(hop.node, hop.plaintext, hop.identity) for hop in lane.hops if hop.hop == "upstream"]


def test_a_failed_upstream_that_was_sent_what_was_asked_is_one_that_could_read_it() -> None:
    attempts = (
        Attempt("one", "first", "upstream.status.503", sent=True),
        Attempt("two", "fallback", "served", sent=True),
    )
    lane = hops_of(attempts, ("one",))
    assert upstreams(lane) == [("one", "yes", "unknown"), ("two", "yes", "unknown")]
    assert "upstreams one and two saw the plaintext" in lane.says


def test_that_nothing_was_sent_to_an_upstream_is_only_the_gateways_account() -> None:
    attempts = (
        Attempt("one", "first", "upstream.unreachable", sent=False),
        Attempt("two", "fallback", "served", sent=True),
    )
    lane = hops_of(attempts, ("one",))
    assert upstreams(lane) == [("one", "unknown", "unknown"), ("two", "yes", "unknown")]
    assert "upstream two saw the plaintext" in lane.says


def test_of_a_route_that_tells_no_attempts_nobody_knows_what_those_that_failed_saw() -> None:
    assert upstreams(hops_of(None, ("one",))) == [("one", "unknown", "unknown"), ("two", "yes", "unknown")]


def test_where_no_upstream_was_turned_to_none_is_said_to_have_seen_anything() -> None:
    lane = hops_of(())
    assert upstreams(lane) == []
    assert "no upstream saw the plaintext" in lane.says


def test_before_any_route_nothing_is_known() -> None:
    found = judged("privacy-sealed", lambda items: [one for one in items if one["kind"] != "statement"])
    lane = found.lanes["privacy"]
    assert (lane.state, lane.hops) == ("unknown", ())
    assert "hops" not in lane.to_json()


def test_hops_are_told_as_json_in_words_of_a_closed_list() -> None:
    for name in CASES:
        value = judged(name).lanes["privacy"].to_json()
        for hop in value.get("hops", []):  # type: ignore[union-attr]
            assert isinstance(hop, dict)
            assert hop.keys() == {"hop", "node", "identity", "plaintext", "sizes", "timing"}
            assert hop["hop"] in HOPS
            assert {hop[name] for name in ("identity", "plaintext", "sizes", "timing")} <= set(SIGHTS)


def test_no_other_lane_has_hops() -> None:
    for name in CASES:
        assert {lane for lane, found in judged(name).lanes.items() if found.hops} <= {"privacy"}


def test_it_relies_on_the_enclaves_root_only_where_something_was_sealed() -> None:
    sealed, direct = judged("privacy-sealed"), judged("privacy-direct")
    assert set(sealed.relied["privacy"]) >= set(sealed.relied["enclave"])
    assert sealed.relied["enclave"]
    assert set(direct.relied["privacy"]).isdisjoint(direct.relied["enclave"])
    assert reliances_of(sealed.evidence, None) == {}


@pytest.mark.parametrize("name", CASES)
def test_a_refuted_lane_has_a_check_that_says_no(name: str) -> None:
    found = judged(name)
    said = [check for check in found.transcript if "privacy" in check.lanes and check.answer == "no"]
    assert bool(said) is (found.lanes["privacy"].state == "refuted")


def test_flipping_any_member_of_the_path_unseals_it() -> None:
    """The path is signed: whoever changes it afterwards breaks the route, and proves nothing."""
    names = ("config", "suite", "profile", "relay")

    def flip(member: str) -> Any:
        def change(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
            out = json.loads(json.dumps(items))
            for one in out:
                if one["kind"] != "statement":
                    continue
                payload = json.loads(base64.b64decode(one["envelope"]["payload"]))
                if "path" not in payload["predicate"]:
                    continue
                swap = {"config": "44" * 32, "suite": "chacha20-poly1305", "profile": "json", "relay": None}
                payload["predicate"]["path"][member] = swap[member]
                raw = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
                one["envelope"]["payload"] = base64.b64encode(raw).decode()
            return out

        return change

    for member in names:
        found = judged("privacy-sealed", flip(member))
        assert found.lanes["privacy"].state != "proven", member
        assert found.lanes["bytes"].state == "refuted", member


def test_every_state_it_can_have_is_in_the_vectors() -> None:
    states = {(found.state, found.basis) for found in (judged(name).lanes["privacy"] for name in CASES)}
    assert states >= {
        ("proven", "hardware"),
        ("refuted", None),
        ("unknown", None),
        ("unknown", "development"),
        ("expired", "hardware"),
        ("pending", None),
    }
