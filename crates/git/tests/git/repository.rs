//! A repository to work on, and `git` as a person runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use git::{Git, ObjectId};
use tempfile::TempDir;

/// A repository that is gone when this is dropped.
pub struct Repository {
    pub directory: TempDir,
}

impl Repository {
    /// With one commit, on `main`.
    pub fn new() -> Self {
        let repository = Self { directory: TempDir::new().unwrap() };
        repository.git(&["init", "-q", "-b", "main"]);
        for (name, value) in [("user.name", "T"), ("user.email", "t@localhost"), ("commit.gpgSign", "false")] {
            repository.git(&["config", name, value]);
        }
        repository.commit("start", &[("README", "hello\n")]);
        repository
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn open(&self) -> Git {
        Git::open(self.path()).unwrap()
    }

    /// What git prints; it must succeed.
    pub fn git(&self, arguments: &[&str]) -> String {
        git_in(self.path(), arguments)
    }

    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let file = self.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Commits these files on what is checked out.
    pub fn commit(&self, message: &str, files: &[(&str, &str)]) -> ObjectId {
        for (path, text) in files {
            self.write(path, text);
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.head()
    }

    pub fn head(&self) -> ObjectId {
        ObjectId::new(self.git(&["rev-parse", "HEAD"]).trim()).unwrap()
    }
}

pub fn git_in(directory: &Path, arguments: &[&str]) -> String {
    let output = plain_git(directory).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// With nobody's settings.
pub fn plain_git(directory: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(directory).env("LC_ALL", "C").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    git
}
