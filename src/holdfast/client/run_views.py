"""What a gateway tells of runs: its own account, parsed strictly and believed by nobody (``spec/gateway.md``).

Not covered: a run's evidence, and judging it (:meth:`~holdfast.client.gateway.GatewayClient.appraise`).
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from holdfast.client.lanes import parse_hops
from holdfast.core.agents import EFFECTS
from holdfast.core.encoding import hex_decode, time_decode
from holdfast.core.statements import is_code, is_run_id
from holdfast.errors import MalformedError
from holdfast.ports.case_store import LedAct, LedChild
from holdfast.review.led import Led
from holdfast.verifier.lanes import BASES, LANES, STATES, Lane

MAX_TOOL = 64
"""Longest name of a tool (``agents.md`` §2(1))."""
MAX_SUBJECT = 4_000
"""Longest subject of a case, in code points (``case.md`` §2)."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as its gateway tells it: the gateway's appraisal, not yours."""

    run: str
    lanes: Mapping[str, Lane]
    chronology: tuple[Mapping[str, Any], ...]
    """Entries with at least ``at``, ``code`` and ``says``."""
    known: int
    outcome: str | None
    value: Mapping[str, Any]
    """The whole answer, for people."""


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """A run that its caller gave to a review queue, as its gateway tells it."""

    position: int
    """Where its opening lies in the gateway's write-ahead log."""
    run: str
    queue: str
    requester: str | None
    """The person whose key asked, where the gateway knows one."""
    opened_at: dt.datetime
    outcome: str | None
    """As of when it was asked for; None while the run is open."""
    closed_at: dt.datetime | None
    subject: str | None = None
    """What its case is about, in its caller's words."""
    kind: str | None = None
    """Its endpoint; None where the gateway does not say it."""


@dataclass(frozen=True, slots=True)
class Openings:
    """A stretch of a workspace's queued runs, in order."""

    openings: tuple[QueuedRun, ...]
    end: int
    """Where to go on: below it nothing more will appear."""
    round: int
    """The newest final round that the gateway has seen; 0 for none."""
    superseded: int
    """Grows whenever the gateway sees a verdict that supersedes an earlier one."""


def parse_run_view(value: object) -> RunView:
    """The answer of ``GET /v1/runs/{id}``; raises ``gateway.run``."""
    if not isinstance(value, dict) or not is_run_id(value.get("run")):
        raise MalformedError("gateway.run", "a run is an object with a run id")
    lanes, story, known = value.get("lanes"), value.get("chronology"), value.get("known")
    if not isinstance(lanes, dict) or lanes.keys() != set(LANES) or not isinstance(story, list):
        raise MalformedError("gateway.run", "a run has exactly the eleven lanes, and a chronology")
    if not isinstance(known, int) or isinstance(known, bool) or known < 0:
        raise MalformedError("gateway.run", "known is a position")
    for moment in story:
        if not isinstance(moment, dict) or not all(
            isinstance(moment.get(name), str) for name in ("at", "code", "says")
        ):
            raise MalformedError("gateway.run", "a moment has at, code and says")
        time_decode(moment["at"])
    outcome = value.get("outcome")
    return RunView(
        run=value["run"],
        lanes={name: _parse_lane(name, lanes[name]) for name in LANES},
        chronology=tuple(story),
        known=known,
        outcome=outcome if isinstance(outcome, str) else None,
        value=value,
    )


def parse_openings(value: object, after: int) -> Openings:
    """The answer of ``GET /v1/openings?after=``; raises ``gateway.openings``.

    Openings stand in order, from ``after`` on and below ``end``. An ``end`` before ``after`` says that the gateway's
    write-ahead log is another one than ``after`` came from; then there are none.
    """
    listed = value.get("openings") if isinstance(value, dict) else None
    end, final, superseded = (
        value.get(name) if isinstance(value, dict) else None for name in ("end", "round", "superseded")
    )
    if not isinstance(listed, list) or not _is_position(end) or not _is_position(final) or not _is_position(superseded):
        raise MalformedError("gateway.openings", "the answer is no list of openings with an end and what was seen")
    found = tuple(_parse_opening(item) for item in listed)
    places = [after - 1, *(item.position for item in found), end]
    if any(later <= earlier for earlier, later in itertools.pairwise(places)) and (found or end >= after):
        raise MalformedError("gateway.openings", "openings are in order, from the position asked for on to the end")
    return Openings(found, end, final, superseded)


def _is_position(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _parse_opening(value: object) -> QueuedRun:
    item = value if isinstance(value, dict) else {}
    position, run, queue, outcome = (item.get(name) for name in ("position", "run", "queue", "outcome"))
    if not _is_position(position) or not is_run_id(run) or not is_code(queue):
        raise MalformedError("gateway.openings", "an opening has a position, a run id and a queue")
    if outcome is not None and not is_code(outcome):
        raise MalformedError("gateway.openings", "an outcome is a code or null")
    requester = item.get("requester")
    if requester is not None and not (isinstance(requester, str) and 0 < len(requester) <= 64):
        raise MalformedError("gateway.openings", "a requester is a name or null")
    subject = item.get("subject")
    if subject is not None and not (isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT):
        raise MalformedError("gateway.openings", f"a subject is a text of at most {MAX_SUBJECT} characters, or null")
    closed_at = None if item.get("closed_at") is None else time_decode(item["closed_at"])
    opened_at = time_decode(item.get("opened_at"))
    return QueuedRun(
        position, str(run), str(queue), requester, opened_at, outcome, closed_at, subject, item.get("kind")
    )


def parse_led(run: str, value: object) -> tuple[Led, bool]:
    """The answer of ``GET /v1/runs/{id}/led``, and whether there is more; raises ``gateway.led``."""
    if not isinstance(value, dict) or not isinstance(value.get("more"), bool) or value.get("run") != run:
        raise _no_led()
    act, under, children = (value.get(name) for name in ("act", "under", "children"))
    if not isinstance(under, list) or not isinstance(children, list):
        raise _no_led()
    return Led(tuple(map(_parse_under, under)), tuple(map(_parse_led_child, children)), _parse_act(act)), value["more"]


def _parse_under(value: object) -> tuple[str, int]:
    run, before = (value.get(name) if isinstance(value, dict) else None for name in ("run", "before"))
    if not is_run_id(run) or not _is_position(before):
        raise _no_led()
    return str(run), before


def _parse_led_child(value: object) -> LedChild:
    names = ("run", "under", "place", "evidence")
    run, under, place, evidence = (value.get(name) if isinstance(value, dict) else None for name in names)
    if not is_run_id(run) or not _is_position(place) or not isinstance(under, list) or not isinstance(evidence, list):
        raise _no_led()
    if not all(is_run_id(agent) for agent in under):
        raise _no_led()
    return LedChild(str(run), tuple(under), place, tuple(hex_decode(digest, 32).hex() for digest in evidence))


def _parse_act(value: object) -> LedAct | None:
    if value is None:
        return None
    tool, effect = (value.get(name) if isinstance(value, dict) else None for name in ("tool", "effect"))
    if not isinstance(tool, str) or not 0 < len(tool) <= MAX_TOOL or effect not in EFFECTS:
        raise _no_led()
    return LedAct(tool, str(effect))


def _no_led() -> MalformedError:
    return MalformedError("gateway.led", "the answer does not say what a run came after")


def _parse_lane(name: str, value: object) -> Lane:
    if not isinstance(value, dict) or value.get("state") not in STATES or value.get("basis") not in (None, *BASES):
        raise MalformedError("gateway.run", f"lane {name} has no known state and basis")
    says, evidence = value.get("says"), value.get("evidence")
    if not isinstance(says, str) or not isinstance(evidence, list):
        raise MalformedError("gateway.run", f"lane {name} has no sentence or no evidence")
    digests = tuple(hex_decode(item, 32).hex() for item in evidence)
    hops = parse_hops(value.get("hops", []), "gateway.run")
    return Lane(name, value["state"], value["basis"], says, digests, hops=hops)


def path_of(run: str) -> str:
    """Where a run is told of; raises ``run.id``."""
    if not is_run_id(run):
        raise MalformedError("run.id", f"{run!r} is not a run id", hint="a UUID of version 4 or 7, in lower case")
    return f"/v1/runs/{run}"
