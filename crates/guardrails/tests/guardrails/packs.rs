//! Packs: the examples of every rule, and packs of one's own.

use guardrails::{Guard, Request};

#[test]
fn every_rule_does_what_its_examples_say() {
    let guard = Guard::builtin().unwrap();
    let mut wrong = vec![];
    for rule in guard.rules() {
        let found = |command: &String| {
            let verdict = guard.check(&Request { command, ..Request::default() });
            verdict.violations.iter().any(|violation| violation.rule == rule.id)
        };
        wrong.extend(rule.examples.found.iter().filter(|c| !found(c)).map(|c| format!("{} misses {c}", rule.id)));
        wrong.extend(rule.examples.passed.iter().filter(|c| found(c)).map(|c| format!("{} finds {c}", rule.id)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
