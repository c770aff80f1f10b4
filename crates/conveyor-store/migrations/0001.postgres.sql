-- What PostgreSQL needs to keep the audit chain append-only.

CREATE FUNCTION conveyor_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE FUNCTION conveyor_refuse_reuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq <= (SELECT seq FROM chain_head) THEN
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION conveyor_head_moves_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq <= OLD.seq OR NEW.id <> OLD.id THEN
        RAISE EXCEPTION 'chain_head only moves on' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION conveyor_refuse();
CREATE TRIGGER audit_events_no_delete BEFORE DELETE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION conveyor_refuse();
CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION conveyor_refuse();
CREATE TRIGGER audit_events_no_reuse BEFORE INSERT ON audit_events
    FOR EACH ROW EXECUTE FUNCTION conveyor_refuse_reuse();

CREATE TRIGGER audit_payloads_no_update BEFORE UPDATE ON audit_payloads
    FOR EACH STATEMENT EXECUTE FUNCTION conveyor_refuse();
CREATE TRIGGER audit_payloads_no_truncate BEFORE TRUNCATE ON audit_payloads
    FOR EACH STATEMENT EXECUTE FUNCTION conveyor_refuse();
CREATE TRIGGER audit_payloads_no_reuse BEFORE INSERT ON audit_payloads
    FOR EACH ROW EXECUTE FUNCTION conveyor_refuse_reuse();

CREATE TRIGGER chain_head_no_delete BEFORE DELETE ON chain_head
    FOR EACH STATEMENT EXECUTE FUNCTION conveyor_refuse();
CREATE TRIGGER chain_head_no_truncate BEFORE TRUNCATE ON chain_head
    FOR EACH STATEMENT EXECUTE FUNCTION conveyor_refuse();
CREATE TRIGGER chain_head_no_insert BEFORE INSERT ON chain_head
    FOR EACH STATEMENT EXECUTE FUNCTION conveyor_refuse();
CREATE TRIGGER chain_head_moves_on BEFORE UPDATE ON chain_head
    FOR EACH ROW EXECUTE FUNCTION conveyor_head_moves_on();
