"""How often may be asked: windows over the last questions, one for each source and one for each workspace.

Held in memory: after a restart the windows are empty. A question that is refused here was never sent.
"""

from __future__ import annotations

from collections import deque

from holdfast.core.sources import Definition
from holdfast.errors import RefusedError
from holdfast.ports.clock import Clock

MINUTE_S = 60.0


class Windows:
    """See the module."""

    def __init__(self, clock: Clock, workspace_requests: int) -> None:
        self._clock = clock
        self._workspace_requests = workspace_requests
        self._asked: dict[tuple[str, str], deque[float]] = {}

    def take(self, definition: Definition, workspace: str) -> None:
        """Count a question, or raise ``source.rate`` and count nothing."""
        now = self._clock.monotonic()
        rate = definition.rate
        windows = [
            (("source", definition.id), rate.requests, float(rate.seconds)),
            (("workspace", workspace), self._workspace_requests, MINUTE_S),
        ]
        for key, most, seconds in windows:
            asked = self._asked.setdefault(key, deque())
            while asked and now - asked[0] >= seconds:
                asked.popleft()
            if len(asked) >= most:
                raise RefusedError(
                    "source.rate",
                    f"at most {most} questions in {seconds:.0f} s for this {key[0]}",
                    hint=f"ask again in {max(1, round(seconds - (now - asked[0])))} s",
                    status=429,
                )
        for key, _, _ in windows:
            self._asked[key].append(now)
