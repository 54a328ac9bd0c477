//! What `git merge` would say, without touching anybody's checkout.
//!
//! It is git's own machinery (`git merge-tree --write-tree`), with the user's settings, and with the attributes of our
//! side, as they would be in its checkout. The tree it writes is the very tree that the merge would commit.

use std::time::Duration;

use crate::run::{Error, Run, text};
use crate::{ATTRIBUTES_OF_A_COMMIT, Git, ObjectId};

/// What a merge would come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// To this tree.
    Clean {
        /// What would be committed.
        tree: ObjectId,
    },
    /// To conflicts.
    Conflicted {
        /// Why, in git's order: at least one.
        conflicts: Vec<Conflict>,
        /// What would be left unmerged.
        unmerged: Vec<Unmerged>,
    },
    /// To nothing: the two have no common ancestor, and git refuses to merge them.
    Unrelated,
}

impl Merge {
    /// The tree, if there are no conflicts.
    pub fn tree(&self) -> Option<&ObjectId> {
        match self {
            Self::Clean { tree } => Some(tree),
            Self::Conflicted { .. } | Self::Unrelated => None,
        }
    }
}

/// What kind of conflict it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConflictKind {
    /// Both changed the same lines, or added a file with different content.
    Content,
    /// Both changed a file that cannot be merged line by line.
    Binary,
    /// One has a file where the other has a directory.
    DirectoryFile,
    /// One made it another type of thing: a link, a submodule, a file.
    Mode,
    /// One changed what the other deleted.
    ModifyDelete,
    /// Both renamed it differently, or different files to one name.
    RenameRename,
    /// One renamed what the other deleted.
    RenameDelete,
    /// A file was added to a directory that the other renamed, and it is not clear where it belongs.
    DirectoryRename,
    /// Both moved a submodule, and neither commit contains the other's.
    Submodule,
    /// One that this program does not know.
    Other,
}

impl ConflictKind {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Binary => "binary",
            Self::DirectoryFile => "directory_file",
            Self::Mode => "mode",
            Self::ModifyDelete => "modify_delete",
            Self::RenameRename => "rename_rename",
            Self::RenameDelete => "rename_delete",
            Self::DirectoryRename => "directory_rename",
            Self::Submodule => "submodule",
            Self::Other => "other",
        }
    }

    /// By the short type that git gives, which it promises not to change. What is no conflict has none.
    fn of(short_type: &str) -> Option<Self> {
        // One of them is written without the space.
        let name = short_type.strip_prefix("CONFLICT")?.trim_start().strip_prefix('(')?.strip_suffix(')')?;
        Some(match name {
            "contents" => Self::Content,
            "binary" => Self::Binary,
            "file/directory" => Self::DirectoryFile,
            "distinct modes" | "distinct types" => Self::Mode,
            "modify/delete" => Self::ModifyDelete,
            "rename/rename" | "rename involved in collision" => Self::RenameRename,
            "rename/delete" => Self::RenameDelete,
            name if name.contains("directory rename") => Self::DirectoryRename,
            name if name.starts_with("submodule") => Self::Submodule,
            _ => Self::Other,
        })
    }
}

/// One conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What it is about.
    pub path: String,
    /// Other paths that have a part in it: the names before and after a rename.
    pub others: Vec<String>,
    /// What kind it is.
    pub kind: ConflictKind,
    /// What git says of it.
    pub message: String,
}

/// Whose version of a file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The common ancestor's.
    Base,
    /// Our side's.
    Ours,
    /// Their side's.
    Theirs,
}

/// A version of a file that would be left unmerged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmerged {
    /// The file.
    pub path: String,
    /// Whose version it is.
    pub side: Side,
    /// Its mode, as git writes it: `100644`.
    pub mode: String,
    /// Its content.
    pub id: ObjectId,
}

/// How long one merge may take.
const MERGE_LIMIT: Duration = Duration::from_secs(60);

impl Git {
    /// What merging `theirs` into `ours` would come to.
    ///
    /// # Errors
    /// [`Error`] when git does not work, or there are no such commits.
    pub fn merge_tree(&self, ours: &ObjectId, theirs: &ObjectId) -> Result<Merge, Error> {
        let arguments = ["merge-tree", "--write-tree", "-z", "--messages", ours.as_str(), theirs.as_str()];
        let ended = self.merging(ours).end(&arguments)?;
        match ended.code {
            Some(0) => {
                let tree = text(&ended.stdout);
                let tree = tree.split('\0').next().and_then(|id| ObjectId::new(id).ok());
                tree.map(|tree| Merge::Clean { tree }).ok_or_else(|| ended.unreadable())
            }
            Some(1) => read_conflicts(&ended.stdout).ok_or_else(|| ended.unreadable()),
            _ if ended.stderr.contains("refusing to merge unrelated histories") => Ok(Merge::Unrelated),
            _ => Err(ended.failed()),
        }
    }

    fn merging(&self, ours: &ObjectId) -> Run<'_> {
        let run = self.run().limit(self.limit.min(MERGE_LIMIT));
        if self.version < ATTRIBUTES_OF_A_COMMIT {
            return run;
        }
        run.option(format!("--attr-source={ours}"))
    }
}

/// A tree, what is unmerged up to an empty part, then messages: how many paths, those, the type, what is said.
fn read_conflicts(said: &[u8]) -> Option<Merge> {
    let said = text(said);
    let mut parts = said.split('\0');
    ObjectId::new(parts.next()?).ok()?;
    let mut unmerged = vec![];
    for part in parts.by_ref().take_while(|part| !part.is_empty()) {
        unmerged.push(read_unmerged(part)?);
    }
    let mut conflicts = vec![];
    while let Some(count) = parts.next().filter(|part| !part.is_empty()) {
        let count: usize = count.parse().ok()?;
        let mut paths: Vec<String> = parts.by_ref().take(count).map(str::to_owned).collect();
        let (short_type, message) = (parts.next()?, parts.next()?);
        if paths.is_empty() || paths.len() != count {
            return None;
        }
        if let Some(kind) = ConflictKind::of(short_type) {
            let path = paths.remove(0);
            conflicts.push(Conflict { path, others: paths, kind, message: message.trim().to_owned() });
        }
    }
    // A version of git that says it otherwise still says which files are unmerged.
    for file in &unmerged {
        let is_told = |conflict: &Conflict| conflict.path == file.path || conflict.others.contains(&file.path);
        if !conflicts.iter().any(is_told) {
            let (path, message) = (file.path.clone(), format!("CONFLICT: {} is unmerged", file.path));
            conflicts.push(Conflict { path, others: vec![], kind: ConflictKind::Other, message });
        }
    }
    (!conflicts.is_empty()).then_some(Merge::Conflicted { conflicts, unmerged })
}

/// `100644 ID 1<tab>PATH`.
fn read_unmerged(part: &str) -> Option<Unmerged> {
    let (fields, path) = part.split_once('\t')?;
    let mut fields = fields.split(' ');
    let (mode, id) = (fields.next()?.to_owned(), ObjectId::new(fields.next()?).ok()?);
    let side = match fields.next()? {
        "1" => Side::Base,
        "2" => Side::Ours,
        "3" => Side::Theirs,
        _ => return None,
    };
    Some(Unmerged { path: path.to_owned(), side, mode, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_that_git_gives_are_known() {
        let kinds = [
            ("CONFLICT (contents)", Some(ConflictKind::Content)),
            ("CONFLICT (binary)", Some(ConflictKind::Binary)),
            ("CONFLICT (file/directory)", Some(ConflictKind::DirectoryFile)),
            ("CONFLICT (distinct modes)", Some(ConflictKind::Mode)),
            ("CONFLICT (rename involved in collision)", Some(ConflictKind::RenameRename)),
            ("CONFLICT(directory rename unclear split)", Some(ConflictKind::DirectoryRename)),
            ("CONFLICT (file in way of directory rename)", Some(ConflictKind::DirectoryRename)),
            ("CONFLICT (submodule may have rewinds)", Some(ConflictKind::Submodule)),
            ("CONFLICT (of a kind to come)", Some(ConflictKind::Other)),
            ("Auto-merging", None),
            ("Fast forwarding submodule", None),
        ];
        for (short_type, kind) in kinds {
            assert_eq!(ConflictKind::of(short_type), kind, "{short_type}");
        }
    }

    #[test]
    fn a_conflict_is_never_read_as_nothing() {
        let id = "a".repeat(40);
        let said = format!("{id}\0100644 {id} 2\tnew\nline\0\0");
        let Some(Merge::Conflicted { conflicts, unmerged }) = read_conflicts(said.as_bytes()) else { panic!("{said}") };
        assert_eq!((conflicts[0].path.as_str(), conflicts[0].kind), ("new\nline", ConflictKind::Other));
        assert_eq!(unmerged[0].side, Side::Ours);
        for bad in ["", "x\0", &format!("{id}\0"), &format!("{id}\0\09\0a\0"), &format!("{id}\0junk\0\0")] {
            assert_eq!(read_conflicts(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
