"""What people decide reaches the log once, waits while it cannot, and is seen in the evidence afterwards."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.storage_files import FileStorage
from holdfast.client.settled import SettledEntries
from holdfast.core.statements import DecisionBody, parse_commitment
from holdfast.errors import RefusedError, UnavailableError
from holdfast.nodes.panel.decisions import AGAIN_S, REFUSED_S, Decisions
from holdfast.review.decisions import DecisionSigner
from tests.helpers.case_world import CaseWorld, play_cases
from tests.helpers.decisions import PANEL, PANEL_DOCUMENT, trust_with_panel
from tests.helpers.gateway import MemoryLog
from tests.helpers.gateway_world import digest_of
from tests.helpers.network import ORIGIN

Headers = tuple[tuple[str, str], ...]


class Entries:
    """Implements ``review.decisions.EntryLog`` over the gateway's log."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.silent = False
        self.refuses = False
        self.threads: set[str] = set()

    def index_of(self, digest: str) -> int | None:
        self.threads.add(threading.current_thread().name)
        if self.silent:
            raise UnavailableError("http.unreachable", "silent")
        digests = [digest_of(entry).hex() for entry in self._log.entries]
        return digests.index(digest) if digest in digests else None

    def append(self, entry: bytes) -> int:
        if self.refuses:
            raise RefusedError("log.refused", "the log refused the entry")
        (answer,) = asyncio.run(self._log.append([entry]))
        assert answer.index is not None
        return answer.index


def keeper(world: CaseWorld) -> tuple[Decisions, Entries]:
    """What keeps the log up with the world's journal, as the panel's main module makes it."""
    entries = Entries(world.world.log)
    signer = DecisionSigner(PANEL, PANEL_DOCUMENT.digest, b"a secret that the salts follow from")
    settled = SettledEntries(world.world.tree, world.world.nodes, ORIGIN, lambda: world.trust)
    made = Decisions(
        world.review,
        signer,
        PANEL_DOCUMENT.digest,
        lambda _: entries,
        settled,
        lambda: world.trust,
        world.world.clock,
        FileStorage(world.folder / "panel"),
    )
    return made, entries


async def decided(world: CaseWorld, **more: Any) -> tuple[str, str, Headers]:
    """A run whose case somebody has approved: the run, the case, and their headers."""
    ada = await world.let_in("ada", "admin", "approver")
    run = await world.ask(**more)
    await world.pull()
    await world.look_at_all()
    (case,) = (await world.get(f"/v1/cases?run={run}", *ada)).json()["cases"]
    await world.post(f"/v1/cases/{case['id']}/view", b"", *ada)
    body = json.dumps({"act": "approve", "reason": "the quote is in the file"}).encode()
    assert (await world.post(f"/v1/cases/{case['id']}/decide", body, *ada)).status == 200
    return run, case["id"], ada


async def shown(world: CaseWorld, case: str, headers: Headers) -> dict[str, Any]:
    value: dict[str, Any] = (await world.get(f"/v1/cases/{case}", *headers)).json()
    return value


def statements(world: CaseWorld) -> list[DecisionBody]:
    return [item.body for item in world.world.log.statements() if isinstance(item.body, DecisionBody)]


@pytest.mark.parametrize("change", [None, {"revoked": {"at": "", "suspect_since": "", "reason": "stolen"}}])
def test_a_panel_that_trust_does_not_admit_signs_nothing(tmp_path: Path, change: dict[str, Any] | None) -> None:
    async def story(world: CaseWorld) -> None:
        made, _ = keeper(world)
        if change is not None:
            moment = world.world.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")
            change["revoked"].update(at=moment, suspect_since=moment)
            world.trust = trust_with_panel(world.world.network, **change)
        await decided(world)
        await world.world.deliver()
        with pytest.raises(UnavailableError, match="trust does not admit"):
            await made.turn()
        assert statements(world) == []
        assert len(await world.review.call(world.desk.waiting)) == 1

    play_cases(story, tmp_path)


def test_a_decision_waits_for_the_statement_it_is_about(tmp_path: Path) -> None:
    """An entry before its parent would be refuted for good."""

    async def story(world: CaseWorld) -> None:
        world.trust = trust_with_panel(world.world.network)
        made, _ = keeper(world)
        await decided(world)
        assert await made.turn() == 0
        assert world.world.log.entries == []
        await world.world.deliver()
        await world.world.clock.advance(AGAIN_S)
        assert await made.turn() == 1
        assert len(statements(world)) == 1

    play_cases(story, tmp_path)


def test_a_decision_is_logged_once_and_then_its_lane_says_who_decided(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        world.trust = trust_with_panel(world.world.network)
        made, entries = keeper(world)
        run, case, ada = await decided(world)
        await world.world.deliver()
        before = await shown(world, case, ada)
        assert before["lanes"]["judgement"]["state"] == "not_applicable"
        assert await made.turn() == 1
        assert await made.turn() == 0
        (body,) = statements(world)
        assert (body.act, body.case) == ("approve", case)
        text = b"".join(world.world.log.entries)
        assert b"ada" not in text
        assert b"the quote is in the file" not in text
        logged = (await shown(world, case, ada))["lanes"]["judgement"]
        assert (logged["state"], logged["basis"]) == ("unknown", None)
        assert "its document is not shown here" in logged["says"]
        assert "ada" not in logged["says"]
        await world.settle()
        await made.turn()
        await world.pull()
        await world.look_at_all()
        after = await shown(world, case, ada)
        judgement = after["lanes"]["judgement"]
        assert "'ada' (approver) approved" in judgement["says"]
        assert "the quote is in the file" in judgement["says"]
        assert (judgement["state"], judgement["basis"]) == ("unknown", "human")  # no framing was recorded
        assert after["state"] == "CLEAR"
        noted = [event for event in after["events"] if event["kind"] == "statement_logged"]
        assert [event["body"]["statement"] for event in noted] == judgement["evidence"]
        assert threading.current_thread().name not in entries.threads
        assert not any(name.startswith("holdfast-desk") for name in entries.threads)
        await world.world.clock.advance(60)
        await made.turn()
        world.follower.ask(run)
        await world.look_at_all()
        again = await shown(world, case, ada)
        assert again["lanes"]["judgement"] == judgement, "nothing is added twice, and newer evidence takes nothing away"

    play_cases(story, tmp_path)


def test_of_a_private_run_the_log_gets_a_commitment(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        world.trust = trust_with_panel(world.world.network)
        made, _ = keeper(world)
        _, case, ada = await decided(world, settlement="private")
        await world.world.deliver()
        assert await made.turn() == 1
        assert all(parse_commitment(entry) is not None for entry in world.world.log.entries)
        assert "its document is not shown here" in (await shown(world, case, ada))["lanes"]["judgement"]["says"]
        await world.settle()
        await world.look_at_all()
        await made.turn()
        assert "'ada'" in (await shown(world, case, ada))["lanes"]["judgement"]["says"]

    play_cases(story, tmp_path)


def test_a_silent_log_holds_up_no_desk_and_loses_nothing(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        world.trust = trust_with_panel(world.world.network)
        made, entries = keeper(world)
        _, case, ada = await decided(world)
        await world.world.deliver()
        entries.silent = True
        task = asyncio.create_task(made.work())
        async with asyncio.timeout(10):
            while not made.trouble:
                await world.world.clock.advance(1)
                await asyncio.sleep(0.005)
        assert (await shown(world, case, ada))["state"] == "HOLD"
        entries.silent = False
        async with asyncio.timeout(10):
            while not statements(world):
                await world.world.clock.advance(30)
                await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(statements(world)) == 1

    play_cases(story, tmp_path)


def test_an_act_that_the_log_refuses_waits_and_holds_up_no_other(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        world.trust = trust_with_panel(world.world.network)
        made, entries = keeper(world)
        await decided(world)
        await world.world.deliver()
        entries.refuses = True
        assert await made.turn() == 0
        entries.refuses = False
        assert await made.turn() == 0, "what was refused rests for a while"
        await world.world.clock.advance(REFUSED_S)
        assert await made.turn() == 1

    play_cases(story, tmp_path)


def test_a_crash_between_log_and_journal_makes_no_second_statement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: CaseWorld) -> None:
        world.trust = trust_with_panel(world.world.network)
        made, _ = keeper(world)
        _, case, ada = await decided(world)
        await world.world.deliver()

        def crash(*_: Any) -> None:
            raise UnavailableError("case_store.gone", "the process is gone")

        with monkeypatch.context() as patched:
            patched.setattr(world.desk, "note_statement", crash)
            with pytest.raises(UnavailableError):
                await made.turn()
        assert len(statements(world)) == 1
        await world.settle()
        await world.stop_panel()
        await world.world.clock.advance(1000)
        await world.start_panel()
        made, _ = keeper(world)
        assert await made.turn() == 1
        assert len(statements(world)) == 1
        assert "'ada'" in (await shown(world, case, ada))["lanes"]["judgement"]["says"]

    play_cases(story, tmp_path)
