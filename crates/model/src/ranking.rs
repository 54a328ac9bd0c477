//! How relevant a memory is to a question: one function, the same for every database.
//!
//! The databases only say where words occur; what that is worth is decided here, from whole numbers and the database's
//! clock, so that two engines with the same memories give the same answer to the last digit.
//!
//! With a question, `relevance = match * prior`, all of them between 0 and 1:
//!
//! - `text`: the share of the question's information that the memory covers. A word's information is its BM25 inverse
//!   document frequency; how far the memory covers it is BM25's saturation of the word's weight in it. A word of the
//!   question that no memory has counts too: a question is not covered by what everybody says.
//! - `tags`: the share of the tags asked for that the memory has. `match` is `text` where no tag is asked for, else both.
//! - `importance`: of an outcome, of lessons, of use. `recency`: halved every [`HALF_LIFE_DAYS`].
//!   `prior = 1 - I - R + I * importance + R * recency`: among equal matches the weightier and the newer comes first.
//!
//! Without one, `relevance` is recency and importance.
//!
//! A superseded memory lends its match to its successor, which takes its place: the question may be put in the old words.
//! It has itself [`OUTDATED`] of the lesser of its own relevance and the successor's: it never ranks above it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use crate::memories::{Candidate, EVERY, EventType, Found, Memory, Search, canonical_tags, tag_term};
use crate::text::words;

/// How soon further occurrences of a word stop counting.
const SATURATION: f64 = 1.2;
/// How far a word counts for less in a long memory.
const LENGTH_PENALTY: f64 = 0.5;
/// The length of a memory that is neither short nor long. Not the average: a memory's relevance should not change
/// because others are stored.
const TYPICAL_LENGTH: f64 = 120.0;
/// How far the tags asked for count in the match.
const TAGS: f64 = 0.2;
/// How far importance counts among equal matches.
const IMPORTANCE: f64 = 0.06;
/// How far recency counts among equal matches.
const RECENCY: f64 = 0.08;
/// How far importance counts where nothing is asked.
const IMPORTANCE_ALONE: f64 = 0.4;
/// The days in which recency is halved.
pub const HALF_LIFE_DAYS: f64 = 90.0;
/// What is left of the relevance of a superseded memory.
pub const OUTDATED: f64 = 0.5;
/// The most different words of a question.
const WORDS_LIMIT: usize = 128;
/// How many entries of the index are read: in a project of a few thousand memories, all that a question can ask for.
const POSTINGS: u32 = 20_000;
/// How many memories are looked at closely.
const SHORTLIST: usize = 128;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Question {
    /// The words of its text, no two alike.
    words: Vec<String>,
    /// Any of them.
    tags: Vec<String>,
    event_type: Option<EventType>,
}

impl Question {
    /// In these words, of memories with any of the tags (if there are any), and of this type.
    pub fn new(text: &str, tags: &[String], event_type: Option<EventType>) -> Self {
        let mut seen = BTreeSet::new();
        let mut words = words(text);
        words.retain(|word| seen.insert(word.clone()));
        words.truncate(WORDS_LIMIT);
        Self { words, tags: canonical_tags(tags), event_type }
    }

    /// What to look up in the index.
    pub fn search(&self) -> Search {
        let mut filters: Vec<String> = self.tags.iter().map(|tag| tag_term(tag)).collect();
        filters.extend(self.event_type.map(EventType::term));
        if filters.is_empty() && self.words.is_empty() {
            filters.push(EVERY.to_owned());
        }
        Search { words: self.words.clone(), filters, limit: POSTINGS }
    }

    /// The memories to look at closely: those that the index makes most of, then, where a filter is set or nothing is
    /// asked, the newest.
    pub fn shortlist(&self, found: &Found) -> Vec<i64> {
        let allowed = self.allowed(found);
        let mut scores: HashMap<i64, f64> = HashMap::new();
        for word in &found.words {
            let information = information(found.memories, word.memories);
            for (seq, weight) in word.seqs.iter().zip(&word.weights) {
                if allowed.as_ref().is_none_or(|allowed| allowed.contains(seq)) {
                    *scores.entry(*seq).or_default() += information * saturated(*weight, TYPICAL_LENGTH);
                }
            }
        }
        let mut best: Vec<(i64, f64)> = scores.into_iter().collect();
        best.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(b.cmp(a)));
        let mut seqs: Vec<i64> = best.into_iter().map(|(seq, _)| seq).take(SHORTLIST).collect();
        let mut chosen: BTreeSet<i64> = seqs.iter().copied().collect();
        for seq in allowed.iter().flatten().rev() {
            if seqs.len() < SHORTLIST && chosen.insert(*seq) {
                seqs.push(*seq);
            }
        }
        seqs
    }

    /// The memories that pass the filters, as far as the index tells; `None` when all do.
    fn allowed(&self, found: &Found) -> Option<BTreeSet<i64>> {
        let with = |terms: &[String]| -> BTreeSet<i64> {
            let wanted = found.filters.iter().filter(|postings| terms.contains(&postings.term));
            wanted.flat_map(|postings| postings.seqs.iter().copied()).collect()
        };
        let tagged =
            (!self.tags.is_empty()).then(|| with(&self.tags.iter().map(|tag| tag_term(tag)).collect::<Vec<_>>()));
        let typed = self.event_type.map(|event_type| with(&[event_type.term()]));
        match (tagged, typed) {
            (Some(tagged), Some(typed)) => Some(tagged.intersection(&typed).copied().collect()),
            (None, None) if self.words.is_empty() => Some(with(&[EVERY.to_owned()])),
            (tagged, typed) => tagged.or(typed),
        }
    }

    fn admits(&self, memory: &Memory) -> bool {
        self.event_type.is_none_or(|event_type| memory.event_type == event_type)
            && (self.tags.is_empty() || memory.tags.iter().any(|tag| self.tags.contains(tag)))
    }

    /// The candidates that pass the filters, best first.
    pub fn rank(&self, found: &Found, candidates: Vec<Candidate>) -> Vec<Ranked> {
        let occurring: Vec<Word> = found
            .words
            .iter()
            .map(|word| Word { text: &word.term, information: information(found.memories, word.memories) })
            .collect();
        let unheard_of = self.words.len().saturating_sub(occurring.len()) as f64 * information(found.memories, 0);
        let total = occurring.iter().map(|word| word.information).sum::<f64>() + unheard_of;
        let successors: HashMap<Uuid, Option<Uuid>> =
            candidates.iter().map(|c| (c.memory.memory_id, c.memory.superseded_by)).collect();
        let mut ranked: Vec<Ranked> = candidates
            .into_iter()
            .filter(|candidate| self.admits(&candidate.memory))
            .map(|candidate| self.evidence(&occurring, total, candidate, found.instant))
            .collect();

        // What is lent travels along the whole chain, and then each relevance is known before those it bounds.
        let places: BTreeMap<Uuid, usize> = ranked.iter().enumerate().map(|(at, r)| (r.memory.memory_id, at)).collect();
        let heirs: Vec<Option<usize>> =
            ranked.iter().map(|r| heir(r.memory.superseded_by, &successors, &places)).collect();
        let order = in_order(&heirs);
        for &at in &order {
            if let Some(heir) = heirs[at] {
                ranked[heir].why.text = ranked[heir].why.text.max(ranked[at].why.text);
            }
        }
        for &at in order.iter().rev() {
            let own = self.relevance(&ranked[at].why);
            ranked[at].relevance = match heirs[at] {
                Some(heir) => rounded(OUTDATED * own.min(ranked[heir].relevance)),
                None if ranked[at].why.superseded => rounded(OUTDATED * own),
                None => rounded(own),
            };
        }
        ranked.sort_by(|a, b| {
            let better = b.relevance.total_cmp(&a.relevance);
            better
                .then_with(|| (a.why.superseded, Reverse(a.memory.seq)).cmp(&(b.why.superseded, Reverse(b.memory.seq))))
        });
        ranked
    }

    fn evidence(&self, words: &[Word<'_>], total: f64, candidate: Candidate, now: Timestamp) -> Ranked {
        let Candidate { memory, weights } = candidate;
        let mut matched: Vec<Match> = words
            .iter()
            .zip(&weights)
            .filter(|(_, weight)| **weight > 0)
            .map(|(word, weight)| Match {
                word: word.text.to_owned(),
                share: word.information * saturated(*weight, f64::from(memory.length)) / total,
            })
            .collect();
        matched.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.word.cmp(&b.word)));
        let tags = self.tags.iter().filter(|tag| memory.tags.contains(tag)).count();
        let why = Why {
            text: matched.iter().map(|m| m.share).sum(),
            matched,
            tags: if self.tags.is_empty() { 0.0 } else { tags as f64 / self.tags.len() as f64 },
            importance: importance(&memory),
            recency: recency(&memory, now),
            superseded: memory.superseded_by.is_some(),
        };
        Ranked { memory, relevance: 0.0, why }
    }

    /// The function that all ranking comes down to.
    fn relevance(&self, why: &Why) -> f64 {
        if self.words.is_empty() {
            let prior = IMPORTANCE_ALONE * why.importance + (1.0 - IMPORTANCE_ALONE) * why.recency;
            return if self.tags.is_empty() { prior } else { (1.0 - TAGS) * prior + TAGS * why.tags };
        }
        let matched = if self.tags.is_empty() { why.text } else { (1.0 - TAGS) * why.text + TAGS * why.tags };
        matched * (1.0 - IMPORTANCE - RECENCY + IMPORTANCE * why.importance + RECENCY * why.recency)
    }
}

struct Word<'a> {
    text: &'a str,
    information: f64,
}

/// A memory with its place in the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The memory.
    pub memory: Memory,
    /// From 0 to 1, to four digits.
    pub relevance: f64,
    /// How that came about.
    pub why: Why,
}

/// What a relevance is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    /// The share of the question's information that the memory covers, or that one it superseded covers.
    pub text: f64,
    /// The words that it has itself, most telling first.
    pub matched: Vec<Match>,
    /// The share of the tags asked for that it has.
    pub tags: f64,
    /// How much it matters.
    pub importance: f64,
    /// How new it is.
    pub recency: f64,
    /// Something else took its place.
    pub superseded: bool,
}

/// A word of the question in a memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The word, folded.
    pub word: String,
    /// Its part in the match of the text.
    pub share: f64,
}

/// How much a word tells that occurs in so many memories of all.
fn information(all: u32, with: u32) -> f64 {
    let (all, with) = (f64::from(all.max(with)), f64::from(with));
    (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
}

/// How far a word of this weight is covered by a memory of this length.
fn saturated(weight: u32, length: f64) -> f64 {
    let weight = f64::from(weight);
    weight / (weight + SATURATION * (1.0 - LENGTH_PENALTY + LENGTH_PENALTY * length / TYPICAL_LENGTH))
}

/// What was learnt from, tells what to do, and has been of use before matters more.
fn importance(memory: &Memory) -> f64 {
    let outcome = match memory.outcome {
        Some(crate::memories::Effect::Positive | crate::memories::Effect::Negative) => 0.3,
        Some(crate::memories::Effect::Neutral) => 0.1,
        None => 0.0,
    };
    let lessons = if memory.lessons.is_empty() { 0.0 } else { 0.3 };
    let uses = f64::from(memory.uses);
    outcome + lessons + 0.4 * uses / (uses + 1.0)
}

fn recency(memory: &Memory, now: Timestamp) -> f64 {
    const DAY: f64 = 86_400.0;
    let age = now.duration_since(memory.created_at).as_secs_f64().max(0.0) / DAY;
    (-age / HALF_LIFE_DAYS).exp2()
}

fn rounded(relevance: f64) -> f64 {
    (relevance.clamp(0.0, 1.0) * 10_000.0).round() / 10_000.0
}

/// The first of a memory's successors that is in the answer.
fn heir(
    mut next: Option<Uuid>,
    successors: &HashMap<Uuid, Option<Uuid>>,
    places: &BTreeMap<Uuid, usize>,
) -> Option<usize> {
    // No chain is longer than there are memories; it has no cycle, but nothing here should depend on that.
    for _ in 0..=successors.len() {
        let id = next?;
        if let Some(place) = places.get(&id) {
            return Some(*place);
        }
        next = successors.get(&id).copied().flatten();
    }
    None
}

/// The places in an order in which each comes before its heir.
fn in_order(heirs: &[Option<usize>]) -> Vec<usize> {
    let depth = |start: usize| {
        let mut at = start;
        (0..heirs.len())
            .take_while(|_| {
                heirs[at].is_some_and(|heir| {
                    at = heir;
                    true
                })
            })
            .count()
    };
    let mut order: Vec<usize> = (0..heirs.len()).collect();
    order.sort_by_key(|at| Reverse(depth(*at)));
    order
}
