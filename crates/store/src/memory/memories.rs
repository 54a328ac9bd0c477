//! What agents remember, in the reference: no index, every search looks at every memory.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::memories::{Candidate, EVERY, Found, Memory, Postings, Search, shares};
use model::skills::Skill;
use model::working_memory::{Note, NotesOwner};
use uuid::Uuid;

use super::{ReferenceRows, Result};
use crate::engine::MemoryRows;

/// Memories, notes and skills.
#[derive(Default)]
pub struct Memories {
    memories: BTreeMap<i64, Memory>,
    /// Of each memory, by its number.
    fingerprints: BTreeMap<i64, String>,
    /// Of each memory, by its number.
    terms: BTreeMap<i64, BTreeMap<String, u32>>,
    notes: BTreeMap<NotesOwner, Vec<Note>>,
    skills: BTreeMap<String, Skill>,
}

impl Memories {
    fn find(&mut self, memory_id: Uuid) -> Option<&mut Memory> {
        self.memories.values_mut().find(|memory| memory.memory_id == memory_id)
    }

    /// See [`Store::search_memories`](crate::Store::search_memories).
    pub fn search(&self, search: &Search, instant: Timestamp) -> Found {
        Found {
            memories: self.occurrences(EVERY).len() as u32,
            words: self.postings(&search.words, search.limit),
            filters: self.postings(&search.filters, search.limit),
            instant,
        }
    }

    fn postings(&self, terms: &[String], limit: u32) -> Vec<Postings> {
        let mut all: Vec<Postings> = terms
            .iter()
            .map(|term| {
                let (seqs, weights): (Vec<i64>, Vec<u32>) = self.occurrences(term).into_iter().rev().unzip();
                Postings { term: term.clone(), memories: seqs.len() as u32, seqs, weights }
            })
            .filter(|postings| postings.memories > 0)
            .collect();
        all.sort_by(|a, b| (a.memories, &a.term).cmp(&(b.memories, &b.term)));
        let shares: Vec<u32> = shares(limit, all.iter().map(|postings| postings.memories)).collect();
        for (postings, share) in all.iter_mut().zip(shares) {
            postings.seqs.truncate(share as usize);
            postings.weights.truncate(share as usize);
        }
        all
    }

    fn occurrences(&self, term: &str) -> Vec<(i64, u32)> {
        self.terms.iter().filter_map(|(seq, terms)| Some((*seq, *terms.get(term)?))).collect()
    }

    /// See [`Store::memories`](crate::Store::memories).
    pub fn candidates(&self, seqs: &[i64], words: &[String]) -> Vec<Candidate> {
        let mut wanted: BTreeMap<i64, &Memory> = BTreeMap::new();
        for seq in seqs {
            let mut next = self.memories.get(seq);
            while let Some(memory) = next {
                wanted.insert(memory.seq, memory);
                next = self.memories.values().find(|other| Some(other.memory_id) == memory.superseded_by);
            }
        }
        let weight = |seq: i64, word: &String| self.terms.get(&seq).and_then(|terms| terms.get(word)).copied();
        let candidate = |memory: &Memory| Candidate {
            memory: memory.clone(),
            weights: words.iter().map(|word| weight(memory.seq, word).unwrap_or_default()).collect(),
        };
        wanted.into_values().map(candidate).collect()
    }

    /// See [`Store::notes`](crate::Store::notes).
    pub fn notes(&self, owner: &NotesOwner, key: Option<&str>) -> Vec<Note> {
        let notes = self.notes.get(owner).into_iter().flatten();
        let mut notes: Vec<Note> = notes.filter(|note| key.is_none_or(|key| note.key == key)).cloned().collect();
        notes.sort_by_key(|note| note.seq);
        notes
    }

    /// See [`Store::skills`](crate::Store::skills).
    pub fn skills(&self) -> Vec<Skill> {
        let mut skills: Vec<Skill> = self.skills.values().cloned().collect();
        skills.sort_by(|a, b| (b.last_used_at, &a.skill_name).cmp(&(a.last_used_at, &b.skill_name)));
        skills.truncate(1000);
        skills
    }
}

impl MemoryRows for ReferenceRows<'_> {
    fn memory(&mut self, memory_id: Uuid) -> Result<Option<Memory>> {
        Ok(self.memories.find(memory_id).cloned())
    }

    fn memory_like(&mut self, fingerprint: &str) -> Result<Option<Memory>> {
        let latest = self.memories.fingerprints.iter().rev().find(|(_, known)| *known == fingerprint);
        Ok(latest.and_then(|(seq, _)| self.memories.memories.get(seq)).cloned())
    }

    fn put_memory(&mut self, memory: &Memory, fingerprint: &str) -> Result<()> {
        self.memories.memories.insert(memory.seq, memory.clone());
        self.memories.fingerprints.insert(memory.seq, fingerprint.to_owned());
        Ok(())
    }

    fn supersede_memory(&mut self, memory_id: Uuid, by: Uuid) -> Result<()> {
        if let Some(memory) = self.memories.find(memory_id) {
            memory.superseded_by = Some(by);
        }
        Ok(())
    }

    fn use_memory(&mut self, memory_id: Uuid) -> Result<()> {
        if let Some(memory) = self.memories.find(memory_id) {
            memory.uses += 1;
        }
        Ok(())
    }

    fn index_memory(&mut self, seq: i64, terms: &BTreeMap<String, u32>) -> Result<u32> {
        let known = self.memories.terms.entry(seq).or_default();
        let before: u32 = known.values().sum();
        for (term, weight) in terms {
            let known = known.entry(term.clone()).or_default();
            *known = (*known).max(*weight);
        }
        Ok(known.values().sum::<u32>() - before)
    }

    fn notes(&mut self, owner: &NotesOwner) -> Result<Vec<Note>> {
        Ok(self.memories.notes(owner, None))
    }

    fn put_note(&mut self, owner: &NotesOwner, note: &Note) -> Result<()> {
        self.drop_note(owner, &note.key)?;
        self.memories.notes.entry(owner.clone()).or_default().push(note.clone());
        Ok(())
    }

    fn drop_note(&mut self, owner: &NotesOwner, key: &str) -> Result<()> {
        self.memories.notes.entry(owner.clone()).or_default().retain(|note| note.key != key);
        Ok(())
    }

    fn skill(&mut self, name: &str) -> Result<Option<Skill>> {
        Ok(self.memories.skills.get(name).cloned())
    }

    fn put_skill(&mut self, skill: &Skill) -> Result<()> {
        self.memories.skills.insert(skill.skill_name.clone(), skill.clone());
        Ok(())
    }
}
