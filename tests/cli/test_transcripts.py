"""Transcripts: a command, what it prints, what it says on standard error, and its exit code.

Each file in ``transcripts/`` is one. Digests are written as ``<hex>``, so that only a change of words shows. With
``HOLDFAST_UPDATE_TRANSCRIPTS=1`` the files are written anew; read the difference before you keep it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Outcome

FOLDER = Path(__file__).parent / "transcripts"
UPDATE = os.environ.get("HOLDFAST_UPDATE_TRANSCRIPTS") == "1"
HEX = re.compile(r"\b(?:0x)?[0-9a-f]{12,}\b")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(holdfast: Callable[..., Outcome], files: Path, path: Path) -> None:
    assert files.is_dir()
    text = path.read_text("utf-8")
    first, _, _ = text.partition("\n")
    command = shlex.split(first.removeprefix("$ "))
    assert command.pop(0) == "holdfast"
    done = holdfast(*command)
    shown = f"{first}\n{HEX.sub('<hex>', done.out)}-- stderr --\n{HEX.sub('<hex>', done.err)}-- exit {done.code} --\n"
    if UPDATE:
        path.write_text(shown, "utf-8")
    assert shown == text


def test_no_command_ever_prints_one_word_for_all_lanes() -> None:
    for path in FOLDER.glob("verify-*.txt"):
        words = path.read_text("utf-8").lower()
        assert "verified" not in words
        assert "overall" not in words
        assert "valid bundle" not in words
