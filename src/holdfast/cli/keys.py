"""``holdfast keys``: show what a key document says, hand a node over to new keys, and make keys for credentials."""

from __future__ import annotations

from pathlib import Path

import click

from holdfast.adapters.c2pa_files import ANCHOR, CHAIN, KEY, create_chain
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.key_files import create_secret
from holdfast.adapters.signer_files import load_or_create_signer, load_signer
from holdfast.cli.output import clean, emit, emit_json, read_file
from holdfast.core.evm import keccak256
from holdfast.core.keys import KeyDocument, PublicKey, build_key_document, parse_key_document
from holdfast.core.rotation import (
    ROUTINE,
    build_rotation,
    parse_rotation,
    rotation_message,
    rotation_payload,
    signing_key,
    verify_lineage,
)
from holdfast.errors import ConflictError, UsageError

MOST_NAME = 64
"""Characters of a common name (X.520)."""


@click.group()
def keys() -> None:
    """Show key documents, hand a node over to new keys, and make keys for content credentials."""


@keys.command("show")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--rotation", "rotations", multiple=True, metavar="FILE", help="A rotation between two of them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def show(files: tuple[str, ...], rotations: tuple[str, ...], as_json: bool) -> None:
    """Show what key documents say of a node.

    With --rotation, FILEs are one node's documents, oldest first, and the rotations between them are checked: then the
    digest of the first one is the node's lasting name.
    """
    documents = [parse_key_document(read_file(name)) for name in files]
    steps = [parse_rotation(read_file(name)) for name in rotations]
    first = verify_lineage(documents, steps) if steps else None
    if as_json:
        emit_json({"first": first, "documents": [_json(document) for document in documents]})
        return
    for document in documents:
        for line in _lines(document):
            emit(clean(line))
    if first is not None:
        emit(f"one node: each of its keys handed over to the next. Its first document is {first}")


@keys.command("rotate")
@click.option("--key-document", "document_file", required=True, metavar="FILE", help="The node's key document.")
@click.option(
    "--signing-key",
    "signing_key_file",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Its signing key.",
)
@click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Folder for what is made.")
@click.option("--tls", metavar="HEX", help="SHA-256 of the new TLS key's SubjectPublicKeyInfo.  [default: as before]")
@click.option("--ohttp", multiple=True, metavar="FILE", help="A new OHTTP key configuration.  [default: as before]")
@click.option("--payment", metavar="ADDRESS", help="Where the node is paid from now on.  [default: as before]")
@click.option("--software", metavar="TEXT", help="The node's software.  [default: as before]")
@click.option("--reason", default=ROUTINE, show_default=True, metavar="CODE", help="Why.")
@click.option("--json", "as_json", is_flag=True, help="Say what was made as one JSON document.")
def rotate(
    document_file: str,
    signing_key_file: Path,
    out: Path,
    tls: str | None,
    ohttp: tuple[str, ...],
    payment: str | None,
    software: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Make a node's next key document, with a new signing key, and the rotation that hands over to it.

    Nothing of the old files is changed. Trust has to admit the new document, and to say until when the old one holds
    (holdfast trust draft --admit … --end …), before the node starts with it.
    """
    old = parse_key_document(read_file(document_file))
    before = load_signer(signing_key_file, signing_key(old).use)
    if before.key != signing_key(old):
        raise UsageError("keys.signing_key", f"{signing_key_file} is not the signing key that {document_file} names")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    places = out / signing_key_file.name, out / Path(document_file).name, out / "rotation.json"
    for place in places:
        if place.exists():
            raise ConflictError("keys.exists", f"{place} is there already", hint="name an empty folder with --out")
    after = load_or_create_signer(places[0], before.key.use, before.key.algorithm)
    new = build_key_document(
        old.name,
        list(old.roles),
        old.software if software is None else software,
        [after.key if key == before.key else key for key in old.keys],
        tls=tls or old.tls,
        ohttp=[read_file(name) for name in ohttp] or old.ohttp,
        payment=payment or old.payment,
        predecessor=old.digest,
    )
    payload = rotation_payload(old, new, SystemClock().now(), reason)
    message = rotation_message(payload)
    create_secret(places[1], new.raw)
    create_secret(places[2], build_rotation(payload, before.key, before.sign(message), after.key, after.sign(message)))
    if as_json:
        emit_json({"old": old.digest, "new": new.digest, "files": [str(place) for place in places]})
        return
    emit(f"old  {old.digest}")
    emit(f"new  {new.digest}")
    for place in places:
        emit(f"made {place}")


@keys.command("credentials")
@click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Folder for what is made.")
@click.option("--name", required=True, metavar="NAME", help="The gateway's, as readers of its images will see it.")
@click.option("--days", type=click.IntRange(1, 36500), default=3650, show_default=True, help="How long they hold.")
@click.option("--json", "as_json", is_flag=True, help="Say what was made as one JSON document.")
def credentials(out: Path, name: str, days: int, as_json: bool) -> None:
    """Make a key and certificates that sign content credentials of images.

    A gateway's settings c2pa_key and c2pa_chain name the first two files. Readers who want to know whose key it is
    take the third as their anchor; its own key is thrown away, so it vouches for this one key and no other.
    """
    if not 0 < len(name) <= MOST_NAME or not name.isprintable():
        raise UsageError("keys.name", f"a name has 1 to {MOST_NAME} printable characters", param="name")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in (out / KEY, out / CHAIN, out / ANCHOR):
        if place.exists():
            raise ConflictError("keys.exists", f"{place} is there already", hint="name an empty folder with --out")
    places = create_chain(out, name, days, SystemClock().now())
    if as_json:
        emit_json({"files": [str(place) for place in places]})
        return
    for place in places:
        emit(f"made {place}")


def _json(document: KeyDocument) -> dict[str, object]:
    tee = document.key_for("opengradient")
    return {
        "digest": document.digest,
        "name": document.name,
        "roles": list(document.roles),
        "software": document.software,
        "keys": [{"use": key.use, "algorithm": key.algorithm, "key_id": key.key_id} for key in document.keys],
        "tls": document.tls,
        "ohttp": None if document.ohttp_digest is None else document.ohttp_digest.hex(),
        "payment": document.payment,
        "predecessor": document.predecessor,
        "tee_id": None if tee is None else _tee_id(tee),
    }


def _tee_id(key: PublicKey) -> str:
    return f"0x{keccak256(key.public).hex()}"


def _lines(document: KeyDocument) -> list[str]:
    told = _json(document)
    lines = [f"key document {document.digest}", f"  name         {document.name} ({', '.join(document.roles)})"]
    lines += [f"  {key.use:<12} {key.algorithm:<10} {key.key_id}" for key in document.keys]
    shown = ("software", "tls", "ohttp", "payment", "predecessor", "tee_id")
    lines += [f"  {name:<12} {told[name]}" for name in shown if told[name]]
    return lines
