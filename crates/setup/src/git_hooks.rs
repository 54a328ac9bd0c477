//! A line of ours in a git hook. What is there already stays, and runs after it.

use std::path::{Path, PathBuf};

use crate::part::{Part, Piece};
use crate::place::Place;
use crate::text::in_the_manner_of;
use crate::view::{Found, View};

/// What tells our lines from others'.
const MARK: &str = "# coordinator: git guard";

/// The pieces for the hooks in this directory, which is where git looks for them.
pub fn pieces(view: &dyn View, place: &Place, directory: &Path) -> Vec<Piece> {
    let line = format!("{} || exit $? {MARK}", place.command_line("git-guard pre-commit \"$@\""));
    vec![Piece { path: pre_commit(view, directory), part: Part::GitHook { line }, purpose: "git guard" }]
}

/// The hook that keeps commits out.
pub fn pre_commit(view: &dyn View, directory: &Path) -> PathBuf {
    own_scripts(view, directory).join("pre-commit")
}

/// Husky lets git look into a directory that it makes anew, whose scripts run those in the directory above it.
fn own_scripts(view: &dyn View, directory: &Path) -> PathBuf {
    match directory.parent() {
        Some(above) if directory.ends_with("_") && view.look(&directory.join("h")) != Found::Nothing => {
            above.to_owned()
        }
        _ => directory.to_owned(),
    }
}

/// The script with our line in it, before anything else that runs.
///
/// # Errors
/// A sentence, when it is no shell script.
pub(crate) fn put(body: &str, line: &str) -> Result<String, String> {
    if body.is_empty() {
        return Ok(format!("#!/bin/sh\n{line}\n"));
    }
    let (first, rest) = body.split_at(body.find('\n').map_or(body.len(), |at| at + 1));
    let is_shell = match first.strip_prefix("#!") {
        // Husky runs scripts without such a line by `sh`, and so does the kernel's caller.
        None => true,
        Some(program) => {
            program.split(['/', ' ', '\t']).any(|word| matches!(word.trim(), "sh" | "bash" | "dash" | "zsh" | "ksh"))
        }
    };
    if !is_shell {
        return Err(format!(
            "it is no shell script, so no line can be put into it; let it run this first: {}",
            line.trim_end_matches(MARK).trim_end_matches("|| exit $? ").trim()
        ));
    }
    let ours = in_the_manner_of(body, &format!("{line}\n"));
    if body.contains(&ours) {
        return Ok(body.to_owned());
    }
    let body = take(body);
    Ok(if first.starts_with("#!") && !rest.is_empty() {
        let rest = take(rest);
        [first, &ours, &rest].concat()
    } else if first.starts_with("#!") {
        [first.trim_end(), "\n", &ours].concat()
    } else {
        [ours, body].concat()
    })
}

/// The script without our line.
pub(crate) fn take(body: &str) -> String {
    let rest: String = body.split_inclusive('\n').filter(|line| !line.trim_end().ends_with(MARK)).collect();
    if rest.trim() == "#!/bin/sh" && rest.len() < body.len() { String::new() } else { rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_keeps_what_it_did() {
        let line = format!("coordinator git-guard pre-commit \"$@\" || exit $? {MARK}");
        for before in
            ["", "#!/bin/sh\nmake lint\n", "#!/usr/bin/env bash\r\nmake\r\n", "npx lint-staged\n", "#!/bin/bash"]
        {
            let with = put(before, &line).unwrap();
            assert_eq!(with.matches(MARK).count(), 1, "{with}");
            assert_eq!(put(&with, &line).unwrap(), with);
            let newer = put(&with, &line.replace("coordinator git", "/opt/coordinator git")).unwrap();
            assert_eq!(newer.matches(MARK).count(), 1, "{newer}");
            assert_eq!(take(&with).trim_end(), before.trim_end());
        }
        assert!(put("#!/usr/bin/env python3\n", &line).unwrap_err().contains("coordinator git-guard pre-commit"));
    }
}
