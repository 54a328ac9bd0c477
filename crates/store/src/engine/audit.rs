//! The trail's end and its beginning: how a row is appended to the chain, and how the oldest ones are removed.

use jiff::Timestamp;
use model::chain::{CanonicalRow, Seal};
use model::command::{Outcome, Refusal};
use model::id::{Project, SessionId};
use uuid::Uuid;

use super::{Result, Rows};

/// The most rows that one command removes: others wait for it.
pub const PRUNE_LIMIT: i64 = 10_000;

/// An [`AuditEntry`](model::audit::AuditEntry) to be: its JSON is text, as it is written.
pub struct NewEntry<'a> {
    pub seq: i64,
    pub id: Uuid,
    pub agent_id: &'a str,
    pub agent_type: &'a str,
    pub session_id: Option<&'a SessionId>,
    pub operation: &'a str,
    pub parameters: &'a str,
    pub result: &'a str,
    pub duration_ms: i64,
    pub success: bool,
    pub error_message: Option<&'a str>,
    pub created_at: Timestamp,
}

impl NewEntry<'_> {
    /// The row as it is hashed.
    pub fn canonical(&self, project: &Project) -> CanonicalRow {
        let mut row = CanonicalRow::with_capacity(256 + self.parameters.len() + self.result.len());
        row.push(Some(project.as_str().as_bytes()));
        row.push_number(self.seq);
        row.push_id(self.id);
        row.push(Some(self.agent_id.as_bytes()));
        row.push(Some(self.agent_type.as_bytes()));
        row.push(self.session_id.map(|id| id.as_str().as_bytes()));
        row.push(Some(self.operation.as_bytes()));
        row.push(Some(self.parameters.as_bytes()));
        row.push(Some(self.result.as_bytes()));
        row.push_number(self.duration_ms);
        row.push_number(i64::from(self.success));
        row.push(self.error_message.map(str::as_bytes));
        row.push_number(self.created_at.as_microsecond());
        row
    }
}

/// Seals the oldest rows and removes them. The seal must be of exactly these rows, of more than were sealed before, and of
/// fewer than there are: the last row tells where the trail goes on.
pub fn prune(rows: &mut impl Rows, seal: &Seal) -> Result<Outcome> {
    let sealed = rows.sealed_size()?;
    let is_next = seal.size > sealed && seal.size < rows.last_position() && seal.size - sealed <= PRUNE_LIMIT;
    if !is_next || rows.audit_hash(seal.size)? != Some(seal.hash) {
        return Ok(Outcome::Refused(Refusal::SealMismatch { size: seal.size }));
    }
    rows.put_seal(seal)?;
    rows.drop_sealed(seal.size)?;
    Ok(Outcome::AuditPruned { rows: seal.size - sealed })
}
