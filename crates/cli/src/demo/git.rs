//! Git in the demo: the program itself, deaf to the user's configuration, environment and hooks.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::project;

/// A work tree, and in whose name commits are made there.
#[derive(Debug, Clone)]
pub struct WorkTree {
    /// Its top.
    pub path: PathBuf,
    /// The committer.
    pub author: String,
}

impl WorkTree {
    /// The work tree at `path`.
    pub fn new(path: impl Into<PathBuf>, author: &str) -> Self {
        Self { path: path.into(), author: author.to_owned() }
    }

    /// Runs git there and returns what it printed, without the last line's end.
    ///
    /// # Errors
    /// When git cannot be started, or says no.
    pub async fn git(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
            command.env_remove(name);
        }
        let email = format!("{}@demo.invalid", self.author);
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_EDITOR", "true")
            .env("GIT_AUTHOR_NAME", &self.author)
            .env("GIT_AUTHOR_EMAIL", &email)
            .env("GIT_COMMITTER_NAME", &self.author)
            .env("GIT_COMMITTER_EMAIL", &email)
            .env("LC_ALL", "C")
            .current_dir(&self.path)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command.output().await.context("the demo needs the git program")?;
        if !output.status.success() {
            // Of a conflict git tells on standard output.
            let why = [output.stderr, output.stdout].concat();
            let why = String::from_utf8_lossy(&why).trim().to_owned();
            bail!("git {} in {}: {why}", arguments.join(" "), self.path.display());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
    }

    /// Switches to a branch that begins at main, with nothing left of what was there before.
    ///
    /// # Errors
    /// As [`Self::git`].
    pub async fn begin_branch(&self, branch: &str) -> Result<()> {
        // Git looks a name up twice, for the files and then for the branch: when somebody merges in between, the files are
        // those of the commit before, and to commit them would undo the merge. A commit stays what it is.
        let start = self.git(&["rev-parse", "main"]).await?;
        self.git(&["checkout", "--quiet", "--force", "-B", branch, &start]).await?;
        self.git(&["clean", "-fdq"]).await?;
        Ok(())
    }

    /// The commits on main that were made for a task: what the last lines of their messages say.
    ///
    /// # Errors
    /// As [`Self::git`].
    pub async fn merges(&self) -> Result<Vec<Merge>> {
        let log = self.git(&["log", "--first-parent", "--format=%H%x1f%B%x1e", "main"]).await?;
        let merge = |entry: &str| {
            let (commit, message) = entry.trim().split_once('\x1f')?;
            let task_id = message.lines().find_map(|line| line.strip_prefix(TASK_TRAILER))?;
            Some(Merge { commit: commit.to_owned(), task_id: task_id.trim().to_owned() })
        };
        Ok(log.split('\x1e').filter_map(merge).collect())
    }
}

/// How a commit says for which task it was made.
pub const TASK_TRAILER: &str = "Task: ";

/// A task's commit on main.
#[derive(Debug, Clone)]
pub struct Merge {
    /// The commit.
    pub commit: String,
    /// The task.
    pub task_id: String,
}

/// Makes the repository, with main checked out at `path`.
///
/// # Errors
/// As [`WorkTree::git`].
pub async fn create(path: &Path) -> Result<WorkTree> {
    std::fs::create_dir_all(path)?;
    let main = WorkTree::new(path, "demo");
    main.git(&["init", "--quiet", "--template="]).await?;
    main.git(&["symbolic-ref", "HEAD", "refs/heads/main"]).await?;
    // Whoever keeps the repository may run git in it with a configuration of their own.
    for setting in [
        "core.hooksPath=/dev/null",
        "core.autocrlf=false",
        "commit.gpgSign=false",
        "gc.auto=0",
        "maintenance.auto=false",
    ] {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        main.git(&["config", name, value]).await?;
    }
    for edit in project::base() {
        let file = path.join(&edit.path);
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(file, edit.lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    }
    main.git(&["add", "--all"]).await?;
    main.git(&["commit", "--quiet", "--message", "Begin the shop"]).await?;
    Ok(main)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_branch_begins_clean_however_fast_main_moves() -> Result<()> {
        const TIMES: usize = 30;
        let directory = tempfile::tempdir()?;
        let main = create(&directory.path().join("main")).await?;
        let here = directory.path().join("ada");
        main.git(&["worktree", "add", "--quiet", "--detach", &here.to_string_lossy(), "main"]).await?;
        let here = WorkTree::new(here, "ada");

        let moves = async {
            for time in 0..TIMES {
                std::fs::write(main.path.join("README.md"), format!("{time}\n"))?;
                main.git(&["commit", "--quiet", "--all", "--message", "Go on"]).await?;
            }
            anyhow::Ok(())
        };
        let begins = async {
            for time in 0..TIMES {
                here.begin_branch(&format!("ada/{time}")).await?;
                assert_eq!(here.git(&["status", "--porcelain"]).await?, "", "the branch is not what is checked out");
            }
            anyhow::Ok(())
        };
        tokio::try_join!(moves, begins)?;
        Ok(())
    }
}
