//! The two accounts of a run, joined: what the clients saw and what the trail says.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::child::Reply;
use super::history::{End, Op, marker_in};
use super::keys;
use super::order::{Interval, Timeline};
use super::trail::{Left, Row};
use super::verdict::{Findings, Kind};

/// The agent under whose name the coordinator records what it does by itself.
pub const SYSTEM: &str = "coordinator";

/// A run's accounts.
pub struct Evidence {
    /// What the clients asked.
    pub ops: Vec<Op>,
    /// What is in the database.
    pub left: Left,
    /// For each request, the first row of the trail that is of it.
    pub row_of_op: Vec<Option<usize>>,
    /// The requests that may have stood in a queue.
    pub waits: Waits,
    /// When everything happened.
    pub timeline: Timeline,
}

impl Evidence {
    /// Joins the accounts; tells what is missing or too much.
    pub fn join(ops: Vec<Op>, left: Left, found: &mut Findings) -> Self {
        let by_marker: HashMap<&str, usize> =
            ops.iter().enumerate().map(|(at, op)| (op.asked.op.as_str(), at)).collect();
        let mut row_of_op: Vec<Option<usize>> = vec![None; ops.len()];
        for (at, row) in left.trail.iter().enumerate() {
            let text = row.parameters.to_string();
            match marker_in(&text) {
                None if is_of_nobody(row) => {}
                None => found.about(Kind::Audit, row, "nobody asked for it"),
                Some(marker) => match by_marker.get(marker) {
                    None => found.about(Kind::Audit, row, format!("nobody asked for {marker}")),
                    Some(op) => match row_of_op[*op] {
                        Some(first) => {
                            let text = format!("{marker} is in the trail already, at {}", left.trail[first].seq);
                            found.about(Kind::Audit, row, text);
                        }
                        None => row_of_op[*op] = Some(at),
                    },
                },
            }
        }
        let intervals: Vec<Interval> =
            ops.iter().zip(&row_of_op).filter_map(|(op, row)| interval(op, &left, *row)).collect();
        let timeline = Timeline::new(&intervals);
        let waits = Waits::of(&ops, &row_of_op, &left);
        let evidence = Self { ops, left, row_of_op, waits, timeline };
        evidence.check_trail(found);
        evidence.check_completeness(found);
        evidence.check_order(found);
        evidence
    }

    fn check_trail(&self, found: &mut Findings) {
        let mut ids = HashSet::new();
        for (at, row) in self.left.trail.iter().enumerate() {
            if row.seq != at as i64 + 1 {
                found.about(Kind::Audit, row, format!("the trail has a gap: {} was expected", at + 1));
                break;
            }
            if !ids.insert(&row.id) {
                found.about(Kind::Audit, row, "another row has its id");
            }
        }
    }

    fn check_completeness(&self, found: &mut Findings) {
        for (op, row) in self.ops.iter().zip(&self.row_of_op) {
            let asked = &op.asked;
            match row {
                None if op.is_read() || op.answered_at().is_none() => {}
                None => {
                    let text = format!(
                        "{} ({} by {}) was answered and is not in the trail",
                        asked.op, asked.operation, asked.agent
                    );
                    found.add(Kind::LostWrite, text);
                }
                Some(row) => {
                    let row = &self.left.trail[*row];
                    let is_same = row.agent == asked.agent
                        && row.session.as_deref() == Some(&asked.session)
                        && row.operation == asked.operation
                        && asked
                            .arguments
                            .as_object()
                            .is_none_or(|all| all.iter().all(|(name, value)| row.parameters[name] == *value));
                    if !is_same {
                        let text = format!("{} asked {} {}", asked.agent, asked.operation, asked.arguments);
                        found.about(Kind::Audit, row, text);
                    }
                    if let End::Answered { refused, answer, .. } = &op.end {
                        let reply = if *refused { Reply::Refused(answer.clone()) } else { Reply::Done(answer.clone()) };
                        if let Err(why) = super::answers::compare(row, &reply) {
                            found.about(Kind::Audit, row, format!("the client was told otherwise: {why}; {answer}"));
                        }
                    }
                }
            }
        }
    }

    fn check_order(&self, found: &mut Findings) {
        for (op, row) in self.ops.iter().zip(&self.row_of_op) {
            let Some(row) = row.map(|at| &self.left.trail[at]) else { continue };
            let before = self.timeline.before(op.asked.at);
            if before >= row.seq {
                let text =
                    format!("it comes before {before}, which was answered before it was asked ({})", op.asked.op);
                found.about(Kind::RealTime, row, text);
            }
        }
    }
}

fn interval(op: &Op, left: &Left, row: Option<usize>) -> Option<Interval> {
    Some(Interval { asked: op.asked.at, answered: op.answered_at(), seq: left.trail[row?].seq })
}

/// What no client asked for: the coordinator's own deeds, and those of an agent's process, which registers itself and
/// sends heartbeats.
fn is_of_nobody(row: &Row) -> bool {
    let is_bare = row.parameters.as_object().is_none_or(serde_json::Map::is_empty);
    row.agent == SYSTEM || is_bare && matches!(row.operation.as_str(), "register_session" | "heartbeat")
}

/// The requests that may have stood in a queue. A place in a queue leaves no row, so whether somebody stood in one is
/// judged by whether it can have.
#[derive(Debug, Default)]
pub struct Waits {
    by_marker: HashMap<String, Wait>,
    by_agent: HashMap<String, Vec<String>>,
    /// The last instant at which a waiting request may have been a sign of life of its session.
    until: HashMap<String, Vec<(i64, i64)>>,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Wait {
    /// Who.
    pub agent: String,
    /// For what.
    pub keys: Vec<String>,
    /// Would it share?
    pub is_shared: bool,
    /// Not before this instant, by the wall clock.
    pub from: i64,
    /// Only before this place in the trail.
    pub seq: Option<i64>,
}

/// How much longer than it may wait a request may be at it, in microseconds.
const SLACK: i64 = 40_000_000;

impl Waits {
    fn of(ops: &[Op], row_of_op: &[Option<usize>], left: &Left) -> Self {
        let mut waits = Self::default();
        for (op, row) in ops.iter().zip(row_of_op) {
            let Some(seconds) = op.asked.arguments["wait_seconds"].as_i64() else { continue };
            let wait = Wait {
                agent: op.asked.agent.clone(),
                keys: keys::of_request(&op.asked.arguments),
                is_shared: op.asked.arguments["mode"] == "shared",
                from: op.asked.wall,
                seq: row.map(|at| left.trail[at].seq),
            };
            let end = row.map_or(wait.from + seconds * 1_000_000 + SLACK, |at| left.trail[at].at);
            waits.until.entry(op.asked.session.clone()).or_default().push((wait.from, end));
            waits.by_agent.entry(wait.agent.clone()).or_default().push(op.asked.op.clone());
            waits.by_marker.insert(op.asked.op.clone(), wait);
        }
        waits
    }

    /// The request of this marker, if it may have stood in a queue at this row, or has just left it with it.
    pub fn standing(&self, marker: &str, row: &Row) -> Option<&Wait> {
        self.by_marker.get(marker).filter(|wait| wait.may_stand(row))
    }

    /// The agent's requests that may have stood in a queue at this row.
    pub fn standing_of<'a>(&'a self, agent: &str, row: &'a Row) -> impl Iterator<Item = &'a Wait> {
        let markers = self.by_agent.get(agent).into_iter().flatten();
        markers.filter_map(|marker| self.standing(marker, row))
    }

    /// May a waiting request have been a sign of life of the session after `since` and no earlier than `ttl` before `now`?
    pub fn may_have_renewed(&self, session: &str, since: i64, now: i64, ttl: i64) -> bool {
        let spans = self.until.get(session).map_or(&[][..], Vec::as_slice);
        spans.iter().any(|(from, until)| *from <= now && *until >= since && *until + ttl >= now)
    }
}

impl Wait {
    fn may_stand(&self, row: &Row) -> bool {
        self.from <= row.at && self.seq.is_none_or(|seq| seq >= row.seq)
    }

    /// Would the two keep each other from a key?
    pub fn meets(&self, keys: &[String], is_shared: bool) -> bool {
        !(self.is_shared && is_shared) && self.keys.iter().any(|a| keys.iter().any(|b| keys::overlap(a, b)))
    }
}

/// The text under this name, or none.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
