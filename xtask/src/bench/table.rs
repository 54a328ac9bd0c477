//! What was measured, held against what it should be: a Markdown table.

use std::fmt::{self, Display};

/// What is good enough.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(goal) => value >= goal,
            Self::AtMost(goal) => value <= goal,
        }
    }

    fn in_words(self, unit: &str) -> String {
        match self {
            Self::AtLeast(goal) => format!("≥ {goal}{unit}"),
            Self::AtMost(goal) => format!("≤ {goal}{unit}"),
        }
    }
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
}

impl Table {
    /// A figure and the raw engine's, one of each for every round; the goal is for the ratio.
    pub fn compare(
        &mut self,
        case: &str,
        connections: u32,
        unit: &str,
        (ours, raw): (&[f64], &[f64]),
        goal: Option<Goal>,
    ) {
        let ratios: Vec<f64> = ours.iter().zip(raw).map(|(ours, raw)| ours / raw).collect();
        let ratio = median(&ratios);
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        let range = if ratios.len() > 1 { format!(" ({least:.2}–{most:.2})") } else { String::new() };
        self.0.push(Row {
            case: case.into(),
            connections: connections.to_string(),
            ours: format!("{:.0}{unit}", median(ours)),
            raw: format!("{:.0}{unit}", median(raw)),
            ratio: format!("{ratio:.2}{range}"),
            goal: goal.map_or_else(nothing, |goal| goal.in_words(" ×")),
            met: goal.map(|goal| goal.is_met(ratio)),
        });
    }

    /// A figure that stands for itself.
    pub fn alone(&mut self, case: &str, unit: &str, value: f64, goal: Goal) {
        self.0.push(Row {
            case: case.into(),
            connections: nothing(),
            ours: format!("{value:.1}{unit}"),
            raw: nothing(),
            ratio: nothing(),
            goal: goal.in_words(unit),
            met: Some(goal.is_met(value)),
        });
    }

    /// The goals that are not met.
    fn missed(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().filter(|row| row.met == Some(false))
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| case | connections | ours /s | raw /s | ratio | goal | met |")?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|---|")?;
        for row in &self.0 {
            let Row { case, connections, ours, raw, ratio, goal, .. } = row;
            let met = row.met.map_or_else(nothing, |met| if met { "yes" } else { "**no**" }.into());
            writeln!(f, "| {case} | {connections} | {ours} | {raw} | {ratio} | {goal} | {met} |")?;
        }
        writeln!(f)?;
        if self.missed().next().is_none() {
            return writeln!(f, "All goals are met.");
        }
        writeln!(f, "Goals not met:")?;
        for Row { case, connections, ours, ratio, goal, .. } in self.missed() {
            let (among, got) = match ratio.as_str() {
                NOTHING => (String::new(), ours),
                ratio => (format!(", {connections} connections"), &ratio.to_owned()),
            };
            writeln!(f, "- {case}{among}: {got}, and should be {goal}")?;
        }
        Ok(())
    }
}

const NOTHING: &str = "–";

fn nothing() -> String {
    NOTHING.into()
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

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_ratios() {
        let mut table = Table::default();
        table.compare("locks", 8, "", (&[10.0, 30.0, 20.0], &[10.0, 10.0, 40.0]), Some(Goal::AtLeast(1.5)));
        let shown = table.to_string();
        assert!(shown.contains("| locks | 8 | 20 | 10 | 1.00 (0.50–3.00) | ≥ 1.5 × | **no** |"), "{shown}");
        assert!(shown.contains("- locks, 8 connections: 1.00 (0.50–3.00), and should be ≥ 1.5 ×"), "{shown}");
    }

    #[test]
    fn a_figure_may_stand_for_itself() {
        let mut table = Table::default();
        table.alone("memory", " MB", 19.96, Goal::AtMost(20.0));
        let shown = table.to_string();
        assert!(shown.contains("| memory | – | 20.0 MB | – | – | ≤ 20 MB | yes |"), "{shown}");
        assert!(shown.contains("All goals are met."), "{shown}");
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two() {
        assert!((median(&[4.0, 1.0, 2.0, 9.0]) - 3.0).abs() < f64::EPSILON);
    }
}
