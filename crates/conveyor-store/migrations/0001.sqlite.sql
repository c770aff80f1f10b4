-- What SQLite needs to keep the audit chain append-only. REPLACE deletes without firing delete triggers, so each insert is
-- compared with the head: a number that was given out once is never taken again.

CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit_events is append-only'); END;

CREATE TRIGGER audit_events_no_delete BEFORE DELETE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit_events is append-only'); END;

CREATE TRIGGER audit_events_no_reuse BEFORE INSERT ON audit_events
WHEN NEW.seq IS NULL OR NEW.seq <= (SELECT seq FROM chain_head)
BEGIN SELECT RAISE(ABORT, 'audit_events is append-only'); END;

CREATE TRIGGER audit_payloads_no_update BEFORE UPDATE ON audit_payloads
BEGIN SELECT RAISE(ABORT, 'audit_payloads is never changed, only pruned'); END;

CREATE TRIGGER audit_payloads_no_reuse BEFORE INSERT ON audit_payloads
WHEN NEW.seq IS NULL OR NEW.seq <= (SELECT seq FROM chain_head)
BEGIN SELECT RAISE(ABORT, 'audit_payloads is never changed, only pruned'); END;

CREATE TRIGGER chain_head_no_delete BEFORE DELETE ON chain_head
BEGIN SELECT RAISE(ABORT, 'chain_head has one row'); END;

CREATE TRIGGER chain_head_no_insert BEFORE INSERT ON chain_head
BEGIN SELECT RAISE(ABORT, 'chain_head has one row'); END;

CREATE TRIGGER chain_head_moves_on BEFORE UPDATE ON chain_head
WHEN NEW.seq <= OLD.seq OR NEW.id <> OLD.id
BEGIN SELECT RAISE(ABORT, 'chain_head only moves on'); END;
