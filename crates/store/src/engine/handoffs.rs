//! Handoffs: kept as they are given.

use jiff::Timestamp;
use model::command::{Outcome, WriteHandoff};
use model::handoffs::Handoff;
use model::id::Caller;

use super::{Result, Rows, next_position};

pub fn write(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &WriteHandoff) -> Result<Outcome> {
    let handoff = Handoff {
        handoff_id: request.handoff_id,
        seq: next_position(rows),
        agent_id: caller.agent_id.clone(),
        agent_type: caller.agent_type.clone(),
        session_id: caller.session_id.clone(),
        feature_id: request.feature_id.clone(),
        notes: request.notes.clone(),
        created_at: now,
    };
    rows.insert_handoff(&handoff)?;
    Ok(Outcome::HandoffWritten { handoff_id: handoff.handoff_id })
}
