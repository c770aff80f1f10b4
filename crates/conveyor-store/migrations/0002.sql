-- What an addressee says of a message that it was given.
CREATE TABLE receipts (
    id IDENTITY,
    delivery_id TEXT NOT NULL REFERENCES deliveries (id),
    notification_id BIGINT NOT NULL,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    binding_id TEXT REFERENCES bindings (id),
    role TEXT NOT NULL CHECK (role IN ('worker', 'manager')),
    status TEXT NOT NULL CHECK (status IN ('received', 'accepted', 'blocked')),
    payload_json TEXT NOT NULL,
    correlation_id TEXT,
    created_at TEXT NOT NULL
);
CREATE INDEX receipts_delivery ON receipts (delivery_id, id);

-- Since when nothing is delivered for a task.
ALTER TABLE tasks ADD COLUMN paused_at TEXT ;

-- Letters that were taken out of outboxes, each once.
CREATE TABLE outbox_letters (
    id TEXT NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id),
    name TEXT NOT NULL,
    verb TEXT,
    refused TEXT,
    taken_at TEXT NOT NULL
);
CREATE INDEX outbox_letters_session ON outbox_letters (session_id);

-- What each side of a task proposes to do next.
CREATE TABLE continuations (
    id IDENTITY,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    binding_id TEXT REFERENCES bindings (id),
    proposer TEXT NOT NULL CHECK (proposer IN ('worker', 'manager')),
    revision BIGINT NOT NULL,
    payload_json TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX continuations_task ON continuations (task_id, correlation_id, proposer, id);

-- What somebody independent says of two proposals.
CREATE TABLE continuation_reviews (
    id IDENTITY,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    correlation_id TEXT NOT NULL,
    worker_continuation_id BIGINT NOT NULL,
    manager_continuation_id BIGINT NOT NULL,
    agreement TEXT NOT NULL CHECK (agreement IN ('match', 'compatible', 'divergent')),
    verdict TEXT NOT NULL CHECK (verdict IN ('proceed', 'amend', 'stop')),
    rationale TEXT NOT NULL,
    addendum TEXT,
    subagent_run_json TEXT NOT NULL,
    operator_routing_required BIGINT NOT NULL CHECK (operator_routing_required IN (0, 1)),
    created_at TEXT NOT NULL
);
CREATE INDEX continuation_reviews_task ON continuation_reviews (task_id, id);

-- The command that shows whether a criterion holds.
CREATE TABLE criterion_checks (
    criterion_id IDENTITY REFERENCES criteria (id),
    command TEXT NOT NULL,
    must_fail_on TEXT,
    brought_by TEXT NOT NULL,
    allowed_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

-- What shows that a criterion holds: what somebody said (claimed), and what the plane ran itself (verified).
CREATE TABLE evidence (
    id IDENTITY,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    criterion_id BIGINT NOT NULL REFERENCES criteria (id),
    kind TEXT NOT NULL CHECK (kind IN ('claimed', 'verified')),
    passed BIGINT NOT NULL,
    repository TEXT,
    commit_id TEXT,
    tree_id TEXT,
    details_json TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX evidence_task ON evidence (task_id, criterion_id, id);

-- Beside the evidence, so that a listing does not read it.
CREATE TABLE evidence_outputs (
    evidence_id IDENTITY REFERENCES evidence (id),
    output TEXT NOT NULL
);

CREATE TABLE epilogue_runs (
    id IDENTITY,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    step_name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('succeeded', 'failed')),
    result_json TEXT NOT NULL,
    error TEXT,
    started_at TEXT NOT NULL,
    finished_at TEXT NOT NULL,
    correlation_id TEXT
);
CREATE INDEX epilogue_runs_task ON epilogue_runs (task_id, step_name, id);

-- How far a session's record was taken into its task's transcript.
CREATE TABLE captures (
    id IDENTITY,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    binding_id TEXT REFERENCES bindings (id),
    session_id TEXT NOT NULL REFERENCES sessions (id),
    role TEXT NOT NULL CHECK (role IN ('worker', 'manager')),
    source TEXT NOT NULL,
    mode TEXT NOT NULL,
    last_event_id BIGINT NOT NULL,
    line_count BIGINT NOT NULL,
    content_sha256 TEXT NOT NULL,
    captured_at TEXT NOT NULL
);
CREATE INDEX captures_task ON captures (task_id, role, id);

-- What a capture added to the transcript.
CREATE TABLE transcript_segments (
    id IDENTITY,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    role TEXT NOT NULL CHECK (role IN ('worker', 'manager')),
    source_capture_id BIGINT NOT NULL REFERENCES captures (id),
    previous_capture_id BIGINT REFERENCES captures (id),
    segment_kind TEXT NOT NULL CHECK (segment_kind IN ('metadata', 'reset', 'segment')),
    line_count BIGINT NOT NULL,
    byte_count BIGINT NOT NULL,
    content_sha256 TEXT NOT NULL,
    segment_text TEXT,
    captured_at TEXT NOT NULL
);
CREATE INDEX transcript_segments_task ON transcript_segments (task_id, role, id);
