//! The verdict is that of `git merge`, to the last object: compared on generated pairs of branches.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use git::merge::{ConflictKind, Merge, Side};

use crate::generated::{Pair, import};
use crate::repository::{Repository, git_in, plain_git};

/// What a merge comes to: a tree, or what is unmerged.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Clean(String),
    Conflicted(BTreeSet<String>),
    /// Git itself gave up half-way over a conflict, which some versions do (`BUG: merge-ort.c`).
    Broken,
}

/// `GIT_MERGE_PAIRS=500` compares more of them than every run does.
#[test]
fn the_verdict_is_that_of_git_merge() {
    let pairs = std::env::var("GIT_MERGE_PAIRS").map_or(40, |count| count.parse().unwrap());
    let repository = Repository::new();
    let stories = import(repository.path(), (1..=pairs).map(|seed| (seed, Pair::new(seed))));
    let git = repository.open().with_scratch_objects().unwrap();
    let scratch =
        repository.path().join("../").canonicalize().unwrap().join(format!("{}-merge", pid_name(&repository)));
    repository.git(&["worktree", "add", "-q", "--detach", &scratch.to_string_lossy()]);

    let mut kinds: BTreeMap<Option<ConflictKind>, usize> = BTreeMap::new();
    let (mut skipped, mut broken) = (0, 0);
    for (number, story) in &stories {
        let commit = |name: &str| git.resolve(&format!("refs/heads/{number}/{name}")).unwrap().unwrap();
        let (base, ours, theirs) = (commit("base"), commit("ours"), commit("theirs"));
        let merge = git.merge_tree(&ours, &theirs).unwrap();
        let real = real_merge(&scratch, ours.as_str(), theirs.as_str());
        let is_clean = merge.tree().is_some();
        if real == Verdict::Broken {
            broken += 1;
            assert!(!is_clean, "{story}");
            continue;
        }
        assert_eq!(verdict(&merge, ours.as_str()), real, "{story}");
        if !git.changes(&base, &ours).unwrap().can_meet(&git.changes(&base, &theirs).unwrap()) {
            skipped += 1;
            assert!(is_clean, "these were said not to meet: {story}");
        }
        git.meetings(&merge, 10).unwrap();
        match &merge {
            Merge::Conflicted { conflicts, .. } => {
                let found: BTreeSet<ConflictKind> = conflicts.iter().map(|conflict| conflict.kind).collect();
                found.into_iter().for_each(|kind| *kinds.entry(Some(kind)).or_default() += 1);
            }
            _ => *kinds.entry(None).or_default() += 1,
        }
    }
    std::fs::remove_dir_all(&scratch).unwrap();
    println!("{pairs} pairs: {kinds:?}; {skipped} need no merge, {broken} break `git merge` itself");
    assert!(broken <= pairs / 50, "{broken} pairs break `git merge`");
    assert!(!kinds.contains_key(&Some(ConflictKind::Other)), "git says something that is not known: {kinds:?}");
    assert!(kinds.get(&None).is_some_and(|clean| *clean > 0) && kinds.len() > 4, "too much alike: {kinds:?}");
}

fn pid_name(repository: &Repository) -> String {
    repository.path().file_name().unwrap().to_string_lossy().into_owned()
}

/// What moves out of the way is called after its side, which a person's merge has as `HEAD`.
fn verdict(merge: &Merge, ours: &str) -> Verdict {
    match merge {
        Merge::Clean { tree } => Verdict::Clean(tree.to_string()),
        Merge::Conflicted { unmerged, .. } => Verdict::Conflicted(
            unmerged
                .iter()
                .map(|file| {
                    let stage = match file.side {
                        Side::Base => 1,
                        Side::Ours => 2,
                        Side::Theirs => 3,
                    };
                    let path = file.path.replace(&format!("~{ours}"), "~HEAD");
                    format!("{} {} {stage}\t{path}", file.mode, file.id)
                })
                .collect(),
        ),
        Merge::Unrelated => panic!("they have a common ancestor"),
    }
}

/// As a person would do it.
fn real_merge(scratch: &Path, ours: &str, theirs: &str) -> Verdict {
    git_in(scratch, &["reset", "-q", "--hard"]);
    git_in(scratch, &["clean", "-ffdxq"]);
    git_in(scratch, &["checkout", "-q", "--detach", "--force", ours]);
    git_in(scratch, &["clean", "-ffdxq"]);
    let ended = plain_git(scratch).args(["merge", "-q", "--no-ff", "-m", "merge", theirs]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    match ended.status.code() {
        Some(0) => Verdict::Clean(git_in(scratch, &["rev-parse", "HEAD^{tree}"]).trim().to_owned()),
        Some(1) => {
            let unmerged = git_in(scratch, &["ls-files", "-u", "-z"]);
            Verdict::Conflicted(unmerged.split_terminator('\0').map(str::to_owned).collect())
        }
        None | Some(128) if said.contains("BUG: merge-ort") || said.contains("CONFLICT") => {
            // It died with the index locked.
            let lock = git_in(scratch, &["rev-parse", "--path-format=absolute", "--git-path", "index.lock"]);
            let _ = std::fs::remove_file(lock.trim());
            Verdict::Broken
        }
        code => panic!("git merge ended with {code:?}: {said}"),
    }
}
