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
