"""The compact index, against a dictionary."""

from __future__ import annotations

import hashlib
import random

from holdfast.nodes.full.lookup import PositionIndex


def test_it_finds_what_a_dictionary_finds():
    chance = random.Random(5)
    keys: list[bytes] = []
    index = PositionIndex(keys.__getitem__)
    plain: dict[bytes, int] = {}
    for number in range(5000):
        key = hashlib.sha256(b"%d" % chance.randrange(4000)).digest()
        keys.append(key)
        plain[key] = number
        index.put(key, number)
    assert all(index.find(key) == position for key, position in plain.items())
    assert index.find(hashlib.sha256(b"absent").digest()) is None


def test_keys_that_begin_alike_are_kept_apart():
    keys = [bytes([7]) + bytes(8) + bytes([last]) * 23 for last in range(200)]
    index = PositionIndex(keys.__getitem__)
    for position, key in enumerate(keys):
        index.put(key, position)
    assert [index.find(key) for key in keys] == list(range(200))
