//! How git comes to call us, beside whatever it calls already: the one place that knows, for `init` and `git-hooks`.
//!
//! A hook that is a shell script gets a block of ours at its beginning, between markers ([`block`]); one in another language
//! is set aside and called from a script of ours. Either way the other hook sees the same arguments and the same input, and
//! its exit code decides when ours has no objection.

mod block;

use std::path::{Path, PathBuf};

use crate::part::Part;
use crate::plan::{Edit, Plan, Problem, missing_directories, writable};
use crate::view::{Found, View, resolve};

use block::{CALLS_ASIDE, without};

/// The hooks of an agent's or a person's work tree.
pub const LOCAL: &[&str] = &["pre-commit", "commit-msg", "post-commit", "pre-push"];
/// The hook of a repository that others push to.
pub const SERVER: &[&str] = &["pre-receive"];
/// What the name of a hook that was set aside ends with.
const ASIDE: &str = ".before-coordinator";
const PURPOSE: &str = "git guard";

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

/// The directory whose scripts are to be changed where git looks into this one: husky lets git look into one that it makes
/// anew, whose scripts run those in the directory above it.
pub fn scripts(view: &dyn View, directory: &Path) -> PathBuf {
    match directory.parent() {
        Some(above) if is_of_husky(view, directory) => above.to_owned(),
        _ => directory.to_owned(),
    }
}

fn is_of_husky(view: &dyn View, directory: &Path) -> bool {
    directory.ends_with(".husky/_") || directory.ends_with("_") && view.look(&directory.join("h")) != Found::Nothing
}

/// What is to be changed so that git, which looks into this directory, calls `program`, as a shell reads that, in these
/// hooks.
pub fn install(view: &dyn View, directory: &Path, program: &str, hooks: &[&str]) -> Plan {
    let manner = if is_of_husky(view, directory) { Manner::Husky } else { Manner::Git };
    let scripts = scripts(view, directory);
    let mut plan = Plan::default();
    for hook in hooks {
        let path = scripts.join(hook);
        match one(view, &path, &block::text(program, hook), manner) {
            Ok(edits) if edits.is_empty() => plan.unchanged.push(path),
            Ok(edits) => plan.edits.extend(edits),
            Err(message) => plan.problems.push(Problem { path, message }),
        }
    }
    plan
}

/// Who runs the scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Git: they must be executable and say by whom they are read.
    Git,
    /// Husky, by a shell.
    Husky,
}

fn one(view: &dyn View, path: &Path, block: &block::Block, manner: Manner) -> Result<Vec<Edit>, String> {
    const EXECUTABLE: u32 = 0o111;
    let path = resolve(view, path)?;
    let (before, mode) = match view.look(&path) {
        Found::Nothing => (None, EXECUTABLE),
        Found::File { bytes, mode } => (Some(bytes), mode),
        Found::Directory { .. } => return Err("it is a directory".into()),
        Found::Link(_) => return Err("it is a symbolic link".into()),
        Found::Unusable(why) => return Err(why),
    };
    let mut edits = vec![];
    let after = match &before {
        None => block.alone(manner == Manner::Git),
        Some(text) if block::is_shell(text) => {
            if mode & EXECUTABLE == 0 && manner == Manner::Git {
                return Err(
                    "it is not executable, so git does not run it: make it executable (chmod +x) or remove it, then \
                     run this again"
                        .into(),
                );
            }
            block.put(text)
        }
        Some(text) => {
            let aside = beside(&path);
            match view.look(&aside) {
                Found::Nothing => {
                    let original = Part::Whole { text: String::from_utf8_lossy(text).into_owned() };
                    edits.push(edit(view, aside, None, text.clone(), original)?);
                }
                // Whoever set it aside was killed before it came to the hook itself.
                Found::File { bytes, .. } if bytes == *text => {}
                _ => return Err(format!("{} is in the way: move it elsewhere, then run this again", aside.display())),
            }
            [&block.alone(true)[..], CALLS_ASIDE.as_bytes()].concat()
        }
    };
    if before.as_ref() != Some(&after) {
        edits.push(edit(view, path, before, after, Part::GitBlock)?);
    }
    Ok(edits)
}

/// Where a hook is set aside.
fn beside(path: &Path) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(ASIDE);
    PathBuf::from(aside)
}

fn edit(view: &dyn View, path: PathBuf, before: Option<Vec<u8>>, after: Vec<u8>, part: Part) -> Result<Edit, String> {
    writable(view, &path)?;
    Ok(Edit {
        directories: missing_directories(view, &path),
        mode: before.is_none().then_some(0o755),
        path,
        before,
        after: Some(after),
        purposes: vec![PURPOSE],
        parts: vec![part],
    })
}

/// What is to be changed so that git calls us no more: what others wrote is as it was.
pub fn uninstall(view: &dyn View, directory: &Path, hooks: &[&str]) -> Plan {
    let scripts = scripts(view, directory);
    let mut plan = Plan::default();
    for hook in hooks {
        let path = scripts.join(hook);
        let Ok(path) = resolve(view, &path) else { continue };
        let Found::File { bytes: now, .. } = view.look(&path) else { continue };
        let change = |path: PathBuf, before: Vec<u8>, after: Option<Vec<u8>>| Edit {
            path,
            before: Some(before),
            after,
            mode: None,
            purposes: vec![PURPOSE],
            parts: vec![],
            directories: vec![],
        };
        let (rest, aside) = (without(&now), beside(&path));
        let original = match view.look(&aside) {
            Found::File { bytes, .. } => Some(bytes),
            _ => None,
        };
        // What was set aside goes last: until then the hook calls it. It is the hook's own text where somebody was killed
        // in between.
        match (rest, original) {
            (Some(rest), original) if rest == now => {
                plan.edits.extend(original.filter(|original| *original == now).map(|text| change(aside, text, None)));
            }
            (Some(rest), Some(original)) if rest == CALLS_ASIDE.as_bytes() => {
                plan.edits.push(change(path, now, Some(original.clone())));
                plan.edits.push(change(aside, original, None));
            }
            (rest, _) => plan.edits.push(change(path, now, rest)),
        }
    }
    plan
}

/// A hook's script without what is ours, where a hook was set aside for it and `before` is what that was.
pub(crate) fn take(body: &str, before: Option<&str>) -> Result<String, String> {
    let Some(rest) = without(body.as_bytes()) else { return Ok(String::new()) };
    if rest == CALLS_ASIDE.as_bytes() {
        return before.map(str::to_owned).ok_or_else(|| "it calls a hook that was no text".into());
    }
    String::from_utf8(rest).map_err(|error| error.to_string())
}

/// Where each hook stands.
pub fn check<'a>(view: &dyn View, directory: &Path, program: &str, hooks: &[&'a str]) -> Vec<(&'a str, State)> {
    let scripts = scripts(view, directory);
    let state = |hook: &str| {
        let found = resolve(view, &scripts.join(hook)).map(|path| view.look(&path));
        let Ok(Found::File { bytes, .. }) = found else { return State::Missing };
        if without(&bytes).as_ref() == Some(&bytes) {
            return State::Missing;
        }
        if block::text(program, hook).is_in(&bytes) { State::Installed } else { State::Outdated }
    };
    hooks.iter().map(|hook| (*hook, state(hook))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Files in memory, with their permissions.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Files(BTreeMap<PathBuf, (Vec<u8>, u32)>);

    impl View for Files {
        fn look(&self, path: &Path) -> Found {
            match self.0.get(path) {
                Some((bytes, mode)) => Found::File { bytes: bytes.clone(), mode: *mode },
                None if self.0.keys().any(|file| file.starts_with(path)) || path == Path::new("/") => {
                    Found::Directory { mode: 0o755 }
                }
                None => Found::Nothing,
            }
        }
    }

    impl Files {
        fn of(files: &[(&str, &[u8])]) -> Self {
            let keep = ("/r/keep", &b""[..]);
            let files = files.iter().chain([&keep]).map(|(path, text)| (PathBuf::from(path), (text.to_vec(), 0o755)));
            Self(files.collect())
        }

        fn make(&mut self, plan: Plan) {
            assert_eq!(plan.problems, []);
            for edit in plan.edits {
                assert_eq!(self.0.get(&edit.path).map(|(bytes, _)| bytes.clone()), edit.before, "{:?}", edit.path);
                let mode = self.0.get(&edit.path).map_or(edit.mode.unwrap_or(0o644), |(_, mode)| *mode);
                match edit.after {
                    Some(text) => drop(self.0.insert(edit.path, (text, mode))),
                    None => drop(self.0.remove(&edit.path)),
                }
            }
        }
    }

    const HOOKS: &str = "/r/.git/hooks";

    #[test]
    fn what_was_there_is_kept_and_comes_back_byte_for_byte() {
        let hook = |text: &'static [u8]| Files::of(&[("/r/.git/hooks/pre-commit", text)]);
        for (directory, files) in [
            (HOOKS, Files::of(&[])),
            (HOOKS, hook(b"#!/bin/sh\nmake lint\n")),
            (HOOKS, hook(b"#!/usr/bin/env bash\nmake lint")),
            (HOOKS, hook(b"#!/usr/bin/env bash\r\nmake lint\r\n")),
            (HOOKS, hook(b"#!/bin/sh")),
            (HOOKS, hook(b"#!/bin/sh\n")),
            (HOOKS, hook(b"make lint")),
            (HOOKS, hook(b"")),
            (HOOKS, hook(b"#!/usr/bin/env python3\nprint(1)\n")),
            (HOOKS, hook(b"\x7fELF\xff\x00program")),
            ("/r/.husky/_", Files::of(&[("/r/.husky/pre-commit", b"npm test\n"), ("/r/.husky/_/h", b"x")])),
        ] {
            let directory = Path::new(directory);
            let mut now = files.clone();
            let plan = install(&now, directory, "coordinator", LOCAL);
            assert!(!plan.edits.is_empty());
            now.make(plan);
            let states = check(&now, directory, "coordinator", LOCAL);
            assert!(states.iter().all(|(_, state)| *state == State::Installed), "{states:?}");
            let newer = check(&now, directory, "/opt/coordinator", LOCAL);
            assert!(newer.iter().all(|(_, state)| *state == State::Outdated), "{newer:?}");
            assert_eq!(install(&now, directory, "coordinator", LOCAL).edits, [], "once is enough");
            let mut upgraded = now.clone();
            upgraded.make(install(&now, directory, "/opt/coordinator", LOCAL));
            for mut installed in [now, upgraded] {
                installed.make(uninstall(&installed, directory, LOCAL));
                assert_eq!(installed, files);
            }
        }
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let mut files = Files::of(&[("/r/.git/hooks/pre-commit", b"#!/bin/sh\nmake\n")]);
        files.0.get_mut(Path::new("/r/.git/hooks/pre-commit")).unwrap().1 = 0o644;
        let plan = install(&files, Path::new(HOOKS), "coordinator", LOCAL);
        assert!(plan.problems[0].message.contains("chmod +x"), "{plan:?}");
        assert_eq!(plan.edits.len(), LOCAL.len() - 1, "the others are set up all the same");
        let mut files = Files::of(&[("/r/.git/hooks/pre-push", b"#!/usr/bin/python3\n")]);
        files.0.insert("/r/.git/hooks/pre-push.before-coordinator".into(), (vec![], 0o755));
        let plan = install(&files, Path::new(HOOKS), "coordinator", LOCAL);
        assert!(plan.problems[0].message.contains("is in the way"), "{plan:?}");
    }
}
