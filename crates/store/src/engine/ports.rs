//! Ports: which session has which block, across all projects.
//!
//! A block belongs to the machine, so no project's reaping frees it: whoever asks for one first drops those that ended.

use jiff::{Timestamp, ToSpan};
use model::command::{AllocatePorts, Outcome};
use model::id::{Caller, SessionId};
use model::ports::PortBlock;

use super::{Result, Rows};

pub fn allocate(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &AllocatePorts) -> Result<Outcome> {
    rows.drop_port_blocks_ended(now)?;
    let own = rows.port_block(&request.session_id)?;
    let first_port = match &own {
        Some(own) => own.first_port,
        None => {
            let taken = rows.port_blocks()?;
            let is_free = |first_port: &&u16| !taken.iter().any(|block| block.overlaps(**first_port));
            match request.candidates.iter().find(is_free) {
                Some(first_port) => *first_port,
                None => return Ok(Outcome::NoPorts),
            }
        }
    };
    let block = PortBlock {
        project: rows.project().clone(),
        session_id: request.session_id.clone(),
        agent_id: caller.agent_id.clone(),
        first_port,
        allocated_at: own.as_ref().map_or(now, |own| own.allocated_at),
        expires_at: now + i64::from(request.ttl_seconds).seconds(),
    };
    rows.put_port_block(&block)?;
    Ok(Outcome::PortsAllocated { first_port, refreshed: own.is_some(), expires_at: block.expires_at })
}

pub fn release(rows: &mut impl Rows, now: Timestamp, session_id: &SessionId) -> Result<Outcome> {
    rows.drop_port_blocks_ended(now)?;
    let released = rows.port_block(session_id)?.is_some();
    if released {
        rows.drop_port_block(session_id)?;
    }
    Ok(Outcome::PortsReleased { released })
}
