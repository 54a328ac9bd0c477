//! The door: a request in, a verdict out.

use std::collections::BTreeSet;

use crate::budget::Budget;
use crate::place::Surroundings;
use crate::rules::{BadPack, Rule, Rules, builtin_names};
use crate::source::unmarked;
use crate::touch::Touch;
use crate::verdict::{Decision, Severity, Trust, Verdict, Violation};
use crate::walk::{Found, Walker};

/// What is to be checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// A command for a shell, or SQL.
    pub command: &'a str,
    /// Text that speaks of commands, such as the result of a task: each line, and what stands in backquotes, is checked
    /// as a command.
    pub prose: &'a str,
    /// Files that are to be changed.
    pub file_paths: &'a [String],
    /// The directory that the command starts in.
    pub cwd: Option<&'a str>,
    /// The home directory of whoever runs it.
    pub home: Option<&'a str>,
    /// How far whoever asks is trusted.
    pub trust: Option<Trust>,
}

/// Which packs are in force.
#[derive(Debug, Clone, Default)]
pub struct Packs {
    without: BTreeSet<String>,
    own: Vec<(String, String)>,
}

impl Packs {
    /// Without a pack that comes with the program.
    pub fn without(mut self, name: impl Into<String>) -> Self {
        self.without.insert(name.into());
        self
    }

    /// With a pack of one's own: where it comes from, and its text.
    pub fn with(mut self, source: impl Into<String>, text: impl Into<String>) -> Self {
        self.own.push((source.into(), text.into()));
        self
    }

    /// The packs that come with the program.
    pub fn names() -> impl Iterator<Item = &'static str> {
        // What programs take as arguments is no pack of rules.
        builtin_names().iter().copied().filter(|name| *name != PROGRAMS)
    }
}

/// The pack that holds how programs are called. It cannot be switched off.
const PROGRAMS: &str = "programs";
/// Where a home directory is taken to be when nobody says.
const SOME_HOME: &str = "/home/user";
/// The rule that stands for work that was too much.
const TOO_MUCH: &str = "guard.too-complex";
/// So many violations are told of.
const MOST: usize = 50;

/// Checks commands. Made once, used for any number of them.
#[derive(Debug)]
pub struct Guard {
    rules: Rules,
}

/// A verdict, and what else is seen in a command.
#[derive(Debug, Clone)]
pub struct Study {
    /// May it run?
    pub verdict: Verdict,
    /// The files that it changes or shows, each once.
    pub touched: Vec<Touch>,
    /// The hosts that it speaks to, each once: `scheme://host[:port]`, or `host[:port]`.
    pub reached: Vec<String>,
}

/// What is seen in one command.
#[derive(Default)]
struct Seen {
    violations: Vec<Violation>,
    touched: Vec<Touch>,
    reached: Vec<String>,
}

impl Guard {
    /// With the packs that come with the program, whose examples were tested when it was built.
    pub fn builtin() -> Result<Self, BadPack> {
        Self::new(&Packs::default())
    }

    /// With these packs. The examples of one's own are tried: a pack that does not do what it says is refused.
    pub fn new(packs: &Packs) -> Result<Self, BadPack> {
        let mut rules = Rules::default();
        rules.add_builtin(|name| name == PROGRAMS || !packs.without.contains(name))?;
        let tested = rules.all().len();
        for (source, text) in &packs.own {
            rules.add(text, source)?;
        }
        let guard = Self { rules };
        guard.rules.all()[tested..].iter().try_for_each(|rule| guard.try_examples(rule))?;
        Ok(guard)
    }

    /// Every rule in force.
    pub fn rules(&self) -> &[Rule] {
        self.rules.all()
    }

    fn try_examples(&self, rule: &Rule) -> Result<(), BadPack> {
        let found = |example: &str| {
            let request = Request { command: example, ..Request::default() };
            self.check(&request).violations.iter().any(|violation| violation.rule == rule.id)
        };
        let wrong =
            |example: &String, found| BadPack::Example { rule: rule.id.clone(), example: example.clone(), found };
        if let Some(example) = rule.examples.found.iter().find(|example| !found(example)) {
            return Err(wrong(example, false));
        }
        match rule.examples.passed.iter().find(|example| found(example)) {
            Some(example) => Err(wrong(example, true)),
            None => Ok(()),
        }
    }

    /// Decides.
    pub fn check(&self, request: &Request<'_>) -> Verdict {
        self.study(request).verdict
    }

    /// Decides, and tells what else is seen in the command.
    pub fn study(&self, request: &Request<'_>) -> Study {
        let trust = request.trust.unwrap_or(Trust::STANDARD);
        let mut seen = Seen::default();
        if !request.command.is_empty() {
            seen = self.check_command(request, request.command, 0, trust, request.command);
        }
        let Seen { mut violations, mut touched, mut reached } = seen;
        for (at, line) in commands_in(request.prose) {
            violations.extend(self.check_command(request, line, at, trust, request.prose).violations);
        }
        for path in request.file_paths {
            let text = unmarked(path);
            let budget = Budget::new(text.len());
            let mut walker = Walker::new(&self.rules, &budget, surroundings(request));
            walker.edit(&text);
            violations.extend(self.violations(walker.found(), trust, path, 0));
        }
        violations.sort_by_key(|violation| {
            (std::cmp::Reverse((violation.decision, violation.severity)), violation.span.start)
        });
        violations.dedup_by(|a, b| a.rule == b.rule && a.span == b.span);
        violations.truncate(MOST);
        let decision = violations.iter().map(|violation| violation.decision).max().unwrap_or(Decision::Allow);
        touched.sort();
        touched.dedup();
        reached.sort();
        reached.dedup();
        Study { verdict: Verdict { decision, violations }, touched, reached }
    }

    fn check_command(&self, request: &Request<'_>, command: &str, at: usize, trust: Trust, whole: &str) -> Seen {
        let text = unmarked(command);
        let budget = Budget::new(text.len());
        let mut walker = Walker::new(&self.rules, &budget, surroundings(request));
        walker.start(&text);
        let (touched, reached) = (std::mem::take(&mut walker.touched), std::mem::take(&mut walker.hosts));
        let mut violations = self.violations(walker.found(), trust, whole, at);
        if budget.is_overdrawn() {
            violations.push(too_much(&text, at));
        }
        Seen { violations, touched, reached }
    }

    fn violations(&self, found: Vec<Found>, trust: Trust, text: &str, at: usize) -> Vec<Violation> {
        found
            .into_iter()
            .take(MOST * 4)
            .map(|found| {
                let rule = &self.rules.all()[found.rule];
                let spared = found.for_tests && rule.spares_tests;
                let decision = if spared { Decision::Warn } else { rule.decision(trust) };
                let span = within(text, at + found.span.start..at + found.span.end);
                Violation {
                    rule: rule.id.clone(),
                    category: rule.category.clone(),
                    severity: rule.severity,
                    decision,
                    matched_text: excerpt(text, span.clone()),
                    span,
                    reached: found.reached,
                    blocked: decision >= Decision::Ask,
                    reason: rule.reason.clone(),
                    suggestion: rule.suggestion.clone(),
                }
            })
            .collect()
    }
}

fn surroundings(request: &Request<'_>) -> Surroundings {
    Surroundings {
        start: request.cwd.filter(|cwd| cwd.starts_with('/')).map(str::to_owned),
        home: request.home.filter(|home| home.starts_with('/')).unwrap_or(SOME_HOME).to_owned(),
    }
}

/// The part of the span that is in the text, in whole characters: what was read for the sake of another shell may be longer
/// than what was written.
fn within(text: &str, span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start = (0..=span.start.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let end = (span.end.min(text.len())..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    start..end.max(start)
}

/// The part of the text at `span`, not longer than can be read.
fn excerpt(text: &str, span: std::ops::Range<usize>) -> String {
    const LIMIT: usize = 400;
    let start = (0..=span.start.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let limit = span.end.min(start + LIMIT).min(text.len());
    let end = (limit..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text.get(start..end).unwrap_or_default().to_owned()
}

/// What is said of a command that cannot be followed to its end.
fn too_much(text: &str, at: usize) -> Violation {
    const WORDS: &[&str] = &[
        "rm",
        "dd",
        "mkfs",
        "shred",
        "git",
        "drop",
        "delete",
        "truncate",
        "eval",
        "sudo",
        "kubectl",
        "terraform",
        "chmod",
        "chown",
        "mv",
        "find",
        "wipefs",
        "format",
        "shutdown",
        "reboot",
        "aws",
        "gcloud",
        "docker",
        "curl",
        "wget",
        "base64",
        "xargs",
        "unlink",
        "rmdir",
        "rmtree",
        "python",
        "python3",
        "perl",
        "node",
        "env",
        "bash",
        "sh",
    ];
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let in_sight = text
        .split(|c| !is_word(c))
        .filter(|word| word.len() > 1)
        .any(|word| WORDS.iter().any(|dangerous| word.eq_ignore_ascii_case(dangerous)));
    let severity = if in_sight { Severity::High } else { Severity::Medium };
    Violation {
        rule: TOO_MUCH.to_owned(),
        category: "obfuscation".to_owned(),
        severity,
        decision: severity.decision(),
        matched_text: excerpt(text, 0..80),
        span: at..at + text.len(),
        reached: vec![],
        blocked: true,
        reason: "The command is nested or multiplied too far to be followed to its end.".to_owned(),
        suggestion: "Write it as several plain commands, or as a script that can be read first.".to_owned(),
    }
}

/// The stretches of a text that may be commands, and where they begin: its lines without bullets and prompts, what stands in
/// backquotes, and what follows a word that says that something was run.
fn commands_in(prose: &str) -> Vec<(usize, &str)> {
    const LEADS: &[&str] =
        &["ran ", "run ", "executed ", "executing ", "running ", "ran: ", "command: ", "cmd: ", ": "];
    let mut found = vec![];
    let mut at = 0;
    for line in prose.split_inclusive('\n') {
        let text = line.trim_start_matches([' ', '\t', '-', '*', '>', '$', '#', '%', '+']).trim_start();
        let start = at + line.len() - text.len();
        let text = text.trim_end();
        if !text.is_empty() {
            found.push((start, text));
            found.extend(LEADS.iter().filter_map(|lead| {
                let lead_at = text.find(lead)? + lead.len();
                Some((start + lead_at, &text[lead_at..]))
            }));
            for part in text.split('`').skip(1).step_by(2).filter(|part| !part.is_empty()).take(16) {
                found.push((start + (part.as_ptr() as usize - text.as_ptr() as usize), part));
            }
        }
        at += line.len();
    }
    found
}
