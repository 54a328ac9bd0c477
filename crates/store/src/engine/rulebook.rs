//! The rulebook: every version is kept, the latest is in force.

use jiff::Timestamp;
use model::command::{Outcome, Refusal};
use model::id::Caller;
use model::rulebook::{PutRule, Rule};

use super::{Result, Rows, next_position};

pub fn put(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &PutRule) -> Result<Outcome> {
    let PutRule { kind, name, body, expected_version } = request.clone();
    let latest = rows.rule(kind, &name)?;
    let version = latest.as_ref().map_or(0, |rule| rule.version);
    if expected_version.is_some_and(|expected| expected != version) {
        return Ok(Outcome::Refused(Refusal::RuleChanged { rule_kind: kind, name, version }));
    }
    let is_there = latest.is_some_and(|rule| rule.body.is_some());
    if body.is_none() && !is_there {
        return Ok(Outcome::Refused(Refusal::RuleNotFound { rule_kind: kind, name }));
    }
    let rule =
        Rule { kind, name, body, version: next_position(rows), author: caller.agent_id.clone(), created_at: now };
    rows.insert_rule(&rule)?;
    Ok(Outcome::RulePut { version: rule.version })
}
