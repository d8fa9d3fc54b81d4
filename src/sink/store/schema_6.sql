CREATE TABLE lists(
  id INTEGER PRIMARY KEY, list INTEGER NOT NULL, grp INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  newest INTEGER NOT NULL, entries BLOB NOT NULL);
CREATE INDEX lists_last ON lists(list, grp, last, first);
CREATE INDEX lists_newest ON lists(newest) WHERE list = 2;
ALTER TABLE flow_attributes RENAME COLUMN hour TO part;
CREATE TABLE attribute_parts(part INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE INDEX attribute_parts_last ON attribute_parts(last, first);
INSERT INTO attribute_parts(part, first, last)
  SELECT DISTINCT part, part * 1000000000, (part + 3600) * 1000000000 - 1 FROM flow_attributes;
