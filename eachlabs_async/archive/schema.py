"""The tables of an archive. They are documented in README, for queries from elsewhere."""

from __future__ import annotations

from typing import Final

from ..sqlite.file_kind import FileKind

KIND: Final = FileKind(
    name="archive",
    application_id=0x45414341,  # "EACA"
    version=1,
    user="another sync",
    retry="sync again",
    other_version="update eachlabs-async (pip install -U eachlabs-async), or use another path",
)

UNFINISHED: Final = "state NOT IN ('succeeded', 'failed', 'cancelled') AND deleted_at IS NULL"
"""The condition on rows that can still change. The indexes have it literally, so that SQLite uses them."""

# The key of an execution is its time and id. A walk inserts rows in the order of their times, so that only few pages of
# the index change at a time. Ids are random: an index of them made a first sync twice as expensive, so it is built at
# its end.
AFTER_FIRST_SYNC: Final = "CREATE INDEX IF NOT EXISTS executions_by_id ON executions (id)"
SCHEMA: Final = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE executions (
    id TEXT NOT NULL,
    status TEXT NOT NULL,
    state TEXT NOT NULL,
    model TEXT,
    requested_model TEXT,
    workflow_id TEXT,
    workflow_execution_id TEXT,
    execution_cost REAL,
    run_time REAL,
    created_at TEXT NOT NULL,
    started_at TEXT,
    completed_at TEXT,
    output TEXT,
    added_at TEXT NOT NULL,
    changed_at TEXT,
    deleted_at TEXT,
    seen_by INTEGER NOT NULL
);
CREATE UNIQUE INDEX executions_by_time ON executions (created_at, id);
CREATE INDEX executions_by_model ON executions (model, created_at);
CREATE INDEX executions_by_status ON executions (status, created_at);
CREATE INDEX executions_by_workflow ON executions (workflow_id, created_at) WHERE workflow_id IS NOT NULL;
CREATE INDEX executions_unfinished ON executions (created_at) WHERE {UNFINISHED};

CREATE TABLE workflow_executions (
    execution_id TEXT NOT NULL UNIQUE,
    listed_as TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    version_id TEXT,
    bulk_id TEXT,
    status TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at TEXT,
    started_at TEXT,
    completed_at TEXT,
    inputs TEXT,
    step_outputs TEXT,
    output TEXT,
    workflow_output TEXT,
    error TEXT,
    error_cause TEXT,
    total_cost REAL,
    added_at TEXT NOT NULL,
    changed_at TEXT,
    deleted_at TEXT,
    seen_by INTEGER NOT NULL
);
CREATE INDEX workflow_executions_by_time ON workflow_executions (workflow_id, created_at);
CREATE INDEX workflow_executions_by_name ON workflow_executions (listed_as, created_at);
CREATE INDEX workflow_executions_by_status ON workflow_executions (status, created_at);
CREATE INDEX workflow_executions_unfinished ON workflow_executions (listed_as, created_at) WHERE {UNFINISHED};

CREATE TABLE unreadable_rows (
    key TEXT PRIMARY KEY,
    id TEXT,
    created_at TEXT,
    error TEXT NOT NULL,
    row TEXT,
    seen_by INTEGER NOT NULL
) WITHOUT ROWID;

-- What a sync needs to continue: the spans that were walked to their end, the walks that were not, and which workflows
-- were. A walk marks no row as deleted if it `keeps` them, and ends at known rows if it `stops` there. `newest` is the
-- time of the newest row when it began.
CREATE TABLE covered (since TEXT NOT NULL, until TEXT NOT NULL);
CREATE TABLE walks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id TEXT,
    since TEXT,
    until TEXT,
    checkpoint TEXT,
    newest TEXT,
    keeps INTEGER NOT NULL DEFAULT 0,
    stops INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE complete_workflows (workflow_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""
