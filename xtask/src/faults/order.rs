//! Real time: what had ended before something else began must come before it in the trail.
//!
//! The trail's order is claimed to be one in which the operations could have been carried out one at a time. Whether the
//! outcomes fit that order is for the model to say; here it is held against the clock, in O(n log n).

/// One operation of the trail, as its client saw it.
#[derive(Debug, Clone, Copy)]
pub struct Interval {
    /// When it was asked for.
    pub asked: u64,
    /// When its answer was there, if there was one.
    pub answered: Option<u64>,
    /// Its place in the trail.
    pub seq: i64,
}

/// Operations by time.
#[derive(Debug)]
pub struct Timeline {
    /// When an answer was there, and the last place of all that were answered by then.
    ended: Vec<(u64, i64)>,
    /// When something was asked, and the first place of all that were asked then or later.
    begun: Vec<(u64, i64)>,
}

impl Timeline {
    /// Of these operations.
    pub fn new(intervals: &[Interval]) -> Self {
        let mut ended: Vec<(u64, i64)> =
            intervals.iter().filter_map(|op| op.answered.map(|answered| (answered, op.seq))).collect();
        ended.sort_unstable();
        let mut last = i64::MIN;
        for (_, seq) in &mut ended {
            last = last.max(*seq);
            *seq = last;
        }
        let mut begun: Vec<(u64, i64)> = intervals.iter().map(|op| (op.asked, op.seq)).collect();
        begun.sort_unstable();
        let mut first = i64::MAX;
        for (_, seq) in begun.iter_mut().rev() {
            first = first.min(*seq);
            *seq = first;
        }
        Self { ended, begun }
    }

    /// The last place in the trail of what had ended before this instant; 0 when nothing had.
    pub fn before(&self, instant: u64) -> i64 {
        let count = self.ended.partition_point(|(answered, _)| *answered < instant);
        count.checked_sub(1).map_or(0, |at| self.ended[at].1)
    }

    /// The first place in the trail of what began after this instant; beyond all when nothing did.
    pub fn after(&self, instant: u64) -> i64 {
        let at = self.begun.partition_point(|(asked, _)| *asked <= instant);
        self.begun.get(at).map_or(i64::MAX, |(_, seq)| *seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(asked: u64, answered: Option<u64>, seq: i64) -> Interval {
        Interval { asked, answered, seq }
    }

    #[test]
    fn a_timeline_knows_what_was_over_and_what_had_not_begun() {
        let timeline = Timeline::new(&[
            interval(10, Some(20), 2),
            interval(11, Some(15), 1),
            interval(30, None, 4),
            interval(31, Some(40), 3),
        ]);
        let bounds = |asked, answered| (timeline.before(asked), timeline.after(answered));
        assert_eq!(bounds(5, 9), (0, 1));
        assert_eq!(bounds(15, 20), (0, 3), "an answer at the instant of asking is not before it");
        assert_eq!(bounds(16, 20), (1, 3));
        assert_eq!(bounds(25, 30), (2, 3));
        assert_eq!(bounds(41, 50), (3, i64::MAX), "what has no answer may be carried out at any time");
    }
}
