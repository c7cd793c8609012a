"""Uploads: whose they are, what the disk says of them, and that what was deleted is gone (``spec/files.md`` §6)."""

import asyncio
import datetime as dt
import itertools

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.errors import HoldfastError
from holdfast.nodes.gateway.attaching import Attaching, Image
from holdfast.nodes.gateway.uploads import FOLDER, Uploads
from tests.helpers.clock import FakeClock

SECRET_TEXT = b"The pump ran for 40 days."
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x02\x00\x00\x00\x02"


class Desk:
    """Uploads over a simulated disk."""

    def __init__(self, disk=None, clock=None, room=10_000):
        self.disk = disk or SimulatedDisk()
        self.clock = clock or FakeClock()
        self.storage = self.disk.mount()
        count = itertools.count(1)
        self.uploads = Uploads(
            self.storage,
            self.clock,
            random_bytes=lambda size: bytes([next(count)]) * size,
            days=7,
            workspace_bytes=room,
        )

    async def keep(self, data=SECRET_TEXT, workspace="first", name="pump.txt"):
        file_id, _ = await self.uploads.keep(name, data, workspace, None, Attaching())
        return file_id

    def again(self):
        """What another process finds on this disk."""
        return Desk(self.disk, self.clock)


def refusal(awaitable):
    with pytest.raises(HoldfastError) as caught:
        asyncio.run(awaitable)
    return caught.value.code


def test_an_upload_is_found_by_its_id_also_after_a_restart():
    desk = Desk()
    file_id = asyncio.run(desk.keep())
    for each in (desk, desk.again()):
        upload = asyncio.run(each.uploads.open(file_id, "first"))
        assert (upload.data, upload.name, upload.found.document.text) == (SECRET_TEXT, "pump.txt", SECRET_TEXT.decode())


def test_an_image_is_kept_as_it_is():
    desk = Desk()
    found = asyncio.run(desk.uploads.find(asyncio.run(desk.keep(PNG, name="a.png")), "first"))
    assert found == Image("a.png", "image/png", PNG)


def test_the_disk_says_nothing_of_what_a_file_holds():
    desk = Desk()
    asyncio.run(desk.keep())
    stored = [desk.storage.load(f"{FOLDER}/{name}") for name in desk.storage.list_names(FOLDER)]
    assert len(stored) == 2
    assert not any(b"pump" in item for item in stored)


def test_nobody_opens_an_upload_without_its_whole_id_and_its_workspace():
    desk = Desk()
    file_id = asyncio.run(desk.keep())
    short = file_id[: file_id.rindex("-")]
    for other in (short, file_id[:-1] + "0", "file-" + "0" * 32 + "-" + "0" * 64, "../" + file_id, ""):
        assert refusal(desk.uploads.open(other, "first")) == "file.unknown"
    assert refusal(desk.uploads.open(file_id, "second")) == "file.unknown"
    assert refusal(desk.uploads.delete(file_id, "second")) == "file.unknown"
    assert [item.locator for item in desk.uploads.of("first")] == [short.removeprefix("file-")]
    assert desk.uploads.of("second") == []


@pytest.mark.parametrize("whole", [True, False])
def test_what_was_deleted_is_gone_from_the_disk(whole):
    desk = Desk()
    file_id = asyncio.run(desk.keep())
    asyncio.run(desk.uploads.delete(file_id if whole else file_id[: file_id.rindex("-")], "first"))
    assert desk.storage.list_names(FOLDER) == []
    for each in (desk, desk.again()):
        assert refusal(each.uploads.open(file_id, "first")) == "file.unknown"


def test_what_has_run_out_is_gone():
    desk = Desk()
    file_id = asyncio.run(desk.keep())
    asyncio.run(desk.clock.advance(dt.timedelta(days=7).total_seconds()))
    assert refusal(desk.uploads.open(file_id, "first")) == "file.unknown"
    assert desk.uploads.of("first") == []
    asyncio.run(desk.uploads.sweep())
    assert desk.storage.list_names(FOLDER) == []


def test_a_workspace_keeps_no_more_than_it_may_and_others_are_not_hindered():
    desk = Desk(room=60)
    asyncio.run(desk.keep())
    asyncio.run(desk.keep())
    assert refusal(desk.keep()) == "file.room"
    asyncio.run(desk.keep(workspace="second"))


def test_uploads_that_come_at_once_take_no_more_room_than_one_after_the_other():
    desk = Desk(room=60)

    async def many():
        return await asyncio.gather(*(desk.keep() for _ in range(8)), return_exceptions=True)

    refused = [item.code for item in asyncio.run(many()) if isinstance(item, HoldfastError)]
    assert refused == ["file.room"] * 6
    assert sum(item.size for item in desk.uploads.of("first")) <= 60


def test_what_cannot_be_read_is_not_kept():
    desk = Desk()
    assert refusal(desk.keep(b"\x7fELF\0")) == "file.type"
    assert desk.storage.list_names(FOLDER) == []


def test_an_upload_that_was_answered_outlives_a_crash_and_half_of_one_is_swept():
    desk = Desk()
    file_id = asyncio.run(desk.keep())
    desk.storage.save(f"{FOLDER}/{'ab' * 16}.sealed", b"half")
    desk.disk.crash()
    after = desk.again()
    assert asyncio.run(after.uploads.open(file_id, "first")).data == SECRET_TEXT
    assert len(after.storage.list_names(FOLDER)) == 2
