//! The one list of operations. Tools, routes, the OpenAPI document and `coordinator call` are derived from it.

use std::sync::LazyLock;

use crate::operation::Entry;
use crate::{audit, locks, memories, sessions, skills, work, working_memory};

static OPERATIONS: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    vec![
        Entry::of::<locks::AcquireLock>(),
        Entry::of::<locks::ReleaseLock>(),
        Entry::of::<locks::CheckLocks>(),
        Entry::of::<locks::LockStatus>(),
        Entry::of::<work::SubmitWork>(),
        Entry::of::<work::GetWork>(),
        Entry::of::<work::CompleteWork>(),
        Entry::of::<work::GetTask>(),
        Entry::of::<work::ListTasks>(),
        Entry::of::<work::CancelTask>(),
        Entry::of::<sessions::RegisterSession>(),
        Entry::of::<sessions::Heartbeat>(),
        Entry::of::<sessions::DiscoverAgents>(),
        Entry::of::<sessions::CleanupDeadAgents>(),
        Entry::of::<memories::RememberMemory>(),
        Entry::of::<memories::Recall>(),
        Entry::of::<working_memory::UpdateNotes>(),
        Entry::of::<working_memory::GetNotes>(),
        Entry::of::<skills::RecordSkillUse>(),
        Entry::of::<skills::RecallSkills>(),
        Entry::of::<audit::QueryAudit>(),
    ]
});

/// All operations.
pub fn operations() -> &'static [Entry] {
    &OPERATIONS
}

/// The operation of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    OPERATIONS.iter().find(|entry| entry.name == name)
}
