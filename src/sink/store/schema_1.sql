CREATE TABLE groups(
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, guid TEXT NOT NULL, name NOT NULL, description NOT NULL,
  bucketsize INTEGER NOT NULL, resolver TEXT, UNIQUE(kind, guid));
CREATE TABLE meters(
  grp INTEGER NOT NULL, id INTEGER NOT NULL, vartype INTEGER NOT NULL, name NOT NULL, units NOT NULL,
  PRIMARY KEY(grp, id)) WITHOUT ROWID;
CREATE TABLE keys(id INTEGER PRIMARY KEY, key NOT NULL UNIQUE);
CREATE TABLE rolled(
  grp INTEGER NOT NULL, level INTEGER NOT NULL, bucket INTEGER NOT NULL, PRIMARY KEY(grp, level, bucket)) WITHOUT ROWID;
CREATE TABLE toppers(
  grp INTEGER NOT NULL, meter INTEGER NOT NULL, bucket INTEGER NOT NULL, key INTEGER NOT NULL, value REAL NOT NULL,
  PRIMARY KEY(grp, meter, bucket, key)) WITHOUT ROWID;
CREATE TABLE flows(
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, flow NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
  bytes INTEGER NOT NULL, az_bytes INTEGER NOT NULL, za_bytes INTEGER NOT NULL, az_packets INTEGER NOT NULL,
  za_packets INTEGER NOT NULL, az_payload INTEGER NOT NULL, za_payload INTEGER NOT NULL, state INTEGER NOT NULL, tags,
  setup_rtt INTEGER NOT NULL, retrans INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE INDEX flows_start ON flows(start);
CREATE INDEX flows_bytes ON flows(bytes);
CREATE TABLE alerts(
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, time INTEGER NOT NULL, grp INTEGER NOT NULL, flow, sigid NOT NULL,
  priority REAL NOT NULL, message NOT NULL, classification NOT NULL, status NOT NULL, kind TEXT NOT NULL, extra);
CREATE INDEX alerts_time ON alerts(time);
CREATE INDEX alerts_group ON alerts(grp, time);
CREATE TABLE resources(
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, time INTEGER NOT NULL, grp INTEGER NOT NULL, flow, uri NOT NULL,
  label NOT NULL);
CREATE INDEX resources_time ON resources(time);
CREATE INDEX resources_group ON resources(grp, time);
CREATE TABLE documents(
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, time INTEGER NOT NULL, grp INTEGER NOT NULL, flow, text NOT NULL);
CREATE INDEX documents_time ON documents(time);
CREATE INDEX documents_group ON documents(grp, time);
CREATE VIRTUAL TABLE documents_fts USING fts5(text, content='documents', content_rowid='id');
CREATE TRIGGER documents_insert AFTER INSERT ON documents BEGIN
  INSERT INTO documents_fts(rowid, text) VALUES(new.id, new.text);
END;
CREATE TRIGGER documents_delete AFTER DELETE ON documents BEGIN
  INSERT INTO documents_fts(documents_fts, rowid, text) VALUES('delete', old.id, old.text);
END;
CREATE TABLE edges(
  from_grp INTEGER NOT NULL, from_key NOT NULL, hour INTEGER NOT NULL, to_grp INTEGER NOT NULL, to_key NOT NULL,
  PRIMARY KEY(from_grp, from_key, hour, to_grp, to_key)) WITHOUT ROWID;
CREATE INDEX edges_hour ON edges(hour);
CREATE TABLE labels(
  grp INTEGER NOT NULL, key NOT NULL, label NOT NULL, description NOT NULL, PRIMARY KEY(grp, key)) WITHOUT ROWID;
CREATE TABLE attributes(
  grp INTEGER NOT NULL, key NOT NULL, name NOT NULL, value NOT NULL, PRIMARY KEY(grp, key, name)) WITHOUT ROWID;
CREATE TABLE runs(
  id INTEGER PRIMARY KEY, state TEXT NOT NULL, started INTEGER, inputs NOT NULL, first INTEGER, last INTEGER,
  packets INTEGER, bytes INTEGER, rows INTEGER NOT NULL, lost INTEGER NOT NULL);
CREATE TABLE windows(
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, state TEXT NOT NULL, begin INTEGER, end INTEGER, rows INTEGER NOT NULL);
CREATE INDEX windows_run ON windows(run);
CREATE TABLE jobs(
  run INTEGER NOT NULL, plugin NOT NULL, scheduled INTEGER NOT NULL, done INTEGER NOT NULL, failed INTEGER NOT NULL,
  timed_out INTEGER NOT NULL, cancelled INTEGER NOT NULL, dropped INTEGER NOT NULL, PRIMARY KEY(run, plugin)) WITHOUT ROWID;
