//! A coordinator on the reference store, whose clock follows tokio's: a test that pauses time pauses both.

use std::sync::Arc;

use coordinator::Coordinator;
use coordinator::failure::Failure;
use coordinator::operation::{Door, Entry};
use coordinator::registry;
use coordinator::settings::Settings;
use jiff::Timestamp;
use model::audit::{AuditEntry, AuditFilter};
use model::id::{AgentId, Caller, SessionId};
use serde_json::Value;
use store::Clock;
use store::memory::MemoryStore;
use tokio::time::Instant;

use crate::minimal::minimal;

/// A coordinator with nothing in it.
pub fn coordinator() -> Arc<Coordinator> {
    coordinator_with(|_| {})
}

pub fn coordinator_with(change: impl FnOnce(&mut Settings)) -> Arc<Coordinator> {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Settings::load(|_| None, directory.path()).unwrap();
    change(&mut settings);
    let (began, start) = (Timestamp::now(), Instant::now());
    let clock = Clock::new(move || began + start.elapsed());
    Arc::new(Coordinator::new(Arc::new(MemoryStore::new(clock)), settings))
}

pub fn caller(agent: &str, session: Option<&str>) -> Caller {
    Caller {
        agent_id: AgentId::new(agent).unwrap(),
        agent_type: format!("{agent}_type"),
        session_id: session.map(|s| SessionId::new(s).unwrap()),
    }
}

/// Calls an operation as a tool.
pub async fn call(coordinator: &Coordinator, who: &Caller, name: &str, arguments: Value) -> Result<Value, Failure> {
    let entry = registry::find(name).unwrap_or_else(|| panic!("there is no operation {name}"));
    coordinator.call(entry, coordinator.default_project(), who, Door::Mcp, arguments).await
}

/// What is done with a feature that there must be.
const NEED_A_FEATURE: [&str; 6] = [
    "deregister_feature",
    "enqueue_merge",
    "run_pre_merge_checks",
    "mark_merged",
    "set_merge_state",
    "remove_from_merge_queue",
];

/// The operations whose least request makes sense where there is nothing yet, and which any agent may call: all but those
/// that change rules, and those of runners.
pub fn ordinary() -> impl Iterator<Item = &'static Entry> {
    let is_ordinary =
        |entry: &&Entry| entry.action.level < policy::Trust::Elevated && !NEED_A_FEATURE.contains(&entry.name);
    registry::operations().iter().filter(is_ordinary)
}

/// The least that the operation accepts as a tool.
pub fn least(entry: &Entry) -> Value {
    Value::Object(minimal(entry.request_schema(), entry.one_of))
}

/// The default project's trail, oldest first.
pub async fn trail(coordinator: &Coordinator) -> Vec<AuditEntry> {
    let every_row = AuditFilter { limit: 10_000, ..AuditFilter::default() };
    let mut trail = coordinator.store().audit(coordinator.default_project(), &every_row).await.unwrap();
    trail.reverse();
    trail
}

/// The operations of the trail, oldest first.
pub async fn deeds(coordinator: &Coordinator) -> Vec<String> {
    trail(coordinator).await.into_iter().map(|row| row.operation).collect()
}
