//! How long one check takes in a large repository. Measured on demand: a machine that does other things besides says
//! nothing.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::generated::Random;
use crate::repository::{Repository, plain_git};

const FILES: usize = 10_000;
const BRANCHES: usize = 12;
/// What is promised, for 95 of 100 checks.
const PROMISE: Duration = Duration::from_millis(100);

#[test]
#[ignore = "measures"]
fn one_check_at_ten_thousand_files() {
    let repository = Repository::new();
    let mut child =
        plain_git(repository.path()).args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = std::io::BufWriter::new(child.stdin.take().unwrap());
    let mut random = Random::new(7);
    let path = |n: usize| format!("part{}/module{}/file{n}.rs", n % 20, n % 400);
    let mut put = |branch: &str, from: Option<&str>, files: &[(usize, String)]| {
        writeln!(input, "commit refs/heads/{branch}\ncommitter T <t@localhost> 1000000 +0000\ndata 1\nx").unwrap();
        if let Some(from) = from {
            writeln!(input, "from refs/heads/{from}").unwrap();
        }
        for (n, text) in files {
            write!(input, "M 100644 inline {}\ndata {}\n{text}\n", path(*n), text.len()).unwrap();
        }
    };
    let text = |n: usize, changed: usize| -> String {
        (0..60).map(|line| format!("file {n} line {line} {}\n", if line == changed { "changed" } else { "" })).collect()
    };
    let all: Vec<(usize, String)> = (0..FILES).map(|n| (n, text(n, 99))).collect();
    put("large", None, &all);
    for branch in 0..BRANCHES {
        let mut files = vec![];
        for change in 0..50 {
            // Some where the others work, too.
            let (files_there, lines) = if change % 10 == 0 { (60, 3) } else { (FILES, 60) };
            let n = random.below(files_there);
            files.push((n, text(n, random.below(lines))));
        }
        put(&format!("work{branch}"), Some("large"), &files);
    }
    drop(input.into_inner().unwrap());
    assert!(child.wait().unwrap().success());

    let git = repository.open().with_scratch_objects().unwrap();
    let commits: Vec<_> =
        (0..BRANCHES).map(|n| git.resolve(&format!("refs/heads/work{n}")).unwrap().unwrap()).collect();
    let (mut times, mut conflicts) = (vec![], 0);
    for (at, ours) in commits.iter().enumerate() {
        for theirs in &commits[at + 1..] {
            let began = Instant::now();
            conflicts += usize::from(git.merge_tree(ours, theirs).unwrap().tree().is_none());
            times.push(began.elapsed());
        }
    }
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    println!(
        "{} checks, {conflicts} with conflicts: p50 {:?}, p95 {:?}, longest {:?}",
        times.len(),
        at(50),
        at(95),
        at(99)
    );
    assert!(at(95) <= PROMISE, "p95 is {:?}", at(95));
}
