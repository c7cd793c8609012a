"""Webhooks: what an endpoint is told of a queue's cases, how it is signed, and when it is tried again (``webhook.md``).

Pure. Told is what the gate let through, and afterwards what takes it back: an endpoint never hears of a case that was
only ever held. Requests are signed in the manner of Standard Webhooks 1.0.0, so that a receiver can use any library for
that; the ``webhook-id`` stays the same however often something is sent.

Not covered: sending (``nodes/panel/webhooks.py``), and whether the gate was right.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, b64_encode, sha256_hex, time_encode
from holdfast.core.statements import is_code
from holdfast.errors import MalformedError, RefusedError, UsageError
from holdfast.ports.case_store import StoredEvent
from holdfast.ports.webhook_store import NewDelivery
from holdfast.review.cases import LET_THROUGH
from holdfast.review.events import STATE_OF, Actor, Event, parse_event
from holdfast.review.taken import TakenAct
from holdfast.verifier.gate import GATE_STATES

WEBHOOK_TYPE = "urn:holdfast:webhook:v1"
"""``type`` of what is sent (``webhook.md`` §2)."""
HOOK_DOMAIN = b"urn:holdfast:webhook-endpoint:v1\x00"
"""What an endpoint's id is derived under (``webhook.md`` §1)."""
DELIVERY_DOMAIN = b"urn:holdfast:webhook-delivery:v1\x00"
"""What a delivery's id is derived under (``webhook.md`` §3)."""
MAX_URL = 2_000
"""Longest address of an endpoint."""
MAX_HOOKS = 64
"""Most endpoints of one panel."""
SECRET_PREFIX = "whsec_"  # noqa: S105 (only how it begins)
"""How a symmetric secret begins (Standard Webhooks 1.0.0, signature scheme)."""
SECRET_BYTES = range(24, 65)
"""Its length in bytes (the same: 192 to 512 bits)."""
MAX_SECRETS = 2
"""A new secret and the one it replaces."""
MAX_SAID = 1_000
"""Characters of one reason that are sent; the journal holds all of it."""
MAX_REASONS = 40
"""Reasons that are sent: more than a gate has requirements."""
MAX_RETRY_AFTER_S = 3_600
"""Longest pause that an endpoint can ask for at once."""
MAX_NOTE = 300
"""Characters kept of what an endpoint answered."""
MAY: Mapping[str, frozenset[str]] = {
    "read": frozenset(
        {"system", "key:queue:read", *(f"person:{role}" for role in ("approver", "auditor", "policy_owner", "admin"))}
    ),
    "replay": frozenset({"system", "person:approver", "person:policy_owner", "person:admin"}),
    "drop": frozenset({"system", "person:approver", "person:policy_owner", "person:admin"}),
}
"""Who may see deliveries, and who may send again or let an endpoint be sent to again (``webhook.md`` §6)."""
_UNSHOWN = re.compile(r"[^\x20-\x7e]+")
_HOST = re.compile(r"[A-Za-z0-9.\-_]+\Z")


@dataclass(frozen=True, slots=True)
class Hook:
    """One endpoint of one queue."""

    id: str
    queue: str
    url: str = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False)
    """HMAC keys: what is sent carries a signature under each."""
    states: frozenset[str]

    @property
    def endpoint(self) -> str:
        """Where it is, without the path, which may be a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True, slots=True)
class Told:
    """What an event makes known: the state, and the state before it as far as the case was let through."""

    event: Event
    state: str
    before: str | None

    @property
    def lets_through(self) -> bool:
        return self.state in LET_THROUGH


@dataclass(frozen=True, slots=True)
class Limits:
    """How often and how long something is tried (``webhook.md`` §5)."""

    timeout_s: float = 15.0
    first_retry_s: float = 1.0
    longest_retry_s: float = 3_600.0
    give_up_s: float = 72 * 3_600.0
    at_once: int = 16
    keep_s: float = 30 * 86_400.0


# --- endpoints --------------------------------------------------------------------------------------------------------


def parse_hook(queue: str, url: str, secret: str, states: Sequence[str], *, plain_http: bool = False) -> Hook:
    """An endpoint as configured. Raises ``webhook.queue``, ``webhook.states``, ``webhook.url`` or
    ``webhook.secret``."""
    if not is_code(queue):
        raise UsageError("webhook.queue", "a queue's name is a code, such as default", param="queue")
    if not states or len(set(states)) < len(states) or not set(states) <= set(GATE_STATES):
        raise UsageError("webhook.states", f"states are some of {', '.join(GATE_STATES)}, each once", param="states")
    if not set(states) & {*LET_THROUGH, "RECALLED"}:
        raise UsageError("webhook.states", "an endpoint is told of what is let through or recalled", param="states")
    _check_url(url, plain_http)
    hook = sha256_hex(HOOK_DOMAIN + queue.encode() + b"\x00" + url.encode())
    return Hook(hook, queue, url, parse_secrets(secret), frozenset(states))


def check_hooks(hooks: Sequence[Hook]) -> tuple[Hook, ...]:
    """All endpoints of a panel. Raises ``webhook.twice`` or ``webhook.many``."""
    if len(hooks) > MAX_HOOKS:
        raise UsageError("webhook.many", f"a panel has at most {MAX_HOOKS} webhooks", param="webhooks")
    if len({hook.id for hook in hooks}) < len(hooks):
        raise UsageError("webhook.twice", "the same address is configured twice for one queue", param="webhooks")
    return tuple(hooks)


def _check_url(url: str, plain_http: bool) -> None:
    refused = UsageError("webhook.url", "a webhook's url is https://HOST[:PORT]/…, in ASCII", param="url")
    if not 0 < len(url) <= MAX_URL or _UNSHOWN.search(url) or " " in url or "\\" in url:
        raise refused
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise refused from error
    if parts.scheme not in ("http", "https") or port == 0 or not (_HOST.match(host) or _address(host)):
        raise refused
    if "@" in parts.netloc:
        raise UsageError("webhook.url", "a webhook's url holds no credentials", hint="requests are signed", param="url")
    if parts.fragment or "#" in url:
        raise UsageError("webhook.url", "a webhook's url has no fragment", param="url")
    if parts.scheme == "http" and not plain_http and not _is_loopback(host):
        raise UsageError(
            "webhook.url",
            "plain http goes to this machine alone",
            hint="use https, or set webhook_plain_http = true",
            param="url",
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """One ``whsec_…`` secret, or the new one and the one it replaces with a space between. Raises
    ``webhook.secret``."""
    keys = []
    for item in text.split():
        try:
            key = b64_decode(item.removeprefix(SECRET_PREFIX))
        except MalformedError:
            key = b""
        if not item.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
            break
        keys.append(key)
    else:
        if 1 <= len(keys) <= MAX_SECRETS and len(set(keys)) == len(keys):
            return tuple(keys)
    raise UsageError(
        "webhook.secret",
        f"a webhook's secret is {SECRET_PREFIX} and the base64 of 24 to 64 random bytes",
        hint='printf "whsec_%s" "$(openssl rand -base64 32)"',
        param="secret",
    )


# --- what is told -----------------------------------------------------------------------------------------------------


def follow(events: Sequence[StoredEvent], told: Mapping[str, str]) -> tuple[list[Told], dict[str, str | None]]:
    """What these events of the journal, in order, make known, and what it changes of ``told``.

    ``told`` holds where every case stood last that was let through since its last reopening. Each ``cleared`` and
    ``provisional`` event is told; ``held``, ``rejected`` and ``recalled`` when the case stands in ``told`` and stood
    elsewhere; nothing else.
    """
    found: list[Told] = []
    changed: dict[str, str | None] = {}
    for stored in events:
        if stored.case is None:
            continue
        before = changed[stored.case] if stored.case in changed else told.get(stored.case)
        state = STATE_OF.get(stored.kind)
        if stored.kind == "decided" and before is not None and parse_event(stored.raw).body["act"] == "reopen":
            changed[stored.case] = None
        elif state in LET_THROUGH or (state is not None and before not in (None, state)):
            found.append(Told(parse_event(stored.raw), str(state), before))
            changed[stored.case] = state
    return found, changed


def cases_of(events: Sequence[StoredEvent]) -> set[str]:
    """The cases for which :func:`follow` has to know what was told."""
    return {event.case for event in events if event.case is not None and event.kind in {*STATE_OF, "decided"}}


def build_deliveries(
    item: Told, hooks: Sequence[Hook], queue: str, run: str, vector: bytes | None, act: TakenAct | None = None
) -> list[NewDelivery]:
    """One delivery for each endpoint of the case's queue that wants to hear of this state. ``vector`` is the document
    of the lane vector that the event names; ``act`` is told where the case is an act that somebody took."""
    event = item.event
    found: list[NewDelivery] = []
    for hook in hooks:
        if hook.queue != queue or item.state not in hook.states or event.case is None:
            continue
        delivery = sha256_hex(DELIVERY_DOMAIN + hook.id.encode() + b"/" + event.digest.encode())
        body = build_body(item, delivery, queue, run, vector, act)
        at = time_encode(event.at)
        found.append(NewDelivery(delivery, hook.id, event.case, event.seq, item.state, item.lets_through, at, body))
    return found


def build_body(
    item: Told, delivery: str, queue: str, run: str, vector: bytes | None, act: TakenAct | None = None
) -> bytes:
    """What is sent (``webhook.md`` §2): the gate's word and the lanes apart, nothing that was asked or answered."""
    event = item.event
    lanes = canonical.decode(vector)["lanes"] if vector is not None else {}
    reasons = [
        {"code": reason["code"], "lane": reason["lane"], "says": _shortened(reason["says"])}
        for reason in event.body["reasons"][:MAX_REASONS]
    ]
    value: dict[str, Any] = {
        "type": WEBHOOK_TYPE,
        "delivery": delivery,
        "queue": queue,
        "case": event.case,
        "run": run,
        "state": item.state,
        "before": item.before,
        "policy": event.policy,
        "lanes": {name: {"state": lane["state"], "basis": lane["basis"]} for name, lane in lanes.items()},
        "lanes_digest": event.lanes,
        "reasons": reasons,
        "clear_until": event.body["clear_until"],
        "released_early": event.body["released_early"],
        "act": None if act is None else {"tool": act.tool, "effect": act.effect, "taken": act.taken},
        "event": {"seq": event.seq, "digest": event.digest},
        "at": time_encode(event.at),
    }
    return canonical.encode(value)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SAID else text[: MAX_SAID - 1] + "…"


def still_holds(state: str, now: str) -> bool:
    """Whether a case that stands ``now`` so may still be told to be let through as ``state``."""
    return now == state or (state == "PROVISIONAL" and now == "CLEAR")


# --- how it is sent ---------------------------------------------------------------------------------------------------


def sign(keys: Sequence[bytes], delivery: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature`` header: HMAC-SHA-256 over id, timestamp and body with full stops between."""
    message = f"{delivery}.{timestamp}.".encode() + body
    return " ".join(f"v1,{b64_encode(hmac.new(key, message, hashlib.sha256).digest())}" for key in keys)


def headers(hook: Hook, delivery: str, body: bytes, at: dt.datetime) -> dict[str, str]:
    """The headers of one attempt."""
    timestamp = int(at.timestamp())
    return {
        "content-type": "application/json",
        "user-agent": "holdfast-webhook/1",
        "webhook-id": delivery,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(hook.keys, delivery, timestamp, body),
    }


def retry_after_s(value: str | None, at: dt.datetime) -> float:
    """Seconds that an answer's ``Retry-After`` (RFC 9110 §10.2.3) asks to wait; 0 for none or nonsense."""
    if value is None:
        return 0.0
    text = value.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except (TypeError, ValueError):
            return 0.0
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        seconds = (moment - at).total_seconds()
    return min(max(seconds, 0.0), float(MAX_RETRY_AFTER_S))


def pause_s(limits: Limits, attempts: int, jitter: float) -> float:
    """Seconds until the next attempt after ``attempts`` that failed: doubling, between half of it and all of it by
    ``jitter`` (0 to 1), so that what failed together does not come back together."""
    longest = min(limits.longest_retry_s, limits.first_retry_s * 2.0 ** min(attempts - 1, 60))
    return longest * (0.5 + jitter / 2)


def describe_answer(status: int, body: bytes) -> str:
    """What an endpoint answered, in a short line: what it wrote is somebody else's text."""
    text = _UNSHOWN.sub(" ", body[: 4 * MAX_NOTE].decode("utf-8", "replace")).strip()
    return (f"answered {status}: {text}" if text else f"answered {status}")[:MAX_NOTE]


def shorten_note(text: str) -> str:
    """A note as it is kept."""
    return _UNSHOWN.sub(" ", text).strip()[:MAX_NOTE]


def check_may(actor: Actor, act: str) -> None:
    """Deny by default: raises ``webhook.role``."""
    if not MAY[act] & {actor.kind, *(f"{actor.kind}:{role}" for role in actor.roles)}:
        wanted = ", ".join(sorted(MAY[act]))
        raise RefusedError("webhook.role", f"{actor.id} may not {act} webhooks", hint=f"needs one of: {wanted}")
