"""A hub that is followed: moves mark open cases, revocations recall, and nothing is taken that does not check."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from holdfast.adapters.storage_files import FileStorage
from holdfast.client.hub_changes import open_change
from holdfast.core.artifact_changes import ArtifactChange, Label, build_change
from holdfast.core.artifacts import declared_artifact
from holdfast.core.encoding import b64_encode
from holdfast.errors import HoldfastError, MalformedError, UnavailableError
from holdfast.nodes.panel.labels import CURSOR_FILE, HubFollower, parse_hub_cursor
from holdfast.review.events import SYSTEM
from tests.helpers.artifacts import LABEL, A, B, Said, labelled, trust_with_hub
from tests.helpers.labelled import told
from tests.helpers.network import RUN, Network, at
from tests.helpers.review import Clinic

TRUST = trust_with_hub()
ANSWERED = declared_artifact("stub", "small-1-2026", "fp_1")
FIRST = Said(labelled(ANSWERED))
MOVED = Said(labelled(B, ANSWERED, 1.0), [FIRST.statement.digest], "moved")
PUBLISHED = Said(
    build_change(ArtifactChange("published", at(0), ANSWERED, "Ada", "new", manifest="11" * 32, version="acme/risk@1"))
)
REVOKED = Said(
    build_change(ArtifactChange("revoked", at(2), ANSWERED, "Ada", "poisoned")), [PUBLISHED.statement.digest]
)


def item(number: int, said: Said, **change: Any) -> dict[str, Any]:
    """A change as a hub tells it."""
    found = {
        "number": number,
        "envelope": b64_encode(said.envelope),
        "document": said.document.decode(),
        "salt": said.salt.hex(),
    }
    return found | change


class FakeHub:
    """Tells what it was given."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.silent = False

    async def changes(self, after: int, *, wait_s: int = 0, limit: int = 200) -> dict[str, Any]:
        del wait_s
        await asyncio.sleep(0)
        if self.silent:
            raise UnavailableError("http.unreachable", "no answer")
        return {"changes": self.items[after : after + limit]}


class FakeReview:
    """A desk on the thread of the test."""

    def __init__(self, clinic: Clinic) -> None:
        self.desk = clinic.desk
        self.told = 0

    async def call(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    def notify(self) -> None:
        self.told += 1


class World:
    """A clinic, a hub, and what follows it."""

    def __init__(self, folder: Any) -> None:
        self.clinic = Clinic()
        self.hub = FakeHub()
        self.folder = folder
        self.restart()

    def restart(self) -> None:
        self.storage = FileStorage(self.folder)
        review: Any = FakeReview(self.clinic)
        self.follower = HubFollower(review, self.hub, lambda: TRUST, self.clinic.clock, self.storage)

    def say(self, *said: Said) -> None:
        self.hub.items += [item(len(self.hub.items) + place, each) for place, each in enumerate(said, 1)]

    def turn(self) -> None:
        asyncio.run(self.follower.turn())

    def case(self, queue: str, stage: str = "settled", label: str = LABEL.name) -> str:
        self.clinic.queue(queue)
        self.clinic.pass_time(1)
        case = self.clinic.desk.open(SYSTEM, RUN, queue).id
        exported = (self.clinic.now - at(0)).total_seconds()
        self.clinic.desk.note_bundle(SYSTEM, case, told(label, stage=stage, exported=exported))
        return case


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ([item(1, FIRST, document=MOVED.document.decode())], "artifact_change.record"),
        ([item(1, FIRST, salt="11" * 32)], "artifact_change.record"),
        ([item(1, FIRST, salt=None)], "encoding.hex"),
        ([item(1, FIRST, document=None)], "hub.answer"),
        ([item(2, FIRST)], "hub.answer"),
        (["change"], "hub.answer"),
        ([item(1, MOVED)], "hub.fork"),
        ([item(1, FIRST), item(2, FIRST)], "hub.fork"),
        ([item(1, FIRST), item(2, Said(labelled(B, A, 1.0), ["11" * 32]))], "hub.fork"),
    ],
)
def test_what_does_not_check_is_not_taken(items, code, world):
    world.hub.items = items
    with pytest.raises(HoldfastError) as caught:
        world.turn()
    assert caught.value.code == code
    assert (world.clinic.store_events()[-1:] or [None])[0] is None or len(items) > 1


def test_a_change_by_no_hub_is_not_taken():
    with pytest.raises(HoldfastError) as caught:
        open_change(item(1, FIRST), Network().trust())
    assert caught.value.code == "hub.attester"


def test_a_hub_that_answers_with_something_else_is_not_followed(world):
    world.hub.items = {}  # type: ignore[assignment]
    world.hub.changes = _nothing  # type: ignore[method-assign]
    with pytest.raises(MalformedError) as caught:
        world.turn()
    assert caught.value.code == "hub.answer"


async def _nothing(*_: Any, **__: Any) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(
    "raw", [b"{}", b'{"after":"1","heads":{},"revoked":{}}', b'{"after":1,"heads":[],"revoked":{}}']
)
def test_a_damaged_cursor_is_no_beginning(raw):
    with pytest.raises(MalformedError) as caught:
        parse_hub_cursor(raw)
    assert caught.value.code == "panel.cursor"


def test_a_move_marks_every_open_case_that_stands_on_the_label(world):
    world.say(FIRST)
    world.turn()
    clear, held = world.case("clear"), world.case("held", "answered")
    other = world.case("other", label="acme/risk:test")
    assert world.clinic.state(clear) == "CLEAR"
    world.say(MOVED)
    world.turn()
    for case, marked in ((clear, True), (held, True), (other, False)):
        assert ("marked_stale" in world.clinic.kinds(case)) is marked
    assert world.follower.trouble == ""


def test_latest_is_what_a_model_without_a_label_means(world):
    label = Label("acme/risk:latest", LABEL.salt)
    world.say(Said(labelled(ANSWERED, label=label)))
    world.turn()
    with world.clinic.store.read() as reader:
        assert reader.label("acme/risk").artifact == reader.label("acme/risk:latest").artifact == ANSWERED


def test_what_happened_before_is_taken_as_it_stands(world):
    world.say(FIRST, MOVED)
    world.turn()
    events = [event for event in world.clinic.store_events() if event.kind == "label_moved"]
    assert len(events) == 1
    with world.clinic.store.read() as reader:
        assert reader.label(LABEL.name).artifact == B


def test_a_revocation_recalls_what_stood_on_the_artifact_and_what_comes_to_later(world):
    case = world.case("clear")
    world.say(PUBLISHED, REVOKED)
    world.turn()
    assert world.clinic.state(case) == "RECALLED"
    later = world.case("later")
    assert world.clinic.state(later) == "CLEAR"
    world.turn()
    assert world.clinic.state(later) == "RECALLED"
    world.restart()
    third = world.case("third")
    world.turn()
    assert world.clinic.state(third) == "RECALLED"


def test_what_came_before_trouble_is_acted_on(world):
    world.say(FIRST)
    world.hub.items.append(item(2, Said(labelled(B, A, 1.0), ["11" * 32])))
    with pytest.raises(HoldfastError):
        world.turn()
    with world.clinic.store.read() as reader:
        assert reader.label(LABEL.name).artifact == ANSWERED
    assert parse_hub_cursor(world.storage.load(CURSOR_FILE)).after == 1
    world.hub.items[1] = item(2, MOVED)
    world.turn()
    with world.clinic.store.read() as reader:
        assert reader.label(LABEL.name).artifact == B


def test_nothing_is_forgotten_where_the_desk_fails(world):
    world.say(FIRST)
    desk, world.follower._review.desk = world.follower._review.desk, None
    with pytest.raises(AttributeError):
        world.turn()
    world.follower._review.desk = desk
    world.turn()
    with world.clinic.store.read() as reader:
        assert reader.label(LABEL.name).artifact == ANSWERED


def test_a_silent_hub_is_asked_again(world):
    world.hub.silent = True
    follower = world.follower

    async def body():
        working = asyncio.create_task(follower.work())
        while not follower.trouble:  # noqa: ASYNC110 (what it waits for is no event)
            await asyncio.sleep(0)
        assert follower.trouble == "no answer"
        world.hub.silent = False
        world.say(FIRST)
        while follower.trouble:
            await world.clinic.clock.advance(1)
            await asyncio.sleep(0)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    asyncio.run(body())
    assert follower._cursor == dataclasses.replace(follower._cursor, after=1)
