"""``ports/metrics.py`` in a dict: for tests and tools that serve no ``/metrics``."""

from __future__ import annotations


class MemoryMetrics:
    """Keeps the sum of counts, the last level and every observation under (name, *labels)."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, ...], float] = {}
        self.levels: dict[tuple[str, ...], float] = {}
        self.observations: dict[tuple[str, ...], list[float]] = {}

    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        """Add to a counter."""
        self.counts[(name, *labels)] = self.counts.get((name, *labels), 0) + amount

    def level(self, name: str, value: float, *labels: str) -> None:
        """Set a level."""
        self.levels[(name, *labels)] = value

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Keep one observation."""
        self.observations.setdefault((name, *labels), []).append(value)

    def render(self) -> bytes:
        """Counts and levels, one a line."""
        lines = [f"{' '.join(key)} {value:g}" for key, value in sorted({**self.counts, **self.levels}.items())]
        return "".join(f"{line}\n" for line in lines).encode()
