//! What became of the run, for people and for programs.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use ratatui::crossterm::style::{StyledContent, Stylize};
use serde::Serialize;

use super::checks::Check;
use super::story::Story;

/// The width of the text where we do not know better.
const WIDTH: usize = 100;

/// What became of the run.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Do all checks hold?
    pub passed: bool,
    elapsed_seconds: f64,
    agents: Vec<Record>,
    tasks: usize,
    /// What half of the coordinator's answers cost an agent to read, at most.
    median_answer_characters: usize,
    checks: Vec<Check>,
    /// Where the repository is, if it was kept.
    repository: Option<PathBuf>,
}

/// An agent's part in it.
#[derive(Debug, Serialize)]
struct Record {
    name: String,
    completed: usize,
    waits: usize,
    ending: Option<String>,
    killed: bool,
}

impl Summary {
    /// Of a run and what was checked.
    pub fn of(story: &Story, checks: Vec<Check>, elapsed: Duration, repository: Option<PathBuf>) -> Self {
        let victim = story.killing.as_ref().map(|killing| killing.agent.as_str());
        let record = |agent: &super::story::Character| Record {
            name: agent.name.clone(),
            completed: agent.completed,
            waits: story.waits.iter().filter(|wait| wait.agent == agent.name).count(),
            ending: agent.ending.clone(),
            killed: Some(agent.name.as_str()) == victim,
        };
        Self {
            passed: checks.iter().all(|check| check.passed),
            elapsed_seconds: (elapsed.as_secs_f64() * 100.0).round() / 100.0,
            agents: story.agents.iter().map(record).collect(),
            tasks: story.plan.len(),
            median_answer_characters: median(&story.answer_sizes),
            checks,
            repository,
        }
    }

    /// One JSON object.
    ///
    /// # Errors
    /// When standard output is gone.
    pub fn print_json(&self) -> Result<()> {
        writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(self)?)?;
        Ok(())
    }

    /// Text, in colour on a terminal.
    ///
    /// # Errors
    /// When standard output is gone.
    pub fn print(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let paint = Paint(out.is_terminal());
        let width =
            ratatui::crossterm::terminal::size().map_or(WIDTH, |(columns, _)| usize::from(columns)).clamp(40, 120);
        let agents: Vec<String> = self
            .agents
            .iter()
            .map(|agent| format!("{} {}{}", agent.name, agent.completed, if agent.killed { " (killed)" } else { "" }))
            .collect();
        writeln!(out, "{}", paint.bold("What was checked"))?;
        writeln!(
            out,
            "{} tasks in {:.1} s; completed by {}; half of all answers have at most {} characters\n",
            self.tasks,
            self.elapsed_seconds,
            agents.join(", "),
            self.median_answer_characters
        )?;
        for check in &self.checks {
            let mark = if check.passed { paint.good("✔") } else { paint.bad("✘") };
            writeln!(out, "{mark} {}", paint.bold(check.name))?;
            for line in wrapped(&check.evidence, width - 4) {
                writeln!(out, "    {}", paint.dim(&line))?;
            }
        }
        let failed = self.checks.iter().filter(|check| !check.passed).count();
        let verdict = match failed {
            0 => paint.good(&format!("All {} checks hold.", self.checks.len())),
            _ => paint.bad(&format!("{failed} of {} checks do not hold.", self.checks.len())),
        };
        writeln!(out, "\n{verdict}")?;
        match &self.repository {
            Some(path) => writeln!(
                out,
                "The repository is in {}: `git log --graph` shows who merged what; the records are beside it, in \
                 .git/coordinator.",
                path.display()
            )?,
            None => writeln!(out, "{}", paint.dim("The repository was removed; --keep keeps it."))?,
        }
        Ok(())
    }
}

/// Colours, where there are any. `NO_COLOR` is crossterm's affair.
struct Paint(bool);

impl Paint {
    fn with(&self, text: &str, style: impl FnOnce(StyledContent<String>) -> StyledContent<String>) -> String {
        if self.0 { style(text.to_owned().stylize()).to_string() } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.with(text, Stylize::bold)
    }

    fn dim(&self, text: &str) -> String {
        self.with(text, Stylize::dim)
    }

    fn good(&self, text: &str) -> String {
        self.with(text, |text| text.green().bold())
    }

    fn bad(&self, text: &str) -> String {
        self.with(text, |text| text.red().bold())
    }
}

fn median(sizes: &[usize]) -> usize {
    let mut sizes = sizes.to_vec();
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).copied().unwrap_or_default()
}

/// The text in lines of at most `width` characters, but for words that are longer.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = match lines.last_mut() {
            Some(line) if line.is_empty() || line.chars().count() + 1 + word.chars().count() <= width => line,
            _ => {
                lines.push(String::new());
                match lines.last_mut() {
                    Some(line) => line,
                    None => continue,
                }
            }
        };
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}
