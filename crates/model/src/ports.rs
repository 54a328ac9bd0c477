//! Ports: a block of four for each session, so that the services of many work trees run side by side on one machine.
//!
//! Ports belong to the machine and not to a project, so a block that one project's session holds is taken for all
//! projects of the database. A block is a lease like a lock; no session's end frees it, because what listens on the ports
//! may outlive the agent that started it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{AgentId, Project, SessionId};

/// How many ports a block has.
pub const BLOCK_SIZE: u16 = 4;
/// The last port at which a block may begin.
pub const LAST_FIRST_PORT: u16 = u16::MAX - BLOCK_SIZE + 1;

/// A block that a session holds: at most one for a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBlock {
    /// The session's project.
    pub project: Project,
    /// Whose it is: any name, registered or not.
    pub session_id: SessionId,
    /// The agent that asked for it last.
    pub agent_id: AgentId,
    /// Its lowest port.
    pub first_port: u16,
    /// When the session got it.
    pub allocated_at: Timestamp,
    /// When it ends unless refreshed, by the database's clock.
    pub expires_at: Timestamp,
}

impl PortBlock {
    /// Does it share a port with a block that begins at `first_port`?
    pub fn overlaps(&self, first_port: u16) -> bool {
        self.first_port.abs_diff(first_port) < BLOCK_SIZE
    }
}

/// Where blocks lie and how long they are leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortPlan {
    /// Where the first block begins.
    pub base: u16,
    /// From the beginning of one block to that of the next.
    pub range: u16,
    /// How long a block is leased.
    pub ttl_minutes: u32,
    /// How many blocks there are.
    pub max_sessions: u16,
}

impl Default for PortPlan {
    fn default() -> Self {
        Self { base: 10_000, range: 100, ttl_minutes: 120, max_sessions: 20 }
    }
}

impl PortPlan {
    /// The last port of the last block; more than there are when the plan does not fit.
    pub fn last_port(&self) -> u32 {
        u32::from(self.base) + u32::from(self.range) * (u32::from(self.max_sessions).saturating_sub(1)) + 3
    }

    /// Where the blocks begin, lowest first.
    pub fn first_ports(&self) -> impl Iterator<Item = u16> {
        (self.base..=LAST_FIRST_PORT).step_by(self.range.max(1).into()).take(self.max_sessions.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_ends_where_its_last_block_does() {
        let plan = PortPlan::default();
        assert_eq!(plan.last_port(), 11_903);
        assert_eq!(plan.first_ports().take(3).collect::<Vec<_>>(), [10_000, 10_100, 10_200]);
        assert_eq!(plan.first_ports().last(), Some(11_900));
        let high = PortPlan { base: LAST_FIRST_PORT, max_sessions: 2, ..plan };
        assert_eq!((high.last_port(), high.first_ports().count()), (65_635, 1));
    }

    #[test]
    fn blocks_overlap_when_they_share_a_port() {
        let now = Timestamp::UNIX_EPOCH;
        let name = || "a".to_owned().try_into();
        let block = PortBlock {
            project: Project::default_project(),
            session_id: SessionId::new("s").unwrap(),
            agent_id: name().unwrap(),
            first_port: 100,
            allocated_at: now,
            expires_at: now,
        };
        for (first_port, expected) in [(96, false), (97, true), (100, true), (103, true), (104, false)] {
            assert_eq!(block.overlaps(first_port), expected, "{first_port}");
        }
    }
}
