"""Change any one thing in a bundle and it no longer proves what it proved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.bundles import parse_bundle
from holdfast.core.trust import Trust, parse_trust_chain, verify_trust
from holdfast.errors import HoldfastError
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy

VECTORS = Path(__file__).parents[2] / "vectors"
BUNDLE: dict[str, Any] = json.loads((VECTORS / "lanes" / "settled" / "bundle.json").read_text())
CASE: dict[str, Any] = json.loads((VECTORS / "lanes" / "settled" / "case.json").read_text())
POLICY = parse_policy(DEFAULT_POLICY)
FREE = {"at", "exported_at"}
"""Members that are claims about when the exporter came to know something; they prove nothing."""


def _trust() -> Trust:
    return verify_trust(parse_trust_chain((VECTORS / "shared" / "trust.json").read_bytes()))


TRUST = _trust()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything that could be changed."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in FREE:
                yield from leaves(item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, (*path, number))
    else:
        yield path


def _bound(path: tuple[Any, ...]) -> bool:
    """Whether a path leads into evidence: not into notes and votes, which are information and prove nothing, nor to
    the number of the attempt, which is no part of what is final (``round.md`` §4.2)."""
    if path[-2:] == ("round", "attempt"):
        return False
    return path[0] != "journal" or BUNDLE["journal"][path[1]]["kind"] not in {"note", "votes", "candidate", "entry"}


PATHS = sorted((path for path in leaves(BUNDLE) if _bound(path)), key=str)


def look_up(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def proven(raw: bytes) -> set[str]:
    """Lanes that a bundle proves; none when it is malformed."""
    try:
        bundle = parse_bundle(raw)
    except HoldfastError:
        return set()
    result = appraise(bundle, TRUST, POLICY, bundle.exported_at)
    return {name for name, lane in result.lanes.items() if lane.state == "proven"}


def test_the_bundle_as_it_is_proves_bytes_route_and_settlement() -> None:
    assert {"bytes", "route", "settlement"} <= proven(json.dumps(BUNDLE).encode())


@given(st.sampled_from(PATHS), st.data())
def test_one_changed_leaf_costs_at_least_one_proven_lane(path: tuple[Any, ...], data: st.DataObject) -> None:
    changed = json.loads(json.dumps(BUNDLE))
    parent, last = look_up(changed, path[:-1]), path[-1]
    value = parent[last]
    if isinstance(value, str):
        place = data.draw(st.integers(0, max(0, len(value) - 1)))
        other = [letter for letter in "0123456789abcdefABXYZ+/= \n" if letter != value[place : place + 1]]
        letter = data.draw(st.sampled_from(other))
        parent[last] = value[:place] + letter + value[place + 1 :]
    elif isinstance(value, int):
        parent[last] = data.draw(st.integers(-2, 2**40).filter(lambda item: item != value))
    else:
        parent[last] = data.draw(st.sampled_from([0, "x", {}, []]))
    before, after = proven(json.dumps(BUNDLE).encode()), proven(json.dumps(changed).encode())
    assert after < before, f"changing {path} of {value!r} to {parent[last]!r} went unnoticed"


@given(st.sampled_from(range(len(BUNDLE["journal"]))))
def test_an_item_that_is_left_out_never_proves_more(number: int) -> None:
    fewer = {**BUNDLE, "journal": [item for place, item in enumerate(BUNDLE["journal"]) if place != number]}
    assert proven(json.dumps(fewer).encode()) <= proven(json.dumps(BUNDLE).encode())


@given(st.permutations(BUNDLE["journal"]))
def test_the_order_of_evidence_changes_no_lane(journal: list[Any]) -> None:
    assert proven(json.dumps({**BUNDLE, "journal": journal}).encode()) == proven(json.dumps(BUNDLE).encode())


@given(st.integers(0, len(BUNDLE["journal"])))
def test_knowing_less_never_proves_more(known: int) -> None:
    bundle = parse_bundle(json.dumps(BUNDLE).encode())
    part = appraise(bundle, TRUST, POLICY, bundle.exported_at, known)
    cut = parse_bundle(json.dumps({**BUNDLE, "journal": BUNDLE["journal"][:known]}).encode())
    alone = appraise(cut, TRUST, POLICY, bundle.exported_at)
    assert {name: lane.state for name, lane in part.lanes.items()} == {
        name: lane.state for name, lane in alone.lanes.items()
    }


@given(st.binary(max_size=200))
def test_bytes_that_are_no_bundle_are_refused_with_a_code(raw: bytes) -> None:
    with pytest.raises(HoldfastError, match=r"^[a-z]+[.][a-z_0-9]+: "):
        parse_bundle(raw)
