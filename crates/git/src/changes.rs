//! Which paths two commits differ in, and whether two such sets of changes can meet at all in a merge.

use std::collections::BTreeSet;

use crate::run::{Error, parts};
use crate::{Git, ObjectId};

/// The paths that differ, a rename as what it is to a tree: one path gone and one new.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// What is new.
    pub added: BTreeSet<String>,
    /// What is gone.
    pub deleted: BTreeSet<String>,
    /// What is there before and after: its content, its mode, or what kind of thing it is.
    pub modified: BTreeSet<String>,
}

impl Changes {
    /// All paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.added.iter().chain(&self.deleted).chain(&self.modified).map(String::as_str)
    }

    /// Can merging these with the other's, made from one common ancestor, come to a conflict? When this says no, there is
    /// none; when it says yes, only a merge tells.
    pub fn can_meet(&self, other: &Self) -> bool {
        // Files that are new in a directory which the other side has renamed, or seems to, are moved after it.
        let follows = |new: &Self, moved: &Self| !new.added.is_empty() && moved.may_rename();
        if follows(self, other) || follows(other, self) {
            return true;
        }
        let theirs: BTreeSet<&str> = other.paths().collect();
        self.paths().any(|path| {
            // The same path, a directory above it that is a file on the other side, or a path below.
            let above = path.match_indices('/').map(|(at, _)| &path[..at]);
            let below = format!("{path}/");
            theirs.contains(path)
                || above.into_iter().any(|directory| theirs.contains(directory))
                || theirs.range(below.as_str()..).next().is_some_and(|next| next.starts_with(&below))
        })
    }

    fn may_rename(&self) -> bool {
        !self.added.is_empty() && !self.deleted.is_empty()
    }
}

impl Git {
    /// What differs between two commits or trees.
    ///
    /// # Errors
    /// [`Error`] when git does not work, or there are no such commits.
    pub fn changes(&self, from: &ObjectId, to: &ObjectId) -> Result<Changes, Error> {
        let arguments = ["diff-tree", "-r", "-z", "--no-renames", "--name-status", "--ignore-submodules=none"];
        let said = self.output(&[&arguments[..], &[from.as_str(), to.as_str()]].concat())?;
        let (mut changes, mut parts) = (Changes::default(), parts(&said));
        while let (Some(status), Some(path)) = (parts.next(), parts.next()) {
            match status.as_str() {
                "A" => changes.added.insert(path),
                "D" => changes.deleted.insert(path),
                _ => changes.modified.insert(path),
            };
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(added: &[&str], deleted: &[&str], modified: &[&str]) -> Changes {
        let set = |paths: &[&str]| paths.iter().map(ToString::to_string).collect();
        Changes { added: set(added), deleted: set(deleted), modified: set(modified) }
    }

    #[test]
    fn what_cannot_meet_is_told_from_what_can() {
        let edits = |paths| changes(&[], &[], paths);
        let cases = [
            (edits(&["a", "b"]), edits(&["c"]), false),
            (edits(&["a", "b"]), edits(&["b"]), true),
            (edits(&["src/a.rs"]), edits(&["src/b.rs"]), false),
            (changes(&["src"], &[], &[]), edits(&["src/b.rs"]), true),
            (edits(&["src-gen", "src.rs"]), changes(&["src/x"], &[], &[]), false),
            (changes(&["new/x"], &["old/x"], &[]), changes(&["old/y"], &[], &[]), true),
            (changes(&["new/x"], &["old/x"], &[]), edits(&["old/y"]), false),
            (changes(&["x"], &[], &[]), changes(&["y"], &[], &[]), false),
        ];
        for (one, other, can) in cases {
            assert_eq!(one.can_meet(&other), can, "{one:?} and {other:?}");
            assert_eq!(other.can_meet(&one), can, "{other:?} and {one:?}");
        }
    }
}
