"""A data node that reads a database: what it admits and refuses, and that replaying needs the database no more."""

import asyncio
import dataclasses
import datetime as dt
import sqlite3

import pytest

from holdfast.client.data import judge_admission
from holdfast.core.admissions import parse_admission, verify_admission, verify_observation
from holdfast.core.encoding import time_encode
from holdfast.core.statements import parse_envelope, parse_statement
from holdfast.errors import HoldfastError
from holdfast.nodes.data.peers import open_presented
from holdfast.nodes.data.service import replay
from holdfast.ports.settings import Secret
from tests.helpers.sources import data_world, registry_of, sql_definition

pytestmark = pytest.mark.enable_socket
SELECT = "SELECT rate, at FROM rates WHERE pair = {pair}"
PAIR = {"pair": {"type": "word", "default": "EUR-USD"}}
TIMED = {"method": "json", "value": "$[0].rate", "time": "$[0].at", "time_format": "rfc3339"}


def admission_of(folder, rate="1.2500", age_s=0.0, *, known=True, select=SELECT, **parameters):
    """One admission of a row, and the world that it was made in."""
    path = folder / "books.db"
    path.unlink(missing_ok=True)
    moment = time_encode(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age_s))
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE rates (pair TEXT, rate TEXT, at TEXT)")
        made.execute("INSERT INTO rates VALUES ('EUR-USD', ?, ?)", (rate, moment))
    made.close()
    definition = sql_definition("sqlite", select, parameters=PAIR, extract=TIMED)
    credentials = {"books": Secret(f"sqlite:///{path}", "env:BOOKS")} if known else {}
    world = data_world(folder / "node", registry_of(definition), credentials=credentials)

    async def work():
        try:
            return await world.service.admit("anybody", "books", parameters)
        finally:
            await world.close()

    shown = asyncio.run(work())
    return world, shown, parse_admission(shown.document)


def test_a_row_is_admitted_signed_and_holds(tmp_path):
    world, shown, document = admission_of(tmp_path)
    assert (document.event, document.value.text) == ("admitted", "1.25")
    seen = document.observation
    assert (seen.credential, seen.exchange.kind, seen.exchange.channel) == ("books", "sql", "file")
    statement = parse_statement(parse_envelope(shown.envelope))
    assert verify_admission(statement, shown.document, shown.salt) == document
    verify_observation(document, shown.definition)
    assert str(tmp_path) not in shown.document.decode() + shown.definition.decode()
    assert open_presented(shown, world.document)[1] == document
    assert "asked as sql over file" in judge_admission(shown, None).says


def test_it_is_replayed_without_the_database(tmp_path):
    world, shown, document = admission_of(tmp_path)
    (tmp_path / "books.db").unlink()
    bodies = world.service.kept.bodies
    assert replay(shown, bodies.get)["text"] == "1.25"
    exchange = document.observation.exchange
    value = dataclasses.replace(document.value, text="1.26")
    for change in (
        {"exchange": dataclasses.replace(exchange, answer=("00" * 32, 42))},
        {"extraction": dataclasses.replace(document.observation.extraction, value=value)},
    ):
        forged = dataclasses.replace(document, observation=dataclasses.replace(document.observation, **change))
        with pytest.raises(HoldfastError) as caught:
            replay(dataclasses.replace(shown, document=forged.raw), bodies.get)
        assert caught.value.code in ("source.replay", "source.body_gone")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"age_s": 31}, "stale"),
        ({"age_s": -60}, "clock_skew"),
        ({"rate": "11"}, "range"),
        ({"rate": "free"}, "schema"),
        ({"pair": "GBP-USD"}, "schema"),
        ({"pair": "x' OR 1"}, "parameters"),
        ({"known": False}, "credential"),
        ({"select": "SELECT rate, at FROM prices WHERE pair = {pair}"}, "status"),
        ({"select": "SELECT rate, at FROM rates WHERE pair = {pair} UNION ALL SELECT 1, 2"}, "size"),
    ],
)
def test_what_is_not_believable_is_refused_and_the_refusal_is_signed(tmp_path, given, code):
    world, shown, document = admission_of(tmp_path, **given)
    assert (document.event, document.refusal.code, document.value) == ("refused", code, None)
    assert open_presented(shown, world.document)[1] == document
