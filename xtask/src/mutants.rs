//! `cargo xtask mutants`: puts known bugs into the store, one at a time, and demands that its tests notice each.
//!
//! The bugs are a table of exact replacements in [`bugs`]. One that no longer fits the code is an error, and a test of its
//! own: whoever moves the code moves the bug along.

mod bugs;

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use bugs::{BUGS, Bug};
use testing::postgres::{Cluster, SERVER_VARIABLE};

use crate::tools;

/// Where the copy of the repository and what is built from it are kept: a second run has little to build.
const PLACE: &str = "target/mutants";
/// What nextest ends with when all went well but for tests that failed.
const TESTS_FAILED: i32 = 100;
/// So many of the tests that a bug fails are named.
const NAMED: usize = 6;

/// What `cargo xtask mutants` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only the bugs whose names contain one of these.
    names: Vec<String>,
}

/// Tries each bug, and fails if one survives.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let chosen =
        |bug: &&Bug| arguments.names.is_empty() || arguments.names.iter().any(|n| bug.name.contains(n.as_str()));
    let bugs: Vec<&Bug> = BUGS.iter().filter(chosen).collect();
    ensure!(!bugs.is_empty(), "no bug has such a name");
    tools::need_postgres()?;
    tools::need_cargo_tool("nextest", &[])?;
    let server = Cluster::start_with(&[("fsync", "off"), ("full_page_writes", "off"), ("max_connections", "500")])?;
    let tests = Tests { tree: copy_of_the_tree()?, server };

    let mut passing = BTreeSet::new();
    let mut survivors = vec![];
    for bug in bugs {
        if passing.insert(bug.tests) {
            let failing = tests.failing(bug.tests)?;
            ensure!(failing.is_empty(), "without any bug these fail already: {}", failing.join(", "));
        }
        let start = Instant::now();
        let failing = tests.failing_with(bug)?;
        let verdict = if failing.is_empty() { "SURVIVED" } else { "caught" };
        println!("{verdict:<8}  {}  ({} tests fail, {:.0} s)", bug.name, failing.len(), start.elapsed().as_secs_f32());
        for test in failing.iter().take(NAMED) {
            println!("            {test}");
        }
        if failing.len() > NAMED {
            println!("            and {} more", failing.len() - NAMED);
        }
        if failing.is_empty() {
            survivors.push(bug.name);
        }
    }
    ensure!(survivors.is_empty(), "no test notices: {}", survivors.join("; "));
    Ok(())
}

/// A copy of all that is under version control or could be, as it stands.
fn copy_of_the_tree() -> anyhow::Result<PathBuf> {
    let tree = std::path::absolute(PLACE)?.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).context("remove the last copy")?;
    }
    let list = Command::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).output()?;
    ensure!(list.status.success(), "git ls-files: {}", String::from_utf8_lossy(&list.stderr));
    for path in String::from_utf8(list.stdout)?.split_terminator('\0') {
        // A file that was removed is still listed until that is committed.
        if Path::new(path).is_file() {
            let copy = tree.join(path);
            fs::create_dir_all(copy.parent().context("a file has a directory")?)?;
            fs::copy(path, &copy).with_context(|| format!("copy {path}"))?;
        }
    }
    Ok(tree)
}

/// The store's tests, in the copy.
struct Tests {
    tree: PathBuf,
    server: Cluster,
}

impl Tests {
    /// The tests that fail with the bug in.
    fn failing_with(&self, bug: &Bug) -> anyhow::Result<Vec<String>> {
        let originals = bug.put_into(&self.tree)?;
        let failing = self.failing(bug.tests).with_context(|| bug.name.to_owned());
        for (path, text) in originals {
            fs::write(path, text)?;
        }
        failing
    }

    /// The tests that the filter chooses and that fail.
    fn failing(&self, filter: &str) -> anyhow::Result<Vec<String>> {
        let output = tools::cargo()
            .args(["nextest", "run", "--package", "store", "--no-fail-fast", "--cargo-quiet", "--color", "never"])
            .args(["--status-level", "fail", "--final-status-level", "none", "--failure-output", "never"])
            .arg("--target-dir")
            .arg(std::path::absolute(PLACE)?.join("build"))
            .args(["-E", filter])
            .current_dir(&self.tree)
            .env(SERVER_VARIABLE, self.server.dsn("postgres"))
            .output()?;
        verdict(&output)
    }
}

/// Reads nextest's lines such as `FAIL [   0.012s] (1/2) store::store conformance::locks::expiry::sqlite`.
fn verdict(output: &Output) -> anyhow::Result<Vec<String>> {
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(vec![]);
    }
    let failing: BTreeSet<String> = told
        .lines()
        .filter(|line| ["FAIL ", "TIMEOUT ", "ABORT ", "SIG"].iter().any(|word| line.trim_start().starts_with(word)))
        .filter_map(|line| line.split_whitespace().next_back().map(str::to_owned))
        .collect();
    if output.status.code() != Some(TESTS_FAILED) || failing.is_empty() {
        bail!("the tests could not be run:\n{told}");
    }
    Ok(failing.into_iter().collect())
}

impl Bug {
    /// Changes the files, and tells what they were.
    fn put_into(&self, tree: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let mut originals = vec![];
        for edit in self.edits {
            let path = tree.join(edit.file);
            let text = fs::read_to_string(&path).with_context(|| edit.file.to_owned())?;
            let mut found = places(&text, edit.from);
            ensure!(found.len() == 1, "{}: {} times in {}: {}", self.name, found.len(), edit.file, edit.from);
            let mut changed = text.clone();
            changed.replace_range(found.remove(0), edit.to);
            fs::write(&path, changed)?;
            originals.push((path, text));
        }
        // Two changes of one file: the first original is the one to go back to.
        originals.reverse();
        Ok(originals)
    }
}

/// Where the words stand in the text with nothing but white space between them.
fn places(text: &str, words: &str) -> Vec<Range<usize>> {
    let mut words = words.split_whitespace();
    let first = words.next().unwrap_or_default();
    let end = |start: usize| {
        words.clone().try_fold(start + first.len(), |at, word| {
            let rest = text[at..].trim_start();
            let gap = text.len() - at - rest.len();
            (gap > 0 && rest.starts_with(word)).then_some(at + gap + word.len())
        })
    };
    text.match_indices(first).filter_map(|(start, _)| Some(start..end(start)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::bugs::Edit;
    use super::*;

    #[test]
    fn every_bug_fits_the_code() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let fits = |edit: &&Edit| {
            let text = fs::read_to_string(root.join(edit.file)).unwrap_or_default();
            places(&text, edit.from).len() == 1
        };
        let misfits: Vec<_> = BUGS.iter().flat_map(|bug| bug.edits).filter(|edit| !fits(edit)).collect();
        assert!(misfits.is_empty(), "the code has moved on; these must follow: {misfits:#?}");
    }

    #[test]
    fn words_are_found_over_lines() {
        let text = "a b\n  c, a bc";
        let found = |words| places(text, words).into_iter().map(|place| &text[place]).collect::<Vec<_>>();
        assert_eq!(found("a b"), ["a b", "a b"]);
        assert_eq!(found("b c,"), ["b\n  c,"]);
        assert!(found("b c, d").is_empty());
        assert!(found("ab").is_empty());
    }

    #[test]
    fn every_bug_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = BUGS.iter().map(|bug| bug.name).collect();
        assert_eq!(names.len(), BUGS.len());
    }
}
