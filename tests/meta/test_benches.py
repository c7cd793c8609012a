"""What benches promise of their reports: a miss says so, a peer that is missing says why, and peers are pinned."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "bench"


def load(name: str) -> ModuleType:
    """A module of ``bench/``, which is no package."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


figures, peers, runner = load("figures"), load("peers"), load("__main__")


@pytest.mark.parametrize(
    ("value", "wanted", "met"),
    [
        (99.9, figures.at_least(100), False),
        (100, figures.at_least(100), True),
        (1.01, figures.at_most(1), False),
        (1.0, figures.at_most(1), True),
    ],
)
def test_a_figure_stands_beside_what_is_wanted_and_says_whether_it_is_met(value, wanted, met, capsys):
    assert figures.figure("speed", value, "/s", wanted) is met
    line = capsys.readouterr().out
    assert f"wanted {wanted}" in line
    assert ("NOT MET" in line) is not met


def test_a_peer_is_a_ratio_or_says_why_there_is_none(capsys):
    figures.ratio("somebody", 10.0, 4.0, figures.at_least(3))
    figures.no_peer("nobody", "pip could not install it")
    first, second = capsys.readouterr().out.splitlines()
    assert re.search(r"holdfast / somebody +2\.50 x .*NOT MET", first)
    assert second == "nobody: peer not measured: pip could not install it"


def test_every_peer_has_one_exact_version_and_is_measured_by_some_bench():
    text = "".join(path.read_text() for path in BENCH.glob("*.py"))
    assert peers.pins().keys() >= {"litellm", "pymerkle", "securesystemslib"}
    for name in peers.pins():
        assert f'("{name}"' in text, f"nothing measures {name}"


def test_a_peer_that_is_left_out_is_not_installed(monkeypatch):
    monkeypatch.setenv("HOLDFAST_BENCH_PEERS", "off")
    monkeypatch.setattr(peers.subprocess, "run", None)
    with pytest.raises(peers.MissingError, match="HOLDFAST_BENCH_PEERS=off"):
        peers.python_of("litellm")


def test_every_bench_there_is_can_be_asked_for_by_name():
    for name in runner.BENCHES:
        assert '__name__ == "__main__"' in (BENCH / f"{name}.py").read_text()
