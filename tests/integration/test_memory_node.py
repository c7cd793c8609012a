"""A memory node by its own ``build`` behind real HTTP, driven by the command line as its owner would."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.cli.main import run
from holdfast.cli.memory import MemoryPlace
from holdfast.core.encoding import b64_decode
from holdfast.core.keys import build_key_document, parse_key_document
from holdfast.errors import UsageError
from holdfast.nodes.memory.__main__ import build
from holdfast.nodes.memory.config import MemoryConfig
from holdfast.ports.settings import Secret
from tests.helpers.asgi import call
from tests.helpers.memory import PASSPHRASE
from tests.helpers.network import ed25519_signer
from tests.helpers.served import served, write_key

Say = Callable[..., str]
pytestmark = pytest.mark.enable_socket


@dataclass
class Place:
    """A node, and a folder with what its user holds."""

    folder: Path
    url: str

    def __post_init__(self) -> None:
        self.passphrase = self.folder / "passphrase"
        self.passphrase.write_text(PASSPHRASE)
        self.token = self.folder / "token"
        self.token.write_text("registration")
        for path in (self.passphrase, self.token):
            path.chmod(0o600)
        self.key = self.folder / "my.key"
        self.options = ["--memory", self.url]
        self.sealed = ["--passphrase", f"file:{self.passphrase}"]

    def settle(self) -> None:
        assert run(["memory", "key", "new", *self.options, *self.sealed, "--token", f"file:{self.token}",
                    "--output", str(self.key)]) == 0  # fmt: skip
        self.options += ["--key", f"file:{self.key}"]


def config(folder: Path, name: str) -> MemoryConfig:
    folder.mkdir(exist_ok=True)
    signer = ed25519_signer(name, "statement")
    write_key(folder / "key.pem", signer)
    document = build_key_document(f"{name}.holdfast.test", ["memory"], "test", [signer.key])
    (folder / "node.json").write_bytes(document.raw)
    return MemoryConfig(
        state=folder / "state",
        signing_key=folder / "key.pem",
        key_document=folder / "node.json",
        registration=Secret("registration", "test"),
        passphrase_memory_kib=64,
        passphrase_passes=1,
    )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with served(build(config(tmp_path / "one", "one"))) as url:
        yield Place(tmp_path, url)


@pytest.fixture
def say(place: Place, capsys: pytest.CaptureFixture[str]) -> Say:
    def call_it(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        found = run(["memory", *words, *place.options])
        out, err = capsys.readouterr()
        assert found == code, err
        return out + err

    place.settle()
    return call_it


def test_nothing_is_done_without_a_key_or_for_a_wrong_one(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["memory", "ls", *place.options]) == 2
    assert "memory.key_missing" in capsys.readouterr().err
    (place.folder / "wrong").write_text("hfm_0000000000000000." + "A" * 43)
    (place.folder / "wrong").chmod(0o600)
    assert run(["memory", "ls", *place.options, "--key", f"file:{place.folder / 'wrong'}"]) == 1
    error = capsys.readouterr().err
    assert "memory.key" in error
    assert "nothing was changed or lost" in error
    place.settle()
    assert stat.S_IMODE(place.key.stat().st_mode) == 0o600
    assert "hfm_" not in capsys.readouterr().out
    again = ["memory", "key", "new", *place.options, *place.sealed, "--token", f"file:{place.token}"]
    assert run([*again, "--output", str(place.key)]) == 2
    assert run(["memory", "erase", *place.options]) == 2


def test_the_life_of_rows_on_the_command_line(place: Place, say: Say) -> None:
    def rows(*words: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(say(*words, "--json"))
        return found

    first = rows("add", "Plays the oboe.", "--category", "interests")["id"]
    assert "Lives in Lisbon." in say("add", "I live in Lisbon.", "--find")
    say("add", "Lives in Porto.", "--slot", "home")
    found = say("search", "Lisbon")
    assert "contradicted" in found
    assert "against" in found
    assert "home:" in say("contradictions")
    assert say("search", "Lisbon", "--facts") == "no such rows\n"
    home = rows("search", "Lisbon")["memories"][0]["id"]  # type: ignore[index]
    assert say("confirm", home).startswith("earned")
    second = rows("correct", str(first), "Plays the cello.")["id"]
    assert "Plays the oboe." not in say("ls")
    assert "superseded" in say("show", str(first))
    assert say("withdraw", str(second)).startswith("withdrawn")
    assert "erased" in say("erase", str(second))
    assert "memory.unknown" in say("show", str(second), code=1)
    key = place.folder / "desk.key"
    say("key", "add", "desk", "--output", str(key))
    assert "desk" in say("key", "ls")
    assert key.read_text()[4:20] in say("key", "rotate", *place.sealed)
    assert "desk" not in say("key", "ls")


def test_an_export_takes_everything_to_another_node(place: Place, say: Say, tmp_path: Path) -> None:
    say("add", "Plays the oboe.", "--category", "interests")
    row = json.loads(say("ls", "--json"))["data"][0]["id"]
    say("confirm", row)
    before = json.loads(say("show", row, "--json"))["history"]
    file = tmp_path / "memory.json"
    assert "1 rows" in say("export", "-o", str(file), *place.sealed)
    assert b"oboe" not in file.read_bytes()
    digest = parse_key_document(b64_decode(json.loads(file.read_bytes())["key_document"])).digest
    folder = tmp_path / "other"
    folder.mkdir()
    with served(build(config(folder, "two"))) as url:
        other = Place(folder, url)
        other.settle()
        place.options = other.options
        assert "background until you confirm" in say("import", str(file), *place.sealed)
        (imported,) = json.loads(say("ls", "--json"))["data"]
        assert imported["id"] != row
        assert "1 rows added" in say("import", str(file), *place.sealed, "--believe", digest)
        assert json.loads(say("show", row, "--json"))["history"] == before
        assert "1 were here already" in say("import", str(file), *place.sealed, "--believe", digest)
        user = json.loads(call_me(url, other.key))["user_id"]
        assert "erased" in say("erase", "--everything", user)
        assert "memory.key" in say("ls", code=1)


def call_me(url: str, key: Path) -> bytes:
    return MemoryPlace(url, key.read_text().strip(), None, key).fetch("GET", "/me")


def test_a_node_without_its_keys_does_not_start(tmp_path: Path) -> None:
    good = config(tmp_path / "one", "one")
    write_key(tmp_path / "one" / "key.pem", ed25519_signer("another", "statement"))
    with pytest.raises(UsageError) as caught:
        build(good)
    assert caught.value.code == "memory.key_document"
    document = build_key_document("x.test", ["hub"], "test", [ed25519_signer("another", "statement").key])
    (tmp_path / "one" / "node.json").write_bytes(document.raw)
    with pytest.raises(UsageError) as caught:
        build(good)
    assert caught.value.code == "memory.key_document"


def test_health_and_identity_need_no_key(tmp_path: Path) -> None:
    app = build(config(tmp_path / "one", "one"))
    assert call(app, "GET", "/healthz").json() == {"alive": True}
    assert call(app, "GET", "/readyz").json() == {"ready": True}
    assert b"holdfast_memory_unlocked" in call(app, "GET", "/metrics").body
    told = call(app, "GET", "/v1/identity").json()
    assert parse_key_document(b64_decode(told["key_document"])).digest == told["node"]
    assert told["attestation"] is None
