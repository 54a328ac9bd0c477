//! Features and the merge queue over a real repository.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use coordinator::Coordinator;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{call, caller, coordinator_with};

/// A repository with `main`, and a coordinator in it.
struct Ground {
    directory: TempDir,
    coordinator: Arc<Coordinator>,
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let worktree = directory.path().to_owned();
        let coordinator = coordinator_with(|settings| settings.worktree = Some(worktree));
        let ground = Self { directory, coordinator };
        ground.git(&["init", "-q", "-b", "main"]);
        for (name, value) in [("user.name", "t"), ("user.email", "t@example.com"), ("init.defaultBranch", "main")] {
            ground.git(&["config", name, value]);
        }
        ground.commit(&[("src/a.rs", "1\n"), ("src/b.rs", "1\n"), ("README", "1\n")]);
        ground
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn git(&self, arguments: &[&str]) {
        let output = Command::new("git").current_dir(self.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(&self, files: &[(&str, &str)]) {
        for (name, content) in files {
            let file = self.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "-m", "x"]);
    }

    /// A branch that changes these files, beginning where `main` is now, which stays checked out.
    fn branch(&self, name: &str, files: &[(&str, &str)]) {
        self.git(&["checkout", "-q", "-b", name, "main"]);
        self.commit(files);
        self.git(&["checkout", "-q", "main"]);
    }

    async fn ask(&self, operation: &str, request: Value) -> Value {
        call(&self.coordinator, &caller("ann", None), operation, request).await.unwrap()
    }

    /// Registers the feature on the branch of its name, and puts it into the queue.
    async fn queue(&self, feature: &str, claims: &[&str]) {
        let request = json!({"feature_id": feature, "branch_name": feature, "resource_claims": claims});
        self.ask("register_feature", request).await;
        self.ask("enqueue_merge", json!({"feature_id": feature})).await;
    }

    /// Where the entry stands after its checks, and the checks that failed with why.
    async fn check(&self, feature: &str) -> (String, Vec<(String, String)>) {
        let answer = self.ask("run_pre_merge_checks", json!({"feature_id": feature})).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let checks = answer["checks"].as_array().unwrap().iter().filter(|check| check["passed"] == false);
        (text(&answer["state"]), checks.map(|check| (text(&check["name"]), text(&check["reason"]))).collect())
    }
}

fn says(failed: &[(String, String)], name: &str, reason: &str) {
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].0 == name && failed[0].1.contains(reason), "{failed:?}");
}

#[tokio::test]
async fn git_decides_whether_a_branch_can_be_merged() {
    let ground = Ground::new();
    ground.branch("good", &[("src/a.rs", "2\n")]);
    ground.branch("stale", &[("README", "2\n")]);
    ground.commit(&[("README", "3\n")]);
    ground.git(&["checkout", "-q", "--orphan", "stranger"]);
    ground.commit(&[("src/c.rs", "1\n")]);
    ground.git(&["checkout", "-q", "main"]);
    for (feature, claims) in [("good", "src/a.rs"), ("stale", "README"), ("stranger", "x"), ("gone", "y")] {
        ground.queue(feature, &[claims]).await;
    }
    assert_eq!(ground.check("good").await, ("ready".into(), vec![]));
    let (state, failed) = ground.check("stale").await;
    assert_eq!(state, "blocked");
    says(&failed, "merges_cleanly", "merging it into main conflicts in README (content): rebase stale onto main");
    says(&ground.check("stranger").await.1, "based_on_target", "no commit in common with main");
    says(&ground.check("gone").await.1, "branch_present", "there is no branch gone here");
}

#[tokio::test]
async fn entries_ahead_are_merged_in_thought() {
    let ground = Ground::new();
    ground.branch("one", &[("src/a.rs", "one\n")]);
    ground.branch("two", &[("src/a.rs", "two\n")]);
    ground.branch("three", &[("src/b.rs", "three\n")]);
    // They claim nothing that overlaps, and still meet.
    for (feature, claim) in [("one", "docs/1"), ("two", "docs/2"), ("three", "docs/3")] {
        ground.queue(feature, &[claim]).await;
    }
    assert_eq!(ground.check("one").await.0, "ready");
    let (state, failed) = ground.check("two").await;
    assert_eq!(state, "blocked");
    says(
        &failed,
        "merges_with_entries_ahead",
        "it conflicts with one, which is ahead in the queue, in src/a.rs (content)",
    );
    assert_eq!(ground.check("three").await.0, "ready", "what is blocked is in nobody's way");
    let head = std::fs::read_to_string(ground.path().join("src/a.rs")).unwrap();
    assert_eq!(head, "1\n", "nobody's checkout is touched");
}

#[tokio::test]
async fn drift_is_told_and_blocks_where_it_hurts_others() {
    let ground = Ground::new();
    ground.branch("f", &[("src/a.rs", "2\n"), ("README", "2\n")]);
    ground.queue("f", &["src/a.rs", "tests", "db:users"]).await;
    let drift = ground.ask("feature_drift", json!({"feature_id": "f"})).await;
    let expected = json!({
        "success": true, "feature_id": "f", "branch_name": "f", "target": "main", "changed_files": 2,
        "unclaimed_files": ["README"], "claimed_by_others": [], "unused_claims": ["tests"],
    });
    assert_eq!(drift, expected);
    assert_eq!(ground.check("f").await.0, "ready");
    let other = json!({"feature_id": "g", "resource_claims": ["README"]});
    ground.ask("register_feature", other).await;
    let drift = ground.ask("feature_drift", json!({"feature_id": "f"})).await;
    assert_eq!(drift["claimed_by_others"], json!([{"file_path": "README", "feature_ids": ["g"]}]));
    let (state, failed) = ground.check("f").await;
    assert_eq!(state, "blocked");
    says(&failed, "drift", "it changes README, which it never claimed and g claims");
}

#[tokio::test]
async fn without_a_branch_or_a_repository_drift_says_what_to_do() {
    let ground = Ground::new();
    ground.ask("register_feature", json!({"feature_id": "f", "resource_claims": []})).await;
    let no_branch = ground.ask("feature_drift", json!({"feature_id": "f"})).await;
    assert_eq!((&no_branch["success"], &no_branch["reason"]), (&json!(false), &json!("no_branch")));
    let unknown = ground.ask("feature_drift", json!({"feature_id": "none"})).await;
    assert_eq!(unknown["reason"], "feature_not_found");
    let elsewhere = coordinator_with(|_| {});
    let request = json!({"feature_id": "f", "resource_claims": [], "branch_name": "f"});
    call(&elsewhere, &caller("ann", None), "register_feature", request).await.unwrap();
    let nowhere = call(&elsewhere, &caller("ann", None), "feature_drift", json!({"feature_id": "f"})).await.unwrap();
    assert_eq!(nowhere["reason"], "no_repository");
}
