//! The story in `docs/merging.md`, run as it is written.

use std::path::Path;
use std::process::Command;

use crate::project::{COORDINATOR, Project, Ran};

/// The shell blocks of a page's section, one after the other.
fn script(page: &str, section: &str) -> String {
    let (_, rest) = page.split_once(&format!("\n## {section}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.collect::<Vec<_>>().join("\n")
}

#[test]
fn three_agents_two_features_in_conflict_and_one_that_is_not() {
    let script = script(include_str!("../../../../docs/merging.md"), "A story, from end to end");
    let project = Project::new();
    let place = project.beside("story");
    std::fs::create_dir(&place).unwrap();
    let beside = Path::new(COORDINATOR).parent().unwrap().display().to_string();
    let path = format!("{beside}:{}", std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script]).current_dir(&place).env_clear();
    bash.env("PATH", path).env("HOME", &place).env("USER", "ann");
    let ran = Ran::from(bash.output().unwrap()).ended_with(0);

    // In this order, each after the one before.
    let mut rest = ran.stdout.as_str();
    for expected in [
        // Bob hears with whom he is in conflict, and the plan.
        "registered rebate\nSEQUENTIAL: 1 of 1 claims overlap",
        "tax claims price.txt",
        "build in this order: tax, then rebate",
        "registered guide\nFULL",
        // The radar warns both, and nobody else.
        "agent/ann/tax of ann does not merge with agent/bob/rebate of bob\n  price.txt: content, lines 1 / 1\n  told to ann and bob",
        "branch agent/bob/rebate (",
        "does not merge with branch agent/ann/tax of ann",
        // Two land, the third does not.
        "rebate is queued",
        "tax is landed",
        "Open the shop",
        "blocked",
        "rebate cannot be merged: ",
        "conflicts with tax, which is ahead in the queue, in price.txt (content): once that is merged, rebase agent/bob/rebate onto main",
        "it conflicts, as was foretold",
        "rebate is queued",
        "rebate is landed",
        "price = 109",
        "Nothing is being built.",
    ] {
        let Some((_, after)) = rest.split_once(expected) else {
            panic!("{expected:?} is not in\n{rest}\nof\n{}\n{}", ran.stdout, ran.stderr);
        };
        rest = after;
    }
    let first_run = ran.stdout.split("Open the shop").next().unwrap();
    assert!(first_run.contains("guide is landed") && !first_run.contains("rebate is landed"), "{first_run}");
    assert!(place.join("shop").is_dir());
}
