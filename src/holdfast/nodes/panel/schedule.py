"""Which case is looked at next, and when. Pure bookkeeping: whoever uses it hands in the time.

Rules: a case stands in the schedule once, at the earliest time that was asked for; while it is in hand it is not handed
out again, and what is asked for meanwhile holds when it is put back.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable


class Schedule:
    """Case ids by the (monotonic) time at which their evidence is fetched."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._in_hand: set[str] = set()

    def __len__(self) -> int:
        """Cases that wait, those in hand included where they were asked for again."""
        return len(self._due)

    @property
    def in_hand(self) -> int:
        """Cases that were taken and not put back."""
        return len(self._in_hand)

    def ask(self, cases: Iterable[str], at: float) -> None:
        """Have cases looked at no later than ``at``."""
        for case in cases:
            if at < self._due.get(case, float("inf")):
                self._due[case] = at
                if case not in self._in_hand:
                    heapq.heappush(self._heap, (at, case))

    def hurry(self, at: float) -> None:
        """Have every case that waits looked at no later than ``at``; those in hand again, for they may have been asked
        about before."""
        self.ask([*self._due, *self._in_hand], at)

    def take(self, now: float, most: int) -> list[str]:
        """Up to ``most`` cases whose time has come, the longest waiting first. They are in hand until put back."""
        taken: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(taken) < most:
            at, case = heapq.heappop(self._heap)
            if self._due.get(case) == at and case not in self._in_hand:
                del self._due[case]
                self._in_hand.add(case)
                taken.append(case)
        return taken

    def put_back(self, case: str, again_at: float | None) -> None:
        """A case is no longer in hand. ``again_at`` None: only what was asked for meanwhile brings it back."""
        self._in_hand.discard(case)
        if again_at is not None:
            self._due[case] = min(again_at, self._due.get(case, again_at))
        if case in self._due:
            heapq.heappush(self._heap, (self._due[case], case))

    def next_at(self) -> float | None:
        """When the next case is due; None while none waits."""
        while self._heap and (self._due.get(self._heap[0][1]) != self._heap[0][0] or self._heap[0][1] in self._in_hand):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
