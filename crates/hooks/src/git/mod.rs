//! Git's own hooks: the last door for what no agent's hook saw.
//!
//! - [`guard`]: what each of them decides. How they come to be called is the business of `setup`.

pub mod guard;

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// What git prints, given this on standard input.
fn output(directory: &Path, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let failed = |why: String| format!("git {} failed: {why}", arguments.first().copied().unwrap_or_default());
    let mut git = Command::new("git");
    git.arg("-C").arg(directory).args(arguments);
    git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = git.spawn().map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that reads no input closes it.
        stdin.write_all(input).or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(failed(error.to_string())),
        })?;
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// The parts of what git prints with `-z`.
fn parts(text: &[u8]) -> Vec<String> {
    let parts = text.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    parts
        .map(|part| String::from_utf8_lossy(part).trim_start_matches('\n').to_owned())
        .filter(|p| !p.is_empty())
        .collect()
}
