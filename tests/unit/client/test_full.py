"""Reading full nodes: strict, bounded, believing nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from holdfast.client import full
from holdfast.client.full import HTTPFullNode
from holdfast.core import rounds
from holdfast.errors import MalformedError, RefusedError, UnavailableError
from holdfast.ports.http import Answer

ORIGIN = "holdfast.test/log/1"
CANDIDATE = rounds.Candidate(ORIGIN, 1, 1, 0, bytes(32), 2, bytes(32), bytes(32), bytes(32))
MESSAGE = rounds.FinalityMessage(ORIGIN, 1, 1, bytes(32), b"\x01" * 64 + b"\x1b")
VOTE = rounds.Vote(ORIGIN, 1, 1, 0, bytes(32), b"\x01" * 64 + b"\x1b")
ADDRESS = "0x" + "ab" * 20
ROUND: dict[str, Any] = {
    "origin": ORIGIN,
    "number": 1,
    "state": "final",
    "attempt": 0,
    "candidate": CANDIDATE.to_json(),
    "block": 7,
    "final_at": 1_767_225_600,
    "votes": [{"voter": ADDRESS, "vote": VOTE.to_json()}, {"voter": "0x" + "cd" * 20, "vote": None}],
    "finality": MESSAGE.to_json(),
}


class FakeHTTP:
    """Answers by path."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def request(self, method: str, url: str, **options: Any) -> Answer:
        await asyncio.sleep(0)
        self.asked.append(url)
        return self.answers.get(url.removeprefix("http://node"), Answer(404))


def node(path: str, value: Any, status: int = 200) -> HTTPFullNode:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return HTTPFullNode(FakeHTTP({path: Answer(status, body)}), "http://node/")


QUERY = "origin=holdfast.test%2Flog%2F1"


def test_a_round_is_read_with_votes_voters_and_finality():
    view = asyncio.run(node(f"/v1/rounds/1?{QUERY}", ROUND).round(ORIGIN, 1))
    assert view is not None
    assert view.candidate == CANDIDATE
    assert view.votes == (VOTE,)
    assert view.voters == (ADDRESS, "0x" + "cd" * 20)
    assert view.finality == MESSAGE


def test_an_open_round_has_no_candidate():
    value = {
        **ROUND,
        "state": "open",
        "candidate": None,
        "block": None,
        "final_at": None,
        "finality": None,
        "votes": [],
    }
    view = full.parse_round(value)
    assert (view.candidate, view.block, view.final_at, view.finality, view.votes) == (None, None, None, None, ())


def test_what_is_not_there_is_none_and_silence_is_an_error():
    assert asyncio.run(node("/elsewhere", {}).round(ORIGIN, 1)) is None
    assert asyncio.run(node("/elsewhere", {}).finality(ORIGIN, 1)) is None
    assert asyncio.run(node("/elsewhere", {}).verdicts(bytes(32))) is None
    with pytest.raises(RefusedError, match=r"full\.not_found"):
        asyncio.run(node("/elsewhere", {}).status())
    with pytest.raises(UnavailableError, match=r"full\.unavailable"):
        asyncio.run(node("/v1/status", b"", 500).status())


def test_a_blob_under_a_wrong_name_is_refused():
    blob = b"0 " + b"00" * 32 + b" ok\n"
    name = rounds.blob_id(blob)
    assert asyncio.run(node(f"/v1/verdicts/{name.hex()}", blob).verdicts(name)) == blob
    with pytest.raises(RefusedError, match=r"round\.blob_id"):
        asyncio.run(node(f"/v1/verdicts/{name.hex()}", blob + b"1").verdicts(name))


@pytest.mark.parametrize(
    "change",
    [
        {"state": "settled"},
        {"number": -1},
        {"number": True},
        {"number": "1"},
        {"attempt": None},
        {"candidate": {}},
        {"votes": {}},
        {"votes": [VOTE.to_json()]},
        {"votes": [{"voter": "0xABCD", "vote": None}]},
        {"finality": {"origin": ORIGIN}},
        {"block": "7"},
        {"origin": "two words"},
        {"more": 1},
    ],
)
def test_an_answer_of_another_shape_is_malformed(change):
    with pytest.raises(MalformedError):
        full.parse_round({**ROUND, **change})


@pytest.mark.parametrize("value", [None, [], {}, {"origin": ORIGIN}, {"origin": ORIGIN, "rounds": {}}])
def test_a_page_of_another_shape_is_malformed(value):
    with pytest.raises(MalformedError):
        full.parse_rounds(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"node": "00" * 32, "address": ADDRESS},
        {"node": "zz", "address": ADDRESS, "logs": []},
        {"node": "00" * 32, "address": 1, "logs": []},
        {"node": "00" * 32, "address": ADDRESS, "logs": [{"origin": ORIGIN}]},
        {"node": "00" * 32, "address": ADDRESS, "logs": [{"origin": ORIGIN, "size": 1, "note": 1, "problem": ""}]},
    ],
)
def test_a_status_of_another_shape_is_malformed(value):
    with pytest.raises(MalformedError):
        full.parse_status(value)


def test_one_failing_answer_does_not_spoil_the_others():
    async def good() -> int:
        await asyncio.sleep(0)
        return 1

    async def bad() -> int:
        await asyncio.sleep(0)
        raise UnavailableError("http.unreachable", "no")

    async def bug() -> int:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def ask() -> None:
        answers = await full.ask_all(good(), bad())
        assert answers[0] == 1
        assert isinstance(answers[1], UnavailableError)
        with pytest.raises(ZeroDivisionError):
            await full.ask_all(bug())

    asyncio.run(ask())
