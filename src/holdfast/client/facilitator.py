"""Ask a facilitator about payments and have it capture them (``spec/payments.md`` §7).

Rules: an answer is that facilitator's word and is believed by nobody here; who can look at the chain does. Three kinds
of answers stay apart: a payment that is not good is an answer; a chain that is silent is ``facilitator.chain``; a
facilitator that has a fault, is busy or answers what it should not is ``facilitator.fault`` or ``facilitator.answer``.
A capture's id is made of what was signed, so handing it in again after anything at all is the same capture.

Facilitators that capture at once and answer with the end (as x402's own do) are understood: their answer is a job that
has ended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, cast

from holdfast.core import canonical, x402
from holdfast.core.evm import parse_address
from holdfast.core.x402 import PaymentPayload, PaymentRequirements, SettleResponse, VerifyResponse
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError
from holdfast.ports.http import HTTP, Answer
from holdfast.ports.settings import Secret

MAX_ANSWER_BYTES = 1 << 18
"""Largest answer that is read."""
_CODE = re.compile(r"[a-z0-9_.-]{1,64}\Z")
_STATUSES = ("queued", "processing", "succeeded", "failed")
Result = TypeVar("Result")
JobStatus: TypeAlias = Literal["queued", "processing", "succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class CaptureJob:
    """How far a facilitator says that a capture has come."""

    id: str
    status: JobStatus
    result: SettleResponse | None
    """How it ended: there exactly when it has."""

    @property
    def ended(self) -> bool:
        """Whether the facilitator is done with it."""
        return self.status in ("succeeded", "failed")


@dataclass(frozen=True, slots=True)
class Supported:
    """What a facilitator takes: (scheme, network) to the address that submits it, where it names one (``upto``
    payers sign it)."""

    kinds: Mapping[tuple[str, str], str | None]


class Facilitator(Protocol):
    """Somebody who captures payments."""

    async def supported(self) -> Supported:
        """What it takes. Raises ``facilitator.*`` or ``http.*``, as all of these."""
        ...

    async def verify(self, payload: PaymentPayload, asked: PaymentRequirements) -> VerifyResponse:
        """Whether a payment is good now."""
        ...

    async def settle(self, payload: PaymentPayload, asked: PaymentRequirements) -> CaptureJob:
        """Have a payment captured; the same payment again is the same job. A payment that is not taken on is a job
        that has failed."""
        ...

    async def job(self, name: str) -> CaptureJob | None:
        """A job by its id; None where the facilitator knows none."""
        ...


class HTTPFacilitator:
    """A facilitator behind a base URL."""

    def __init__(self, http: HTTP, url: str, token: Secret | None = None, *, timeout_s: float = 15.0) -> None:
        self.url = url.rstrip("/")
        self._http = http
        self._token = token
        self._timeout_s = timeout_s

    async def supported(self) -> Supported:
        """See :class:`Facilitator`. Kinds of other versions and networks are left out."""
        value = _object(await self._ask("GET", "/supported"))
        kinds = value.get("kinds")
        if not isinstance(kinds, list):
            raise _bad("kinds is a list")
        found: dict[tuple[str, str], str | None] = {}
        for kind in kinds:
            if not isinstance(kind, dict) or kind.get("x402Version") != x402.VERSION:
                continue
            scheme, network, extra = kind.get("scheme"), kind.get("network"), kind.get("extra") or {}
            if scheme not in (x402.EXACT, x402.UPTO) or not isinstance(network, str) or not isinstance(extra, dict):
                continue
            address = extra.get("facilitatorAddress")
            found[str(scheme), network] = None if address is None else _address(address)
        return Supported(found)

    async def verify(self, payload: PaymentPayload, asked: PaymentRequirements) -> VerifyResponse:
        """See :class:`Facilitator`."""
        answer = await self._ask("POST", "/verify", _body(payload, asked))
        return _parsed(x402.parse_verify_response, _object(answer))

    async def settle(self, payload: PaymentPayload, asked: PaymentRequirements) -> CaptureJob:
        """See :class:`Facilitator`. Raises ``payment.replayed`` where the facilitator was handed the same
        authorization for another capture."""
        name = x402.job_id_of(x402.identity_of(payload.authorization, chain_id=asked.chain_id, asset=asked.asset))
        answer = await self._ask("POST", "/settle", _body(payload, asked))
        value = _object(answer)
        if "paymentJob" in value:
            return _job(value["paymentJob"], name, asked.network)
        result = _parsed(x402.parse_settle_response, value)
        return CaptureJob(name, "succeeded" if result.success else "failed", _of(result, asked.network))

    async def job(self, name: str) -> CaptureJob | None:
        """See :class:`Facilitator`."""
        answer = await self._ask("GET", f"/settle/{name}", unknown=404)
        return None if answer.status == 404 else _job(_object(answer), name, None)

    async def _ask(self, method: str, path: str, body: bytes = b"", *, unknown: int = 0) -> Answer:
        headers = {"content-type": "application/json"} if body else {}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token.reveal()}"
        answer = await self._http.request(
            method,
            self.url + path,
            body=body,
            headers=headers,
            timeout_s=self._timeout_s,
            max_bytes=MAX_ANSWER_BYTES,
        )
        if answer.status in (200, 202, unknown):
            return answer
        raise _error(answer)


def _body(payload: PaymentPayload, asked: PaymentRequirements) -> bytes:
    return canonical.encode_exact(
        {
            "x402Version": x402.VERSION,
            "paymentPayload": payload.to_json(),
            "paymentRequirements": asked.to_json(),
        }
    )


def _error(answer: Answer) -> HoldfastError:
    """What an answer without an answer means: the chain is silent, the facilitator has a fault, or it was asked what it
    does not take."""
    code = _code(answer.body)
    if answer.status == 409 and code == "payment.replayed":
        return RefusedError("payment.replayed", "the facilitator was handed this authorization for another capture")
    if answer.status == 503 and code.startswith("chain."):
        return UnavailableError("facilitator.chain", f"the facilitator cannot reach the chain ({code})")
    if answer.status >= 500 or answer.status == 429:
        return UnavailableError("facilitator.fault", f"the facilitator answered {answer.status} ({code})")
    return RefusedError(
        "facilitator.refused",
        f"the facilitator answered {answer.status} ({code})",
        hint="look at its address, its token, and the receivers and assets that it serves",
    )


def _code(body: bytes) -> str:
    """The code in an error of ours; what it says instead is not passed on."""
    try:
        error = canonical.decode_object(body).get("error")
    except HoldfastError:
        return "no reason given"
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and _CODE.match(code) else "no reason given"


def _object(answer: Answer) -> dict[str, Any]:
    try:
        return canonical.decode_object(answer.body)
    except MalformedError as error:
        raise _bad("an answer is a JSON object") from error


def _bad(what: str) -> UnavailableError:
    return UnavailableError("facilitator.answer", f"the facilitator's answer is not what it should be: {what}")


def _address(value: object) -> str:
    try:
        return parse_address(value.lower() if isinstance(value, str) else value)
    except HoldfastError as error:
        raise _bad("facilitatorAddress is an address") from error


def _parsed(parse: Callable[[object], Result], value: object) -> Result:
    try:
        return parse(value)
    except MalformedError as error:
        raise _bad(error.message) from error


def _of(result: SettleResponse, network: str | None) -> SettleResponse:
    if network is not None and result.network != network:
        raise _bad("it tells of another network")
    return result


def _job(value: object, name: str, network: str | None) -> CaptureJob:
    """A job as a facilitator shows it; one that ended has a result that says the same."""
    if not isinstance(value, dict) or value.get("jobId") != name or value.get("status") not in _STATUSES:
        raise _bad("a job has the id that was asked for, and a status")
    status = cast("JobStatus", value["status"])
    if status in ("queued", "processing"):
        return CaptureJob(name, status, None)
    result = _of(_parsed(x402.parse_settle_response, value.get("result")), network)
    if result.success != (status == "succeeded"):
        raise _bad("status and result say two things")
    return CaptureJob(name, status, result)
