//! Work trees.

use std::time::{Duration, Instant};

use git::{Error, Git};

use crate::repository::{Repository, git_in};

#[test]
fn what_is_uncommitted_is_a_commit_and_nothing_is_touched() {
    let repository = Repository::new();
    let git = repository.open();
    repository.commit("files", &[("kept", "1\n"), ("changed", "1\n"), ("gone", "1\n"), (".gitignore", "secret\n")]);
    let tree = || git.worktrees().unwrap().remove(0);
    assert_eq!(git.uncommitted(&tree()), Ok(None));

    repository.write("changed", "2\n");
    repository.git(&["add", "changed"]);
    repository.write("changed", "3\n");
    repository.write("new/file", "1\n");
    repository.write("secret", "1\n");
    std::fs::remove_file(repository.path().join("gone")).unwrap();
    let before = repository.git(&["status", "--porcelain"]);
    let scratch = git.clone().with_scratch_objects().unwrap();
    let commit = scratch.uncommitted(&tree()).unwrap().unwrap();
    assert_eq!(scratch.uncommitted(&tree()).unwrap(), Some(commit.clone()));
    let changed = scratch.changed_paths(&repository.head(), &commit).unwrap();
    assert_eq!(changed.into_iter().collect::<Vec<_>>(), ["changed", "gone", "new/file"]);
    assert_eq!(repository.git(&["status", "--porcelain"]), before);
    assert_eq!(repository.git(&["diff", "--cached", "--name-only"]), "changed\n");
    // It was never in the repository itself.
    assert_eq!(git.resolve(commit.as_str()), Ok(None));
}

#[test]
fn a_work_tree_that_somebody_is_just_making_is_waited_for() {
    let repository = Repository::new();
    repository.commit("one", &[("a", "1\n")]);
    let half = repository.path().join(".git/worktrees/half");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("gitdir"), "/nowhere/.git\n").unwrap();
    std::fs::write(half.join("commondir"), "").unwrap();
    let git = repository.open();
    let Err(Error::Failed { said, .. }) = git.worktrees() else {
        panic!("git minds no longer: nothing need be waited for")
    };
    assert!(said.contains("commondir"), "{said}");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(60));
            std::fs::write(half.join("HEAD"), repository.head().as_str()).unwrap();
            std::fs::write(half.join("commondir"), "../..\n").unwrap();
        });
        assert_eq!(git.branches(&[]).map(|branches| branches.len()), Ok(1));
    });
}

#[test]
fn signs_differ_when_there_is_something_new_to_see() {
    let repository = Repository::new();
    let git = repository.open();
    let mut last = git.signs().unwrap();
    assert_eq!(git.signs().unwrap(), last);
    let mut differ = |what: &str| {
        let now = git.signs().unwrap();
        assert_ne!(now, last, "{what}");
        last = now;
    };
    repository.write("new/file", "1\n");
    differ("a new file");
    repository.write("new/file", "12\n");
    differ("more in it");
    repository.write("new/other", "1\n");
    differ("another beside it");
    repository.commit("all", &[]);
    differ("a commit");
    repository.git(&["branch", "topic"]);
    differ("a branch");
    repository.git(&["checkout", "--quiet", "--detach"]);
    differ("another thing checked out");
}

#[test]
fn a_temporary_work_tree_is_gone_whatever_happens() {
    let repository = Repository::new();
    let git = repository.open();
    let head = repository.head();
    let temporary = git.temporary_worktree(&head, None).unwrap();
    let path = temporary.path().to_owned();
    assert_eq!(git_in(&path, &["rev-parse", "HEAD"]).trim(), head.as_str());
    std::fs::write(path.join("junk"), "1").unwrap();
    assert_eq!(git.worktrees().unwrap().len(), 1, "a temporary one is not listed");
    assert_eq!(git.remove_left_worktrees(), Ok(0), "its owner is alive");
    drop(temporary);
    assert!(!path.parent().unwrap().exists());
    assert!(!repository.git(&["worktree", "list"]).contains("coordinator-worktree"));

    // Whoever is killed cannot remove it.
    let killed = git.temporary_worktree(&head, None).unwrap();
    let path = killed.path().to_owned();
    std::fs::remove_file(path.parent().unwrap().join("owner")).unwrap();
    std::mem::forget(killed);
    assert_eq!(git.remove_left_worktrees(), Ok(1));
    assert!(!path.parent().unwrap().exists());
    assert!(!repository.git(&["worktree", "list"]).contains("coordinator-worktree"));
}

#[test]
fn what_takes_too_long_is_killed_with_what_it_started() {
    let repository = Repository::new();
    // A merge driver that never ends, as a person could configure it.
    repository.git(&["config", "merge.slow.driver", "echo $$ > pid; sleep 1000"]);
    repository.commit("base", &[("f", "1\n"), (".gitattributes", "f merge=slow\n")]);
    repository.git(&["branch", "other"]);
    let ours = repository.commit("ours", &[("f", "2\n")]);
    repository.git(&["checkout", "-q", "other"]);
    let theirs = repository.commit("theirs", &[("f", "3\n")]);
    let git = Git::open(repository.path()).unwrap().with_limit(Duration::from_millis(500));
    let began = Instant::now();
    let error = git.merge_tree(&ours, &theirs).unwrap_err();
    assert!(matches!(&error, Error::TooSlow { command, .. } if command.starts_with("merge-tree")), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
    let pid = std::fs::read_to_string(repository.path().join("pid")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < deadline, "{pid} is still there");
        std::thread::yield_now();
    }
}
