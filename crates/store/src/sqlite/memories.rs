//! What agents remember, in SQLite: memories with their index of words, notes and skills.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::JsonText;
use model::id::{Project, SessionId};
use model::memories::{Candidate, EVERY, Effect, Found, Memory, Postings, Search, shares};
use model::skills::Skill;
use model::working_memory::{Note, NotesOwner};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use uuid::Uuid;

use super::read::all;
use super::records::{instant, json, json_column, micros, optional_word, uuid, word};
use super::rows::SqliteRows;
use super::{Result, failure};
use crate::engine::MemoryRows;

const MEMORY: &str = "memory_id, seq, agent_id, agent_type, event_type, summary, details, outcome, lessons, tags, uses, sources, \
                      superseded_by, length, created_at";

fn memory(row: &Row<'_>) -> rusqlite::Result<Memory> {
    Ok(Memory {
        memory_id: uuid(row, 0)?,
        seq: row.get(1)?,
        agent_id: word(row, 2)?,
        agent_type: row.get(3)?,
        event_type: word(row, 4)?,
        summary: row.get(5)?,
        details: json_column(row, 6)?,
        outcome: optional_word(row, 7)?,
        lessons: json_column(row, 8)?,
        tags: json_column(row, 9)?,
        uses: row.get(10)?,
        sources: json_column(row, 11)?,
        superseded_by: row.get::<_, Option<[u8; 16]>>(12)?.map(Uuid::from_bytes),
        length: row.get(13)?,
        created_at: instant(row, 14)?,
    })
}

const NOTE: &str = "key, value, pinned, seq, updated_at";

fn note(row: &Row<'_>) -> rusqlite::Result<Note> {
    Ok(Note {
        key: row.get(0)?,
        value: JsonText::from_trusted(row.get(1)?),
        pinned: row.get(2)?,
        seq: row.get(3)?,
        updated_at: instant(row, 4)?,
    })
}

const SKILL: &str = "skill_name, description, steps, tallies, last_used_at";

fn skill(row: &Row<'_>) -> rusqlite::Result<Skill> {
    Ok(Skill {
        skill_name: row.get(0)?,
        description: row.get(1)?,
        steps: json_column(row, 2)?,
        tallies: json_column(row, 3)?,
        last_used_at: instant(row, 4)?,
    })
}

/// The columns of `project`, `agent_id` and `session_id` in a key.
fn session(owner: &NotesOwner) -> &str {
    owner.session_id.as_ref().map_or("", SessionId::as_str)
}

/// What the index knows of the terms.
pub fn search(
    connection: &Connection,
    project: &Project,
    search: &Search,
    instant: Timestamp,
) -> rusqlite::Result<Found> {
    let every = terms(connection, project, &[EVERY.to_owned()])?;
    Ok(Found {
        memories: every.first().map_or(0, |term| term.memories),
        words: postings(connection, project, &search.words, search.limit)?,
        filters: postings(connection, project, &search.filters, search.limit)?,
        instant,
    })
}

struct Term {
    id: i64,
    term: String,
    memories: u32,
}

/// The terms that occur, rarest first.
fn terms(connection: &Connection, project: &Project, terms: &[String]) -> rusqlite::Result<Vec<Term>> {
    all(
        connection,
        "select id, term, memories from memory_terms
         where project = :project and term in (select value from json_each(:terms))
         order by memories, term",
        named_params! { ":project": project.as_str(), ":terms": json(terms) },
        |row| Ok(Term { id: row.get(0)?, term: row.get(1)?, memories: row.get(2)? }),
    )
}

fn postings(
    connection: &Connection,
    project: &Project,
    wanted: &[String],
    limit: u32,
) -> rusqlite::Result<Vec<Postings>> {
    let terms = terms(connection, project, wanted)?;
    let shares: Vec<u32> = shares(limit, terms.iter().map(|term| term.memories)).collect();
    let mut newest = connection
        .prepare_cached("select seq, weight from memory_postings where term_id = ? order by seq desc limit ?")?;
    let mut found = Vec::with_capacity(terms.len());
    for (term, share) in terms.into_iter().zip(shares) {
        let (mut seqs, mut weights) = (vec![], vec![]);
        let mut rows = newest.query(params![term.id, share])?;
        while let Some(row) = rows.next()? {
            seqs.push(row.get(0)?);
            weights.push(row.get(1)?);
        }
        found.push(Postings { term: term.term, memories: term.memories, seqs, weights });
    }
    Ok(found)
}

/// The memories of these numbers with all that superseded them, oldest first, and the weights of the words in each.
pub fn candidates(
    connection: &Connection,
    project: &Project,
    seqs: &[i64],
    words: &[String],
) -> rusqlite::Result<Vec<Candidate>> {
    let sql = format!(
        "with recursive wanted (number) as (
             select value from json_each(:seqs)
             union
             select newer.seq
             from wanted
             cross join memories as older on older.project = :project and older.seq = wanted.number
             cross join memories as newer on newer.project = :project and newer.memory_id = older.superseded_by
         )
         select {MEMORY} from memories where project = :project and seq in (select number from wanted) order by seq"
    );
    let params = named_params! { ":project": project.as_str(), ":seqs": json(seqs) };
    let memories = all(connection, &sql, params, memory)?;

    let ids: BTreeMap<String, i64> =
        terms(connection, project, words)?.into_iter().map(|term| (term.term, term.id)).collect();
    let mut weight = connection.prepare_cached("select weight from memory_postings where term_id = ? and seq = ?")?;
    let mut candidates = Vec::with_capacity(memories.len());
    for memory in memories {
        let mut weights = Vec::with_capacity(words.len());
        for word in words {
            let known = match ids.get(word) {
                Some(id) => weight.query_row(params![id, memory.seq], |row| row.get(0)).optional()?,
                None => None,
            };
            weights.push(known.unwrap_or_default());
        }
        candidates.push(Candidate { memory, weights });
    }
    Ok(candidates)
}

pub fn notes(
    connection: &Connection,
    project: &Project,
    owner: &NotesOwner,
    key: Option<&str>,
) -> rusqlite::Result<Vec<Note>> {
    let sql = format!(
        "select {NOTE} from notes
         where project = :project and agent_id = :agent and session_id = :session and (:key is null or key = :key)
         order by seq"
    );
    let params = named_params! {
        ":project": project.as_str(), ":agent": owner.agent_id.as_str(), ":session": session(owner), ":key": key,
    };
    all(connection, &sql, params, note)
}

pub fn skills(connection: &Connection, project: &Project) -> rusqlite::Result<Vec<Skill>> {
    let sql = format!(
        "select {SKILL} from skills where project = :project order by last_used_at desc, skill_name limit 1000"
    );
    all(connection, &sql, named_params! { ":project": project.as_str() }, skill)
}

impl SqliteRows<'_> {
    /// The number of a term, made where there is none.
    fn term_id(&self, term: &str) -> rusqlite::Result<i64> {
        let project = self.project.as_str();
        let mut find = self.connection.prepare_cached("select id from memory_terms where project = ? and term = ?")?;
        if let Some(id) = find.query_row(params![project, term], |row| row.get(0)).optional()? {
            return Ok(id);
        }
        self.connection
            .prepare_cached("insert into memory_terms (project, term, memories) values (?, ?, 0)")?
            .insert(params![project, term])
    }

    /// Puts the memory under the term. Answers by how much its weight there has grown.
    fn post(&self, term: &str, seq: i64, weight: u32) -> rusqlite::Result<u32> {
        let id = self.term_id(term)?;
        let mut find =
            self.connection.prepare_cached("select weight from memory_postings where term_id = ? and seq = ?")?;
        let before: Option<u32> = find.query_row(params![id, seq], |row| row.get(0)).optional()?;
        if before.is_some_and(|before| before >= weight) {
            return Ok(0);
        }
        self.connection
            .prepare_cached("insert or replace into memory_postings (term_id, seq, weight) values (?, ?, ?)")?
            .execute(params![id, seq, weight])?;
        if before.is_none() {
            self.connection
                .prepare_cached("update memory_terms set memories = memories + 1 where id = ?")?
                .execute([id])?;
        }
        Ok(weight - before.unwrap_or_default())
    }
}

impl MemoryRows for SqliteRows<'_> {
    fn memory(&mut self, memory_id: Uuid) -> Result<Option<Memory>> {
        let sql = format!("select {MEMORY} from memories where project = :project and memory_id = :id");
        let params = named_params! { ":project": self.project.as_str(), ":id": memory_id.as_bytes() };
        Ok(self.select(&sql, params, memory)?.into_iter().next())
    }

    fn memory_like(&mut self, fingerprint: &str) -> Result<Option<Memory>> {
        let sql = format!(
            "select {MEMORY} from memories where project = :project and fingerprint = :fingerprint
             order by seq desc limit 1"
        );
        let params = named_params! { ":project": self.project.as_str(), ":fingerprint": fingerprint };
        Ok(self.select(&sql, params, memory)?.into_iter().next())
    }

    fn put_memory(&mut self, memory: &Memory, fingerprint: &str) -> Result<()> {
        self.execute(
            "insert into memories (project, seq, memory_id, agent_id, agent_type, event_type, summary, details, outcome,
                 lessons, tags, uses, sources, superseded_by, length, fingerprint, created_at)
             values (:project, :seq, :memory_id, :agent_id, :agent_type, :event_type, :summary, :details, :outcome,
                 :lessons, :tags, :uses, :sources, :superseded_by, :length, :fingerprint, :created_at)
             on conflict (project, seq) do update
             set details = excluded.details, outcome = excluded.outcome, lessons = excluded.lessons,
                 tags = excluded.tags, uses = excluded.uses, sources = excluded.sources, length = excluded.length",
            named_params! {
                ":project": self.project.as_str(),
                ":seq": memory.seq,
                ":memory_id": memory.memory_id.as_bytes(),
                ":agent_id": memory.agent_id.as_str(),
                ":agent_type": memory.agent_type,
                ":event_type": memory.event_type.as_str(),
                ":summary": memory.summary,
                ":details": json(&memory.details),
                ":outcome": memory.outcome.map(Effect::as_str),
                ":lessons": json(&memory.lessons),
                ":tags": json(&memory.tags),
                ":uses": memory.uses,
                ":sources": json(&memory.sources),
                ":superseded_by": memory.superseded_by.map(Uuid::into_bytes),
                ":length": memory.length,
                ":fingerprint": fingerprint,
                ":created_at": micros(memory.created_at),
            },
        )
    }

    fn supersede_memory(&mut self, memory_id: Uuid, by: Uuid) -> Result<()> {
        self.execute(
            "update memories set superseded_by = :by where project = :project and memory_id = :id",
            named_params! {
                ":project": self.project.as_str(), ":id": memory_id.as_bytes(), ":by": by.as_bytes(),
            },
        )
    }

    fn use_memory(&mut self, memory_id: Uuid) -> Result<()> {
        self.execute(
            "update memories set uses = uses + 1 where project = :project and memory_id = :id",
            named_params! { ":project": self.project.as_str(), ":id": memory_id.as_bytes() },
        )
    }

    fn index_memory(&mut self, seq: i64, terms: &BTreeMap<String, u32>) -> Result<u32> {
        let each = terms.iter().map(|(term, weight)| self.post(term, seq, *weight).map_err(failure));
        each.sum()
    }

    fn notes(&mut self, owner: &NotesOwner) -> Result<Vec<Note>> {
        notes(self.connection, self.project, owner, None).map_err(failure)
    }

    fn put_note(&mut self, owner: &NotesOwner, note: &Note) -> Result<()> {
        self.execute(
            "insert or replace into notes (project, agent_id, session_id, key, value, pinned, seq, updated_at)
             values (:project, :agent, :session, :key, :value, :pinned, :seq, :updated_at)",
            named_params! {
                ":project": self.project.as_str(),
                ":agent": owner.agent_id.as_str(),
                ":session": session(owner),
                ":key": note.key,
                ":value": note.value.as_str(),
                ":pinned": note.pinned,
                ":seq": note.seq,
                ":updated_at": micros(note.updated_at),
            },
        )
    }

    fn drop_note(&mut self, owner: &NotesOwner, key: &str) -> Result<()> {
        self.execute(
            "delete from notes
             where project = :project and agent_id = :agent and session_id = :session and key = :key",
            named_params! {
                ":project": self.project.as_str(), ":agent": owner.agent_id.as_str(), ":session": session(owner),
                ":key": key,
            },
        )
    }

    fn skill(&mut self, name: &str) -> Result<Option<Skill>> {
        let sql = format!("select {SKILL} from skills where project = :project and skill_name = :name");
        let params = named_params! { ":project": self.project.as_str(), ":name": name };
        Ok(self.select(&sql, params, skill)?.into_iter().next())
    }

    fn put_skill(&mut self, skill: &Skill) -> Result<()> {
        self.execute(
            "insert or replace into skills (project, skill_name, description, steps, tallies, last_used_at)
             values (:project, :skill_name, :description, :steps, :tallies, :last_used_at)",
            named_params! {
                ":project": self.project.as_str(),
                ":skill_name": skill.skill_name,
                ":description": skill.description,
                ":steps": json(&skill.steps),
                ":tallies": json(&skill.tallies),
                ":last_used_at": micros(skill.last_used_at),
            },
        )
    }
}
