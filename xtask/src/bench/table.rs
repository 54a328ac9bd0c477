//! What was measured, held against what it should be: a Markdown table.
//!
//! A shared disk may be forty times slower in one second than in another. So a ratio whose floor swayed, or that cannot
//! be, is marked as one not to rely on, whichever side of the goal it is on.

use std::fmt::{self, Display};

/// The floor's rounds differ by this factor or more: the machine was not steady.
const SWAY: f64 = 1.5;

/// A side on which a figure must be.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    fn in_words(self, unit: &str) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {bound}{unit}"),
            Self::AtMost(bound) => format!("≤ {bound}{unit}"),
        }
    }
}

/// Our figures and the raw engine's, one of each for every round.
pub struct Comparison<'a> {
    /// What was done, on what.
    pub case: String,
    /// By how many agents.
    pub connections: u32,
    /// Of the figures; nothing for those by the second.
    pub unit: &'a str,
    /// Ours.
    pub ours: &'a [f64],
    /// The raw engine's.
    pub raw: &'a [f64],
    /// What the ratio should be.
    pub goal: Option<Bound>,
    /// What the ratio can be on a machine that is as fast for one as for the other.
    pub possible: Option<Bound>,
}

/// All that was measured.
#[derive(Default)]
pub struct Table(Vec<Row>);

struct Row {
    case: String,
    connections: String,
    ours: String,
    raw: String,
    ratio: String,
    goal: String,
    met: Option<bool>,
    /// Why it is not to be trusted.
    doubt: Option<String>,
}

impl Table {
    /// The goal is for the median of the rounds' ratios.
    pub fn compare(&mut self, comparison: Comparison<'_>) {
        let Comparison { case, connections, unit, ours, raw, goal, possible } = comparison;
        let ratios: Vec<f64> = ours.iter().zip(raw).map(|(ours, raw)| ours / raw).collect();
        let ratio = median(&ratios);
        let (least, most) = ends(&ratios);
        let range = if ratios.len() > 1 { format!(" ({least:.2}–{most:.2})") } else { String::new() };
        let (slowest, fastest) = ends(raw);
        let doubt = if raw.len() < 2 {
            Some("one round shows nothing of how steady the machine was".into())
        } else if possible.is_some_and(|possible| !possible.holds(ratio)) {
            Some("better than the floor one commit at a time, which cannot be: something favoured us".into())
        } else if fastest >= slowest * SWAY {
            Some(format!("the floor itself went from {slowest:.0}{unit} to {fastest:.0}{unit} between rounds"))
        } else {
            None
        };
        self.0.push(Row {
            case,
            connections: connections.to_string(),
            ours: format!("{:.0}{unit}", median(ours)),
            raw: format!("{:.0}{unit}", median(raw)),
            ratio: format!("{ratio:.2}{range}"),
            goal: goal.map_or_else(nothing, |goal| goal.in_words(" ×")),
            met: goal.map(|goal| goal.holds(ratio)),
            doubt,
        });
    }

    /// A figure that stands for itself.
    pub fn alone(&mut self, case: &str, unit: &str, value: f64, goal: Bound) {
        self.0.push(Row {
            case: case.into(),
            connections: nothing(),
            ours: format!("{value:.1}{unit}"),
            raw: nothing(),
            ratio: nothing(),
            goal: goal.in_words(unit),
            met: Some(goal.holds(value)),
            doubt: None,
        });
    }
}

impl Row {
    fn name(&self) -> String {
        let Self { case, connections, .. } = self;
        if connections == NOTHING { case.clone() } else { format!("{case}, connections: {connections}") }
    }

    fn verdict(&self) -> String {
        let verdict = self.met.map_or_else(nothing, |met| if met { "yes" } else { "**no**" }.into());
        if self.doubt.is_some() { verdict + " (?)" } else { verdict }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| case | connections | ours /s | raw /s | ratio | goal | met |")?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|---|")?;
        for row in &self.0 {
            let Row { case, connections, ours, raw, ratio, goal, .. } = row;
            writeln!(f, "| {case} | {connections} | {ours} | {raw} | {ratio} | {goal} | {} |", row.verdict())?;
        }
        let missed: Vec<&Row> = self.0.iter().filter(|row| row.met == Some(false)).collect();
        writeln!(f, "\n{}", if missed.is_empty() { "All goals are met." } else { "Goals not met:" })?;
        for row in missed {
            let got = if row.ratio == NOTHING { &row.ours } else { &row.ratio };
            writeln!(f, "- {}: {got}, and should be {}", row.name(), row.goal)?;
        }
        let doubts: Vec<(&Row, &String)> = self.0.iter().filter_map(|row| Some((row, row.doubt.as_ref()?))).collect();
        if !doubts.is_empty() {
            writeln!(f, "\n(?) Not to be relied on, met or not; run it again on a quiet machine:")?;
        }
        for (row, doubt) in doubts {
            writeln!(f, "- {}: {doubt}", row.name())?;
        }
        Ok(())
    }
}

const NOTHING: &str = "–";

fn nothing() -> String {
    NOTHING.into()
}

fn ends(values: &[f64]) -> (f64, f64) {
    (values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(0.0, f64::max))
}

/// The one in the middle; of an even number, the mean of the two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ours: &[f64], raw: &[f64], possible: Option<Bound>) -> String {
        let mut table = Table::default();
        let goal = Some(Bound::AtLeast(1.5));
        table.compare(Comparison { case: "locks".into(), connections: 8, unit: "", ours, raw, goal, possible });
        table.to_string()
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_ratios() {
        let shown = shown(&[10.0, 36.0, 20.0], &[10.0, 12.0, 14.0], None);
        assert!(shown.contains("| locks | 8 | 20 | 12 | 1.43 (1.00–3.00) | ≥ 1.5 × | **no** |"), "{shown}");
        assert!(shown.contains("- locks, connections: 8: 1.43 (1.00–3.00), and should be ≥ 1.5 ×"), "{shown}");
        assert!(!shown.contains("(?)"), "{shown}");
    }

    #[test]
    fn a_ratio_to_a_floor_that_swayed_is_in_doubt_though_it_meets_the_goal() {
        let shown = shown(&[20.0, 30.0], &[10.0, 15.0], None);
        assert!(shown.contains("| yes (?) |"), "{shown}");
        assert!(
            shown.contains("- locks, connections: 8: the floor itself went from 10 to 15 between rounds"),
            "{shown}"
        );
    }

    #[test]
    fn a_ratio_that_cannot_be_is_in_doubt() {
        let shown = shown(&[20.0, 20.0], &[10.0, 10.0], Some(Bound::AtMost(1.1)));
        assert!(shown.contains("| yes (?) |") && shown.contains("which cannot be"), "{shown}");
    }

    #[test]
    fn a_single_round_is_in_doubt() {
        assert!(shown(&[20.0], &[10.0], None).contains("one round shows nothing"));
    }

    #[test]
    fn a_figure_may_stand_for_itself() {
        let mut table = Table::default();
        table.alone("memory", " MB", 19.96, Bound::AtMost(20.0));
        let shown = table.to_string();
        assert!(shown.contains("| memory | – | 20.0 MB | – | – | ≤ 20 MB | yes |"), "{shown}");
        assert!(shown.contains("All goals are met."), "{shown}");
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two() {
        assert!((median(&[4.0, 1.0, 2.0, 9.0]) - 3.0).abs() < f64::EPSILON);
    }
}
