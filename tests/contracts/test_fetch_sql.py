"""What ``holdfast.ports.fetch`` promises of databases, on a real SQLite file and a real PostgreSQL."""

import asyncio
import datetime as dt
import socket
import sqlite3
import threading

import pytest
import sqlalchemy as sa

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.fetch_sql import SQLFetcher, _Progress
from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
from holdfast.core.sources import resolve
from holdfast.core.sql_reads import build_question
from holdfast.errors import HoldfastError
from holdfast.ports.fetch import Observed
from holdfast.ports.settings import Secret
from tests.helpers.sources import sql_definition

pytestmark = pytest.mark.enable_socket
PAIR = {"pair": {"type": "word"}}
SELECT = "SELECT rate, at FROM rates WHERE pair = {pair}"
TABLE = (
    "CREATE TABLE rates (pair TEXT, rate NUMERIC, at TEXT)",
    "INSERT INTO rates VALUES ('EUR-USD', 1.25, '2026-01-01T00:00:00Z'), ('it''s', 2.5, '2026-01-01T00:00:00Z')",
)
ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS rate FROM n",
    "postgresql": "SELECT 1 AS rate FROM pg_sleep(60)",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def books(request, tmp_path):
    """A dialect and the URL of a database of it that has the table."""
    if request.param == "sqlite":
        made = sqlite3.connect(tmp_path / "books #1%20.db")
        for statement in TABLE:
            made.execute(statement)
        made.commit()
        made.close()
        yield "sqlite", str(sa.URL.create("sqlite", database=str(tmp_path / "books #1%20.db")))
        return
    url = request.getfixturevalue("postgresql_url")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS rates"))
        for statement in TABLE:
            connection.execute(sa.text(statement.replace(":", "\\:")))
    engine.dispose()
    yield "postgresql", url


def ask(definition, url, **parameters):
    seen = Observed()

    async def work():
        fetcher = SQLFetcher(SystemClock())
        try:
            await fetcher.fetch(resolve(definition, parameters), Secret(url, "env:X") if url else None, seen)
        finally:
            await fetcher.close()

    try:
        asyncio.run(work())
    except HoldfastError as error:
        return error.code, seen
    return "admitted", seen


def count(dialect_and_url):
    engine = sa.create_engine(dialect_and_url[1])
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT count(*) FROM rates")).scalar_one()
    engine.dispose()
    return found


# --- what is observed -------------------------------------------------------------------------------------------------


def test_rows_come_with_what_was_observed_and_no_credential(books):
    dialect, url = books
    definition = sql_definition(dialect, SELECT, parameters=PAIR)
    code, seen = ask(definition, url, pair="EUR-USD")
    assert code == "admitted"
    assert canonical.decode(seen.body) == [{"rate": "1.25", "at": "2026-01-01T00:00:00Z"}]
    question = build_question(definition.reach, {"pair": "EUR-USD"})
    assert (seen.exchange.request_digest, seen.exchange.request_size) == (sha256_hex(question), len(question))
    assert seen.exchange.template == definition.template
    assert seen.exchange.answer == (sha256_hex(seen.body), len(seen.body))
    assert seen.exchange.channel == ("file" if dialect == "sqlite" else "socket")
    assert seen.exchange.facts["rows"] == "1"
    assert seen.exchange.facts["server"].lower().startswith(dialect)
    assert url not in str(seen.exchange.to_json())
    assert (seen.http, seen.tls, seen.request) == (None, None, None)
    assert seen.requested <= seen.first_byte <= dt.datetime.now(dt.UTC)


def test_every_kind_of_value_has_its_one_form(books):
    dialect, url = books
    columns = {
        "sqlite": "1 AS a, 1e-7 AS b, NULL AS c, x'00ff' AS d, '12:30 100%' AS e",
        "postgresql": "1 AS a, 0.0000001::numeric AS b, NULL AS c, decode('00ff', 'hex') AS d, '12:30 100%' AS e,"
        " true AS f, timestamptz '2026-01-01 01:00:00+01' AS g, date '2026-01-02' AS h",
    }[dialect]
    code, seen = ask(sql_definition(dialect, f"SELECT {columns}"), url)
    more = {} if dialect == "sqlite" else {"f": True, "g": "2026-01-01T00:00:00Z", "h": "2026-01-02"}
    assert code == "admitted"
    assert canonical.decode(seen.body) == [
        {"a": "1", "b": "0.0000001", "c": None, "d": "0x00ff", "e": "12:30 100%", **more}
    ]


def test_no_value_of_a_caller_becomes_a_part_of_the_statement(books):
    dialect, url = books
    choices = ["it's", "' OR 1=1 --", "EUR-USD'; DELETE FROM rates; --", ":pair", "%s", "{pair}"]
    definition = sql_definition(dialect, SELECT, parameters={"pair": {"type": "choice", "choices": choices}})
    found = {choice: canonical.decode(ask(definition, url, pair=choice)[1].body) for choice in choices}
    assert [bool(found[choice]) for choice in choices] == [True, False, False, False, False, False]
    assert count(books) == 2


def test_integers_are_bound_as_integers_to_the_last_of_64_bits(books):
    dialect, url = books
    most = (1 << 63) - 1
    whole = {"n": {"type": "integer", "minimum": "0", "maximum": str(most)}}
    code, seen = ask(sql_definition(dialect, "SELECT {n} - 1 AS rate", parameters=whole), url, n=most)
    assert (code, canonical.decode(seen.body)) == ("admitted", [{"rate": str(most - 1)}])


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, "", "not a url", "mysql://x/y", "sqlite+aiosqlite:///x", "http://localhost"])
def test_without_a_url_of_that_dialect_nothing_is_asked(books, given):
    code, seen = ask(sql_definition(books[0], SELECT, parameters=PAIR), given, pair="x")
    assert (code, seen.exchange) == ("source.credential", None)


def test_a_database_that_is_not_there_is_not_made(books, tmp_path):
    dialect, _ = books
    url = {"sqlite": f"sqlite:///{tmp_path}/none.db", "postgresql": f"postgresql://x@/x?host={tmp_path}"}[dialect]
    code, seen = ask(sql_definition(dialect, "SELECT 1 AS rate"), url)
    assert (code, seen.exchange) == ("source.unreachable", None)
    assert not (tmp_path / "none.db").exists()


WRITES = {
    "sqlite": ["WITH x AS (SELECT 1) DELETE FROM rates", "SELECT load_extension('x')"],
    "postgresql": [
        "WITH x AS (DELETE FROM rates RETURNING 1) SELECT count(*) AS rate FROM x",
        "SELECT 1 AS rate INTO copied",
        "SELECT rate FROM rates FOR UPDATE",
        "SELECT set_config('transaction_read_only', 'off', true) AS rate",
    ],
}


def test_nothing_is_written_whatever_the_definition_says(books):
    dialect, url = books
    for statement in WRITES[dialect]:
        code, seen = ask(sql_definition(dialect, statement), url)
        assert code == "source.status", statement
        assert seen.exchange.answer is None
    assert count(books) == 2


def test_what_a_function_does_all_the_same_is_rolled_back(postgresql_url):
    ask(sql_definition("postgresql", "SELECT lo_create(4711) AS rate"), postgresql_url)
    code, seen = ask(sql_definition("postgresql", "SELECT count(*) AS n FROM pg_largeobject_metadata"), postgresql_url)
    assert (code, canonical.decode(seen.body)) == ("admitted", [{"n": "0"}])


def test_the_words_of_the_database_are_not_told(books):
    code, _ = ask(sql_definition(books[0], "SELECT no_such_column AS rate FROM rates"), books[1])
    assert code == "source.status"


@pytest.mark.parametrize(
    ("select", "request_", "code"),
    [
        ("SELECT rate FROM rates", {}, "source.size"),
        ("SELECT '" + "a" * 64 + "' AS rate", {"bytes": 64}, "source.size"),
        ("SELECT 1 AS rate, 2 AS rate", {}, "source.schema"),
    ],
)
def test_what_is_too_much_or_has_no_one_meaning_is_refused(books, select, request_, code):
    found, seen = ask(sql_definition(books[0], select, request=request_), books[1])
    assert (found, seen.exchange.answer, seen.body) == (code, None, b"")


def test_a_value_larger_than_the_limit_is_refused_by_the_database_where_it_can(tmp_path):
    sqlite3.connect(tmp_path / "x.db").close()
    found, _ = ask(
        sql_definition("sqlite", "SELECT zeroblob(70000) AS rate", request={"bytes": 2}), f"sqlite:///{tmp_path}/x.db"
    )
    assert found == "source.size"


def test_a_type_without_a_form_is_refused(books):
    select = {"sqlite": "SELECT 9e999 AS rate", "postgresql": "SELECT 'NaN'::numeric AS rate"}[books[0]]
    assert ask(sql_definition(books[0], select), books[1])[0] == "source.schema"
    if books[0] == "postgresql":
        assert ask(sql_definition(books[0], "SELECT '[1]'::json AS rate"), books[1])[0] == "source.schema"


def test_a_statement_that_does_not_end_is_ended(books):
    code, seen = ask(sql_definition(books[0], ENDLESS[books[0]], request={"seconds": 1}), books[1])
    assert (code, seen.exchange.answer, seen.first_byte) == ("source.timeout", None, None)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sql") and stuck(thread)]


def test_a_question_whose_asker_is_gone_is_ended(books):
    async def work():
        fetcher = SQLFetcher(SystemClock())
        definition = sql_definition(books[0], ENDLESS[books[0]], request={"seconds": 60})
        seen = Observed()
        asking = asyncio.create_task(fetcher.fetch(resolve(definition, {}), Secret(books[1], "env:X"), seen))
        await asyncio.sleep(0.3)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await fetcher.close()

    asyncio.run(work())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sql") and stuck(thread)]


def test_a_connection_that_comes_after_its_question_has_ended_asks_nothing():
    progress, cut = _Progress(), []
    progress.end()
    with pytest.raises(HoldfastError) as caught:
        progress.hold(lambda: cut.append(1))
    progress.let_go()
    progress.end()
    assert (caught.value.code, cut) == ("source.timeout", [])


def stuck(thread):
    thread.join(10)
    return thread.is_alive()


def test_a_server_that_says_nothing_is_given_up():
    pytest.importorskip("psycopg")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x"
        code, seen = ask(sql_definition("postgresql", "SELECT 1 AS rate", request={"seconds": 1}), url)
    assert (code, seen.exchange) == ("source.timeout", None)
