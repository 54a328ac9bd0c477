//! What a session is told when it begins: where the work stands, who else is at it, and what to beware of.

use std::path::Path;

use coordinator::radar::{Side, Standing};
use jiff::Timestamp;
use model::id::AgentId;
use serde_json::{Value, json};

use crate::deliver::excerpt;
use crate::desk::{Desk, Trouble, items, text};

/// It costs an agent's context, so it is no longer than this, in characters.
pub const LIMIT: usize = 1200;
/// What others handed over longer ago than this, in hours, is no news.
const NEWS: i64 = 24;
/// So many conflicts are told one by one.
const CONFLICTS: usize = 3;

/// Asks for what there is to tell.
///
/// # Errors
/// [`Trouble`] when the coordinator does not answer.
pub async fn make(desk: &Desk, warnings: &[String], now: Timestamp) -> Result<String, Trouble> {
    let handoff = desk.ask("read_handoff", json!({})).await?;
    let recent = desk.ask("read_handoff", json!({"agent_name": "*", "limit": 10})).await?;
    let locks = desk.ask("check_locks", json!({})).await?;
    let agents = desk.ask("discover_agents", json!({})).await?;
    let mut claimed = vec![];
    for status in ["claimed", "running"] {
        let tasks = desk.ask("list_tasks", json!({"status": status, "limit": 50})).await?;
        claimed.extend(items(&tasks["tasks"]).to_vec());
    }
    let caller = desk.caller();
    Ok(compose(&Known {
        me: caller.agent_id.as_str(),
        session: caller.session_id.as_ref().map(|session| session.as_str()).unwrap_or_default(),
        handoff: &handoff["handoffs"][0],
        recent: items(&recent["handoffs"]),
        locks: items(&locks),
        agents: items(&agents["agents"]),
        tasks: &claimed,
        warnings,
        now,
    }))
}

/// What of the agent's own did not merge with others' at the last look at the branches.
pub fn conflicts(standing: &[Standing], me: &AgentId, worktree: &Path) -> Vec<String> {
    let is_mine = |side: &Side| side.agent_id.as_ref() == Some(me) || side.worktree.as_deref() == Some(worktree);
    let mut mine = vec![];
    for Standing { one, other, files } in standing {
        let (own, theirs) = match (is_mine(one), is_mine(other)) {
            (true, _) => (one, other),
            (false, true) => (other, one),
            (false, false) => continue,
        };
        let whose = theirs.agent_id.as_ref().filter(|agent| *agent != me);
        let whose = whose.map(|agent| format!(" of {agent}")).unwrap_or_default();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        mine.push(format!("{} does not merge with {}{whose}, in {}", own.name, theirs.name, list(&files, 3)));
    }
    if mine.len() > CONFLICTS {
        let more = mine.len() - CONFLICTS;
        mine.truncate(CONFLICTS);
        mine.push(format!("{more} more branches do not merge with yours (branch_conflicts shows them)"));
    }
    mine
}

/// What a brief is made of.
struct Known<'a> {
    me: &'a str,
    session: &'a str,
    handoff: &'a Value,
    /// The latest of everybody's, newest first.
    recent: &'a [Value],
    locks: &'a [Value],
    agents: &'a [Value],
    tasks: &'a [Value],
    warnings: &'a [String],
    now: Timestamp,
}

fn compose(known: &Known<'_>) -> String {
    let mut lines = vec![format!(
        "You are {}; other agents may work on this repository. Edits are guarded: each takes a short lock for you, and is \
         denied where another holds the file.",
        known.me
    )];
    lines.extend(known.warnings.iter().map(|warning| format!("Beware: {}", excerpt(warning, 200))));
    let mine = |who: &Value, field: &str| text(who, field) == known.me;
    let held: Vec<&str> =
        known.locks.iter().filter(|lock| mine(lock, "locked_by")).map(|lock| text(lock, "file_path")).collect();
    if !held.is_empty() {
        lines.push(format!("You hold {}.", list(&held, 5)));
    }
    for task in known.tasks.iter().filter(|task| mine(task, "claimed_by")).take(2) {
        lines.push(format!("Your task {}: {}", text(task, "task_id"), excerpt(text(task, "description"), 160)));
    }
    if known.handoff.is_object() {
        lines.extend(handoff(known));
    }
    lines.extend(of_another(known));
    lines.extend(others(known));
    within(&lines, LIMIT)
}

fn handoff(known: &Known<'_>) -> Vec<String> {
    let handoff = known.handoff;
    let who = if text(handoff, "agent_id") == known.me { "your own" } else { text(handoff, "agent_id") };
    let when = text(handoff, "created_at").parse::<Timestamp>().map(|at| ago(at, known.now)).unwrap_or_default();
    let mut lines = vec![format!("Last handoff ({who}{when}): {}", excerpt(text(handoff, "summary"), 350))];
    for (name, field) in [("In progress", "in_progress"), ("Next", "next_steps"), ("Files", "relevant_files")] {
        let texts: Vec<&str> = items(&handoff[field]).iter().filter_map(Value::as_str).collect();
        if !texts.is_empty() {
            lines.push(format!("{name}: {}", excerpt(&list(&texts, 4), 200)));
        }
    }
    lines
}

/// What somebody else left meanwhile: whoever goes on with its own work may stand on it, or in its way.
fn of_another(known: &Known<'_>) -> Option<String> {
    if text(known.handoff, "agent_id") != known.me {
        return None;
    }
    let other = known.recent.iter().find(|handoff| text(handoff, "agent_id") != known.me)?;
    let at: Timestamp = text(other, "created_at").parse().ok()?;
    if known.now.duration_since(at).as_hours() >= NEWS {
        return None;
    }
    let next: Vec<&str> = items(&other["next_steps"]).iter().filter_map(Value::as_str).collect();
    let next = if next.is_empty() { String::new() } else { format!(" Next: {}", excerpt(&list(&next, 3), 120)) };
    let (who, when) = (text(other, "agent_id"), ago(at, known.now));
    Some(format!("Another's handoff ({who}{when}): {}{next}", excerpt(text(other, "summary"), 250)))
}

/// Who else is here, and what each holds.
fn others(known: &Known<'_>) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    let mut seen: Vec<&str> = vec![known.me];
    for agent in known.agents {
        let name = text(agent, "agent_id");
        if seen.contains(&name) || text(agent, "status") == "disconnected" || text(agent, "session_id") == known.session
        {
            continue;
        }
        seen.push(name);
        let mut line = name.to_owned();
        if !text(agent, "current_task").is_empty() {
            line.push_str(&format!(" works on: {}", excerpt(text(agent, "current_task"), 80)));
        }
        let locks = known.locks.iter().filter(|lock| text(lock, "locked_by") == name);
        let held: Vec<&str> = locks.map(|lock| text(lock, "file_path")).collect();
        if !held.is_empty() {
            line.push_str(&format!("; holds {}", list(&held, 4)));
        }
        lines.push(line);
    }
    // Whoever holds something without a session is in the way all the same.
    for lock in known.locks.iter().filter(|lock| !seen.contains(&text(lock, "locked_by"))).take(5) {
        lines.push(format!("{} holds {}", text(lock, "locked_by"), text(lock, "file_path")));
    }
    if lines.is_empty() { vec!["Nobody else is here.".into()] } else { lines }
}

fn list(items: &[&str], most: usize) -> String {
    let shown = items.iter().take(most).copied().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    let minutes = now.duration_since(at).as_secs().max(0) / 60;
    match minutes {
        0 => ", just now".into(),
        1..120 => format!(", {minutes} min ago"),
        120..2880 => format!(", {} h ago", minutes / 60),
        _ => format!(", {} days ago", minutes / 1440),
    }
}

/// As many whole lines as there is room for, in order.
fn within(lines: &[String], limit: usize) -> String {
    let mut brief = String::new();
    let mut left = limit;
    for line in lines {
        let length = line.chars().count() + 1;
        if length > left {
            continue;
        }
        left -= length;
        if !brief.is_empty() {
            brief.push('\n');
        }
        brief.push_str(line);
    }
    brief
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_merge_with_one_s_own_is_a_warning() {
        let side = |name: &str, agent: Option<&str>, worktree: Option<&str>| Side {
            name: name.into(),
            agent_id: agent.map(|agent| AgentId::new(agent).unwrap()),
            worktree: worktree.map(Into::into),
        };
        let pair = |one, other| Standing { one, other, files: vec!["src/a.rs".into()] };
        let standing = [
            pair(side("branch agent/bob/1", Some("bob"), None), side("branch agent/ann/2", Some("ann"), None)),
            pair(side("branch topic", None, Some("/w/ann")), side("branch other", None, None)),
            pair(side("branch agent/bob/1", Some("bob"), None), side("branch agent/eve/3", Some("eve"), None)),
        ];
        let me = AgentId::new("ann").unwrap();
        let warned = conflicts(&standing, &me, Path::new("/w/ann"));
        assert_eq!(
            warned,
            [
                "branch agent/ann/2 does not merge with branch agent/bob/1 of bob, in src/a.rs",
                "branch topic does not merge with branch other, in src/a.rs",
            ]
        );
        let many = vec![standing[0].clone(); 5];
        assert!(conflicts(&many, &me, Path::new("/w")).last().unwrap().starts_with("2 more branches"));
    }

    fn brief(handoff: Value, locks: Value, agents: Value, warnings: &[String]) -> String {
        compose(&Known {
            me: "ann",
            session: "s1",
            handoff: &handoff,
            recent: &[],
            locks: items(&locks),
            agents: items(&agents),
            tasks: &[json!({"task_id": "t1", "description": "fix the pool", "claimed_by": "ann"})],
            warnings,
            now: "2026-01-01T12:00:00Z".parse().unwrap(),
        })
    }

    #[test]
    fn it_tells_what_a_session_needs() {
        let handoff = json!({
            "agent_id": "bob", "summary": "half done", "next_steps": ["tests"], "relevant_files": ["src/a.rs"],
            "created_at": "2026-01-01T11:00:00Z",
        });
        let locks = json!([
            {"file_path": "src/a.rs", "locked_by": "ann"}, {"file_path": "src/b.rs", "locked_by": "bob"},
            {"file_path": "db:users", "locked_by": "zoe"},
        ]);
        let agents = json!([
            {"agent_id": "ann", "session_id": "s1", "status": "active"},
            {"agent_id": "bob", "session_id": "s2", "status": "active", "current_task": "the parser"},
            {"agent_id": "gone", "session_id": "s3", "status": "disconnected"},
        ]);
        let told = brief(handoff, locks, agents, &["hooks of codex are quiet".into()]);
        for part in [
            "You are ann",
            "Beware: hooks of codex are quiet",
            "You hold src/a.rs",
            "Your task t1: fix the pool",
            "Last handoff (bob, 60 min ago): half done",
            "Next: tests",
            "bob works on: the parser; holds src/b.rs",
            "zoe holds db:users",
        ] {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
        assert!(!told.contains("gone"));
        let alone = brief(Value::Null, json!([]), json!([]), &[]);
        assert!(alone.ends_with("Nobody else is here."), "{alone}");
    }

    #[test]
    fn it_tells_also_what_another_left_lately() {
        let handoff = |who: &str, at: &str| {
            json!({
                "agent_id": who, "summary": format!("{who} is half done"), "next_steps": ["tests"], "created_at": at,
            })
        };
        let told = |mine: Value, recent: &[Value]| {
            compose(&Known {
                me: "ann",
                session: "s1",
                handoff: &mine,
                recent,
                locks: &[],
                agents: &[],
                tasks: &[],
                warnings: &[],
                now: "2026-01-01T12:00:00Z".parse().unwrap(),
            })
        };
        let mine = handoff("ann", "2026-01-01T11:50:00Z");
        let (bobs, old) = (handoff("bob", "2026-01-01T11:00:00Z"), handoff("old", "2025-12-30T11:00:00Z"));
        let both = told(mine.clone(), &[mine.clone(), bobs.clone(), old.clone()]);
        assert!(both.contains("Last handoff (your own, 10 min ago): ann is half done"), "{both}");
        assert!(both.contains("Another's handoff (bob, 60 min ago): bob is half done Next: tests"), "{both}");
        assert!(!told(mine.clone(), &[mine, old]).contains("Another's"), "no news");
        let only = told(bobs.clone(), &[bobs]);
        assert_eq!(only.matches("bob is half done").count(), 1, "{only}");
    }

    #[test]
    fn it_is_never_longer_than_its_limit() {
        let long = "ü".repeat(5000);
        let many: Vec<Value> = (0..200)
            .map(|n| json!({"agent_id": format!("agent-{n}"), "status": "active", "current_task": long}))
            .collect();
        let handoff = json!({"agent_id": long, "summary": long, "next_steps": [long, long, long], "created_at": "?"});
        let told = brief(handoff, json!([]), json!(many), &[long.clone(), long]);
        assert!(told.chars().count() <= LIMIT, "{}", told.chars().count());
        assert!(told.contains("agent-0 works on"), "{told}");
    }
}
