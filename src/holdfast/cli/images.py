"""``holdfast image``: have images made, and write them once the signed statements bind their bytes.

Not covered: showing them, and images in chats.
"""

from __future__ import annotations

import asyncio
from typing import Any

import click

from holdfast.cli.image_credentials import anchors_option, credentials_of, load_anchors
from holdfast.cli.network import Network, gateway_options
from holdfast.cli.output import clean_line, emit_json, write_file, written_option
from holdfast.cli.ways import choose_trust, direct_way
from holdfast.client.turns import BoundTurn
from holdfast.core.images import MAX_COUNT
from holdfast.core.trust import Trust
from holdfast.errors import RefusedError, UsageError
from holdfast.review.pictures import Picture, Pictures, pictures_of

USUAL_MODEL = "holdfast-render"


def number_option(command: Any) -> Any:
    """Add ``--number`` to a command that writes one image of several."""
    return click.option(
        "--number", type=click.IntRange(1, 1024), default=1, show_default=True, help="Which of the answer's images."
    )(command)


def choose(pictures: Pictures, number: int) -> Picture:
    """One image of an answer. Raises ``image.none``."""
    if number > len(pictures.shown):
        raise UsageError(
            "image.none",
            f"the answer holds {len(pictures.shown)} images",
            hint="--number counts from 1",
            param="number",
        )
    return pictures.shown[number - 1]


@click.command()
@click.argument("prompt", metavar="TEXT")
@gateway_options
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write it; - for standard output.")
@click.option("--model", default=USUAL_MODEL, show_default=True, metavar="NAME", help="Model to ask.")
@click.option("--size", metavar="WxH", help="Sides in pixels.  [default: the model's]")
@click.option("--seed", type=int, help="Where the model takes one: the same words and seed, the same image.")
@click.option("--count", type=click.IntRange(1, MAX_COUNT), default=1, show_default=True, help="How many to ask for.")
@number_option
@anchors_option
@written_option
def image(
    network: Network,
    prompt: str,
    output: str,
    model: str,
    size: str | None,
    seed: int | None,
    count: int,
    number: int,
    anchors_file: str | None,
    as_json: bool,
) -> None:
    """Have an image made from TEXT and write it to FILE.

    It is written once the run's signed statements bind its bytes. The run's id and capability are printed, with which
    'holdfast run export' and 'holdfast verify' judge the rest. Content credentials that the image carries are told:
    whether they hold, and whether they name this run.
    """
    asked: dict[str, Any] = {"model": model, "prompt": prompt, "n": count, "size": size, "seed": seed}
    request = {name: value for name, value in asked.items() if value is not None}
    anchors = load_anchors(anchors_file)
    trust = choose_trust(network, None, None, private=False)  # before the loop, for it may ask the network
    bound = asyncio.run(_ask(network, trust, request))
    turn = bound.turn
    found = choose(pictures_of(request, turn.response), number)
    write_file(output, found.data)
    said = told(found)
    credentials = credentials_of([found], turn.run, bound.attester.node, anchors)
    if as_json:
        carried = {"credentials": credentials[0].told if credentials else None}
        emit_json({"run": turn.run, "capability": turn.capability, **said, **carried, "written": output})
        return
    lines = [f"{said['kind']}, {said['width']} by {said['height']} pixels, {said['bytes']} bytes"]
    lines += [f"the provider says: {found.caption}"] * bool(found.caption)
    lines += [item.line for item in credentials]
    for line in (*lines, f"run {turn.run}", f"capability {turn.capability}"):
        click.echo(clean_line(line), err=True)


def told(found: Picture) -> dict[str, Any]:
    """What an image is, for a JSON document."""
    image = found.image
    return {
        "kind": image.kind,
        "width": image.width,
        "height": image.height,
        "bytes": image.size_bytes,
        "sha256": found.digest,
        "caption": found.caption,
    }


async def _ask(network: Network, trust: Trust | None, request: dict[str, Any]) -> BoundTurn:
    async with direct_way(network, trust) as client:
        found = await client.ask(request, endpoint="images.generations")
    if found.turn.outcome != "complete":
        raise RefusedError("image.none", f"the gateway says that the answer is {found.turn.outcome}")
    return found
