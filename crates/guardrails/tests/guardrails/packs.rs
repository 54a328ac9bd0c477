//! Packs: the examples of every rule, and packs of one's own.

use std::collections::BTreeSet;
use std::fs;

use guardrails::{Guard, Request};

#[test]
fn every_rule_does_what_its_examples_say() {
    let guard = Guard::builtin().unwrap();
    let mut known: BTreeSet<&str> = guard.rules().iter().map(|rule| rule.id.as_str()).collect();
    let mut wrong = vec![];
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/packs")).unwrap() {
        let pack: toml::Table = toml::from_str(&fs::read_to_string(file.unwrap().path()).unwrap()).unwrap();
        for rule in pack.get("rule").and_then(toml::Value::as_array).into_iter().flatten() {
            let id = format!("{}.{}", pack["name"].as_str().unwrap(), rule["id"].as_str().unwrap());
            if !known.remove(id.as_str()) {
                wrong.push(format!("{id} is not in force"));
            }
            for (examples, is_found) in [("match", true), ("not-match", false)] {
                let commands = rule[examples].as_array().unwrap();
                assert!(!commands.is_empty(), "{id} has no {examples}");
                let commands = commands.iter().map(|command| command.as_str().unwrap());
                let deceived = commands.filter(|command| finds(&guard, &id, command) != is_found);
                wrong.extend(deceived.map(|command| format!("{id}, {examples}: {command}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(known.is_empty(), "they are in no file: {known:?}");
}

fn finds(guard: &Guard, id: &str, command: &str) -> bool {
    guard.check(&Request { command, ..Request::default() }).violations.iter().any(|violation| violation.rule == id)
}
