"""The position index finds what was put, for ever, at about ten bytes an entry."""

from __future__ import annotations

import hashlib

from holdfast.core.positions import MAX_POSITION, PositionIndex


def digest(number):
    return hashlib.sha256(b"%d" % number).digest()


class Shelf:
    """Keys by position, and an index over them."""

    def __init__(self, keys=()):
        self.keys = []
        self.index = PositionIndex(self.key_at)
        for key in keys:
            self.add(key)

    def key_at(self, position):
        return self.keys[position]

    def add(self, key):
        self.keys.append(key)
        self.index.put(key, len(self.keys) - 1)


def test_nothing_is_found_in_an_empty_index():
    assert Shelf().index.find(digest(0)) is None


def test_everything_that_was_put_is_found_and_nothing_else():
    shelf = Shelf(digest(number) for number in range(5_000))
    assert all(shelf.index.find(digest(number)) == number for number in range(5_000))
    assert all(shelf.index.find(digest(number)) is None for number in range(5_000, 6_000))


def test_keys_that_meet_in_one_slot_are_told_apart():
    alike = [b"\x00" * 9 + bytes([number]) * 23 for number in range(40)]
    shelf = Shelf(alike)
    assert [shelf.index.find(key) for key in alike] == list(range(40))
    assert shelf.index.find(b"\x00" * 9 + b"\xff" * 23) is None


def test_a_key_that_is_put_again_has_its_last_position():
    shelf = Shelf([digest(0), digest(1), digest(0)])
    assert shelf.index.find(digest(0)) == 2
    assert shelf.index.find(digest(1)) == 1


def test_the_largest_position_is_kept():
    index = PositionIndex(lambda position: digest(1))
    index.put(digest(1), MAX_POSITION)
    assert index.find(digest(1)) == MAX_POSITION
