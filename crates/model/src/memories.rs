//! Memories: what agents learnt, kept for whoever meets the same thing again.
//!
//! A memory is never changed into another: what turned out different is stored as a new memory that supersedes the old one.
//! Only a repetition (the same agent, event type and summary within [`MERGE_MINUTES`]) is merged into what is there.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{AgentId, SessionId};
use crate::text::words;

/// For how long after a memory was stored a repetition is merged into it.
pub const MERGE_MINUTES: i64 = 60;
/// The most tags, lessons, details and sources that merging heaps up in one memory: the first ones stay.
pub const UNITED_LIMIT: usize = 50;
/// The most different words by which one memory is found.
const TERMS_LIMIT: usize = 600;

/// The term that every memory is found by.
pub const EVERY: &str = "*";

/// What a memory is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// Something went wrong.
    Error,
    /// Something worked.
    Success,
    /// Something was settled.
    Decision,
    /// Something was found out.
    Discovery,
    /// Something was made better.
    Optimization,
}

impl EventType {
    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Success => "success",
            Self::Decision => "decision",
            Self::Discovery => "discovery",
            Self::Optimization => "optimization",
        }
    }

    /// The term that memories of this type are found by. No word begins like that.
    pub fn term(self) -> String {
        format!("!{}", self.as_str())
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Well.
    Positive,
    /// Badly.
    Negative,
    /// Neither.
    Neutral,
}

impl Effect {
    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Neutral => "neutral",
        }
    }
}

/// Store a memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remember {
    /// Its id, freshly minted.
    pub memory_id: Uuid,
    /// See [`Memory`].
    pub event_type: EventType,
    /// See [`Memory`].
    pub summary: String,
    /// See [`Memory`]: at most one here.
    pub details: Vec<String>,
    /// See [`Memory`].
    pub outcome: Option<Effect>,
    /// See [`Memory`]: no two alike.
    pub lessons: Vec<String>,
    /// See [`Memory`].
    pub tags: Vec<String>,
    /// The memory that this one takes the place of.
    pub supersedes: Option<Uuid>,
    /// The memories that helped: no two alike.
    pub used: Vec<Uuid>,
    /// Agent, event type and summary, hashed: what is the same here is a repetition.
    pub fingerprint: String,
    /// What it is found by: see [`terms`](Self::found_by).
    pub terms: BTreeMap<String, u32>,
}

impl Remember {
    /// The terms to find it by, and how much it is about each: its words, its tags (`#tag`), its type (`!type`) and
    /// [`EVERY`]. Only words have a weight.
    pub fn found_by(&self) -> BTreeMap<String, u32> {
        let mut terms = BTreeMap::from([(EVERY.to_owned(), 0), (self.event_type.term(), 0)]);
        terms.extend(self.tags.iter().map(|tag| (tag_term(tag), 0)));
        let fields = [(&std::slice::from_ref(&self.summary), SUMMARY_WEIGHT), (&self.tags.as_slice(), TAG_WEIGHT)];
        let more = [(&self.lessons.as_slice(), LESSON_WEIGHT), (&self.details.as_slice(), DETAIL_WEIGHT)];
        for (texts, weight) in fields.into_iter().chain(more) {
            for word in texts.iter().flat_map(|text| words(text)) {
                if terms.len() < TERMS_LIMIT || terms.contains_key(&word) {
                    *terms.entry(word).or_default() += weight;
                }
            }
        }
        terms
    }
}

/// How often a word of a summary counts.
const SUMMARY_WEIGHT: u32 = 3;
/// How often a word of a tag counts.
const TAG_WEIGHT: u32 = 2;
/// How often a word of a lesson counts.
const LESSON_WEIGHT: u32 = 2;
/// How often a word of the details counts.
const DETAIL_WEIGHT: u32 = 1;

/// The term that memories with this tag are found by. No word begins like that.
pub fn tag_term(tag: &str) -> String {
    format!("#{tag}")
}

/// Tags as they are stored and compared: lower case, trimmed, sorted, no two alike.
pub fn canonical_tags(tags: &[String]) -> Vec<String> {
    let mut tags: Vec<String> =
        tags.iter().map(|tag| tag.trim().to_lowercase()).filter(|tag| !tag.is_empty()).collect();
    tags.sort();
    tags.dedup();
    tags
}

/// One storing of a memory: whence it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The run of `remember`: the id of its audit row.
    pub id: Uuid,
    /// The session in which it was stored.
    pub session_id: Option<SessionId>,
    /// When.
    pub at: Timestamp,
}

/// One memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Its id.
    pub memory_id: Uuid,
    /// Its number: the position in the trail of the command that stored it.
    pub seq: i64,
    /// Who stored it.
    pub agent_id: AgentId,
    /// Their type.
    pub agent_type: String,
    /// What it is about.
    pub event_type: EventType,
    /// What happened, in a sentence.
    pub summary: String,
    /// What else there is to know: a trace, a command, a configuration. Several, if several were merged.
    pub details: Vec<String>,
    /// How it ended.
    pub outcome: Option<Effect>,
    /// What to do next time.
    pub lessons: Vec<String>,
    /// Sorted, no two alike.
    pub tags: Vec<String>,
    /// How often it was of use: stored again, or named as having helped.
    pub uses: u32,
    /// Each time it was stored, the first one first.
    pub sources: Vec<Source>,
    /// The memory that took its place.
    pub superseded_by: Option<Uuid>,
    /// The weights of its words together: how long it is.
    pub length: u32,
    /// When it was first stored.
    pub created_at: Timestamp,
}

impl Memory {
    /// A new memory, found by nothing yet.
    pub fn new(seq: i64, agent_id: AgentId, agent_type: String, request: &Remember, source: Source) -> Self {
        Self {
            memory_id: request.memory_id,
            seq,
            agent_id,
            agent_type,
            event_type: request.event_type,
            summary: request.summary.clone(),
            details: request.details.clone(),
            outcome: request.outcome,
            lessons: request.lessons.clone(),
            tags: request.tags.clone(),
            uses: 0,
            created_at: source.at,
            sources: vec![source],
            superseded_by: None,
            length: 0,
        }
    }

    /// Would a repetition at `now` be merged into it?
    pub fn takes_in(&self, now: Timestamp) -> bool {
        self.superseded_by.is_none() && now < self.created_at + MERGE_MINUTES.minutes()
    }

    /// Takes in a repetition of itself.
    pub fn merge(&mut self, request: &Remember, source: Source) {
        unite(&mut self.details, &request.details);
        unite(&mut self.lessons, &request.lessons);
        unite(&mut self.tags, &request.tags);
        self.tags.sort();
        unite(&mut self.sources, &[source]);
        self.outcome = request.outcome.or(self.outcome);
        self.uses += 1;
    }
}

/// Adds what is new, up to [`UNITED_LIMIT`].
fn unite<T: Clone + PartialEq>(known: &mut Vec<T>, more: &[T]) {
    for item in more {
        if known.len() < UNITED_LIMIT && !known.contains(item) {
            known.push(item.clone());
        }
    }
}

/// What to look for in the index.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Words: no two alike.
    pub words: Vec<String>,
    /// Terms of types and tags, or [`EVERY`]: no two alike.
    pub filters: Vec<String>,
    /// The most postings to read for the words, and again for the filters: the rarest terms first, and of each the newest
    /// memories. It bounds the time of a search however many memories there are.
    pub limit: u32,
}

/// Where a term occurs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Postings {
    /// The term.
    pub term: String,
    /// In how many memories it occurs.
    pub memories: u32,
    /// Which, by `seq`, newest first; perhaps not all.
    pub seqs: Vec<i64>,
    /// The term's weight in each.
    pub weights: Vec<u32>,
}

/// How many postings to read of each term, of which it is known in how many memories it occurs. The terms are in the
/// order in which they are served: rarest first.
pub fn shares(limit: u32, memories: impl IntoIterator<Item = u32>) -> impl Iterator<Item = u32> {
    memories.into_iter().scan(limit, |left, memories| {
        let share = memories.min(*left);
        *left -= share;
        Some(share)
    })
}

/// What the index knows of a [`Search`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// How many memories the project has.
    pub memories: u32,
    /// The words that occur at all, rarest first, then by name.
    pub words: Vec<Postings>,
    /// The filters that occur at all, in the same order.
    pub filters: Vec<Postings>,
    /// When it was asked.
    pub instant: Timestamp,
}

/// A memory as a search meets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The memory.
    pub memory: Memory,
    /// The weight in it of each word that was asked for, in that order.
    pub weights: Vec<u32>,
}
