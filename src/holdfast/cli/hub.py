"""``holdfast hub``: models as artifacts, and the ids under which their bytes are stored."""

from __future__ import annotations

from pathlib import Path

import click

from holdfast.cli.circuits import circuit
from holdfast.cli.hub_models import COMMANDS
from holdfast.cli.output import emit, emit_json, read_file
from holdfast.core import walrus


@click.group()
def hub() -> None:
    """Name and check what models are made of."""


for command in (*COMMANDS, circuit):
    hub.add_command(command)


@hub.command("blob-id")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--shards",
    type=click.IntRange(walrus.MIN_SHARDS, walrus.MAX_SHARDS),
    default=walrus.MAINNET_SHARDS,
    show_default=True,
    help="Shards of the Walrus network that the id is for.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def blob_id(file: Path, shards: int, as_json: bool) -> None:
    """Compute the Walrus blob id of FILE here, and print it alone.

    It is the id under which Walrus stores these bytes, and the one that an aggregator must answer for. Nothing is sent
    anywhere.
    """
    data = read_file(str(file))
    identifier = walrus.encode_id(walrus.blob_id(data, shards))
    if as_json:
        encoded = walrus.encoding_of(shards).encoded_bytes(len(data))
        emit_json({"blob_id": identifier, "bytes": len(data), "shards": shards, "encoded_bytes": encoded})
        return
    emit(identifier)
