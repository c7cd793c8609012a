"""Other arguments in the place of an act that waits (``spec/case.md`` §4(8)): it is denied, and another proposed.

In this order, so that at no moment both could be carried out: whether the agent run is open is looked at, the act is
rejected under the person's name, the gateway is asked to propose the other, and both cases say so. What stops between
these leaves it denied; the same person may then send it again, and is answered as before.

Not covered: who somebody is (the routes), and whether the other act is let through: it waits in the same queue, and
somebody else decides it.
"""

from __future__ import annotations

from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
from holdfast.core.statements import is_run_id
from holdfast.errors import ConflictError, HoldfastError, MalformedError
from holdfast.nodes.panel.review import Review, Send
from holdfast.review.events import Actor


async def amend(review: Review, actor: Actor, case: str, arguments: str, reason: str, lanes: str | None) -> str:
    """Do it; returns the case of the other act. Raises ``case.*``, ``json.*``, ``panel.form`` and ``agent.*``."""
    value = canonical.decode_exact(arguments.encode())
    if not isinstance(value, dict):
        raise MalformedError("panel.form", "arguments is a JSON object", param="arguments")
    desk, send = review.desk, review.ask_gateway
    found = await review.call(desk.act_to_amend, actor, case)
    await _require_open(send, found.agent)
    await review.call(desk.deny_to_amend, actor, case, reason=reason, lanes=lanes)
    body = canonical.encode_exact({"arguments": value})
    headers = {"idempotency-key": sha256_hex(f"amend/{case}/".encode() + body), "x-holdfast-requester": actor.id}
    try:
        told = canonical.decode_object(await send("POST", f"/v1/runs/{found.run}/amend", body, headers))
    except HoldfastError as error:
        error.hint = f"the former act is denied, and nothing stands in its place. {error.hint or 'Send it again'}"
        raise
    if not is_run_id(told.get("run")):
        raise MalformedError("panel.shape", "the gateway's answer names no run")
    other = await review.call(desk.note_amended, actor, case, str(told["run"]))
    review.notify()
    return other


async def _require_open(send: Send, agent: str) -> None:
    """Raises ``agent.closed`` before anything is denied."""
    view: dict[str, Any] = canonical.decode_object(await send("GET", f"/v1/runs/{agent}", None, {}))
    if view.get("outcome") is not None:
        raise ConflictError(
            "agent.closed",
            "the agent run that proposed this act is closed: nothing can be proposed in it any more",
            hint="reject the act, and have it proposed anew in an agent run that is open",
        )
