"""The log's growing tree has the root of its entries and writes exactly the tiles that the format asks for."""

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core import merkle, tiles
from holdfast.nodes.log.tree import LogTree, public_name


@given(st.lists(st.integers(1, 400), min_size=1, max_size=6), st.booleans())
@settings(max_examples=40)
def test_any_growth_gives_the_roots_and_tiles_of_the_format(steps: list[int], reload: bool) -> None:
    stored: dict[str, bytes] = {}
    tree, size = LogTree(), 0
    leaves: list[bytes] = []
    for step in steps:
        for number in range(size, size + step):
            entry = b"entry %d" % number
            leaves.append(merkle.leaf_hash(entry))
            tree.append(entry, leaves[-1])
        files = tree.take_files()
        assert set(files) == {public_name(tile) for tile in tiles.new_tiles(size, size + step)}
        stored.update(files)
        size += step
        assert (tree.size, tree.root()) == (size, merkle.root(leaves))
        assert tree.take_files().keys() <= files.keys()
        if reload:
            tree = LogTree.load(stored.get, size)
            assert tree.root() == merkle.root(leaves)
