CREATE TABLE losses(
  run INTEGER NOT NULL, reason TEXT NOT NULL, rows INTEGER NOT NULL, PRIMARY KEY(run, reason)) WITHOUT ROWID;
INSERT INTO losses(run, reason, rows) SELECT id, 'store_failed', lost FROM runs WHERE lost > 0;
