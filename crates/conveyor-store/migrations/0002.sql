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
