//! Working memory: what an agent notes during one session, by key.
//!
//! All of it is kept; what is compressed is what an agent is shown at once. Pinned notes and the newest come whole, older
//! ones as an excerpt, the oldest by their key alone, so that the whole costs a bounded number of tokens. A note asked
//! for by its key is always whole.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::JsonText;
use crate::id::{AgentId, SessionId};

/// The most notes of one session: beyond it the oldest that is not pinned goes.
pub const NOTES_LIMIT: usize = 200;
/// What all notes together may cost when none is asked for by name, unless the caller says otherwise.
pub const TOKEN_BUDGET: u32 = 2000;
/// How much of a note an excerpt shows, in characters.
const EXCERPT: usize = 120;
/// Characters that a token stands for, roughly and on average.
const CHARACTERS_A_TOKEN: usize = 4;

/// Whose notes they are: an agent's in one session, or those of an agent that has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NotesOwner {
    /// The agent.
    pub agent_id: AgentId,
    /// Its session.
    pub session_id: Option<SessionId>,
}

/// Write or forget a note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateWorkingMemory {
    /// Its name.
    pub key: String,
    /// What it says; `None` forgets it.
    pub value: Option<JsonText>,
    /// Keep it whole whatever its age. `None` leaves that as it was.
    pub pinned: Option<bool>,
}

/// One note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its name.
    pub key: String,
    /// What it says.
    pub value: JsonText,
    /// It stays whole whatever its age.
    pub pinned: bool,
    /// The position in the trail of the command that wrote it last.
    pub seq: i64,
    /// When it was last written.
    pub updated_at: Timestamp,
}

impl Note {
    /// What it costs to show it whole.
    pub fn tokens(&self) -> u32 {
        tokens(&self.key, self.value.as_str())
    }
}

fn tokens(key: &str, value: &str) -> u32 {
    let characters = key.chars().count() + value.chars().count();
    u32::try_from(characters.div_ceil(CHARACTERS_A_TOKEN)).unwrap_or(u32::MAX)
}

/// How a note is shown among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// All of it.
    Whole(Note),
    /// Its beginning.
    Excerpt(Note, String),
    /// That it exists.
    Key(Note),
}

/// Notes within a budget: pinned ones first, then by age, newest first. Once one does not fit, no older one is whole.
/// Pinned ones are whole even where they alone cost more.
pub fn compressed(mut notes: Vec<Note>, budget: u32) -> Vec<Shown> {
    notes.sort_by_key(|note| (!note.pinned, std::cmp::Reverse(note.seq)));
    let (mut left, mut is_full) = (budget, false);
    let mut shown = Vec::with_capacity(notes.len());
    for note in notes {
        let whole = note.tokens();
        if note.pinned || !is_full && whole <= left {
            left = left.saturating_sub(whole);
            shown.push(Shown::Whole(note));
            continue;
        }
        is_full = true;
        let excerpt = excerpt(note.value.as_str());
        let cost = tokens(&note.key, &excerpt);
        if cost < whole && cost <= left {
            left -= cost;
            shown.push(Shown::Excerpt(note, excerpt));
        } else {
            shown.push(Shown::Key(note));
        }
    }
    shown
}

fn excerpt(text: &str) -> String {
    let end = text.char_indices().nth(EXCERPT).map_or(text.len(), |(at, _)| at);
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn note(seq: i64, length: usize, pinned: bool) -> Note {
        let value = JsonText::new(&json!("x".repeat(length)));
        Note { key: format!("k{seq}"), value, pinned, seq, updated_at: Timestamp::UNIX_EPOCH }
    }

    fn in_short(shown: &[Shown]) -> String {
        let each = shown.iter().map(|shown| match shown {
            Shown::Whole(note) => note.key.clone(),
            Shown::Excerpt(note, _) => format!("{}...", note.key),
            Shown::Key(note) => format!("({})", note.key),
        });
        each.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn pinned_and_newest_are_whole_and_the_oldest_are_keys() {
        let notes = vec![note(1, 400, true), note(2, 400, false), note(3, 400, false), note(4, 400, false)];
        assert_eq!(in_short(&compressed(notes.clone(), 1000)), "k1 k4 k3 k2");
        assert_eq!(in_short(&compressed(notes.clone(), 260)), "k1 k4 k3... (k2)");
        assert_eq!(in_short(&compressed(notes.clone(), 10)), "k1 (k4) (k3) (k2)");
        let small_and_old = vec![note(1, 4, false), note(2, 400, false), note(3, 100, false)];
        assert_eq!(in_short(&compressed(small_and_old, 70)), "k3 k2... (k1)");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_budget_is_kept(
            lengths in proptest::collection::vec((0_usize..2000, any::<bool>()), 0..20), budget in 0_u32..3000,
        ) {
            let notes: Vec<Note> =
                lengths.iter().enumerate().map(|(seq, (length, pinned))| note(seq as i64, *length, *pinned)).collect();
            let pinned: u32 = notes.iter().filter(|n| n.pinned).map(Note::tokens).sum();
            let shown = compressed(notes.clone(), budget);
            prop_assert_eq!(shown.len(), notes.len());
            let cost: u32 = shown.iter().map(|shown| match shown {
                Shown::Whole(note) => note.tokens(),
                Shown::Excerpt(note, excerpt) => tokens(&note.key, excerpt),
                Shown::Key(_) => 0,
            }).sum();
            prop_assert!(cost <= budget.max(pinned), "{} of {}", cost, budget);
            let mut backwards = notes;
            backwards.reverse();
            prop_assert_eq!(compressed(backwards, budget), shown);
        }
    }
}
