//! How git comes to call us, beside whatever it calls already.
//!
//! A hook that is a shell script gets a block of ours at its beginning, between markers; one in another language is set
//! aside and called from a script of ours. Either way the other hook sees the same arguments and the same input, and its
//! exit code decides when ours has no objection. Nothing is written here: what is to be written is told.

use std::path::{Path, PathBuf};

use super::output;

/// A change of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The file.
    pub path: PathBuf,
    /// What is in it now; nothing where there is no such file.
    pub before: Option<Vec<u8>>,
    /// What is in it afterwards; nothing where there is no such file then.
    pub after: Option<Vec<u8>>,
    /// The permissions of a file that is made.
    pub mode: Option<u32>,
}

/// A file as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is in it.
    pub text: Vec<u8>,
    /// May it be run?
    pub is_executable: bool,
}

/// How files are looked at.
pub type View<'a> = &'a dyn Fn(&Path) -> Option<Found>;

/// The hooks of an agent's or a person's work tree.
pub const LOCAL: &[&str] = &["pre-commit", "commit-msg", "post-commit", "pre-push"];
/// The hook of a repository that others push to.
pub const SERVER: &[&str] = &["pre-receive"];
/// Those that git says something to on standard input.
const WITH_INPUT: &[&str] = &["pre-push", "pre-receive"];

const BEGIN: &str =
    "# >>> coordinator >>> keeps what other agents have locked; `coordinator git-hooks uninstall` removes it";
const END: &str = "# <<< coordinator <<<";
/// What the name of a hook that was set aside ends with.
const ASIDE: &str = ".before-coordinator";
const SHEBANG: &str = "#!/bin/sh\n";

/// Where one hook stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It calls us, as this version would have it.
    Installed,
    /// It calls us otherwise.
    Outdated,
    /// It does not call us.
    Missing,
}

/// Where git looks for hooks: `core.hooksPath` counts, and husky's scripts are beside the directory that it generates.
///
/// # Errors
/// What git says.
pub fn directory(worktree: &Path) -> Result<PathBuf, String> {
    let said = output(worktree, &["rev-parse", "--git-path", "hooks"], b"")?;
    let directory = worktree.join(String::from_utf8_lossy(&said).trim_end_matches('\n'));
    let generated = directory.ends_with(".husky/_");
    Ok(match directory.parent() {
        Some(above) if generated => above.to_owned(),
        _ => directory,
    })
}

/// A file on the disk.
pub fn on_disk(path: &Path) -> Option<Found> {
    use std::os::unix::fs::PermissionsExt;
    let text = std::fs::read(path).ok()?;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    Some(Found { text, is_executable: mode & 0o111 != 0 })
}

/// What is to be written so that git calls `program`, as a shell reads that, for these hooks. Nothing that is right already.
///
/// # Errors
/// What stands in the way, and what to do about it.
pub fn install(view: View<'_>, directory: &Path, program: &str, hooks: &[&str]) -> Result<Vec<Edit>, String> {
    let mut edits = vec![];
    for hook in hooks {
        let path = directory.join(hook);
        let (found, husky) = (view(&path), directory.ends_with(".husky"));
        let before = found.as_ref().map(|found| found.text.clone());
        let after = match &found {
            None if husky => block(program, hook).into_bytes(),
            None => format!("{SHEBANG}{}", block(program, hook)).into_bytes(),
            Some(found) if is_shell(&found.text) => {
                if !found.is_executable && !husky {
                    return Err(format!(
                        "{} is there but is not executable, so git does not run it: make it executable (chmod +x) or \
                         remove it, then try again",
                        path.display()
                    ));
                }
                with_block(&without_block(&found.text), &block(program, hook))
            }
            Some(found) => {
                let aside = directory.join(format!("{hook}{ASIDE}"));
                if view(&aside).is_some() {
                    return Err(format!("{} is in the way: move it elsewhere, then try again", aside.display()));
                }
                edits.push(Edit { path: aside, before: None, after: Some(found.text.clone()), mode: Some(0o755) });
                format!("{SHEBANG}{}exec \"$0{ASIDE}\" \"$@\"\n", block(program, hook)).into_bytes()
            }
        };
        if before.as_ref() != Some(&after) {
            let mode = before.is_none().then_some(0o755);
            edits.push(Edit { path, before, after: Some(after), mode });
        }
    }
    Ok(edits)
}

/// What is to be written so that git calls us no more: what others wrote is as it was.
pub fn uninstall(view: View<'_>, directory: &Path, hooks: &[&str]) -> Vec<Edit> {
    let mut edits = vec![];
    for hook in hooks {
        let path = directory.join(hook);
        let Some(found) = view(&path) else { continue };
        let rest = without_block(&found.text);
        if rest == found.text {
            continue;
        }
        let aside = directory.join(format!("{hook}{ASIDE}"));
        let calls_aside = format!("{SHEBANG}exec \"$0{ASIDE}\" \"$@\"\n").into_bytes();
        let after = match view(&aside).filter(|_| rest == calls_aside) {
            Some(original) => {
                edits.push(Edit { path: aside, before: Some(original.text.clone()), after: None, mode: None });
                Some(original.text)
            }
            None => Some(rest).filter(|rest| !rest.is_empty() && rest != SHEBANG.as_bytes()),
        };
        edits.push(Edit { path, before: Some(found.text), after, mode: None });
    }
    edits
}

/// Where each hook stands.
pub fn check<'a>(view: View<'_>, directory: &Path, program: &str, hooks: &[&'a str]) -> Vec<(&'a str, State)> {
    let state = |hook: &str| {
        let Some(found) = view(&directory.join(hook)) else { return State::Missing };
        if without_block(&found.text) == found.text {
            return State::Missing;
        }
        let now = String::from_utf8_lossy(&found.text).into_owned();
        if now.contains(&block(program, hook)) { State::Installed } else { State::Outdated }
    };
    hooks.iter().map(|hook| (*hook, state(hook))).collect()
}

/// What calls us. Without the program there is no guard, and no obstacle.
fn block(program: &str, hook: &str) -> String {
    let call = format!("{program} git-guard {hook} \"$@\"");
    // The first word is the program, quoted or not.
    let found = match program.strip_prefix('\'').and_then(|rest| rest.split_once('\'')) {
        Some((path, _)) => format!("'{path}'"),
        None => program.split(' ').next().unwrap_or_default().to_owned(),
    };
    let run = if WITH_INPUT.contains(&hook) {
        // Who comes after us reads the same input.
        format!(
            "    coordinator_input=$(cat)\n    printf '%s\\n' \"$coordinator_input\" | {call} || exit $?\n    \
             if [ -n \"$coordinator_input\" ]; then\n        exec <<COORDINATOR_INPUT\n$coordinator_input\n\
             COORDINATOR_INPUT\n    else\n        exec </dev/null\n    fi\n"
        )
    } else {
        format!("    {call} || exit $?\n")
    };
    format!("{BEGIN}\nif command -v {found} >/dev/null 2>&1; then\n{run}fi\n{END}\n")
}

/// Is it a script for a shell? One without a first line that says what it is for is.
fn is_shell(text: &[u8]) -> bool {
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(line) = first.strip_prefix(b"#!") else { return std::str::from_utf8(text).is_ok() };
    let line = String::from_utf8_lossy(line).into_owned();
    let names = ["sh", "bash", "dash", "zsh", "ksh"];
    line.split_whitespace().take(3).any(|word| names.contains(&word.rsplit('/').next().unwrap_or_default()))
}

/// With the block behind the first line, if that says what the script is for, or before everything.
fn with_block(text: &[u8], block: &str) -> Vec<u8> {
    let at = match text.strip_prefix(b"#!") {
        Some(_) => text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1),
        None => 0,
    };
    let (head, rest) = text.split_at(at);
    let gap: &[u8] = if head.is_empty() || head.ends_with(b"\n") { b"" } else { b"\n" };
    [head, gap, block.as_bytes(), rest].concat()
}

/// Without any block of ours.
fn without_block(text: &[u8]) -> Vec<u8> {
    let find = |text: &[u8], what: &str| text.windows(what.len()).position(|part| part == what.as_bytes());
    let marker = BEGIN.split(" keeps").next().unwrap_or(BEGIN);
    let Some(begin) = find(text, marker) else { return text.to_vec() };
    let Some(end) = find(&text[begin..], END) else { return text.to_vec() };
    let mut after = begin + end + END.len();
    if text.get(after) == Some(&b'\n') {
        after += 1;
    }
    without_block(&[&text[..begin], &text[after..]].concat())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Files = BTreeMap<PathBuf, Found>;

    fn apply(files: &mut Files, edits: Vec<Edit>) {
        for edit in edits {
            assert_eq!(files.get(&edit.path).map(|found| found.text.clone()), edit.before, "{}", edit.path.display());
            match edit.after {
                Some(text) => {
                    let was = files.get(&edit.path).is_some_and(|found| found.is_executable);
                    files.insert(
                        edit.path,
                        Found { text, is_executable: edit.mode.map_or(was, |mode| mode & 0o111 != 0) },
                    );
                }
                None => drop(files.remove(&edit.path)),
            }
        }
    }

    fn there(files: &[(&str, &str)]) -> Files {
        let found = |text: &str| Found { text: text.as_bytes().to_vec(), is_executable: true };
        files.iter().map(|(path, text)| (PathBuf::from(path), found(text))).collect()
    }

    #[test]
    fn what_was_there_is_kept_and_comes_back() {
        for (directory, files) in [
            ("/r/.git/hooks", there(&[])),
            ("/r/.git/hooks", there(&[("/r/.git/hooks/pre-commit", "#!/bin/sh\nmake lint\n")])),
            ("/r/.git/hooks", there(&[("/r/.git/hooks/pre-commit", "#!/usr/bin/env bash\nmake lint")])),
            ("/r/.git/hooks", there(&[("/r/.git/hooks/pre-commit", "#!/bin/sh")])),
            ("/r/.git/hooks", there(&[("/r/.git/hooks/pre-push", "#!/usr/bin/env python3\nprint(1)\n")])),
            ("/r/.husky", there(&[("/r/.husky/pre-commit", "npm test\n"), ("/r/.husky/_/h", "x")])),
        ] {
            let directory = Path::new(directory);
            let mut now = files.clone();
            let plan = install(&|path| now.get(path).cloned(), directory, "coordinator", LOCAL).unwrap();
            assert!(!plan.is_empty());
            apply(&mut now, plan);
            let states = check(&|path| now.get(path).cloned(), directory, "coordinator", LOCAL);
            assert!(states.iter().all(|(_, state)| *state == State::Installed), "{states:?}");
            let newer = check(&|path| now.get(path).cloned(), directory, "/opt/coordinator", LOCAL);
            assert!(newer.iter().all(|(_, state)| *state == State::Outdated), "{newer:?}");
            let again = install(&|path| now.get(path).cloned(), directory, "coordinator", LOCAL).unwrap();
            assert_eq!(again, [], "once is enough");
            let back = uninstall(&|path| now.get(path).cloned(), directory, LOCAL);
            apply(&mut now, back);
            let texts = |files: &Files| {
                files.iter().map(|(path, found)| (path.clone(), found.text.clone())).collect::<Vec<_>>()
            };
            let ends_newline = |files: &Files| files.values().all(|found| found.text.ends_with(b"\n"));
            if ends_newline(&files) {
                assert_eq!(texts(&now), texts(&files));
            }
        }
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let mut files = there(&[("/h/pre-commit", "#!/bin/sh\nmake\n")]);
        files.get_mut(Path::new("/h/pre-commit")).unwrap().is_executable = false;
        let said = install(&|path| files.get(path).cloned(), Path::new("/h"), "coordinator", LOCAL).unwrap_err();
        assert!(said.contains("chmod +x"), "{said}");
    }
}
