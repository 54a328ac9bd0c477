//! Skills: ways of doing things, and how often they worked.
//!
//! How good a skill is, is judged by the lower end of Wilson's interval, not by the rate of success: one success of one
//! says little, forty of forty-two a lot.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::text::words;

/// How sure the interval is: 95 %, as a multiple of the standard error.
const Z: f64 = 1.96;

/// Record that a skill was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSkillUse {
    /// Its name.
    pub skill_name: String,
    /// What it was used for; empty for nothing in particular.
    pub task_type: String,
    /// Did it work?
    pub success: bool,
    /// See [`Skill`]: replaces what was known.
    pub description: Option<String>,
    /// See [`Skill`]: replaces what was known.
    pub steps: Option<Vec<String>>,
}

/// One skill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skill {
    /// Its name.
    pub skill_name: String,
    /// What it is.
    pub description: Option<String>,
    /// How it is done.
    pub steps: Vec<String>,
    /// How it went, one for each type of task, sorted by it.
    pub tallies: Vec<Tally>,
    /// When it was last used.
    pub last_used_at: Timestamp,
}

/// How a skill went with one type of task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The type; empty for nothing in particular.
    pub task_type: String,
    /// How often it was used.
    pub uses: u32,
    /// How often it worked.
    pub successes: u32,
}

impl Skill {
    /// A skill that was never used.
    pub fn new(skill_name: String, now: Timestamp) -> Self {
        Self { skill_name, description: None, steps: vec![], tallies: vec![], last_used_at: now }
    }

    /// It was used.
    pub fn count(&mut self, request: &RecordSkillUse, now: Timestamp) {
        let at = match self.tallies.binary_search_by(|tally| tally.task_type.cmp(&request.task_type)) {
            Ok(at) => at,
            Err(at) => {
                self.tallies.insert(at, Tally { task_type: request.task_type.clone(), ..Tally::default() });
                at
            }
        };
        self.tallies[at].uses += 1;
        self.tallies[at].successes += u32::from(request.success);
        if request.description.is_some() {
            self.description.clone_from(&request.description);
        }
        if let Some(steps) = &request.steps {
            self.steps.clone_from(steps);
        }
        self.last_used_at = now;
    }

    /// Uses and successes with all types of task.
    pub fn total(&self) -> (u32, u32) {
        self.tallies.iter().fold((0, 0), |(uses, successes), t| (uses + t.uses, successes + t.successes))
    }

    /// Uses and successes that speak for a type of task: those with that very type, or else all, if the skill's name or
    /// description shares a word with it. `None` for a skill that has nothing to do with it.
    pub fn record_for(&self, task_type: &str) -> Option<(u32, u32)> {
        if let Some(tally) = self.tallies.iter().find(|tally| tally.task_type == task_type) {
            return Some((tally.uses, tally.successes));
        }
        let wanted = words(task_type);
        let described = [Some(&self.skill_name), self.description.as_ref()];
        let is_akin = described.into_iter().flatten().flat_map(|text| words(text)).any(|word| wanted.contains(&word));
        is_akin.then(|| self.total())
    }
}

/// How often something works, as far as its uses tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effectiveness {
    /// The share of uses that worked.
    pub rate: f64,
    /// It hardly works less often than this: what skills are compared by.
    pub low: f64,
    /// It hardly works more often than this.
    pub high: f64,
}

impl Effectiveness {
    /// By Wilson's interval at 95 %.
    pub fn of(uses: u32, successes: u32) -> Self {
        if uses == 0 {
            return Self { rate: 0.0, low: 0.0, high: 1.0 };
        }
        let n = f64::from(uses);
        let rate = f64::from(successes) / n;
        let z2 = Z * Z;
        let middle = rate + z2 / (2.0 * n);
        let spread = Z * (rate * (1.0 - rate) / n + z2 / (4.0 * n * n)).sqrt();
        let scale = 1.0 + z2 / n;
        Self {
            rate,
            low: ((middle - spread) / scale).clamp(0.0, rate),
            high: ((middle + spread) / scale).clamp(rate, 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_experience_counts_for_more_than_a_lucky_start() {
        let low = |successes, uses| Effectiveness::of(uses, successes).low;
        assert!((low(1, 1) - 0.207).abs() < 0.001, "{}", low(1, 1));
        assert!((low(40, 42) - 0.842).abs() < 0.001, "{}", low(40, 42));
        assert!(low(40, 42) > low(1, 1) && low(1, 1) > low(0, 1) && low(2, 2) > low(1, 1));
        let never = Effectiveness::of(0, 0);
        assert_eq!((never.rate, never.low, never.high), (0.0, 0.0, 1.0));
        for uses in 1..60 {
            for successes in 0..=uses {
                let Effectiveness { rate, low, high } = Effectiveness::of(uses, successes);
                assert!(0.0 <= low && low <= rate && rate <= high && high <= 1.0, "{successes} of {uses}");
            }
        }
    }

    #[test]
    fn a_skill_speaks_for_the_tasks_it_was_used_for_or_is_named_after() {
        let used = |task_type: &str, success| RecordSkillUse {
            skill_name: "canary".into(),
            task_type: task_type.into(),
            success,
            description: Some("Deploying to one host first".into()),
            steps: None,
        };
        let mut skill = Skill::new("canary".into(), Timestamp::UNIX_EPOCH);
        skill.count(&used("release", true), Timestamp::UNIX_EPOCH);
        skill.count(&used("", false), Timestamp::UNIX_EPOCH);
        assert_eq!(skill.record_for("release"), Some((1, 1)));
        assert_eq!(skill.record_for("deploy the web app"), Some((2, 1)));
        assert_eq!(skill.record_for("review"), None);
    }
}
