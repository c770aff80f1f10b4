-- A row that was seen and decided on: it stays until its cause is over, so that the same cause does not raise it again.
ALTER TABLE attention ADD COLUMN dismissed_at TEXT;
