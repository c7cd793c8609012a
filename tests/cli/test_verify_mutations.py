"""A bundle with one thing changed, left out, said twice or moved never says more than the bundle it was made from.

Every value of every item is altered in several ways. What comes out is malformed, or says less, or is the same for a
reason that stands in :data:`INFORMATION`: members that nothing rests on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.core.bundles import parse_bundle
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.network import Network, at, bundle_of

POLICY = parse_policy(DEFAULT_POLICY)
NETWORKS = {mode: Network(settlement=mode) for mode in ("batch", "private")}
TRUST = NETWORKS["batch"].trust()
RANK = {"refuted": 0, "expired": 1, "pending": 1, "unknown": 1, "not_applicable": 2, "proven": 3}
"""How much a state lets somebody conclude."""
INFORMATION = {
    ("*", "at"),  # when the exporter says it came to know it: chronology only (bundle.md §2)
    ("note", "code"),
    ("entry", "digest"),  # what the log is said to have answered; inclusion is what counts
    ("entry", "index"),
    ("candidate", "round"),  # a proposal; finality is what counts
    ("votes", "number"),  # votes are information, not proof (bundle.md §2)
    ("votes", "attempt"),
    ("votes", "voters"),
    ("finality", "round", "attempt"),  # no part of the content that messages sign (round.md §4.2)
    ("checkpoint", "note"),  # one cosignature of four may become a stranger's: three are a quorum
}
ONLY_PRIVATE = {
    ("finality", "round", "origin"),  # in mode private no lane rests on a round
    ("verdict", "number"),
}


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def put(value: Any, path: tuple[str | int, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def alterations(value: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (other for other in (value + 1, value - 1, 0, 2**60) if other != value)
    elif isinstance(value, str):
        for place in sorted({0, len(value) // 3, len(value) // 2, max(0, len(value) - 3), len(value) - 1}):
            other = "1" if value[place] == "0" else "0"
            yield value[:place] + other + value[place + 1 :]
        yield from (value + "0", value[:-1], "")


def judge(journal: list[dict[str, Any]]) -> Appraisal:
    return appraise(parse_bundle(bundle_of(journal)), TRUST, POLICY, at(10))


def judged(journal: list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, str | None]]:
    """States and bases."""
    result = judge(journal)
    return states(result), {name: lane.basis for name, lane in result.lanes.items()}


def states(result: Appraisal) -> dict[str, str]:
    return {name: lane.state for name, lane in result.lanes.items()}


def says_no_more(changed: dict[str, str], before: dict[str, str]) -> bool:
    return all(RANK[state] <= RANK[before[name]] for name, state in changed.items())


def is_information(kind: str, path: tuple[str | int, ...], mode: str) -> bool:
    members = tuple(key for key in path[1:] if isinstance(key, str))
    known = INFORMATION | (ONLY_PRIVATE if mode == "private" else set())
    return any((kind, *members[:length]) in known or ("*", *members[:length]) in known for length in (1, 2))


@pytest.mark.parametrize("mode", NETWORKS)
def test_no_altered_value_says_more_and_only_information_says_the_same(mode: str) -> None:
    journal = NETWORKS[mode].journal()
    before, bases = judged(journal)
    tried = 0
    for path, value in leaves(journal):
        for other in alterations(value):
            tried += 1
            changed = copy.deepcopy(journal)
            put(changed, path, other)
            try:
                after, after_bases = judged(changed)
            except (MalformedError, RefusedError):
                continue
            assert says_no_more(after, before), (path, value, other)
            if (after, after_bases) == (before, bases):
                kind = str(journal[int(path[0])]["kind"])
                assert is_information(kind, path, mode), (kind, path, value, other)
    assert tried > 500


@pytest.mark.parametrize("mode", NETWORKS)
def test_nothing_left_out_says_more(mode: str) -> None:
    journal = NETWORKS[mode].journal()
    before = states(judge(journal))
    for place in range(len(journal)):
        less = journal[:place] + journal[place + 1 :]
        assert says_no_more(states(judge(less)), before), journal[place]["kind"]


@pytest.mark.parametrize("mode", NETWORKS)
def test_saying_it_twice_or_in_another_order_changes_nothing(mode: str) -> None:
    journal = NETWORKS[mode].journal()
    before = judge(journal)
    assert states(judge([*journal, *journal])) == states(before)
    assert states(judge(journal[::-1])) == states(before)
    for place, item in enumerate(journal):
        assert states(judge([*journal[:place], item, *journal[place:]])) == states(before), item["kind"]


@pytest.mark.parametrize("mode", NETWORKS)
def test_knowing_less_never_says_more(mode: str) -> None:
    journal = NETWORKS[mode].journal()
    bundle = parse_bundle(bundle_of(journal))
    last = states(appraise(bundle, TRUST, POLICY, at(10), 0))
    for known in range(1, len(journal) + 1):
        now = states(appraise(bundle, TRUST, POLICY, at(10), known))
        assert RANK[now["settlement"]] >= RANK[last["settlement"]]
        last = now
    assert last == states(judge(journal))


def test_no_member_can_be_added_or_taken_away() -> None:
    for place, item in enumerate(Network().journal()):
        for name in item:
            journal = Network().journal()
            del journal[place][name]
            with pytest.raises(HoldfastError):
                judge(journal)
        journal = Network().journal()
        journal[place]["more"] = 1
        with pytest.raises(MalformedError):
            judge(journal)
