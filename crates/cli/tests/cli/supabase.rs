//! The state behind PostgREST: how one gets there, and what is said on the way.

use testing::postgres::Database;
use testing::postgrest::{Gateway, SECRET_KEY};

use crate::project::{Project, Ran};

/// Runs a command with the settings of a Supabase project.
fn run(project: &Project, gateway: &Gateway, key: &str, arguments: &[&str]) -> Ran {
    let mut command = project.command(arguments);
    command.env("DB_BACKEND", "supabase").env("SUPABASE_URL", gateway.url()).env("SUPABASE_SERVICE_KEY", key);
    command.output().unwrap().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_is_set_up_and_used() {
    let project = Project::new();
    let database = Database::create().await;
    let gateway = Gateway::start(database.dsn(), &["public", "graphql_public", "coordinator_api"]).await;

    let fresh = run(&project, &gateway, SECRET_KEY, &["status"]).ended_with(3);
    assert!(fresh.stderr.contains("coordinator migrate --print"), "{fresh:?}");
    let impossible = run(&project, &gateway, SECRET_KEY, &["migrate"]).ended_with(2);
    assert!(impossible.stderr.contains("POSTGRES_DSN"), "{impossible:?}");
    run(&project, &gateway, SECRET_KEY, &["migrate", "--db", database.dsn()]).ended_with(0);

    run(&project, &gateway, SECRET_KEY, &["lock", "src/a.py"]).ended_with(0);
    let status = run(&project, &gateway, SECRET_KEY, &["status", "--json"]).ended_with(0);
    assert_eq!(status.json()["locks"][0]["file_path"], "src/a.py", "{status:?}");
    assert!(status.stdout.contains("through PostgREST") && !status.stdout.contains(SECRET_KEY), "{status:?}");
    let same = project.run(&["locks", "--json", "--db", database.dsn()]).ended_with(0);
    assert_eq!(same.json()[0]["file_path"], "src/a.py", "{same:?}");

    let refused = run(&project, &gateway, "sb_secret_wrong", &["status"]).ended_with(3);
    assert!(refused.stderr.contains("SUPABASE_SERVICE_KEY"), "{refused:?}");
    assert!(!refused.stderr.contains("sb_secret_wrong"), "{refused:?}");
}

#[test]
fn the_sql_can_be_printed_without_a_database() {
    let project = Project::new();
    let printed = project.run(&["migrate", "--print"]).ended_with(0);
    assert!(printed.stdout.starts_with("begin;") && printed.stdout.trim_end().ends_with("commit;"));
    assert!(!project.database().exists());
    project.run(&["migrate"]).ended_with(0);
    assert!(project.database().exists());
}
