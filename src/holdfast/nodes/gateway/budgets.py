"""What agent runs spend on their children (``spec/agents.md`` §8): held before a child is sent, counted once it closed.

The most that a child can cost is held at every agent run above it, in one step, so that neither children at once nor
loops come past a limit. Once it closed, what its closing record says of its usage counts instead.

What is open is in memory; :meth:`Budgets.replay` reads it from the write-ahead log again. Not covered: who pays
(``till``), and what an act moves outside, which is the act's own matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from holdfast.core import pricing
from holdfast.core.pricing import format_decimal, parse_decimal
from holdfast.errors import RefusedError


@dataclass(slots=True)
class Purse:
    """What one agent run may spend, and what it spent."""

    limit: Fraction | None
    above: Purse | None
    spent: Fraction = Fraction(0)
    held: Fraction = Fraction(0)

    def line(self) -> Iterator[Purse]:
        """It and those above it."""
        purse: Purse | None = self
        while purse is not None:
            yield purse
            purse = purse.above


@dataclass(slots=True)
class Budgets:
    """The purses of the agent runs that are open, and what is held for children that are."""

    _purses: dict[str, Purse] = field(default_factory=dict)
    _held: dict[str, tuple[Purse, Mapping[str, Any]]] = field(default_factory=dict)

    def open(self, run: str, parent: str | None, limit: Fraction | None) -> None:
        """An agent run began."""
        self._purses[run] = Purse(limit, self.of(parent))

    def close(self, run: str) -> None:
        """An agent run ended: what is held for children of its own goes on counting above it."""
        self._purses.pop(run, None)

    def of(self, run: str | None) -> Purse | None:
        """The purse of an agent run that is open."""
        return self._purses.get(run or "")

    def hold(self, child: str, parent: str | None, terms: Mapping[str, Any] | None) -> None:
        """Hold the most that a child can cost (:func:`terms_of`). Raises ``agent.spend``."""
        purse = self.of(parent)
        if purse is None or terms is None:
            return
        most = parse_exact(terms["most"])
        for each in purse.line():
            if each.limit is not None and each.spent + each.held + most > each.limit:
                left = format_decimal(max(Fraction(0), each.limit - each.spent - each.held))
                raise RefusedError(
                    "agent.spend",
                    f"this can cost ${terms['most']}, and ${left} is left of ${format_decimal(each.limit)}",
                    hint="name max_tokens, or fewer: the most that an answer can cost is held until it is there",
                    status=429,
                )
        self._hold(child, purse, terms, most)

    def release(self, child: str) -> None:
        """A child did not open after all."""
        self.settle(child, None)

    def settle(self, child: str, usage: Mapping[str, int] | None) -> None:
        """A child closed, and this is what it used; None where nobody said so: that costs nothing
        (``pricing.md`` §4(4))."""
        purse, terms = self._held.pop(child, (None, {}))
        if purse is None:
            return
        most = parse_exact(terms["most"])
        cost = Fraction(0) if usage is None else min(most, pricing.worth(terms["prices"], pricing.Usage(**usage)))
        for each in purse.line():
            each.held -= most
            each.spent += cost

    def replay(self, child: str, parent: str | None, terms: Mapping[str, Any] | None) -> None:
        """What was held, whatever the limit: it was within it."""
        purse = self.of(parent)
        if purse is not None and terms is not None:
            self._hold(child, purse, terms, parse_exact(terms["most"]))

    def _hold(self, child: str, purse: Purse, terms: Mapping[str, Any], most: Fraction) -> None:
        self._held[child] = (purse, terms)
        for each in purse.line():
            each.held += most


def terms_of(prices: Mapping[str, str], most: pricing.Usage) -> dict[str, Any]:
    """What an opening keeps of what its run can cost."""
    return {"most": format_decimal(pricing.worth(prices, most)), "prices": dict(prices)}


def parse_exact(text: str) -> Fraction:
    """A sum that this node wrote: exact, and so with more digits than a price has."""
    return Fraction(text)


def told(purse: Purse) -> dict[str, Any]:
    """What is shown of an agent run's spending."""
    return {
        "unit": pricing.UNIT,
        "limit": None if purse.limit is None else format_decimal(purse.limit),
        "spent": format_decimal(purse.spent),
        "held": format_decimal(purse.held),
    }


def told_of_closed(limit: Fraction | None, spent: str | None) -> dict[str, Any]:
    """The same of one that is closed; ``spent`` is None where its record says nothing."""
    return {
        "unit": pricing.UNIT,
        "limit": None if limit is None else format_decimal(limit),
        "spent": spent,
        "held": "0",
    }


def read_limit(text: str | None) -> Fraction | None:
    """A limit as a plan has it."""
    return None if text is None else parse_decimal(text)
