DROP TRIGGER documents_delete;
CREATE TRIGGER documents_delete AFTER DELETE ON documents WHEN typeof(old.text) <> 'integer' BEGIN
  INSERT INTO documents_fts(documents_fts, rowid, text) VALUES('delete', old.id, old.text);
END;
CREATE TABLE same_texts(
  text INTEGER NOT NULL, time INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY(text, time, id)) WITHOUT ROWID;
