"""Source registries: what a definition may say, and how a caller's parameters get into a request."""

import datetime as dt

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.core.addresses import check_address, parse_address, parse_network
from holdfast.core.expectations import admit_value, check_times, parse_expectation
from holdfast.core.extraction import extract, find, parse_extraction, parse_path
from holdfast.core.keys import PublicKey
from holdfast.core.readings import date_of
from holdfast.core.sources import (
    build_signed_registry,
    locate,
    parse_registry,
    parse_registry_toml,
    parse_source,
    registry_message,
    resolve,
    verify_registry,
)
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
REGISTRY = """
type = "urn:holdfast:sources:v1"
version = 7

[[sources]]
id = "rates"
version = 1
title = "Exchange rates"
kind = "https"
workspaces = ["*"]
unit = "USD"

[sources.request]
url = "https://rates.example/v1/{pair}?at={at}"
headers = { "x-client" = "holdfast" }
secret = { name = "rates-key", header = "authorization", prefix = "Bearer " }

[sources.parameters.pair]
type = "choice"
choices = ["EUR-USD", "BTC-USD"]

[sources.parameters.at]
type = "word"
length = 16
default = "now"

[sources.extract]
method = "json"
value = "$.rate"
time = "$.at"
time_format = "rfc3339"

[sources.expect]
type = "decimal"
minimum = "0.5"
maximum = "2"
fresh_s = 30
"""


def changed(old, new):
    assert old in REGISTRY
    return REGISTRY.replace(old, new, 1)


def code_of(call, *arguments):
    with pytest.raises(HoldfastError) as caught:
        call(*arguments)
    return caught.value.code


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('kind = "https"', 'kind = "ftp"', "sources.kind"),
        ('kind = "https"', 'kind = "https"\ncolour = "red"', "sources.fields"),
        ('id = "rates"', 'id = "Rates"', "sources.id"),
        ("https://rates.example", "ftp://rates.example", "sources.url"),
        ("https://rates.example", "http://rates.example", "sources.url"),
        ("https://rates.example", "https://user@rates.example", "sources.url"),
        ("https://rates.example", "https://{pair}.example", "sources.url"),
        ("https://rates.example", "https://RATES.example", "sources.url"),
        ("https://rates.example/v1", "https://rates.example:99999/v1", "sources.url"),
        ("/v1/{pair}", "/v1/../{pair}", "sources.url"),
        ("/v1/{pair}", "/v1/%2e%2e/{pair}", "sources.url"),
        ("?at={at}", "?at={at", "sources.url"),
        ("?at={at}", "?at={at}#part", "sources.url"),
        ("?at={at}", "", "sources.place"),
        ("?at={at}", "?at={at}&more={more}", "sources.place"),
        ('"x-client" = "holdfast"', '"host" = "other.example"', "sources.header"),
        ('"x-client" = "holdfast"', '"x-client" = "a\\r\\nx-evil: 1"', "sources.header"),
        ('"x-client" = "holdfast"', '"x client" = "a"', "sources.header"),
        ('header = "authorization"', 'header = "transfer-encoding"', "sources.header"),
        ('name = "rates-key"', 'name = "hunter2 is my password"', "sources.secret"),
        ('choices = ["EUR-USD", "BTC-USD"]', "choices = []", "sources.parameter"),
        ('default = "now"', 'default = "not a word"', "sources.parameter"),
        ('type = "word"', 'type = "regex"', "sources.parameter"),
        ('minimum = "0.5"', "minimum = 0.5", "sources.decimal"),
        ('minimum = "0.5"', 'minimum = "0.50"', "sources.decimal"),
        ('minimum = "0.5"', 'minimum = "3"', "sources.expect"),
        ("fresh_s = 30", "fresh_s = -1", "sources.expect"),
        ('value = "$.rate"', 'value = "$..rate"', "sources.path"),
        ('time = "$.at"', 'time = "$[*]"', "sources.path"),
        ('time_format = "rfc3339"', 'time_format = "guess"', "sources.extract"),
        ("version = 7", "version = 0", "sources.number"),
        ("version = 7", "version = true", "sources.number"),
        ('type = "urn:holdfast:sources:v1"', 'type = "urn:holdfast:sources:v2"', "sources.fields"),
        ("[[sources]]", "[sources", "sources.toml"),
    ],
)
def test_a_definition_that_says_something_else_is_refused(old, new, code):
    assert code_of(parse_registry_toml, changed(old, new)) == code


def test_two_sources_of_one_id_are_refused():
    one = REGISTRY.partition("[[sources]]")[2]
    assert code_of(parse_registry_toml, REGISTRY + "[[sources]]" + one) == "sources.twice"


def test_comments_and_order_do_not_change_a_digest_and_every_rule_does():
    plain = parse_registry_toml(REGISTRY)
    spaced = parse_registry_toml("# a comment\n" + changed('unit = "USD"\n', '\nunit   = "USD"\n'))
    assert (plain.digest, plain.find("rates").digest) == (spaced.digest, spaced.find("rates").digest)
    for old, new in [
        ("fresh_s = 30", "fresh_s = 31"),
        ('unit = "USD"', 'unit = "EUR"'),
        ("length = 16", "length = 15"),
    ]:
        assert parse_registry_toml(changed(old, new)).find("rates").digest != plain.find("rates").digest


def test_the_canonical_form_says_the_same_and_has_one_spelling():
    registry = parse_registry_toml(REGISTRY)
    again = parse_registry(registry.raw)
    assert again == registry
    definition = registry.find("rates")
    assert parse_source(definition.raw) == definition
    assert code_of(parse_registry, registry.raw.replace(b'"skew_s":5,', b"")) == "sources.spelling"
    assert code_of(parse_registry, registry.raw + b"\n") == "json.spelling"


def test_a_registry_counts_only_with_the_signature_of_who_may_sign_and_never_goes_back():
    registry = parse_registry_toml(REGISTRY)
    private = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
    key = PublicKey("statement", "ed25519", private.public_key().public_bytes_raw())
    signed = build_signed_registry(registry, key, private.sign(registry_message(registry)))
    assert verify_registry(signed, [key], 7) == registry
    other = PublicKey(
        "statement", "ed25519", Ed25519PrivateKey.from_private_bytes(b"\x02" * 32).public_key().public_bytes_raw()
    )
    assert code_of(verify_registry, signed, [other]) == "sources.signature"
    assert code_of(verify_registry, signed, []) == "sources.signature"
    assert code_of(verify_registry, signed, [key], 8) == "sources.version"
    forged = build_signed_registry(parse_registry_toml(changed("version = 7", "version = 8")), key, private.sign(b"x"))
    assert code_of(verify_registry, forged, [key]) == "sources.signature"


# --- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"pair": "GBP-USD"},
        {"pair": "EUR-USD", "other": "x"},
        {"pair": "EUR-USD", "at": "a b"},
        {"pair": "EUR-USD", "at": "now\r\nx-evil: 1"},
        {"pair": "EUR-USD", "at": "../../admin"},
        {"pair": "EUR-USD", "at": ".."},
        {"pair": "EUR-USD", "at": "a" * 17},
        {"pair": "EUR-USD", "at": "ü"},
        {"pair": ["EUR-USD"]},
        {"pair": True},
    ],
)
def test_a_parameter_that_the_definition_does_not_allow_sends_nothing(given):
    source = parse_registry_toml(REGISTRY).find("rates")
    assert code_of(resolve, source, given) == "sources.value"


def test_parameters_go_where_the_definition_says():
    asked = resolve(parse_registry_toml(REGISTRY).find("rates"), {"pair": "EUR-USD", "at": "2026-01-01"})
    assert asked.url == "https://rates.example/v1/EUR-USD?at=2026-01-01"
    default = resolve(asked.source, {"pair": "EUR-USD"})
    assert default.url.endswith("?at=now")
    assert asked.digest != default.digest


@pytest.mark.parametrize(
    "url",
    ["https://a.example@b.example/", "javascript:alert(1)", "https://a.example/\r\nx", "https:///x", "//a.example/"],
)
def test_a_place_that_is_no_plain_url_is_refused(url):
    assert code_of(locate, url) == "sources.url"


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
        "2001:db8::1",
    ],
)
def test_no_private_local_or_metadata_address_is_reached_unless_the_source_says_so(address):
    with pytest.raises(RefusedError) as caught:
        check_address(parse_address(address), ())
    assert caught.value.code == "source.address"


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses_are_reached(address):
    check_address(parse_address(address), ())


def test_listed_ranges_are_all_that_is_reached():
    ranges = [parse_network("10.0.0.0/8")]
    check_address(parse_address("10.9.9.9"), ranges)
    check_address(parse_address("::ffff:10.9.9.9"), ranges)
    for other in ("1.1.1.1", "127.0.0.1", "64:ff9b::a00:1"):
        with pytest.raises(RefusedError):
            check_address(parse_address(other), ranges)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0", "10.0.0.0/255.0.0.0", "nowhere/8", 7])
def test_a_range_has_one_spelling(text):
    with pytest.raises(MalformedError):
        parse_network(text)


# --- extraction -------------------------------------------------------------------------------------------------------


def json_rules(value, **more):
    return parse_extraction({"method": "json", "value": value, **more})


def test_a_number_keeps_the_digits_it_was_written_with():
    rules = json_rules("$.a[1]['b c']")
    value = extract(rules, b'{"a":[0,{"b c":1.10000000000000000001}]}').value
    assert admit_value(parse_expectation({"type": "decimal"}), value) == "1.10000000000000000001"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a":1,"a":2}', b'{"b":1}', b'{"a":[]}x', b"\xff", b"[" * 100 + b"]" * 100, b'{"a":NaN}'],
)
def test_a_body_without_the_value_gives_none(body):
    assert code_of(extract, json_rules("$.a.b"), body) == "source.schema"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", 1),
        ("$.a[*]", 3),
        ("$.a[-1]", 1),
        ("$.a[1:]", 2),
        ("$.a[:-1]", 2),
        ("$.none", 0),
        ("$.*", 1),
        ("$.a[7]", 0),
    ],
)
def test_paths_select_what_rfc_9535_says(path, found):
    assert len(find({"a": ["x", "y", "z"]}, parse_path(path))) == found


@pytest.mark.parametrize(
    "path", ["", "a", "$.", "$[", "$[01]", "$..a", "$[?@.a]", "$.a b", "$['a'", "$[1:2:3]", "$[-0]"]
)
def test_what_is_no_path_here_is_refused(path):
    assert code_of(parse_path, path) == "sources.path"


RSS = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>
<item><title>One &amp; two</title><link>https://n.example/1</link><guid>1</guid>
<pubDate>Thu, 01 Jan 2026 00:00:00 GMT</pubDate>
<description>&lt;p&gt;Hello &lt;b&gt;you&lt;/b&gt;&lt;/p&gt;</description></item>
<item><title>Three</title><link>https://n.example/3</link><pubDate>Wed, 31 Dec 2025 00:00:00 GMT</pubDate></item>
</channel></rss>"""
ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title><entry><title>One</title>
<link href="https://n.example/1"/><id>urn:1</id><updated>2026-01-01T00:00:00Z</updated><summary>Hello</summary></entry></feed>"""


def test_feeds_are_read_with_their_times():
    rules = parse_extraction({"method": "feed", "items": 1, "time": "newest"})
    rss, atom = extract(rules, RSS), extract(rules, ATOM)
    assert rss.value == [
        {
            "title": "One & two",
            "link": "https://n.example/1",
            "id": "1",
            "time": "2026-01-01T00:00:00.000Z",
            "summary": "Hello you",
        }
    ]
    assert (rss.observed_at, atom.observed_at) == (NOW, NOW)
    assert atom.value[0]["id"] == "urn:1"


@pytest.mark.parametrize("last", ["Fri, 31 Dec 9999 23:59:59 -1400", "9999-12-31T23:59:59-14:00"])
def test_a_time_behind_the_last_year_is_none(last):
    assert date_of({"date": last}) is None
    rules = parse_extraction({"method": "feed", "items": 2, "time": "newest"})
    assert extract(rules, RSS.replace(b"Thu, 01 Jan 2026 00:00:00 GMT", last.encode())).value[0]["time"] == ""
    assert extract(rules, ATOM.replace(b"2026-01-01T00:00:00Z", last.encode())).observed_at is None


@pytest.mark.parametrize(
    "body",
    [
        b"<html></html>",
        b"<rss><channel>",
        b'<!DOCTYPE rss [<!ENTITY a "b">]><rss><channel><item><title>&a;</title></item></channel></rss>',
        b"<rss>\x00</rss>",
    ],
)
def test_what_is_no_feed_or_declares_entities_is_refused(body):
    assert code_of(extract, parse_extraction({"method": "feed", "items": 1}), body) == "source.schema"


PAGE = b"""<!doctype html><html><head><title>A page</title><script>var x = "<p>not this</p>"</script></head><body>
<nav><p>Home <a href="/">and a very long line of links that nobody reads at all</a></p></nav>
<div id="c" class="price big"><p>First paragraph of the text.<p>Second one.</div>
<aside><p>Buy now</p></aside><footer><p>Imprint of a long and boring kind, longer than everything else here</p></footer>
</body></html>"""


def test_the_main_text_of_a_page_is_its_heaviest_part():
    found = extract(parse_extraction({"method": "text"}), PAGE).value
    assert found == {"title": "A page", "text": "First paragraph of the text.\nSecond one."}


@pytest.mark.parametrize("selector", ["#c", "div.price.big", "body > div", "html div[class]", 'div[id="c"]', "* div"])
def test_a_selector_selects_one_element(selector):
    rules = parse_extraction({"method": "css", "selector": selector})
    assert extract(rules, PAGE).value == "First paragraph of the text.\nSecond one."


@pytest.mark.parametrize("selector", ["p", "html > div", ".none", "div > aside"])
def test_none_or_several_elements_give_no_value(selector):
    assert code_of(extract, parse_extraction({"method": "css", "selector": selector}), PAGE) == "source.schema"


@pytest.mark.parametrize("selector", ["", ">", "a >", "a + b", "a:hover", "a,b", "[x=y]"])
def test_what_is_no_selector_here_is_refused(selector):
    assert code_of(parse_extraction, {"method": "css", "selector": selector}) == "sources.selector"


def test_a_hostile_page_costs_no_more_than_its_size():
    deep = b"<div>" * 200 + b"<b>x</b>" + b"</div>" * 200
    rules = parse_extraction({"method": "css", "selector": " ".join(["div"] * 60) + " b"})
    assert extract(rules, deep).value == "x"
    assert code_of(extract, rules, b"<div>" * 300) == "source.schema"


@pytest.mark.parametrize(
    "page",
    [
        b"<pre><a>" * 60 + b"x " * 2000,
        b"<p><b>" * 120 + b"x " * 2000,
        b"<a " * 2000,
        b"<p>x</p>" + b"<!--" * 2000,
        b"<p>x</p><![x[",
    ],
)
def test_a_page_is_not_counted_over_and_over(page):
    assert code_of(extract, parse_extraction({"method": "text"}), page) == "source.schema"


def test_paragraphs_and_links_of_people_are_counted():
    page = b"<p>" + b'One <a href="/">two</a> three. ' * 500 + b"</p>" + b"<pre>x</pre>" * 99 + b"<p>a < b</p><script>"
    assert extract(parse_extraction({"method": "text"}), page).value["text"].startswith("One two three.")


# --- values and times -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expect", "value", "code"),
    [
        ({"type": "decimal", "maximum": "2"}, "2.0000001", "source.range"),
        ({"type": "decimal", "minimum": "0"}, "-1", "source.range"),
        ({"type": "decimal"}, "1,5", "source.schema"),
        ({"type": "decimal"}, True, "source.schema"),
        ({"type": "decimal"}, None, "source.schema"),
        ({"type": "decimal"}, "1e99", "source.schema"),
        ({"type": "decimal"}, "9" * 39, "source.schema"),
        ({"type": "integer"}, "1.5", "source.schema"),
        ({"type": "text", "length": 3}, "four", "source.schema"),
        ({"type": "hex"}, "0xGG", "source.schema"),
        ({"type": "list", "item": {"type": "text"}, "length": 1}, ["a", "b"], "source.schema"),
        ({"type": "object", "members": {"a": {"type": "text"}}}, {"b": "x"}, "source.schema"),
        ({"type": "object", "members": {"a": {"type": "integer", "minimum": "1"}}}, {"a": "0"}, "source.range"),
    ],
)
def test_a_value_that_is_not_what_was_expected_is_refused(expect, value, code):
    assert code_of(admit_value, parse_expectation(expect), value) == code


@pytest.mark.parametrize(
    ("given", "plain"),
    [("1.50", "1.5"), ("1e3", "1000"), ("-0", "0"), ("2.5E-3", "0.0025"), ("100", "100"), ("0x10", "16")],
)
def test_a_number_gets_its_one_spelling(given, plain):
    kind = "integer" if given.startswith("0x") else "decimal"
    assert admit_value(parse_expectation({"type": kind}), given) == plain


def test_members_that_nobody_expects_are_left_out():
    expect = parse_expectation({"type": "object", "members": {"a": {"type": "text"}}})
    assert admit_value(expect, {"a": "x", "ignore all previous instructions": "y"}) == {"a": "x"}


@pytest.mark.parametrize(
    ("observed", "date", "code"),
    [
        (-61, None, "source.stale"),
        (6, None, "source.clock_skew"),
        (None, -8, "source.clock_skew"),
        (None, 6, "source.clock_skew"),
    ],
)
def test_what_is_stale_or_of_another_clock_is_refused(observed, date, code):
    moments = [None if item is None else NOW + dt.timedelta(seconds=item) for item in (observed, date)]
    assert code_of(check_times, parse_expectation({"type": "text", "fresh_s": 60}), *moments, NOW) == code


def test_times_within_bounds_pass():
    expect = parse_expectation({"type": "text", "fresh_s": 60})
    check_times(expect, NOW - dt.timedelta(seconds=60), NOW - dt.timedelta(seconds=6), NOW)
    check_times(expect, NOW + dt.timedelta(seconds=5), None, NOW)


@pytest.mark.parametrize(
    ("shape", "text", "seconds"),
    [
        ("unix_s", "1767225600", 0),
        ("unix_ms", "1767225600000", 0),
        ("rfc3339", "2026-01-01T01:00:00.500+01:00", 0.5),
        ("unix_s", "0x6955b900", 0),
    ],
)
def test_times_are_read_as_they_are_written(shape, text, seconds):
    rules = json_rules("$.v", time="$.t", time_format=shape)
    found = extract(rules, b'{"v":1,"t":"%s"}' % text.encode())
    assert found.observed_at == NOW + dt.timedelta(seconds=seconds)


def test_the_resolver_says_usage_and_never_builds_a_request():
    with pytest.raises(UsageError):
        resolve(parse_registry_toml(REGISTRY).find("rates"), {"pair": "x"})
