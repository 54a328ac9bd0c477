//! The sessions of coding agents on this machine, as their hooks make them known.
//!
//! A hook knows which session it runs in, and a process that the same agent started (its MCP server, a git hook) does not:
//! it finds the session by the agent's own process, which is above both. So all of them act in one name.
//!
//! A session has a directory of its own beside the repository's records, with a file that says whose it is and a log in
//! which its hooks remember what they need. Whoever begins a session does so under a lock, so that two sessions of one
//! client in one work tree get two names: an agent's name stands for what it holds.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use model::id::{AgentId, SessionId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::repository::Repository;

/// A session whose agent's process is not known counts as over when its hooks were silent for so long.
const SILENT_FOR: Duration = Duration::from_secs(15 * 60);
/// A session that was left behind by an agent that died is forgotten then.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);
/// Processes above ours that are looked at.
const GENERATIONS: usize = 12;
/// What an agent starts its hooks with.
const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "fish", "ksh", "busybox", "env", "timeout"];

/// A process, told apart from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it began, as the system counts.
    pub began: u64,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalSession {
    /// Who acts in it.
    pub agent_id: AgentId,
    /// The agent's type.
    pub agent_type: String,
    /// Its id: the client's, or what `SESSION_ID` says.
    pub session_id: SessionId,
    /// Its id, as the client has it.
    pub key: String,
    /// The name of the client.
    pub client: String,
    /// The work tree it is in.
    pub worktree: PathBuf,
    /// The agent's own process, where it could be told.
    pub process: Option<Process>,
    /// Milliseconds since 1970.
    pub began_at: u64,
}

/// All sessions of a repository on this machine.
#[derive(Debug, Clone)]
pub struct LocalSessions {
    directory: PathBuf,
}

impl LocalSessions {
    /// Those of this repository.
    pub fn of(repository: &Repository) -> Self {
        Self { directory: repository.common_dir.join("coordinator").join("sessions") }
    }

    /// The session's own directory.
    pub fn directory_of(&self, client: &str, key: &str) -> PathBuf {
        let is_plain = key.len() <= 80 && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let name = if is_plain && !key.is_empty() {
            key.to_owned()
        } else {
            let digest = Sha256::digest(key.as_bytes());
            digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
        };
        self.directory.join(format!("{client}-{name}"))
    }

    /// The session, if it was begun and not ended.
    pub fn find(&self, client: &str, key: &str) -> Option<LocalSession> {
        read(&self.directory_of(client, key))
    }

    /// All that were begun and not ended.
    pub fn all(&self) -> Vec<LocalSession> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return vec![] };
        entries.flatten().filter_map(|entry| read(&entry.path())).collect()
    }

    /// Begins a session, or goes on with it. The name it comes with is that of an agent that is alone in its work tree.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn begin(&self, mut session: LocalSession, naming: Naming) -> io::Result<LocalSession> {
        let directory = self.directory_of(&session.client, &session.key);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let turn = private().create(true).truncate(false).write(true).open(self.directory.join("turn"))?;
        turn.lock()?;
        if let Some(earlier) = read(&directory) {
            session.agent_id = earlier.agent_id;
        } else if naming == Naming::Derived {
            let others = self.all();
            let taken = |name: &AgentId| others.iter().any(|other| other.agent_id == *name && self.is_alive(other));
            if taken(&session.agent_id) {
                let digest = Sha256::digest(session.key.as_bytes());
                let name = format!("{}+{:02x}{:02x}", session.agent_id, digest[0], digest[1]);
                session.agent_id = AgentId::new(name).map_err(io::Error::other)?;
            }
        }
        write(&directory, &session)?;
        self.forget_the_dead();
        Ok(session)
    }

    /// Ends a session: its name is free.
    pub fn end(&self, client: &str, key: &str) {
        // Where it is gone already there is nothing to do.
        let _ = std::fs::remove_dir_all(self.directory_of(client, key));
    }

    /// Is the agent still there, as far as can be told?
    pub fn is_alive(&self, session: &LocalSession) -> bool {
        match session.process {
            Some(process) => process_of(process.pid) == Some(process),
            None => self.silence(session).is_some_and(|silence| silence < SILENT_FOR),
        }
    }

    /// How long ago its hooks were last heard of.
    pub fn silence(&self, session: &LocalSession) -> Option<Duration> {
        let directory = self.directory_of(&session.client, &session.key);
        let changed = |name: &str| std::fs::metadata(directory.join(name)).and_then(|file| file.modified()).ok();
        let last = changed(LOG).max(changed(RECORD))?;
        Some(SystemTime::now().duration_since(last).unwrap_or_default())
    }

    /// The session whose agent started this process: the nearest one above, of this client if one is named.
    pub fn around_this_process(&self, client: Option<&str>) -> Option<LocalSession> {
        let mut sessions = self.all();
        sessions.retain(|session| client.is_none_or(|client| session.client == client));
        if sessions.is_empty() {
            return None;
        }
        sessions.sort_by_key(|session| std::cmp::Reverse(session.began_at));
        let above = ancestors();
        above.iter().find_map(|process| sessions.iter().find(|session| session.process == Some(process.0)).cloned())
    }

    fn forget_the_dead(&self) {
        for session in self.all() {
            let silent = self.silence(&session).is_some_and(|silence| silence > FORGOTTEN_AFTER);
            if silent && !self.is_alive(&session) {
                self.end(&session.client, &session.key);
            }
        }
    }
}

/// Where an agent's name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `AGENT_ID` says it: sessions that share it are one agent, because somebody wants that.
    Given,
    /// From the client and the work tree: a second session in it needs another.
    Derived,
}

const RECORD: &str = "session.json";
/// The file in a session's directory that its hooks write to.
pub const LOG: &str = "log";

fn private() -> OpenOptions {
    let mut options = File::options();
    options.mode(0o600);
    options
}

fn read(directory: &Path) -> Option<LocalSession> {
    serde_json::from_slice(&std::fs::read(directory.join(RECORD)).ok()?).ok()
}

/// All of it or nothing, whenever this process may be killed.
fn write(directory: &Path, session: &LocalSession) -> io::Result<()> {
    let beside = directory.join(format!("{RECORD}.{}", std::process::id()));
    let mut file = private().create(true).truncate(true).write(true).open(&beside)?;
    io::Write::write_all(&mut file, &serde_json::to_vec(session)?)?;
    std::fs::rename(beside, directory.join(RECORD))
}

/// The agent's process, as seen from one of its hooks: the nearest one above that is no shell.
pub fn agent_process() -> Option<Process> {
    ancestors().into_iter().find(|(_, name)| !SHELLS.contains(&name.as_str())).map(|(process, _)| process)
}

/// The processes above this one, nearest first, with their names.
fn ancestors() -> Vec<(Process, String)> {
    let mut above = vec![];
    let mut pid = std::os::unix::process::parent_id();
    while pid > 1 && above.len() < GENERATIONS {
        let Some(status) = status(pid) else { break };
        above.push((Process { pid, began: status.began }, status.name));
        pid = status.parent;
    }
    above
}

fn process_of(pid: u32) -> Option<Process> {
    status(pid).map(|status| Process { pid, began: status.began })
}

struct Status {
    name: String,
    parent: u32,
    began: u64,
}

/// What the system knows of a process.
#[cfg(target_os = "linux")]
fn status(pid: u32) -> Option<Status> {
    // "PID (NAME) STATE PARENT ...": the name may hold anything, so the last parenthesis ends it. The start is field 22.
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    // One that has ended and waits for its parent to notice is over.
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    Some(Status { name, parent: fields.get(1)?.parse().ok()?, began: fields.get(19)?.parse().ok()? })
}

/// What the system knows of a process. It is asked when a session begins, not at each event.
#[cfg(not(target_os = "linux"))]
fn status(pid: u32) -> Option<Status> {
    let output =
        std::process::Command::new("ps").args(["-o", "ppid=,lstart=,comm=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_ascii_whitespace();
    let parent = words.next()?.parse().ok()?;
    let start: Vec<&str> = words.by_ref().take(5).collect();
    let digest = Sha256::digest(start.join(" ").as_bytes());
    let began = u64::from_be_bytes(digest[..8].try_into().ok()?);
    let name = words.collect::<Vec<_>>().join(" ");
    let name = name.rsplit('/').next().unwrap_or_default().trim_start_matches('-').to_owned();
    Some(Status { name, parent, began })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(directory: &Path) -> LocalSessions {
        let common_dir = directory.join(".git");
        let repository = Repository { worktree: directory.join("tree"), git_dir: common_dir.clone(), common_dir };
        LocalSessions::of(&repository)
    }

    fn session(id: &str, worktree: &str, process: Option<Process>) -> LocalSession {
        LocalSession {
            agent_id: AgentId::new(format!("claude-code@{worktree}")).unwrap(),
            agent_type: "claude_code_cli".into(),
            session_id: SessionId::new(id).unwrap(),
            key: id.into(),
            client: "claude-code".into(),
            worktree: worktree.into(),
            process,
            began_at: 0,
        }
    }

    #[test]
    fn two_sessions_in_one_work_tree_have_two_names() {
        let temp = tempfile::tempdir().unwrap();
        let sessions = sessions(temp.path());
        let me = process_of(std::process::id());
        assert!(me.is_some());
        let begin = |id, tree, naming| sessions.begin(session(id, tree, me), naming).unwrap().agent_id.to_string();
        assert_eq!(begin("one", "a", Naming::Derived), "claude-code@a");
        let second = begin("two", "a", Naming::Derived);
        assert!(second.starts_with("claude-code@a+"), "{second}");
        assert_eq!(begin("two", "a", Naming::Derived), second, "a resumed session keeps its name");
        assert_eq!(begin("three", "b", Naming::Derived), "claude-code@b", "another work tree");
        assert_eq!(begin("four", "a", Naming::Given), "claude-code@a", "somebody wants that");
        sessions.end("claude-code", "one");
        sessions.end("claude-code", "four");
        assert_eq!(begin("five", "a", Naming::Derived), "claude-code@a", "the name is free");
    }

    #[test]
    fn the_name_of_a_dead_agent_is_free() {
        let temp = tempfile::tempdir().unwrap();
        let sessions = sessions(temp.path());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = process_of(child.id());
        sessions.begin(session("one", "a", process), Naming::Derived).unwrap();
        let other = sessions.begin(session("two", "a", None), Naming::Derived).unwrap();
        assert_ne!(other.agent_id.as_str(), "claude-code@a");
        child.kill().unwrap();
        child.wait().unwrap();
        let next = sessions.begin(session("three", "a", None), Naming::Derived).unwrap();
        assert_eq!(next.agent_id.as_str(), "claude-code@a");
    }

    #[test]
    fn a_process_finds_the_session_of_the_agent_above_it() {
        let temp = tempfile::tempdir().unwrap();
        let sessions = sessions(temp.path());
        assert_eq!(sessions.around_this_process(None), None);
        let above = ancestors();
        let (nearest, _) = above.first().expect("a test runs under something");
        let (other, mine) =
            (session("one", "a", Some(Process { pid: 1, began: 0 })), session("two", "a", Some(*nearest)));
        sessions.begin(other, Naming::Given).unwrap();
        sessions.begin(mine.clone(), Naming::Given).unwrap();
        assert_eq!(sessions.around_this_process(Some("claude-code")), Some(mine));
        assert_eq!(sessions.around_this_process(Some("codex")), None);
    }

    #[test]
    fn any_session_id_is_a_directory_of_its_own() {
        let temp = tempfile::tempdir().unwrap();
        let sessions = sessions(temp.path());
        let inside = |id: &str| {
            let directory = sessions.directory_of("codex", id);
            assert_eq!(directory.parent(), Some(sessions.directory.as_path()), "{id}");
            directory
        };
        assert_ne!(inside("../../x"), inside("..//../x"));
        assert_ne!(inside(""), inside("a/b"));
        assert!(inside("01-ab").ends_with("codex-01-ab"));
    }
}
