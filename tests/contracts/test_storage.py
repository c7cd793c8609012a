"""What every storage keeps (ports/storage.py), run against the local disk and the simulated one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.errors import ConflictError, UsageError
from holdfast.ports.storage import Storage


@pytest.fixture(params=["files", "simulated"])
def mount(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Storage]:
    """Something that opens the same storage again and again."""
    if request.param == "files":
        return lambda: FileStorage(tmp_path / "root")
    return SimulatedDisk().mount


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", ".", "..", "a/.", "a b", "a\x00b", "é"]
)
def test_a_name_outside_the_root_is_refused(mount: Callable[[], Storage], name: str) -> None:
    storage = mount()
    attempts: list[Callable[[], object]] = [
        lambda: storage.create(name),
        lambda: storage.open(name),
        lambda: storage.load(name),
        lambda: storage.save(name, b""),
        lambda: storage.remove(name),
        lambda: storage.lock(name),
    ]
    for attempt in attempts:
        with pytest.raises(UsageError, match=r"storage\.name"):
            attempt()


def test_a_missing_file_is_not_opened(mount: Callable[[], Storage]) -> None:
    storage = mount()
    with pytest.raises(UsageError, match=r"storage\.missing"):
        storage.open("none")
    with pytest.raises(UsageError, match=r"storage\.missing"):
        storage.rename("none", "some")
    assert storage.load("none") is None
    assert storage.list_names("nowhere") == []
    storage.remove("none")


def test_a_file_is_not_created_over_another(mount: Callable[[], Storage]) -> None:
    storage = mount()
    storage.create("a/b").close()
    with pytest.raises(UsageError, match=r"storage\.exists"):
        storage.create("a/b")


def test_a_lock_is_held_by_one(mount: Callable[[], Storage]) -> None:
    lock = mount().lock("folder/lock")
    with pytest.raises(ConflictError, match=r"storage\.locked"):
        mount().lock("folder/lock")
    lock.release()
    lock.release()
    again = mount().lock("folder/lock")
    with pytest.raises(ConflictError, match=r"storage\.locked"):
        mount().lock("folder/lock")
    again.release()


def test_written_bytes_are_read_back(mount: Callable[[], Storage]) -> None:
    storage = mount()
    file = storage.create("deep/er/file")
    file.write(5, b"world")
    file.write(0, b"hello")
    file.sync()
    storage.sync_folder("deep/er")
    assert (file.size(), file.read(0, 100), file.read(3, 4), file.read(50, 1)) == (10, b"helloworld", b"lowo", b"")
    file.truncate(3)
    assert file.read(0, 100) == b"hel"
    file.truncate(5)
    assert file.read(0, 100) == b"hel\0\0"
    file.close()
    assert mount().load("deep/er/file") == b"hel\0\0"


def test_reserved_space_reads_as_zeros(mount: Callable[[], Storage]) -> None:
    file = mount().create("zeros", 1000)
    assert (file.size(), file.read(0, 2000)) == (1000, bytes(1000))
    file.close()


def test_saving_replaces_as_a_whole(mount: Callable[[], Storage]) -> None:
    storage = mount()
    storage.save("state", b"a much longer first state")
    storage.save("state", b"second")
    storage.save_all({"x/1": b"one", "x/2": b"two", "y": b""})
    other = mount()
    assert [other.load(name) for name in ("state", "x/1", "x/2", "y")] == [b"second", b"one", b"two", b""]
    assert other.list_names() == ["state", "y"]
    assert other.list_names("x") == ["1", "2"]


def test_many_files_are_saved_together(mount: Callable[[], Storage]) -> None:
    storage = mount()
    files = {f"folder-{number % 3}/deep/{number}": b"%d" % number * number for number in range(40)}
    for _ in range(2):
        storage.save_all(files)
    other = mount()
    assert {name: other.load(name) for name in files} == files
    assert other.list_names("folder-0/deep") == sorted(str(number) for number in range(0, 40, 3))
    with pytest.raises(UsageError, match=r"storage\.name"):
        storage.save_all({"fine": b"", "../bad": b"", "also/fine": b"", "and/this": b""})
    assert other.load("fine") is None


def test_renaming_moves_over_what_was_there(mount: Callable[[], Storage]) -> None:
    storage = mount()
    storage.save_all({"a": b"a", "b": b"b"})
    storage.rename("a", "b")
    storage.rename("b", "new/c")
    assert storage.list_names() == []
    assert storage.load("new/c") == b"a"
    storage.remove("new/c")
    assert storage.load("new/c") is None
