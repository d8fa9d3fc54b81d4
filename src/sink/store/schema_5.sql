CREATE TABLE intervals(
  grp INTEGER NOT NULL, level INTEGER NOT NULL, bucket INTEGER NOT NULL, PRIMARY KEY(grp, level, bucket)) WITHOUT ROWID;
CREATE TABLE document_hours(hour INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL);
INSERT INTO document_hours(hour, first, last)
  SELECT (time / 3600000000000 - (time % 3600000000000 < 0)) * 3600 AS begin, min(id), max(id) FROM documents GROUP BY begin;
DROP INDEX alerts_time;
DROP INDEX resources_time;
DROP INDEX documents_time;
