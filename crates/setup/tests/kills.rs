//! Real kills at every step of setting up and of taking it back: whoever comes next brings it to its end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use setup::apply::Journal;
use setup::undo::undo;
use setup::{Agent, Disk, Homes, Place, Record, Scope, git_hooks, plan};

/// What the child is told: the place, what to do, and at which step it is killed.
const ROOT: &str = "KILLS_ROOT";
const DEED: &str = "KILLS_DEED";
const STEP: &str = "KILLS_STEP";

/// What is done to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    SetUp,
    /// By a version that is installed elsewhere.
    Upgrade,
    Undo,
}

impl Deed {
    const ALL: [Self; 3] = [Self::SetUp, Self::Upgrade, Self::Undo];

    fn program(self) -> &'static str {
        if self == Self::Upgrade { "/opt/newer/coordinator" } else { "/usr/bin/coordinator" }
    }
}

fn record_file(root: &Path) -> PathBuf {
    root.join(".git/coordinator/setup/record.json")
}

/// As `coordinator init` does it.
fn act(root: &Path, deed: Deed, after: Box<dyn Fn()>) {
    let file = record_file(root);
    if deed == Deed::Undo {
        if Record::load(&file).unwrap().is_none() {
            return;
        }
        let mut journal = Journal::open(&file, root).unwrap();
        journal.after = after;
        let plan = undo(&Disk, &journal.record);
        assert_eq!((plan.changed.len(), &plan.problems[..]), (0, &[][..]), "nobody changed anything");
        assert_eq!(journal.take_back(&plan).unwrap(), []);
        return;
    }
    let homes = Homes { home: root.to_owned(), claude: None, codex: None };
    let place = Place { scope: Scope::Project, root: root.to_owned(), homes, program: deed.program().into() };
    let pieces: Vec<_> = Agent::ALL.iter().flat_map(|agent| agent.pieces(&place)).collect();
    let mut plan = plan::plan(&Disk, &place, &pieces);
    let hooks = git_hooks::install(&Disk, &root.join(".git/hooks"), &place.program, git_hooks::LOCAL);
    assert_eq!((&plan.problems[..], &hooks.problems[..]), (&[][..], &[][..]));
    plan.edits.extend(hooks.edits);
    if plan.edits.is_empty() && !file.exists() {
        return;
    }
    let mut journal = Journal::open(&file, root).unwrap();
    journal.after = after;
    assert_eq!(journal.carry_out(&plan.edits).unwrap(), []);
}

/// In a process of its own, which is killed at a step.
#[test]
#[ignore = "the process that the test below kills"]
fn child() {
    let said = |name: &str| std::env::var(name).unwrap();
    let deed = Deed::ALL.into_iter().find(|deed| format!("{deed:?}") == said(DEED)).unwrap();
    let (step, taken) = (said(STEP).parse::<usize>().unwrap(), Cell::new(0));
    let after = move || {
        taken.set(taken.get() + 1);
        if taken.get() == step {
            let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            unreachable!("it was killed");
        }
    };
    act(Path::new(&said(ROOT)), deed, Box::new(after));
}

fn killed_at(root: &Path, deed: Deed, step: usize) -> ExitStatus {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["child", "--exact", "--ignored"]).env(ROOT, root).env(DEED, format!("{deed:?}"));
    child.env(STEP, step.to_string()).output().unwrap().status
}

/// Everything that is there but for our records: bytes and permissions.
fn tree(root: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in directory.read_dir().unwrap().flatten() {
            let path = entry.path();
            if path == root.join(".git/coordinator") {
                continue;
            }
            let mode = entry.metadata().unwrap().permissions().mode();
            let bytes = if path.is_dir() { vec![] } else { std::fs::read(&path).unwrap() };
            if path.is_dir() {
                todo.push(path.clone());
            }
            all.insert(path.strip_prefix(root).unwrap().to_owned(), (bytes, mode));
        }
    }
    all
}

/// Some files that are there and some that are not, and hooks of every kind.
fn fixture(root: &Path) {
    for (path, text) in [
        (".mcp.json", "{\"mcpServers\":{\"other\":{\"command\":\"x\",\"args\":[]}}}"),
        ("CLAUDE.md", "# How we work\n\nNo trailing newline"),
        (".git/hooks/pre-commit", "#!/bin/sh"),
        (".git/hooks/pre-push", "#!/usr/bin/env python3\nprint(1)\n"),
    ] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Does these deeds in a new place, killed in the last at this step; whether it came to that step.
fn after_a_kill(deeds: &[Deed], step: usize, then: impl FnOnce(&Path)) -> bool {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap();
    fixture(&root);
    let (last, before) = deeds.split_last().unwrap();
    before.iter().for_each(|deed| act(&root, *deed, Box::new(|| {})));
    let ended = killed_at(&root, *last, step);
    assert!(ended.success() || ended.signal() == Some(9), "{deeds:?} at {step}: {ended:?}");
    then(&root);
    !ended.success()
}

#[test]
fn whatever_was_killed_at_any_step_is_finished_or_taken_back_by_the_next() {
    let mut states = vec![];
    for deeds in [&[][..], &[Deed::SetUp], &[Deed::SetUp, Deed::Upgrade]] {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        fixture(&root);
        deeds.iter().for_each(|deed| act(&root, *deed, Box::new(|| {})));
        states.push(tree(&root).into_iter().map(|(path, (_, mode))| (path, mode)).collect::<Vec<_>>());
    }
    let mut steps = 0;
    for deeds in [&[Deed::SetUp][..], &[Deed::SetUp, Deed::Upgrade], &[Deed::SetUp, Deed::Undo]] {
        for step in 1.. {
            let context = format!("{deeds:?} killed at {step}");
            let pristine = |root: &Path| {
                let original = tempfile::tempdir().unwrap();
                fixture(original.path());
                assert_eq!(tree(root), tree(original.path()), "{context}");
                assert!(!record_file(root).exists(), "{context}");
            };
            let was_killed = after_a_kill(deeds, step, |root| {
                act(root, Deed::Undo, Box::new(|| {}));
                pristine(root);
            });
            after_a_kill(deeds, step, |root| {
                // Twice: the second time there is nothing left to do.
                act(root, Deed::SetUp, Box::new(|| {}));
                let done = tree(root);
                act(root, Deed::SetUp, Box::new(|| {}));
                assert_eq!(tree(root), done, "{context}");
                let shape: Vec<_> = done.into_iter().map(|(path, (_, mode))| (path, mode)).collect();
                assert_eq!(shape, states[1], "{context}");
                act(root, Deed::Undo, Box::new(|| {}));
                pristine(root);
            });
            if !was_killed {
                break;
            }
            steps += 1;
        }
    }
    assert!(steps > 60, "{steps} steps are too few to have been all");
}
