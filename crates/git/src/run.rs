//! How the program is run: arguments as they are, an environment that nobody's settings reach, a time limit that holds
//! for everything it starts.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{LEAST_VERSION, ObjectId, Version};

/// Of what git says in an error, so much is kept.
const SAID_LIMIT: usize = 2000;
/// After its end, so long nothing more is said.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How often it is run again beside a work tree that is being made, after 10 ms, 20 ms and so on.
const WORKTREE_TRIES: u32 = 8;
/// What git prints is never longer, unless something is wrong.
const OUTPUT_LIMIT: u64 = 256 * 1024 * 1024;

/// What of our environment git may see of its own: how to reach a remote, and where its settings are. Anything else
/// (`GIT_DIR` in a hook, `GIT_INDEX_FILE`, `GIT_TRACE`) would make it work on something else or say it otherwise.
const KEPT: &[&str] = &[
    "GIT_ASKPASS",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_EXEC_PATH",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
];

/// Settings that change what git prints, or start something that outlives it. What decides merges (renames, drivers,
/// attributes) stays the user's: the verdict is to be that of their `git merge`.
const SETTINGS: &[&str] =
    &["core.quotePath=false", "color.ui=false", "gc.auto=0", "maintenance.auto=false", "core.splitIndex=false"];

/// Why git could not say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such program.
    #[error("there is no `git` on the path: install git {}.{} or later", LEAST_VERSION.major, LEAST_VERSION.minor)]
    NoGit,
    /// It is too old.
    #[error(
        "git {}.{} cannot merge without a checkout: install git {}.{} or later",
        found.major, found.minor, LEAST_VERSION.major, LEAST_VERSION.minor
    )]
    TooOld {
        /// The version that is there.
        found: Version,
    },
    /// The directory is in no repository that git would work in.
    #[error("{} is in no git repository that can be used: {said}", directory.display())]
    NoRepository {
        /// The directory.
        directory: PathBuf,
        /// What git said.
        said: String,
    },
    /// It ended with an error.
    #[error("`git {command}` failed ({status}): {said}")]
    Failed {
        /// What was asked.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        said: String,
    },
    /// It took too long, and was killed with all that it had started.
    #[error("`git {command}` was killed, as it took longer than {limit:?}")]
    TooSlow {
        /// What was asked.
        command: String,
        /// How long it may take.
        limit: Duration,
    },
    /// It printed what we cannot read.
    #[error("`git {command}` printed what cannot be read: {said:?}")]
    Unreadable {
        /// What was asked.
        command: String,
        /// How that begins.
        said: String,
    },
    /// A name that git would take for something else.
    #[error("{name:?} is no {what}")]
    BadName {
        /// What was to be named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The operating system refused something.
    #[error("could not {what}: {why}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        why: String,
    },
}

impl Error {
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        Self::Io { what: what.to_owned(), why: error.to_string() }
    }

    pub(crate) fn unreadable(command: &str, said: &[u8]) -> Self {
        Self::Unreadable { command: command.to_owned(), said: text(said).chars().take(200).collect() }
    }

    pub(crate) fn in_no_repository(self, directory: &Path) -> Self {
        match self {
            Self::Failed { said, .. } => Self::NoRepository { directory: directory.to_owned(), said },
            other => other,
        }
    }
}

/// How a command ended that could end well or otherwise.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; none if it was killed.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    command: String,
    status: String,
}

impl Ended {
    /// As an error.
    pub fn failed(self) -> Error {
        let said = if self.stderr.is_empty() { text(&self.stdout) } else { self.stderr };
        let said = said.trim().chars().take(SAID_LIMIT).collect();
        Error::Failed { command: self.command, status: self.status, said }
    }

    /// Did it find a work tree's files made, and not yet written?
    fn met_half_a_worktree(&self) -> bool {
        self.code != Some(0) && self.stderr.contains("failed to read") && self.stderr.contains("/commondir")
    }

    /// It printed what cannot be read.
    pub fn unreadable(&self) -> Error {
        Error::unreadable(&self.command, &self.stdout)
    }
}

/// One run to be.
pub(crate) struct Run<'a> {
    directory: &'a Path,
    limit: Duration,
    env: Vec<(&'static str, OsString)>,
    settings: Vec<&'static str>,
    options: Vec<String>,
    input: &'a [u8],
    held: Option<File>,
}

impl<'a> Run<'a> {
    pub fn new(directory: &'a Path, limit: Duration) -> Self {
        Self { directory, limit, env: vec![], settings: vec![], options: vec![], input: b"", held: None }
    }

    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// With a setting of its own.
    pub fn setting(mut self, setting: &'static str) -> Self {
        self.settings.push(setting);
        self
    }

    /// With an option of the program itself, before the command.
    pub fn option(mut self, option: String) -> Self {
        self.options.push(option);
        self
    }

    pub fn input(mut self, input: &'a [u8]) -> Self {
        self.input = input;
        self
    }

    /// Holding this lock for as long as it runs, also when we are killed meanwhile: the file is what it reads, which is
    /// nothing.
    pub fn holding(mut self, lock: File) -> Self {
        self.held = Some(lock);
        self
    }

    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// What it prints.
    pub fn output(self, arguments: &[&str]) -> Result<Vec<u8>, Error> {
        let ended = self.end(arguments)?;
        if ended.code == Some(0) { Ok(ended.stdout) } else { Err(ended.failed()) }
    }

    /// The one id that it prints.
    pub fn id(self, arguments: &[&str]) -> Result<ObjectId, Error> {
        let said = self.output(arguments)?;
        ObjectId::new(text(&said).trim()).map_err(|_| Error::unreadable(&arguments.join(" "), &said))
    }

    /// How it ends. Git dies of a work tree that somebody else is just about to make, before it does anything itself: then it
    /// is run again.
    pub fn end(self, arguments: &[&str]) -> Result<Ended, Error> {
        let mut tries = 0;
        loop {
            let ended = self.once(arguments)?;
            if tries == WORKTREE_TRIES || !ended.met_half_a_worktree() {
                return Ok(ended);
            }
            tries += 1;
            thread::sleep(Duration::from_millis(10) * tries);
        }
    }

    fn once(&self, arguments: &[&str]) -> Result<Ended, Error> {
        let command = arguments.iter().take(8).copied().collect::<Vec<_>>().join(" ");
        let mut child = self.command(arguments)?.spawn().map_err(|error| match error.kind() {
            // The directory not being there gives the same error.
            io::ErrorKind::NotFound if self.directory.is_dir() => Error::NoGit,
            _ => Error::io(&format!("run git in {}", self.directory.display()), &error),
        })?;
        let deadline = Instant::now() + self.limit;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (stdin, Some(stdout), Some(stderr)) = pipes else {
            kill(&mut child);
            return Err(Error::io("run git", &io::Error::other("it has no pipes")));
        };
        // These threads are not waited for: what git started (an ssh that stays) may hold a pipe open after its end.
        let input = self.input.to_vec();
        if let Some(mut stdin) = stdin.filter(|_| !input.is_empty()) {
            thread::spawn(move || {
                // One that reads no input closes it, and says what is wrong by its exit code.
                let _ = stdin.write_all(&input);
            });
        }
        let said = pass_on(stderr);
        let (done, printed) = mpsc::channel();
        thread::spawn(move || done.send(read(stdout)));
        let ended = match printed.recv_timeout(self.limit) {
            Ok(stdout) => wait(&mut child, deadline).map(|status| (stdout, status)),
            Err(_) => None,
        };
        let Some((stdout, status)) = ended else {
            kill(&mut child);
            return Err(Error::TooSlow { command, limit: self.limit });
        };
        let mut stderr = vec![];
        while let Ok(more) = said.recv_timeout(LAST_WORDS) {
            stderr.extend(more);
        }
        Ok(Ended { code: status.code(), stdout, stderr: text(&stderr), command, status: status.to_string() })
    }

    fn command(&self, arguments: &[&str]) -> Result<Command, Error> {
        let held = self.held.as_ref().map(File::try_clone).transpose();
        let held = held.map_err(|error| Error::io("hold a lock while git runs", &error))?;
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("GIT_") && !KEPT.contains(&&*name_text) {
                command.env_remove(&name);
            }
        }
        command.env("LC_ALL", "C").env_remove("LANGUAGE");
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        for setting in SETTINGS.iter().chain(&self.settings) {
            command.arg("-c").arg(setting);
        }
        command.args(&self.options).args(arguments).current_dir(self.directory);
        command.stdin(held.map_or_else(Stdio::piped, Stdio::from)).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that all of it can be ended together.
        command.process_group(0);
        Ok(command)
    }
}

fn read(mut pipe: impl Read) -> Vec<u8> {
    let mut bytes = vec![];
    // What was read before an error is all there is.
    let _ = pipe.by_ref().take(OUTPUT_LIMIT).read_to_end(&mut bytes);
    bytes
}

/// What is said there, as it comes, up to a limit.
fn pass_on(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(16);
    thread::spawn(move || {
        let (mut chunk, mut left) = (vec![0; 4096], SAID_LIMIT * 8);
        while let Ok(read) = pipe.read(&mut chunk) {
            // The rest is read all the same: whoever writes to a closed pipe is killed.
            let kept = read.min(left);
            left -= kept;
            if read == 0 || (kept > 0 && sender.send(chunk[..kept].to_vec()).is_err()) {
                break;
            }
        }
    });
    receiver
}

/// It has closed its output, so that it ends at once or is about to hang.
fn wait(child: &mut Child, deadline: Instant) -> Option<std::process::ExitStatus> {
    let mut pause = Duration::from_micros(50);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(pause),
            Ok(None) | Err(_) => return None,
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn kill(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Where nothing of the group is left there is nothing to do.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

/// What git prints, as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The parts of what git prints with `-z`.
pub(crate) fn parts(bytes: &[u8]) -> impl Iterator<Item = String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let is_empty = bytes.is_empty();
    bytes.split(|byte| *byte == 0).filter(move |_| !is_empty).map(text)
}
