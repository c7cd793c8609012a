"""The code of Walrus: its field, and that recovery symbols lie on the polynomials that the originals fix."""

import random

import pytest

from holdfast.core import reed_solomon as rs
from holdfast.errors import UsageError

CHANCE = random.Random(4)


def shard(*numbers: int) -> tuple[bytes, bytes]:
    return bytes(number & 255 for number in numbers), bytes(number >> 8 for number in numbers)


def number(found: tuple[bytes, bytes]) -> int:
    return found[0][0] | found[1][0] << 8


def inverse(value: int) -> int:
    """value^(2^16 - 2)."""
    found, power = 1, value
    for _ in range(15):
        power = rs.multiply(power, power)
        found = rs.multiply(found, power)
    return found


def interpolated(points: list[int], values: list[int], at: int) -> int:
    total = 0
    for own, value in zip(points, values, strict=True):
        term = value
        for other in points:
            if other != own:
                term = rs.multiply(rs.multiply(term, at ^ other), inverse(own ^ other))
        total ^= term
    return total


@pytest.mark.parametrize(("originals", "recovery"), [(0, 1), (1, 0), (1, 32769)])
def test_codes_without_originals_or_with_too_many_shards_are_refused(originals: int, recovery: int) -> None:
    with pytest.raises(UsageError) as caught:
        rs.encode([shard(1)] * originals, recovery)
    assert caught.value.code == "walrus.shards"


def test_planes_of_two_lengths_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        rs.encode([shard(1, 2), shard(1)], 1)
    assert caught.value.code == "walrus.shards"


def test_the_basis_is_a_cantor_basis() -> None:
    for before, entry in zip((0, *rs.CANTOR_BASIS), rs.CANTOR_BASIS, strict=False):
        assert rs._multiply_polynomials(entry, entry) ^ entry == before


def test_products_are_those_of_a_field() -> None:
    for _ in range(50):
        a, b, c = (CHANCE.randrange(1 << 16) for _ in range(3))
        assert rs.multiply(a, b) == rs.multiply(b, a)
        assert rs.multiply(a, rs.multiply(b, c)) == rs.multiply(rs.multiply(a, b), c)
        assert rs.multiply(a, b ^ c) == rs.multiply(a, b) ^ rs.multiply(a, c)
        assert rs.multiply(1, a) == a
        assert a == 0 or rs.multiply(a, inverse(a)) == 1


@pytest.mark.parametrize(("originals", "recovery"), [(1, 1), (2, 3), (3, 4), (4, 5), (5, 11)])
def test_few_originals_are_values_of_one_polynomial(originals: int, recovery: int) -> None:
    values = [CHANCE.randrange(1 << 16) for _ in range(originals)]
    width = 1 << (originals - 1).bit_length()
    padded = values + [0] * (width - originals)
    found = [number(item) for item in rs.encode([shard(value) for value in values], recovery)]
    assert found == [interpolated(list(range(width)), padded, width + place) for place in range(recovery)]


@pytest.mark.parametrize(("originals", "recovery"), [(3, 1), (5, 2), (7, 3), (11, 4)])
def test_many_originals_are_groups_whose_polynomials_add_up(originals: int, recovery: int) -> None:
    values = [CHANCE.randrange(1 << 16) for _ in range(originals)]
    width = 1 << (recovery - 1).bit_length()
    wanted = [0] * recovery
    for begin in range(0, originals, width):
        group = (values[begin : begin + width] + [0] * width)[:width]
        points = list(range(begin + width, begin + 2 * width))
        wanted = [sum_ ^ interpolated(points, group, place) for place, sum_ in enumerate(wanted)]
    assert [number(item) for item in rs.encode([shard(value) for value in values], recovery)] == wanted


def test_elements_are_coded_each_by_itself() -> None:
    lines = [[CHANCE.randrange(1 << 16) for _ in range(3)] for _ in range(5)]
    together = rs.encode([shard(*line) for line in lines], 4)
    for place in range(3):
        alone = rs.encode([shard(line[place]) for line in lines], 4)
        assert [(low[place], high[place]) for low, high in together] == [(low[0], high[0]) for low, high in alone]
