"""Tile paths, bundles and proofs from tiles (C2SP tlog-tiles), refusals first."""

import pytest

from holdfast.core import merkle, tiles
from holdfast.core.tiles import ENTRIES, Tile
from holdfast.errors import MalformedError, UsageError


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/tile/0/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/100/000",
        "tile/-1/000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000/",
        "tile/entries",
        "tile/data/000",
        "tile/0/٠٠٠",
        "tile/0/000\n",
        "tile/0/" + "x999/" * 8 + "999",
    ],
)
def test_other_spellings_are_no_path(path: str) -> None:
    with pytest.raises(MalformedError, match=r"tile\.path"):
        tiles.parse_path(path)


@pytest.mark.parametrize("raw", [b"\x00", b"\x00\x02a", b"\x00\x01a\x00", b"\x00\x01a\x00\x01b", b""])
def test_a_bundle_has_exactly_its_entries(raw: bytes) -> None:
    with pytest.raises(MalformedError, match=r"tile\.bundle"):
        tiles.parse_bundle(raw, 1)


def test_a_tile_has_exactly_its_hashes() -> None:
    for size in (0, 31, 33, 64):
        with pytest.raises(MalformedError, match=r"tile\.hashes"):
            tiles.parse_hashes(bytes(size), 1)


def test_an_entry_beyond_16_bits_is_refused() -> None:
    with pytest.raises(MalformedError, match=r"log\.entry_size"):
        tiles.encode_bundle([bytes(65_536)])


def test_a_node_outside_the_tree_is_not_planned() -> None:
    with pytest.raises(UsageError, match=r"log\.index"):
        tiles.tiles_for([(0, 4)], 3)


def test_the_index_example_of_the_specification() -> None:
    assert tiles.encode_index(1234067) == "x001/x234/067"
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile(ENTRIES, 0, 5).path == "tile/entries/000.p/5"


@pytest.mark.parametrize("tile", [Tile(0, 0), Tile(63, 999, 1), Tile(ENTRIES, 1000, 255), Tile(2, 10**15)])
def test_paths_round_trip(tile: Tile) -> None:
    assert tiles.parse_path(tile.path) == tile


def test_the_tree_of_70000_has_the_tiles_of_the_specification() -> None:
    found = [tile for tile in tiles.new_tiles(0, 70_000) if tile.level != ENTRIES]
    full = [tile for tile in found if tile.width == tiles.WIDTH]
    partial = [tile for tile in found if tile.width < tiles.WIDTH]
    assert [tile.level for tile in full] == [0] * 273 + [1]
    assert partial == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]


def test_the_tree_of_256_has_a_full_tile_and_one_hash_above() -> None:
    assert tiles.new_tiles(0, 256) == [Tile(ENTRIES, 0), Tile(0, 0), Tile(1, 0, 1)]
    assert tiles.new_tiles(256, 256) == []
    assert tiles.new_tiles(255, 257) == [
        Tile(ENTRIES, 0),
        Tile(ENTRIES, 1, 1),
        Tile(0, 0),
        Tile(0, 1, 1),
        Tile(1, 0, 1),
    ]


def test_bundles_round_trip() -> None:
    entries = [b"", b"a", bytes(65_535), b"\x00\x01"]
    assert tiles.parse_bundle(tiles.encode_bundle(entries), 4) == entries


def make_tiles(hashes: list[bytes], size: int) -> dict[Tile, list[bytes]]:
    made = {}
    for tile in tiles.new_tiles(0, size):
        if tile.level != ENTRIES:
            span = tiles.WIDTH**tile.level
            first = tile.index * tiles.WIDTH
            made[tile] = [merkle.root(hashes[at * span : (at + 1) * span]) for at in range(first, first + tile.width)]
    return made


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 513, 1000])
def test_proofs_from_tiles_equal_proofs_from_leaves(size: int) -> None:
    hashes = [merkle.leaf_hash(count.to_bytes(4)) for count in range(size)]
    made = make_tiles(hashes, size)
    for place in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
        ranges = merkle.inclusion_ranges(place, size)
        assert set(tiles.tiles_for(ranges, size)) <= set(made)
        assert tiles.hashes_from(ranges, size, made) == merkle.inclusion_proof(hashes, place)
        ranges = merkle.consistency_ranges(place, size)
        assert set(tiles.tiles_for(ranges, size)) <= set(made)
        assert tiles.hashes_from(ranges, size, made) == merkle.consistency_proof(hashes, place)


def test_proofs_use_tiles_of_the_second_level() -> None:
    size = 70_000
    hashes = [merkle.leaf_hash(count.to_bytes(4)) for count in range(size)]
    made = make_tiles(hashes, size)
    ranges = merkle.inclusion_ranges(123, size)
    assert {tile.level for tile in tiles.tiles_for(ranges, size)} == {0, 1}
    proof = tiles.hashes_from(ranges, size, made)
    merkle.verify_inclusion(hashes[123], 123, size, proof, merkle.root(hashes))
    assert tiles.width_at(0, 300, size) == 0
