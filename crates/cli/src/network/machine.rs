//! What package managers' settings are read from: variables, files, and the managers themselves.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A machine, or what a test has in its place.
pub trait Machine {
    /// All variables of the environment.
    fn variables(&self) -> Vec<(String, String)>;
    /// What is in a file; `None` where it cannot be read.
    fn read(&self, path: &Path) -> Option<String>;
    /// What is in a directory.
    fn list(&self, path: &Path) -> Vec<PathBuf>;
    /// What a program prints to standard output; `None` where there is no such program, or it fails.
    fn ask(&self, program: &str, arguments: &[&str]) -> Option<String>;

    /// A variable that is set to something.
    fn variable(&self, name: &str) -> Option<String> {
        self.variables().into_iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value)
    }

    /// A directory that a variable names, or else one in the home directory.
    fn directory(&self, variable: &str, in_home: &str) -> PathBuf {
        let home = || PathBuf::from(self.variable("HOME").unwrap_or_default()).join(in_home);
        self.variable(variable).map_or_else(home, PathBuf::from)
    }
}

/// The machine we are on.
pub struct ThisMachine;

/// How long a program may take to tell its settings.
const PATIENCE: Duration = Duration::from_secs(15);

impl Machine for ThisMachine {
    fn variables(&self) -> Vec<(String, String)> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    fn read(&self, path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    fn list(&self, path: &Path) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        paths
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let mut asked = Command::new(program);
        asked.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = asked.spawn().ok()?;
        let mut out = child.stdout.take()?;
        let reader = thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).map(|_| text)
        });
        let until = Instant::now() + PATIENCE;
        loop {
            match child.try_wait().ok()? {
                Some(status) if status.success() => return reader.join().ok()?.ok(),
                Some(_) => return None,
                None if Instant::now() >= until => {
                    // Some ask a network that does not answer.
                    let _ = child.kill();
                    let _ = child.wait();
                    return None;
                }
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}
