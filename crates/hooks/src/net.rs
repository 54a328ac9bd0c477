//! The second net: what git sees in the work tree, against what others have locked. Some ways to change a file fire no
//! hook, and hooks have been known to fall silent.
//!
//! It takes a run of `git status`, so it is cast from time to time and given little time.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use coordinator::local_sessions::{LocalSession, LocalSessions};
use serde_json::json;

use crate::desk::{Desk, Trouble, items, text};
use crate::fingerprint;
use crate::log::{Line, Notes};

/// How long git may take.
const PATIENCE: Duration = Duration::from_millis(150);
/// Hooks that were silent for so long while files changed have fallen silent.
const QUIET: Duration = Duration::from_secs(10 * 60);
/// So many changed files are looked at.
const MOST: usize = 100;
/// What was seen the last time, in the session's directory.
const SEEN: &str = "tree";

/// The files that differ from what is committed, and how each looks now.
type Tree = BTreeMap<String, String>;

/// What was found, for the agent and to remember.
#[derive(Default)]
pub struct Caught {
    /// What the agent is told.
    pub warnings: Vec<String>,
    /// What to remember.
    pub lines: Vec<Line>,
}

/// Looks for changes, since the last look, of what another agent holds: that agent is told too.
pub async fn cast(
    desk: &Desk,
    worktree: &Path,
    directory: &Path,
    sessions: &LocalSessions,
    notes: &Notes,
) -> Result<Caught, Trouble> {
    let mut caught = Caught::default();
    let Some(now) = tree(worktree) else { return Ok(caught) };
    let seen = directory.join(SEEN);
    let before: Option<Tree> = std::fs::read(&seen).ok().and_then(|text| serde_json::from_slice(&text).ok());
    remember(&seen, &now);
    // The first look finds what was there before.
    let Some(before) = before else { return Ok(caught) };
    let changed: Vec<&String> =
        now.iter().filter(|(path, look)| before.get(*path) != Some(look)).map(|(path, _)| path).collect();
    let changed: Vec<&String> =
        changed.into_iter().take(MOST).filter(|path| model::key::LockKey::parse(path).is_ok()).collect();
    if changed.is_empty() {
        return Ok(caught);
    }
    let held = desk.ask("check_locks", json!({ "file_paths": changed })).await?;
    let me = desk.caller().agent_id.as_str();
    let here: Vec<LocalSession> = sessions.all().into_iter().filter(|session| session.worktree == worktree).collect();
    for lock in items(&held).iter().filter(|lock| text(lock, "locked_by") != me) {
        let (who, key) = (text(lock, "locked_by"), text(lock, "file_path"));
        // In one work tree it is the holder's own change.
        if here.iter().any(|session| session.agent_id.as_str() == who && sessions.is_alive(session)) {
            continue;
        }
        let what = format!("trespass {key} {}", text(lock, "locked_at"));
        if notes.is_told(&what) {
            continue;
        }
        caught.lines.push(Line::Told { what });
        caught.warnings.push(format!(
            "{key} is locked by {who} and was changed in your work tree. If that was you, undo it (git restore) or settle \
             it with {who}: send_message."
        ));
        let report =
            format!("{key}, which you have locked, was changed in the work tree of {me} ({}).", worktree.display());
        // It is told to the agent that can undo it in any case.
        let sent = desk.ask("send_message", json!({"to": who, "text": report, "thread": key})).await;
        if let Err(trouble @ Trouble::Away(_)) = sent {
            return Err(trouble);
        }
    }
    Ok(caught)
}

/// The sessions whose hooks have fallen silent while files change in their work trees.
pub fn quiet(sessions: &LocalSessions, me: &str) -> Vec<String> {
    let mut warnings = vec![];
    for session in sessions.all().into_iter().filter(|session| session.agent_id.as_str() != me) {
        let Some(silence) = sessions.silence(&session).filter(|silence| *silence >= QUIET) else { continue };
        // Others' changes cannot be told apart in a work tree that is shared.
        let shared = sessions.all().into_iter().filter(|other| other.worktree == session.worktree).count() > 1;
        if shared || !sessions.is_alive(&session) {
            continue;
        }
        let last = SystemTime::now() - silence + Duration::from_secs(60);
        let newest = tree(&session.worktree).unwrap_or_default().into_keys().find(|path| {
            let file = std::fs::metadata(session.worktree.join(path));
            file.and_then(|file| file.modified()).is_ok_and(|changed| changed > last)
        });
        if let Some(path) = newest {
            warnings.push(format!(
                "the hooks of {} have been silent for {} min while files change there ({path}): its edits are not guarded",
                session.agent_id,
                silence.as_secs() / 60
            ));
        }
    }
    warnings
}

/// What differs, as git sees it; nothing if that takes too long.
fn tree(worktree: &Path) -> Option<Tree> {
    let mut git = Command::new("git");
    git.arg("-C").arg(worktree).args(["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=normal"]);
    // It must not take the index's lock from a command of the agent's.
    git.env("GIT_OPTIONAL_LOCKS", "0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = git.spawn().ok()?;
    let mut stdout = child.stdout.take()?;
    let (sender, read) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = vec![];
        let _ = sender.send(stdout.read_to_end(&mut text).map(|_| text));
    });
    let text = read.recv_timeout(PATIENCE);
    if text.is_err() {
        // It may have ended just now.
        let _ = child.kill();
    }
    let status = child.wait().ok()?;
    let text = text.ok()?.ok().filter(|_| status.success())?;
    let entries = text.split(|byte| *byte == 0).filter_map(|entry| entry.get(3..));
    let paths = entries.map(|path| String::from_utf8_lossy(path).into_owned()).filter(|path| !path.is_empty());
    Some(paths.map(|path| (path.clone(), look(&worktree.join(&path)))).collect())
}

fn look(path: &Path) -> String {
    match fingerprint::outside(path) {
        Some(print) => format!("{} {}", print.size, print.changed),
        None => "gone".into(),
    }
}

/// All of it or nothing; where that is not possible the next look is the first.
fn remember(seen: &PathBuf, now: &Tree) {
    let beside = seen.with_extension(std::process::id().to_string());
    let written = serde_json::to_vec(now).map_err(std::io::Error::from).and_then(|text| std::fs::write(&beside, text));
    let _ = written.and_then(|()| std::fs::rename(&beside, seen));
}
