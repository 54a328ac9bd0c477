//! Runs a command on this machine: in a directory, within limits, with nothing of our environment but what it is to have.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::keeper::Job;
pub use crate::keeper::Report;
use crate::output::Output;

/// What every command gets of our environment.
const ALWAYS: &[&str] = &["PATH", "HOME", "USER", "LANG", "TZ"];

/// What runs commands.
#[derive(Debug, Clone)]
pub struct Inline {
    /// The program and the arguments that are a [`keeper`](crate::keeper).
    pub keeper: Vec<OsString>,
    /// How much memory a command may use, with all that it starts.
    pub memory_bytes: u64,
    /// How much it may print.
    pub output_bytes: u64,
    /// How many processes it may have at once.
    pub processes: usize,
}

impl Inline {
    /// With this keeper, and limits that leave room for a build of this program.
    pub fn new(keeper: Vec<OsString>) -> Self {
        Self { keeper, memory_bytes: 8 << 30, output_bytes: 256 << 20, processes: 4096 }
    }
}

/// How a command ended, and what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub how: How,
    /// The beginning and the end of its output.
    pub output: String,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// As the keeper says.
    Kept(Report),
    /// It printed too much.
    PrintedTooMuch,
    /// Its keeper is gone: somebody killed it, or it could not start.
    Unkept(String),
}

impl Ended {
    /// Did it pass?
    pub fn has_passed(&self) -> bool {
        self.how == How::Kept(Report::Exited(0))
    }

    /// How it ended, in words.
    pub fn how(&self) -> String {
        match &self.how {
            How::Kept(Report::Exited(code)) => format!("it ended with code {code}"),
            How::Kept(Report::Signalled(signal)) => format!("it was ended by signal {signal}"),
            How::Kept(Report::TookTooLong) => "it took longer than it may and was killed".into(),
            How::Kept(Report::UsedTooMuchMemory) => "it used more memory than it may and was killed".into(),
            How::Kept(Report::StartedTooMany) => "it started more processes than it may and was killed".into(),
            How::Kept(Report::Stopped) => "it was stopped".into(),
            How::Kept(Report::NotStarted(why)) => format!("it did not start: {why}"),
            How::PrintedTooMuch => "it printed more than it may and was killed".into(),
            How::Unkept(why) => format!("what watches it ended: {why}"),
        }
    }
}

/// Stops what runs, from another thread.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Mutex<Line>>);

/// The line to a keeper, which lives no longer than it is held.
#[derive(Debug, Default)]
enum Line {
    #[default]
    NotYet,
    Held(#[expect(dead_code, reason = "to be closed when it is dropped")] ChildStdin),
    Cut,
}

impl Stop {
    /// Stops it; what has not begun yet ends at once.
    pub fn stop(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Line::Cut;
    }

    /// Was it stopped?
    pub fn is_stopped(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), Line::Cut)
    }

    fn hold(&self, line: ChildStdin) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*held, Line::Cut) {
            *held = Line::Held(line);
        }
    }
}

/// The environment of a command: what every one gets, and these variables.
///
/// # Errors
/// The names that are not set.
pub fn environment(
    names: &[String],
    variable: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, Vec<String>> {
    let missing: Vec<String> = names.iter().filter(|name| variable(name).is_none()).cloned().collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let all = ALWAYS.iter().copied().chain(names.iter().map(String::as_str));
    Ok(all.filter_map(|name| Some((name.to_owned(), variable(name)?))).collect())
}

impl Inline {
    /// Runs it to its end. Nothing of it is left then.
    pub fn run(
        &self,
        command: &[String],
        directory: &Path,
        environment: BTreeMap<String, String>,
        timeout: Duration,
        stop: &Stop,
    ) -> Ended {
        self.run_with(command, directory, environment, None, timeout, stop)
    }

    /// The same with something to read from its standard input.
    pub fn run_with(
        &self,
        command: &[String],
        directory: &Path,
        environment: BTreeMap<String, String>,
        input: Option<String>,
        timeout: Duration,
        stop: &Stop,
    ) -> Ended {
        let job = Job {
            command: command.to_vec(),
            directory: directory.to_owned(),
            environment,
            input,
            milliseconds: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            memory_bytes: self.memory_bytes,
            processes: self.processes,
        };
        self.keep(&job, stop)
            .unwrap_or_else(|error| Ended { how: How::Unkept(error.to_string()), output: String::new() })
    }

    fn keep(&self, job: &Job, stop: &Stop) -> std::io::Result<Ended> {
        let (program, arguments) = self.keeper.split_first().ok_or_else(|| std::io::Error::other("no keeper"))?;
        let mut keeper = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pipes = (keeper.stdin.take(), keeper.stdout.take(), keeper.stderr.take());
        let (Some(mut line), Some(mut report), Some(output)) = pipes else {
            return Err(std::io::Error::other("no pipes"));
        };
        let mut text = serde_json::to_vec(job)?;
        text.push(b'\n');
        // One that ended at once says why below.
        let _ = line.write_all(&text);
        stop.hold(line);
        let too_much = Arc::new(Mutex::new(false));
        let reader = {
            let (limit, stop, too_much) = (self.output_bytes, stop.clone(), Arc::clone(&too_much));
            thread::spawn(move || {
                Output::read(output, limit, || {
                    *too_much.lock().unwrap_or_else(PoisonError::into_inner) = true;
                    stop.stop();
                })
            })
        };
        let mut said = vec![];
        report.read_to_end(&mut said)?;
        let status = keeper.wait()?;
        let output = reader.join().unwrap_or_default().into_text();
        let how = match serde_json::from_slice(&said) {
            Ok(Report::Stopped) if *too_much.lock().unwrap_or_else(PoisonError::into_inner) => How::PrintedTooMuch,
            Ok(report) => How::Kept(report),
            Err(_) => How::Unkept(status.to_string()),
        };
        Ok(Ended { how, output })
    }
}
