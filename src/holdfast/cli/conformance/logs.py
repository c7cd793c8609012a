"""Commands of the transparency log."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, fields_of
from holdfast.core import canonical, merkle, notes, tiles
from holdfast.core.encoding import b64_decode, hex_decode


def _verify_inclusion(arguments: Arguments) -> Answer:
    value = fields_of(arguments.file(), "entry", "index", "size", "proof", "root")
    proof = [hex_decode(step) for step in value["proof"]]
    leaf = merkle.leaf_hash(b64_decode(value["entry"]))
    merkle.verify_inclusion(leaf, value["index"], value["size"], proof, hex_decode(value["root"], 32))
    return {}


def _verify_consistency(arguments: Arguments) -> Answer:
    value = fields_of(arguments.file(), "old_size", "old_root", "new_size", "new_root", "proof")
    old, new = hex_decode(value["old_root"], 32), hex_decode(value["new_root"], 32)
    proof = [hex_decode(step) for step in value["proof"]]
    merkle.verify_consistency(value["old_size"], old, value["new_size"], new, proof)
    return {}


def _verify_checkpoint(arguments: Arguments) -> Answer:
    origin, key = arguments.one("origin"), notes.parse_vkey(arguments.one("key"))
    witnesses = [notes.parse_vkey(text) for text in arguments.many("cosigner")]
    found = notes.verify_checkpoint(arguments.file(), origin, [key])
    cosigned = notes.verify_cosignatures(found.note, witnesses)
    return {
        "size": found.size,
        "root": found.root.hex(),
        "cosignatures": sorted([item.key.name, item.time] for item in cosigned),
    }


def _verify_extension(arguments: Arguments) -> Answer:
    origin, keys = arguments.one("origin"), [notes.parse_vkey(arguments.one("key"))]
    old = notes.verify_checkpoint(arguments.read(arguments.one("old")), origin, keys)
    proof = [hex_decode(step) for step in canonical.decode(arguments.read(arguments.one("proof")))]
    new = notes.verify_checkpoint(arguments.file(), origin, keys)
    notes.verify_extension(old, new, proof)
    return {"size": new.size}


def _read_tile(arguments: Arguments) -> Answer:
    tile = tiles.parse_path(arguments.one("path"))
    raw = arguments.file()
    if tile.level == tiles.ENTRIES:
        hashes = [merkle.leaf_hash(entry) for entry in tiles.parse_bundle(raw, tile.width)]
    else:
        hashes = tiles.parse_hashes(raw, tile.width)
    return {"level": tile.level, "index": tile.index, "width": tile.width, "root": merkle.root(hashes).hex()}


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "verify-inclusion": _verify_inclusion,
    "verify-consistency": _verify_consistency,
    "verify-checkpoint": _verify_checkpoint,
    "verify-extension": _verify_extension,
    "read-tile": _read_tile,
}
