"""The definitions that are shipped, over bodies of the shape that their operators document (as of November 2026)."""

import datetime as dt
import json

import pytest

from holdfast.adapters.sources import public_sources
from holdfast.core.readings import read_body
from holdfast.core.sources import parse_registry_toml, resolve
from holdfast.errors import HoldfastError

REGISTRY = parse_registry_toml(public_sources())
AT = dt.datetime(2023, 7, 6, 18, 33, 17, 827000, tzinfo=dt.UTC)
BINANCE = [
    {"id": 28457, "price": "30243.40000000", "qty": "12.00000000", "quoteQty": "48.000012", "time": 1688668397827}
    | {"isBuyerMaker": True, "isBestMatch": True}
]
COINBASE = {
    "ask": "30243.5",
    "bid": "30243.4",
    "volume": "9872.5",
    "trade_id": 86326522,
    "price": "30243.4",
    "size": "0.00698254",
    "time": "2023-07-06T18:33:17.827000Z",
}
TRADE = '["30243.40000","0.34507674",1688668397.8277369,"b","m","",61044952]'
KRAKEN = f'{{"error":[],"result":{{"XXBTZUSD":[{TRADE}],"last":"1688671969993150842"}}}}'
ATOM = """<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom"
 xmlns:media="http://search.yahoo.com/mrss/" xml:lang="en-US"><id>tag:github.com,2008:https://github.com/a/b/releases</id>
<title>Release notes from b</title><updated>2023-07-06T18:33:17Z</updated><entry>
<id>tag:github.com,2008:Repository/1/v1.0</id><updated>2023-07-06T18:33:17Z</updated>
<link rel="alternate" type="text/html" href="https://github.com/a/b/releases/tag/v1.0"/><title>v1.0</title>
<content type="html">&lt;p&gt;First.&lt;/p&gt;</content></entry></feed>"""
ARTICLE = """<!DOCTYPE html><html class="client-nojs"><head><title>Proof - Wikipedia</title></head><body>
<header>Main menu</header><main id="content"><h1>Proof</h1><div id="mw-content-text"><p>A proof is an argument.</p>
<nav>Contents</nav></div></main><footer>Privacy policy</footer></body></html>"""


@pytest.mark.parametrize(
    ("name", "body", "value", "dated"),
    [
        ("binance-trade", json.dumps(BINANCE), "30243.4", True),
        ("coinbase-ticker", json.dumps(COINBASE), "30243.4", True),
        ("kraken-trade", KRAKEN, "30243.4", True),
        (
            "github-releases",
            ATOM,
            '[{"link":"https://github.com/a/b/releases/tag/v1.0","time":"2023-07-06T18:33:17.000Z","title":"v1.0"}]',
            False,
        ),
        (
            "wikipedia-article",
            ARTICLE,
            '{"text":"Proof\\nA proof is an argument.","title":"Proof - Wikipedia"}',
            False,
        ),
    ],
)
def test_a_documented_answer_gives_its_value(name, body, value, dated):
    found = read_body(REGISTRY.find(name), body.encode(), None)
    assert found.extraction.value.text == value
    assert found.observed_at == (AT if dated else None)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("binance-trade", '{"code":-1121,"msg":"Invalid symbol."}'),
        ("coinbase-ticker", '{"message":"NotFound"}'),
        ("kraken-trade", '{"error":["EQuery:Unknown asset pair"]}'),
        ("github-releases", "<html></html>"),
    ],
)
def test_a_documented_error_gives_none(name, body):
    with pytest.raises(HoldfastError) as caught:
        read_body(REGISTRY.find(name), body.encode(), None)
    assert caught.value.code == "source.schema"


def test_every_shipped_source_can_be_asked():
    given = {
        "binance-trade": {"symbol": "BTCUSDT"},
        "coinbase-ticker": {"product": "BTC-USD"},
        "kraken-trade": {},
        "github-releases": {"owner": "python", "repository": "cpython"},
        "wikipedia-article": {"title": "Proof"},
    }
    assert given.keys() == REGISTRY.sources.keys()
    for name, parameters in given.items():
        assert resolve(REGISTRY.find(name), parameters).url.startswith("https://")


def test_three_exchanges_are_there_for_a_quorum():
    assert sum(1 for item in REGISTRY.sources.values() if item.expect.type == "decimal") == 3
