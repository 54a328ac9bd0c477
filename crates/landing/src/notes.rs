//! Which commit was about to be landed with which head of which entry, noted as a ref before the target is moved.

use git::{Git, ObjectId};
use merging::{Candidate, EntryId};

fn name(entry: &EntryId, head: &str) -> String {
    // An id may hold anything; the head is in it since another head is another change.
    let id: String = entry.as_str().bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("refs/coordinator/landing/{id}/{head}")
}

/// Notes it.
pub(crate) fn note(git: &Git, candidate: &Candidate, commit: &ObjectId) -> Result<(), git::Error> {
    let name = name(&candidate.id, candidate.head.as_str());
    let before = git.resolve(&name)?;
    git.update_ref(&name, commit, before.as_ref(), "coordinator: about to land")?;
    Ok(())
}

/// What was noted.
pub(crate) fn noted(git: &Git, candidate: &Candidate) -> Result<Option<ObjectId>, git::Error> {
    git.resolve(&name(&candidate.id, candidate.head.as_str()))
}

/// It is over, well or not.
pub(crate) fn forget(git: &Git, candidate: &Candidate) -> Result<(), git::Error> {
    let name = name(&candidate.id, candidate.head.as_str());
    if let Some(commit) = git.resolve(&name)? {
        git.delete_ref(&name, &commit)?;
    }
    Ok(())
}
