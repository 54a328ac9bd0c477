//! Where we are: the git repository around a directory, found by reading files as git does.

use std::path::{Path, PathBuf};

/// A git work tree and the directory its repository keeps its data in, which all its work trees share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The top of the work tree.
    pub worktree: PathBuf,
    /// The git common directory: usually `.git` of the main work tree.
    pub common_dir: PathBuf,
    /// What git keeps for this work tree alone: its `HEAD`, its index.
    pub git_dir: PathBuf,
}

impl Repository {
    /// The repository around `start`, if it is in one.
    pub fn around(start: &Path) -> Option<Self> {
        let start = start.canonicalize().ok()?;
        start.ancestors().find_map(|directory| {
            let git_dir = git_dir_of(&directory.join(".git"))?;
            let common_dir = common_dir_of(&git_dir);
            Some(Self { worktree: directory.to_owned(), common_dir, git_dir })
        })
    }
}

/// `.git` itself, or what a `.git` file of a linked work tree points to.
fn git_dir_of(dot_git: &Path) -> Option<PathBuf> {
    if dot_git.is_dir() {
        return dot_git.join("HEAD").exists().then(|| dot_git.to_owned());
    }
    let text = std::fs::read_to_string(dot_git).ok()?;
    let target = text.strip_prefix("gitdir:")?.trim();
    dot_git.parent()?.join(target).canonicalize().ok()
}

/// A linked work tree's directory names the shared one in its file `commondir`.
fn common_dir_of(git_dir: &Path) -> PathBuf {
    std::fs::read_to_string(git_dir.join("commondir"))
        .ok()
        .and_then(|text| git_dir.join(text.trim()).canonicalize().ok())
        .unwrap_or_else(|| git_dir.to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn git(directory: &Path, arguments: &[&str]) {
        let output = Command::new("git").current_dir(directory).args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn all_work_trees_of_a_repository_share_one_directory() {
        let temp = tempfile::tempdir().unwrap();
        let main = temp.path().join("main");
        std::fs::create_dir_all(main.join("src/deep")).unwrap();
        git(&main, &["init", "-q"]);
        git(&main, &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "x"]);
        git(&main, &["worktree", "add", "-q", "../other"]);

        let here = Repository::around(&main.join("src/deep")).unwrap();
        let there = Repository::around(&temp.path().join("other")).unwrap();
        assert_eq!(here.worktree, main.canonicalize().unwrap());
        assert_eq!(there.worktree, temp.path().join("other").canonicalize().unwrap());
        assert_eq!(here.common_dir, main.join(".git").canonicalize().unwrap());
        assert_eq!(here.common_dir, there.common_dir);
        assert_eq!((&here.git_dir, there.git_dir), (&here.common_dir, here.common_dir.join("worktrees/other")));
        assert_eq!(Repository::around(temp.path()), None);
    }
}
