"""Tests for what is written to the tables of an archive."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async import Execution
from eachlabs_async.archive.schema import SCHEMA
from eachlabs_async.archive.spans import TimeSpan
from eachlabs_async.archive.store import Store
from eachlabs_async.archive.table import EXECUTIONS, Written
from eachlabs_async.archive.values import EXECUTION_FIELDS, execution_of, execution_values, time_text
from eachlabs_async.codec.fast import time_texts

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TIMES = st.none() | st.datetimes(timezones=st.just(UTC))
TEXTS = st.none() | st.text()
ROWS = st.builds(
    Execution,
    id=st.text(min_size=1),
    status=st.sampled_from(["success", "error", "created", "a new word"]),
    model=TEXTS,
    requested_model=TEXTS,
    workflow_id=TEXTS,
    workflow_execution_id=TEXTS,
    execution_cost=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    run_time=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    created_at=TIMES,
    started_at=TIMES,
    completed_at=TIMES,
    output=TEXTS,
)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = memory()
    yield connection
    connection.close()


def memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    return connection


def row(number: int, **fields: object) -> Execution:
    values: dict[str, object] = {"id": f"e{number}", "status": "success", "created_at": BEGIN, **fields}
    return Execution(**values)  # type: ignore[arg-type]


@given(st.lists(ROWS, unique_by=lambda row: (row.id, row.created_at)))
def test_records_come_back_as_they_were(rows: list[Execution]) -> None:
    """With every value, whatever it is: zeros, the smallest numbers, empty texts, any time."""
    db = memory()
    EXECUTIONS.write(db, execution_values(rows), "now", 1)
    found = [execution_of(values) for values in db.execute(f"SELECT {', '.join(EXECUTION_FIELDS)} FROM executions")]
    db.close()
    assert sorted(found, key=repr) == sorted(rows, key=repr)


@given(st.lists(st.datetimes(timezones=st.just(UTC)), min_size=2))
def test_texts_of_times_sort_as_the_times(times: list[datetime]) -> None:
    """Those of columns are the same as those of single times."""
    assert time_texts(times) == [time_text(time) for time in times]
    assert [time_text(time) for time in sorted(times)] == sorted(time_text(time) for time in times)


def test_new_rows_are_told_from_changed_ones(db: sqlite3.Connection) -> None:
    """More rows than one statement takes; a row that is the same counts as neither, but as seen."""
    rows = [row(number) for number in range(1300)]
    assert EXECUTIONS.write(db, execution_values(rows), "first", 1) == Written(1300, 0)
    rows = [row(number, execution_cost=0.5 if number < 3 else None) for number in range(1299, -1, -1)] + [row(5000)]
    assert EXECUTIONS.write(db, execution_values(rows), "second", 2) == Written(1, 3)
    assert db.execute("SELECT count(*) FROM executions WHERE seen_by = 2").fetchone() == (1301,)
    assert db.execute("SELECT count(*) FROM executions WHERE changed_at = 'second'").fetchone() == (3,)
    assert db.execute("SELECT count(*) FROM executions WHERE added_at = 'first'").fetchone() == (1300,)


def test_a_text_that_utf8_cannot_hold_is_escaped(db: sqlite3.Connection) -> None:
    """A lone surrogate ends no sync; the row is there, and the next sync takes it for unchanged."""
    store = Store(lambda: db)
    walk = store.begin(TimeSpan(BEGIN, None))
    values = execution_values([row(1), row(2, output="a\ud800b", model="\udfff")])
    assert store.commit(walk.number, EXECUTIONS, values, [], "{}") == Written(2, 0)
    assert store.commit(walk.number, EXECUTIONS, values, [], "{}") == Written(0, 0)
    assert db.execute("SELECT output, model FROM executions WHERE id = 'e2'").fetchone() == ("a\\ud800b", "\\udfff")


def test_rows_and_checkpoint_are_one_transaction(db: sqlite3.Connection) -> None:
    """If one of them cannot be written, neither is."""
    store = Store(lambda: db)
    walk = store.begin(TimeSpan(BEGIN, None))
    store.commit(walk.number, EXECUTIONS, execution_values([row(1)]), [], "first")
    with pytest.raises(sqlite3.Error):
        store.commit(walk.number, EXECUTIONS, execution_values([row(2)]), [], object())  # type: ignore[arg-type]
    assert db.execute("SELECT id FROM executions").fetchall() == [("e1",)]
    assert [walk.checkpoint for walk in store.walks()] == ["first"]


def test_the_time_before_the_newest_row_is_not_covered(db: sqlite3.Connection) -> None:
    """Rows may still appear there; a walk of a span that ends earlier covers all of it."""
    store = Store(lambda: db)
    walk = store.begin(TimeSpan(BEGIN, None))
    rows = [row(number, created_at=BEGIN + timedelta(minutes=number)) for number in range(60)]
    store.commit(walk.number, EXECUTIONS, execution_values(rows), [], "{}")
    store.end(walk, timedelta(minutes=5))
    assert store.gaps(TimeSpan(BEGIN, None)) == [TimeSpan(BEGIN + timedelta(minutes=54), None)]
    early = store.begin(TimeSpan(BEGIN - timedelta(days=2), BEGIN - timedelta(days=1)))
    store.end(early, timedelta(minutes=5))
    assert store.gaps(TimeSpan(BEGIN - timedelta(days=2), BEGIN)) == [TimeSpan(BEGIN - timedelta(days=1), BEGIN)]


def test_the_queries_of_readme_run(db: sqlite3.Connection) -> None:
    """Its tables and columns exist, and it names all that are of use."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```sql\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL):
        for statement in block.split(";\n"):
            db.execute(statement)
    for table in ("executions", "workflow_executions", "unreadable_rows"):
        (columns,) = re.findall(rf"^\| `{table}` \| (.*) \|$", readme, re.MULTILINE)
        named = {row[1] for row in db.execute(f"PRAGMA table_info({table})")} - {"seen_by", "key"}
        assert set(re.findall(r"`(\w+)`", columns)) - {"sync_workflow"} == named


def test_the_queries_of_readme_use_an_index(db: sqlite3.Connection) -> None:
    """By time, by model, by status, and the unfinished ones: none reads the whole table."""
    db.execute("CREATE INDEX executions_by_id ON executions (id)")
    for condition in (
        "created_at >= '2026'",
        "model = 'm' AND created_at >= '2026'",
        "status = 'error' AND created_at >= '2026'",
        "workflow_id = 'w'",
        "id = 'i'",
    ):
        plan = db.execute(f"EXPLAIN QUERY PLAN SELECT * FROM executions WHERE {condition}").fetchall()
        assert "USING INDEX" in plan[0][-1], (condition, plan)
