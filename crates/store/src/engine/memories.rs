//! What agents remember: memories that last, notes for one session, and how well skills work.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::command::{Command, Outcome, Refusal};
use model::id::Caller;
use model::memories::{Memory, Remember, Source};
use model::skills::{RecordSkillUse, Skill};
use model::working_memory::{NOTES_LIMIT, Note, NotesOwner, UpdateWorkingMemory};
use uuid::Uuid;

use super::{Result, Rows};

/// What the rules of this file ask of a database.
pub trait MemoryRows {
    /// The memory.
    fn memory(&mut self, memory_id: Uuid) -> Result<Option<Memory>>;
    /// The latest memory of this fingerprint.
    fn memory_like(&mut self, fingerprint: &str) -> Result<Option<Memory>>;
    /// Inserts or replaces.
    fn put_memory(&mut self, memory: &Memory, fingerprint: &str) -> Result<()>;
    /// Says that the memory took the place of this one.
    fn supersede_memory(&mut self, memory_id: Uuid, by: Uuid) -> Result<()>;
    /// Counts a use of the memory.
    fn use_memory(&mut self, memory_id: Uuid) -> Result<()>;
    /// Makes the memory found by the terms too: of a term that it has already the larger weight stays. Answers by how much
    /// its weights have grown.
    fn index_memory(&mut self, seq: i64, terms: &BTreeMap<String, u32>) -> Result<u32>;

    /// The owner's notes, oldest first.
    fn notes(&mut self, owner: &NotesOwner) -> Result<Vec<Note>>;
    /// Inserts or replaces.
    fn put_note(&mut self, owner: &NotesOwner, note: &Note) -> Result<()>;
    /// Deletes, where there is one.
    fn drop_note(&mut self, owner: &NotesOwner, key: &str) -> Result<()>;

    /// The skill.
    fn skill(&mut self, name: &str) -> Result<Option<Skill>>;
    /// Inserts or replaces.
    fn put_skill(&mut self, skill: &Skill) -> Result<()>;
}

pub fn remember(rows: &mut impl Rows, now: Timestamp, command: &Command, request: &Remember) -> Result<Outcome> {
    let caller = &command.caller;
    let source = Source { id: command.id, session_id: caller.session_id.clone(), at: now };
    let twin = rows.memory_like(&request.fingerprint)?;
    let twin = twin.filter(|twin| twin.takes_in(now) && Some(twin.memory_id) != request.supersedes);
    if let Some(refusal) = missing(rows, request, twin.as_ref())? {
        return Ok(Outcome::Refused(refusal));
    }
    let merged = twin.is_some();
    let mut memory = match twin {
        Some(mut twin) => {
            twin.merge(request, source);
            twin
        }
        None => {
            let seq = rows.last_position() + 1;
            Memory::new(seq, caller.agent_id.clone(), caller.agent_type.clone(), request, source)
        }
    };
    memory.length += rows.index_memory(memory.seq, &request.terms)?;
    rows.put_memory(&memory, &request.fingerprint)?;
    for used in &request.used {
        rows.use_memory(*used)?;
    }
    if let Some(superseded) = request.supersedes {
        rows.supersede_memory(superseded, memory.memory_id)?;
    }
    Ok(Outcome::Remembered { memory_id: memory.memory_id, merged })
}

/// Are the memories there that the request names, and is the superseded one still the latest of its line?
fn missing(rows: &mut impl MemoryRows, request: &Remember, twin: Option<&Memory>) -> Result<Option<Refusal>> {
    for memory_id in &request.used {
        if rows.memory(*memory_id)?.is_none() {
            return Ok(Some(Refusal::MemoryNotFound { memory_id: *memory_id }));
        }
    }
    let Some(memory_id) = request.supersedes else { return Ok(None) };
    let Some(superseded) = rows.memory(memory_id)? else { return Ok(Some(Refusal::MemoryNotFound { memory_id })) };
    Ok(match superseded.superseded_by {
        // By its own twin: the request is a repetition.
        Some(by) if twin.is_none_or(|twin| twin.memory_id != by) => {
            Some(Refusal::MemorySuperseded { memory_id, superseded_by: by })
        }
        _ => None,
    })
}

/// Writes or forgets one of the caller's notes. Where there is no room, the oldest that is not pinned goes.
pub fn note(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &UpdateWorkingMemory) -> Result<Outcome> {
    let owner = NotesOwner { agent_id: caller.agent_id.clone(), session_id: caller.session_id.clone() };
    let mut notes = rows.notes(&owner)?;
    let earlier = notes.iter().position(|note| note.key == request.key).map(|at| notes.remove(at));
    let Some(value) = request.value.clone() else {
        rows.drop_note(&owner, &request.key)?;
        return Ok(Outcome::Noted { notes: notes.len() as u32, dropped: vec![] });
    };
    let mut dropped = vec![];
    if notes.len() >= NOTES_LIMIT {
        let Some(oldest) = notes.iter().position(|note| !note.pinned) else {
            return Ok(Outcome::Refused(Refusal::WorkingMemoryFull));
        };
        let oldest = notes.remove(oldest);
        rows.drop_note(&owner, &oldest.key)?;
        dropped.push(oldest.key);
    }
    let pinned = request.pinned.unwrap_or_else(|| earlier.is_some_and(|note| note.pinned));
    let seq = rows.last_position() + 1;
    rows.put_note(&owner, &Note { key: request.key.clone(), value, pinned, seq, updated_at: now })?;
    Ok(Outcome::Noted { notes: notes.len() as u32 + 1, dropped })
}

pub fn record_skill_use(rows: &mut impl MemoryRows, now: Timestamp, request: &RecordSkillUse) -> Result<Outcome> {
    let known = rows.skill(&request.skill_name)?;
    let mut skill = known.unwrap_or_else(|| Skill::new(request.skill_name.clone(), now));
    skill.count(request, now);
    rows.put_skill(&skill)?;
    let (uses, successes) = skill.total();
    Ok(Outcome::SkillUsed { uses, successes })
}
