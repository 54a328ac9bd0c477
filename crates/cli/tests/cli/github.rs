//! `coordinator github`, against a GitHub that knows one issue.

use crate::project::{Project, Ran};
use crate::web;

fn github() -> String {
    web::serve(|request| {
        let issue = r#"[{"number": 7, "title": "Log in", "state": "open", "updated_at": "2026-01-01T00:00:00Z",
            "labels": [{"name": "agent:ann"}, {"name": "locked:src"}, {"name": "locked:/etc"}]}]"#;
        let body = match request.path.as_str() {
            path if path.contains("/issues?") => issue,
            path if path.contains("/comments") && request.method == "POST" => r#"{"id": 1}"#,
            _ => "[]",
        };
        (200, body.to_owned())
    })
}

fn run(project: &Project, address: &str, arguments: &[&str]) -> Ran {
    let mut command = project.command(arguments);
    command.env("GITHUB_REPO", "octo/shop").env("GITHUB_TOKEN", "ghp_secret").env("GITHUB_API_URL", address);
    command.output().unwrap().into()
}

#[test]
fn a_sync_locks_what_labels_say_and_tells_what_it_could_not() {
    let (project, address) = (Project::new(), github());
    let synced = run(&project, &address, &["github", "sync", "--json"]).ended_with(0).json();
    assert_eq!(synced["news"], serde_json::json!(["issue #7"]));
    let locks = project.run(&["locks", "--json"]).ended_with(0).json();
    assert!(locks.to_string().contains(r#""file_path":"src""#), "{locks}");
    let again = run(&project, &address, &["github", "sync"]).ended_with(0);
    assert!(again.stdout.contains("nothing new"), "{again:?}");
    let status = project.run(&["github", "status"]).ended_with(0);
    assert!(status.stdout.contains("issue") && status.stdout.contains("/etc cannot be locked"), "{status:?}");
}

#[test]
fn what_is_missing_or_away_is_said_without_the_token() {
    let project = Project::new();
    let unset = project.run(&["github", "sync"]).ended_with(2);
    assert!(unset.stderr.contains("GITHUB_REPO is not set"), "{unset:?}");
    let plain = run(&project, "http://github.example", &["github", "sync"]).ended_with(2);
    assert!(plain.stderr.contains("must be an https:// address"), "{plain:?}");
    assert!(!format!("{unset:?}{plain:?}").contains("ghp_secret"));
    let none = project.run(&["github", "status"]).ended_with(0);
    assert!(none.stdout.contains("Nothing on GitHub wants anything of us."), "{none:?}");
}
