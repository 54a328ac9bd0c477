//! Refs, pushes and commits.

use git::commits::{NewCommit, Signature};
use git::merge::{ConflictKind, Merge};
use git::refs::Moved;
use git::{Error, Git, ObjectId};
use tempfile::TempDir;

use crate::repository::{Repository, git_in};

fn someone(seconds: i64) -> Signature {
    Signature { name: "Ada".into(), email: "ada@localhost".into(), seconds }
}

#[test]
fn a_ref_moves_only_from_where_it_is_expected() {
    let repository = Repository::new();
    let git = repository.open();
    let first = repository.head();
    let second = repository.commit("second", &[("a", "1\n")]);
    repository.git(&["branch", "other", first.as_str()]);

    let name = "refs/heads/other";
    assert_eq!(git.update_ref(name, &second, Some(&second), "no"), Ok(Moved::Elsewhere(Some(first.clone()))));
    assert_eq!(git.update_ref(name, &second, None, "no"), Ok(Moved::Elsewhere(Some(first.clone()))));
    assert_eq!(git.update_ref(name, &second, Some(&first), "yes"), Ok(Moved::Done));
    assert_eq!(git.resolve("other"), Ok(Some(second.clone())));
    assert_eq!(git.update_ref("refs/heads/gone", &second, Some(&first), "no"), Ok(Moved::Elsewhere(None)));
    assert_eq!(git.update_ref("refs/heads/new", &second, None, "yes"), Ok(Moved::Done));
    assert_eq!(git.delete_ref("refs/heads/new", &first), Ok(Moved::Elsewhere(Some(second.clone()))));
    assert_eq!(git.delete_ref("refs/heads/new", &second), Ok(Moved::Done));
    assert!(matches!(git.update_ref("other", &second, None, "no"), Err(Error::BadName { .. })));
    let nowhere = ObjectId::new(&"1".repeat(40)).unwrap();
    let error = git.update_ref(name, &nowhere, Some(&second), "no").unwrap_err().to_string();
    assert!(error.contains("update-ref") && error.contains("nonexistent object"), "{error}");
}

#[test]
fn names_that_look_like_options_are_no_names() {
    let repository = Repository::new();
    let git = repository.open();
    for name in ["", "--all", "-h", "main\0", "nothing", "HEAD:README", "main..main"] {
        assert_eq!(git.resolve(name), Ok(None), "{name:?}");
    }
    assert_eq!(git.resolve("main"), Ok(Some(repository.head())));
    assert_eq!(git.default_branch(), Ok(Some("main".into())));
    for name in ["refs/heads/a b", "refs/heads/a..b", "refs/heads/*", "refs/heads/a:b", "main", "--x", "refs/"] {
        assert!(git.push("origin", name, &repository.head(), None).is_err(), "{name}");
    }
}

#[test]
fn a_commit_is_lent_to_a_remote_past_every_hook_and_taken_back() {
    let remote = TempDir::new().unwrap();
    git_in(remote.path(), &["init", "-q", "--bare", "-b", "main"]);
    let repository = Repository::new();
    let git = repository.open();
    repository.git(&["remote", "add", "origin", &remote.path().to_string_lossy()]);
    let (hooks, first) = (TempDir::new().unwrap(), repository.head());
    std::fs::write(hooks.path().join("pre-push"), "#!/bin/sh\nexit 1\n").unwrap();
    let mut runs = std::fs::metadata(hooks.path().join("pre-push")).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut runs, 0o755);
    std::fs::set_permissions(hooks.path().join("pre-push"), runs).unwrap();
    repository.git(&["config", "core.hooksPath", &hooks.path().to_string_lossy()]);
    let second = repository.commit("second", &[("a", "1\n")]);
    for (name, commit) in [("refs/heads/lent/1", &first), ("refs/heads/lent/2", &first), ("refs/heads/lent/1", &second)]
    {
        assert_eq!(git.publish("origin", name, commit), Ok(()));
    }
    git.publish("origin", "refs/heads/x/refs/heads/lent/3", &first).unwrap();
    let lent = || git.remote_refs("origin", "refs/heads/lent").unwrap();
    assert_eq!(lent(), [("refs/heads/lent/1".into(), second), ("refs/heads/lent/2".into(), first.clone())]);
    for _ in 0..2 {
        assert_eq!(git.unpublish("origin", "refs/heads/lent/1"), Ok(()), "however often");
    }
    assert_eq!(lent(), [("refs/heads/lent/2".into(), first.clone())]);
    assert!(git.publish("nowhere", "refs/heads/a", &first).is_err() && git.publish("origin", "a", &first).is_err());
}

#[test]
fn a_push_moves_only_from_where_it_is_expected() {
    let remote = TempDir::new().unwrap();
    git_in(remote.path(), &["init", "-q", "--bare", "-b", "main"]);
    let repository = Repository::new();
    let git = repository.open();
    repository.git(&["remote", "add", "origin", &remote.path().to_string_lossy()]);
    let first = repository.head();
    let second = repository.commit("second", &[("a", "1\n")]);

    let name = "refs/heads/main";
    assert_eq!(git.remote_ref("origin", name), Ok(None));
    assert_eq!(git.push("origin", name, &first, Some(&second)), Ok(Moved::Elsewhere(None)));
    assert_eq!(git.push("origin", name, &first, None), Ok(Moved::Done));
    assert_eq!(git.push("origin", name, &second, Some(&second)), Ok(Moved::Elsewhere(Some(first.clone()))));
    assert_eq!(git.push("origin", name, &second, Some(&first)), Ok(Moved::Done));
    assert_eq!(git.remote_ref("origin", name), Ok(Some(second.clone())));
    assert_eq!(git.fetch("origin", name, "refs/remotes/origin/main"), Ok(second.clone()));

    let hook = remote.path().join("hooks/pre-receive");
    std::fs::write(&hook, "#!/bin/sh\necho not today >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    match git.push("origin", name, &first, Some(&second)) {
        Ok(Moved::Refused(why)) => assert!(why.contains("not today") && why.contains("pre-receive"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(git.push("nowhere", name, &first, Some(&second)), Err(Error::Failed { .. })));
}

#[test]
fn a_commit_is_made_of_a_tree_and_is_the_same_when_made_again() {
    let repository = Repository::new();
    let git = repository.open();
    let start = repository.head();
    let ours = repository.commit("ours", &[("a", "1\n")]);
    repository.git(&["checkout", "-q", "-b", "other", start.as_str()]);
    let theirs = repository.commit("theirs", &[("b", "2\n"), ("c", "3\n")]);

    let Merge::Clean { tree } = git.merge_tree(&ours, &theirs).unwrap() else { panic!("it conflicts") };
    let parents = [ours.clone(), theirs.clone()];
    let message = "Merge it\n\nWith a body: ä\n";
    let commit = NewCommit { tree: &tree, parents: &parents, message, author: &someone(7), committer: &someone(8) };
    let merged = git.commit_tree(&commit).unwrap();
    assert_eq!(git.commit_tree(&commit).unwrap(), merged);
    assert_eq!(git.parents(&merged).unwrap(), parents);
    assert_eq!(git.author(&merged).unwrap(), someone(7));
    assert_eq!(git.message(&merged).unwrap(), message.trim_end());
    assert_eq!(git.tree_of(merged.as_str()).unwrap(), Some(tree));
    assert!(git.is_ancestor(&theirs, &merged).unwrap() && !git.is_ancestor(&merged, &theirs).unwrap());
    assert_eq!(git.merge_bases(&ours, &theirs).unwrap(), [start]);
    assert_eq!(git.changed_paths(&ours, &merged).unwrap().into_iter().collect::<Vec<_>>(), ["b", "c"]);
    // Nobody's checkout has moved.
    assert_eq!((repository.head(), repository.git(&["status", "--porcelain"])), (theirs, String::new()));
}

#[test]
fn a_conflict_tells_where_both_changed_the_same() {
    let repository = Repository::new();
    let git = repository.open();
    let lines = |change: &[(usize, &str)]| -> String {
        let line =
            |n| change.iter().find(|(at, _)| *at == n).map_or(format!("line {n}\n"), |(_, text)| format!("{text}\n"));
        (1..=30).map(line).collect()
    };
    repository.commit("base", &[("f", &lines(&[])), ("gone", "1\n")]);
    repository.git(&["branch", "other"]);
    let ours = repository.commit("ours", &[("f", &lines(&[(1, "x\ny\nz"), (10, "ours")])), ("gone", "2\n")]);
    repository.git(&["checkout", "-q", "other"]);
    std::fs::remove_file(repository.path().join("gone")).unwrap();
    let theirs = repository.commit("theirs", &[("f", &lines(&[(10, "theirs"), (25, "far")]))]);

    let merge = git.merge_tree(&ours, &theirs).unwrap();
    let Merge::Conflicted { conflicts, .. } = &merge else { panic!("it is clean") };
    let told: Vec<_> = conflicts.iter().map(|conflict| (conflict.path.as_str(), conflict.kind)).collect();
    assert_eq!(told, [("f", ConflictKind::Content), ("gone", ConflictKind::ModifyDelete)]);
    let meetings = git.meetings(&merge, 10).unwrap();
    let told: Vec<_> = meetings.iter().map(|m| (m.path.as_str(), m.ours.in_words(), m.theirs.in_words())).collect();
    assert_eq!(told, [("f", "12".to_owned(), "10".to_owned())]);
}

#[test]
fn histories_without_a_common_ancestor_are_not_merged() {
    let repository = Repository::new();
    let ours = repository.head();
    repository.git(&["checkout", "-q", "--orphan", "alone"]);
    let theirs = repository.commit("alone", &[("x", "1\n")]);
    assert_eq!(repository.open().merge_tree(&ours, &theirs), Ok(Merge::Unrelated));
}

#[test]
fn no_repository_is_told_as_that() {
    let nowhere = TempDir::new().unwrap();
    let error = Git::open(nowhere.path()).unwrap_err();
    assert!(matches!(error, Error::NoRepository { .. }), "{error}");
    assert!(matches!(Git::open(&nowhere.path().join("not-there")), Err(Error::Io { .. })));
}

#[test]
fn branches_that_are_merged_already_can_be_left_out() {
    let repository = Repository::new();
    let git = repository.open();
    repository.git(&["branch", "old"]);
    repository.git(&["checkout", "-q", "-b", "agent/ada/1"]);
    let commit = repository.commit("work", &[("a", "1\n")]);
    let main = git.resolve("main").unwrap().unwrap();
    let names = |branches: Vec<git::refs::Branch>| branches.into_iter().map(|b| b.name).collect::<Vec<_>>();
    assert_eq!(names(git.branches(&[]).unwrap()), ["agent/ada/1", "main", "old"]);
    let ahead = git.branches(&[main]).unwrap();
    assert_eq!(ahead[0].commit, commit);
    assert_eq!(ahead[0].worktree.as_deref(), Some(repository.path().canonicalize().unwrap().as_path()));
    assert_eq!(names(ahead), ["agent/ada/1"]);
}
