//! Documents: a text that comes again within the hour is stored, and its words are entered, once.
//!
//! Servers show the same certificate to every client, and a certificate as text has hundreds of words. Where a document has
//! the text of an earlier one of its group and hour, its column `text` holds the number of that row. Of the same hour, so
//! that the rows of an hour are all that a search for its documents has to look at.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use rusqlite::{Connection, OptionalExtension};

use super::lists::Entry;
use super::ordered::hour;
use crate::time::Timestamp;

/// The text of a row of `documents`, its own or that of the row it names.
pub(super) const TEXT: &str = "CASE typeof(documents.text) WHEN 'integer'
   THEN (SELECT same.text FROM documents same WHERE same.id = documents.text) ELSE documents.text END";

/// Texts that are remembered: 2 MiB.
const REMEMBERED: usize = 1 << 16;

/// The rows of texts that were written lately.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// By two hashes that nobody outside can foresee, which stand for group, hour and text.
    rows: HashMap<(u64, u64), i64, foldhash::fast::RandomState>,
    hashers: [RandomState; 2],
}

impl Texts {
    /// The row that has a text already; if there is none, row `id` has it from now on.
    pub(super) fn row_of(&mut self, group: i64, time: Timestamp, text: &[u8], id: i64) -> Option<i64> {
        let [one, other] = &self.hashers;
        let hour = hour(time);
        let hashes = (one.hash_one((group, hour, text)), other.hash_one((group, hour, text)));
        if let Some(row) = self.rows.get(&hashes) {
            return Some(*row);
        }
        if self.rows.len() >= REMEMBERED {
            self.rows.clear();
        }
        self.rows.insert(hashes, id);
        None
    }

    /// Rows are gone.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
    }
}

/// The number that the next document gets.
pub(super) fn next_row(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("SELECT ifnull(max(id), 0) + 1 FROM documents")?.query_row([], |row| row.get(0))
}

/// Deletes documents, of which time and number are given; returns how many there were. One whose text others have stays for
/// its text, in group 0, until the last of them is deleted.
pub(super) fn delete(db: &Connection, documents: &[Entry]) -> rusqlite::Result<usize> {
    let (mut deleted, mut own, mut named) = (0, Vec::new(), BTreeSet::new());
    let mut delete =
        db.prepare_cached("DELETE FROM documents WHERE id = ?1 AND typeof(text) = 'integer' RETURNING text")?;
    let mut unlist = db.prepare_cached("DELETE FROM same_texts WHERE text = ?1 AND time = ?2 AND id = ?3")?;
    for &(time, id) in documents {
        match delete.query_row([id], |row| row.get(0)).optional()? {
            Some(text) => {
                unlist.execute([text, time, id])?;
                named.insert(text);
                deleted += 1;
            }
            None => own.push(id),
        }
    }
    let is_named = "EXISTS(SELECT 1 FROM same_texts WHERE text = ?1)";
    let mut keep = db.prepare_cached(&format!("UPDATE documents SET grp = 0 WHERE id = ?1 AND {is_named}"))?;
    let mut delete = db.prepare_cached("DELETE FROM documents WHERE id = ?1")?;
    for id in own {
        deleted += match keep.execute([id])? {
            0 => delete.execute([id])?,
            kept => kept,
        };
    }
    let mut let_go =
        db.prepare_cached(&format!("DELETE FROM documents WHERE id = ?1 AND grp = 0 AND NOT {is_named}"))?;
    for text in named {
        let_go.execute([text])?;
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{REMEMBERED, TEXT, Texts, delete, next_row};
    use crate::sink::store::schema;
    use crate::time::Timestamp;

    #[test]
    fn a_text_is_known_within_its_hour_and_group_until_too_many_came() {
        let mut texts = Texts::default();
        let at = |secs| Timestamp::new(secs, 0);
        assert_eq!(texts.row_of(1, at(0), b"text", 7), None);
        assert_eq!(texts.row_of(1, at(3_599), b"text", 8), Some(7));
        assert_eq!(texts.row_of(2, at(0), b"text", 9), None);
        assert_eq!(texts.row_of(1, at(3_600), b"text", 10), None);
        assert_eq!(texts.row_of(1, at(0), b"texts", 11), None);
        for id in 0..REMEMBERED as i64 {
            texts.row_of(3, at(0), &id.to_le_bytes(), id);
        }
        assert_eq!(texts.row_of(1, at(0), b"text", 12), None);
        assert!(texts.rows.len() <= REMEMBERED);
        texts.forget();
        assert_eq!(texts.row_of(1, at(0), b"text", 13), None);
    }

    /// Documents 1 to 5, ten seconds apart: the second, third and fifth have the text of the first.
    fn file() -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        schema::migrate(&mut db).unwrap();
        for (id, text) in [(1, "'alpha'"), (2, "1"), (3, "1"), (4, "'1'"), (5, "1")] {
            let row = format!("INSERT INTO documents(id, run, time, grp, text) VALUES({id}, 1, {id}0, 1, {text})");
            db.execute(&row, []).unwrap();
        }
        db.execute_batch(
            "INSERT INTO same_texts(text, time, id) SELECT text, time, id FROM documents WHERE typeof(text) = 'integer';
             INSERT INTO documents_fts(rowid, text) SELECT id, text FROM documents WHERE typeof(text) = 'text';",
        )
        .unwrap();
        db
    }

    fn texts(db: &Connection) -> Vec<(i64, String)> {
        let sql = format!("SELECT id, {TEXT} FROM documents WHERE grp > 0 ORDER BY id");
        let mut select = db.prepare(&sql).unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    fn found(db: &Connection, word: &str) -> Vec<i64> {
        let mut select = db.prepare("SELECT rowid FROM documents_fts WHERE documents_fts MATCH ?1").unwrap();
        let rows = select.query_map([word], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_text_outlives_its_first_document_as_long_as_another_has_it() {
        let db = file();
        let of = |ids: &[i64]| -> Vec<(i64, String)> {
            ids.iter().map(|&id| (id, if id == 4 { "1" } else { "alpha" }.to_owned())).collect()
        };
        assert_eq!(texts(&db), of(&[1, 2, 3, 4, 5]));
        assert_eq!(delete(&db, &[(10, 1), (20, 2)]).unwrap(), 2);
        assert_eq!((texts(&db), found(&db, "alpha")), (of(&[3, 4, 5]), vec![1]));
        // One that is not there, and one that others do not need.
        assert_eq!(delete(&db, &[(20, 2), (50, 5)]).unwrap(), 1);
        assert_eq!((texts(&db), found(&db, "alpha")), (of(&[3, 4]), vec![1]));
        assert_eq!(delete(&db, &[(30, 3), (40, 4)]).unwrap(), 2);
        assert!(found(&db, "alpha").is_empty() && found(&db, "1").is_empty());
        db.execute_batch("INSERT INTO documents_fts(documents_fts) VALUES('integrity-check')").unwrap();
        assert_eq!(next_row(&db).unwrap(), 1);
        let left = "SELECT (SELECT count(*) FROM documents) + (SELECT count(*) FROM same_texts)";
        assert_eq!(db.query_row(left, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    }
}
