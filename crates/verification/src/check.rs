//! One policy's turn: what its result is bound to, and what came of it, whether we run a command or ask a program of yours.
//!
//! A program (`executor = "command"`) reads a [`Question`] as one JSON object from its standard input, and its last line is
//! its answer, as one JSON object: `{"verdict": "passed", "summary": "...", "log_url": "..."}`. It may also accept the work,
//! `{"verdict": "accepted", "id": "..."}`, and report later to the coordinator, with the question's `run_id` and `token`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use model::verification::{EVIDENCE_LIMIT, Executor, Verdict};
use serde::{Deserialize, Serialize};

use crate::inline::{How, Stop, environment};
use crate::{Ended, Inline, Key, Policy, Report};

/// How long a tool may take to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(30);
/// So much of the end of an output is told, in characters.
const TOLD: usize = 1500;

/// What runs policies.
#[derive(Debug, Clone)]
pub struct Checker {
    /// What runs commands.
    pub inline: Inline,
    /// Our environment.
    pub variables: BTreeMap<String, String>,
}

/// A policy that can be run.
#[derive(Debug, Clone)]
pub struct Ready {
    /// What its result is bound to.
    pub key: Key,
    environment: BTreeMap<String, String>,
}

/// What a program of yours is asked.
#[derive(Debug, Clone, Serialize)]
pub struct Question<'a> {
    /// The changeset's id, where there is one.
    pub changeset_id: Option<&'a str>,
    /// The run's id: to report later.
    pub run_id: Option<&'a str>,
    /// Proof of having the run: to report later.
    pub token: Option<i64>,
    /// The policy's name.
    pub policy: &'a str,
    /// The commit.
    pub commit: &'a str,
    /// Its tree.
    pub tree: &'a str,
    /// What it is compared with.
    pub base: &'a str,
    /// The repository.
    pub repository: &'a Path,
    /// A work tree with the commit, for as long as the program runs.
    pub directory: &'a Path,
    /// The policy's command.
    pub command: &'a [String],
    /// How long it may take.
    pub timeout_seconds: u64,
    /// The variables that the policy names.
    pub environment: &'a [String],
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The verdict.
    pub verdict: Verdict,
    /// What it says for itself.
    pub evidence: String,
    /// Where to read more.
    pub log_url: Option<String>,
    /// What the program calls it, if it accepted.
    pub external_id: Option<String>,
}

/// A program's answer.
#[derive(Deserialize)]
struct Answer {
    verdict: Verdict,
    #[serde(default)]
    summary: String,
    log_url: Option<String>,
    id: Option<String>,
}

impl Checker {
    /// Finds out what the policy's result will be bound to.
    ///
    /// # Errors
    /// Why it cannot be run here.
    pub fn prepare(&self, policy: &Policy, directory: &Path, tree: &str, stop: &Stop) -> Result<Ready, String> {
        let environment = environment(&policy.environment, |name| self.variables.get(name).cloned())
            .map_err(|missing| format!("it needs {} in the environment", missing.join(", ")))?;
        let mut versions = vec![];
        for command in &policy.versions {
            let said = self.inline.run(command, directory, environment.clone(), VERSION_LIMIT, stop);
            if !said.has_passed() {
                return Err(format!("{} does not say its version: {}", command.join(" "), said.how()));
            }
            versions.push(said.output);
        }
        Ok(Ready { key: Key::of(policy, tree, &versions), environment })
    }

    /// Runs it to its end. A person is not asked here.
    pub fn run(&self, policy: &Policy, ready: Ready, question: &Question<'_>, stop: &Stop) -> Said {
        let environment = ready.environment;
        match policy.executor {
            Executor::Inline => {
                in_words(&self.inline.run(&policy.command, question.directory, environment, policy.timeout, stop))
            }
            Executor::Command => {
                let input = match serde_json::to_string(question) {
                    Ok(text) => Some(text + "\n"),
                    Err(error) => return errored(format!("the question cannot be written: {error}")),
                };
                let (command, directory) = (&policy.command, question.directory);
                let ended = self.inline.run_with(command, directory, environment, input, policy.timeout, stop);
                answer(&ended)
            }
            Executor::Github => errored("GitHub runs it, where a runner starts it: coordinator verify".into()),
            Executor::Human => errored("a person decides about it".into()),
        }
    }
}

fn errored(evidence: String) -> Said {
    Said { verdict: Verdict::Errored, evidence, log_url: None, external_id: None }
}

fn in_words(ended: &Ended) -> Said {
    let verdict = match &ended.how {
        How::Kept(Report::Exited(0)) => Verdict::Passed,
        How::Kept(Report::TookTooLong) => Verdict::TimedOut,
        How::Kept(Report::NotStarted(_) | Report::Stopped) | How::Unkept(_) => Verdict::Errored,
        How::Kept(_) | How::PrintedTooMuch => Verdict::Failed,
    };
    let evidence = format!("{}\n{}", ended.how(), end_of(&ended.output, TOLD));
    Said { verdict, evidence: evidence.trim_end().to_owned(), log_url: None, external_id: None }
}

/// What a program said; whatever else than an answer is no verdict about the change.
fn answer(ended: &Ended) -> Said {
    if !ended.has_passed() {
        let said = in_words(ended);
        let verdict = if said.verdict == Verdict::TimedOut { Verdict::TimedOut } else { Verdict::Errored };
        return Said { verdict, ..said };
    }
    let last = ended.output.trim_end().lines().next_back().unwrap_or_default();
    match serde_json::from_str::<Answer>(last) {
        Ok(answer) => Said {
            verdict: answer.verdict,
            evidence: answer.summary.chars().take(EVIDENCE_LIMIT).collect(),
            log_url: answer.log_url.filter(|url| url.len() <= 2000),
            external_id: answer.id.map(|id| id.chars().take(200).collect()),
        },
        Err(error) => errored(format!(
            "its last line is no answer, which is one JSON object with \"verdict\" (passed, failed, errored, timed_out or \
             accepted): {error}\n{}",
            end_of(last, TOLD)
        )),
    }
}

/// So many characters from its end.
fn end_of(text: &str, characters: usize) -> &str {
    let at = text.char_indices().rev().nth(characters.saturating_sub(1)).map_or(0, |(at, _)| at);
    text.get(at..).unwrap_or_default().trim_end()
}
