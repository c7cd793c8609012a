"""SQLite files as the panel's stores of cases and webhooks use them.

Rules: every commit is on disk. Transactions are begun by us, not by the driver: a writer takes the lock when it begins,
not at its first write, so what it read then still holds; a connection with the option ``holdfast_reads`` takes none.
The journal of a file grows to 32 MiB before it is folded in, and 64 MiB of pages are remembered: a round moves
thousands of cases at a time.

Not covered: people (``people_sql``, whose writers name themselves) and the gateway's index (``run_index_sql``).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=8192", "cache_size=-65536", "foreign_keys=ON")


def make_durable(engine: sa.Engine) -> None:
    """Have every connection of an SQLite engine keep the rules; call it before the first one."""
    sa.event.listen(engine, "connect", _connected)
    sa.event.listen(engine, "begin", _begin)


def _connected(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    reads = connection.get_execution_options().get("holdfast_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
