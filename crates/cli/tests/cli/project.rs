//! A git repository of its own for each test, and the binary run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub const COORDINATOR: &str = env!("CARGO_BIN_EXE_coordinator");

/// A repository, and the environment that commands run in.
pub struct Project {
    temp: TempDir,
    /// The top of the work tree.
    pub path: PathBuf,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The answer of a command that was told `--json`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| unreachable!("{error}: {self:?}"))
    }

    /// The command ended with this code.
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Project {
    pub fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().canonicalize().unwrap().join("repository");
        std::fs::create_dir(&path).unwrap();
        let project = Self { temp, path };
        project.git(&["init", "--quiet"]);
        project
    }

    /// A directory beside the repository.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.temp.path().canonicalize().unwrap().join(name)
    }

    pub fn database(&self) -> PathBuf {
        self.path.join(".git/coordinator/coordinator.db")
    }

    pub fn git(&self, arguments: &[&str]) {
        let name = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
        let status = Command::new("git").current_dir(&self.path).args(name).args(arguments).status().unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    /// The binary, in this directory and with nothing of the tester's own environment but `PATH`.
    pub fn command_in(&self, directory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(COORDINATOR);
        command.args(arguments).current_dir(directory).env_clear().env("HOME", self.temp.path()).env("USER", "ann");
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_in(&self.path, arguments)
    }

    /// Runs a command as the user.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs a command as another agent.
    pub fn run_as(&self, agent: &str, arguments: &[&str]) -> Ran {
        self.command(arguments).env("AGENT_ID", agent).env("AGENT_TYPE", "claude_code_cli").output().unwrap().into()
    }
}

/// Waits until it holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
