"""Reading full nodes over HTTP: rounds, votes, finality messages, verdict blobs, checkpoints they have seen.

Rules: every answer is parsed strictly into values of ``core.rounds`` and bounded in size; nothing is believed. Whoever
uses a vote or a finality message verifies it (``core.rounds.verify_*``); a verdict blob is compared with its name here,
because its name is all there is to it.

The transport is handed in (``ports/http.py``), so everything here runs in memory too.
Not covered: which full nodes to ask, and what a quorum is (trust).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from holdfast.core import canonical, evm, rounds
from holdfast.core.encoding import hex_decode
from holdfast.core.rounds import Candidate, FinalityMessage, Vote
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError
from holdfast.ports.http import HTTP

STATES = ("open", "proposed", "final")
"""How far a round has come: no candidate, a candidate without quorum, final with the finality depth."""
MAX_ANSWER_BYTES = 4 << 20
"""Largest JSON answer that is read."""
MAX_PAGE = 100
"""Rounds on one page."""
_OK, _NOT_FOUND = 200, 404


@dataclass(frozen=True, slots=True)
class RoundView:
    """One round as one full node shows it. Nothing in it is verified."""

    origin: str
    number: int
    state: str
    attempt: int
    candidate: Candidate | None
    block: int | None
    """The block that finalised it."""
    final_at: int | None
    """That block's time, unix seconds."""
    votes: tuple[Vote, ...]
    """Signed votes this node has seen, its own among them."""
    voters: tuple[str, ...]
    """Addresses this node knows to have voted; for some it saw only the chain's word."""
    finality: FinalityMessage | None
    """The node's own message."""


@dataclass(frozen=True, slots=True)
class FinalityView:
    """The finality messages one node has collected for a round, and the candidate they are about."""

    candidate: Candidate
    messages: tuple[FinalityMessage, ...]


@dataclass(frozen=True, slots=True)
class LogView:
    """One log as one full node sees it."""

    origin: str
    size: int
    note: bytes
    """The newest checkpoint whose entries the node has verified; empty when there is none yet."""
    problem: str
    """Why the node is behind, or empty."""


@dataclass(frozen=True, slots=True)
class StatusView:
    """What a full node says of itself."""

    node: str
    address: str
    logs: tuple[LogView, ...]
    value: Mapping[str, Any]
    """The whole answer, for people."""


def _exactly(value: object, names: str, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != set(names.split()):
        raise MalformedError("full.answer", f"{what} has exactly: {names}")
    return value


def _number(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedError("full.answer", f"{what} is an integer, not negative")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise MalformedError("full.answer", f"{what} is a string")
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > 4096:
        raise MalformedError("full.answer", f"{what} is a list")
    return value


def parse_round(value: object) -> RoundView:
    """A decoded answer of ``/v1/rounds/{number}``; raises ``full.answer`` or as ``core.rounds`` parses."""
    item = _exactly(value, "origin number state attempt candidate block final_at votes finality", "a round")
    if item["state"] not in STATES:
        raise MalformedError("full.answer", "unknown state of a round")
    votes = [_parse_vote(vote) for vote in _list(item["votes"], "votes")]
    return RoundView(
        origin=rounds.parse_origin(item["origin"]),
        number=_number(item["number"], "number"),
        state=item["state"],
        attempt=_number(item["attempt"], "attempt"),
        candidate=None if item["candidate"] is None else rounds.parse_candidate(item["candidate"]),
        block=None if item["block"] is None else _number(item["block"], "block"),
        final_at=None if item["final_at"] is None else _number(item["final_at"], "final_at"),
        votes=tuple(vote for _, vote in votes if vote is not None),
        voters=tuple(dict.fromkeys(voter for voter, _ in votes)),
        finality=None if item["finality"] is None else rounds.parse_finality_message(item["finality"]),
    )


def _parse_vote(value: object) -> tuple[str, Vote | None]:
    item = _exactly(value, "voter vote", "a vote seen")
    return evm.parse_address(item["voter"]), None if item["vote"] is None else rounds.parse_vote(item["vote"])


def parse_rounds(value: object) -> tuple[RoundView, ...]:
    """A decoded answer of ``/v1/rounds``: rounds in rising order."""
    item = _exactly(value, "origin rounds", "a page of rounds")
    return tuple(parse_round(entry) for entry in _list(item["rounds"], "rounds"))


def parse_finality(value: object) -> FinalityView:
    """A decoded answer of ``/v1/finality/{number}``."""
    item = _exactly(value, "round messages", "a finality answer")
    messages = tuple(rounds.parse_finality_message(entry) for entry in _list(item["messages"], "messages"))
    return FinalityView(rounds.parse_candidate(item["round"]), messages)


def parse_status(value: object) -> StatusView:
    """A decoded answer of ``/v1/status``; members beyond the ones read here are for people."""
    if not isinstance(value, dict) or not value.keys() >= {"node", "address", "logs"}:
        raise MalformedError("full.answer", "a status has node, address and logs")
    logs = []
    for entry in _list(value["logs"], "logs"):
        if not isinstance(entry, dict) or not entry.keys() >= {"origin", "size", "note", "problem"}:
            raise MalformedError("full.answer", "a log in a status has origin, size, note and problem")
        note = _text(entry["note"], "note").encode()
        logs.append(
            LogView(
                rounds.parse_origin(entry["origin"]),
                _number(entry["size"], "size"),
                note,
                _text(entry["problem"], "problem"),
            )
        )
    node = hex_decode(value["node"], 32).hex()
    return StatusView(node, _text(value["address"], "address"), tuple(logs), value)


class FullNodeReader(Protocol):
    """One full node, read."""

    @property
    def name(self) -> str:
        """For messages: its address on the network."""
        ...

    async def status(self) -> StatusView:
        """What it says of itself."""
        ...

    async def round(self, origin: str, number: int) -> RoundView | None:
        """One round; None when it knows nothing of it."""
        ...

    async def rounds(self, origin: str, after: int) -> tuple[RoundView, ...]:
        """Final rounds with numbers above ``after``, at most :data:`MAX_PAGE`, in rising order."""
        ...

    async def finality(self, origin: str, number: int) -> FinalityView | None:
        """The finality messages it has for a round; None when it has none."""
        ...

    async def verdicts(self, blob_id: bytes) -> bytes | None:
        """A verdict blob by its id (32 bytes); None when the node does not have it. The bytes do hash to the id."""
        ...


class HTTPFullNode:
    """A full node behind a base URL."""

    def __init__(self, http: HTTP, url: str, *, name: str | None = None, timeout_s: float = 5.0) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._name = name or self._url
        self._timeout_s = timeout_s

    @property
    def name(self) -> str:
        """What whoever asks calls it; the base URL when nobody gave it a name."""
        return self._name

    async def status(self) -> StatusView:
        """``GET /v1/status``."""
        return parse_status(await self._get_json("/v1/status"))

    async def round(self, origin: str, number: int) -> RoundView | None:
        """``GET /v1/rounds/{number}``."""
        value = await self._find_json(f"/v1/rounds/{number}?origin={quote(origin, safe='')}")
        return None if value is None else parse_round(value)

    async def rounds(self, origin: str, after: int) -> tuple[RoundView, ...]:
        """``GET /v1/rounds``."""
        return parse_rounds(await self._get_json(f"/v1/rounds?origin={quote(origin, safe='')}&after={after}"))

    async def newest(self, origin: str, limit: int) -> tuple[RoundView, ...]:
        """``GET /v1/rounds`` without ``after``: the newest final rounds with their votes, and the open one."""
        return parse_rounds(await self._get_json(f"/v1/rounds?origin={quote(origin, safe='')}&limit={limit}"))

    async def finality(self, origin: str, number: int) -> FinalityView | None:
        """``GET /v1/finality/{number}``."""
        value = await self._find_json(f"/v1/finality/{number}?origin={quote(origin, safe='')}")
        return None if value is None else parse_finality(value)

    async def verdicts(self, blob_id: bytes) -> bytes | None:
        """``GET /v1/verdicts/{blob_id}``."""
        found = await self._get(f"/v1/verdicts/{blob_id.hex()}", rounds.MAX_BLOB_BYTES)
        if found is None:
            return None
        if rounds.blob_id(found) != blob_id:
            raise RefusedError("round.blob_id", f"{self._url} served other bytes under this name")
        return found

    async def equivocations(self) -> list[dict[str, Any]]:
        """``GET /v1/equivocations``: evidence as the node shows it, decoded and nothing more."""
        value = _exactly(await self._get_json("/v1/equivocations"), "equivocations", "the answer")
        return _list(value["equivocations"], "equivocations")

    async def _get_json(self, path: str) -> Any:
        value = await self._find_json(path)
        if value is None:
            raise RefusedError("full.not_found", f"{self._url}{path} is not there")
        return value

    async def _find_json(self, path: str) -> Any:
        body = await self._get(path, MAX_ANSWER_BYTES)
        return None if body is None else canonical.decode(body)

    async def _get(self, path: str, most_bytes: int) -> bytes | None:
        """The body of a 200 answer, None for 404; anything else raises ``full.unavailable`` or as the port does."""
        answer = await self._http.request("GET", self._url + path, timeout_s=self._timeout_s, max_bytes=most_bytes)
        if answer.status == _NOT_FOUND:
            return None
        if answer.status != _OK:
            raise UnavailableError("full.unavailable", f"{self._url} answered {answer.status}")
        return answer.body


_Answer = TypeVar("_Answer")


async def ask_all(*questions: Awaitable[_Answer]) -> list[_Answer | HoldfastError]:
    """Await several questions at once; a :class:`HoldfastError` takes the place of the answer it prevented."""
    answers: list[_Answer | HoldfastError] = []
    for answer in await asyncio.gather(*questions, return_exceptions=True):
        if isinstance(answer, BaseException) and not isinstance(answer, HoldfastError):
            raise answer
        answers.append(answer)
    return answers
