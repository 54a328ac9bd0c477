//! The conflict radar: which branches that agents work on, and which uncommitted work, would not merge with each other.
//!
//! - [`subjects`]: what is looked at, and whose it is
//! - [`look`]: which pairs can meet at all, and what a merge of those comes to
//! - [`telling`]: each new conflict is told once, to both sides
//! - [`refresh`]: a look because something changed; [`records`]: what a look leaves for the next process
//! - [`operation`]: the operation of the doors
//!
//! It is the repository that this process works in: branches and work trees are on its disk. What two commits come to
//! never changes, so it is remembered by their ids for as long as both are looked at.

mod look;
pub mod operation;
mod records;
mod refresh;
mod subjects;
mod telling;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use git::ObjectId;
use git::changes::Changes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::records::{Side, Standing, last_look, standing};
use self::subjects::Subject;

/// What is remembered between looks.
#[derive(Debug, Default)]
pub(crate) struct Radar {
    known: Arc<Mutex<Known>>,
    /// What was told, by its thread.
    told: Mutex<HashSet<Uuid>>,
}

/// What is known of commits.
#[derive(Debug, Default)]
struct Known {
    /// What two commits come to, the lesser id first.
    pairs: HashMap<(ObjectId, ObjectId), Arc<Found>>,
    /// How a commit comes from the default branch's.
    origins: HashMap<(ObjectId, ObjectId), Arc<Origin>>,
    /// What a commit changed since another.
    changes: HashMap<(ObjectId, ObjectId), Arc<Changes>>,
}

/// How a commit comes from the default branch.
#[derive(Debug)]
struct Origin {
    /// Where it parted from it.
    forks: Vec<ObjectId>,
    /// What only it has, if that is not too much to list.
    own: Option<std::collections::BTreeSet<ObjectId>>,
}

/// What two commits come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Found {
    /// They change nothing that could meet.
    Apart,
    /// They merge, or have nothing to do with each other.
    Clean,
    /// They do not merge.
    Conflicts(Vec<FileConflict>),
}

/// A conflict about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileConflict {
    path: String,
    others: Vec<String>,
    kind: Cow<'static, str>,
    message: String,
    /// The lines on either side, the first subject's first.
    hunks: Vec<(String, String)>,
}

/// Two subjects that do not merge.
#[derive(Debug, Clone)]
struct Conflict {
    one: Subject,
    other: Subject,
    files: Vec<FileConflict>,
}

/// What one look came to.
#[derive(Debug, Default)]
struct Look {
    conflicts: Vec<Conflict>,
    /// How many branches and work trees were looked at.
    subjects: usize,
    /// Pairs of them that are known.
    pairs: usize,
    /// Of these, such that change nothing that could meet.
    apart: usize,
    /// Merges that this look tried: the others were known.
    merges: usize,
    /// Pairs that this look found something out about.
    checked: usize,
    /// What could not be looked at, or not this time, in words.
    troubles: Vec<String>,
}

/// A thread that panicked leaves what it had put in, which holds all the same.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
