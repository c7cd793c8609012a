"""The tables of :mod:`holdfast.adapters.case_store_sql`, and what keeps their journal append-only."""

from __future__ import annotations

from dataclasses import fields

import sqlalchemy as sa

from holdfast.ports.case_store import CaseMarks

_SHA = sa.String(64)
_TIME = sa.String(24)
_CASE = sa.String(36)
METADATA = sa.MetaData()


def _partial(name: str, condition: str, *columns: str) -> sa.Index:
    """An index of the few rows that something is true of; without ``columns`` in the order of a queue's lists."""
    only = sa.text(condition)
    return sa.Index(name, *(columns or ("queue", "opened_seq")), sqlite_where=only, postgresql_where=only)


JOURNAL = sa.Table(
    "case_events",
    METADATA,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", _SHA, nullable=False),
    sa.Column("case", _CASE),
    sa.Column("kind", sa.String(24), nullable=False),
    sa.Column("at", _TIME, nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Index("events_by_case", "case", "seq"),
)
HEAD = sa.Table(
    "case_head",
    METADATA,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("digest", _SHA, nullable=False),
    sa.Column("at", sa.String(24), nullable=False),
)
CASES = sa.Table(
    "cases",
    METADATA,
    sa.Column("case", _CASE, primary_key=True),
    sa.Column("opened_seq", sa.BigInteger, nullable=False, unique=True),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("queue", sa.String(64), nullable=False),
    sa.Column("run", sa.String(36), nullable=False),
    sa.Column("subject", sa.Text),
    sa.Column("requester", sa.Text),
    sa.Column("opened_at", _TIME, nullable=False),
    sa.Column("changed_at", _TIME, nullable=False),
    sa.Column("stands", sa.String(16), nullable=False),
    sa.Column("reasons", sa.Text, nullable=False),
    sa.Column("policy", _SHA, nullable=False),
    sa.Column("vector", _SHA),
    sa.Column("trust", _SHA),
    sa.Column("bundle", _SHA),
    sa.Column("clear_until", _TIME),
    sa.Column("released_early", sa.Integer, nullable=False),
    sa.Column("relied", sa.Integer, nullable=False),
    sa.Column("claimed_by", sa.Text),
    sa.Column("claimed_until", _TIME),
    sa.Column("consumer", sa.Text),
    sa.Column("handed_until", _TIME),
    sa.Column("handed_at", _TIME),
    sa.Column("flags", sa.Integer, nullable=False),
    sa.Column("due_at", _TIME),
    sa.UniqueConstraint("run", "queue"),
    sa.Index("cases_by_queue", "queue", "opened_seq"),
    sa.Index("cases_by_stands", "stands", "opened_seq"),
    sa.Index("cases_by_queue_and_stands", "queue", "stands", "handed_at", "opened_seq"),
    sa.Index("cases_by_claim", "claimed_by", "opened_seq"),
    sa.Index("cases_by_due", "due_at"),
    sa.Index("cases_by_trust", "stands", "trust"),
    _partial("cases_early", "released_early = 1"),
    sa.Index(
        "cases_flagged", "queue", "opened_seq", sqlite_where=sa.text("flags > 0"), postgresql_where=sa.text("flags > 0")
    ),
    sa.Index("cases_by_opening", "queue", "opened_at", "opened_seq"),
)
BLOBS = sa.Table(
    "case_blobs",
    METADATA,
    sa.Column("case", _CASE, sa.ForeignKey("cases.case"), primary_key=True),
    sa.Column("digest", _SHA, primary_key=True),
    sa.Column("raw", sa.LargeBinary, nullable=False),
)
SHOWN = sa.Table(
    "case_shown",
    METADATA,
    sa.Column("case", _CASE, sa.ForeignKey("cases.case"), primary_key=True),
    sa.Column("shown", sa.Text, nullable=False),
)
POLICIES = sa.Table(
    "queue_policies",
    METADATA,
    sa.Column("digest", _SHA, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
QUEUES = sa.Table(
    "queues",
    METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("policy", _SHA, sa.ForeignKey("queue_policies.digest"), nullable=False),
)
EVIDENCE = sa.Table(
    "case_evidence",
    METADATA,
    sa.Column("digest", _SHA, primary_key=True),
    sa.Column("case", _CASE, sa.ForeignKey("cases.case"), primary_key=True),
    sa.Index("evidence_by_case", "case"),
)
RELIANCES = sa.Table(
    "reliances",
    METADATA,
    sa.Column("name", _SHA, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
RESTING = sa.Table(
    "case_reliances",
    METADATA,
    sa.Column("name", _SHA, sa.ForeignKey("reliances.name"), primary_key=True),
    sa.Column("case", _CASE, sa.ForeignKey("cases.case"), primary_key=True),
    sa.Column("until", _TIME, nullable=False),
    sa.Index("reliances_by_case", "case"),
)
DEPENDANTS = sa.Table(
    "case_dependants",
    METADATA,
    sa.Column("base", _CASE, sa.ForeignKey("cases.case"), primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("target", sa.String(4000), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Index("dependants_by_target", "kind", "target"),
)
LED = sa.Table(
    "case_led",
    METADATA,
    sa.Column("case", _CASE, primary_key=True),
    sa.Column("agent", _CASE, primary_key=True),
    sa.Column("before", sa.BigInteger, nullable=False),
    sa.Index("led_by_agent", "agent", "before"),
)
LED_ACTS = sa.Table(
    "case_acts",
    METADATA,
    sa.Column("case", _CASE, primary_key=True),
    sa.Column("tool", sa.String(64), nullable=False),
    sa.Column("effect", sa.String(16), nullable=False),
)
LED_RUNS = sa.Table(
    "led_runs",
    METADATA,
    sa.Column("run", _CASE, primary_key=True),
    sa.Column("agent", _CASE, primary_key=True),
    sa.Column("place", sa.BigInteger, nullable=False),
    sa.Index("led_runs_by_agent", "agent", "place"),
)
LED_EVIDENCE = sa.Table(
    "led_evidence",
    METADATA,
    sa.Column("digest", _SHA, primary_key=True),
    sa.Column("run", _CASE, primary_key=True),
    sa.Index("led_evidence_by_run", "run"),
)
RECALLED_EVIDENCE = sa.Table("recalled_evidence", METADATA, sa.Column("digest", _SHA, primary_key=True))
OUTBOX = sa.Table(
    "case_outbox",
    METADATA,
    sa.Column("seq", sa.BigInteger, sa.ForeignKey("case_events.seq"), primary_key=True, autoincrement=False),
)
TRUSTS = sa.Table(
    "trust_documents",
    METADATA,
    sa.Column("digest", _SHA, primary_key=True),
    sa.Column("payload", sa.LargeBinary, nullable=False),
)
SERIES = sa.Table(
    "case_series",
    METADATA,
    sa.Column("series", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("artifact", _SHA, nullable=False),
    sa.Column("upstream", sa.Text),
    sa.Column("served", sa.Text),
    sa.Column("fingerprint", sa.Text),
    sa.UniqueConstraint("label", "artifact"),
    sa.Index("series_by_artifact", "artifact"),
)
"""One row for each label with an artifact; "" where one of them was not disclosed."""
FACTS = sa.Table(
    "case_facts",
    METADATA,
    sa.Column("case", _CASE, primary_key=True),
    sa.Column("queue", sa.String(64), nullable=False),
    sa.Column("opened_seq", sa.BigInteger, nullable=False),
    sa.Column("series", sa.Integer, sa.ForeignKey("case_series.series"), nullable=False),
    sa.Column("opened_at", _TIME, nullable=False),
    sa.Column("run_at", _TIME),
    sa.Column("seen_at", _TIME, nullable=False),
    *(sa.Column(field.name, sa.Integer, nullable=False) for field in fields(CaseMarks)),
    sa.Index("facts_by_series", "series", "opened_seq"),
    sa.Index("facts_for_statistics", "queue", "series", "seen_at", *(field.name for field in fields(CaseMarks))),
    sa.Index(
        "facts_stale", "queue", "opened_seq", sqlite_where=sa.text("stale = 1"), postgresql_where=sa.text("stale = 1")
    ),
)
"""``seen_at`` is ``run_at``, or else when the case was opened. Facts are written before the row of a new case."""
LANES = sa.Table(
    "case_lanes",
    METADATA,
    sa.Column("case", _CASE, primary_key=True),
    sa.Column("lane", sa.String(16), primary_key=True),
    sa.Column("queue", sa.String(64), nullable=False),
    sa.Column("opened_seq", sa.BigInteger, nullable=False),
    sa.Column("series", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("span_ms", sa.BigInteger),
    sa.Index("lanes_by_state", "queue", "lane", "state", "opened_seq"),
    _partial("lanes_by_span", "span_ms IS NOT NULL", "queue", "series", "lane", "span_ms"),
)
NAMED = sa.Table(
    "case_named",
    METADATA,
    sa.Column("case", _CASE, primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("value", _SHA, primary_key=True),
    sa.Index("named_by_value", "kind", "value"),
)
LABELS = sa.Table(
    "labels",
    METADATA,
    sa.Column("label", sa.Text, primary_key=True),
    sa.Column("artifact", _SHA, nullable=False),
    sa.Column("at", _TIME, nullable=False),
    sa.Column("case", _CASE),
    sa.Column("moved_seq", sa.BigInteger),
)
MOVES = sa.Table(
    "label_moves",
    METADATA,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("at", _TIME, nullable=False),
    sa.Column("before", _SHA, nullable=False),
    sa.Column("after", _SHA, nullable=False),
    sa.Index("moves_by_label", "label", "seq"),
)
_REFUSE = "BEGIN SELECT RAISE(ABORT, 'events are append-only'); END"
_FUNCTION = "$$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$"
GUARDS = {
    "sqlite": (
        f"CREATE TRIGGER IF NOT EXISTS case_events_no_update BEFORE UPDATE ON case_events {_REFUSE}",
        f"CREATE TRIGGER IF NOT EXISTS case_events_no_delete BEFORE DELETE ON case_events {_REFUSE}",
    ),
    "postgresql": (
        f"CREATE OR REPLACE FUNCTION case_events_append_only() RETURNS trigger LANGUAGE plpgsql AS {_FUNCTION}",
        """CREATE OR REPLACE TRIGGER case_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON case_events
        FOR EACH STATEMENT EXECUTE FUNCTION case_events_append_only()""",
    ),
}
"""By dialect: what keeps the journal append-only against mistakes."""
