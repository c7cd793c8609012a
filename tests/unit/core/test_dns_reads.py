"""Answers of resolvers: every byte of a message counts, and the same bytes mean the same (``sources.md`` §4(8))."""

import pytest

from holdfast.core.dns_reads import DnsRead, build_question, is_name, parse_answer, parse_resolver, read_answer
from holdfast.errors import MalformedError
from tests.helpers.dns import address, answer, named, record

NAME = "a.example"
AT = b"\xc0\x0c"
"""A pointer to the question's name."""


def read(*records, kind="A", **change):
    question = build_question(NAME, kind, 7)
    return read_answer(DnsRead("192.0.2.53:53", NAME, kind, 5), answer(question, *records, **change))


def refused(*records, **change):
    with pytest.raises(MalformedError) as caught:
        read(*records, **change)
    return caught.value.code


def test_a_question_asks_for_recursion_authentication_and_little():
    assert build_question("a.example", "A", 7).hex() == (
        "0007" "0120" "0001" "0000" "0000" "0001" "0161076578616d706c6500" "0001" "0001"
        "00" "0029" "04d0" "00000000" "0000"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ("A", address("192.0.2.1"), "192.0.2.1"),
        ("AAAA", address("2001:db8::1"), "2001:db8::1"),
        ("NS", named("NS.example"), "ns.example"),
        ("CNAME", b"\x01b" + b"\xc0\x0e", "b.example"),
        ("MX", b"\x00\x0a" + named("mx.example"), {"preference": "10", "exchange": "mx.example"}),
        ("MX", b"\x00\x00\x00", {"preference": "0", "exchange": ""}),
        ("TXT", b"\x03a=1\x02;b", "a=1;b"),
        ("CAA", b"\x80\x05issueca.example", {"flags": "128", "tag": "issue", "value": "ca.example"}),
    ],
)
def test_each_type_has_its_form(kind, data, value):
    assert read(record(AT, kind, data), kind=kind)["values"] == [value]


def test_the_order_of_records_says_nothing_and_the_shortest_time_counts():
    one, two = record(AT, "A", address("192.0.2.1"), 60), record(AT, "A", address("192.0.2.2"), 30)
    assert read(one, two) == read(two, one)
    assert read(one, two)["ttl"] == "30"
    assert read()["values"] == []


def test_aliases_are_followed_and_records_of_others_are_not_taken():
    alias = record(AT, "CNAME", named("b.example"), 20)
    found = read(
        alias, record("b.example", "A", address("192.0.2.1")), record("c.example", "A", address("203.0.113.1"))
    )
    assert (found["values"], found["ttl"], found["name"]) == (["192.0.2.1"], "20", NAME)


def test_what_a_resolver_says_of_dnssec_is_told():
    assert [read(flags=flags)["authenticated"] for flags in (0x8180, 0x81A0)] == [False, True]


@pytest.mark.parametrize(
    "records",
    [
        [record(AT, "CNAME", named(NAME))],
        [record(AT, "CNAME", named("b.example")), record("b.example", "CNAME", named(NAME))],
        [record(AT, "CNAME", named("b.example")), record(AT, "CNAME", named("c.example"))],
        [record(AT if n == 0 else f"n{n}", "CNAME", named(f"n{n + 1}")) for n in range(9)],
        [record(AT, "A", b"\x01\x02\x03")],
        [record(AT, "A", address("2001:db8::1"))],
        [record(b"\xc0\xff", "A", address("192.0.2.1"))],
        [record(b"\xc0\x1b", "A", address("192.0.2.1"))],
        [record(b"\x80", "A", address("192.0.2.1"))],
        [record(b"\x03a b\x00", "A", address("192.0.2.1"))],
        [record(".".join(["a" * 60] * 5), "A", address("192.0.2.1"))],
        [record(AT, "A", address("192.0.2.1"))[:-1]],
    ],
)
def test_a_message_that_loops_lies_or_ends_early_holds_no_value(records):
    assert refused(*records) == "source.schema"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("MX", b"\x00"),
        ("MX", b"\x00\x0a" + named("mx.example") + b"x"),
        ("CNAME", named("b.example") + b"x"),
        ("TXT", b""),
        ("TXT", b"\x05a"),
        ("TXT", b"\x01\xff"),
        ("CAA", b"\x00\x09issue"),
        ("AAAA", address("192.0.2.1")),
    ],
)
def test_a_record_fills_its_size(kind, data):
    assert refused(record(AT, kind, data), kind=kind) == "source.schema"


@pytest.mark.parametrize(
    "change", [{"flags": 0x0180}, {"flags": 0x8980}, {"flags": 0x8380}, {"flags": 0x8183}, {"more": b"x"}, {"count": 2}]
)
def test_a_header_that_is_of_no_whole_answer_is_refused(change):
    assert refused(record(AT, "A", address("192.0.2.1")), **change) == "source.schema"


def test_an_answer_of_another_type_is_refused():
    raw = answer(build_question(NAME, "AAAA", 7))
    with pytest.raises(MalformedError):
        read_answer(DnsRead("192.0.2.53:53", NAME, "A", 5), raw)


def test_no_part_of_a_message_is_one():
    whole = answer(build_question(NAME, "A", 7), record(AT, "A", address("192.0.2.1")))
    for end in range(len(whole)):
        with pytest.raises(MalformedError):
            parse_answer(whole[:end])


@pytest.mark.parametrize("text", ["a", "a.example", "_acme.a-b.example", "1.0"])
def test_names(text):
    assert is_name(text)


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "A", "a b", "-a", "a-", "a" * 64, "a." * 127 + "a", "ä"])
def test_what_is_no_name_here(text):
    assert not is_name(text)


@pytest.mark.parametrize("text", ["192.0.2.1:53", "[2001:db8::1]:5353"])
def test_a_resolver_is_an_address_and_a_port(text):
    assert parse_resolver(text)[1] in (53, 5353)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "192.0.2.1",
        "dns.example:53",
        "192.0.2.01:53",
        "[2001:DB8::1]:53",
        "[::01]:53",
        "192.0.2.1:0",
        "192.0.2.1:65536",
    ],
)
def test_what_is_no_resolver(text):
    with pytest.raises(MalformedError):
        parse_resolver(text)
