"""Counts over cases, kept apart by what answered them (``spec/case.md`` §6(3)).

A *series* is a label with one artifact. When the label comes to mean another artifact a new series begins, and the two
are never added up: what was learned of one says nothing of the other. Counts are counts, and times are times; there is
no figure for all of it.

Not covered: keeping them (``ports.case_store``: the database counts).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.ports.case_store import CaseReader, LabelMove, LaneSpans, SeriesTotal
from holdfast.verifier.lanes import LANES


@dataclass(frozen=True, slots=True)
class Span:
    """How long it took until a lane was first proven, over the cases in which it was: the median, and within how long
    nine of ten were. To two significant digits, as they are kept."""

    cases: int
    median_ms: int
    most_ms: int


@dataclass(frozen=True, slots=True)
class Series:
    """One label with one artifact, over the queues asked about. Either is None where it was not disclosed."""

    label: str | None
    artifact: str | None
    upstream: str | None
    served: str | None
    first_at: str
    last_at: str
    cases: int
    cleared: int
    released_early: int
    rejected: int
    rejected_late: int
    recalled: int
    stale: int
    spans: Mapping[str, Span] = field(default_factory=dict)
    """By lane, in their order; only lanes that were proven in some case."""
    begun: LabelMove | None = None
    """The move by which the label came to mean this artifact; None for the first that is known."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """All series of the queues asked about, by label and in order of time, and every queue there is."""

    queue: str | None
    queues: tuple[str, ...]
    series: tuple[Series, ...]
    moves: tuple[LabelMove, ...]


def statistics_of(reader: CaseReader, queue: str | None) -> Statistics:
    """Count, over all queues or one."""
    totals, spans, moves = reader.totals(queue), reader.spans(queue), reader.label_moves()
    grouped: dict[tuple[str | None, str | None], list[SeriesTotal]] = {}
    for total in totals:
        grouped.setdefault((total.label, total.artifact), []).append(total)
    lanes = _by_series(spans)
    begun = {(move.label, move.after): move for move in reversed(moves)}
    series = [
        _series(found, lanes.get((label, artifact), {}), begun.get((label or "", artifact or "")))
        for (label, artifact), found in grouped.items()
    ]
    series.sort(key=lambda item: (item.label is None, item.label or "", item.first_at, item.artifact or ""))
    named = {queue for queue, _ in reader.counts()} | set(reader.queues())
    labels = {item.label for item in series}
    return Statistics(queue, tuple(sorted(named)), tuple(series), tuple(m for m in moves if m.label in labels))


def span_of(counted: Sequence[tuple[int, int]]) -> Span:
    """The span over (milliseconds, cases), ascending and not empty."""
    cases = sum(number for _, number in counted)
    return Span(cases, _within(counted, cases, 1, 2), _within(counted, cases, 9, 10))


def _within(counted: Sequence[tuple[int, int]], cases: int, part: int, whole: int) -> int:
    """The shortest of the spans within which that part of the cases lies."""
    seen = 0
    for span_ms, number in counted:
        seen += number
        if seen * whole >= cases * part:
            return span_ms
    return counted[-1][0]


def _by_series(spans: Iterable[LaneSpans]) -> dict[tuple[str | None, str | None], dict[str, Span]]:
    counted: dict[tuple[str | None, str | None], dict[str, dict[int, int]]] = {}
    for item in spans:
        lane = counted.setdefault((item.label, item.artifact), {}).setdefault(item.lane, {})
        lane[item.span_ms] = lane.get(item.span_ms, 0) + item.cases
    return {
        series: {name: span_of(sorted(lanes[name].items())) for name in LANES if name in lanes}
        for series, lanes in counted.items()
    }


def _series(totals: Sequence[SeriesTotal], spans: Mapping[str, Span], begun: LabelMove | None) -> Series:
    """The queues of a series together."""
    one = totals[0]
    return Series(
        one.label,
        one.artifact,
        one.upstream,
        one.served,
        min(item.first_at for item in totals),
        max(item.last_at for item in totals),
        sum(item.cases for item in totals),
        sum(item.cleared for item in totals),
        sum(item.released_early for item in totals),
        sum(item.rejected for item in totals),
        sum(item.rejected_late for item in totals),
        sum(item.recalled for item in totals),
        sum(item.stale for item in totals),
        spans,
        begun,
    )
