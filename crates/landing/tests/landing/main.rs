//! Seeded queues on real repositories: changes that break, conflict and flake, pushes to the target in between, and
//! `kill -9` after any step. `COORDINATOR_TRAINS=1000` runs more of them, `250..500` those with these seeds.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A repository, perhaps with a bare remote, and a queue.
struct Ground {
    directory: tempfile::TempDir,
    has_remote: bool,
}

impl Ground {
    fn new(has_remote: bool) -> Self {
        let ground = Self { directory: tempfile::tempdir().unwrap(), has_remote };
        std::fs::create_dir_all(ground.queue().join("open")).unwrap();
        std::fs::create_dir(ground.repository()).unwrap();
        // Every run leaves the tree that it tested. A file named bad breaks it, one named flaky now and then.
        let tested = ground.path("tested").display().to_string();
        let script = format!(
            "if ls bad* >/dev/null 2>&1; then exit 1; fi; \
             if ls flaky* >/dev/null 2>&1 && mkdir {0}/flaked 2>/dev/null; then exit 2; fi; \
             git rev-parse HEAD^{{tree}} >>{0}/passed",
            tested
        );
        std::fs::create_dir(ground.path("tested")).unwrap();
        let policy = format!(
            "[[verification]]\nname = 'tests'\nglobs = ['**']\ntier = 1\ncommand = ['sh', '-c', \"\"\"{script}\"\"\"]\n"
        );
        std::fs::write(ground.queue().join("policies.toml"), policy).unwrap();
        ground.git(&["init", "-q", "-b", "main"]);
        ground.write("shared", "1\n2\n3\n");
        ground.commit("start");
        ground.git(&["switch", "-q", "--detach"]);
        if has_remote {
            let remote = ground.path("remote");
            ground.git(&["init", "-q", "--bare", "-b", "main", remote.to_str().unwrap()]);
            git(&remote, &["config", "core.logAllRefUpdates", "always"]);
            ground.git(&["push", "-q", remote.to_str().unwrap(), "main"]);
        }
        ground
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    fn queue(&self) -> PathBuf {
        self.path("queue")
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(&self.repository(), arguments)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.repository().join(name), text).unwrap();
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
    }

    /// A branch from where the target is, with a file, and its entry.
    fn enqueue(&self, name: &str, file: &str, text: &str) {
        self.git(&["switch", "-q", "-c", name, "main"]);
        self.write(file, text);
        self.commit(name);
        self.git(&["switch", "-q", "--detach", "main"]);
        std::fs::write(self.queue().join("open").join(name), file).unwrap();
    }

    /// Where the target is.
    fn target(&self) -> String {
        let at = if self.has_remote { self.path("remote") } else { self.repository() };
        git(&at, &["rev-parse", "refs/heads/main"])
    }

    /// Somebody else's push: a commit upon the target that no test has seen.
    fn push(&self, number: u64) -> String {
        let at = self.target();
        if self.has_remote {
            self.git(&["fetch", "-q", self.path("remote").to_str().unwrap(), "main"]);
        }
        let tree = self.git(&["rev-parse", &format!("{at}^{{tree}}")]);
        let pushed = self.git(&["commit-tree", "-p", &at, "-m", &format!("push {number}"), &tree]);
        if self.has_remote {
            self.git(&["push", "-q", self.path("remote").to_str().unwrap(), &format!("{pushed}:refs/heads/main")]);
        } else {
            self.git(&["update-ref", "refs/heads/main", &pushed, &at]);
        }
        pushed
    }

    /// Runs the runner; it dies after so many steps.
    fn run(&self, steps: Option<u64>, is_squash: bool) -> (bool, String) {
        let mut runner = Command::new(env!("CARGO_BIN_EXE_landing-runner"));
        runner.arg(self.repository()).arg(self.queue()).args(steps.map(|steps| steps.to_string()));
        if self.has_remote {
            runner.env("REMOTE", self.path("remote"));
        }
        if is_squash {
            runner.env("SQUASH", "1");
        }
        let output = runner.output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    }

    /// What became of each entry, as the queue was told: the last word counts.
    fn ended(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.queue().join("ended")).unwrap_or_default();
        text.lines().filter_map(|line| line.split_once(' ')).map(|(id, how)| (id.to_owned(), how.to_owned())).collect()
    }
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .args(["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "gc.auto=0"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A generator that gives the same numbers for the same seed.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    }
}

fn simulate(seed: u64) {
    let mut number = numbers(seed);
    let (has_remote, is_squash) = (number(2) == 0, number(2) == 0);
    let ground = Ground::new(has_remote);
    let start = ground.target();
    let mut must_fail = BTreeSet::new();
    for at in 0..3 + number(5) {
        let name = format!("e{at}");
        let kind = match number(8) {
            0 | 1 => "bad",
            2 => "flaky",
            3 => "shared",
            _ => "file",
        };
        let file = if kind == "shared" { "shared".into() } else { format!("{kind}{at}") };
        ground.enqueue(&name, &file, &format!("{at}\n"));
        if kind == "bad" {
            must_fail.insert(name);
        }
    }
    let names: BTreeSet<String> = std::fs::read_dir(ground.queue().join("open"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut pushed = BTreeSet::new();
    for turn in 0..4 {
        let (_, said) = ground.run(Some(number(8)), is_squash);
        assert!(!said.contains("panicked"), "seed {seed}: {said}");
        if number(2) == 0 {
            pushed.insert(ground.push(turn));
        }
    }
    let (is_done, said) = ground.run(None, is_squash);
    assert!(is_done, "seed {seed}: {said}");

    let at = if has_remote { ground.path("remote") } else { ground.repository() };
    // Everywhere the target ever stood, as git itself noted it.
    let log = git(&at, &["reflog", "show", "--format=%H", "refs/heads/main"]);
    let mut positions: Vec<&str> = log.lines().collect();
    positions.reverse();
    assert_eq!(positions.last(), Some(&ground.target().as_str()), "seed {seed}: the log is not complete");
    // Nothing that was there is gone: each position goes on from the one before.
    for pair in positions.windows(2) {
        git(&at, &["merge-base", "--is-ancestor", pair[0], pair[1]]);
    }
    // The target stood only where a test passed, or where somebody pushed.
    let passed = std::fs::read_to_string(ground.path("tested/passed")).unwrap_or_default();
    let passed: BTreeSet<&str> = passed.lines().collect();
    for position in positions.iter().filter(|position| **position != start && !pushed.contains(**position)) {
        let tree = git(&at, &["rev-parse", &format!("{position}^{{tree}}")]);
        assert!(passed.contains(tree.as_str()), "seed {seed}: {position} was not tested\n{said}");
    }
    // Every entry came to one end, and what was landed is there, in a commit that was tested.
    let ended = ground.ended();
    assert_eq!(ended.keys().cloned().collect::<BTreeSet<_>>(), names, "seed {seed}");
    let target = ground.target();
    for (name, how) in &ended {
        assert_eq!(how.starts_with("ejected"), how.split(' ').next() != Some("merged"));
        if let Some(commit) = how.strip_prefix("merged ") {
            assert!(!must_fail.contains(name), "seed {seed}: {name} is bad and was landed");
            git(&at, &["merge-base", "--is-ancestor", commit, &target]);
            let number = name.strip_prefix('e').unwrap();
            let log = git(&at, &["log", "--format=%B", &target]);
            assert!(log.contains(&format!("Feature: {name}")), "seed {seed}: {name} is not there");
            let content = git(&at, &["grep", "-h", "-e", &format!("^{number}$"), &target, "--"]);
            assert!(!content.is_empty(), "seed {seed}: what {name} changed is gone");
        } else if !must_fail.contains(name) {
            assert!(how.contains("conflicts in shared"), "seed {seed}: {name} is innocent: {how}\n{said}");
        }
    }
    // Nothing is left behind.
    assert_eq!(ground.git(&["worktree", "list"]).lines().count(), 1, "seed {seed}: a work tree is left");
}

#[test]
fn whatever_happens_the_target_stands_where_it_was_tested() {
    let asked = std::env::var("COORDINATOR_TRAINS").unwrap_or_else(|_| "10".into());
    let (first, end) = asked.split_once("..").unwrap_or(("0", &asked));
    let (first, end): (u64, u64) = (first.parse().unwrap(), end.parse().unwrap());
    for seed in first..end {
        simulate(seed);
    }
    println!("{} trains: nothing untested on the target, nothing lost", end - first);
}

#[test]
fn killed_after_any_step_it_goes_on_from_there() {
    for is_squash in [false, true] {
        for steps in 0..6 {
            let ground = Ground::new(false);
            ground.enqueue("e1", "file1", "1\n");
            ground.enqueue("e2", "file2", "2\n");
            let (is_done, _) = ground.run(Some(steps), is_squash);
            let (is_done_then, said) = ground.run(None, is_squash);
            assert!(is_done_then, "{said}");
            assert!(!is_done || steps >= 5, "it was not killed after {steps} steps");
            let ended = ground.ended();
            assert!(ended.len() == 2 && ended.values().all(|how| how.starts_with("merged")), "{steps}: {ended:?}");
            let count = ground.git(&["rev-list", "--first-parent", "--count", "refs/heads/main"]);
            assert_eq!(count, "3", "after {steps} steps something was landed twice, or not at all");
        }
    }
}

#[test]
fn a_target_that_is_checked_out_is_left_alone() {
    let ground = Ground::new(false);
    ground.enqueue("e1", "file1", "1\n");
    ground.git(&["switch", "-q", "main"]);
    let before = ground.target();
    let (is_done, said) = ground.run(None, false);
    assert!(!is_done && said.contains("main is checked out in"), "{said}");
    assert_eq!(ground.target(), before);
}
