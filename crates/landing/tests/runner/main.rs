//! Lands a queue that is a directory: `runner REPOSITORY QUEUE [STEPS]`. After so many steps it kills itself, as nothing
//! else could: no destructor runs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use git::Git;
use landing::{Entry, Queue, QueueError, Runner, Style, Target, Verifier};
use merging::{EntryId, Fate, Rules};
use model::key::LockKey;
use verification::{Checker, Inline, Policies, Results};

/// Entries are files `NAME` with a claim in them; what became of them is appended to `ended`.
struct Files(PathBuf);

impl Files {
    fn end(&self, entry: &EntryId, how: &str) -> Result<(), QueueError> {
        use std::io::Write;
        let failed = |error: std::io::Error| QueueError(error.to_string());
        let mut file = std::fs::File::options().append(true).create(true).open(self.0.join("ended")).map_err(failed)?;
        writeln!(file, "{entry} {how}").map_err(failed)?;
        match std::fs::remove_file(self.0.join("open").join(entry.as_str())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

impl Queue for Files {
    fn entries(&mut self) -> Result<Vec<Entry>, QueueError> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.join("open"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let entry = |name: String| Entry {
            claims: vec![LockKey::parse(&std::fs::read_to_string(self.0.join("open").join(&name)).unwrap()).unwrap()],
            branch: name.clone(),
            title: format!("Change {name}"),
            id: EntryId::new(name),
            ejections: 0,
        };
        Ok(names.into_iter().map(entry).collect())
    }

    fn merged(&mut self, entry: &EntryId, commit: &str) -> Result<(), QueueError> {
        self.end(entry, &format!("merged {commit}"))
    }

    fn ejected(&mut self, entry: &EntryId, _: Fate, why: &str) -> Result<(), QueueError> {
        self.end(entry, &format!("ejected {}", why.replace('\n', " ")))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "keep") {
        return verification::keeper::main();
    }
    let (repository, queue) = (Path::new(&arguments[0]), Path::new(&arguments[1]));
    let steps = Cell::new(arguments.get(2).map(|steps| steps.parse::<u32>().unwrap()));
    let git = Git::open(repository).unwrap();
    let this = std::env::current_exe().unwrap();
    let mut rules = Rules { slots: 2, batch: 4, ..Rules::default() };
    rules.confirmations = 2;
    let remote = std::env::var("REMOTE").ok();
    let branch = "main".to_owned();
    let mut runner = Runner {
        target: remote.map_or(Target::Local { branch: branch.clone() }, |remote| Target::Remote { remote, branch }),
        style: if std::env::var("SQUASH").is_ok() { Style::Squash } else { Style::Merge },
        rules,
        verifier: Arc::new(Verifier {
            policies: Policies::parse(&std::fs::read_to_string(queue.join("policies.toml")).unwrap()).unwrap(),
            checker: Checker {
                inline: Inline::new(vec![this.into(), "keep".into()]),
                variables: std::env::vars().collect(),
            },
            results: Results::at(&git.common_dir().join("coordinator-results")),
        }),
        git,
        after: &|_| {
            let Some(left) = steps.get() else { return };
            if left == 0 {
                let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            }
            steps.set(Some(left.saturating_sub(1)));
        },
        tell: &mut |event| println!("{event:?}"),
    };
    match runner.run(&mut Files(queue.to_owned())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
