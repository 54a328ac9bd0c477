//! Which of two sightings of one thing is the later one.
//!
//! GitHub says to the second when something was changed, and two deliveries of one second may come in any order. So a
//! version is that second, and within it how much later we were told: a delivery's id tells when it was made, if it is of a
//! kind that has the time in it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Milliseconds of delay that are told apart: a quarter of an hour.
const DELAYS: i64 = 1_000_000;

/// The larger, the later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(i64);

impl Version {
    /// Of what was changed then, and told of then.
    pub fn of(changed_at: Timestamp, told_at: Timestamp) -> Self {
        let second = changed_at.as_second();
        let delay = told_at.as_millisecond().saturating_sub(second.saturating_mul(1000));
        Self(second.saturating_mul(DELAYS).saturating_add(delay.clamp(0, DELAYS - 1)))
    }

    /// The second of the change.
    pub(crate) fn changed_at(self) -> Option<Timestamp> {
        Timestamp::from_second(self.0.div_euclid(DELAYS)).ok()
    }
}

/// When a delivery was made, as its id tells; if it is not of that kind, when it arrived.
pub fn told_at(delivery: &str, arrived_at: Timestamp) -> Timestamp {
    let made_at = || {
        let (seconds, nanoseconds) = Uuid::parse_str(delivery).ok()?.get_timestamp()?.to_unix();
        Timestamp::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?).ok()
    };
    made_at().unwrap_or(arrived_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    #[test]
    fn the_second_of_the_change_counts_first_and_then_when_it_was_told() {
        let version = |changed, told| Version::of(at(changed), at(told));
        assert!(version(2_000, 2_100) > version(1_000, 900_000), "a later change told at once, an earlier one late");
        assert!(version(1_000, 1_300) > version(1_000, 1_200));
        assert_eq!(version(1_000, 900), version(1_000, 1_000), "a clock of theirs that is ahead of ours");
        assert!(version(2_000, 2_000) > version(1_000, i64::from(i32::MAX)));
        assert_eq!(version(1_999, 900_000_000).changed_at(), Some(at(1_000)));
    }

    #[test]
    fn a_delivery_tells_when_it_was_made() {
        let now = at(7_000);
        let made = told_at("0b989ba4-242f-11e5-81e1-c7b6966d2516", now);
        assert_eq!(made.to_string()[..10], *"2015-07-06");
        assert!(told_at("0b989ba5-242f-11e5-81e1-c7b6966d2516", now) > made);
        for other in ["72d3162e-cc78-41e3-81ab-4c9367dc0958", "not a uuid", ""] {
            assert_eq!(told_at(other, now), now, "{other}");
        }
    }
}
