"""Deliveries that start executions: what a POST says, once its signature holds (``spec/workflows.md`` §6(4)).

Standard Webhooks, as our panels send them (``spec/webhook.md`` §3): anybody who can reach the listener can send
something, and only who has the secret can start anything. A delivery is answered once it is in the journal, and one
that comes again starts nothing.
"""

from __future__ import annotations

import datetime as dt
import hmac
import re
from collections.abc import Callable, Mapping, Sequence

from holdfast.core import canonical
from holdfast.core.workflows.moves import Cause
from holdfast.errors import MalformedError, RefusedError
from holdfast.review.webhooks import sign

MAX_BODY_BYTES = 262_144
MAX_SKEW_S = 300
"""How far a delivery's time may be from ours (``webhook.md`` §3(3))."""
_ID = re.compile(r"[\x21-\x7e]{1,128}\Z")


def read_delivery(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: dt.datetime) -> Cause:
    """What a delivery starts. Raises ``workflow.delivery``, ``workflow.signature``, ``workflow.stale``, ``json.*``."""
    if len(body) > MAX_BODY_BYTES:
        raise MalformedError("workflow.delivery", f"a delivery has at most {MAX_BODY_BYTES} bytes", status=413)
    delivery, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if _ID.match(delivery) is None or re.match(r"[0-9]{1,11}\Z", stamp) is None:
        raise MalformedError("workflow.delivery", "a delivery has the headers webhook-id and webhook-timestamp")
    given = headers.get("webhook-signature", "").split(" ")
    wanted = [sign([key], delivery, int(stamp), body) for key in keys]
    if not any(hmac.compare_digest(one.encode(), other.encode()) for one in given for other in wanted):
        raise RefusedError(
            "workflow.signature", "no signature of this delivery is by a secret of this workflow", status=401
        )
    if abs(now.timestamp() - int(stamp)) > MAX_SKEW_S:
        raise RefusedError("workflow.stale", f"it was sent more than {MAX_SKEW_S} s from now", status=400)
    return Cause("webhook", delivery, now, canonical.decode_exact(body))


class Hook:
    """One workflow's deliveries: checked, then started."""

    def __init__(self, keys: Sequence[bytes], start: Callable[[Cause], None], now: Callable[[], dt.datetime]) -> None:
        self._keys = keys
        self._start = start
        self._now = now

    def take(self, headers: Mapping[str, str], body: bytes) -> Cause:
        """Start what a delivery says; raises as :func:`read_delivery`."""
        cause = read_delivery(self._keys, headers, body, self._now())
        self._start(cause)
        return cause
