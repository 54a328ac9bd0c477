//! What one gets without any of our ranking, from the same memories.

use rusqlite::Connection;

use super::{ANSWER, set};
use crate::retrieval::set::{Asked, Item};

/// SQLite's own full text search, with its own BM25 and its Porter stemmer, over all that a memory says.
pub struct FullText(Connection);

impl FullText {
    pub fn new() -> Self {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("create virtual table plain using fts5 (id unindexed, said, tokenize = 'porter')")
            .unwrap();
        for item in set::memories() {
            let Item { id, summary, details, lessons, tags, .. } = item;
            let said = [vec![summary], details.into_iter().collect(), lessons, tags].concat().join("\n");
            connection.execute("insert into plain (id, said) values (?, ?)", (id, said)).unwrap();
        }
        Self(connection)
    }

    pub fn answer(&self, asked: &Asked) -> Vec<String> {
        let words = asked.question.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let any: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
        let mut statement =
            self.0.prepare("select id from plain where plain match ? order by rank, rowid limit ?").unwrap();
        let rows = statement.query_map((any.join(" OR "), ANSWER as i64), |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

/// The newest memories, whatever is asked, but for the tags asked for.
pub struct Recency(Vec<Item>);

impl Recency {
    pub fn new() -> Self {
        Self(set::memories())
    }

    pub fn answer(&self, asked: &Asked) -> Vec<String> {
        let fits = |item: &&Item| asked.tags.is_empty() || asked.tags.iter().any(|tag| item.tags.contains(tag));
        self.0.iter().rev().filter(fits).take(ANSWER).map(|item| item.id.clone()).collect()
    }
}
