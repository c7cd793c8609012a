"""``holdfast enclave``: measure enclave images (``attestation.md`` §12), for trust documents and whoever checks one.

Reads a file. Not covered: building images (``deploy/enclave``), and whether an image's signature verifies.
"""

from __future__ import annotations

import datetime as dt
import mmap
import re
from pathlib import Path
from typing import Any

import click

from holdfast.cli.output import clean, emit, emit_json, write_file
from holdfast.cli.times import parse_moment
from holdfast.core import canonical
from holdfast.core.attestation.eif import EnclaveImage, measure_image, parse_image
from holdfast.core.attestation.reference import parse_reference_value
from holdfast.core.encoding import time_encode
from holdfast.errors import MalformedError, UsageError

_ROLE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
KIND = "aws-nitro"
"""Kind of the reference value (``trust.md`` §1)."""


@click.group()
def enclave() -> None:
    """Measure enclave images."""


@enclave.command("measure")
@click.argument("image", metavar="IMAGE", type=click.Path(path_type=Path))
@click.option("--role", metavar="ROLE", help="Node that the image is of, such as gateway: needed with --output.")
@click.option("--from", "start", metavar="RFC3339", help="When the reference value begins to hold.  [default: now]")
@click.option("--until", "end", metavar="RFC3339", help="When it ends: needed with --output.")
@click.option("-o", "--output", metavar="FILE", help="Write the reference value for 'holdfast trust draft'.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def measure(
    image: Path, role: str | None, start: str | None, end: str | None, output: str | None, as_json: bool
) -> None:
    """Compute what a Nitro enclave that runs IMAGE will measure: registers 0, 1, 2, and 8 when it is signed.

    They are the numbers that nitro-cli prints when it builds or describes the image. With --output they become an entry
    of a trust document's measurements; compare them with those of somebody who built the image from the same sources.
    """
    parsed, registers = _measure(image)
    value = {name: register.hex() for name, register in registers.items()}
    parse_reference_value(KIND, value)
    if output is not None:
        write_file(output, canonical.encode(_entry(value, role, start, end)))
    shown: dict[str, Any] = {
        "version": parsed.version,
        "architecture": parsed.architecture,
        "memory_bytes": parsed.memory_bytes,
        "cpus": parsed.cpus,
        "crc32": f"{parsed.crc32:08x}",
        "sections": [{"kind": section.kind, "bytes": len(section.data)} for section in parsed.sections],
    }
    if as_json:
        emit_json({"kind": KIND, "value": value, "image": shown})
        return
    emit(clean(f"image   {image}"))
    emit(f"        {parsed.architecture}, version {parsed.version}, crc32 {parsed.crc32:08x}")
    for section in parsed.sections:
        emit(f"        {section.kind:<10} {len(section.data):>12,} bytes")
    emit()
    for name, register in value.items():
        emit(f"{name}    {register}")


def _measure(path: Path) -> tuple[EnclaveImage, dict[str, bytes]]:
    """An image's sections (their bytes stay in the file) and registers."""
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise MalformedError("eif.size", "the file is empty")
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise UsageError("usage.file", f"cannot read {path}: {error}") from error
    parsed = parse_image(view)
    return parsed, measure_image(parsed)


def _entry(value: dict[str, str], role: str | None, start: str | None, end: str | None) -> dict[str, canonical.JSON]:
    """An entry of ``measurements`` (``trust.md`` §1)."""
    if role is None or _ROLE.match(role) is None or end is None:
        says = "a reference value is of a role and ends some time: name --role and --until"
        raise UsageError("usage.arguments", says, param="role")
    since = dt.datetime.now(dt.UTC) if start is None else parse_moment(start)
    until = parse_moment(end)
    if until <= since:
        raise UsageError("usage.time", "a reference value ends after it begins", param="until")
    return {
        "kind": KIND,
        "role": role,
        "value": {**value},
        "valid_from": time_encode(since),
        "valid_until": time_encode(until),
        "debug": False,
    }
