//! Locks: what is granted, what is in the way.

use serde_json::{Value, json};

use super::{SECOND, World, list, texts};
use crate::faults::evidence::{Waits, text};
use crate::faults::keys;
use crate::faults::trail::{Row, micros};
use crate::faults::verdict::{Findings, Kind};

/// The most locks that a blocked request is told of.
const CONFLICT_LIMIT: usize = 20;

/// A lock.
#[derive(Debug, Clone, PartialEq)]
pub struct Lock {
    pub session: Option<String>,
    pub is_shared: bool,
    pub reason: Option<String>,
    pub token: i64,
    pub locked_at: i64,
    pub expires_at: i64,
}

/// A request for locks.
struct Asked {
    /// Sorted, no two alike.
    keys: Vec<String>,
    is_shared: bool,
    token: Option<i64>,
}

impl World {
    pub(super) fn acquire(&mut self, row: &Row, waits: &Waits, found: &mut Findings) {
        let asked = Asked {
            keys: sorted(keys::of_request(&row.parameters)),
            is_shared: row.parameters["mode"] == "shared",
            token: row.parameters["fencing_token"].as_i64(),
        };
        let pause = self.pause_in_the_way(row, &asked);
        let stale = self.stale_for_acquire(&row.agent, &asked);
        let conflicts = self.conflicts(&row.agent, &asked);
        let is_deadlock = row.result["code"] == "deadlock";
        let said = text(&row.result, "kind");
        match (pause, stale) {
            (Some(pause), _) if said == "blocked" => {
                if row.result["reason"] != "feature_paused" || !self.is_list_of(&row.result["locks"], &[pause]) {
                    found.about(Kind::Model, row, "the pause of its feature should be in the way");
                }
            }
            (Some(_), _) if is_deadlock => self.check_deadlock(row, waits, found),
            (Some(_), _) => found.about(Kind::Model, row, "its feature is paused"),
            (None, Some(refusal)) if said == "refused" => {
                if row.result != refusal {
                    found.about(Kind::Model, row, format!("it should say {refusal}"));
                }
            }
            (None, Some(_)) => found.about(Kind::Model, row, "its fencing token is stale"),
            (None, None) if said == "acquired" => {}
            (None, None) if said == "blocked" => self.check_blocked(row, &asked, &conflicts, waits, found),
            (None, None) if is_deadlock => self.check_deadlock(row, waits, found),
            (None, None) => found.about(Kind::Model, row, "it should be granted or blocked"),
        }
        if said == "acquired" {
            self.check_grant(row, &conflicts, found);
            self.grant(row, &asked, found);
        }
    }

    fn check_grant(&self, row: &Row, conflicts: &[(String, String)], found: &mut Findings) {
        for (key, agent) in conflicts {
            let token = self.locks.get(&(key.clone(), agent.clone())).map_or(0, |lock| lock.token);
            found.about(Kind::DoubleGrant, row, format!("{agent} holds {key} under token {token}"));
        }
    }

    fn grant(&mut self, row: &Row, asked: &Asked, found: &mut Findings) {
        let grants = list(&row.result["grants"]);
        let granted: Vec<&str> = grants.iter().map(|grant| text(&grant["key"], "text")).collect();
        if granted != asked.keys {
            found.about(Kind::Model, row, format!("asked for were {:?}", asked.keys));
        }
        let ends_at = row.at + row.parameters["ttl_minutes"].as_i64().unwrap_or_default() * 60 * SECOND;
        let mut fresh = None;
        for grant in grants {
            let key = text(&grant["key"], "text").to_owned();
            let held = self.locks.get(&(key.clone(), row.agent.clone())).cloned();
            let told = grant["fencing_token"].as_i64();
            let token = match (&held, fresh) {
                (Some(held), _) => held.token,
                (None, Some(token)) => token,
                (None, None) => *fresh.insert(self.take_number(row, told, found)),
            };
            if told != Some(token)
                || grant["refreshed"] != held.is_some()
                || micros(&grant["expires_at"]) != Some(ends_at)
            {
                let text = format!("{key} should have token {token}, refreshed: {}, until {ends_at}", held.is_some());
                found.about(Kind::Model, row, text);
            }
            let reason = row.parameters["reason"].as_str().map(str::to_owned);
            let lock = Lock {
                session: row.session.clone(),
                is_shared: asked.is_shared,
                reason: reason.or_else(|| held.as_ref()?.reason.clone()),
                token: told.unwrap_or(token),
                locked_at: held.map_or(row.at, |held| held.locked_at),
                expires_at: micros(&grant["expires_at"]).unwrap_or(ends_at),
            };
            self.locks.insert((key, row.agent.clone()), lock);
        }
    }

    /// The locks of others that the request must not overlap, oldest grant first.
    fn conflicts(&self, agent: &str, asked: &Asked) -> Vec<(String, String)> {
        let mut conflicts: Vec<(i64, &(String, String))> = self
            .locks
            .iter()
            .filter(|((key, holder), lock)| {
                holder != agent
                    && !(lock.is_shared && asked.is_shared)
                    && asked.keys.iter().any(|wanted| keys::overlap(wanted, key))
            })
            .map(|(place, lock)| (lock.token, place))
            .collect();
        conflicts.sort_unstable();
        conflicts.into_iter().map(|(_, place)| place.clone()).collect()
    }

    fn check_blocked(
        &self,
        row: &Row,
        asked: &Asked,
        conflicts: &[(String, String)],
        waits: &Waits,
        found: &mut Findings,
    ) {
        if row.result["reason"] != "locked_by_other" {
            return found.about(Kind::Model, row, "no feature of its is paused");
        }
        if !self.is_list_of(&row.result["locks"], &conflicts[..conflicts.len().min(CONFLICT_LIMIT)]) {
            found.about(Kind::Model, row, format!("these should be in the way: {conflicts:?}"));
        }
        let waiters = list(&row.result["waiters"]);
        let holds_all = asked.keys.iter().all(|key| self.locks.contains_key(&(key.clone(), row.agent.clone())));
        if holds_all && !waiters.is_empty() {
            found.about(Kind::Model, row, "a waiter stands before the refresh of a lock");
        }
        if conflicts.is_empty() && waiters.is_empty() {
            found.about(Kind::Model, row, "nothing is in the way");
        }
        for waiter in waiters {
            let stands = waits.standing(text(waiter, "reason"), row).is_some_and(|wait| {
                wait.agent == text(waiter, "agent_id")
                    && wait.agent != row.agent
                    && wait.meets(&asked.keys, asked.is_shared)
                    && wait.seq != Some(row.seq)
                    && micros(&waiter["since"]).is_some_and(|since| wait.from <= since && since <= row.at)
                    && micros(&waiter["expires_at"]).is_some_and(|end| end > row.at)
            });
            if !stands {
                found.about(Kind::Model, row, format!("this waiter cannot be there: {waiter}"));
            }
        }
    }

    /// Each of the cycle must hold, or wait before it for, something that the one before it waits for.
    fn check_deadlock(&self, row: &Row, waits: &Waits, found: &mut Findings) {
        let cycle = texts(&row.result["cycle"]);
        let is_round = cycle.len() > 2 && cycle.first() == Some(&row.agent) && cycle.last() == Some(&row.agent);
        let waits_for = |waiter: &str, other: &str| {
            waits.standing_of(waiter, row).any(|wait| {
                let holds = self.locks.iter().any(|((key, holder), lock)| {
                    holder == other && wait.meets(std::slice::from_ref(key), lock.is_shared)
                });
                holds || waits.standing_of(other, row).any(|theirs| wait.meets(&theirs.keys, theirs.is_shared))
            })
        };
        if !is_round || !cycle.windows(2).all(|pair| waits_for(&pair[0], &pair[1])) {
            found.about(Kind::Model, row, "these do not wait for each other");
        }
    }

    /// Another agent's pause lock on a feature that the work is for.
    fn pause_in_the_way(&self, row: &Row, asked: &Asked) -> Option<(String, String)> {
        let named = row.parameters["feature_id"].as_str().into_iter();
        let of_keys = asked.keys.iter().filter_map(|key| keys::feature_of(key));
        let held =
            self.held.iter().map(|at| &self.tasks[*at]).filter(|task| task.claimed_by.as_ref() == Some(&row.agent));
        let of_tasks = held.filter_map(|task| task.feature.as_deref());
        let mut features: Vec<&str> = named.chain(of_keys).chain(of_tasks).collect();
        features.sort_unstable();
        let pauses = features.into_iter().map(keys::pause_of).filter(|pause| asked.keys != [pause.clone()]);
        pauses.filter_map(|pause| self.holder_but(&pause, &row.agent)).next()
    }

    /// Somebody else's lock on exactly this key.
    pub(super) fn holder_but(&self, key: &str, agent: &str) -> Option<(String, String)> {
        self.locks.keys().find(|(held, holder)| held == key && holder != agent).cloned()
    }

    fn stale_for_acquire(&self, agent: &str, asked: &Asked) -> Option<Value> {
        let given = asked.token?;
        asked.keys.iter().find_map(|key| {
            let current = self.locks.get(&(key.clone(), agent.to_owned())).map(|lock| lock.token);
            stale(key, given, current)
        })
    }

    fn is_list_of(&self, said: &Value, places: &[(String, String)]) -> bool {
        let said = list(said);
        said.len() == places.len()
            && said.iter().zip(places).all(|(said, place)| {
                self.locks.get(place).is_some_and(|lock| {
                    text(&said["key"], "text") == place.0
                        && text(said, "agent_id") == place.1
                        && said["session_id"] == json!(lock.session)
                        && (text(said, "mode") == "shared") == lock.is_shared
                        && said["reason"] == json!(lock.reason)
                        && said["fencing_token"] == lock.token
                        && micros(&said["locked_at"]) == Some(lock.locked_at)
                        && micros(&said["expires_at"]) == Some(lock.expires_at)
                })
            })
    }

    pub(super) fn release(&mut self, row: &Row, found: &mut Findings) {
        let keys = sorted(keys::of_request(&row.parameters));
        let place = |key: &String| (key.clone(), row.agent.clone());
        let given = row.parameters["fencing_token"].as_i64();
        let refusal = keys.iter().find_map(|key| {
            let current = self.locks.get(&place(key))?.token;
            stale(key, given?, Some(current))
        });
        let names = |list: &Value| -> Vec<String> {
            super::list(list).iter().map(|key| text(key, "text").to_owned()).collect()
        };
        let (released, missing): (Vec<String>, Vec<String>) =
            keys.iter().cloned().partition(|key| self.locks.contains_key(&place(key)));
        let fits = match &refusal {
            Some(refusal) => row.result == *refusal,
            None => {
                text(&row.result, "kind") == "released"
                    && names(&row.result["released"]) == released
                    && names(&row.result["missing"]) == missing
            }
        };
        if !fits {
            let text = format!("it should be {refusal:?}, or release {released:?} and miss {missing:?}");
            found.about(Kind::Model, row, text);
        }
        for key in names(&row.result["released"]) {
            self.locks.remove(&place(&key));
        }
    }

    pub(super) fn expire_lock(&mut self, row: &Row, found: &mut Findings) {
        let place = (text(&row.parameters, "file_path").to_owned(), text(&row.parameters, "agent_id").to_owned());
        match self.locks.remove(&place) {
            Some(lock) if lock.expires_at <= row.at => {}
            other => found.about(Kind::Model, row, format!("the lock {place:?} is not over: {other:?}")),
        }
    }
}

/// The refusal of a token that is older than the grant's, or whose grant is gone.
pub fn stale(target: &str, given: i64, current: Option<i64>) -> Option<Value> {
    let is_stale = current.is_none_or(|current| given < current);
    is_stale.then(|| {
        json!({"kind": "refused", "code": "stale_fencing_token", "target": target, "given": given, "current": current})
    })
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort_unstable();
    keys.dedup();
    keys
}
