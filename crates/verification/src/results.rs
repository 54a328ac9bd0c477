//! What passed already. A result counts for the same tree, command and versions of tools, and for nothing else; only what
//! passed is kept, since a failure may have been a flaky one.

use std::io::Write;
use std::path::{Path, PathBuf};

use model::verification::Executor;
use sha2::{Digest, Sha256};

use crate::Policy;

/// What a result is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Of a policy: for the tree, with what its tools print as their versions. What a person or a program of your own says
    /// is an answer about the policy, whatever else has the same command.
    pub fn of(policy: &Policy, tree: &str, versions: &[String]) -> Self {
        let asked = |whom: &str| [&[whom.to_owned(), policy.name.clone()], policy.command.as_slice()].concat();
        match policy.executor {
            Executor::Inline => Self::new(tree, &policy.command, versions),
            Executor::Command => Self::new(tree, &asked("command"), versions),
            Executor::Github => {
                // The workflow itself is a file of the tree.
                let workflow = policy.workflow.as_ref();
                let said = workflow.map(|workflow| workflow.inputs.iter().flat_map(|(name, value)| [name, value]));
                let file = workflow.map(|workflow| workflow.file.clone());
                let what = file.into_iter().chain(said.into_iter().flatten().cloned());
                Self::new(tree, &asked("github").into_iter().chain(what).collect::<Vec<_>>(), versions)
            }
            Executor::Human => Self::new(tree, &asked("human"), versions),
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of a tree's id, a command, and what the tools print as their versions.
    pub fn new(tree: &str, command: &[String], versions: &[String]) -> Self {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            // With the length, so that no two lists of parts are one text.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        part(tree);
        for list in [command, versions] {
            part(&list.len().to_string());
            list.iter().for_each(|text| part(text));
        }
        Self(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Results in a directory: one small file each.
#[derive(Debug, Clone)]
pub struct Results(PathBuf);

impl Results {
    /// Those in this directory, which is made when the first one is kept.
    pub fn at(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// Did it pass before?
    pub fn has_passed(&self, key: &Key) -> bool {
        self.0.join(&key.0).is_file()
    }

    /// Keeps that it passed, with a line for people.
    ///
    /// # Errors
    /// When it cannot be written. It is there as a whole or not at all.
    pub fn keep(&self, key: &Key, what: &str) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.0)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        writeln!(file, "{what}")?;
        file.persist(self.0.join(&key.0))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn a_result_counts_for_the_same_three_only() {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::at(&directory.path().join("new"));
        let key = Key::new("t1", &list(&["make", "test"]), &list(&["1.0"]));
        assert!(!results.has_passed(&key));
        results.keep(&key, "tests").unwrap();
        assert!(results.has_passed(&key));
        for other in [
            Key::new("t2", &list(&["make", "test"]), &list(&["1.0"])),
            Key::new("t1", &list(&["make"]), &list(&["test", "1.0"])),
            Key::new("t1", &list(&["make", "test"]), &list(&["1.1"])),
            Key::new("t1", &list(&["maketest"]), &list(&["1.0"])),
        ] {
            assert!(!results.has_passed(&other), "{other:?}");
        }
    }
}
