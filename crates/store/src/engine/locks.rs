//! Locks: granted to one agent, or to several who share, on all the keys asked for or none.

use jiff::{Timestamp, ToSpan};
use model::command::{Acquire, BlockReason, Blocked, CONFLICT_LIMIT, Grant, Outcome, Refusal, Release, Wait};
use model::id::{AgentId, Caller};
use model::key::LockKey;
use model::locks::{Lock, LockMode, WAITER_LEASE_SECONDS, Waiter};

use super::{Result, Rows, features, next_position};

pub fn acquire(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &Acquire) -> Result<Outcome> {
    let outcome = try_acquire(rows, now, caller, request)?;
    let Some(wait) = request.wait else { return Ok(outcome) };
    match outcome {
        Outcome::Blocked(blocked) if !wait.last => queue(rows, now, caller, request, wait, blocked),
        _ => {
            rows.drop_waiter(wait.ticket)?;
            Ok(outcome)
        }
    }
}

fn try_acquire(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &Acquire) -> Result<Outcome> {
    if let Some(pause) = pause_in_the_way(rows, caller, request)? {
        return Ok(Outcome::Blocked(Blocked {
            reason: BlockReason::FeaturePaused,
            locks: vec![pause],
            waiters: vec![],
        }));
    }
    let Way { held, mut locks, mut waiters } =
        in_the_way(rows, &caller.agent_id, &request.keys, request.mode, request.wait)?;
    if let Some(given) = request.fencing_token {
        for (key, lock) in request.keys.iter().zip(&held) {
            if let Some(refusal) = stale(key.as_str(), given, lock.as_ref().map(|l| l.fencing_token)) {
                return Ok(Outcome::Refused(refusal));
            }
        }
    }
    if !locks.is_empty() || !waiters.is_empty() {
        locks.truncate(CONFLICT_LIMIT);
        waiters.truncate(CONFLICT_LIMIT);
        return Ok(Outcome::Blocked(Blocked { reason: BlockReason::LockedByOther, locks, waiters }));
    }
    let token = next_position(rows);
    let mut grants = Vec::with_capacity(held.len());
    for (key, held) in request.keys.iter().zip(held) {
        let refreshed = held.is_some();
        let lock = Lock {
            key: key.clone(),
            agent_id: caller.agent_id.clone(),
            agent_type: caller.agent_type.clone(),
            session_id: caller.session_id.clone(),
            mode: request.mode,
            reason: request.reason.clone().or_else(|| held.as_ref()?.reason.clone()),
            fencing_token: held.as_ref().map_or(token, |l| l.fencing_token),
            locked_at: held.as_ref().map_or(now, |l| l.locked_at),
            expires_at: now + i64::from(request.ttl_seconds).seconds(),
        };
        rows.put_lock(&lock)?;
        grants.push(Grant {
            claimed_by: features::claimed_by(rows, caller, request, key)?,
            key: lock.key,
            refreshed,
            fencing_token: lock.fencing_token,
            expires_at: lock.expires_at,
        });
    }
    Ok(Outcome::Acquired { grants })
}

pub fn release(rows: &mut impl Rows, caller: &Caller, request: &Release) -> Result<Outcome> {
    let (mut released, mut missing) = (vec![], vec![]);
    for key in &request.keys {
        match rows.lock(key, &caller.agent_id)? {
            Some(lock) => {
                if let Some(refusal) =
                    request.fencing_token.and_then(|given| stale(key.as_str(), given, Some(lock.fencing_token)))
                {
                    return Ok(Outcome::Refused(refusal));
                }
                released.push(key.clone());
            }
            None => missing.push(key.clone()),
        }
    }
    for key in &released {
        rows.drop_lock(key, &caller.agent_id)?;
    }
    Ok(Outcome::Released { released, missing })
}

/// Refuses a token that is older than the grant's, or whose grant is gone.
pub fn stale(target: &str, given: i64, current: Option<i64>) -> Option<Refusal> {
    match current {
        Some(current) if given >= current => None,
        _ => Some(Refusal::StaleFencingToken { target: target.to_owned(), given, current }),
    }
}

/// Another agent's pause lock on a feature this work is for: the feature named in the request, that of a
/// `feature:` key, or that of a task the caller has claimed.
fn pause_in_the_way(rows: &mut impl Rows, caller: &Caller, request: &Acquire) -> Result<Option<Lock>> {
    let mut pauses = rows.pauses()?;
    pauses.retain(|pause| pause.agent_id != caller.agent_id && request.keys != [pause.key.clone()]);
    if pauses.is_empty() {
        return Ok(None);
    }
    let mut features: Vec<String> = request.feature_id.iter().cloned().collect();
    features.extend(request.keys.iter().filter_map(|key| key.feature()).map(|(id, _)| id.to_owned()));
    features.extend(rows.tasks_held_by(&caller.agent_id)?.into_iter().filter_map(|task| task.feature_id));
    features.sort();
    let paused = |feature: &String| pauses.iter().find(|p| p.key.feature().is_some_and(|(id, _)| id == feature));
    Ok(features.iter().find_map(paused).cloned())
}

/// Who and what an acquisition meets.
struct Way {
    /// The agent's own lock on each key, where it has one.
    held: Vec<Option<Lock>>,
    /// Others' locks in the way, oldest grant first.
    locks: Vec<Lock>,
    /// Those who queued earlier, first come first.
    waiters: Vec<Waiter>,
}

/// Everyone who keeps `agent` from holding the keys: holders of overlapping locks, and those who queued before it.
///
/// A waiter that itself waits for a lock of `agent` does not stand before it: they would wait for each other. Nor does
/// any waiter stand before the refresh of a lock.
fn in_the_way(
    rows: &mut impl Rows,
    agent: &AgentId,
    keys: &[LockKey],
    mode: LockMode,
    wait: Option<Wait>,
) -> Result<Way> {
    let (mut held, mut locks, mut waiters) = (Vec::with_capacity(keys.len()), vec![], vec![]);
    for key in keys {
        let mut own = None;
        for lock in rows.locks_near(key)? {
            if lock.agent_id != *agent {
                if !lock.mode.agrees_with(mode) && lock.key.overlaps(key) {
                    locks.push(lock);
                }
            } else if lock.key == *key {
                own = Some(lock);
            }
        }
        held.push(own);
    }
    locks.sort_by(|a, b| (a.fencing_token, &a.key).cmp(&(b.fencing_token, &b.key)));
    locks.dedup_by(|a, b| a.key == b.key && a.agent_id == b.agent_id);

    if held.iter().any(Option::is_none) {
        let queue = rows.waiters()?;
        let place = wait.and_then(|wait| queue.iter().find(|w| w.ticket == wait.ticket)).map_or(i64::MAX, |w| w.seq);
        for waiter in queue {
            let meets = waiter.seq < place
                && waiter.agent_id != *agent
                && !waiter.mode.agrees_with(mode)
                && keys.iter().any(|key| waiter.keys.iter().any(|other| key.overlaps(other)));
            if meets && !waits_for_lock_of(rows, &waiter, agent)? {
                waiters.push(waiter);
            }
        }
    }
    Ok(Way { held, locks, waiters })
}

fn waits_for_lock_of(rows: &mut impl Rows, waiter: &Waiter, agent: &AgentId) -> Result<bool> {
    for key in &waiter.keys {
        let meets = |l: &Lock| l.agent_id == *agent && !l.mode.agrees_with(waiter.mode) && l.key.overlaps(key);
        if rows.locks_near(key)?.iter().any(meets) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Keeps the caller's place in the queue, or refuses it when waiting would never end.
fn queue(
    rows: &mut impl Rows,
    now: Timestamp,
    caller: &Caller,
    request: &Acquire,
    wait: Wait,
    blocked: Blocked,
) -> Result<Outcome> {
    let queue = rows.waiters()?;
    let place = queue.iter().find(|w| w.ticket == wait.ticket);
    // A fresh enough place needs no write: polling costs no commit.
    if place.is_none_or(|w| w.expires_at < now + (WAITER_LEASE_SECONDS - 1).seconds()) {
        let (seq, since) = match place {
            Some(w) => (w.seq, w.since),
            None => (queue.last().map_or(1, |last| last.seq + 1), now),
        };
        rows.put_waiter(&Waiter {
            ticket: wait.ticket,
            seq,
            agent_id: caller.agent_id.clone(),
            agent_type: caller.agent_type.clone(),
            keys: request.keys.clone(),
            mode: request.mode,
            reason: request.reason.clone(),
            since,
            expires_at: now + WAITER_LEASE_SECONDS.seconds(),
        })?;
    }
    if let Some(cycle) = deadlock(rows, wait)? {
        rows.drop_waiter(wait.ticket)?;
        return Ok(Outcome::Refused(Refusal::Deadlock { cycle }));
    }
    Ok(Outcome::Waiting(blocked))
}

/// The agents of a cycle of waiters in which the one with this ticket is the youngest: it begins and ends with it.
///
/// Breadth first over "waits for a lock of, or behind"; each place in the queue is visited once.
fn deadlock(rows: &mut impl Rows, wait: Wait) -> Result<Option<Vec<AgentId>>> {
    let queue = rows.waiters()?;
    let Some(start) = queue.iter().position(|w| w.ticket == wait.ticket) else { return Ok(None) };
    let mut came_from: Vec<Option<usize>> = vec![None; queue.len()];
    let mut frontier = std::collections::VecDeque::from([start]);
    while let Some(at) = frontier.pop_front() {
        let waiter = &queue[at];
        let place = Some(Wait { ticket: waiter.ticket, last: false });
        let way = in_the_way(rows, &waiter.agent_id, &waiter.keys, waiter.mode, place)?;
        let holders = way.locks.iter().map(|l| &l.agent_id).chain(way.waiters.iter().map(|w| &w.agent_id));
        let holders: std::collections::BTreeSet<&AgentId> = holders.collect();
        if holders.contains(&queue[start].agent_id) {
            let mut cycle = vec![queue[start].agent_id.clone()];
            let mut step = at;
            while step != start {
                cycle.push(queue[step].agent_id.clone());
                step = came_from[step].unwrap_or(start);
            }
            cycle.push(queue[start].agent_id.clone());
            cycle.reverse();
            return Ok(Some(cycle));
        }
        for (next, other) in queue.iter().enumerate() {
            // Only places older than the caller's: the youngest of a cycle is the one that is refused.
            if next < start && came_from[next].is_none() && holders.contains(&other.agent_id) {
                came_from[next] = Some(at);
                frontier.push_back(next);
            }
        }
    }
    Ok(None)
}
