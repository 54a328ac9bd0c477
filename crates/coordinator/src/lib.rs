//! What Agent Coordinator does: its operations, one module a capability, whichever door they come through.
//!
//! - [`operation`]: what an operation is; [`registry`]: the one list of them all
//! - [`locks`], [`work`], [`sessions`], [`handoffs`], [`messages`], [`ports`], [`audit`], [`help`], [`keys`]: the
//!   operations
//! - [`memories`], [`working_memory`], [`skills`]: what agents remember
//! - [`guardrails`], [`approvals`]: what may not be done, and who may let it be done all the same
//! - [`network`]: which hosts may be reached
//! - [`github`]: agents coordinated by labels, branches and pull requests on GitHub
//! - [`mod@verification`]: what must pass for a commit, and what came of it
//! - [`radar`]: which branches would not merge with each other
//! - [`events`]: the audit trail, followed as it grows
//! - [`resources`]: what there is, to be read: the one list of those views
//! - [`pipeline`]: the way of every call: validate, identify, authorise, run, audit
//! - [`authorise`]: may the caller do this? [`rules`]: the project's rules, as they are applied
//! - [`profiles`], [`policies`], [`rulebook`]: rules, shown and changed
//! - [`identity`]: who is calling, and [`scopes`]: for what; [`agent`]: a process that speaks for one agent;
//!   [`local_sessions`]: the sessions that hooks make known on this machine
//! - [`settings`], [`repository`], [`team`]: how it is set up, and where

pub mod agent;
pub mod approvals;
pub mod audit;
pub mod authorise;
pub mod events;
pub mod failure;
pub mod features;
mod free_form;
pub mod github;
pub mod guardrails;
pub mod handoffs;
pub mod help;
pub mod identity;
pub mod keys;
mod limiter;
pub mod local_sessions;
pub mod locks;
pub mod memories;
pub mod merge_queue;
pub mod messages;
pub mod network;
pub mod operation;
mod paging;
pub mod pipeline;
pub mod policies;
pub mod ports;
pub mod profiles;
pub mod radar;
pub mod redact;
pub mod registry;
pub mod repository;
pub mod resources;
pub mod rulebook;
pub mod rules;
mod schema;
pub mod scopes;
pub mod sessions;
pub mod settings;
pub mod skills;
pub mod team;
pub mod verification;
pub mod work;
pub mod working_memory;

use std::sync::Arc;
use std::time::Duration;

use model::audit::{SYSTEM_AGENT, SYSTEM_TYPE};
use model::command::Freed;
use model::id::{AgentId, Caller, Project};
use store::{GroupCommit, Store, StoreError};
use tokio::sync::Notify;

pub use crate::redact::without_secrets;

use crate::identity::KeyRing;
use crate::radar::Radar;
use crate::rules::RuleWatch;
use crate::settings::Settings;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The arbiter: a store, and the operations on it.
pub struct Coordinator {
    store: Arc<dyn Store>,
    commits: GroupCommit,
    keys: KeyRing,
    settings: Settings,
    rule_watch: RuleWatch,
    radar: Radar,
    /// Rung when a lock may have come free in this process; waiters elsewhere find out by looking.
    released: Notify,
    /// Rung when anything was done in this process.
    changed: Notify,
    /// Rung when something new was heard from GitHub in this process.
    github_news: Notify,
}

impl Coordinator {
    /// On this store.
    pub fn new(store: Arc<dyn Store>, settings: Settings) -> Self {
        let keys = KeyRing::new(&settings);
        Self {
            commits: GroupCommit::new(store.clone()),
            rule_watch: RuleWatch::new(settings.policy.clone()),
            radar: Radar::default(),
            store,
            keys,
            settings,
            released: Notify::new(),
            changed: Notify::new(),
            github_news: Notify::new(),
        }
    }

    /// Connects to the database that the settings name, and brings it up to date.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened or belongs to a newer version.
    pub async fn open(settings: Settings) -> Result<Self, StoreError> {
        let store = settings.database.open().await?;
        Ok(Self::new(store, settings))
    }

    /// The same, for a process that asks a few things, one after another, and ends: a hook.
    ///
    /// # Errors
    /// As [`Coordinator::open`].
    pub async fn open_briefly(settings: Settings) -> Result<Self, StoreError> {
        let store = settings.database.open_briefly().await?;
        Ok(Self::new(store, settings))
    }

    /// Lets those look again who wait for a lock: some may have come free.
    pub(crate) fn wake_waiters(&self) {
        self.released.notify_waiters();
    }

    /// How it is set up.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The store, for what is no operation: health, views for people.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Does the database answer within 2 s?
    pub async fn is_healthy(&self) -> bool {
        tokio::time::timeout(Duration::from_secs(2), self.store.ping()).await.is_ok_and(|answer| answer.is_ok())
    }

    /// Frees what is due in all projects. Every operation does so for its own; this is for what nobody touches.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        for project in self.store.due_projects().await? {
            self.store.apply(&project, &[]).await?;
            self.released.notify_waiters();
            self.changed.notify_waiters();
        }
        Ok(())
    }

    /// Sweeps every second, and keeps the audit trail's retention every hour, for as long as the future is polled.
    pub async fn sweep_forever(&self) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut hours = tokio::time::interval(Duration::from_secs(3600));
        hours.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if let Err(error) = self.sweep().await {
                        tracing::warn!(%error, "could not free what is due");
                    }
                    if let Err(failure) = self.note_key_uses().await {
                        tracing::warn!(error = failure.message(), "could not note which keys were used");
                    }
                }
                _ = hours.tick() => self.keep_retention().await,
            }
        }
    }

    /// In whose name it does what nobody asked for.
    pub(crate) fn itself(&self) -> Caller {
        match AgentId::new(SYSTEM_AGENT) {
            Ok(agent_id) => Caller { agent_id, agent_type: SYSTEM_TYPE.into(), session_id: None },
            Err(_) => unreachable!("{SYSTEM_AGENT:?} is a name"),
        }
    }

    /// The project of a caller that names none.
    pub fn default_project(&self) -> &Project {
        &self.settings.project
    }
}

/// What was taken from the dead, in words.
pub(crate) fn freed_in_words(freed: Freed) -> String {
    format!("{} sessions disconnected, {} locks released, {} tasks put back", freed.sessions, freed.locks, freed.tasks)
}
