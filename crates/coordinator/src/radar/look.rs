//! Which pairs can meet at all, and what a merge of those comes to.
//!
//! A pair costs a merge only when it is new and both sides changed something that could meet. Most branches come from the
//! default one, so their common ancestor is known without asking for each pair.

use std::collections::HashSet;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use git::changes::Changes;
use git::merge::Merge;
use git::{Error, Git, ObjectId};

use super::subjects::{self, Subject};
use super::{Conflict, FileConflict, Found, Known, Look, Origin, locked};
use crate::repository::Repository;

/// The most pairs that are new to one look: the next one goes on.
const NEW_PAIRS: usize = 500;
/// The most merges at a time.
const AT_ONCE: usize = 4;
/// A branch with more commits of its own is asked about pair by pair.
const OWN_COMMITS: usize = 1000;
/// In so many files of a conflict the lines are told.
const FILES_WITH_LINES: usize = 10;
/// So many conflicts of a pair are told.
const FILES: usize = 50;

/// Looks at all pairs. Nothing is written to the repository.
pub(super) fn look(
    git: &Git,
    known: &Mutex<Known>,
    repository: &Repository,
    target: Option<&str>,
) -> Result<Look, Error> {
    let found = subjects::find(git, repository, target)?;
    let subjects = found.subjects;
    forget(&mut locked(known), &subjects);
    let (mut look, mut new) = (Look { subjects: subjects.len(), troubles: found.troubles, ..Look::default() }, vec![]);
    for (at, one) in subjects.iter().enumerate() {
        for other in &subjects[at + 1..] {
            if one.commit != other.commit && !locked(known).pairs.contains_key(&key(one, other)) {
                new.push((one, other));
            }
        }
    }
    if new.len() > NEW_PAIRS {
        look.troubles.push(format!(
            "{} of {} new pairs are not known yet: {NEW_PAIRS} are looked at at once; look again",
            new.len() - NEW_PAIRS,
            new.len()
        ));
        new.truncate(NEW_PAIRS);
    }
    let (troubles, merges) = check_all(git, known, found.base.as_ref(), &new);
    look.troubles.extend(troubles);
    (look.merges, look.checked) = (merges, new.len());

    let known = locked(known);
    for (at, one) in subjects.iter().enumerate() {
        for other in &subjects[at + 1..] {
            match known.pairs.get(&key(one, other)).map(|found| &**found) {
                Some(Found::Conflicts(files)) => {
                    look.pairs += 1;
                    let files = files.iter().map(|file| as_seen_by(one, other, file)).collect();
                    look.conflicts.push(Conflict { one: one.clone(), other: other.clone(), files });
                }
                Some(found) => {
                    look.pairs += 1;
                    look.apart += usize::from(*found == Found::Apart);
                }
                None => {}
            }
        }
    }
    Ok(look)
}

/// A pair is remembered with the lesser id first, whatever its subjects are called.
fn key(one: &Subject, other: &Subject) -> (ObjectId, ObjectId) {
    let (one, other) = (one.commit.clone(), other.commit.clone());
    if one <= other { (one, other) } else { (other, one) }
}

fn as_seen_by(one: &Subject, other: &Subject, file: &FileConflict) -> FileConflict {
    let mut file = file.clone();
    if one.commit > other.commit {
        file.hunks.iter_mut().for_each(|(ours, theirs)| std::mem::swap(ours, theirs));
    }
    file
}

/// What is not looked at any more.
fn forget(known: &mut Known, subjects: &[Subject]) {
    let current: HashSet<&ObjectId> = subjects.iter().map(|subject| &subject.commit).collect();
    known.pairs.retain(|(one, other), _| current.contains(one) && current.contains(other));
    known.origins.retain(|(commit, _), _| current.contains(commit));
    known.changes.retain(|(_, commit), _| current.contains(commit));
}

/// What went wrong, and how many merges were tried.
fn check_all(
    git: &Git,
    known: &Mutex<Known>,
    base: Option<&ObjectId>,
    pairs: &[(&Subject, &Subject)],
) -> (Vec<String>, usize) {
    let (next, merges, troubles) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(vec![]));
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(AT_ONCE).min(pairs.len());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((one, other)) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let key = key(one, other);
                    match check(git, known, base, &key) {
                        Ok(found) => {
                            merges.fetch_add(usize::from(found != Found::Apart), Ordering::Relaxed);
                            locked(known).pairs.insert(key, Arc::new(found));
                        }
                        Err(error) => locked(&troubles).push(format!(
                            "whether {} merges with {} is not known: {error}",
                            one.name(),
                            other.name()
                        )),
                    }
                }
            });
        }
    });
    let troubles = std::mem::take(&mut *locked(&troubles));
    (troubles, merges.into_inner())
}

fn check(
    git: &Git,
    known: &Mutex<Known>,
    base: Option<&ObjectId>,
    (one, other): &(ObjectId, ObjectId),
) -> Result<Found, Error> {
    // With several common ancestors, or none, only a merge tells.
    if let [ancestor] = common_ancestors(git, known, base, one, other)?.as_slice() {
        let (ours, theirs) = (changes(git, known, ancestor, one)?, changes(git, known, ancestor, other)?);
        if !ours.can_meet(&theirs) {
            return Ok(Found::Apart);
        }
    }
    let merge = git.merge_tree(one, other)?;
    let Merge::Conflicted { conflicts, .. } = &merge else { return Ok(Found::Clean) };
    let meetings = git.meetings(&merge, FILES_WITH_LINES)?;
    let of_file = |conflict: &git::merge::Conflict| FileConflict {
        path: conflict.path.clone(),
        others: conflict.others.clone(),
        kind: conflict.kind.as_str().into(),
        message: conflict.message.clone(),
        hunks: meetings
            .iter()
            .filter(|meeting| meeting.path == conflict.path)
            .map(|meeting| (meeting.ours.in_words(), meeting.theirs.in_words()))
            .collect(),
    };
    Ok(Found::Conflicts(conflicts.iter().take(FILES).map(of_file).collect()))
}

/// The best common ancestors. Where all that two commits share is in the default branch, it is where they parted from it.
fn common_ancestors(
    git: &Git,
    known: &Mutex<Known>,
    base: Option<&ObjectId>,
    one: &ObjectId,
    other: &ObjectId,
) -> Result<Vec<ObjectId>, Error> {
    if let Some(base) = base {
        let (ours, theirs) = (origin(git, known, one, base)?, origin(git, known, other, base)?);
        if let (Some(own), Some(others)) = (&ours.own, &theirs.own)
            && own.is_disjoint(others)
            && ours.forks.len() == 1
            && ours.forks == theirs.forks
        {
            return Ok(ours.forks.clone());
        }
    }
    git.merge_bases(one, other)
}

fn origin(git: &Git, known: &Mutex<Known>, commit: &ObjectId, base: &ObjectId) -> Result<Arc<Origin>, Error> {
    let key = (commit.clone(), base.clone());
    if let Some(origin) = locked(known).origins.get(&key) {
        return Ok(origin.clone());
    }
    let own = git.commits_beyond(commit, std::slice::from_ref(base), OWN_COMMITS)?;
    let own = Some(own).filter(|own| own.len() < OWN_COMMITS);
    let origin = Arc::new(Origin { forks: git.merge_bases(commit, base)?, own });
    locked(known).origins.insert(key, origin.clone());
    Ok(origin)
}

fn changes(git: &Git, known: &Mutex<Known>, from: &ObjectId, to: &ObjectId) -> Result<Arc<Changes>, Error> {
    let key = (from.clone(), to.clone());
    if let Some(changes) = locked(known).changes.get(&key) {
        return Ok(changes.clone());
    }
    let changes = Arc::new(git.changes(from, to)?);
    locked(known).changes.insert(key, changes.clone());
    Ok(changes)
}
