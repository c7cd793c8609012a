"""The statement of a source of kind ``sql``, and the body that its rows are (``sources.md`` §4(5) to (7))."""

import datetime as dt
from decimal import Decimal

import pytest

from holdfast.core import canonical
from holdfast.core.sql_reads import bound_names, bound_text, build_rows, check_select
from holdfast.errors import HoldfastError, MalformedError

ZONE = dt.timezone(dt.timedelta(hours=1))


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM t",
        "selection FROM t",
        " SELECT 1",
        "EXPLAIN SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT 1 -- more",
        "SELECT 1 /* more */",
        "SELECT '\\'; DROP TABLE t'",
        "SELECT E'\\x41'",
        "SELECT $$a$$",
        "SELECT $a${x}$a$",
        "SELECT ?",
        "SELECT 'a",
        'SELECT "a',
        "SELECT 'a''",
        "SELECT '{x}'",
        'SELECT "{x}"',
        "SELECT '{x}' || {x}",
        "SELECT {X}",
        "SELECT {}",
        "SELECT {{x}}",
        "SELECT }",
        "SELECT \x00",
        "SELECT\t1",
        "SELECT '{1,2}'::int[]",
    ],
)
def test_what_is_not_plainly_one_select_is_refused(text):
    with pytest.raises(MalformedError) as caught:
        check_select(text)
    assert caught.value.code == "sources.select"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "select a\nfrom t\nwhere b = {x}",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "SELECT 'it''s; -- /* $ ?' AS a",
        "SELECT \"odd'name\" FROM t WHERE a = {x} AND b LIKE '100%'",
        "SELECT a::text, '12:30' FROM t",
    ],
)
def test_plain_selects_are_taken(text):
    check_select(text)


def test_a_place_is_a_parameter_and_every_other_colon_is_itself():
    text = "SELECT a::text, ':x' FROM t WHERE b = {x} AND c = {y} AND d = {x}"
    assert bound_names(text) == ["x", "y"]
    assert bound_text(text) == "SELECT a\\:\\:text, '\\:x' FROM t WHERE b = :x AND c = :y AND d = :x"


def test_every_value_has_one_form():
    row = {
        "a": None, "b": True, "c": 1 << 70, "d": 0.1, "e": Decimal("1E+3"), "f": Decimal("1.500"), "g": "text",
        "h": b"\x00\xff", "i": dt.datetime(2026, 1, 1, 1, tzinfo=ZONE),
        "j": dt.datetime(2026, 1, 1), "k": dt.date(2026, 1, 2), "l": 1e-7,
    }  # fmt: skip
    body = build_rows(list(row), [list(row.values())], 4096)
    assert canonical.decode(body) == [
        {
            "a": None, "b": True, "c": "1180591620717411303424", "d": "0.1", "e": "1000", "f": "1.500", "g": "text",
            "h": "0x00ff", "i": "2026-01-01T00:00:00Z", "j": "2026-01-01T00:00:00", "k": "2026-01-02", "l": "0.0000001",
        }
    ]  # fmt: skip
    assert body == canonical.encode(canonical.decode(body))


def test_no_rows_are_an_empty_list():
    assert build_rows(["a"], [], 2) == b"[]"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), [1], {"a": 1}, object(), "\ud800"])
def test_a_value_without_a_form_is_refused(value):
    with pytest.raises(HoldfastError) as caught:
        build_rows(["a"], [[value]], 4096)
    assert caught.value.code == "source.schema"


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(HoldfastError) as caught:
        build_rows(["a", "a"], [], 4096)
    assert caught.value.code == "source.schema"


def test_bytes_are_counted_to_the_last():
    rows = [["x"], ["y"]]
    body = build_rows(["a"], rows, 4096)
    assert build_rows(["a"], rows, len(body)) == body
    with pytest.raises(HoldfastError) as caught:
        build_rows(["a"], rows, len(body) - 1)
    assert caught.value.code == "source.size"
