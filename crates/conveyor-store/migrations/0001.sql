-- Version 1, the part that both engines share. Three words are translated for each engine (see src/schema.rs):
-- IDENTITY is the integer primary key, TEXT sorts by bytes, BIGINT holds integers and truth values (0, 1).
-- A column whose name ends in _json holds JSON as text; one that ends in _at holds an RFC 3339 time of fixed width.

CREATE TABLE conveyor_schema (
    version BIGINT NOT NULL,
    applied_at TEXT NOT NULL
);

-- The last link of the audit chain. Each transaction that writes locks this row before anything else.
CREATE TABLE chain_head (
    id IDENTITY CHECK (id = 1),
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL
);

-- Small numbers that are never used again.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE audit_events (
    seq IDENTITY,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    sentence TEXT NOT NULL,
    task_id TEXT,
    session_id TEXT,
    binding_id TEXT,
    delivery_id TEXT,
    correlation_id TEXT,
    payload_digest TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit_events_task ON audit_events (task_id, seq) WHERE task_id IS NOT NULL;
CREATE INDEX audit_events_session ON audit_events (session_id, seq) WHERE session_id IS NOT NULL;
CREATE INDEX audit_events_delivery ON audit_events (delivery_id, seq) WHERE delivery_id IS NOT NULL;
CREATE INDEX audit_events_correlation ON audit_events (correlation_id, seq) WHERE correlation_id IS NOT NULL;
CREATE INDEX audit_events_kind ON audit_events (kind, seq);

-- Beside the chain, so that it can be pruned.
CREATE TABLE audit_payloads (
    seq IDENTITY REFERENCES audit_events (seq),
    payload_json TEXT NOT NULL
);

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('worker', 'manager')),
    host TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'gone')),
    pid BIGINT,
    pid_start_ticks BIGINT,
    codex_home TEXT,
    cwd TEXT NOT NULL,
    tmux_pin_json TEXT,
    tmux_session TEXT,
    tmux_pane_id TEXT,
    owner_kind TEXT NOT NULL CHECK (owner_kind IN ('embedded', 'daemon', 'unknown')),
    started_by_conveyor BIGINT NOT NULL,
    identity_token TEXT NOT NULL UNIQUE,
    registered_at TEXT NOT NULL,
    last_heartbeat_at TEXT,
    gone_at TEXT,
    codex_app_thread_id TEXT,
    codex_app_thread_title TEXT,
    paused_at TEXT,
    taken_over_at TEXT
);
CREATE UNIQUE INDEX sessions_active_name ON sessions (name) WHERE state = 'active';
CREATE INDEX sessions_name ON sessions (name, number);

CREATE TABLE session_threads (
    number IDENTITY,
    session_id TEXT NOT NULL REFERENCES sessions (id),
    thread_id TEXT NOT NULL,
    rollout_path TEXT,
    proof TEXT NOT NULL,
    since_at TEXT NOT NULL,
    until_at TEXT
);
CREATE UNIQUE INDEX session_threads_current ON session_threads (thread_id) WHERE until_at IS NULL;
CREATE INDEX session_threads_session ON session_threads (session_id, number);
CREATE INDEX session_threads_thread ON session_threads (thread_id, number);

CREATE TABLE follows (
    thread_id TEXT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    device BIGINT NOT NULL,
    inode BIGINT NOT NULL,
    position BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    last_ordinal BIGINT,
    last_at TEXT,
    counters_json TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

-- session_number and follow_number name rows of sessions and follows. They are no foreign keys: only one function writes
-- them, and two look-ups a line would cost a quarter of the ingest's speed.
CREATE TABLE events (
    id IDENTITY,
    session_number BIGINT NOT NULL,
    follow_number BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    byte_offset BIGINT NOT NULL,
    byte_len BIGINT NOT NULL,
    ordinal BIGINT,
    at TEXT NOT NULL,
    at_original TEXT,
    record_type TEXT NOT NULL,
    subtype TEXT,
    subtype_alias TEXT,
    turn_id TEXT,
    call_id TEXT,
    text TEXT,
    text_cut BIGINT NOT NULL,
    seq BIGINT NOT NULL
);
CREATE UNIQUE INDEX events_place ON events (follow_number, generation, byte_offset);
CREATE INDEX events_session ON events (session_number, id);

CREATE TABLE turns (
    session_id TEXT NOT NULL PRIMARY KEY REFERENCES sessions (id),
    state TEXT NOT NULL,
    turn_json TEXT NOT NULL,
    observed_event_id BIGINT,
    changed_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE tasks (
    id TEXT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    goal TEXT NOT NULL,
    summary TEXT,
    state TEXT NOT NULL CHECK (state IN ('candidate', 'managed', 'paused', 'done', 'failed', 'stopped')),
    outcome TEXT,
    reason TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    finished_at TEXT
);
CREATE UNIQUE INDEX tasks_unfinished_name ON tasks (name) WHERE state IN ('candidate', 'managed', 'paused');
CREATE INDEX tasks_name ON tasks (name, number);

CREATE TABLE bindings (
    id TEXT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    worker_session_id TEXT NOT NULL REFERENCES sessions (id),
    manager_session_id TEXT NOT NULL REFERENCES sessions (id),
    state TEXT NOT NULL CHECK (state IN ('active', 'ended', 'invalid')),
    start_event_id BIGINT,
    start_thread_id TEXT,
    start_offset BIGINT,
    start_turn_id TEXT,
    created_at TEXT NOT NULL,
    ended_at TEXT
);
CREATE UNIQUE INDEX bindings_active_task ON bindings (task_id) WHERE state = 'active';
CREATE UNIQUE INDEX bindings_active_worker ON bindings (worker_session_id) WHERE state = 'active';
CREATE INDEX bindings_active_manager ON bindings (manager_session_id, number) WHERE state = 'active';
CREATE INDEX bindings_task ON bindings (task_id, number);

CREATE TABLE deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL UNIQUE,
    number BIGINT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    transport TEXT NOT NULL,
    task_id TEXT REFERENCES tasks (id),
    binding_id TEXT REFERENCES bindings (id),
    source_session_id TEXT REFERENCES sessions (id),
    target_session_id TEXT REFERENCES sessions (id),
    host TEXT NOT NULL,
    body TEXT NOT NULL,
    wire_digest TEXT,
    token TEXT NOT NULL UNIQUE,
    payload_json TEXT NOT NULL,
    result_json TEXT,
    state TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    leased_by TEXT,
    leased_until TEXT,
    attempts BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    available_at TEXT NOT NULL,
    expires_at TEXT,
    correlation_id TEXT NOT NULL,
    idempotency_key TEXT UNIQUE,
    content_digest TEXT NOT NULL,
    dedupe_key TEXT UNIQUE,
    required_permission TEXT,
    error TEXT,
    error_kind TEXT,
    retry TEXT,
    effect_pin_json TEXT,
    effect_thread_id TEXT,
    effect_rollout TEXT,
    effect_offset BIGINT,
    effect_at TEXT,
    submitted_at TEXT,
    recorded_at TEXT,
    recorded_event_id BIGINT,
    recorded_turn_id TEXT,
    altered BIGINT NOT NULL,
    answered_at TEXT,
    looks BIGINT NOT NULL,
    first_look_at TEXT,
    last_look_at TEXT,
    inbox_at TEXT,
    offered_to TEXT,
    offered_until TEXT,
    offers BIGINT NOT NULL,
    consumed_at TEXT,
    consumed_by TEXT,
    consumed_how TEXT,
    consumed_cycle BIGINT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
-- The working set: these indexes hold only what is unsettled, so a look-up costs the same after a million deliveries.
-- There is no index over all deliveries of a target or of a state: SQLite would take it instead of these.
CREATE INDEX deliveries_open_target ON deliveries (target_session_id, seq)
    WHERE state IN ('pending', 'leased', 'effect_started', 'submitted');
CREATE INDEX deliveries_open_host ON deliveries (host, seq)
    WHERE state IN ('pending', 'leased', 'effect_started', 'submitted');
CREATE INDEX deliveries_inbox ON deliveries (target_session_id, seq)
    WHERE inbox_at IS NOT NULL AND consumed_at IS NULL;
CREATE INDEX deliveries_recorded ON deliveries (target_session_id, seq) WHERE state = 'recorded';
CREATE INDEX deliveries_unproved ON deliveries (target_session_id, seq) WHERE state IN ('unproved', 'blocked');
CREATE INDEX deliveries_task ON deliveries (task_id, seq);

CREATE TABLE delivery_attempts (
    id IDENTITY,
    delivery_id TEXT NOT NULL REFERENCES deliveries (id),
    epoch BIGINT NOT NULL,
    dispatcher TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'abandoned', 'blocked')),
    started_at TEXT NOT NULL,
    finished_at TEXT,
    side_effect_started BIGINT NOT NULL,
    side_effect_completed BIGINT NOT NULL,
    error TEXT,
    result_json TEXT
);
CREATE UNIQUE INDEX delivery_attempts_epoch ON delivery_attempts (delivery_id, epoch);

CREATE TABLE interrupts (
    session_id TEXT NOT NULL REFERENCES sessions (id),
    turn_id TEXT NOT NULL,
    delivery_id TEXT,
    at TEXT NOT NULL,
    PRIMARY KEY (session_id, turn_id)
);

CREATE TABLE attention (
    id IDENTITY,
    kind TEXT NOT NULL,
    session_id TEXT REFERENCES sessions (id),
    task_id TEXT REFERENCES tasks (id),
    delivery_id TEXT REFERENCES deliveries (id),
    subject TEXT NOT NULL,
    message TEXT NOT NULL,
    evidence_json TEXT NOT NULL,
    since_at TEXT NOT NULL,
    cleared_at TEXT
);
CREATE UNIQUE INDEX attention_open ON attention (subject, kind) WHERE cleared_at IS NULL;
CREATE INDEX attention_uncleared ON attention (cleared_at, id) WHERE cleared_at IS NULL;
CREATE INDEX attention_session ON attention (session_id, id) WHERE cleared_at IS NULL;
CREATE INDEX attention_task ON attention (task_id, id) WHERE cleared_at IS NULL;

CREATE TABLE divergences (
    id IDENTITY,
    session_id TEXT NOT NULL REFERENCES sessions (id),
    task_id TEXT REFERENCES tasks (id),
    rollout_says TEXT NOT NULL,
    pane_says TEXT NOT NULL,
    evidence_json TEXT NOT NULL,
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    count BIGINT NOT NULL
);
CREATE INDEX divergences_session ON divergences (session_id, id);
CREATE INDEX divergences_task ON divergences (task_id, id);

CREATE TABLE cycles (
    id IDENTITY,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    binding_id TEXT REFERENCES bindings (id),
    state TEXT NOT NULL CHECK (state IN ('started', 'succeeded', 'failed')),
    started_at TEXT NOT NULL,
    completed_at TEXT,
    pane_pattern TEXT,
    status_json TEXT,
    error TEXT
);
CREATE INDEX cycles_task ON cycles (task_id, id);
CREATE INDEX cycles_pattern ON cycles (task_id, id) WHERE pane_pattern IS NOT NULL;

CREATE TABLE cycle_spans (
    id IDENTITY,
    cycle_id BIGINT NOT NULL REFERENCES cycles (id),
    task_id TEXT NOT NULL REFERENCES tasks (id),
    phase TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('succeeded', 'failed', 'degraded')),
    started_at TEXT NOT NULL,
    completed_at TEXT NOT NULL,
    duration_ms DOUBLE PRECISION NOT NULL,
    attributes_json TEXT NOT NULL,
    error TEXT,
    decision_id BIGINT,
    delivery_id TEXT
);
CREATE INDEX cycle_spans_cycle ON cycle_spans (cycle_id, id);
CREATE INDEX cycle_spans_task ON cycle_spans (task_id, id);

CREATE TABLE manager_configs (
    task_id TEXT NOT NULL PRIMARY KEY REFERENCES tasks (id),
    supervision_mode TEXT NOT NULL CHECK (supervision_mode IN ('light', 'guided', 'strict')),
    objective TEXT,
    guidelines_json TEXT NOT NULL,
    acceptance_criteria_json TEXT NOT NULL,
    reference_paths_json TEXT NOT NULL,
    permissions_json TEXT NOT NULL,
    tools_json TEXT NOT NULL,
    epilogues_json TEXT NOT NULL,
    nudge_on_completion TEXT NOT NULL
        CHECK (nudge_on_completion IN ('off', 'ask-operator', 'auto-review', 'auto-proceed')),
    require_acks BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE criteria (
    id IDENTITY,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    criterion TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('proposed', 'accepted', 'satisfied', 'deferred', 'rejected')),
    source TEXT NOT NULL
        CHECK (source IN ('user_requested', 'manager_inferred', 'worker_proposed', 'final_audit')),
    proof TEXT,
    rationale TEXT,
    evidence_json TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX criteria_task ON criteria (task_id, status, id);

CREATE TABLE acknowledgements (
    id IDENTITY,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    binding_id TEXT REFERENCES bindings (id),
    role TEXT NOT NULL CHECK (role IN ('worker', 'manager')),
    payload_json TEXT NOT NULL,
    revision BIGINT NOT NULL,
    manager_config_revision BIGINT,
    correlation_id TEXT,
    created_at TEXT NOT NULL
);
CREATE UNIQUE INDEX acknowledgements_revision ON acknowledgements (task_id, role, revision);

CREATE TABLE handoffs (
    id IDENTITY,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    worker_session_id TEXT REFERENCES sessions (id),
    summary TEXT NOT NULL,
    next_steps_json TEXT NOT NULL,
    payload_json TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX handoffs_task ON handoffs (task_id, id);

CREATE TABLE decisions (
    id IDENTITY,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    manager_session_id TEXT REFERENCES sessions (id),
    cycle_id BIGINT REFERENCES cycles (id),
    decision TEXT NOT NULL CHECK (decision IN ('wait', 'nudge', 'interrupt', 'escalate', 'stop', 'inspect')),
    reason TEXT NOT NULL,
    payload_json TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX decisions_task ON decisions (task_id, id);

CREATE TABLE runs (
    id TEXT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    task_id TEXT NOT NULL REFERENCES tasks (id),
    name TEXT NOT NULL,
    purpose TEXT,
    status TEXT NOT NULL CHECK (status IN ('active', 'finished', 'failed', 'abandoned')),
    metadata_json TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT
);
CREATE UNIQUE INDEX runs_active_task ON runs (task_id) WHERE status = 'active';
CREATE INDEX runs_task ON runs (task_id, number);

CREATE TABLE telemetry (
    number IDENTITY,
    id TEXT NOT NULL UNIQUE,
    run_id TEXT,
    task_id TEXT,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    event_type TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('debug', 'info', 'warning', 'error')),
    summary TEXT NOT NULL,
    correlation_json TEXT NOT NULL,
    attributes_json TEXT NOT NULL
);
CREATE INDEX telemetry_task ON telemetry (task_id, number);
CREATE INDEX telemetry_run ON telemetry (run_id, number);
CREATE INDEX telemetry_type ON telemetry (event_type, number);

CREATE TABLE dispatchers (
    id TEXT NOT NULL PRIMARY KEY,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    started_at TEXT NOT NULL,
    heartbeat_at TEXT NOT NULL,
    log_path TEXT,
    binding_id TEXT,
    stop_requested_at TEXT,
    stopped_at TEXT
);

INSERT INTO chain_head (id, seq, hash)
    VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');
