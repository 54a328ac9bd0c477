//! The test set: questions of developers and the memories that answer them, both written by hand before anything was
//! measured. The code base they are about does not exist.
//!
//! A question is in the half to tune on or in the half to report by the hash of its id, whoever runs it and whatever is
//! added.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use model::command::Command;
use model::memories::{Effect, EventType, Remember, canonical_tags};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::harness::{BEGINNING, agent, command, found_by_its_words};

/// A memory of the set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its name.
    pub id: String,
    /// See [`Remember`].
    pub event_type: EventType,
    /// See [`Remember`].
    pub summary: String,
    /// See [`Remember`].
    #[serde(default)]
    pub details: Option<String>,
    /// See [`Remember`].
    #[serde(default)]
    pub outcome: Option<Effect>,
    /// See [`Remember`].
    #[serde(default)]
    pub lessons: Vec<String>,
    /// See [`Remember`].
    #[serde(default)]
    pub tags: Vec<String>,
    /// How old it is when the questions are asked.
    pub age_days: f64,
    /// The name of the memory whose place it took.
    #[serde(default)]
    pub supersedes: Option<String>,
}

/// A question of the set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Its name.
    pub id: String,
    /// What is asked.
    pub question: String,
    /// What kind of question it is.
    pub kind: String,
    /// The names of the memories that answer it.
    pub relevant: Vec<String>,
    /// Tags asked for.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// The two halves of the questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Looked at while the ranking is worked on.
    Tuning,
    /// Looked at to say how good it is.
    Reporting,
}

impl Asked {
    /// The half it belongs to.
    pub fn half(&self) -> Half {
        if Sha256::digest(&self.id)[0].is_multiple_of(2) { Half::Tuning } else { Half::Reporting }
    }
}

fn lines<'a, T: Deserialize<'a>>(text: &'a str) -> Vec<T> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// The memories, oldest first.
pub fn memories() -> Vec<Item> {
    let mut items: Vec<Item> = lines(include_str!("memories.jsonl"));
    items.sort_by(|a, b| b.age_days.total_cmp(&a.age_days).then_with(|| a.id.cmp(&b.id)));
    items
}

/// The questions of a half.
pub fn questions(half: Half) -> Vec<Asked> {
    let mut all: Vec<Asked> = lines(include_str!("questions.jsonl"));
    all.retain(|asked| asked.half() == half);
    all
}

/// When the questions are asked.
pub fn present() -> Timestamp {
    Timestamp::from_microsecond(BEGINNING).unwrap() + SignedDuration::from_hours(24 * 500)
}

impl Item {
    /// When it was stored.
    pub fn stored_at(&self) -> Timestamp {
        present() - SignedDuration::from_secs_f64(self.age_days * 86_400.0)
    }

    /// How it is stored. `ids` are those of the memories stored so far.
    pub fn command(&self, ids: &mut HashMap<String, Uuid>) -> Command {
        let memory_id = Uuid::now_v7();
        let memory = Remember {
            memory_id,
            event_type: self.event_type,
            summary: self.summary.clone(),
            details: self.details.iter().cloned().collect(),
            outcome: self.outcome,
            lessons: self.lessons.clone(),
            tags: canonical_tags(&self.tags),
            supersedes: self.supersedes.as_ref().map(|older| ids[older]),
            used: vec![],
            fingerprint: self.id.clone(),
            terms: Default::default(),
        };
        ids.insert(self.id.clone(), memory_id);
        command(&agent("ann"), found_by_its_words(memory))
    }
}
