"""Numbers on their way into a circuit and out of it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.circuits import FIELD, parse_instance, quantise, rescale, show_instance
from holdfast.errors import MalformedError, RefusedError

NUMBERS = st.integers(-(1 << 62), 1 << 62)
SMALL = st.floats(-(2.0**30), 2.0**30, allow_nan=False)


@given(NUMBERS)
def test_an_element_of_the_field_stands_for_one_number(number):
    assert parse_instance(show_instance(number)) == number


@given(SMALL, st.integers(0, 24))
def test_a_float_is_never_further_than_half_a_step_from_what_stands_for_it(value, scale):
    assert abs(Fraction(quantise(value, scale), 1 << scale) - Fraction(value)) * (1 << scale) <= Fraction(1, 2)
    assert quantise(-value, scale) == -quantise(value, scale)


@given(st.integers(1 - (1 << 53), (1 << 53) - 1), st.integers(0, 60))
def test_an_output_is_written_exactly(number, scale):
    assert quantise(rescale(number, scale), scale) == number or abs(number) >= 1 << 53


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2.0**56])
def test_what_a_circuit_has_no_number_for_is_refused(value):
    with pytest.raises(MalformedError) as caught:
        quantise(value, 7)
    assert caught.value.code == "circuit.number"


def test_an_output_that_no_double_holds_is_refused():
    with pytest.raises(RefusedError) as caught:
        rescale(1 << 53, 7)
    assert caught.value.code == "circuit.number"


def test_the_order_of_the_field_is_no_element():
    with pytest.raises(MalformedError) as caught:
        parse_instance(FIELD.to_bytes(32, "little").hex())
    assert caught.value.code == "circuit.number"
