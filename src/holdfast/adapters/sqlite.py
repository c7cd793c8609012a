"""The engine of the stores of cases, webhooks and payments, and the rules that it keeps where it is an SQLite file.

Rules: every commit is on disk. Transactions are begun by us, not by the driver: a writer takes the lock when it begins,
not at its first write, so what it read then still holds; a connection with the option ``holdfast_reads`` takes none.
The journal of a file grows to 32 MiB before it is folded in, and 64 MiB of pages are remembered: a round moves
thousands of cases at a time.

Not covered: people (``people_sql``, whose writers name themselves) and the gateway's index (``run_index_sql``).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

WAIT_SECONDS = 30
"""How long a writer waits for another process's transaction where the URL does not say ``?timeout=``."""
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=8192", "cache_size=-65536", "foreign_keys=ON")


def durable_engine(url: str) -> sa.Engine:
    """An engine for a store's URL, whose statements never show their values in an error message.

    Where it is SQLite it has one connection, which any one thread at a time may use and which keeps the rules.
    """
    address = sa.make_url(url)
    if address.get_backend_name() != "sqlite":
        return sa.create_engine(address, hide_parameters=True)
    if "timeout" not in address.query:
        address = address.update_query_dict({"timeout": str(WAIT_SECONDS)})
    one = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    engine = sa.create_engine(address, hide_parameters=True, **one)
    sa.event.listen(engine, "connect", _connected)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _connected(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    reads = connection.get_execution_options().get("holdfast_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
