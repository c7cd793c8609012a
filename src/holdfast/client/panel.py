"""Asking a panel as a program does: cases, queues and what the gate says of them, over ``nodes/panel/cases.py``.

Rules: every answer is bounded and decoded strictly; an error in the one shape (``conventions.md`` §6) becomes the error
it was; a redirect, as to a sign-in page, is no answer. A key goes into a header, never into a URL.

The transport is handed in (``ports/http.py``). Not covered: whether what the panel says is true. What it
exports is judged by ``review.export`` and the bundles in it by the verifier; the rest is the panel's word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from holdfast.client.errors import parse_error
from holdfast.client.lanes import parse_hops
from holdfast.core import canonical
from holdfast.errors import HoldfastError, MalformedError, UnavailableError
from holdfast.ports.http import HTTP, Answer
from holdfast.ports.settings import Secret
from holdfast.verifier.gate import GATE_STATES
from holdfast.verifier.lanes import BASES, LANES, STATES, Lane

MAX_ANSWER_BYTES = 64 << 20
"""Largest answer that is read: a page of cases with their journals, a case with all that its events cite."""
MAX_BUNDLE_BYTES = 64 << 20
"""Largest bundle (``bundle.md`` §1)."""
PAGE = 100
"""Cases on the largest page that a panel gives."""
_DONE = (200, 201, 202)
"""Statuses of an answer: here it is, it was made, it will be done."""
TIMEOUT_S = 30.0
"""Longest wait for an answer. A policy is tried on every open case of its queue."""


@dataclass(frozen=True, slots=True)
class PanelSession:
    """A person's session at one panel. Whoever has ``cookie`` is that person there."""

    url: str
    cookie: str = field(repr=False)
    """``NAME=VALUE``, as it is sent back."""
    token: str = field(repr=False)
    """What goes along with every change."""
    who: Mapping[str, Any]
    """Name and roles, as the panel told them."""


class PanelClient:
    """One panel behind a base URL. ``key`` is an API key, or the panel's access key; ``session`` a person's."""

    def __init__(
        self,
        http: HTTP,
        url: str,
        key: Secret | None = None,
        *,
        session: PanelSession | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._http = http
        self.url = url.rstrip("/")
        self._key = key
        self._session = session
        self._timeout_s = timeout_s

    async def queues(self) -> dict[str, Any]:
        """Every queue, its policy and how many cases stand where."""
        return await self.get("/v1/queues")

    async def cases(self, states: Sequence[str] = (), **query: str | int | None) -> dict[str, Any]:
        """One page of cases. ``query``: ``run``, ``queue``, ``after``, ``limit``."""
        asked = [(name, str(value)) for name, value in query.items() if value is not None]
        return await self.get(f"/v1/cases?{urlencode([*asked, *(('state', state) for state in states)])}")

    async def case(self, case: str) -> dict[str, Any]:
        """One case with its journal and the policy it answers to."""
        return await self.get(f"/v1/cases/{quote(case, safe='')}")

    async def export(self, case: str) -> dict[str, Any]:
        """One case with all that its events cite (``case.md`` §11)."""
        return await self.get(f"/v1/cases/{quote(case, safe='')}/export")

    async def next(self, queue: str, consumer: str, *, include_hold: bool, lease_s: int | None) -> dict[str, Any]:
        """What a queue hands out now."""
        query = {"consumer": consumer}
        query |= {"include": "hold"} if include_hold else {}
        query |= {"lease_s": str(lease_s)} if lease_s is not None else {}
        return await self.get(f"/v1/queues/{quote(queue, safe='')}/next?{urlencode(query)}")

    async def end_lease(self, case: str, act: str, consumer: str, key: str) -> dict[str, Any]:
        """``act`` is ``done`` or ``give-back``; ``key`` is the hand-out's."""
        body = canonical.encode({"consumer": consumer, "key": key})
        return await self.post(f"/v1/cases/{quote(case, safe='')}/{act}", body)

    async def unseal(self, case: str) -> dict[str, Any]:
        """The capability of a case's run, once the gate lets it through (``sealed.md`` §6). Raises ``case.held``."""
        return await self.post(f"/v1/cases/{quote(case, safe='')}/unseal", b"{}")

    async def check(self, queue: str, policy: bytes) -> dict[str, Any]:
        """What a policy (TOML) would move in a queue; nothing is changed."""
        return await self.post(f"/v1/queues/{quote(queue, safe='')}/check", policy, "application/toml")

    async def act(self, case: str, act: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A person's act (``view``, ``claim``, ``let-go``, ``comment``, ``decide``, ``release``, ``reopen``); the case
        as the act left it."""
        return await self.post(f"/v1/cases/{quote(case, safe='')}/{act}", canonical.encode(dict(body)))

    async def open_case(self, run: str, queue: str, subject: str | None) -> dict[str, Any]:
        """Open a case for a run by hand; the case, or the one that is there already."""
        subjects = {} if subject is None else {"subject": subject}
        return await self.post("/v1/cases", canonical.encode({"run": run, "queue": queue, **subjects}))

    async def recall_plan(self, evidence: str) -> dict[str, Any]:
        """What a recall for evidence (digest, hex) would reach now; nothing is changed."""
        return await self.get(f"/v1/recall?{urlencode({'evidence': evidence})}")

    async def recall(self, evidence: str, cause: str) -> dict[str, Any]:
        """Recall everything that relied on evidence (digest, hex); what was reached."""
        return await self.post("/v1/recall", canonical.encode({"evidence": evidence, "cause": cause}))

    async def webhooks(self) -> dict[str, Any]:
        """Every endpoint, what was sent to it and what stands in the way."""
        return await self.get("/v1/webhooks")

    async def deliveries(self, stands: str, after: int, limit: int) -> dict[str, Any]:
        """One page of deliveries; ``stands`` is ``waiting``, ``dead`` or ``dropped``."""
        return await self.get(f"/v1/webhooks/{quote(stands, safe='')}?{urlencode({'after': after, 'limit': limit})}")

    async def delivery_act(self, delivery: str, act: str) -> dict[str, Any]:
        """``act`` is ``replay`` or ``drop``, of a dead delivery."""
        return await self.post(f"/v1/webhooks/dead/{quote(delivery, safe='')}/{act}", b"{}")

    async def enable_webhook(self, webhook: str) -> dict[str, Any]:
        """Send to an endpoint again that had said that it is gone."""
        return await self.post(f"/v1/webhooks/{quote(webhook, safe='')}/enable", b"{}")

    async def sign_in(self, name: str, password: str) -> PanelSession:
        """Begin a session with a password; raises ``people.*`` as the panel does."""
        body = canonical.encode({"name": name, "password": password})
        answer = await self._answer("POST", "/v1/session", body, {"content-type": "application/json"})
        value, cookie = canonical.decode_object(answer.body), answer.headers.get("set-cookie", "").partition(";")[0]
        who, token = value.get("who"), value.get("token")
        if not isinstance(who, dict) or not isinstance(token, str) or not cookie.partition("=")[2]:
            raise MalformedError("panel.answer", "the panel began no session")
        return PanelSession(self.url, cookie, token, who)

    async def sign_out(self) -> None:
        """End the session."""
        await self.post("/v1/session/end", b"{}")

    async def bundle(self, run: str) -> bytes:
        """A run's newest evidence, as the panel passes it on."""
        return await self._send("GET", f"/runs/{quote(run, safe='')}/bundle", max_bytes=MAX_BUNDLE_BYTES)

    async def get(self, path: str) -> dict[str, Any]:
        """An object."""
        return canonical.decode_object(await self._send("GET", path))

    async def post(self, path: str, body: bytes, content_type: str = "application/json") -> dict[str, Any]:
        """Send something, receive an object."""
        return canonical.decode_object(await self._send("POST", path, body, {"content-type": content_type}))

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> bytes:
        return (await self._answer(method, path, body, headers, max_bytes=max_bytes)).body

    async def _answer(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        sent = {"accept": "application/json", **(headers or {})}
        if self._key is not None:
            sent["authorization"] = f"Bearer {self._key.reveal()}"
        if self._session is not None:
            sent |= {"cookie": self._session.cookie, "x-holdfast-token": self._session.token}
        answer = await self._http.request(
            method, self.url + path, body=body, headers=sent, timeout_s=self._timeout_s, max_bytes=max_bytes
        )
        if answer.status >= 400:
            raise _refusal(answer.status, answer.body, self.url)
        if answer.status not in _DONE:
            raise UnavailableError("panel.answer", f"{self.url} answered {answer.status}: it is no panel for programs")
        return answer


def _refusal(status: int, body: bytes, where: str) -> HoldfastError:
    error = parse_error(status, body, where)
    if error.code == "gateway.answer":
        return UnavailableError("panel.answer", error.message, hint="is this the URL of a panel?")
    return error


def parse_row(value: object) -> dict[str, Any]:
    """A row as a panel shows it: an id, a state and exactly the eleven lanes; raises ``panel.answer``."""
    if not isinstance(value, dict) or value.get("state") not in GATE_STATES:
        raise MalformedError("panel.answer", "a case stands in one of the states that the gate knows")
    for name in ("id", "queue", "run", "opened_at", "changed_at", "policy"):
        if not isinstance(value.get(name), str):
            raise MalformedError("panel.answer", f"the {name} of a case is a text")
    reasons = value.get("reasons")
    if not isinstance(reasons, list) or not all(
        isinstance(item, dict) and isinstance(item.get("says"), str) and isinstance(item.get("code"), str)
        for item in reasons
    ):
        raise MalformedError("panel.answer", "a reason has a code and says something")
    parse_lanes(value.get("lanes"))
    return value


def parse_lanes(value: object) -> dict[str, Lane]:
    """Lanes as a panel shows them, in their fixed order; raises ``panel.answer``."""
    if not isinstance(value, dict) or value.keys() != set(LANES):
        raise MalformedError("panel.answer", "a case has exactly the eleven lanes")
    found = {}
    for name in LANES:
        lane = value[name]
        fits = (
            isinstance(lane, dict)
            and lane.get("state") in STATES
            and (lane.get("basis") is None or lane["basis"] in BASES)
            and isinstance(lane.get("says"), str)
            and isinstance(lane.get("evidence"), list)
            and all(isinstance(digest, str) for digest in lane["evidence"])
        )
        if not fits:
            raise MalformedError("panel.answer", f"the lane {name} has no state that is known here")
        hops = parse_hops(lane.get("hops", []), "panel.answer")
        found[name] = Lane(name, lane["state"], lane["basis"], lane["says"], tuple(lane["evidence"]), hops=hops)
    return found


def first_event(told: Mapping[str, Any]) -> dict[str, Any]:
    """The first event of an exported case; raises ``panel.answer``."""
    events = told.get("events")
    if not isinstance(events, list) or not events or not isinstance(events[0], str):
        raise MalformedError("panel.answer", "an exported case has events")
    return canonical.decode_object(events[0].encode())


def parse_listed(value: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A member that is a list of objects; raises ``panel.answer``."""
    found = value.get(name)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise MalformedError("panel.answer", f"{name} is a list of objects")
    return found
