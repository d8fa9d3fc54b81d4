ALTER TABLE toppers RENAME TO toppers_7;
CREATE TABLE toppers(
  grp INTEGER NOT NULL, meter INTEGER NOT NULL, bucket INTEGER NOT NULL, side INTEGER NOT NULL, key INTEGER NOT NULL,
  value REAL NOT NULL, error REAL, PRIMARY KEY(grp, meter, bucket, side, key)) WITHOUT ROWID;
INSERT INTO toppers(grp, meter, bucket, side, key, value) SELECT grp, meter, bucket, 1, key, value FROM toppers_7;
DROP TABLE toppers_7;
