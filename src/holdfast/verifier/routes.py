"""What a route says, in words: who served, who was turned to, what was not done as asked (``lanes.md`` §3(2)).

All of it is the gateway's account of its own routing. Pure.
"""

from __future__ import annotations

from holdfast.core.attempts import SERVED, Attempt
from holdfast.core.content_credentials import REWRITE as CREDENTIALS
from holdfast.core.statements import Route
from holdfast.verifier.lanes import DEVIATIONS

_WHY = {
    "balance": "chosen among several that offer the same",
    "fallback": "as a fallback",
    "first": "first",
    "next": "for the next turn of the same answer",
    "retry": "again",
}


def deviations(body: Route) -> tuple[str, ...]:
    """What was not done as asked, whoever signed the account: a policy that refuses it refuses the claim too."""
    found = {
        "cache": body.cached,
        "fallback": bool(body.fallback_from),
        "ignored": bool(body.ignored),
        "rewrite": bool(_changed(body)),
    }
    return tuple(name for name in DEVIATIONS if found[name])


def describe_route(body: Route) -> str:
    """The lane's sentence for a route that checks."""
    changed = _changed(body)
    words = [
        _who(body),
        f"after {', '.join(body.fallback_from)} failed" if body.fallback_from else "with no fallback",
        f"the request was rewritten ({', '.join(changed)})" if changed else "nothing that was asked was rewritten",
    ]
    if body.ignored:
        words.append(f"the upstream is known not to honour {', '.join(body.ignored)}")
    if CREDENTIALS in body.rewrites:
        words.append("the gateway put content credentials into the images")
    words.append(_cached(body))
    return "; ".join(words) + "." + _told(body.attempts)


def _cached(body: Route) -> str:
    if body.cached_run is not None:
        return f"the answer came from the gateway's cache: it is the one that run {body.cached_run} was given"
    return "the answer came from a cache" if body.cached else "no cache was used"


def _who(body: Route) -> str:
    if body.cached_run is not None:
        return f"By the gateway's own account, nobody was turned to, and upstream {body.upstream} had answered before"
    if body.attempts is not None and not body.attempts:
        return "By the gateway's own account, no upstream was turned to"
    served = body.attempts is None or body.attempts[-1].end == SERVED
    did = "served this turn" if served else "was turned to last"
    return f"By the gateway's own account, upstream {body.upstream} {did}"


def _told(attempts: tuple[Attempt, ...] | None) -> str:
    """Each attempt, where there is more to tell than that the first one served."""
    if attempts is None or len(attempts) == 0 or (len(attempts) == 1 and attempts[0].end == SERVED):
        return ""
    return " It turned to " + "; ".join(_one(attempt) for attempt in attempts) + "."


def _one(attempt: Attempt) -> str:
    sent = "" if attempt.end == SERVED else ", the request sent" if attempt.sent else ", nothing sent"
    return f"{attempt.upstream} {_WHY[attempt.why]} ({attempt.end}{sent})"


def _changed(body: Route) -> list[str]:
    """Rewrites of what was asked; taking our own field out is none, and neither is putting credentials into images."""
    return [item for item in body.rewrites if item not in ("holdfast-removed", CREDENTIALS)]
