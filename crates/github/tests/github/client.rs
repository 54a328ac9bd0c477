//! Pages, conditional requests, limits, and what does not get through.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use github::client::{ETag, Since};
use github::issues::Which;
use github::workflows::{Conclusion, RunId, RunStatus};
use github::{Client, Connection, Error, Patience, RepositoryName, Secret};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

const TOKEN: &str = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";

/// What is to be answered, in this order, and what was asked.
#[derive(Default)]
struct Script {
    answers: VecDeque<Response>,
    asked: Vec<Asked>,
}

#[derive(Clone)]
struct Asked {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Clone, Default)]
struct Server {
    script: Arc<Mutex<Script>>,
    address: String,
}

impl Server {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { script: Arc::default(), address: format!("http://{}", listener.local_addr().unwrap()) };
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        server
    }

    fn client(&self) -> Client {
        let patience =
            Patience { retries: 2, first_pause: Duration::from_millis(1), longest_wait: Duration::from_millis(50) };
        let repository = RepositoryName::parse("octo/shop").unwrap();
        let connection = Connection { api_url: self.address.clone(), repository, token: Secret::new(TOKEN) };
        Client::new(&connection, patience).unwrap()
    }

    fn will_answer(&self, response: impl IntoResponse) -> &Self {
        self.script.lock().unwrap().answers.push_back(response.into_response());
        self
    }

    fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let path = head.uri.path_and_query().unwrap().to_string();
    let mut script = server.script.lock().unwrap();
    script.asked.push(Asked { method: head.method, path, headers: head.headers, body });
    script.answers.pop_front().unwrap_or_else(|| (StatusCode::NOT_IMPLEMENTED, "not in the script").into_response())
}

fn json_of(value: Value) -> axum::Json<Value> {
    axum::Json(value)
}

fn issue(number: u64) -> Value {
    json!({"number": number, "state": "open", "updated_at": "2026-01-01T00:00:00Z", "labels": [{"name": "bug"}]})
}

#[tokio::test]
async fn a_list_is_followed_from_page_to_page() {
    let server = Server::start().await;
    let next = format!(r#"<{}/repos/octo/shop/x?page=2>; rel="next""#, server.address);
    server
        .will_answer(([("link", next)], json_of(json!([{"id": 1, "body": "a"}]))))
        .will_answer(json_of(json!([{"id": 2}])));
    let comments = server.client().comments(7).await.unwrap();
    assert_eq!(comments.iter().map(|c| c.id).collect::<Vec<_>>(), [1, 2]);
    let paths: Vec<String> = server.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, ["/repos/octo/shop/issues/7/comments?per_page=100", "/repos/octo/shop/x?page=2"]);
    for asked in server.asked() {
        assert_eq!(asked.headers["authorization"], format!("Bearer {TOKEN}"));
        assert_eq!(asked.headers["x-github-api-version"], "2022-11-28");
        assert!(asked.headers["user-agent"].to_str().unwrap().starts_with("agent-coordinator/"));
    }
}

#[tokio::test]
async fn the_token_does_not_follow_a_page_to_another_server() {
    let (server, other) = (Server::start().await, Server::start().await);
    let next = format!(r#"<{}/steal>; rel="next""#, other.address);
    server.will_answer(([("link", next)], json_of(json!([]))));
    let error = server.client().comments(7).await.unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (server, other) = (Server::start().await, Server::start().await);
    server.will_answer((StatusCode::MOVED_PERMANENTLY, [("location", other.address.clone())], ""));
    let error = server.client().default_branch().await.unwrap_err();
    assert!(error.to_string().contains("set GITHUB_REPO to its new name"), "{error}");
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn what_has_not_changed_is_not_read_again() {
    let server = Server::start().await;
    server.will_answer(([("etag", r#"W/"abc""#)], json_of(json!([issue(1)])))).will_answer(StatusCode::NOT_MODIFIED);
    let since = Some("2026-01-01T00:00:00.9Z".parse().unwrap());
    let client = server.client();
    let Since::Changed { value, etag } = client.issues(Which::All, since, None).await.unwrap() else {
        panic!("asked first")
    };
    assert_eq!(value.items[0].labels[0].name, "bug");
    assert_eq!(etag, Some(ETag(r#"W/"abc""#.into())));
    assert_eq!(client.issues(Which::All, since, etag.as_ref()).await.unwrap(), Since::Unchanged);
    let asked = server.asked();
    assert!(
        asked[0].path.contains("state=all&since=2026-01-01T00:00:00Z&sort=updated&direction=asc"),
        "{}",
        asked[0].path
    );
    assert_eq!(asked[1].headers["if-none-match"], r#"W/"abc""#);
}

#[tokio::test]
async fn the_tag_of_one_page_does_not_stand_for_the_others() {
    let server = Server::start().await;
    let next = format!(r#"<{}/more>; rel="next""#, server.address);
    let branch = |name: &str| json!({"ref": format!("refs/heads/{name}"), "object": {"sha": "a1"}});
    server
        .will_answer(([("etag", r#""abc""#.to_owned()), ("link", next)], json_of(json!([branch("agent/a/1")]))))
        .will_answer(([("etag", r#""def""#)], json_of(json!([branch("agent/b/2")]))));
    let Since::Changed { value, etag } = server.client().branches("agent/", None).await.unwrap() else { panic!("new") };
    assert_eq!(value.items.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["agent/a/1", "agent/b/2"]);
    assert_eq!(etag, None);
}

#[tokio::test]
async fn a_short_limit_is_waited_for() {
    let server = Server::start().await;
    let refusal = json_of(json!({"message": "You have exceeded a secondary rate limit"}));
    server
        .will_answer((StatusCode::FORBIDDEN, [("retry-after", "0")], refusal))
        .will_answer((StatusCode::CREATED, json_of(json!({"id": 5}))));
    assert_eq!(server.client().create_comment(7, "hello").await.unwrap().id, 5);
    let asked = server.asked();
    assert_eq!(asked.len(), 2, "a refusal for now has done nothing, so that even a comment is sent again");
    assert_eq!(asked[1].method, Method::POST);
    assert_eq!(serde_json::from_slice::<Value>(&asked[1].body).unwrap(), json!({"body": "hello"}));
}

#[tokio::test]
async fn a_long_limit_is_told_with_its_end() {
    let server = Server::start().await;
    let reset = Timestamp::now() + 30.minutes();
    let headers = [("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-reset", reset.as_second().to_string())];
    server.will_answer((StatusCode::FORBIDDEN, headers, json_of(json!({"message": "API rate limit exceeded"}))));
    let error = server.client().issue(1).await.unwrap_err();
    let Error::RateLimited { until } = &error else { panic!("{error}") };
    assert!((until.as_second() - reset.as_second()).abs() <= 3, "{until} for {reset}");
    assert!(error.to_string().contains(&format!("{until:.0}")), "{error}");
}

#[tokio::test]
async fn what_does_not_get_through_is_tried_again() {
    let server = Server::start().await;
    server.will_answer(StatusCode::BAD_GATEWAY).will_answer(StatusCode::BAD_GATEWAY).will_answer(json_of(issue(1)));
    assert_eq!(server.client().issue(1).await.unwrap().number, 1);

    let server = Server::start().await;
    for _ in 0..3 {
        server.will_answer(StatusCode::BAD_GATEWAY);
    }
    let error = server.client().issue(1).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable(why) if why.contains("502")), "{error}");
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_twice() {
    let server = Server::start().await;
    server.will_answer(StatusCode::BAD_GATEWAY);
    let error = server.client().create_comment(7, "once").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn each_refusal_says_what_to_do_and_not_the_token() {
    for (status, advice) in
        [(401, "make a new one"), (403, "docs/github.md"), (404, "GITHUB_REPO"), (422, "docs/github.md")]
    {
        let server = Server::start().await;
        let status = StatusCode::from_u16(status).unwrap();
        server.will_answer((status, json_of(json!({"message": "No."}))));
        let error = server.client().pull(3).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("read a pull request: No. (HTTP") && text.contains(advice), "{text}");
        assert!(!text.contains(TOKEN));
        assert_eq!(error.is_missing(), status == StatusCode::NOT_FOUND);
    }
    let nobody = Connection {
        api_url: "http://127.0.0.1:9".into(),
        repository: RepositoryName::parse("o/n").unwrap(),
        token: Secret::new(TOKEN),
    };
    assert!(!format!("{nobody:?}").contains(TOKEN));
}

#[tokio::test]
async fn an_answer_that_is_none_is_told() {
    let server = Server::start().await;
    server.will_answer("<html>maintenance</html>");
    let error = server.client().issue(1).await.unwrap_err();
    assert!(matches!(error, Error::Unreadable { what: "read an issue", .. }), "{error}");
}

#[tokio::test]
async fn labels_come_and_go_and_one_that_is_gone_stays_gone() {
    let server = Server::start().await;
    server
        .will_answer(json_of(json!([])))
        .will_answer((StatusCode::NOT_FOUND, json_of(json!({"message": "Label does not exist"}))));
    let client = server.client();
    client.add_label(7, "coordinator:refused").await.unwrap();
    client.remove_label(7, "locked:src/a b").await.unwrap();
    assert_eq!(server.asked()[1].path, "/repos/octo/shop/issues/7/labels/locked%3Asrc%2Fa%20b");
    assert_eq!(server.asked()[1].method, Method::DELETE);
}

#[tokio::test]
async fn a_workflow_is_started_found_and_looked_at() {
    let server = Server::start().await;
    let run = |status: &str, conclusion: Value| {
        json!({"id": 42, "status": status, "conclusion": conclusion, "display_title": "verify 018f", "head_sha": "a1",
               "head_branch": "agent/ann/1", "event": "workflow_dispatch", "path": ".github/workflows/verify.yml", "html_url": "https://github.example/r", "created_at": "2026-01-01T00:00:00Z"})
    };
    let mut elsewhere = run("completed", json!("success"));
    (elsewhere["id"], elsewhere["head_branch"]) = (json!(41), json!("main"));
    server
        .will_answer(StatusCode::NO_CONTENT)
        .will_answer(json_of(json!({"total_count": 2, "workflow_runs": [elsewhere, run("waiting", Value::Null)]})))
        .will_answer(json_of(run("completed", json!("startup_failure"))))
        .will_answer((StatusCode::ACCEPTED, json_of(json!({}))));
    let client = server.client();
    let inputs = [("changeset".to_owned(), "018f".to_owned())].into();
    client.dispatch_workflow("verify.yml", "agent/ann/1", &inputs).await.unwrap();
    let runs = client.dispatched_runs("verify.yml", "agent/ann/1", "a1").await.unwrap();
    assert_eq!((runs[0].id, runs[0].status, runs[0].conclusion), (RunId(42), RunStatus::Queued, None));
    let run = client.workflow_run(RunId(42)).await.unwrap();
    assert_eq!((run.status, run.conclusion), (RunStatus::Completed, Some(Conclusion::Other)));
    client.cancel_workflow_run(RunId(42)).await.unwrap();
    let asked = server.asked();
    let sent: Value = serde_json::from_slice(&asked[0].body).unwrap();
    assert_eq!(sent, json!({"ref": "agent/ann/1", "inputs": {"changeset": "018f"}}));
    let asked_for = "runs?event=workflow_dispatch&branch=agent%2Fann%2F1&head_sha=a1&per_page=100";
    assert!(asked[1].path.ends_with(asked_for), "{}", asked[1].path);
    assert_eq!(runs.len(), 1, "one of another branch is none of it");
}

#[tokio::test]
async fn a_comparison_names_files_by_both_their_names() {
    let server = Server::start().await;
    let files = json!([{"filename": "b.rs", "previous_filename": "a.rs"}, {"filename": "c.rs"}]);
    server.will_answer(json_of(json!({"ahead_by": 2, "files": files})));
    let comparison = server.client().compare("main", "agent/ann/fix #1").await.unwrap();
    let paths = github::pulls::ChangedFile::paths(&comparison.files);
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["a.rs", "b.rs", "c.rs"]);
    assert_eq!(server.asked()[0].path, "/repos/octo/shop/compare/main...agent/ann/fix%20%231?per_page=1");
}
