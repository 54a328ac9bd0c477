//! How a command ends: with an exit code that a script can go by, and where it failed, with a sentence.

use std::fmt;
use std::io;
use std::process::ExitCode;

use coordinator::failure::Failure;
use coordinator::settings::BadSettings;
use serde_json::{Value, json};
use store::StoreError;

use crate::arguments::Globals;
use crate::output;

/// How a command ended. `coordinator --help` tells what the codes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// An ordinary no: a lock that is taken, an empty queue, nothing found.
    Refused = 1,
    /// The command line, its input or the settings are wrong.
    Usage = 2,
    /// The database or the server cannot be reached.
    Unreachable = 3,
    /// A defect of ours.
    Defect = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do what it was told.
#[derive(Debug)]
pub struct Trouble {
    exit: Exit,
    message: String,
    body: Value,
}

impl Trouble {
    /// With a stable code for programs and a sentence for people.
    pub fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let body = json!({"success": false, "error": code, "message": message});
        Self { exit, message, body }
    }

    /// The command line or its input is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Trouble {}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        let exit = match failure {
            Failure::Invalid { .. } => Exit::Usage,
            Failure::Forbidden(_) | Failure::Conflict(_) | Failure::TooMany { .. } => Exit::Refused,
            Failure::Unavailable(_) => Exit::Unreachable,
            Failure::Internal(_) => Exit::Defect,
        };
        Self { exit, message: failure.message(), body: failure.body() }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl From<BadSettings> for Trouble {
    fn from(bad: BadSettings) -> Self {
        Self::new(Exit::Usage, "bad_settings", bad.to_string())
    }
}

/// Tells of what went wrong, if anything did, and gives the process its exit code.
pub fn code(globals: &Globals, result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(exit) => return exit,
        Err(error) => error,
    };
    let trouble = match error.downcast::<Trouble>() {
        Ok(trouble) => trouble,
        // Whoever read our output has heard enough: `coordinator audit | head`.
        Err(error) if is_broken_pipe(&error) => return Exit::Done.into(),
        Err(error) => Trouble::new(Exit::Defect, "internal_error", format!("{error:#}")),
    };
    if !globals.json || output::json(&trouble.body).is_err() {
        output::complain(&trouble);
    }
    trouble.exit.into()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
