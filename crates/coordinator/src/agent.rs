//! A process that speaks for one agent: the MCP server of a coding agent's CLI.
//!
//! It has an identity from the environment or from where it runs, registers its session when the agent first does
//! something, and keeps the session and its claims alive for as long as the process lives.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use model::id::{AgentId, Caller, SessionId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::Coordinator;
use crate::failure::Failure;
use crate::local_sessions::{LocalSession, LocalSessions};
use crate::operation::Operation;
use crate::operation::{Door, Entry};
use crate::registry;
use crate::repository::Repository;
use crate::sessions::{Heartbeat, RegisterSession};
use crate::settings::Settings;

/// The agent behind this process.
pub struct LocalAgent {
    coordinator: Arc<Coordinator>,
    client: String,
    caller: Caller,
    /// The session that the client's hooks made known, where they did.
    hooked: Option<SessionId>,
    registered: OnceCell<()>,
    heartbeats: OnceLock<AbortHandle>,
}

impl Drop for LocalAgent {
    fn drop(&mut self) {
        if let Some(heartbeats) = self.heartbeats.get() {
            heartbeats.abort();
        }
    }
}

impl LocalAgent {
    /// The agent that the settings name, or one derived from the client's name and the work tree.
    ///
    /// # Errors
    /// [`Failure`] when no name can be made of them.
    pub fn new(coordinator: Arc<Coordinator>, client_name: &str) -> Result<Self, Failure> {
        let caller = local_caller(coordinator.settings(), client_name)?;
        let hooked = hooked_session(coordinator.settings(), client_name).map(|session| session.session_id);
        let (client, registered, heartbeats) = (client_name.to_owned(), OnceCell::new(), OnceLock::new());
        Ok(Self { coordinator, client, caller, hooked, registered, heartbeats })
    }

    /// Is the client still in the session in which this process acts? It may begin another without starting anew.
    pub fn is_current(&self) -> bool {
        let hooked = hooked_session(self.coordinator.settings(), &self.client);
        hooked.map(|session| session.session_id) == self.hooked
    }

    /// Who it is.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Calls an operation in the agent's name. The first call registers the session.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn call(&self, entry: &Entry, arguments: Value) -> Result<Value, Failure> {
        if entry.name == RegisterSession::NAME {
            let answer = self.run(entry, arguments).await?;
            self.start_heartbeats().await;
            return Ok(answer);
        }
        self.registered
            .get_or_try_init(|| async {
                // The hooks register the session that they make known.
                if let Some(register) = registry::find(RegisterSession::NAME).filter(|_| self.hooked.is_none()) {
                    match self.run(register, json!({})).await {
                        // Whoever may only look has no session.
                        Err(Failure::Forbidden(_)) => return Ok(()),
                        other => drop(other?),
                    }
                }
                self.keep_alive();
                Ok::<(), Failure>(())
            })
            .await?;
        self.run(entry, arguments).await
    }

    async fn run(&self, entry: &Entry, arguments: Value) -> Result<Value, Failure> {
        let project = self.coordinator.default_project();
        self.coordinator.call(entry, project, &self.caller, Door::Mcp, arguments).await
    }

    async fn start_heartbeats(&self) {
        self.registered.get_or_init(|| async { self.keep_alive() }).await;
    }

    /// A heartbeat every third of the shorter lease, until the process ends. A session that was reaped stays reaped:
    /// the agent must learn that it lost its locks.
    fn keep_alive(&self) {
        let every = self.coordinator.settings().heartbeat_every();
        let (coordinator, caller) = (self.coordinator.clone(), self.caller.clone());
        let beating = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(heartbeat) = registry::find(Heartbeat::NAME) else { return };
                let project = coordinator.default_project();
                if let Err(failure) = coordinator.call(heartbeat, project, &caller, Door::Mcp, json!({})).await {
                    tracing::warn!(error = failure.message(), "no heartbeat");
                }
            }
        });
        self.heartbeats.get_or_init(|| beating.abort_handle());
    }
}

/// Who a client of this name is, started where the settings say and as they say.
///
/// Where the client's hooks have made its session known, the process acts in that session; else it has one of its own.
///
/// # Errors
/// [`Failure`] when no name can be made of them.
pub fn local_caller(settings: &Settings, client_name: &str) -> Result<Caller, Failure> {
    let wrong = |e: model::id::BadName| Failure::Internal(e.to_string());
    let caller = caller_of(settings, client_name)?;
    if let Some(session) = hooked_session(settings, client_name) {
        let agent_id = if settings.agent_id.is_some() { caller.agent_id } else { session.agent_id };
        return Ok(Caller { agent_id, agent_type: caller.agent_type, session_id: Some(session.session_id) });
    }
    let session_id = match caller.session_id {
        Some(session_id) => session_id,
        None => SessionId::new(Uuid::now_v7().to_string()).map_err(wrong)?,
    };
    Ok(Caller { session_id: Some(session_id), ..caller })
}

/// The same without a session, unless the settings name one: who a client is that is alone in its work tree.
///
/// # Errors
/// [`Failure`] when no name can be made of them.
pub fn caller_of(settings: &Settings, client_name: &str) -> Result<Caller, Failure> {
    let client = client_of(client_name);
    let agent_id = match &settings.agent_id {
        Some(agent_id) => agent_id.clone(),
        None => AgentId::new(derived_name(&client, settings.worktree.as_deref()))
            .map_err(|e| Failure::Internal(e.to_string()))?,
    };
    let agent_type = settings.agent_type.clone().unwrap_or_else(|| agent_type_of(&client).to_owned());
    Ok(Caller { agent_id, agent_type, session_id: settings.session_id.clone() })
}

/// The session that the client's hooks made known and that this process was started in.
fn hooked_session(settings: &Settings, client_name: &str) -> Option<LocalSession> {
    if settings.session_id.is_some() {
        return None;
    }
    let repository = Repository::around(settings.worktree.as_deref()?)?;
    LocalSessions::of(&repository).around_this_process(Some(&client_of(client_name)))
}

/// A client goes by several names: to its tools it may call itself otherwise than to its hooks.
fn client_of(name: &str) -> String {
    let slug = slug(name);
    let known = ["claude-code", "codex", "gemini-cli"];
    let family = |client: &&&str| slug.contains(client.split('-').next().unwrap_or_default());
    known.iter().find(family).map_or(slug.clone(), |client| (*client).to_owned())
}

/// The same client in the same work tree is the same agent, also after a restart; in another work tree, another.
pub fn derived_name(client: &str, worktree: Option<&Path>) -> String {
    let Some(worktree) = worktree else { return client.to_owned() };
    let digest = Sha256::digest(worktree.as_os_str().as_encoded_bytes());
    let directory = slug(&worktree.file_name().map(|n| n.to_string_lossy()).unwrap_or_default());
    format!("{client}@{directory}-{:02x}{:02x}", digest[0], digest[1])
}

/// The profile a client gets by its name.
fn agent_type_of(client: &str) -> &str {
    match client {
        c if c.contains("claude") => "claude_code_cli",
        c if c.contains("codex") => "codex_cli",
        c if c.contains("gemini") => "gemini_cli",
        c => c,
    }
}

fn slug(text: &str) -> String {
    let kept: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c.to_ascii_lowercase() } else { '-' })
        .take(64)
        .collect();
    let trimmed = kept.trim_matches('-');
    if trimmed.is_empty() { "agent".into() } else { trimmed.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_work_trees_are_two_agents_and_a_restart_is_the_same() {
        let name = |path| derived_name("claude-code", Some(Path::new(path)));
        assert_eq!(name("/a/project"), name("/a/project"));
        assert_ne!(name("/a/project"), name("/b/project"));
        assert!(name("/a/project").starts_with("claude-code@project-"));
        assert_eq!(slug("Claude Code (beta)"), "claude-code--beta");
        assert_eq!(client_of("codex-mcp-client"), "codex");
        assert_eq!(client_of("Claude Code (beta)"), "claude-code");
        assert_eq!(client_of("gemini-cli-mcp-client"), "gemini-cli");
        assert_eq!(client_of("inspector"), "inspector");
    }
}
