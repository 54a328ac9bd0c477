//! What git's hooks decide: nothing that another agent has locked is committed, pushed or received.
//!
//! On an agent's machine it is known who acts, so the agent's own locks are no obstacle. Where commits are received it is
//! not: there a commit shows the fencing tokens of the locks it was made under, in trailers that the `commit-msg` hook
//! adds.

use std::collections::BTreeSet;
use std::path::Path;

use coordinator::agent::caller_of;
use coordinator::local_sessions::LocalSessions;
use coordinator::repository::Repository;
use coordinator::settings::Settings;
use jiff::Timestamp;
use model::id::{AgentId, Caller};
use model::key::LockKey;
use serde_json::{Value, json};

use super::{output, parts};
use crate::desk::{Desk, Trouble, items, text};

/// The trailer that shows a lock's token: `Coordinator-Token: 42 src/a.rs`.
pub const TRAILER: &str = "Coordinator-Token";
/// The most keys of one request.
const AT_ONCE: usize = 100;
/// So many are named in a refusal.
const NAMED: usize = 20;

/// Who runs git here: whom the settings name, the agent above this process, the one whose marks are in the environment,
/// or a person.
pub fn caller(settings: &Settings, env: &dyn Fn(&str) -> Option<String>) -> Option<Caller> {
    if settings.agent_id.is_none() {
        let repository = settings.worktree.as_deref().and_then(Repository::around);
        if let Some(session) = repository.and_then(|r| LocalSessions::of(&r).around_this_process(None)) {
            return Some(Caller {
                agent_id: session.agent_id,
                agent_type: session.agent_type,
                session_id: Some(session.session_id),
            });
        }
    }
    let marks = [
        ("CLAUDECODE", "claude-code"),
        ("CODEX_SANDBOX", "codex"),
        ("CODEX_THREAD_ID", "codex"),
        ("GEMINI_CLI", "gemini-cli"),
    ];
    if let Some((_, client)) = marks.iter().find(|(mark, _)| env(mark).is_some()) {
        return caller_of(settings, client).ok();
    }
    let user = || env("USER").and_then(|name| AgentId::new(name).ok());
    let agent_id = settings.agent_id.clone().or_else(user).or_else(|| AgentId::new("user").ok())?;
    let agent_type = settings.agent_type.clone().unwrap_or_else(|| "human".into());
    Some(Caller { agent_id, agent_type, session_id: settings.session_id.clone() })
}

/// May what is staged be committed?
///
/// # Errors
/// Why it cannot be told.
pub async fn pre_commit(desk: &Desk, worktree: &Path) -> Result<Option<String>, Trouble> {
    let held = locks_on(desk, &staged(worktree)?).await?;
    Ok(refusal(&of_others(&held, desk), "commit").map(|refusal| {
        format!(
            "{refusal}\nLeave it out (git restore --staged FILE), or wait until it is free. A person who knows better can \
             commit with --no-verify."
        )
    }))
}

/// May these be pushed? `input` is what git says of them: local and remote names with their commits.
///
/// # Errors
/// Why it cannot be told.
pub async fn pre_push(desk: &Desk, worktree: &Path, remote: &str, input: &str) -> Result<Option<String>, Trouble> {
    let mut paths = BTreeSet::new();
    for line in input.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, there] = fields.as_slice() else { continue };
        if is_nothing(local) {
            continue;
        }
        let known = format!("--remotes={remote}");
        let mut range =
            vec!["log", "--no-merges", "--no-renames", "--format=", "--name-only", "-z", local, "--not", &known];
        if !is_nothing(there) && output(worktree, &["cat-file", "-e", there], b"").is_ok() {
            range.push(there);
        }
        paths.extend(parts(&output(worktree, &range, b"").map_err(Trouble::Away)?));
    }
    let held = locks_on(desk, &paths.into_iter().collect::<Vec<_>>()).await?;
    Ok(refusal(&of_others(&held, desk), "push").map(|refusal| {
        format!("{refusal}\nWait until it is free. A person who knows better can push with --no-verify.")
    }))
}

/// Shows the tokens of the caller's locks on what is staged in the commit's message.
///
/// # Errors
/// Why that cannot be done.
pub async fn commit_msg(desk: &Desk, worktree: &Path, message: &str) -> Result<(), Trouble> {
    let held = locks_on(desk, &staged(worktree)?).await?;
    let mut own: Vec<String> = held
        .iter()
        .filter(|lock| text(lock, "locked_by") == desk.caller().agent_id.as_str())
        .map(|lock| format!("{TRAILER}: {} {}", lock["fencing_token"], text(lock, "file_path")))
        .collect();
    own.sort();
    own.dedup();
    if own.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["interpret-trailers", "--in-place", "--if-exists=addIfDifferent"];
    own.iter().for_each(|trailer| arguments.extend(["--trailer", trailer]));
    arguments.push(message);
    output(worktree, &arguments, b"").map_err(Trouble::Away).map(drop)
}

/// May these be received? Each lock on what they change must be shown by one of their commits, whoever sends them.
///
/// # Errors
/// Why it cannot be told.
pub async fn pre_receive(desk: &Desk, repository: &Path, input: &str) -> Result<Option<String>, Trouble> {
    let (mut paths, mut shown) = (BTreeSet::new(), BTreeSet::new());
    let git = |arguments: &[&str]| output(repository, arguments, b"").map_err(Trouble::Away);
    for line in input.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, new, _] = fields.as_slice() else { continue };
        if is_nothing(new) {
            continue;
        }
        let names =
            git(&["log", "--no-merges", "--no-renames", "--format=", "--name-only", "-z", new, "--not", "--all"])?;
        paths.extend(parts(&names));
        let format = format!("--format=%(trailers:key={TRAILER},valueonly)");
        let trailers = git(&["log", &format, new, "--not", "--all"])?;
        let tokens = String::from_utf8_lossy(&trailers).into_owned();
        shown.extend(tokens.lines().filter_map(|value| value.split_whitespace().next()?.parse::<i64>().ok()));
    }
    let held = locks_on(desk, &paths.into_iter().collect::<Vec<_>>()).await?;
    let is_shown = |lock: &&Value| lock["fencing_token"].as_i64().is_some_and(|token| shown.contains(&token));
    let closed: Vec<&Value> = held.iter().filter(|lock| !is_shown(lock)).collect();
    Ok(refusal(&closed, "push").map(|refusal| {
        let stale = if shown.is_empty() {
            format!("No commit shows its token ({TRAILER}: TOKEN KEY, which the commit-msg hook adds).")
        } else {
            "The tokens in the commits are those of other or earlier locks.".to_owned()
        };
        format!("{refusal}\n{stale} Wait until it is free, or commit under a lock of your own.")
    }))
}

/// What is staged, as lock keys.
fn staged(worktree: &Path) -> Result<Vec<String>, Trouble> {
    let names = output(worktree, &["diff", "--cached", "--name-only", "--no-renames", "-z"], b"");
    Ok(parts(&names.map_err(Trouble::Away)?))
}

/// The object id of what is not there.
fn is_nothing(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte == b'0')
}

async fn locks_on(desk: &Desk, paths: &[String]) -> Result<Vec<Value>, Trouble> {
    let key = |path: &String| LockKey::parse(path).or_else(|_| LockKey::parse(&format!("./{path}"))).ok();
    let keys: Vec<String> = paths.iter().filter_map(key).map(|key| key.to_string()).collect();
    let mut held: Vec<Value> = vec![];
    for keys in keys.chunks(AT_ONCE) {
        let locks = desk.ask("check_locks", json!({ "file_paths": keys })).await?;
        for lock in items(&locks) {
            if !held.contains(lock) {
                held.push(lock.clone());
            }
        }
    }
    Ok(held)
}

fn of_others<'a>(held: &'a [Value], desk: &Desk) -> Vec<&'a Value> {
    held.iter().filter(|lock| text(lock, "locked_by") != desk.caller().agent_id.as_str()).collect()
}

/// Who holds what, why and until when.
fn refusal(locks: &[&Value], what: &str) -> Option<String> {
    if locks.is_empty() {
        return None;
    }
    let mut lines = vec![format!("coordinator: this {what} is refused, as it changes what others have locked:")];
    for lock in locks.iter().take(NAMED) {
        let until =
            text(lock, "expires_at").parse::<Timestamp>().map(|end| format!(" until {end:.0}")).unwrap_or_default();
        let why = Some(text(lock, "reason")).filter(|why| !why.is_empty()).map(|why| format!(" ({why})"));
        let (path, who) = (text(lock, "file_path"), text(lock, "locked_by"));
        lines.push(format!("  {path}  locked by {who}{until}{}", why.unwrap_or_default()));
    }
    if locks.len() > NAMED {
        lines.push(format!("  and {} more", locks.len() - NAMED));
    }
    Some(lines.join("\n"))
}
