"""What the content credentials of images say, beside the run that the images are of (``spec/images.md`` §6(6)).

Three answers stay apart: whether they hold, whether an anchor of the reader's vouches for the key, and what they name.
They are a hint, and change no lane and no exit code. Where ``c2pa-python`` is not installed, an image that seems to
carry credentials is said to have some that nobody read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import click

from holdfast.adapters.credentials_c2pa import installed, read_credentials
from holdfast.cli.output import read_file
from holdfast.core.content_credentials import ImageClaim, carries_credentials
from holdfast.errors import MalformedError
from holdfast.review.pictures import Picture

_ANSWERED = "/data/"
"""Where the paths of images begin that can have credentials of ours."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is said of one image."""

    path: str
    line: str
    told: dict[str, Any]
    """For a JSON document; its ``read`` says whether anybody read them."""


def anchors_option(command: Any) -> Any:
    """Add ``--c2pa-anchors`` to a command that tells of images."""
    return click.option(
        "--c2pa-anchors",
        "anchors_file",
        metavar="FILE",
        help="Certificates (PEM) that you believe as issuers of content credentials.",
    )(command)


def load_anchors(name: str | None) -> str:
    """The option's certificates; empty without one."""
    return "" if name is None else read_file(name).decode("ascii", "replace")


def credentials_of(pictures: Iterable[Picture], run: str, attester: str, anchors: str) -> list[Found]:
    """What each image carries; nothing for one that carries none."""
    return [found for picture in pictures if (found := _found(picture, run, attester, anchors)) is not None]


def _found(picture: Picture, run: str, attester: str, anchors: str) -> Found | None:
    kind = picture.image.kind
    if not carries_credentials(kind, picture.data):
        return None
    if not installed():
        why = "c2pa-python is not installed (pip install 'holdfast[c2pa]')"
        return Found(picture.path, f"content credentials: not read; {why}", {"read": False, "why": why})
    try:
        read = asyncio.run(read_credentials(kind, picture.data, anchors))
    except MalformedError as error:
        line = f"content credentials: they cannot be read ({error.message})"
        return Found(picture.path, line, {"read": False, "why": error.message})
    if read is None:
        return None
    image = ImageClaim(run, attester, _number(picture.path))
    return Found(picture.path, read.describe(image), {"read": True, **read.to_json(image)})


def _number(path: str) -> int:
    """Which image of its answer this is; -1 for one in a chat, which no credentials of ours name."""
    number = path.removeprefix(_ANSWERED).split("/")[0]
    return int(number) if path.startswith(_ANSWERED) and number.isdigit() else -1
