"""Running the command line inside a test, and the files it is given."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.cli.accepted import build_accepted
from holdfast.cli.main import run
from holdfast.core.encoding import sha256_hex
from tests.helpers.network import Network
from tests.helpers.panel_desk import URL, PanelDesk


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


Holdfast = Callable[..., Outcome]


@pytest.fixture
def holdfast(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Outcome]:
    """Runs one command line in a folder of its own, without any of the caller's environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments: str, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = run(arguments)
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with bundles and trust files."""
    write_files(tmp_path)
    return tmp_path


def write_files(folder: Path) -> None:
    """The bundles that transcripts talk about."""
    network = Network()
    real = Network(development=False)
    bundles = {
        "settled": network.bundle(),
        "undisclosed": network.bundle(disclosed=False),
        "waiting": network.bundle(finality=0),
        "two-messages": network.bundle(finality=2),
        "private": Network(settlement="private").bundle(),
        "refuted": Network(verdict="refuted:signature").bundle(),
        "altered": network.bundle().replace(b"What is a lane?", b"What is a line?"),
        "malformed": network.bundle().replace(b'"kind":"note"', b'"kind":"rumour"'),
        "real": real.bundle(),
    }
    for name, raw in bundles.items():
        (folder / f"{name}.json").write_bytes(raw)
    (folder / "trust.json").write_bytes(network.trust_file())
    (folder / "real-trust.json").write_bytes(real.trust_file())
    (folder / "stranger.json").write_bytes(network.trust_file(nodes=[], logs=[], epochs=[], chains=[]))
    short = network.trust_version()
    unsigned = network.sign_trust(short, network.roots[:1])
    from holdfast.core import trust  # noqa: PLC0415

    (folder / "unsigned-trust.json").write_bytes(trust.build_trust_chain([unsigned]))
    first = network.sign_trust(network.trust_version(), network.roots)
    second = network.sign_trust(network.trust_version(2), network.roots)
    other = network.sign_trust(network.trust_version(2, enclave_roots=[]), network.roots)
    (folder / "trust-2.json").write_bytes(trust.build_trust_chain([first, second]))
    (folder / "trust-2-other.json").write_bytes(trust.build_trust_chain([first, other]))
    accepted = {1: trust.parse_trust_chain(network.trust_file())[0].digest, 2: sha256_hex(second[0])}
    for version, digest in accepted.items():
        (folder / f"accepted-{version}.json").write_bytes(build_accepted(version, digest))
    (folder / "accepted-broken.json").write_bytes(b'{"version":2}')


@pytest.fixture
def panel(holdfast: Holdfast, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PanelDesk]:
    """A panel that every command reaches, and a state folder ``net`` that says where it is."""
    del holdfast
    found = PanelDesk(tmp_path)
    monkeypatch.setattr("holdfast.cli.panel.with_http", found.with_http)
    (tmp_path / "net").mkdir()
    described = {"gateway": "http://127.0.0.1:8500", "panel": URL}
    (tmp_path / "net" / "network.json").write_text(json.dumps(described))
    yield found
    found.close()
