//! The locks that labels and branches stand for.
//!
//! They are known by their session, which names the issue or the branch. So nothing has to be remembered about them: what is
//! held and no longer wanted is released, whoever took it, and a lock that the agent took itself is left alone.

use std::collections::BTreeMap;

use jiff::ToSpan;
use model::command::{Acquire, Action, Outcome, Release};
use model::id::AgentId;
use model::key::LockKey;
use model::locks::{Lock, LockMode};
use serde_json::json;

use super::LEASE_MINUTES;
use super::records::{Name, Refused, Subject};
use super::settle::{Desk, Wanted, owner, wanted};
use crate::failure::Failure;

/// The most keys of one command.
const BATCH: usize = 100;
const LOCKED_BY_OTHER: &str = "locked_by_other";

/// Makes the record's locks those that are wanted. What cannot be locked goes to `refused`.
pub async fn hold(
    desk: &mut Desk<'_>,
    name: &Name,
    before: &Subject,
    wanted: Wanted,
    refused: &mut BTreeMap<String, Refused>,
) -> Result<(), Failure> {
    let agent = owner(name, &wanted);
    refused.extend(wanted.refused.clone());
    release_others(desk, name, agent.as_ref(), &wanted, refused).await?;
    let Some(agent) = agent else { return Ok(()) };

    let (mut free, mut taken) = (vec![], vec![]);
    for key in &wanted.keys {
        let place = place_of(key);
        match need(desk, name, &agent, key) {
            Need::Nothing => {}
            Need::Wait(refusal) if before.refused.get(&place).is_some_and(|known| known.code == refusal.code) => {
                refused.insert(place, refusal);
            }
            // Not asked again for what is refused until something changes.
            Need::Lock if before.settled && is_refused_for_good(before, &place) => {
                refused.extend(before.refused.get_key_value(&place).map(|(place, why)| (place.clone(), why.clone())));
            }
            Need::Lock => free.push(key.clone()),
            // Asked for once all the same, so that the refusal is on record.
            Need::Wait(_) => taken.push(key.clone()),
        }
    }
    let is_any = !free.is_empty() || !taken.is_empty();
    for batch in free.chunks(BATCH) {
        match (acquire(desk, name, &agent, batch).await?, batch) {
            (Ok(()), _) => {}
            (Err(refusal), [key]) => drop(refused.insert(place_of(key), refusal)),
            (Err(_), several) => taken.extend_from_slice(several),
        }
    }
    for key in taken {
        if let Err(refusal) = acquire(desk, name, &agent, std::slice::from_ref(&key)).await? {
            refused.insert(place_of(&key), refusal);
        }
    }
    if is_any {
        desk.look_again().await?;
    }
    Ok(())
}

fn place_of(key: &LockKey) -> String {
    format!("lock:{key}")
}

fn is_refused_for_good(before: &Subject, place: &str) -> bool {
    before.refused.get(place).is_some_and(|known| known.code != LOCKED_BY_OTHER)
}

/// What is to be done for a key.
enum Need {
    /// It is held, and for long enough.
    Nothing,
    /// It is to be locked or renewed.
    Lock,
    /// Another holds it.
    Wait(Refused),
}

fn need(desk: &Desk<'_>, name: &Name, agent: &AgentId, key: &LockKey) -> Need {
    let own = desk.locks.iter().find(|lock| lock.agent_id == *agent && lock.key == *key);
    if let Some(lock) = own {
        let is_fresh = lock.expires_at >= desk.now + i64::from(LEASE_MINUTES / 2).minutes();
        return if is_fresh || !is_of(lock, name) { Need::Nothing } else { Need::Lock };
    }
    let other = desk.locks.iter().find(|lock| lock.agent_id != *agent && lock.key.overlaps(key));
    other.map_or(Need::Lock, |lock| Need::Wait(held_by(lock, key)))
}

fn is_of(lock: &Lock, name: &Name) -> bool {
    lock.session_id.as_ref().is_some_and(|session| session.as_str() == name.session())
}

fn held_by(lock: &Lock, key: &LockKey) -> Refused {
    let covers = if lock.key == *key { String::new() } else { format!(" ({key} overlaps it)") };
    let message = format!(
        "{key} is not locked: {} holds {}{covers} until {:.0} unless it is renewed. It is tried again every minute, and locked \
         as soon as it is free; or lock something else",
        lock.agent_id, lock.key, lock.expires_at
    );
    Refused::new(LOCKED_BY_OTHER, message)
}

async fn acquire(
    desk: &Desk<'_>,
    name: &Name,
    agent: &AgentId,
    keys: &[LockKey],
) -> Result<Result<(), Refused>, Failure> {
    let reason = name.in_words();
    // As texts: by these, policies know what is locked.
    let paths: Vec<&str> = keys.iter().map(LockKey::as_str).collect();
    let parameters = json!({"file_paths": paths, "reason": reason, "ttl_minutes": LEASE_MINUTES});
    let action = Action::Acquire(Acquire {
        keys: keys.to_vec(),
        mode: LockMode::Exclusive,
        reason: Some(reason),
        ttl_seconds: LEASE_MINUTES * 60,
        feature_id: None,
        fencing_token: None,
        wait: None,
    });
    Ok(match desk.act("acquire_lock", &desk.caller(agent, name), parameters, name, action).await? {
        Ok(Outcome::Acquired { .. }) => Ok(()),
        Ok(Outcome::Blocked(blocked)) => Err(match (blocked.locks.first(), keys.first()) {
            (Some(lock), Some(key)) => held_by(lock, key),
            _ => Refused::new(LOCKED_BY_OTHER, format!("{} waits in a queue that others are in", name.in_words())),
        }),
        Ok(other) => return Err(Failure::unexpected(&other)),
        Err(refusal) => Err(refusal),
    })
}

/// Releases what the record holds and does not want for this agent. What another record of the agent's wants goes to that.
async fn release_others(
    desk: &mut Desk<'_>,
    name: &Name,
    agent: Option<&AgentId>,
    kept: &Wanted,
    refused: &mut BTreeMap<String, Refused>,
) -> Result<(), Failure> {
    let is_unwanted =
        |lock: &&Lock| is_of(lock, name) && !(agent == Some(&lock.agent_id) && kept.keys.contains(&lock.key));
    let unwanted: Vec<Lock> = desk.locks.iter().filter(is_unwanted).cloned().collect();
    if unwanted.is_empty() {
        return Ok(());
    }
    let subjects = desk.records.subjects().await?;
    for lock in unwanted {
        let heir = subjects.iter().find(|(other, stored)| {
            let theirs = wanted(&stored.value.known);
            *other != name && theirs.keys.contains(&lock.key) && owner(other, &theirs).as_ref() == Some(&lock.agent_id)
        });
        if let Some((heir, _)) = heir
            && acquire(desk, heir, &lock.agent_id, std::slice::from_ref(&lock.key)).await?.is_ok()
        {
            continue;
        }
        let parameters = json!({"file_path": lock.key.as_str()});
        let action = Action::Release(Release { keys: vec![lock.key.clone()], fencing_token: Some(lock.fencing_token) });
        let caller = desk.caller(&lock.agent_id, name);
        if let Err(refusal) = desk.act("release_lock", &caller, parameters, name, action).await? {
            refused.insert(format!("release:{}", lock.key), refusal);
        }
    }
    desk.records.coordinator.wake_waiters();
    desk.look_again().await
}
