//! Builds cars: merges made of trees, with no checkout. The same entries upon the same base give the same commits.

use std::collections::BTreeMap;

use git::commits::{NewCommit, Signature};
use git::merge::Merge;
use git::{Git, ObjectId};
use merging::{Built, Candidate, Commit, Conflict, ConflictsWith, EntryId, Tree};

use crate::runner::{Error, Style, object};

/// What is to be known of entries to build them.
pub(crate) struct Builder<'a> {
    pub git: &'a Git,
    pub style: Style,
    pub titles: &'a BTreeMap<EntryId, String>,
}

impl Builder<'_> {
    /// Builds a row of cars upon each other.
    pub fn row(&self, base: &Commit, cars: &[Vec<Candidate>]) -> Result<(Vec<Built>, Vec<Conflict>), Error> {
        let base = object(base)?;
        let (mut tip, mut built, mut conflicts) = (base.clone(), vec![], vec![]);
        for car in cars {
            let before = conflicts.len();
            for candidate in car {
                let head = object(&candidate.head)?;
                let what = match self.git.merge_tree(&tip, &head)? {
                    Merge::Clean { tree } => {
                        tip = self.commit(&tip, &head, &tree, candidate)?;
                        continue;
                    }
                    other => in_words(&other),
                };
                let with = if tip != base && self.git.merge_tree(&base, &head)?.tree().is_some() {
                    ConflictsWith::EntriesAhead
                } else {
                    ConflictsWith::Target
                };
                conflicts.push(Conflict { entry: candidate.id.clone(), with, what });
            }
            if conflicts.len() - before < car.len() {
                let tree = self.git.tree_of(tip.as_str())?.ok_or(Error::Gone(tip.to_string()))?;
                built.push(Built { commit: Commit::new(tip.as_str()), tree: Tree::new(tree.as_str()) });
            }
        }
        Ok((built, conflicts))
    }

    fn commit(
        &self,
        tip: &ObjectId,
        head: &ObjectId,
        tree: &ObjectId,
        candidate: &Candidate,
    ) -> Result<ObjectId, Error> {
        let author = self.git.author(head)?;
        let committer =
            Signature { name: "coordinator".into(), email: "coordinator@localhost".into(), ..author.clone() };
        let title = self.titles.get(&candidate.id).map_or("", String::as_str);
        let message = match self.style {
            Style::Merge => format!("Merge {title}\n\nFeature: {}\n", candidate.id),
            Style::Squash => format!("{title}\n\nFeature: {}\nSquashed-From: {head}\n", candidate.id),
        };
        let parents = match self.style {
            Style::Merge => vec![tip.clone(), head.clone()],
            Style::Squash => vec![tip.clone()],
        };
        let new = NewCommit { tree, parents: &parents, message: &message, author: &author, committer: &committer };
        Ok(self.git.commit_tree(&new)?)
    }
}

fn in_words(merge: &Merge) -> String {
    match merge {
        Merge::Clean { .. } => String::new(),
        Merge::Unrelated => "its branch has no history in common with the target".into(),
        Merge::Conflicted { conflicts, .. } => {
            let files: Vec<String> =
                conflicts.iter().take(20).map(|c| format!("{} ({})", c.path, c.kind.as_str())).collect();
            format!("conflicts in {}", files.join(", "))
        }
    }
}
