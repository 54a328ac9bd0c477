//! Short locks on what an agent is about to change.

use std::path::Path;
use std::process::{Command, Stdio};

use jiff::{Timestamp, ToSpan};
use model::key::LockKey;
use serde_json::{Value, json};

use crate::desk::{Desk, Trouble, items, text};
use crate::log::Line;
use crate::site::Place;

/// How the reasons of these locks begin, so that they are told from those that the agent took itself.
const REASON: &str = "editing (hook)";
/// The most keys of one request.
const AT_ONCE: usize = 100;

/// What came of it.
pub struct Leases {
    /// What to remember.
    pub lines: Vec<Line>,
    /// Why not, if some of it is another's.
    pub denied: Option<String>,
}

/// Takes what is needed of these, or finds out who is in the way. What the agent holds already costs no write.
pub async fn take(
    desk: &Desk,
    worktree: &Path,
    places: &[Place],
    minutes: u32,
    asked: Option<&str>,
) -> Result<Leases, Trouble> {
    let mut leases = Leases { lines: vec![], denied: None };
    for places in places.chunks(AT_ONCE) {
        let keys: Vec<&LockKey> = places.iter().map(|place| &place.key).collect();
        let held = desk.ask("check_locks", json!({"file_paths": keys_of(&keys)})).await?;
        let mut needed: Vec<&LockKey> = keys.into_iter().filter(|key| !is_held(&held, desk, key, minutes)).collect();
        if needed.is_empty() {
            continue;
        }
        let mut answer = acquire(desk, &needed, minutes, asked).await?;
        if answer["success"] == false && spare_ignored(worktree, &mut needed, &answer) {
            if needed.is_empty() {
                continue;
            }
            answer = acquire(desk, &needed, minutes, asked).await?;
        }
        if answer["success"] == true {
            leases.lines.extend(needed.iter().map(|key| Line::Leased { key: key.to_string() }));
            continue;
        }
        for conflict in items(&answer["conflicts_with"]) {
            let met = needed.iter().find(|key| overlaps(key, text(conflict, "file_path")));
            if let Some(key) = met.or(needed.first()) {
                leases.lines.push(Line::Wants { key: key.to_string(), by: text(conflict, "locked_by").into() });
            }
        }
        leases.denied = Some(denial(&answer, &needed));
        break;
    }
    Ok(leases)
}

/// Who holds something of these, where no lock is wanted: a whole directory, or files that only a pattern names.
pub async fn conflict(desk: &Desk, keys: &[&LockKey]) -> Result<Option<String>, Trouble> {
    if keys.is_empty() {
        return Ok(None);
    }
    let keys = &keys[..keys.len().min(AT_ONCE)];
    let held = desk.ask("check_locks", json!({"file_paths": keys_of(keys)})).await?;
    let other = items(&held).iter().find(|lock| text(lock, "locked_by") != desk.caller().agent_id.as_str());
    Ok(other.map(|lock| {
        let (path, who) = (text(lock, "file_path"), text(lock, "locked_by"));
        format!(
            "{who} holds {path}{}{}, which this would change. Name the files that are yours, or wait until it is free.",
            because(lock),
            until(lock),
        )
    }))
}

/// Renews those that will end soon.
pub async fn renew(desk: &Desk, keys: &[String], minutes: u32, asked: Option<&str>) -> Result<(), Trouble> {
    let keys: Vec<LockKey> = keys.iter().filter_map(|key| LockKey::parse(key).ok()).collect();
    for keys in keys.chunks(AT_ONCE) {
        let all: Vec<&LockKey> = keys.iter().collect();
        let held = desk.ask("check_locks", json!({"file_paths": keys_of(&all)})).await?;
        let mine = |key: &LockKey| of(&held, desk).any(|lock| text(lock, "file_path") == key.as_str());
        let ending: Vec<&LockKey> =
            all.into_iter().filter(|key| mine(key) && !is_held(&held, desk, key, minutes)).collect();
        if !ending.is_empty() {
            acquire(desk, &ending, minutes, asked).await?;
        }
    }
    Ok(())
}

/// Gives back what was taken here, and nothing that the agent took itself.
pub async fn release(desk: &Desk, keys: &[String]) -> Result<(), Trouble> {
    for keys in keys.chunks(AT_ONCE) {
        let held = desk.ask("check_locks", json!({ "file_paths": keys })).await?;
        let ours = of(&held, desk).filter(|lock| text(lock, "reason").starts_with(REASON));
        let ours: Vec<&str> =
            ours.map(|lock| text(lock, "file_path")).filter(|key| keys.iter().any(|k| k == key)).collect();
        if !ours.is_empty() {
            desk.ask("release_lock", json!({ "file_paths": ours })).await?;
        }
    }
    Ok(())
}

async fn acquire(desk: &Desk, keys: &[&LockKey], minutes: u32, asked: Option<&str>) -> Result<Value, Trouble> {
    let reason = match asked {
        Some(asked) => format!("{REASON}: {asked}"),
        None => REASON.to_owned(),
    };
    desk.ask("acquire_lock", json!({"file_paths": keys_of(keys), "ttl_minutes": minutes, "reason": reason})).await
}

fn keys_of(keys: &[&LockKey]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

/// The caller's own among the locks.
fn of<'a>(held: &'a Value, desk: &'a Desk) -> impl Iterator<Item = &'a Value> {
    items(held).iter().filter(|lock| text(lock, "locked_by") == desk.caller().agent_id.as_str())
}

/// Does the agent hold the key, or a directory around it, for long enough yet?
fn is_held(held: &Value, desk: &Desk, key: &LockKey, minutes: u32) -> bool {
    let enough = Timestamp::now() + (i64::from(minutes) * 30).seconds();
    of(held, desk).filter(|lock| text(lock, "mode") != "shared").any(|lock| {
        let covers = LockKey::parse(text(lock, "file_path")).is_ok_and(|lock| {
            !lock.is_wild() && lock.space() == key.space() && key.lineage().contains(&lock.pattern())
        });
        covers && text(lock, "expires_at").parse::<Timestamp>().is_ok_and(|end| end >= enough)
    })
}

/// Files that git ignores are each work tree's own, so another's lock is no reason to hold them up. It is asked only when
/// something is in the way: that takes a process. Has any been left out?
fn spare_ignored(worktree: &Path, needed: &mut Vec<&LockKey>, answer: &Value) -> bool {
    let blocked = |key: &LockKey| items(&answer["conflicts_with"]).iter().any(|c| overlaps(key, text(c, "file_path")));
    let before = needed.len();
    needed.retain(|key| !blocked(key) || !is_ignored(worktree, key.as_str()));
    needed.len() < before
}

fn overlaps(key: &LockKey, other: &str) -> bool {
    LockKey::parse(other).is_ok_and(|other| key.overlaps(&other))
}

fn is_ignored(worktree: &Path, path: &str) -> bool {
    let mut git = Command::new("git");
    git.arg("-C").arg(worktree).args(["check-ignore", "-q", "--", path]);
    git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    git.status().is_ok_and(|status| status.success())
}

/// Who is in the way, why, until when, and what to do instead.
fn denial(answer: &Value, keys: &[&LockKey]) -> String {
    let Some(first) = items(&answer["conflicts_with"]).first() else {
        return format!("The coordinator refused this: {}", text(answer, "message"));
    };
    let (path, who) = (text(first, "file_path"), text(first, "locked_by"));
    let asked =
        keys.iter().find(|key| overlaps(key, path)).or(keys.first()).map(ToString::to_string).unwrap_or_default();
    let covers = if path == asked { String::new() } else { format!(", which overlaps {asked}") };
    let what = if first["waiting"] == true { "came earlier and waits for" } else { "holds" };
    let others = items(&answer["conflicts_with"]).len() - 1;
    let more = if others == 0 { String::new() } else { format!(" ({others} more are in the way)") };
    format!(
        "{who} {what} {path}{covers}{}{}{more}. Nothing was changed. Work on something else: you will be told when it is \
         free. Or queue for it with acquire_lock and wait_seconds, or write to {who} with send_message.",
        because(first),
        until(first),
    )
}

fn because(lock: &Value) -> String {
    match text(lock, "reason") {
        "" => String::new(),
        reason => format!(" ({reason})"),
    }
}

fn until(lock: &Value) -> String {
    match text(lock, "expires_at").parse::<Timestamp>() {
        Ok(end) => format!(" until {end:.0} unless renewed"),
        Err(_) => String::new(),
    }
}
