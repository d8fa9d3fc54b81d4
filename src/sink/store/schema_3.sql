CREATE TABLE flow_attributes(
  hour INTEGER NOT NULL, flow NOT NULL, name NOT NULL, value NOT NULL, time INTEGER NOT NULL,
  PRIMARY KEY(hour, flow, name, value)) WITHOUT ROWID;
CREATE TABLE open_flows(
  flow NOT NULL, start INTEGER NOT NULL, run INTEGER NOT NULL, end INTEGER NOT NULL, bytes INTEGER NOT NULL,
  az_bytes INTEGER NOT NULL, za_bytes INTEGER NOT NULL, az_packets INTEGER NOT NULL, za_packets INTEGER NOT NULL,
  az_payload INTEGER NOT NULL, za_payload INTEGER NOT NULL, state INTEGER NOT NULL, tags, setup_rtt INTEGER NOT NULL,
  retrans INTEGER NOT NULL, PRIMARY KEY(flow, start)) WITHOUT ROWID;
CREATE TABLE tracked(
  tracker NOT NULL, bucket INTEGER NOT NULL, rank INTEGER NOT NULL, size INTEGER NOT NULL, flow NOT NULL,
  metric REAL NOT NULL, PRIMARY KEY(tracker, bucket, rank)) WITHOUT ROWID;
CREATE TABLE job_ends(
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL, time INTEGER NOT NULL, plugin NOT NULL, job TEXT NOT NULL,
  kind TEXT NOT NULL, function TEXT NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL);
CREATE TABLE flow_sizes(bytes INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY(bytes, id)) WITHOUT ROWID;
INSERT INTO flow_sizes(bytes, id) SELECT bytes, id FROM flows ORDER BY bytes, id;
DROP INDEX flows_bytes;
DROP TRIGGER documents_insert;
INSERT INTO documents_fts(documents_fts, rank) VALUES('hashsize', 16777216);
INSERT INTO documents_fts(documents_fts, rank) VALUES('automerge', 8);
