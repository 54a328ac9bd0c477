//! The protocol's official conformance suite. Which of its checks must fail, and why, is in `docs/mcp-conformance.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::ground::{Ground, node_program, output};
use super::{Outcome, Trials};
use crate::tools::{self, NO_NODE};

const PACKAGE: &str = "@modelcontextprotocol/conformance";
/// Relative to the repository.
const LIST: &str = "docs/mcp-conformance.md";

/// A run of the suite: the version that knows a revision, how to ask for the revision, and the heading in the list.
const RUNS: [(&str, &str, &str, &str); 3] = [
    ("0.1.16", "--spec-version", "2025-06-18", "2025-06-18 and 2025-11-25"),
    ("0.1.16", "--spec-version", "2025-11-25", "2025-06-18 and 2025-11-25"),
    ("0.2.0-alpha.12", "--requirements", "2026-07-28", "2026-07-28"),
];

/// Runs it for every revision.
pub async fn run(ground: &Ground, trials: &mut Trials) {
    for (version, flag, revision, heading) in RUNS {
        let trial = suite(ground, version, flag, revision, heading);
        trials.attempt(&format!("conformance {revision}"), trial).await;
    }
}

async fn suite(ground: &Ground, version: &str, flag: &str, revision: &str, heading: &str) -> anyhow::Result<Outcome> {
    let Some(node) = tools::need_node()? else { return Ok(Outcome::Skipped(NO_NODE)) };
    let programs = tools::need_node_package(PACKAGE, version)?;
    let results = ground.directory(&format!("conformance-{revision}"))?;
    let before = ground.round_robin.counts();
    let mut command = node_program(&programs.join("conformance"), &node);
    command.args(["server", "--url", &format!("{}/mcp", ground.round_robin.url), flag, revision, "-o"]).arg(&results);
    // It fails in any case, for want of fixtures.
    let ran = output(&mut command).await?;
    let checks = Checks::read(&results)?;
    ensure!(!checks.passed.is_empty(), "it checked nothing:\n{}", String::from_utf8_lossy(&ran.stdout));

    let expected = expected(heading)?;
    let ours: BTreeSet<_> = checks.failed.keys().cloned().collect();
    let news: Vec<String> = ours
        .difference(&expected)
        .map(|check| format!("{} / {}: {}", check.0, check.1, checks.failed[check]))
        .collect();
    ensure!(news.is_empty(), "these fail, and {LIST} does not say why:\n{}", news.join("\n"));
    let stale: Vec<_> =
        expected.difference(&ours).filter(|(scenario, _)| checks.scenarios.contains(scenario)).collect();
    ensure!(stale.is_empty(), "{LIST} says why these fail, but they do not: {stale:?}");

    let counts: Vec<usize> = ground.round_robin.counts().iter().zip(before).map(|(now, then)| now - then).collect();
    ensure!(counts.iter().all(|count| *count > 0), "a server was never asked: {counts:?}");
    Ok(Outcome::Passed(format!(
        "{} checks pass, {} fail for want of what {LIST} names; the servers had {counts:?} requests",
        checks.passed.len(),
        checks.failed.len()
    )))
}

/// A scenario and a check in it.
type Check = (String, String);

/// What the suite found.
#[derive(Default)]
struct Checks {
    scenarios: BTreeSet<String>,
    passed: BTreeSet<Check>,
    /// With what it says of each.
    failed: BTreeMap<Check, String>,
}

impl Checks {
    /// Reads what it left in a directory a scenario.
    fn read(results: &Path) -> anyhow::Result<Self> {
        let mut checks = Self::default();
        for directory in std::fs::read_dir(results)? {
            let directory = directory?;
            let name = directory.file_name().to_string_lossy().into_owned();
            let scenario = scenario(&name).with_context(|| format!("{name} is named after no scenario"))?;
            let found: Value = serde_json::from_slice(&std::fs::read(directory.path().join("checks.json"))?)?;
            for check in found.as_array().into_iter().flatten() {
                let key = (scenario.to_owned(), text(&check["id"]));
                match check["status"].as_str() {
                    Some("FAILURE") => drop(checks.failed.insert(key, text(&check["errorMessage"]))),
                    Some("SUCCESS") => drop(checks.passed.insert(key)),
                    _ => {}
                }
            }
            checks.scenarios.insert(scenario.to_owned());
        }
        // One that passes here and fails there has failed.
        checks.passed.retain(|check| !checks.failed.contains_key(check));
        Ok(checks)
    }
}

/// The scenario of `server-SCENARIO-2026-01-02T03-04-05-678Z`.
fn scenario(directory: &str) -> Option<&str> {
    const TIME: usize = "-2026-01-02T03-04-05-678Z".len();
    directory
        .strip_prefix("server-")?
        .split_at_checked(directory.len().checked_sub("server-".len() + TIME)?)
        .map(|s| s.0)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The checks in the list's table under this heading.
fn expected(heading: &str) -> anyhow::Result<BTreeSet<Check>> {
    let list = std::fs::read_to_string(LIST).context(LIST)?;
    Ok(listed(&list, heading))
}

fn listed(list: &str, heading: &str) -> BTreeSet<Check> {
    let section = list.split("\n## ").find(|section| section.lines().next() == Some(heading)).unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| scenario "));
    let cells = rows.filter_map(|row| {
        let mut cells = row.split('|').skip(1).map(str::trim);
        Some((cells.next()?, cells.next()?))
    });
    cells.flat_map(|(scenario, checks)| checks.split(", ").map(|id| (scenario.to_owned(), id.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_by_its_headings() {
        let list = "# x\n\n## one\n\n| scenario | checks | why |\n|---|---|---|\n| a | b, c | d |\n\n## two\n\n| e | f | g |\n";
        let check = |scenario: &str, id: &str| (scenario.to_owned(), id.to_owned());
        assert_eq!(listed(list, "one"), BTreeSet::from([check("a", "b"), check("a", "c")]));
        assert_eq!(listed(list, "two"), BTreeSet::from([check("e", "f")]));
        assert_eq!(scenario("server-tools-list-2026-11-22T21-21-25-757Z"), Some("tools-list"));
    }
}
