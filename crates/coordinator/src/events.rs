//! Events: the audit trail, followed as it grows.
//!
//! A row of the trail is committed with what it tells of, so it is the event: nothing can happen without one, and its
//! position is an id by which a follower that was cut off goes on. What happens in this process is noticed at once, the
//! rest by looking several times a second. PostgreSQL's NOTIFY is not used: it makes all commits of a server queue for one
//! lock, and no pooler passes it on.

use std::ops::Deref;
use std::time::{Duration, Instant};

use model::audit::AuditFilter;
use model::id::Project;
use store::StoreError;
use tokio::sync::futures::Notified;

use crate::Coordinator;
use crate::audit::EntryView;

/// How soon whoever waits looks again: when something was done in this process, and when nothing was.
const LOOK_AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
/// The most events of one look.
const PAGE: u32 = 200;

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only this agent's.
    pub agent_id: Option<String>,
    /// Only these operations'; all if there is none.
    pub operations: Vec<String>,
    /// Only what was done, or only what was refused.
    pub success: Option<bool>,
}

impl EventFilter {
    fn wants(&self, event: &EntryView) -> bool {
        self.agent_id.as_ref().is_none_or(|agent| event.agent_id == *agent)
            && (self.operations.is_empty() || self.operations.contains(&event.operation))
            && self.success.is_none_or(|success| event.success == success)
    }
}

/// Looks often, and at once when something was done in this process, until the time is up.
pub(crate) struct Looks<'a> {
    coordinator: &'a Coordinator,
    until: Instant,
    changed: Notified<'a>,
}

impl<'a> Looks<'a> {
    /// The first look may be now.
    pub fn within(coordinator: &'a Coordinator, time: Duration) -> Self {
        Self { coordinator, until: Instant::now() + time, changed: coordinator.changed.notified() }
    }

    /// Is the time up, so that the coming look must be the last one?
    pub fn are_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Waits until it is worth to look again.
    pub async fn pause(&mut self) {
        let left = self.until.saturating_duration_since(Instant::now());
        // The next one begins before the look, so that nothing is missed in between.
        let changed = std::mem::replace(&mut self.changed, self.coordinator.changed.notified());
        pause(changed, left).await;
    }
}

/// Not at every commit of a busy server.
async fn pause(changed: Notified<'_>, longest: Duration) {
    let (soonest, latest) = LOOK_AGAIN_AFTER;
    tokio::time::sleep(longest.min(soonest)).await;
    // Either way we look again.
    let _ = tokio::time::timeout(longest.min(latest), changed).await;
}

/// Follows one project's trail, for as long as it is asked for more.
pub struct Follower<C> {
    coordinator: C,
    project: Project,
    filter: EventFilter,
    position: i64,
}

impl<C: Deref<Target = Coordinator>> Follower<C> {
    /// From behind `position` of the project's trail, or from now on.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn start(
        coordinator: C,
        project: Project,
        filter: EventFilter,
        position: Option<i64>,
    ) -> Result<Self, StoreError> {
        let position = match position {
            Some(position) => position,
            None => {
                let last = AuditFilter { limit: 1, ..AuditFilter::default() };
                coordinator.store().audit(&project, &last).await?.first().map_or(0, |row| row.seq)
            }
        };
        Ok(Self { coordinator, project, filter, position })
    }

    /// The next events, in order; waits until there are some.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer. Nothing is lost: ask again.
    pub async fn next(&mut self) -> Result<Vec<EntryView>, StoreError> {
        loop {
            // Before looking, so that nothing is missed in between.
            let changed = self.coordinator.changed.notified();
            let rows = self.coordinator.store().audit_after(&self.project, self.position, PAGE).await?;
            match rows.last() {
                Some(last) => {
                    self.position = last.seq;
                    let mut events: Vec<EntryView> = rows.into_iter().map(EntryView::from).collect();
                    events.retain(|event| self.filter.wants(event));
                    if !events.is_empty() {
                        return Ok(events);
                    }
                }
                None => pause(changed, Duration::MAX).await,
            }
        }
    }
}
