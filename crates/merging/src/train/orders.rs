//! What the train wants done, and what it is told of it.

use crate::{Candidate, Commit, EntryId, RunId, Tree};

/// Something to do. Whoever does it tells the train what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Build a commit for each car, upon the one before it. Then tell [`built`](crate::Train::built).
    Build {
        /// What the first car is built upon.
        base: Commit,
        /// The cars.
        cars: Vec<Vec<Candidate>>,
        /// What to build upon the base alone, to learn how it fares there.
        probes: Vec<Vec<Candidate>>,
    },
    /// Test this, beside what is tested already. Then tell [`tested`](crate::Train::tested).
    Test {
        /// The run.
        run: RunId,
        /// What to test.
        built: Built,
        /// What is in it beyond the target.
        entries: Vec<EntryId>,
    },
    /// Stop a run: its outcome does not matter any more.
    Stop {
        /// Which.
        run: RunId,
    },
    /// Move the target. Then tell [`landed`](crate::Train::landed), or [`target_moved`](crate::Train::target_moved).
    Land {
        /// Where the target must be.
        from: Commit,
        /// Where it goes: what passed in that run, and nothing else.
        built: Built,
        /// The run that passed.
        run: RunId,
        /// What is landed with it.
        entries: Vec<EntryId>,
    },
    /// Take an entry out of the queue.
    Eject {
        /// Which.
        entry: EntryId,
        /// Why.
        evidence: Evidence,
        /// For how long.
        fate: Fate,
    },
    /// Take an entry out of the queue that was ejected too often to be tried again.
    Abandon {
        /// Which.
        entry: EntryId,
        /// How often it was.
        ejections: u32,
    },
}

/// A commit that was made for a car.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its id.
    pub commit: Commit,
    /// What is in it.
    pub tree: Tree,
}

/// An entry that could not be built upon what is before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Which.
    pub entry: EntryId,
    /// With what.
    pub with: ConflictsWith,
    /// What conflicts, in words.
    pub what: String,
}

/// What an entry conflicts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictsWith {
    /// The target itself.
    Target,
    /// Not the target, but something ahead of it in the train.
    EntriesAhead,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything passed.
    Passed,
    /// Something did not: this.
    Failed(String),
}

/// Can an ejected entry come back?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// When it is queued again.
    MayReturn,
    /// No: it was ejected too often.
    Abandoned,
}

/// Why an entry was ejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Where the target was.
    pub base: Commit,
    /// What was tested; nothing if it could not be built.
    pub built: Option<Built>,
    /// The run that failed.
    pub run: Option<RunId>,
    /// What was in it beyond the target, in order. The entry is the last of them; without it, it passed.
    pub entries: Vec<EntryId>,
    /// What failed.
    pub what: String,
    /// How many entries had been landed upon the same history of the target.
    pub(crate) after: usize,
}

impl Evidence {
    pub(crate) fn conflict(base: &Commit, conflict: &Conflict) -> Self {
        let entries = vec![conflict.entry.clone()];
        Self { base: base.clone(), built: None, run: None, entries, what: conflict.what.clone(), after: 0 }
    }

    pub(crate) fn failure(
        base: Commit,
        after: usize,
        built: &Built,
        entries: Vec<EntryId>,
        run: RunId,
        what: String,
    ) -> Self {
        Self { base, built: Some(built.clone()), run: Some(run), entries, what, after }
    }
}
