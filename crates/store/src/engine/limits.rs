//! Limits: how much the caller may do. Nothing is counted for a caller without them.

use jiff::{Timestamp, ToSpan};
use model::command::{Action, Command, Outcome, Refusal};
use model::id::Caller;
use model::key::{LockKey, Space};
use model::limits::Limit;

use super::{Result, Rows};

/// How long the files of an agent without a session count.
const HOURS_WITHOUT_SESSION: i64 = 24;

/// Has the caller done as much as it may? A sign of life is never refused.
pub fn exceeded(rows: &mut impl Rows, now: Timestamp, command: &Command) -> Result<Option<Refusal>> {
    let limits = &command.limits;
    if limits.is_none() || matches!(command.action, Action::Heartbeat | Action::Register(_) | Action::Refuse(_)) {
        return Ok(None);
    }
    if let Some(allowed) = limits.max_calls_per_hour {
        let then = now - 1.hour();
        let full_since = match allowed {
            0 => Some(None),
            _ => rows.nth_latest_call(&command.caller.agent_id, allowed, then)?.map(|at| Some(at + 1.hour())),
        };
        if let Some(until) = full_since {
            let limit = Limit::MaxCallsPerHour;
            return Ok(Some(Refusal::ResourceLimitExceeded { limit, allowed, used: allowed, until }));
        }
    }
    let Action::Acquire(acquire) = &command.action else { return Ok(None) };
    let Some(allowed) = limits.max_file_modifications else { return Ok(None) };
    let known = rows.files_locked(&command.caller, counts_since(now, &command.caller))?;
    let more = acquire.keys.iter().filter(|key| is_new_file(key, &known)).count();
    if more == 0 || known.len() + more <= allowed as usize {
        return Ok(None);
    }
    let (limit, used) = (Limit::MaxFileModifications, known.len() as u32);
    Ok(Some(Refusal::ResourceLimitExceeded { limit, allowed, used, until: None }))
}

/// Counts the files that the command has locked.
pub fn count(rows: &mut impl Rows, now: Timestamp, command: &Command, outcome: &Outcome) -> Result<()> {
    let (Action::Acquire(acquire), Outcome::Acquired { .. }) = (&command.action, outcome) else { return Ok(()) };
    if command.limits.max_file_modifications.is_none() {
        return Ok(());
    }
    let known = rows.files_locked(&command.caller, counts_since(now, &command.caller))?;
    for key in acquire.keys.iter().filter(|key| is_new_file(key, &known)) {
        rows.put_file_locked(&command.caller, key, now)?;
    }
    Ok(())
}

fn is_new_file(key: &LockKey, known: &[String]) -> bool {
    key.space() == Space::Path && !known.iter().any(|text| text == key.as_str())
}

/// A session's files all count.
fn counts_since(now: Timestamp, caller: &Caller) -> Timestamp {
    match caller.session_id {
        Some(_) => Timestamp::UNIX_EPOCH,
        None => now - HOURS_WITHOUT_SESSION.hours(),
    }
}
