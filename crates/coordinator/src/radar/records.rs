//! What is left beside the repository for the next process that looks, and for whoever only wants to know what was seen.
//!
//! Hooks live for milliseconds and are many: what two commits come to is worth keeping from one to the next, and what does
//! not merge is worth telling an agent without a look of its own. Whatever cannot be read is as if it were not there.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use git::ObjectId;
use model::id::AgentId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::subjects::Subject;
use super::{Conflict, Found};
use crate::repository::Repository;

/// Settings of git, its attributes and merge drivers count too, and may change: what was found is not believed for ever.
const BELIEVED_FOR: Duration = Duration::from_secs(3600);
/// What pairs of commits come to.
const PAIRS: &str = "pairs.json";
/// What did not merge at the last look. It was changed, as the file system has it, when that look began.
const SEEN: &str = "seen.json";
/// Changed whenever somebody wants a look.
const WANTED: &str = "wanted";
/// Held locked by whoever looks because something changed.
const LOOKING: &str = "looking";

/// Two that did not merge at the last look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// One of them.
    pub one: Side,
    /// The other.
    pub other: Side,
    /// The files in question.
    pub files: Vec<String>,
}

/// A branch, or what is in a work tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// What people call it.
    pub name: String,
    /// Whose it is, where that is known.
    pub agent_id: Option<AgentId>,
    /// Where it is checked out.
    pub worktree: Option<PathBuf>,
}

/// What did not merge at the last look.
pub fn standing(repository: &Repository) -> Vec<Standing> {
    Records::of(repository).read(SEEN).unwrap_or_default()
}

/// When the last look began, if there ever was one.
pub fn last_look(repository: &Repository) -> Option<SystemTime> {
    Records::of(repository).changed(SEEN)
}

/// Pairs of commits, the lesser id first, and what they come to.
type Pairs = HashMap<(ObjectId, ObjectId), Arc<Found>>;

/// The pairs as they are in the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Whose verdicts they are.
    git: String,
    /// Since when they are kept, in seconds since 1970.
    since: u64,
    pairs: Vec<(String, String, Found)>,
}

/// The directory of it all.
#[derive(Debug, Clone)]
pub(super) struct Records {
    directory: PathBuf,
}

impl Records {
    pub fn of(repository: &Repository) -> Self {
        Self { directory: repository.common_dir.join("coordinator").join("radar") }
    }

    /// Adds what others found to what is known.
    pub fn recall(&self, git: &str, pairs: &mut Pairs) {
        let Some(kept) = self.kept(git) else { return };
        for (one, other, found) in kept.pairs {
            if let (Ok(one), Ok(other)) = (ObjectId::new(&one), ObjectId::new(&other)) {
                pairs.entry((one, other)).or_insert_with(|| Arc::new(found));
            }
        }
    }

    fn kept(&self, git: &str) -> Option<Kept> {
        let kept: Kept = self.read(PAIRS)?;
        let age = now().checked_sub(Duration::from_secs(kept.since))?;
        (kept.git == git && age < BELIEVED_FOR).then_some(kept)
    }

    /// Keeps what is known for others.
    pub fn keep(&self, git: &str, pairs: &Pairs) {
        let since = self.kept(git).map_or_else(|| now().as_secs(), |kept| kept.since);
        let pairs = pairs
            .iter()
            .map(|((one, other), found)| (one.to_string(), other.to_string(), Found::clone(found)))
            .collect();
        // Whoever cannot keep it looks again.
        let _ = self.write(PAIRS, &Kept { git: git.to_owned(), since, pairs }, SystemTime::now());
    }

    /// Notes down what a look saw that began then.
    pub fn saw(&self, conflicts: &[Conflict], begun: SystemTime) {
        let conflicts: Vec<Standing> = conflicts.iter().map(Standing::from).collect();
        // Where that is not possible, others look for themselves.
        let _ = self.write(SEEN, &conflicts, begun);
    }

    /// A look began then, and saw nothing that could be noted down.
    pub fn failed(&self, begun: SystemTime) {
        let there = File::options().write(true).open(self.directory.join(SEEN));
        if there.and_then(|file| file.set_modified(begun)).is_err() {
            self.saw(&[], begun);
        }
    }

    /// Tells whoever looks, or is next, that there is something new.
    pub fn want(&self) -> io::Result<()> {
        self.make()?;
        let file = File::options().create(true).truncate(false).write(true).open(self.directory.join(WANTED))?;
        file.set_modified(SystemTime::now())
    }

    /// Did somebody want a look since then?
    pub fn is_wanted_since(&self, then: SystemTime) -> bool {
        self.changed(WANTED).is_some_and(|at| at > then)
    }

    /// The turn to look, unless somebody else has it.
    pub fn turn(&self) -> io::Result<Option<File>> {
        self.make()?;
        let file = File::options().create(true).truncate(false).write(true).open(self.directory.join(LOOKING))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)
    }

    fn changed(&self, name: &str) -> Option<SystemTime> {
        std::fs::metadata(self.directory.join(name)).and_then(|file| file.modified()).ok()
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&std::fs::read(self.directory.join(name)).ok()?).ok()
    }

    /// All of it or nothing, whenever this process may be killed.
    fn write(&self, name: &str, what: &impl Serialize, changed: SystemTime) -> io::Result<()> {
        self.make()?;
        let beside = self.directory.join(format!("{name}.{}", std::process::id()));
        let written = write_new(&beside, &serde_json::to_vec(what)?, changed);
        let written = written.and_then(|()| std::fs::rename(&beside, self.directory.join(name)));
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written
    }
}

fn write_new(path: &Path, text: &[u8], changed: SystemTime) -> io::Result<()> {
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.set_modified(changed)
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

impl From<&Conflict> for Standing {
    fn from(conflict: &Conflict) -> Self {
        let mut files: Vec<String> = conflict.files.iter().map(|file| file.path.clone()).collect();
        files.dedup();
        Self { one: Side::from(&conflict.one), other: Side::from(&conflict.other), files }
    }
}

impl From<&Subject> for Side {
    fn from(subject: &Subject) -> Self {
        Self { name: subject.name(), agent_id: subject.owner.clone(), worktree: subject.worktree.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_process_found_the_next_one_knows_for_a_while() {
        let temp = tempfile::tempdir().unwrap();
        let records = Records { directory: temp.path().join("radar") };
        let id = |digit: &str| ObjectId::new(&digit.repeat(40)).unwrap();
        let mut pairs = Pairs::new();
        pairs.insert((id("a"), id("b")), Arc::new(Found::Apart));
        records.keep("2.47", &pairs);
        let known = |records: &Records, git: &str| {
            let mut pairs = Pairs::new();
            records.recall(git, &mut pairs);
            pairs
        };
        assert_eq!(known(&records, "2.47"), pairs);
        assert_eq!(known(&records, "2.48"), Pairs::new(), "another git may see it otherwise");
        let kept: Kept = records.read(PAIRS).unwrap();
        let old = Kept { since: now().as_secs() - 2 * BELIEVED_FOR.as_secs(), ..kept };
        records.write(PAIRS, &old, SystemTime::now()).unwrap();
        assert_eq!(known(&records, "2.47"), Pairs::new(), "not for ever");
        std::fs::write(records.directory.join(PAIRS), "{").unwrap();
        assert_eq!(known(&records, "2.47"), Pairs::new(), "cut off");
    }

    #[test]
    fn one_looks_at_a_time_and_sees_that_another_wants_to() {
        let temp = tempfile::tempdir().unwrap();
        let records = Records { directory: temp.path().join("radar") };
        records.want().unwrap();
        let turn = records.turn().unwrap();
        let begun = SystemTime::now();
        assert!(turn.is_some() && records.turn().unwrap().is_none());
        assert!(!records.is_wanted_since(begun));
        records.want().unwrap();
        assert!(records.is_wanted_since(begun));
        drop(turn);
        assert!(records.turn().unwrap().is_some());
    }
}
