"""Asks data nodes over HTTP (``spec/admission.md`` §7): have something admitted, or read again what was.

What a node presents is not believed here: whoever gets it opens it with :func:`open_presented`, which checks the
statement against trust and the document against its own rules.
"""

from __future__ import annotations

import datetime as dt
import http
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.admissions import (
    Admission,
    Presented,
    claimed_time,
    parse_presented,
    require_fresh,
    verify_admission,
    verify_observation,
    verify_quorum,
)
from holdfast.core.encoding import hex_decode
from holdfast.core.orders import Evidence, parse_evidence
from holdfast.core.statements import Statement, parse_envelope, parse_statement
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError
from holdfast.ports.http import HTTP, Answer
from holdfast.ports.settings import Secret
from holdfast.verifier.checks import refuse_attester

ADMIT_TIMEOUT_S = 70.0
"""A source has up to 60 s."""
READ_TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 32 << 20
"""A quorum is presented with all of its observations."""
_CODE = re.compile(r"[a-z0-9_.]{1,64}\Z")
_PASSED_ON = ("source.", "sources.", "admission.", "json.")
"""Codes of a node that speak of what was asked."""


class DataNodeClient:
    """One data node. ``key`` belongs to the workspace that the gateway asks for."""

    def __init__(self, code: str, url: str, key: Secret, http_: HTTP) -> None:
        self.code = code
        self._url = url.rstrip("/")
        self._key = key
        self._http = http_

    async def admit(self, asked: Mapping[str, Any]) -> Presented:
        """Have something admitted; a refusal is presented like anything else. Raises ``data.*`` and what the node
        refuses to be asked."""
        return _shown(await self._ask("POST", "/v1/admit", canonical.encode(dict(asked)), ADMIT_TIMEOUT_S), self.code)

    async def admission(self, digest: str, salt: bytes | None, workspace: str) -> Presented:
        """What the node admitted before: for its salt, or without one for the workspace that asked for it. Raises
        ``data.*``, for what it does not have ``data.refused``."""
        entitled = {"x-holdfast-workspace": workspace} if salt is None else {"x-holdfast-capability": salt.hex()}
        return _shown(await self._ask("GET", f"/v1/admissions/{digest}", b"", READ_TIMEOUT_S, entitled), self.code)

    async def evidence(self) -> tuple[str, Evidence] | None:
        """The digest of its key document, and the attestation that it presents; None where it presents none."""
        value = await self._ask("GET", "/v1/identity", b"", READ_TIMEOUT_S)
        try:
            shown = parse_evidence(value.get("attestation"))
            return None if shown is None else (hex_decode(value.get("node"), 32).hex(), shown)
        except MalformedError as error:
            raise _protocol(self.code) from error

    async def _ask(
        self, method: str, path: str, body: bytes, timeout_s: float, more: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self._key.reveal()}", "accept": "application/json", **(more or {})}
        if body:
            headers["content-type"] = "application/json"
        try:
            answer = await self._http.request(
                method, self._url + path, body=body, headers=headers, timeout_s=timeout_s, max_bytes=MAX_ANSWER_BYTES
            )
        except UnavailableError as error:
            says = f"the data node {self.code} does not answer: {error.message}"
            raise UnavailableError("data.unreachable", says, hint="try again in a moment", status=502) from error
        try:
            value = canonical.decode_object(answer.body)
        except MalformedError as error:
            raise _protocol(self.code) from error
        if answer.status != http.HTTPStatus.OK:
            raise _refusal(value, answer, self.code)
        return value


def _shown(value: dict[str, Any], code: str) -> Presented:
    try:
        return parse_presented(value)
    except MalformedError as error:
        raise _protocol(code) from error


def _protocol(code: str) -> UnavailableError:
    return UnavailableError("data.protocol", f"the data node {code} presents something else", status=502)


def _refusal(value: dict[str, Any], answer: Answer, node: str) -> HoldfastError:
    """What a node refuses to be asked, in its own words where they are about the question."""
    found = value.get("error")
    error = found if isinstance(found, dict) else {}
    code, hint = error.get("code"), error.get("hint")
    if not isinstance(code, str) or _CODE.match(code) is None or not code.startswith(_PASSED_ON):
        return UnavailableError("data.protocol", f"the data node {node} answers with {answer.status}", status=502)
    status = answer.status if 400 <= answer.status < 500 else 502
    says = f"the data node {node} says {code}: {str(error.get('message'))[:500]}"
    return RefusedError("data.refused", says, hint=str(hint)[:500] if hint else "", status=status)


@dataclass(frozen=True, slots=True)
class Opened:
    """A presented admission whose statement and document are good: what a gateway may put before a model."""

    statement: Statement
    document: Admission
    shown: Presented
    members: tuple[Opened, ...] = ()

    @property
    def digest(self) -> str:
        return self.statement.digest

    @property
    def all(self) -> tuple[Opened, ...]:
        """What it combines, and itself: parents first."""
        return (*self.members, self)


def open_presented(shown: Presented, trust: Trust, now: dt.datetime) -> Opened:
    """Check everything about a presented admission but what it is for (``admission.md`` §3(6), §5(4)).

    Raises ``admission.unsigned`` where trust does not admit who signed it, ``admission.stale`` for what is fresh no
    longer at ``now``, ``admission.early`` for what claims a later minute, and ``admission.*``, ``statement.*``,
    ``json.*`` for what does not hold.
    """
    members = tuple(_open_one(item, trust, now) for item in shown.members)
    whole = _open_one(shown, trust, now)
    found = {item.digest: (item.statement, item.document) for item in members}
    if not verify_quorum(whole.document, found):
        raise RefusedError(
            "admission.observation", "not every observation of the quorum is presented", hint="present its members too"
        )
    require_fresh(whole.document, now)
    return Opened(whole.statement, whole.document, shown, members)


def _open_one(shown: Presented, trust: Trust, now: dt.datetime) -> Opened:
    statement = parse_statement(parse_envelope(shown.envelope))
    why = refuse_attester(statement, trust, until=now) if statement.kind == "admission" else "no admission"
    if why is not None:
        raise RefusedError(
            "admission.unsigned", f"trust does not admit who signed this ({why})", hint="ask a data node that it admits"
        )
    if statement.claimed_at > claimed_time(now):
        raise RefusedError(
            "admission.early",
            "its node's clock is ahead of this one's",
            hint="try again in a moment; one of the two clocks is wrong",
            status=409,
        )
    document = verify_admission(statement, shown.document, shown.salt)
    verify_observation(document, shown.definition)
    return Opened(statement, document, shown)


def is_about(document: Admission, source: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a document is of one source and of what it was asked: texts or whole numbers, of which hex may have lost
    its ``0x``. A node can present whatever its key ever signed."""
    seen = document.observation
    if seen is None or seen.source.id != source:
        return False
    texts = {name: str(value) for name, value in parameters.items()}
    return all(seen.parameters.get(name) in (text, text.removeprefix("0x")) for name, text in texts.items())
