//! The keeper: a process that runs one command, and ends everything below it when the command ends, when it is over its
//! limits, or when whoever started the keeper is gone.
//!
//! What a command starts may leave its process group and its session, and may ignore every signal but one. On Linux the
//! keeper is a subreaper: whatever loses its parent becomes its child, so that all that is left is below it in any case.
//! Elsewhere it reaches the command's process group.
//!
//! It reads a [`Job`] as one line from standard input and lives no longer than that stays open. The command's output goes to
//! the keeper's standard error, the [`Report`] as one line to its standard output.

use std::collections::BTreeMap;
use std::io::{BufRead, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, WaitOptions};
use serde::{Deserialize, Serialize};

use crate::tree::Below;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(10);
/// How often it counts what there is below it.
const COUNT: Duration = Duration::from_millis(100);
/// How long processes have to end by themselves once they are told to.
const GRACE: Duration = Duration::from_millis(1000);

/// What to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Where.
    pub directory: PathBuf,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// What it reads from its standard input; nothing when absent.
    #[serde(default)]
    pub input: Option<String>,
    /// How long it may take.
    pub milliseconds: u64,
    /// How much memory it may use, with all that it starts.
    pub memory_bytes: u64,
    /// How many processes there may be at once.
    pub processes: usize,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// It took too long.
    TookTooLong,
    /// It used too much memory.
    UsedTooMuchMemory,
    /// It started too many processes.
    StartedTooMany,
    /// Nobody wanted it any more.
    Stopped,
    /// It did not start.
    NotStarted(String),
}

/// Runs the job that standard input names.
pub fn main() -> ExitCode {
    let mut line = String::new();
    let mut stdin = std::io::stdin().lock();
    let job = stdin.read_line(&mut line).map_err(|error| error.to_string());
    drop(stdin);
    let job = job.and_then(|_| serde_json::from_str(&line).map_err(|error| error.to_string()));
    let report = match job {
        Ok(job) => keep(&job, gone()),
        Err(error) => Report::NotStarted(error),
    };
    match serde_json::to_vec(&report).map(|report| std::io::stdout().write_all(&report)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        // Nobody is there to read it.
        _ => ExitCode::FAILURE,
    }
}

/// Becomes true when standard input is closed.
fn gone() -> Arc<AtomicBool> {
    let gone = Arc::new(AtomicBool::new(false));
    let ours = Arc::clone(&gone);
    thread::spawn(move || {
        let mut rest = [0; 64];
        while std::io::stdin().read(&mut rest).is_ok_and(|read| read > 0) {}
        ours.store(true, Ordering::SeqCst);
    });
    gone
}

fn keep(job: &Job, gone: Arc<AtomicBool>) -> Report {
    let mut child = match start(job) {
        Ok(child) => child,
        Err(error) => return Report::NotStarted(error),
    };
    let report = watch(&mut child, job, &gone);
    if !matches!(report, Report::Exited(_) | Report::Signalled(_)) {
        end_gently(&mut child);
    }
    end_all(&mut child);
    report
}

fn start(job: &Job) -> Result<Child, String> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|error| error.to_string())?;
    let (program, arguments) = job.command.split_first().ok_or("there is no command")?;
    let output = || std::io::stderr().as_fd().try_clone_to_owned().map(Stdio::from).map_err(|error| error.to_string());
    let input = match &job.input {
        Some(text) => read_from(text).map_err(|error| error.to_string())?,
        None => Stdio::null(),
    };
    Command::new(program)
        .args(arguments)
        .current_dir(&job.directory)
        .env_clear()
        .envs(&job.environment)
        .stdin(input)
        .stdout(output()?)
        .stderr(output()?)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{program}: {error}"))
}

/// A file of no name, so that nobody has to wait until it is read.
fn read_from(text: &str) -> std::io::Result<Stdio> {
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

fn watch(child: &mut Child, job: &Job, gone: &AtomicBool) -> Report {
    let deadline = Instant::now() + Duration::from_millis(job.milliseconds);
    let mut count_at = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return ended(status),
            Ok(None) => {}
            Err(error) => return Report::NotStarted(error.to_string()),
        }
        let now = Instant::now();
        if gone.load(Ordering::SeqCst) {
            return Report::Stopped;
        }
        if now >= deadline {
            return Report::TookTooLong;
        }
        if now >= count_at {
            let below = Below::now();
            if below.bytes() > job.memory_bytes {
                return Report::UsedTooMuchMemory;
            }
            if below.count() > job.processes {
                return Report::StartedTooMany;
            }
            count_at = now + COUNT;
        }
        thread::sleep(LOOK);
    }
}

fn ended(status: ExitStatus) -> Report {
    match (status.code(), status.signal()) {
        (Some(code), _) => Report::Exited(code),
        (None, signal) => Report::Signalled(signal.unwrap_or_default()),
    }
}

/// Tells all to end, and gives them a moment.
fn end_gently(child: &mut Child) {
    Below::now().signal(Signal::TERM);
    let until = Instant::now() + GRACE;
    while Instant::now() < until && Below::now().count() > 0 {
        let _ = child.try_wait();
        reap();
        thread::sleep(LOOK);
    }
}

/// Kills all that is left until nothing is: what is started meanwhile is found in the next turn.
fn end_all(child: &mut Child) {
    #[cfg(not(target_os = "linux"))]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let below = Below::now();
    below.signal(Signal::KILL);
    let _ = child.wait();
    loop {
        let below = Below::now();
        if below.count() == 0 {
            return;
        }
        below.signal(Signal::KILL);
        reap();
        thread::sleep(Duration::from_millis(1));
    }
}

/// Takes leave of those who ended, so that they do not count any more.
fn reap() {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}
