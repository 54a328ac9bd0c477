//! The corpus: commands that must not run unasked, and commands that look like them and must run.

use std::path::Path;

use guardrails::{Guard, Request, Verdict};

/// The commands of a file, one on a line. In a command, an end of line is written `⏎`; `##` begins a heading.
pub fn commands(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("##"))
        .map(|line| line.replace('⏎', "\n"))
        .collect()
}

fn check(guard: &Guard, command: &str) -> Verdict {
    guard.check(&Request { command, ..Request::default() })
}

fn told(command: &str, verdict: &Verdict) -> String {
    let rules: Vec<&str> = verdict.violations.iter().map(|violation| violation.rule.as_str()).collect();
    format!("{}: {command:?} {rules:?}", verdict.decision)
}

#[test]
fn no_danger_is_missed() {
    let guard = Guard::builtin().unwrap();
    for file in ["dangerous.txt", "dangerous-incidents.txt", "dangerous-adversarial.txt"] {
        let all = commands(file);
        let missed: Vec<String> =
            all.iter().map(|c| (c, check(&guard, c))).filter(|(_, v)| v.is_safe()).map(|(c, v)| told(c, &v)).collect();
        assert!(missed.is_empty(), "{} of {} in {file}: {missed:#?}", missed.len(), all.len());
    }
}

#[test]
fn nothing_harmless_is_stopped() {
    let guard = Guard::builtin().unwrap();
    for file in ["benign.txt", "benign-work.txt", "benign-adversarial.txt"] {
        let all = commands(file);
        let stopped: Vec<String> =
            all.iter().map(|c| (c, check(&guard, c))).filter(|(_, v)| !v.is_safe()).map(|(c, v)| told(c, &v)).collect();
        assert!(stopped.is_empty(), "{} of {} in {file}: {stopped:#?}", stopped.len(), all.len());
    }
}
