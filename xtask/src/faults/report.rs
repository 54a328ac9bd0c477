//! What a run came to, in tables.

use std::collections::BTreeMap;

use super::evidence::Evidence;
use super::verdict::{Findings, Kind};

/// A run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// On what.
    pub engine: &'static str,
    /// How many clients.
    pub clients: u64,
    /// How many servers.
    pub servers: u64,
    /// How long.
    pub seconds: u64,
    /// Requests that were answered.
    pub acknowledged: u64,
    /// Requests of which their clients do not know what became of them.
    pub unknown: u64,
    /// Rows of the audit trail.
    pub rows: u64,
    /// Kills.
    pub clients_killed: u64,
    /// Kills.
    pub servers_killed: u64,
    /// Kills.
    pub databases_killed: u64,
    /// The longest time in which nobody got an answer, in milliseconds.
    pub longest_silence: u64,
    /// The longest time that the disk kept a single write waiting, in milliseconds.
    pub longest_stall: u64,
    /// How often each operation had each outcome.
    pub happened: BTreeMap<String, u64>,
    /// What is wrong.
    pub found: Findings,
}

impl Outcome {
    /// Takes the figures from the evidence.
    pub fn tell(&mut self, evidence: &Evidence) {
        let mut answers: Vec<u64> = evidence.ops.iter().filter_map(|op| op.answered_at()).collect();
        answers.sort_unstable();
        self.acknowledged = answers.len() as u64;
        self.unknown = (evidence.ops.len() - answers.len()) as u64;
        self.rows = evidence.left.trail.len() as u64;
        // Later on clients only wait for the end of what they have begun.
        let last_asked = evidence.ops.iter().map(|op| op.asked.at).max().unwrap_or(0);
        let busy = answers.windows(2).filter(|pair| pair[1] <= last_asked);
        self.longest_silence = busy.map(|pair| (pair[1] - pair[0]) / 1_000_000).max().unwrap_or(0);
        for row in &evidence.left.trail {
            let kind = match row.result["kind"].as_str() {
                Some("acquired") if row.result["grants"][0]["refreshed"] == true => "refreshed",
                Some("submitted") if row.result["repeated"] == true => "repeated",
                kind => kind.unwrap_or("done"),
            };
            let code = row.error.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
            *self.happened.entry(format!("{} {kind}{code}", row.operation)).or_default() += 1;
        }
        let reads = evidence.ops.iter().filter(|op| op.is_read() && op.answered_at().is_some()).count();
        self.happened.insert("reads answered".into(), reads as u64);
    }
}

/// The columns of the table of runs.
type Column = (&'static str, fn(&Outcome) -> String);

const COLUMNS: [Column; 19] = [
    ("engine", |o| o.engine.into()),
    ("clients", |o| o.clients.to_string()),
    ("servers", |o| o.servers.to_string()),
    ("seconds", |o| o.seconds.to_string()),
    ("acknowledged", |o| o.acknowledged.to_string()),
    ("unknown", |o| o.unknown.to_string()),
    ("audit rows", |o| o.rows.to_string()),
    ("clients killed", |o| o.clients_killed.to_string()),
    ("servers killed", |o| o.servers_killed.to_string()),
    ("databases killed", |o| o.databases_killed.to_string()),
    ("longest silence", |o| format!("{} ms", o.longest_silence)),
    ("longest wait for disk", |o| format!("{} ms", o.longest_stall)),
    ("double grants", |o| o.found.count(Kind::DoubleGrant).to_string()),
    ("double claims", |o| o.found.count(Kind::DoubleClaim).to_string()),
    ("lost writes", |o| o.found.count(Kind::LostWrite).to_string()),
    ("audit mismatches", |o| o.found.count(Kind::Audit).to_string()),
    ("real-time violations", |o| o.found.count(Kind::RealTime).to_string()),
    ("model mismatches", |o| o.found.count(Kind::Model).to_string()),
    ("process troubles", |o| o.found.count(Kind::Process).to_string()),
];

/// Prints the runs side by side, and what happened in each.
pub fn print(outcomes: &[Outcome]) {
    let rows: Vec<Vec<String>> = COLUMNS
        .iter()
        .map(|(name, value)| std::iter::once((*name).to_owned()).chain(outcomes.iter().map(value)).collect())
        .collect();
    println!();
    table(&rows);
    for outcome in outcomes {
        println!("\nWhat the trail of {} tells:\n", outcome.engine);
        let mut rows = vec![vec!["outcome".to_owned(), "times".to_owned()]];
        rows.extend(outcome.happened.iter().map(|(what, times)| vec![what.clone(), times.to_string()]));
        table(&rows);
    }
}

/// Prints rows as a Markdown table, the first one as its head.
pub fn table(rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (at, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("| {} |", cells.join(" | "));
        if at == 0 {
            let lines: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
            println!("|{}|", lines.join("|"));
        }
    }
}
